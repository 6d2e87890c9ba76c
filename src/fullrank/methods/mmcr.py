"""MMCR: maximum manifold capacity representations (Yerxa, Kuang, Simoncelli, Chung, NeurIPS 2023, arXiv 2303.03307).

Idea: the views of a record are a small manifold on the sphere, and many such manifolds can be told apart where each is tight
and their centres point in different directions. One norm asks for both: the mean of unit vectors is long only where they agree.
Data flow: clips -> views -> backbone -> h -> projector -> z -> unit length -> mean over the views of a record: its centroid;
minus the nuclear norm of the matrix of the whole batch's centroids.
What prevents collapse: the nuclear norm (the sum of the singular values) itself: n equal unit centroids have sqrt(n), n
orthogonal ones n. No negatives are named, and there is no teacher, no predictor and no whitening.
What breaks it: a single record at a time, whose centroid only has to be long. A small batch asks for little: n centroids
need n directions, so dimensions beyond the batch's records are asked for by other batches only (our expectation).
At complete collapse: -sqrt(batch), where -sqrt(batch min(batch, d)) is the least; with ``local_weight`` also its product with
sqrt(views).
Deviations: no teacher. The authors' code for ImageNet also has, as its default, a form whose centroid is the mean of the
student's and of an EMA teacher's; what is here is their form without it. Only centroids are gathered, not views; the term of
each record's own views is a mean over records and needs no gather.
The paper's number: not looked up in the paper. Zhang et al., NeurIPS 2025 (CLAMP, README) quote ResNet-50, ImageNet, 100
epochs, linear 71.5 % top-1, with eight views and with four and a teacher. Ours: docs/results.md.
"""

from dataclasses import replace
from typing import Annotated, Self

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional as F

from fullrank.config import Augmentation, Settings
from fullrank.errors import SettingError
from fullrank.heads import mlp
from fullrank.methods._method import BackboneFactory, Guard, Method, wide
from fullrank.types import Output, StepContext, ViewPlan, Views
from fullrank.views.plan import multi_view


def nuclear_norm(matrix: Float[Tensor, "*batch rows d"]) -> Float[Tensor, "*batch"]:
    """Sum of the singular values.

    ||C||_* = sum_r sigma_r(C); the loss is -||C||_* of the centroids c_i = (1/k) sum_j z_ij / ||z_ij|| of n records with k
    views each, plus lambda (1/n) sum_i ||Z_i||_* of each record's own unit views (Yerxa et al., 2023). Of n rows that are at
    most 1 long the norm lies in [0, sqrt(n min(n, d))]; at complete collapse, n equal rows of length 1, it is sqrt(n). What is
    not finite has the norm NaN.

    >>> round(nuclear_norm(torch.tensor([[1.0, 0.0], [0.0, 1.0]])).item(), 4)
    2.0
    >>> round(nuclear_norm(torch.tensor([[1.0, 0.0]] * 4)).item(), 4)
    2.0
    """
    with torch.autocast(matrix.device.type, enabled=False):
        if not bool(matrix.isfinite().all()):
            return matrix.sum(dim=(-2, -1)) * torch.nan  # the decomposition would raise; the engine names the term and the step
        singular_values: Tensor = torch.linalg.svdvals(matrix)
        return singular_values.sum(dim=-1)


class MMCR(Method):
    """See the top of this file."""

    guards = {
        "batch norm": Guard(
            off={"batch_norm": False}, expect="no collapse", source="our expectation: the nuclear norm alone prevents collapse"
        ),
    }
    """the nuclear norm, which prevents its collapse, is no setting"""

    class Config(Settings):
        """Settings of MMCR."""

        rho: Annotated[int, Field(ge=1)] = 1
        """temporal clips of a record that are positives of each other (1: views of one clip)"""
        views_per_clip: Annotated[int, Field(ge=1)] | None = None
        """views of each clip; k is rho times this (None: two of a single clip, one of each of several)"""
        augmentation: Augmentation = Augmentation()
        """how views are made"""
        projector: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (8192, 8192, 512)
        """widths of the projector's layers"""
        batch_norm: bool = True
        """whether the projector has BatchNorm between its layers"""
        local_weight: Annotated[float, Field(ge=0.0)] = 0.0
        """lambda, of the nuclear norm of each record's own views; 0: the term is not computed"""

        @model_validator(mode="after")
        def _several(self) -> Self:
            if self.rho == 1 and self.views_per_clip == 1:
                raise ValueError("a record must have at least 2 views. Got rho 1 and views_per_clip 1; raise one of them")
            return self

    @classmethod
    def views(cls, cfg: Config) -> ViewPlan:  # type: ignore[override]
        """Two views of one clip, or one view of each of rho clips, unless ``views_per_clip`` says how many."""
        plan = multi_view(cfg.rho, cfg.augmentation)
        if cfg.views_per_clip is None:
            return plan
        return replace(plan, groups=(replace(plan.groups[0], views_per_clip=cfg.views_per_clip),))

    @classmethod
    def check(cls, cfg: Config, *, batch_size: int, world: int) -> None:  # type: ignore[override]
        """There must be another record."""
        if batch_size < 2:
            raise SettingError(f"MMCR must see at least 2 records at once. Got {batch_size}; raise --data.batch-size.")

    def __init__(self, cfg: Config, backbone: BackboneFactory, num_records: int):
        super().__init__(cfg, backbone, num_records)
        self.cfg = cfg
        self.backbone = backbone("student")
        self.projector = mlp(
            (self.backbone.embed_dim, *cfg.projector),  # type: ignore[arg-type]
            batch_norm=cfg.batch_norm,
            last_bias=False,
        )

    def forward(self, views: Views, ctx: StepContext) -> Output:
        """Term "centroids" of the global batch; with ``local_weight`` term "local" of this process' records."""
        pixels = views.group("view")
        shape = pixels.shape[:2]
        h = self.backbone(pixels.flatten(0, 1))
        z = wide(self.projector(h)).unflatten(0, shape)
        unit = F.normalize(z, dim=-1)
        losses = {"centroids": -nuclear_norm(ctx.gather(unit.mean(dim=1)))}
        if self.cfg.local_weight:
            losses["local"] = self.cfg.local_weight * nuclear_norm(unit).mean()
        return Output(
            losses=losses,
            features={"representation": h.detach().float().unflatten(0, shape), "embedding": z.detach().float()},
        )

    def at_collapse(self, batch_size: int) -> dict[str, float]:
        """-sqrt(batch), and ``local_weight`` times sqrt(views) where there is one."""
        expected = {"centroids": -(batch_size**0.5)}
        if self.cfg.local_weight:
            plan = self.views(self.cfg)
            expected["local"] = self.cfg.local_weight * (plan.num_clips * plan.groups[0].views_per_clip) ** 0.5
        return expected

    def encode(self, pixels: Tensor, branch: str | None = None) -> Tensor:
        """The backbone's output."""
        self.resolve_branch(branch)
        return self.backbone(pixels)  # type: ignore[no-any-return]

    def embed(self, representation: Tensor, branch: str | None = None) -> Tensor:
        """The projector's output."""
        self.resolve_branch(branch)
        return self.projector(representation)  # type: ignore[no-any-return]
