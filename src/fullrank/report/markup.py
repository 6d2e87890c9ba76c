"""HTML pieces: escaped text, numbers, tables, folded parts. Everything that comes from a file goes through ``text``."""

import html
import math
from collections.abc import Iterable, Mapping, Sequence


class Html(str):
    """Text that is HTML already and is not escaped again."""

    __slots__ = ()


def text(value: object) -> Html:
    """Any value as escaped text; HTML stays as it is.

    >>> text("<script>.mp4"), text(Html("<b>x</b>")), text(0.123456)
    ('&lt;script&gt;.mp4', '<b>x</b>', '0.1235')
    """
    if isinstance(value, Html):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return Html(html.escape(str(value), quote=True))
    return Html(number(value))


def number(value: float | int | None) -> str:
    """Four significant digits, thousands separated, no exponent between 0.001 and a million.

    >>> number(12345), number(0.000123), number(97.25), number(2.0), number(None), number(float("nan")), number(-0.5)
    ('12,345', '1.23e-04', '97.25', '2', '-', 'NaN', '-0.5')
    """
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("infinite" if value > 0 else "-infinite")
    if value != 0 and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.2e}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def duration(seconds: float) -> str:
    """Seconds for people.

    >>> duration(42.4), duration(150), duration(7384)
    ('42 s', '2 min 30 s', '2 h 3 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def join(parts: Iterable[str]) -> Html:
    """Pieces of HTML one after the other."""
    return Html("\n".join(part for part in parts if part))


def table(header: Sequence[object], rows: Sequence[Sequence[object]], caption: str = "") -> Html:
    """A table in a box of its own that scrolls; the first column is the row's heading, numbers stand to the right."""
    numeric = [bool(rows) and all(isinstance(row[i], int | float) or row[i] == "-" for row in rows) for i in range(len(header))]

    def cell(i: int, value: object) -> str:
        style = ' class="n"' if numeric[i] else ""
        return f'<th scope="row">{text(value)}</th>' if i == 0 else f"<td{style}>{text(value)}</td>"

    head = "".join(f'<th scope="col"{" class=n" if numeric[i] else ""}>{text(name)}</th>' for i, name in enumerate(header))
    body = "".join(f"<tr>{''.join(cell(i, value) for i, value in enumerate(row))}</tr>" for row in rows)
    named = f"<caption>{text(caption)}</caption>" if caption else ""
    label = text(caption or header[0] or "table")
    return Html(
        f'<div class="scroll" role="region" tabindex="0" aria-label="{label}"><table>{named}'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def section(heading: str, *parts: str, note: str = "", level: int = 2) -> Html:
    """A heading, one sentence on how to read what follows, and the content."""
    said = f'<p class="note">{text(note)}</p>' if note else ""
    return Html(f"<section><h{level}>{text(heading)}</h{level}>{said}{join(parts)}</section>")


def folded(heading: str, *parts: str, open_: bool = False) -> Html:
    """Content behind a line that opens it."""
    return Html(f"<details{' open' if open_ else ''}><summary>{text(heading)}</summary>{join(parts)}</details>")


def sentence(value: str, kind: str = "note") -> Html:
    """One paragraph."""
    return Html(f'<p class="{kind}">{text(value)}</p>')


def flat(settings: Mapping[str, object], prefix: str = "") -> list[tuple[str, object]]:
    """Nested settings as (dotted name, value).

    >>> flat({"data": {"path": "x", "size": [1, 2]}, "seed": 0})
    [('data.path', 'x'), ('data.size', '1, 2'), ('seed', 0)]
    """
    rows: list[tuple[str, object]] = []
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            rows += flat(value, f"{name}.")
        elif isinstance(value, list | tuple):
            rows.append((name, ", ".join(str(item) for item in value)))
        else:
            rows.append((name, "-" if value is None else value))
    return rows
