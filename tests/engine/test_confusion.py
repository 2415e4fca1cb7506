from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import confusion_matrix

from corecur.engine.confusion import ConfusionMatrix
from corecur.errors import ConfigError, DataError


def test_against_scikit_learn() -> None:
    labels, output, weights = torch.randint(0, 4, (60,)), torch.rand(60, 5), torch.rand(60)
    for target in (labels, labels.float(), F.one_hot(labels, 5)):
        metric = ConfusionMatrix(5)
        metric.update(target[:20], output[:20])
        metric.update(target[20:], output[20:])
        np.testing.assert_array_equal(metric.result(), confusion_matrix(labels, output.argmax(-1), labels=range(5)))
    metric = ConfusionMatrix(5)
    metric.update(labels, output, weights)
    want = confusion_matrix(labels, output.argmax(-1), labels=range(5), sample_weight=weights)
    np.testing.assert_allclose(metric.result(), want, rtol=1e-6)


def test_binary() -> None:
    y, p = torch.randint(0, 2, (40,)), torch.rand(40, 1)
    metric = ConfusionMatrix(2)
    metric.update(y, p)
    np.testing.assert_array_equal(metric.result(), confusion_matrix(y, p[:, 0] > 0.5))


@pytest.mark.parametrize("label", [3, -1])
def test_a_label_that_is_no_class(label: int) -> None:
    with pytest.raises(DataError, match=f"label {label} is not a class"):
        ConfusionMatrix(3).update(torch.tensor([0, label]), torch.rand(2, 3))


def test_refusals() -> None:
    with pytest.raises(ConfigError):
        ConfusionMatrix(1)
    with pytest.raises(ConfigError, match="num_classes"):
        ConfusionMatrix(3).update(torch.tensor([0]), torch.rand(1, 4))
