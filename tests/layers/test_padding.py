"""Padding changes nothing: every layer that passes or consumes a mask, against each sequence alone."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from corecur import layers
from corecur.layers import LAYERS

from .padding import Padded, batches, check_alone
from .reference import built

ENDS = ("left", "right")
ANYWHERE = ("left", "right", "interior")

# Layer, arguments, the sides on which padding changes nothing, the steps it needs for an output.
CASES: list[tuple[str, dict[str, Any], tuple[str, ...], int]] = [
    ("Activation", {"activation": "relu"}, ANYWHERE, 1),
    ("AttentionPooling", {}, ANYWHERE, 1),
    ("AttentionPooling", {"units": 0}, ANYWHERE, 1),
    ("AveragePooling1D", {"pool_size": 2}, ("right",), 2),
    ("AveragePooling1D", {"pool_size": 2, "padding": "same"}, ("right",), 1),
    ("AveragePooling1D", {"pool_size": 3, "strides": 1, "padding": "same"}, ENDS, 1),
    ("BatchNormalization", {}, ANYWHERE, 1),
    ("Conv1D", {"filters": 4, "kernel_size": 3, "padding": "same"}, ENDS, 1),
    ("Conv1D", {"filters": 4, "kernel_size": 4, "padding": "same", "activation": "tanh"}, ENDS, 1),
    ("Conv1D", {"filters": 4, "kernel_size": 2, "padding": "causal", "dilation_rate": 2}, ENDS, 1),
    ("Conv1D", {"filters": 4, "kernel_size": 2, "padding": "valid"}, ENDS, 2),
    ("Conv1D", {"filters": 4, "kernel_size": 2, "padding": "valid", "strides": 2}, ("right",), 2),
    ("Conv1D", {"filters": 4, "kernel_size": 3, "padding": "causal", "strides": 2}, ("right",), 1),
    ("Dense", {"units": 4, "activation": "gelu"}, ANYWHERE, 1),
    ("DepthwiseConv1D", {"kernel_size": 3, "padding": "same", "depth_multiplier": 2}, ENDS, 1),
    ("Dropout", {"rate": 0.5}, ANYWHERE, 1),
    ("GlobalAveragePooling1D", {}, ANYWHERE, 1),
    ("GlobalAveragePooling1D", {"keepdims": True}, ANYWHERE, 1),
    ("GlobalMaxPooling1D", {}, ANYWHERE, 1),
    ("GlobalMaxPooling1D", {"keepdims": True}, ANYWHERE, 1),
    ("GroupNormalization", {"groups": 3}, ANYWHERE, 1),
    ("LayerNormalization", {}, ANYWHERE, 1),
    ("MaxPooling1D", {"pool_size": 2}, ("right",), 2),
    ("MaxPooling1D", {"pool_size": 2, "padding": "same"}, ("right",), 1),
    ("MaxPooling1D", {"pool_size": 3, "strides": 1, "padding": "same"}, ENDS, 1),
    ("MultiHeadAttention", {"num_heads": 2, "key_dim": 3}, ANYWHERE, 1),
    ("PReLU", {"shared_axes": (1,)}, ANYWHERE, 1),
    ("PositionEmbedding", {"max_length": 6}, ANYWHERE, 1),
    ("PositionalEncoding", {}, ANYWHERE, 1),
    ("Rescaling", {"scale": 0.5, "offset": 0.1}, ANYWHERE, 1),
    ("Reshape", {"target_shape": (-1, 3)}, ANYWHERE, 1),
    ("SeparableConv1D", {"filters": 4, "kernel_size": 3, "padding": "same"}, ENDS, 1),
    ("Softmax", {"axis": 1}, ANYWHERE, 1),
    ("SpatialDropout1D", {"rate": 0.5}, ANYWHERE, 1),
    ("TimeDistributed", {"layer": layers.Dense(4)}, ANYWHERE, 1),
    ("UpSampling1D", {"size": 2}, ANYWHERE, 1),
]  # fmt: skip


def title(case: tuple[str, dict[str, Any], tuple[str, ...], int]) -> str:
    return "-".join([case[0], *(str(value).split("(")[0] for value in case[1].values())])


@pytest.mark.parametrize("case", CASES, ids=title)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_outputs_and_gradients_are_those_of_each_sequence_alone(case: Any, data: st.DataObject) -> None:
    name, config, sides, least = case
    padded: Padded = data.draw(batches(sides=sides))
    layer = built(LAYERS[name](**copy.deepcopy(config)), torch.zeros(1, 6, 3, dtype=torch.float64)).eval()
    if name == "BatchNormalization":
        layer.running_var.abs_()
    check_alone(layer, padded, least=least)


@settings(max_examples=12, deadline=None)
@given(batches(sides=ANYWHERE))
def test_batch_statistics_are_those_of_the_real_steps(padded: Padded) -> None:
    ours, theirs = (built(layers.BatchNormalization(), torch.zeros(1, 6, 3, dtype=torch.float64)) for _ in range(2))
    got = ours(padded.batch, mask=padded.mask)[padded.mask]
    expected = theirs(torch.cat(padded.sequences))
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(ours.running_mean, theirs.running_mean, rtol=0, atol=1e-12)
    torch.testing.assert_close(ours.running_var, theirs.running_var, rtol=0, atol=1e-12)
    (mine,) = torch.autograd.grad(got.sin().sum(), padded.batch)
    wanted = torch.autograd.grad(expected.sin().sum(), padded.sequences)
    torch.testing.assert_close(mine[padded.mask], torch.cat(wanted), rtol=0, atol=1e-8)
    assert not bool(mine[~padded.mask].any())


@pytest.mark.parametrize(
    "layer", [layers.DotAttention("scaled"), layers.DotAttention("general"), layers.AdditiveAttention(units=4)]
)
@settings(max_examples=12, deadline=None)
@given(padded=batches(sides=ANYWHERE))
def test_attention_with_a_list_of_masks(layer: Any, padded: Padded) -> None:
    x = torch.zeros(1, 6, 3)
    layer.float()([x, x])
    layer.double()
    check_alone(
        layer,
        padded,
        together=lambda x, mask: layer([x, x], mask=[mask, mask]),
        alone=lambda x: layer([x, x]),
    )


@pytest.mark.parametrize("scores", [False, True])
@settings(max_examples=12, deadline=None)
@given(padded=batches(sides=ANYWHERE))
def test_causal_attention(scores: bool, padded: Padded) -> None:
    layer = built(layers.MultiHeadAttention(3, 2), torch.zeros(1, 6, 3, dtype=torch.float64))

    def run(x: torch.Tensor, mask: torch.Tensor | None = None) -> Any:
        found = layer(x, mask=mask, use_causal_mask=True, return_attention_scores=scores)
        return found[0] if scores else found

    check_alone(layer, padded, together=run, alone=run)


@settings(max_examples=6, deadline=None)
@given(batches(sides=ENDS))
def test_a_chain_of_layers(padded: Padded) -> None:
    from corecur.models import Sequential

    chain = Sequential(
        [
            layers.Masking(99.0),
            layers.Conv1D(4, 3, padding="causal"),
            layers.Activation("tanh"),
            torch.nn.Linear(4, 5),
            layers.LayerNormalization(),
            layers.Dropout(0.5),
            layers.PositionalEncoding(),
            layers.AttentionPooling(),
            layers.Dense(2),
        ]
    )
    built(chain, torch.zeros(1, 6, 3, dtype=torch.float64)).eval()
    check_alone(
        chain,
        Padded([x for x in padded.sequences if len(x)], *(t[padded.mask.any(1)] for t in padded[1:])),
        together=lambda x, mask: chain(x.masked_fill(~mask.unsqueeze(-1), 99.0)),
    )
