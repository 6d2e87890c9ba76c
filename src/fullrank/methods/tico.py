"""TiCo: transformation invariance and covariance contrast (Zhu et al., 2022, arXiv 2206.10698).

Idea: pull the views of a record together, and push each embedding away from the directions that embeddings took lately.
Data flow: view i -> student backbone -> h -> projector -> z, normalised; view j -> teacher -> z'; 1 - cos(z, z') + rho
z^T C z, with C <- beta C + (1 - beta) (mean of z z^T); then teacher <- EMA of the student.
What prevents collapse: the covariance term, a contrast with all embeddings so far at the price of one d x d matrix (the
paper: MoCo with an unlimited memory).
What breaks it: rho 0, which leaves BYOL without a predictor; a beta near 1, which remembers embeddings of an old student.
At complete collapse: invariance 0; the covariance term tends to rho as C forgets what was before.
Deviations: C has no gradient, as in lightly's code (an unofficial one lets it flow through the batch's share of C). B is that
of the global batch. Every pair of views counts once, the earlier through the student (the paper's algorithm has one
direction; ``symmetric``: both), and B is the mean over the student's views. Views go through the networks one by one.
The paper's number: ResNet-50, ImageNet, batch 4096, 1000 epochs, linear 73.4 % top-1. Ours: docs/results.md.
"""

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from fullrank.config import Augmentation, Prob, Settings
from fullrank.heads import mlp
from fullrank.methods._method import BackboneFactory, Guard, Method, wide
from fullrank.objectives import decorrelation
from fullrank.schedules import cosine
from fullrank.teacher import Teacher
from fullrank.types import Output, StepContext, ViewPlan, Views
from fullrank.views.plan import multi_view


class TiCo(Method):
    """See the top of this file."""

    branches = ("student", "teacher")
    guards = {
        "covariance term": Guard(
            off={"covariance_weight": 0.0},
            expect="complete",
            source="Zhu et al., 2022, section 2: it is what avoids the solution of constant vectors",
        ),
        "momentum network": Guard(
            off={"momentum": 0.0, "final_momentum": 0.0},
            expect="no collapse",
            source="our expectation: the covariance term remains",
        ),
        "batch norm": Guard(
            off={"batch_norm": False}, expect="no collapse", source="our expectation: the covariance term remains"
        ),
    }

    class Config(Settings):
        """Settings of TiCo."""

        rho: Annotated[int, Field(ge=1)] = 1
        """temporal clips of a record that are positives of each other (1: two views of one clip)"""
        augmentation: Augmentation = Augmentation()
        """how views are made"""
        projector: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (4096, 256)
        """widths of the projector's layers"""
        batch_norm: bool = True
        """whether the projector has BatchNorm between its layers"""
        covariance_weight: Annotated[float, Field(ge=0.0)] = 8.0
        """rho in the paper; 0 lets the embedding collapse"""
        covariance_momentum: Prob = 0.9
        """beta: the share of the matrix of second moments that is kept in a step"""
        momentum: Prob = 0.99
        """alpha at the start: the share of the teacher that is kept in a step"""
        final_momentum: Prob = 1.0
        """alpha at the end, reached along half a cosine"""
        symmetric: bool = False
        """every view goes through the student and predicts all others (twice the work); off: each pair counts once"""

    covariance: Tensor
    """C: the second moments of the normalised embeddings so far"""

    @classmethod
    def views(cls, cfg: Config) -> ViewPlan:  # type: ignore[override]
        """Two views of one clip, or one view of each of rho clips."""
        return multi_view(cfg.rho, cfg.augmentation)

    def __init__(self, cfg: Config, backbone: BackboneFactory, num_records: int):
        super().__init__(cfg, backbone, num_records)
        self.cfg = cfg
        self.backbone = backbone("student")
        self.projector = mlp((self.backbone.embed_dim, *cfg.projector), batch_norm=cfg.batch_norm)  # type: ignore[arg-type]
        self.teacher = Teacher(self.backbone, self.projector)
        self.register_buffer("covariance", torch.zeros(cfg.projector[-1], cfg.projector[-1]))

    def forward(self, views: Views, ctx: StepContext) -> Output:
        """Terms "invariance" and "covariance": means over samples, but for the second moments, which are the global batch's."""
        pixels = views.group("view")
        last = pixels.shape[1]
        queries = range(last if self.cfg.symmetric else last - 1)
        keyed = range(0 if self.cfg.symmetric else 1, last)
        h = [self.backbone(pixels[:, i]) for i in queries]
        z = [wide(self.projector(one)) for one in h]
        targets = {j: wide(self.teacher(pixels[:, j])[-1]) for j in keyed}
        embedding = torch.stack(z, dim=1).detach()
        memory = self._moments([ctx.gather(embedding)], self.covariance)
        terms = [
            decorrelation.tico(z[i], targets[j], memory)
            for i in queries
            for j in keyed
            if (j != i if self.cfg.symmetric else j > i)
        ]
        return Output(
            losses={
                "invariance": torch.stack([term.invariance for term in terms]).mean(),
                "covariance": self.cfg.covariance_weight * torch.stack([term.covariance for term in terms]).mean(),
            },
            features={
                "representation": torch.stack(h, dim=1).detach().float(),
                "embedding": embedding.float(),
                "teacher": torch.stack(list(targets.values()), dim=1).float(),
            },
            carry={"embedding": embedding},
        )

    def _moments(self, embeddings: Sequence[Tensor], memory: Tensor) -> Tensor:
        """C of this step, [d, d], from the embeddings of all records [n, views, d] and C of the step before.

        Of several micro-batches the mean of their second moments: one step forgets once.
        """
        batch = torch.stack([decorrelation.second_moment(x.flatten(0, 1)) for x in embeddings]).mean(0)
        return memory.lerp(batch.to(memory.dtype), 1.0 - self.cfg.covariance_momentum)

    def at_collapse(self, batch_size: int) -> dict[str, float]:
        """0 of the invariance term; the other depends on what C remembers."""
        return {"invariance": 0.0}

    def encode(self, pixels: Tensor, branch: str | None = None) -> Tensor:
        """The backbone's output: the student's, which the paper evaluates, or the teacher's."""
        network = self.teacher[0] if self.resolve_branch(branch) == "teacher" else self.backbone
        return network(pixels)  # type: ignore[no-any-return]

    def embed(self, representation: Tensor, branch: str | None = None) -> Tensor:
        """The projector's output, not normalised."""
        network = self.teacher[1] if self.resolve_branch(branch) == "teacher" else self.projector
        return network(representation)  # type: ignore[no-any-return]

    @torch.no_grad()
    def after_step(self, outputs: Sequence[Output], ctx: StepContext) -> None:
        """Teacher <- EMA of the student; C <- the second moments that the step used."""
        self.teacher.update(
            self.backbone, self.projector, momentum=cosine(ctx.progress, self.cfg.momentum, self.cfg.final_momentum)
        )
        if outputs:
            embeddings = [ctx.gather(output.carry["embedding"]) for output in outputs]
            self.covariance.copy_(self._moments(embeddings, self.covariance))
