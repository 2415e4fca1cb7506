from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from corecur.engine.accuracy import Accuracy
from corecur.engine.losses import Huber, MeanAbsoluteError, MeanSquaredError
from corecur.engine.metrics import find_metric
from corecur.engine.outputs import JointLoss, OutputMetric, find_losses, find_metrics, joined, parts
from corecur.errors import ConfigError, ShapeError

A, B = torch.randn(5, 2), torch.randn(5, 1)
ZEROS = (torch.zeros(5, 2), torch.zeros(5, 1))


@pytest.mark.parametrize("output", [(A, B), [A, B], {"a": A, "b": B}])
def test_a_joint_loss_is_the_weighted_sum(output: Any) -> None:
    loss = JointLoss([MeanSquaredError(), MeanAbsoluteError()], [2.0, 0.5])
    expected = 2 * A.square().mean() + 0.5 * B.abs().mean()
    torch.testing.assert_close(loss(ZEROS, output), expected)
    weights = torch.arange(5.0)
    weighted = 2 * (A.square().mean(1) * weights).mean() + 0.5 * (B[:, 0].abs() * weights).mean()
    torch.testing.assert_close(loss(ZEROS, output, weights), weighted)


@pytest.mark.parametrize(("targets", "outputs"), [((A,), (A, B)), ((A, B), (A,)), (A[:2], (A, B))])
def test_there_is_a_loss_for_each_output(targets: Any, outputs: Any) -> None:
    with pytest.raises(ShapeError, match="there are 2 losses"):
        JointLoss([MeanSquaredError()] * 2, [1.0, 1.0])(targets, outputs)


def test_a_metric_of_one_output() -> None:
    metric = OutputMetric(find_metric("mae"), 1, "output_1")
    assert metric.name == "output_1_mae"
    for output in ((A, B), {"a": A, "b": B}):
        metric.reset()
        metric.update(ZEROS, output)
        assert metric.result() == pytest.approx(B.abs().mean().item(), rel=1e-6)
    twin = OutputMetric(find_metric("mae"), 1, "output_1")
    twin.load_state(metric.state())
    assert twin.result() == metric.result()


def test_losses_are_found() -> None:
    assert find_losses("mse", None, None) == MeanSquaredError()
    found = find_losses(["mse", Huber(0.5)], None, 2)
    assert found.losses == (MeanSquaredError(), Huber(0.5))
    assert found.weights == (1.0, 1.0)
    assert find_losses(("mse", "mae"), [1.0, 0.0], None).weights == (1.0, 0.0)


@pytest.mark.parametrize(
    ("loss", "weights", "outputs", "message"),
    [
        ("mse", None, 2, "one loss for each output"),
        (["mse"], None, 2, "one loss for each output"),
        (["mse", "mse"], None, 1, "one loss for each output"),
        ("mse", [1.0], 1, "loss_weights"),
        (["mse", "mse"], [1.0], 2, "loss_weights"),
        (["mse", "mas"], None, 2, "unknown loss 'mas'"),
    ],
)
def test_losses_that_do_not_fit(loss: Any, weights: Any, outputs: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        find_losses(loss, weights, outputs)


@pytest.mark.parametrize(
    ("metrics", "outputs", "names"),
    [
        (None, None, []),
        ("mae", None, ["mae"]),
        (["mae", Accuracy(name="hits")], None, ["mae", "hits"]),
        (None, 2, []),
        (["mae", "mse"], 2, ["output_0_mae", "output_1_mse"]),
        ([["mae", "mse"], []], 2, ["output_0_mae", "output_0_mse"]),
        ([None, "mse"], 2, ["output_1_mse"]),
    ],
)
def test_metrics_are_found(metrics: Any, outputs: Any, names: list[str]) -> None:
    assert [metric.name for metric in find_metrics(metrics, outputs)] == names


def test_batches_are_joined_in_the_form_of_the_outputs() -> None:
    batches = [{"a": (A, B), "n": torch.arange(5)}, {"a": (A[:2], B[:2]), "n": torch.arange(2)}]
    whole = joined(batches, as_tensor=True)
    assert torch.equal(whole["a"][0], torch.cat([A, A[:2]]))
    assert whole["n"].dtype == torch.int64
    arrays = joined(batches, as_tensor=False)
    assert isinstance(arrays["a"][1], np.ndarray)
    assert arrays["a"][1].shape == (7, 1)
    assert joined([A.bfloat16()], as_tensor=False).dtype == np.float32
    assert joined([A.double()], as_tensor=True).dtype == torch.float64


def test_the_parts_of_several() -> None:
    assert parts(A) == (A,)
    assert parts([A, B]) == parts({"x": A, "y": B}) == (A, B)
