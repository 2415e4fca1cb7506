from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from corecur.errors import ConfigError, DataError, ShapeError
from corecur.layers.activation import Activation
from corecur.layers.conv import Conv1D
from corecur.layers.dense import Dense
from corecur.layers.embedding import Embedding
from corecur.models import Input, Model, Sequential

from .reference import draw


def test_weights_move_to_and_from_torch_as_they_are() -> None:
    ours, theirs, tokens = Embedding(7, 3), nn.Embedding(7, 3), torch.randint(7, (4, 5))
    ours(tokens)
    ours.load_state_dict(theirs.state_dict())
    mine, other = ours(tokens), theirs(tokens)
    torch.testing.assert_close(mine, other, rtol=0, atol=0)
    mine.sin().sum().backward()
    other.sin().sum().backward()
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)
    theirs.load_state_dict(ours.state_dict())


def test_token_zero_is_padding_where_asked() -> None:
    tokens = torch.tensor([[3, 0, 2], [0, 0, 0]])
    assert Embedding(4, 2)(tokens).mask is None
    assert torch.equal(Embedding(4, 2, mask_zero=True)(tokens).mask, tokens != 0)
    given = torch.tensor([[False, True, True], [True, True, True]])
    assert torch.equal(Embedding(4, 2, mask_zero=True)(tokens, mask=given).mask, given & (tokens != 0))
    assert torch.equal(Embedding(4, 2)(tokens, mask=given).mask, given)
    assert torch.equal(Embedding(4, 2, mask_zero=True).compute_mask(tokens, None), tokens != 0)


def test_characters_of_words_mask_the_words() -> None:
    y = Embedding(9, 2, mask_zero=True)(torch.tensor([[[1, 0], [0, 0]]]))
    assert y.shape == (1, 2, 2, 2)
    assert y.mask.tolist() == [[True, False]]


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.int16, torch.float32, torch.float64])
def test_whole_numbers_of_any_dtype(dtype: torch.dtype) -> None:
    layer, tokens = Embedding(5, 3, mask_zero=True), torch.tensor([[1, 4, 0]])
    expected = layer(tokens)
    y = layer(tokens.to(dtype))
    torch.testing.assert_close(y, expected, rtol=0, atol=0)
    assert torch.equal(y.mask, expected.mask)


@pytest.mark.parametrize("token", [5, -1])
def test_a_token_out_of_range_is_named(token: int) -> None:
    tokens = torch.tensor([[1, 2], [3, token]])
    with pytest.raises(DataError, match=rf"(?s)'words'.*token {token}\b.*\(1, 1\).*0 … 4"):
        Embedding(5, 3, name="words")(tokens)
    Embedding(5, 3)(tokens, mask=torch.tensor([[True, True], [True, False]]))  # what is not real may be anything


@pytest.mark.parametrize("value", [0.5, float("nan"), float("inf")])
def test_numbers_that_are_not_whole_are_refused(value: float) -> None:
    with pytest.raises(DataError):
        Embedding(5, 3)(torch.tensor([[1.0, value]]))


def test_a_matrix_to_start_from() -> None:
    matrix = draw(6, 3)
    for given in (matrix, [matrix], torch.from_numpy(matrix)):
        layer = Embedding(6, 3, weights=given)
        layer(torch.zeros(1, 1, dtype=torch.int64))
        np.testing.assert_allclose(layer.get_weights()[0], matrix, rtol=1e-6)
        assert layer.get_config()["weights"] is None
        assert "weights" not in repr(layer)
    with pytest.raises(ConfigError, match=r"\(6, 3\)"):
        Embedding(5, 3, weights=matrix)


def test_input_length_and_dtype_reach_a_sequential(tmp_path: Any) -> None:
    model = Sequential([Embedding(20, 4, input_length=5, mask_zero=True, weights=draw(20, 4)), Conv1D(2, 3)])
    assert model.output_shape == (None, 3, 2)
    assert model.input_symbols[0].dtype == torch.int64
    x = torch.randint(20, (2, 5))
    expected = model.eval()(x)
    model.save(tmp_path / "m")
    torch.testing.assert_close(Model.load(tmp_path / "m")(x), expected, rtol=0, atol=0)
    with pytest.raises(ShapeError):
        model(torch.zeros(2, 6, dtype=torch.int64))


def test_dropout_takes_whole_kinds_of_tokens() -> None:
    torch.manual_seed(0)
    layer = Embedding(50, 1, embeddings_initializer="ones", dropout=0.3)
    tokens = torch.randint(50, (40, 60))
    kept = layer(tokens).squeeze(-1)
    for row, values in zip(tokens, kept, strict=True):
        for token in row.unique():
            assert len(values[row == token].unique()) == 1
    share = float((kept == 0).float().mean())
    assert 0.25 < share < 0.35
    torch.testing.assert_close(kept.max(), torch.tensor(1 / 0.7), rtol=1e-3, atol=0)
    assert len({tuple((values == 0).tolist()) for values in kept}) == 40  # each sequence by itself
    assert bool((layer.eval()(tokens) == 1).all())
    torch.manual_seed(5)
    first = layer.train()(tokens)
    torch.manual_seed(5)
    assert torch.equal(first, layer(tokens))


def test_the_way_back_uses_the_same_weights(tmp_path: Any) -> None:
    tokens = Input((None,), dtype=torch.int64)
    embedding = Embedding(11, 6, output_bias=True)
    hidden = Dense(6, "tanh")(embedding(tokens))
    model = Model(tokens, Activation("softmax")(embedding(hidden, reverse=True)))
    x = torch.randint(11, (3, 4))
    assert model(x).shape == (3, 4, 11)
    assert sorted(model.state_dict()) == ["dense.bias", "dense.weight", "embedding.bias", "embedding.weight"]
    with torch.no_grad():
        embedding.bias.normal_()
    vectors = torch.randn(3, 4, 6)
    torch.testing.assert_close(
        embedding(vectors, reverse=True), vectors @ embedding.weight.T + embedding.bias, rtol=1e-5, atol=1e-6
    )
    expected = model.eval()(x)
    model.save(tmp_path / "m")
    again = Model.load(tmp_path / "m")
    torch.testing.assert_close(again(x), expected, rtol=0, atol=0)
    before = again.embedding.weight.detach().clone()
    again(x).square().sum().backward()
    with torch.no_grad():
        again.embedding.weight.add_(1.0)
    assert not torch.allclose(again(x), expected)  # input and output both follow the one matrix
    assert again.embedding.weight.grad is not None and before.shape == (11, 6)


def test_the_tied_gradient_is_the_sum_of_both_uses() -> None:
    layer, tokens = Embedding(5, 3), torch.randint(5, (2, 4))
    layer(tokens)
    weight = layer.weight.detach().clone().requires_grad_()
    output = nn.functional.embedding(tokens, weight) @ weight.T
    output.sin().sum().backward()
    layer(layer(tokens), reverse=True).sin().sum().backward()
    torch.testing.assert_close(layer.weight.grad, weight.grad)


def test_the_way_back_refuses_other_vectors_and_passes_masks() -> None:
    layer = Embedding(5, 3, mask_zero=True)
    y = layer(torch.tensor([[1, 0]]))
    assert torch.equal(layer(y, reverse=True).mask, y.mask)
    with pytest.raises(ShapeError, match=r"Dense\(3\)"):
        layer(torch.zeros(1, 2, 4), reverse=True)


@pytest.mark.parametrize(
    "wrong", [{"input_dim": 0}, {"output_dim": 2.5}, {"dropout": 1.0}, {"input_length": -1}, {"mask_zeros": True}]
)
def test_wrong_arguments_are_refused_at_once(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Embedding(**{"input_dim": 5, "output_dim": 3, **wrong})


def test_no_tokens() -> None:
    layer = Embedding(5, 3, mask_zero=True, dropout=0.5)
    assert layer(torch.zeros(2, 0, dtype=torch.int64)).shape == (2, 0, 3)
    assert layer(torch.zeros(0, 4, dtype=torch.int64)).shape == (0, 4, 3)
