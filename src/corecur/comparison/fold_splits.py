"""The folds of a source, whatever the task: what each training learns from, and the part that it is tested on.

Folds are of all that a training may learn from or choose by, its validation data included; the test split is in none
of them. Samples are dealt out class by class; a text is cut into pieces; of a table each fold comes after what is
learned from.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from corecur.data.splits import split_in_folds
from corecur.data.text.corpus import BETWEEN, CorpusSet, CorpusSource
from corecur.errors import DataError
from corecur.learners.fill_splits import share_in
from corecur.learners.forecast_data import VALIDATION, ForecastData, Stretch, part_in
from corecur.learners.learner import Learner
from corecur.learners.run_request import RunRequest

# What a text generator validates with by default.
_SHARE = 0.1
# Documents a fold from which on whole ones are dealt out.
_DOCUMENTS = 4


@dataclass(frozen=True)
class FoldSplit:
    """One fold: the data with the fold as their test split, and how many are tested on for each that is learned from.

    >>> FoldSplit(None, 0.25).ratio
    0.25
    """

    data: Any
    ratio: float


def pool_of(learner: Learner[Any, Any, Any], request: RunRequest, **options: Any) -> Any:
    """The source of a run, with all that it may learn from as its training split, and the test split as it was.

    >>> from corecur.learners.image_classifier import ImageClassifier
    >>> pool = pool_of(ImageClassifier(), RunRequest.of("digits", test=0.2))
    >>> len(pool.train), pool.validation, len(pool.test)
    (1438, None, 359)
    """
    validation = request.validation if _is_source(learner, request.validation) else 0
    return learner.read(
        request.source, validation=validation, test=request.test, skip_bad=request.skip_bad, **options
    )  # fmt: skip


def folds_of(
    learner: Learner[Any, Any, Any], pool: Any, count: int, *, request: RunRequest, horizon: int
) -> Iterator[FoldSplit]:
    """The folds of a pool, one after the other; DataError where there are too few data for so many."""
    if isinstance(pool, ForecastData):
        yield from _later_folds(pool, count, validation=request.validation, horizon=horizon)
    elif isinstance(pool, CorpusSource):
        yield from _text_folds(learner, pool, count, validation=request.validation)
    else:
        yield from _sample_folds(learner, pool, count, validation=request.validation)


def _is_source(learner: Learner[Any, Any, Any], validation: Any) -> bool:
    if validation is None:
        return False
    return (part_in if learner.task == "forecasting" else share_in)(validation) is None


def _named(data: Any, number: int, count: int, **parts: Any) -> Any:
    """The data of a fold; a run on them cannot be gone on with from its folder alone, for no source holds them."""
    origin = f"{data.origin} (fold {number} of {count})"
    return dataclasses.replace(data, origin=origin, kind="arrays", **parts)


def _sample_folds(learner: Learner[Any, Any, Any], pool: Any, count: int, *, validation: Any) -> Iterator[FoldSplit]:
    whole = pool.train
    labels = getattr(whole, "labels", None)
    if labels is None:
        labels = torch.zeros(len(whole), dtype=torch.int64)
    parts = split_in_folds(labels, count, seed=learner.split_seed)
    for number, held in enumerate(parts, 1):
        rest = torch.cat([part for part in parts if part is not held]).sort().values
        fold = _named(pool, number, count, train=whole.take(rest), test=whole.take(held))
        if fold.validation is None:
            fold = learner.complete(fold, validation=validation)
        yield FoldSplit(fold, len(held) / len(fold.train))


def _text_folds(
    learner: Learner[Any, Any, Any], pool: CorpusSource, count: int, *, validation: Any
) -> Iterator[FoldSplit]:
    documents, names, text = pool.train.documents, pool.train.names, pool.train.text
    whole = len(documents) >= _DOCUMENTS * count
    sizes = [len(document) for document in documents] if whole else []
    total = sum(sizes) if whole else len(text)
    for number in range(1, count + 1):
        first, last = (total * place // count for place in (number - 1, number))
        if whole:
            ends = torch.tensor(sizes).cumsum(0)
            inside = ((ends > first) & (ends <= last)).tolist()
            held, rest = (
                CorpusSet(*(tuple(v for v, is_in in zip(values, inside, strict=True) if is_in is wanted)
                            for values in (documents, names)))
                for wanted in (True, False)
            )  # fmt: skip
        else:
            held = CorpusSet((text[first:last],), (f"{names[0]}, from character {first:,}",))
            pieces = [
                (piece, name) for piece, name in ((text[:first], names[0]), (text[last:], f"{names[0]} …")) if piece
            ]
            rest = CorpusSet(*map(tuple, zip(*pieces, strict=True)))
        if not held.text.strip() or not rest.text.strip():
            raise DataError("there is too little text for so many folds", where=pool.origin, got=f"{count} folds")
        fold = _named(pool, number, count, train=rest, test=held)
        if fold.validation is None:
            fold = learner.complete(fold, validation=_SHARE if validation is None else validation)
        yield FoldSplit(fold, len(held.text) / max(1, len(fold.train.text) - len(BETWEEN)))


def _later_folds(pool: ForecastData, count: int, *, validation: Any, horizon: int) -> Iterator[FoldSplit]:
    """The later half of the rows cut into folds; a training has all rows before its fold, the last for validation."""
    asked = None if validation is None else part_in(validation)
    for number in range(1, count + 1):
        train, held, tested = [], [], []
        for table, rows in pool.train:
            half = rows.start + (len(rows) + 1) // 2
            start, stop = (half + (rows.stop - half) * place // count for place in (number - 1, number))
            share = asked if isinstance(asked, (int, float)) else VALIDATION
            size = round(share * (start - rows.start)) if share < 1 else int(share)
            cut = start - (0 if pool.validation or not share else max(horizon, size))
            if stop - start < horizon or cut - rows.start < horizon:
                continue
            train.append(Stretch(table, range(rows.start, cut)))
            tested.append(Stretch(table, range(start, stop)))
            if cut < start:
                held.append(Stretch(table, range(cut, start)))
        if not train:
            rows_ = max(len(stretch.rows) for stretch in pool.train)
            raise DataError(
                "the table is too short for so many folds", where=pool.origin,
                got=f"{rows_:,} rows to learn from, {count} folds",
                expected=f"folds of {horizon:,} rows, the horizon, or more", do="ask for fewer folds",
            )  # fmt: skip
        fold = _named(
            pool, number, count, train=tuple(train), validation=tuple(held) or pool.validation, test=tuple(tested)
        )
        learned = sum(len(stretch.rows) for stretch in train)
        yield FoldSplit(fold, sum(len(stretch.rows) for stretch in tested) / learned)
