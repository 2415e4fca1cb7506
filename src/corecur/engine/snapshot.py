"""Everything that decides how a training goes on, kept to be put back: weights, optimiser, modes, random numbers."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from corecur.engine.random_states import random_states, set_random_states


class Snapshot:
    """The state of a network, of its optimiser and of all global random generators at one moment.

    ``restore`` writes the values back bit for bit into the same tensors and the same optimiser, so that whoever holds
    them sees the old values again.

    >>> network = nn.Linear(1, 1)
    >>> before, snapshot = network.weight.item(), Snapshot(network)
    >>> with torch.no_grad():
    ...     _ = network.weight.fill_(7.0)
    >>> snapshot.restore()
    >>> network.weight.item() == before
    True
    """

    def __init__(self, network: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> None:
        self.network = network
        self.optimizer = optimizer
        self._values = [(tensor, tensor.detach().clone()) for tensor in _tensors_of(network)]
        self._gradients = [(p, None if p.grad is None else p.grad.clone()) for p in network.parameters()]
        self._modes = [(module, module.training) for module in network.modules()]
        self._groups = [_without_parameters(group) for group in optimizer.param_groups] if optimizer else []
        self._states = {p: copy.deepcopy(state) for p, state in optimizer.state.items()} if optimizer else {}
        self._random = random_states()

    def restore(self) -> None:
        """Put everything back; a snapshot can be restored any number of times."""
        with torch.no_grad():
            for tensor, value in self._values:
                tensor.copy_(value)
        for parameter, gradient in self._gradients:
            parameter.grad = None if gradient is None else gradient.clone()
        for module, training in self._modes:
            module.training = training
        if self.optimizer is not None:
            for group, saved in zip(self.optimizer.param_groups, self._groups, strict=True):
                parameters = group["params"]
                group.clear()
                group.update({"params": parameters} | copy.deepcopy(saved))
            self.optimizer.state.clear()
            self.optimizer.state.update({p: copy.deepcopy(state) for p, state in self._states.items()})
        set_random_states(self._random)


def _tensors_of(network: nn.Module) -> list[Tensor]:
    return [*network.parameters(), *network.buffers()]


def _without_parameters(group: dict[str, Any]) -> dict[str, Any]:
    return copy.deepcopy({key: value for key, value in group.items() if key != "params"})
