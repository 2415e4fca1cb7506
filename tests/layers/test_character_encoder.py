from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from corecur.errors import DataError
from corecur.layers.character_encoder import CharacterEncoder


def alone(layer: CharacterEncoder, word: list[int]) -> torch.Tensor:
    """One word by torch's own convolution, (F,)."""
    vectors = F.embedding(torch.tensor([word]), layer.embedding).transpose(1, 2)  # (1, C, W)
    size = layer.kernel_size
    padded = F.pad(vectors, ((size - 1) // 2, size - 1 - (size - 1) // 2))
    return F.conv1d(padded, layer.weight, layer.bias).amax(2)[0].relu()


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_each_word_is_that_word_alone(size: int) -> None:
    layer = CharacterEncoder(20, 4, filters=6, kernel_size=size)
    words = [[[3, 1, 4, 1, 5], [9]], [[2, 6], [5, 3, 5]]]
    table = torch.zeros(2, 3, 8, dtype=torch.int64)
    for row, sentence in enumerate(words):
        for place, word in enumerate(sentence):
            table[row, place, : len(word)] = torch.tensor(word)
    y = layer(table)
    assert torch.equal(y.mask, torch.tensor([[True, True, False]] * 2)) and not y[:, 2].any()
    for row, sentence in enumerate(words):
        for place, word in enumerate(sentence):
            torch.testing.assert_close(y[row, place], alone(layer, word))


def test_gradients_reach_all_weights_and_no_padding() -> None:
    layer = CharacterEncoder(9, 3, filters=4)
    layer(torch.tensor([[[1, 2, 0], [0, 0, 0]]])).sum().backward()
    assert not layer.embedding.grad[0].any() and layer.weight.grad.any()  # type: ignore[index, union-attr]
    assert layer(torch.zeros(2, 3, 4, dtype=torch.int64)).abs().sum() == 0


def test_a_character_without_a_row_is_named() -> None:
    layer = CharacterEncoder(9, 3)
    with pytest.raises(DataError, match="no row for token 9"):
        layer(torch.tensor([[[9]]]))
