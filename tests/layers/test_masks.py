from __future__ import annotations

import copy
import io
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from corecur import layers
from corecur.errors import ShapeError
from corecur.layers.layer import Layer
from corecur.layers.masks import blank, call_plain, checked_mask, lengths_of, mask_of, takes_mask, with_mask
from corecur.models import Input, Model, Sequential

MASK = torch.tensor([[True, True, False], [True, False, False]])


class Steps(Layer):
    """Keeps the mask it got."""

    def forward(self, x: Tensor, *, mask: Tensor | None = None) -> Tensor:
        self.got = mask
        return x * 2


class CallsItCall(Layer):
    def call(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        self.got = mask
        return x


def sample() -> Tensor:
    return with_mask(torch.randn(2, 3, 4), MASK)


def test_a_tensor_carries_its_mask_and_its_copies_do_not() -> None:
    x = sample()
    assert mask_of(x) is MASK
    assert mask_of(x * 1) is None
    assert mask_of("no tensor") is None


@pytest.mark.parametrize("wrong", [MASK[:, :2], MASK[:1], MASK.unsqueeze(-1), MASK.tolist(), torch.ones(3)])
def test_a_mask_of_the_wrong_shape_is_refused_by_name(wrong: Any) -> None:
    for layer in (layers.Dense(2, name="mine"), Steps(name="mine"), layers.GlobalMaxPooling1D(name="mine")):
        with pytest.raises(ShapeError, match=r"(?s)'mine'.*mask.*\(2, 3\)"):
            layer(torch.zeros(2, 3, 4), mask=wrong)


def test_zeros_and_ones_are_a_mask_and_other_numbers_are_none() -> None:
    for dtype in (torch.int64, torch.float32, torch.uint8):
        assert torch.equal(checked_mask(MASK.to(dtype), sample(), "it"), MASK)
    with pytest.raises(ShapeError, match="0 and 1"):
        checked_mask(MASK * 0.5, sample(), "it")


def test_forward_gets_the_mask_carried_or_given() -> None:
    for layer in (Steps(), CallsItCall()):
        layer(sample())
        assert layer.got is MASK
        layer(sample(), mask=~MASK)
        assert torch.equal(layer.got, ~MASK)  # what the caller says counts
        layer(torch.zeros(2, 3, 4))
        assert layer.got is None


class Block(Layer):
    """A layer inside that takes masks; itself it knows nothing of them."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Steps()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x)
        return y


def test_a_mask_given_to_a_model_or_block_reaches_the_layers_inside() -> None:
    for block in (Block(), Sequential([Steps()]), Model(x := Input((None, 4)), Steps(name="steps")(x))):
        inner = next(module for module in block.modules() if isinstance(module, Steps))
        for _ in range(2):  # at the first call it is not built yet
            given = torch.zeros(2, 3, 4)
            block(given, mask=MASK)  # without a word: what is inside saw it
            assert torch.equal(inner.got, MASK)
            assert mask_of(given) is None


def test_masks_given_to_a_model_of_several_inputs() -> None:
    a, b = Input((None, 4)), Input((None, 4))
    first, second = Steps(), Steps()
    model = Model([a, b], layers.Add()([first(a), second(b)]))
    model([torch.zeros(2, 3, 4)] * 2, mask=[None, MASK])
    assert first.got is None
    assert torch.equal(second.got, MASK)
    with pytest.raises(ShapeError, match="one for each input"):
        model([torch.zeros(2, 3, 4)] * 2, mask=[MASK])


def test_a_layer_that_knows_masks_but_does_not_pass_them_says_nothing() -> None:
    assert mask_of(Steps()(sample())) is None


def test_the_callers_tensor_stays_as_it_is() -> None:
    x, other = sample(), torch.zeros(2, 3, 4)
    identity = layers.Activation("linear")
    assert mask_of(identity(x, mask=~MASK)) is not MASK
    assert mask_of(x) is MASK
    identity(other, mask=MASK)
    assert mask_of(other) is None
    with pytest.warns(UserWarning, match="does not know masks"):
        Plain()(x)
    assert mask_of(x) is MASK


class Plain(Layer):
    def forward(self, x: Tensor) -> Tensor:
        return x


def test_a_layer_that_drops_the_mask_warns_once() -> None:
    layer = layers.Flatten(name="flat")
    with pytest.warns(UserWarning, match=r"'flat' \(Flatten\) does not know masks"):
        assert mask_of(layer(sample())) is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer(sample())


def test_a_sequential_hands_the_mask_on_through_torchs_modules() -> None:
    chain = Sequential([nn.Linear(4, 5), nn.Tanh(), layers.Dropout(0.5), nn.LayerNorm(5), layers.Activation("relu")])
    assert mask_of(chain(sample())) is MASK
    assert mask_of(chain(torch.zeros(2, 3, 4))) is None
    pooled = Sequential([nn.Linear(4, 5), layers.GlobalAveragePooling1D()])
    assert mask_of(pooled(sample())) is None


def test_what_mixes_steps_does_not_carry_a_mask() -> None:
    x = sample()
    conv = nn.Conv1d(3, 3, 1)
    assert mask_of(call_plain(conv, x)) is None
    same = call_plain(nn.Identity(), x)
    assert mask_of(same) is MASK and same is not x


def test_what_is_masked_reaches_no_weight_of_torchs_modules() -> None:
    x = sample().detach().masked_fill(~MASK[..., None], float("nan"))
    chain = Sequential([nn.Linear(4, 2), layers.GlobalAveragePooling1D()])
    chain(with_mask(x, MASK)).sum().backward()
    assert all(bool(weight.grad.isfinite().all()) for weight in chain.parameters())  # type: ignore[union-attr]


def test_a_functional_model_passes_masks_along_its_branches() -> None:
    tokens = Input((None,), dtype=torch.int64)
    embedded = layers.Embedding(9, 4, mask_zero=True)(tokens)
    left, right = layers.Dense(3)(embedded), layers.Conv1D(3, 3, padding="same")(embedded)
    merged = layers.Concatenate()([left, right])
    model = Model(tokens, [merged, layers.GlobalMaxPooling1D()(merged)])
    x = torch.tensor([[5, 3, 0, 0], [1, 2, 3, 4]])
    steps, pooled = model(x)
    assert torch.equal(steps.mask, x != 0)
    alone = model(x[:1, :2])[1]
    torch.testing.assert_close(pooled[:1], alone)


def test_a_model_inside_a_model_passes_masks() -> None:
    inner = Sequential([layers.Dense(3), layers.Activation("tanh")])
    outer = Sequential([layers.Masking(), inner, layers.GlobalAveragePooling1D()])
    x = torch.randn(2, 5, 4)
    x[1, 3:] = 0
    torch.testing.assert_close(outer(x)[1:], outer(x[1:, :3]))


def test_masks_survive_a_model_file(tmp_path: Any) -> None:
    model = Sequential(
        [
            layers.Embedding(20, 8, mask_zero=True, input_length=6),
            layers.TimeDistributed(layers.Dense(8, "tanh")),
            layers.Conv1D(8, 3, padding="same"),
            layers.PositionEmbedding(6),
            layers.MultiHeadAttention(2, 4),
            layers.LayerNormalization(),
            layers.AttentionPooling(4),
            layers.Dense(2, "softmax"),
        ]
    ).eval()
    x = torch.tensor([[1, 2, 3, 0, 0, 0], [0, 0, 0, 1, 2, 3], [0, 0, 0, 0, 0, 0], [1, 2, 3, 4, 5, 6]])
    expected = model(x)
    torch.testing.assert_close(expected[0], expected[1])
    model.save(tmp_path / "model")
    again = Model.load(tmp_path / "model")
    torch.testing.assert_close(again(x), expected, rtol=0, atol=0)


def test_layers_that_were_given_masks_can_be_copied_and_stored() -> None:
    layer = layers.AttentionPooling()
    layer(sample()).sum().backward()
    stored = io.BytesIO()
    torch.save(layer, stored)
    assert torch.equal(copy.deepcopy(layer)(sample() * 0), torch.zeros(2, 4))


def test_blank_and_lengths() -> None:
    x = torch.full((2, 3, 4), float("nan"))
    x[MASK] = 1.0
    assert float(blank(x, MASK).sum()) == 4 * int(MASK.sum())
    assert lengths_of(MASK).tolist() == [2, 1]
    assert takes_mask(Steps) and takes_mask(CallsItCall) and not takes_mask(Plain)


def test_layers_of_images_warn_and_go_on() -> None:
    layer = layers.Conv2D(2, 3)
    with pytest.warns(UserWarning, match="Conv2D"):
        assert mask_of(layer(with_mask(torch.zeros(2, 3, 4, 1), MASK))) is None


def test_shapes_that_keep_time_keep_the_mask() -> None:
    x = with_mask(torch.zeros(2, 3, 4, 5), MASK)
    assert mask_of(layers.Reshape((3, 20))(x)) is MASK
    assert mask_of(layers.Reshape((-1, 4, 5))(x)) is MASK
    assert mask_of(layers.Permute((1, 3, 2))(x)) is MASK
    for layer in (layers.Reshape((4, 15)), layers.Permute((2, 1, 3))):
        with pytest.warns(UserWarning, match="does not know masks"):
            assert mask_of(layer(x)) is None


def test_padding_cropping_and_repeating_change_the_mask_with_the_steps() -> None:
    x = sample()
    assert layers.ZeroPadding1D((1, 2))(x).mask.tolist()[0] == [False, True, True, False, False, False]
    assert layers.Cropping1D((1, 0))(x).mask.tolist()[0] == [True, False]
    assert layers.UpSampling1D(2)(x).mask.tolist()[1] == [True, True, False, False, False, False]


def test_merging_takes_what_is_real_in_every_input() -> None:
    x, other = sample(), with_mask(torch.randn(2, 3, 4), ~MASK)
    for kind in (layers.Add, layers.Average, layers.Multiply, layers.Maximum, layers.Minimum, layers.Subtract):
        assert not bool(kind()([x, other]).mask.any())
        assert torch.equal(kind()([x, torch.randn(2, 3, 4)]).mask, MASK)
    assert torch.equal(layers.Concatenate()([x, torch.zeros(2, 3, 1)]).mask, MASK)
    along = layers.Concatenate(axis=1)([x, torch.zeros(2, 1, 4), other])
    assert torch.equal(along.mask, torch.cat([MASK, torch.ones(2, 1, dtype=torch.bool), ~MASK], 1))
    given = layers.Add()([torch.zeros(2, 3, 4)] * 2, mask=[MASK, None])
    assert torch.equal(given.mask, MASK)


@pytest.mark.parametrize("wrong", [MASK, [MASK], [MASK[:, :2], None]])
def test_merging_refuses_masks_that_do_not_fit(wrong: Any) -> None:
    with pytest.raises(ShapeError, match="mask"):
        layers.Add()([torch.zeros(2, 3, 4)] * 2, mask=wrong)


def test_a_product_keeps_nan_out_of_the_other_gradient() -> None:
    x = torch.randn(2, 3, 4, requires_grad=True)
    other = torch.where(MASK.unsqueeze(-1), torch.randn(2, 3, 4), torch.nan)
    layers.Multiply()([x, other], mask=[MASK, MASK])[MASK].sum().backward()
    assert x.grad is not None and bool(x.grad.isfinite().all())
