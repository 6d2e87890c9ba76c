"""SVT: self-supervised video transformer (Ranasinghe, Naseer, Khan, Khan, Ryoo, CVPR 2022, arXiv 2112.01514).

Idea: DINO over space and time: a student finds in one view of a video what a slowly moving teacher gives another, where
global views differ in their frame rate and local ones are small in space and short in time.
Data flow: clip -> global views of different frame rates and local space-time views -> student backbone -> h -> projector
-> z -> unit vector -> weight-normalised layer -> logits; global views -> teacher -> logits, minus the centre, sharpened;
cross-entropy of the chosen directions; then teacher <- EMA of the student, centre <- EMA of the teacher's mean logits.
What prevents collapse: what does in DINO: centring keeps one dimension from dominating, a teacher temperature below the
student's keeps the output from uniform; and the EMA.
What breaks it: no centring (collapse onto one dimension; BatchNorm in the projector hides it in short runs), no
sharpening (uniform output), momentum 0; short runs of small batches without BatchNorm in the projector. Local views as
teachers (local to local, global to local) do not break it, but the paper finds them of no use.
At complete collapse: no one value, it depends on weights and centre. The uniform output has log K over all directions,
metrics "assignment_entropy" and "mean_assignment_entropy" at log K and "kl" at 0; one dimension that dominates has all
at 0.
Deviations: the authors vary the number of frames over one span of time, here the frames of a group are equally many and
their distance varies (``strides``), so that views of a group go through the network at once. Losses are the mean over all
chosen pairs of views as in the authors' code; the paper writes their sum, which weighs the pairs alike. ``encode``
takes as many frames as a global view has, evenly over the clip. Which teacher views move the centre where local ones
teach is not published: all do.
The paper's number: TimeSformer ViT-B/16, Kinetics-400, UCF-101 with views l to g / g to g / both: 84.11 / 81.95 /
84.64 %, with l to l besides 83.11, with g to l 84.71, with all 83.69 (its ablation; HMDB-51: 50.72 / 49.04 / 52.17 / 51.23
/ 51.88 / 51.71 %). Ours: docs/results.md.
"""

from collections.abc import Sequence
from math import log
from typing import Annotated, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from fullrank.config import Augmentation, Prob, Settings
from fullrank.heads import WeightNormLinear, dino_projector
from fullrank.memory import Centre
from fullrank.methods._method import BackboneFactory, Guard, Method, Sign, wide
from fullrank.objectives import distillation
from fullrank.schedules import cosine
from fullrank.teacher import Teacher
from fullrank.types import Output, StepContext, ViewPlan, Views, ViewSpec

DIRECTIONS = ("local_to_global", "global_to_global", "local_to_local", "global_to_local")
"""student view to teacher view; each is a setting and a loss term"""
Strides = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]


class SVT(Method):
    """See the top of this file."""

    branches = ("teacher", "student")
    guards = {
        "centring": Guard(
            off={"centring": False, "projector_batch_norm": False},  # BatchNorm in the head stands in for centring
            expect="cluster",
            source="Caron et al., 2021 (DINO), section 5.3 and figure 7: one dimension dominates",
        ),
        "sharpening": Guard(
            off={"teacher_temperature": 1.0},
            expect="complete",
            source="Caron et al., 2021 (DINO), section 5.3 and figure 7: the output becomes uniform",
        ),
        "momentum network": Guard(
            off={"momentum": 0.0, "final_momentum": 0.0},
            expect="complete",
            source="Caron et al., 2021 (DINO), table 7, row 2",
        ),
        "batch norm": Guard(
            off={"projector_batch_norm": False},
            expect="no collapse",
            source="Caron et al., 2021 (DINO), section 3.2: transformers train without any BatchNorm",
        ),
    }

    class Config(Settings):
        """Settings of SVT."""

        rho: Annotated[int, Field(ge=1)] = 1
        """temporal clips of a record (1: a global view of each stride from one clip; more: one global view of each clip)"""
        augmentation: Augmentation = Augmentation(min_scale=0.4, saturation=0.2, blur_prob=(1.0, 0.1), solarize_prob=(0.0, 0.2))
        """how global views are made"""
        num_frames: Annotated[int, Field(ge=1)] = 8
        """frames of a global view"""
        strides: Strides = (4, 8)
        """frame rates of the global views, cycled over them: clip frames from one of their frames to the next"""
        num_local: Annotated[int, Field(ge=0)] = 8
        """local views of each clip"""
        local_augmentation: Augmentation = Augmentation(size_pixels=96, min_scale=0.05, max_scale=0.4, saturation=0.2)
        """how local views are made"""
        local_frames: Annotated[int, Field(ge=1)] = 4
        """frames of a local view"""
        local_strides: Strides = (1, 2)
        """frame rates of the local views, cycled over them"""
        local_to_global: bool = True
        """a student on local views matches the teacher on global ones (cross-view correspondences)"""
        global_to_global: bool = True
        """a student on global views matches the teacher on the other global ones (motion correspondences)"""
        local_to_local: bool = False
        """a student on local views matches the teacher on the other local ones"""
        global_to_local: bool = False
        """a student on global views matches the teacher on local ones"""
        projector: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (2048, 2048, 256)
        """widths of the projector's layers; the last is the bottleneck that is L2-normalised"""
        projector_batch_norm: bool = False
        """BatchNorm in the projector"""
        num_dimensions: Annotated[int, Field(ge=2)] = 65536
        """K: width of the output"""
        freeze_last_layer_epochs: Annotated[float, Field(ge=0.0)] = 1.0
        """epochs at the start in which the last layer does not move"""
        student_temperature: Annotated[float, Field(gt=0.0)] = 0.1
        """tau_s"""
        teacher_temperature: Annotated[float, Field(gt=0.0)] = 0.04
        """tau_t; as high as tau_s or higher: no sharpening"""
        centring: bool = True
        """subtract the centre from the teacher's logits"""
        centre_momentum: Prob = 0.9
        """the share of the centre that is kept in a step"""
        momentum: Prob = 0.996
        """the share of the teacher that is kept in a step, at the start"""
        final_momentum: Prob = 1.0
        """the same at the end, reached along half a cosine"""

        @property
        def uses_local(self) -> bool:
            """Some direction needs local views."""
            return self.num_local > 0 and (self.local_to_global or self.local_to_local or self.global_to_local)

        @model_validator(mode="after")
        def _pairs(self) -> Self:
            if not any(getattr(self, name) for name in DIRECTIONS):
                raise ValueError(f"at least one of {', '.join(DIRECTIONS)} must be on. Got none")
            views = len(self.strides) if self.rho == 1 else self.rho
            if self.global_to_global and views < 2:
                raise ValueError("global_to_global needs two global views: give strides two values, or raise rho. Got one view")
            needed = 2 if self.local_to_local else 1 if self.local_to_global or self.global_to_local else 0
            if self.num_local * self.rho < needed:
                raise ValueError(f"num_local must be at least {needed} for the directions that are on. Got {self.num_local}")
            return self

    @classmethod
    def views(cls, cfg: Config) -> ViewPlan:  # type: ignore[override]
        """A clip as long as the slowest view; of it global views of every frame rate, and the local ones."""
        span = max((cfg.num_frames - 1) * max(cfg.strides), (cfg.local_frames - 1) * max(cfg.local_strides)) + 1
        groups = [
            ViewSpec(
                name="global",
                augmentation=cfg.augmentation,
                views_per_clip=len(cfg.strides) if cfg.rho == 1 else 1,
                num_frames=cfg.num_frames,
                strides=cfg.strides,
            )
        ]
        if cfg.uses_local:
            groups.append(
                ViewSpec(
                    name="local",
                    augmentation=cfg.local_augmentation,
                    views_per_clip=cfg.num_local,
                    num_frames=cfg.local_frames,
                    strides=cfg.local_strides,
                )
            )
        return ViewPlan(groups=tuple(groups), num_clips=cfg.rho, num_frames=span)

    @classmethod
    def signs(cls, cfg: Config) -> tuple[Sign, ...]:  # type: ignore[override]
        """DINO's, section 5.3: a KL of 0 is a constant output, and the entropy tells which."""
        return (
            Sign(
                kind="cluster", says="one dimension dominates the teacher's output", below={"mean_assignment_entropy": log(2)}
            ),
            Sign(
                kind="complete",
                says="the teacher's output is uniform",
                below={"kl": 0.1},
                above={"assignment_entropy": 0.98 * log(cfg.num_dimensions)},
            ),
        )

    def __init__(self, cfg: Config, backbone: BackboneFactory, num_records: int):
        super().__init__(cfg, backbone, num_records)
        self.cfg = cfg
        self.backbone = backbone("student")
        dims = (self.backbone.embed_dim, *cfg.projector)
        self.projector = dino_projector(dims, batch_norm=cfg.projector_batch_norm)  # type: ignore[arg-type]
        self.last = WeightNormLinear(cfg.projector[-1], cfg.num_dimensions)
        self.teacher = Teacher(self.backbone, self.projector, self.last)
        self.centre = Centre(cfg.num_dimensions)

    def forward(self, views: Views, ctx: StepContext) -> Output:
        """A term a direction, together the mean over all chosen pairs of views; metrics of the teacher's assignments."""
        groups = [views.group("global")] + ([views.group("local")] if self.cfg.uses_local else [])
        h = torch.cat([self.backbone(p.flatten(0, 1)).unflatten(0, p.shape[:2]) for p in groups], dim=1)
        z = self.projector(h.flatten(0, 1))
        student = wide(self.last(z)).unflatten(0, h.shape[:2])
        teaching = groups if self.cfg.local_to_local or self.cfg.global_to_local else groups[:1]
        taught = [[wide(x).unflatten(0, p.shape[:2]) for x in self.teacher(p.flatten(0, 1))] for p in teaching]
        teacher = torch.cat([logits for _, _, logits in taught], dim=1)
        terms = distillation.self_distillation(
            student,
            teacher,
            self.centre.value,
            student_temperature=self.cfg.student_temperature,
            teacher_temperature=self.cfg.teacher_temperature,
        )
        shown = groups[0].shape[1]
        pairs = self._pairs(shown, h.shape[1], teacher.shape[1], h.device)
        count = torch.stack(list(pairs.values())).sum()
        losses = {name: terms.cross_entropy[which].sum() / count for name, which in pairs.items()}
        weights = torch.stack([which.sum(dim=1) for which in pairs.values()]).sum(dim=0) / count
        entropy = (weights * terms.entropy).sum()
        mean_assignment = ctx.gather(terms.mean_assignment[None]).mean(dim=0)
        return Output(
            losses=losses,
            features={
                "representation": h[:, :shown].detach().float(),
                "embedding": wide(z.detach()).unflatten(0, h.shape[:2])[:, :shown],
                "teacher": taught[0][1],
            },
            metrics={
                "mean_assignment_entropy": torch.special.entr(mean_assignment).sum(),
                "assignment_entropy": entropy,
                "kl": (torch.stack(list(losses.values())).sum() - entropy).detach(),
            },
            carry={"mean_logits": teacher.mean(dim=(0, 1))[None]},
        )

    def _pairs(self, shown: int, students: int, teachers: int, device: torch.device) -> dict[str, Tensor]:
        """{direction that is on: bool [teachers, students]}: global views come first, and no view matches itself."""
        cfg = self.cfg
        global_student = torch.arange(students, device=device) < shown
        global_teacher = torch.arange(teachers, device=device)[:, None] < shown
        other = ~torch.eye(teachers, students, dtype=torch.bool, device=device)
        found = {
            "local_to_global": ~global_student & global_teacher,
            "global_to_global": global_student & global_teacher & other,
            "local_to_local": ~global_student & ~global_teacher & other,
            "global_to_local": global_student & ~global_teacher,
        }
        return {name: found[name] for name in DIRECTIONS if getattr(cfg, name)}

    def encode(self, pixels: Tensor, branch: str | None = None) -> Tensor:
        """The backbone's output: the teacher's, which the paper evaluates, or the student's.

        Of clips with more frames than a global view, as many as it has are taken, evenly over the clip.
        """
        time, wanted = pixels.shape[2], self.cfg.num_frames
        if time > wanted:
            pixels = pixels[:, :, torch.linspace(0, time - 1, wanted, device=pixels.device).round().long()]
        network = self.teacher[0] if self.resolve_branch(branch) == "teacher" else self.backbone
        return network(pixels)  # type: ignore[no-any-return]

    def embed(self, representation: Tensor, branch: str | None = None) -> Tensor:
        """The projector's output, not normalised."""
        network = self.teacher[1] if self.resolve_branch(branch) == "teacher" else self.projector
        return network(representation)  # type: ignore[no-any-return]

    def after_backward(self, ctx: StepContext) -> None:
        """Keep the last layer still at the start: without gradient no optimizer moves or decays it."""
        if ctx.epoch < self.cfg.freeze_last_layer_epochs:
            for parameter in self.last.parameters():
                parameter.grad = None

    @torch.no_grad()
    def after_step(self, outputs: Sequence[Output], ctx: StepContext) -> None:
        """Teacher <- EMA of the student; centre <- EMA of the mean logits of all processes."""
        momentum = cosine(ctx.progress, self.cfg.momentum, self.cfg.final_momentum)
        self.teacher.update(self.backbone, self.projector, self.last, momentum=momentum)
        if self.cfg.centring:
            logits = ctx.gather(torch.cat([output.carry["mean_logits"] for output in outputs]))
            self.centre.update(logits, momentum=self.cfg.centre_momentum)
