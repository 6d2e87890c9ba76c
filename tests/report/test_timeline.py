"""Charts over time: what bounds the ranks is said of each rank."""

from pathlib import Path

import pytest

from fullrank.report.run_folder import Run
from fullrank.report.timeline import ranks


@pytest.mark.parametrize(("n", "said"), [(24, "at most 23, RankMe 24)"), (64, "at most 63, RankMe 64)"), (65, "at most 64)")])
def test_effective_rank_and_rankme_have_their_own_bounds(n: int, said: str) -> None:
    values = {"n": n, "d": 64, "effective_rank": 9.0, "rankme": 8.0}
    lines = [{"step": step, "kind": "full", "spaces": {"representation": values}} for step in (1, 2)]
    page = ranks(Run(path=Path("run"), name="run", spectrum=lines))
    assert f"(n = {n}, d = 64: {said}" in page
    assert "Effective rank cannot exceed min(n - 1, d), RankMe min(n, d)." in page
