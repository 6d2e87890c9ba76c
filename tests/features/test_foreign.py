"""Features of another codebase's checkpoint: views, both embeddings, means a record, parts that are not computed twice."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fullrank.backbones.resnet import ResNet
from fullrank.checkpoint.imported import ImportedEncoder, load_imported
from fullrank.cli import main
from fullrank.data.open import open_source
from fullrank.errors import DataError
from fullrank.features import foreign
from fullrank.features.foreign import extract_imported
from fullrank.features.table import read_table


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A narrow ResNet-18 and an expander in MoCo's layout."""
    torch.manual_seed(0)
    backbone, projector = ResNet(18, 0.125), nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 8))
    state = {f"module.encoder_q.{key}": tensor for key, tensor in backbone.state_dict().items()}
    state |= {f"module.encoder_q.fc.{key}": tensor for key, tensor in projector.state_dict().items()}
    file = tmp_path_factory.mktemp("moco") / "moco.pth.tar"
    torch.save({"epoch": 200, "state_dict": state}, file)
    return file


def test_a_table_of_views_and_one_of_records(checkpoint, video_folder, tmp_path) -> None:
    encoder, source = load_imported(checkpoint), open_source(video_folder)
    table = extract_imported(encoder, source, tmp_path / "f", clips=2, crops=3, batch_size=4)
    assert table.representation.shape == (72, 64)
    assert table.embedding.shape == (72, 8)
    assert np.array_equal(table.record, np.repeat(np.arange(12), 6))
    assert np.allclose(table.embedding_normalized, F.normalize(torch.tensor(table.embedding), dim=1), atol=1e-6)
    assert not np.allclose(np.linalg.norm(table.embedding, axis=1), 1.0)
    assert table.classes["label"] == ["left", "right"]
    assert (table.manifest["clips"], table.manifest["crops"]) == (2, 3)

    pixels = encoder.preprocess(video_folder / "right", clips=2, crops=3)[:6]
    out = encoder(pixels)
    first = source.record_ids.index("right/00.mp4") * 6
    assert np.allclose(out.representation, table.representation[first : first + 6], atol=1e-5)
    assert np.allclose(out.embedding, table.embedding_normalized[first : first + 6], atol=1e-5)
    assert np.allclose(out.embedding_raw, table.embedding[first : first + 6], atol=1e-5)

    records = read_table(tmp_path / "f" / "per_record")
    assert np.allclose(records.representation[3], table.representation[18:24].mean(0), atol=1e-6)
    assert not list(tmp_path.glob(".f.parts*"))


def test_the_same_again_is_read_and_other_views_are_not(checkpoint, video_folder, tmp_path, monkeypatch) -> None:
    encoder, source = load_imported(checkpoint), open_source(video_folder)
    extract_imported(encoder, source, tmp_path / "f", clips=1, crops=1)
    before = (tmp_path / "f" / "manifest.json").stat().st_mtime_ns
    extract_imported(encoder, source, tmp_path / "f", clips=1, crops=1)
    assert (tmp_path / "f" / "manifest.json").stat().st_mtime_ns == before
    extract_imported(encoder, source, tmp_path / "f", clips=2, crops=1)
    assert len(read_table(tmp_path / "f").record) == 24


def test_batches_fill_up_across_records(checkpoint, video_folder, tmp_path, monkeypatch) -> None:
    sizes, call = [], ImportedEncoder.__call__
    monkeypatch.setattr(ImportedEncoder, "__call__", lambda self, x, branch: (sizes.append(len(x)), call(self, x, branch))[1])
    extract_imported(load_imported(checkpoint), open_source(video_folder), tmp_path / "f", clips=2, crops=1, batch_size=5)
    assert sizes == [5, 5, 5, 5, 4]


def test_a_table_without_that_of_its_records_is_made_again(checkpoint, video_folder, tmp_path) -> None:
    encoder, source = load_imported(checkpoint), open_source(video_folder)
    extract_imported(encoder, source, tmp_path / "f", clips=1, crops=1)
    shutil.rmtree(tmp_path / "f" / "per_record")
    extract_imported(encoder, source, tmp_path / "f", clips=1, crops=1)
    assert len(read_table(tmp_path / "f" / "per_record").record) == 12


def test_large_frames_are_read_a_few_clips_at_a_time(checkpoint, video_folder, tmp_path, monkeypatch) -> None:
    encoder, source = load_imported(checkpoint), open_source(video_folder)
    whole = extract_imported(encoder, source, tmp_path / "whole", clips=3, crops=1)
    monkeypatch.setattr(foreign, "FRAME_BYTES", 1)
    parts = extract_imported(encoder, source, tmp_path / "parts", clips=3, crops=1)
    assert np.array_equal(whole.representation, parts.representation)
    assert np.array_equal(whole.start_seconds, parts.start_seconds)


def test_what_was_interrupted_goes_on(checkpoint, video_folder, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(foreign, "PART_VIEWS", 5)
    encoder, source = load_imported(checkpoint), open_source(video_folder)
    whole = extract_imported(encoder, source, tmp_path / "whole", clips=1, crops=1)
    read, seen = source.read_chosen, []

    def until_the_eighth(index, choose):
        seen.append(index)
        if len(seen) == 8:
            raise KeyboardInterrupt
        return read(index, choose)

    monkeypatch.setattr(source, "read_chosen", until_the_eighth)
    with pytest.raises(KeyboardInterrupt):
        extract_imported(encoder, source, tmp_path / "f", clips=1, crops=1)
    assert not (tmp_path / "f").exists()
    again = extract_imported(encoder, source, tmp_path / "f", clips=1, crops=1)
    assert seen[8:] == list(range(5, 12)), "the first part was not computed again"
    assert np.array_equal(again.representation, whole.representation)


def test_bad_files_are_left_out_and_named(checkpoint, video_folder, tmp_path) -> None:
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "good.mp4").write_bytes((video_folder / "right" / "00.mp4").read_bytes())
    (tmp_path / "v" / "bad.mp4").write_bytes(b"nothing")
    encoder = load_imported(checkpoint)
    table = extract_imported(encoder, open_source(tmp_path / "v"), tmp_path / "f", clips=1, crops=1)
    assert len(table.record) == 1
    assert [item["record"] for item in table.manifest["skipped"]] == ["bad.mp4"]
    (tmp_path / "v" / "good.mp4").unlink()
    with pytest.raises(DataError, match="At least one of the 1 files"):
        extract_imported(encoder, open_source(tmp_path / "v"), tmp_path / "g", clips=1, crops=1)
    assert not (tmp_path / "g").exists()
    assert not list(tmp_path.glob(".g.parts*"))


def test_the_command(checkpoint, video_folder, tmp_path, capsys) -> None:
    command = ["extract", str(checkpoint), "--data.path", str(video_folder), "--num-clips", "1", "--out", str(tmp_path / "f")]
    assert main([*command, "--json", str(tmp_path / "out.json")]) == 0
    said = capsys.readouterr().out
    assert "facebookresearch/moco: MoCo v2, certain" in said
    assert "1 x 1 views of each record" in said
    assert "12 views of 12 records" in said
    assert main(command) == 0
    assert "unchanged: the table was there already" in capsys.readouterr().out
    assert main([*command, "--num-crops", "3"]) == 2
    assert "--out must be a new folder or hold features of the same run" in capsys.readouterr().err
    assert json.loads((tmp_path / "out.json").read_text())["embedding"] == 8
    assert main([*command, "--branch", "momentum"]) == 2
    assert "branch must be one of own for this file" in capsys.readouterr().err
    assert main([*command, "--config", str(checkpoint)]) == 2
    assert "--config must be a readable YAML file" in capsys.readouterr().err
    (tmp_path / "cfg.yaml").write_text("DATA:\n  NUM_FRAMES: 8\n")
    assert main([*command, "--config", str(tmp_path / "cfg.yaml")]) == 2
    assert "--config is for PySlowFast's files" in capsys.readouterr().err
    assert main([*command, "--data.num-frames", "4"]) == 2
    assert "the codebase's own" in capsys.readouterr().err


def test_two_processes_share_the_work(checkpoint, video_folder, tmp_path) -> None:
    one = extract_imported(load_imported(checkpoint), open_source(video_folder), tmp_path / "one", clips=1, crops=1)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "fullrank"]
    command += [
        "extract",
        str(checkpoint),
        "--data.path",
        str(video_folder),
        "--num-clips",
        "1",
        "--out",
        str(tmp_path / "two"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert np.allclose(read_table(tmp_path / "two").representation, one.representation, atol=1e-6)
    assert done.stdout.count("views of 12 records") == 1
