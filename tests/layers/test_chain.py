from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from corecur.layers.chain import Scores, best_path, log_partition, path_score, real_first

from .reference import Array


def every_path(emissions: Array, scores: Scores) -> tuple[list[tuple[int, ...]], Array]:
    """All paths of one chain (T, K) and their scores, one by one."""
    a, start, end = (x.numpy() for x in scores)
    paths = list(itertools.product(range(emissions.shape[1]), repeat=len(emissions)))
    found = [
        start[p[0]]
        + sum(emissions[t, k] for t, k in enumerate(p))
        + sum(a[pair] for pair in itertools.pairwise(p))
        + end[p[-1]]
        for p in paths
    ]
    return paths, np.array(found)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.lists(st.integers(0, 6), min_size=1, max_size=3), st.integers(0, 1000), st.integers(0, 2))
def test_sums_and_maxima_over_all_paths(tags: int, lengths: list[int], seed: int, extra: int) -> None:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return 3 * torch.randn(*shape, generator=generator, dtype=torch.float64)

    scores = Scores(normal(tags, tags), normal(tags), normal(tags))
    x = normal(len(lengths), max(lengths) + extra, tags)
    ends = torch.tensor(lengths)
    total, (path, best) = log_partition(x, scores, ends), best_path(x, scores, ends)
    own = path_score(x, scores, ends, path)
    for row, n in enumerate(lengths):
        if n == 0:
            assert float(total[row]) == float(best[row]) == float(own[row]) == 0
            continue
        paths, found = every_path(x[row, :n].numpy(), scores)
        np.testing.assert_allclose(total[row], np.logaddexp.reduce(found), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(best[row], found.max(), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(own[row], found.max(), rtol=1e-12, atol=1e-12)
        assert tuple(path[row, :n].tolist()) == paths[int(found.argmax())]


def in_a_loop(x: torch.Tensor, scores: Scores) -> torch.Tensor:
    """The recursion as it is usually written, in log space."""
    forward = scores.start + x[:, 0]
    for t in range(1, x.shape[1]):
        forward = torch.logsumexp(forward.unsqueeze(2) + scores.transitions, 1) + x[:, t]
    return torch.logsumexp(forward + scores.end, 1)


@pytest.mark.parametrize("size", [1.0, 30.0, 200.0])
def test_long_chains_and_large_numbers(size: float) -> None:
    x = size * torch.randn(3, 200, 5, dtype=torch.float64)
    scores = Scores(*(torch.randn(s, dtype=torch.float64) for s in ((5, 5), (5,), (5,))))
    ends = torch.full((3,), 200)
    torch.testing.assert_close(log_partition(x, scores, ends), in_a_loop(x, scores), rtol=1e-12, atol=1e-9)
    single = log_partition(x.float(), Scores(*(s.float() for s in scores)), ends)
    torch.testing.assert_close(single.double(), in_a_loop(x, scores), rtol=1e-5, atol=1e-3)


def test_forbidden_transitions_and_impossible_chains_stay_finite() -> None:
    never = torch.full((2, 2), -1e4, requires_grad=True)
    scores = Scores(never, torch.zeros(2), torch.zeros(2))
    total = log_partition(torch.zeros(1, 4, 2), scores, torch.tensor([4]))
    assert float(total.detach()) == pytest.approx(-3e4 + 4 * np.log(2), rel=1e-6)
    only = Scores(torch.tensor([[0.0, -1e4], [-1e4, 0.0]]), torch.tensor([0.0, -1e4]), torch.tensor([-1e4, 0.0]))
    total = log_partition(torch.zeros(1, 4, 2, requires_grad=True), only, torch.tensor([4]))
    assert bool(total.isfinite().all())
    total.sum().backward()


def test_gradients_of_what_is_not_real_are_zero() -> None:
    x = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    scores = Scores(*(torch.randn(s, dtype=torch.float64, requires_grad=True) for s in ((3, 3), (3,), (3,))))
    ends = torch.tensor([3, 0])
    assert torch.autograd.gradcheck(lambda x, *s: log_partition(x, Scores(*s), ends), (x, *scores))
    log_partition(x, scores, ends).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad[0, :3].sum(-1), torch.ones(3, dtype=torch.float64))
    assert not bool(x.grad[0, 3:].any()) and not bool(x.grad[1].any())


def test_real_steps_keep_their_order() -> None:
    mask = torch.rand(4, 50) < 0.5
    order = real_first(mask)
    for row, places in zip(mask, order, strict=True):
        n = int(row.sum())
        assert places[:n].tolist() == row.nonzero().flatten().tolist()
        assert sorted(places.tolist()) == list(range(50))
