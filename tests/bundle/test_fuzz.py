from __future__ import annotations

from pathlib import Path

from .fuzz import fuzz


def test_bundles_changed_at_random_are_refused_by_a_rule_or_open(tmp_path: Path) -> None:
    found = fuzz(tmp_path, seed=0, count=200)
    assert found.total() == 200 and len(found) > 6
    assert found["accepted"] < 40
