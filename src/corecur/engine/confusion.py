"""The confusion matrix.

Shapes: B batch, T time (or any inner axes), K classes, P = B·T positions.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from corecur.engine.crossentropy import label_error
from corecur.engine.loss import aligned
from corecur.engine.metric import Metric, is_binary, labels, require, wide
from corecur.engine.precision_recall import position_weights


@dataclass(eq=False)
class ConfusionMatrix(Metric):
    """How often a sample of class i (row) was taken for class j (column).

    Raises DataError for a label outside 0 … num_classes - 1 (on CUDA torch itself stops the program).

    >>> metric = ConfusionMatrix(2)
    >>> metric.update(torch.tensor([0, 1, 1]), torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]]))
    >>> metric.result()
    array([[1., 0.],
           [1., 1.]])
    """

    num_classes: int
    _: KW_ONLY
    name: str = "confusion_matrix"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.num_classes >= 2, "num_classes out of range", self.num_classes, "2 or more")

    def update(self, target: Tensor, output: Tensor, weights: Tensor | None = None) -> None:
        k = self.num_classes
        if is_binary(target, output):
            truth = (aligned(target, output) > 0.5).reshape(-1).long()  # (P,)
            taken = (output > 0.5).reshape(-1).long()
        else:
            truth = labels(target, output).reshape(-1).long()
            taken = output.argmax(-1).reshape(-1)
        require(is_binary(target, output) or output.shape[-1] == k, "num_classes differs", k, str(output.shape[-1]))
        dtype = wide(output.device)
        if weights is None:
            amounts = torch.ones((), dtype=dtype, device=output.device).expand(len(truth))
        else:
            amounts = position_weights(weights, output).reshape(-1).to(dtype)
        counts = torch.zeros(k * k, dtype=dtype, device=output.device)
        try:
            # Not bincount, which waits for the device to learn how long its result is.
            counts.index_add_(0, truth * k + taken, amounts)
        except IndexError as error:
            raise label_error(truth, k) from error
        self._add(matrix=counts.reshape(k, k))

    def result(self) -> NDArray[np.float64]:
        if not self._totals:
            return np.zeros((self.num_classes, self.num_classes))
        matrix: NDArray[np.float64] = torch.as_tensor(self._totals["matrix"]).cpu().double().numpy()
        return matrix
