"""The two ways to train in ``bench.fit`` are the same training: what the harness checks before it times them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from bench import fit, loops, small_cnn


@pytest.fixture(autouse=True)
def _few_samples(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for module in (small_cnn, loops):
        monkeypatch.setattr(module, "SAMPLES", 96)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_losses_agree() -> None:
    hand, model = loops.HandLoop(32).prove(), loops.Fit(32).prove()
    assert len(hand) == small_cnn.PROOF_EPOCHS
    assert model == pytest.approx(hand, rel=1e-4)
    assert hand[-1] < hand[0]


def test_blocks_count_their_steps() -> None:
    assert loops.HandLoop(64).run() == loops.Fit(64).run() == 2


def test_cases_name_their_judged_contender() -> None:
    for case in fit.cases():
        assert case.judged in [contender.name for contender in case.contenders]


def test_multiply_adds_are_those_of_the_kernels() -> None:
    model = loops.Fit(32).model
    counted = sum(p.numel() for p in model.parameters())
    assert counted == sum(array.size for array in small_cnn.weights())
    positions = (26 * 26, 11 * 11, 1, 1)
    kernels = [array.size for array in small_cnn.weights()[::2]]
    assert [n * size for n, size in zip(positions, kernels, strict=True)] == list(small_cnn.MULTIPLY_ADDS)
