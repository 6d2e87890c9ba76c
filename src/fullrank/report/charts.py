"""Line charts as inline SVG: no script, colours from the page's CSS variables (so light, dark and print all work)."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fullrank.report.markup import Html, number, text

WIDTH, HEIGHT = 360, 190
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 10, 30
MAX_BINS = 150
MAX_HOVERS = 32
NUM_COLOURS = 8
Point = tuple[float, float]
Place = Callable[[float], float]


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line: finite or not, in order of x. A value that is not finite is a gap."""

    label: str
    points: Sequence[Point]
    colour: int = 0
    """0.. : which of the page's line colours"""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A vertical line where something happened."""

    x: float
    label: str


def line_chart(
    series: Sequence[Series],
    *,
    title: str,
    marks: Sequence[Mark] = (),
    floor: float | None = None,
    ceiling: float | None = None,
    unit_x: str = "step",
    under: str = "",
) -> Html:
    """A figure with one line a series.

    ``floor`` and ``ceiling`` are values that the axis must reach (0 for a rank, 1 for a ratio); the axis is logarithmic
    where all values are positive, span more than three decades and no floor is asked for. ``under`` is a line below the chart.
    """
    finite = [point for one in series for point in one.points if _is_finite(point)]
    if not finite:
        return Html(
            f'<figure class="chart"><figcaption>{text(title)}</figcaption><p class="note">No finite value.</p></figure>'
        )
    values = [y for _, y in finite]
    logarithmic = floor is None and min(values) > 0 and max(values) / min(values) > 1e3
    low, high, ticks = _axis(values, floor, ceiling, logarithmic)
    x_low, x_high = min(x for x, _ in finite), max(x for x, _ in finite)

    def place_x(x: float) -> float:
        share = (x - x_low) / (x_high - x_low) if x_high > x_low else 0.5
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def place_y(y: float) -> float:
        share = (math.log10(y) - low) / (high - low) if logarithmic else (y - low) / (high - low)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    parts = [_y_axis(ticks, place_y), _x_axis(x_low, x_high, place_x, unit_x)]
    parts += [_mark(mark, place_x(mark.x)) for mark in marks if x_low <= mark.x <= x_high]
    parts += [_line(one, place_x, place_y, unit_x) for one in series]
    caption = title + (" (log scale)" if logarithmic else "")
    said = "; ".join(_spoken(one) for one in series)
    return Html(
        f'<figure class="chart"><figcaption>{text(caption)}{_last(series) if unit_x == "step" else ""}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{text(f"{caption}. {said}")}">{"".join(parts)}</svg>'
        f"{f'<p class=note>{text(under)}</p>' if under else ''}</figure>"
    )


def legend(labels: Sequence[str]) -> Html:
    """Names beside their colours, shared by the charts that follow."""
    line = '<svg class="key" viewBox="0 0 26 8" aria-hidden="true"><polyline class="c{}" points="0,4 26,4"/></svg>'
    items = "".join(f"<li>{line.format(i % NUM_COLOURS)}{text(label)}</li>" for i, label in enumerate(labels))
    return Html(f'<ul class="legend">{items}</ul>')


def nice_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round values that cover [low, high].

    >>> nice_ticks(0, 97), nice_ticks(-0.2, 1.0), nice_ticks(3, 3)
    ([0.0, 50.0, 100.0], [-0.5, 0.0, 0.5, 1.0], [2.0, 2.5, 3.0, 3.5, 4.0])
    """
    if high <= low:
        half = abs(low) / 3 or 1.0
        low, high = low - half, high + half
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def thin(points: Sequence[Point], bins: int = MAX_BINS) -> list[Point]:
    """A few points a bin: its lowest, its highest and a gap where it has one, so that a spike stays visible; and both ends."""
    if len(points) <= 2 * bins:
        return list(points)
    kept = {0, len(points) - 1}
    for i in range(bins):
        part = range(len(points) * i // bins, len(points) * (i + 1) // bins)
        finite = [k for k in part if _is_finite(points[k])]
        if len(finite) < len(part):
            kept.add(next(k for k in part if not _is_finite(points[k])))
        if finite:
            kept |= {min(finite, key=lambda k: points[k][1]), max(finite, key=lambda k: points[k][1])}
    return [points[k] for k in sorted(kept)]


def _is_finite(point: Point) -> bool:
    return math.isfinite(point[0]) and math.isfinite(point[1])


def _axis(
    values: list[float], floor: float | None, ceiling: float | None, logarithmic: bool
) -> tuple[float, float, list[float]]:
    """Lowest and highest place of the axis (exponents where logarithmic) and the values that get a label."""
    if logarithmic:
        low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
        every = math.ceil((high - low) / 4)
        return low, high, [10.0**power for power in range(low, high + 1, every)]
    bottom = min(values) if floor is None else min([*values, floor])
    top = max(values) if ceiling is None else max([*values, ceiling])
    ticks = [tick for tick in nice_ticks(bottom, top) if tick >= 0 or bottom < 0]
    return ticks[0], ticks[-1], ticks


def _y_axis(ticks: list[float], place_y: Place) -> str:
    lines = ""
    for tick in ticks:
        y = place_y(tick)
        lines += f'<line class="gridline" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        lines += f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text(_short(tick))}</text>'
    return lines


def _x_axis(low: float, high: float, place_x: Place, unit: str) -> str:
    y = HEIGHT - 10
    if high <= low:
        return f'<text x="{place_x(low):.1f}" y="{y}" text-anchor="middle">{unit} {_short(low)}</text>'
    middle = f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{y}" text-anchor="middle">{unit}</text>'
    first = f'<text x="{LEFT}" y="{y}">{_short(low)}</text>'
    last = f'<text x="{WIDTH - RIGHT}" y="{y}" text-anchor="end">{_short(high)}</text>'
    return first + middle + last


def _short(value: float) -> str:
    """A label of an axis: 50000 -> 50k, 1e-05 -> 1e-5."""
    if value and (abs(value) < 1e-3 or abs(value) >= 1e7):
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    if abs(value) >= 1e4:
        return f"{value / 1e3:g}k"
    return f"{value:.6g}"


def _line(series: Series, place_x: Place, place_y: Place, unit: str) -> str:
    """The line in pieces between gaps, and points whose value is told on hovering."""
    points = thin(series.points)
    pieces: list[list[Point]] = [[]]
    for point in points:
        if _is_finite(point):
            pieces[-1].append(point)
        elif pieces[-1]:
            pieces.append([])
    colour = f"c{series.colour % NUM_COLOURS}"
    drawn = ""
    for piece in (piece for piece in pieces if piece):
        spots = [f"{place_x(x):.1f},{place_y(y):.1f}" for x, y in piece]
        drawn += f'<polyline class="{colour}" points="{" ".join(spots)}"/>' if len(spots) > 1 else ""
    finite = [point for piece in pieces for point in piece]
    every = max(1, math.ceil(len(finite) / MAX_HOVERS))
    shown = "dot" if len(finite) <= 12 else "hover"
    for x, y in finite[::-every]:
        said = text(f"{series.label}, {unit} {_short(x)}: {number(float(y))}")
        where = f'cx="{place_x(x):.1f}" cy="{place_y(y):.1f}" r="{3 if shown == "dot" else 7}"'
        drawn += f'<circle class="{shown} {colour}" {where}><title>{said}</title></circle>'
    return drawn


def _mark(mark: Mark, x: float) -> str:
    y = HEIGHT - BOTTOM
    return (
        f'<g class="alarm"><title>{text(f"step {_short(mark.x)}: {mark.label}")}</title>'
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{y}"/><path d="M{x - 5:.1f} {TOP - 9}h10l-5 9z"/></g>'
    )


def _last(series: Sequence[Series]) -> str:
    if len(series) != 1:
        return ""
    value = next((y for _, y in reversed(series[0].points) if math.isfinite(y)), None)
    return f'<span class="last">{number(value)}</span>'


def _spoken(series: Series) -> str:
    finite = [y for x, y in series.points if _is_finite((x, y))]
    if not finite:
        return f"{series.label}: no finite value"
    first, last, low, high = (number(float(v)) for v in (finite[0], finite[-1], min(finite), max(finite)))
    return f"{series.label}: from {first} to {last}, lowest {low}, highest {high}"
