"""Occlusion: what the answer loses without each part (Zeiler & Fergus 2014)."""

from __future__ import annotations

import torch
from torch import Tensor

from corecur.explain.question import Question


def occlusion(question: Question) -> Tensor:
    """``F(x) - F(x without the part)``, spread over the places of each part.

    For a linear network it is each weight times its value, exactly.

    >>> from corecur.explain.question import plain_question
    >>> question = plain_question(lambda x: x @ torch.tensor([2.0, -1.0]), torch.tensor([1.0, 3.0]))
    >>> occlusion(question)
    tensor([ 2., -3.], dtype=torch.float64)
    """
    whole = question.scores(question.inputs[None])
    return question.spread(whole - question.scores_of(~torch.eye(question.count, dtype=torch.bool)))
