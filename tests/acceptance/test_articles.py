"""The programs of the articles run as they stand, but for their import lines and the slips listed here.

The articles (Chinese, with Python blocks) lie beside the project, in ``../shared/articles``. Each block is found by the
article's number and its own, both counted from 0.

N samples, T time, H height, W width, C channels, K classes.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import corecur.tensorflow as tf
from corecur.engine.callbacks import ModelCheckpoint
from corecur.errors import ShapeError
from corecur.kernels import reference
from corecur.layers.conv import Conv2D
from corecur.layers.dense import Dense
from corecur.layers.lstm import LSTM
from corecur.layers.pool import MaxPooling2D
from corecur.layers.simple_rnn import SimpleRNN
from corecur.models import Model, Sequential

pytestmark = pytest.mark.acceptance

ARTICLES = Path(__file__).resolve().parents[3] / "shared" / "articles"
K = 10

#: (article, block): what it is.
BLOCKS = {
    (0, 0): "a CNN of TensorFlow 1 functions",
    (0, 1): "an RNN of BasicRNNCell and dynamic_rnn",
    (1, 0): "a CNN in a Sequential",
    (1, 1): "two LSTM layers in a Sequential",
    (2, 0): "an RNN in NumPy, without a library",
    (2, 1): "a CNN as a subclass of Model",
    (3, 0): "a CNN with recurrent layers behind it, then a deep Sequential",
}

#: The import lines and what stands in their place.
IMPORTS = {
    "import tensorflow as tf": "import corecur.tensorflow as tf",
    "from keras.models import": "from corecur.models import",
    "from keras.layers import": "from corecur.layers import",
}

#: (article, block): evident slips, each as (why, what is written, what is meant). No other line is touched.
SLIPS: dict[tuple[int, int], list[tuple[str, str, str]]] = {
    (3, 0): [
        ("x is used and nowhere made: the model below takes 32×32×3",
         "# 定义卷积层\nconv1 =", "x = tf.keras.Input(shape=(32, 32, 3))\n# 定义卷积层\nconv1 ="),
        ("Keras has no layer Cell; a recurrent layer reads sequences: the rows of the map, from top to bottom",
         "cell = tf.keras.layers.Cell(type='Recurrent')(pool2)",
         "rows = tf.keras.layers.TimeDistributed(tf.keras.layers.Flatten())(pool2)\n"
         "cell = tf.keras.layers.SimpleRNN(64, return_sequences=True)(rows)"),
        ("the same layer again, now one answer for a picture",
         "cell = tf.keras.layers.Cell(type='Recurrent')(cell)", "cell = tf.keras.layers.SimpleRNN(64)(cell)"),
        ("layers used by names that are not imported",
         "# 定义模型\n", "# 定义模型\nfrom corecur.layers import Conv2D, Dense, Flatten, MaxPooling2D\n"),
        ("six convolutions and six poolings without padding leave less than one pixel of 32",
         "activation='relu'),\n", "activation='relu', padding='same'),\n"),
        ("the same, for the first convolution",
         "input_shape=(32, 32, 3)),\n", "input_shape=(32, 32, 3), padding='same'),\n"),
        ("the same, for the poolings", "MaxPooling2D(pool_size=(2, 2)),\n",
         "MaxPooling2D(pool_size=(2, 2), padding='same'),\n"),
        ("one sigmoid map cannot answer for ten classes, as the loss asks",
         "Conv2D(1, (3, 3), activation='sigmoid')\n", "Flatten(), Dense(10, activation='softmax')\n"),
        ("three numbers are no picture of 32×32×3",
         "model.predict([[200, 0, 0], [0, 200, 0], [0, 0, 200]])", "model.predict(x_test)"),
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def programs() -> dict[tuple[int, int], str]:
    """The Python blocks of all articles."""
    if not ARTICLES.is_dir():
        if os.environ.get("CORECUR_REQUIRE_DATA"):
            pytest.fail("CORECUR_REQUIRE_DATA is set, and there is no folder ../shared/articles")
        pytest.skip("the articles are not here: there is no folder ../shared/articles")
    texts = [path.read_text(encoding="utf-8") for path in sorted(ARTICLES.glob("*.txt"))]
    return {
        (number, block): code
        for number, text in enumerate(texts)
        for block, code in enumerate(re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    }


def corrected(programs: dict[tuple[int, int], str], block: tuple[int, int]) -> str:
    """A block with its import lines and its slips replaced, each of which must be there."""
    code = programs[block]
    for written, meant in IMPORTS.items():
        code = re.sub(f"^{re.escape(written)}", meant, code, flags=re.MULTILINE)
    for why, written, meant in SLIPS.get(block, []):
        assert written in code, why
        code = code.replace(written, meant)
    return code


def run(programs: dict[tuple[int, int], str], block: tuple[int, int], **given: Any) -> dict[str, Any]:
    """What a block's program defines; ``given`` are the names it expects."""
    names = dict(given)
    torch.manual_seed(0)
    exec(compile(corrected(programs, block), f"article {block[0]}, block {block[1]}", "exec"), names)
    return names


def pictures(samples: int, shape: tuple[int, int, int], *, seed: int) -> tuple[Any, Any, Any]:
    """Pictures (N, H, W, C) of noise with a bright square whose place tells the class (N,), one-hot (N, K)."""
    rng = np.random.default_rng(seed)
    labels = np.arange(samples) % K
    x = rng.uniform(0, 0.3, (samples, *shape)).astype(np.float32)
    size = shape[0] // 4
    for picture, label in zip(x, labels, strict=True):
        top, left = divmod(int(label), 4)
        picture[top * size : (top + 1) * size, left * size : (left + 1) * size] += 0.7
    return x, labels, np.eye(K, dtype=np.float32)[labels]


def assert_answers(model: Any, x: Any) -> None:
    """Probabilities of ten classes for each picture."""
    answers = model.predict(x)
    assert answers.shape == (len(x), K)
    assert (answers >= 0).all()
    np.testing.assert_allclose(answers.sum(1), 1, rtol=1e-5)


# what the articles hold


def test_the_blocks_are_those_of_the_list(programs: dict[tuple[int, int], str]) -> None:
    assert set(programs) == set(BLOCKS)
    assert set(SLIPS) <= set(BLOCKS)


def test_nothing_changes_but_import_lines_and_slips(programs: dict[tuple[int, int], str]) -> None:
    for block in BLOCKS:
        written, run_instead = programs[block].splitlines(), corrected(programs, block).splitlines()
        if block not in SLIPS:
            changed = [line for line, other in zip(written, run_instead, strict=True) if line != other]
            assert all(line.startswith(("import ", "from ")) for line in changed), block
            assert len(changed) == 2 - (block[0] != 1) - (block == (2, 0))


def test_the_deep_network_would_shrink_below_one_pixel() -> None:
    model = Sequential([Conv2D(1, 3, input_shape=(32, 32, 3))])
    with pytest.raises(ShapeError, match=r'(?s)the input has 2.*padding="same"'):
        for _ in range(3):
            model.add(MaxPooling2D((2, 2)))
            model.add(Conv2D(1, 3))


# the programs


def test_functions_of_tensorflow_1(programs: dict[tuple[int, int], str]) -> None:
    names = run(programs, (0, 0))
    model = Model(outputs=names["cnn_model"]((28, 28, 1), K))  # 使用CNN模型进行训练和预测: the article ends before it
    assert [type(layer).__name__ for layer in model.layers] == [
        "Conv2D", "Activation", "MaxPooling2D", "Conv2D", "Activation", "MaxPooling2D", "Flatten", "Dense"
    ]  # fmt: skip
    assert model.count_params() == 320 + 18_496 + 7 * 7 * 64 * K + K
    x, labels, one_hot = pictures(120, (28, 28, 1), seed=0)
    model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(x, one_hot, epochs=3, batch_size=16, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert model.evaluate(x, one_hot, return_dict=True)["accuracy"] > 0.5
    assert_answers(model, pictures(7, (28, 28, 1), seed=1)[0])


def test_a_sequential_cnn(programs: dict[tuple[int, int], str], capsys: pytest.CaptureFixture[str]) -> None:
    (x_train, _, y_train), (x_test, _, y_test) = (pictures(n, (28, 28, 1), seed=n) for n in (80, 40))
    names = run(programs, (1, 0), x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    model, (loss, accuracy) = names["model"], names["score"]
    assert model.count_params() == 225_034
    history = model.history.history
    assert len(history["loss"]) == 10
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    assert accuracy > 0.8
    assert loss < 1.0
    assert_answers(model, x_test)


def test_a_subclass_of_model(programs: dict[tuple[int, int], str]) -> None:
    model = run(programs, (2, 1))["CNN"]()
    assert isinstance(model, nn.Module)
    x, _, one_hot = pictures(80, (28, 28, 1), seed=0)
    model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(x, one_hot, epochs=8, batch_size=16, verbose=0).history
    assert model.count_params() == 225_034
    assert history["loss"][-1] < history["loss"][0]
    loss, accuracy = model.evaluate(x, one_hot)
    assert accuracy > 0.5
    assert np.isfinite(loss)
    assert_answers(model, x[:5])


def test_a_functional_hybrid_and_a_deep_cnn(
    programs: dict[tuple[int, int], str], capsys: pytest.CaptureFixture[str]
) -> None:
    x_train, _, y_train = pictures(60, (32, 32, 3), seed=0)
    x_test, _, y_test = pictures(20, (32, 32, 3), seed=1)
    names = run(programs, (3, 0), x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    model = names["model"]
    history = model.history.history["loss"]
    assert len(history) == 10
    assert min(history) < history[0]
    widths = [layer.filters for layer in model.layers if isinstance(layer, Conv2D)]
    assert widths == [32, 64, 128, 256, 256, 512, 512]
    assert "conv2d_6" in capsys.readouterr().out  # 展示模型
    assert names["y_pred"].shape == (20, K)
    np.testing.assert_allclose(names["y_pred"].sum(1), 1, rtol=1e-5)
    assert len(model.evaluate(x_test, y_test)) == 2
    functional = Model(names["x"], names["cell"])
    kinds = [type(layer).__name__ for layer in functional.layers]
    assert kinds == ["Conv2D", "MaxPooling2D"] * 2 + ["TimeDistributed", "SimpleRNN", "SimpleRNN", "Dense"]
    functional.compile(optimizer="adam", loss="categorical_crossentropy")
    losses = functional.fit(x_train, y_train, epochs=4, batch_size=16, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert_answers(functional, x_test)


def sums(samples: int, *, seed: int, features: int = 3, steps: int = 12) -> tuple[Any, Any]:
    """Sequences (N, T, C) of noise, and at each step one-hot (N, T, K) in which of K bins their running sum lies."""
    x = np.random.default_rng(seed).normal(0, 0.4, (samples, steps, features)).astype(np.float32)
    bins = np.digitize(x.sum(2).cumsum(1), np.linspace(-2.5, 2.5, K - 1))  # (N, T)
    return x, np.eye(K, dtype=np.float32)[bins]


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_a_basic_rnn_cell_and_dynamic_rnn(programs: dict[tuple[int, int], str], activation: str) -> None:
    names = run(programs, (0, 1))
    cell = names["rnn_cell"](64, activation)
    assert cell.get_config()["activation"] in (activation, getattr(tf.nn, activation))
    if activation == "relu":  # the article's rnn_model takes the default, tanh
        names["rnn_cell"].__defaults__ = ("relu",)
    model = Model(outputs=names["rnn_model"]((None, 3), 64, K))
    assert model.count_params() == 64 * (3 + 64 + 2) + 64 * K + K  # with the two biases of torch
    x, y = sums(400, seed=0)
    model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(x, y, epochs=15, batch_size=16, verbose=0).history
    assert history["loss"][-1] < 0.6 * history["loss"][0]
    answers = model.predict(sums(5, seed=1, steps=20)[0])  # of any length
    assert answers.shape == (5, 20, K)
    np.testing.assert_allclose(answers.sum(2), 1, rtol=1e-5)


def test_another_activation_is_refused_as_the_article_says(programs: dict[tuple[int, int], str]) -> None:
    with pytest.raises(ValueError, match="Unsupported activation function"):
        run(programs, (0, 1))["rnn_cell"](4, "swish")


def test_two_lstm_layers_and_a_checkpoint(programs: dict[tuple[int, int], str], tmp_path: Path) -> None:
    x, y = sums(160, seed=0, features=K)
    y = y[:, -1]  # the bin of the whole sum, as many classes as features: the article's Dense(n_features)
    best = tmp_path / "best.safetensors"
    checkpointer = ModelCheckpoint(best, monitor="loss", save_best_only=True, save_weights_only=True)
    names = run(
        programs, (1, 1), timesteps=x.shape[1], n_features=K, checkpointer=checkpointer,
        x_train=x, y_train=y, x_test=x[:40], y_test=y[:40],
    )  # fmt: skip
    model, (loss, accuracy) = names["model"], names["score"]
    assert [type(layer).__name__ for layer in model.layers] == ["LSTM", "LSTM", "Dense", "Activation"]
    losses = model.history.history["loss"]
    assert len(losses) == 100
    assert losses[-1] < 0.2 * losses[0]
    assert loss < 1.0
    assert accuracy > 0.9
    again = Sequential([LSTM(128, input_shape=x.shape[1:], return_sequences=True), LSTM(128), Dense(K, "softmax")])
    again.load_weights(best)
    assert_answers(again, x[:5])
    agreed = (again.predict(x).argmax(1) == y.argmax(1)).mean()
    assert agreed > 0.9


def test_the_task_of_the_numpy_rnn(programs: dict[tuple[int, int], str]) -> None:
    article = run(programs, (2, 0))["RNN"](3, 8, 1)
    x, _ = sums(64, seed=0)
    y = np.tanh(x.sum(2, keepdims=True).cumsum(1))  # (N, T, 1)
    with pytest.raises(NameError, match="hidden_size"):  # its sizes are attributes, and it uses bare names
        article.train(x[0].T, y[0].T, 1)
    rng = np.random.default_rng(0)
    shapes = {
        "weight_ih": (16, 3),
        "weight_hh": (16, 16),
        "bias_ih": 16,
        "bias_hh": 16,
        "weight_hy": (1, 16),
        "bias_hy": 1,
    }
    weights = {name: rng.normal(0, 0.2, shape) for name, shape in shapes.items()}
    losses = [reference.train_step(x, y, weights, rate=0.01) for _ in range(400)]
    assert losses[-1] < 0.1 * losses[0]
    model = Sequential([SimpleRNN(16, return_sequences=True, input_shape=(None, 3)), Dense(1)])
    model.compile(optimizer="adam", loss="mse")
    history = model.fit(x, y, epochs=60, batch_size=16, verbose=0).history["loss"]
    assert history[-1] < 0.1 * history[0]
