"""The ways to explain an answer, by name, what each fits, and the one that is taken by itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from corecur.errors import ConfigError, DataError, nearest
from corecur.explain.activations import activation_maps, filters
from corecur.explain.attribution import Attribution, Explanation, Look, Panel
from corecur.explain.faithfulness import RANKINGS, STEPS, measure
from corecur.explain.grad_cam import grad_cam
from corecur.explain.gradients import gradient, input_gradient, integrated_gradients, smooth_grad
from corecur.explain.lime import lime
from corecur.explain.neighbours import Known, neighbours
from corecur.explain.occlusion import occlusion
from corecur.explain.question import Question
from corecur.explain.recurrent_states import hidden_states
from corecur.explain.shapley import gradient_shap, kernel_shap, near_baselines
from corecur.layers.gated import GatedLayer
from corecur.names import Table

AUTO = "auto"


@dataclass(frozen=True)
class Effort:
    """How an explanation is to be made: draws, steps of a path, the layer to look at, and how well it is checked.

    >>> Effort(seed=3).check
    True
    """

    samples: int | None = None
    steps: int | None = None
    layer: str | None = None
    seed: int = 0
    check: bool = True
    rankings: int = RANKINGS
    curve_steps: int = STEPS
    known: Sequence[Known] = ()


@dataclass(frozen=True)
class Ranking:
    """A method that gives each place a score; ``total`` is what the scores add up to, where they add up.

    >>> METHODS["occlusion"].signed, METHODS["gradient"].signed
    (True, False)
    """

    what: str
    run: Callable[[Question, Effort], Tensor]
    signed: bool = True
    refuses: Callable[[Question, Effort], str | None] = lambda question, effort: None
    total: Callable[[Question, Effort], float] | None = None


@dataclass(frozen=True)
class Inside:
    """A method that shows what goes on inside and ranks nothing.

    >>> METHODS["states"].what
    'hidden states and gates of recurrent layers over time'
    """

    what: str
    run: Callable[[Question, Effort], tuple[Panel, ...]]
    refuses: Callable[[Question, Effort], str | None] = lambda question, effort: None


def _convolves(question: Question, effort: Effort) -> str | None:
    named = (type(module).__name__.casefold() for module in question.network.modules())
    return None if effort.layer or any("conv" in name for name in named) else "the network has no convolution"


def _recurs(question: Question, effort: Effort) -> str | None:
    found = any(isinstance(module, GatedLayer) for module in question.network.modules())
    return None if found else "the network has no recurrent layer"


def _attends(question: Question, effort: Effort) -> str | None:
    return "the network weighs no words" if question.attention is None else None


def _knows(question: Question, effort: Effort) -> str | None:
    return None if effort.known else "a model file holds no training samples: give their source (--train SOURCE)"


def _whole(question: Question, effort: Effort) -> float:
    whole, none = question.scores(torch.stack([question.inputs, question.baseline])).tolist()
    return float(whole - none)


def _from_baselines(question: Question, effort: Effort) -> float:
    baselines = near_baselines(question, samples=effort.samples, seed=effort.seed)
    return float(question.scores(question.inputs[None])[0] - question.scores(baselines).mean())


def _attention(question: Question, effort: Effort) -> Tensor:
    if question.attention is None:
        raise ConfigError("the network weighs no words", do="take another explanation method")
    return question.attention()


METHODS: Table[Ranking | Inside] = Table(
    "explanation method",
    {
        "gradient": Ranking("how sharply the answer reacts at each place", lambda q, e: gradient(q), signed=False),
        "input-gradient": Ranking("gradient times input", lambda q, e: input_gradient(q)),
        "smoothgrad": Ranking(
            "the gradient averaged over noisy copies",
            lambda q, e: smooth_grad(q, samples=e.samples or 32, seed=e.seed),
            signed=False,
        ),
        "integrated-gradients": Ranking(
            "gradients along the way from nothing to the sample",
            lambda q, e: integrated_gradients(q, steps=e.steps),
            total=_whole,
        ),
        "grad-cam": Ranking(
            "where a layer's channels speak for the answer",
            lambda q, e: grad_cam(q, layer=e.layer),
            signed=False,
            refuses=_convolves,
        ),
        "occlusion": Ranking("what the answer loses without each part", lambda q, e: occlusion(q)),
        "lime": Ranking("a linear model around the sample", lambda q, e: lime(q, samples=e.samples, seed=e.seed)),
        "kernel-shap": Ranking(
            "each part's fair share of the answer, from coalitions of parts",
            lambda q, e: kernel_shap(q, samples=e.samples, seed=e.seed),
            total=_whole,
        ),
        "gradient-shap": Ranking(
            "each part's share, from gradients and several baselines",
            lambda q, e: gradient_shap(q, samples=e.samples, seed=e.seed),
            total=_from_baselines,
        ),
        "attention": Ranking(
            "how much each word weighed where the network weighs words", _attention, signed=False, refuses=_attends
        ),
        "filters": Inside("the filters of convolutions", lambda q, e: filters(q, layer=e.layer), _convolves),
        "activations": Inside(
            "what the filters find in the sample", lambda q, e: activation_maps(q, layer=e.layer), _convolves
        ),
        "states": Inside(
            "hidden states and gates of recurrent layers over time", lambda q, e: hidden_states(q), _recurs
        ),
        "neighbours": Inside("the nearest training samples", lambda q, e: neighbours(q, e.known), _knows),
    },
    aliases={"ig": "integrated-gradients", "gradcam": "grad-cam", "shap": "kernel-shap", "saliency": "gradient"},
)

#: What is taken by itself: of what was measured, the best in its time (docs/explanations.md).
BY_KIND: dict[str, str] = {"image": "occlusion", "text": "occlusion", "series": "lime"}


def fitting(question: Question, effort: Effort) -> list[str]:
    """The names of the methods that fit a question.

    >>> from corecur.explain.question import plain_question
    >>> question = plain_question(lambda x: x @ torch.tensor([2.0, -1.0]), torch.tensor([1.0, 3.0]))
    >>> "grad-cam" in fitting(question, Effort()), "lime" in fitting(question, Effort())
    (False, True)
    """
    return [name for name, method in METHODS.items() if method.refuses(question, effort) is None]


def find_method(question: Question, name: str, effort: Effort) -> str:
    """The name of the method asked for; ConfigError, with those that fit, where there is none or it does not fit.

    >>> from corecur.explain.question import plain_question
    >>> question = plain_question(lambda x: x @ torch.tensor([2.0, -1.0]), torch.tensor([1.0, 3.0]))
    >>> find_method(question, "shap", Effort())
    'kernel-shap'
    """
    if name == AUTO:
        return BY_KIND[question.kind]
    expected = "one of " + ", ".join([AUTO, *fitting(question, effort)])
    if name not in METHODS:
        guess = nearest(name, METHODS)
        raise ConfigError(
            f"unknown explanation method {name!r}", expected=expected, do=f"did you mean {guess!r}?" if guess else None
        )
    refusal = METHODS[name].refuses(question, effort)
    known = next(known for known, row in METHODS.items() if row is METHODS[name])
    if refusal is not None:
        raise ConfigError(f"{known} does not fit here: {refusal}", where=question.name, expected=expected)
    return known


def explain(question: Question, method: str = AUTO, effort: Effort | None = None) -> Explanation:
    """The explanation of one answer; ConfigError where the method does not fit it.

    >>> from corecur.explain.question import plain_question
    >>> question = plain_question(lambda x: x @ torch.tensor([2.0, -1.0]), torch.tensor([1.0, 3.0]))
    >>> explain(question, "occlusion", Effort(check=False)).scores
    array([ 2., -3.])
    """
    effort = effort or Effort()
    name = find_method(question, method, effort)
    row = METHODS[name]
    if not question.count or not bool(question.scores(question.inputs[None]).isfinite().all()):
        raise DataError(
            "there is nothing in the sample to explain the answer by"
            if not question.count
            else "the network's answer is no number, so nothing explains it",
            where=question.name,
            got=question.answer,
        )
    began = time.perf_counter()
    if isinstance(row, Inside):
        panels = row.run(question, effort)
        seconds = time.perf_counter() - began
        return Look(question.name, name, question.answer, panels, seconds, question.shown, question.notes)
    scores = row.run(question, effort).detach().double().cpu()
    seconds = time.perf_counter() - began
    found = Attribution(
        name=question.name,
        kind=question.kind,
        method=name,
        target=question.target,
        answer=question.answer,
        scores=scores.numpy(),
        parts=question.parts.cpu().numpy(),
        signed=row.signed,
        removed=question.removed,
        shown=question.shown,
        seconds=seconds,
        total=None if row.total is None else row.total(question, effort),
        notes=question.notes,
    )
    if not effort.check:
        return found
    return replace(
        found,
        faithfulness=measure(
            question, scores, lambda other: row.run(other, effort), signed=row.signed,
            rankings=effort.rankings, steps=effort.curve_steps, seed=effort.seed,
        ),
    )  # fmt: skip
