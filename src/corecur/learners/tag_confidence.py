"""How far a tagger's probabilities can be believed: a temperature fitted on words, and what a test says of them.

N words, B batch, T time (words), K tags.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from corecur.engine.calibration import (
    LEAST_SAMPLES,
    Bins,
    Calibration,
    calibration_bins,
    least_temperature,
    tempered,
    too_few,
)
from corecur.layers.crf import Chain
from corecur.report.reliability import Reliability

Array = NDArray[Any]
NOUN = "words"
_SMALLEST, _LEAST = 1e-38, 1e-12


def tag_probabilities(output: Tensor, temperature: float = 1.0) -> Tensor:
    """Of each tag at each word, (B, T, K), from the outputs of a tagger in evaluation.

    Those of a CRF weigh all paths through a tag, with every score divided by the temperature; others, and those of a
    CRF over single steps, are softmax(x / T).

    >>> tag_probabilities(torch.tensor([[[0.0, 2.0]]]), temperature=2.0)
    tensor([[[0.2689, 0.7311]]])
    """
    chain = getattr(output, "chain", None)
    if chain is not None:
        found: Tensor = chain.crf.marginals(chain.emissions, mask=chain.mask, temperature=temperature)
        return found
    scores = getattr(output, "scores", output).float()
    plain = scores.softmax(-1)
    if temperature == 1.0 or plain.requires_grad:
        return plain if temperature == 1.0 else (scores / temperature).softmax(-1)
    return tempered(plain.flatten(0, -2), temperature).view_as(plain)


def calibrate_chains(chains: Sequence[Chain], labels: Sequence[Tensor]) -> Calibration:
    """The temperature of a CRF with the least negative log-likelihood of single tags, for labels (B, T) of each chain.

    That is not convex in the temperature, which is searched for. Where the likeliest tag of every word is right, the
    targets are Platt's (1999), as in `fit_temperature`.
    """
    parts = [
        (chain.crf, chain.emissions.double(), chain.mask, truth.to(chain.emissions.device).long())
        for chain, truth in zip(chains, labels, strict=True)
    ]
    real = [torch.ones_like(truth, dtype=torch.bool) if mask is None else mask for _, _, mask, truth in parts]
    count = int(sum(int(mask.sum()) for mask in real))
    if count < LEAST_SAMPLES:
        return too_few(count, NOUN)
    if not all(bool(x[mask].isfinite().all()) for (_, x, _, _), mask in zip(parts, real, strict=True)):
        return Calibration(samples=count, obstacle="some answers to the validation words are no numbers", noun=NOUN)

    @torch.no_grad()
    def of_words(temperature: float) -> tuple[Tensor, Tensor]:
        """Of each word the probabilities (N, K), and its label (N,)."""
        found = [
            (crf.marginals(x, mask=mask, temperature=temperature)[own], truth[own])
            for (crf, x, mask, truth), own in zip(parts, real, strict=True)
        ]
        shares, truths = zip(*found, strict=True)
        return torch.cat(shares), torch.cat(truths)

    plain, truth = of_words(1.0)
    sure_and_right = bool((plain.argmax(1) == truth).all())

    def loss(temperature: float) -> float:
        logs = of_words(temperature)[0].clamp_min(_SMALLEST).log()
        of_truth = logs.gather(1, truth[:, None])[:, 0]
        if sure_and_right and logs.shape[1] > 1:
            other = (logs.sum(1) - of_truth) / (logs.shape[1] - 1)
            of_truth = (of_truth * (count + 1) + other) / (count + 2)
        return float(-of_truth.mean())

    def nats(shares: Tensor) -> float:
        return float(-shares.gather(1, truth[:, None]).clamp_min(_LEAST).log().mean())

    temperature = least_temperature(loss)
    return Calibration(temperature, count, nats(plain), nats(of_words(temperature)[0]), noun=NOUN)


@dataclass(frozen=True, eq=False)
class TagConfidence:
    """What a tagger's probabilities say of N tested words.

    Of each word the probability of the tag that was answered and of the true one, Σ p² over tags, whether the answer is
    right, and the number of its sentence. ``before`` is the same without the ``temperature``; None where it is 1.
    """

    answered: Array
    truth: Array
    squares: Array
    right: Array
    sentences: Array
    temperature: float = 1.0
    before: TagConfidence | None = None

    @functools.cached_property
    def bins(self) -> Bins:
        """How far the probabilities of the answers can be believed; its interval is over sentences."""
        return calibration_bins(self.answered, self.right, groups=self.sentences)

    @functools.cached_property
    def figures(self) -> dict[str, Any]:
        """Expected calibration error with its interval, Brier score and negative log-likelihood, now and before."""
        before = self.before
        return {"temperature": self.temperature, **self._own, "before": None if before is None else before._own}

    @property
    def _own(self) -> dict[str, Any]:
        return {
            "ece": self.bins.error,
            "ece_interval": list(self.bins.interval),
            "brier": float((self.squares - 2 * self.truth + 1).mean()),
            "nll": float(-np.log(np.maximum(self.truth, _LEAST)).mean()),
        }

    def reliability(self, fitted: Calibration | None = None) -> Reliability:
        """What a report shows of the probabilities; ``fitted`` is what was done to them after the training."""
        words = "" if fitted is None else fitted.sentence()
        before = None if self.before is None else self.before.bins
        return Reliability(self.answered, self.bins, self.figures, before=before, fitted=words, noun=NOUN, answer="tag")


def tag_confidence(
    probabilities: Sequence[Array], answers: Sequence[Array], truth: Sequence[Array], *, temperature: float = 1.0,
    before: TagConfidence | None = None,
) -> TagConfidence | None:  # fmt: skip
    """The confidence of answers (T,) to sentences with these probabilities (T, K) and true tags (T,), by number.

    None where there is no word.

    >>> found = tag_confidence([np.array([[0.9, 0.1], [0.4, 0.6]])], [np.array([0, 1])], [np.array([0, 0])])
    >>> found.answered.tolist(), found.truth.tolist(), found.right.tolist()
    ([0.9, 0.6], [0.9, 0.4], [True, False])
    """
    sizes = [len(one) for one in truth]
    if not sum(sizes):
        return None

    def chosen(numbers: Sequence[Array]) -> Array:
        each = [np.take_along_axis(p, n[:, None], 1)[:, 0] for p, n in zip(probabilities, numbers, strict=True)]
        return np.concatenate(each).astype(np.float64)

    squares = np.concatenate([np.square(p, dtype=np.float64).sum(1) for p in probabilities])
    right = np.concatenate([a == t for a, t in zip(answers, truth, strict=True)])
    places = np.repeat(np.arange(len(sizes)), sizes)
    return TagConfidence(chosen(answers), chosen(truth), squares, right, places, temperature, before)
