"""ImageClassifier: pictures in classes → a trained, tested, reported and saved convolutional network.

N samples, B batch, H height, W width, C channels, K classes.
"""

from __future__ import annotations

import dataclasses
import math
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from corecur import runtime
from corecur.bundle.open import Bundle
from corecur.data.augment import ImageTransform
from corecur.data.batches import TensorBatches
from corecur.data.decoding import Progress
from corecur.data.images import ImageSet, ImageSource, Preparation
from corecur.data.normalise import Normalisation, fit_normalisation
from corecur.data.open_images import load_images, load_split
from corecur.engine.accuracy import Accuracy
from corecur.engine.calibration import COLDEST, HOTTEST, Calibration, calibrate, tempered
from corecur.engine.callbacks import EarlyStopping
from corecur.engine.crossentropy import Crossentropy
from corecur.engine.stochastic_average import AVERAGES
from corecur.engine.trainer import Trainer
from corecur.errors import BundleError, ConfigError
from corecur.finding import Finding
from corecur.learners import image_report
from corecur.learners.answer_record import AnswerRecord, classification_record
from corecur.learners.evaluation import (
    Evaluation,
    Prediction,
    doubtful_labels,
    evaluate_classifier,
    predictions,
    probabilities_listing,
    probabilities_spreadsheet,
)
from corecur.learners.fill_splits import fill_splits, share_in
from corecur.learners.fit_result import FitResult
from corecur.learners.image_budget import TRIAL_BATCH, recipe_for_time, shape_of, trial_step
from corecur.learners.image_recipe import ImageRecipe, check_settings, choose_recipe, default_epochs
from corecur.learners.learner import NO_VALIDATION, Learner, name_of
from corecur.learners.outcome import Listing, Outcome, Tell
from corecur.learners.picture_inputs import read_pictures
from corecur.learners.simple_features import SIDE, picture_features
from corecur.learners.simple_models import Contest, class_contest
from corecur.learners.training import Training
from corecur.learners.views import average_over_views
from corecur.report.page import Section
from corecur.report.thumbnails import data_uri

_PREDICT_BATCH = 256
# Pictures of the trial that settles the number of threads: few, since it can be slow on a busy machine.
_THREADS_TRIAL = 32
# Validation may take this share of the training time.
_VALIDATION_SHARE = 0.06


class ImageReading(BaseModel):
    """How pictures are read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int | tuple[int, int] | None = Field(None, description="side, or height and width, that pictures get")


class ImagePreprocess(BaseModel):
    """``preprocess.json``: how a picture becomes an input, and how answers are averaged."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Literal["image-classification"]
    preparation: Preparation
    normalisation: Normalisation
    views: Literal["one", "shifted", "shifted-mirrored"]
    temperature: float = Field(default=1.0, ge=COLDEST, le=HOTTEST, description="of the probabilities (calibration)")


class ImageClassifier(Learner[ImageSource, ImageRecipe, ImagePreprocess]):
    """Learns to tell classes of pictures apart.

    ``settings`` are recipe settings by name (``epochs=5, mixup=0.2, model="textbook"``), and ``size``, the side that
    pictures are brought to; the rest follows from the data. The same seed, machine, versions and number of threads
    give the same model; ``threads=None`` takes torch's number, or one where other programs keep the cores busy.

    >>> learner = ImageClassifier(epochs=1)
    >>> result = learner.fit("digits")
    >>> result.test.accuracy > 0.5, learner.predict(torch.zeros(1, 8, 8, 1, dtype=torch.uint8))[0].label in "0123456789"
    (True, True)
    """

    task = "image-classification"
    title = "image classifier"
    fills_time = True
    source_type = ImageSource
    recipe_model = ImageRecipe
    reading_model = ImageReading
    preprocess_model = ImagePreprocess

    @classmethod
    def check(cls, settings: Mapping[str, Any]) -> None:
        check_settings(settings)

    def read(
        self,
        source: Any,
        labels: Any = None,
        *,
        validation: Any = None,
        test: Any = None,
        skip_bad: bool = False,
        progress: Progress | None = None,
    ) -> ImageSource:
        """The source with all three splits; what it lacks is taken from its training data, class by class."""
        found = load_images(
            source, labels, size=self.reading.size, skip_bad=skip_bad, progress=progress,
            validation=validation if share_in(validation) is None else None,
            test=test if share_in(test) is None else None,
        )  # fmt: skip
        return self.complete(found, validation=validation, test=test)

    def complete(self, data: ImageSource, *, validation: Any = None, test: Any = None) -> ImageSource:
        return fill_splits(data, seed=self.split_seed, validation=share_in(validation), test=share_in(test))

    def choose(self, data: ImageSource, *, seconds: float | None = None) -> ImageRecipe:
        """The recipe for this data, with this learner's settings in it; within so many seconds if they are given."""
        images = data.train.images
        recipe = choose_recipe(
            samples=len(images), shape=shape_of(images), classes=data.classes, overrides=self.settings
        )
        if seconds is None:
            return recipe
        began = time.perf_counter()
        step = trial_step(images, len(data.classes), recipe, device=self._device, precision=self._precision)
        speed = min(len(images), TRIAL_BATCH) / runtime.least_seconds(step)
        left = seconds - (time.perf_counter() - began)
        return recipe_for_time(images, data.classes, left, speed=speed, overrides=self.settings)

    def advise(self, data: ImageSource, recipe: ImageRecipe, *, timed: bool, tell: Tell) -> None:
        usual = default_epochs(len(data.train))
        if recipe.epochs * 3 <= usual and not timed:
            epochs = "1 epoch is" if recipe.epochs == 1 else f"{recipe.epochs} epochs are"
            tell(f"! {epochs} little for this data: the recipe takes {usual}, and will likely do better.")

    def trial(self, data: ImageSource) -> Callable[[], object]:
        images, recipe = data.train.images, self.choose(data)
        network = recipe.build_network(shape_of(images), len(data.classes)).to(self._device).eval()
        inputs = fit_normalisation(images[:_THREADS_TRIAL])(images[:_THREADS_TRIAL]).to(self._device)

        @torch.no_grad()
        def answer() -> None:
            with runtime.precision(self._precision, self._device):
                network(inputs)

        return answer

    def set_up(self, data: ImageSource, recipe: ImageRecipe) -> None:
        """Build the network and fit the preprocessing on the training split."""
        mirrored = "-mirrored" if recipe.flip in ("horizontal", "both") else ""
        self.classes = data.classes
        self._network = recipe.build_network(shape_of(data.train.images), len(data.classes))
        self._preprocess = ImagePreprocess(
            task="image-classification",
            preparation=data.preparation,
            normalisation=fit_normalisation(data.train.images),
            views=f"shifted{mirrored}" if recipe.test_time_views else "one",  # type: ignore[arg-type]
        )

    def plan(self, data: ImageSource, recipe: ImageRecipe) -> Training:
        train, validation = self._batches(data, recipe)
        per_sample = self._seconds_per_sample(data.train.images)
        tested = sum(len(part) for part in (data.validation, data.test) if part is not None)
        return Training(
            callbacks=AVERAGES[recipe.average](),
            trainer=self._trainer(recipe),
            batches=train,
            validation=validation,
            validate_every=_validation_interval(len(data.train), 0 if validation is None else validation.samples),
            epochs=recipe.epochs,
            stopping=EarlyStopping(
                "val_loss", patience=recipe.patience, restore_best_weights=True, only_when_stopped=True
            ),
            test_seconds=1.25 * per_sample * self._view_count() * tested,
        )

    def calibrate(self, data: ImageSource) -> Calibration:
        """Fit the temperature of the probabilities on the validation split."""
        held = data.validation
        if held is None or held.labels is None:
            return Calibration(obstacle=NO_VALIDATION)
        found = calibrate(self.uncalibrated(held.images), held.labels)
        self._preprocess = self.preprocess.model_copy(update={"temperature": found.temperature})
        return found

    def test(self, data: ImageSource) -> Evaluation | None:
        return None if data.test is None else self._evaluate_set(data.test)

    def contest(self, data: ImageSource, test: Evaluation) -> Contest | None:
        """The majority class, and logistic regression on small pictures."""
        train, held = data.train, data.test
        if train.labels is None or held is None:
            return None
        seen, size = train.images, len(train) * min(SIDE**2 * train.images.shape[3], train.images[0].numel())
        features = {"linear model": lambda: (picture_features(seen), picture_features(held.images))}
        return class_contest(test.right, train.labels.numpy(), test.labels.numpy(), features, size=size)

    def _batches(self, data: ImageSource, recipe: ImageRecipe) -> tuple[TensorBatches, TensorBatches | None]:
        train, normalisation = data.train, self.preprocess.normalisation
        transform = ImageTransform(
            normalisation,
            recipe.augmentation,
            seed=self.seed,
            images=train.images,
            labels=train.labels,
            classes=len(data.classes),
        )
        batches = TensorBatches(
            train.images, train.labels, batch_size=recipe.batch_size, shuffle=True, seed=self.seed,
            drop_last=len(train) > recipe.batch_size, transform=transform, device=self._device,
        )  # fmt: skip
        held = data.validation
        if held is None:
            return batches, None
        return batches, TensorBatches(
            held.images, held.labels, batch_size=_PREDICT_BATCH, transform=ImageTransform(normalisation),
            device=self._device,
        )  # fmt: skip

    def _trainer(self, recipe: ImageRecipe) -> Trainer:
        return Trainer(
            self.network,
            loss=Crossentropy(label_smoothing=recipe.label_smoothing),
            optimizer=recipe.optimizer_for(self.network),
            metrics=[Accuracy()],
            rate=recipe.schedule.rate_at,
            precision=self._precision,
        )

    def _seconds_per_sample(self, images: Tensor) -> float:
        """How long an answer takes, from one batch after a first that warms up."""
        some = images[: min(64, len(images))]
        self.probabilities(some)
        began = time.perf_counter()
        self.probabilities(some)
        return (time.perf_counter() - began) / len(some) / self._view_count()

    def _view_count(self) -> int:
        return {"one": 1, "shifted": 3, "shifted-mirrored": 6}[self.preprocess.views]

    def probabilities(self, images: Tensor) -> Tensor:
        """Class probabilities (N, K) of pictures (N, H, W, C) uint8, calibrated where a temperature was fitted."""
        return tempered(self.uncalibrated(images), self.preprocess.temperature)

    @torch.no_grad()
    def uncalibrated(self, images: Tensor) -> Tensor:
        """Class probabilities (N, K) as the network gives them, averaged over the test-time views."""
        network, preprocess = self.network, self.preprocess
        training = network.training
        network.eval()
        parts = []
        for part in torch.split(images, _PREDICT_BATCH):
            inputs = preprocess.normalisation(part.to(self._device))  # (B, H, W, C) float32
            with runtime.precision(self._precision, self._device):
                parts.append(average_over_views(network, inputs, preprocess.views).cpu())
        network.train(training)
        return torch.cat(parts)

    def evaluate(
        self,
        source: Any,
        labels: Any = None,
        *,
        split: str = "test",
        skip_bad: bool = False,
        progress: Progress | None = None,
    ) -> Evaluation:
        """Test on labelled pictures: the source's test split if it has one, else all of it."""
        preparation = self.preprocess.preparation
        held, findings = load_split(
            source, labels, classes=self.classes, preparation=preparation, split=split, skip_bad=skip_bad,
            progress=progress,
        )  # fmt: skip
        return dataclasses.replace(self._evaluate_set(held), findings=findings)

    def doubts(self, data: ImageSource, test: Outcome | None) -> list[Finding]:
        """Labels of held-out samples that are probably wrong."""
        return doubtful_labels(data, test, self._evaluate_set)

    def _evaluate_set(self, held: ImageSet) -> Evaluation:
        if held.labels is None:
            raise ConfigError("an evaluation needs labels")
        raw, temperature = self.uncalibrated(held.images), self.preprocess.temperature
        return evaluate_classifier(raw, held.labels, self.classes, temperature=temperature)

    def predict(self, source: Any, *, skip_bad: bool = False, progress: Progress | None = None) -> list[Prediction]:
        """Answer for a picture file, a folder, a list of them, or an array (N, H, W, C), (H, W, C) …"""
        preparation = self.preprocess.preparation
        names, images = read_pictures(source, preparation, skip_bad=skip_bad, progress=progress)
        return predictions(self.probabilities(images), names, self.classes)

    def listing(self, answers: Sequence[Prediction], *, top: int) -> Listing:
        return probabilities_listing(answers, what="file", top=top)

    def spreadsheet(self, answers: Sequence[Prediction]) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
        return probabilities_spreadsheet(answers, self.classes, what="file")

    def facts(self, data: ImageSource) -> dict[str, Any]:
        return {
            "classes": list(data.classes),
            "training pictures": len(data.train),
            "samples": image_report.class_counts(data),
        }

    def report(self, data: ImageSource, result: FitResult, config: Mapping[str, Any]) -> Sequence[Section]:
        return image_report.sections(self, data, result, config=config)

    def next_commands(self, bundle: Path, data: ImageSource) -> tuple[str, ...]:
        """Commands to try with a new model; with a picture of the test split where that is a file."""
        model, picture = shlex.quote(str(bundle)), "PICTURE"
        if data.kind == "folder" and data.test is not None:
            file = Path(data.origin, data.test.names[0])
            picture = shlex.quote(str(file)) if file.is_file() else picture
        return f"corecur predict {model} {picture}", f"corecur evaluate {model} FOLDER", f"corecur info {model}"

    def record(self, data: ImageSource, outcome: Evaluation) -> AnswerRecord:
        return self._record(data.test, outcome)

    def examine(
        self, source: Any, *, split: str = "test", skip_bad: bool = False, progress: Progress | None = None
    ) -> AnswerRecord:
        held, findings = load_split(
            source, classes=self.classes, preparation=self.preprocess.preparation, split=split, skip_bad=skip_bad,
            progress=progress,
        )  # fmt: skip
        return self._record(held, dataclasses.replace(self._evaluate_set(held), findings=findings))

    def _record(self, held: ImageSet | None, outcome: Evaluation) -> AnswerRecord:
        if held is None:
            raise ConfigError("there is no test split")
        form = " × ".join(map(str, held.images.shape[1:]))
        return classification_record(self.task, held, outcome, form=form, show=self.drawing(held))

    def drawing(self, part: ImageSet) -> Callable[[int], str]:
        return lambda place: data_uri(part.images[place].numpy())

    def once(self, size: int) -> Callable[[], object]:
        prepared = self.preprocess.preparation
        picture = torch.zeros(1, prepared.height, prepared.width, prepared.channels, dtype=torch.uint8)
        return lambda: self.probabilities(picture)

    def check_loaded(self, bundle: Bundle) -> None:
        symbol, prepared = self.network.input_symbols[0], self.preprocess.preparation
        outputs = self.network.output_symbols[0].shape
        if symbol.shape[1:] != (prepared.height, prepared.width, prepared.channels):
            raise BundleError(
                "bad-preprocess", "the preprocessing makes another shape than the network takes", where=bundle.path
            )
        if bundle.labels is None or (None, len(bundle.labels)) != outputs:
            raise BundleError(
                "bad-labels", f"the labels do not fit a network with outputs {outputs}", where=bundle.path
            )

    def describe(self, data: ImageSource) -> list[str]:
        """What was found, in lines for a person."""
        _, height, width, channels = data.train.images.shape
        splits = {"training": data.train, "validation": data.validation, "test": data.test}
        shown = ", ".join(f"{len(split):,} {name}" for name, split in splits.items() if split is not None)
        colour = "grey" if channels == 1 else "colour"
        names = ", ".join(data.classes[:12]) + (", …" if len(data.classes) > 12 else "")
        lines = [
            f"{name_of(data.origin)} ({data.kind}): {len(data.classes):,} classes, "
            f"{height} × {width} {colour} pictures; {shown}",
            f"classes: {names}",
        ]
        if data.train.labels is not None:
            counts = torch.bincount(data.train.labels, minlength=len(data.classes))
            least, most = int(counts.min()), int(counts.max())
            lines.append(f"training samples a class: {least:,}" + (f" to {most:,}" if most > least else ""))
        return lines


def _validation_interval(training: int, held: int | None) -> int:
    """Epochs between validations, so that they take a small share of the time (a forward costs a third of a step)."""
    return max(1, math.ceil((held or 0) / 3 / (training * _VALIDATION_SHARE)))
