"""The learner from Python; the command has tests of its own."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from corecur.data.open_images import load_images
from corecur.engine.callbacks import EarlyStopping, LambdaCallback
from corecur.errors import BundleError, ConfigError, DataError
from corecur.learners.image_classifier import ImageClassifier

QUICK = {"widths": (8, 16), "threads": 1, "epochs": 2}


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def shades(n: int = 72, *, seed: int = 0, shape: tuple[int, ...] = (10, 10)) -> tuple[Any, Any]:
    """Noisy pictures of three shades, and which they are."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    noise = rng.integers(-20, 20, (n, *shape))
    return (20 + 100 * labels.reshape(-1, *[1] * len(shape)) + noise).astype(np.uint8), labels


def test_arrays_of_any_kind_give_the_same(tmp_path: Path) -> None:
    images, labels = shades()
    kinds = [
        (images, labels),
        (torch.from_numpy(images), torch.from_numpy(labels)),
        (images[..., None], labels.tolist()),
        (images.astype(np.float32) / 255, labels),
        (images.astype(np.int64), labels.astype(np.uint8)),
    ]
    weights = []
    for x, y in kinds:
        learner = ImageClassifier(**QUICK)
        result = learner.fit(x, y)
        assert result.run is None and result.test is not None and learner.classes == ("0", "1", "2")
        weights.append(learner.network.state_dict())
    for other in weights[1:]:
        assert all(torch.equal(weights[0][name], other[name]) for name in other)
    assert list(tmp_path.iterdir()) == []


def test_names_as_labels_and_splits_of_their_own() -> None:
    (x, y), (x_test, y_test) = shades(), shades(30, seed=1)
    names = np.array(["dark", "grey", "light"])
    learner = ImageClassifier(**QUICK | {"epochs": 8})
    result = learner.fit(((x, names[y]), (x_test, names[y_test])), validation=0.25)
    assert result.test is not None and result.test.samples == 30 and result.test.accuracy == 1.0
    assert learner.evaluate(x_test, names[y_test]).confusion.tolist() == result.test.confusion.tolist()
    assert [answer.label for answer in learner.predict(x_test)] == names[y_test].tolist()
    assert learner.predict(x_test[0])[0].probabilities == learner.predict(x_test[:1])[0].probabilities
    assert learner.fit((x, y), test=(x_test, y_test), validation=(x_test, y_test)).test.samples == 30


def test_the_seed_gives_the_bytes_of_the_model(tmp_path: Path) -> None:
    images, labels = shades()
    contents = []
    for number, seed in enumerate((3, 3, 4)):
        torch.manual_seed(number)  # what went before does not matter
        np.random.seed(number)
        learner = ImageClassifier(seed=seed, mixup=0.2, cutout=3, **QUICK)
        learner.fit(images, labels)
        path = learner.save(tmp_path / str(number))
        contents.append((path / "weights.safetensors").read_bytes())
    assert contents[0] == contents[1] != contents[2]


@pytest.mark.parametrize("name", ["bundle", "model.corecur"])
@pytest.mark.parametrize("model", ["blocks", "hybrid", "textbook"])
def test_saved_and_loaded_it_answers_the_same(tmp_path: Path, name: str, model: str) -> None:
    images, labels = shades(shape=(26, 14, 3))
    learner = ImageClassifier(model=model, test_time_views=True, flip="horizontal", **QUICK)
    learner.fit(images, labels)
    loaded = ImageClassifier.load(learner.save(tmp_path / name))
    assert loaded.classes == learner.classes and loaded.preprocess == learner.preprocess
    pictures = load_images(images, labels).train.images
    assert torch.equal(loaded.probabilities(pictures), learner.probabilities(pictures))
    assert loaded.predict(images[:3]) == learner.predict(images[:3])


def test_answers_do_not_depend_on_the_pictures_beside_them() -> None:
    images, labels = shades(300)
    learner = ImageClassifier(**QUICK, precision="float32")
    learner.fit(images, labels)
    pictures = load_images(images, labels).train.images
    together = learner.probabilities(pictures)
    alone = torch.cat([learner.probabilities(picture[None]) for picture in pictures[:5]])
    torch.testing.assert_close(together[:5], alone)
    torch.testing.assert_close(together.sum(1), torch.ones(300))
    assert torch.equal(learner.probabilities(pictures), together)


def test_floats_keep_their_scale_at_prediction() -> None:
    images, labels = shades()
    learner = ImageClassifier(**QUICK | {"epochs": 8})
    learner.fit(images.astype(np.float32), labels)  # 0 to 255
    dark = np.full((10, 10), 0.9, np.float32)  # not white, though no value is above 1
    assert learner.predict(dark)[0].label == "0"


def test_what_read_found_can_be_trained_on_twice() -> None:
    learner = ImageClassifier(**QUICK)
    data = learner.read(*shades(), test=0)
    assert data.test is None and data.validation is not None
    assert learner.fit(data, test=0).test is None
    one, other = (ImageClassifier(**QUICK).fit(load_images(*shades())) for _ in range(2))
    assert one.test is not None and one.test.loss == other.test.loss


def test_callbacks_hear_the_training_and_may_stop_it() -> None:
    heard: list[int] = []
    callbacks = [
        LambdaCallback(on_epoch_end=lambda epoch, logs: heard.append(epoch)),
        EarlyStopping("loss", baseline=0),
    ]
    result = ImageClassifier(**QUICK | {"epochs": 50}).fit(*shades(), callbacks=callbacks)
    assert heard == list(range(len(result.history))) and result.stopped_early


def test_few_samples_of_few_classes() -> None:
    for count in (5, 7, 10):
        images, labels = shades(count)
        result = ImageClassifier(**QUICK).fit(images, labels % 2)
        assert result.test is not None and result.test.samples >= 1
    with pytest.raises(DataError, match="too few samples"):
        ImageClassifier(**QUICK).fit(shades(4)[0], np.arange(4) % 2)


def test_it_says_what_it_lacks() -> None:
    learner = ImageClassifier()
    for use in (lambda: learner.network, lambda: learner.predict(np.zeros((8, 8))), lambda: learner.save("x")):
        with pytest.raises(ConfigError, match="not trained"):
            use()
    for wrong in ({"epoch": 1}, {"epochs": 0}, {"seed": -1}, {"seed": 0.5}, {"device": "gpu"}, {"precision": "half"}):
        with pytest.raises(ConfigError):
            ImageClassifier(**wrong)


def test_a_label_it_does_not_know_and_a_source_without_labels() -> None:
    images, labels = shades()
    learner = ImageClassifier(**QUICK)
    learner.fit(images, labels)
    with pytest.raises(DataError, match="not among the classes"):
        learner.evaluate(images, labels + 1)
    with pytest.raises(DataError, match="no labels"):
        learner.evaluate(images)
    lacking = learner.evaluate(images[labels < 2], labels[labels < 2])
    assert tuple(map(str, lacking.findings)) == ("The test split has no picture of '2'.",)


def test_a_bundle_whose_parts_do_not_fit_is_refused(tmp_path: Path) -> None:
    images, labels = shades()
    learner = ImageClassifier(**QUICK)
    learner.fit(images, labels)
    other = copy.copy(learner)
    other.classes = ("a", "b")
    with pytest.raises(BundleError, match="labels do not fit"):
        ImageClassifier.load(other.save(tmp_path / "labels"))
    smaller = copy.copy(learner)
    preparation = learner.preprocess.preparation.__class__(height=9, width=10, channels=1)
    smaller._preprocess = learner.preprocess.model_copy(update={"preparation": preparation})
    with pytest.raises(BundleError, match="another shape"):
        ImageClassifier.load(smaller.save(tmp_path / "shape"))
    learner.network.save(tmp_path / "network")
    with pytest.raises(BundleError, match="no image classifier"):
        ImageClassifier.load(tmp_path / "network")


def test_the_source_in_lines_for_a_person() -> None:
    data = ImageClassifier().read("digits")
    assert ImageClassifier().describe(data) == [
        "digits (sample): 10 classes, 8 × 8 grey pictures; 1,258 training, 180 validation, 359 test",
        "classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9",
        "training samples a class: 121 to 128",
    ]
    many = ImageClassifier().read(np.zeros((60, 4, 4, 3), np.uint8), np.arange(60) % 20)
    first, names, counts = ImageClassifier().describe(many)
    assert (
        "20 classes, 4 × 4 colour" in first
        and names.endswith("11, …")
        and counts.startswith("training samples a class: ")
    )
