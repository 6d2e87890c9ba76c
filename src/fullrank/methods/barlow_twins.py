"""Barlow Twins: cross-correlation of two views to the identity (Zbontar et al., ICML 2021, arXiv 2103.03230).

Idea: each dimension of the embedding agrees between two views of a record and is uncorrelated with every other dimension.
Data flow: view i -> backbone -> h -> projector -> z_i, standardised over the batch -> cross-correlation C of z_1 and z_2 ->
sum (1 - C_ii)^2 + lambda sum C_ij^2.
What prevents collapse: the diagonal (a constant dimension correlates with nothing) and the off-diagonal terms.
What breaks it: lambda 0, which leaves copies of one dimension (the paper's table 5, 300 epochs, linear: 57.3 % instead of
71.4 %); only the off-diagonal terms (0.1 %); narrow embeddings (it gains up to 16384 dimensions).
At complete collapse: invariance = the width of the embedding (times ``loss_scale``), redundancy 0.
Deviations: with more than two views the mean over all pairs. Views go through the network one by one, as the authors', and
correlations are those of the global batch. Biases and norms have the learning rate of the weights (the authors: 0.0048
instead of 0.2).
The paper's number: ResNet-50, ImageNet, batch 2048, 1000 epochs, linear 73.2 % top-1 (73.5 % in the authors' README). Ours:
docs/results.md.
"""

from itertools import combinations
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from fullrank.config import Augmentation, Settings
from fullrank.heads import mlp
from fullrank.methods._method import BackboneFactory, Guard, Method, wide
from fullrank.objectives import decorrelation
from fullrank.types import Output, StepContext, ViewPlan, Views
from fullrank.views.plan import multi_view


class BarlowTwins(Method):
    """See the top of this file."""

    guards = {
        "redundancy reduction": Guard(
            off={"redundancy_weight": 0.0},
            expect="dimensional",
            source="Zbontar et al., 2021, table 5: only the invariance term, 57.3 instead of 71.4 %; the kind is our guess",
        ),
        "batch norm": Guard(
            off={"batch_norm": False},
            expect="no collapse",
            source="Zbontar et al., 2021, table 5: no BatchNorm in the projector, 71.2 instead of 71.4 %",
        ),
    }

    class Config(Settings):
        """Settings of Barlow Twins."""

        rho: Annotated[int, Field(ge=1)] = 1
        """temporal clips of a record that are positives of each other (1: two views of one clip)"""
        augmentation: Augmentation = Augmentation()
        """how views are made"""
        projector: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (8192, 8192, 8192)
        """widths of the projector's layers"""
        batch_norm: bool = True
        """whether the projector has BatchNorm between its layers"""
        redundancy_weight: Annotated[float, Field(ge=0.0)] = 0.0051
        """lambda; 0 leaves dimensions free to copy each other"""
        loss_scale: Annotated[float, Field(gt=0.0)] = 1.0
        """factor on both terms (solo-learn: 0.1 for CIFAR-10); matters to optimizers without LARS's or Adam's scaling"""

    @classmethod
    def views(cls, cfg: Config) -> ViewPlan:  # type: ignore[override]
        """Two views of one clip, or one view of each of rho clips."""
        return multi_view(cfg.rho, cfg.augmentation)

    def __init__(self, cfg: Config, backbone: BackboneFactory, num_records: int):
        super().__init__(cfg, backbone, num_records)
        self.cfg = cfg
        self.backbone = backbone("student")
        # no last bias: the embedding is centred before it is correlated
        self.projector = mlp(
            (self.backbone.embed_dim, *cfg.projector),  # type: ignore[arg-type]
            batch_norm=cfg.batch_norm,
            last_bias=False,
        )

    def forward(self, views: Views, ctx: StepContext) -> Output:
        """Terms "invariance" and "redundancy" of the global batch."""
        h = [self.backbone(pixels) for pixels in views.group("view").unbind(dim=1)]
        z = torch.stack([wide(self.projector(one)) for one in h], dim=1)
        everywhere = ctx.gather(z).unbind(dim=1)
        terms = [decorrelation.barlow_twins(z0, z1) for z0, z1 in combinations(everywhere, 2)]
        scale = self.cfg.loss_scale
        return Output(
            losses={
                "invariance": scale * torch.stack([term.invariance for term in terms]).mean(),
                "redundancy": scale * self.cfg.redundancy_weight * torch.stack([term.redundancy for term in terms]).mean(),
            },
            features={"representation": torch.stack(h, dim=1).detach().float(), "embedding": z.detach().float()},
        )

    def at_collapse(self, batch_size: int) -> dict[str, float]:
        """The width of the embedding, and 0."""
        return {"invariance": self.cfg.loss_scale * self.cfg.projector[-1], "redundancy": 0.0}

    def encode(self, pixels: Tensor, branch: str | None = None) -> Tensor:
        """The backbone's output."""
        self.resolve_branch(branch)
        return self.backbone(pixels)  # type: ignore[no-any-return]

    def embed(self, representation: Tensor, branch: str | None = None) -> Tensor:
        """The projector's output, not standardised."""
        self.resolve_branch(branch)
        return self.projector(representation)  # type: ignore[no-any-return]
