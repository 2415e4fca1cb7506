"""Models compared on the same samples: figures with intervals, a verdict for each pair, and where they differ.

Shapes: U units of the test, K counts.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from corecur.comparison.candidates import Candidate, open_candidates, tested_part
from corecur.comparison.comparison_page import comparison_sections
from corecur.comparison.latency import Latency, measure_latency
from corecur.comparison.pairing import paired
from corecur.comparison.verdicts import Apart, Comparison, Standing, Verdict
from corecur.data.decoding import Progress
from corecur.engine.intervals import wilson
from corecur.engine.paired_tests import Difference, figure_interval, holm, mcnemar, paired_difference, verdict
from corecur.engine.repeated_runs import repeated_difference, seed_spread
from corecur.learners.answer_record import FIGURES, AnswerRecord, Figure, digest, read_record
from corecur.report.page import write_page
from corecur.run_folder import ANSWERS

Array = NDArray[np.float64]
# Slices below this many units say nothing that could be relied on.
_LEAST_SLICE = 20
_MOST_SLICES = 200
# Samples that are listed where the models differ, and those of them that are drawn.
_MOST_APART, _MOST_DRAWN = 200, 24
_THIRDS = ("short", "middle", "long")


@dataclass(frozen=True)
class _Entry:
    """One row of the comparison: a model, or the runs of one way to train."""

    name: str
    members: tuple[Candidate, ...]
    records: tuple[AnswerRecord, ...]


def compare(
    *models: str | os.PathLike[str],
    on: str | os.PathLike[str] | None = None,
    page: str | os.PathLike[str] | None = None,
    latency: bool = True,
    skip_bad: bool = False,
    device: str = "auto",
    progress: Progress | None = None,
) -> Comparison:
    """Compare runs or bundles of one task on the samples that all were tested on; with ``on`` on those of a source.

    Runs that differ only in their seed count as one way to train, where there is another way to compare it with.
    ``page`` is where the report goes. Raises ConfigError for models that cannot be compared, DataError where their
    tests have no sample in common.
    """
    given = None if on is None else str(Path(on)) if isinstance(on, os.PathLike) else on
    candidates = open_candidates(models, on=given, skip_bad=skip_bad, device=device, progress=progress)
    names = [candidate.name for candidate in candidates]
    records, findings = paired([candidate.record for candidate in candidates], names)
    findings += [] if given is None else _seen_before(candidates, given)
    first, figures = records[0], FIGURES[records[0].kind]
    entries = _grouped(candidates, records)
    times = _latencies(candidates, first) if latency else dict.fromkeys(names)
    sign = -1 if figures[0].measure.higher_is_better else 1
    ranked = sorted(entries, key=lambda entry: sign * _value(entry, figures[0]))
    names = [name for entry in ranked for name in (member.name for member in entry.members)]
    apart, count, words = _apart(ranked, figures[0])
    slices, too_small = _slices(ranked[0], ranked[1], figures[0])
    found = Comparison(
        task=candidates[0].learner.task,
        measure=figures[0].measure,
        samples=len(first),
        noun=first.noun,
        standings=tuple(_standing(entry, figures, times) for entry in ranked),
        verdicts=_verdicts([(a, b, None, "") for a, b in itertools.combinations(ranked, 2)], figures[0]),
        slices=slices,
        too_small=too_small,
        apart=apart,
        apart_count=count,
        apart_words=words,
        columns=tuple(names),
        findings=tuple(findings),
        threads=torch.get_num_threads(),
        pictures=_pictures(candidates[0], first, apart),
    )
    if page is None:
        return found
    title = "Comparison: " + (" and ".join(names) if len(names) == 2 else f"{len(names)} models")
    found = dataclasses.replace(found, page=Path(page))
    write_page(page, title, time.strftime("%Y-%m-%d %H:%M"), comparison_sections(found))
    return found


def _grouped(candidates: Sequence[Candidate], records: Sequence[AnswerRecord]) -> list[_Entry]:
    """Runs that differ only in their seed as one entry; each by itself where that would leave a single entry."""
    groups: dict[str, list[int]] = {}
    for place, candidate in enumerate(candidates):
        groups.setdefault(candidate.way or f"alone {place}", []).append(place)
    if len(groups) < 2:
        groups = {str(place): [place] for place in range(len(candidates))}
    found = []
    for places in groups.values():
        members = tuple(candidates[place] for place in places)
        more = f" and {len(members) - 1} more seed{'s' * (len(members) > 2)}" if len(members) > 1 else ""
        found.append(_Entry(members[0].name + more, members, tuple(records[place] for place in places)))
    return found


def _tables(entry: _Entry, figure: Figure, rows: NDArray[np.int64] | None, part: str | None) -> list[Array]:
    tables = [record.table(figure, part) for record in entry.records]
    return tables if rows is None else [table[rows] for table in tables]


def _value(entry: _Entry, figure: Figure) -> float:
    return float(np.mean([figure.score(table.sum(0)) for table in _tables(entry, figure, None, None)]))


def _standing(entry: _Entry, figures: Sequence[Figure], times: dict[str, Latency | None]) -> Standing:
    first = entry.members[0]
    known = [member.train_seconds for member in entry.members if member.train_seconds is not None]
    return Standing(
        name=entry.name,
        runs=tuple(member.name for member in entry.members),
        figure=_value(entry, figures[0]),
        interval=_interval(entry, figures[0]),
        others=tuple((figure.measure, _value(entry, figure), _interval(entry, figure)) for figure in figures[1:]),
        parameters=first.parameters,
        size=first.size,
        train_seconds=float(np.mean(known)) if known else None,
        latency=times[first.name],
        spread=seed_spread(_tables(entry, figures[0], None, None), figures[0].score),
    )


def _interval(entry: _Entry, figure: Figure) -> tuple[float, float] | None:
    tables = _tables(entry, figure, None, None)
    mean = np.mean(tables, axis=0)
    if figure.measure.name == "accuracy":
        return wilson(round(float(mean[:, 0].sum())), len(mean))
    found = figure_interval(mean, figure.score, block=entry.records[0].block)
    if found is None or not figure.measure.percent:
        return found
    return max(0.0, found[0]), min(1.0, found[1])


def _difference(
    a: _Entry, b: _Entry, figure: Figure, rows: NDArray[np.int64] | None = None, part: str | None = None
) -> Difference:
    """The paired test that fits: McNemar's for right and wrong, with the seeds where there are several, else swaps."""
    one, two = _tables(a, figure, rows, part), _tables(b, figure, rows, part)
    if len(one) + len(two) > 2:
        return repeated_difference(one, two, figure.score, block=a.records[0].block)
    if figure.measure.name == "accuracy":
        return mcnemar(one[0][:, 0] > 0, two[0][:, 0] > 0)
    return paired_difference(one[0], two[0], figure.score, block=a.records[0].block)


def _verdicts(
    asked: Sequence[tuple[_Entry, _Entry, NDArray[np.int64] | str | None, str]], figure: Figure
) -> tuple[Verdict, ...]:
    """A verdict each, p corrected for all of them: of two entries, on all units, some rows or a part, and its title."""
    tested = []
    for a, b, where, _ in asked:
        rows, part = (None, where) if isinstance(where, str) else (where, None)
        tested.append(_difference(a, b, figure, rows, part))
    corrected = holm([found.p for found in tested])
    return tuple(
        Verdict(
            a=a.name, b=b.name, difference=found, corrected=p, title=title,
            words=verdict(
                found, (a.name, b.name), figure.measure, corrected=p, pairs=len(asked), noun=a.records[0].noun
            ),
        )
        for (a, b, _, title), found, p in zip(asked, tested, corrected, strict=True)
    )  # fmt: skip


def _slices(a: _Entry, b: _Entry, figure: Figure) -> tuple[tuple[Verdict, ...], tuple[str, ...]]:
    """The two best on parts of the test: by class, by size, by column; and the slices that hold too few samples."""
    record = a.records[0]
    rows: list[tuple[str, NDArray[np.int64]]] = []
    if record.kind == "classes":
        truth = np.array(record.truth, dtype=object)
        labels = [label for label in record.labels if (truth == label).any()]
        rows += [(f"class {label}", np.flatnonzero(truth == label)) for label in labels]
    rows += _by_size(record)
    parts = [name for name in record.parts if all(name in each.parts for e in (a, b) for each in e.records)]
    small = [f"{name} ({len(index):,})" for name, index in rows if len(index) < _LEAST_SLICE]
    asked: list[tuple[_Entry, _Entry, NDArray[np.int64] | str | None, str]] = [
        (a, b, index, f"{name} ({len(index):,})") for name, index in rows if len(index) >= _LEAST_SLICE
    ]
    for name in parts:
        holding = int(record.table(figure, name)[:, [count != "units" for count in figure.counts]].any(1).sum())
        if holding < _LEAST_SLICE:
            small.append(f"{name} ({holding:,})")
        else:
            asked.append((a, b, name, f"{name} ({holding:,})"))
    return _verdicts(asked[:_MOST_SLICES], figure), tuple(small)


def _by_size(record: AnswerRecord) -> list[tuple[str, NDArray[np.int64]]]:
    """The shortest third of the samples, the middle and the longest, where they differ in length."""
    if not record.sizes or len(record) < 3 * _LEAST_SLICE:
        return []
    sizes = np.array(record.sizes)
    low, high = np.quantile(sizes, [1 / 3, 2 / 3])
    masks = (sizes <= low, (sizes > low) & (sizes <= high), sizes > high)
    if not all(mask.any() for mask in masks):
        return []
    return [
        (f"{name}, {int(sizes[mask].min()):,} to {int(sizes[mask].max()):,} steps or words", np.flatnonzero(mask))
        for name, mask in zip(_THIRDS, masks, strict=True)
    ]


def _apart(entries: Sequence[_Entry], figure: Figure) -> tuple[tuple[Apart, ...], int, str]:
    """The samples on which the models differ, how many there are, and what is listed of them in words."""
    records = [record for entry in entries for record in entry.records]
    first = records[0]
    if first.answers:
        rows = [row for row, each in enumerate(zip(*(record.answers for record in records), strict=True))
                if len(set(each)) > 1]  # fmt: skip
        # Where the best is right and the next is wrong, and the other way, before those that all get wrong.
        right = np.stack([np.array(record.answers, dtype=object) == np.array(record.truth, dtype=object)
                          for record in records])  # fmt: skip
        rows.sort(key=lambda row: (bool(right[:, row].all() == right[:, row].any()), row))
        shown = [Apart(row, first.names[row], first.truth[row], tuple(record.answers[row] for record in records),
                       first.texts[row] if first.texts else "") for row in rows[:_MOST_APART]]  # fmt: skip
        return tuple(shown), len(rows), f"the models answer {len(rows):,} of {len(first):,} {first.noun} differently"
    values = np.stack([figure.score(record.table(figure)) for record in records])  # (M, U)
    gaps = np.abs(values[0] - values[len(entries[0].records)])
    order = np.argsort(-gaps, kind="stable")[:20].tolist()
    places = figure.measure.decimals(float(gaps.max(initial=0.0)))
    listed = [Apart(row, first.names[row], "", tuple(figure.measure.show(v, places) for v in values[:, row].tolist()),
                    first.texts[row] if first.texts else "") for row in order if gaps[row] > 0]  # fmt: skip
    count = int((gaps > 0).sum())
    return tuple(listed), count, f"{figure.measure.name} of the {first.noun} on which the two best differ most"


def _pictures(candidate: Candidate, record: AnswerRecord, apart: Sequence[Apart]) -> dict[int, str]:
    """Drawings of the samples on which the models differ, where the data are at hand, by their place."""
    show: Callable[[int], str] | None = record.show
    if show is None and apart and record.kind == "classes" and not record.texts:
        show = _shown_again(candidate, record)
    return {} if show is None else {one.place: show(one.place) for one in apart[:_MOST_DRAWN]}


def _shown_again(candidate: Candidate, record: AnswerRecord) -> Callable[[int], str] | None:
    part = tested_part(candidate)
    drawn = None if part is None else candidate.learner.drawing(part)
    if drawn is None:
        return None
    places = {content: place for place, content in enumerate(map(digest, part.contents()))}
    if not all(content in places for content in record.contents):
        return None
    return lambda row: drawn(places[record.contents[row]])


def _latencies(candidates: Sequence[Candidate], record: AnswerRecord) -> dict[str, Latency | None]:
    size = int(np.median(record.sizes)) if record.sizes else 0
    found = measure_latency([candidate.learner.once(size) for candidate in candidates])
    return {candidate.name: latency for candidate, latency in zip(candidates, found, strict=True)}


def _seen_before(candidates: Sequence[Candidate], on: str) -> list[str]:
    """Models that may have learned from what they are compared on: it is what their runs were trained on."""
    path = Path(on).expanduser()
    place = str(path.resolve()) if path.exists() else on
    found = []
    for candidate in candidates:
        request = candidate.config.get("request")
        if not isinstance(request, dict) or request.get("source") != place:
            continue
        kept = None if candidate.run is None else read_record(candidate.run / ANSWERS)
        unknown = len(set(candidate.record.contents) - set(() if kept is None else kept.contents))
        if unknown:
            share = f"{unknown:,} of {len(candidate.record):,} {candidate.record.noun}"
            found.append(
                f"{candidate.name} was trained on {on}: {share} were not in its test, and it may have learned from "
                "them. Compare the runs without --on."
            )
    return found
