"""CVRL: spatiotemporal contrastive video representation learning (Qian, Meng, Gong et al., CVPR 2021, arXiv 2008.03800).

Idea: SimCLR for video: find another clip of a video among the clips of all other videos, where the two clips are drawn
close to each other in time more often than far.
Data flow: near clips -> views, each frame of a clip cropped and coloured alike -> backbone -> h -> projector -> z ->
InfoNCE over the whole batch.
What prevents collapse: the negatives, which are the clips of the other records.
What breaks it: small batches; weak augmentation; augmentation drawn for each frame anew, which destroys motion (the
paper: consistent over time is better); clips drawn uniformly cost accuracy.
At complete collapse: log(1 + views (batch - 1)), so log(2 batch - 1) with two views.
Deviations: the mean over both directions as the paper's equation; the authors' code sums them, which is twice as much.
With more than two clips every ordered pair of a record's views counts, and its other views are no negatives of a pair.
The authors draw the distance of the clips first, with a density that falls linearly from 0 to the longest distance, then
the start of the earlier one.
The paper's number: 3D ResNet-50, Kinetics-400, 16 x 2 frames, batch 1024, 200 / 800 epochs, linear 63.8 / 66.1 % top-1
(README of the authors' code). Ours: docs/results.md.
"""

from dataclasses import replace
from math import log
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from fullrank.config import Augmentation, Settings
from fullrank.heads import mlp
from fullrank.methods._method import BackboneFactory, Guard, Method, wide
from fullrank.objectives import contrastive
from fullrank.types import Output, StepContext, ViewPlan, Views
from fullrank.views.plan import multi_view


class CVRL(Method):
    """See the top of this file."""

    guards = {
        "batch norm": Guard(
            off={"projector_batch_norm": "none"},
            expect="no collapse",
            source="the negatives remain; SimCLR of Feichtenhofer et al., CVPR 2021, has no BatchNorm in its head",
        ),
    }

    class Config(Settings):
        """Settings of CVRL."""

        rho: Annotated[int, Field(ge=1)] = 2
        """temporal clips of a record that are positives of each other (1: two views of one clip; the paper: 2)"""
        sampling: Literal["near", "uniform"] = "near"
        """where the clips of a record start: near ones more often, or anywhere"""
        augmentation: Augmentation = Augmentation(
            min_scale=0.3,
            min_aspect=0.5,
            max_aspect=2.0,
            brightness=0.8,
            contrast=0.8,
            saturation=0.8,
            hue=0.2,
            blur_prob=(1.0, 0.1),
            solarize_prob=(0.0, 0.2),
        )
        """how views are made; one draw for all frames of a clip"""
        projector: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (2048, 2048, 2048, 128)
        """widths of the projector's layers (three hidden ones and the output, as the authors' code)"""
        projector_batch_norm: Literal["none", "hidden", "all"] = "hidden"
        """where the projector has BatchNorm"""
        temperature: Annotated[float, Field(gt=0.0)] = 0.1
        """tau"""

    @classmethod
    def views(cls, cfg: Config) -> ViewPlan:  # type: ignore[override]
        """One view of each of rho clips that are near each other, or two views of one clip."""
        return replace(multi_view(cfg.rho, cfg.augmentation), sampling=cfg.sampling)

    def __init__(self, cfg: Config, backbone: BackboneFactory, num_records: int):
        super().__init__(cfg, backbone, num_records)
        self.cfg = cfg
        self.backbone = backbone("student")
        self.projector = mlp(
            (self.backbone.embed_dim, *cfg.projector),  # type: ignore[arg-type]
            batch_norm=cfg.projector_batch_norm != "none",
            last_batch_norm=cfg.projector_batch_norm == "all",
        )

    def forward(self, views: Views, ctx: StepContext) -> Output:
        """Term "info_nce" of the global batch."""
        pixels = views.group("view")
        shape = pixels.shape[:2]
        h = self.backbone(pixels.flatten(0, 1))
        z = wide(self.projector(h)).unflatten(0, shape)
        return Output(
            losses={"info_nce": contrastive.nt_xent(ctx.gather(z), temperature=self.cfg.temperature)},
            features={"representation": h.detach().float().unflatten(0, shape), "embedding": z.detach()},
        )

    def encode(self, pixels: Tensor, branch: str | None = None) -> Tensor:
        """The backbone's output."""
        self.resolve_branch(branch)
        return self.backbone(pixels)  # type: ignore[no-any-return]

    def embed(self, representation: Tensor, branch: str | None = None) -> Tensor:
        """The projector's output."""
        self.resolve_branch(branch)
        return self.projector(representation)  # type: ignore[no-any-return]

    def at_collapse(self, batch_size: int) -> dict[str, float]:
        """log(1 + views (batch - 1))."""
        return {"info_nce": log(1 + max(2, self.cfg.rho) * (batch_size - 1))}
