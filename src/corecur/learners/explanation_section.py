"""What a few test answers rest on, as a section of a training's report."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from corecur.explain.attribution import Attribution
from corecur.explain.drawing import over_picture
from corecur.explain.methods import AUTO, Effort, explain
from corecur.explain.question import Question
from corecur.learners.explanations import ASKING
from corecur.learners.fit_result import FitResult
from corecur.report.line_charts import line_chart
from corecur.report.page import Block, Figure, Gallery, Picture, Section, Text
from corecur.report.shaded_text import ShadedText
from corecur.report.thumbnails import data_uri

# Explanations take this share of the training time, within these seconds; and none where the time was short.
_SHARE, _LEAST, _MOST, _SHORT = 0.05, 0.3, 3.0, 60.0
_SAMPLES, _EFFORT = 4, Effort(rankings=8, curve_steps=8)
TITLE = "What answers rest on"
_FOLLOWING = "Network"


def with_explanations(
    sections: Sequence[Section], learner: Any, data: Any, result: FitResult, config: Mapping[str, Any]
) -> Sequence[Section]:
    """The sections of a report with one more before the network; where the time given was short, as they are."""
    seconds = config["request"]["seconds"]
    if seconds is not None and seconds < _SHORT:
        return sections
    trained = result.train_seconds
    made = explanation_section(learner, data, seconds=min(_MOST, max(_LEAST, _SHARE * trained)))
    if made is None:
        return sections
    titles = [section.title for section in sections]
    place = titles.index(_FOLLOWING) if _FOLLOWING in titles else len(sections)
    return [*sections[:place], made, *sections[place:]]


def explanation_section(learner: Any, data: Any, *, seconds: float) -> Section | None:
    """Explanations of up to four test answers, begun within so many seconds; None where nothing can be explained."""
    began = time.perf_counter()
    found: list[Attribution] = []
    for question in _varied(ASKING[learner.task].tested(learner, data)):
        if not question.count or not bool(question.scores(question.inputs[None]).isfinite().all()):
            continue
        one = explain(question, AUTO, _EFFORT)
        if isinstance(one, Attribution):
            found.append(one)
        if len(found) == _SAMPLES or time.perf_counter() - began > seconds:
            break
    if not found:
        return None
    note = (
        f"By {found[0].method}: blue raises the score of the answer, orange lowers it; taken away means "
        f"{found[0].removed}. The command explain says more: other methods, pictures, any sample."
    )
    return Section(TITLE, _blocks(found), note=note)


def _varied(questions: Iterator[Question], looked_at: int = 40) -> Iterator[Question]:
    """Questions of different answers first, out of the first ones."""
    seen: set[str] = set()
    later = []
    for number, question in enumerate(questions):
        if question.target not in seen:
            seen.add(question.target)
            yield question
        else:
            later.append(question)
        if number + 1 >= looked_at:
            break
    yield from later


def _blocks(found: list[Attribution]) -> list[Block]:
    pictures = [_picture(one) for one in found if one.kind == "image"]
    blocks: list[Block] = [Gallery(pictures, wide=True)] if pictures else []
    for one in found:
        if one.kind == "text":
            words, spaced = one.shown.words, one.shown.spaced
            blocks.append(ShadedText(one.heading(), words, one.scores.tolist(), detail=one.name, spaced=spaced))
        elif one.kind == "series" and one.shown.values is not None:
            blocks.append(_series(one))
        if one.kind != "image" and one.faithfulness is not None:
            blocks.append(Text(_sentence(one)))
    return blocks


def _picture(one: Attribution) -> Picture:
    pixels = np.zeros((*one.scores.shape, 1), np.uint8) if one.shown.picture is None else one.shown.picture
    most = float(np.abs(one.scores).max()) or 1.0
    mixed = (255 * over_picture(pixels.mean(2) / 255, one.scores / most)).round().astype(np.uint8)
    detail = f"{one.name} · {_sentence(one)}"
    return Picture((data_uri(pixels), data_uri(mixed)), alt=one.heading(), caption=one.heading(), detail=detail)


def _series(one: Attribution) -> Figure:
    values = np.zeros(one.scores.shape) if one.shown.values is None else one.shown.values
    strongest = int(np.abs(one.scores).sum(0).argmax())
    several = values.shape[1] > 1
    name = f", channel {one.shown.columns[strongest]}" if several else ""
    drawing = line_chart(
        np.asarray(values[:, [strongest]], dtype=float), speaks=one.scores[:, strongest], size=(640.0, 110.0)
    )
    return Figure(drawing, alt=one.heading(), caption=f"{one.heading()}{name}: {one.name}")


def _sentence(one: Attribution) -> str:
    return "" if one.faithfulness is None else f"{one.faithfulness.sentence()} ({one.seconds:.2f} s)"
