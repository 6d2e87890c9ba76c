"""The parity fixtures: what the authors' code computes from weights that are functions of their names."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor


class Reference:
    """One fixture: its weights, its input and what comes out."""

    def __init__(self, folder: Path, name: str):
        spec = importlib.util.spec_from_file_location("parity_weights", folder / "weights.py")
        self.weights: Any = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
        spec.loader.exec_module(self.weights)  # type: ignore[union-attr]
        self.manifest = json.loads((folder / name / "manifest.json").read_text())
        self.expected = np.load(folder / name / "expected.npz")

    def state(self, prefix: str = "") -> dict[str, Tensor]:
        """The tensors whose keys start with ``prefix``, without it."""
        entries = [entry for entry in self.manifest["entries"] if entry[0].startswith(prefix)]
        return {
            entry[0].removeprefix(prefix): torch.from_numpy(np.array(self.weights.entry_tensor(self.manifest, entry)))
            for entry in entries
        }

    def input(self) -> Tensor:
        return torch.from_numpy(self.weights.make_input(self.manifest["inputs"]["shared"]))

    def error(self, output: str, got: Tensor) -> float:
        """max |ours - theirs| / max |theirs|."""
        want = self.expected[output]
        assert tuple(got.shape) == want.shape
        return float(np.abs(got.detach().numpy() - want).max() / np.abs(want).max())


@pytest.fixture
def reference(shared: Path) -> Callable[[str], Reference]:
    """By the fixture's name; the test is skipped where it is absent."""

    def make(name: str) -> Reference:
        if not (shared / "parity" / name).is_dir():
            pytest.skip(f"the parity fixture {name} is absent")
        return Reference(shared / "parity", name)

    return make
