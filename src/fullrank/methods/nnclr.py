"""NNCLR: nearest neighbours as positives (Dwibedi, Aytar, Tompson, Sermanet, Zisserman, ICCV 2021, arXiv 2104.14548).

Idea: the positive of a view is not another view of the record but, of the embeddings seen lately, the one nearest to it.
Data flow: view i -> backbone -> h -> projector -> z_i -> its nearest neighbour n_i in the queue; view j -> ... z_j -> predictor
-> p_j; InfoNCE of n_i against p_j among the p_j of all records, both ways; then queue <- z of the first view.
What prevents collapse: the negatives, which are the predictions of the other records.
What breaks it: a short queue, whose nearest neighbours are not near; one that is old beside the learning rate.
At complete collapse: log(batch), and accuracy 0.
Deviations: with more than two views the mean over all ordered pairs. The BatchNorm of the projector's last layer has no
scale and shift. Neighbours are searched in the whole queue, which starts with random unit vectors.
The paper's number: ResNet-50, ImageNet, batch 4096, 1000 epochs, linear 75.4 % top-1, with multi-crop 75.6 %. Ours:
docs/results.md.
"""

import math
from collections.abc import Sequence
from itertools import permutations
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from fullrank.config import Augmentation, Settings
from fullrank.errors import SettingError
from fullrank.heads import mlp
from fullrank.memory import Queue
from fullrank.methods._method import BackboneFactory, Guard, Method, wide
from fullrank.objectives import contrastive
from fullrank.types import Output, StepContext, ViewPlan, Views
from fullrank.views.plan import multi_view


class NNCLR(Method):
    """See the top of this file."""

    guards = {
        "predictor": Guard(
            off={"predictor": False},
            expect="no collapse",
            source="Dwibedi et al., 2021, ablation of the prediction head: a small loss of accuracy",
        ),
        "batch norm": Guard(off={"batch_norm": False}, expect="no collapse", source="our expectation: the negatives remain"),
    }

    class Config(Settings):
        """Settings of NNCLR."""

        rho: Annotated[int, Field(ge=1)] = 1
        """temporal clips of a record that are positives of each other (1: two views of one clip)"""
        augmentation: Augmentation = Augmentation()
        """how views are made"""
        projector: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (2048, 2048, 256)
        """widths of the projector's layers"""
        predictor: bool = True
        """whether there is a predictor (g)"""
        predictor_hidden: Annotated[int, Field(ge=1)] = 4096
        """width of the predictor's hidden layer; its output is as wide as the embedding"""
        batch_norm: bool = True
        """whether the heads have BatchNorm (after every layer of the projector, and in the predictor)"""
        temperature: Annotated[float, Field(gt=0.0)] = 0.1
        """tau"""
        queue_length: Annotated[int, Field(ge=1)] = 98304
        """m: embeddings of earlier steps among which neighbours are searched (Q), at least a batch"""

    @classmethod
    def views(cls, cfg: Config) -> ViewPlan:  # type: ignore[override]
        """Two views of one clip, or one view of each of rho clips."""
        return multi_view(cfg.rho, cfg.augmentation)

    @classmethod
    def check(cls, cfg: Config, *, batch_size: int, world: int) -> None:  # type: ignore[override]
        """A step's embeddings must fit into the queue."""
        if cfg.queue_length < batch_size:
            raise SettingError(
                f"method.queue_length must be at least the records of a batch, {batch_size}. Got {cfg.queue_length}; raise "
                "--method.queue-length, to many batches if there are as many records, or lower --data.batch-size."
            )

    def __init__(self, cfg: Config, backbone: BackboneFactory, num_records: int):
        super().__init__(cfg, backbone, num_records)
        self.cfg = cfg
        self.backbone = backbone("student")
        width = cfg.projector[-1]
        self.projector = mlp(
            (self.backbone.embed_dim, *cfg.projector),  # type: ignore[arg-type]
            batch_norm=cfg.batch_norm,
            last_batch_norm=cfg.batch_norm,
        )
        self.predictor = (
            mlp((width, cfg.predictor_hidden, width), batch_norm=cfg.batch_norm) if cfg.predictor else nn.Identity()
        )
        self.queue = Queue(cfg.queue_length, width)

    def forward(self, views: Views, ctx: StepContext) -> Output:
        """Term "info_nce" of the global batch; metric "accuracy": how often the neighbour finds its record."""
        representations, embeddings, predictions = [], [], []
        for pixels in views.group("view").unbind(dim=1):
            representations.append(self.backbone(pixels))
            embeddings.append(wide(self.projector(representations[-1])))
            predictions.append(wide(self.predictor(embeddings[-1])))
        z, p = torch.stack(embeddings, dim=1), torch.stack(predictions, dim=1)
        neighbours = contrastive.nearest(z.detach().flatten(0, 1), self.queue.contents.to(z)).unflatten(0, z.shape[:2])
        found, predicted = ctx.gather(neighbours), ctx.gather(p)
        terms = [
            contrastive.paired_nce(found[:, i], predicted[:, j], temperature=self.cfg.temperature)
            for i, j in permutations(range(z.shape[1]), 2)
        ]
        return Output(
            losses={"info_nce": torch.stack([term.loss for term in terms]).mean()},
            features={
                "representation": torch.stack(representations, dim=1).detach().float(),
                "embedding": z.detach().float(),
                "prediction": p.detach().float(),
            },
            metrics={"accuracy": torch.stack([term.accuracy for term in terms]).mean()},
            carry={"embedding": F.normalize(z[:, 0].detach(), dim=-1)},
        )

    def at_collapse(self, batch_size: int) -> dict[str, float]:
        """log(batch)."""
        return {"info_nce": math.log(batch_size)}

    def encode(self, pixels: Tensor, branch: str | None = None) -> Tensor:
        """The backbone's output."""
        self.resolve_branch(branch)
        return self.backbone(pixels)  # type: ignore[no-any-return]

    def embed(self, representation: Tensor, branch: str | None = None) -> Tensor:
        """The projector's output, not normalised."""
        self.resolve_branch(branch)
        return self.projector(representation)  # type: ignore[no-any-return]

    @torch.no_grad()
    def after_step(self, outputs: Sequence[Output], ctx: StepContext) -> None:
        """Queue <- the first view's embeddings of all processes."""
        for output in outputs:
            self.queue.push(ctx.gather(output.carry["embedding"]))
