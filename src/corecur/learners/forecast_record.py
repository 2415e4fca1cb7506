"""What a forecaster answered on a test, window by window, so that it can be compared with another.

Shapes: W windows, H horizon, C columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from corecur.data.series.windows import WindowBatches
from corecur.errors import ConfigError
from corecur.learners.answer_record import AnswerRecord, digest
from corecur.learners.forecast_data import Stretch
from corecur.learners.forecast_evaluation import ForecastEvaluation
from corecur.learners.forecast_preprocess import ForecastPreprocess

# Columns of which each one's errors are kept: without them a table of a thousand would fill the run folder.
_MOST_COLUMNS = 50
# Parts of the horizon that are told apart.
_PARTS = ("first third of the steps", "second third of the steps", "last third of the steps")


def forecast_record(
    preprocess: ForecastPreprocess, windows: WindowBatches, stretches: Sequence[Stretch], outcome: ForecastEvaluation
) -> AnswerRecord:
    """The record of a test; a window is known by the values that it was to say, in the table's own units."""
    errors = outcome.errors
    if errors is None:
        raise ConfigError("this test kept no errors of single windows", do="test again")
    first = windows.target_rows(torch.arange(windows.samples))[:, 0].tolist()  # (W,)
    starts = np.cumsum([0, *(len(stretch.table) for stretch in stretches)])
    names, several = [], len(stretches) > 1
    for row in first:
        table = int(np.searchsorted(starts, row, side="right")) - 1
        at = stretches[table].table
        names.append(f"{at.name}: " * (several and bool(at.name)) + at.time_of(row - int(starts[table])))
    parts = {}
    if 1 < len(preprocess.columns) <= _MOST_COLUMNS:
        for place, column in enumerate(preprocess.columns):
            squares, absolutes = errors.column_squares[:, place], errors.column_absolutes[:, place]
            parts[f"column {column}"] = {"square": squares, "absolute": absolutes}
    if preprocess.horizon >= len(_PARTS):
        for name, steps in zip(_PARTS, np.array_split(np.arange(preprocess.horizon), len(_PARTS)), strict=True):
            squares, absolutes = errors.step_squares[:, steps].mean(1), errors.step_absolutes[:, steps].mean(1)
            parts[name] = {"square": squares, "absolute": absolutes}
    return AnswerRecord(
        task=preprocess.task,
        kind="windows",
        names=tuple(names),
        contents=window_contents(windows, stretches, preprocess.horizon),
        counts={"square": errors.column_squares.mean(1), "absolute": errors.column_absolutes.mean(1)},
        parts=parts,
        same={
            "horizon": preprocess.horizon,
            "columns": list(preprocess.columns),
            "units": [float(f"{value:.7g}") for value in preprocess.scaling.std],
        },
        block=outcome.block,
        findings=tuple(map(str, outcome.findings)),
    )


def window_contents(windows: WindowBatches, stretches: Sequence[Stretch], horizon: int) -> tuple[str, ...]:
    """What windows are known by: digests of the values that they are to say, in the tables' own units."""
    first = windows.target_rows(torch.arange(windows.samples))[:, 0].tolist()  # (W,)
    values = torch.cat([stretch.table.values for stretch in stretches]).double().numpy()  # (T, C)
    return tuple(digest(values[row : row + horizon].tobytes()) for row in first)
