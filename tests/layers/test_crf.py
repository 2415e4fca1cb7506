from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from corecur import layers
from corecur.errors import ConfigError, DataError, ShapeError
from corecur.layers.crf import CRF, bio_forbids
from corecur.models import Model, Sequential

from .padding import Padded, batches, gradients
from .reference import built
from .test_chain import every_path

NAMES = ("O", "B-X", "I-X", "B-Y", "I-Y")


def crf(tags: int = 3, **options: Any) -> CRF:
    layer: CRF = built(CRF(tags, **options), torch.zeros(1, 2, tags, dtype=torch.float64))
    return layer


@settings(max_examples=20, deadline=None)
@given(batches())
def test_everything_is_that_of_each_sequence_alone(padded: Padded) -> None:
    layer = crf().eval()
    tags = torch.randint(3, padded.mask.shape, generator=torch.Generator().manual_seed(0))
    likely = layer.log_likelihood(padded.batch, tags.masked_fill(~padded.mask, -7), mask=padded.mask)
    shares, path = layer.marginals(padded.batch, mask=padded.mask), layer.decode(padded.batch, mask=padded.mask)
    assert torch.equal(layer(padded.batch, mask=padded.mask).argmax(-1)[padded.mask], path[padded.mask])
    for row, x in enumerate(padded.sequences):
        real, own = padded.mask[row], tags[row][padded.mask[row]].unsqueeze(0)
        if not len(x):
            assert float(likely[row].detach()) == 0
            continue
        alone = x.unsqueeze(0)
        torch.testing.assert_close(likely[row], layer.log_likelihood(alone, own)[0], rtol=0, atol=1e-10)
        torch.testing.assert_close(shares[row][real], layer.marginals(alone)[0], rtol=0, atol=1e-10)
        assert torch.equal(path[row][real], layer.decode(alone)[0])
    weights = list(layer.parameters())
    got = gradients([likely], [padded.batch, *weights])
    pairs = [(x, tags[r][padded.mask[r]]) for r, x in enumerate(padded.sequences) if len(x)]
    together = [layer.log_likelihood(x.unsqueeze(0), own.unsqueeze(0)) for x, own in pairs]
    wanted = gradients(together, [*(x for x, _ in pairs), *weights])
    rows = [row[steps] for row, steps in zip(got[0], padded.mask, strict=True) if bool(steps.any())]
    for mine, theirs in zip([*rows, *got[1:]], wanted, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-9)
    assert not bool(got[0][~padded.mask].any())
    assert not bool(shares[~padded.mask].any())


def test_against_every_path() -> None:
    layer, x = crf(), torch.randn(1, 4, 3, dtype=torch.float64)
    paths, found = every_path(x[0].numpy(), type(layer._scores())(*(s.detach() for s in layer._scores())))
    total = np.logaddexp.reduce(found)
    shares = np.zeros((4, 3))
    for path, score in zip(paths, found, strict=True):
        likely = layer.log_likelihood(x, torch.tensor([path]))
        np.testing.assert_allclose(float(likely.detach()), score - total, atol=1e-10)
        for t, k in enumerate(path):
            shares[t, k] += np.exp(score - total)
    np.testing.assert_allclose(layer.marginals(x)[0].detach().numpy(), shares, atol=1e-12)
    assert layer.decode(x)[0].tolist() == list(paths[int(found.argmax())])


@pytest.mark.parametrize("temperature", [0.25, 0.8, 3.0])
def test_a_temperature_divides_every_score(temperature: float) -> None:
    """In NumPy, path by path: weights exp(s(y) / T); the best path is that of T = 1."""
    layer, x = crf(), 2 * torch.randn(3, 4, 3, dtype=torch.float64)
    scores = type(layer._scores())(*(s.detach() for s in layer._scores()))
    shares = layer.marginals(x, temperature=temperature).detach().numpy()
    for row in range(3):
        paths, found = every_path(x[row].numpy(), scores)
        weights = np.exp((found - found.max()) / temperature)
        wanted = np.zeros((4, 3))
        for path, weight in zip(paths, weights / weights.sum(), strict=True):
            wanted[np.arange(4), list(path)] += weight
        np.testing.assert_allclose(shares[row], wanted, atol=1e-12)
        assert layer.decode(x)[row].tolist() == list(paths[int(found.argmax())])
    scaled = crf()
    scaled.load_state_dict({name: value / temperature for name, value in layer.state_dict().items()})
    assert torch.equal(scaled.decode(x / temperature), layer.decode(x))


def test_marginals_as_the_answer(tmp_path: Any) -> None:
    network = [layers.Embedding(20, 4, mask_zero=True, input_length=6), layers.Dense(5)]
    tagger = Sequential([*network, CRF(5, bio=NAMES, answer="marginals", temperature=2)]).eval()
    x = torch.tensor([[1, 2, 3, 0, 0, 0], [4, 5, 6, 7, 8, 9]])
    with torch.no_grad():
        emissions = tagger.layers[1](tagger.layers[0](x))
        found = tagger(x)
        torch.testing.assert_close(found, tagger.layers[2].marginals(emissions, temperature=2.0))  # type: ignore[operator]
        tagger.save(tmp_path / "m")
        assert torch.equal(Model.load(tmp_path / "m").eval()(x), found)
    assert torch.equal(found.mask, x != 0) and float(found[1, 0, 2]) == 0  # nothing begins with I-X
    assert torch.equal(tagger.train()(x), emissions * (x != 0).unsqueeze(-1))
    steps, likely = CRF(5, bio=NAMES, answer="steps").eval(), torch.rand(2, 4, 5).log()
    assert torch.equal(steps(likely).argmax(-1), steps.decode(likely)) and torch.equal(steps(likely).scores, likely)
    assert not hasattr(steps(likely), "chain") and hasattr(steps.train()(likely), "chain")
    assert torch.equal(CRF(5, answer="emissions").eval()(likely), likely)
    with pytest.raises(ConfigError, match="no such answer"):
        CRF(3, answer="best")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="number above 0"):
        CRF(3, temperature=0.0)
    with pytest.raises(ConfigError, match="number above 0"):
        crf().marginals(torch.zeros(1, 2, 3, dtype=torch.float64), temperature=-1)


def test_gradients() -> None:
    layer, x = crf(), torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    tags, mask = torch.randint(3, (2, 4)), torch.tensor([[True, False, True, True], [True, True, False, False]])
    assert torch.autograd.gradcheck(lambda *_: layer.log_likelihood(x, tags, mask=mask), (x, *layer.parameters()))
    assert torch.autograd.gradcheck(lambda *_: layer.marginals(x, mask=mask), (x, *layer.parameters()))


def test_marginals_leave_the_callers_tensor_alone() -> None:
    layer, x = crf().eval(), torch.randn(2, 4, 3, dtype=torch.float64)
    with torch.no_grad():
        shares = layer.marginals(x)
    assert not x.requires_grad and not shares.requires_grad
    torch.testing.assert_close(shares.sum(-1), torch.ones(2, 4, dtype=torch.float64))


def test_training_gives_emissions_and_evaluation_the_best_path() -> None:
    layer, x = crf(), torch.randn(2, 4, 3, dtype=torch.float64)
    assert torch.equal(layer.train()(x), x)
    y = layer.eval()(x)
    assert y.sum(-1).eq(1).all() and torch.equal(y.argmax(-1), layer.decode(x))
    assert layer(x.bfloat16().float()).dtype == torch.float32


@pytest.mark.parametrize(
    ("before", "tag", "forbidden"),
    [("O", "I-X", True), ("B-X", "I-X", False), ("I-X", "I-X", False), ("I-Y", "I-X", True), ("B-Y", "I-X", True),
     (None, "I-X", True), (None, "B-X", False), ("I-X", "O", False), ("I-X", "B-X", False)],
)  # fmt: skip
def test_what_bio_forbids(before: str | None, tag: str, forbidden: bool) -> None:
    assert bio_forbids(before, tag) is forbidden


def test_decoded_names_obey_bio_whatever_the_emissions() -> None:
    layer = CRF(5, bio=NAMES).eval()
    x = 10 * torch.randn(50, 12, 5)
    mask = torch.rand(50, 12) < 0.8
    for row, real in zip(layer.decode(x, mask=mask), mask, strict=True):
        before = None
        for tag in row[real].tolist():
            assert not bio_forbids(before, NAMES[tag])
            before = NAMES[tag]
    assert float(layer.marginals(x).detach()[:, 0, [2, 4]].max()) < 1e-6
    assert float(layer.log_likelihood(x[:1, :2], torch.tensor([[0, 2]])).detach()) < -9000
    assert bool(layer.decode(x)[0].ne(CRF(5).eval().decode(x)[0]).any())


def test_in_a_model_file(tmp_path: Any) -> None:
    tagger = Sequential([layers.Embedding(20, 4, mask_zero=True, input_length=6), layers.Dense(5), CRF(5, bio=NAMES)])
    x = torch.tensor([[1, 2, 3, 0, 0, 0], [4, 5, 6, 7, 8, 9]])
    expected = tagger.eval()(x)
    assert torch.equal(expected.mask, x != 0)
    tagger.save(tmp_path / "m")
    again = Model.load(tmp_path / "m")
    torch.testing.assert_close(again(x), expected, rtol=0, atol=0)
    assert len(again.layers[-1].get_weights()) == 3


def test_a_long_sequence_and_many_tags_are_quick_enough_to_train() -> None:
    layer, x = CRF(40), torch.randn(2, 300, 40, requires_grad=True)
    likely = layer.log_likelihood(x, torch.randint(40, (2, 300)))
    likely.sum().backward()
    assert bool(x.grad.isfinite().all())


def test_what_does_not_fit_is_refused() -> None:
    layer, x = CRF(3, name="tags"), torch.zeros(2, 4, 3)
    with pytest.raises(ShapeError, match=r"(?s)'tags'.*Dense\(3\)"):
        layer(x[..., :2])
    with pytest.raises(ShapeError, match="a tag for each step"):
        layer.log_likelihood(x, torch.zeros(2, 3, dtype=torch.int64))
    wrong = torch.zeros(2, 4, dtype=torch.int64)
    wrong[1, 2] = 3
    with pytest.raises(DataError, match=r"(?s)tag 3 .*sequence 1 of the batch, step 2.*0 … 2"):
        layer.log_likelihood(x, wrong)
    with pytest.raises(ShapeError, match="mask"):
        layer.decode(x, mask=torch.ones(2, 3))
    with pytest.raises(ConfigError, match="names of its 3 tags"):
        CRF(3, bio=("O", "B-X"))
    with pytest.raises(ConfigError):
        CRF(0)


def test_no_steps_and_one() -> None:
    layer = crf().eval()
    for length in (0, 1):
        x = torch.randn(2, length, 3, dtype=torch.float64)
        assert layer(x).shape == (2, length, 3)
        assert layer.marginals(x).shape == (2, length, 3)
        assert layer.log_likelihood(x, torch.zeros(2, length, dtype=torch.int64)).shape == (2,)
