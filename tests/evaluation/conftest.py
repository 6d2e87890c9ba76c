import numpy as np
import pytest

from fullrank.features.write import write_table


@pytest.fixture
def make_table(tmp_path):
    """Feature tables of arrays, one clip a record unless ``record`` is given."""
    made = []

    def make(x, labels, *, classes=None, record=None, embedding=None, checkpoint="one", folder=None, ids=None, data="data"):
        labels = {name: np.asarray(values) for name, values in labels.items()}
        names = classes or {name: [f"{name} {i}" for i in range(int(v.max()) + 1)] for name, v in labels.items()}
        record = np.arange(len(x)) if record is None else record
        made.append(folder or f"table{len(made)}")
        return write_table(
            tmp_path / made[-1],
            representation=np.asarray(x, np.float32),
            embedding=embedding,
            labels=labels,
            record=record,
            start_seconds=np.zeros(len(x)),
            record_ids=ids or [f"record {i}" for i in range(int(max(record)) + 1)],
            classes=names,
            manifest={"checkpoint_hash": checkpoint, "data_fingerprint": data, "settings_hash": "s", "branch": None},
        )

    return make


@pytest.fixture
def planted():
    """(features, labels): ``classes`` clusters that a line separates, ``apart`` standard deviations."""

    def plant(n, d=8, classes=3, apart=10.0, seed=0):
        centres = np.random.default_rng(99).normal(size=(classes, d))
        centres *= apart / np.linalg.norm(centres, axis=1, keepdims=True)
        labels = np.arange(n) % classes
        return (centres[labels] + np.random.default_rng(seed).normal(size=(n, d))).astype(np.float32), labels

    return plant
