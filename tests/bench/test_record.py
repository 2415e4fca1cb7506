from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

from bench import machine
from bench.contender import Floor
from bench.harness import CONTROL, Result, Standing
from bench.ratio import Ratio
from bench.record import markdown, overview, rows_table, verdict, write

RESULT = Result(
    "fit-32",
    "training step, batch 32",
    "step",
    1,
    (
        Standing("loop by hand", 8.0, Ratio(1.0, 1.0, 1.0), 0.0, 0.4, (8.0, 8.1)),
        Standing("Model.fit", 6.4, Ratio(0.8, 0.78, 0.83), 1e-7, 0.5, (6.4, 6.5)),
        Standing(CONTROL, 8.0, Ratio(1.01, 0.99, 1.02), 0.0, 0.4, (8.0, 8.0)),
    ),
    150.0,
    judged="Model.fit",
    target=1.05,
)


def test_table_has_a_row_for_each_contender_and_a_verdict() -> None:
    text = markdown(RESULT)
    assert "### training step, batch 32, 1 thread\n" in text
    assert "| Model.fit | 6.40 | 0.800 (0.780 … 0.830) | 50 % | 1.0e-07 |" in text
    assert text.endswith("Target for Model.fit, at most 1.05: met. 2 blocks each. GEMM peak 150 GFLOP/s.")


def test_a_busy_machine_and_a_missed_target_are_said() -> None:
    *others, control = RESULT.standings
    busy = replace(RESULT, standings=(*others, replace(control, ratio=Ratio(1.2, 1.0, 1.3))))
    assert "REJECTED" in markdown(busy)
    assert "MISSED" in markdown(replace(RESULT, target=0.5))


def test_floors_and_shares_are_judged_by_the_best_of_their_contenders() -> None:
    floors = (Floor("Best peer", ("Model.fit", "not installed"), 0.7), Floor("Keras", ("not installed",), 3.0))
    first = replace(RESULT, target=None, peak="FMA", floors=floors, judged="loop by hand", least_share=0.5)
    text = markdown(first)
    assert "| share of FMA peak |" in text
    assert "Best peer, at least 0.7: 0.80 (Model.fit), met. Share of the FMA peak, at least 50 %: 40 %, MISSED." in text
    assert "Keras" not in text and not first.met
    assert replace(first, least_share=0.4).met
    assert not replace(first, least_share=None, floors=(Floor("Best peer", ("Model.fit",), 0.81),)).met


def test_a_contender_that_is_not_compared_has_no_difference(tmp_path: Path) -> None:
    first, ours, control = RESULT.standings
    free = replace(RESULT, standings=(first, replace(ours, difference=math.inf), control))
    assert "| Model.fit | 6.40 | 0.800 (0.780 … 0.830) | 50 % | – |" in markdown(free)
    path = write("fit", [free], {"date": "2026-01-02T03:04:05"}, folder=tmp_path)
    assert "Infinity" not in path.read_text("utf-8")
    assert json.loads(path.read_text("utf-8"))["results"][0]["standings"][1]["difference"] is None


def test_without_a_control_the_table_says_so() -> None:
    alone = replace(RESULT, standings=RESULT.standings[:-1])
    assert alone.accepted and alone.control is None
    assert verdict(alone).endswith("No control.")


def test_rows_of_a_summary_are_a_table_and_stand_in_the_record(tmp_path: Path) -> None:
    rows = [{"cell": "GRU", "ratio": Ratio(4.0, 3.5, 4.5), "met": True, "error": 1.5e-7, "at least": None}]
    assert rows_table(rows).splitlines()[-1] == "| GRU | 4.000 (3.500 … 4.500) | yes | 1.5e-07 | – |"
    path = write("grid", [RESULT], {"date": "2026-01-02T03:04:05"}, folder=tmp_path, summary={"means": rows})
    (row,) = json.loads(path.read_text("utf-8"))["summary"]["means"]
    assert row["ratio"] == {"median": 4.0, "low": 3.5, "high": 4.5} and row["met"] is True


def test_facts_are_columns_and_a_baseline_has_no_target() -> None:
    first, ours, control = RESULT.standings
    told = replace(
        RESULT,
        standings=(replace(first, facts={"peak MiB": 12.34}), replace(ours, facts={"kernel": "fused"}), control),
        target=None,
    )
    text = markdown(told)
    assert "| proofs differ by | peak MiB | kernel |" in text
    assert "| 0.0e+00 | 12.3 | – |" in text and "| 1.0e-07 | – | fused |" in text
    assert "A baseline, without a target." in text and told.met
    assert "| training step, batch 32 | loop by hand | 1 | 6.40 | 0.800 (0.780 … 0.830) | – | fused | 12.3 | – |" in (
        overview([told])
    )


def test_record_holds_the_raw_times_and_the_verdict(tmp_path: Path) -> None:
    described = {"date": "2026-01-02T03:04:05+00:00", "commit": "abc"}
    path = write("fit", [RESULT], described, folder=tmp_path / "results")
    assert path.name == "fit-202601020304.json"
    found = json.loads(path.read_text("utf-8"))
    assert found["machine"] == described
    (row,) = found["results"]
    assert row["accepted"] and row["met"]
    assert row["standings"][1]["raw"] == [6.4, 6.5]
    assert row["standings"][1]["ratio"] == {"median": 0.8, "low": 0.78, "high": 0.83}


def test_the_machine_is_described_in_plain_json() -> None:
    found = machine.describe()
    assert json.loads(json.dumps(found)) == found
    assert found["versions"]["torch"]
    assert found["cores"] >= 1
