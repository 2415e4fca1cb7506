"""evaluate, predict, train_on_batch, several outputs, and what compile and fit refuse.

N samples, K classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from corecur.data.batches import TensorBatches
from corecur.engine.losses import Huber
from corecur.engine.optimizers import SGD
from corecur.errors import ConfigError, DataError, ShapeError
from corecur.layers.dense import Dense
from corecur.layers.dropout import Dropout
from corecur.layers.merge import Concatenate
from corecur.models import Input, Model, Sequential

from .small import K, N, X, Y, compiled, network, weights_of

# evaluate, predict, train_on_batch


def test_evaluate_against_torch() -> None:
    model = compiled()
    logits = model(X).logits
    loss, accuracy = model.evaluate(X.numpy(), Y.numpy(), batch_size=16)
    assert loss == pytest.approx(F.cross_entropy(logits, Y).item(), rel=1e-6)
    assert accuracy == pytest.approx((logits.argmax(1) == Y).float().mean().item())
    assert model.evaluate(X, Y, return_dict=True) == pytest.approx({"loss": loss, "accuracy": accuracy})
    assert isinstance(compiled(metrics=[]).evaluate(X, Y), float)
    weights = torch.linspace(0, 1, N)
    expected = (F.cross_entropy(logits, Y, reduction="none") * weights).mean()
    assert model.evaluate(X, Y, sample_weight=weights)[0] == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (X, Tensor),
        (X.numpy(), np.ndarray),
        (X.tolist(), np.ndarray),
        (TensorDataset(X, Y), np.ndarray),
        (DataLoader(TensorDataset(X, Y), batch_size=7), np.ndarray),
        (TensorBatches(X), Tensor),
    ],
)
def test_predict_answers_in_kind(given: Any, kind: type) -> None:
    model = network()
    answers = model.predict(given, batch_size=16)
    assert isinstance(answers, kind)
    torch.testing.assert_close(torch.as_tensor(answers), model(X).detach())
    np.testing.assert_allclose(np.asarray(answers).sum(1), 1, rtol=1e-6)


def test_predict_keeps_whole_numbers_and_the_mode() -> None:
    class Label(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.argmax(1)

    model = Sequential([Dropout(0.9, input_shape=(6,)), Label()])
    model.train()
    assert np.array_equal(model.predict(X.numpy()), X.argmax(1).numpy())
    assert model.predict(X).dtype == torch.int64
    assert model.training


def test_train_on_batch_is_one_step_and_knows_this_batch_only() -> None:
    model = compiled(SGD(0.1))
    model.evaluate(X, Y)  # what was counted before does not matter
    before = model(X[:8])
    loss, accuracy = model.train_on_batch(X[:8], Y[:8])
    assert loss == pytest.approx(F.cross_entropy(before.logits, Y[:8]).item(), rel=1e-6)
    assert accuracy == pytest.approx((before.argmax(1) == Y[:8]).float().mean().item())
    again = model.train_on_batch(X[:8], Y[:8], class_weight={0: 2.0}, return_dict=True)
    assert set(again) == {"loss", "accuracy"}
    assert model.trainer.step == 2
    assert isinstance(compiled(metrics=[]).train_on_batch(X[:8], Y[:8]), float)


def test_without_weights_to_train_a_model_still_answers() -> None:
    model = network()
    model.trainable = False
    model.compile("adam", "sparse_categorical_crossentropy")
    assert model.evaluate(X, Y) > 0
    with pytest.raises(ConfigError, match="nothing to train"):
        model.fit(X, Y, verbose=0)


def test_frozen_layers_do_not_move() -> None:
    model = network()
    model.layers[0].trainable = False
    model.compile("adam", "sparse_categorical_crossentropy")
    before = weights_of(model)
    model.fit(X, Y, verbose=0)
    assert [torch.equal(a, b) for a, b in zip(before, weights_of(model), strict=True)] == [True, True, False, False]


def test_a_changed_chain_gets_a_new_optimizer() -> None:
    model = compiled()
    model.fit(X, Y, verbose=0)
    model.pop()
    model.add(Dense(K, "softmax", name="fresh"))
    before = model.get_layer("fresh").weight.detach().clone()
    model.fit(X, Y, verbose=0)
    assert not torch.equal(before, model.get_layer("fresh").weight)


# several inputs and outputs


def two_headed() -> Model:
    torch.manual_seed(0)
    a, b = Input((6,)), Input((2,))
    h = Dense(5, "tanh")(Concatenate()([a, b]))
    return Model([a, b], [Dense(K, "softmax")(h), Dense(1)(h)])


def test_a_loss_for_each_output() -> None:
    model = two_headed()
    model.compile(
        SGD(0.1),
        ["sparse_categorical_crossentropy", Huber(0.5)],
        [["accuracy"], ["mae", "mse"]],
        loss_weights=[1.0, 0.3],
    )
    b, value = torch.randn(N, 2), torch.randn(N)
    first, second = model(X, b)
    expected = F.cross_entropy(first.logits, Y) + 0.3 * F.huber_loss(second[:, 0], value, delta=0.5)
    results = model.evaluate([X, b], [Y, value], return_dict=True)
    assert set(results) == {"loss", "output_0_accuracy", "output_1_mae", "output_1_mse"}
    assert results["loss"] == pytest.approx(expected.item(), rel=1e-5)
    assert results["output_1_mae"] == pytest.approx((second[:, 0] - value).abs().mean().item(), rel=1e-5)
    history = model.fit([X.numpy(), b.numpy()], [Y.numpy(), value.numpy()], epochs=30, validation_split=0.2, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]
    assert "val_output_0_accuracy" in history.history
    answers = model.predict([X.numpy(), b.numpy()])
    assert [answer.shape for answer in answers] == [(N, K), (N, 1)]


def test_outputs_under_names() -> None:
    x = Input((6,))
    h = Dense(4)(x)
    model = Model(x, {"class": Dense(K, "softmax")(h), "value": Dense(1)(h)})
    model.compile("sgd", ["sparse_categorical_crossentropy", "mse"], ["accuracy", "mae"])
    assert set(model.fit(X, [Y, torch.zeros(N)], verbose=0).history) >= {"output_0_accuracy", "output_1_mae"}
    assert {name: part.shape for name, part in model.predict(X.numpy()).items()} == {"class": (N, K), "value": (N, 1)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"loss": "mse"}, "one loss for each output"),
        ({"loss": ["mse"]}, "one loss for each output"),
        ({"loss": ["mse", "mse"], "loss_weights": [1.0]}, "loss_weights"),
        ({"loss": ["mse", "mse"], "metrics": ["mae"]}, "one metric, or a list of them, for each"),
    ],
)
def test_what_does_not_fit_the_outputs(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        two_headed().compile("sgd", **arguments)


def test_targets_that_do_not_fit_the_outputs() -> None:
    model = two_headed()
    model.compile("sgd", ["sparse_categorical_crossentropy", "mse"])
    with pytest.raises(ShapeError, match=r"(?s)there are 2 losses.*1 targets, 2 outputs"):
        model.fit([X, torch.randn(N, 2)], Y, verbose=0)
    with pytest.raises(ConfigError, match="one output"):
        model.fit([X, torch.randn(N, 2)], [Y, torch.zeros(N)], class_weight={0: 2.0}, verbose=0)


# messages


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"optimizer": "adm", "loss": "mse"}, "unknown optimizer 'adm'.*'adam'"),
        ({"loss": "sparse_categorical_crosentropy"}, "unknown loss.*'sparse_categorical_crossentropy'"),
        ({"loss": "mse", "metrics": ["acuracy"]}, "unknown metric 'acuracy'.*'accuracy'"),
        ({"loss": "mse", "metrics": "acuracy"}, "unknown metric 'acuracy'.*'accuracy'"),
        ({"loss": "mse", "precision": "float33"}, "unknown precision 'float33'.*'float32'"),
        ({"loss": 3}, "not a loss"),
        ({"loss": "mse", "loss_weights": [2.0]}, "loss_weights"),
    ],
)
def test_mistakes_in_compile(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        network().compile(**arguments)


@pytest.mark.parametrize("call", ["fit", "evaluate", "train_on_batch"])
def test_a_model_that_is_not_compiled(call: str) -> None:
    with pytest.raises(ConfigError, match=r"(?s)not compiled.*model.compile\(optimizer"):
        getattr(network(), call)(X, Y)
    assert network().predict(X).shape == (N, K)  # needs no loss


def test_there_must_be_targets() -> None:
    with pytest.raises(DataError, match="no targets"):
        compiled().fit(X, verbose=0)
    with pytest.raises(DataError, match="no targets"):
        compiled().evaluate(DataLoader(TensorDataset(X)))
    model = network()
    model.compile("sgd", lambda target, output: output.square().mean())  # a function of one's own may do without
    assert model.fit(X, verbose=0).history["loss"][0] > 0


def test_a_label_that_is_no_class_is_found_before_the_first_step() -> None:
    model, wrong = compiled(), Y.clone()
    wrong[7] = K
    for more in ({}, {"class_weight": {0: 2.0}}):
        with pytest.raises(DataError, match=f"label {K} is not a class"):
            model.fit(X, wrong, verbose=0, **more)
        with pytest.raises(DataError, match=f"label {K} is not a class"):
            model.fit(DataLoader(TensorDataset(X, wrong)), verbose=0, **more)


def test_mistakes_in_the_data() -> None:
    with pytest.raises(DataError, match="different lengths"):
        compiled().fit(X, Y[:10], verbose=0)
    with pytest.raises(DataError, match="NaN or infinite"):
        compiled().fit(torch.full((4, 6), float("nan")), Y[:4], verbose=0)
    with pytest.raises(DataError, match="there is no data"):
        compiled().predict([])
    with pytest.raises(ConfigError, match="wrong batch size"):
        compiled().fit(X, Y, batch_size=0, verbose=0)
