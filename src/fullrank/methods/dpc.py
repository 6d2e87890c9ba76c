"""DPC: dense predictive coding (Han, Xie, Zisserman, ICCV Workshops 2019, arXiv 1909.04656).

Idea: from the first blocks of a clip predict the feature maps of the next ones, place by place, and find the true ones among
all other places, times and records.
Data flow: clip -> consecutive blocks -> backbone -> map z_t -> ReLU -> ConvGRU over the seen blocks -> context c -> predictor
-> predicted map, fed back into the ConvGRU for the next; dense noise-contrastive estimation with the maps of the unseen blocks.
What prevents collapse: the negatives: other records (easy), the same record elsewhere (spatial) and at other times (temporal).
What breaks it: shortcuts through time, such as features that drift with the position of a block; few negatives.
At complete collapse: log(batch x predicted blocks x places), and accuracy 0.
Deviations: colours are drawn once a clip (the authors draw them per frame); negatives come from all processes.
The paper's number: 2d3d-ResNet-18, 128 pixels, pre-trained on Kinetics-400, fine-tuned on UCF101 split 1 68.2 %, HMDB51 34.5 %;
ResNet-34, 224 pixels, 75.7 % and 35.7 %. Ours: docs/results.md.
"""

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from fullrank.backbones.convgru import ConvGRU
from fullrank.config import Augmentation, Prob, Settings
from fullrank.errors import SettingError, ShapeError
from fullrank.methods._method import BackboneFactory, Method, wide
from fullrank.objectives import contrastive
from fullrank.types import Output, StepContext, ViewPlan, Views, ViewSpec

GROUP = "blocks"
STAGE = "layer4"


class DPC(Method):
    """See the top of this file."""

    branches: ClassVar[tuple[str, ...]] = ("context", "backbone")

    class Config(Settings):
        """Settings of DPC."""

        augmentation: Augmentation = Augmentation(size_pixels=128, min_scale=0.5, blur_prob=(0.0,))
        """how the clip is seen"""
        num_blocks: Annotated[int, Field(ge=2)] = 8
        """N: consecutive blocks of a clip"""
        block_frames: Annotated[int, Field(ge=1)] = 5
        """frames of a block (the authors take every third frame of 30 a second)"""
        predicted_blocks: Annotated[int, Field(ge=1)] = 3
        """blocks at the end that are predicted"""
        dropout: Prob = 0.1
        """of the ConvGRU's hidden state"""

    @classmethod
    def views(cls, cfg: Config) -> ViewPlan:  # type: ignore[override]
        """One clip of num_blocks * block_frames frames, cut into blocks."""
        blocks = ViewSpec(name=GROUP, augmentation=cfg.augmentation, num_blocks=cfg.num_blocks)
        return ViewPlan(groups=(blocks,), num_frames=cfg.num_blocks * cfg.block_frames)

    @classmethod
    def check(cls, cfg: Config, *, batch_size: int, world: int) -> None:  # type: ignore[override]
        """At least one block must be seen."""
        if cfg.predicted_blocks >= cfg.num_blocks:
            raise SettingError(
                f"method.predicted_blocks must be less than num_blocks, {cfg.num_blocks}. Got {cfg.predicted_blocks}."
            )

    def __init__(self, cfg: Config, backbone: BackboneFactory, num_records: int):
        super().__init__(cfg, backbone, num_records)
        self.cfg = cfg
        self.backbone = backbone("student")
        if not hasattr(self.backbone, "maps"):
            raise SettingError("The backbone of DPC must offer maps(). Got one without; set --backbone.name resnet.")
        dim: int = self.backbone.embed_dim  # type: ignore[assignment]
        self.gru = ConvGRU(dim, dim, dropout=cfg.dropout)
        self.predictor = nn.Sequential(nn.Conv2d(dim, dim, 1), nn.ReLU(inplace=True), nn.Conv2d(dim, dim, 1))

    def _maps(self, blocks: Tensor) -> Tensor:
        """[batch, blocks, channels, time, height, width] -> last maps [batch, blocks, d, time, height, width]."""
        maps = self.backbone.maps(blocks.flatten(0, 1))  # type: ignore[operator]
        if STAGE not in maps:
            raise ShapeError(f"the backbone of DPC must have a stage {STAGE}. Got {', '.join(maps)}; take a ResNet.")
        return maps[STAGE].unflatten(0, blocks.shape[:2])  # type: ignore[no-any-return]

    def forward(self, views: Views, ctx: StepContext) -> Output:
        """Term "dense_nce" of the global batch; metric "accuracy"."""
        blocks = views.group(GROUP)
        z = self._maps(blocks).mean(3)
        seen = blocks.shape[1] - self.cfg.predicted_blocks
        _, context = self.gru(z[:, :seen].relu())
        hidden, predicted = context, []
        for _ in range(self.cfg.predicted_blocks):
            predicted.append(self.predictor(hidden))
            _, hidden = self.gru(predicted[-1].relu()[:, None], hidden)
        guess, found = (wide(maps).flatten(3).transpose(2, 3) for maps in (torch.stack(predicted, dim=1), z[:, seen:]))
        terms = contrastive.dense_nce(ctx.gather(guess.contiguous()), ctx.gather(found.contiguous()))
        return Output(
            losses={"dense_nce": terms.loss},
            features={
                "representation": context.detach().float().mean((2, 3))[:, None],
                "prediction": guess.detach().float().mean(2),
            },
            metrics={"accuracy": terms.accuracy},
        )

    def encode(self, pixels: Tensor, branch: str | None = None) -> Tensor:
        """Context over all blocks of a clip, or the mean of the blocks' maps after ReLU; averaged over places.

        Time must be a multiple of block_frames (``ShapeError``). ReLU comes before the mean over time, as in the
        authors' evaluation.
        """
        name, frames = self.resolve_branch(branch), self.cfg.block_frames
        if pixels.shape[2] % frames:
            raise ShapeError(f"the frames of a clip for DPC must be a multiple of {frames}. Got {pixels.shape[2]}.")
        blocks = pixels.unflatten(2, (-1, frames)).movedim(2, 1)
        z = self._maps(blocks).relu().mean(3)
        maps = z.mean(1) if name == "backbone" else self.gru(z)[1]
        return wide(maps).mean((2, 3))
