"""SIGKILL in a search: no finished trial is lost or run twice, one that was running goes on (at full size: soak)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from corecur.tuning.open_study import OpenStudy
from tests.tuning.killed_search import check_exact, in_a_process, kill_at_random
from tests.tuning.small_search import rows_in, search, told


def test_a_search_killed_at_random_ends_as_one_that_was_not(shades: Path, tmp_path: Path) -> None:
    given = {"trials": 2, "epochs": 8, "save_every": "3"}
    expected = told(search(shades, tmp_path / "plain", **given).rows)
    log, out = tmp_path / "log", tmp_path / "killed"
    kills, code = kill_at_random(lambda: search(shades, out, **given), log, kills=4, longest=0.5, seed=1)
    assert code == 0 and kills >= 2
    check_exact(out / "tune-photos", log, expected, told, rows_in(out / "tune-photos"))


@pytest.mark.parametrize("last", ["parameters", "latency"])
def test_a_search_killed_between_two_facts_of_a_trial_goes_on(shades: Path, tmp_path: Path, last: str) -> None:
    given = {"trials": 1}
    expected = told(search(shades, tmp_path / "plain", **given).rows)
    out, log = tmp_path / "killed", tmp_path / "log"
    note = OpenStudy.note

    def die_after(book: OpenStudy, trial_id: int, **facts: object) -> None:
        for name, value in facts.items():
            note(book, trial_id, **{name: value})
            if name == last:
                os._exit(9)

    def killed() -> None:
        OpenStudy.note = die_after  # type: ignore[method-assign]
        search(shades, out, **given)

    first = in_a_process(killed, log)
    first.join(60)
    assert first.exitcode == 9
    second = in_a_process(lambda: search(shades, out, **given), log)
    second.join(60)
    assert second.exitcode == 0
    check_exact(out / "tune-photos", log, expected, told, rows_in(out / "tune-photos"))
