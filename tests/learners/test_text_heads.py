from __future__ import annotations

import torch
import torch.nn.functional as F

from corecur.learners.text_heads import EachHead, average_is_right


def test_the_loss_is_the_mean_over_the_heads() -> None:
    first, second, target = torch.randn(5, 3), torch.randn(5, 3), torch.randint(3, (5,))
    losses = [F.cross_entropy(head, target, label_smoothing=0.1, reduction="none") for head in (first, second)]
    loss, both = EachHead(3, label_smoothing=0.1), torch.cat([first, second], 1)
    torch.testing.assert_close(loss(target, both), (losses[0].mean() + losses[1].mean()) / 2)
    torch.testing.assert_close(loss(target, first), losses[0].mean())
    whole = loss(target, both, torch.full((5,), 2.0)) / loss(target, both)
    weights = torch.tensor([2.0, 0.0, 2.0, 0.0, 2.0])
    kept = loss(target[::2], both[::2]) * whole
    torch.testing.assert_close(loss(target, both, weights) * (weights.sum() / 10 if whole == 1 else 5 / 3), kept)


def test_a_head_goes_on_learning_where_another_knows_the_answer() -> None:
    output = torch.tensor([[30.0, 0.0, 0.0, 0.0]], requires_grad=True)
    EachHead(2)(torch.tensor([0]), output).backward()
    torch.testing.assert_close(output.grad, torch.tensor([[0.0, 0.0, -0.25, 0.25]]), atol=1e-6, rtol=0)


def test_the_average_is_of_probabilities() -> None:
    first = torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.1, 0.9]])
    second = torch.tensor([[0.4, 0.6], [0.7, 0.3], [0.2, 0.8]])
    output = torch.cat([first.log(), second.log()], 1)
    assert average_is_right(torch.tensor([0, 0, 0]), output, classes=2).tolist() == [1.0, 1.0, 0.0]
    assert average_is_right(torch.tensor([0, 1, 1]), first.log(), classes=2).tolist() == [1.0, 1.0, 1.0]
