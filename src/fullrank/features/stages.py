"""What each stage of a network says of a clip: its maps averaged over time and space, beside representation and embedding."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from jaxtyping import Float32
from numpy.typing import NDArray
from torch import Tensor

from fullrank.checkpoint.encoder import Encoder
from fullrank.checkpoint.imported import ImportedEncoder, prepared
from fullrank.data.clips import uniform_fractions
from fullrank.data.loader import in_order
from fullrank.data.positions import positions
from fullrank.data.source import Source
from fullrank.errors import MediaError, SettingError
from fullrank.types import Preparation
from fullrank.views.plan import center_views

Stages = dict[str, Float32[np.ndarray, "records channels"]]


@torch.no_grad()
def stage_features(encoder: Encoder | ImportedEncoder, source: Source, *, batch_size: int = 32) -> Stages:
    """{stage: float32 [records, channels]} of the centre clip of every readable record, in the order of the data flow.

    The stages of ``backbone.maps`` first, then "representation" and, where there is one, "embedding". ``SettingError`` where
    the network has no stages to look at; ``DataError`` where no record can be read.
    """
    maps = getattr(encoder.backbone, "maps", None)
    if maps is None:
        kind = type(encoder.backbone).__name__
        raise SettingError(
            f"the backbone must have stages, as resnet, s3d, vit and timesformer do. Got {kind}, which has no maps."
        )
    device = next(encoder.backbone.parameters()).device
    clips = _own(encoder, source, batch_size) if isinstance(encoder, Encoder) else _foreign(encoder, source)
    rows: dict[str, list[NDArray[np.float32]]] = {}
    for clip in clips:
        pixels = clip.to(device)
        encoding = encoder(pixels)
        found = {name: one.float().mean((2, 3, 4)) for name, one in maps(pixels).items()}
        found["representation"] = encoding.representation
        if encoding.embedding is not None:
            found["embedding"] = encoding.embedding
        for name, value in found.items():
            rows.setdefault(name, []).append(value.float().cpu().numpy())
    return {name: np.concatenate(parts) for name, parts in rows.items()}


def _own(encoder: Encoder, source: Source, batch_size: int) -> Iterator[Tensor]:
    """The centre clips as `fullrank extract` sees them."""
    augmentation = type(encoder.method).views(encoder.config.method).groups[0].augmentation
    device = next(encoder.method.parameters()).device
    for batch in in_order(source, encoder.clip_spec, uniform_fractions(1), batch_size=batch_size, num_workers=0):
        if len(batch.index):
            yield center_views(batch, augmentation.size_pixels, augmentation.mean, augmentation.std, device)[:, 0]


def _foreign(encoder: ImportedEncoder, source: Source) -> Iterator[Tensor]:
    """One clip a record, prepared as its codebase does; files that cannot be read are left out, as there."""
    how = encoder.preparation
    if how.num_blocks:
        raise SettingError("the network must look at one clip at a time. Got DPC's, which looks at blocks of one.")
    for index in range(len(source)):
        try:
            yield prepared(source.read_chosen(index, partial(_first, how))[0], how, 1)
        except MediaError:
            continue


def _first(how: Preparation, times: NDArray[np.float64], rate: float) -> list[NDArray[np.int64]]:
    return positions(how, times, rate, 1)
