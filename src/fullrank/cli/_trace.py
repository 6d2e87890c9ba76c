"""Watches a step from outside: the calls of a method's modules and objectives, and which of them each tensor comes from.

Python's profile hook sees the calls, a function mode follows each tensor. Nothing is replaced.
"""

import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import CodeType, FrameType
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from fullrank.methods._method import Method
from fullrank.types import Output

PHASES = ("forward", "after_backward", "after_step")
Origin = str | int
"""where a tensor comes from: the name of a view group or buffer, or the number of a call"""


@dataclass(frozen=True)
class Given:
    """One tensor (or module: no shape) that a call got."""

    name: str
    shape: tuple[int, ...] | None
    origins: frozenset[Origin]
    gradient: bool


@dataclass(frozen=True)
class Call:
    """A module of the method or an objective at work."""

    phase: str
    name: str
    is_module: bool
    inputs: tuple[Given, ...]
    outputs: tuple[tuple[str, tuple[int, ...]], ...]
    """(name, shape); the name is empty where the call gives it none"""
    gradient: bool
    """whether gradients flow back through it"""


def tensors_of(value: Any, name: str = "") -> Iterator[tuple[str, Tensor | nn.Module]]:
    """(name, tensor or module) of all in a value, as deep as tuples, lists and dicts go."""
    if isinstance(value, Tensor | nn.Module):
        yield name, value
    elif hasattr(value, "_fields"):  # a named tuple: the terms of an objective
        for key in value._fields:
            yield from tensors_of(getattr(value, key), key)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from tensors_of(item, name)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from tensors_of(item, str(key))


class Trace(TorchFunctionMode):
    """Watches a step: the calls of modules and objectives in ``PHASES``, and which of them each tensor comes from."""

    def __init__(self, method: Method):
        super().__init__()
        self.method = method
        self.names = {id(module): name for name, module in method.named_modules() if name}
        self.calls: list[Call] = []
        self.found: dict[tuple[str, str], frozenset[Origin]] = {}
        self._origins: dict[int, frozenset[Origin]] = {}
        self._kinds: dict[CodeType, str] = {}
        self._phase: tuple[str, FrameType] | None = None
        self._open: tuple[FrameType, str, tuple[Given, ...]] | None = None
        self.name_sources(dict(method.named_buffers()))

    def name_sources(self, tensors: Mapping[str, Tensor]) -> None:
        """Give tensors that are there before the step their names."""
        for name, tensor in tensors.items():
            self._mark(tensor, frozenset([name]))

    def __enter__(self) -> "Trace":
        super().__enter__()
        self._profile_before = sys.getprofile()
        sys.setprofile(self._profile)
        return self

    def __exit__(self, *error: Any) -> None:
        sys.setprofile(self._profile_before)
        super().__exit__(*error)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if self._phase is not None and self._open is None:  # within a call it is the call that counts
            origins = frozenset[Origin]().union(*(self.origins(t) for _, t in tensors_of([args, kwargs or {}])))
            self._mark(args[0] if func is Tensor.__setitem__ else result, origins)
        return result

    def origins(self, value: Tensor | nn.Module) -> frozenset[Origin]:
        """Names and numbers of calls that a tensor was made from."""
        return self._origins.get(_key(value), frozenset()) if isinstance(value, Tensor) else frozenset()

    def _mark(self, value: Any, origins: frozenset[Origin]) -> None:
        for _, tensor in tensors_of(value):
            if isinstance(tensor, Tensor):
                self._origins[_key(tensor)] = origins

    def _profile(self, frame: FrameType, event: str, result: Any) -> None:
        if event == "call":
            self._enter(frame)
        elif event == "return" and self._open is not None and frame is self._open[0]:
            self._leave(result)
        elif event == "return" and self._phase is not None and frame is self._phase[1]:
            if isinstance(result, Output):
                for kind in ("losses", "features"):
                    self.found |= {(kind, name): self.origins(value) for name, value in getattr(result, kind).items()}
            self._phase = None

    def _enter(self, frame: FrameType) -> None:
        kind = self._kind(frame)
        if not kind or self._open is not None:
            return
        owner = frame.f_locals.get("self") if kind == "bound" else None
        if owner is not None and not _is_code_of(getattr(type(owner), frame.f_code.co_name, None), frame.f_code):
            return
        if owner is self.method and frame.f_code.co_name in PHASES and self._phase is None:
            self._phase = (frame.f_code.co_name, frame)
        elif self._phase is not None and (kind == "objective" or id(owner) in self.names):
            name = frame.f_code.co_name
            if owner is not None:
                name = self.names[id(owner)] + ("" if name == "forward" else f".{name}")
            self._open = (frame, name, tuple(self._inputs(frame)))

    def _kind(self, frame: FrameType) -> str:
        """One of "objective", "bound" (of a module) or "", by a function's code; asked for every call, so remembered."""
        code = frame.f_code
        if code not in self._kinds:
            place, kind = str(frame.f_globals.get("__name__", "")), ""
            ours = place.startswith("fullrank.objectives.") or place == type(self.method).__module__
            if ours and not code.co_name.startswith("_") and _is_code_of(frame.f_globals.get(code.co_name), code):
                kind = "objective"
            elif code.co_varnames[:1] == ("self",) and (
                code.co_name == "forward" or not code.co_name.startswith("_") and not place.startswith("torch.")
            ):
                kind = "bound"
            self._kinds[code] = kind
        return self._kinds[code]

    def _inputs(self, frame: FrameType) -> Iterator[Given]:
        code = frame.f_code
        count = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & 4)  # 4: it takes *args
        for argument in code.co_varnames[:count]:
            if argument == "self":
                continue
            for name, value in tensors_of(frame.f_locals.get(argument), argument):
                if isinstance(value, Tensor):
                    yield Given(name, tuple(value.shape), self.origins(value), value.requires_grad)
                elif id(value) in self.names:
                    yield Given(self.names[id(value)], None, frozenset(), False)

    def _leave(self, result: Any) -> None:
        if self._open is None or self._phase is None:
            return
        (frame, name, inputs), phase, self._open = self._open, self._phase[0], None
        outputs = [(key, t) for key, t in tensors_of(result) if isinstance(t, Tensor)]
        if not inputs or (phase == "forward" and not (outputs and any(given.shape is not None for given in inputs))):
            return  # it asked for a size, or looked at what is stored
        origin = len(self.calls)
        self.calls.append(
            Call(
                phase=phase,
                name=name,
                is_module="self" in frame.f_code.co_varnames[:1],
                inputs=inputs,
                outputs=tuple((key, tuple(t.shape)) for key, t in outputs),
                gradient=any(t.requires_grad for _, t in outputs),
            )
        )
        self._mark(result, frozenset([origin]))


def _is_code_of(function: Any, code: CodeType) -> bool:
    """Whether this is the function's own code, and not that of a check or decorator around it."""
    return getattr(inspect.unwrap(function), "__code__", None) is code if callable(function) else False


def _key(tensor: Tensor) -> int:
    """Views share it with what they are views of."""
    return tensor.untyped_storage().data_ptr()


def merged(calls: Sequence[Call]) -> tuple[list[tuple[Call, int]], dict[int, int]]:
    """(call, times) with the same calls over and over, on the next view or block, as one; and {old number: new number}.

    Two calls are the same where they have one name and take and give the same shapes.
    """
    keys = [(c.phase, c.name, tuple((g.name, g.shape) for g in c.inputs), c.outputs, c.gradient) for c in calls]
    groups: list[list[int]] = []
    start = 0
    while start < len(calls):
        period, times = _repeats(keys, start)
        groups += [[start + offset + period * k for k in range(times)] for offset in range(period)]
        start += period * times
    row = {old: new for new, members in enumerate(groups) for old in members}
    return [(_union([calls[i] for i in members], row), len(members)) for members in groups], row


def renumbered(origins: frozenset[Origin], row: Mapping[int, int]) -> frozenset[Origin]:
    """The same origins, calls by their new numbers."""
    return frozenset(row[origin] if isinstance(origin, int) else origin for origin in origins)


def _repeats(keys: Sequence[Any], start: int) -> tuple[int, int]:
    """(length, times) of the block from ``start`` on that, repeated, covers the most; (1, 1) where nothing repeats."""
    best = (1, 1)
    for period in range(1, (len(keys) - start) // 2 + 1):
        times, block = 1, keys[start : start + period]
        while keys[start + times * period : start + (times + 1) * period] == block:
            times += 1
        if times > 1 and period * times > best[0] * best[1]:
            best = (period, times)
    return best


def _union(calls: Sequence[Call], row: Mapping[int, int]) -> Call:
    inputs = []
    for same in zip(*(call.inputs for call in calls), strict=True):
        origins = frozenset[Origin]().union(*(given.origins for given in same))
        gradient = any(given.gradient for given in same)
        inputs.append(Given(same[0].name, same[0].shape, renumbered(origins, row), gradient))
    return replace(calls[0], inputs=tuple(inputs))
