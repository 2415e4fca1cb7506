from __future__ import annotations

import torch
import torch.nn.functional as F

from corecur.layers.activation import Softmax
from corecur.learners.text_heads import AverageAccuracy, EachHead


def test_the_loss_is_the_mean_over_the_heads() -> None:
    first, second, target = torch.randn(5, 3), torch.randn(5, 3), torch.randint(3, (5,))
    expected = (
        F.cross_entropy(first, target, label_smoothing=0.1) + F.cross_entropy(second, target, label_smoothing=0.1)
    ) / 2
    loss = EachHead(label_smoothing=0.1)
    torch.testing.assert_close(loss(target, [Softmax()(first), Softmax()(second)]), expected)
    alone = F.cross_entropy(first, target, label_smoothing=0.1)
    torch.testing.assert_close(loss(target, Softmax()(first)), alone)


def test_a_head_goes_on_learning_where_another_knows_the_answer() -> None:
    sure, unsure = torch.tensor([[30.0, 0.0]]), torch.zeros(1, 2, requires_grad=True)
    EachHead()(torch.tensor([0]), [Softmax()(sure), Softmax()(unsure)]).backward()
    torch.testing.assert_close(unsure.grad, torch.tensor([[-0.25, 0.25]]))


def test_the_accuracy_is_that_of_the_average() -> None:
    metric = AverageAccuracy()
    first = torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.1, 0.9]])
    second = torch.tensor([[0.4, 0.6], [0.7, 0.3], [0.2, 0.8]])
    metric.update(torch.tensor([0, 0, 0]), [first, second])
    assert metric.result() == 2 / 3
    metric.reset()
    metric.update(torch.tensor([0, 0, 0]), first)
    assert metric.result() == 1 / 3
