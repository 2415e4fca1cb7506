"""Pathologies planted in trainings of both families, and healthy ones: what the doctor says of them."""

from __future__ import annotations

import pytest
import torch

from tests.soak.pathologies import CASES, trained
from tests.soak.trainings import HEALTHY

SEEDS = (0, 1, 2)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.filterwarnings("ignore")
def test_planted_pathologies_are_named() -> None:
    missed = []
    for (kind, family), case in CASES.items():
        for seed in SEEDS:
            found = [finding.kind for finding in trained(case, seed).findings]
            if kind not in found:
                missed.append((kind, family, seed, found))
    total = len(CASES) * len(SEEDS)
    print(f"{total - len(missed)} of {total} named, {len({kind for kind, _ in CASES})} kinds; missed: {missed}")
    assert len({kind for kind, _ in CASES}) >= 14
    assert len(missed) <= 0.1 * total, missed


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_trainings_are_left_in_peace(name: str) -> None:
    torch.manual_seed(0)
    assert [str(finding) for finding in HEALTHY[name](0).findings if finding.level != "note"] == []
