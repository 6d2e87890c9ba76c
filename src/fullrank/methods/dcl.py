"""DCL: decoupled contrastive learning (Yeh, Hong, Hsu, Liu, Chen, LeCun, ECCV 2022, arXiv 2110.06848).

Idea: SimCLR whose denominator leaves the positive pair out, because there it weakens the gradient of easy positives and of
small batches (negative-positive coupling).
Data flow: clips -> views -> backbone -> h -> projector -> z -> -w cos(z, z+) / tau + log of the sum over the views of all other
records; w = 1 (DCL), or larger for positives that are far apart (``weighted``: DCLW).
What prevents collapse: the negatives, which are the views of the other records.
What breaks it: weak augmentation, as in SimCLR; small batches much less than there.
At complete collapse: log(views (batch - 1)), so log(2 batch - 2) with two views; the loss can be negative.
Deviations: with more than two views every ordered pair of a record's views counts, and its other views are not
negatives of a pair. The mean over pairs, as public code (the paper's equation sums); DCLW's weights carry no gradient, as
lightly's. All views go through the network in one call.
The paper's number: ResNet-50, ImageNet, batch 256, 200 epochs, linear 68.2 % top-1 with settings tuned for it (abstract;
its first version: 66.9 % with SimCLR's settings; SimCLR itself 61.8 %). Ours: docs/results.md.
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


class DCL(Method):
    """See the top of this file."""

    guards = {
        "batch norm": Guard(
            off={"projector_batch_norm": "none"}, expect="no collapse", source="our expectation: the negatives remain"
        ),
    }

    class Config(Settings):
        """Settings of DCL."""

        rho: Annotated[int, Field(ge=1)] = 1
        """temporal clips of a record that are positives of each other (1: two views of one clip)"""
        augmentation: Augmentation = Augmentation()
        """how views are made"""
        projector: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (2048, 128)
        """widths of the projector's layers"""
        projector_batch_norm: Literal["none", "hidden", "all"] = "all"
        """where the projector has BatchNorm"""
        temperature: Annotated[float, Field(gt=0.0)] = 0.1
        """tau"""
        weighted: bool = False
        """DCLW: positives that are far apart count more (negative von Mises-Fisher weights)"""
        sigma: Annotated[float, Field(gt=0.0)] = 0.5
        """sigma of the weights, with ``weighted`` only: smaller makes them more unequal"""

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
        """Term "decoupled" of the global batch."""
        pixels = views.group("view")
        shape = pixels.shape[:2]
        h = self.backbone(pixels.flatten(0, 1))
        z = wide(self.projector(h)).unflatten(0, shape)
        sigma = self.cfg.sigma if self.cfg.weighted else None
        return Output(
            losses={"decoupled": contrastive.decoupled(ctx.gather(z), temperature=self.cfg.temperature, sigma=sigma)},
            features={"representation": h.detach().float().unflatten(0, shape), "embedding": z.detach().float()},
        )

    def at_collapse(self, batch_size: int) -> dict[str, float]:
        """log(views (batch - 1)), weighted or not."""
        return {"decoupled": math.log(max(2, self.cfg.rho) * (batch_size - 1))}

    def encode(self, pixels: Tensor, branch: str | None = None) -> Tensor:
        """The backbone's output."""
        self.resolve_branch(branch)
        return self.backbone(pixels)  # type: ignore[no-any-return]

    def embed(self, representation: Tensor, branch: str | None = None) -> Tensor:
        """The projector's output."""
        self.resolve_branch(branch)
        return self.projector(representation)  # type: ignore[no-any-return]
