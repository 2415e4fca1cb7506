"""Windows of a table drawn with what two forecasters said of them, where the table can be read again.

Shapes: L steps of the past, H horizon, C columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from corecur.comparison.candidates import Candidate, tested_part
from corecur.learners.answer_record import AnswerRecord
from corecur.learners.forecast_record import window_contents
from corecur.learners.forecaster import Forecaster
from corecur.report.line_charts import forecasts_chart

Array = NDArray[np.float64]
# Steps of the past that are drawn for each of the future.
_PAST = 2


def drawn_windows(
    candidates: Sequence[Sequence[Candidate]], record: AnswerRecord, places: Sequence[int], *,
    folds: NDArray[np.integer[Any]] | None = None, pool: Any = None,
) -> dict[int, str]:  # fmt: skip
    """A drawing of each window at these places of the record: the values, and the forecasts of both models.

    Each model is one candidate, or one for each fold: then ``folds`` (W,) has the fold of each window, and the tables
    of the ``pool`` hold them. Of several columns the one that they forecast most differently. A window that is not
    found again is left out.
    """
    found = {}
    for fold in range(len(candidates[0])):
        own = [place for place in places if folds is None or folds[place] == fold]
        wanted = {record.contents[place] for place in own}
        said = [said_again(each[fold], wanted, None if pool is None else pool.train) for each in candidates]
        for place in own:
            each = [one[record.contents[place]] for one in said if record.contents[place] in one]
            if len(each) == len(said):
                found[place] = _drawn(*each)
    return {place: found[place] for place in places if place in found}


def _drawn(*said: tuple[Array, Array, Array]) -> str:
    past, truth, _ = said[0]
    answers = np.stack([one[2] for one in said])  # (2, H, C)
    column = int(np.abs(answers[0] - answers[-1]).mean(0).argmax())
    shown = past[-_PAST * len(truth) :, column]
    return forecasts_chart(shown, truth[:, column], [one[:, column] for one in answers])


def said_again(candidate: Candidate, wanted: set[str], part: Any = None) -> dict[str, tuple[Array, Array, Array]]:
    """Past (L, C), truth (H, C) and forecast (H, C), in the table's units, of the windows with these contents.

    They are looked for in the stretches of ``part``, or in what the run was tested on. Nothing where the table cannot
    be read again.
    """
    learner = candidate.learner
    part = tested_part(candidate) if part is None and wanted else part
    if not part or not wanted or not isinstance(learner, Forecaster):
        return {}
    windows = learner.windows(part)
    contents = window_contents(windows, part, learner.preprocess.horizon)
    rows = [row for row, content in enumerate(contents) if content in wanted]
    if not rows:
        return {}
    batch = windows.windows(torch.tensor(rows))
    inputs, targets = (torch.as_tensor(field) for field in (batch.inputs, batch.targets))
    answers = learner.answers(inputs)  # (W, H, C, Q)
    middle = answers[..., answers.shape[-1] // 2]
    inverse = learner.preprocess.scaling.inverse
    parts = [inverse(field.double().cpu()).numpy() for field in (inputs, targets, middle)]
    return {contents[row]: (parts[0][at], parts[1][at], parts[2][at]) for at, row in enumerate(rows)}
