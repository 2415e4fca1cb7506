"""What every learner is: files or arrays in, people's answers out, and all that is needed to do it again tomorrow.

A learner of a task says how a source is read, which recipe suits it, what is trained on what, and how answers are
shown; the rest (time budget, run folder, report, bundle) is here, once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from operator import length_hint
from pathlib import Path
from shlex import quote
from typing import Any, ClassVar, Generic, Self, TypeVar, cast

import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from corecur import runtime
from corecur.bundle.open import Bundle, open_untrusted
from corecur.data.decoding import Progress
from corecur.engine.budget import Budget, TimeBudget
from corecur.engine.calibration import Calibration
from corecur.engine.callback import Callback
from corecur.engine.checkpointing import Checkpointing, Interval
from corecur.engine.progress import ProgressBar, clock
from corecur.errors import BundleError, ConfigError
from corecur.explain.attribution import Explanation
from corecur.finding import Finding
from corecur.learners.aftermath import all_sections, finish, kept_results, model_card
from corecur.learners.answer_record import AnswerRecord
from corecur.learners.examination import doctor_for, with_doctor
from corecur.learners.fit_result import FitResult
from corecur.learners.outcome import Listing, Outcome, Source, Tell, silence
from corecur.learners.run_keeping import keep_run
from corecur.learners.run_request import RunRequest, recipe_in
from corecur.learners.settings import checked_settings, divided
from corecur.learners.simple_models import Contest, checked_kind
from corecur.learners.training import Training
from corecur.model_file import model_in, save_model
from corecur.models import Model
from corecur.report.doctor_section import doctor_section
from corecur.report.page import Section, write_page
from corecur.run_folder import MetricsLog, RunFolder, check_writable, read_config

# Seconds kept back from a time budget for the report and the bundle.
_SECONDS_FOR_REPORT = 4.0
#: Why probabilities are left as they are.
NO_VALIDATION = "there is no validation split to fit them on"
# The kinds of data that were given as values in Python: nobody can read them again.
_IN_MEMORY = ("arrays", "python")


class NoReading(BaseModel):
    """A task whose sources are read in one way only."""

    model_config = ConfigDict(frozen=True, extra="forbid")


D = TypeVar("D", bound=Source)
R = TypeVar("R", bound=BaseModel)
P = TypeVar("P", bound=BaseModel)
T = TypeVar("T")


class Learner(ABC, Generic[D, R, P]):
    """One task from raw data to answers; a subclass a task.

    ``settings`` are settings of the recipe and of how a source is read, by name; the rest follows from the data. The
    same seed, machine, versions and number of threads give the same model; ``threads=None`` takes torch's number, or
    one where other programs keep the cores busy. ``split_seed``, by default the seed, draws the splits that a source
    lacks: learners to be compared or combined share it.
    """

    #: The name of the task, as ``--task`` takes it and a bundle keeps it.
    task: ClassVar[str]
    #: What people call such a learner.
    title: ClassVar[str]
    #: How ``read`` gives the data back: what ``fit`` takes without reading.
    source_type: ClassVar[type[Any]]
    #: The settings by name: of the recipe (``R``), of how a source is read, and what a bundle keeps (``P``).
    recipe_model: ClassVar[type[BaseModel]]
    reading_model: ClassVar[type[BaseModel]] = NoReading
    preprocess_model: ClassVar[type[BaseModel]]
    #: Whether a time budget is filled with passes over the data; else the recipe's epochs are the most there are.
    fills_time: ClassVar[bool] = False

    def __init__(
        self,
        *,
        seed: int = 0,
        split_seed: int | None = None,
        device: str = "auto",
        precision: str = "auto",
        threads: int | None = None,
        **settings: Any,
    ) -> None:
        runtime.check_seed(seed)
        runtime.check_seed(seed if split_seed is None else split_seed)
        self._given = dict(settings)
        reading, self.settings = divided(settings, self.reading_model, self.recipe_model)
        self.reading: Any = checked_settings(self.reading_model, reading)
        self.check(self.settings)
        self.seed = seed
        self.split_seed = seed if split_seed is None else split_seed
        self.device = device
        self.precision = precision
        self.threads = threads
        self._device = runtime.find_device(device)
        self._precision = runtime.find_precision(precision, self._device)
        self.classes: tuple[str, ...] = ()
        self.recipe: R | None = None
        self._network: Model | None = None
        self._preprocess: P | None = None

    # What a task defines

    @abstractmethod
    def read(
        self,
        source: Any,
        labels: Any = None,
        *,
        validation: Any = None,
        test: Any = None,
        skip_bad: bool = False,
        progress: Progress | None = None,
    ) -> D:
        """The source with its splits; what it lacks is taken from its training data.

        ``validation`` and ``test`` are sources of their own or shares of the training data.
        """

    @abstractmethod
    def describe(self, data: D) -> list[str]:
        """What was found in a source, in lines for a person."""

    @abstractmethod
    def choose(self, data: D, *, seconds: float | None = None) -> R:
        """The recipe for this data, with this learner's settings in it; for so many seconds if they are given."""

    @abstractmethod
    def set_up(self, data: D, recipe: R) -> None:
        """Fit the preprocessing on the training split and build the network: ``_preprocess``, ``_network``, …"""

    @abstractmethod
    def plan(self, data: D, recipe: R) -> Training:
        """Trainer and batches, after ``set_up``."""

    @abstractmethod
    def test(self, data: D) -> Outcome | None:
        """The test of the trained network on the data's own test split, if it has one."""

    @abstractmethod
    def facts(self, data: D) -> dict[str, Any]:
        """What ``config.json`` and the model card say of the data: classes, numbers of samples, …"""

    @abstractmethod
    def report(self, data: D, result: FitResult, config: Mapping[str, Any]) -> Sequence[Section]:
        """The sections of the report."""

    @abstractmethod
    def evaluate(
        self,
        source: Any,
        labels: Any = None,
        *,
        split: str = "test",
        skip_bad: bool = False,
        progress: Progress | None = None,
    ) -> Outcome:
        """Test on a labelled source: its test split if it has one, else all of it."""

    @abstractmethod
    def predict(self, source: Any, *, skip_bad: bool = False, progress: Progress | None = None) -> list[Any]:
        """Answers, each with ``as_json()``, for Python values, or for a path or a list of paths.

        ``Path("-")`` is standard input. A string is a path only to learners whose samples are not texts.
        """

    @abstractmethod
    def listing(self, answers: Sequence[Any], *, top: int) -> Listing:
        """Answers as a table for people."""

    @abstractmethod
    def spreadsheet(self, answers: Sequence[Any]) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
        """Answers as header and rows of a CSV file."""

    @abstractmethod
    def record(self, data: D, outcome: Any) -> AnswerRecord:
        """What the test of ``data`` came to, sample by sample; ``outcome`` is what ``test`` gave."""

    @abstractmethod
    def examine(
        self, source: Any, *, split: str = "test", skip_bad: bool = False, progress: Progress | None = None
    ) -> AnswerRecord:
        """The same for a labelled source: its test split if it has one, else all of it."""

    def drawing(self, part: Any) -> Callable[[int], str] | None:
        """What draws a sample of a split, by its place, as a data URI or an SVG element; None where none is drawn."""
        return None

    @abstractmethod
    def once(self, size: int) -> Callable[[], object]:
        """Answers for one made-up sample of so many steps, words or tokens where it has them: to be timed."""

    @classmethod
    def check(cls, settings: Mapping[str, Any]) -> None:
        """Refuse settings of the recipe that are wrong whatever the data (ConfigError)."""
        checked_settings(cls.recipe_model, settings)

    def complete(self, data: D, *, validation: Any = None, test: Any = None) -> D:
        """Data that ``read`` gave or the caller made, with the splits that it lacks."""
        return data

    def calibrate(self, data: D) -> Calibration | None:
        """Fit on the validation split what makes probabilities right, after the training; None where there are none."""
        return None

    def contest(self, data: D, test: Any) -> Contest | None:
        """The network's results on the test split and the simple models to set beside them, if there are any."""
        return None

    def trial(self, data: D) -> Callable[[], object] | None:
        """A piece of the work, a few milliseconds long, that tells how many threads serve this training best."""
        return None

    def check_loaded(self, bundle: Bundle) -> None:
        """Refuse a bundle whose parts do not fit each other (BundleError)."""

    def doubts(self, data: D, test: Outcome | None) -> list[Finding]:
        """What the trained network says against held-out samples themselves, after the test."""
        return []

    def next_commands(self, bundle: Path, data: D) -> tuple[str, ...]:
        """Commands to try with a new model."""
        model = quote(str(bundle))
        return f"corecur predict {model} SOURCE", f"corecur evaluate {model} SOURCE", f"corecur info {model}"

    # What is the same for all

    def explain(self, source: Any, **options: Any) -> list[Explanation]:
        """What each answer to a source, as `predict` takes it, rests on.

        ``options`` (``method``, ``target``, ``limit``, …) are those of `explain_answers`, where they are told.
        """
        from corecur.learners.explanations import explain_answers

        return explain_answers(self, source, **options)

    @property
    def network(self) -> Model:
        """The trained network; ConfigError before ``fit`` or ``load``."""
        return self._trained(self._network)

    @property
    def preprocess(self) -> P:
        """How samples become inputs; ConfigError before ``fit`` or ``load``."""
        return self._trained(self._preprocess)

    def _trained(self, part: T | None) -> T:
        if part is None:
            kind = type(self).__name__
            raise ConfigError("this learner is not trained", do=f"call fit(source), or {kind}.load(path)")
        return part

    @property
    def environment(self) -> dict[str, str]:
        """Machine, versions, device and precision of this learner."""
        precision = str(self._precision).removeprefix("torch.")
        return runtime.describe() | {"device": str(self._device), "precision": precision}

    def fit(
        self,
        source: Any,
        labels: Any = None,
        *,
        validation: Any = None,
        test: Any = None,
        seconds: float | None = None,
        out: str | Path | None = None,
        name: str | None = None,
        command: str = "",
        skip_bad: bool = False,
        save_every: str | int = "1m",
        baseline: str = "auto",
        heal: bool = False,
        resume: str | Path | RunFolder | None = None,
        callbacks: Sequence[Callback] = (),
        tell: Tell = silence,
        verbose: bool = False,
        began: float | None = None,
        trial: bool = False,
    ) -> FitResult:
        """Train on a source, or on what ``read`` returned; test; write the run folder if ``out`` names its parent.

        ``seconds`` bounds the whole fit. ``validation`` and ``test`` are sources or shares of the
        training data. ``baseline`` names the simple models that stand beside the result (``baselines.KINDS``).
        ``save_every`` says how often a run is kept (500 steps, ``"2m"``, ``"never"``), ``resume`` is
        the run to go on with, or its folder, on the same source and with the same arguments: it ends with the weights
        of a run that was never interrupted. A doctor watches; with ``heal`` it bounds gradients, lowers the rate and
        goes back to good weights where a training runs away. A ``trial`` of a search never sees the test split, and
        draws no report. Raises DataError, ConfigError or RunError before any work where something is wrong, Stopped
        where a signal ended a run, or the disk does not take what came of it.
        """
        began = time.perf_counter() if began is None else began
        every, beside = Interval.parse(save_every), checked_kind(baseline)
        if out is not None and resume is None:
            check_writable(Path(out), source)
        with contextlib.ExitStack() as opened:
            run, kept = self._reopened(resume, opened)
            if isinstance(source, self.source_type):
                data: D = self.complete(source, validation=validation, test=test)
            else:
                data = self.read(source, labels, validation=validation, test=test, skip_bad=skip_bad)
            if trial:
                data = _without_test(data)
            self._settle_threads(data)
            left = None if seconds is None else max(1.0, seconds - (time.perf_counter() - began))
            recipe = self.choose(data, seconds=left) if kept is None else kept
            runtime.seed_everything(self.seed)
            self.recipe = recipe
            self.set_up(data, recipe)
            self.network.to(self._device)
            plan = self.plan(data, recipe)
            self.advise(data, recipe, timed=seconds is not None, tell=tell)
            if runtime.is_deterministic():
                tell(runtime.CLAIM)
            is_kept = labels is None and data.kind not in _IN_MEMORY
            request = RunRequest.of(
                data.origin if is_kept else None, validation=validation, test=test, skip_bad=skip_bad,
                seconds=seconds, save_every=str(save_every), heal=heal, settings=self._given, seed=self.seed,
                device=self.device, precision=self.precision, threads=torch.get_num_threads(),
                deterministic=runtime.is_deterministic(), baseline=beside, split_seed=self.split_seed,
            )  # fmt: skip
            config = self._config(data, command, request)
            if run is None and out is not None:
                run = opened.enter_context(RunFolder.create(Path(out), name or self.task, config))
                run.log(f"training on {data.origin}")
            result = FitResult(run=run, findings=data.findings, planned_epochs=plan.epochs if seconds is None else None)
            keeper = None if run is None else keep_run(self, plan, run, every, tell, anew=resume is None)
            plan.trainer.guard.names = getattr(data.train, "names", ())
            doctor = doctor_for(callbacks, config, run=run, heal=heal, tell=plan.trainer.tell)
            self._train(plan, result, keeper, seconds, began, with_doctor(callbacks, doctor), verbose)
            result.diagnosis, result.healed = doctor.findings, tuple(doctor.done)
            tell(f"trained {result.epochs_in_words()} in {clock(result.train_seconds)}")
            finish(self, data, result, beside, tell)
            result.seconds = result.seconds_before + time.perf_counter() - began
            more = () if trial else (doctor_section(doctor.findings, doctor.rows),)
            self._write_run(data, result, config, report=not trial, more=more)
            result.seconds = result.seconds_before + time.perf_counter() - began
        return result

    def _reopened(
        self, resume: str | Path | RunFolder | None, opened: contextlib.ExitStack
    ) -> tuple[RunFolder | None, R | None]:
        """The run to go on with, and the recipe it began with; RunError where there is no run of this task."""
        if resume is None:
            return None, None
        path = resume.path if isinstance(resume, RunFolder) else Path(resume)
        recipe: Any = checked_settings(self.recipe_model, recipe_in(read_config(path), task=self.task, where=path))
        run = resume if isinstance(resume, RunFolder) else opened.enter_context(RunFolder.open(path))
        return run, cast("R", recipe)

    def advise(self, data: D, recipe: R, *, timed: bool, tell: Tell) -> None:
        """Say what is odd about the settings for this data, before training."""

    def _settle_threads(self, data: D) -> None:
        """Take the number of threads asked for, or what serves a piece of this training best."""
        runtime.keep_freed_memory()
        if self.threads is not None:
            torch.set_num_threads(self.threads)
            return
        piece = self.trial(data)
        if piece is not None:
            runtime.choose_threads(piece)

    def _train(
        self, plan: Training, result: FitResult, keeper: Checkpointing | None, seconds: float | None, began: float,
        callbacks: Sequence[Callback], verbose: bool,
    ) -> None:  # fmt: skip
        budget: Budget | None = None
        if seconds is not None:
            held_back = min(_SECONDS_FOR_REPORT + plan.test_seconds, seconds / 3)
            steps = None if self.fills_time else plan.epochs * length_hint(plan.batches) or None
            budget = TimeBudget(max(1.0, seconds - (time.perf_counter() - began) - held_back), steps=steps)
        listening = [*callbacks, *plan.callbacks]
        if plan.stopping is not None and plan.validation is not None:
            listening.append(plan.stopping)
        if result.run is not None:
            listening.append(MetricsLog(result.run))
        if verbose:
            listening.append(ProgressBar(plan.epochs if seconds is None else None))
        if keeper is not None and keeper.resume is not None:
            result.seconds_before = keeper.resume.state.seconds
        started = time.perf_counter()
        result.history = plan.trainer.fit(
            plan.batches,
            epochs=1_000_000 if seconds is not None and self.fills_time else plan.epochs,
            validation=plan.validation,
            validate_every=plan.validate_every,
            budget=budget,
            callbacks=listening,
            checkpoints=keeper,
        )
        result.train_seconds = result.seconds_before + time.perf_counter() - started
        result.validation = kept_results(result.history, plan.stopping)

    def _config(self, data: D, command: str, request: RunRequest) -> dict[str, Any]:
        return {
            "command": command,
            "request": request.model_dump(mode="json"),
            "task": self.task,
            "source": data.origin,
            "seed": self.seed,
            "recipe": {} if self.recipe is None else self.recipe.model_dump(mode="json"),
            "reading": self.reading.model_dump(),
            **self.facts(data),
            "findings": [found.as_json() for found in data.findings],
            "environment": self.environment,
            "deterministic": runtime.CLAIM if request.deterministic else None,
        }

    def _write_run(
        self, data: D, result: FitResult, config: dict[str, Any], *, report: bool, more: Sequence[Section] = ()
    ) -> None:
        """Fill the run folder: ``bundle/``, ``report.html``, and the result in ``config.json``."""
        run = result.run
        if run is None:
            return
        run.log(f"trained {result.epochs_in_words()} in {result.train_seconds:.1f} s")
        if result.test is not None:
            run.log(result.test.sentence())
        result.next_commands = self.next_commands(run.bundle, data)
        page = f"{name_of(data.origin)}: {self.task.replace('-', ' ')}"
        with run.ending():
            self.save(run.bundle, card=self.card(data, result, config["command"]))
            if result.test is not None:
                run.write_answers(self.record(data, result.test).as_json())
            if report:
                sections = [*all_sections(self, data, result, config), *more]
                write_page(run.report, page, time.strftime("%Y-%m-%d %H:%M"), sections)
            run.write_config(config | {"result": result.as_json()})

    def card(self, data: D, result: FitResult, command: str) -> str:
        """``card.md``: what the model is, where it comes from and what it can do."""
        return model_card(self, data, result, command)

    def save(self, path: str | Path, *, card: str | None = None) -> Path:
        """Write the bundle: network, preprocessing and labels."""
        network = self.network
        classes = [f"Classes: {', '.join(self.classes)}", ""] if self.classes else []
        return save_model(
            network,
            Path(path),
            labels=list(self.classes) or None,
            preprocess=self.preprocess.model_dump(mode="json"),
            card=card or "\n".join([f"# {self.title.capitalize()}", "", *classes]),
        )

    @classmethod
    def load(cls, path: str | Path, *, device: str = "auto", precision: str = "auto") -> Self:
        """The learner in a bundle; BundleError if it holds none of this task."""
        return cls.from_bundle(open_untrusted(path), device=device, precision=precision)

    @classmethod
    def from_bundle(cls, bundle: Bundle, *, device: str = "auto", precision: str = "auto") -> Self:
        """The learner in an opened bundle."""
        try:
            preprocess = cls.preprocess_model.model_validate(bundle.preprocess)
        except (ValidationError, ConfigError) as error:
            reason = error.what if isinstance(error, ConfigError) else error.errors()[0]["msg"]
            raise BundleError(
                "bad-preprocess", f"this is no {cls.title}: in preprocess.json, {reason}", where=bundle.path
            ) from error
        learner = cls(device=device, precision=precision)
        learner._network = model_in(bundle).to(learner._device)
        learner._preprocess = preprocess  # type: ignore[assignment]
        learner.classes = tuple(bundle.labels or ())
        learner.check_loaded(bundle)
        return learner


def _without_test(data: Any) -> Any:
    """The same data, as if nobody had a test split."""
    return dataclasses.replace(data, test=() if isinstance(data.test, tuple) else None)


def name_of(origin: str) -> str:
    """What a person calls a source: the last part of a path, a sample's name.

    >>> name_of("../photos/"), name_of("digits")
    ('photos', 'digits')
    """
    return Path(origin).resolve().name or origin
