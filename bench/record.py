"""Results for people, as Markdown, and for the record, as JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.harness import CONTROL_LIMIT, Result

RESULTS = Path(__file__).parent / "results"


def markdown(result: Result) -> str:
    """A table of the standings and what they mean."""
    threads = f"{result.threads} thread" + ("s" if result.threads > 1 else "")
    head = ["contender", f"ms per {result.unit}", "ratio (95 % interval)"]
    rows = [[s.name, f"{s.milliseconds:.2f}", str(s.ratio)] for s in result.standings]
    if result.peak_gflops is not None:
        head += [f"share of {result.peak} peak", "proofs differ by"]
        for row, s in zip(rows, result.standings, strict=True):
            row += [_percent(s.share or 0), f"{s.difference:.1e}" if math.isfinite(s.difference) else "–"]
    for fact in dict.fromkeys(fact for s in result.standings for fact in s.facts):
        head.append(fact)
        for row, s in zip(rows, result.standings, strict=True):
            row.append(_shown(s.facts.get(fact)))
    return f"### {result.title}, {threads}\n\n{_table(head, rows)}\n\n{verdict(result)}"


def overview(results: Sequence[Result]) -> str:
    """One row a case: the judged contender beside the first one."""
    facts = list(dict.fromkeys(fact for result in results for s in result.standings for fact in s.facts))
    head = ["case", "beside", "threads", "ms", "ratio (95 % interval)", *facts, *(f"{fact} beside" for fact in facts)]
    rows = []
    for result in results:
        first = result.standings[0]
        judged = result.judgement
        ratio = str(judged.ratio) if result.accepted else f"rejected: {judged.ratio}"
        cells = [result.title, first.name, str(result.threads), f"{judged.milliseconds:.2f}", ratio]
        rows.append(cells + [_shown(s.facts.get(fact)) for s in (judged, first) for fact in facts])
    return f"### All cases\n\n{_table(head, rows)}"


def _shown(fact: Any) -> str:
    if isinstance(fact, float):
        whole = fact == 0 or abs(fact) >= 100
        return f"{fact:.1f}" if whole else f"{fact:.3g}" if abs(fact) >= 0.05 else f"{fact:.1e}"
    return "–" if fact is None else "yes" if fact is True else "no" if fact is False else str(fact)


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def verdict(result: Result) -> str:
    """Whether the target was met, or why nobody can tell."""
    peak = "" if result.peak_gflops is None else f" {result.peak} peak {result.peak_gflops:.0f} GFLOP/s."
    blocks = f"{len(result.standings[0].raw)} blocks each.{peak}"
    if not result.accepted:
        limit = _percent(CONTROL_LIMIT)
        return f"REJECTED: the control is off by more than {limit}, so the machine was too busy to tell. {blocks}"
    lines = list(_floors(result))
    if result.control is None:
        blocks += " No control."
    if result.target is not None:
        within = result.judgement.ratio.median <= result.target
        lines.append(f"Target for {result.judged}, at most {result.target:g}: {_word(within)}.")
    return " ".join([*(lines or ["A baseline, without a target."]), blocks])


def _floors(result: Result) -> Iterator[str]:
    for floor in result.floors:
        best = result.best_of(floor.of)
        if best is not None:
            reached = f"{best.ratio.median:.2f} ({best.name})"
            yield f"{floor.what}, at least {floor.least:.3g}: {reached}, {_word(result.above(floor))}."
    if result.least_share is not None:
        share = result.judgement.share or 0.0
        word = _word(share >= result.least_share)
        yield f"Share of the {result.peak} peak, at least {_percent(result.least_share)}: {_percent(share)}, {word}."


def _word(met: bool) -> str:
    return "met" if met else "MISSED"


def _percent(share: float) -> str:
    return f"{share:.0%}".replace("%", " %")


def percent(share: float | None) -> float | None:
    """A share as a number of hundredths, for a summary."""
    return None if share is None else round(100 * share, 1)


def rows_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of a summary, which all have the same keys, as a table."""
    head = list(rows[0])
    return _table(head, [[_shown(row[key]) for key in head] for row in rows])


def write(
    name: str,
    results: Sequence[Result],
    machine: Mapping[str, Any],
    *,
    folder: Path = RESULTS,
    summary: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    failures: Sequence[str] = (),
) -> Path:
    """Keep all figures, raw times included, in ``results/<name>-<date>.json``; failures and rejections too."""
    stamp = "".join(mark for mark in str(machine["date"])[:16] if mark.isdigit())
    path = folder / f"{name}-{stamp}.json"
    rows = [dataclasses.asdict(r) | {"accepted": r.accepted, "met": r.met} for r in results]
    for standing in (standing for row in rows for standing in row["standings"]):
        if not math.isfinite(standing["difference"]):  # a contender that is not compared; JSON has no infinity
            standing["difference"] = None
    folder.mkdir(parents=True, exist_ok=True)
    told = {
        "machine": machine,
        **({"summary": summary} if summary else {}),
        "failures": list(failures),
        "results": rows,
    }
    path.write_text(json.dumps(told, indent=1, default=dataclasses.asdict, allow_nan=False) + "\n", encoding="utf-8")
    return path
