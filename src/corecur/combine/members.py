"""The members of a combination: opened, and checked to answer the same question about the same inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corecur.architecture import describe
from corecur.data.normalise import Normalisation
from corecur.errors import ConfigError, RunError
from corecur.layers.dense import Dense
from corecur.layers.rescaling import Rescaling
from corecur.learners.image_classifier import ImageClassifier
from corecur.learners.learner import Learner, name_of
from corecur.learners.run_request import RunRequest
from corecur.learners.sequence_tagger import SequenceTagger
from corecur.learners.tasks import load_learner
from corecur.learners.text_generator import TextGenerator
from corecur.run_folder import find_bundle, read_config

# What is fitted after the training, and what a combination fits again.
_FITTED = {"temperature", "widening", "seen_until", "naive_errors", "shortest", "longest", "reading"}


@dataclass(frozen=True)
class Member:
    """One model: what it is called here, its learner, and what its run was asked for, where it is in a run folder."""

    name: str
    path: Path
    learner: Learner[Any, Any, Any]
    request: RunRequest | None


def open_members(paths: Sequence[str | Path], *, device: str = "auto") -> tuple[Member, ...]:
    """The models at these paths; ConfigError where they cannot be combined."""
    places = [Path(path) for path in paths]
    if len(places) < 2:
        raise ConfigError(
            "a combination has two members or more", got=f"{len(places)}", do="give several runs or bundles"
        )
    bundles = [find_bundle(place).resolve() for place in places]
    if len(set(bundles)) < len(bundles):
        twice = next(place for number, place in enumerate(places) if bundles[number] in bundles[:number])
        raise ConfigError("a model is given twice", where=twice, do="give each member once")
    names = _names(places)
    members = tuple(
        Member(name, place, load_learner(place, device=device), _request(place))
        for name, place in zip(names, places, strict=True)
    )
    _check_alike(members)
    return members


def _names(places: Sequence[Path]) -> list[str]:
    """What members are called: the last part of the path that tells, numbered where two share it."""
    short = [name_of(str(place.resolve().parent if place.resolve().name == "bundle" else place)) for place in places]
    return [name if short.count(name) == 1 else f"{name} ({number + 1})" for number, name in enumerate(short)]


def _request(place: Path) -> RunRequest | None:
    """What a run was asked for; None for a bundle that lies in no run folder."""
    bundle = find_bundle(place)
    folder = bundle.parent if bundle.name == "bundle" else place
    if not (folder / "config.json").is_file():
        return None
    try:
        return RunRequest.in_config(read_config(folder), where=folder)
    except RunError:
        return None


def _check_alike(members: Sequence[Member]) -> None:
    first = members[0]
    for member in members[1:]:
        if member.learner.task != first.learner.task:
            raise ConfigError(
                "models of different tasks cannot be combined",
                where=member.path,
                got=member.learner.task,
                expected=f"{first.learner.task}, as {first.name}",
            )
        if set(member.learner.classes) != set(first.learner.classes):
            noun = "tags" if isinstance(first.learner, SequenceTagger) else "labels"
            only = sorted(set(member.learner.classes) ^ set(first.learner.classes))
            raise ConfigError(
                f"these models have different {noun}",
                where=member.path,
                got=", ".join(member.learner.classes[:8]),
                expected=", ".join(first.learner.classes[:8]),
                do=f"train them on the same {noun} (not in both: {', '.join(only[:5])})",
            )
        different = _differences(first.learner, member.learner)
        if different:
            raise ConfigError(
                "these models prepare their inputs differently, and one network cannot take both",
                where=member.path,
                got=f"another {', '.join(different)} than {first.name}",
                do="train them on the same text, with the same --level, --validation and --test"
                if isinstance(first.learner, TextGenerator)
                else "train them on the same training split, with the same --split-seed and way of reading",
            )


def _differences(one: Learner[Any, Any, Any], other: Learner[Any, Any, Any]) -> list[str]:
    """The parts of two preprocessings that differ and that no layer can make up for."""
    left_out = _FITTED | ({"normalisation"} if isinstance(one, ImageClassifier) else set())
    a, b = (learner.preprocess.model_dump(mode="json") for learner in (one, other))
    return [name for name in a if name not in left_out and a[name] != b.get(name)]


def entrance(first: Normalisation, own: Normalisation) -> Rescaling | None:
    """What turns pictures normalised for one model into those of another; None where they are the same.

    >>> layer = entrance(Normalisation((0.5,), (0.5,)), Normalisation((0.0,), (1.0,)))
    >>> layer.scale, layer.offset
    ((0.5,), (0.5,))
    """
    if first == own:
        return None
    pairs = list(zip(first.mean, first.std, own.mean, own.std, strict=True))
    scale = tuple(std0 / std1 for _, std0, _, std1 in pairs)
    return Rescaling(scale, tuple((mean0 - mean1) / std1 for mean0, _, mean1, std1 in pairs))


def exit_for(order: Sequence[str], own: Sequence[str]) -> Dense | None:
    """What puts a model's answers (B, K) into another order of the labels; None where it is the same.

    >>> import torch
    >>> exit_for(["a", "b"], ["b", "a"])(torch.tensor([[0.25, 0.75]])).tolist()
    [[0.75, 0.25]]
    """
    import torch

    if tuple(order) == tuple(own):
        return None
    layer = Dense(len(order), use_bias=False, dtype="float32", trainable=False)
    layer(torch.zeros(1, len(own)))
    places = [list(own).index(name) for name in order]
    with torch.no_grad():
        layer.weight.copy_(torch.eye(len(own))[places])
    return layer


def same_architecture(members: Sequence[Member]) -> bool:
    """Whether all networks are made of the same layers, whatever these are called."""
    first, *others = (_without_names(describe(member.learner.network)) for member in members)
    return all(other == first for other in others)


def _without_names(value: Any) -> Any:
    """A description whose layers are numbered by where they first stand."""
    names: dict[str, str] = {}

    def called(name: Any) -> Any:
        return names.setdefault(str(name), f"#{len(names)}") if name is None or isinstance(name, str) else walk(name)

    def walk(part: Any) -> Any:
        if isinstance(part, list):
            return [walk(item) for item in part]
        if isinstance(part, dict):
            return {key: called(item) if key in ("name", "layer") else walk(item) for key, item in part.items()}
        return part

    return walk(value)
