"""LeJEPA: prediction between views and an isotropic Gaussian embedding (Balestriero, LeCun, 2025, arXiv 2511.08544).

Idea: every view's embedding is near the mean embedding of the record's global views, and embeddings are distributed as a
standard normal, which random one-dimensional slices of them are tested for.
Data flow: global views (and small local ones) -> backbone -> h -> projector -> z; (1 - lambda) mean (mean of global z - z)^2
+ lambda SIGReg(z), SIGReg = the mean over views and random unit directions of the Epps-Pulley statistic of z along them.
What prevents collapse: SIGReg, for a point, a line or any low-rank set is not Gaussian along most directions; no teacher, no
stop-gradient, no predictor.
What breaks it: lambda 0; batches too small for the statistic (the paper's table 1c, ViT-L/14, ImageNet, 100 epochs, linear:
72.2 % with 128 records, 74.1 to 74.7 % with 256 to 1024).
At complete collapse: prediction 0; SIGReg depends on the point, and is large: at least 0.41 batch lambda.
Deviations: slices are drawn from the step's generator, and the statistic is that of the global batch. t_max 5 and 17 points
as the paper's algorithm; the authors' later code integrates to 3 with 33 points. The prediction is divided by the width as
in the algorithm, which lambda belongs to. Views of one size go through the network in one call.
The paper's number: ViT-H/14, ImageNet, linear 79 % top-1 (abstract). Ours: docs/results.md.
"""

from dataclasses import replace
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from fullrank.config import Augmentation, Prob, Settings
from fullrank.heads import mlp
from fullrank.methods._method import BackboneFactory, Guard, Method, wide
from fullrank.objectives import gaussianity
from fullrank.types import Output, StepContext, ViewPlan, Views, ViewSpec
from fullrank.views.plan import multi_view


class LeJEPA(Method):
    """See the top of this file."""

    guards = {
        "SIGReg": Guard(
            off={"sigreg_weight": 0.0},
            expect="complete",
            source="Balestriero and LeCun, 2025, section 5: the prediction loss alone has the constant as a solution",
        ),
        "batch norm": Guard(
            off={"batch_norm": False}, expect="no collapse", source="our expectation: SIGReg alone prevents collapse"
        ),
    }

    class Config(Settings):
        """Settings of LeJEPA."""

        rho: Annotated[int, Field(ge=1)] = 1
        """temporal clips of a record, each a global view (1: two global views of one clip)"""
        augmentation: Augmentation = Augmentation(min_scale=0.3)
        """how global views are made"""
        num_local: Annotated[int, Field(ge=0)] = 0
        """small views of each clip besides (multi-crop; authors: 6)"""
        local_augmentation: Augmentation = Augmentation(size_pixels=96, min_scale=0.05, max_scale=0.3)
        """how the small views are made"""
        projector: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (2048, 2048, 128)
        """widths of the projector's layers"""
        batch_norm: bool = True
        """whether the projector has BatchNorm between its layers"""
        sigreg_weight: Prob = 0.05
        """lambda; the prediction has 1 - lambda; 0 lets the embedding collapse"""
        num_slices: Annotated[int, Field(ge=1)] = 1024
        """|A|, random directions in a step"""
        t_max: Annotated[float, Field(gt=0.0)] = 5.0
        """characteristic functions are compared on [-t_max, t_max]"""
        num_points: Annotated[int, Field(ge=3)] = 17
        """points of the integral over them, an odd number"""

        @property
        def target_std(self) -> float:
            """Of each dimension of the embedding, that of the standard normal; the collapse alarm reads it."""
            return 1.0

    @classmethod
    def views(cls, cfg: Config) -> ViewPlan:  # type: ignore[override]
        """Two views of one clip, or one view of each of rho clips; and the small ones of each clip."""
        plan = multi_view(cfg.rho, cfg.augmentation)
        if not cfg.num_local:
            return plan
        local = ViewSpec(name="local", augmentation=cfg.local_augmentation, views_per_clip=cfg.num_local)
        return replace(plan, groups=(*plan.groups, local))

    def __init__(self, cfg: Config, backbone: BackboneFactory, num_records: int):
        super().__init__(cfg, backbone, num_records)
        self.cfg = cfg
        self.backbone = backbone("student")
        self.projector = mlp((self.backbone.embed_dim, *cfg.projector), batch_norm=cfg.batch_norm)  # type: ignore[arg-type]

    def forward(self, views: Views, ctx: StepContext) -> Output:
        """Terms "prediction" and "sigreg" of the global batch."""
        groups = [views.group("view")] + ([views.group("local")] if self.cfg.num_local else [])
        h = torch.cat([self.backbone(p.flatten(0, 1)).unflatten(0, p.shape[:2]) for p in groups], dim=1)
        z = wide(self.projector(h.flatten(0, 1))).unflatten(0, h.shape[:2])
        shown = groups[0].shape[1]
        directions = torch.randn(z.shape[-1], self.cfg.num_slices, generator=ctx.generator).to(z)
        terms = gaussianity.lejepa(
            ctx.gather(z),
            F.normalize(directions, dim=0),
            num_global=shown,
            t_max=self.cfg.t_max,
            num_points=self.cfg.num_points,
        )
        return Output(
            losses={
                "prediction": (1.0 - self.cfg.sigreg_weight) * terms.prediction,
                "sigreg": self.cfg.sigreg_weight * terms.sigreg,
            },
            features={"representation": h[:, :shown].detach().float(), "embedding": z[:, :shown].detach().float()},
        )

    def at_collapse(self, batch_size: int) -> dict[str, float]:
        """0 of the prediction; SIGReg depends on the point."""
        return {"prediction": 0.0}

    def encode(self, pixels: Tensor, branch: str | None = None) -> Tensor:
        """The backbone's output."""
        self.resolve_branch(branch)
        return self.backbone(pixels)  # type: ignore[no-any-return]

    def embed(self, representation: Tensor, branch: str | None = None) -> Tensor:
        """The projector's output."""
        self.resolve_branch(branch)
        return self.projector(representation)  # type: ignore[no-any-return]
