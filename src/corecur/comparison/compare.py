"""Models compared on the same samples: figures with intervals, a verdict for each pair, and where they differ.

Shapes: U units of the test, M models.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from corecur.comparison.candidates import Candidate, open_candidates
from corecur.comparison.comparison_page import comparison_sections
from corecur.comparison.differing_samples import apart_in, pictures_of
from corecur.comparison.entries import Entry, Folds, repeats_of, slices_of, verdicts_on
from corecur.comparison.latency import Latency, measure_latency
from corecur.comparison.pairing import in_one_unit, one_after_another, paired
from corecur.comparison.retraining import Retrained, Trainings, members_in, open_ways, with_folds, with_seeds
from corecur.comparison.verdicts import Comparison
from corecur.data.decoding import Progress
from corecur.errors import ConfigError
from corecur.learners.answer_record import FIGURES, AnswerRecord, read_record
from corecur.learners.outcome import Tell, silence
from corecur.report.page import write_page
from corecur.run_folder import ANSWERS


def compare(
    *models: str | os.PathLike[str],
    on: str | os.PathLike[str] | None = None,
    seeds: int | None = None,
    folds: int | None = None,
    out: str | os.PathLike[str] = "runs/compare",
    page: str | os.PathLike[str] | None = None,
    latency: bool = True,
    skip_bad: bool = False,
    device: str = "auto",
    again: str = "the same call",
    progress: Progress | None = None,
    tell: Tell = silence,
    verbose: bool = False,
) -> Comparison:
    """Compare runs or bundles of one task on the samples that all were tested on; with ``on`` on those of a source.

    Runs that differ only in their seed count as one way to train, where there is another way to compare it with.
    With ``seeds`` each run's recipe is trained anew with so many seeds on the splits of the run, with ``folds`` on so
    many folds of its training and validation data, and these trainings are compared; they are kept in ``out``, and the
    same call takes those that are there. ``page`` is where the report goes. Raises ConfigError for models that cannot
    be compared, DataError where their tests have no sample in common, Stopped where a signal ended a training.
    """
    given = None if on is None else str(Path(on)) if isinstance(on, os.PathLike) else on
    opening: dict[str, Any] = {"skip_bad": skip_bad, "device": device, "progress": progress}
    if seeds is None and folds is None:
        entries, findings = _as_they_are(open_candidates(models, on=given, **opening), given)
        pool = None
    else:
        trainings = Trainings(Path(out), given is None, device, again, progress, tell, verbose)
        made = _retrained([Path(model) for model in models], seeds, folds, given, trainings)
        names, runs = zip(*members_in(made), strict=True)
        candidates = open_candidates(runs, on=given, names=names, **opening)
        entries, findings = _of_folds(made, candidates) if folds else _of_seeds(made, candidates)
        pool = made[0].pool
    record, figures = entries[0].records[0], FIGURES[entries[0].records[0].kind]
    times = _latencies(entries) if latency else dict.fromkeys(entry.name for entry in entries)
    sign = -1 if figures[0].measure.higher_is_better else 1
    ranked = sorted(entries, key=lambda entry: sign * entry.value(figures[0]))
    apart, count, words = apart_in(ranked, figures[0])
    slices, too_small = slices_of(ranked[0], ranked[1], figures[0])
    found = Comparison(
        task=record.task,
        measure=figures[0].measure,
        samples=len(record),
        noun=record.noun,
        standings=tuple(entry.standing(figures, times[entry.name]) for entry in ranked),
        verdicts=verdicts_on([(a, b, None, "") for a, b in itertools.combinations(ranked, 2)], figures[0]),
        slices=slices,
        too_small=too_small,
        apart=apart,
        apart_count=count,
        apart_words=words,
        columns=tuple(entry.name for entry in ranked),
        findings=tuple(findings),
        threads=torch.get_num_threads(),
        pictures=pictures_of(ranked, record, apart, pool),
        repeats=repeats_of(ranked, figures[0]),
    )
    if page is None:
        return found
    title = "Comparison: " + (" and ".join(found.columns) if len(ranked) == 2 else f"{len(ranked)} models")
    found = dataclasses.replace(found, page=Path(page))
    write_page(page, title, time.strftime("%Y-%m-%d %H:%M"), comparison_sections(found))
    return found


def _as_they_are(candidates: Sequence[Candidate], on: str | None) -> tuple[list[Entry], list[str]]:
    """Runs that differ only in their seed as one entry; each by itself where that would leave a single entry."""
    records, findings = paired(*zip(*((candidate.record, candidate.name) for candidate in candidates), strict=True))
    groups: dict[str, list[int]] = {}
    for place, candidate in enumerate(candidates):
        groups.setdefault(candidate.way or f"alone {place}", []).append(place)
    if len(groups) < 2:
        groups = {str(place): [place] for place in range(len(candidates))}
    found = []
    for places in groups.values():
        members = tuple(candidates[place] for place in places)
        more = f" and {len(members) - 1} more seed{'s' * (len(members) > 2)}" if len(members) > 1 else ""
        found.append(Entry(members[0].name + more, members, tuple(records[place] for place in places)))
    return found, findings + ([] if on is None else _seen_before(candidates, on))


def _retrained(
    models: Sequence[Path], seeds: int | None, folds: int | None, on: str | None, trainings: Trainings
) -> list[Retrained]:
    if seeds is not None and folds is not None:
        raise ConfigError(
            "a comparison is over seeds or over folds", got=f"{seeds} seeds, {folds} folds", do="give one"
        )
    if folds is not None and on is not None:
        raise ConfigError(
            "each fold is tested on its own part of the training data", got=f"--on {on}", do="leave out --on"
        )
    ways, threads = open_ways(models), torch.get_num_threads()
    try:
        return with_folds(ways, folds, trainings) if folds is not None else with_seeds(ways, seeds or 0, trainings)
    finally:
        torch.set_num_threads(threads)  # a training takes as many as its run had


def _of_seeds(found: Sequence[Retrained], candidates: Sequence[Candidate]) -> tuple[list[Entry], list[str]]:
    """An entry for each way, with the runs of its seeds."""
    names = [candidate.name for candidate in candidates]
    records, findings = paired([candidate.record for candidate in candidates], names)
    count = len(found[0].runs)
    entries = []
    for place, one in enumerate(found):
        own = slice(place * count, (place + 1) * count)
        entries.append(Entry(one.way.name, tuple(candidates[own]), tuple(records[own]), one.labels))
    return entries, findings


def _of_folds(found: Sequence[Retrained], candidates: Sequence[Candidate]) -> tuple[list[Entry], list[str]]:
    """An entry for each way, with the answers to all folds as one record."""
    count, ways = len(found[0].runs), len(found)
    records = in_one_unit([candidate.record for candidate in candidates])
    own: list[list[AnswerRecord]] = [[] for _ in found]
    findings: list[str] = []
    for number in range(count):
        same, notes = paired(records[number::count], [candidate.name for candidate in candidates[number::count]])
        findings += [note for note in notes if note not in findings]
        for place in range(ways):
            own[place].append(same[place])
    of = np.repeat(np.arange(count), [len(record) for record in own[0]])
    ratio = max(one.ratio or 0.0 for one in found)
    return [
        Entry(
            one.way.name, tuple(candidates[place * count : (place + 1) * count]), (one_after_another(own[place]),),
            one.labels, Folds(of, ratio),
        )
        for place, one in enumerate(found)
    ], findings  # fmt: skip


def _latencies(entries: Sequence[Entry]) -> dict[str, Latency | None]:
    """The latency of the first model of each entry: the others of it are of the same form."""
    record = entries[0].records[0]
    size = int(np.median(record.sizes)) if record.sizes else 0
    found = measure_latency([entry.members[0].learner.once(size) for entry in entries])
    return {entry.name: latency for entry, latency in zip(entries, found, strict=True)}


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
