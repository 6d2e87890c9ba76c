"""Run folders made by formula through the documented formats: what the report reads, without any training."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fullrank.config import RunConfig
from fullrank.features.write import write_table
from fullrank.methods.vicreg import VICReg
from fullrank.spectrum.measures import cheap_measures, measure_all

D, K, CLASSES, RECORDS = 64, 48, 5, 60
HOSTILE = "<script>alert(1)</script> & co.mp4"
Fabricate = Callable[..., Path]


def features(seed: int, strength: float, width: int, records: int = RECORDS) -> np.ndarray:
    """[records, width] float32: clusters by class within a decaying spectrum; strength 0 = all equal but for noise."""
    draw = np.random.default_rng(seed)
    decay = np.arange(1, width + 1) ** -0.5
    centres = draw.normal(size=(CLASSES, width)) * decay
    rows = centres[np.arange(records) % CLASSES] + 0.5 * draw.normal(size=(records, width)) * decay
    return (strength * rows + (1 - strength) * 3.0 + 1e-3 * draw.normal(size=(records, width))).astype(np.float32)


def pictures(records: int = RECORDS, side: int = 48) -> np.ndarray:
    """uint8 [records, side, side, 3]: a disc whose colour is the class and whose place is the record's own."""
    yy, xx = np.mgrid[:side, :side]
    hues = np.array([[220, 70, 60], [70, 150, 220], [80, 180, 90], [230, 180, 60], [160, 90, 200]])
    draw = np.random.default_rng(0)
    made = np.zeros((records, side, side, 3), np.uint8)
    for i in range(records):
        y, x = draw.uniform(0.3, 0.7, 2) * side
        inside = np.hypot(yy - y, xx - x) < side * 0.24
        ground = np.stack([20 + 30 * yy / side + 10 * c for c in range(3)], axis=-1)
        made[i] = np.where(inside[..., None], hues[i % CLASSES], ground)
    return made


def _lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def fabricate(tmp_path: Path) -> Fabricate:
    """fabricate("name", ...) -> run folder."""

    def make(
        name: str = "first",
        *,
        collapsed: bool = False,
        embedding: bool = True,
        with_features: bool = True,
        with_thumbnails: bool = True,
        with_spectrum: bool = True,
        finished: bool = True,
        with_evaluation: bool = True,
        steps: int = 300,
        seed: int = 0,
    ) -> Path:
        run = tmp_path / name
        run.mkdir(parents=True)
        config = RunConfig[VICReg.Config](method=VICReg.Config())
        record = {
            "fullrank": "0.1.0",
            "recipe": "vicreg.tiny",
            "method": "vicreg",
            "settings": config.model_dump(mode="json"),
            "hash": "0123456789ab",
            "command": f"fullrank train vicreg.tiny --data.path '{HOSTILE}'",
        }
        (run / "config.json").write_text(json.dumps(record))
        (run / "environment.json").write_text(json.dumps({"python": "3.11.7", "torch": "2.13.0", "cores": 2, "device": "cpu"}))
        _lines(run / "metrics.jsonl", [_metrics(step, steps, collapsed) for step in range(1, steps + 1, 3)])
        if with_spectrum:
            _lines(run / "spectrum.jsonl", _spectra(steps, collapsed, embedding, seed))
        events = [{"step": 0, "elapsed_seconds": 0.0, "event": "start"}]
        if collapsed:
            sentence = (
                "The embedding has collapsed completely: sqrt(d) x normalised std 0.004, mean cosine 0.9999 (n = 60, d = 48)."
            )
            events.append({"step": 40, "elapsed_seconds": 8.0, "event": "collapse", "kind": "complete", "space": "embedding"})
            events[-1] |= {"sentence": sentence, "evidence": {"mean_cosine": 0.9999}}
        summary = {"steps": steps, "total_steps": steps, "epochs": 12.5, "seconds": 154.2, "clips_per_second": 212.4}
        summary |= {"data_wait_ratio": 0.021, "monitor_share": 0.0043, "skipped": 1, "stopped": None}
        if finished:
            events.append({"step": steps, "elapsed_seconds": 154.2, "event": "end"})
            (run / "summary.json").write_text(json.dumps(summary))
        _lines(run / "events.jsonl", events)
        _lines(run / "skipped.jsonl", [{"record": HOSTILE, "reason": "no video stream"}])
        if with_features:
            _features(run / "features", collapsed, embedding, with_thumbnails, seed)
        if with_evaluation:
            result = {"interval": [0.71, 0.83], "top5": None, "chance": 0.2, "n": 60, "n_train": 240, "k": 20}
            evaluation = {"knn": {"shape": {"top1": 0.78, **result}}, "linear": {"shape": {"top1": 0.8, **result}}}
            (run / "evaluation.json").write_text(json.dumps(evaluation))
        return run

    return make


def _metrics(step: int, steps: int, collapsed: bool) -> dict[str, Any]:
    wave = 0.03 * np.sin(step * 1.7)
    losses = {
        "invariance": 20 * np.exp(-step / 60) + 2 + wave,
        "variance": 0.0 if collapsed else 18 * np.exp(-step / 90) + 1 + wave,
    }
    losses["covariance"] = 0.02 + 3e-4 * step + 0.01 * wave
    losses = {name: float(value) for name, value in losses.items()}
    return {
        "step": step,
        "epoch": step / 24,
        "progress": step / steps,
        "learning_rate": 0.3 * (1 - step / steps),
        "loss": sum(losses.values()),
        "losses": losses,
        "metrics": {},
        "grad_norm": float(3 * np.exp(-step / 80) + 0.4 + wave),
        "step_seconds": 0.5,
        "data_wait_ratio": 0.02 + 0.01 * abs(wave),
        "clips_per_second": 210 + 100 * wave,
        "elapsed_seconds": step * 0.5,
    }


def _strength(step: int, steps: int, collapsed: bool) -> float:
    return float(np.exp(-step / 12)) if collapsed else 0.35 + 0.6 * step / steps


def _spectra(steps: int, collapsed: bool, embedding: bool, seed: int) -> list[dict[str, Any]]:
    lines = []
    for step in range(10, steps + 1, 10):
        spaces = {"representation": features(seed, _strength(step, steps, False), D)}
        if embedding:
            spaces["embedding"] = features(seed + 1, _strength(step, steps, collapsed), K)
        lines.append(
            {"step": step, "kind": "cheap", "seconds": 1e-3, "spaces": {s: cheap_measures(x) for s, x in spaces.items()}}
        )
        if step % 50 == 0:
            full = {space: measure_all(x, eigenvalues=256) for space, x in spaces.items()}
            lines.append({"step": step, "kind": "full", "seconds": 0.01, "spaces": full})
    return lines


def _features(folder: Path, collapsed: bool, embedding: bool, with_thumbnails: bool, seed: int) -> None:
    names = [f"disc_{i:03d}.mp4" for i in range(RECORDS)]
    names[7] = HOSTILE
    write_table(
        folder,
        representation=features(seed, 0.95, D),
        embedding=features(seed + 1, 0.0 if collapsed else 0.95, K) if embedding else None,
        labels={"shape": np.arange(RECORDS) % CLASSES},
        record=np.arange(RECORDS),
        start_seconds=np.zeros(RECORDS),
        record_ids=names,
        classes={"shape": ["red", "blue", "green", "yellow", "violet"]},
        manifest={
            "checkpoint_hash": "a",
            "data_fingerprint": "b",
            "settings_hash": "c",
            "branch": None,
            "encoder": "vicreg.tiny",
        },
    )
    if with_thumbnails:
        np.save(folder / "thumbnails.npy", pictures())
