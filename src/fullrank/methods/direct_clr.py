"""DirectCLR: contrast a part of the representation, no projector (Jing, Vincent, LeCun, Tian, ICLR 2022, arXiv 2110.09348).

Idea: a projector protects the representation from the dimensional collapse that a contrastive loss brings; a linear one does
so by being low-rank and diagonal, so a fixed part of the representation can take its place.
Data flow: view i -> backbone -> h_i -> its first d0 dimensions -> z_i; InfoNCE of z_i against z_j of the batch, both ways.
What prevents collapse: the negatives, against one point; the dimensions without a loss, which the residual connections
keep in the game, against a representation of low rank.
What breaks it: the loss on all dimensions (the paper's table 1: SimCLR without a projector, 51.5 % instead of 62.7 %); very
small or very large d0.
At complete collapse: log(batch), and accuracy 0.
Deviations: with more than two views the mean over all ordered pairs. As in the authors' code the loss is on normalised
vectors, and only the other view's records are negatives (the paper's equation 1 has distances and the own view's; lightly's
loss of this name is SimCLR's on the first dimensions).
The paper's number: ResNet-50, ImageNet, 100 epochs, linear 62.7 % top-1 (SimCLR with a linear projector 61.1, with the usual
one 66.5 %); batch 4096 and d0 360 as in the authors' code. Ours: docs/results.md.
"""

import math
from itertools import permutations
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from fullrank.config import Augmentation, Settings
from fullrank.errors import SettingError
from fullrank.methods._method import BackboneFactory, Guard, Method, wide
from fullrank.objectives import contrastive
from fullrank.types import Output, StepContext, ViewPlan, Views
from fullrank.views.plan import multi_view


class DirectCLR(Method):
    """See the top of this file."""

    guards = {
        "subvector": Guard(
            off={"subvector_dim": None},
            expect="dimensional",
            source="Jing et al., 2022, table 1 and figure 9: SimCLR without projector, 51.5 instead of 62.7 %, low rank",
        ),
    }

    class Config(Settings):
        """Settings of DirectCLR."""

        rho: Annotated[int, Field(ge=1)] = 1
        """temporal clips of a record that are positives of each other (1: two views of one clip)"""
        augmentation: Augmentation = Augmentation()
        """how views are made"""
        subvector_dim: Annotated[int, Field(ge=1)] | None = 360
        """d0: the first so many dimensions of the representation have a loss (None: all, SimCLR without a projector)"""
        temperature: Annotated[float, Field(gt=0.0)] = 0.1
        """tau"""

    @classmethod
    def views(cls, cfg: Config) -> ViewPlan:  # type: ignore[override]
        """Two views of one clip, or one view of each of rho clips."""
        return multi_view(cfg.rho, cfg.augmentation)

    @classmethod
    def check(cls, cfg: Config, *, batch_size: int, world: int) -> None:  # type: ignore[override]
        """There must be another record."""
        if batch_size < 2:
            raise SettingError(f"DirectCLR must see at least 2 records at once. Got {batch_size}; raise --data.batch-size.")

    def __init__(self, cfg: Config, backbone: BackboneFactory, num_records: int):
        super().__init__(cfg, backbone, num_records)
        self.cfg = cfg
        self.backbone = backbone("student")
        width: int = self.backbone.embed_dim  # type: ignore[assignment]
        if cfg.subvector_dim is not None and cfg.subvector_dim > width:
            raise SettingError(
                f"method.subvector_dim must be at most the representation's width, {width}. Got {cfg.subvector_dim}; the paper "
                f"takes 360 of 2048, which is {max(1, round(360 / 2048 * width))} here."
            )

    def forward(self, views: Views, ctx: StepContext) -> Output:
        """Term "info_nce" of the global batch; metric "accuracy": how often a view is nearest to its partner."""
        h = torch.stack([wide(self.backbone(pixels)) for pixels in views.group("view").unbind(dim=1)], dim=1)
        z = self.embed(h)
        everywhere = ctx.gather(z).unbind(dim=1)
        terms = [contrastive.paired_nce(a, b, temperature=self.cfg.temperature) for a, b in permutations(everywhere, 2)]
        return Output(
            losses={"info_nce": torch.stack([term.loss for term in terms]).mean()},
            features={"representation": h.detach().float(), "embedding": z.detach().float()},
            metrics={"accuracy": torch.stack([term.accuracy for term in terms]).mean()},
        )

    def at_collapse(self, batch_size: int) -> dict[str, float]:
        """log(batch)."""
        return {"info_nce": math.log(batch_size)}

    def encode(self, pixels: Tensor, branch: str | None = None) -> Tensor:
        """The backbone's output, all of it."""
        self.resolve_branch(branch)
        return self.backbone(pixels)  # type: ignore[no-any-return]

    def embed(self, representation: Tensor, branch: str | None = None) -> Tensor:
        """The dimensions that have a loss."""
        self.resolve_branch(branch)
        return representation[..., : self.cfg.subvector_dim]
