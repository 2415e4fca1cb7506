"""What the harness makes of times and proofs; how long anything takes is never tested."""

from __future__ import annotations

import math
import os
from types import SimpleNamespace
from typing import Any

import pytest

from bench.contender import Case, Contender
from bench.harness import CONTROL, GateError, Result, Standing, largest_difference, measure, measure_all, passed_gate
from bench.ratio import Ratio
from bench.worker import Worker, WorkerError


def importing(module: str) -> Contender:
    return Contender(f"import {module}", "bench.importing:FreshImport", {"module": module})


def stand_in(name: str, proof: list[float], tolerance: float = 1e-4) -> Any:
    return SimpleNamespace(contender=Contender(name, "", tolerance=tolerance), prove=lambda: proof)


def test_gate_lets_equal_work_through() -> None:
    workers = [stand_in("a", [2.0, 1.0]), stand_in("b", [2.0, 1.00005]), stand_in("c", [2.01, 1.0], tolerance=0.01)]
    assert passed_gate(workers) == pytest.approx([0.0, 5e-5, 5e-3])


@pytest.mark.parametrize("proof", [[2.0, 1.1], [2.0], [2.0, math.nan], [2.0, math.inf], []])
def test_gate_stops_other_work(proof: list[float]) -> None:
    with pytest.raises(GateError, match="'b' does other work than 'a'"):
        passed_gate([stand_in("a", [2.0, 1.0]), stand_in("b", proof)])


def test_difference_is_relative() -> None:
    assert largest_difference([1001.0, 0.0], [1000.0, 0.0]) == pytest.approx(1e-3)
    assert largest_difference([], []) == 0.0


def result(*, control: float, judged: float) -> Result:
    def standing(name: str, median: float) -> Standing:
        return Standing(name, 5.0, Ratio(median, median, median), 0.0, None, (5.0,))

    standings = (standing("a", 1.0), standing("b", judged), standing(CONTROL, control))
    return Result("case", "title", "step", 1, standings, None, judged="b", target=1.05)


@pytest.mark.parametrize(
    ("control", "judged", "accepted", "met"),
    [(1.0, 1.05, True, True), (0.98, 1.06, True, False), (1.04, 1.0, False, True), (0.96, 1.2, False, False)],
)
def test_verdict(control: float, judged: float, accepted: bool, met: bool) -> None:
    found = result(control=control, judged=judged)
    assert (found.accepted, found.met) == (accepted, met)


def test_every_contender_runs_twice_a_round_in_a_process_of_its_own() -> None:
    case = Case("x", "X", "import", (importing("json"), importing("string")), judged="import string", target=100.0)
    found = measure(case, rounds=1, sittings=2, threads=1)
    assert [s.name for s in found.standings] == ["import json", "import string", CONTROL]
    assert [len(s.raw) for s in found.standings] == [4, 4, 4]
    assert found.standings[0].ratio == Ratio(1.0, 1.0, 1.0)
    assert all(s.milliseconds > 0 and s.share is None for s in found.standings)
    assert found.met


def test_a_case_says_how_many_blocks_it_gets_and_whether_there_is_a_control() -> None:
    def clock(name: str) -> Contender:
        return Contender(name, "tests.bench.test_harness:Clock", {"name": name})

    case = Case(
        "x", "X", "block", (clock("a"), clock("b")), "a", None, rounds=1, warm_ups=0, controlled=False
    )  # fmt: skip
    found = measure(case, rounds=5, threads=1)
    assert [s.name for s in found.standings] == ["a", "b"]
    assert [len(s.raw) for s in found.standings] == [2, 2]
    assert {s.facts["blocks"] for s in found.standings} == {2}


class Clock:
    """Work that tells which process it is in, and counts the blocks since it was made."""

    def __init__(self, name: str) -> None:
        self.name, self.blocks = name, 0

    def prove(self) -> list[float]:
        return [1.0]

    def run(self) -> int:
        self.blocks += 1
        return 1

    def facts(self) -> dict[str, Any]:
        return {"process": os.getpid(), "name": self.name, "blocks": self.blocks}


def test_cases_share_the_processes_they_name_and_nothing_else() -> None:
    def clock(name: str, process: str | None) -> Contender:
        return Contender(name, "tests.bench.test_harness:Clock", {"name": name}, process=process)

    def case(name: str) -> Case:
        contenders = (clock(f"{name} first", "a"), clock(f"{name} second", "b"), clock(f"{name} third", None))
        return Case(name, name, "block", contenders, judged=f"{name} second", target=None)

    heard: list[str] = []
    one, two = measure_all([case("one"), case("two")], rounds=1, threads=1, tell=heard.append)
    assert heard == ["one", "two"]
    facts = [[s.facts for s in found.standings] for found in (one, two)]
    assert [f["name"] for f in facts[1]] == ["two first", "two second", "two third", "two first"]
    assert {f["blocks"] for row in facts for f in row} == {3 + 2}  # warm-ups and a round
    same = [a["process"] == b["process"] for a, b in zip(*facts, strict=True)]
    assert same == [True, True, False, True]
    assert len({f["process"] for row in facts for f in row}) == 5


class Broken(Clock):
    """Work that fails at its first block."""

    def run(self) -> int:
        raise RuntimeError("out of order")


def test_a_case_that_fails_is_left_out_and_the_others_go_on(capfd: pytest.CaptureFixture[str]) -> None:
    def case(name: str, kind: str) -> Case:
        contenders = tuple(
            Contender(f"{name} {n}", f"tests.bench.test_harness:{kind}", {"name": f"{name} {n}"}, process=str(n))
            for n in range(2)
        )
        return Case(name, name, "block", contenders, judged=f"{name} 0", target=None, controlled=False)

    heard: list[str] = []
    cases = [case("one", "Clock"), case("two", "Broken"), case("three", "Clock")]
    found = measure_all(
        cases, rounds=1, threads=1, sittings=2, fail=lambda case, error: heard.append(f"{case.name}: {error}")
    )
    assert [result.case for result in found] == ["one", "three"]
    assert [len(s.raw) for result in found for s in result.standings] == [4, 4, 4, 4]
    assert heard == ["two: 'two 0' failed: RuntimeError: out of order"]
    with pytest.raises(WorkerError, match="out of order"):
        measure_all(cases[1:2], rounds=1, threads=1)
    capfd.readouterr()


def test_a_contender_that_fails_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    worker = Worker(importing("no_such_module_here"), threads=1)
    try:
        with pytest.raises(WorkerError, match="'import no_such_module_here' failed: CalledProcessError"):
            worker.prove()
    finally:
        worker.close()
    assert "No module named" in capfd.readouterr().err
