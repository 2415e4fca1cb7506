"""Results for people, as Markdown, and for the record, as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
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
        head += ["share of GEMM peak", "proofs differ by"]
        for row, s in zip(rows, result.standings, strict=True):
            row += [f"{s.share or 0:.0%}".replace("%", " %"), f"{s.difference:.1e}"]
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
        judged = next(s for s in result.standings if s.name == result.judged)
        ratio = str(judged.ratio) if result.accepted else f"rejected: {judged.ratio}"
        cells = [result.title, first.name, str(result.threads), f"{judged.milliseconds:.2f}", ratio]
        rows.append(cells + [_shown(s.facts.get(fact)) for s in (judged, first) for fact in facts])
    return f"### All cases\n\n{_table(head, rows)}"


def _shown(fact: Any) -> str:
    return "–" if fact is None else f"{fact:.1f}" if isinstance(fact, float) else str(fact)


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def verdict(result: Result) -> str:
    """Whether the target was met, or why nobody can tell."""
    peak = "" if result.peak_gflops is None else f" GEMM peak {result.peak_gflops:.0f} GFLOP/s."
    blocks = f"{len(result.standings[0].raw)} blocks each.{peak}"
    if not result.accepted:
        limit = f"{CONTROL_LIMIT:.0%}".replace("%", " %")
        return f"REJECTED: the control is off by more than {limit}, so the machine was too busy to tell. {blocks}"
    if result.target is None:
        return f"A baseline, without a target. {blocks}"
    word = "met" if result.met else "MISSED"
    return f"Target for {result.judged}, at most {result.target:g}: {word}. {blocks}"


def write(name: str, results: Sequence[Result], machine: Mapping[str, Any], *, folder: Path = RESULTS) -> Path:
    """Keep all figures, raw times included, in ``results/<name>-<date>.json``; failures and rejections too."""
    stamp = "".join(mark for mark in str(machine["date"])[:16] if mark.isdigit())
    path = folder / f"{name}-{stamp}.json"
    rows = [dataclasses.asdict(r) | {"accepted": r.accepted, "met": r.met} for r in results]
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine, "results": rows}, indent=1) + "\n", encoding="utf-8")
    return path
