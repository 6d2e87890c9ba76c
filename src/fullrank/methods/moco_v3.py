"""MoCo v3: momentum contrast within the batch (Chen, Xie, He, ICCV 2021, arXiv 2104.02057).

Idea: find the other view of a record, as a slowly moving teacher sees it, among what the teacher sees of all other
records of the batch; no queue, and a predictor on the student's side.
Data flow: view i -> student backbone -> h -> projector -> z -> predictor -> query; view j -> teacher backbone ->
projector -> key; InfoNCE of the query against the keys of the whole batch, both ways; then teacher <- EMA of the student.
(Student = the paper's f_q, teacher = f_k.)
What prevents collapse: the negatives, which are the keys of the other records.
What breaks it: nothing collapses, but a transformer's training has dips, which a patch projection that stays at its
random start cures (``frozen_patch_projection``); small batches; no momentum, no predictor, or heads without BatchNorm
cost accuracy (the paper's section 6.2, ViT-B, 300 epochs, linear: 74.3, 75.5 and 74.4 % instead of 76.5 %; without BatchNorm
a batch of 4096 does not converge, 2048 does).
At complete collapse: 2 tau times 2 log(batch), both directions counted, and accuracy 0.
Deviations: with more than two views the mean over all ordered pairs, times 2, which for two views is the paper's sum of
both directions; views go through the networks one by one, each with BatchNorm statistics of its own, as the authors'.
Weight decay spares biases and norms (the authors' AdamW decays them). The teacher follows after a step and not before the
next one, which gives the same keys.
The paper's number: ResNet-50, ImageNet, batch 4096, 100 / 300 / 1000 epochs, linear 68.9 / 72.8 / 74.6 % top-1; ViT-S /
ViT-B, 300 epochs, 73.2 / 76.7 % (README of the authors' code). Ours: docs/results.md.
"""

from collections.abc import Sequence
from itertools import permutations
from math import log
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from fullrank.config import Augmentation, Prob, Settings
from fullrank.errors import SettingError
from fullrank.heads import mlp
from fullrank.methods._method import BackboneFactory, Guard, Method, wide
from fullrank.objectives import contrastive
from fullrank.schedules import cosine
from fullrank.teacher import Teacher
from fullrank.types import Output, StepContext, ViewPlan, Views
from fullrank.views.plan import multi_view

DIRECTIONS = 2
"""the paper's loss is the sum of both; ours the mean over ordered pairs of views, times this"""


class MoCoV3(Method):
    """See the top of this file."""

    branches = ("student", "teacher")
    guards = {
        "momentum network": Guard(
            off={"momentum": 0.0, "final_momentum": 0.0},
            expect="no collapse",
            source="Chen, Xie, He, 2021, section 6.2: momentum 0 gives 74.3 instead of 76.5 %; the negatives remain",
        ),
        "predictor": Guard(
            off={"predictor": False},
            expect="no collapse",
            source="Chen, Xie, He, 2021, section 6.2: without it 75.5 instead of 76.5 %",
        ),
        "batch norm": Guard(
            off={"batch_norm": False},
            expect="no collapse",
            source="Chen, Xie, He, 2021, section 6.2: heads without it 74.4 instead of 76.5 %, with a batch of 2048",
        ),
    }

    class Config(Settings):
        """Settings of MoCo v3."""

        rho: Annotated[int, Field(ge=1)] = 1
        """temporal clips of a record that are positives of each other (1: two views of one clip)"""
        augmentation: Augmentation = Augmentation(min_scale=0.2, saturation=0.2, blur_prob=(1.0, 0.1), solarize_prob=(0.0, 0.2))
        """how views are made"""
        projector: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (4096, 256)
        """widths of the projector's layers, BatchNorm after each (the paper: two layers for a ResNet, three for a ViT)"""
        predictor: bool = True
        """a head on the student's side"""
        predictor_hidden: Annotated[int, Field(ge=1)] = 4096
        """width of the predictor's hidden layer; its output is as wide as the embedding"""
        predictor_last_batch_norm: bool = False
        """BatchNorm at the predictor's end (the paper: for a ViT, not for a ResNet)"""
        batch_norm: bool = True
        """BatchNorm in projector and predictor"""
        temperature: Annotated[float, Field(gt=0.0)] = 1.0
        """tau (the paper: 1 for a ResNet, 0.2 for a ViT); the loss is scaled by 2 tau"""
        momentum: Prob = 0.99
        """m at the start: the share of the teacher that is kept in a step"""
        final_momentum: Prob = 1.0
        """m at the end, reached along half a cosine"""
        frozen_patch_projection: bool = False
        """a transformer's patch projection stays at its random start (the paper: steadier)"""

    @classmethod
    def views(cls, cfg: Config) -> ViewPlan:  # type: ignore[override]
        """Two views of one clip, or one view of each of rho clips."""
        return multi_view(cfg.rho, cfg.augmentation)

    def __init__(self, cfg: Config, backbone: BackboneFactory, num_records: int):
        super().__init__(cfg, backbone, num_records)
        self.cfg = cfg
        self.backbone = backbone("student")
        if cfg.frozen_patch_projection:
            _freeze_patch_projection(self.backbone)
        dims = (self.backbone.embed_dim, *cfg.projector)
        self.projector = mlp(
            dims,  # type: ignore[arg-type]
            batch_norm=cfg.batch_norm,
            last_batch_norm=cfg.batch_norm,
            last_bias=False,
        )
        self.predictor: nn.Module = nn.Identity()
        if cfg.predictor:
            self.predictor = mlp(
                (cfg.projector[-1], cfg.predictor_hidden, cfg.projector[-1]),
                batch_norm=cfg.batch_norm,
                last_batch_norm=cfg.batch_norm and cfg.predictor_last_batch_norm,
                last_bias=False,
            )
        self.teacher = Teacher(self.backbone, self.projector)

    def forward(self, views: Views, ctx: StepContext) -> Output:
        """Term "info_nce" of the global batch; metric "accuracy": how often a query's own key is the nearest."""
        representations, embeddings, queries, keys = [], [], [], []
        for pixels in views.group("view").unbind(dim=1):
            representations.append(self.backbone(pixels))
            embeddings.append(self.projector(representations[-1]))
            queries.append(wide(self.predictor(embeddings[-1])))
            keys.append(wide(self.teacher(pixels)[-1]))
        everywhere, all_keys = ctx.gather(torch.stack(queries, dim=1)), ctx.gather(torch.stack(keys, dim=1))
        tau = self.cfg.temperature
        terms = [
            contrastive.paired_nce(everywhere[:, i], all_keys[:, j], temperature=tau)
            for i, j in permutations(range(len(queries)), 2)
        ]
        return Output(
            losses={"info_nce": DIRECTIONS * 2 * tau * torch.stack([term.loss for term in terms]).mean()},
            features={
                "representation": torch.stack(representations, dim=1).detach().float(),
                "embedding": torch.stack(embeddings, dim=1).detach().float(),
                "prediction": torch.stack(queries, dim=1).detach(),
                "teacher": torch.stack(keys, dim=1),
            },
            metrics={"accuracy": torch.stack([term.accuracy for term in terms]).mean()},
        )

    def encode(self, pixels: Tensor, branch: str | None = None) -> Tensor:
        """The backbone's output: the student's, which the paper evaluates, or the teacher's."""
        network = self.teacher[0] if self.resolve_branch(branch) == "teacher" else self.backbone
        return network(pixels)  # type: ignore[no-any-return]

    def embed(self, representation: Tensor, branch: str | None = None) -> Tensor:
        """The projector's output, not normalised."""
        network = self.teacher[1] if self.resolve_branch(branch) == "teacher" else self.projector
        return network(representation)  # type: ignore[no-any-return]

    def at_collapse(self, batch_size: int) -> dict[str, float]:
        """2 tau log(batch) for each of the two directions."""
        return {"info_nce": DIRECTIONS * 2 * self.cfg.temperature * log(batch_size)}

    @torch.no_grad()
    def after_step(self, outputs: Sequence[Output], ctx: StepContext) -> None:
        """Teacher <- EMA of the student, with momentum along half a cosine."""
        self.teacher.update(
            self.backbone, self.projector, momentum=cosine(ctx.progress, self.cfg.momentum, self.cfg.final_momentum)
        )


def _freeze_patch_projection(backbone: nn.Module) -> None:
    patches = getattr(backbone, "patch_embed", None)
    if not isinstance(patches, nn.Module):
        raise SettingError(
            "frozen_patch_projection must be used with a transformer, which has a patch projection (patch_embed). "
            f"Got {type(backbone).__name__}; set --backbone.name vit, or --method.no-frozen-patch-projection."
        )
    patches.requires_grad_(False)
