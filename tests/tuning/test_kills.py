"""SIGKILL in a search: no finished trial is lost or run twice, one that was running goes on (at full size: soak)."""

from __future__ import annotations

from pathlib import Path

from tests.tuning.killed_search import check_exact, kill_at_random
from tests.tuning.small_search import rows_in, search, told


def test_a_search_killed_at_random_ends_as_one_that_was_not(shades: Path, tmp_path: Path) -> None:
    given = {"trials": 2, "epochs": 8, "save_every": "3"}
    expected = told(search(shades, tmp_path / "plain", **given).rows)
    log, out = tmp_path / "log", tmp_path / "killed"
    kills, code = kill_at_random(lambda: search(shades, out, **given), log, kills=4, longest=0.5, seed=1)
    assert code == 0 and kills >= 2
    check_exact(out / "tune-photos", log, expected, told, rows_in(out / "tune-photos"))
