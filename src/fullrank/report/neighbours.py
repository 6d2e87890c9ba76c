"""Nearest neighbours as pictures: what the encoder finds alike, seen without any label.

Enters: a feature table and its thumbnails. Leaves: HTML with data: URIs.
"""

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fullrank.report.markup import Html, join, number, sentence, text
from fullrank.types import FeatureTable

NUM_QUERIES = 12
NUM_NEIGHBOURS = 5
MOST_VOTES = 20
"""neighbours that vote where every class has more records than that"""
CHUNK_ROWS = 65536
SMALL_PIXELS = 48
"""thumbnails up to this side are stored without loss (they are enlarged on the page)"""


@dataclass(frozen=True)
class Neighbours:
    """One query row and the most similar row of each of the nearest other records."""

    query: int
    rows: list[int]
    cosines: list[float]


def find(table: FeatureTable, num_queries: int = NUM_QUERIES, seed: int = 0) -> tuple[list[Neighbours], float]:
    """For ``num_queries`` random records, the nearest other records by cosine of the representation.

    A record with several clips is asked with its middle clip, and answers with its nearest clip. The second value is the
    mean cosine between the queries and everything of other records: what "not near" means for these features.
    """
    records, first = np.unique(table.record, return_index=True)
    generator = np.random.default_rng(seed)
    chosen = np.sort(generator.choice(len(records), size=min(num_queries, len(records)), replace=False))
    queries = [_middle_row(table.record, int(first[i]), int(records[i])) for i in chosen]
    similar = _cosines(table.representation, queries)
    found = []
    apart = []
    for query, cosines in zip(queries, similar, strict=True):
        others = np.flatnonzero(table.record != table.record[query])
        apart.append(float(cosines[others].mean()) if len(others) else float("nan"))
        found.append(_nearest_records(query, cosines, others, table.record))
    return found, float(np.nanmean(apart)) if not np.isnan(apart).all() else float("nan")


def _middle_row(record: NDArray[np.int64], first: int, value: int) -> int:
    rows = np.flatnonzero(record == value)
    return int(rows[len(rows) // 2]) if len(rows) else first


def _cosines(features: NDArray[np.float32], queries: list[int]) -> NDArray[np.float64]:
    """[queries, rows]; read in chunks, because the table may be larger than memory. A zero row has cosine 0."""

    def unit(rows: NDArray[np.float32]) -> NDArray[np.float64]:
        wide = np.asarray(rows, dtype=np.float64)
        norms = np.linalg.norm(wide, axis=1, keepdims=True)
        return wide / np.where(norms > 0, norms, 1.0)

    asked = unit(features[queries])
    parts = [asked @ unit(features[i : i + CHUNK_ROWS]).T for i in range(0, len(features), CHUNK_ROWS)]
    return np.concatenate(parts, axis=1)


def _nearest_records(
    query: int, cosines: NDArray[np.float64], others: NDArray[np.int64], record: NDArray[np.int64]
) -> Neighbours:
    order = others[np.argsort(-cosines[others], kind="stable")]
    rows: list[int] = []
    seen: set[int] = set()
    for row in order:
        if int(record[row]) not in seen:
            seen.add(int(record[row]))
            rows.append(int(row))
        if len(rows) == NUM_NEIGHBOURS:
            break
    return Neighbours(query, rows, [float(cosines[row]) for row in rows])


def num_votes(labels: NDArray[np.int64]) -> int:
    """How many neighbours vote on the class of a record that is left out; 0 where no class has two records.

    20, or fewer: one less than the smallest class has records. With more, the record's own class, which lacks the record,
    would be outvoted by the others however good the features are. A class of one record can never win, and does not count.

    >>> num_votes(np.repeat([0, 1, 2, 3], 6)), num_votes(np.repeat([0, 1], 300)), num_votes(np.array([0, 1, 2, -1, -1]))
    (5, 20, 0)
    """
    _, counts = np.unique(labels[labels >= 0], return_counts=True)
    several = counts[counts > 1]
    return int(min(MOST_VOTES, several.min() - 1)) if len(several) else 0


def thumbnails(features: Path, num_rows: int) -> tuple[NDArray[np.uint8] | None, str]:
    """uint8 [rows, height, width, 3] or [rows, frames, height, width, 3], one a row of the table; or None and the reason."""
    file = features / "thumbnails.npy"
    if not file.is_file():
        return None, "The features were written without thumbnails; `fullrank extract --thumbnails` adds them."
    pictures: NDArray[np.uint8] = np.load(file, mmap_mode="r", allow_pickle=False)
    if pictures.dtype != np.uint8 or pictures.ndim not in (4, 5) or pictures.shape[-1] != 3 or len(pictures) != num_rows:
        found = f"{pictures.dtype} {list(pictures.shape)}"
        return None, f"The thumbnails, {found}, are not those of the {num_rows} rows of the features; extract again."
    return pictures, ""


def gallery(table: FeatureTable, pictures: NDArray[np.uint8], num_queries: int = NUM_QUERIES, max_pixels: int = 96) -> Html:
    """One line a query: its picture, then its neighbours with the cosine under each."""
    found, apart = find(table, num_queries)
    if not any(one.rows for one in found):
        return sentence("The features come from a single record, so there is no other record to compare with.")
    lines = []
    for one in found:
        cells = _cell(table, pictures, one.query, None, max_pixels)
        cells += "".join(_cell(table, pictures, row, c, max_pixels) for row, c in zip(one.rows, one.cosines, strict=True))
        name = text(_record_name(table, one.query))
        lines.append(f'<li aria-label="nearest to {name}">{cells}</li>')
    said = (
        f"Left: {len(found)} records drawn at random; to the right of each, the most similar other records. The number is the "
        f"cosine of the two representations; between a query and everything else it is {number(round(apart, 3))} on average."
    )
    return join([sentence(said), f'<ol class="neighbours">{"".join(lines)}</ol>'])


def _cell(table: FeatureTable, pictures: NDArray[np.uint8], row: int, cosine: float | None, max_pixels: int) -> str:
    name = _record_name(table, row)
    found = _labels(table, row)
    labels = ", ".join(found)
    frames = pictures[row] if pictures.ndim == 5 else pictures[row][None]
    said = f"{name}{f' ({labels})' if labels else ''}"
    role = "query" if cosine is None else f"cosine {cosine:.3f}"
    images = "".join(f'<img src="{_data_uri(frame, max_pixels)}" alt="">' for frame in frames)
    under = "query" if cosine is None else f"{cosine:.3f}"
    extra = "".join(f'<span class="label">{text(label)}</span>' for label in found)
    kind = " class=query" if cosine is None else ""
    shown = f'<span role="img" aria-label="{text(f"{said}, {role}")}">{images}</span>'
    return f'<figure{kind} title="{text(said)}">{shown}<figcaption>{under}{extra}</figcaption></figure>'


def _record_name(table: FeatureTable, row: int) -> str:
    index = int(table.record[row])
    return table.record_ids[index] if 0 <= index < len(table.record_ids) else f"record {index}"


def _labels(table: FeatureTable, row: int) -> list[str]:
    said = []
    for name, values in table.labels.items():
        value, classes = int(values[row]), table.classes.get(name, [])
        if value >= 0:
            said.append(classes[value] if value < len(classes) else str(value))
    return said


def _data_uri(frame: NDArray[np.uint8], max_pixels: int) -> str:
    """One picture as WebP in a data: URI."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(frame))
    image.thumbnail((max_pixels, max_pixels))
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", lossless=max(image.size) <= SMALL_PIXELS, quality=70)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
