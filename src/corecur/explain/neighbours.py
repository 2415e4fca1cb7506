"""The training samples nearest to a sample, as the network sees them: by what its last layer is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from corecur.explain.activations import last_features
from corecur.explain.attribution import Panel
from corecur.explain.question import Question, Shown

NEAREST = 6


@dataclass(frozen=True, eq=False)
class Known:
    """A training sample: the question as it would be asked of it, and its label.

    >>> from corecur.explain.question import plain_question
    >>> Known(plain_question(lambda x: x.sum(1), torch.ones(2)), "cat").label
    'cat'
    """

    question: Question
    label: str


def neighbours(question: Question, known: Sequence[Known], *, nearest: int = NEAREST) -> tuple[Panel, ...]:
    """The nearest of the known samples by the angle between their features, nearest first.

    >>> from corecur.explain.question import plain_question
    >>> network = torch.nn.Linear(2, 2)
    >>> ask = lambda *x: plain_question(lambda v: network(v)[:, 0], torch.tensor(x), network=network)
    >>> [panel.title for panel in neighbours(ask(1.0, 0.0), [Known(ask(0.0, 1.0), "b"), Known(ask(2.0, 0.1), "a")])]
    ['a (likeness 0.999): sample', 'b (likeness 0.000): sample']
    """
    likeness = torch.nn.functional.cosine_similarity(_features(known), last_features(question), dim=1)
    panels = []
    for place in likeness.argsort(descending=True, stable=True)[:nearest].tolist():
        one = known[place]
        title = f"{one.label} (likeness {float(likeness[place]):.3f}): {one.question.name}"
        panels.append(_panel(title, one.question.shown))
    return tuple(panels)


def _features(known: Sequence[Known]) -> Tensor:
    """The features of all samples (N, F), those of one shape at once where the inputs are the sample itself."""
    groups: dict[object, list[int]] = {}
    for place, one in enumerate(known):
        shape = place if one.question.kind == "text" else tuple(one.question.inputs.shape)
        groups.setdefault(shape, []).append(place)
    found: dict[int, Tensor] = {}
    for places in groups.values():
        inputs = torch.stack([known[place].question.inputs for place in places])
        found |= dict(zip(places, last_features(known[places[0]].question, inputs), strict=True))
    return torch.stack([found[place] for place in range(len(known))])


def _panel(title: str, shown: Shown) -> Panel:
    if shown.picture is not None:
        return Panel(title, shown.picture)
    if shown.values is not None:
        return Panel(title, shown.values.T, across="step", down="line")
    return Panel(title, words=(" " if shown.spaced else "").join(shown.words))
