from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from corecur import layers
from corecur.engine.crf_loss import CRFLoss
from corecur.engine.losses import LOSSES, find_loss
from corecur.engine.optimizers import Adam
from corecur.errors import ConfigError, CorecurError, DataError, ShapeError
from corecur.layers.crf import CRF
from corecur.models import Model, Sequential

MASK = torch.tensor([[True, True, True, False], [True, False, False, False], [False] * 4])


@pytest.fixture
def problem() -> tuple[CRF, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    layer = CRF(3)
    layer(torch.zeros(1, 1, 3))
    return layer, torch.randn(3, 4, 3), torch.randint(3, (3, 4))


def test_it_is_the_log_likelihood_per_real_step(problem: Any) -> None:
    layer, x, tags = problem
    likely = layer.log_likelihood(x, tags, mask=MASK)
    loss = CRFLoss()
    torch.testing.assert_close(loss(tags, layer(x, mask=MASK)), -likely.sum() / 4)
    torch.testing.assert_close(loss(tags, layer(x), mask=MASK), -likely.sum() / 4)
    torch.testing.assert_close(loss(tags.unsqueeze(-1), layer.eval()(x, mask=MASK)), -likely.sum() / 4)
    torch.testing.assert_close(loss.per_sample(tags, layer(x, mask=MASK)), -likely / torch.tensor([3.0, 1.0, 1.0]))
    weights = torch.tensor([2.0, 0.5, 1.0])
    torch.testing.assert_close(loss(tags, layer(x, mask=MASK), weights), -(weights * likely).sum() / 4)
    torch.testing.assert_close(loss(tags, layer(x)), -layer.log_likelihood(x, tags).sum() / 12)
    torch.testing.assert_close(loss.elements(tags, layer(x)), -layer.log_likelihood(x, tags))
    torch.testing.assert_close(loss.elements(tags, layer(x), "mean"), loss(tags, layer(x)))


def test_an_ignored_tag_takes_its_step_out(problem: Any) -> None:
    layer, x, tags = problem
    expected = CRFLoss()(tags, layer(x, mask=MASK))
    padded = tags.masked_fill(~MASK, -1)
    torch.testing.assert_close(CRFLoss(ignore_class=-1)(padded, layer(x)), expected)
    CRFLoss(ignore_class=-1).check(padded, 3)
    with pytest.raises(DataError, match="label -1"):
        CRFLoss().check(padded, 3)
    with pytest.raises(DataError, match="tag -1"):
        CRFLoss()(padded, layer(x))


def test_what_does_not_fit_is_refused(problem: Any) -> None:
    layer, x, tags = problem
    with pytest.raises(ConfigError, match="ends in a CRF"):
        CRFLoss()(tags, x)
    with pytest.raises(ShapeError, match=r"target \(3, 3\)"):
        CRFLoss()(tags[:, :3], layer(x))
    with pytest.raises(ShapeError, match="one weight for each sequence"):
        CRFLoss()(tags, layer(x), torch.ones(3, 4))
    with pytest.raises(CorecurError):
        CRFLoss()(tags, layer(x), mask=torch.ones(3, 3, dtype=torch.bool))


def test_it_is_found_by_name_and_is_frozen() -> None:
    assert find_loss("crf") == LOSSES["crf"]() == CRFLoss(**dataclasses.asdict(CRFLoss()))
    with pytest.raises(dataclasses.FrozenInstanceError):
        CRFLoss().ignore_class = 1  # type: ignore[misc]


def test_a_tagger_learns_what_only_the_neighbours_tell(tmp_path: Any) -> None:
    """Tags alternate from a first that the input tells, the rest says nothing: a softmax alone cannot know them."""
    torch.manual_seed(0)
    n, t = 128, 6
    first = torch.randint(2, (n, 1))
    tags = (first + torch.arange(t)) % 2
    x = torch.cat([first, torch.full((n, t - 1), 2)], 1) + 1
    x[::3, 4:] = 0
    tagger = Sequential([layers.Embedding(4, 4, mask_zero=True, input_length=t), layers.Dense(2), CRF(2)])
    tagger.compile(Adam(0.1), loss="crf", metrics=["accuracy"])
    history = tagger.fit(x, tags, epochs=15, batch_size=32, verbose=0, validation_data=(x, tags))
    assert history.history["val_accuracy"][-1] == 1.0
    assert history.history["loss"][-1] < 0.1
    found = tagger.predict(x).argmax(-1)
    real = (x != 0).numpy()
    np.testing.assert_array_equal(found[real], tags.numpy()[real])
    tagger.save(tmp_path / "m")
    again = Model.load(tmp_path / "m")
    assert again.evaluate(x, tags, return_dict=True)["accuracy"] == 1.0
