"""The generators' states: taken, put back, and refused where a generator cannot be in them (Q01)."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from corecur.engine.packing import frozen, pack, unpack
from corecur.engine.random_states import random_states, set_random_states
from corecur.errors import BundleError


def draws(own: torch.Generator) -> list[float]:
    return [
        random.random(), random.gauss(0, 1), float(np.random.rand()), float(np.random.standard_normal()),
        float(torch.rand(())), float(torch.randn(())), float(torch.rand((), generator=own)),
    ]  # fmt: skip


@pytest.mark.parametrize("odd", [False, True], ids=["fresh", "a number waits"])
def test_what_was_drawn_is_drawn_again(odd: bool) -> None:
    own = torch.Generator().manual_seed(7)
    if odd:  # both Mersenne Twisters make normal numbers in pairs
        random.gauss(0, 1)
        np.random.standard_normal()
    states = unpack(*pack(frozen(random_states([own]))))
    first = draws(own)
    for _ in range(700):  # past the end of the words
        random.random()
        np.random.rand()
    set_random_states(states, [own])
    assert draws(own) == first


def broken(name: str, key: str | None, change: Callable[[Any], Any]) -> dict[str, Any]:
    states: dict[str, Any] = frozen(random_states())
    if key is None:
        states[name] = change(states[name])
    else:
        states[name][key] = change(states[name][key])
    return states


def with_place(place: int) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda words: torch.cat([words[:-1], torch.tensor([place])])


def with_word(word: int) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda words: torch.cat([torch.tensor([word]), words[1:]])


HOSTILE = [
    (name, "words", change)
    for name in ("python", "numpy")
    for change in (
        with_place(2**31), with_place(-1), with_place(625), with_word(-1), with_word(2**32), lambda w: w[:-1],
        lambda w: w.float(), lambda w: w.to(torch.int32), lambda w: w[None], lambda w: w.tolist(), lambda w: None,
    )
] + [
    ("python", "gauss", lambda g: "0.5"), ("numpy", "gauss", lambda g: 1), ("python", None, lambda s: []),
    ("numpy", None, lambda s: None), ("cpu", None, lambda s: s[:-1]), ("cpu", None, lambda s: s.float()),
    ("cpu", None, lambda s: torch.full_like(s, 255)), ("cpu", None, lambda s: None), ("own", None, lambda s: None),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_a_state_that_is_none_touches_no_generator(number: int) -> None:
    states = broken(*HOSTILE[number])
    before = pack(random_states())
    random.random(), np.random.rand(), torch.rand(3)
    moved = pack(frozen(random_states()))
    assert not torch.equal(before[1]["cpu"], moved[1]["cpu"])
    with pytest.raises(BundleError) as refused:
        set_random_states(states)
    after = pack(random_states())
    assert refused.value.code == "bad-state"
    assert after[0] == moved[0] and all(torch.equal(after[1][name], moved[1][name]) for name in moved[1])


def test_generators_of_ones_own_need_their_states() -> None:
    with pytest.raises(BundleError):
        set_random_states(random_states(), [torch.Generator()])
