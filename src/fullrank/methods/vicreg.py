"""VICReg: variance, invariance, covariance (Bardes, Ponce, LeCun, ICLR 2022, arXiv 2105.04906).

Idea: pull the views of a record together, and keep each dimension of the embedding spread and uncorrelated with the others.
Data flow: clips -> views -> backbone -> h -> projector -> z -> variance + invariance + covariance over the whole batch.
Because each branch is kept spread by itself, branches need not be copies: ``separate_backbones`` gives the second one its own
network (role "second"), and ``streams`` another modality, such as frame differences beside RGB.
What prevents collapse: the variance term (a hinge on each standard deviation) and the covariance term.
What breaks it: variance weight 0 (complete collapse of z within some hundred steps); SGD with large learning rates on
large backbones, where the paper uses LARS.
At complete collapse: invariance 0, variance weight * (gamma - 0.01) = 24.75, covariance 0.
Deviations: all views of a branch go through the network in one call, so BatchNorm sees them together (the authors run one
branch at a time); with more than two views the terms are means over all pairs. With two branches a pair is one view of
each: of one clip where rho is 1, of different clips otherwise. The weights 25, 25, 1 belong to the authors' code: invariance
and covariance divided by the width d, variance the mean of both branches. Texts that print the covariance term without
its 1/d have a term d times as large: ``covariance_divided`` off.
The paper's number: ResNet-50, ImageNet, 1000 epochs, linear 73.2 % top-1. Ours: docs/results.md.
"""

from dataclasses import replace
from itertools import permutations
from typing import Annotated, Self

from pydantic import Field, model_validator
from torch import Tensor, nn

from fullrank.config import Augmentation, Settings
from fullrank.heads import mlp
from fullrank.methods._method import BackboneFactory, Guard, Method, wide
from fullrank.objectives import decorrelation
from fullrank.types import Output, StepContext, Stream, ViewPlan, Views, ViewSpec
from fullrank.views.plan import multi_view
from fullrank.views.streams import CHANNELS, to_stream

EPSILON = 1e-4
"""added to variances under the root, as in the authors' code"""


class VICReg(Method):
    """See the top of this file."""

    branches = ("student", "second")
    """the same network unless ``separate_backbones``, and the same pixels unless ``streams`` differ"""
    guards = {
        "variance term": Guard(
            off={"variance_weight": 0.0}, expect="complete", source="Bardes et al., 2022, table 7: collapses without it"
        ),
        "covariance term": Guard(
            off={"covariance_weight": 0.0},
            expect="dimensional",
            source="Bardes et al., 2022, table 7: 57.5 instead of 68.6 %, not a point; section 4.1: dimensions repeat",
        ),
    }

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
        """nu; 1 belongs to the covariance term that is divided by the width of the embedding"""
        covariance_divided: bool = True
        """divide the sum of squared covariances by the width d, as the paper's equation 4 and code; off: the bare sum that some
        texts print, d times as large, so that nu / d means the same"""
        target_std: Annotated[float, Field(gt=0.0)] = 1.0
        """gamma"""
        separate_backbones: bool = False
        """the second branch has a network and a projector of its own (settings: ``roles.second``)"""
        streams: tuple[Stream, Stream] = ("rgb", "rgb")
        """what each branch sees; streams with other numbers of channels need ``separate_backbones``"""

        @model_validator(mode="after")
        def _channels(self) -> Self:
            first, second = (CHANNELS[stream] for stream in self.streams)
            if first != second and not self.separate_backbones:
                raise ValueError(
                    f"streams must have as many channels where one network sees both. Got {first} and {second} for "
                    f"{self.streams[0]} and {self.streams[1]}; set separate_backbones"
                )
            return self

        @property
        def two_branches(self) -> bool:
            """Whether the branches differ in anything but the draw of their views."""
            return self.separate_backbones or self.streams[0] != self.streams[1]

    @classmethod
    def views(cls, cfg: Config) -> ViewPlan:  # type: ignore[override]
        """Two views of one clip, or one view of each of rho clips; with two branches one such view for each branch."""
        first, second = cfg.streams
        if not cfg.two_branches:
            plan = multi_view(cfg.rho, cfg.augmentation)
            return replace(plan, groups=(replace(plan.groups[0], stream=first),))
        groups = (
            ViewSpec(name="view", augmentation=cfg.augmentation, stream=first),
            ViewSpec(name="second", augmentation=cfg.augmentation, stream=second),
        )
        return ViewPlan(groups=groups, num_clips=cfg.rho)

    def __init__(self, cfg: Config, backbone: BackboneFactory, num_records: int):
        super().__init__(cfg, backbone, num_records)
        self.cfg = cfg
        self.backbone = backbone("student", in_channels=CHANNELS[cfg.streams[0]])
        self.projector = self._expander(self.backbone)
        if cfg.separate_backbones:
            self.second = backbone("second", in_channels=CHANNELS[cfg.streams[1]])
            self.second_projector = self._expander(self.second)

    def _expander(self, backbone: nn.Module) -> nn.Sequential:
        # no last bias: with shared weights none of the three terms changes when all embeddings are shifted
        return mlp((backbone.embed_dim, *self.cfg.projector), last_bias=self.cfg.separate_backbones)  # type: ignore[arg-type]

    def _networks(self, branch: str | None) -> tuple[nn.Module, nn.Module]:
        """Backbone and projector of a branch."""
        if self.resolve_branch(branch) == "second" and self.cfg.separate_backbones:
            return self.second, self.second_projector
        return self.backbone, self.projector

    def forward(self, views: Views, ctx: StepContext) -> Output:
        """Terms "invariance", "variance" and "covariance" of the global batch."""
        h, z = self._project(views.group("view"), "student")
        std = self.cfg.target_std
        if self.cfg.two_branches:
            _, other = self._project(views.group("second"), "second")
            pairs = list(permutations(range(self.cfg.rho), 2)) or [(0, 0)]
            terms = decorrelation.vicreg_across(ctx.gather(z), ctx.gather(other), pairs, target_std=std, epsilon=EPSILON)
        else:
            terms = decorrelation.vicreg(ctx.gather(z), target_std=std, epsilon=EPSILON)
        scale = 1 if self.cfg.covariance_divided else z.shape[-1]
        features = {"representation": h.detach().float(), "embedding": z.detach().float()}
        if self.cfg.two_branches:
            features["second_embedding"] = other.detach().float()
        return Output(
            losses={
                "invariance": self.cfg.invariance_weight * terms.invariance,
                "variance": self.cfg.variance_weight * terms.variance,
                "covariance": self.cfg.covariance_weight * scale * terms.covariance,
            },
            features=features,
        )

    def _project(self, pixels: Tensor, branch: str) -> tuple[Tensor, Tensor]:
        """Representation and embedding of the views of a branch, both [batch, views, d]."""
        backbone, projector = self._networks(branch)
        h = backbone(pixels.flatten(0, 1))
        return h.unflatten(0, pixels.shape[:2]), wide(projector(h)).unflatten(0, pixels.shape[:2])

    def at_collapse(self, batch_size: int) -> dict[str, float]:
        """Variance weight * (gamma - sqrt(epsilon)), the others 0."""
        spread = max(0.0, self.cfg.target_std - EPSILON**0.5)
        return {"invariance": 0.0, "variance": self.cfg.variance_weight * spread, "covariance": 0.0}

    def encode(self, pixels: Tensor, branch: str | None = None) -> Tensor:
        """The output of the branch's backbone; from RGB pixels, which become the branch's stream here."""
        stream = self.cfg.streams[self.branches.index(self.resolve_branch(branch))]
        return self._networks(branch)[0](to_stream(pixels, stream))  # type: ignore[no-any-return]

    def embed(self, representation: Tensor, branch: str | None = None) -> Tensor:
        """The output of the branch's projector."""
        return self._networks(branch)[1](representation)  # type: ignore[no-any-return]
