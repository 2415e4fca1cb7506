"""Memory that is kept from call to call never shows: not in what was given before, nor in what comes after."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import Tensor

from corecur.kernels import room
from corecur.kernels.native import KINDS
from corecur.kernels.room import release_room, room_of
from corecur.kernels.stretch import learn, run_stretch, run_to_softmax
from corecur.kernels.stretch_parts import DensePart, Part, RecurrentPart, TurnPart
from tests.kernels.needs_kernels import needs_kernels

KIND = {name: KINDS[name, "tanh"] for name in ("simple_rnn", "lstm", "gru")}
GATES = {"simple_rnn": 1, "lstm": 4, "gru": 3}


def network(kind: str) -> tuple[tuple[Part, ...], list[Tensor | None]]:
    """Two recurrences and a dense layer over 8 features, and their weights."""
    parts = (
        TurnPart(), RecurrentPart(KIND[kind], 32, True), RecurrentPart(KIND[kind], 32, True), DensePart(5, "linear")
    )  # fmt: skip
    weights: list[Tensor | None] = []
    for features in (8, 32):
        rows = GATES[kind] * 32
        weights += [torch.randn(rows, size) / 6 for size in (features, 32)] + [torch.randn(rows) for _ in range(2)]
    return parts, [*weights, torch.randn(5, 32) / 6, torch.randn(5)]


def filled_with_nan() -> None:
    """Whatever is kept holds no number."""
    room_of(2**20).fill_(float("nan"))


def test_longer_rooms_take_the_place_of_shorter_ones() -> None:
    release_room()
    short = room_of(100)
    assert room_of(50).data_ptr() == short.data_ptr()
    assert room_of(1000).numel() >= 1000
    assert room_of(100).numel() >= 1000


def test_very_long_rooms_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_KEPT", 1000)
    release_room()
    room_of(2000)
    assert room_of(10).numel() == 10


def test_each_thread_has_its_own() -> None:
    found: list[int] = []
    other = threading.Thread(target=lambda: found.append(room_of(100).data_ptr()))
    mine = room_of(100)
    other.start()
    other.join()
    assert found != [mine.data_ptr()]


@needs_kernels
@pytest.mark.parametrize("kind", list(KIND))
def test_answers_stay_when_others_follow(kind: str) -> None:
    parts, weights = network(kind)
    x, other = torch.randn(2, 48, 7, 8)
    alone = [run_stretch(parts, x, weights, turned=True).clone(), *map(Tensor.clone, run_to_softmax(parts, x, weights))]
    first = [run_stretch(parts, x, weights, turned=True), *run_to_softmax(parts, x, weights)]
    for size in (48, 20, 40):
        run_stretch(parts, other[:size], weights, turned=True)
        run_to_softmax(parts, other[:size], weights)
    assert all(map(torch.equal, first, alone))


@needs_kernels
@pytest.mark.parametrize("kind", list(KIND))
def test_what_was_there_before_does_not_matter(kind: str) -> None:
    parts, weights = network(kind)
    x, labels = torch.randn(48, 7, 8), torch.randint(5, (48, 7))

    def steps() -> list[Tensor]:
        trained = [None if w is None else w.clone().requires_grad_() for w in weights]
        learned = learn(parts, x, trained, labels, turned=True)
        answer = run_stretch(parts, x, weights, turned=True)
        return [learned.loss, learned.scores, *(g for g in learned.gradients if g is not None), answer]

    release_room()
    expected = steps()
    filled_with_nan()
    found = steps()
    assert len(found) == len(weights) + 3
    assert all(map(torch.equal, found, expected))


@needs_kernels
def test_a_step_leaves_its_scores_and_gradients_to_the_caller() -> None:
    parts, weights = network("gru")
    trained = [None if w is None else w.requires_grad_() for w in weights]
    x, labels = torch.randn(48, 7, 8), torch.randint(5, (48, 7))
    learned = learn(parts, x, trained, labels, turned=True)
    found = [learned.loss, learned.scores, *(g for g in learned.gradients if g is not None)]
    kept = [tensor.clone() for tensor in found]
    filled_with_nan()
    learn(parts, x + 1, trained, labels, turned=True)
    assert all(map(torch.equal, found, kept))
