"""Files of other codebases, made from weights that are functions of their names."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch


class Fixture:
    """One reference of ../shared/parity: the file, its input and what the codebase's own network gives."""

    def __init__(self, folder: Path, name: str, work: Path):
        spec = importlib.util.spec_from_file_location("parity_weights", folder / "weights.py")
        self.weights: Any = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
        spec.loader.exec_module(self.weights)  # type: ignore[union-attr]
        self.manifest = json.loads((folder / name / "manifest.json").read_text())
        self.expected = np.load(folder / name / "expected.npz")
        self.file = work / self.manifest["checkpoint"].get("file_name_example", f"{name}.pth")
        self.weights.write_checkpoint(name, self.file)

    def pixels(self) -> torch.Tensor:
        """[batch, channels, time, height, width]; DPC: [batch, blocks, channels, time, height, width]."""
        x = torch.from_numpy(self.weights.make_input(self.manifest["inputs"]["shared"]))
        return x if x.ndim > 4 else x[:, :, None]

    def error(self, name: str, got: torch.Tensor) -> float:
        """max |ours - theirs| / max |theirs|."""
        want = self.expected[name]
        assert tuple(got.shape) == want.shape, name
        return float(np.abs(got.numpy() - want).max() / np.abs(want).max())


@pytest.fixture
def fixture(shared: Path, tmp_path: Path) -> Callable[[str], Fixture]:
    """By its name; the test is skipped where it is absent."""

    def make(name: str) -> Fixture:
        if not (shared / "parity" / name).is_dir():
            pytest.skip(f"the parity fixture {name} is absent")
        return Fixture(shared / "parity", name, tmp_path)

    return make
