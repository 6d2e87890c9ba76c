"""Features in two dimensions: chosen classes of several encoders, by t-SNE, UMAP or PCA.

Mind what the first two leave out. They keep who is near whom and forget scale: a completely collapsed encoder, whose rows are
one point and its noise, is spread over the plane like any other. So spread and effective rank stand beside each picture.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from fullrank.errors import DataError, SettingError
from fullrank.features.table import per_record
from fullrank.types import FeatureTable

Kind = Literal["tsne", "umap", "pca"]
LEAST_ROWS = 5
USUAL_CLASSES = 5
PERPLEXITY = 30.0
"""of t-SNE, the usual number of neighbours; at most (rows - 1) / 3"""
NEIGHBOURS = 15
"""of UMAP; at most rows - 1"""
NAMED_COMPONENTS = 5
LENGTH = "length"
"""of the row as it is: beside label sets"""
NAMED_FROM = 0.2
"""a component is called by what explains at least this share of it"""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The same records of several encoders."""

    classes: tuple[str, ...]
    member: NDArray[np.int64]
    """[records]: which of ``classes``"""
    records: tuple[str, ...]
    """[records]: their names"""
    features: dict[str, NDArray[np.float32]]
    """{encoder: [records, d]}"""
    labels: dict[str, NDArray[np.int64]]
    """{label set: [records]}, of the first encoder's table"""


def select(
    tables: Mapping[str, FeatureTable], *, label: str, space: str, num_classes: int | Sequence[str] | None, rows: int, seed: int
) -> Selection:
    """The same records of the same classes from every table, one row a record (the mean over its clips).

    ``num_classes``: so many drawn from ``seed``, or their names; None: five, or all of fewer. ``rows``: at most so many
    records, as many of each class, drawn from ``seed``; they are matched by name over the tables. ``SettingError`` where a
    table has no such label or class, ``DataError`` where the tables have no records of them in common.
    """
    for name, table in tables.items():
        if label not in table.labels:
            known = ", ".join(table.labels) or "none"
            raise SettingError(f"{name} must have the label '{label}'. Its label sets: {known}; choose one with --label.")
    found = {}
    for name, table in tables.items():
        features, labels, index = per_record(table, space)
        found[name] = (features, labels, {table.record_ids[i]: row for row, i in enumerate(index)})
    first = next(iter(tables))
    names, (_, labels, at) = tables[first].classes[label], found[first]
    common = sorted(set.intersection(*(set(rows) for _, _, rows in found.values())))
    of = {record: names[labels[label][at[record]]] for record in common if labels[label][at[record]] >= 0}
    if not of:
        raise DataError(
            f"the tables must have labelled records ('{label}') in common, to show the same ones. Got none in "
            f"{', '.join(tables)}; extract the features of the same data."
        )
    rng = np.random.default_rng(seed)
    chosen = _choose(sorted(set(of.values())), num_classes, rng, label)
    each = max(1, rows // len(chosen))
    kept: list[str] = []
    for name in chosen:
        mine = [record for record, own in of.items() if own == name]
        kept += sorted(rng.permutation(mine)[:each].tolist())
    if len(kept) < LEAST_ROWS:
        raise DataError(
            f"a picture needs at least {LEAST_ROWS} records that all tables have, of the classes {', '.join(chosen)}. Got "
            f"{len(kept)}; extract the features of the same data, or choose other --classes."
        )
    return Selection(
        classes=tuple(chosen),
        member=np.array([chosen.index(of[record]) for record in kept]),
        records=tuple(kept),
        features={name: features[[rows[record] for record in kept]] for name, (features, _, rows) in found.items()},
        labels={name: values[[at[record] for record in kept]] for name, values in labels.items()},
    )


def _choose(known: list[str], wanted: int | Sequence[str] | None, rng: np.random.Generator, label: str) -> list[str]:
    if wanted is None:
        wanted = min(USUAL_CLASSES, len(known))
    if isinstance(wanted, int):
        if not 1 <= wanted <= len(known):
            raise SettingError(f"--classes must be 1 to {len(known)}, which is how many classes '{label}' has. Got {wanted}.")
        return sorted(rng.permutation(known)[:wanted].tolist())
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise SettingError(f"'{label}' must have the class '{unknown[0]}'. It has {', '.join(known[:20])}.")
    return list(dict.fromkeys(wanted))


def project(features: Float[np.ndarray, "rows d"], kind: Kind, *, seed: int = 0) -> Float[np.ndarray, "rows 2"]:
    """Two numbers a row; of the same features and seed the same.

    tsne: van der Maaten and Hinton, JMLR 2008, by scikit-learn, started from the first two components, perplexity 30 (at most
    a third of the rows). umap: McInnes et al., 2018, by umap-learn, 15 neighbours. pca: the first two components of the
    centred rows, each with the sign that makes its largest weight positive.

    >>> project(np.array([[0.0, 0], [2, 0], [4, 1], [6, 0], [8, 0]]), "pca").round(6)[:, 0].tolist()
    [-4.0, -2.0, 0.0, 2.0, 4.0]

    ``DataError`` below five rows or where they are not finite; ``SettingError`` where umap-learn is not installed.
    """
    x = np.asarray(features, dtype=np.float64)
    if len(x) < LEAST_ROWS:
        raise DataError(f"a picture needs at least {LEAST_ROWS} rows. Got {len(x)}.")
    if not np.isfinite(x).all():
        raise DataError("features must be finite. Got NaN or infinity; `fullrank spectrum` names the rows.")
    if kind == "pca":
        return components(x)[0][:, :2]
    return _umap(x, seed) if kind == "umap" else _tsne(x, seed)


def _tsne(x: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    from sklearn.manifold import TSNE

    perplexity = min(PERPLEXITY, (len(x) - 1) / 3)
    centred = x - x.mean(axis=0)
    if not centred.any():
        return np.zeros((len(x), 2))  # equal rows are one point
    start = components(x)[0][:, :2]
    model = TSNE(perplexity=perplexity, init=1e-4 * start / max(start[:, 0].std(), 1e-300), random_state=seed, n_jobs=1)
    return np.asarray(model.fit_transform(centred / np.abs(centred).max()), dtype=np.float64)


def _umap(x: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    try:
        from umap import UMAP
    except ImportError:
        raise SettingError(
            "umap needs umap-learn, which is not installed (it brings numba, some 200 MB). Install it: pip install "
            "'fullrank[umap]', or take --method tsne."
        ) from None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*n_jobs.*")  # a seed and one thread go together
        model = UMAP(n_neighbors=min(NEIGHBOURS, len(x) - 1), random_state=seed, n_jobs=1)
        return np.asarray(model.fit_transform(x), dtype=np.float64)


def components(x: Float[np.ndarray, "rows d"]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(rows along their principal components [rows, min(rows, d)], share of the variance of each).

    >>> shares = components(np.array([[0.0, 0], [2, 0], [0, 1], [2, 1]]))[1]
    >>> shares.round(6).tolist()
    [0.8, 0.2]
    """
    centred = x - x.mean(axis=0)
    u, sigma, vt = np.linalg.svd(centred, full_matrices=False)
    largest = vt[np.arange(len(vt)), np.abs(vt).argmax(axis=1)]
    placed = u * sigma * np.where(largest < 0, -1.0, 1.0)
    power = sigma**2
    return np.pad(placed, ((0, 0), (0, max(0, 2 - placed.shape[1])))), power / max(power.sum(), 1e-300)


@dataclass(frozen=True, kw_only=True)
class Component:
    """What a principal component is about."""

    share: float
    """of the variance"""
    explained: dict[str, float]
    """{label set, or "length" of the row: share of the component's variance that it explains, 0 to 1}"""

    @property
    def name(self) -> str:
        """The label set that explains most of it, or the length of rows; nothing where none explains a fifth."""
        best = sorted(self.explained, key=lambda key: (key == LENGTH, -self.explained[key]))
        return next((name for name in best if self.explained[name] >= NAMED_FROM), "")


def name_components(x: Float[np.ndarray, "rows d"], labels: Mapping[str, Int[np.ndarray, " rows"]]) -> list[Component]:
    """The first five principal components, each named by what it goes with.

    Of a label set eta squared = variance of the class means / variance (Fisher's correlation ratio; about
    (classes - 1) / (rows - 1) by chance); of the length of the row as it is, the squared correlation.

    >>> x = np.array([[0.0, 0], [0, 1], [9, 0], [9, 1]])
    >>> [one.name for one in name_components(x, {"digit": np.array([0, 0, 1, 1]), "motion": np.array([0, 1, 0, 1])})]
    ['digit', 'motion']
    """
    x = np.asarray(x, np.float64)
    placed, shares = components(x)
    length = np.linalg.norm(x, axis=1)
    found = []
    for axis, share in zip(placed.T[:NAMED_COMPONENTS], shares, strict=False):
        explained = {name: eta_squared(axis, np.asarray(values)) for name, values in labels.items()}
        spread = axis.std() * length.std()
        if spread > 0:
            explained[LENGTH] = float(np.mean((axis - axis.mean()) * (length - length.mean())) / spread) ** 2
        found.append(Component(share=float(share), explained=explained))
    return found


def eta_squared(values: Float[np.ndarray, " rows"], classes: Int[np.ndarray, " rows"]) -> float:
    """The share of the variance of ``values`` that lies between classes, 0 to 1.

    >>> eta_squared(np.array([0.0, 2.0, 4.0, 6.0]), np.array([0, 0, 1, 1]))
    0.8
    """
    _, member = np.unique(classes, return_inverse=True)
    means = np.bincount(member, values) / np.bincount(member)
    total = float(values.var())
    return float((means[member] - values.mean()) @ (means[member] - values.mean())) / len(values) / total if total > 0 else 0.0


def trustworthiness(features: Float[np.ndarray, "rows d"], placed: Float[np.ndarray, "rows 2"]) -> float:
    """How far neighbours in the picture are neighbours among the features, 0 to 1 (Venna and Kaski, 2001; five neighbours)."""
    from sklearn.manifold import trustworthiness as measured

    neighbours = min(5, (len(placed) - 1) // 2)
    return float(measured(features, placed, n_neighbors=neighbours))
