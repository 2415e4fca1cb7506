"""The reliability plot and its section."""

from __future__ import annotations

import numpy as np
import torch

from corecur.engine.calibration import Calibration
from corecur.learners.evaluation import Evaluation, evaluate_classifier
from corecur.report.charts import percent
from corecur.report.page import render
from corecur.report.reliability import calibration_section, reliability


def _evaluation(temperature: float) -> Evaluation:
    random = np.random.default_rng(0)
    shares = torch.tensor(random.dirichlet([0.3] * 4, 400))
    labels = torch.tensor(np.array([random.choice(4, p=row / row.sum()) for row in (shares**0.5).numpy()]))
    return evaluate_classifier(shares, labels, ["a", "b", "<c>", "d"], temperature=temperature)


def test_before_and_after_stand_side_by_side() -> None:
    found = _evaluation(2.0)
    fitted = Calibration(2.0, 100, 1.5, 1.2)
    page = render("t", "", [calibration_section(found.reliability(fitted))])
    figures = found.calibration
    for part in (figures, figures["before"]):
        assert percent(part["ece"], 2) in page and f"{part['brier']:.4f}" in page and f"{part['nll']:.4f}" in page
    assert ">before<" in page and "temperature 2.000, fitted on 100 validation samples" in page
    assert figures["ece"] < figures["before"]["ece"]


def test_without_a_temperature_there_is_no_before() -> None:
    found = _evaluation(1.0)
    page = render("t", "", [calibration_section(found.reliability(Calibration(obstacle="there is none")))])
    assert ">before<" not in page and "as the network gives them: there is none" in page
    assert found.calibration["before"] is None and found.bins_before is None


def test_the_caption_tells_the_figures_of_the_plot() -> None:
    found = _evaluation(2.0)
    figure = reliability(found.reliability())
    assert f"Expected calibration error {percent(found.bins.error)}" in figure.caption
    assert f"right {percent(found.accuracy)} of the time" in figure.caption
