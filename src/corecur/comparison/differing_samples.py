"""The samples on which models differ: which they are, what each model made of them, and drawings of them.

Shapes: U units of the test, M models.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from corecur.comparison.candidates import Candidate, tested_part
from corecur.comparison.entries import Entry
from corecur.comparison.verdicts import Apart
from corecur.comparison.window_drawings import drawn_windows
from corecur.learners.answer_record import AnswerRecord, Figure, digest
from corecur.learners.entities import entities_in

# Samples that are listed where the models differ, those of them that are drawn, and windows and pieces of text.
_MOST_APART, _MOST_DRAWN, _MOST_PIECES = 200, 24, 20
_MOST_WINDOWS = 12


def apart_in(entries: Sequence[Entry], figure: Figure) -> tuple[tuple[Apart, ...], int, str]:
    """The samples on which the models differ, how many there are, and what is listed of them in words."""
    first = entries[0].records[0]
    return _answered_apart(entries) if first.answers else _measured_apart(entries, figure)


def _answered_apart(entries: Sequence[Entry]) -> tuple[tuple[Apart, ...], int, str]:
    """Where the answers are others; of several runs those that most of them give."""
    first = entries[0].records[0]
    answers = [
        [_usual(each) for each in zip(*(record.answers for record in entry.records), strict=True)] for entry in entries
    ]
    rows = [row for row, each in enumerate(zip(*answers, strict=True)) if len({answer for answer, _ in each}) > 1]
    truth = np.array(first.truth, dtype=object)
    right = np.stack(
        [np.mean([np.array(record.answers, dtype=object) == truth for record in e.records], axis=0) for e in entries]
    )  # (M, U), the share of the runs that is right
    # Where the one is always right and the other always wrong before those that both get wrong.
    rows.sort(key=lambda row: (-float(np.ptp(right[:, row])), row))
    shown = []
    for row in rows[:_MOST_APART]:
        own = [model[row] for model in answers]
        words = [first.truth[row], *(answer for answer, _ in own)]
        if first.kind in ("entities", "tags"):
            words = tags_in_words(words, first.texts[row].split(" "), entities=first.kind == "entities")
        said = tuple(
            _said(answer, count, len(entry.records))
            for answer, (_, count), entry in zip(words[1:], own, entries, strict=True)
        )
        text = first.texts[row] if first.texts else ""
        shown.append(Apart(row, first.names[row], words[0], said, text))
    verb = "mostly answer" if len(entries[0].records) > 1 else "answer"
    return tuple(shown), len(rows), f"the models {verb} {len(rows):,} of {len(first):,} {first.noun} differently"


def _measured_apart(entries: Sequence[Entry], figure: Figure) -> tuple[tuple[Apart, ...], int, str]:
    """Where the figures of the two best are furthest apart; of windows that overlap one."""
    first = entries[0].records[0]
    values = np.stack([figure.score(np.mean(entry.tables(figure), axis=0)) for entry in entries])  # (M, U)
    gaps = np.abs(values[0] - values[1])
    alike = first.block if first.kind == "windows" else 1
    order: list[int] = []
    for row in np.argsort(-gaps, kind="stable").tolist():
        if len(order) == (_MOST_WINDOWS if first.kind == "windows" else _MOST_PIECES) or gaps[row] <= 0:
            break
        if all(abs(row - other) >= alike for other in order):
            order.append(row)
    places = figure.measure.decimals(float(gaps.max(initial=0.0)))
    listed = [
        Apart(
            row, first.names[row], "", tuple(figure.measure.show(v, places) for v in values[:, row].tolist()),
            first.texts[row] if first.texts else "",
        )
        for row in order
    ]  # fmt: skip
    what = "windows, none beside another," if alike > 1 else first.noun
    count = int((gaps > 0).sum())
    return tuple(listed), count, f"{figure.measure.name} of the {what} on which the two best differ most"


def _usual(answers: Sequence[str]) -> tuple[str, int]:
    """The answer that most runs gave, and how many did."""
    return Counter(answers).most_common(1)[0]


def _said(answer: str, count: int, runs: int) -> str:
    return answer if count == runs else f"{answer} ({count} of {runs})"


def tags_in_words(tagged: Sequence[str], words: Sequence[str], *, entities: bool) -> list[str]:
    """Several taggings of the same words for people: the entities of each, or the words that are tagged differently.

    >>> tags_in_words(["B-PER I-PER O", "O B-PER O"], ["Ann", "Lee", "runs"], entities=True)
    ['Ann Lee: PER', 'Lee: PER']
    >>> tags_in_words(["NOUN VERB", "NOUN NOUN"], ["Ann", "runs"], entities=False)
    ['runs: VERB', 'runs: NOUN']
    """
    each = [tags.split(" ") for tags in tagged]
    if entities:
        found = [[(e.first, e.last, e.kind) for e in entities_in(tags)] for tags in each]
    else:
        places = [place for place, tags in enumerate(zip(*each, strict=True)) if len(set(tags)) > 1]
        found = [[(place, place + 1, tags[place]) for place in places] for tags in each]
    return [
        ", ".join(f"{' '.join(words[first:last]) or '…'}: {kind}" for first, last, kind in own) or "none"
        for own in found
    ]


def pictures_of(entries: Sequence[Entry], record: AnswerRecord, apart: Sequence[Apart], pool: Any) -> dict[int, str]:
    """Drawings of the samples on which the models differ, where the data are at hand, by their place.

    ``pool`` are the data that folds were cut from.
    """
    candidate = entries[0].members[0]
    if record.kind == "windows":
        folds = None if pool is None or entries[0].folds is None else entries[0].folds
        members = [entry.members if folds else entry.members[:1] for entry in entries[:2]]
        places = [one.place for one in apart]
        return drawn_windows(members, record, places, folds=folds.of if folds else None, pool=pool if folds else None)
    show: Callable[[int], str] | None = record.show
    if show is None and apart and record.kind == "classes" and not record.texts:
        show = _shown_again(candidate, record, tested_part(candidate) if pool is None else pool.train)
    return {} if show is None else {one.place: show(one.place) for one in apart[:_MOST_DRAWN]}


def _shown_again(candidate: Candidate, record: AnswerRecord, part: Any) -> Callable[[int], str] | None:
    drawn = None if part is None else candidate.learner.drawing(part)
    if drawn is None:
        return None
    places = {content: place for place, content in enumerate(map(digest, part.contents()))}
    if not all(content in places for content in record.contents):
        return None
    return lambda row: drawn(places[record.contents[row]])
