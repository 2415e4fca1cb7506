"""fit, checked against loops in plain torch.

N samples, B batch, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from corecur.data.batches import TensorBatches
from corecur.data.random_keys import permutation
from corecur.engine.callback import Callback
from corecur.engine.callbacks import LambdaCallback
from corecur.engine.optimizers import SGD, Adam, Muon
from corecur.engine.schedules import CosineDecay
from corecur.errors import ConfigError
from corecur.kernels import asking_for
from corecur.layers.activation import Activation
from corecur.layers.conv import Conv2D
from corecur.layers.dense import Dense
from corecur.layers.pool import MaxPooling2D
from corecur.layers.shape import Flatten
from corecur.models import Sequential

from .small import K, N, X, Y, compiled, network, same, weights_of

# the same bits as a loop of one's own


def seed_of_the_next_fit(seed: int) -> int:
    """The seed ``fit`` draws for its order; the generator is left as if it had not been asked."""
    torch.manual_seed(seed)
    drawn = int(torch.randint(2**31, ()).item())
    torch.manual_seed(seed)
    return drawn


def raw_loop(
    forward: Callable[[Tensor], Tensor], optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, seed: int, epochs: int
) -> list[float]:
    losses = []
    for epoch in range(epochs):
        order, total = permutation(len(x), seed, epoch), 0.0
        for start in range(0, len(x), 16):
            rows = order[start : start + 16]
            loss = F.cross_entropy(forward(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows)
        losses.append(total / len(x))
    return losses


RAW_OPTIMIZERS: dict[str, tuple[Any, Callable[[Any], torch.optim.Optimizer]]] = {
    "adam": ("adam", Adam().make),
    "sgd": (SGD(0.1, momentum=0.9, nesterov=True), SGD(0.1, momentum=0.9, nesterov=True).make),
    "torch's own": (torch.optim.Adadelta, torch.optim.Adadelta),
}  # fmt: skip


@pytest.mark.parametrize("optimizer", RAW_OPTIMIZERS)
def test_fit_is_a_raw_torch_loop_bit_for_bit(optimizer: str) -> None:
    model = network()
    raw = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, K))
    for mine, theirs in zip(model.parameters(), raw.parameters(), strict=True):
        theirs.data.copy_(mine.data)
    given, make = RAW_OPTIMIZERS[optimizer]
    model.compile(given, "sparse_categorical_crossentropy")
    seed = seed_of_the_next_fit(7)
    history = model.fit(X, Y, batch_size=16, epochs=3, verbose=0)
    losses = raw_loop(raw, make(raw.parameters()), X, Y, seed, 3)
    assert same(weights_of(model), weights_of(raw))
    assert history.history["loss"] == pytest.approx(losses, rel=1e-6)


class RawCNN(nn.Module):
    """A convolution, a pooling and a dense layer on (B, H, W, C), written in torch."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3)
        self.head = nn.Linear(36, K)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.conv(x.permute(0, 3, 1, 2)).relu(), 2)  # (B, 8, 8, 2) -> (B, 4, 3, 3)
        return self.head(x.permute(0, 2, 3, 1).flatten(1))


def test_a_cnn_too() -> None:
    torch.manual_seed(0)
    model = Sequential([Conv2D(4, 3, activation="relu", input_shape=(8, 8, 2)), MaxPooling2D(), Flatten(), Dense(K)])
    model.add(Activation("softmax"))
    raw = RawCNN().to(memory_format=torch.channels_last)
    for mine, theirs in zip(model.parameters(), raw.parameters(), strict=True):
        theirs.data.copy_(mine.data)
    x = torch.randn(N, 8, 8, 2)
    model.compile(Adam(1e-2), "categorical_crossentropy")
    seed = seed_of_the_next_fit(3)
    with asking_for("torch"):  # its convolutions, as in the loop by hand
        model.fit(x, F.one_hot(Y, K), batch_size=16, epochs=2, verbose=0)
    optimizer = Adam(1e-2).make(raw.parameters())
    for epoch in range(2):
        order = permutation(N, seed, epoch)
        for start in range(0, N, 16):
            rows = order[start : start + 16]
            optimizer.zero_grad()
            F.cross_entropy(raw(x[rows]), F.one_hot(Y[rows], K).float()).backward()
            optimizer.step()
    assert same(weights_of(model), weights_of(raw))


def test_the_same_seed_gives_the_same_training_and_another_one_another() -> None:
    def trained(seed: int) -> list[Tensor]:
        model = compiled()
        torch.manual_seed(seed)
        model.fit(X, Y, epochs=2, verbose=0)
        return weights_of(model)

    assert same(trained(1), trained(1))
    assert not same(trained(1), trained(2))


# whatever there is to train on


class Pairs(Dataset[Any]):
    def __len__(self) -> int:
        return N

    def __getitem__(self, place: int) -> Any:
        return X[place], int(Y[place])


SOURCES: dict[str, Callable[[], tuple[Any, ...]]] = {
    "tensors": lambda: (X, Y),
    "arrays": lambda: (X.numpy(), Y.numpy()),
    "lists": lambda: (X.tolist(), Y.tolist()),
    "double arrays": lambda: (X.double().numpy(), Y.to(torch.int32).numpy()),
    "TensorDataset": lambda: (TensorDataset(X, Y),),
    "map-style Dataset": lambda: (Pairs(),),
    "DataLoader": lambda: (DataLoader(Pairs(), batch_size=16),),
    "Batches": lambda: (TensorBatches(X, Y, batch_size=16),),
}


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_gives_the_same_training(source: str) -> None:
    model, reference = compiled(), compiled()
    reference.fit(X, Y, batch_size=16, epochs=2, shuffle=False, verbose=0)
    model.fit(*SOURCES[source](), batch_size=16, epochs=2, shuffle=False, verbose=0)
    assert same(weights_of(model), weights_of(reference))
    assert model.evaluate(*SOURCES[source]()) == pytest.approx(reference.evaluate(X, Y), rel=1e-6)


def test_pictures_as_they_are_stored() -> None:
    torch.manual_seed(0)
    pictures = torch.randint(0, 256, (20, 8, 8, 1), dtype=torch.uint8)
    model = Sequential([Conv2D(2, 3, input_shape=(8, 8, 1)), Flatten(), Dense(K, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    expected = model.predict(pictures.float())
    assert torch.equal(model.predict(pictures), expected)
    assert model.fit(pictures.numpy(), Y[:20].numpy(), verbose=0).history["loss"][0] > 0


def test_a_model_without_a_shape_is_built_by_fit() -> None:
    model = Sequential([Dense(4, "relu"), Dense(K, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    model.fit(X, Y, verbose=0)
    assert model.output_shape == (None, K)


# validation


def test_validation_split_holds_out_the_last_share() -> None:
    model, reference = compiled(), compiled()
    torch.manual_seed(0)
    history = model.fit(X, Y, epochs=2, validation_split=0.2, verbose=0)
    torch.manual_seed(0)
    expected = reference.fit(X[:40], Y[:40], epochs=2, validation_data=(X[40:], Y[40:]), verbose=0)
    assert same(weights_of(model), weights_of(reference))
    for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
        assert history.history[name] == expected.history[name]
    loss, accuracy = model.evaluate(X[40:], Y[40:])
    assert history.history["val_loss"][-1] == pytest.approx(loss, rel=1e-6)
    assert history.history["val_accuracy"][-1] == accuracy


@pytest.mark.parametrize("data", ["pair", "with weights", "DataLoader"])
def test_validation_data(data: str) -> None:
    weights = torch.linspace(0, 2, 10)
    given: Any = {
        "pair": (X[:10].numpy(), Y[:10].numpy()),
        "with weights": (X[:10], Y[:10], weights),
        "DataLoader": DataLoader(TensorDataset(X[:10], Y[:10]), batch_size=4),
    }[data]
    model = compiled()
    found = model.fit(X, Y, validation_data=given, verbose=0).history["val_loss"][0]
    losses = F.cross_entropy(model(X[:10]).logits, Y[:10], reduction="none")
    expected = (losses * weights).mean() if data == "with weights" else losses.mean()
    assert found == pytest.approx(expected.item(), rel=1e-5)


def test_validation_freq_and_the_last_epoch() -> None:
    history = compiled().fit(X, Y, epochs=5, validation_data=(X, Y), validation_freq=2, verbose=0)
    assert len(history.history["loss"]) == 5
    assert len(history.history["val_loss"]) == 3  # after epochs 2, 4 and 5


@pytest.mark.parametrize("split", [1.0, -0.1, 0.999])
def test_a_split_leaves_samples_on_both_sides(split: float) -> None:
    with pytest.raises(ConfigError, match="validation_split"):
        compiled().fit(X, Y, validation_split=split, verbose=0)
    with pytest.raises(ConfigError, match="needs arrays"):
        compiled().fit(DataLoader(TensorDataset(X, Y)), validation_split=0.2, verbose=0)


# weights


def test_class_weight_is_the_sample_weight_of_its_class() -> None:
    table = {0: 3.0, 2: 0.5}
    by_class = torch.tensor([table.get(int(label), 1.0) for label in Y])
    first, second, third = compiled(SGD(0.1)), compiled(SGD(0.1)), compiled(SGD(0.1))
    first.fit(X, Y, class_weight=table, shuffle=False, verbose=0)
    second.fit(X, Y, sample_weight=by_class, shuffle=False, verbose=0)
    third.fit(X, Y, shuffle=False, verbose=0)
    assert same(weights_of(first), weights_of(second))
    assert not same(weights_of(first), weights_of(third))
    third.fit(X, Y, shuffle=False, verbose=0)  # the weights of a fit end with it
    assert third.trainer.class_weights is None


def test_both_kinds_of_weight_multiply() -> None:
    both, product = compiled(SGD(0.1)), compiled(SGD(0.1))
    given = torch.linspace(0.1, 2, N)
    both.fit(X, Y, class_weight={1: 4.0}, sample_weight=given, shuffle=False, verbose=0)
    product.fit(X, Y, sample_weight=given * torch.where(Y == 1, 4.0, 1.0), shuffle=False, verbose=0)
    assert same(weights_of(both), weights_of(product))


def test_a_weight_of_nought_takes_a_sample_out() -> None:
    model, reference = compiled(SGD(0.1)), compiled(SGD(0.1 * 10 / N))
    keep = torch.zeros(N)
    keep[:10] = 1.0
    model.fit(X, Y, batch_size=N, sample_weight=keep, shuffle=False, verbose=0)
    reference.fit(X[:10], Y[:10], batch_size=N, shuffle=False, verbose=0)  # Keras divides by B, weighted or not
    for mine, theirs in zip(model.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("weights", [{"cat": 1.0}, {-1: 2.0}, {0.5: 1.0}])
def test_class_weight_takes_class_numbers(weights: Any) -> None:
    with pytest.raises(ConfigError, match="class_weight maps class numbers"):
        compiled().fit(X, Y, class_weight=weights, verbose=0)


# history and epochs


def test_the_history_counts_from_the_initial_epoch() -> None:
    seen: list[int] = []
    diary = LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(epoch))
    model = compiled()
    history = model.fit(X, Y, epochs=5, initial_epoch=3, callbacks=diary, verbose=0)
    assert history.epoch == seen == [3, 4]
    assert model.history is history
    assert set(history.history) == {"loss", "accuracy", "learning_rate", "seconds", "waiting"}
    assert all(len(values) == 2 for values in history.history.values())
    assert repr(history).startswith("History(2 epochs of loss, accuracy")
    assert model.fit(X, Y, epochs=3, initial_epoch=3, verbose=0).history == {}


def test_epochs_in_two_fits_are_those_of_one() -> None:
    whole, parts = compiled(), compiled()
    whole.fit(X, Y, epochs=4, shuffle=False, verbose=0)
    parts.fit(X, Y, epochs=2, shuffle=False, verbose=0)
    parts.fit(X, Y, epochs=4, initial_epoch=2, shuffle=False, verbose=0)
    assert same(weights_of(whole), weights_of(parts))


def test_a_callback_may_stop_the_training_through_the_model() -> None:
    class Stop(Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.model.stop_training = epoch == 1

    model = compiled()
    assert model.fit(X, Y, epochs=9, callbacks=[Stop()], verbose=0).epoch == [0, 1]
    assert model.stop_training
    assert len(model.fit(X, Y, epochs=2, verbose=0).epoch) == 2


def test_it_learns() -> None:
    model = compiled(Adam(0.03))
    history = model.fit(X, Y, epochs=40, verbose=0)
    assert history.history["loss"][-1] < 0.3 * history.history["loss"][0]
    assert model.evaluate(X, Y, return_dict=True)["accuracy"] > 0.9


# optimisers by name


def test_an_optimizer_gets_the_names_of_the_weights() -> None:
    model = network()
    model.compile(Muon(0.02, exclude="dense_1"), "sparse_categorical_crossentropy")
    model.fit(X, Y, verbose=0)
    orthogonal = next(g["params"] for g in model.trainer.optimizer.param_groups if g["orthogonal"])
    assert [p is model.layers[0].weight for p in orthogonal] == [True]


CLIPS: dict[str, Callable[[list[Tensor]], object]] = {
    "clipnorm": lambda parameters: [nn.utils.clip_grad_norm_(p, 0.02) for p in parameters],
    "clipvalue": lambda parameters: nn.utils.clip_grad_value_(parameters, 0.02),
    "global_clipnorm": lambda parameters: nn.utils.clip_grad_norm_(parameters, 0.02),
}


@pytest.mark.parametrize("kind", CLIPS)
def test_an_optimizer_s_clipping_is_done(kind: str) -> None:
    model, raw = network(), network()
    model.compile(SGD(1.0, **{kind: 0.02}), "sparse_categorical_crossentropy")
    model.fit(X, Y, batch_size=N, shuffle=False, verbose=0)
    F.cross_entropy(raw(X).logits, Y).backward()
    parameters = list(raw.parameters())
    CLIPS[kind](parameters)
    torch.optim.SGD(parameters, lr=1.0).step()
    for mine, theirs in zip(model.parameters(), parameters, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_a_made_optimizer_is_used_as_it_is() -> None:
    model = network()
    made = torch.optim.SGD([model.layers[1].bias], lr=0.1)
    model.compile(made, "sparse_categorical_crossentropy")
    before = weights_of(model)
    model.fit(X, Y, verbose=0)
    assert model.trainer.optimizer is made
    assert [torch.equal(a, b) for a, b in zip(before, weights_of(model), strict=True)] == [True, True, True, False]


def test_the_schedule_of_an_optimizer_is_followed() -> None:
    rates: list[float] = []
    model = compiled(SGD(CosineDecay(0.2)))
    note = LambdaCallback(on_train_batch_end=lambda batch, logs: rates.append(model.trainer.learning_rate))
    model.fit(X, Y, batch_size=10, epochs=2, callbacks=[note], verbose=0)
    assert rates == pytest.approx([0.1 * (1 + np.cos(np.pi * step / 10)) for step in range(10)])
