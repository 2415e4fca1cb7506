from __future__ import annotations

import pytest
import torch

from corecur.errors import ConfigError
from corecur.learners.text_networks import build_text_network
from corecur.learners.text_recipe import TextRecipe
from corecur.models import Model

SMALL = {"units": 5, "embedding": 6, "filters": 4}
SIZES = {"words": 30, "endings": 9, "terms": 12, "pairs": 20}


def batch(*, time: int = 9) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randint(1, size, (3, time), generator=generator) for size in SIZES.values()]
    for x in inputs:
        x[1, 6:] = 0
        x[2] = 0
    return inputs


@pytest.mark.parametrize("model", ["gru", "lstm", "cnn", "cnn+gru"])
@pytest.mark.parametrize("pool", [1, 3])
def test_the_answer_is_the_average_and_padding_changes_nothing(model: str, pool: int) -> None:
    votes = torch.randn(20, 3)
    answering, learning = build_text_network(SIZES, 3, TextRecipe(model=model, pool=pool, **SMALL), votes=votes)
    heads = learning.eval()(*batch())
    answer = answering.eval()(*batch())
    torch.testing.assert_close(answer, torch.stack(list(heads)).mean(0))
    torch.testing.assert_close(answer.sum(1), torch.ones(3))
    padded = [torch.nn.functional.pad(x, (0, 6)) for x in batch()]
    torch.testing.assert_close(answering(*padded), answer, atol=1e-5, rtol=0)
    alone = answering(*[x[1:2, :6] for x in batch()])
    torch.testing.assert_close(alone[0], answer[1], atol=1e-5, rtol=0)
    assert bool(answer.isfinite().all())


def test_votes_start_as_what_they_were_given() -> None:
    votes = torch.randn(20, 3)
    learning = build_text_network(SIZES, 3, TextRecipe(**SMALL), votes=votes).learning.eval()
    inputs = batch()
    inputs[2][0] = torch.tensor([5, 7, 0, 0, 0, 0, 0, 0, 0])
    inputs[3][0] = torch.tensor([15, 0, 0, 0, 0, 0, 0, 0, 0])
    said = learning(*inputs)[-1][0]
    summed = (votes[5] + votes[7] + votes[15]) * 0.45 / 3**0.5
    torch.testing.assert_close(said, summed.softmax(0))


def test_one_head_and_a_saved_model(tmp_path: object) -> None:
    one = build_text_network({"words": 30}, 2, TextRecipe(**SMALL))
    words = batch()[0]
    assert one.answering is one.learning and one.answering(words).shape == (3, 2)
    both = build_text_network(SIZES, 3, TextRecipe(model="gru+cnn", **SMALL), votes=torch.randn(20, 3)).answering.eval()
    both.save(f"{tmp_path}/m")
    again = Model.load(f"{tmp_path}/m").eval()
    torch.testing.assert_close(again(*batch()), both(*batch()), rtol=0, atol=0)


def test_an_unknown_model_is_named() -> None:
    for name in ("gruu", "gru+", "gru+cn", ""):
        with pytest.raises(ConfigError, match="unknown model"):
            build_text_network({"words": 30}, 2, TextRecipe.model_construct(model=name))
