from __future__ import annotations

import pytest
import torch

from corecur.layers.attention_pooling import AttentionPooling
from corecur.layers.conv import Conv1D
from corecur.layers.embedding import Embedding
from corecur.layers.pool import GlobalMaxPooling1D, MaxPooling1D
from corecur.learners.word_weights import WordWeights
from corecur.models import Sequential

TOKENS = torch.tensor([[3, 5, 2, 7], [4, 0, 0, 0], [0, 0, 0, 0]])


def test_attention_is_its_own_weights() -> None:
    pooling = AttentionPooling(4)
    network = Sequential([Embedding(9, 6, mask_zero=True), pooling]).eval()
    with WordWeights(network) as weigh:
        network(TOKENS)
        found = weigh(TOKENS != 0)
    assert [len(weights) for weights in found] == [4, 1, 0]
    torch.testing.assert_close(torch.tensor(found[0]), pooling.last_attention[0])
    assert found[1] == (1.0,) and found[2] == ()


def test_a_pooled_step_shares_its_weight_among_its_tokens() -> None:
    pooling = AttentionPooling(4)
    network = Sequential([Embedding(9, 6, mask_zero=True), MaxPooling1D(4, padding="same"), pooling]).eval()
    tokens = torch.tensor([[3, 5, 2, 7, 6, 1, 1, 1, 4, 0, 0, 0]])
    with WordWeights(network) as weigh:
        network(tokens)
        (found,) = weigh(tokens != 0)
    a = pooling.last_attention[0]
    expected = torch.stack([*[a[0]] * 4, *[a[1]] * 4, a[2]])
    torch.testing.assert_close(torch.tensor(found), expected / expected.sum())


def test_a_filter_gives_what_it_found_to_the_middle_of_its_window() -> None:
    convolution = Conv1D(2, 3, padding="same", activation="relu")
    network = Sequential([Embedding(9, 3, mask_zero=True), convolution, GlobalMaxPooling1D()]).eval()
    network(TOKENS)
    with torch.no_grad():
        network.layers[0].weight.zero_()
        network.layers[0].weight[2, 0] = 1.0  # the token at place 2 alone
        convolution.weight.zero_()
        convolution.bias.zero_()
        convolution.weight[0, 0, 1] = 3.0  # sees it at the middle of its window
        convolution.weight[1, 0, 2] = 1.0  # sees it at the end, from place 1
    with WordWeights(network) as weigh:
        network(TOKENS)
        found = weigh(TOKENS != 0)
    assert found[0] == pytest.approx((0.0, 0.25, 0.75, 0.0))
    assert found[1] == (1.0,)  # nothing was found: equal weights
    network(TOKENS)
    assert not convolution._forward_hooks  # nothing listens after the block
