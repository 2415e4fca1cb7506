"""The answer to one small question: a batch through a network, without all that serves many batches.

B batch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from corecur import runtime
from corecur.data.arrays import as_tensor
from corecur.engine.evaluating import evaluating
from corecur.engine.outputs import as_float32
from corecur.errors import ConfigError


def is_one_batch(x: object, batch_size: int) -> bool:
    """Whether ``x`` is an array or a tensor (B, …) of no more samples than a batch has.

    >>> is_one_batch(np.zeros((2, 3)), 2), is_one_batch(np.zeros((3, 3)), 2), is_one_batch([[0.0]], 2)
    (True, False, False)
    """
    return isinstance(x, (Tensor, np.ndarray)) and isinstance(batch_size, int) and x.ndim > 0 and len(x) <= batch_size


@torch.no_grad()
def output_of(network: nn.Module, x: Any, *, device: torch.device, precision: torch.dtype) -> Any:
    """The network's output for one batch in evaluation mode: what ``Trainer.predict`` gives for it.

    Raises DataError as ``as_batches`` does.

    >>> output_of(nn.Flatten(), np.zeros((1, 2, 2)), device=torch.device("cpu"), precision=torch.float32)
    tensor([[0., 0., 0., 0.]])
    """
    inputs = as_tensor(x, name="inputs")
    if inputs.device != device:
        inputs = inputs.to(device)
    with evaluating(network):
        if precision == torch.float32:
            return network(inputs)
        with runtime.precision(precision, device):
            return as_float32(network(inputs))


def no_loss(target: Any, output: Any, weights: Tensor | None) -> Tensor:
    """The loss of a model that was not given one: ConfigError."""
    raise ConfigError("the model is not compiled", do="model.compile(optimizer, loss)")
