"""Tables of a run: what was counted, and of what."""

import re
from pathlib import Path

import numpy as np
import pytest

from fullrank.report.run_folder import Line, Run
from fullrank.report.tables import accuracy, course
from fullrank.types import FeatureTable

ZERO, TRUNCATED = {"record": "zero.mp4", "reason": "empty file"}, {"record": "trunc.avi", "reason": "not a media file"}


def _words(page: str) -> str:
    return " ".join(re.sub("<[^>]+>", " ", page).split())


def _run(training: list[Line], features: list[Line]) -> Run:
    table = FeatureTable(
        representation=np.zeros((3, 2), np.float32),
        embedding=None,
        labels={},
        record=np.arange(3),
        start_seconds=np.zeros(3),
        record_ids=["a", "b", "c"],
        classes={},
        manifest={"skipped": features},
    )
    return Run(path=Path("run"), name="run", skipped=training, table=table)


@pytest.mark.parametrize(
    ("training", "features", "said"),
    [
        ([], [], "Every file that was asked for could be read."),
        ([ZERO], [], "1 file could not be read while training; another took its place. Which"),
        ([], [ZERO], " 1 file could not be read when features were made, and was left out. Which"),
        (
            [ZERO],
            [ZERO, TRUNCATED],
            "1 file could not be read while training; another took its place. "
            "2 files could not be read when features were made, and were left out.",
        ),
    ],
)
def test_unreadable_files_are_counted_where_they_were_met(training: list[Line], features: list[Line], said: str) -> None:
    assert said in _words(course(_run(training, features)))


def test_each_unreadable_file_stands_once_with_when_it_was_met() -> None:
    words = _words(course(_run([ZERO], [ZERO, TRUNCATED])))
    assert "zero.mp4 empty file training, features trunc.avi not a media file features" in words


def test_neighbours_say_how_many_voted_and_how_that_was_chosen() -> None:
    near = {"top1": 0.5, "interval": [0.3, 0.7], "chance": 0.25, "n": 24, "n_train": 23, "k": 5}
    words = _words(accuracy(Run(path=Path("run"), name="run", evaluation={"h": {"label, kNN leave-one-out": near}})))
    assert "25.0 % 5 24 23" in words
    assert "k is 20, or one less than the smallest class" in words


def test_an_accuracy_that_could_not_be_measured_has_its_reason() -> None:
    known = {"h": {"label, kNN leave-one-out": {"problem": "too few records"}}}
    words = _words(accuracy(Run(path=Path("run"), name="run", evaluation=known)))
    assert words.endswith("h label, kNN leave-one-out: too few records.")
