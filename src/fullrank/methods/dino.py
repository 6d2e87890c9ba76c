"""DINO: self-distillation with no labels (Caron, Touvron, Misra et al., ICCV 2021, arXiv 2104.14294).

Idea: a student finds the soft cluster that a slowly moving teacher gives another view of the record, small views
included; the teacher follows the student.
Data flow: global views and small local ones -> student backbone -> h -> projector -> z -> unit vector -> weight-normalised
layer -> logits; global views -> teacher -> logits, minus the centre, sharpened; cross-entropy of every teacher view with
every other student view; then teacher <- EMA of the student, centre <- EMA of the teacher's mean logits.
What prevents collapse: no term of the loss does, but two operations on the teacher against each other: centring keeps
one dimension from dominating, sharpening (a temperature lower than the student's) keeps the output from uniform; and
the EMA.
What breaks it: no centring (cluster collapse onto one dimension, the cross-entropy goes to 0; with BatchNorm in the
projector it does not show in short runs); no sharpening (uniform
output, the cross-entropy stays at log K); momentum 0; a teacher temperature above 0.06 from the start (the
paper's appendix D: kNN 68.7 % at 0.06, collapse at 0.08; rising from 0.04 to 0.07 gives 69.7 %); a centre that follows too
slowly (centring momentum 0.999: 0.1 %).
At complete collapse: no one value, it depends on weights and centre. The uniform output has log K (K the number of
dimensions), metrics "assignment_entropy" and "mean_assignment_entropy" at log K and "kl" at 0; one dimension that
dominates has all at 0. A loss that stays at log K is the first.
Deviations: the teacher's temperature rises with every step of its warm-up and not from epoch to epoch; with rho >= 2 the
global views are one of each of rho clips, and each clip has its local ones. The paper's warm-up (0.04 to 0.07 in 30
epochs) is the default, the authors' code has 0.04 throughout. Biases in front of a BatchNorm are left out.
The paper's number: ViT-S/16, ImageNet, 800 epochs (README of the authors' code): kNN 74.5 %, linear 77.0 % top-1;
ResNet-50: 67.5 and 75.3 %. Ours: docs/results.md.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import log
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from fullrank.config import Augmentation, Prob, Settings
from fullrank.heads import WeightNormLinear, dino_projector
from fullrank.memory import Centre
from fullrank.methods._method import BackboneFactory, Guard, Method, Sign, wide
from fullrank.objectives import distillation
from fullrank.schedules import cosine
from fullrank.teacher import Teacher
from fullrank.types import Output, StepContext, ViewPlan, Views, ViewSpec
from fullrank.views.plan import multi_view


class DINO(Method):
    """See the top of this file."""

    branches = ("teacher", "student")
    guards = {
        "centring": Guard(
            off={"centring": False, "projector_batch_norm": False},  # BatchNorm in the head stands in for centring
            expect="cluster",
            source="Caron et al., 2021, section 5.3 and figure 7: one dimension dominates, the teacher's entropy goes to 0",
        ),
        "sharpening": Guard(
            off={"teacher_temperature": 1.0, "warmup_teacher_temperature": 1.0},
            expect="complete",
            source="Caron et al., 2021, section 5.3 and figure 7: the output becomes uniform, the entropy log K",
        ),
        "momentum network": Guard(
            off={"momentum": 0.0, "final_momentum": 0.0},
            expect="complete",
            source="Caron et al., 2021, table 7, row 2: kNN 0.1 % without momentum",
        ),
        "batch norm": Guard(
            off={"projector_batch_norm": False},
            expect="no collapse",
            source="Caron et al., 2021, section 3.2: transformers train without any BatchNorm",
        ),
    }

    class Config(Settings):
        """Settings of DINO."""

        rho: Annotated[int, Field(ge=1)] = 1
        """temporal clips of a record that are positives of each other (1: two views of one clip)"""
        augmentation: Augmentation = Augmentation(min_scale=0.4, saturation=0.2, blur_prob=(1.0, 0.1), solarize_prob=(0.0, 0.2))
        """how global views are made"""
        num_local: Annotated[int, Field(ge=0)] = 8
        """small views of each clip besides, for the student only (multi-crop)"""
        local_augmentation: Augmentation = Augmentation(size_pixels=96, min_scale=0.05, max_scale=0.4, saturation=0.2)
        """how local views are made"""
        projector: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (2048, 2048, 256)
        """widths of the projector's layers; the last is the bottleneck that is L2-normalised"""
        projector_batch_norm: bool = False
        """BatchNorm in the projector (the authors: for no backbone; solo-learn and lightly: for ResNets)"""
        num_dimensions: Annotated[int, Field(ge=2)] = 65536
        """K: width of the output"""
        frozen_magnitude: bool = True
        """norm_last_layer: the rows of the last layer have length 1 (steadier; the paper trains them for ViT-S)"""
        freeze_last_layer_epochs: Annotated[float, Field(ge=0.0)] = 1.0
        """epochs at the start in which the last layer does not move"""
        student_temperature: Annotated[float, Field(gt=0.0)] = 0.1
        """tau_s"""
        teacher_temperature: Annotated[float, Field(gt=0.0)] = 0.07
        """tau_t after its warm-up; as high as tau_s or higher: no sharpening"""
        warmup_teacher_temperature: Annotated[float, Field(gt=0.0)] = 0.04
        """tau_t at the start"""
        warmup_teacher_epochs: Annotated[float, Field(ge=0.0)] = 30.0
        """epochs in which tau_t goes linearly from the one to the other"""
        centring: bool = True
        """subtract the centre c from the teacher's logits"""
        centre_momentum: Prob = 0.9
        """m: the share of the centre that is kept in a step"""
        momentum: Prob = 0.996
        """lambda at the start: the share of the teacher that is kept in a step"""
        final_momentum: Prob = 1.0
        """lambda at the end, reached along half a cosine"""

    @classmethod
    def views(cls, cfg: Config) -> ViewPlan:  # type: ignore[override]
        """Global views: two of one clip, or one of each of rho clips; and the local ones of each clip."""
        plan = multi_view(cfg.rho, cfg.augmentation, name="global")
        if not cfg.num_local:
            return plan
        local = ViewSpec(name="local", augmentation=cfg.local_augmentation, views_per_clip=cfg.num_local)
        return replace(plan, groups=(*plan.groups, local))

    @classmethod
    def signs(cls, cfg: Config) -> tuple[Sign, ...]:  # type: ignore[override]
        """Both of section 5.3: a KL of 0 is a constant output, and the entropy tells which."""
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
        self.last = WeightNormLinear(cfg.projector[-1], cfg.num_dimensions, frozen_magnitude=cfg.frozen_magnitude)
        self.teacher = Teacher(self.backbone, self.projector, self.last)
        self.centre = Centre(cfg.num_dimensions)

    def forward(self, views: Views, ctx: StepContext) -> Output:
        """Term "cross_entropy", a mean over samples; metrics of the teacher's assignments: entropies and "kl", in nats."""
        groups = [views.group("global")] + ([views.group("local")] if self.cfg.num_local else [])
        # one call for each size, one for the head: as the authors' multi-crop wrapper
        h = torch.cat([self.backbone(p.flatten(0, 1)).unflatten(0, p.shape[:2]) for p in groups], dim=1)
        z = self.projector(h.flatten(0, 1))
        student = wide(self.last(z)).unflatten(0, h.shape[:2])
        shape = groups[0].shape[:2]
        _, z_teacher, teacher = (wide(part).unflatten(0, shape) for part in self.teacher(groups[0].flatten(0, 1)))
        terms = distillation.self_distillation(
            student,
            teacher,
            self.centre.value,
            student_temperature=self.cfg.student_temperature,
            teacher_temperature=self.teacher_temperature(ctx.epoch),
        )
        others = ~torch.eye(*terms.cross_entropy.shape, dtype=torch.bool, device=student.device)  # not a view with itself
        loss = terms.cross_entropy[others].mean()
        mean_assignment = ctx.gather(terms.mean_assignment[None]).mean(dim=0)
        return Output(
            losses={"cross_entropy": loss},
            features={
                "representation": h[:, : shape[1]].detach().float(),
                "embedding": wide(z.detach()).unflatten(0, h.shape[:2])[:, : shape[1]],
                "teacher": z_teacher,
            },
            metrics={
                "mean_assignment_entropy": torch.special.entr(mean_assignment).sum(),
                "assignment_entropy": terms.entropy.mean(),
                "kl": (loss - terms.entropy.mean()).detach(),
            },
            carry={"mean_logits": teacher.mean(dim=(0, 1))[None]},
        )

    def encode(self, pixels: Tensor, branch: str | None = None) -> Tensor:
        """The backbone's output: the teacher's, which the paper evaluates, or the student's."""
        network = self.teacher[0] if self.resolve_branch(branch) == "teacher" else self.backbone
        return network(pixels)  # type: ignore[no-any-return]

    def embed(self, representation: Tensor, branch: str | None = None) -> Tensor:
        """The projector's output, not normalised."""
        network = self.teacher[1] if self.resolve_branch(branch) == "teacher" else self.projector
        return network(representation)  # type: ignore[no-any-return]

    def teacher_temperature(self, epoch: float) -> float:
        """tau_t: linear over its warm-up, then constant."""
        share = min(epoch / self.cfg.warmup_teacher_epochs, 1.0) if self.cfg.warmup_teacher_epochs else 1.0
        start = self.cfg.warmup_teacher_temperature
        return start + share * (self.cfg.teacher_temperature - start)

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
