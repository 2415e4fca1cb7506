"""SeriesClassifier: series in classes → a trained, tested, reported and saved network for series of any length.

N samples, B batch, T time, C channels, K classes.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

import torch
from torch import Tensor

from corecur import runtime
from corecur.bundle.open import Bundle
from corecur.data.batches import Batch, TensorBatches
from corecur.data.decoding import Progress
from corecur.data.series.open_series import load_series, load_series_split
from corecur.data.series.series_augment import SeriesTransform
from corecur.data.series.series_scaling import fit_scaling
from corecur.data.series.series_set import SeriesSet, SeriesSource
from corecur.engine.calibration import Calibration, calibrate, tempered
from corecur.engine.callbacks import EarlyStopping
from corecur.engine.evaluating import evaluating
from corecur.engine.stochastic_average import AVERAGES
from corecur.engine.trainer import Trainer
from corecur.errors import BundleError, ConfigError, DataError
from corecur.finding import Finding
from corecur.learners import series_report
from corecur.learners.answer_record import AnswerRecord, classification_record
from corecur.learners.class_activation import class_activation
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
from corecur.learners.learner import NO_VALIDATION, Learner, NoReading, name_of
from corecur.learners.outcome import Listing, Outcome, Tell
from corecur.learners.series_inputs import SeriesPreprocess, ShortenedTransform, read_inputs, shortened
from corecur.learners.series_recipe import FEW_SERIES, SeriesRecipe, checked_recipe, choose_series
from corecur.learners.simple_features import STEPS, series_features
from corecur.learners.simple_models import Contest, class_contest, standardised
from corecur.learners.text_heads import AverageAccuracy, EachHead
from corecur.learners.training import Training
from corecur.models import Model
from corecur.report.line_charts import line_chart
from corecur.report.page import Section

# Steps (B · T) that one batch of answers may have.
_STEPS_AT_ONCE = 2**16
# Series of the trial that settles the number of threads, and of the step that is timed.
_TRIAL_SERIES = 16
# Validation, augmentation and the machine's moods take the rest of a time budget.
_STEADY_SHARE = 0.8
_MOST_MEMBERS = 5


class SeriesClassifier(Learner[SeriesSource, SeriesRecipe, SeriesPreprocess]):
    """Learns to tell classes of series apart: movements, heartbeats, shapes, sounds as curves.

    ``settings`` are recipe settings by name (``epochs=50, model="lstm-fcn"``). Series may have several channels and
    lengths of their own; a missing value becomes the line between its neighbours.

    >>> learner = SeriesClassifier(model="fcn", filters=8, epochs=3, threads=1)
    >>> result = learner.fit("waves")
    >>> result.test.accuracy > 0.5, learner.predict(torch.zeros(40))[0].label in ("cylinder", "bell", "funnel")
    (True, True)
    """

    task = "series-classification"
    title = "series classifier"
    fills_time = True
    source_type = SeriesSource
    recipe_model = SeriesRecipe
    reading_model = NoReading
    preprocess_model = SeriesPreprocess

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._members: Model | None = None

    @classmethod
    def check(cls, settings: Mapping[str, Any]) -> None:
        checked_recipe(settings)

    def read(
        self,
        source: Any,
        labels: Any = None,
        *,
        validation: Any = None,
        test: Any = None,
        skip_bad: bool = False,
        progress: Progress | None = None,
    ) -> SeriesSource:
        """The source with a test split; of few series none is held out for validation."""
        given = {"validation": validation, "test": test}
        parts = {name: None if share_in(part) is not None else part for name, part in given.items()}
        found = load_series(source, labels, skip_bad=skip_bad, **parts)
        return self.complete(found, validation=validation, test=test)

    def complete(self, data: SeriesSource, *, validation: Any = None, test: Any = None) -> SeriesSource:
        share = share_in(validation)
        if share is None and len(data.train) < FEW_SERIES:
            share = 0.0
        return fill_splits(data, seed=self.split_seed, validation=share, test=share_in(test))

    def choose(self, data: SeriesSource, *, seconds: float | None = None) -> SeriesRecipe:
        """The recipe for this data; for so many seconds, with as many members as there is time for."""
        sizes = {"samples": len(data.train), "steps": int(data.train.lengths.max())}
        recipe = choose_series(**sizes, overrides=self.settings)
        if seconds is None or "members" in self.settings:
            return recipe
        began = time.perf_counter()
        step = self._trial_step(data, recipe)
        steps = recipe.epochs * max(1, len(data.train) // recipe.batch_size)
        once = runtime.least_seconds(step) * steps
        left = (seconds - (time.perf_counter() - began)) * _STEADY_SHARE
        members = max(1, min(_MOST_MEMBERS, int(left / once)))
        return choose_series(**sizes, overrides=self.settings, members=members)

    def _trial_step(self, data: SeriesSource, recipe: SeriesRecipe) -> Callable[[], None]:
        """A training step, to be timed; nothing else changes by it."""
        some = data.train.take(torch.arange(min(len(data.train), recipe.batch_size)))
        transform = ShortenedTransform(SeriesTransform(fit_scaling(data.train, recipe.scaling)))
        _, members = recipe.build_networks(channels=some.values.shape[2], classes=len(data.classes))
        trainer = self._trainer(recipe, members.to(self._device))
        inputs = transform(_batch_of(some, self._device), 0).inputs
        labels = torch.zeros(len(some), dtype=torch.int64, device=self._device)
        trainer.begin(TensorBatches(inputs), epochs=1)

        def step() -> None:
            loss, _ = trainer.train_step(Batch(inputs, labels))
            float(loss)  # waits for a GPU

        return step

    def trial(self, data: SeriesSource) -> Callable[[], object]:
        recipe = choose_series(samples=len(data.train), steps=int(data.train.lengths.max()), overrides=self.settings)
        some = data.train.take(torch.arange(min(len(data.train), _TRIAL_SERIES)))
        network, _ = recipe.build_networks(channels=some.values.shape[2], classes=len(data.classes))
        network.to(self._device).eval()
        inputs = some.values.to(self._device)

        @torch.no_grad()
        def answer() -> None:
            with runtime.precision(self._precision, self._device):
                network(inputs)

        return answer

    def advise(self, data: SeriesSource, recipe: SeriesRecipe, *, timed: bool, tell: Tell) -> None:
        if data.validation is None:
            tell(f"all {len(data.train):,} training series are learned from; none is held out for validation")

    def set_up(self, data: SeriesSource, recipe: SeriesRecipe) -> None:
        """Fit the scaling on the training split and build the network."""
        self.classes = data.classes
        lengths = data.train.lengths
        self._preprocess = SeriesPreprocess(
            task="series-classification",
            preparation=data.preparation,
            scaling=fit_scaling(data.train, recipe.scaling),
            shortest=int(lengths.min()),
            longest=int(lengths.max()),
        )
        channels = data.train.values.shape[2]
        self._network, self._members = recipe.build_networks(channels=channels, classes=len(data.classes))

    def plan(self, data: SeriesSource, recipe: SeriesRecipe) -> Training:
        if self._members is None:
            raise ConfigError("there is no network to train", do="call fit(source)")
        train = data.train
        transform = SeriesTransform(
            self.preprocess.scaling, recipe.augmentation, seed=self.seed, series=train, classes=len(data.classes)
        )
        batches = TensorBatches(
            _fields(train), train.labels, batch_size=recipe.batch_size, shuffle=True, seed=self.seed,
            drop_last=len(train) > recipe.batch_size, transform=ShortenedTransform(transform), device=self._device,
        )  # fmt: skip
        return Training(
            callbacks=AVERAGES[recipe.average](),
            trainer=self._trainer(recipe, self._members.to(self._device)),
            batches=batches,
            validation=None if data.validation is None else self._held(data.validation),
            epochs=recipe.epochs,
            stopping=EarlyStopping(
                "val_loss", patience=recipe.patience, restore_best_weights=True, only_when_stopped=True
            ),
            test_seconds=self._test_seconds(data),
        )

    def _held(self, series: SeriesSet) -> TensorBatches:
        transform = ShortenedTransform(SeriesTransform(self.preprocess.scaling))
        size = max(1, _STEPS_AT_ONCE // series.values.shape[1])
        return TensorBatches(_fields(series), series.labels, batch_size=size, transform=transform, device=self._device)

    def _trainer(self, recipe: SeriesRecipe, members: Model) -> Trainer:
        return Trainer(
            members,
            loss=EachHead(label_smoothing=recipe.label_smoothing),
            optimizer=recipe.optimizer_for(members),
            metrics=[AverageAccuracy()],
            rate=recipe.schedule.rate_at,
            precision=self._precision,
        )

    def _test_seconds(self, data: SeriesSource) -> float:
        answered = sum(len(part) for part in (data.validation, data.test) if part is not None)
        if not answered:
            return 0.0
        some = data.train.take(torch.arange(min(len(data.train), _TRIAL_SERIES)))
        self.probabilities(some)
        began = time.perf_counter()
        self.probabilities(some)
        return 1.25 * (time.perf_counter() - began) / len(some) * answered

    def calibrate(self, data: SeriesSource) -> Calibration:
        """Fit the temperature of the probabilities on the validation split."""
        held = data.validation
        if held is None or held.labels is None:
            return Calibration(obstacle=NO_VALIDATION)
        found = calibrate(self.uncalibrated(held), held.labels)
        self._preprocess = self.preprocess.model_copy(update={"temperature": found.temperature})
        return found

    def test(self, data: SeriesSource) -> Evaluation | None:
        return None if data.test is None else self._evaluate_set(data.test)

    def contest(self, data: SeriesSource, test: Evaluation) -> Contest | None:
        """The majority class, and logistic regression on few steps and plain statistics of each channel."""
        train, held = data.train, data.test
        if train.labels is None or held is None:
            return None
        steps = min(STEPS, train.values.shape[1])
        parts = {"linear model": lambda: standardised(*(series_features(one, steps=steps) for one in (train, held)))}
        size = len(train) * steps * train.values.shape[2]
        return class_contest(test.right, train.labels.numpy(), test.labels.numpy(), parts, size=size)

    def probabilities(self, series: SeriesSet) -> Tensor:
        """Class probabilities (N, K) of series, calibrated where a temperature was fitted."""
        return tempered(self.uncalibrated(series), self.preprocess.temperature)

    @torch.no_grad()
    def uncalibrated(self, series: SeriesSet) -> Tensor:
        """Class probabilities (N, K) as the network gives them.

        The answer to a series does not depend on what else is answered with it.
        """
        found = torch.zeros(len(series), len(self.classes))
        with evaluating(self.network):
            for rows, inputs in self._inputs(series):
                found[rows] = self.network(inputs).float().cpu()
        return found

    def activation(self, series: SeriesSet) -> list[Tensor] | None:
        """What each step adds to each class, (T, K) a series of its own length; None where the network cannot tell."""
        lengths = series.lengths.tolist()
        found: list[Tensor] = [torch.zeros(0)] * len(series)
        for rows, inputs in self._inputs(series):
            maps = class_activation(self.network, inputs)
            if maps is None:
                return None
            for row, one in zip(rows.tolist(), maps.cpu(), strict=True):
                found[row] = one[: lengths[row]]
        return found

    def _inputs(self, series: SeriesSet) -> list[tuple[Tensor, Tensor]]:
        """Places in the set and network inputs, series of similar length together. In float32, whatever training had:
        rounded products would differ from batch to batch."""
        order = series.lengths.argsort(stable=True)
        longest = max(1, int(series.lengths.max())) if len(series) else 1
        found = []
        for rows in torch.split(order, max(1, _STEPS_AT_ONCE // longest)):
            values, mask = series.take_values(rows)
            scaled = self.preprocess.scaling(values, mask)
            found.append((rows, (scaled if mask is None else shortened(scaled, mask)).to(self._device)))
        return found

    def evaluate(
        self,
        source: Any,
        labels: Any = None,
        *,
        split: str = "test",
        skip_bad: bool = False,
        progress: Progress | None = None,
    ) -> Evaluation:
        """Test on labelled series: the source's test split if it has one, else all of it."""
        held, findings = load_series_split(
            source, labels, classes=self.classes, preparation=self.preprocess.preparation, split=split,
            skip_bad=skip_bad,
        )  # fmt: skip
        found = self._evaluate_set(held)
        return dataclasses.replace(found, findings=(*findings, *self.preprocess.length_findings(held)))

    def doubts(self, data: SeriesSource, test: Outcome | None) -> list[Finding]:
        """Labels of held-out samples that are probably wrong."""
        return doubtful_labels(data, test, self._evaluate_set)

    def _evaluate_set(self, held: SeriesSet) -> Evaluation:
        if held.labels is None:
            raise DataError(
                "these series have no labels to compare the answers with",
                got=f"{len(held):,} series without labels",
                expected="a label for each series",
                do="ask for answers alone: predict",
            )
        raw, temperature = self.uncalibrated(held), self.preprocess.temperature
        return evaluate_classifier(raw, held.labels, self.classes, temperature=temperature)

    def predict(self, source: Any, *, skip_bad: bool = False, progress: Progress | None = None) -> list[Prediction]:
        """Answer for files of series, ``-`` (rows on standard input), one series (T,) or (T, C), or several."""
        found: list[Prediction] = []
        for series in read_inputs(source, self.preprocess, skip_bad=skip_bad):
            found += predictions(self.probabilities(series), series.names, self.classes)
        return found

    def listing(self, answers: Sequence[Prediction], *, top: int) -> Listing:
        return probabilities_listing(answers, what="series", top=top)

    def spreadsheet(self, answers: Sequence[Prediction]) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
        return probabilities_spreadsheet(answers, self.classes, what="series")

    def facts(self, data: SeriesSource) -> dict[str, Any]:
        return {
            "classes": list(data.classes),
            "channels": list(data.preparation.channels),
            "training series": len(data.train),
            "samples": series_report.series_counts(data),
        }

    def report(self, data: SeriesSource, result: FitResult, config: Mapping[str, Any]) -> Sequence[Section]:
        return series_report.sections(self, data, result, config=config)

    def next_commands(self, bundle: Path, data: SeriesSource) -> tuple[str, ...]:
        model = quote(str(bundle))
        source = quote(data.origin) if Path(data.origin).exists() or data.kind == "sample" else "SOURCE"
        return f"corecur predict {model} {source}", f"corecur evaluate {model} {source}", f"corecur info {model}"

    def record(self, data: SeriesSource, outcome: Evaluation) -> AnswerRecord:
        return self._record(data.test, outcome)

    def examine(
        self, source: Any, *, split: str = "test", skip_bad: bool = False, progress: Progress | None = None
    ) -> AnswerRecord:
        held, findings = load_series_split(
            source, classes=self.classes, preparation=self.preprocess.preparation, split=split, skip_bad=skip_bad
        )
        found = dataclasses.replace(self._evaluate_set(held), findings=findings)
        return self._record(held, found)

    def _record(self, held: SeriesSet | None, outcome: Evaluation) -> AnswerRecord:
        if held is None:
            raise ConfigError("there is no test split")
        return classification_record(self.task, held, outcome, sizes=held.lengths.tolist(), show=self.drawing(held))

    def drawing(self, part: SeriesSet) -> Callable[[int], str]:
        lengths = part.lengths.tolist()
        return lambda place: line_chart(part.values[place, : lengths[place]].numpy())

    def once(self, size: int) -> Callable[[], object]:
        steps = size or self.preprocess.longest
        series = SeriesSet(torch.zeros(1, steps, len(self.preprocess.preparation.channels)), None, None, ("",))
        return lambda: self.probabilities(series)

    def check_loaded(self, bundle: Bundle) -> None:
        symbol, outputs = self.network.input_symbols[0], self.network.output_symbols[0].shape
        preparation, scaling = self.preprocess.preparation, self.preprocess.scaling
        if symbol.shape[1:] != (None, len(preparation.channels)) or len(scaling.mean) not in (0, symbol.shape[-1]):
            raise BundleError(
                "bad-preprocess", "the preprocessing makes another shape than the network takes", where=bundle.path
            )
        if bundle.labels is None or (None, len(bundle.labels)) != outputs:
            raise BundleError("bad-labels", f"the labels do not fit outputs {outputs}", where=bundle.path)

    def describe(self, data: SeriesSource) -> list[str]:
        """What was found, in lines for a person."""
        lengths = data.train.lengths
        least, most = int(lengths.min()), int(lengths.max())
        steps = f"{least:,} steps" if least == most else f"{least:,} to {most:,} steps"
        channels = len(data.preparation.channels)
        splits = {"training": data.train, "validation": data.validation, "test": data.test}
        shown = ", ".join(f"{len(split):,} {name}" for name, split in splits.items() if split is not None)
        names = ", ".join(data.classes[:12]) + (", …" if len(data.classes) > 12 else "")
        return [
            f"{name_of(data.origin)} ({data.kind}): {len(data.classes):,} classes, series of {steps}, "
            f"{channels} channel{'s' * (channels > 1)}; {shown}",
            f"classes: {names}",
        ]


def _fields(series: SeriesSet) -> Tensor | tuple[Tensor, Tensor]:
    return series.values if series.mask is None else (series.values, series.mask)


def _batch_of(series: SeriesSet, device: torch.device) -> Batch:
    fields = _fields(series)
    moved = fields.to(device) if isinstance(fields, Tensor) else tuple(field.to(device) for field in fields)
    return Batch(moved, index=torch.arange(len(series), device=device))
