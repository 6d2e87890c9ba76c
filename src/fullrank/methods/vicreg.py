"""VICReg: variance, invariance, covariance (Bardes, Ponce, LeCun, ICLR 2022, arXiv 2105.04906).

Idea: pull the views of a record together, and keep each dimension of the embedding spread and uncorrelated with the others.
Data flow: clips -> views -> backbone -> h -> projector -> z -> variance + invariance + covariance over the whole batch.
What prevents collapse: the variance term (a hinge on each standard deviation) and the covariance term.
What breaks it: variance weight 0 (complete collapse of z within some hundred steps); SGD with large learning rates on
large backbones, where the paper uses LARS.
At complete collapse: invariance 0, variance weight * (gamma - 0.01) = 24.75, covariance 0.
Deviations: all views go through the network in one call, so BatchNorm sees them together (the authors run one branch at a
time); with more than two views the terms are means over all pairs.
The paper's number: ResNet-50, ImageNet, 1000 epochs, linear 73.2 % top-1. Ours: docs/results.md.
"""

from typing import Annotated

from pydantic import Field
from torch import Tensor

from fullrank.config import Augmentation, Settings
from fullrank.heads import mlp
from fullrank.methods._method import BackboneFactory, Method, wide
from fullrank.objectives import decorrelation
from fullrank.types import Output, StepContext, ViewPlan, Views
from fullrank.views.plan import multi_view


class VICReg(Method):
    """See the top of this file."""

    class Config(Settings):
        """Settings of VICReg."""

        rho: Annotated[int, Field(ge=1)] = 1
        """temporal clips of a record that are positives of each other (1: two views of one clip)"""
        augmentation: Augmentation = Augmentation()
        """how views are made"""
        projector: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (8192, 8192, 8192)
        """widths of the projector's layers"""
        invariance_weight: Annotated[float, Field(ge=0.0)] = 25.0
        """lambda"""
        variance_weight: Annotated[float, Field(ge=0.0)] = 25.0
        """mu; 0 lets the embedding collapse"""
        covariance_weight: Annotated[float, Field(ge=0.0)] = 1.0
        """nu, for the covariance term divided by the width of the embedding"""
        target_std: Annotated[float, Field(gt=0.0)] = 1.0
        """gamma"""

    @classmethod
    def views(cls, cfg: Config) -> ViewPlan:  # type: ignore[override]
        """Two views of one clip, or one view of each of rho clips."""
        return multi_view(cfg.rho, cfg.augmentation)

    def __init__(self, cfg: Config, backbone: BackboneFactory, num_records: int):
        super().__init__(cfg, backbone, num_records)
        self.cfg = cfg
        self.backbone = backbone("student")
        # no last bias: none of the three terms changes when all embeddings are shifted
        self.projector = mlp((self.backbone.embed_dim, *cfg.projector), last_bias=False)  # type: ignore[arg-type]

    def forward(self, views: Views, ctx: StepContext) -> Output:
        """Terms "invariance", "variance" and "covariance" of the global batch."""
        pixels = views.group("view")
        shape = pixels.shape[:2]
        h = self.backbone(pixels.flatten(0, 1))
        z = wide(self.projector(h)).unflatten(0, shape)
        terms = decorrelation.vicreg(ctx.gather(z), target_std=self.cfg.target_std)
        return Output(
            losses={
                "invariance": self.cfg.invariance_weight * terms.invariance,
                "variance": self.cfg.variance_weight * terms.variance,
                "covariance": self.cfg.covariance_weight * terms.covariance,
            },
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
