"""Arrays and numbers of numpy inside files of torch.save, rebuilt from their bytes: none of numpy's own unpickling runs.

numpy's ``__setstate__`` believes what a file says of a dtype, so that a made-up one reads memory that is not its own. The
stand-ins here take the place of numpy's names while torch reads, and accept plain numbers and strings only.
"""

import math
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PLAIN = re.compile(r"[biufcSU]\d+")
_ORDERS = ("<", ">", "|", "=")


class NotPlainError(ValueError):
    """An array that is not numbers or strings; says what it is of."""


class _Dtype:
    """Stands for numpy.dtype."""

    def __init__(self, code: Any, *_: Any) -> None:
        self.code, self.order = code, "="

    def __setstate__(self, state: Any) -> None:
        self.order = state[1]

    def real(self) -> np.dtype[Any]:
        if not isinstance(self.code, str) or not _PLAIN.fullmatch(self.code) or self.order not in _ORDERS:
            raise NotPlainError("Python objects" if self.code in ("O8", "O4", "O") else f"dtype {self.code!r}")
        return np.dtype(self.code).newbyteorder(self.order)  # type: ignore[arg-type]


class _Array(np.ndarray[Any, Any]):
    """Stands for numpy.ndarray: empty until its state comes."""

    def __new__(cls, *_: Any) -> "_Array":
        return super().__new__(cls, (0,), np.uint8)

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        real = _checked(dtype)
        if not isinstance(data, bytes):
            raise NotPlainError("Python objects")
        if not all(type(size) is int and size >= 0 for size in shape) or math.prod(shape) * real.itemsize != len(data):
            raise ValueError(f"an array {shape} of {real} in {len(data)} bytes")
        super().__setstate__((1, tuple(shape), real, bool(fortran), data))  # type: ignore[arg-type]


def _checked(dtype: Any) -> np.dtype[Any]:
    if not isinstance(dtype, _Dtype):
        raise NotPlainError(f"dtype {dtype!r:.40}")
    return dtype.real()


def _reconstruct(*_: Any) -> NDArray[Any]:
    return _Array()


def _scalar(dtype: Any, data: Any = b"") -> Any:
    real = _checked(dtype)
    if not isinstance(data, bytes):
        raise NotPlainError("Python objects")
    return np.frombuffer(data, real)[0]


def _no_bytes() -> bytes:
    return b""


STAND_INS: list[Any] = [
    (_Dtype, "numpy.dtype"),
    (_Array, "numpy.ndarray"),
    (_no_bytes, "builtins.bytes"),  # what an array without values has for its bytes
    *((_reconstruct, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
    *((_scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
]
"""for torch.serialization.safe_globals"""
