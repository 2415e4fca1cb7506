"""Explanations by gradient: what a small change at each place does to the answer.

S the axes of the input, N variants.
"""

from __future__ import annotations

import torch
from torch import Tensor

from corecur.explain.question import Question

# Steps of a path: doubled until the scores add up, or so many.
_FIRST_STEPS, _MOST_STEPS, _CLOSE = 32, 512, 5e-4


def gradient(question: Question) -> Tensor:
    """``|∂F/∂x|``, added up over the channels of a place (Simonyan et al. 2014): how sharply the answer reacts.

    >>> from corecur.explain.question import plain_question
    >>> question = plain_question(lambda x: x @ torch.tensor([2.0, -1.0]), torch.tensor([1.0, 3.0]))
    >>> gradient(question)
    tensor([2., 1.])
    """
    _, found = question.gradients(question.inputs[None])
    return question.by_place(found[0].abs())


def input_gradient(question: Question) -> Tensor:
    """``∂F/∂x · (x - x')``: what taking each place away would change if the network were linear.

    >>> from corecur.explain.question import plain_question
    >>> question = plain_question(lambda x: x @ torch.tensor([2.0, -1.0]), torch.tensor([1.0, 3.0]))
    >>> input_gradient(question)
    tensor([ 2., -3.])
    """
    _, found = question.gradients(question.inputs[None])
    return question.by_place(found[0] * (question.inputs - question.baseline))


def smooth_grad(question: Question, *, samples: int = 32, noise: float = 0.15, seed: int = 0) -> Tensor:
    """The gradient averaged over noisy copies, then as ``gradient`` (Smilkov et al. 2017).

    The noise is a share of the input's range.

    >>> from corecur.explain.question import plain_question
    >>> question = plain_question(lambda x: x @ torch.tensor([2.0, -1.0]), torch.tensor([1.0, 3.0]))
    >>> smooth_grad(question).round(decimals=4)
    tensor([2., 1.])
    """
    generator = torch.Generator().manual_seed(seed)
    inputs = question.inputs
    draws = torch.randn((samples, *inputs.shape), generator=generator).to(inputs)
    width = noise * float((torch.maximum(inputs, question.baseline) - torch.minimum(inputs, question.baseline)).max())
    spread = float(inputs.max() - inputs.min()) * noise
    _, found = question.gradients(inputs + max(width, spread) * draws)
    return question.by_place(found.mean(0).abs())


def integrated_gradients(question: Question, *, steps: int | None = None) -> Tensor:
    """``(x - x') · ∫ ∂F/∂x (x' + α (x - x')) dα`` (Sundararajan et al. 2017): the scores add up to ``F(x) - F(x')``.

    The midpoint rule over as many steps as that takes, 512 at most; ``steps`` fixes their number.

    >>> from corecur.explain.question import plain_question
    >>> question = plain_question(lambda x: x @ torch.tensor([2.0, -1.0]), torch.tensor([1.0, 3.0]))
    >>> integrated_gradients(question).round(decimals=4)
    tensor([ 2., -3.])
    """
    return question.by_place(path_gradients(question, question.baseline[None], steps=steps))


def path_gradients(question: Question, baselines: Tensor, *, steps: int | None = None) -> Tensor:
    """Integrated gradients from each of M baselines (M, *S) to the input, their mean (*S).

    >>> from corecur.explain.question import plain_question
    >>> question = plain_question(lambda x: x @ torch.tensor([2.0, -1.0]), torch.tensor([1.0, 3.0]))
    >>> path_gradients(question, torch.tensor([[1.0, 1.0]])).round(decimals=4)
    tensor([ 0., -2.])
    """
    inputs = question.inputs
    whole = float(question.scores(inputs[None])[0] - question.scores(baselines).mean())
    count = steps or _FIRST_STEPS
    while True:
        total = torch.zeros_like(inputs)
        for baseline in baselines:
            shares = (torch.arange(count) + 0.5) / count
            apart = inputs - baseline
            _, found = question.gradients(baseline + shares.view(-1, *[1] * inputs.ndim).to(inputs) * apart)
            total += apart * found.mean(0) / len(baselines)
        far = abs(float(total.double().sum()) - whole)
        if steps is not None or far <= _CLOSE * max(1.0, abs(whole)) or 2 * count > _MOST_STEPS:
            return total
        count *= 2
