from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from corecur.errors import ConfigError, ShapeError
from corecur.layers import LAYERS
from corecur.layers.layer import Layer
from corecur.layers.norm import BatchNormalization, GroupNormalization, LayerNormalization

from .reference import Array, built, draw, first, last, tensor

SHAPES = [(8, 4), (3, 5, 4), (2, 3, 5, 4), (2, 3, 2, 3, 4)]
TORCH_BATCH: dict[int, Any] = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}


def normalise(x: Array, axes: tuple[int, ...], epsilon: float) -> Array:
    centred = x - x.mean(axes, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axes, keepdims=True) + epsilon)


@pytest.mark.parametrize("shape", SHAPES)
def test_batch_normalization_follows_the_formula(shape: tuple[int, ...]) -> None:
    x = draw(*shape)
    layer = built(BatchNormalization(momentum=0.8), tensor(x))
    gamma, beta, mean, variance = layer.get_weights()
    got = layer(tensor(x)).detach().numpy()
    axes = tuple(range(len(shape) - 1))
    np.testing.assert_allclose(got, normalise(x, axes, 1e-3) * gamma + beta, rtol=0, atol=1e-12)
    _, _, new_mean, new_variance = layer.get_weights()
    np.testing.assert_allclose(new_mean, 0.8 * mean + 0.2 * x.mean(axes), rtol=0, atol=1e-12)
    # the running variance is torch's, with n - 1
    np.testing.assert_allclose(new_variance, 0.8 * variance + 0.2 * x.var(axes, ddof=1), rtol=0, atol=1e-12)
    expected = (x - new_mean) / np.sqrt(new_variance + 1e-3) * gamma + beta
    np.testing.assert_allclose(layer.eval()(tensor(x)).detach().numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_batch_normalization_is_torchs_step_by_step(shape: tuple[int, ...]) -> None:
    ours, theirs = BatchNormalization(momentum=0.9, epsilon=1e-5), TORCH_BATCH[len(shape)](4)
    ours(torch.zeros(shape))
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in theirs.state_dict().items()}
    ours.load_state_dict(theirs.state_dict())
    for seed in range(3):
        x = torch.from_numpy(draw(*shape, seed=seed)).float()
        ours_in, theirs_in = x.clone().requires_grad_(), x.clone().requires_grad_()
        a, b = ours(ours_in), last(theirs(first(theirs_in)))
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
        weights = torch.from_numpy(draw(*shape, seed=9)).float()
        (a * weights).sum().backward()
        (b * weights).sum().backward()
        torch.testing.assert_close(ours_in.grad, theirs_in.grad, rtol=1e-4, atol=1e-5)
    for key, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[key], value, rtol=1e-5, atol=1e-6)
    assert int(ours.num_batches_tracked) == 3
    theirs.load_state_dict(built(ours, x).state_dict())
    torch.testing.assert_close(ours.eval()(x), last(theirs.eval()(first(x))), rtol=1e-5, atol=1e-5)


def test_batch_normalization_gradients_in_training() -> None:
    x = tensor(draw(3, 2, 2, 2)).requires_grad_()
    layer = built(BatchNormalization(), x.detach())
    assert torch.autograd.gradcheck(lambda x, *_: layer(x), (x, layer.weight, layer.bias), fast_mode=True)


def test_frozen_batch_normalization_infers_while_training_as_in_keras() -> None:
    x = torch.randn(4, 3, 3, 2)
    frozen = BatchNormalization(trainable=False)
    frozen(x)
    built(frozen, x)
    before = {k: v.clone() for k, v in frozen.state_dict().items()}
    in_training = frozen.train()(x)
    assert torch.equal(in_training, frozen.eval()(x))
    assert all(torch.equal(v, before[k]) for k, v in frozen.state_dict().items())
    frozen.train().trainable = True
    assert not torch.allclose(frozen(x), in_training)


def test_freezing_reaches_a_batch_normalization_deep_inside() -> None:
    class Block(Layer):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: torch.Tensor) -> Any:
            return self.inner(x)

    deep = BatchNormalization()
    outer = Block(nn.Sequential(Block(deep)))
    x = torch.randn(4, 3)
    outer(x)
    outer.trainable = False
    before = deep.running_mean.clone()
    outer.train()(x + 5)
    assert not deep.trainable
    assert torch.equal(deep.running_mean, before)


def test_one_value_per_channel_has_no_variance_to_learn_from() -> None:
    layer = BatchNormalization()
    layer(torch.randn(4, 3))
    before = {k: v.clone() for k, v in layer.state_dict().items()}
    x = torch.randn(1, 3)
    y = layer(x)
    assert torch.equal(y, layer.eval()(x))
    assert all(torch.equal(v, before[k]) for k, v in layer.state_dict().items())


@pytest.mark.parametrize("name", ["BatchNormalization", "LayerNormalization", "GroupNormalization"])
@pytest.mark.parametrize(("center", "scale"), [(True, False), (False, True), (False, False)])
def test_without_scale_or_shift(name: str, center: bool, scale: bool) -> None:
    more = {"groups": 2} if name == "GroupNormalization" else {}
    x = torch.randn(4, 3, 3, 4)
    whole, part = LAYERS[name](**more), LAYERS[name](center=center, scale=scale, **more)
    torch.testing.assert_close(part(x), whole(x), rtol=0, atol=1e-6)  # gamma is 1 and beta 0 at the start
    assert [n for n, _ in part.named_parameters()] == ["weight"] * scale + ["bias"] * center


@pytest.mark.parametrize("axis", [-1, (-1,), (-2, -1), (1, 2, 3), (3,)])
def test_layer_normalization_follows_the_formula_and_torch(axis: Any) -> None:
    x = draw(2, 3, 5, 4)
    layer = built(LayerNormalization(axis), tensor(x))
    axes = tuple(a % 4 for a in ((axis,) if isinstance(axis, int) else axis))
    gamma, beta = layer.get_weights()
    got = layer(tensor(x)).detach()
    np.testing.assert_allclose(got, normalise(x, axes, 1e-3) * gamma + beta, rtol=0, atol=1e-12)
    theirs = nn.LayerNorm([x.shape[a] for a in axes], eps=1e-3, dtype=torch.float64)
    theirs.load_state_dict(layer.state_dict())
    torch.testing.assert_close(theirs(tensor(x)).detach(), got, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(5, 6), (2, 5, 6), (2, 3, 4, 6), (2, 2, 3, 2, 6)])
@pytest.mark.parametrize("groups", [1, 3, -1])
def test_group_normalization_follows_the_formula_and_torch(shape: tuple[int, ...], groups: int) -> None:
    x = draw(*shape)
    layer = built(GroupNormalization(groups), tensor(x))
    count = 6 if groups == -1 else groups
    parts = np.split(x, count, axis=-1)
    axes = tuple(range(1, len(shape)))
    gamma, beta = layer.get_weights()
    expected = np.concatenate([normalise(part, axes, 1e-3) for part in parts], axis=-1) * gamma + beta
    got = layer(tensor(x)).detach()
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)
    theirs = nn.GroupNorm(count, 6, eps=1e-3, dtype=torch.float64)
    theirs.load_state_dict(layer.state_dict())
    torch.testing.assert_close(last(theirs(first(tensor(x)))).detach(), got, rtol=0, atol=1e-12)


def test_images_are_not_copied_on_the_way() -> None:
    x = torch.randn(2, 8, 8, 4)
    for layer in (BatchNormalization(), GroupNormalization(2), LayerNormalization()):
        assert layer(x).is_contiguous()


def test_wrong_arguments_and_shapes() -> None:
    with pytest.raises(ConfigError, match="momentum from 0 to 1"):
        BatchNormalization(momentum=9)
    with pytest.raises(ConfigError, match="epsilon above 0"):
        LayerNormalization(epsilon=0)
    with pytest.raises(ConfigError, match=r"(?s)layer 'b' \(BatchNormalization\).*axis=1"):
        BatchNormalization(1, name="b")(torch.zeros(2, 3, 3, 4))
    with pytest.raises(ConfigError, match="the last axes"):
        LayerNormalization((1,))(torch.zeros(2, 3, 3, 4))
    with pytest.raises(ShapeError, match="was built for"):
        layer = LayerNormalization((1, 2))
        layer(torch.zeros(2, 3, 4))
        layer(torch.zeros(2, 5, 4))
    with pytest.raises(ShapeError, match="GroupNormalization cannot split 6 channels into 32 groups"):
        GroupNormalization()(torch.zeros(2, 6))
    with pytest.raises(ConfigError, match="number of groups"):
        GroupNormalization(0)
