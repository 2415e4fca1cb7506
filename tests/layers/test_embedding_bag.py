from __future__ import annotations

import pytest
import torch
from torch import nn

from corecur.errors import ConfigError, DataError, ShapeError
from corecur.layers.embedding_bag import EmbeddingBag
from corecur.models import Input, Model


@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_it_is_torch_s_bag(mode: str) -> None:
    torch.manual_seed(0)
    ours, theirs = EmbeddingBag(9, 4, mode=mode, mask_zero=True), nn.EmbeddingBag(9, 4, mode=mode, padding_idx=0)
    tokens = torch.randint(1, 9, (5, 7))
    for row in range(5):
        tokens[row, row + 2 :] = 0
    ours(tokens)
    ours.load_state_dict(theirs.state_dict())
    mine, other = ours(tokens), theirs(tokens)
    torch.testing.assert_close(mine, other)
    mine.sin().sum().backward()
    other.sin().sum().backward()
    torch.testing.assert_close(ours.weight.grad[1:], theirs.weight.grad[1:])


def test_the_root_of_the_length_divides() -> None:
    layer = EmbeddingBag(3, 2, "ones", mode="sqrtn", mask_zero=True, use_bias=True)
    y = layer(torch.tensor([[1, 2, 1, 2], [1, 0, 0, 0], [0, 0, 0, 0]]))
    torch.testing.assert_close(y[:, 0], torch.tensor([2.0, 1.0, 0.0]))
    with torch.no_grad():
        layer.bias.copy_(torch.tensor([5.0, 6.0]))
    assert layer(torch.zeros(1, 4, dtype=torch.int64)).tolist() == [[5.0, 6.0]]


def test_a_mask_leaves_tokens_out_whatever_they_are() -> None:
    layer = EmbeddingBag(5, 3)
    tokens, mask = torch.tensor([[2, 99, 4, -7]]), torch.tensor([[True, False, True, False]])
    torch.testing.assert_close(layer(tokens, mask=mask), layer(torch.tensor([[2, 4]])))
    with pytest.raises(DataError, match=r"(?s)token 99.*0 … 4"):
        layer(tokens)
    with pytest.raises(DataError, match="whole numbers"):
        layer(torch.tensor([[0.5]]))


def test_dropout_leaves_tokens_out_in_training_only() -> None:
    torch.manual_seed(0)
    layer = EmbeddingBag(2, 1, "ones", mode="sum", dropout=0.25)
    tokens = torch.ones(400, 50, dtype=torch.int64)
    kept = layer(tokens)[:, 0].detach() * 0.75  # how many of 50
    assert 36.5 < float(kept.mean()) < 38.5
    assert len(kept.round().unique()) > 5
    assert bool((layer.eval()(tokens) == 50).all())


def test_a_matrix_to_start_from_is_state_not_config(tmp_path: object) -> None:
    tokens = Input((None,), dtype=torch.int64)
    matrix = torch.randn(6, 2)
    model = Model(tokens, EmbeddingBag(6, 2, weights=matrix, mask_zero=True)(tokens))
    x = torch.tensor([[1, 5, 0]])
    torch.testing.assert_close(model(x), (matrix[1] + matrix[5])[None] / 2)
    model.save(f"{tmp_path}/m")
    torch.testing.assert_close(Model.load(f"{tmp_path}/m")(x), model(x), rtol=0, atol=0)
    with pytest.raises(ConfigError, match=r"\(5, 2\)"):
        EmbeddingBag(5, 2, weights=matrix)


def test_wrong_arguments_and_shapes_are_named() -> None:
    with pytest.raises(ConfigError, match="mode"):
        EmbeddingBag(5, 2, mode="median")
    with pytest.raises(ConfigError, match="input_dim"):
        EmbeddingBag(0, 2)
    with pytest.raises(ShapeError):
        EmbeddingBag(5, 2)(torch.zeros(1, 2, 3, dtype=torch.int64))
