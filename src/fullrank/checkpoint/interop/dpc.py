"""Dense predictive coding (TengdaHan/DPC): the 2d3d-ResNet, the ConvGRU and the predictor, with two contexts.

``context`` is what pre-training predicts from (the first N - 3 blocks, ReLU behind the pool over time); ``context_lc`` is what
the authors' linear classifier reads (all N blocks, ReLU before the pool): the representation. A file without running
statistics normalises with the statistics of the batch that it is given, so that features depend on what else is in it.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from fullrank.backbones.build import backbone_factory, load_weights
from fullrank.backbones.convgru import ConvGRU
from fullrank.checkpoint.interop._backbones import WHOLE_FILE, blocks_of
from fullrank.checkpoint.interop._layout import Layout, Parts, floats
from fullrank.checkpoint.interop._network import Extras
from fullrank.config import BackboneConfig
from fullrank.errors import CheckpointError, ShapeError
from fullrank.types import Preparation

PREDICTED_BLOCKS = 3


class DPCNetwork(nn.Module):
    """pixels [batch, blocks, channels, time, height, width] -> representation [batch, d] and what else DPC computes."""

    def __init__(self, backbone: nn.Module, gru: ConvGRU, predictor: nn.Module):
        super().__init__()
        self.backbone, self.gru, self.predictor = backbone, gru, predictor
        self.second: nn.Module | None = None

    @property
    def embed_dim(self) -> int:
        """Width of the context."""
        return self.backbone.embed_dim  # type: ignore[return-value]

    def embed(self, representation: Tensor) -> None:
        """DPC has no projector."""

    def represent(self, pixels: Tensor) -> Tensor:
        """``context_lc``."""
        return self._context_lc(self._maps(pixels))

    def _maps(self, pixels: Tensor) -> Tensor:
        if pixels.ndim != 6:
            raise ShapeError(f"DPC's pixels must be [batch, blocks, channels, time, height, width]. Got {list(pixels.shape)}.")
        maps = self.backbone.maps(pixels.flatten(0, 1))["layer4"]  # type: ignore[operator]
        return maps.unflatten(0, pixels.shape[:2])  # type: ignore[no-any-return]

    def _context_lc(self, maps: Tensor) -> Tensor:
        return self.gru(maps.relu().mean(3))[1].mean((2, 3))  # type: ignore[no-any-return]

    def forward(self, pixels: Tensor) -> dict[str, Any]:
        """As ``Network.forward``; there is no embedding."""
        maps = self._maps(pixels)
        z = maps.mean(3)
        seen = max(z.shape[1] - PREDICTED_BLOCKS, 1)
        context = cache(lambda: self.gru(z[:, :seen].relu())[1])
        guesses = cache(lambda: self._predict(context()))
        h = self._context_lc(maps)
        extras = {
            "context_lc": lambda: h,
            "context": lambda: context().mean((2, 3)),
            "context_map": lambda: context().flatten(1),
            "predictions_mean": lambda: guesses().mean((3, 4)).flatten(1),
            "block_features": lambda: z.relu().mean((3, 4)).flatten(1),
            "backbone_mean": lambda: maps.mean((3, 4, 5)).flatten(1),
            "score_own": lambda: _score(guesses(), z[:, seen:]),
        }
        return {"representation": h, "embedding": None, "embedding_raw": None, "extras": Extras(extras)}

    def _predict(self, hidden: Tensor) -> Tensor:
        found = []
        for _ in range(PREDICTED_BLOCKS):
            found.append(self.predictor(hidden))
            hidden = self.gru(found[-1].relu()[:, None], hidden)[1]
        return torch.stack(found, dim=1)


def _score(guesses: Tensor, found: Tensor) -> Tensor:
    """Similarity of every predicted place and block with every true one of the same clip, flattened."""
    return torch.einsum("bpcs,bqct->bpsqt", guesses.flatten(3), found.flatten(3)).flatten(1)


def _build(parts: Parts, settings: dict[str, Any]) -> nn.Module:
    state = parts["backbone"]
    depths = {(2, 2, 2, 2): 18, (3, 4, 6, 3): 50 if "layer1.0.conv3.weight" in state else 34}
    counts = tuple(blocks_of(state, f"layer{i}") for i in (1, 2, 3, 4))
    if counts not in depths:
        raise CheckpointError(f"DPC's backbone must be a 2d3d-ResNet of depth 18, 34 or 50. Got blocks {counts}.")
    config = BackboneConfig(depth=depths[counts], width=state["conv1.weight"].shape[0] / 64, temporal="2d3d")  # type: ignore[arg-type]
    backbone = backbone_factory(config)("student")
    if "bn1.running_mean" not in state:
        _use_batch_statistics(backbone)
    load_weights(backbone, floats(state), "its backbone", WHOLE_FILE)
    backbone.config = config  # type: ignore[assignment]
    gates, dim = parts["gru"], backbone.embed_dim
    hidden = len(gates["reset_gate.bias"].flatten())
    gru = ConvGRU(dim, hidden)  # type: ignore[arg-type]
    load_weights(gru.cell, floats(gates), "its ConvGRU", WHOLE_FILE)
    predictor = nn.Sequential(nn.Conv2d(hidden, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, hidden, 1))
    load_weights(predictor, floats(parts["predictor"]), "its predictor", WHOLE_FILE)
    return DPCNetwork(backbone, gru, predictor)


def _use_batch_statistics(module: nn.Module) -> None:
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.track_running_stats = False
            part.running_mean = part.running_var = part.num_batches_tracked = None


def preparation(settings: dict[str, Any]) -> Preparation:
    """8 blocks of 5 frames, every third of the video's own: 128 pixels of 150, ResNet-34's and 50's 224 of 256.

    The frames on disk that the authors cut from are so large (process_data/src/extract_frame.py), scaled by OpenCV's bilinear
    rule, which does not smooth.
    """
    large = settings.get("net") in ("resnet34", "resnet50")
    return Preparation(
        num_frames=40,
        sampling_rate=3,
        frames_per_second=0.0,
        short_side=256 if large else 150,
        crop=224 if large else 128,
        antialias=False,
        num_blocks=8,
    )


LAYOUTS = (
    Layout(
        name="dpc",
        codebase="TengdaHan/DPC",
        method="DPC",
        parts={r"backbone\.": "backbone", r"agg\.ConvGRUCell_00\.": "gru", r"network_pred\.": "predictor"},
        dropped={
            r"agg\.cell_list\.0\.": "the same tensors under their second name",
            r"final_(bn|fc)\.": "classifier of a linear evaluation",
        },
        needs=(r"backbone\.conv1\.weight", r"agg\.ConvGRUCell_00\.reset_gate\.weight", r"network_pred\.0\.weight"),
        build=_build,
        preparation=preparation,
        blocks=True,
    ),
)
