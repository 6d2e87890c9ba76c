"""Optical flow of decoded frames: where the picture moves from each frame of a file to the next.

Computed once, into the cache, by OpenCV's dense inverse search (DIS: Kroeger, Timofte, Dai, Van Gool, ECCV 2016), and
kept in 8 bits, as motion is for two-stream networks since Simonyan and Zisserman (NeurIPS 2014).
"""

from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from fullrank.errors import SettingError

STILL = 128
"""the byte of no motion"""
STEPS_PER_PIXEL = 6
"""bytes of one pixel of motion, so that rounding costs a twelfth of a pixel at most"""
MAX_PIXELS = 20
"""faster motion is cut off here"""
_SMALLEST_PIXELS = 16
"""DIS searches with patches of 8 pixels; smaller frames are continued at the bottom and right"""


def encode(flow: Float[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    """Pixels of motion as bytes.

    >>> encode(np.array([0.0, 1.0, -0.5, 99.0])).tolist()
    [128, 134, 125, 248]
    """
    steps = np.rint(np.clip(flow, -MAX_PIXELS, MAX_PIXELS) * STEPS_PER_PIXEL)
    return np.asarray(STILL + steps).astype(np.uint8)


def flow_to_next(frames: UInt8[np.ndarray, "time height width 3"]) -> UInt8[np.ndarray, "time height width 2"]:
    """Motion (right, down) of every pixel to the next frame, ``encode``d; the last frame repeats the one before it.

    A single frame is still. ``SettingError`` where OpenCV is not installed.
    """
    cv2 = opencv()
    out = np.full((*frames.shape[:3], 2), STILL, dtype=np.uint8)
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # one thread a worker; and the sum of floats must not depend on the number of cores
    try:
        search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        height, width = frames.shape[1:3]
        more = [max(0, _SMALLEST_PIXELS - side) for side in (height, width)]
        grey = [cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY) for frame in frames]
        grey = [np.pad(frame, ((0, more[0]), (0, more[1])), mode="edge") for frame in grey]
        for row, (frame, following) in enumerate(zip(grey, grey[1:], strict=False)):
            out[row] = encode(search.calc(frame, following, None)[:height, :width])
    finally:
        cv2.setNumThreads(threads)
    if len(out) > 1:
        out[-1] = out[-2]
    return out


def opencv() -> Any:
    """The module ``cv2``; ``SettingError`` where it is not installed."""
    try:
        import cv2
    except ImportError:
        raise SettingError(
            "Optical flow needs OpenCV, which is not installed. `pip install fullrank[flow]` installs it; or choose another "
            "stream, for example difference."
        ) from None
    return cv2
