"""``bench.grid`` and ``bench.lengths``: the same work in every cell, and what tables make of it; nothing is timed."""

from __future__ import annotations

import dataclasses
import importlib
from typing import Any

import pytest

from bench import grid, lengths, sequences, sized_cells, step_blocks
from bench.contender import Case, Contender
from bench.harness import CONTROL, Result, Standing, largest_difference
from bench.ratio import Ratio
from bench.sequences import Job
from corecur.kernels.library import info


@pytest.fixture(autouse=True)
def _short_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_blocks, "BLOCK_SECONDS", 0.0)


SMALL = {"batch": 5, "steps": 6, "shortest": 1, "features": 3, "units": 4}


def made(contender: Contender, **size: int) -> Any:
    module, _, name = contender.maker.partition(":")
    job = dataclasses.replace(contender.settings["job"], **size)
    return getattr(importlib.import_module(module), name)(job)


def test_grid_has_every_size_once_and_skips_none() -> None:
    cases = grid.cases()
    assert len({case.name for case in cases}) == len(cases) == 2 * 5 * 4 * 3
    assert {case.rounds for case in cases} == {None, 1}
    heavy = next(case for case in cases if case.name == "lstm 512 128 512")
    assert not heavy.controlled and heavy.warm_ups == 3
    light = next(case for case in cases if case.name == "gru 32 1 28")
    assert light.controlled and light.rounds is None


@pytest.mark.parametrize("cell", grid.MEANS)
def test_cells_do_the_same_work_over_their_first_steps(cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sized_cells, "PROOF_STEPS", 4)
    works = [made(contender, **SMALL) for contender in grid.case(Job(cell)).contenders]
    proofs = [work.prove() for work in works]
    assert len(proofs[0]) == 5 * 4 + 2  # a norm for each output, and two gradients
    assert largest_difference(*proofs) < 1e-4
    assert [work.run() for work in works] == [1, 1]
    kernels = [work.facts()["kernel"] for work in works]
    assert kernels == ["native" if info().isa else "fused, torch", "torch"]


def standings(ours: str, **ratios: float) -> tuple[Standing, ...]:
    times = {ours: 1.0, **ratios, CONTROL: 1.0}
    return tuple(Standing(name, 5 * r, Ratio(r, r, r), 0.0, None, (5.0,)) for name, r in times.items())


def found(case: Case, ratios: dict[str, float]) -> Result:
    held = standings(case.judged, **ratios)
    return Result(case.name, case.title, case.unit, 1, held, None, case.judged, None, floors=case.floors)


def test_summary_of_the_grid_has_the_geometric_mean_and_the_worst() -> None:
    ratios = {("gru", 32): 2.0, ("gru", 64): 8.0, ("lstm", 32): 3.0, ("lstm", 64): 0.9}
    results = [found(grid.case(Job(cell, units=units)), {grid.PEER: r}) for (cell, units), r in ratios.items()]
    told = grid.summary(results)
    gru, lstm = told["means"]
    assert gru["geometric mean"] == 4.0 and gru["its ratio"] == 2.0 and gru["met"] is True
    assert lstm["geometric mean"] == pytest.approx(2.7**0.5, abs=1e-3)
    assert lstm["met"] is False and lstm["below"] == 1 and "64" in lstm["worst"]
    assert len(told["cells"]) == 4


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("cell", lengths.CELLS)
def test_padded_rows_are_the_same_work_and_count_their_real_steps(cell: str, side: str) -> None:
    case = lengths.case(Job(cell, lengths.CELLS[cell], side))
    works = {
        contender.name: made(contender, **SMALL) for contender in case.contenders if contender.name != lengths.WHOLE
    }
    proofs = [work.prove() for work in works.values()]
    assert max(largest_difference(proof, proofs[0]) for proof in proofs) < 1e-4
    steps = sequences.lengths(dataclasses.replace(Job(cell, padding=side), **SMALL)).sum()
    assert {work.run() for work in works.values()} == {steps / 1000}


def test_nothing_padded_is_as_many_real_steps_a_row() -> None:
    case = lengths.case(Job("gru", 2, "right"))
    padded, whole = (case.contenders[n].settings["job"] for n in (0, 1))
    assert case.contenders[1].name == lengths.WHOLE and whole.padding is None
    assert whole.batch == padded.batch
    assert abs(whole.steps - sequences.lengths(padded).mean()) <= 0.5


@pytest.mark.parametrize(("whole", "packed", "met"), [(0.9, 4.0, True), (0.86, 4.0, False), (0.9, 3.9, False)])
def test_padding_may_cost_so_much_and_packed_rows_are_to_take_so_long(whole: float, packed: float, met: bool) -> None:
    result = found(lengths.case(Job("gru", 2, "left")), {lengths.WHOLE: whole, lengths.PACKED: packed})
    (row,) = lengths.summary([result])["lengths"]
    assert row["met"] is met
    assert row["padding costs"] == round(1 / whole, 3) and row["its ratio"].median == packed


def test_long_sequences_do_the_same_work() -> None:
    for case in lengths.long_cases():
        assert case.contenders[0].settings["job"].steps == 10_000
        works = [made(contender, batch=2, steps=50, features=3, units=4) for contender in case.contenders]
        assert largest_difference(works[0].prove(), works[1].prove()) < 1e-4
        assert works[0].facts().keys() >= {"kernel", "peak MiB"}
