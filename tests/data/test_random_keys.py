from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from corecur.data.random_keys import integers, key, permutation, uniform

MASK = 2**64 - 1


def splitmix64(state: int, count: int) -> list[int]:
    """The published generator in Python integers: add the golden gamma, then finalise."""
    out = []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = state
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
        out.append(z ^ (z >> 31))
    return out


def test_reference_is_splitmix64() -> None:
    assert splitmix64(1234567, 2) == [6457827717110365317, 3203168211198807973]  # published test vector


def test_each_sample_has_a_splitmix64_sequence_of_its_own() -> None:
    seed, epoch, stream = 5, 2, "crop"
    index = torch.tensor([0, 1, 17, 2**40])
    got = uniform(seed, epoch, index, 4, stream=stream)
    for row, i in enumerate(index.tolist()):
        # The sample's start is one step of the generator from key + (index - 1) gammas.
        begin = splitmix64((key(seed, epoch, stream=stream) + (i - 1) * 0x9E3779B97F4A7C15) & MASK, 1)[0]
        expected = [(z >> 40) / 2**24 for z in splitmix64(begin, 4)]
        assert got[row].tolist() == expected


@given(
    seed=st.integers(-(2**63), 2**64),
    epoch=st.integers(0, 2**31),
    places=st.lists(st.integers(0, 2**62), min_size=1, max_size=40),
    n=st.integers(1, 5),
)
def test_a_samples_numbers_do_not_depend_on_its_batch(seed: int, epoch: int, places: list[int], n: int) -> None:
    index = torch.tensor(places)
    whole = uniform(seed, epoch, index, n + 2)
    assert torch.equal(uniform(seed, epoch, index.flip(0), n).flip(0), whole[:, :n])
    assert torch.equal(torch.cat([uniform(seed, epoch, one, n) for one in index.split(1)]), whole[:, :n])
    wholes = integers(seed, epoch, index, n, high=7)
    assert torch.equal(torch.cat([integers(seed, epoch, one, n, high=7) for one in index.split(3)]), wholes)
    assert whole.dtype == torch.float32 and whole.min() >= 0 and whole.max() < 1


@pytest.mark.parametrize("seed", [0, 1, -3])
def test_uniform_is_uniform(seed: int) -> None:
    numbers = uniform(seed, 3, torch.arange(50_000), 2).double().numpy()
    for column in numbers.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-4
    counts = np.histogram2d(numbers[:, 0], numbers[:, 1], bins=16)[0]
    assert stats.chisquare(counts.ravel()).pvalue > 1e-4  # uniform over the square: the columns are independent


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ({"seed": 0, "epoch": 0}, {"seed": 1, "epoch": 0}),
        ({"seed": 0, "epoch": 0}, {"seed": 0, "epoch": 1}),
        ({"seed": 0, "epoch": 1}, {"seed": 1, "epoch": 0}),
        ({"seed": 0, "epoch": 0, "stream": "a"}, {"seed": 0, "epoch": 0, "stream": "b"}),
        ({"seed": 0, "epoch": 0, "stream": 1}, {"seed": 0, "epoch": 0, "stream": 2}),
    ],
)
def test_keys_are_independent(left: dict[str, int], right: dict[str, int]) -> None:
    index = torch.arange(20_000)
    a, b = (uniform(**which, index=index).flatten().double().numpy() for which in (left, right))
    assert abs(np.corrcoef(a, b)[0, 1]) < 5 / np.sqrt(len(a))
    assert stats.chisquare(np.histogram2d(a, b, bins=8)[0].ravel()).pvalue > 1e-4


def test_neighbouring_samples_are_independent() -> None:
    numbers = uniform(0, 0, torch.arange(50_001)).flatten().double().numpy()
    for lag in (1, 2, 32):
        assert abs(np.corrcoef(numbers[:-lag], numbers[lag:])[0, 1]) < 5 / np.sqrt(len(numbers))


def test_every_bit_of_the_index_changes_half_of_the_numbers_bits() -> None:
    index = torch.arange(2000)
    base = (uniform(0, 0, index) * 2**24).long()
    for bit in (0, 1, 20, 40, 62):
        changed = (uniform(0, 0, index ^ (1 << bit)) * 2**24).long() ^ base
        share = sum(((changed >> b) & 1).double().mean() for b in range(24)) / 24
        assert abs(share - 0.5) < 0.02


@pytest.mark.parametrize("high", [1, 2, 3, 10, 60_000, 2**31])
def test_integers_are_even_over_their_range(high: int) -> None:
    numbers = integers(0, 1, torch.arange(30_000), 1, high=high).flatten().numpy()
    assert numbers.min() >= 0 and numbers.max() < high
    bins = min(high, 10)
    if bins > 1:
        assert stats.chisquare(np.bincount(numbers * bins // high, minlength=bins)).pvalue > 1e-4


def test_permutation_is_keyed_and_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    order = permutation(1000, 4, 2)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert torch.equal(permutation(1000, 4, 2), order)
    assert torch.equal(order.sort().values, torch.arange(1000))
    others = [permutation(1000, 5, 2), permutation(1000, 4, 3), permutation(1000, 4, 2, stream="x")]
    assert not any(torch.equal(order, other) for other in others)
