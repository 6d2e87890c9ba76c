"""W-MSE: whitened mean squared error (Ermolov, Siarohin, Sangineto, Sebe, ICML 2021, arXiv 2007.06346).

Idea: whiten the embeddings of a batch, then pull the views of a record together: whitened points cannot all be one point.
Data flow: view i -> backbone -> h -> projector -> v_i; records dealt at random into parts; in each part the rows of a view
are whitened (Cholesky) -> z_i; 2 - 2 cos(z_i, z_j), the mean over all pairs of views.
What prevents collapse: the whitening, a spherical distribution by construction; no negatives, no asymmetry.
What breaks it: whitening few rows of a wide embedding, whose covariance is then mostly noise (at least twice as many rows
as dimensions; the paper: 128 rows of 64).
At complete collapse: 2, because whitened rows are 0 (without ``epsilon`` there is no whitening: an error; without
``whitening`` 0).
Deviations: whitening sees the global batch of all processes, in float64. ``epsilon`` is 1e-6 and not 0, so that an embedding
that loses rank shows in the spectra instead of ending the run; the authors' default is 0.
The paper's number: ResNet-18, CIFAR-10, 1000 epochs, linear 91.55 % top-1 with two views and 91.99 % with four; ImageNet-100,
240 epochs, four views, 79.02 %. Ours: docs/results.md.
"""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from fullrank.config import Augmentation, Settings
from fullrank.errors import SettingError
from fullrank.heads import mlp
from fullrank.methods._method import BackboneFactory, Guard, Method, wide
from fullrank.objectives import decorrelation
from fullrank.types import Output, StepContext, ViewPlan, Views
from fullrank.views.plan import multi_view


class WMSE(Method):
    """See the top of this file."""

    guards = {
        "whitening": Guard(
            off={"whitening": False},
            expect="complete",
            source="Ermolov et al., 2021, section 3: without the constraint on the distribution all points may be one",
        ),
    }

    class Config(Settings):
        """Settings of W-MSE."""

        rho: Annotated[int, Field(ge=1)] = 1
        """temporal clips of a record that are positives of each other (1: two views of one clip)"""
        augmentation: Augmentation = Augmentation()
        """how views are made"""
        projector: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (1024, 64)
        """widths of the projector's layers; the last is narrow, because it is whitened"""
        batch_norm: bool = True
        """whether the projector has BatchNorm between its layers"""
        whitening: bool = True
        """whether embeddings are whitened; without it they collapse"""
        whitening_size: Annotated[int, Field(ge=2)] | None = 128
        """records that are whitened together, at least twice the embedding's width (None: the whole batch)"""
        whitening_iterations: Annotated[int, Field(ge=1)] = 1
        """how often the batch is dealt into parts and whitened; the loss is the mean"""
        epsilon: Annotated[float, Field(ge=0.0, lt=1.0)] = 1e-6
        """share of the identity in the covariance that is inverted (authors: 0)"""

    @classmethod
    def views(cls, cfg: Config) -> ViewPlan:  # type: ignore[override]
        """Two views of one clip, or one view of each of rho clips."""
        return multi_view(cfg.rho, cfg.augmentation)

    @classmethod
    def check(cls, cfg: Config, *, batch_size: int, world: int) -> None:  # type: ignore[override]
        """The batch must be dealt into whole parts, each with more records than the embedding has dimensions."""
        if not cfg.whitening:
            return
        size, width = cfg.whitening_size or batch_size, cfg.projector[-1]
        if batch_size % size:
            raise SettingError(
                f"The records of a batch must be a multiple of method.whitening_size, {size}. Got {batch_size}; change "
                "--data.batch-size or --method.whitening-size."
            )
        if size <= width:
            raise SettingError(
                f"The records whitened together must be more than the embedding's width, {width} (twice it is usual). Got "
                f"{size}; raise --data.batch-size and --method.whitening-size, or narrow the last layer of "
                "--method.projector."
            )

    def __init__(self, cfg: Config, backbone: BackboneFactory, num_records: int):
        super().__init__(cfg, backbone, num_records)
        self.cfg = cfg
        self.backbone = backbone("student")
        # no last bias: whitening centres
        self.projector = mlp(
            (self.backbone.embed_dim, *cfg.projector),  # type: ignore[arg-type]
            batch_norm=cfg.batch_norm,
            last_bias=not cfg.whitening,
        )

    def forward(self, views: Views, ctx: StepContext) -> Output:
        """Term "w_mse" of the global batch."""
        h = torch.stack([self.backbone(pixels) for pixels in views.group("view").unbind(dim=1)], dim=1)
        v = wide(self.projector(h.flatten(0, 1))).unflatten(0, h.shape[:2])
        return Output(
            losses={"w_mse": self._loss(ctx.gather(v), ctx.generator)},
            features={"representation": h.detach().float(), "embedding": v.detach().float()},
        )

    def _loss(self, v: Tensor, generator: torch.Generator | None) -> Tensor:
        """Of all records [n, views, d]; every process deals them in the same way."""
        if not self.cfg.whitening:
            return decorrelation.normalized_mse(v)
        self.check(self.cfg, batch_size=len(v), world=1)
        size = self.cfg.whitening_size or len(v)
        orders = [torch.randperm(len(v), generator=generator).view(-1, size) for _ in range(self.cfg.whitening_iterations)]
        losses = [decorrelation.w_mse(v, order.to(v.device), epsilon=self.cfg.epsilon) for order in orders]
        return torch.stack(losses).mean()

    def at_collapse(self, batch_size: int) -> dict[str, float]:
        """2, or 0 without whitening; nothing without epsilon, where it is an error."""
        if not self.cfg.whitening:
            return {"w_mse": 0.0}
        return {"w_mse": 2.0} if self.cfg.epsilon else {}

    def encode(self, pixels: Tensor, branch: str | None = None) -> Tensor:
        """The backbone's output."""
        self.resolve_branch(branch)
        return self.backbone(pixels)  # type: ignore[no-any-return]

    def embed(self, representation: Tensor, branch: str | None = None) -> Tensor:
        """The projector's output, not whitened."""
        self.resolve_branch(branch)
        return self.projector(representation)  # type: ignore[no-any-return]
