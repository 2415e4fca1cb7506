"""What the linear model beside a network sees of pictures, texts and series, and the simplest taggers and forecasts.

N samples, H height, W width, C channels, T time, L lookback, D features.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from corecur.data.series.series_set import SeriesSet
from corecur.data.series.windows import WindowBatches

Array = NDArray[Any]
#: Side of a picture and steps of a series that a linear model sees.
SIDE, STEPS = 14, 64
_RIDGE = 1e-3  # of the mean square of the past


def picture_features(images: Tensor) -> Array:
    """Pixels from -0.5 to 0.5, pictures above 14 × 14 averaged down: (N, H, W, C) uint8 -> (N, D).

    >>> picture_features(torch.zeros(2, 28, 28, 1, dtype=torch.uint8)).shape
    (2, 196)
    """
    size = (min(SIDE, images.shape[1]), min(SIDE, images.shape[2]))
    parts = []
    for part in torch.split(images, 4096):
        pixels = part.permute(0, 3, 1, 2).float() / 255  # (B, C, H, W)
        small = pixels if size == pixels.shape[2:] else F.adaptive_avg_pool2d(pixels, size)
        parts.append(small.flatten(1))
    return torch.cat(parts).double().numpy() - 0.5


def text_features(train: Sequence[Sequence[str]], test: Sequence[Sequence[str]]) -> tuple[Any, Any]:
    """tf-idf of single tokens and pairs (logarithmic counts, rows of length 5), sparse, fitted on the training texts.

    >>> text_features([["a", "b"], ["a", "c"]], [["a"]])[0].shape
    (2, 5)
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    def terms(tokens: Sequence[str]) -> list[str]:
        return [*tokens, *(f"{a} {b}" for a, b in zip(tokens, tokens[1:], strict=False))]

    vectorizer = TfidfVectorizer(analyzer=terms, sublinear_tf=True)
    try:
        seen, held = vectorizer.fit_transform(train), vectorizer.transform(test)
    except ValueError:  # not one token in all the training texts
        return np.zeros((len(train), 1)), np.zeros((len(test), 1))
    return 5.0 * seen, 5.0 * held  # as C = 25 with rows of length 1, which suits short texts


def series_features(series: SeriesSet, *, steps: int = STEPS) -> Array:
    """Each channel brought to so many steps, its mean, deviation, least and greatest value, and the length: (N, D).

    >>> series_features(SeriesSet(torch.zeros(2, 100, 3), None, None, ("a", "b"))).shape
    (2, 205)
    """
    places = np.linspace(0, 1, steps)
    rows = []
    for values, length in zip(series.values.double().numpy(), series.lengths.tolist(), strict=True):
        real = values[:length]  # (T', C)
        grid = np.linspace(0, 1, length)
        resampled = [np.interp(places, grid, channel) for channel in real.T]
        rows.append(np.concatenate([*resampled, real.mean(0), real.std(0), real.min(0), real.max(0), [length]]))
    return np.stack(rows)


def usual_tags(
    sentences: Sequence[Sequence[str]], tags: Sequence[Sequence[str]], test: Sequence[Sequence[str]]
) -> list[tuple[str, ...]]:
    """Each word's most frequent tag in the training sentences; of an unknown word, the most frequent of rare words.

    >>> usual_tags([["a", "cat"], ["a", "dog"]], [["DET", "NOUN"], ["DET", "NOUN"]], [["a", "cow"]])
    [('DET', 'NOUN')]
    """
    counts: dict[str, Counter[str]] = {}
    for words, given in zip(sentences, tags, strict=True):
        for word, tag in zip(words, given, strict=True):
            counts.setdefault(word, Counter())[tag] += 1
    rare = Counter[str]()
    for found in counts.values():
        if found.total() == 1:
            rare.update(found)
    everything = sum(counts.values(), Counter[str]())
    unknown = _first(rare or everything)
    best = {word: _first(found) for word, found in counts.items()}
    return [tuple(best.get(word, unknown) for word in words) for words in test]


def _first(counts: Counter[str]) -> str:
    """The most frequent; of several, the first by name."""
    return min(counts, key=lambda tag: (-counts[tag], tag))


def linear_forecast_errors(train: WindowBatches, test: WindowBatches) -> Array:
    """Squared errors (W,) of the test windows under one linear map from the past to the horizon for all columns.

    Ridge regression in closed form, each window taken from its last value (NLinear, Zeng et al. 2023); training
    windows are thinned out to what a second can take.
    """
    lookback, horizon = train.lookback, train.horizon
    columns = train.windows(torch.zeros(1, dtype=torch.int64)).inputs.shape[2]  # type: ignore[union-attr]
    most = max(1, int(2e9 / (lookback + 1) ** 2 / columns))
    chosen = torch.linspace(0, train.samples - 1, min(train.samples, most)).long()
    gram = torch.zeros(lookback, lookback, dtype=torch.float64)
    cross = torch.zeros(lookback, horizon, dtype=torch.float64)
    for part in torch.split(chosen, 512):
        past, future, _ = _from_last(train.windows(part))
        gram += (past.T @ past).double()
        cross += (past.T @ future).double()
    weight = torch.linalg.solve(gram + _RIDGE * gram.diagonal().mean().clamp_min(1e-9) * torch.eye(lookback), cross)
    errors = []
    for part in torch.split(torch.arange(test.samples), 512):
        past, future, count = _from_last(test.windows(part))
        square = (past @ weight.float() - future).square().mean(1)  # (B·C,)
        errors.append(square.view(count, -1).mean(1))
    return torch.cat(errors).double().numpy()


def _from_last(batch: Any) -> tuple[Tensor, Tensor, int]:
    """Past (B·C, L) and future (B·C, H) less the last value of the past, and B."""
    past, future = batch.inputs.cpu().transpose(1, 2), batch.targets.cpu().transpose(1, 2)  # (B, C, L), (B, C, H)
    last = past[..., -1:]
    return (past - last).flatten(0, 1), (future - last).flatten(0, 1), len(past)
