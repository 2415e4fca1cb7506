from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from corecur import layers
from corecur.errors import ConfigError, ShapeError
from corecur.layers.masks import mask_of, with_mask
from corecur.layers.time_distributed import TimeDistributed
from corecur.models import Model, Sequential


@pytest.mark.parametrize("inner", [layers.Conv2D(4, 3), layers.Flatten(), layers.GlobalMaxPooling2D()])
def test_it_is_a_loop_over_steps(inner: Any) -> None:
    x = torch.randn(2, 5, 6, 7, 3)
    layer = TimeDistributed(inner)
    y = layer(x)
    torch.testing.assert_close(y, torch.stack([inner(x[:, t]) for t in range(5)], 1))


def test_modules_of_torch_and_state_names() -> None:
    x = torch.randn(2, 5, 3)
    layer = TimeDistributed(nn.Linear(3, 4))
    torch.testing.assert_close(layer(x), layer.layer(x))
    assert list(layer.state_dict()) == ["layer.weight", "layer.bias"]
    assert list(TimeDistributed(layers.Dense(4, input_shape=(3,))).layer.state_dict()) == []


def test_steps_that_are_not_real_never_reach_the_layer() -> None:
    seen: list[torch.Size] = []

    class Looks(layers.Layer):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x.shape)
            return x + 1

    x, mask = torch.randn(2, 3, 4), torch.tensor([[True, False, False], [False] * 3])
    y = TimeDistributed(Looks())(x, mask=mask)
    assert seen[-1] == (1, 4)
    assert torch.equal(mask_of(y), mask)
    assert not bool(y[~mask].any())


def test_characters_of_words() -> None:
    """Padding in words and in sentences changes nothing: masks of characters inside, of words outside."""
    words = Sequential(
        [layers.Embedding(30, 4, mask_zero=True), layers.Conv1D(5, 3, padding="same"), layers.GlobalMaxPooling1D()]
    )
    layer = TimeDistributed(words)
    x = torch.tensor([[[1, 2, 3], [4, 0, 0]], [[0, 5, 6], [0, 0, 0]]])
    y = layer(x, mask=torch.tensor([[True, True], [True, False]]))
    torch.testing.assert_close(y[0, 1:], words(torch.tensor([[4]])))
    torch.testing.assert_close(y[1, :1], words(torch.tensor([[5, 6]])))
    assert not bool(y[1, 1].any())


def test_in_a_model_file(tmp_path: Any) -> None:
    model = Sequential([TimeDistributed(Sequential([layers.Conv2D(2, 3), layers.Flatten()]), input_shape=(4, 5, 5, 1))])
    assert model.output_shape == (None, 4, 18)
    x = torch.randn(2, 4, 5, 5, 1)
    expected = model.eval()(x)
    model.save(tmp_path / "m")
    torch.testing.assert_close(Model.load(tmp_path / "m")(x), expected, rtol=0, atol=0)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="takes a layer"):
        TimeDistributed("dense")  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="takes sequences"):
        TimeDistributed(layers.Dense(2))(torch.zeros(2, 3))
    with pytest.raises(ShapeError, match="one output"):
        pooling = layers.AttentionPooling()

        class Two(layers.Layer):
            def forward(self, x: torch.Tensor) -> Any:
                return pooling(x, return_attention_scores=True)

        TimeDistributed(Two())(torch.zeros(2, 3, 4, 5))


def test_no_real_steps_and_a_carried_mask() -> None:
    layer = TimeDistributed(layers.Dense(4))
    x = with_mask(torch.full((2, 3, 4), float("nan")), torch.zeros(2, 3, dtype=torch.bool))
    y = layer(x)
    assert not bool(y.any())
    y.sum().backward()
    assert not bool(layer.layer.weight.grad.any())
