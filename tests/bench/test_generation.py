"""The contenders of ``bench.generation`` do the same work; how long anything takes is never tested."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from bench import generation
from bench.contender import Case, Contender
from bench.harness import largest_difference
from tests.kernels.needs_kernels import needs_kernels


def work(contender: Contender) -> Any:
    module, name = contender.maker.split(":")
    return getattr(importlib.import_module(module), name)(**contender.settings)


@needs_kernels
@pytest.mark.parametrize("case", generation.cases(), ids=lambda case: case.name)
def test_contenders_write_the_same(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "PROVED", 30)
    first, *others = [work(contender).prove() for contender in case.contenders]
    for contender, proof in zip(case.contenders[1:], others, strict=True):
        assert len(set(first)) > 5 and largest_difference(proof, first) <= contender.tolerance


@needs_kernels
def test_blocks_are_of_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "WRITTEN", 20)
    text = generation.Text("gru", (8,), 2)
    assert [kind(text).run() for kind in (generation.Native, generation.TorchLoop, generation.LayerLoop)] == [5] * 3
