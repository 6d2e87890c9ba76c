"""Measures beside those of reptrix, stable-pretraining, IsoScore and vendi-score, on the same features.

google-research's graph_embedding is no package that can be installed; its forms (coherence, SelfCluster, stable rank, NESum,
alpha-ReQ on a ramp, pseudo-condition number) are held to their equations in test_definitions.py and test_samples.py.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fullrank.spectrum.survey import survey

ROOT = Path(__file__).resolve().parents[2]
PYTHON = Path(os.environ.get("PEERS") or ROOT / ".venv-peers") / "bin" / "python"
pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(not PYTHON.exists(), reason=f"no environment of peers at {PYTHON} (`make test-peers` makes it)"),
]
GROUPS, VIEWS, WIDTH = 80, 5, 120
KINDS = ("power law", "isotropic")
PAIRS = {
    # its weights are float32
    "reptrix alpha": ("alpha_req", 1e-6),
    # it adds 1e-7 to each share
    "reptrix rankme": ("rankme_eigenvalues", 1e-3),
    "reptrix lidar": ("lidar_of_rows", 1e-6),
    "stable-pretraining rankme": ("rankme_epsilon_1e5", 1e-9),
    "stable-pretraining lidar": ("lidar_renormalized", 1e-9),
    "IsoScore": ("iso_score", 1e-6),
    "vendi-score": ("vendi", 1e-9),
}
"""{theirs: (ours, largest relative difference)}"""


def features(kind: str) -> np.ndarray:
    """Views around group means: a power law, with a mean; or isotropic."""
    rng = np.random.default_rng(0)
    scale = np.arange(1, WIDTH + 1) ** -0.5 if kind == "power law" else np.ones(WIDTH)
    means = rng.normal(size=(GROUPS, 1, WIDTH)) * scale
    x = (means + 0.5 * rng.normal(size=(GROUPS, VIEWS, WIDTH))).reshape(-1, WIDTH)
    return x @ np.linalg.qr(rng.normal(size=(WIDTH, WIDTH)))[0] + 0.2


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """All questions at once: importing the libraries takes longer than asking."""
    folder = tmp_path_factory.mktemp("measures")
    np.save(folder / "x.npy", np.stack([features(kind) for kind in KINDS]))
    command = [PYTHON, Path(__file__).with_name("peer_measures.py"), folder / "x.npy", GROUPS, folder / "answers.json"]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(zip(KINDS, json.loads((folder / "answers.json").read_text()), strict=True))


@pytest.mark.parametrize("theirs", PAIRS)
@pytest.mark.parametrize("kind", KINDS)
def test_values_are_those_of_the_other_library(kind: str, theirs: str, answers: dict[str, dict[str, Any]]) -> None:
    if theirs not in answers[kind]:
        pytest.skip(" ".join(value["absent"] for value in answers[kind].values() if isinstance(value, dict)))
    ours, tolerance = PAIRS[theirs]
    x = features(kind)
    values = survey(x, groups=np.repeat(np.arange(GROUPS), VIEWS), rows=len(x)).values
    assert values[ours] == pytest.approx(answers[kind][theirs], rel=tolerance)
