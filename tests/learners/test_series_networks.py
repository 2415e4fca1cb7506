from __future__ import annotations

import pytest
import torch

from corecur.layers.masks import with_mask
from corecur.learners.class_activation import class_activation
from corecur.learners.series_networks import SERIES_NETWORKS, SeriesSizes, build_members
from corecur.learners.text_heads import EachHead

SMALL = SeriesSizes(filters=8, units=4, depth=3, reach=9, halvings=2)


def warmed(names: list[str], sizes: SeriesSizes = SMALL) -> tuple[torch.nn.Module, torch.nn.Module]:
    """Networks whose normalisations have seen something."""
    torch.manual_seed(0)
    answers, members = build_members(names, channels=2, classes=3, sizes=sizes)
    members.train()
    for _ in range(3):
        members(torch.randn(8, 30, 2))
    return answers.eval(), members.eval()


@pytest.mark.parametrize("shrink", [1, 3])
@pytest.mark.parametrize("name", SERIES_NETWORKS)
def test_padding_changes_no_answer(name: str, shrink: int) -> None:
    network, _ = warmed([name], SeriesSizes(filters=8, units=4, depth=3, reach=9, halvings=2, shrink=shrink))
    x = torch.randn(3, 23, 2)
    lengths = torch.tensor([23, 17, 10])
    mask = torch.arange(23) < lengths[:, None]
    padded = x.masked_fill(~mask[..., None], float("nan"))
    together = network(with_mask(padded, mask))
    for row, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(together[row], network(x[row : row + 1, :length])[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", SERIES_NETWORKS)
def test_one_step_is_enough(name: str) -> None:
    network, _ = warmed([name])
    torch.testing.assert_close(network(torch.zeros(2, 1, 2)).sum(1), torch.ones(2))


def test_the_answer_is_the_mean_of_the_members() -> None:
    answers, members = warmed(["fcn", "inception", "fcn"])
    x = torch.randn(4, 30, 2)
    torch.testing.assert_close(answers(x), torch.stack(list(members(x))).mean(0))


def test_members_learn_as_if_alone() -> None:
    """The gradients of each are those of a network of its own, divided by their number."""
    torch.manual_seed(0)
    _, members = build_members(["fcn", "inception"], channels=1, classes=3, sizes=SMALL)
    _, alone = build_members(["fcn"], channels=1, classes=3, sizes=SMALL)
    own = dict(members.named_parameters())
    alone.load_state_dict({name: value for name, value in members.state_dict().items() if name in alone.state_dict()})
    x, labels = torch.randn(6, 20, 1), torch.tensor([0, 1, 2, 0, 1, 2])
    loss = EachHead()
    loss(labels, members(x)).backward()  # type: ignore[no-untyped-call]
    loss(labels, alone(x)).backward()  # type: ignore[no-untyped-call]
    for name, parameter in alone.named_parameters():
        assert parameter.grad is not None and own[name].grad is not None
        torch.testing.assert_close(2 * own[name].grad, parameter.grad, atol=1e-6, rtol=1e-4)  # type: ignore[operator]


# Class activation


@pytest.mark.parametrize("names", [["fcn"], ["inception"], ["resnet"], ["fcn", "inception"]])
def test_the_mean_over_time_is_the_logit(names: list[str]) -> None:
    network, members = warmed(names)
    x = torch.randn(3, 20, 2)
    mask = torch.arange(20) < torch.tensor([[20], [11], [1]])
    inputs = with_mask(x, mask)
    maps = class_activation(network, inputs)  # type: ignore[arg-type]
    assert maps is not None and maps.shape == (3, 20, 3)
    outputs = members(inputs)
    outputs = [outputs] if isinstance(outputs, torch.Tensor) else outputs
    logits = torch.stack([output.logits for output in outputs]).mean(0)
    found = maps.sum(1) / mask.sum(1, keepdim=True)
    torch.testing.assert_close(found, logits - logits.mean(1, keepdim=True), atol=1e-5, rtol=1e-5)
    assert float(maps[1, 11:].abs().max()) == 0.0


@pytest.mark.parametrize("names", [["lstm-fcn"], ["hybrid"], ["fcn", "hybrid"]])
def test_a_network_with_memory_has_no_map(names: list[str]) -> None:
    network, _ = warmed(names)
    assert class_activation(network, torch.randn(2, 20, 2)) is None  # type: ignore[arg-type]


def test_averaged_steps_share_their_map() -> None:
    network, _ = warmed(["fcn"], SeriesSizes(filters=8, shrink=4))
    maps = class_activation(network, torch.randn(1, 40, 2))  # type: ignore[arg-type]
    assert maps is not None and maps.shape == (1, 40, 3)
    torch.testing.assert_close(maps[:, 0::4], maps[:, 3::4])
