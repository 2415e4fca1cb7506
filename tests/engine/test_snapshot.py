from __future__ import annotations

import random

import numpy as np
import torch
from torch import nn

from corecur.engine.snapshot import Snapshot


def test_the_same_tensors_hold_the_old_values_again() -> None:
    network = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    weight, group = network[0].weight, optimizer.param_groups[0]
    snapshot = Snapshot(network, optimizer)
    old = {name: value.clone() for name, value in network.state_dict().items()}
    for _ in range(2):  # restored as often as one likes
        network(torch.randn(8, 3)).square().sum().backward()
        optimizer.step()
        group["lr"] = 7.0
        network.eval()
        snapshot.restore()
        assert network[0].weight is weight
        assert optimizer.param_groups[0] is group
        assert group["lr"] == 0.1
        assert not optimizer.state
        assert network.training
        assert all(p.grad is None for p in network.parameters())
        assert all(torch.equal(value, old[name]) for name, value in network.state_dict().items())


def test_random_numbers_come_again() -> None:
    snapshot = Snapshot(nn.Identity())
    drawn = [(torch.rand(()).item(), np.random.rand(), random.random())]
    snapshot.restore()
    drawn.append((torch.rand(()).item(), np.random.rand(), random.random()))
    assert drawn[0] == drawn[1]
