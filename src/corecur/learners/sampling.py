"""Which token comes next: probabilities with temperature, cut to the likeliest, and a draw from them.

V vocabulary.
"""

from __future__ import annotations

import math

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from corecur.errors import ConfigError
from corecur.learners.settings import checked_settings

#: What stands in the way where no token can be drawn.
NOTHING_LEFT = "logits that are all minus infinity, infinite, or no numbers"


class Sampling(BaseModel):
    """How tokens are drawn; the order is temperature, ``top_k``, ``top_p``.

    ``temperature`` divides the logits: 0 always takes the likeliest token, 1 draws as the network says, more is bolder.
    ``top_k`` keeps the k likeliest tokens, 0 all. ``top_p`` keeps the fewest likeliest tokens whose probabilities sum
    to p or more (Holtzman et al. 2020), 1 all.

    >>> Sampling(temperature=0.5).top_p
    1.0
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = Field(0.8, ge=0, allow_inf_nan=False, description="0 is the likeliest token, 1 as learned")
    top_k: int = Field(0, ge=0, description="draw among the k likeliest tokens; 0 among all")
    top_p: float = Field(1.0, gt=0, le=1, description="draw among the likeliest tokens that sum to this probability")


def checked_sampling(*, temperature: float, top_k: int | None, top_p: float | None) -> Sampling:
    """These settings, None meaning no cut; ConfigError where one is out of its range.

    >>> checked_sampling(temperature=1.0, top_k=None, top_p=None).top_k
    0
    >>> checked_sampling(temperature=-1.0, top_k=None, top_p=None)
    Traceback (most recent call last):
        ...
    corecur.errors.ConfigError: the setting 'temperature' is wrong
      got:      -1.0
      expected: greater than or equal to 0
    """
    given = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    return checked_settings(Sampling, {name: value for name, value in given.items() if value is not None})


def next_probabilities(logits: Tensor, sampling: Sampling) -> Tensor:
    """Probabilities (V,) float64 of the next token from its logits (V,): minus infinity is never drawn.

    Of equally likely tokens at the edge of a cut, those with the lower number stay. ConfigError where nothing is left.

    >>> next_probabilities(torch.tensor([0.0, 0.0, -9.0]), Sampling(temperature=1.0, top_k=2)).tolist()
    [0.5, 0.5, 0.0]
    """
    scores = logits.double()
    if not bool((scores > -math.inf).any()) or bool(scores.isnan().any()):
        raise ConfigError("no token can come next", got=NOTHING_LEFT)
    if sampling.temperature == 0:
        return torch.zeros_like(scores).index_fill_(0, scores.argmax(), 1.0)
    if bool(scores.max() == math.inf):
        raise ConfigError("no token can come next", got=NOTHING_LEFT)
    found = torch.softmax((scores - scores.max()) / sampling.temperature, dim=0)
    if sampling.top_k == 0 and sampling.top_p == 1:
        return found
    ordered, places = found.sort(descending=True, stable=True)
    kept = torch.ones_like(ordered, dtype=torch.bool)
    if sampling.top_k:
        kept[sampling.top_k :] = False
    ordered = ordered * kept
    before = ordered.cumsum(0) - ordered  # the sum of all that are likelier
    ordered = ordered * (before < sampling.top_p * ordered.sum())
    return torch.zeros_like(found).scatter_(0, places, ordered / ordered.sum())


def draw(probabilities: Tensor, generator: torch.Generator) -> int:
    """A number drawn with these probabilities (V,), by one uniform number of the generator.

    >>> draw(torch.tensor([0.0, 1.0, 0.0]), torch.Generator().manual_seed(0))
    1
    """
    sums = probabilities.cumsum(0)
    point = torch.rand((), generator=generator, dtype=torch.float64) * sums[-1]
    return min(int(torch.searchsorted(sums, point, right=True)), int(probabilities.nonzero()[-1]))
