"""The convolutional programs of the articles run as they stand, but for their import lines and the slips listed here.

The articles (Chinese, with Python blocks) lie beside the project, in ``../shared/articles``. Each block is found by the
article's number and its own, both counted from 0.

N samples, H height, W width, C channels, K classes.
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

from corecur.errors import ShapeError
from corecur.layers.conv import Conv2D
from corecur.layers.pool import MaxPooling2D
from corecur.models import Model, Sequential

pytestmark = pytest.mark.acceptance

ARTICLES = Path(__file__).resolve().parents[3] / "shared" / "articles"
K = 10

#: (article, block): what it is, and whether it is convolutional. The others wait for the recurrent layers.
BLOCKS = {
    (0, 0): ("a CNN of TensorFlow 1 functions", True),
    (0, 1): ("an RNN of BasicRNNCell and dynamic_rnn", False),
    (1, 0): ("a CNN in a Sequential", True),
    (1, 1): ("two LSTM layers in a Sequential", False),
    (2, 0): ("an RNN in NumPy, without a library", False),
    (2, 1): ("a CNN as a subclass of Model", True),
    (3, 0): ("a functional CNN, then a deep Sequential", True),
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
        ("Keras has no layer Cell, and a Dense of 10 classes needs one row per picture",
         "cell = tf.keras.layers.Cell(type='Recurrent')(pool2)", "cell = tf.keras.layers.Flatten()(pool2)"),
        ("the same layer again", "cell = tf.keras.layers.Cell(type='Recurrent')(cell)", ""),
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
    assert set(SLIPS) <= {block for block, (_, convolutional) in BLOCKS.items() if convolutional}
    for block, (_, convolutional) in BLOCKS.items():
        assert convolutional == bool(re.search(r"conv", programs[block], re.IGNORECASE)), block


def test_nothing_changes_but_import_lines_and_slips(programs: dict[tuple[int, int], str]) -> None:
    for block, (_, convolutional) in BLOCKS.items():
        if not convolutional:
            continue
        written, run_instead = programs[block].splitlines(), corrected(programs, block).splitlines()
        if block not in SLIPS:
            changed = [line for line, other in zip(written, run_instead, strict=True) if line != other]
            assert all(line.startswith(("import ", "from ")) for line in changed), block
            assert len(changed) in (1, 2)


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


def test_a_functional_cnn_and_a_deep_one(
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
    functional.compile(optimizer="adam", loss="categorical_crossentropy")
    losses = functional.fit(x_train, y_train, epochs=4, batch_size=16, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert_answers(functional, x_test)
