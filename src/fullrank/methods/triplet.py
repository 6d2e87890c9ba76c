"""Triplet siamese: views of a record closer than other records by a margin (Wang and Gupta, ICCV 2015, arXiv 1505.00687).

Idea: an anchor must be nearer to another view of its record than to any other record, by a margin.
Data flow: clips -> views -> backbone -> h -> projector -> z -> unit vectors; for each anchor and positive a negative is
mined in the batch; triplet loss.
What prevents collapse: the negatives, and that they are mined gently: semi-hard ones are farther than the positive.
What breaks it: the hardest negatives from the start on: it is then cheaper to draw everything together, where the loss is
the margin (Schroff et al., "FaceNet", CVPR 2015, section 3.2, call it f(x) = 0); a margin of 0.
At complete collapse: the margin; metric "active" is then 1.
Deviations: positives are views of a record, where Wang and Gupta track patches through a video and Schroff et al. have
labels; mining sees the batch of all processes, as FaceNet's.
The paper's number: AlexNet on 100,000 web videos, unsupervised, PASCAL VOC 2012 detection 52 % mAP (an ensemble). Ours:
docs/results.md.
"""

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from fullrank.config import Augmentation, Settings
from fullrank.heads import mlp
from fullrank.methods._method import BackboneFactory, Guard, Method, wide
from fullrank.objectives import contrastive
from fullrank.types import Output, StepContext, ViewPlan, Views
from fullrank.views.plan import multi_view


class Triplet(Method):
    """See the top of this file."""

    guards = {
        "gentle mining": Guard(
            off={"mining": "hardest"}, expect="complete", source="Schroff et al., CVPR 2015, section 3.2: a collapsed model"
        ),
        "batch norm": Guard(off={"batch_norm": False}, expect="no collapse", source="our expectation: the negatives remain"),
    }

    class Config(Settings):
        """Settings of the triplet siamese network."""

        rho: Annotated[int, Field(ge=1)] = 1
        """temporal clips of a record that are positives of each other (1: two views of one clip)"""
        augmentation: Augmentation = Augmentation()
        """how views are made"""
        projector: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (2048, 128)
        """widths of the projector's layers"""
        batch_norm: bool = True
        """whether the projector has BatchNorm in its hidden layers"""
        margin: Annotated[float, Field(ge=0.0)] = 0.2
        """alpha: how much nearer the positive must be, in squared distance"""
        mining: Literal["semi_hard", "hardest", "all"] = "semi_hard"
        """semi_hard: the nearest negative farther than the positive; hardest: the nearest; all: every negative"""
        normalize: bool = True
        """embeddings on the unit sphere"""

    @classmethod
    def views(cls, cfg: Config) -> ViewPlan:  # type: ignore[override]
        """Two views of one clip, or one view of each of rho clips."""
        return multi_view(cfg.rho, cfg.augmentation)

    def __init__(self, cfg: Config, backbone: BackboneFactory, num_records: int):
        super().__init__(cfg, backbone, num_records)
        self.cfg = cfg
        self.backbone = backbone("student")
        self.projector = mlp((self.backbone.embed_dim, *cfg.projector), batch_norm=cfg.batch_norm)  # type: ignore[arg-type]

    def forward(self, views: Views, ctx: StepContext) -> Output:
        """Term "triplet" of the global batch; metric "active": triplets within the margin, 0..1."""
        pixels = views.group("view")
        shape = pixels.shape[:2]
        h = self.backbone(pixels.flatten(0, 1))
        z = wide(self.projector(h)).unflatten(0, shape)
        cfg = self.cfg
        terms = contrastive.triplet(ctx.gather(z), margin=cfg.margin, mining=cfg.mining, normalize=cfg.normalize)
        return Output(
            losses={"triplet": terms.loss},
            features={"representation": h.detach().float().unflatten(0, shape), "embedding": z.detach().float()},
            metrics={"active": terms.active},
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
        """The margin."""
        return {"triplet": self.cfg.margin}
