"""The answers of several models to the same samples: which of their tests' samples they have in common.

Shapes: U units of a record, M units in common.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from corecur.errors import ConfigError, DataError
from corecur.learners.answer_record import AnswerRecord

_CLOSE = 1e-4


def paired(records: Sequence[AnswerRecord], names: Sequence[str]) -> tuple[list[AnswerRecord], list[str]]:
    """The records cut to the samples that all have, in the same order, and what is odd about that.

    Samples are the same where their contents are, or, of pictures that the models bring to different sizes, their
    names. Raises ConfigError for records that cannot be compared, DataError where no sample is common to all.

    >>> record = AnswerRecord("image-classification", "classes", ("a", "b"), ("1", "2"), {"right": np.ones(2)})
    >>> [found.names for found in paired([record, taken(record, np.array([1]))], ["x", "y"])[0]]
    [('b',), ('b',)]
    """
    _check_same(records, names)
    records = in_one_unit(records)
    findings = [finding for record in records for finding in record.findings]
    by_name = len({record.form for record in records}) > 1
    if by_name:
        findings.append(
            "The models bring pictures to different sizes: samples are paired by their names, not by their contents."
        )
    keys = [_numbered(record.names if by_name else record.contents) for record in records]
    common = set(keys[0]).intersection(*keys[1:])
    places = [{key: place for place, key in enumerate(own)} for own in keys]
    order = [key for key in keys[0] if key in common]
    rows = [np.array([place[key] for key in order], dtype=np.int64) for place in places]
    found = [taken(record, index) for record, index in zip(records, rows, strict=True)]
    agreeing = _agreeing(found)
    if len(agreeing) < len(order):
        gone = len(order) - len(agreeing)
        findings.append(f"{gone:,} samples are labelled differently in the tests of the models and are left out.")
        found = [taken(record, agreeing) for record in found]
    _check_common(found[0], records, names)
    if len(found[0]) < max(map(len, records)):
        sizes = ", ".join(f"{name} {len(record):,}" for name, record in zip(names, records, strict=True))
        noun = records[0].noun
        findings.append(
            f"The models were not tested on the same {noun} ({sizes}): compared are the {len(found[0]):,} in common."
        )
    return found, list(dict.fromkeys(findings))


def taken(record: AnswerRecord, index: NDArray[np.int64]) -> AnswerRecord:
    """The units at ``index`` (M,), in that order.

    >>> record = AnswerRecord("image-classification", "classes", ("a", "b"), ("1", "2"), {"right": np.ones(2)})
    >>> taken(record, np.array([1])).names
    ('b',)
    """
    rows = index.tolist()

    def of(values: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(values[row] for row in rows) if values else ()

    show = record.show
    return dataclasses.replace(
        record,
        names=of(record.names),
        contents=of(record.contents),
        truth=of(record.truth),
        answers=of(record.answers),
        texts=of(record.texts),
        sizes=tuple(record.sizes[row] for row in rows) if record.sizes else (),
        counts={name: values[index] for name, values in record.counts.items()},
        parts={name: {key: values[index] for key, values in part.items()} for name, part in record.parts.items()},
        show=None if show is None else lambda place: show(rows[place]),
    )


def one_after_another(records: Sequence[AnswerRecord]) -> AnswerRecord:
    """The units of several tests of one way to train as one record; parts that not all have are left out.

    >>> record = AnswerRecord("image-classification", "classes", ("a",), ("1",), {"right": np.ones(1)})
    >>> one_after_another([record, record]).names
    ('a', 'a')
    """
    first = records[0]
    parts = [name for name in first.parts if all(name in record.parts for record in records)]

    def joined(values: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
        return tuple(value for each in values for value in each) if all(values) else ()

    return dataclasses.replace(
        first,
        names=joined([record.names for record in records]),
        contents=joined([record.contents for record in records]),
        truth=joined([record.truth for record in records]),
        answers=joined([record.answers for record in records]),
        texts=joined([record.texts for record in records]),
        sizes=tuple(size for record in records for size in record.sizes) if all(r.sizes for r in records) else (),
        counts={name: np.concatenate([record.counts[name] for record in records]) for name in first.counts},
        parts={
            name: {key: np.concatenate([record.parts[name][key] for record in records]) for key in first.parts[name]}
            for name in parts
        },
        block=max(record.block for record in records),
        findings=tuple(dict.fromkeys(finding for record in records for finding in record.findings)),
        show=None,
    )


def _numbered(contents: Sequence[Hashable]) -> list[tuple[Hashable, int]]:
    """Each content with how often it came before: copies of a sample are paired in their order."""
    seen: Counter[Hashable] = Counter()
    found = []
    for content in contents:
        found.append((content, seen[content]))
        seen[content] += 1
    return found


def _agreeing(records: Sequence[AnswerRecord]) -> NDArray[np.int64]:
    """The units whose truth is the same in all records."""
    truths = [record.truth for record in records if record.truth]
    if not truths:
        return np.arange(len(records[0]))
    return np.array([row for row, each in enumerate(zip(*truths, strict=True)) if len(set(each)) == 1], dtype=np.int64)


def _check_same(records: Sequence[AnswerRecord], names: Sequence[str]) -> None:
    first = records[0]
    for name, record in zip(names, records, strict=True):
        if record.kind != first.kind:
            raise ConfigError(
                "these models are measured in different ways and cannot be compared",
                got=f"{names[0]}: {first.kind}; {name}: {record.kind}",
                do="compare generators that read by character or by byte pairs, or two that read by word"
                if first.task == "text-generation"
                else "compare models that were trained on the same kind of labels",
            )
        if set(record.labels) != set(first.labels):
            apart = sorted(set(record.labels) ^ set(first.labels))
            raise ConfigError(
                "models with different labels cannot be compared",
                got=f"{names[0]}: {len(first.labels)} labels; {name}: {len(record.labels)}; "
                f"not in both: {', '.join(apart[:8])}{', …' * (len(apart) > 8)}",
                do="compare models that were trained on the same labels",
            )
        for what in sorted({*record.same, *first.same} - {"units"}):
            if record.same.get(what) != first.same.get(what):
                raise ConfigError(
                    f"models that differ in their {what} cannot be compared: the tasks are of different difficulty",
                    got=f"{names[0]}: {_brief(first.same.get(what))}; {name}: {_brief(record.same.get(what))}",
                    do=f"train both with the same {what}",
                )


def _brief(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 80 else text[:80] + "…"


def in_one_unit(records: Sequence[AnswerRecord]) -> list[AnswerRecord]:
    """Errors of forecasters in the standard deviations of the first one's training rows.

    >>> counts = {"square": np.ones(1), "absolute": np.ones(1)}
    >>> one, two = (
    ...     AnswerRecord("forecasting", "windows", ("a",), ("1",), counts, same={"units": [unit], "columns": ["x"]})
    ...     for unit in (1.0, 2.0)
    ... )
    >>> [float(found.counts["square"][0]) for found in in_one_unit([one, two])]
    [1.0, 4.0]
    """
    first = records[0].same.get("units")
    if first is None:
        return list(records)
    return [_rescaled(record, first) for record in records]


def _rescaled(record: AnswerRecord, wanted: Sequence[float]) -> AnswerRecord:
    own, target = (np.asarray(units, dtype=np.float64) for units in (record.same["units"], wanted))
    factors = own / target  # (C,)
    if np.abs(factors - 1).max() < _CLOSE:
        return record
    columns = record.same["columns"]
    if len(columns) == 1:
        parts = {name: _times(part, factors[0]) for name, part in record.parts.items()}
        return dataclasses.replace(record, counts=_times(record.counts, factors[0]), parts=parts)
    names = [f"column {column}" for column in columns]
    if any(name not in record.parts for name in names):
        raise ConfigError(
            "these forecasters measure their errors in different units, and have too many columns to convert them",
            do="train them on the same rows",
        )
    # Errors by step mix the columns and cannot be converted: they are left away.
    parts = {name: _times(record.parts[name], factor) for name, factor in zip(names, factors.tolist(), strict=True)}
    counts = {key: np.mean([part[key] for part in parts.values()], axis=0) for key in ("square", "absolute")}
    return dataclasses.replace(record, counts=counts, parts=parts)


def _times(counts: object, factor: float) -> dict[str, NDArray[np.float64]]:
    found: dict[str, NDArray[np.float64]] = dict(counts)  # type: ignore[call-overload]
    return {"square": found["square"] * factor**2, "absolute": found["absolute"] * factor}


def _check_common(common: AnswerRecord, records: Sequence[AnswerRecord], names: Sequence[str]) -> None:
    if len(common):
        return
    raise DataError(
        "the models have no test sample in common",
        got="; ".join(f"{name}: {len(record):,} {record.noun}" for name, record in zip(names, records, strict=True)),
        expected="tests on the same samples, at least in part",
        do="name the data to compare on: --on SOURCE",
    )
