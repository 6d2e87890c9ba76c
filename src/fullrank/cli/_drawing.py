"""A watched step as text: its data flow as a drawing, and what happens in it as a numbered list."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fullrank.cli._one_step import OneStep
from fullrank.cli._trace import Call, Given, Origin

WIDTH = 116
"""wider drawings leave the shapes to the list"""
WITH, WITHOUT = "─", "┄"
"""lines along which gradients flow back, and others"""
PLAIN = str.maketrans("─┄┐┤┘◄×", "-.++'<x")
"""for terminals that have no such characters"""


@dataclass(frozen=True)
class _Node:
    """A step of a path: what it is, and the line that leads to it."""

    label: str
    shape: str = ""
    line: str = ""


def draw(step: OneStep) -> list[str]:
    """Lines: every path from a view, a target or a memory to a loss, and what is updated afterwards."""
    flow = _flow(step, shapes=True)
    if max(map(len, flow)) > WIDTH:
        flow = _flow(step, shapes=False)
    after = [_update(step, call) for call, _ in step.calls if call.phase == "after_step" and call.is_module]
    silent = [part for part in step.updated if not any(text.split(".")[0] == part for text in after)]
    after += [f"{part} changes" for part in silent]
    return [
        *flow,
        *([f"after the step: {'; '.join(after)}"] if after else []),
        f"{WITH * 2} with gradient, {WITHOUT * 2} without",
    ]


def _flow(step: OneStep, *, shapes: bool) -> list[str]:
    drawn: list[str] = []
    seen: set[str] = set()
    for end in sorted({origin for _, origins in step.losses.values() for origin in origins if isinstance(origin, int)}):
        call, times = step.calls[end]
        paths: dict[tuple[str, ...], tuple[list[_Node], str]] = {}
        for given in call.inputs:
            for path in _paths(step, given, end, direct=True):
                paths.setdefault(tuple(node.label + node.shape for node in path), (path, _line(given.gradient)))
        terms = [name for name, (_, origins) in step.losses.items() if end in origins]
        lines = [(_along(path, step, seen, shapes), last) for path, last in paths.values()]
        drawn += _joined(lines, f"{_many('loss', terms)} ◄── {call.name}{_times(times)} ◄──")
    return drawn


def _paths(step: OneStep, given: Given, row: int, direct: bool = False) -> Iterator[list[_Node]]:
    """Every way to what ``given`` is; masks and targets only where they go straight into the loss."""
    for origin in sorted(given.origins, key=str):
        if isinstance(origin, str):
            if direct or origin not in step.others:
                yield [_Node(origin)]
        elif origin < row:  # a later row feeds an earlier one where a block is repeated
            call, times = step.calls[origin]
            label, shape = call.name + _times(times), _shape(call.outputs[-1][1])
            for source in call.inputs:
                line = _line(source.gradient or (call.gradient and bool(source.origins & set(step.views))))
                for path in _paths(step, source, origin):
                    yield [*path, _Node(label, shape, line)]


def _along(path: Sequence[_Node], step: OneStep, seen: set[str], shapes: bool) -> str:
    """One line; the shape of a source stands where it is first drawn."""
    source = path[0].label
    shape = step.views.get(source) or step.others.get(source)
    text = source if shape is None or source in seen else f"{source} {_shape(shape)}"
    seen.add(source)
    return text + "".join(f" {node.line * 2} {node.label}{f' {node.shape}' * shapes}" for node in path[1:])


def _joined(lines: Sequence[tuple[str, str]], end: str) -> list[str]:
    width = max([len(text) + 4 for text, _ in lines] + [len(end)])
    drawn = [f"{text} {last * (width - len(text) - 1)}" + ("┐" if i == 0 else "┤") for i, (text, last) in enumerate(lines)]
    return [*drawn, end.rjust(width) + "┘"]


def _line(gradient: bool) -> str:
    return WITH if gradient else WITHOUT


def _times(times: int) -> str:
    return f" ×{times}" if times > 1 else ""


def _many(word: str, names: Sequence[str]) -> str:
    return f"{word if len(names) == 1 else word + 'es'} {', '.join(names)}"


def _shape(shape: Sequence[int]) -> str:
    return str(list(shape)) if shape else "number"


def _update(step: OneStep, call: Call) -> str:
    names = [name for given in call.inputs for name in _names(step, given)]
    return f"{call.name} ◄── {', '.join(dict.fromkeys(names)) or 'itself'}"


def _names(step: OneStep, given: Given) -> list[str]:
    if given.shape is None:
        return [given.name]
    return [origin if isinstance(origin, str) else step.calls[origin][0].name for origin in sorted(given.origins, key=str)]


def listing(step: OneStep) -> list[dict[str, Any]]:
    """{number, part, what, takes, gives, times, gradient} of everything that happens, in order; "takes" names numbers."""
    rows: list[dict[str, Any]] = []

    def add(part: str, what: str, takes: Sequence[str] = (), gives: Sequence[str] = (), **more: Any) -> int:
        rows.append({"number": len(rows) + 1, "part": part, "what": what, "takes": list(takes), "gives": list(gives), **more})
        return len(rows)

    add("data", "clips", gives=[f"uint8 {_shape(step.frames)} (records, clips, time, height, width, colours)"])
    number: dict[Origin, int] = {}
    for name, shape in (step.views | step.others).items():
        axes = " (records, views, channels, time, height, width)" if not number else ""
        number[name] = add("views", name.replace("hidden:", "hidden patches of "), ["(1)"], [_shape(shape) + axes])
    after = False
    for row, (call, times) in enumerate(step.calls):
        if call.phase != "forward" and not after:
            after = _ends_of_a_step(step, add, number)
        takes = [_taken(given, call, number) for given in call.inputs]
        gives = [f"{name} {_shape(shape)}".strip() for name, shape in call.outputs]
        number[row] = add(call.phase.replace("_", " "), call.name, takes, gives, times=times, gradient=call.gradient)
    if not after:
        _ends_of_a_step(step, add, number)
    for part, shapes in step.updated.items():
        add("after step", f"{part} has changed", gives=[_shape(shapes[0]) if len(shapes) == 1 else f"{len(shapes)} tensors"])
    return rows


def _ends_of_a_step(step: OneStep, add: Any, number: dict[Origin, int]) -> bool:
    """What lies between the forward pass and ``after_step``."""
    for name, (shape, origins) in step.features.items():
        add("features", name, [_numbers(origins, number)], [_shape(shape)])
    for term, (value, origins) in step.losses.items():
        add("loss", term, [_numbers(origins, number)], [f"{value:.4g}"])
    add("backward", "gradients", gives=step.gradients)
    add("optimizer", f"{step.optimizer} moves", gives=step.moved)
    return True


def _numbers(origins: frozenset[Origin], number: dict[Origin, int]) -> str:
    """Such as "(3)" or "(3, 5)", or the name of a memory."""
    known = sorted(number[origin] for origin in origins if origin in number)
    names = sorted(origin for origin in origins if isinstance(origin, str) and origin not in number)
    return " ".join([f"({', '.join(map(str, known))})"] * bool(known) + names)


def _taken(given: Given, call: Call, number: dict[Origin, int]) -> str:
    if given.shape is None:
        return given.name
    name = "" if call.is_module and call.phase == "forward" and len(call.inputs) == 1 else given.name
    return " ".join(word for word in (name, _numbers(given.origins, number), _shape(given.shape)) if word)


def lines(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The list as text, a line each."""
    before = ""
    for row in rows:
        many = f" ×{row['times']}" if row.get("times", 1) > 1 else ""
        takes, gives = ", ".join(row["takes"]), ", ".join(row["gives"])
        text = f"{takes} -> {gives}" if takes and gives else takes or gives
        still = "" if row.get("gradient", True) or row["part"] != "forward" else "   no gradient"
        part = "" if row["part"] == before else row["part"]
        before = row["part"]
        yield f"{row['number']:>3} {part:<10} {row['what'] + many:<26} {text}{still}".rstrip()
