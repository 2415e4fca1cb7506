"""Forecaster: values over time → a trained, tested, reported and saved network that says how they go on.

W windows, B batch, L lookback, H horizon, C columns, Q quantiles.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from corecur import runtime
from corecur.bundle.open import Bundle
from corecur.data.decoding import Progress
from corecur.data.series.open_tables import SUFFIXES
from corecur.data.series.seasonality import seasonal_period
from corecur.data.series.series_scaling import fit_table_scaling
from corecur.data.series.time_table import TimeTable, time_words
from corecur.data.series.windows import WindowBatches
from corecur.engine.callbacks import EarlyStopping
from corecur.engine.evaluating import evaluating
from corecur.engine.paired_tests import Measure
from corecur.engine.trainer import Trainer
from corecur.errors import BundleError, ConfigError, CorecurError, DataError
from corecur.finding import Finding, remark
from corecur.learners import forecast_report
from corecur.learners.answer_record import AnswerRecord
from corecur.learners.fit_result import FitResult
from corecur.learners.forecast_answers import Forecast, forecast_listing, forecast_spreadsheet
from corecur.learners.forecast_data import (
    ForecastData,
    ForecastReading,
    Stretch,
    check_like,
    check_size,
    kind_of,
    read_tables,
    split_tables,
    splits_of,
    unseen_rows,
    without_constants,
)
from corecur.learners.forecast_evaluation import BLOCK_HORIZONS, LAST, SEASONAL, ForecastEvaluation, measure
from corecur.learners.forecast_intervals import fit_widening, widen
from corecur.learners.forecast_preprocess import ForecastPreprocess, RowsApart, naive_errors, seen_until
from corecur.learners.forecast_recipe import ForecastRecipe, SeriesFacts, choose_recipe, default_horizon
from corecur.learners.forecast_record import forecast_record
from corecur.learners.learner import Learner, name_of
from corecur.learners.outcome import Listing, Tell
from corecur.learners.settings import checked_settings
from corecur.learners.simple_features import linear_forecast_errors
from corecur.learners.simple_models import Contest, Way
from corecur.learners.training import Training
from corecur.report.page import Section

# Windows times columns in a batch where nothing is learned, and windows that the intervals are fitted on.
_ANSWER_ROWS = 2048
_FITTED_WINDOWS = 400
# Windows of the trial that settles the number of threads.
_TRIAL_WINDOWS = 16
# Windows times columns below which little can be learned.
_FEW_WINDOWS = 50


class Forecaster(Learner[ForecastData, ForecastRecipe, ForecastPreprocess]):
    """Learns how series go on: the next rows of all columns, with an interval for each value.

    ``settings`` are recipe settings by name (``horizon=96, lookback=720``) and how a table is read (``target``,
    ``time_column``, ``series_column``, ``rows``). ``validation`` and ``test`` are shares, numbers of rows or dates at
    the end of the table, or sources of their own.

    >>> learner = Forecaster(epochs=1, hidden=8, rows=480, target=("load",))
    >>> result = learner.fit("demand")
    >>> result.test.horizon, len(learner.predict("demand")[0].times)
    (24, 24)
    """

    task = "forecasting"
    title = "forecaster"
    source_type = ForecastData
    recipe_model = ForecastRecipe
    reading_model = ForecastReading
    preprocess_model = ForecastPreprocess

    def read(
        self,
        source: Any,
        labels: Any = None,
        *,
        validation: Any = None,
        test: Any = None,
        skip_bad: bool = False,
        progress: Progress | None = None,
    ) -> ForecastData:
        """The source cut in time: training rows, then validation rows, then test rows."""
        if labels is not None:
            raise ConfigError("a forecaster learns from the values themselves", got="labels", do="leave them out")
        tables = read_tables(source, self.reading)
        kind = kind_of(source)
        return self.complete(ForecastData(tables[0].origin, kind, tables), validation=validation, test=test)

    def complete(self, data: ForecastData, *, validation: Any = None, test: Any = None) -> ForecastData:
        if data.train and validation is None and test is None:
            return data
        told = dict.fromkeys(finding for table in data.tables for finding in table.findings)
        fresh = dataclasses.replace(data, findings=tuple(told))
        check_size(data)
        cut = split_tables(
            fresh, horizon=self._horizon(data), reading=self.reading, validation=validation, test=test
        )  # fmt: skip
        return without_constants(cut, named=self.reading.target is not None)

    def _horizon(self, data: ForecastData) -> int:
        """The horizon asked for, or the usual one for such tables."""
        if "horizon" in self.settings:
            return checked_settings(ForecastRecipe, {"horizon": self.settings["horizon"]}).horizon
        lengths = sorted(map(len, data.tables))
        frequency = data.tables[0].frequency
        return default_horizon(frequency, seasonal_period(frequency), lengths[len(lengths) // 2])

    def _season(self, data: ForecastData) -> int:
        """Rows of a season, by the calendar or as the training rows show it."""
        longest = max(data.train, key=lambda stretch: len(stretch.rows)).values if data.train else None
        return seasonal_period(data.tables[0].frequency, longest)

    def choose(self, data: ForecastData, *, seconds: float | None = None) -> ForecastRecipe:
        """The recipe for this data, with this learner's settings in it."""
        return choose_recipe(self._facts(data), self.settings)

    def _facts(self, data: ForecastData) -> SeriesFacts:
        return SeriesFacts(
            rows=tuple(len(stretch.rows) for stretch in data.train),
            columns=len(data.columns),
            horizon=self._horizon(data),
            period=self._season(data),
        )

    def advise(self, data: ForecastData, recipe: ForecastRecipe, *, timed: bool, tell: Tell) -> None:
        usual = choose_recipe(self._facts(data), {k: v for k, v in self.settings.items() if k != "epochs"}).epochs
        if recipe.epochs * 3 <= usual and not timed:
            epochs = "1 epoch is" if recipe.epochs == 1 else f"{recipe.epochs} epochs are"
            tell(f"! {epochs} little for this data: the recipe takes {usual}, and will likely do better.")
        past = recipe.lookback + recipe.horizon
        windows = sum(max(0, len(stretch.rows) - past + 1) for stretch in data.train)
        if windows * len(data.columns) < _FEW_WINDOWS:
            tell(f"! {windows:,} training windows are few to learn from: compare with {LAST} and {SEASONAL}.")

    def trial(self, data: ForecastData) -> Callable[[], object]:
        recipe = self.choose(data)
        network = recipe.build_network(len(data.columns)).to(self._device).eval()
        inputs = torch.zeros(_TRIAL_WINDOWS, recipe.lookback, len(data.columns), device=self._device)

        @torch.no_grad()
        def answer() -> None:
            with runtime.precision(self._precision, self._device):
                network(inputs)

        return answer

    def set_up(self, data: ForecastData, recipe: ForecastRecipe) -> None:
        """Fit the scaling on the training rows and build the network."""
        frequency, season = data.tables[0].frequency, self._season(data)
        self._network = recipe.build_network(len(data.columns))
        self._preprocess = ForecastPreprocess(
            task="forecasting",
            columns=data.columns,
            scaling=fit_table_scaling(data.train_values),
            lookback=recipe.lookback,
            horizon=recipe.horizon,
            quantiles=recipe.quantiles,
            frequency=None if frequency is None else RowsApart(**dataclasses.asdict(frequency)),
            period=season,
            naive_errors=naive_errors(data.train, season),
            widening=((1.0,) * (len(recipe.quantiles) // 2),) * len(data.columns),
            seen_until=seen_until(data),
            reading=self.reading,
        )

    def plan(self, data: ForecastData, recipe: ForecastRecipe) -> Training:
        batches = self.windows(
            data.train, batch_size=recipe.batch_size, stride=recipe.stride, shuffle=True, seed=self.seed
        )  # fmt: skip
        validation = self.windows(data.validation) if data.validation else None
        if data.test:
            self.windows(data.test)  # a part that holds no window is told before the training, not after it
        trainer = Trainer(
            self.network,
            loss=recipe.loss,
            optimizer=recipe.optimizer_for(self.network),
            rate=recipe.schedule.rate_at,
            precision=self._precision,
        )
        return Training(
            trainer=trainer,
            batches=batches,
            validation=validation,
            epochs=recipe.epochs,
            stopping=EarlyStopping("val_loss", patience=recipe.patience, restore_best_weights=True),
        )

    def windows(self, stretches: Sequence[Stretch], *, batch_size: int | None = None, **options: Any) -> WindowBatches:
        """The windows that forecast these rows, standardised."""
        preprocess = self.preprocess
        try:
            return WindowBatches(
                [preprocess.scaling(stretch.table.values) for stretch in stretches],
                rows=[stretch.rows for stretch in stretches],
                lookback=preprocess.lookback,
                horizon=preprocess.horizon,
                batch_size=batch_size or max(8, _ANSWER_ROWS // len(preprocess.columns)),
                device=self._device,
                **options,
            )
        except DataError as error:
            table, rows = stretches[0]
            error.add_note(f"  source:   {table.title}, rows {rows.start + 1:,} to {rows.stop:,}")
            raise

    def test(self, data: ForecastData) -> ForecastEvaluation | None:
        """Bring the intervals to their level on the validation part, and test on the test part."""
        self.fit_intervals(data)
        return self._evaluate(data.test) if data.test else None

    def contest(self, data: ForecastData, test: ForecastEvaluation) -> Contest | None:
        """Forecasts that need no training, and one linear map from the past to the horizon."""
        ways = [Way(f"{name} forecast", "majority", 0.0, lambda score=score: score.windows)  # type: ignore[misc]
                for name, score in test.baselines.items()]  # fmt: skip

        def linear() -> Any:
            return linear_forecast_errors(self.windows(data.train), self.windows(data.test))

        work = test.windows * len(test.columns) * self.preprocess.lookback * test.horizon  # products of the answers
        ways.append(Way("linear forecast", "linear", 1.0 + work / 5e9, linear))
        return Contest(
            test.model.windows, ways, Measure("MSE", higher_is_better=False, percent=False),
            block=BLOCK_HORIZONS * test.horizon,
        )  # fmt: skip

    @torch.no_grad()
    def fit_intervals(self, data: ForecastData) -> None:
        """Bring the intervals to their level on the validation part, where there is one."""
        if not data.validation:
            return
        windows = self.windows(data.validation)
        chosen = torch.linspace(0, windows.samples - 1, min(windows.samples, _FITTED_WINDOWS)).long()
        parts = [windows.windows(part) for part in torch.split(chosen, windows.batch_size)]
        answers = torch.cat([self.answers(_tensor(part.inputs)) for part in parts])  # (W, H, C, Q)
        targets = torch.cat([_tensor(part.targets) for part in parts])
        factors = fit_widening(answers.cpu(), targets.cpu(), self.preprocess.quantiles)
        self._preprocess = self.preprocess.model_copy(update={"widening": tuple(map(tuple, factors.tolist()))})

    @torch.no_grad()
    def answers(self, inputs: Tensor) -> Tensor:
        """Quantiles (B, H, C, Q) for standardised inputs (B, L, C), the intervals at their level."""
        with evaluating(self.network), runtime.precision(self._precision, self._device):
            answers: Tensor = self.network(inputs.to(self._device)).float()
        return widen(answers, torch.tensor(self.preprocess.widening, device=answers.device))

    def _evaluate(self, stretches: Sequence[Stretch], findings: Sequence[Finding] = ()) -> ForecastEvaluation:
        preprocess = self.preprocess
        return measure(
            self.answers,
            self.windows(stretches),
            columns=preprocess.columns,
            units=preprocess.scaling.std,
            naive_errors=preprocess.naive_errors,
            period=preprocess.period,
            level=preprocess.quantiles[-1] - preprocess.quantiles[0],
            findings=findings,
        )

    def evaluate(
        self,
        source: Any,
        labels: Any = None,
        *,
        split: str = "test",
        skip_bad: bool = False,
        progress: Progress | None = None,
    ) -> ForecastEvaluation:
        """Test on the rows of a table after the last one that training and validation saw; ``split="all"``: on all.

        Where the table has no such rows, or no dates, all of them are tested on, and a finding says so.
        """
        return self._evaluate(*self._unseen(source, split))

    def _unseen(self, source: Any, split: str) -> tuple[Sequence[Stretch], tuple[Finding, ...]]:
        """The rows of a source to be tested on, and the findings."""
        tables = self._read_like(source)
        findings = [finding for table in tables for finding in table.findings]
        stretches = [Stretch(table, range(len(table))) for table in tables]
        if split != "all":
            stretches, notes = unseen_rows(stretches, self.preprocess.seen_until, self.preprocess.horizon)
            findings += notes
        return stretches, tuple(dict.fromkeys(findings))

    def _read_like(self, source: Any) -> tuple[TimeTable, ...]:
        """Tables with the columns this forecaster knows; DataError where they are others."""
        preprocess = self.preprocess
        if isinstance(source, (list, tuple)) and len(source) == 1 and isinstance(source[0], (str, Path)):
            source = source[0]
        wanted = preprocess.reading.model_copy(update={"target": preprocess.columns, "rows": None})
        tables = read_tables(source, wanted)
        for table in tables:
            check_like(table, preprocess.rows_apart)
        return tables

    def predict(self, source: Any, *, skip_bad: bool = False, progress: Progress | None = None) -> list[Forecast]:
        """How a table goes on after its last row, from a path, several, or values; one forecast for each series.

        The table holds the columns of the training data and the last ``lookback`` rows at least. With ``skip_bad``
        files that cannot be forecast are set aside.
        """
        found: list[Forecast] = []
        bad: list[CorecurError] = []
        for one in _each(source):
            try:
                found += [self._forecast(table) for table in self._read_like(one)]
            except DataError as error:
                if not skip_bad:
                    raise
                bad.append(error)
        if not found:
            raise bad[0]
        notes = tuple(remark(f"Set aside: {error.what}.", kind="set-aside") for error in bad)
        return [dataclasses.replace(one, findings=(*one.findings, *notes)) for one in found] if notes else found

    def _forecast(self, table: TimeTable) -> Forecast:
        preprocess = self.preprocess
        if len(table) < preprocess.lookback:
            raise DataError(
                "the table is too short to forecast from",
                where=table.title,
                got=f"{len(table):,} rows",
                expected=f"the last {preprocess.lookback:,} rows at least",
                do="give a longer history, or train with a smaller --lookback",
            )
        recent = table.values[-preprocess.lookback :]  # (L, C)
        answers = self.answers(preprocess.scaling(recent).float().unsqueeze(0))[0].double().cpu()  # (H, C, Q)
        values = preprocess.scaling.inverse(answers.transpose(1, 2)).transpose(1, 2)
        if not bool(values.isfinite().all()):
            scaled = preprocess.scaling(recent).abs()  # (L, C)
            row, place = divmod(int(scaled.argmax()), scaled.shape[1])
            raise DataError(
                "the forecast is no number: the past lies too far from what was learned",
                where=f"{table.title}, {table.time_of(len(table) - len(recent) + row)}",
                got=f"{preprocess.columns[place]} {float(recent[row, place]):g}",
                do="mend this value, or leave its cell empty",
            )
        later = table.times_after(preprocess.horizon)
        times = [f"+{step + 1}" if later is None else time_words(later, step) for step in range(preprocess.horizon)]
        return Forecast(
            name=table.name or name_of(table.origin),
            times=tuple(times),
            columns=preprocess.columns,
            quantiles=preprocess.quantiles,
            values=values.numpy(),
            findings=table.findings,
        )

    def listing(self, answers: Sequence[Forecast], *, top: int) -> Listing:
        return forecast_listing(answers)

    def spreadsheet(self, answers: Sequence[Forecast]) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
        return forecast_spreadsheet(answers)

    def facts(self, data: ForecastData) -> dict[str, Any]:
        frequency = data.tables[0].frequency
        return {
            "columns": list(data.columns),
            "series": len(data.tables),
            "one row each": "no regular time" if frequency is None else str(frequency),
            "rows": {name: sum(len(stretch.rows) for stretch in part) for name, part in splits_of(data)},
            "training rows": sum(len(stretch.rows) for stretch in data.train),
        }

    def report(self, data: ForecastData, result: FitResult, config: Mapping[str, Any]) -> Sequence[Section]:
        return forecast_report.sections(self, data, result, config=config)

    def next_commands(self, bundle: Path, data: ForecastData) -> tuple[str, ...]:
        model = shlex.quote(str(bundle))
        known = Path(data.origin).is_file() or data.kind == "sample"
        table = shlex.quote(data.origin) if known else "TABLE"
        return (
            f"corecur predict {model} {table}",
            f"corecur evaluate {model} {table}",
            f"corecur info {model}",
        )

    def record(self, data: ForecastData, outcome: ForecastEvaluation) -> AnswerRecord:
        return self._record(data.test, outcome)

    def examine(
        self, source: Any, *, split: str = "test", skip_bad: bool = False, progress: Progress | None = None
    ) -> AnswerRecord:
        stretches, findings = self._unseen(source, split)
        return self._record(stretches, self._evaluate(stretches, findings))

    def _record(self, stretches: Sequence[Stretch], outcome: ForecastEvaluation) -> AnswerRecord:
        return forecast_record(self.preprocess, self.windows(stretches), stretches, outcome)

    def once(self, size: int) -> Callable[[], object]:
        past = torch.zeros(1, self.preprocess.lookback, len(self.preprocess.columns), device=self._device)
        return lambda: self.answers(past)

    def check_loaded(self, bundle: Bundle) -> None:
        preprocess = self.preprocess
        inputs, outputs = self.network.input_symbols[0].shape, self.network.output_symbols[0].shape
        columns = len(preprocess.columns)
        wanted = (None, preprocess.horizon, columns, len(preprocess.quantiles))
        if inputs != (None, preprocess.lookback, columns) or outputs != wanted:
            raise BundleError(
                "bad-preprocess", f"the preprocessing does not fit a network {inputs} -> {outputs}", where=bundle.path
            )

    def describe(self, data: ForecastData) -> list[str]:
        """What was found, in lines for a person."""
        table = data.tables[0]
        recipe, season = self.choose(data), self._season(data)
        series = f"{len(data.tables):,} series, " if len(data.tables) > 1 else ""
        each = "rows in order" if table.frequency is None else f"a row each {table.frequency}"
        span = f", {table.time_of(0)} to {table.time_of(len(table) - 1)}" if table.times is not None else ""
        counts = ", ".join(
            f"{sum(len(stretch.rows) for stretch in part):,} {name}" for name, part in splits_of(data) if part
        )
        names = ", ".join(data.columns[:12]) + (", …" if len(data.columns) > 12 else "")
        again = f"; a season of {season:,} rows" if season > 1 else "; no season"
        return [
            f"{name_of(data.origin)} ({data.kind}): {series}{each}{span}; {counts} rows",
            f"to forecast: {names}",
            f"{recipe.horizon:,} rows ahead from the last {recipe.lookback:,}{again}",
        ]


def _tensor(field: Any) -> Tensor:
    if not isinstance(field, Tensor):
        raise ConfigError("a window is one tensor", got=type(field).__name__)
    return field


def _each(source: Any) -> list[Any]:
    """What is to be forecast one by one: several paths, the tables in a folder, or one source."""
    several = isinstance(source, (list, tuple)) and bool(source) and all(isinstance(one, (str, Path)) for one in source)
    found: list[Any] = []
    for one in source if several else [source]:
        folder = isinstance(one, (str, Path)) and Path(one).is_dir()
        tables = sorted(path for path in Path(one).iterdir() if path.suffix.casefold() in SUFFIXES) if folder else []
        found += tables or [one]
    return found
