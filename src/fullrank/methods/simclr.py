"""SimCLR: contrast within the batch (Chen, Kornblith, Norouzi, Hinton, ICML 2020, arXiv 2002.05709).

Idea: find the other view of a record among the views of all other records of the batch.
Data flow: clips -> views -> backbone -> h -> projector -> z -> NT-Xent over the whole batch.
What prevents collapse: the negatives, which are the views of the other records.
What breaks it: small batches (few negatives); weak augmentation, above all no colour jitter, which lets colour
histograms solve the task; a high temperature.
At complete collapse: log(1 + views (batch - 1)), so log(2 batch - 1) with two views.
Deviations: with more than two views every ordered pair of a record's views counts, and its other views are not
negatives of a pair (PySlowFast pairs neighbouring clips when it runs clips one by one). All views go through the
network in one call, as in the authors' code.
The paper's number: ResNet-50, ImageNet, batch 4096, 1000 epochs, linear 69.3 % top-1. For video, Slow ResNet-50 on
Kinetics-400, 200 epochs, rho 1 / 2 / 3: linear 36.1 / 60.5 / 62.0 % (Feichtenhofer et al., CVPR 2021). Ours:
docs/results.md.
"""

import math
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from fullrank.config import Augmentation, Settings
from fullrank.heads import mlp
from fullrank.methods._method import BackboneFactory, Guard, Method, wide
from fullrank.objectives import contrastive
from fullrank.types import Output, StepContext, ViewPlan, Views
from fullrank.views.plan import multi_view


class SimCLR(Method):
    """See the top of this file."""

    guards = {
        "batch norm": Guard(
            off={"projector_batch_norm": "none"}, expect="no collapse", source="our expectation: the negatives remain"
        ),
    }
    """the negatives, which prevent its collapse, are no setting"""

    class Config(Settings):
        """Settings of SimCLR."""

        rho: Annotated[int, Field(ge=1)] = 1
        """temporal clips of a record that are positives of each other (1: two views of one clip)"""
        augmentation: Augmentation = Augmentation()
        """how views are made"""
        projector: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (2048, 128)
        """widths of the projector's layers"""
        projector_batch_norm: Literal["none", "hidden", "all"] = "all"
        """where the projector has BatchNorm; the authors' code has it after every layer"""
        temperature: Annotated[float, Field(gt=0.0)] = 0.1
        """tau"""

    @classmethod
    def views(cls, cfg: Config) -> ViewPlan:  # type: ignore[override]
        """Two views of one clip, or one view of each of rho clips."""
        return multi_view(cfg.rho, cfg.augmentation)

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
        """Term "nt_xent" of the global batch."""
        pixels = views.group("view")
        shape = pixels.shape[:2]
        h = self.backbone(pixels.flatten(0, 1))
        z = wide(self.projector(h)).unflatten(0, shape)
        return Output(
            losses={"nt_xent": contrastive.nt_xent(ctx.gather(z), temperature=self.cfg.temperature)},
            features={"representation": h.detach().float().unflatten(0, shape), "embedding": z.detach()},
        )

    def at_collapse(self, batch_size: int) -> dict[str, float]:
        """log(1 + views (batch - 1))."""
        return {"nt_xent": math.log(1 + max(2, self.cfg.rho) * (batch_size - 1))}

    def encode(self, pixels: Tensor, branch: str | None = None) -> Tensor:
        """The backbone's output."""
        self.resolve_branch(branch)
        return self.backbone(pixels)  # type: ignore[no-any-return]

    def embed(self, representation: Tensor, branch: str | None = None) -> Tensor:
        """The projector's output."""
        self.resolve_branch(branch)
        return self.projector(representation)  # type: ignore[no-any-return]
