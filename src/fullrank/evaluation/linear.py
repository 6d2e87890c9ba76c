"""Linear probe: how much of the labels a linear classifier reads from frozen features.

Data flow: features of records -> split of the training records -> all settings trained at once -> the best on the split ->
trained again on all training records -> asked once about the test records. The test records choose nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from numpy.typing import NDArray
from torch import Tensor

from fullrank.draws import uniform
from fullrank.errors import DataError, SettingError
from fullrank.evaluation.intervals import Interval, mean_interval
from fullrank.evaluation.probes import Probes, Progress, Setting, judge, train_probes
from fullrank.evaluation.problem import TOP, Accuracy, grouped_rows, in_memory, problem, score
from fullrank.types import FeatureTable

LEARNING_RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
WEIGHT_DECAYS = (0.0, 1e-4, 1e-2)


@dataclass(frozen=True, kw_only=True)
class LinearResult(Accuracy):
    """Accuracy of the chosen classifier, and how it was chosen."""

    learning_rate: float
    """chosen (of several folds: the commonest choice)"""
    weight_decay: float
    validation: list[dict[str, float]]
    """the grid: learning_rate, weight_decay, accuracy and loss on held-out training records (of several folds: means)"""
    n_validation: int
    """training records held out while choosing (of one fold: the mean)"""
    epochs: int
    standardize: bool
    seed: int
    groups: dict[str, float] = field(default_factory=dict)
    """{left-out group: accuracy}; empty where nothing was grouped"""
    groups_interval: Interval | None = None
    """Student's, of the mean of the groups' accuracies: records of one group are not independent"""


@dataclass(frozen=True, kw_only=True)
class _Protocol:
    settings: tuple[Setting, ...]
    epochs: int
    batch_size: int
    seed: int
    standardize: bool
    num_classes: int

    def train(self, x: Tensor, y: Tensor, settings: Sequence[Setting], progress: Progress | None = None) -> Probes:
        return train_probes(
            x,
            y,
            settings,
            num_classes=self.num_classes,
            epochs=self.epochs,
            batch_size=self.batch_size,
            seed=self.seed,
            progress=progress,
        )


def linear(
    train: FeatureTable,
    test: FeatureTable,
    *,
    label: str = "label",
    space: str = "representation",
    learning_rates: Sequence[float] = LEARNING_RATES,
    weight_decays: Sequence[float] = WEIGHT_DECAYS,
    epochs: int = 100,
    batch_size: int = 256,
    seed: int = 0,
    validation_ratio: float = 0.2,
    standardize: bool = True,
    progress: Progress | None = None,
) -> LinearResult:
    """Softmax regression on frozen features, one row a record (the mean over its clips).

    Every pair of learning rate and weight decay is trained on a part of the training records and asked about the rest
    (``validation_ratio`` of every class); the most accurate, then the one of smallest loss, is trained on all of them.
    With ``standardize`` each dimension has mean 0 and standard deviation 1 over the records trained on, so one grid suits
    encoders of any scale (a collapsed one, whose features hardly vary, too); constant dimensions become 0.
    """
    p = problem(train, test, label=label, space=space)
    protocol = _protocol(learning_rates, weight_decays, epochs, batch_size, seed, standardize, len(p.class_names))
    x, y, x_test = (torch.from_numpy(in_memory(a)) for a in (p.train_features, p.train_labels, p.test_features))
    parts = [] if len(protocol.settings) == 1 else [split(p.train_labels, validation_ratio, seed)]
    chosen, grid = _choose(protocol, x, y, parts, _between(progress, 0.0, 0.9))
    predictions = _answers(protocol, chosen, x, y, x_test, _between(progress, 0.9, 1.0))
    return LinearResult(
        **score(predictions.numpy(), p.test_labels, len(p.class_names)),
        learning_rate=chosen.learning_rate,
        weight_decay=chosen.weight_decay,
        validation=grid,
        n_train=len(y),
        n_validation=sum(int(part.sum()) for part in parts),
        epochs=epochs,
        standardize=standardize,
        seed=seed,
        unlabelled=p.unlabelled,
        unknown_class=p.unknown_class,
    )


def linear_grouped(
    features: Float[np.ndarray, "n d"],
    labels: Int64[np.ndarray, " n"],
    groups: Int64[np.ndarray, " n"],
    *,
    learning_rates: Sequence[float] = LEARNING_RATES,
    weight_decays: Sequence[float] = WEIGHT_DECAYS,
    epochs: int = 100,
    batch_size: int = 256,
    seed: int = 0,
    inner_folds: int = 4,
    standardize: bool = True,
    num_classes: int | None = None,
    group_names: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> LinearResult:
    """Leave one group out (one actor, for example): each group is asked of a classifier trained on all the others.

    The setting is chosen inside each training fold, again by leaving groups out (dealt into ``inner_folds`` parts; with one
    group left, a split of its records). Rows whose label or group is -1 are left out.
    """
    x_all, y_all, g, classes = grouped_rows(features, labels, groups, num_classes)
    protocol = _protocol(learning_rates, weight_decays, epochs, batch_size, seed, standardize, classes)
    x, y = torch.from_numpy(x_all), torch.from_numpy(y_all)
    names = np.unique(g)
    predictions = torch.zeros(len(y), min(TOP, classes), dtype=torch.int64)
    picked, grids, held = [], [], 0
    for i, group in enumerate(names):
        inside = g != group
        parts = [] if len(protocol.settings) == 1 else _inner(g[inside], y_all[inside], inner_folds, seed)
        fold = torch.from_numpy(inside)
        chosen, grid = _choose(protocol, x[fold], y[fold], parts)
        predictions[~fold] = _answers(protocol, chosen, x[fold], y[fold], x[~fold])
        picked.append(chosen)
        grids.append(grid)
        held += sum(int(part.sum()) for part in parts)
        if progress is not None:
            progress((i + 1) / len(names))
    right = (predictions[:, 0] == y).numpy()
    by_group = {group_names[k] if group_names else str(k): float(right[g == k].mean()) for k in names.tolist()}
    low, high = mean_interval(list(by_group.values()))[1]
    common = max(picked, key=picked.count)
    return LinearResult(
        **score(predictions.numpy(), y_all, classes),
        learning_rate=common.learning_rate,
        weight_decay=common.weight_decay,
        validation=[{key: float(np.mean([row[key] for row in rows])) for key in rows[0]} for rows in zip(*grids, strict=True)],
        n_train=round(len(y) * (1 - 1 / len(names))),
        n_validation=round(held / len(names)),
        epochs=epochs,
        standardize=standardize,
        seed=seed,
        unlabelled=len(labels) - len(y),
        groups=by_group,
        groups_interval=(max(low, 0.0), min(high, 1.0)),
    )


def split(labels: Int64[np.ndarray, " n"], validation_ratio: float, seed: int) -> Bool[np.ndarray, " n"]:
    """True for the records held out: ``validation_ratio`` of every class, at least one where a class has two or more.

    A class with one record keeps it for training. ``DataError`` where nothing can be held out.
    """
    if not 0.0 < validation_ratio < 1.0:
        raise SettingError(f"validation_ratio must be in (0, 1). Got {validation_ratio}. A fifth is 0.2.")
    order = uniform(seed, 0, np.arange(len(labels)), "validation", 1)[:, 0]
    held_out = np.zeros(len(labels), dtype=bool)
    for name in np.unique(labels):
        rows = np.flatnonzero(labels == name)
        count = min(max(1, round(validation_ratio * len(rows))), len(rows) - 1)
        held_out[rows[np.argsort(order[rows], kind="stable")[:count]]] = True
    if not held_out.any():
        raise DataError(
            "choosing a learning rate must have a class with at least two labelled training records. Got none; "
            "give one learning rate and one weight decay, or evaluate with knn."
        )
    return held_out


def _protocol(
    learning_rates: Sequence[float],
    weight_decays: Sequence[float],
    epochs: int,
    batch_size: int,
    seed: int,
    standardize: bool,
    num_classes: int,
) -> _Protocol:
    settings = tuple(Setting(float(rate), float(decay)) for rate in learning_rates for decay in weight_decays)
    if not settings:
        raise SettingError("a linear probe must have at least one learning rate and one weight decay. Got none.")
    return _Protocol(
        settings=settings,
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        standardize=standardize,
        num_classes=num_classes,
    )


def _inner(groups: NDArray[np.int64], labels: NDArray[np.int64], folds: int, seed: int) -> list[NDArray[np.bool_]]:
    """Masks of the rows held out, one a part: whole groups where there are several."""
    if folds < 2:
        raise SettingError(f"inner_folds must be at least 2. Got {folds}.")
    names = np.unique(groups)
    if len(names) == 1:
        return [split(labels, 0.2, seed)]
    dealt = names[np.argsort(uniform(seed, 0, names, "inner", 1)[:, 0], kind="stable")]
    return [np.isin(groups, dealt[i::folds]) for i in range(min(folds, len(names)))]


def _choose(
    protocol: _Protocol, x: Tensor, y: Tensor, parts: Sequence[NDArray[np.bool_]], progress: Progress | None = None
) -> tuple[Setting, list[dict[str, float]]]:
    """The setting that does best on rows it was not trained on, and the whole grid; the only setting needs no rows.

    The most accurate over all parts; among equals the smallest loss, then the first of the grid.
    """
    settings = protocol.settings
    if len(settings) == 1:
        return settings[0], []
    accuracy, loss = torch.zeros(len(settings)), torch.zeros(len(settings))
    for i, part in enumerate(parts):
        mask = torch.from_numpy(part)
        kept, asked = _compact(*_scaled(x[~mask], x[mask], protocol.standardize))
        probes = protocol.train(kept, y[~mask], settings, _between(progress, i / len(parts), (i + 1) / len(parts)))
        right, misfit = judge(probes, asked, y[mask])
        share = len(asked) / sum(int(p.sum()) for p in parts)
        accuracy, loss = accuracy + right * share, loss + misfit * share
    if not loss.isfinite().any():
        raise SettingError("a linear probe must have a learning rate that converges. All diverged; give smaller ones.")
    grid = [
        {"learning_rate": s.learning_rate, "weight_decay": s.weight_decay, "accuracy": float(a), "loss": float(b)}
        for s, a, b in zip(settings, accuracy, loss, strict=True)
    ]
    best = min(range(len(settings)), key=lambda i: (not bool(loss[i].isfinite()), -float(accuracy[i]), float(loss[i])))
    return settings[best], grid


def _between(progress: Progress | None, start: float, end: float) -> Progress | None:
    """Progress of a part of the work as progress of the whole."""
    return None if progress is None else lambda done: progress(start + (end - start) * done)


def _answers(
    protocol: _Protocol, setting: Setting, x: Tensor, y: Tensor, x_test: Tensor, progress: Progress | None = None
) -> Int64[Tensor, "n ranks"]:
    kept, asked = _compact(*_scaled(x, x_test, protocol.standardize))
    probes = protocol.train(kept, y, [setting], progress)
    rows = max(1, 2**24 // protocol.num_classes)
    ranked = [
        probes.logits(part)[0].sort(dim=1, descending=True, stable=True).indices[:, :TOP].clone() for part in asked.split(rows)
    ]
    return torch.cat(ranked)


def _scaled(x: Tensor, other: Tensor, standardize: bool) -> tuple[Tensor, Tensor]:
    """Both with the mean and standard deviation of ``x``; dimensions that are constant up to rounding become 0."""
    if not standardize:
        return x, other
    mean = x.mean(dim=0, dtype=torch.float64)
    squares = sum((part.double() - mean).square().sum(dim=0) for part in x.split(16384))
    std = torch.as_tensor(squares / len(x)).sqrt()
    varies = std > 1e-6 * mean.abs()
    factor = torch.where(varies, 1.0 / std.where(varies, 1.0), 0.0).float()
    return (x - mean.float()) * factor, (other - mean.float()) * factor


def _compact(x: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Both in an orthonormal basis of the span of the rows of ``x``, where that has fewer columns.

    Weights that start at zero never leave that span (gradients are sums of rows; decay shrinks), so the answers are the
    same, and ninety clips of 2048 features are trained on as ninety columns.
    """
    n, d = x.shape
    if n >= d:
        return x, other
    basis = torch.linalg.qr(x.T)[0]
    return x @ basis, other @ basis
