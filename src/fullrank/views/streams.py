"""What a view shows: colours, brightness, change, or optical flow.

Brightness and change are made from the augmented pixels; flow comes beside the frames (``ClipBatch.flow``) and goes
through the same crop, flip and rotation, but through no colour.
"""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from fullrank.data.flow import MAX_PIXELS, STEPS_PER_PIXEL, STILL
from fullrank.errors import SettingError, ShapeError
from fullrank.types import Stream
from fullrank.views import geometry
from fullrank.views.geometry import Placement
from fullrank.views.photometric import GREY

CHANNELS: dict[Stream, int] = {"rgb": 3, "gray": 1, "difference": 3, "flow": 2}
"""channels that a backbone for a stream must take"""
_CHUNK_BYTES = 2**26
"""views of flow that are made together"""


def to_stream(
    pixels: Float[Tensor, "*batch channels time height width"], stream: Stream
) -> Float[Tensor, "*batch shown time height width"]:
    """Normalised RGB as another stream; pure, so that evaluation pixels can go through it too.

    gray: 0.299 R + 0.587 G + 0.114 B of the normalised channels; one channel. difference: x[t] - x[t - 1], and the first
    frame repeats the first difference; ``ShapeError`` for a single frame. Flow cannot be made from pixels: ``SettingError``.

    >>> to_stream(torch.tensor([1.0, 3.0, 2.0]).view(1, 3, 1, 1).expand(3, 3, 1, 1), "difference")[0].flatten().tolist()
    [2.0, 2.0, -1.0]
    """
    if pixels.shape[-4] != CHANNELS["rgb"]:
        raise ShapeError(
            f"Pixels must be [..., 3, time, height, width] to become the stream {stream}. Got {list(pixels.shape)}; "
            "give it the RGB views."
        )
    if stream == "rgb":
        return pixels
    if stream == "gray":
        red, green, blue = (pixels[..., i : i + 1, :, :, :] * weight for i, weight in enumerate(GREY.tolist()))
        return torch.add(red + green, blue)
    if stream == "difference":
        if pixels.shape[-3] < 2:
            raise ShapeError(
                f"The stream difference must have at least 2 frames. Got {pixels.shape[-3]}; raise --data.num-frames."
            )
        change = pixels.diff(dim=-3)
        return torch.cat([change[..., :1, :, :], change], dim=-3)
    raise SettingError("The stream flow comes with the clips, not from their pixels. Got pixels alone; use flow_views.")


def flow_views(
    flow: UInt8[Tensor, "rows time height width 2"], place: Placement, size_pixels: int
) -> Float[Tensor, "rows 2 time size size"]:
    """Optical flow at the ``place`` of each row (one view of one clip): float32 (right, down), about -1..1.

    The vectors are those that would be seen in the view: longer where the crop is enlarged, mirrored by a flip, turned by
    a rotation. The unit is 20 pixels of the view, so that 1 is the fastest motion that is kept where the crop keeps its size.
    """
    rows, time, height, width, _ = flow.shape
    out = torch.empty(rows, 2, time, size_pixels, size_pixels, device=flow.device)
    scale = np.stack([size_pixels / place.width * np.where(place.flip, -1, 1), size_pixels / place.height], axis=1)
    unit = torch.from_numpy((scale / (STEPS_PER_PIXEL * MAX_PIXELS)).astype(np.float32)).to(flow.device)
    straight = np.zeros_like(place.flip)
    chunk = max(1, _CHUNK_BYTES // (4 * time * height * width * 2))
    with torch.autocast(flow.device.type, enabled=False):
        for start in range(0, rows, chunk):
            part = slice(start, min(start + chunk, rows))
            where, target = place[part], out[part]
            down = geometry.tents(where.top, where.height, straight[part], size_pixels, height, flow.device)
            across = geometry.tents(where.left, where.width, where.flip, size_pixels, width, flow.device)
            vectors = flow[part].to(torch.float32).sub_(STILL)
            half = torch.matmul(down[:, None], vectors.flatten(3)).unflatten(3, (width, 2))
            lines = half.permute(0, 4, 1, 2, 3).flatten(1, 3)
            torch.bmm(lines, across.mT, out=target.view(len(target), -1, size_pixels))
            target.mul_(unit[part, :, None, None, None])
            geometry.rotate_(target, where.turns)
            _turn_vectors_(target, where.turns)
    return out


def _turn_vectors_(vectors: Float[Tensor, "rows 2 time size size"], turns: geometry.Rows) -> None:
    """A quarter turn counter-clockwise takes (right, down) to (down, -right), in place."""
    if not turns.any():
        return
    cosine, sine = np.array([1, 0, -1, 0])[turns], np.array([0, 1, 0, -1])[turns]
    matrix = np.stack([np.stack([cosine, sine], 1), np.stack([-sine, cosine], 1)], 1).astype(np.float32)
    turned = torch.einsum("rij,rjtyx->rityx", torch.from_numpy(matrix).to(vectors.device), vectors)
    vectors.copy_(turned)
