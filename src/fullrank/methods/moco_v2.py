"""MoCo v2: momentum contrast with a queue (Chen, Fan, Girshick, He, 2020, arXiv 2003.04297; He et al., CVPR 2020, 1911.05722).

Idea: find the other view of a record, as a slowly moving teacher sees it, among a long queue of what the teacher saw
before.
Data flow: view i -> student backbone -> h -> projector -> query; view j -> teacher -> key; InfoNCE of the query
against its key and the queue; then teacher <- EMA of the student, queue <- keys. (Student = the paper's query
encoder, teacher = key encoder.)
What prevents collapse: the negatives in the queue, and the momentum that keeps them consistent.
What breaks it: a small momentum (He et al., section 4.1, ResNet-50, queue of 4096, linear: 59.0 % at 0.999, 55.2 % at 0.9,
no convergence at 0); a queue about as large as the data set, which then holds the record itself; BatchNorm that lets a
query recognise its key by shared statistics (`batch_norm_group`).
At complete collapse: log(1 + queue length) once the queue is full of the one vector, and accuracy 0.
Deviations: every pair of views counts once, the earlier as the query (the paper has two views; ``symmetric``: both
ways, as lightly and PySlowFast); views go through the networks one by one, as the authors'. Weight decay spares
biases and norms (the authors decay them). PySlowFast changes no weight until its queue is full; here the queue starts
random, as the authors'.
The paper's number: ResNet-50, ImageNet, 200 / 800 epochs, linear 67.5 / 71.1 % top-1. For video, Slow ResNet-50 on
Kinetics-400, 200 epochs, rho 1 / 2 / 3 / 4: linear 61.0 / 65.8 / 67.3 / 67.8 % (Feichtenhofer et al., CVPR 2021).
Ours: docs/results.md.
"""

from collections.abc import Sequence
from typing import Annotated, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional as F

from fullrank.batch_norm import average_running_statistics, inverse, replace_batch_norm, shuffle_in_blocks
from fullrank.config import Augmentation, Prob, Settings
from fullrank.errors import SettingError
from fullrank.heads import mlp
from fullrank.memory import Queue
from fullrank.methods._method import BackboneFactory, Guard, Method, wide
from fullrank.objectives import contrastive
from fullrank.schedules import cosine
from fullrank.teacher import Teacher
from fullrank.types import Output, StepContext, ViewPlan, Views
from fullrank.views.plan import multi_view


class MoCoV2(Method):
    """See the top of this file."""

    branches = ("student", "teacher")
    guards = {
        "momentum network": Guard(
            off={"momentum": 0.0, "final_momentum": 0.0},
            expect="no collapse",
            source="He et al., 2020, section 4.1: at momentum 0 the loss does not converge; the negatives remain",
        ),
        "shuffled batch norm": Guard(
            off={"batch_norm_group": 8, "shuffle": False},
            expect="no collapse",
            source="He et al., 2020, appendix A.9: without shuffling the batch's statistics solve the task",
        ),
    }

    class Config(Settings):
        """Settings of MoCo v2."""

        rho: Annotated[int, Field(ge=1)] = 1
        """temporal clips of a record that are positives of each other (1: two views of one clip)"""
        augmentation: Augmentation = Augmentation()
        """how views are made"""
        projector: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (2048, 128)
        """widths of the projector's layers (no BatchNorm in it)"""
        temperature: Annotated[float, Field(gt=0.0)] = 0.2
        """tau"""
        queue_length: Annotated[int, Field(ge=1)] = 65536
        """K, the number of negatives; much smaller than the data set times the keys of a record"""
        momentum: Prob = 0.999
        """m at the start: the share of the teacher that is kept in a step"""
        final_momentum: Prob = 0.999
        """m at the end, reached along half a cosine"""
        symmetric: bool = False
        """each view is a query of all others (twice the work); off: each pair of views counts once"""
        batch_norm_group: Annotated[int, Field(ge=2)] | None = None
        """records that BatchNorm sees together. None: plain BatchNorm, no shuffling"""
        shuffle: bool = True
        """keys are shuffled over BatchNorm's groups; off: a query and its key share their statistics"""
        shuffle_block: Annotated[int, Field(ge=2)] | None = None
        """records among which keys are shuffled, a multiple of batch_norm_group (None: twice it)"""

        @model_validator(mode="after")
        def _blocks(self) -> Self:
            if self.shuffle_block is not None:
                if self.batch_norm_group is None:
                    raise ValueError(f"shuffle_block needs batch_norm_group. Got {self.shuffle_block} without it; set both")
                if self.shuffle_block % self.batch_norm_group:
                    raise ValueError(
                        f"shuffle_block must be a multiple of batch_norm_group, {self.batch_norm_group}. "
                        f"Got {self.shuffle_block}"
                    )
            return self

    @classmethod
    def views(cls, cfg: Config) -> ViewPlan:  # type: ignore[override]
        """Two views of one clip, or one view of each of rho clips."""
        return multi_view(cfg.rho, cfg.augmentation)

    @classmethod
    def check(cls, cfg: Config, *, batch_size: int, world: int) -> None:  # type: ignore[override]
        """The queue holds the keys of a step; the records of one process are shuffled, and normalised, in whole blocks."""
        views = max(2, cfg.rho)
        keys = batch_size * (views if cfg.symmetric else views - 1)
        if cfg.queue_length < keys:
            raise SettingError(
                f"method.queue_length must be at least the keys of one step, {keys} for a micro-batch of {batch_size}. "
                f"Got {cfg.queue_length}; raise it, or lower --data.batch-size."
            )
        block = cls._block(cfg) or cfg.batch_norm_group
        if block is not None and batch_size // world % block:
            raise SettingError(
                "The records of a micro-batch on one process (data.batch_size / accumulate_steps / processes) must be a "
                f"multiple of method.shuffle_block, {block} (where not given: twice batch_norm_group). "
                f"Got {batch_size // world}; change --data.batch-size, or --method.shuffle-block and --method.batch-norm-group."
            )

    def __init__(self, cfg: Config, backbone: BackboneFactory, num_records: int):
        super().__init__(cfg, backbone, num_records)
        self.cfg = cfg
        self.backbone = backbone("student")
        self.projector = mlp((self.backbone.embed_dim, *cfg.projector), batch_norm=False)  # type: ignore[arg-type]
        if cfg.batch_norm_group is not None:
            self.backbone = replace_batch_norm(self.backbone, cfg.batch_norm_group)
        self.teacher = Teacher(self.backbone, self.projector)
        self.queue = Queue(cfg.queue_length, cfg.projector[-1])

    def forward(self, views: Views, ctx: StepContext) -> Output:
        """Term "info_nce"; metric "accuracy": how often a query is nearer to its key than to all of the queue."""
        pixels = views.group("view")
        last = pixels.shape[1]
        queries = range(last if self.cfg.symmetric else last - 1)
        keyed = range(0 if self.cfg.symmetric else 1, last)
        student = [self._project(pixels[:, i]) for i in queries]
        keys = {j: self._keys(pixels[:, j], ctx) for j in keyed}
        losses, accuracies = [], []
        for i, (_, z) in zip(queries, student, strict=True):
            own = [keys[j] for j in keyed if (j != i if self.cfg.symmetric else j > i)]
            terms = contrastive.info_nce(z, torch.stack(own, 1), self.queue.contents, temperature=self.cfg.temperature)
            losses += [terms.loss] * len(own)  # the mean below is over pairs of views
            accuracies += [terms.accuracy] * len(own)
        all_keys = torch.stack(list(keys.values()), dim=1)
        return Output(
            losses={"info_nce": torch.stack(losses).mean()},
            features={
                "representation": torch.stack([h.detach().float() for h, _ in student], dim=1),
                "embedding": torch.stack([z.detach() for _, z in student], dim=1),
                "teacher": all_keys,
            },
            metrics={"accuracy": torch.stack(accuracies).mean()},
            carry={"keys": all_keys},
        )

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
        """Teacher <- EMA of the student; queue <- the keys of all processes, view after view."""
        self.teacher.update(
            self.backbone, self.projector, momentum=cosine(ctx.progress, self.cfg.momentum, self.cfg.final_momentum)
        )
        for output in outputs:
            self.queue.push(ctx.gather(output.carry["keys"]).transpose(0, 1).flatten(0, 1))
        average_running_statistics(self, ctx.gather)

    def _project(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        h = self.backbone(pixels)
        return h, wide(self.projector(h))

    @torch.no_grad()
    def _keys(self, pixels: Tensor, ctx: StepContext) -> Tensor:
        block = self._block(self.cfg)
        if block is None or not self.training:
            return F.normalize(wide(self.teacher(pixels)[-1]), dim=1)
        order = shuffle_in_blocks(len(pixels), block, ctx.generator)
        keys = self.teacher(pixels[order.to(pixels.device)])[-1]
        return F.normalize(wide(keys[inverse(order).to(pixels.device)]), dim=1)

    @staticmethod
    def _block(cfg: Config) -> int | None:
        """Records among which keys are shuffled; None: no shuffling."""
        if cfg.batch_norm_group is None or not cfg.shuffle:
            return None
        return cfg.shuffle_block or 2 * cfg.batch_norm_group
