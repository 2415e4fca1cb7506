"""A step that is one native call there and back is torch's, and torch takes it where somebody looks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from corecur.data.batches import Batch, TensorBatches
from corecur.engine import passes
from corecur.engine.losses import CategoricalCrossentropy, Crossentropy, MeanSquaredError, SparseCategoricalCrossentropy
from corecur.engine.optimizers import SGD
from corecur.engine.trainer import Trainer
from corecur.errors import DataError
from corecur.layers.activation import softmax
from corecur.layers.conv import Conv2D
from corecur.layers.dense import Dense
from corecur.layers.dropout import Dropout
from corecur.layers.layer import Layer
from corecur.layers.lstm import LSTM
from corecur.layers.norm import BatchNormalization
from corecur.layers.pool import MaxPooling2D
from corecur.layers.shape import Flatten
from corecur.layers.simple_rnn import SimpleRNN
from corecur.models import Sequential
from tests.kernels.needs_kernels import needs_kernels

pytestmark = needs_kernels

CLASSES = 5


def cnn(*before_last: Any, activation: str | None = "softmax", **options: Any) -> Sequential:
    torch.manual_seed(0)
    return Sequential(
        [
            Conv2D(16, 3, activation="relu", input_shape=(14, 14, 1), **options),
            MaxPooling2D(),
            Conv2D(8, 3, activation="relu"),
            Flatten(),
            Dense(32, "relu"),
            *before_last,
            Dense(CLASSES, activation),
        ]
    )


def rnn() -> Sequential:
    torch.manual_seed(0)
    return Sequential(
        [SimpleRNN(32, return_sequences=True, input_shape=(20, 9)), Dense(16, "tanh"), Dense(CLASSES, "softmax")]
    )


def pictures(count: int = 12) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(count, 14, 14, 1), torch.randint(CLASSES, (count,))


def series(count: int = 48) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(count, 20, 9), torch.randint(CLASSES, (count, 20))


@contextlib.contextmanager
def counted(*, by_torch: bool = False) -> Iterator[list[bool]]:
    """Of each step whether it went the plain way; or none of them does."""
    found: list[bool] = []
    plainly = passes.differentiate_plainly

    def differentiate(*given: Any) -> Any:
        learned = None if by_torch else plainly(*given)
        found.append(learned is not None)
        return learned

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passes, "differentiate_plainly", differentiate)
        yield found


def trained(
    model: Sequential, x: Tensor, y: Tensor, *, loss: Any = "sparse_categorical_crossentropy", **more: Any
) -> tuple[list[Tensor], dict[str, float]]:
    """The weights after a few steps, and what was measured."""
    model.compile(SGD(0.1, momentum=0.9), loss, **more)
    history = model.fit(x, y, batch_size=4 if len(x) < 48 else len(x), epochs=3, shuffle=False, verbose=0)
    return [p.detach().clone() for p in model.parameters()], {k: v[-1] for k, v in history.history.items()}


@pytest.mark.parametrize(("make", "data"), [(cnn, pictures), (rnn, series)])
@pytest.mark.parametrize("metrics", [[], ["accuracy", "sparse_top_k_categorical_accuracy"]])
def test_it_learns_what_torch_learns(
    make: Callable[[], Sequential], data: Callable[[], tuple[Tensor, Tensor]], metrics: list[str]
) -> None:
    with counted() as plain:
        ours, measured = trained(make(), *data(), metrics=metrics)
    with counted(by_torch=True):
        theirs, expected = trained(make(), *data(), metrics=metrics)
    assert plain and all(plain)
    assert measured.keys() == expected.keys()
    for name in {"loss", *metrics} & measured.keys():
        assert measured[name] == pytest.approx(expected[name], rel=1e-5), name
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)


def test_gradients_and_loss_are_those_of_float64() -> None:
    model, (x, y) = cnn(), pictures(4)
    trainer = Trainer(model, loss=Crossentropy(), optimizer=torch.optim.SGD(model.parameters(), lr=0.0))
    trainer.begin(TensorBatches(x, y, batch_size=4), epochs=1)
    with counted() as plain:
        loss, size = trainer.train_step(Batch(x, y))
    assert plain == [True] and size == 4
    exact = nn.Sequential(
        nn.Conv2d(1, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 8, 3), nn.ReLU()
    ).double()  # fmt: skip
    dense, last = nn.Linear(8 * 4 * 4, 32).double(), nn.Linear(32, CLASSES).double()
    own = [p.detach().double() for p in model.parameters()]
    true = [*exact.parameters(), *dense.parameters(), *last.parameters()]
    with torch.no_grad():
        for parameter, value in zip(true, own, strict=True):
            parameter.copy_(value)
    scores = last(dense(exact(x.double().permute(0, 3, 1, 2)).permute(0, 2, 3, 1).flatten(1)).relu())
    truth = nn.functional.cross_entropy(scores, y)
    truth.backward()
    assert float(loss) == pytest.approx(float(truth.detach()), rel=1e-6)
    for parameter, known in zip(model.parameters(), true, strict=True):
        assert parameter.grad is not None and known.grad is not None
        largest = float(known.grad.abs().max())
        assert float((parameter.grad.double() - known.grad).abs().max()) <= 1e-5 * largest


def test_frozen_weights_have_no_gradient() -> None:
    model = cnn()
    model.layers[0].trainable = False
    before = [p.clone() for p in model.layers[0].parameters()]
    with counted() as plain:
        trained(model, *pictures())
    assert all(plain)
    assert all(map(torch.equal, before, model.layers[0].parameters()))
    assert all(p.grad is None for p in model.layers[0].parameters())


def hooked(change: Callable[[Sequential], object]) -> Sequential:
    model = cnn()
    change(model)
    return model


class Own(Sequential):
    def forward(self, x: Any) -> Any:
        return super().forward(2 * x)


class OwnTrainer(Trainer):
    def loss_on(self, batch: Batch, output: Any, weights: Tensor | None) -> Tensor:
        return 2 * super().loss_on(batch, output, weights)


WATCHED: dict[str, Callable[[], Sequential]] = {
    "hook of a layer": lambda: hooked(lambda m: m.layers[2].register_forward_hook(lambda *_: None)),
    "hook of the network": lambda: hooked(lambda m: m.register_forward_hook(lambda *_: None)),
    "hook of a layer's way back": lambda: hooked(lambda m: m.layers[2].register_full_backward_hook(lambda *_: None)),
    "hook of a weight": lambda: hooked(lambda m: m.layers[2].weight.register_hook(lambda g: g)),
    "hook of a gradient": lambda: hooked(
        lambda m: m.layers[2].weight.register_post_accumulate_grad_hook(lambda w: None)
    ),
    "dropout": lambda: cnn(Dropout(0.5)),
    "normalisation": lambda: cnn(BatchNormalization()),
    "frozen normalisation": lambda: frozen_normalisation(),
    "penalty on weights": lambda: cnn(kernel_regularizer="l2"),
    "penalty on outputs": lambda: cnn(activity_regularizer="l2"),
    "another class": lambda: Own(cnn().layers),
    "dense layers alone": lambda: Sequential([Flatten(input_shape=(14, 14, 1)), Dense(8), Dense(CLASSES, "softmax")]),
    "a layer of torch": lambda: Sequential([*cnn().layers[:-1], nn.Linear(32, CLASSES), Softmax()]),
}


class Softmax(Layer):
    def forward(self, x: Tensor) -> Tensor:
        return softmax(x)


def frozen_normalisation() -> Sequential:
    torch.manual_seed(0)
    norm = BatchNormalization()
    model = Sequential(
        [
            Conv2D(16, 3, input_shape=(14, 14, 1)),
            norm,
            MaxPooling2D(),
            Flatten(),
            Dense(8, "relu"),
            Dense(CLASSES, "softmax"),
        ]
    )
    norm.trainable = False
    return model


@pytest.mark.parametrize("case", list(WATCHED))
def test_torch_takes_the_step_where_somebody_could_tell(case: str) -> None:
    model, (x, y) = WATCHED[case](), pictures()
    with counted() as plain:
        trained(model, x, y)
    assert not any(plain)


def test_hooks_are_called() -> None:
    model, (x, y), seen = cnn(), pictures(), []
    trained(model, x, y)  # the plain way
    handle = model.layers[2].weight.register_hook(lambda gradient: seen.append(gradient.shape))
    trained(model, x, y)
    assert seen
    handle.remove()
    count = len(seen)
    with counted() as plain:
        trained(model, x, y)
    assert len(seen) == count and all(plain)


@contextlib.contextmanager
def saving() -> Iterator[None]:
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t):
        yield


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
@pytest.mark.parametrize("watch", [saving, torch.autograd.detect_anomaly, torch.autograd.profiler.profile])
def test_torch_takes_the_step_where_its_way_back_is_watched(watch: Callable[[], Any]) -> None:
    model, (x, y) = cnn(), pictures()
    with counted() as plain, watch():
        trained(model, x, y)
    assert not any(plain)


LOSSES: list[tuple[Any, str | None, bool]] = [
    (SparseCategoricalCrossentropy(), "softmax", True),
    (SparseCategoricalCrossentropy(label_smoothing=0.1), "softmax", True),
    (SparseCategoricalCrossentropy(from_logits=True), None, True),
    (SparseCategoricalCrossentropy(), None, False),  # the outputs are taken for probabilities
    (SparseCategoricalCrossentropy(from_logits=True), "softmax", False),
    (SparseCategoricalCrossentropy(ignore_class=2), "softmax", False),
    (Crossentropy(), "softmax", True),
    (Crossentropy(label_smoothing=0.2), None, True),
    (Crossentropy(), "sigmoid", False),
    (Crossentropy(), "relu", True),
]


@pytest.mark.parametrize(("loss", "activation", "expected"), LOSSES, ids=str)
def test_only_a_cross_entropy_of_scores_goes_the_plain_way(loss: Any, activation: str | None, expected: bool) -> None:
    x, y = pictures()
    with counted() as plain:
        ours, measured = trained(cnn(activation=activation), x, y, loss=loss)
    with counted(by_torch=True):
        theirs, known = trained(cnn(activation=activation), x, y, loss=loss)
    assert set(plain) == {expected}
    assert measured["loss"] == pytest.approx(known["loss"], rel=1e-5)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("loss", [CategoricalCrossentropy(), Crossentropy(), MeanSquaredError()], ids=str)
def test_shares_of_classes_go_torch_s_way(loss: Any) -> None:
    x, y = pictures()
    with counted() as plain:
        trained(cnn(), x, nn.functional.one_hot(y, CLASSES).float(), loss=loss)
    assert not any(plain)


@pytest.mark.parametrize("more", [{"sample_weight": torch.rand(12) + 0.1}, {"class_weight": {0: 2.0}}])
def test_weights_go_torch_s_way(more: dict[str, Any]) -> None:
    model, (x, y) = cnn(), pictures()
    model.compile(SGD(0.1), "sparse_categorical_crossentropy")
    with counted() as plain:
        model.fit(x, y, batch_size=4, epochs=1, verbose=0, **more)
    assert not any(plain)


def test_labels_in_a_column_are_as_good() -> None:
    x, y = pictures()
    ours, _ = trained(cnn(), x, y)
    column, _ = trained(cnn(), x, y[:, None])
    for mine, other in zip(ours, column, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)


def test_a_trainer_of_one_s_own_keeps_its_loss() -> None:
    model, (x, y) = cnn(), pictures(4)
    trainer = OwnTrainer(model, loss=Crossentropy(), optimizer=torch.optim.SGD(model.parameters(), lr=0.0))
    trainer.begin(TensorBatches(x, y, batch_size=4), epochs=1)
    double, _ = trainer.train_step(Batch(x, y))
    plain = Trainer(model, loss=Crossentropy(), optimizer=torch.optim.SGD(model.parameters(), lr=0.0))
    plain.begin(TensorBatches(x, y, batch_size=4), epochs=1)
    once, _ = plain.train_step(Batch(x, y))
    assert float(double) == pytest.approx(2 * float(once), rel=1e-5)


def test_a_label_that_is_no_class_is_named() -> None:
    model, (x, y) = cnn(), pictures(4)
    trainer = Trainer(model, loss=Crossentropy(), optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
    trainer.begin(TensorBatches(x, y, batch_size=4), epochs=1)
    y[2] = CLASSES
    with pytest.raises(DataError, match="label 5 is not a class"):
        trainer.train_step(Batch(x, y))


def test_states_that_are_carried_go_torch_s_way() -> None:
    torch.manual_seed(0)
    model = Sequential([LSTM(32, return_sequences=True, input_shape=(None, 9)), Dense(CLASSES, "softmax")])
    x, y = series()
    trainer = Trainer(
        model, loss=Crossentropy(), optimizer=torch.optim.SGD(model.parameters(), lr=0.1), bptt_steps=10
    )  # fmt: skip
    with counted() as plain:
        trainer.fit(TensorBatches(x, y, batch_size=48), epochs=2)
    assert not any(plain)


def test_a_step_that_is_not_finite_changes_nothing() -> None:
    model, (x, y) = cnn(), pictures(4)
    x[1] = float("nan")
    trainer = Trainer(model, loss=Crossentropy(), optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
    trainer.begin(TensorBatches(x, y, batch_size=4), epochs=1)
    told: list[str] = []
    trainer.tell = told.append
    before = [p.detach().clone() for p in model.parameters()]
    with counted() as plain:
        _, size = trainer.train_step(Batch(x, y))
    assert plain == [True] and size == 0 and told
    assert all(map(torch.equal, before, model.parameters()))
