"""Models as files: what is loaded is what was saved, and what strangers change is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from corecur.bundle.open import open_untrusted
from corecur.bundle.write import write_bundle
from corecur.engine.losses import CategoricalCrossentropy, Huber
from corecur.engine.metrics import Accuracy, SparseTopKCategoricalAccuracy
from corecur.engine.optimizers import SGD, AdamW
from corecur.engine.schedules import PiecewiseConstantDecay, Warmup
from corecur.errors import BundleError, ConfigError, RunError, ShapeError
from corecur.layers import LAYERS
from corecur.layers.conv import Conv2D
from corecur.layers.dense import Dense
from corecur.layers.layer import Layer
from corecur.layers.merge import Add
from corecur.layers.norm import BatchNormalization
from corecur.layers.pool import GlobalMaxPooling2D
from corecur.layers.shape import Flatten
from corecur.model_file import load_weights, save_weights
from corecur.models import Input, Model, Sequential

from .layers.samples import SAMPLES, call, inputs, make

X = torch.randn(20, 8, 8, 2, generator=torch.Generator().manual_seed(0))
Y = torch.arange(20) % 3
both_forms = pytest.mark.parametrize("name", ["m", "m.zip", "m.corecur"])


def cnn() -> Sequential:
    torch.manual_seed(0)
    first = Conv2D(4, 3, activation="relu", input_shape=(8, 8, 2))
    return Sequential([first, BatchNormalization(), Flatten(), Dense(3, "softmax")], name="cnn")


def trained() -> Sequential:
    model = cnn()
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    model.fit(X, Y, epochs=2, verbose=0)
    return model


def contents(path: Path) -> dict[str, bytes]:
    return {member.name: member.read_bytes() for member in path.iterdir()} if path.is_dir() else {"": path.read_bytes()}


# what is loaded is what was saved


@both_forms
def test_the_answers_are_the_same_to_the_bit(tmp_path: Path, name: str) -> None:
    model = trained()
    model.save(tmp_path / name)
    again = Model.load(str(tmp_path / name))
    assert type(again) is Sequential
    assert again.name == "cnn"
    assert not again.training
    assert torch.equal(again.predict(X), model.predict(X))
    assert again.evaluate(X, Y) == model.evaluate(X, Y)
    for (key, mine), (other, theirs) in zip(model.state_dict().items(), again.state_dict().items(), strict=True):
        assert key == other
        assert torch.equal(mine, theirs)
        assert mine.stride() == theirs.stride()


@pytest.mark.parametrize("row", sorted(LAYERS))
def test_every_layer_of_the_table(tmp_path: Path, row: str) -> None:
    symbols = [Input(shape) for shape in SAMPLES[row].shapes]
    layer = make(row)
    model = Model(symbols, call(layer, symbols if SAMPLES[row].takes_list else symbols[0])).eval()
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.copy_(torch.rand(tensor.shape))
    model.save(tmp_path / "m")
    x = inputs(row)
    assert torch.equal(Model.load(tmp_path / "m")(x), model(x))


@both_forms
def test_saved_twice_the_bytes_are_the_same(tmp_path: Path, name: str) -> None:
    first, second = tmp_path / "1" / name, tmp_path / "2" / name
    model = trained()
    model.save(first)
    model.save(second)
    assert contents(first) == contents(second)
    Model.load(first).save(second)  # and through a load
    assert contents(first) == contents(second)


def test_a_loaded_model_trains_on(tmp_path: Path) -> None:
    model = trained()
    model.save(tmp_path / "m")
    again = Model.load(tmp_path / "m")
    history = again.fit(X, Y, epochs=20, verbose=0).history["loss"]
    assert history[-1] < history[0]


class Twins(Model):
    """Two names for one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = self.second = Dense(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))


def shared_across() -> Model:
    inner, layer, x = Input((4,)), Dense(4), Input((4,))
    return Model(x, Add()([Model(inner, layer(inner))(x), layer(x)]))


def twins() -> Model:
    model = Twins()
    model(torch.zeros(1, 4))
    return model


@pytest.mark.parametrize("make_model", [shared_across, twins])
def test_a_layer_that_stands_in_two_places(tmp_path: Path, make_model: Callable[[], Model]) -> None:
    model, x = make_model(), torch.randn(3, 4)
    model.save(tmp_path / "m")
    assert torch.equal(Model.load(tmp_path / "m", custom=[Twins])(x), model(x))


class Gate(Layer):
    def build(self, input_shape: Any) -> None:
        self.scale = self.add_weight((input_shape[-1],), initializer="ones")
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale.sigmoid()


class Residual(Model):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv, self.gate, self.head = Conv2D(width, 3, padding="same"), Gate(), Dense(3)

    def call(self, x: Tensor) -> Tensor:
        return self.head(GlobalMaxPooling2D()(self.gate(self.conv(x)) + x))


def test_classes_of_one_s_own(tmp_path: Path) -> None:
    model = Residual(2)
    model.compile("sgd", "mse")
    model.fit(X, torch.zeros(20, 3), verbose=0)
    model.save(tmp_path / "m.zip")
    again = Model.load(tmp_path / "m.zip", custom=[Residual, Gate])
    assert torch.equal(again.predict(X), model.predict(X))
    for custom in ([], [Gate]):
        with pytest.raises(BundleError, match=r"(?s)kind 'Residual'.*custom=\[Residual\]"):
            Model.load(tmp_path / "m.zip", custom=custom)


# how it was compiled

COMPILED = {
    "names": ("adam", "sparse_categorical_crossentropy", ["accuracy", "sparse_top_k_categorical_accuracy"]),
    "objects": (
        AdamW(0.01, weight_decay=0.1, clipnorm=1.0),
        CategoricalCrossentropy(label_smoothing=0.1),
        [Accuracy(name="hits"), SparseTopKCategoricalAccuracy(2)],
    ),
    "no metrics": (SGD(0.1, momentum=0.9), Huber(0.3), None),
    "a schedule": (SGD(Warmup(PiecewiseConstantDecay((10, 20), (0.1, 0.2, 0.05)), steps=5)), "mse", "mae"),
}


@pytest.mark.parametrize("case", COMPILED)
def test_compile_settings_come_back(tmp_path: Path, case: str) -> None:
    optimizer, loss, metrics = COMPILED[case]
    model = cnn()
    model.compile(optimizer, loss, metrics, precision="bfloat16")
    model.save(tmp_path / "m")
    again = Model.load(tmp_path / "m")
    assert again._optimizer == model._optimizer
    assert again._loss == model._loss
    assert [repr(metric) for metric in again._metrics] == [repr(metric) for metric in model._metrics]
    assert torch.equal(again.predict(X), model.predict(X))  # in the same precision


@pytest.mark.parametrize(
    "arguments",
    [
        {"optimizer": torch.optim.Adadelta, "loss": "mse"},
        {"optimizer": "sgd", "loss": lambda target, output: output.sum()},
        {"optimizer": "sgd", "loss": "mse", "metrics": [lambda target, output: output]},
        {"optimizer": type("SGD", (SGD,), {})(), "loss": "mse"},
    ],
)
def test_settings_without_names_are_left_out(tmp_path: Path, arguments: dict[str, Any]) -> None:
    model = cnn()
    model.compile(**arguments)
    model.save(tmp_path / "m")
    again = Model.load(tmp_path / "m")
    with pytest.raises(ConfigError, match="not compiled"):
        again.evaluate(X, Y)
    assert torch.equal(again.predict(X), model.predict(X))


def test_several_losses_and_their_weights(tmp_path: Path) -> None:
    x = Input((3,))
    model = Model(x, [Dense(1)(x), Dense(2)(x)])
    model.compile("sgd", ["mse", Huber(0.1)], [["mae"], []], loss_weights=[1.0, 0.5])
    model.save(tmp_path / "m")
    again, targets = Model.load(tmp_path / "m"), [torch.ones(4, 1), torch.ones(4, 2)]
    assert again.evaluate(torch.ones(4, 3), targets) == model.evaluate(torch.ones(4, 3), targets)


def test_one_metric_needs_no_list(tmp_path: Path) -> None:
    model = cnn()
    model.compile("sgd", "sparse_categorical_crossentropy", "accuracy")
    model.save(tmp_path / "m")
    assert Model.load(tmp_path / "m").evaluate(X, Y) == model.evaluate(X, Y)


# what cannot be saved


def test_nothing_is_written_where_a_model_cannot_be_described(tmp_path: Path) -> None:
    for model in (Sequential([Input((3,)), Dense(2, lambda x: x)]), Sequential([Input((3,)), nn.Linear(3, 2)])):
        with pytest.raises(ConfigError, match=r"not code|cannot be described"):
            model.save(tmp_path / "m")
    with pytest.raises(ConfigError, match="once it is built"):
        Sequential([Dense(2)]).save(tmp_path / "m")
    assert os.listdir(tmp_path) == []


def test_a_place_with_something_else(tmp_path: Path) -> None:
    (tmp_path / "notes.zip").write_text("precious")
    with pytest.raises(RunError, match="something else"):
        cnn().save(tmp_path / "notes.zip")
    assert (tmp_path / "notes.zip").read_text() == "precious"


# what strangers change


def rewritten(path: Path, **changed: Any) -> Path:
    """The bundle with other members, and a manifest that fits them."""
    bundle = open_untrusted(path)
    parts = {"model": bundle.model, "weights": cnn().state_dict()} | changed
    return write_bundle(path, **parts)


def code_of(path: Path) -> str:
    with pytest.raises(BundleError) as caught:
        Model.load(path)
    return caught.value.code


def test_weights_of_another_model(tmp_path: Path) -> None:
    path, state = tmp_path / "m", cnn().state_dict()
    cnn().save(path)
    name = "dense.weight"
    assert code_of(rewritten(path, weights=state | {name: state[name].T.contiguous()})) == "other-tensors"
    assert code_of(rewritten(path, weights=state | {name: state[name].half()})) == "other-tensors"
    assert code_of(rewritten(path, weights=state | {name: state[name] * float("nan")})) == "not-finite"
    assert code_of(rewritten(path, weights={k: v for k, v in state.items() if k != name})) == "other-tensors"
    assert code_of(rewritten(path, weights=state | {"dense.extra": torch.zeros(1)})) == "other-tensors"
    rewritten(path)
    assert Model.load(path).built


MODELS = {
    "no object": [],
    "another form": {"network": {}},
    "a field more": {"network": {}, "compiled": None, "code": "x"},
    "a layer alone": {"network": {"kind": "Dense", "name": None, "config": {"units": 2}}, "compiled": None},
}


@pytest.mark.parametrize("model", MODELS)
def test_a_model_json_that_holds_no_model(tmp_path: Path, model: str) -> None:
    cnn().save(tmp_path / "m")
    assert code_of(rewritten(tmp_path / "m", model=MODELS[model])) == "bad-architecture"


BAD_SETTINGS: list[Any] = [  # fmt: skip
    "adam",
    [],
    {"optimizer": "adam"},
    {
        "optimizer": "adam",
        "loss": "mse",
        "metrics": [],
        "loss_weights": None,
        "precision": "float32",
        "callback": "os.system",
    },
    {"optimizer": "os.system", "loss": "mse", "metrics": [], "loss_weights": None, "precision": "float32"},
    {"optimizer": {"kind": "Popen"}, "loss": "mse", "metrics": [], "loss_weights": None, "precision": "float32"},
    {
        "optimizer": {"kind": "adam", "args": 1},
        "loss": "mse",
        "metrics": [],
        "loss_weights": None,
        "precision": "float32",
    },
    {"optimizer": {"kind": ["adam"]}, "loss": "mse", "metrics": [], "loss_weights": None, "precision": "float32"},
    {
        "optimizer": {"kind": "adam", "learning_rate": -1},
        "loss": "mse",
        "metrics": [],
        "loss_weights": None,
        "precision": "float32",
    },
    {"optimizer": 7, "loss": "mse", "metrics": [], "loss_weights": None, "precision": "float32"},
    {"optimizer": "adam", "loss": "eval", "metrics": [], "loss_weights": None, "precision": "float32"},
    {"optimizer": "adam", "loss": "mse", "metrics": ["exec"], "loss_weights": None, "precision": "float32"},
    {
        "optimizer": {"kind": "adam", "learning_rate": {"kind": "sgd"}},
        "loss": "mse",
        "metrics": [],
        "loss_weights": None,
        "precision": "float32",
    },
    {"optimizer": "adam", "loss": "mse", "metrics": 3, "loss_weights": None, "precision": "float32"},
    {"optimizer": "adam", "loss": "mse", "metrics": [], "loss_weights": None, "precision": "int8"},
    {"optimizer": "adam", "loss": None, "metrics": [], "loss_weights": None, "precision": None},
]


@pytest.mark.parametrize("number", range(len(BAD_SETTINGS)))
def test_compile_settings_that_no_model_writes(tmp_path: Path, number: int) -> None:
    cnn().save(tmp_path / "m")
    model = {"network": open_untrusted(tmp_path / "m").model["network"], "compiled": BAD_SETTINGS[number]}
    assert code_of(rewritten(tmp_path / "m", model=model)) == "bad-architecture"


def test_a_giant_is_refused_before_it_gets_memory(tmp_path: Path) -> None:
    cnn().save(tmp_path / "m")
    text = json.dumps(open_untrusted(tmp_path / "m").model).replace('"units": 3', '"units": 1000000000000')
    assert code_of(rewritten(tmp_path / "m", model=json.loads(text))) == "too-much"


# weights alone


def test_weights_alone(tmp_path: Path) -> None:
    model, other = trained(), cnn()
    path = tmp_path / "deep" / "w.safetensors"
    model.save_weights(str(path))
    other.load_weights(path)
    assert torch.equal(other.predict(X), model.predict(X))
    foreign = Sequential([Input((3,)), nn.Linear(3, 2)])
    foreign.save_weights(path)
    foreign.load_weights(path)
    assert os.listdir(path.parent) == ["w.safetensors"]
    twins().save_weights(path)


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "w"
    save_weights(cnn(), path)
    with pytest.raises(ShapeError, match=r"(?s)another model.*w\n.*no match for batch_normalization.bias"):
        load_weights(Sequential([Dense(2, input_shape=(3,))]), path)
    path.write_bytes(b"x" * 100)
    with pytest.raises(BundleError, match="cannot be read"):
        cnn().load_weights(path)
    with pytest.raises(BundleError, match="cannot be read"):
        cnn().load_weights(tmp_path / "nothing")


def test_weights_in_a_place_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(RunError, match="cannot be written"):
        cnn().save_weights(tmp_path / "folder")

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="No space left"):
        cnn().save_weights(tmp_path / "w")
    assert os.listdir(tmp_path) == ["folder"]


def test_a_double_model_keeps_its_dtype_in_its_weights(tmp_path: Path) -> None:
    model = cnn().double()
    model.save_weights(tmp_path / "w")
    other = cnn().double()
    other.load_weights(tmp_path / "w")
    assert np.array_equal(other(X.double()).detach().numpy(), model(X.double()).detach().numpy())
