"""ImageClassifier: pictures in classes → a trained, tested, reported and saved convolutional network.

N samples, B batch, H height, W width, C channels, K classes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from corecur import runtime
from corecur.bundle.open import Bundle, open_untrusted
from corecur.data.augment import ImageTransform
from corecur.data.batches import TensorBatches
from corecur.data.decoding import Progress
from corecur.data.images import ImageSet, ImageSource, Preparation
from corecur.data.normalise import Normalisation, fit_normalisation
from corecur.data.open_images import load_images, load_split
from corecur.engine.accuracy import Accuracy
from corecur.engine.budget import Budget, TimeBudget
from corecur.engine.callbacks import Callback, EarlyStopping
from corecur.engine.crossentropy import Crossentropy
from corecur.engine.progress import ProgressBar, clock
from corecur.engine.trainer import Trainer
from corecur.errors import BundleError, ConfigError
from corecur.learners import image_report
from corecur.learners.divergence import RefuseDivergence
from corecur.learners.evaluation import Evaluation, Prediction, evaluate_classifier, predictions
from corecur.learners.fill_splits import fill_splits, share_in
from corecur.learners.image_budget import TRIAL_BATCH, recipe_for_time, shape_of, trial_step
from corecur.learners.image_recipe import ImageRecipe, check_settings, choose_recipe, default_epochs
from corecur.learners.learner import FitResult, Learner, Tell, silence
from corecur.learners.picture_inputs import read_pictures
from corecur.learners.views import average_over_views
from corecur.model_file import model_in, save_model
from corecur.models import Model
from corecur.run_folder import MetricsLog, RunFolder, check_writable

_PREDICT_BATCH = 256
# Pictures of the trial that settles the number of threads: few, since it can be slow on a busy machine.
_THREADS_TRIAL = 32
# Seconds kept back from a time budget for the report and the bundle.
_SECONDS_FOR_REPORT = 4.0
# Validation may take this share of the training time.
_VALIDATION_SHARE = 0.06


class ImagePreprocess(BaseModel):
    """``preprocess.json``: how a picture becomes an input, and how answers are averaged."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Literal["image-classification"]
    preparation: Preparation
    normalisation: Normalisation
    views: Literal["one", "shifted", "shifted-mirrored"]


class ImageClassifier(Learner):
    """Learns to tell classes of pictures apart.

    ``settings`` are recipe settings by name (``epochs=5, mixup=0.2, model="textbook"``); the rest of the recipe follows
    from the data. The same seed, machine, versions and number of threads give the same model; ``threads=None`` takes
    torch's number, or one where other programs keep the cores busy.

    >>> learner = ImageClassifier(epochs=1)
    >>> result = learner.fit("digits")
    >>> result.test.accuracy > 0.5, learner.predict(torch.zeros(1, 8, 8, 1, dtype=torch.uint8))[0].label in "0123456789"
    (True, True)
    """

    task = "image-classification"

    def __init__(
        self,
        *,
        seed: int = 0,
        device: str = "auto",
        precision: str = "auto",
        threads: int | None = None,
        **settings: Any,
    ) -> None:
        check_settings(settings)
        runtime.check_seed(seed)
        self.seed = seed
        self.device = device
        self.precision = precision
        self.threads = threads
        self.settings = settings
        self._device = runtime.find_device(device)
        self._precision = runtime.find_precision(precision, self._device)
        self.classes: tuple[str, ...] = ()
        self.recipe: ImageRecipe | None = None
        self._network: Model | None = None
        self._preprocess: ImagePreprocess | None = None

    @property
    def network(self) -> Model:
        """The trained network; ConfigError before ``fit`` or ``load``."""
        if self._network is None:
            raise ConfigError("this learner is not trained", do="call fit(source), or ImageClassifier.load(path)")
        return self._network

    @property
    def preprocess(self) -> ImagePreprocess:
        """How pictures become inputs; ConfigError before ``fit`` or ``load``."""
        if self._preprocess is None:
            raise ConfigError("this learner is not trained", do="call fit(source), or ImageClassifier.load(path)")
        return self._preprocess

    @property
    def environment(self) -> dict[str, str]:
        """Machine, versions, device and precision of this learner."""
        precision = str(self._precision).removeprefix("torch.")
        return runtime.describe() | {"device": str(self._device), "precision": precision}

    def read(
        self,
        source: Any,
        labels: Any = None,
        *,
        validation: Any = None,
        test: Any = None,
        size: int | tuple[int, int] | None = None,
        skip_bad: bool = False,
        progress: Progress | None = None,
    ) -> ImageSource:
        """The source with all three splits; what it lacks is taken from its training data, class by class."""
        found = load_images(
            source, labels, size=size, skip_bad=skip_bad, progress=progress,
            validation=validation if share_in(validation) is None else None,
            test=test if share_in(test) is None else None,
        )  # fmt: skip
        return fill_splits(found, seed=self.seed, validation=share_in(validation), test=share_in(test))

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

    def fit(  # type: ignore[override]
        self,
        source: Any,
        labels: Any = None,
        *,
        validation: Any = None,
        test: Any = None,
        seconds: float | None = None,
        size: int | tuple[int, int] | None = None,
        out: str | Path | None = None,
        name: str = "images",
        command: str = "",
        skip_bad: bool = False,
        callbacks: Sequence[Callback] = (),
        tell: Tell = silence,
        verbose: bool = False,
        began: float | None = None,
    ) -> FitResult:
        """Train on a source, or on what ``read`` returned; test; write the run folder if ``out`` names its parent.

        ``seconds`` bounds the whole fit instead of epochs. ``validation`` and ``test`` are sources or shares of the
        training data. Raises DataError, ConfigError or RunError before any work where something is wrong.
        """
        began = time.perf_counter() if began is None else began
        if out is not None:
            check_writable(Path(out), source)
        if isinstance(source, ImageSource):
            data = fill_splits(source, seed=self.seed, validation=share_in(validation), test=share_in(test))
        else:
            data = self.read(source, labels, validation=validation, test=test, size=size, skip_bad=skip_bad)
        self._settle_threads(data)
        left = None if seconds is None else max(1.0, seconds - (time.perf_counter() - began))
        recipe = self.choose(data, seconds=left)
        runtime.seed_everything(self.seed)
        self._set_up(data, recipe)
        _tell_of_few_epochs(recipe, samples=len(data.train), timed=seconds is not None, tell=tell)
        run = None if out is None else RunFolder.create(Path(out), name)
        planned = recipe.epochs if seconds is None else None
        result = FitResult(run=run, findings=data.findings, planned_epochs=planned)
        with contextlib.nullcontext() if run is None else run:
            image_report.begin_run(self, data, result, command=command)
            self._train(data, recipe, result, seconds, began, callbacks, verbose)
            tell(f"trained {result.epochs_in_words()} in {clock(result.train_seconds)}")
            if data.test is not None:
                result.test = self._evaluate_set(data.test)
            result.seconds = time.perf_counter() - began
            image_report.write_run(self, data, result, command=command)
            result.seconds = time.perf_counter() - began
        return result

    def _settle_threads(self, data: ImageSource) -> None:
        """Take the number of threads asked for, or what serves a piece of this training best."""
        runtime.keep_freed_memory()
        if self.threads is not None:
            torch.set_num_threads(self.threads)
            return
        images, recipe = data.train.images, self.choose(data)
        network = recipe.build_network(shape_of(images), len(data.classes)).to(self._device).eval()
        inputs = fit_normalisation(images[:_THREADS_TRIAL])(images[:_THREADS_TRIAL]).to(self._device)

        @torch.no_grad()
        def answer() -> None:
            with runtime.precision(self._precision, self._device):
                network(inputs)

        runtime.choose_threads(answer)

    def _set_up(self, data: ImageSource, recipe: ImageRecipe) -> None:
        """Build the network and fit the preprocessing on the training split."""
        network = recipe.build_network(shape_of(data.train.images), len(data.classes))
        mirrored = "-mirrored" if recipe.flip in ("horizontal", "both") else ""
        self.recipe, self.classes = recipe, data.classes
        self._network = network.to(self._device)
        self._preprocess = ImagePreprocess(
            task="image-classification",
            preparation=data.preparation,
            normalisation=fit_normalisation(data.train.images),
            views=f"shifted{mirrored}" if recipe.test_time_views else "one",  # type: ignore[arg-type]
        )

    def _train(
        self, data: ImageSource, recipe: ImageRecipe, result: FitResult, seconds: float | None, began: float,
        callbacks: Sequence[Callback], verbose: bool,
    ) -> None:  # fmt: skip
        train, validation = self._batches(data, recipe)
        trainer = self._trainer(recipe)
        budget: Budget | None = None
        per_sample = self._seconds_per_sample(data.train.images)
        if seconds is not None:
            held_back = _SECONDS_FOR_REPORT + 1.25 * per_sample * self._view_count() * (
                0 if data.test is None else len(data.test)
            )
            budget = TimeBudget(max(1.0, seconds - (time.perf_counter() - began) - min(held_back, seconds / 3)))
        listening = list(callbacks)
        stopping = EarlyStopping(
            "val_loss", patience=recipe.patience, restore_best_weights=True, only_when_stopped=True
        )
        if validation is not None:
            listening.append(stopping)
        if result.run is not None:
            listening.append(MetricsLog(result.run))
        listening.append(RefuseDivergence())
        epochs = recipe.epochs if seconds is None else 1_000_000
        if verbose:
            listening.append(ProgressBar(recipe.epochs if seconds is None else None))
        started = time.perf_counter()
        result.history = trainer.fit(
            train,
            epochs=epochs,
            validation=validation,
            validate_every=_validation_interval(len(data.train), 0 if validation is None else validation.samples),
            budget=budget,
            callbacks=listening,
        )
        result.train_seconds = time.perf_counter() - started

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

    @torch.no_grad()
    def probabilities(self, images: Tensor) -> Tensor:
        """Class probabilities (N, K) of pictures (N, H, W, C) uint8, averaged over the test-time views."""
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

    def evaluate(  # type: ignore[override]
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

    def _evaluate_set(self, held: ImageSet) -> Evaluation:
        if held.labels is None:
            raise ConfigError("an evaluation needs labels")
        return evaluate_classifier(self.probabilities(held.images), held.labels, self.classes)

    def predict(  # type: ignore[override]
        self, source: Any, *, skip_bad: bool = False, progress: Progress | None = None
    ) -> list[Prediction]:
        """Answer for a picture file, a folder, a list of them, or an array (N, H, W, C), (H, W, C) …"""
        preparation = self.preprocess.preparation
        names, images = read_pictures(source, preparation, skip_bad=skip_bad, progress=progress)
        return predictions(self.probabilities(images), names, self.classes)

    def save(self, path: str | Path, *, card: str | None = None) -> Path:
        """Write the bundle: network, preprocessing and labels."""
        network = self.network
        return save_model(
            network,
            Path(path),
            labels=list(self.classes),
            preprocess=self.preprocess.model_dump(mode="json"),
            card=card or f"# Image classifier\n\nClasses: {', '.join(self.classes)}\n",
        )

    @classmethod
    def load(cls, path: str | Path, *, device: str = "auto", precision: str = "auto") -> ImageClassifier:
        """The classifier in a bundle; BundleError if it is none."""
        return cls.from_bundle(open_untrusted(path), device=device, precision=precision)

    @classmethod
    def from_bundle(cls, bundle: Bundle, *, device: str = "auto", precision: str = "auto") -> ImageClassifier:
        """The classifier in an opened bundle."""
        try:
            preprocess = ImagePreprocess.model_validate(bundle.preprocess)
        except (ValidationError, ConfigError) as error:
            reason = error.what if isinstance(error, ConfigError) else error.errors()[0]["msg"]
            raise BundleError(
                "bad-preprocess", f"this is no image classifier: in preprocess.json, {reason}", where=bundle.path
            ) from error
        learner = cls(device=device, precision=precision)
        network = model_in(bundle)
        symbol, prepared = network.input_symbols[0], preprocess.preparation
        outputs = network.output_symbols[0].shape
        if symbol.shape[1:] != (prepared.height, prepared.width, prepared.channels):
            raise BundleError(
                "bad-preprocess", "the preprocessing makes another shape than the network takes", where=bundle.path
            )
        if bundle.labels is None or (None, len(bundle.labels)) != outputs:
            raise BundleError(
                "bad-labels", f"the labels do not fit a network with outputs {outputs}", where=bundle.path
            )
        learner._network, learner._preprocess, learner.classes = (
            network.to(learner._device),
            preprocess,
            tuple(bundle.labels),
        )
        return learner


def _validation_interval(training: int, held: int | None) -> int:
    """Epochs between validations, so that they take a small share of the time (a forward costs a third of a step)."""
    return max(1, math.ceil((held or 0) / 3 / (training * _VALIDATION_SHARE)))


def _tell_of_few_epochs(recipe: ImageRecipe, *, samples: int, timed: bool, tell: Tell) -> None:
    usual = default_epochs(samples)
    if recipe.epochs * 3 <= usual and not timed:
        epochs = "1 epoch is" if recipe.epochs == 1 else f"{recipe.epochs} epochs are"
        tell(f"! {epochs} little for this data: the recipe takes {usual}, and will likely do better.")


def describe_source(data: ImageSource) -> list[str]:
    """What was found, in lines for a person."""
    _, height, width, channels = data.train.images.shape
    splits = {"training": data.train, "validation": data.validation, "test": data.test}
    shown = ", ".join(f"{len(split):,} {name}" for name, split in splits.items() if split is not None)
    colour = "grey" if channels == 1 else "colour"
    names = ", ".join(data.classes[:12]) + (", …" if len(data.classes) > 12 else "")
    lines = [
        f"{image_report.name_of(data.origin)} ({data.kind}): {len(data.classes):,} classes, "
        f"{height} × {width} {colour} pictures; {shown}",
        f"classes: {names}",
    ]
    if data.train.labels is not None:
        counts = torch.bincount(data.train.labels, minlength=len(data.classes))
        least, most = int(counts.min()), int(counts.max())
        lines.append(f"training samples a class: {least:,}" + (f" to {most:,}" if most > least else ""))
    return lines
