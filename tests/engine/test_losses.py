from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from corecur.engine.loss import Loss
from corecur.engine.losses import LOSSES, FunctionLoss, Huber, MeanAbsoluteError, MeanSquaredError, find_loss
from corecur.errors import ConfigError, DataError, ShapeError


def problem(name: str, inner: tuple[int, ...] = ()) -> tuple[Tensor, Tensor]:
    """Targets and outputs that the loss of that name takes."""
    labels = torch.randint(0, 4, (6, *inner))
    output = torch.softmax(torch.randn(6, *inner, 4), -1)
    if name == "pinball":
        return torch.randn(6, *inner), output[..., :3]
    if name in ("sparse_categorical_crossentropy", "crossentropy"):
        return labels, output
    return F.one_hot(labels, 4).float(), output


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "crf"])  # which needs its layer: test_crf_loss
class TestEveryLoss:
    def test_is_the_mean_over_samples(self, name: str) -> None:
        loss = find_loss(name)
        for inner in ((), (3,)):
            target, output = problem(name, inner)
            torch.testing.assert_close(loss(target, output), loss.per_sample(target, output).mean())

    def test_weights_follow_keras_rule(self, name: str) -> None:
        loss, (target, output) = find_loss(name), problem(name, (3,))
        w = torch.rand(6)
        torch.testing.assert_close(loss(target, output, w), (w * loss.per_sample(target, output)).sum() / 6)
        torch.testing.assert_close(loss(target, output, torch.ones(6)), loss(target, output))
        torch.testing.assert_close(loss(target, output, w[:, None].expand(6, 3)), loss(target, output, w))

    def test_masked_positions_change_nothing(self, name: str) -> None:
        loss, (target, output) = find_loss(name), problem(name, (3,))
        mask = torch.tensor([True, True, False]).expand(6, 3)
        want = loss(target[:, :2], output[:, :2])
        poisoned = output.clone()
        poisoned[:, 2] = float("nan")
        torch.testing.assert_close(loss(target, output, mask=mask), want)
        torch.testing.assert_close(loss(target, poisoned, mask=mask), want)
        torch.testing.assert_close(
            loss.per_sample(target, output, mask=mask), loss.per_sample(target[:, :2], output[:, :2])
        )

    def test_gives_gradients_and_learns(self, name: str) -> None:
        loss, (target, output) = find_loss(name), problem(name)
        z = output.log().requires_grad_()
        before = loss(target, torch.softmax(z, -1))
        before.backward()
        assert z.grad is not None
        assert float(loss(target, torch.softmax(z.detach() - 0.1 * z.grad, -1))) < float(before.detach())

    def test_config_round_trip_and_frozen(self, name: str) -> None:
        loss = find_loss(name)
        assert type(loss)(**dataclasses.asdict(loss)) == loss
        with pytest.raises(dataclasses.FrozenInstanceError):
            loss.label_smoothing = 0.5  # type: ignore[attr-defined]

    def test_refuses_misfit(self, name: str) -> None:
        target, output = problem(name)
        with pytest.raises(ShapeError, match=r"target \(5"):
            find_loss(name)(target[:5], output)
        with pytest.raises(ShapeError, match="weights"):
            find_loss(name)(target, output, torch.ones(5))


@given(st.integers(1, 6), st.integers(1, 4), st.floats(0.1, 3), st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_regression_against_numpy(samples: int, units: int, delta: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    y, o = random.normal(size=(samples, units)) * 3, random.normal(size=(samples, units))
    e = np.abs(y - o)
    want = {
        MeanSquaredError(): e**2,
        MeanAbsoluteError(): e,
        Huber(delta): np.where(e <= delta, e**2 / 2, delta * (e - delta / 2)),
    }
    for loss, values in want.items():
        np.testing.assert_allclose(loss(torch.tensor(y), torch.tensor(o)), values.mean(), rtol=1e-10)
        np.testing.assert_allclose(loss.per_sample(torch.tensor(y), torch.tensor(o)), values.mean(1), rtol=1e-10)


def test_flat_targets_never_broadcast() -> None:
    y, o = torch.randn(8), torch.randn(8)
    for loss in (MeanSquaredError(), MeanAbsoluteError(), Huber()):
        torch.testing.assert_close(loss(y, o[:, None]), loss(y, o))
        torch.testing.assert_close(loss(y[:, None], o), loss(y, o))
        with pytest.raises(ShapeError):
            loss(torch.randn(8, 1), torch.randn(8, 8))


def test_targets_that_are_not_finite_are_found() -> None:
    with pytest.raises(DataError, match="not finite") as error:
        MeanSquaredError().check(torch.tensor([[1.0], [float("nan")]]), 1)
    assert "sample 1" in str(error.value)


def test_find_loss() -> None:
    assert find_loss("MSE") == find_loss("mean_squared_error") == find_loss(MeanSquaredError) == MeanSquaredError()
    assert find_loss(Huber(2.0)) == Huber(2.0)
    with pytest.raises(ConfigError, match="did you mean 'categorical_crossentropy'"):
        find_loss("categorical_crossentrpy")
    for wrong in (3, int):
        with pytest.raises(ConfigError, match="not a loss"):
            find_loss(wrong)  # type: ignore[arg-type]


def test_a_function_is_a_loss() -> None:
    target, output = torch.randn(6, 2), torch.randn(6, 2)
    scalar = find_loss(lambda t, o: (t - o).square().mean())
    torch.testing.assert_close(scalar(target, output), F.mse_loss(output, target))
    with pytest.raises(ShapeError, match="no value per sample"):
        scalar(target, output, torch.ones(6))
    per_sample = find_loss(lambda t, o: (t - o).square().sum(-1))
    w = torch.rand(6)
    torch.testing.assert_close(per_sample(target, output, w), (w * (target - output).square().sum(-1)).sum() / 6)


def test_torch_losses_are_given_the_output_first() -> None:
    z, y = torch.randn(6, 3), torch.randint(0, 3, (6,))
    loss = find_loss(nn.CrossEntropyLoss())
    assert isinstance(loss, Loss) and isinstance(loss, FunctionLoss)
    torch.testing.assert_close(loss(y, z), F.cross_entropy(z, y))


def test_huber_refuses_a_delta_of_zero() -> None:
    with pytest.raises(ConfigError):
        Huber(0.0)
