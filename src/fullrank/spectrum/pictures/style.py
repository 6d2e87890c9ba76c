"""What all pictures share: widths of a paper, colours and dashes that survive grey, and files that are the same each time.

Colours are Okabe and Ito's (safe for colour blindness); dashes and markers differ as well, so that grey print and any eye can
tell curves apart. Figures are built on Agg without pyplot, and matplotlib's global state is left as it was.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fullrank.errors import SettingError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#777777")
"""without its yellow, which a white page swallows, and with a grey for its black, which a dark page does"""
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)), (0, (8, 1, 1, 1, 1, 1)), (0, (3, 3)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
SHADES = "cividis"
"""for values: its lightness rises evenly, for every eye and in grey"""
SUFFIXES = (".pdf", ".svg", ".png")
WIDTHS = {"column": 3.3, "page": 6.9}
"""inches: of a column of a paper with two, and of its page"""
INK = "#000000"
FAINT = "#999999"
_SAVED: Any = {"svg.hashsalt": "fullrank", "svg.fonttype": "path", "pdf.fonttype": 42}
"""names inside an SVG that don't change from run to run; letters in a PDF that stay letters"""
_UNDATED: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}
NARROWEST_INCHES = 1.5
LETTERS_AN_INCH = 13
"""of a title"""


def new_figure(width_inches: float, height_inches: float) -> "Figure":
    """A transparent figure of its own on Agg: no pyplot, no rcParams, so nothing global changes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_inches, height_inches), layout="constrained", facecolor="none")
    FigureCanvasAgg(figure)
    return figure


def panels(
    count: int, width_inches: float, height_inches: float, *, columns: int | None = None, extra_inches: float = 0.0
) -> tuple["Figure", list["Axes"]]:
    """A figure with ``count`` panels of ``height_inches`` each, as many beside each other as are legible at this width.

    ``extra_inches``: height for a legend below them.
    """
    columns = min(count, columns or max(1, int(width_inches / NARROWEST_INCHES)))
    rows = -(-count // columns)
    figure = new_figure(width_inches, rows * height_inches + extra_inches)
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for spare in grid[count:]:
        spare.set_visible(False)
    return figure, grid[:count]


def line_style(i: int) -> dict[str, Any]:
    """Colour and dash of the i-th curve: 42 pairs before one repeats."""
    return {"color": OKABE_ITO[i % len(OKABE_ITO)], "linestyle": DASHES[i % len(DASHES)], "linewidth": 1.2}


def finish(axes: "Axes", ink: str = INK, *, xlabel: str = "", ylabel: str = "", title: str = "", small: bool = True) -> None:
    """Labels and a quiet frame."""
    axes.set_facecolor("none")
    axes.set_title(title, fontsize=8 if small else 9, color=ink)
    axes.set_xlabel(xlabel, fontsize=7 if small else 8, color=ink)
    axes.set_ylabel(ylabel, fontsize=7 if small else 8, color=ink)
    axes.tick_params(labelsize=6.5 if small else 7, color=ink, labelcolor=ink, width=0.6, length=2.5)
    for side, spine in axes.spines.items():
        spine.set(color=ink, linewidth=0.6, visible=side in ("left", "bottom"))


def broken(text: str, most: int) -> str:
    r"""Lines of at most ``most`` letters, broken behind spaces and the signs of names; a longer word stays whole.

    >>> broken("simsiam-no_stop-gradient", 13)
    'simsiam-no_\nstop-gradient'
    """
    lines = [""]
    for part in re.findall(r"[^-_/ ]*[-_/ ]?", text):
        if lines[-1] and len(lines[-1]) + len(part.rstrip()) > most:
            lines.append("")
        lines[-1] += part
    return "\n".join(line.strip() for line in lines)


def legend(axes: "Axes", ink: str = INK, *, size: float = 6.5, **where: Any) -> None:
    """Inside a panel, without a frame."""
    axes.legend(fontsize=size, frameon=False, labelcolor=ink, handlelength=2.6, **where)


def legend_below(figure: "Figure", handles: Sequence[Any], labels: Sequence[str], columns: int, *, marks: bool = False) -> None:
    """One legend for all panels. ``marks``: of single marks, which need less room than curves."""
    look: dict[str, Any] = {"fontsize": 6.5, "handlelength": 1.0 if marks else 2.6, "columnspacing": 1.2, "frameon": False}
    figure.legend(handles=list(handles), labels=list(labels), loc="outside lower center", ncols=columns, **look)


def columns_of(labels: Sequence[str], width_inches: float, *, marks: bool = False) -> int:
    """How many entries of a legend fit beside each other."""
    longest = max((len(label) for label in labels), default=1)
    return max(1, min(len(labels), int(width_inches / ((0.35 if marks else 0.5) + 0.055 * longest))))


def check_suffix(path: Path) -> None:
    """``SettingError`` where a figure cannot be written under this name."""
    if path.suffix.lower() not in SUFFIXES:
        raise SettingError(f"a figure must be a {', '.join(SUFFIXES)} file. Got '{path.name}'. Give it one of these suffixes.")


def save(figure: "Figure", out: str | Path) -> Path:
    """Write a figure as .pdf, .svg or .png by the suffix, whole or not at all; the same figure gives the same bytes."""
    from matplotlib import rc_context

    path = Path(out)
    check_suffix(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = path.suffix[1:].lower()
    temporary = path.with_name(f".{path.stem}.tmp{path.suffix}")
    with rc_context(_SAVED):
        figure.savefig(temporary, format=kind, dpi=300, facecolor="white", metadata=_UNDATED[kind])
    os.replace(temporary, path)
    return path


def as_svg(figure: "Figure") -> str:
    """An SVG element (no XML header), transparent, for a page."""
    import io

    from matplotlib import rc_context

    text = io.StringIO()
    with rc_context(_SAVED):
        figure.savefig(text, format="svg", metadata=_UNDATED["svg"])
    whole = text.getvalue()
    return whole[whole.index("<svg") :]
