"""Three UCF101 clips through every importer, by the command line (a quarter of an hour on one core, so only when asked for).

FULLRANK_EVERY_IMPORTER=1 python -m pytest tests/cli/test_every_importer.py
"""

import importlib.util
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from fullrank.cli import main
from fullrank.features.table import read_table

CLIPS = ("v_ApplyEyeMakeup_g01_c01.avi", "v_BenchPress_g01_c01.avi", "v_Diving_g01_c01.avi")
ASKED = pytest.mark.skipif("FULLRANK_EVERY_IMPORTER" not in os.environ, reason="FULLRANK_EVERY_IMPORTER=1 asks for it")


def _names() -> list[str]:
    parity = Path(__file__).resolve().parents[2].parent / "shared" / "parity"
    return sorted(file.parent.name for file in parity.glob("*/manifest.json"))


@ASKED
@pytest.mark.slow
@pytest.mark.parametrize("name", _names())
def test_three_clips(name: str, shared: Path, tmp_path: Path) -> None:
    parity, videos = shared / "parity", tmp_path / "videos"
    spec = importlib.util.spec_from_file_location("parity_weights", parity / "weights.py")
    weights = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(weights)
    weights.write_checkpoint(name, tmp_path / "file.pth")
    videos.mkdir()
    for clip in CLIPS:
        shutil.copy(shared / "data" / "video_test_assets" / "ucf101" / clip, videos)
    command = ["extract", str(tmp_path / "file.pth"), "--num-clips", "1", "--num-crops", "1", "--data.path", str(videos)]
    assert main([*command, "--out", str(tmp_path / "f"), "--json", str(tmp_path / "f.json")]) == 0
    table, expected = read_table(tmp_path / "f"), np.load(parity / name / "expected.npz")
    width = expected["representation" if "representation" in expected else "context_lc"].shape[1]
    assert table.representation.shape == (3, width)
    assert np.isfinite(table.representation).all()
    assert np.ptp(table.representation, axis=0).max() > 0
    assert (table.embedding is not None) == ("embedding" in expected)
    if table.embedding is not None:
        assert table.embedding.shape == (3, expected["embedding"].shape[1])
        assert np.allclose(np.linalg.norm(table.embedding_normalized, axis=1), 1.0, atol=1e-5)
    assert json.loads((tmp_path / "f.json").read_text())["views"] == [1, 1]
    assert len(read_table(tmp_path / "f" / "per_record").record) == 3
