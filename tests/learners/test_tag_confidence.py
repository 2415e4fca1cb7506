"""A tagger's temperature and what a test says of its probabilities, against NumPy in float64, path by path."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from corecur.bundle.open import open_untrusted
from corecur.bundle.write import write_bundle
from corecur.data.text.tagged_sets import TaggedSet
from corecur.engine.calibration import Calibration, calibration_bins, fit_temperature, least_temperature
from corecur.errors import ShapeError
from corecur.layers.crf import CRF, Chain
from corecur.learners.sequence_tagger import SequenceTagger
from corecur.learners.tag_confidence import calibrate_chains, tag_confidence

from .test_sequence_tagger import QUICK, made_up

TAGS, STEPS = 3, 4


def _marginals(x: Any, crf: CRF, temperature: float) -> Any:
    """(T, K) in NumPy from all K^T paths."""
    between, first, last = (w.detach().double().numpy() for w in (crf.transitions, crf.start_transitions,
                                                                   crf.end_transitions))  # fmt: skip
    paths = np.array(list(itertools.product(range(TAGS), repeat=len(x))))
    scores = first[paths[:, 0]] + last[paths[:, -1]] + x[np.arange(len(x)), paths].sum(1)
    scores = (scores + between[paths[:, :-1], paths[:, 1:]].sum(1)) / temperature
    weights = np.exp(scores - scores.max())
    weights /= weights.sum()
    return np.array([[weights[paths[:, t] == k].sum() for k in range(TAGS)] for t in range(len(x))])


def _chain(seed: int, sharpness: float) -> tuple[Chain, torch.Tensor, list[Any]]:
    """A CRF ``sharpness`` times too sure, tags drawn from what its marginals should be, emissions of each sentence."""
    random = np.random.default_rng(seed)
    crf = CRF(TAGS)
    crf(torch.zeros(1, 2, TAGS))
    x = random.normal(size=(40, STEPS, TAGS)) * 1.5
    mask = np.arange(STEPS) < random.integers(1, STEPS + 1, (40, 1))
    tags = np.zeros((40, STEPS), dtype=np.int64)
    with torch.no_grad():
        for weight in crf.parameters():
            weight.copy_(torch.tensor(random.normal(size=tuple(weight.shape))))
        for row in range(40):
            own = _marginals(x[row, : mask[row].sum()], crf, 1.0)
            tags[row, : len(own)] = [random.choice(TAGS, p=p / p.sum()) for p in own]
        for weight in crf.parameters():
            weight.mul_(sharpness)
    sentences = [sharpness * x[row, : mask[row].sum()] for row in range(40)]
    return Chain(crf, torch.tensor(sharpness * x), torch.tensor(mask)), torch.tensor(tags), sentences


@pytest.mark.parametrize(("seed", "sharpness"), [(0, 2.5), (1, 0.5)])
def test_the_temperature_of_a_crf_is_that_of_its_single_tags(seed: int, sharpness: float) -> None:
    chain, tags, sentences = _chain(seed, sharpness)

    def nats(temperature: float) -> float:
        found = [
            -np.log(_marginals(x, chain.crf, temperature)[np.arange(len(x)), tags[row, : len(x)].numpy()])
            for row, x in enumerate(sentences)
        ]
        return float(np.concatenate(found).mean())

    found = calibrate_chains([chain], [tags])
    wanted = minimize_scalar(lambda t: nats(float(np.exp(t))), bounds=(-2, 2), method="bounded")
    assert found.samples == sum(map(len, sentences)) and found.noun == "words"
    assert found.before == pytest.approx(nats(1.0), abs=1e-6) and found.after == pytest.approx(wanted.fun, abs=1e-6)
    assert found.temperature == pytest.approx(np.exp(wanted.x), rel=2e-3)
    assert found.temperature == pytest.approx(sharpness, rel=0.5) and "validation words" in found.sentence()


def test_a_crf_that_is_always_right_does_not_become_certain() -> None:
    chain, _, _ = _chain(0, 1.0)
    right = chain.crf.marginals(chain.emissions, mask=chain.mask).argmax(-1)
    found = calibrate_chains([chain], [right])
    assert 0.05 < found.temperature < 1 and found.after is not None and 0 < found.after < float(found.before or 0)


def test_few_words_and_no_numbers_give_none() -> None:
    chain, tags, _ = _chain(0, 1.0)
    few = calibrate_chains([Chain(chain.crf, chain.emissions[:5], chain.mask[:5])], [tags[:5]])  # type: ignore[index]
    assert few.temperature == 1.0 and "validation words are too few" in few.sentence()
    broken = calibrate_chains([Chain(chain.crf, chain.emissions * np.nan, chain.mask)], [tags])
    assert broken.temperature == 1.0 and "no numbers" in broken.sentence()


@pytest.mark.parametrize("sharpness", [0.4, 1.0, 3.0])
def test_a_search_finds_what_bisection_finds(sharpness: float) -> None:
    random = np.random.default_rng(0)
    logits = torch.tensor(random.normal(size=(400, 4)))
    labels = torch.multinomial(logits.softmax(1), 1)[:, 0]
    shares = (sharpness * logits).softmax(1)

    def loss(temperature: float) -> float:
        return float(torch.nn.functional.cross_entropy(shares.log() / temperature, labels))

    assert least_temperature(loss) == pytest.approx(fit_temperature(shares, labels), rel=2e-3)


def test_confidence_against_numpy() -> None:
    random = np.random.default_rng(0)
    sizes = [3, 0, 5, 1, *[4] * 40]
    shares = [random.dirichlet([0.5] * 4, size) for size in sizes]
    answers = [p.argmax(1) if len(p) else np.zeros(0, int) for p in shares]
    truth = [random.integers(0, 4, size) for size in sizes]
    found = tag_confidence(shares, answers, truth, temperature=2.0)
    assert found is not None
    p, y = np.concatenate(shares), np.concatenate(truth)
    assert found.figures["nll"] == pytest.approx(-np.log(p[np.arange(len(y)), y]).mean())
    assert found.figures["brier"] == pytest.approx(((p - np.eye(4)[y]) ** 2).sum(1).mean())
    assert found.figures["temperature"] == 2.0 and found.figures["before"] is None
    right = p.argmax(1) == y
    assert found.bins.error == pytest.approx(calibration_bins(p.max(1), right).error)
    assert (found.bins.counts.sum(), found.right.sum()) == (len(y), right.sum())
    assert tag_confidence([], [], []) is None


def test_words_of_a_sentence_that_err_together_widen_the_interval() -> None:
    """Sentences of ten equal words: as wide as with a word a sentence, and wider than over single words."""
    random = np.random.default_rng(0)
    right, said = random.random(60) < 0.7, np.full(60, 0.9)
    many, sure, groups = np.repeat(right, 10), np.repeat(said, 10), np.repeat(np.arange(60), 10)
    low, high = calibration_bins(sure, many, groups=groups).interval
    alone, one = calibration_bins(sure, many), calibration_bins(said, right)
    assert high - low > 2 * (alone.interval[1] - alone.interval[0])
    assert (low, high) == pytest.approx(one.interval, abs=0.03)
    with pytest.raises(ShapeError, match="one group per answer"):
        calibration_bins(said, right, groups=groups)


@pytest.fixture(scope="module", params=[True, False], ids=["crf", "softmax"])
def trained(request: Any) -> tuple[SequenceTagger, Any]:
    """A tagger of tags of which one in ten is another, so that it cannot be sure."""
    tagger = SequenceTagger(**{**QUICK, "epochs": 3}, crf=request.param)
    return tagger, tagger.fit(*_noisy(240, seed=0), validation=0.25, test=0.25, baseline="none")


def _noisy(count: int, *, seed: int) -> tuple[list[list[str]], list[list[str]]]:
    sentences, tags = made_up(count, seed=seed)
    random = np.random.default_rng(seed)
    return sentences, [["O" if random.random() < 0.1 else tag for tag in one] for one in tags]


def test_a_training_fits_it_and_a_test_tells_it(trained: tuple[SequenceTagger, Any]) -> None:
    tagger, result = trained
    fitted: Calibration = result.calibration
    assert fitted.temperature == tagger.preprocess.temperature != 1.0
    assert fitted.after is not None and fitted.before is not None and fitted.after <= fitted.before
    held = _noisy(60, seed=3)
    found = tagger.evaluate(*held)
    part = TaggedSet(tuple(map(tuple, held[0])), tuple(map(tuple, held[1])), ("",) * 60)
    assert found.calibration is not None
    for figures, calibrated in ((found.calibration, True), (found.calibration["before"], False)):
        shares = np.concatenate(tagger.probabilities_of(part, calibrated=calibrated)).astype(float)
        truth = np.array([tagger.classes.index(tag) for tags in held[1] for tag in tags])
        assert figures["nll"] == pytest.approx(-np.log(shares[np.arange(len(truth)), truth]).mean(), rel=1e-4)
    assert json.loads(json.dumps(found.as_json(), allow_nan=False))["calibration"]["ece"] >= 0
    assert "before their temperature" in found.listing()[2]


def test_answers_have_the_probability_of_their_tags(trained: tuple[SequenceTagger, Any]) -> None:
    tagger, _ = trained
    part = TaggedSet((("Anna", "sees", "it"), ("it",)), None, ("a", "b"))
    answers, shares = tagger.predict([list(words) for words in part.sentences]), tagger.probabilities_of(part)
    for answer, likely in zip(answers, shares, strict=True):
        numbers = [tagger.classes.index(tag) for tag in answer.tags]
        assert answer.probabilities == pytest.approx(likely[np.arange(len(numbers)), numbers].tolist(), abs=1e-6)
        assert answer.as_json()["probabilities"] == list(answer.probabilities)
    assert [answer.tags for answer in answers] == tagger.tags_of(part)
    assert tagger.spreadsheet(answers)[0][-1] == tagger.listing(answers, top=1)[0][-1] == "probability"


def test_a_file_of_before_loads_with_temperature_1_and_no_tag_differs(
    trained: tuple[SequenceTagger, Any], tmp_path: Path
) -> None:
    tagger, _ = trained
    path = tagger.save(tmp_path / "bundle")
    again = SequenceTagger.load(path)
    assert again.preprocess.temperature == tagger.preprocess.temperature
    bundle, kept = open_untrusted(path), json.loads((path / "preprocess.json").read_text())
    model, labels, weights = bundle.model, bundle.labels, tagger.network.state_dict()
    for layer in model["network"]["layers"]:
        for name in ("answer", "temperature"):
            layer["config"].pop(name, None)
    del kept["temperature"]
    shutil.rmtree(path)
    write_bundle(path, model=model, weights=weights, labels=labels, preprocess=kept)
    old, sentences = SequenceTagger.load(path), made_up(20, seed=5)[0]
    assert old.preprocess.temperature == 1.0
    plain, now = old.predict(sentences), tagger.predict(sentences)
    assert [one.tags for one in plain] == [one.tags for one in now]
    assert [one.probabilities for one in plain] != [one.probabilities for one in now]
    assert old.evaluate(*_noisy(20, seed=6)).as_json()["calibration"]["before"] is None


def test_the_report_has_the_reliability_plot(tmp_path: Path) -> None:
    result = SequenceTagger(**{**QUICK, "epochs": 1}).fit(*_noisy(120, seed=0), validation=0.3, out=tmp_path)
    assert result.run is not None
    page = result.run.report.read_text("utf-8")
    for words in ("Calibration", "Reliability plot", "validation words", "of the test words", "No tag changes"):
        assert words in page
    alone = SequenceTagger(**{**QUICK, "epochs": 1}).fit(*_noisy(30, seed=0), validation=0, baseline="none")
    assert alone.calibration is not None and "no validation split" in alone.calibration.sentence()
