"""A study never goes on with a run that somebody ended."""

import types
from typing import Any

import pytest

from fullrank.recipes import recipe
from fullrank.studies import _whole, demo


@pytest.mark.parametrize("stopped", ["interrupted", "terminated"])
def test_a_run_that_somebody_ended_ends_the_study(monkeypatch: pytest.MonkeyPatch, stopped: str) -> None:
    monkeypatch.setattr(_whole, "train", lambda *args, **kwargs: types.SimpleNamespace(stopped=stopped))
    with pytest.raises(KeyboardInterrupt):
        _whole.train_whole(recipe("simclr.tiny"))


def test_the_demo_ends_with_its_first_run(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []

    def train(config: Any, **arguments: Any) -> types.SimpleNamespace:
        begun.append(arguments["recipe"])
        return types.SimpleNamespace(stopped="interrupted")

    monkeypatch.setattr(_whole, "train", train)
    with pytest.raises(KeyboardInterrupt):
        demo.run(tmp_path, demo.tiny(0), seed=0, command="", tell=lambda _: None)
    assert begun == [demo.HEALTHY]
