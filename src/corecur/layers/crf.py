"""CRF: the tags of a sequence together, each depending on its neighbours.

B batch, T time, K tags.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, Unpack, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from corecur.errors import ConfigError, DataError, ShapeError
from corecur.layers.chain import Scores, best_path, log_partition, path_score, real_first
from corecur.layers.conv import each_axis
from corecur.layers.initializers import Initializer
from corecur.layers.layer import Layer, LayerOptions
from corecur.layers.masks import blank, checked_mask, mask_of
from corecur.layers.regularizers import Regularizer
from corecur.layers.symbolic import Shape

#: What a transition that the scheme of the tags forbids is given on top.
FORBIDDEN = -1e4
#: What a CRF gives in evaluation.
Answer = Literal["path", "marginals", "emissions", "steps"]


def checked_temperature(temperature: float) -> float:
    """A temperature, as a float; ConfigError for what is none.

    >>> checked_temperature(2)
    2.0
    """
    if isinstance(temperature, bool) or not isinstance(temperature, (int, float)) or not 0 < temperature < math.inf:
        raise ConfigError("a temperature is a number above 0", got=repr(temperature))
    return float(temperature)


def bio_forbids(before: str | None, tag: str) -> bool:
    """Whether ``tag`` cannot follow in the BIO scheme: ``I-X`` comes after ``B-X`` or ``I-X`` only; None is the start.

    >>> bio_forbids("B-PER", "I-PER"), bio_forbids("B-PER", "I-LOC"), bio_forbids(None, "I-PER")
    (False, True, True)
    """
    return tag.startswith("I-") and before not in ("B" + tag[1:], tag)


class Chain(NamedTuple):
    """What a CRF leaves on its output as ``output.chain``, for the loss."""

    crf: CRF
    emissions: Tensor
    mask: Tensor | None


class CRF(Layer):
    """A linear-chain conditional random field (Lafferty et al. 2001) over emissions (B, T, K).

    ``p(y | x) = exp s(y) / Σ_y' exp s(y')`` with ``s(y) = start[y_1] + Σ_t x_t[y_t] + Σ_t A[y_t, y_t+1] + end[y_n]``
    over the real steps of a sequence; steps that a mask leaves out are as if they were not there. ``transitions`` A is
    (K, K), from row to column; ``start_transitions`` and ``end_transitions`` are (K,).

    It stands last in a network, after ``Dense(K)``. In training the output are the emissions, in evaluation the best
    path, one-hot (B, T, K), so that its ``argmax(-1)`` are the tags. The loss is ``"crf"``, which finds the layer on
    its output. Besides: ``decode`` (tags), ``marginals`` (the probability of each tag at each step) and
    ``log_likelihood``.

    ``bio`` are the names of the tags, in order: transitions that the BIO scheme forbids then get -1e4 on top.
    With ``answer="marginals"`` the output in evaluation are the marginals, at a ``temperature`` T: those of
    ``exp(s(y) / T)``, of all scores divided by T, whose best path is the same for every T. With ``"emissions"`` it is
    the emissions. ``"steps"`` is for emissions that are logarithms of probabilities at each step already, blended ones:
    the output is the best path, and carries the emissions as ``output.scores`` in place of a chain.

    >>> crf = CRF(3)
    >>> x = torch.randn(2, 5, 3)
    >>> crf.eval()(x).argmax(-1).equal(crf.decode(x)), crf.marginals(x).sum(-1).shape
    (True, torch.Size([2, 5]))
    """

    rank = 3
    fixes_channels = True
    supports_masking = True
    keras_weights = (("transitions", None), ("start_transitions", None), ("end_transitions", None))
    forbidden: Tensor

    def __init__(
        self,
        num_tags: int,
        *,
        bio: Sequence[str] | None = None,
        answer: Answer = "path",
        temperature: float = 1.0,
        transition_initializer: str | Initializer = "uniform",
        transition_regularizer: str | Regularizer | None = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(**options)
        each_axis(num_tags, 1, what="CRF's number of tags")
        if bio is not None and (len(bio) != num_tags or not all(isinstance(name, str) for name in bio)):
            raise ConfigError(f"CRF's bio are the names of its {num_tags} tags", got=bio)
        if answer not in get_args(Answer):
            raise ConfigError("a CRF has no such answer", got=repr(answer), expected=" or ".join(get_args(Answer)))
        checked_temperature(temperature)
        self.num_tags = num_tags
        self.bio = bio
        self.answer = answer
        self.temperature = temperature
        self.transition_initializer = transition_initializer
        self.transition_regularizer = transition_regularizer

    def check_input(self, shape: Shape | torch.Size) -> None:
        super().check_input(shape)
        if shape[-1] not in (None, self.num_tags):
            raise ShapeError(
                f"{self.title} takes a score for each of {self.num_tags} tags",
                got=tuple(shape),
                expected=f"(batch, time, {self.num_tags})",
                do=f"put Dense({self.num_tags}) before it",
            )

    def build(self, input_shape: Shape) -> None:
        tags, start = self.num_tags, self.transition_initializer
        self.transitions = self.add_weight((tags, tags), initializer=start, regularizer=self.transition_regularizer)
        self.start_transitions = self.add_weight((tags,), initializer=start)
        self.end_transitions = self.add_weight((tags,), initializer=start)
        if self.bio is not None:
            names = list(self.bio)
            forbidden = torch.tensor([[bio_forbids(before, tag) for tag in names] for before in [None, *names]])
            self.register_buffer("forbidden", forbidden * FORBIDDEN)  # (1 + K, K), the start first

    def forward(self, x: Tensor, *, mask: Tensor | None = None) -> Tensor:
        x = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
        if mask is not None:
            x = blank(x, mask)
        y = x.view_as(x) if self.training else self._answered(x, mask)
        if self.answer == "steps" and not self.training:
            y.scores = x  # type: ignore[attr-defined]
        else:
            y.chain = Chain(self, x, mask)  # type: ignore[attr-defined]
        return y

    def decode(self, emissions: Tensor, *, mask: Tensor | None = None) -> Tensor:
        """The best path of each sequence (Viterbi), (B, T) int64; 0 at steps that are not real."""
        x, mask = self._checked(emissions, mask)
        return self._decode(x, mask)

    def marginals(self, emissions: Tensor, *, mask: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """The probability of each tag at each real step, (B, T, K): what all paths through it weigh; 0 elsewhere.

        A ``temperature`` divides all scores, those of the emissions and of the transitions.
        """
        sharpness = 1 / checked_temperature(temperature)
        x, mask = self._checked(emissions, mask)
        wanted = torch.is_grad_enabled()
        with torch.enable_grad():
            x = x if x.requires_grad and wanted else x.detach().requires_grad_()
            scaled = x if sharpness == 1 else x * sharpness
            total = self._partition(scaled, mask, sharpness).sum()
            (found,) = torch.autograd.grad(total, scaled, create_graph=wanted)
        return found if mask is None else blank(found, mask)

    def log_likelihood(self, emissions: Tensor, tags: Tensor, *, mask: Tensor | None = None) -> Tensor:
        """``log p(tags | emissions)`` of each sequence, (B,); 0 for one without a real step.

        Raises ShapeError where ``tags`` is not (B, T), DataError where a tag of a real step is none of the K.
        """
        x, mask = self._checked(emissions, mask)
        if tags.shape != x.shape[:2]:
            raise ShapeError(
                f"{self.title} takes a tag for each step",
                got=f"tags {tuple(tags.shape)}, emissions {tuple(x.shape)}",
                expected=f"tags {tuple(x.shape[:2])}",
            )
        tags = tags.long() if mask is None else blank(tags.long(), mask)
        wrong = (tags < 0) | (tags >= self.num_tags)
        if bool(wrong.any()):
            place = tuple(wrong.nonzero()[0].tolist())
            raise DataError(
                f"tag {int(tags[place])} is not one of the CRF's",
                where=f"sequence {place[0]} of the batch, step {place[1]}",
                expected=f"0 … {self.num_tags - 1}",
                do="number the tags from 0, or mask steps without one",
            )
        if mask is not None:
            order = real_first(mask)
            x, tags = x.gather(1, order.unsqueeze(-1).expand_as(x)), tags.gather(1, order)
        scores, lengths = self._scores(), self._lengths(x, mask)
        return path_score(x, scores, lengths, tags) - log_partition(x, scores, lengths)

    def _checked(self, emissions: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The emissions without what is not real, and the mask given or carried."""
        if not self.built:
            self.build_for((None, *emissions.shape[1:]), device=emissions.device)
        self.check_input(emissions.shape)
        mask = mask_of(emissions) if mask is None else mask
        if mask is None:
            return emissions, None
        mask = checked_mask(mask, emissions, self.title)
        return blank(emissions, mask), mask

    def _scores(self, sharpness: float = 1.0) -> Scores:
        found = Scores(self.transitions, self.start_transitions, self.end_transitions)
        if sharpness != 1:
            found = Scores(*(score * sharpness for score in found))
        if self.bio is None:
            return found
        start, between = self.forbidden[0], self.forbidden[1:]  # what cannot be is as impossible at any temperature
        return Scores(found.transitions + between, found.start + start, found.end)

    def _lengths(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return torch.full((len(x),), x.shape[1], device=x.device) if mask is None else mask.sum(1)

    def _partition(self, x: Tensor, mask: Tensor | None, sharpness: float = 1.0) -> Tensor:
        lengths = self._lengths(x, mask)
        if mask is not None:
            x = x.gather(1, real_first(mask).unsqueeze(-1).expand_as(x))
        return log_partition(x, self._scores(sharpness), lengths)

    def _answered(self, x: Tensor, mask: Tensor | None) -> Tensor:
        if self.answer in ("path", "steps"):
            return self._best(x, mask)
        if self.answer == "emissions" or x.is_meta:
            return x.view_as(x)
        return self.marginals(x, mask=mask, temperature=self.temperature)

    def _best(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return F.one_hot(self._decode(x, mask), self.num_tags).to(x.dtype)  # (B, T) -> (B, T, K)

    def _decode(self, x: Tensor, mask: Tensor | None) -> Tensor:
        lengths = self._lengths(x, mask)
        if mask is None:
            return best_path(x, self._scores(), lengths)[0]
        order = real_first(mask)
        path, _ = best_path(x.gather(1, order.unsqueeze(-1).expand_as(x)), self._scores(), lengths)
        return blank(torch.empty_like(path).scatter_(1, order, path), mask)

    def window(self) -> None:
        return None
