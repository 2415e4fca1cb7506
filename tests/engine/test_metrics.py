"""Every row of the table of metrics, by the same contract; the values are checked beside each metric's own file."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from corecur.engine.crossentropy import SparseCategoricalCrossentropy
from corecur.engine.losses import MeanSquaredError
from corecur.engine.metric import Mean, Metric
from corecur.engine.metrics import METRICS, Accuracy, FunctionMetric, LossMetric, Precision, find_metric
from corecur.errors import ConfigError, ShapeError

CLASSES = 4
REGRESSION = ("mean_absolute_error", "mean_squared_error", "r2_score", "root_mean_squared_error")
ONE_HOT = ("categorical_accuracy", "top_k_categorical_accuracy", "binary_accuracy")


def make(name: str) -> Metric:
    arguments: dict[str, dict[str, int]] = {
        "confusion_matrix": {"num_classes": CLASSES},
        "top_k_categorical_accuracy": {"k": 2},
        "sparse_top_k_categorical_accuracy": {"k": 2},
    }
    return METRICS[name](**arguments.get(name, {}))  # type: ignore[arg-type]


def samples(name: str, n: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    output = torch.softmax(2 * torch.randn(n, CLASSES, generator=generator), -1)
    if name in REGRESSION:
        return torch.randn(n, CLASSES, generator=generator), output
    labels = torch.randint(0, CLASSES, (n,), generator=generator)
    return (F.one_hot(labels, CLASSES) if name in ONE_HOT else labels), output


def value(metric: Metric, *batches: tuple[Tensor, ...]) -> np.ndarray:
    metric.reset()
    for batch in batches:
        metric.update(*batch)
    return np.asarray(metric.result())


@given(seed=st.integers(0, 2**31), n=st.integers(2, 40), data=st.data())
@settings(max_examples=25, deadline=None)
def test_batches_weights_and_checkpoints(seed: int, n: int, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(METRICS)))
    cuts = sorted(data.draw(st.lists(st.integers(0, n), max_size=3)))
    metric, (target, output) = make(name), samples(name, n, seed)
    whole = value(metric, (target, output))

    sizes = np.diff([0, *cuts, n]).tolist()
    batches = [pair for pair in zip(target.split(sizes), output.split(sizes), strict=True) if len(pair[0])]
    np.testing.assert_allclose(value(metric, *batches), whole, rtol=1e-10, err_msg=name)

    weights = torch.randint(0, 3, (n,), generator=torch.Generator().manual_seed(seed))
    repeated = value(metric, (target.repeat_interleave(weights, 0), output.repeat_interleave(weights, 0)))
    weighted = value(metric, *zip(target.split(sizes), output.split(sizes), weights.split(sizes), strict=True))
    if weights.sum():
        np.testing.assert_allclose(weighted, repeated, rtol=1e-9, err_msg=name)
    np.testing.assert_allclose(value(metric, (target, output, torch.ones(n))), whole, rtol=1e-9, err_msg=name)

    metric.reset()
    metric.update(*batches[0])
    other = make(name)
    other.load_state(copy.deepcopy(metric.state()))
    for batch in batches[1:]:
        other.update(*batch)
    np.testing.assert_allclose(np.asarray(other.result()), whole, rtol=1e-10, err_msg=name)


@pytest.mark.parametrize("name", METRICS)
class TestEveryMetric:
    def test_knows_nothing_before_and_after_reset(self, name: str) -> None:
        metric = make(name)
        assert metric.state() == {}
        if name != "confusion_matrix":
            assert math.isnan(float(metric.result()))
        metric.update(*samples(name, 8, 0))
        before = np.asarray(metric.result())
        metric.reset()
        assert metric.state() == {}
        metric.update(*samples(name, 8, 0))
        np.testing.assert_array_equal(np.asarray(metric.result()), before)

    def test_inner_positions_are_samples(self, name: str) -> None:
        metric, (target, output) = make(name), samples(name, 12, 1)
        flat = value(metric, (target, output))
        folded = value(metric, (target.reshape(4, 3, *target.shape[1:]), output.reshape(4, 3, CLASSES)))
        np.testing.assert_allclose(folded, flat, rtol=1e-10)
        weights = torch.rand(4, 3)
        np.testing.assert_allclose(
            value(metric, (target.reshape(4, 3, *target.shape[1:]), output.reshape(4, 3, CLASSES), weights)),
            value(metric, (target, output, weights.reshape(12))),
            rtol=1e-9,
        )

    def test_config_round_trip(self, name: str) -> None:
        metric = make(name)
        config = dataclasses.asdict(metric)
        assert config["name"] == name and dataclasses.asdict(type(metric)(**config)) == config
        metric.update(*samples(name, 8, 0))
        assert dataclasses.asdict(metric) == config

    def test_outputs_in_training_leave_no_graph(self, name: str) -> None:
        metric, (target, output) = make(name), samples(name, 8, 2)
        metric.update(target, output.requires_grad_())
        assert not any(isinstance(total, Tensor) and total.requires_grad for total in metric.state().values())

    def test_totals_outlive_inference_mode(self, name: str) -> None:
        metric, batch = make(name), samples(name, 8, 3)
        with torch.inference_mode():
            metric.update(*samples(name, 8, 3))
        metric.update(*batch)
        np.testing.assert_allclose(np.asarray(metric.result()), value(make(name), batch, batch))

    def test_refuses_misfit(self, name: str) -> None:
        target, output = samples(name, 8, 0)
        with pytest.raises(ShapeError):
            make(name).update(target[:5], output)
        with pytest.raises(ShapeError):
            make(name).update(target, output, torch.ones(5))


@given(st.lists(st.tuples(st.floats(-1e3, 1e3), st.integers(1, 9)), min_size=1, max_size=8))
@settings(max_examples=25, deadline=None)
def test_mean_of_batches(batches: list[tuple[float, int]]) -> None:
    mean = Mean()
    for number, (loss, size) in enumerate(batches):
        mean.update(torch.full((size,), loss) if number % 2 else torch.tensor(loss), 1.0 if number % 2 else size)
    losses, sizes = np.float32([loss for loss, _ in batches]).astype(np.float64), [size for _, size in batches]
    np.testing.assert_allclose(mean.result(), np.average(losses, weights=sizes), rtol=1e-9, atol=1e-9)
    other = Mean()
    other.load_state(mean.state())
    assert other.result() == mean.result()
    mean.reset()
    assert math.isnan(mean.result())


def test_counts_beyond_float32() -> None:
    metric = Accuracy()
    metric.load_state({"total": torch.tensor(2.0**24, dtype=torch.float64), "count": 2**24})
    metric.update(torch.tensor([0]), torch.tensor([[0.9, 0.1]]))
    assert metric.state()["total"] == 2**24 + 1


def test_find_metric() -> None:
    for name, alias in [("accuracy", "acc"), ("mean_absolute_error", "mae"), ("f1_score", "f1"), ("r2_score", "r2")]:
        assert type(find_metric(name)) is type(find_metric(alias))
        assert (find_metric(name).name, find_metric(alias).name) == (name, alias)
    mine = Precision(name="mine")
    assert find_metric(mine) is mine
    assert isinstance(find_metric(Accuracy), Accuracy)
    with pytest.raises(ConfigError, match="did you mean 'accuracy'"):
        find_metric("acuracy")
    with pytest.raises(ConfigError, match=r"ConfusionMatrix\(num_classes=…\)"):
        find_metric("confusion_matrix")
    for wrong in (3, int):
        with pytest.raises(ConfigError, match="not a metric"):
            find_metric(wrong)  # type: ignore[arg-type]


def test_functions_and_losses_are_metrics() -> None:
    target, output = torch.randn(6, 2), torch.randn(6, 2)
    want = float(F.mse_loss(output, target))

    def error(t: Tensor, o: Tensor) -> Tensor:
        return F.mse_loss(o, t)

    specs: list[Callable[[Tensor, Tensor], Tensor] | MeanSquaredError] = [error, MeanSquaredError()]
    for spec, name in zip(specs, ("error", "MeanSquaredError"), strict=True):
        metric = find_metric(spec)
        assert isinstance(metric, (FunctionMetric, LossMetric)) and metric.name == name
        metric.update(target[:4], output[:4])
        metric.update(target[4:], output[4:])
        assert metric.result() == pytest.approx(want, rel=1e-6)
    left_out = LossMetric(SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1))
    scores, labels = torch.randn(2, 3, 4), torch.tensor([[0, -1, 3], [2, 1, -1]])
    left_out.update(labels, scores, torch.ones(2, 3))
    wanted = F.cross_entropy(scores.flatten(0, 1), labels.flatten(), ignore_index=-1)
    assert left_out.result() == pytest.approx(float(wanted), rel=1e-6)
    by_name = find_metric("huber")
    by_name.update(target, output)
    assert by_name.result() == pytest.approx(float(F.huber_loss(output, target)), rel=1e-6)
