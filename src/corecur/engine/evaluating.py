"""A network in evaluation mode for a while."""

from __future__ import annotations

from torch import nn


class evaluating:  # noqa: N801 - reads as a statement: with evaluating(network)
    """Puts a network in evaluation mode, and each module in it back into the mode it was in.

    >>> network = nn.Sequential(nn.Dropout(), nn.Dropout().eval())
    >>> with evaluating(network):
    ...     modes = [module.training for module in network]
    >>> modes, [module.training for module in network]
    ([False, False], [True, False])
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.in_training = [module for module in network.modules() if module.training]

    def __enter__(self) -> None:
        if self.in_training:  # most often nothing is to be changed, and torch would visit every module again
            self.network.eval()

    def __exit__(self, *_: object) -> None:
        for module in self.in_training:
            module.training = True
