from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from corecur.engine.crossentropy import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    Crossentropy,
    SparseCategoricalCrossentropy,
)
from corecur.engine.loss import Loss
from corecur.errors import ConfigError, DataError, ShapeError

CLASSES = 5
INNER = [(), (3,), (2, 4)]


def carrying(output: Tensor, logits: Tensor, of: str | None = None) -> Tensor:
    output.logits = logits  # type: ignore[attr-defined]
    if of:
        output.logits_of = of  # type: ignore[attr-defined]
    return output


def exact(logits: Tensor, shares: Tensor, smoothing: float = 0.0) -> np.ndarray:
    """-Σ q log softmax(z) in NumPy float64."""
    z, q = logits.double().numpy(), shares.double().numpy()
    log_p = z - z.max(-1, keepdims=True)
    log_p = log_p - np.log(np.exp(log_p).sum(-1, keepdims=True))
    q = q * (1 - smoothing) + smoothing / q.shape[-1]
    return np.asarray(-(q * log_p).sum(-1))


@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_all_forms_of_one_problem_agree_with_float64(inner: tuple[int, ...], smoothing: float) -> None:
    logits, labels = torch.randn(6, *inner, CLASSES) * 2, torch.randint(0, CLASSES, (6, *inner))
    one_hot = F.one_hot(labels, CLASSES)
    want = exact(logits, one_hot, smoothing)
    probabilities = torch.softmax(logits, -1)
    sparse = SparseCategoricalCrossentropy(label_smoothing=smoothing)
    dense = CategoricalCrossentropy(label_smoothing=smoothing)
    learner = Crossentropy(smoothing)
    cases: list[tuple[Loss, Tensor, Tensor]] = [
        (sparse, labels, probabilities),
        (sparse, labels.unsqueeze(-1).float(), carrying(torch.softmax(logits, -1), logits)),
        (SparseCategoricalCrossentropy(True, label_smoothing=smoothing), labels.to(torch.uint8), logits),
        (dense, one_hot, probabilities),
        (dense, one_hot.bool(), carrying(torch.softmax(logits, -1), logits)),
        (CategoricalCrossentropy(True, label_smoothing=smoothing), one_hot.double(), logits),
        (learner, labels, logits),
        (learner, one_hot, logits),
        (learner, labels, carrying(torch.softmax(logits, -1), logits)),
    ]
    for loss, target, output in cases:
        np.testing.assert_allclose(loss(target, output), want.mean(), rtol=2e-5)
        np.testing.assert_allclose(loss.elements(target, output), want, rtol=2e-4, atol=1e-6)
        np.testing.assert_allclose(loss.per_sample(target, output), want.reshape(6, -1).mean(1), rtol=2e-5)


def test_soft_targets_need_not_be_one_hot() -> None:
    logits, q = torch.randn(4, 3), torch.rand(4, 3)
    np.testing.assert_allclose(CategoricalCrossentropy(True)(q, logits), exact(logits, q).mean(), rtol=1e-6)


@given(st.floats(-500, 500), st.floats(-500, 500))
@settings(max_examples=50, deadline=None)
def test_carried_logits_are_exact_at_any_size_and_have_gradients(a: float, b: float) -> None:
    logits = torch.tensor([[a, b]], requires_grad=True)
    loss = SparseCategoricalCrossentropy()(torch.tensor([1]), carrying(torch.softmax(logits, -1), logits))
    np.testing.assert_allclose(
        float(loss.detach()), exact(logits.detach(), torch.tensor([[0, 1]]))[0], rtol=1e-6, atol=1e-7
    )
    loss.backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, torch.softmax(logits.detach(), -1) - torch.tensor([[0.0, 1.0]]))


def test_probabilities_without_logits_are_clipped_as_in_keras() -> None:
    sure = torch.tensor([[1.0, 0.0]])
    want = -np.log(1e-7)
    np.testing.assert_allclose(SparseCategoricalCrossentropy()(torch.tensor([1]), sure), want, rtol=1e-6)
    np.testing.assert_allclose(CategoricalCrossentropy()(torch.tensor([[0, 1]]), sure), want, rtol=1e-6)
    np.testing.assert_allclose(
        BinaryCrossentropy()(torch.tensor([[0, 1]]), sure), want, rtol=2e-2
    )  # float32's 1 - 1e-7


def test_logits_of_a_sigmoid_are_not_taken_for_those_of_a_softmax() -> None:
    z, target = torch.randn(4, 3), F.one_hot(torch.tensor([0, 1, 2, 0]), 3).float()
    by_softmax, by_sigmoid = torch.softmax(z, -1), torch.sigmoid(z)
    binary, dense = BinaryCrossentropy(), CategoricalCrossentropy()
    want = F.binary_cross_entropy(by_softmax, target)
    torch.testing.assert_close(binary(target, carrying(by_softmax.clone(), z, "softmax")), want)
    torch.testing.assert_close(
        dense(target, carrying(by_sigmoid.clone(), z, "sigmoid")),
        -(target * (by_sigmoid / by_sigmoid.sum(-1, keepdim=True)).log()).sum(-1).mean(),
    )
    torch.testing.assert_close(dense(target, carrying(by_softmax.clone(), z, "softmax")), F.cross_entropy(z, target))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("shape", [(6,), (6, 1), (6, 4), (6, 3, 2)])
def test_binary_against_float64(shape: tuple[int, ...], smoothing: float) -> None:
    z, y = torch.randn(shape) * 3, torch.randint(0, 2, shape)
    q = y.double().numpy() * (1 - smoothing) + smoothing / 2
    zz = z.double().numpy()
    want = q * np.logaddexp(0, -zz) + (1 - q) * np.logaddexp(0, zz)
    loss = BinaryCrossentropy(label_smoothing=smoothing)
    for output in (torch.sigmoid(z), carrying(torch.sigmoid(z), z)):
        np.testing.assert_allclose(loss(y, output), want.mean(), rtol=1e-5)
        np.testing.assert_allclose(loss.per_sample(y, output), want.reshape(6, -1).mean(1), rtol=1e-4)
    np.testing.assert_allclose(
        BinaryCrossentropy(from_logits=True, label_smoothing=smoothing)(y, z), want.mean(), rtol=1e-5
    )


def test_binary_takes_flat_targets_for_one_unit() -> None:
    z, y = torch.randn(6, 1), torch.randint(0, 2, (6,))
    torch.testing.assert_close(BinaryCrossentropy(True)(y, z), F.binary_cross_entropy_with_logits(z[:, 0], y.float()))


def test_ignored_classes_count_for_nothing() -> None:
    logits, labels = torch.randn(3, 4, CLASSES, requires_grad=True), torch.randint(0, CLASSES, (3, 4))
    labels[0, 1:] = labels[2] = 255
    real = labels != 255
    loss = SparseCategoricalCrossentropy(True, ignore_class=255)
    value = loss(labels, logits)
    torch.testing.assert_close(value, F.cross_entropy(logits[real], labels[real]))
    value.backward()
    assert logits.grad is not None and bool((logits.grad[~real] == 0).all())
    per_sample = loss.per_sample(labels, logits)
    torch.testing.assert_close(per_sample[0], F.cross_entropy(logits[0, :1], labels[0, :1]))
    assert float(per_sample[2].detach()) == 0
    assert float(loss(torch.full((3, 4), 255), logits.detach())) == 0  # nothing real: no loss, not NaN


def test_half_precision_logits_are_widened() -> None:
    z, y = torch.randn(8, CLASSES), torch.randint(0, CLASSES, (8,))
    low = z.bfloat16()
    value = SparseCategoricalCrossentropy()(y, carrying(torch.softmax(low.float(), -1), low))
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, F.cross_entropy(low.float(), y))


def test_gradients() -> None:
    z = torch.randn(3, 2, 4, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(0, 4, (3, 2))
    for loss in (SparseCategoricalCrossentropy(True, label_smoothing=0.1), SparseCategoricalCrossentropy()):
        squash = (lambda x: x) if loss.from_logits else (lambda x: torch.softmax(x, -1))
        assert torch.autograd.gradcheck(lambda x, loss=loss, squash=squash: loss(labels, squash(x)), (z,))


@pytest.mark.parametrize(
    ("loss", "target", "output", "advice"),
    [
        (CategoricalCrossentropy(), (8,), (8, 3), "sparse_categorical_crossentropy"),
        (CategoricalCrossentropy(), (8, 1), (8, 3), "sparse_categorical_crossentropy"),
        (SparseCategoricalCrossentropy(), (8, 3), (8, 3), "'categorical_crossentropy'"),
        (CategoricalCrossentropy(), (8, 4), (8, 3), "target (8, 4), output (8, 3)"),
        (SparseCategoricalCrossentropy(), (8, 4), (8, 3), "target (8, 4), output (8, 3)"),
        (SparseCategoricalCrossentropy(), (7,), (8, 3), "target (7,), output (8, 3)"),
        (SparseCategoricalCrossentropy(), (8,), (8, 1), "binary_crossentropy"),
        (CategoricalCrossentropy(), (8, 1), (8, 1), "binary_crossentropy"),
        (Crossentropy(), (8, 4), (8, 3), "target (8, 4), output (8, 3)"),
        (BinaryCrossentropy(), (8,), (8, 3), "sparse_categorical_crossentropy"),
        (BinaryCrossentropy(), (8, 2), (8, 3), "target (8, 2), output (8, 3)"),
    ],
)
def test_shapes_that_do_not_fit(loss: Loss, target: tuple[int, ...], output: tuple[int, ...], advice: str) -> None:
    with pytest.raises(ShapeError) as error:
        loss(torch.zeros(target, dtype=torch.long), torch.full(output, 0.5))
    assert advice in str(error.value)


@pytest.mark.parametrize("label", [10, -1, -100])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_label_out_of_range_is_named(label: int, smoothing: float) -> None:
    labels = torch.tensor([0, 9, label])
    for loss in (Crossentropy(smoothing), SparseCategoricalCrossentropy(True, label_smoothing=smoothing)):
        with pytest.raises(DataError, match=f"label {label} is not a class"):
            loss(labels, torch.randn(3, 10))
        with pytest.raises(DataError, match=f"label {label} is not a class") as error:
            loss.check(labels, 10)
        assert "sample 2" in str(error.value)


def test_checks_of_whole_targets() -> None:
    SparseCategoricalCrossentropy().check(torch.tensor([0.0, 2.0]), 3)
    SparseCategoricalCrossentropy(ignore_class=-1).check(torch.tensor([0, -1]), 3)
    Crossentropy().check(torch.rand(4, 3), 3)
    with pytest.raises(DataError, match="whole numbers"):
        SparseCategoricalCrossentropy().check(torch.tensor([0.0, 0.5]), 3)
    for values in ([[0.0], [2.0]], [[0.0], [float("nan")]]):
        with pytest.raises(DataError, match="no probability"):
            BinaryCrossentropy().check(torch.tensor(values), 1)


@pytest.mark.parametrize(
    "kind", [CategoricalCrossentropy, SparseCategoricalCrossentropy, BinaryCrossentropy, Crossentropy]
)
@pytest.mark.parametrize("smoothing", [-0.1, 1.1, float("nan")])
def test_label_smoothing_out_of_range(kind: type[Crossentropy], smoothing: float) -> None:
    with pytest.raises(ConfigError):
        kind(label_smoothing=smoothing)
