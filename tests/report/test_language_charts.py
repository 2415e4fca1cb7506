from __future__ import annotations

import math

import numpy as np

from corecur.report.language_charts import context_curve, perplexity_curve


def test_perplexity_is_the_exponential_of_the_loss() -> None:
    figure = perplexity_curve([{"loss": math.log(8), "val_loss": math.log(9)}, {"loss": math.log(2)}])
    assert figure is not None and figure.picture.startswith("<svg ")
    assert figure.alt == "Perplexity by epoch: training from 8.00 to 2.00; validation 9.00."


def test_what_cannot_be_drawn() -> None:
    assert perplexity_curve([]) is None and perplexity_curve([{"loss": math.nan}]) is None
    huge = perplexity_curve([{"loss": 1000.0}, {"loss": 1.0}])
    assert huge is not None and "inf" not in huge.picture


def test_the_past_in_ranges_of_places() -> None:
    losses = 4 / np.arange(1, 257) ** 0.5
    figure = context_curve(losses, noun="words")
    last = losses[np.arange(1, 257) > 181].mean()  # about the last third
    assert figure.alt.startswith("Loss by length of the past: 4.000 nats after 1 of the words")
    assert figure.alt.endswith("after 256.") and abs(float(figure.alt.split(", ")[-1].split(" ")[0]) - last) < 0.02
    assert context_curve(losses[:1], noun="words").alt.endswith("4.000 after 1.")
