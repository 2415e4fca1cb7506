"""The splits that a combination is fitted and tested on: such that no member learned from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch

from corecur.combine.members import Member
from corecur.data.text.tagged_sets import TaggedSet
from corecur.errors import ConfigError, DataError
from corecur.finding import Finding
from corecur.learners.fill_splits import share_in
from corecur.learners.forecast_preprocess import seen_until
from corecur.learners.forecaster import Forecaster
from corecur.learners.image_classifier import ImageClassifier
from corecur.learners.learner import Learner, name_of
from corecur.learners.run_request import RunRequest
from corecur.learners.settings import divided
from corecur.learners.text_generator import TextGenerator

HELD = ("validation", "test")


def read_splits(
    members: Sequence[Member], source: Any, *, validation: Any = None, test: Any = None, split_seed: int | None = None
) -> tuple[Any, tuple[Finding, ...]]:
    """The source with its splits, as the members' runs had them, and what is odd.

    ConfigError where a member learned from what another was validated or tested with; DataError where the source does
    not suit the members.
    """
    known = [member for member in members if member.request is not None]
    requests = [member.request for member in known if member.request is not None]
    given = {"validation": validation, "test": test}
    for name in HELD:
        if given[name] is None and requests:
            given[name] = getattr(requests[0], name)
    seed = split_seed if split_seed is not None else _seed(requests[0]) if requests else 0
    reader = _reader(members[0].learner, seed, requests)
    if isinstance(members[0].learner, Forecaster):
        data = reader.read(source, **given)
        _check_rows(members, data)
        return data, tuple(data.findings)
    shares = {name: share_in(given[name]) for name in HELD}
    sources: dict[str, Any] = {
        name: given[name] if given[name] is not None and shares[name] is None else 0.0 for name in HELD
    }
    own = reader.read(source, **sources)
    by_seed = not isinstance(members[0].learner, TextGenerator)  # whose splits are the ends of a text
    data = reader.complete(own, **shares) if by_seed else reader.read(source, **given)
    drawn = [name for name in HELD if getattr(own, name) is None and getattr(data, name) is not None]
    if by_seed:
        _check_fits(members[0].learner, data, source)
        data = in_order(data, members[0].learner.classes)
    if not drawn:
        return data, tuple(data.findings)
    for member, request in zip(known, requests, strict=True):
        others = [name for name in drawn if share_in(getattr(request, name)) != shares[name]]
        if others and not by_seed:
            raise ConfigError(
                f"{member.name} may have learned from this {' and '.join(others)} text",
                where=member.path,
                got=", ".join(f"--{name} {_said(getattr(request, name))}" for name in others),
                expected=", ".join(f"--{name} {_said(given[name])}" for name in others),
                do="train the members with the same --validation and --test, or give texts of their own",
            )
        if by_seed and (_seed(request) != seed or others):
            raise ConfigError(
                f"{member.name} has learned from samples of this {' and '.join(drawn)} split",
                where=member.path,
                got=f"splits drawn with seed {_seed(request)}" + (f", another share for {others[0]}" if others else ""),
                expected=f"seed {seed}, as {known[0].name}",
                do="train the members with one --split-seed, or give --validation and --test sources of their own",
            )
    return data, (*data.findings, *_doubts(members, source, drawn))


def _said(share: Any) -> str:
    return "not given" if share is None else str(share)


def _seed(request: RunRequest) -> int:
    return request.seed if request.split_seed is None else request.split_seed


def _reader(first: Learner[Any, Any, Any], seed: int, requests: Sequence[RunRequest]) -> Learner[Any, Any, Any]:
    """A learner that reads a source as the members' training did."""
    reading: dict[str, Any] = {}
    if requests:
        reading, _ = divided(requests[0].settings, first.reading_model, first.recipe_model)
    if isinstance(first, ImageClassifier):
        prepared = first.preprocess.preparation
        reading["size"] = (prepared.height, prepared.width)
    if isinstance(first, Forecaster):
        kept = first.preprocess
        reading = {
            **kept.reading.model_dump(),
            "target": kept.columns,
            "horizon": kept.horizon,
            "lookback": kept.lookback,
        }
    return type(first)(seed=0, split_seed=seed, device=first.device, **reading)


def _check_fits(first: Learner[Any, Any, Any], data: Any, source: Any) -> None:
    """DataError where the source has other classes, or its samples become other inputs than the members'."""
    if set(data.classes) != set(first.classes):
        raise DataError(
            "the source has other classes than the models",
            where=str(source),
            got=", ".join(data.classes[:8]),
            expected=", ".join(first.classes[:8]),
        )
    kept, found = getattr(first.preprocess, "preparation", None), getattr(data, "preparation", None)
    if found is not None and kept is not None and type(found) is type(kept) and found != kept:
        raise DataError(
            "the samples of this source are prepared otherwise than those that the models learned from",
            where=str(source),
            got=str(found),
            expected=str(kept),
            do="give the source of the training, or one of the same form",
        )


def _check_rows(members: Sequence[Member], data: Any) -> None:
    """ConfigError where a forecaster saw rows that are to test it."""
    last = seen_until(data)
    for member in members:
        seen = member.learner.preprocess.seen_until
        if last is not None and seen is not None and seen > last:
            raise ConfigError(
                f"{member.name} has learned from rows of the test part",
                where=member.path,
                got=f"rows up to {seen}",
                expected=f"{last} at most",
                do="train the members with the same --validation and --test",
            )


def _doubts(members: Sequence[Member], source: Any, drawn: Sequence[str]) -> tuple[Finding, ...]:
    """What cannot be known of drawn splits: what bundles alone, and models of other sources, learned from."""
    bare = [member.name for member in members if member.request is None]
    others = [
        member.name
        for member in members
        if member.request is not None
        and member.request.source is not None
        and name_of(member.request.source) != name_of(str(source))
    ]
    found = []
    for names, why in ((bare, "their files do not say how the splits were drawn"), (others, "they had another source")):
        if names:
            found.append(
                Finding(
                    "unknown-splits",
                    f"Some members may have learned from samples of the {' and '.join(drawn)} split: {why}.",
                    tuple(names),
                    "give the run folders, or --validation and --test sources of their own",
                )
            )
    return tuple(found)


def in_order(data: Any, classes: tuple[str, ...]) -> Any:
    """The same samples with the numbers that a model with another order of the labels gives them.

    >>> from corecur.data.open_images import load_images
    >>> digits = load_images("digits")
    >>> turned = in_order(digits, digits.classes[::-1])
    >>> int(digits.train.labels[0]), int(turned.train.labels[0])
    (0, 9)
    """
    if tuple(data.classes) == tuple(classes):
        return data
    numbers = torch.tensor([classes.index(name) for name in data.classes])
    parts = {name: getattr(data, name) for name in ("train", "validation", "test")}
    if isinstance(parts["train"], TaggedSet):  # whose tags are words
        return dataclasses.replace(data, classes=classes)
    renamed = {
        name: part if part is None else dataclasses.replace(part, labels=numbers[part.labels])
        for name, part in parts.items()
    }
    return dataclasses.replace(data, classes=classes, **renamed)
