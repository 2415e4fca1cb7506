"""The page of a comparison: the verdict, the models, the pairs, parts of the test, samples on which they differ."""

from __future__ import annotations

import re
from collections.abc import Sequence

from corecur.comparison.verdicts import Comparison, Repeats, Verdict, interval_in_words, names_in_words
from corecur.engine.paired_tests import DRAWS, RESAMPLES
from corecur.report.interval_chart import interval_chart
from corecur.report.page import Block, Columns, Figure, Fold, Gallery, Picture, Rows, Section, Text

_MOST_COLUMNS = 8
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def comparison_sections(found: Comparison) -> list[Section]:
    """The sections of the page."""
    sections = [_verdict(found), _models(found)]
    if found.repeats is not None:
        sections.append(_repeats(found, found.repeats))
    if len(found.verdicts) > 1:
        sections.append(_pairs(found))
    if found.slices or found.too_small:
        sections.append(_slices(found))
    if found.apart_count:
        sections.append(_apart(found))
    return [*sections, _method(found)]


def _verdict(found: Comparison) -> Section:
    letters = _letters(found)
    words = found.sentence(letters)
    if len(letters) > 2:
        words = f"{letters[found.standings[0].name]}, {words}"
    blocks: list[Block] = [Text(_unbroken(words[:1].upper() + words[1:] + "."), lead=True)]
    blocks += [Text(finding) for finding in found.findings]
    return Section("Verdict", blocks, note=f"{found.task}, {found.basis}")


def _unbroken(text: str) -> str:
    """The text with its numbers and their units kept on one line."""
    return re.sub(r"(?<=\d) (?=%|points\b)|(?<= p) (?=[=<])|(?<=[=<]) (?=\d)", "\N{NO-BREAK SPACE}", text)


def _letters(found: Comparison) -> dict[str, str]:
    """A letter for each model, or a number where there are more models than letters: long names fill no tables."""
    names = [row.name for row in found.standings]
    return {name: _LETTERS[place] if place < len(_LETTERS) else str(place + 1) for place, name in enumerate(names)}


def _models(found: Comparison) -> Section:
    measure, letters = found.measure, _letters(found)
    rows = [(f"{letters[row.name]}  {row.name}", row.figure, row.interval) for row in found.standings]
    chart = interval_chart(rows, title=measure.name, show=lambda value: measure.show(value))
    header, cells, _ = found.listing()
    cost = header.index("parameters")
    told = [
        (f"{letters[row.name]}: {row.name}", *cell[1:cost]) for row, cell in zip(found.standings, cells, strict=True)
    ]
    blocks: list[Block] = [chart, Rows(header[:cost], told)]
    if found.standings[0].others:
        others = [
            (letters[row.name], *(part for m, f, i in row.others for part in (m.show(f), interval_in_words(i, m))))
            for row in found.standings
        ]
        names = [part for m, _, _ in found.standings[0].others for part in (m.name, "95 % interval")]
        blocks.append(Rows(("model", *names), others, caption="other figures of the same answers"))
    costs = [(letters[row.name], *cell[cost:]) for row, cell in zip(found.standings, cells, strict=True)]
    blocks.append(Rows(("model", *header[cost:]), costs, caption="what they cost"))
    several = [row for row in found.standings if len(row.runs) > 1 and found.repeats is None]
    if several:
        runs = [(row.name, names_in_words(row.runs, 20)) for row in several]
        blocks.append(Rows(("trained with several seeds", "runs"), runs))
    measured = any(row.latency is not None for row in found.standings)
    threads = f"{found.threads} thread{'s' * (found.threads > 1)}"
    note = f"latency: the answer to one sample, measured now, in turns, {threads}" if measured else None
    return Section("Models", blocks, note=note)


def _repeats(found: Comparison, repeats: Repeats) -> Section:
    letters = _letters(found)
    header, rows, _ = repeats.listing(found.measure, [letters[name] for name in repeats.figures])
    title = "Seed by seed" if repeats.kind == "seed" else "Fold by fold"
    return Section(title, [Rows(header, rows)], note=f"{found.measure.name} of each training")


def _pairs(found: Comparison) -> Section:
    note = f"p is corrected for {len(found.verdicts):,} pairs (Holm); intervals are those of one pair alone"
    return Section("Pair by pair", [_table(found.verdicts, found)], note=note)


def _slices(found: Comparison) -> Section:
    blocks: list[Block] = []
    if found.slices:
        a, b = found.slices[0].a, found.slices[0].b
        blocks.append(_table(found.slices, found, titled=True))
        letters = _letters(found)
        note = f"{letters[a]} and {letters[b]}, the two best; p is corrected for {len(found.slices):,} parts (Holm)"
    else:
        note = "no part of the test is large enough to be looked at by itself"
    if found.too_small:
        blocks.append(Text(f"Too few {found.noun} to say anything: {names_in_words(found.too_small, 30)}."))
    return Section("Parts of the test", blocks, note=note)


def _table(verdicts: Sequence[Verdict], found: Comparison, *, titled: bool = False) -> Rows:
    measure, letters, rows = found.measure, _letters(found), []
    scale, unit = (100, " in points") if measure.percent else (1, "")
    for one in verdicts:
        diff = one.difference
        places = measure.decimals(diff.high - diff.low)
        gap, low, high = (
            f"{scale * value:+.{places}f}".replace("-", "−") for value in (diff.difference, diff.low, diff.high)
        )
        p = "< 0.001" if one.corrected < 0.001 else f"{one.corrected:.3f}"
        better = one.a if (diff.difference > 0) == measure.higher_is_better else one.b
        said = f"{letters[better]} is better" if one.is_shown else "no difference shown"
        head = one.title if titled else f"{letters[one.a]} and {letters[one.b]}"
        rows.append(
            (head, said, measure.show(diff.a, places), measure.show(diff.b, places), gap, f"{low} to {high}", p)
        )
    a, b = (letters[verdicts[0].a], letters[verdicts[0].b]) if titled else ("first", "second")
    return Rows(("part" if titled else "pair", "verdict", a, b, f"difference{unit}", "95 % interval", "p"), rows)


def _apart(found: Comparison) -> Section:
    letters, names = _letters(found), found.columns[:_MOST_COLUMNS]
    columns = [letters.get(name, name) for name in names]
    blocks: list[Block] = []
    if found.pictures and not any(one.truth for one in found.apart):
        blocks += _windows(found, columns)
    tiles = (
        []
        if blocks
        else [
            Picture(
                found.pictures[one.place],
                alt=f"{one.name}: {one.truth}",
                caption=f"truth: {one.truth}",
                detail="; ".join(f"{name}: {answer}" for name, answer in zip(columns, one.answers, strict=False)),
            )
            for one in found.apart
            if one.place in found.pictures
        ]
    )
    if tiles:
        blocks.append(Gallery(tiles))
    texts = any(one.text for one in found.apart)
    truths = any(one.truth for one in found.apart)
    header = ("name", *(("sample",) if texts else ()), *(("truth",) if truths else ()), *columns)
    rows = [
        (one.name, *((one.text,) if texts else ()), *((one.truth,) if truths else ()), *one.answers[:_MOST_COLUMNS])
        for one in found.apart
    ]
    table = Rows(header, rows)
    blocks.append(Fold(f"the {len(rows):,} of them by name", [table]) if blocks else table)
    rest = found.apart_count - len(rows) if truths else 0
    left = f"; {rest:,} more are not listed" if rest > 0 else ""
    return Section("Where they differ", blocks, note=found.apart_words + left)


def _windows(found: Comparison, columns: Sequence[str]) -> list[Block]:
    """Forecasts of the two best drawn beside what came."""
    said = (
        f"Grey and black: the values. Blue: what {columns[0]} said. Orange, dashed: what {columns[1]} said. Of several "
        "columns the one is drawn that they forecast most differently."
    )
    drawn = [
        Figure(
            found.pictures[one.place],
            alt=f"{one.name}: the values and both forecasts",
            caption=f"from {one.name}: {found.measure.name} "
            + ", ".join(f"{name} {value}" for name, value in zip(columns, one.answers, strict=False)),
        )
        for one in found.apart
        if one.place in found.pictures
    ]
    return [Text(said), Columns(drawn)]


def _method(found: Comparison) -> Section:
    if found.measure.name == "accuracy":
        test = (
            "McNemar’s exact test of the samples that one model answers rightly and the other wrongly, with the "
            "interval of Bonett and Price"
        )
    else:
        test = (
            f"a paired randomisation test ({DRAWS:,} swaps of the models’ results on {found.noun}, or on blocks of "
            f"neighbours that err alike) and a paired bootstrap ({RESAMPLES:,} resamples)"
        )
    words = (
        f"All figures are of the same {found.samples:,} {found.noun}. Differences are tested by {test}. "
        "A difference counts as shown where p, corrected for all tests of the table, is at most 0.05: where two models "
        "are equally good, that happens at most 1 time of 20. That no difference is shown does not mean that there is "
        "none: it may be too small for this test."
    )
    blocks: list[Block] = [Text(words)]
    if found.repeats is not None:
        blocks.append(Text(_OF_FOLDS if found.repeats.kind == "fold" else _OF_SEEDS))
    elif any(len(row.runs) > 1 for row in found.standings):
        blocks.append(Text(_OF_SEEDS))
    return Section("How this was decided", blocks)


_OF_SEEDS = (
    "What other seeds would do counts beside what other test samples would do: both variances are added, and p is that "
    "of Student’s t with their degrees of freedom; of very many samples it is that of Welch’s test over the seeds. "
    "Intervals of the figures hold both as well. The verdict is about training on these data: other training data may "
    "say otherwise, and folds tell."
)
_OF_FOLDS = (
    "Each model was trained on all folds but one, with another seed each time, and tested on that one; the test split "
    "was not used. Differences fold by fold are tested by the corrected resampled t test (Nadeau and Bengio 2003): "
    "trainings that share most of their data err alike, and a plain t test would call equal models different too "
    "often. p is never below that of the test above over all held-out samples. Intervals of the figures are widened "
    "alike."
)
