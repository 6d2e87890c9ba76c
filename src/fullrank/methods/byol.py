"""BYOL: predict what a slowly moving teacher sees (Grill et al., NeurIPS 2020, arXiv 2006.07733).

Idea: a student predicts the teacher's embedding of another view of the record; the teacher follows the student; no
negatives.
Data flow: view i -> student backbone -> h -> projector -> z -> predictor -> p; view j -> teacher backbone ->
projector -> z'; 2 - 2 cos(p, z'); then teacher <- EMA of the student. (Student = the paper's online network, teacher
= target network.)
What prevents collapse: no term of the loss does (its minimum, 0, is reached by a constant); the predictor, the EMA
and BatchNorm keep training away from that solution.
What breaks it: no predictor or momentum 0 (the paper's table 5, 300 epochs, linear: 0.2 and 0.3 % instead of 72.5 %); heads
without BatchNorm or another normalisation; a predictor with too small a learning rate.
At complete collapse: 0 once the predictor has learned the constant, so watch the spectra and not the loss.
Deviations: with more than two views the mean over all ordered pairs, times ``loss_weight``; views go through the
networks one by one, each with BatchNorm statistics of its own, as the authors'.
The paper's number: ResNet-50, ImageNet, batch 4096, 1000 epochs, linear 74.3 % top-1. For video, Slow ResNet-50 on
Kinetics-400, 200 epochs, rho 1 / 2 / 3 / 4: linear 60.6 / 65.8 / 68.3 / 68.9 % (Feichtenhofer et al., CVPR 2021).
Ours: docs/results.md.
"""

from collections.abc import Sequence
from itertools import permutations
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from fullrank.config import Augmentation, Prob, Settings
from fullrank.heads import mlp
from fullrank.methods._method import BackboneFactory, Guard, Method, wide
from fullrank.objectives import distillation
from fullrank.schedules import cosine
from fullrank.teacher import Teacher
from fullrank.types import Output, StepContext, ViewPlan, Views
from fullrank.views.plan import multi_view


class BYOL(Method):
    """See the top of this file."""

    branches = ("student", "teacher")
    guards = {
        "predictor": Guard(
            off={"predictor": False},
            expect="complete",
            source="Grill et al., 2020, table 5b: 0.2 % without the predictor, instead of 72.5 %",
        ),
        "momentum network": Guard(
            off={"momentum": 0.0, "final_momentum": 0.0},
            expect="complete",
            source="Grill et al., 2020, table 5a: 0.3 % where the teacher is the student without gradient",
        ),
        "batch norm": Guard(
            off={"batch_norm": False},
            expect="complete",
            source="Richemond et al., 2020, arXiv 2010.10241: without any normalisation it collapses",
        ),
        "weight decay": Guard(
            off={},
            optimizer={"weight_decay": 0.0},
            expect="no collapse",
            source="Tian, Chen, Ganguli, ICML 2021, arXiv 2102.06810: decay speeds up what predictor and EMA do",
        ),
    }

    class Config(Settings):
        """Settings of BYOL."""

        rho: Annotated[int, Field(ge=1)] = 1
        """temporal clips of a record that are positives of each other (1: two views of one clip)"""
        augmentation: Augmentation = Augmentation()
        """how views are made"""
        projector: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (4096, 256)
        """widths of the projector's layers (g)"""
        predictor: bool = True
        """the predictor (q); off: the student's embedding itself is compared with the teacher's"""
        predictor_hidden: Annotated[int, Field(ge=1)] = 4096
        """width of the predictor's hidden layer (q); its output is as wide as the embedding"""
        momentum: Prob = 0.996
        """tau at the start: the share of the teacher that is kept in a step (0 here and at the end: teacher = student)"""
        final_momentum: Prob = 1.0
        """tau at the end, reached along half a cosine"""
        loss_weight: Annotated[float, Field(gt=0.0)] = 2.0
        """factor on the mean over ordered pairs of views; 2: the paper's sum of both directions"""
        batch_norm: bool = True
        """BatchNorm in projector and predictor"""

    @classmethod
    def views(cls, cfg: Config) -> ViewPlan:  # type: ignore[override]
        """Two views of one clip, or one view of each of rho clips."""
        return multi_view(cfg.rho, cfg.augmentation)

    def __init__(self, cfg: Config, backbone: BackboneFactory, num_records: int):
        super().__init__(cfg, backbone, num_records)
        self.cfg = cfg
        self.backbone = backbone("student")
        self.projector = mlp((self.backbone.embed_dim, *cfg.projector), batch_norm=cfg.batch_norm)  # type: ignore[arg-type]
        self.predictor: nn.Module = nn.Identity()
        if cfg.predictor:
            self.predictor = mlp((cfg.projector[-1], cfg.predictor_hidden, cfg.projector[-1]), batch_norm=cfg.batch_norm)
        self.teacher = Teacher(self.backbone, self.projector)

    def forward(self, views: Views, ctx: StepContext) -> Output:
        """Term "regression": a mean over samples, so nothing is gathered."""
        representations, embeddings, predictions, targets = [], [], [], []
        for pixels in views.group("view").unbind(dim=1):
            representations.append(self.backbone(pixels))
            embeddings.append(self.projector(representations[-1]))
            predictions.append(wide(self.predictor(embeddings[-1])))
            targets.append(wide(self.teacher(pixels)[-1]))
        pairs = [distillation.regression(predictions[i], targets[j]) for i, j in permutations(range(len(predictions)), 2)]
        return Output(
            losses={"regression": self.cfg.loss_weight * torch.stack(pairs).mean()},
            features={
                "representation": torch.stack(representations, dim=1).detach().float(),
                "embedding": torch.stack(embeddings, dim=1).detach().float(),
                "prediction": torch.stack(predictions, dim=1).detach(),
                "teacher": torch.stack(targets, dim=1),
            },
        )

    def encode(self, pixels: Tensor, branch: str | None = None) -> Tensor:
        """The backbone's output: the student's, which the paper evaluates, or the teacher's."""
        network = self.teacher[0] if self.resolve_branch(branch) == "teacher" else self.backbone
        return network(pixels)  # type: ignore[no-any-return]

    def embed(self, representation: Tensor, branch: str | None = None) -> Tensor:
        """The projector's output."""
        network = self.teacher[1] if self.resolve_branch(branch) == "teacher" else self.projector
        return network(representation)  # type: ignore[no-any-return]

    def at_collapse(self, batch_size: int) -> dict[str, float]:
        """0, which is its minimum too."""
        return {"regression": 0.0}

    @torch.no_grad()
    def after_step(self, outputs: Sequence[Output], ctx: StepContext) -> None:
        """Teacher <- EMA of the student, with momentum along half a cosine."""
        self.teacher.update(
            self.backbone, self.projector, momentum=cosine(ctx.progress, self.cfg.momentum, self.cfg.final_momentum)
        )
