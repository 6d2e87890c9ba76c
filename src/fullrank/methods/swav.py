"""SwAV: swapped assignments between views (Caron et al., NeurIPS 2020, arXiv 2006.09882).

Idea: assign each view to prototypes, evenly over the batch, and predict the assignment of one view from every other.
Data flow: clips -> views (and small local ones) -> backbone -> h -> projector -> z -> cosines with the prototypes
("scores"); Sinkhorn-Knopp on the scores of the first two views -> codes; cross-entropy of each code with
softmax(scores / t) of all other views.
What prevents collapse: Sinkhorn-Knopp, which makes the codes of a batch use all prototypes equally.
What breaks it: no Sinkhorn-Knopp (one prototype wins); far more prototypes than samples to assign without a queue; a
large epsilon (codes become uniform and say nothing); prototypes that move from the first step on
(``freeze_prototypes_epochs``).
At complete collapse: at least log(prototypes), and that where all prototypes score equal. Metrics show it earlier:
"mean_assignment_entropy" low: few prototypes used (cluster collapse); "assignment_entropy" as high: assignments say
nothing.
Deviations: Sinkhorn-Knopp sees the global batch of all processes (as the authors'); with rho >= 2 the codes come from
the first two clips (as PySlowFast); prototypes are put on the unit sphere after each step instead of before it; biases and
norms neither decay nor are adapted by LARS, which they are in the authors' code.
The paper's number: ResNet-50, ImageNet, batch 4096, 800 epochs, 2 x 224 + 6 x 96 crops, linear 75.3 % top-1. For
video, Slow ResNet-50 on Kinetics-400, 200 epochs, rho 1 / 2 / 3: linear 38.6 / 61.6 / 62.7 % (Feichtenhofer et al.,
CVPR 2021). Ours: docs/results.md.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import log
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from fullrank.config import Augmentation, Settings
from fullrank.errors import SettingError
from fullrank.heads import Prototypes, mlp
from fullrank.memory import Queue
from fullrank.methods._method import BackboneFactory, Guard, Method, Sign, wide
from fullrank.objectives import clustering
from fullrank.types import Output, StepContext, ViewPlan, Views, ViewSpec
from fullrank.views.plan import multi_view

CODED = 2
"""codes come from the first two views, whatever their number"""
SHARED = 16
"""prototypes that one sample may have to be shared among, at least (see ``SwAV.check``)"""


class SwAV(Method):
    """See the top of this file."""

    guards = {
        "sinkhorn": Guard(
            off={"sinkhorn": False},
            expect="cluster",
            source="Caron et al., 2020, section 3.1: the equal use of prototypes avoids that all samples get the same code",
        ),
        "batch norm": Guard(
            off={"batch_norm": False},
            expect="no collapse",
            source="Caron et al., 2020, section 3.1: what avoids the trivial solution is the equal use of prototypes",
        ),
    }

    class Config(Settings):
        """Settings of SwAV."""

        rho: Annotated[int, Field(ge=1)] = 1
        """temporal clips of a record that are positives of each other (1: two views of one clip)"""
        augmentation: Augmentation = Augmentation(min_scale=0.14)
        """how views are made"""
        num_local: Annotated[int, Field(ge=0)] = 0
        """small views of each clip besides (multi-crop; the paper: 6)"""
        local_augmentation: Augmentation = Augmentation(size_pixels=96, min_scale=0.05, max_scale=0.14)
        """how the small views are made"""
        projector: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (2048, 128)
        """widths of the projector's layers"""
        batch_norm: bool = True
        """BatchNorm in the projector"""
        num_prototypes: Annotated[int, Field(ge=2)] = 3000
        """K"""
        temperature: Annotated[float, Field(gt=0.0)] = 0.1
        """tau"""
        sinkhorn: bool = True
        """codes use all prototypes equally; off: codes are softmax(scores / epsilon) of each sample alone"""
        epsilon: Annotated[float, Field(gt=0.0)] = 0.05
        """epsilon of Sinkhorn-Knopp: larger makes codes more uniform"""
        sinkhorn_iterations: Annotated[int, Field(ge=1)] = 3
        """rounds of Sinkhorn-Knopp"""
        freeze_prototypes_epochs: Annotated[float, Field(ge=0.0)] = 1.0
        """epochs at the start in which the prototypes do not move"""
        queue_length: Annotated[int, Field(ge=0)] = 0
        """embeddings of earlier batches that Sinkhorn-Knopp sees besides (0: none); for batches smaller than the prototypes"""
        queue_start_epoch: Annotated[float, Field(ge=0.0)] = 15.0
        """epoch from which the queue is filled; it is used once it is full"""

    @classmethod
    def views(cls, cfg: Config) -> ViewPlan:  # type: ignore[override]
        """Two views of one clip, or one view of each of rho clips; and the small ones of each clip."""
        plan = multi_view(cfg.rho, cfg.augmentation)
        if not cfg.num_local:
            return plan
        local = ViewSpec(name="local", augmentation=cfg.local_augmentation, views_per_clip=cfg.num_local)
        return replace(plan, groups=(*plan.groups, local))

    @classmethod
    def check(cls, cfg: Config, *, batch_size: int, world: int) -> None:  # type: ignore[override]
        """``SettingError`` where so few samples are assigned at once that codes can say nothing.

        Used equally, K prototypes over B samples give each sample at least K / B of them, so that the entropy of a code is
        at least log(K / B).
        """
        assigned = batch_size + cfg.queue_length
        if cfg.sinkhorn and cfg.num_prototypes > SHARED * assigned:
            raise SettingError(
                f"data.batch_size + method.queue_length must be at least num_prototypes / {SHARED} = "
                f"{-(-cfg.num_prototypes // SHARED)}, or codes are nearly uniform. Got {batch_size} + {cfg.queue_length}; "
                f"raise the queue length, or take at most {SHARED * assigned} prototypes."
            )

    @classmethod
    def signs(cls, cfg: Config) -> tuple[Sign, ...]:  # type: ignore[override]
        """Fewer than two prototypes in use; or all of them by every sample, which is where a large epsilon leads."""
        return (
            Sign(kind="cluster", says="one prototype takes all samples", below={"mean_assignment_entropy": log(2)}),
            Sign(
                kind="complete",
                says="every sample is assigned to all prototypes alike",
                above={"assignment_entropy": 0.99 * log(cfg.num_prototypes)},
            ),
        )

    def __init__(self, cfg: Config, backbone: BackboneFactory, num_records: int):
        super().__init__(cfg, backbone, num_records)
        self.cfg = cfg
        self.backbone = backbone("student")
        self.projector = mlp((self.backbone.embed_dim, *cfg.projector), batch_norm=cfg.batch_norm)  # type: ignore[arg-type]
        self.prototypes = Prototypes(cfg.projector[-1], cfg.num_prototypes)
        # one row holds the embeddings of both coded views of a record
        self.queue = Queue(cfg.queue_length, CODED * cfg.projector[-1]) if cfg.queue_length else None

    def forward(self, views: Views, ctx: StepContext) -> Output:
        """Term "swapped_prediction" of the global batch; metrics of the prototypes' use: entropies in nats, a perplexity."""
        groups = [views.group("view")] + ([views.group("local")] if self.cfg.num_local else [])
        # one call for each size, one for the projector: as the authors' multi-crop wrapper
        h = torch.cat([self.backbone(p.flatten(0, 1)).unflatten(0, p.shape[:2]) for p in groups], dim=1)
        z = wide(self.projector(h.flatten(0, 1))).unflatten(0, h.shape[:2])
        everywhere = ctx.gather(F.normalize(z, dim=-1))
        scores = self.prototypes(everywhere)
        codes = self._codes(scores[:, :CODED].detach())
        mean, single = clustering.assignment_entropies(scores[:, :CODED].flatten(0, 1), temperature=self.cfg.temperature)
        shown = groups[0].shape[1]
        return Output(
            losses={"swapped_prediction": clustering.swapped_prediction(codes, scores, temperature=self.cfg.temperature)},
            features={"representation": h[:, :shown].detach().float(), "embedding": z[:, :shown].detach()},
            metrics={"mean_assignment_entropy": mean, "assignment_entropy": single, "prototype_perplexity": mean.exp()},
            carry={"embedding": F.normalize(z[:, :CODED].detach(), dim=-1)} if self.cfg.queue_length else {},
        )

    def encode(self, pixels: Tensor, branch: str | None = None) -> Tensor:
        """The backbone's output."""
        self.resolve_branch(branch)
        return self.backbone(pixels)  # type: ignore[no-any-return]

    def embed(self, representation: Tensor, branch: str | None = None) -> Tensor:
        """The projector's output, not normalised."""
        self.resolve_branch(branch)
        return self.projector(representation)  # type: ignore[no-any-return]

    def at_collapse(self, batch_size: int) -> dict[str, float]:
        """The logarithm of the number of prototypes: codes are uniform, and the prototypes have learned to score equal."""
        return {"swapped_prediction": log(self.cfg.num_prototypes)} if self.cfg.sinkhorn else {}

    def after_backward(self, ctx: StepContext) -> None:
        """Keep the prototypes still at the start: without gradient no optimizer moves or decays them."""
        if ctx.epoch < self.cfg.freeze_prototypes_epochs:
            self.prototypes.weight.grad = None

    @torch.no_grad()
    def after_step(self, outputs: Sequence[Output], ctx: StepContext) -> None:
        """Prototypes back to the unit sphere; queue <- the embeddings of all processes."""
        self.prototypes.normalize_()
        if self.queue is not None and ctx.epoch >= self.cfg.queue_start_epoch:
            for output in outputs:
                self.queue.push(ctx.gather(output.carry["embedding"]).flatten(1))

    def _codes(self, scores: Tensor) -> Tensor:
        """[n, coded views, prototypes] -> codes of the same shape; each view is assigned apart, as the authors do."""
        if not self.cfg.sinkhorn:
            return (scores / self.cfg.epsilon).softmax(dim=-1)
        batch = len(scores)
        if self.queue is not None and int(self.queue.filled) == self.cfg.queue_length:
            earlier = self.prototypes(self.queue.contents.unflatten(1, (CODED, -1))).detach()
            scores = torch.cat([earlier, scores])
        codes = [
            clustering.sinkhorn(view, epsilon=self.cfg.epsilon, iterations=self.cfg.sinkhorn_iterations)[-batch:]
            for view in scores.unbind(dim=1)
        ]
        return torch.stack(codes, dim=1)
