"""PIRL: representations that a pretext transform does not change (Misra and van der Maaten, CVPR 2020, arXiv 1912.01991).

Idea: instead of predicting how a picture was cut up or turned, give the cut or turned one the embedding of the whole.
Data flow: clip -> view -> backbone -> h -> projector f -> z; clip -> tiles in a drawn order, or a turned view -> backbone ->
(each tile's linear layer, side by side ->) projector g -> z^t; noise-contrastive estimation of both against the record's
vector in a memory bank, negatives from the bank; then bank <- moving average of z.
What prevents collapse: the negatives, which are other records' vectors in the bank.
What breaks it: few negatives; a bank so slow that it no longer says what the network knows.
At complete collapse: once the bank is one vector too, for each of the two terms its weight times
log(k + 1) - k log(k / (k + 1)) with k negatives.
Deviations: with rho clips each has a view and its tiles, and all are drawn to the record's one vector. A negative that
happens to be the record itself is left out. Cells of 75 and tiles of 64 pixels are jigsaw's; VISSL's PIRL has cells of 85.
The paper's number: ResNet-50, ImageNet, 800 epochs, jigsaw, linear 63.6 % top-1. Ours: docs/results.md.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from fullrank.config import Augmentation, Prob, Settings
from fullrank.memory import MemoryBank
from fullrank.methods._method import BackboneFactory, Guard, Method, wide
from fullrank.objectives import contrastive
from fullrank.types import Output, StepContext, TileSpec, ViewPlan, Views, ViewSpec

TRANSFORMED = "transformed"


class PIRL(Method):
    """See the top of this file."""

    knows_records = True
    guards = {
        "memory average": Guard(off={"momentum": 0.0}, expect="no collapse", source="our expectation: the negatives remain"),
    }

    class Config(Settings):
        """Settings of PIRL."""

        rho: Annotated[int, Field(ge=1)] = 1
        """temporal clips of a record that are drawn to its one vector"""
        augmentation: Augmentation = Augmentation()
        """how the whole picture is seen"""
        transform: Literal["jigsaw", "rotation"] = "jigsaw"
        """t: what the representation shall not depend on"""
        transformed_augmentation: Augmentation = Augmentation(size_pixels=225, min_scale=0.6)
        """how the picture that is cut into tiles or turned is made"""
        grid: Annotated[int, Field(ge=2, le=3)] = 3
        """jigsaw: tiles along each side"""
        gap_ratio: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.15
        """jigsaw: room in which a tile is moved within its cell, as a share of the cell's side"""
        permutations: Annotated[int, Field(ge=1)] = 64
        """jigsaw: orders in which tiles are shown (the paper: any of 9!)"""
        embedding: Annotated[int, Field(ge=1)] = 128
        """width of f, of g and of the bank"""
        temperature: Annotated[float, Field(gt=0.0)] = 0.07
        """tau"""
        transformed_weight: Prob = 0.5
        """lambda: weight of the transformed view's term; the plain view's is 1 - lambda"""
        num_negatives: Annotated[int, Field(ge=1)] = 32000
        """N: vectors of the bank that are drawn as negatives in each step, with replacement"""
        momentum: Prob = 0.5
        """share of a record's vector that an update keeps"""

    @classmethod
    def views(cls, cfg: Config) -> ViewPlan:  # type: ignore[override]
        """A view of each clip, and each clip cut into tiles or turned."""
        plain = ViewSpec(name="view", augmentation=cfg.augmentation)
        if cfg.transform == "rotation":
            turned = cfg.transformed_augmentation.model_copy(update={"rotate_prob": (1.0,)})
            return ViewPlan(groups=(plain, ViewSpec(name=TRANSFORMED, augmentation=turned)), num_clips=cfg.rho)
        tiles = TileSpec(grid=cfg.grid, gap_ratio=cfg.gap_ratio, permutations=cfg.permutations)
        cut = ViewSpec(name=TRANSFORMED, augmentation=cfg.transformed_augmentation, tiles=tiles)
        return ViewPlan(groups=(plain, cut), num_clips=cfg.rho)

    def __init__(self, cfg: Config, backbone: BackboneFactory, num_records: int):
        super().__init__(cfg, backbone, num_records)
        self.cfg = cfg
        self.backbone = backbone("student")
        dim: int = self.backbone.embed_dim  # type: ignore[assignment]
        self.projector = nn.Linear(dim, cfg.embedding)
        if cfg.transform == "jigsaw":
            self.tile: nn.Module = nn.Linear(dim, cfg.embedding)
            self.transformed_projector = nn.Linear(cfg.grid**2 * cfg.embedding, cfg.embedding)
        else:
            self.tile, self.transformed_projector = nn.Identity(), nn.Linear(dim, cfg.embedding)
        self.bank = MemoryBank(num_records, cfg.embedding)

    def forward(self, views: Views, ctx: StepContext) -> Output:
        """Terms "plain" and "transformed": means over records against one bank, so nothing is gathered."""
        pixels, changed = views.group("view"), views.group(TRANSFORMED)
        h = self.backbone(pixels.flatten(0, 1)).unflatten(0, pixels.shape[:2])
        z = wide(self.projector(h))
        parts = self.tile(self.backbone(changed.flatten(0, 1))).unflatten(0, (len(h), h.shape[1], -1))
        z_changed = wide(self.transformed_projector(parts.flatten(2)))
        drawn = torch.randint(len(self.bank.vectors), (self.cfg.num_negatives,), generator=ctx.generator).to(views.index.device)
        usable, own, others = views.index[:, None] != drawn, self.bank.vectors[views.index], self.bank.vectors[drawn]
        share = self.cfg.transformed_weight
        losses = {}
        for name, weight, embedding in (("plain", 1 - share, z), ("transformed", share, z_changed)):
            each = [
                contrastive.memory_nce(e, own, others, usable, temperature=self.cfg.temperature) for e in embedding.unbind(1)
            ]
            losses[name] = weight * torch.stack(each).mean()
        return Output(
            losses=losses,
            features={"representation": h.detach().float(), "embedding": z.detach().float()},
            carry={"index": views.index, "embedding": F.normalize(z.detach(), dim=-1).mean(1)},
        )

    def encode(self, pixels: Tensor, branch: str | None = None) -> Tensor:
        """The backbone's output."""
        self.resolve_branch(branch)
        return self.backbone(pixels)  # type: ignore[no-any-return]

    def embed(self, representation: Tensor, branch: str | None = None) -> Tensor:
        """The output of f."""
        self.resolve_branch(branch)
        return self.projector(representation)  # type: ignore[no-any-return]

    def after_step(self, outputs: Sequence[Output], ctx: StepContext) -> None:
        """Move the records' vectors."""
        for output in outputs:
            index, rows = ctx.gather(output.carry["index"]), ctx.gather(output.carry["embedding"])
            self.bank.update(index, rows, momentum=self.cfg.momentum)
