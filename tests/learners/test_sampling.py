from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from corecur.errors import ConfigError
from corecur.learners.sampling import Sampling, checked_sampling, draw, next_probabilities

LOGITS = st.lists(st.floats(-20, 20), min_size=1, max_size=30)


def by_hand(logits: list[float], sampling: Sampling) -> np.ndarray:
    """The same in plain Python, token by token."""
    scaled = np.array(logits) / sampling.temperature
    shares = np.exp(scaled - scaled.max())
    shares /= shares.sum()
    order = sorted(range(len(logits)), key=lambda place: (-shares[place], place))
    order = order[: sampling.top_k] if sampling.top_k else order
    left = sum(shares[place] for place in order)
    kept, total = [], 0.0
    for place in order:
        if total >= sampling.top_p * left:
            break
        kept.append(place)
        total += shares[place]
    found = np.zeros(len(logits))
    found[kept] = shares[kept] / shares[kept].sum()
    return found


@given(
    LOGITS.map(lambda values: [round(value, 1) for value in values]),
    st.floats(0.2, 3),
    st.integers(0, 40),
    st.sampled_from([0.05, 0.33, 0.7, 0.91, 1.0]),
)
def test_cuts_are_those_made_by_hand(logits: list[float], temperature: float, top_k: int, top_p: float) -> None:
    sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p)
    found = next_probabilities(torch.tensor(logits, dtype=torch.float64), sampling).numpy()
    expected = by_hand(logits, sampling)
    if top_p == 1.0 or (np.abs(np.cumsum(np.sort(expected)) - top_p) > 1e-9).all():
        np.testing.assert_allclose(found, expected, atol=1e-9)


@given(LOGITS)
def test_temperature_zero_and_one_token_are_the_likeliest(logits: list[float]) -> None:
    values = torch.tensor(logits)
    for sampling in (Sampling(temperature=0), Sampling(top_k=1), Sampling(top_p=1e-9)):
        found = next_probabilities(values, sampling)
        assert found.sum() == 1 and values[found.argmax()] >= values.max() - 1e-12  # nearer ones are equally likely


def test_a_token_that_is_shut_out_never_comes() -> None:
    logits = torch.tensor([-math.inf, 0.0, 1.0, -math.inf])
    for sampling in (Sampling(temperature=5.0), Sampling(temperature=0), Sampling(top_k=4, top_p=0.999)):
        found = next_probabilities(logits, sampling)
        assert found[0] == found[3] == 0
        generator = torch.Generator().manual_seed(0)
        assert {draw(found, generator) for _ in range(200)} <= {1, 2}
    for bad in (torch.full((3,), -math.inf), torch.tensor([0.0, math.nan])):
        with pytest.raises(ConfigError, match="no token can come next"):
            next_probabilities(bad, Sampling())


def test_draws_follow_the_probabilities_and_the_seed() -> None:
    shares = torch.tensor([0.5, 0.0, 0.3, 0.2], dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    drawn = np.bincount([draw(shares, generator) for _ in range(20_000)], minlength=4) / 20_000
    np.testing.assert_allclose(drawn, shares, atol=0.015)  # four standard errors
    again = torch.Generator().manual_seed(1)
    other = torch.Generator().manual_seed(1)
    assert [draw(shares, again) for _ in range(50)] == [draw(shares, other) for _ in range(50)]


@pytest.mark.parametrize(
    "wrong",
    [{"temperature": -0.1}, {"temperature": math.nan}, {"temperature": math.inf}, {"top_k": -1}, {"top_p": 0.0},
     {"top_p": 1.5}],
)  # fmt: skip
def test_settings_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"the setting '{next(iter(wrong))}' is wrong"):
        checked_sampling(**{"temperature": 1.0, "top_k": None, "top_p": None} | wrong)  # type: ignore[arg-type]
