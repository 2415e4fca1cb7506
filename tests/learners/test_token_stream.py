from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from corecur.layers.recurrent import recurrent_layers
from corecur.learners.generator_recipe import GeneratorRecipe
from corecur.learners.token_stream import TokenStream, logits_of, token_losses
from corecur.models import Model

SMALL = {"units": 6, "embedding": 5}
KINDS = [{"model": "lstm"}, {"model": "gru", "layers": 2}, {"tie": False}, {"embedding": 6}]


def network(*, strength: float = 3.0, **settings: object) -> Model:
    torch.manual_seed(0)
    model = GeneratorRecipe(**SMALL | settings).build_network(9)  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(strength)  # so that what is read matters
    return model


def whole(model: Model, tokens: Tensor) -> Tensor:
    """Logits (T, V) from one forward over the whole text."""
    model.eval()
    with torch.no_grad():
        return logits_of(model(tokens[None]))[0]


@pytest.mark.parametrize("settings", KINDS)
def test_token_after_token_is_the_whole_text_at_once(settings: dict[str, object]) -> None:
    model, tokens = network(**settings), torch.randint(2, 9, (40,))
    expected = whole(model, tokens)
    stream = TokenStream(model)
    torch.testing.assert_close(stream.feed(tokens[:10].tolist()), expected[9], atol=1e-5, rtol=1e-5)
    for place in range(10, 40):
        torch.testing.assert_close(stream.feed([int(tokens[place])]), expected[place], atol=1e-5, rtol=1e-5)


def test_long_prompts_are_read_in_pieces() -> None:
    model, tokens = network(), torch.randint(2, 9, (1300,))
    torch.testing.assert_close(TokenStream(model).feed(tokens.tolist()), whole(model, tokens)[-1], atol=1e-5, rtol=1e-5)


def test_streams_share_a_network_and_leave_it_as_it_was() -> None:
    model = network(dropout=0.5)
    tokens = torch.randint(2, 9, (2, 12))
    expected = [whole(model, row)[-1] for row in tokens]
    model.train()
    one, two = TokenStream(model), TokenStream(model)
    for place in range(12):
        last = one.feed([int(tokens[0, place])]), two.feed([int(tokens[1, place])])
    torch.testing.assert_close(list(last), expected, atol=1e-5, rtol=1e-5)
    assert model.training and all(not layer._carries and layer._carried is None for layer in recurrent_layers(model))


@pytest.mark.parametrize("count", [2, 50, 5000, 9001])
def test_a_text_in_rows_costs_what_it_costs_at_once(count: int) -> None:
    model, tokens = network(strength=1.5), torch.randint(2, 9, (count,), dtype=torch.int32)
    expected = F.cross_entropy(whole(model, tokens.long())[:-1], tokens[1:].long(), reduction="none")
    found = token_losses(model, tokens)
    assert found.shape == (count - 1,)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)  # rows begin with 256 tokens of their past


def test_without_a_past_each_stretch_begins_anew() -> None:
    model, tokens = network(), torch.randint(2, 9, (31,))
    found = token_losses(model, tokens, context=10).view(3, 10)
    for row in range(3):
        piece = tokens[row * 10 : row * 10 + 11]
        expected = F.cross_entropy(whole(model, piece)[:-1], piece[1:], reduction="none")
        torch.testing.assert_close(found[row], expected, atol=1e-5, rtol=1e-5)
