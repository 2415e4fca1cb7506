"""Combined taggers and text generators: exact against NumPy, bundles like any other, refused where senseless."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from corecur.combine.combination import Combination, combine
from corecur.combine.member_answers import bio_of, split_answers
from corecur.combine.members import open_members
from corecur.combine.unseen_splits import in_order
from corecur.data.text.open_tagged import load_tagged
from corecur.data.text.tagged_sets import TaggedSet
from corecur.errors import ConfigError
from corecur.layers.crf import bio_forbids
from corecur.learners.sequence_tagger import SequenceTagger
from corecur.learners.text_generator import TextGenerator
from corecur.learners.verification import verify
from corecur.run_folder import find_bundle

SMALL: dict[str, Any] = {"units": 6, "embedding": 6, "characters": 4, "filters": 4, "epochs": 2, "batch_size": 8,
                         "learning_rate": 0.02, "threads": 1, "split_seed": 0}  # fmt: skip
WRITER: dict[str, Any] = {"units": 12, "embedding": 8, "bptt_steps": 16, "learning_rate": 0.02, "epochs": 2,
                          "threads": 1, "level": "char"}  # fmt: skip
SPLITS = {"validation": 0.25, "test": 0.25}
WORDS = {"DET": ("the", "a"), "NOUN": ("cat", "dog", "walk", "run"), "VERB": ("sees", "walk", "run", "hears")}


def tagged(count: int, seed: int) -> tuple[list[list[str]], list[list[str]]]:
    """Sentences of words that are nouns or verbs by their place, one tag in ten being another."""
    random, sentences, tags = np.random.default_rng(seed), [], []
    for _ in range(count):
        own = ["DET", "NOUN", "VERB", *(["DET", "NOUN"] if random.random() < 0.5 else [])]
        sentences.append([str(random.choice(WORDS[tag])) for tag in own])
        tags.append([str(random.choice(list(WORDS))) if random.random() < 0.1 else tag for tag in own])
    return sentences, tags


def write_tagged(path: Path, count: int, seed: int) -> Path:
    rows = (
        "".join(f"{w}\t{t}\n" for w, t in zip(*pair, strict=True)) for pair in zip(*tagged(count, seed), strict=True)
    )
    path.write_text("\n".join(rows), "utf-8")
    return path


def text(length: int, seed: int) -> str:
    random = np.random.default_rng(seed)
    return " ".join(random.choice(["to", "be", "or", "not", "that", "is"], length))


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tagged(tmp_path_factory.mktemp("data") / "tags.conll", 240, 0)


@pytest.fixture(scope="module")
def taggers(sentences: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Runs of three taggers: two with a CRF, one of them calibrated otherwise, and one without."""
    out, found = tmp_path_factory.mktemp("taggers"), []
    for seed in range(3):
        result = SequenceTagger(seed=seed, crf=seed < 2, **SMALL).fit(
            str(sentences), **SPLITS, baseline="none", out=out / str(seed)
        )
        assert result.run is not None
        found.append(result.run.path)
    return found


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("play") / "play.txt"
    path.write_text(text(2500, 0), "utf-8")
    return path


@pytest.fixture(scope="module")
def writers(play: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    out, found = tmp_path_factory.mktemp("writers"), []
    for seed in range(2):
        learner = TextGenerator(seed=seed, **WRITER | {"epochs": 2 - seed, "dropout": 0.0})
        result = learner.fit(str(play), test=0.2, baseline="none", out=out / str(seed))
        assert result.run is not None
        found.append(result.run.path)
    return found


def tagger(path: Path) -> SequenceTagger:
    """The tagger in a run or bundle, without rounding to bfloat16."""
    return SequenceTagger.load(find_bundle(path), precision="float32")


def writer(path: Path) -> TextGenerator:
    """The same for a text generator."""
    return TextGenerator.load(find_bundle(path), precision="float32")


def _held(sentences: Path, split: str) -> TaggedSet:
    data = SequenceTagger(**SMALL).read(str(sentences), **SPLITS)
    part: TaggedSet = getattr(data, split)
    return part


def _shares(learner: Any, part: TaggedSet) -> Any:
    return np.concatenate(learner.probabilities_of(part)).astype(np.float64)


def _truth(learner: Any, part: TaggedSet) -> Any:
    return np.array([learner.classes.index(tag) for tags in part.tags or () for tag in tags])


@pytest.fixture(scope="module", params=["average", "weighted", "stacking"])
def made(request: Any, taggers: list[Path], sentences: Path, tmp_path_factory: pytest.TempPathFactory) -> Combination:
    out = tmp_path_factory.mktemp("made") / "bundle"
    return combine(taggers, str(sentences), method=request.param, out=out, threads=1)


def test_tags_come_from_blended_marginals(made: Combination, taggers: list[Path], sentences: Path) -> None:
    """In NumPy: the mean of the members' calibrated probabilities, its likeliest tag, and its own temperature."""
    part, learner = _held(sentences, "test"), tagger(made.path)
    assert learner.crf is None
    members = [_shares(tagger(path), part) for path in taggers]
    plain = np.concatenate(learner.probabilities_of(part, calibrated=False)).astype(np.float64)
    if made.method != "stacking":
        wanted = sum(share * one for share, one in zip(made.weights.values(), members, strict=True))
        np.testing.assert_allclose(plain, wanted, atol=3e-6)
    np.testing.assert_allclose(plain.sum(1), 1, atol=1e-6)
    tempered = np.exp(np.log(plain) / learner.preprocess.temperature)
    np.testing.assert_allclose(_shares(learner, part), tempered / tempered.sum(1, keepdims=True), atol=1e-5)
    tags = [tag for one in learner.tags_of(part) for tag in one]
    assert tags == [learner.classes[k] for k in plain.argmax(1)]


def test_a_combined_tagger_is_a_bundle_with_a_proof(made: Combination, sentences: Path) -> None:
    assert verify(made.path).error is None and made.proof is not None and made.calibration is not None
    assert made.calibration.noun == "words" and made.calibration.temperature == made.learner.preprocess.temperature
    part = _held(sentences, "test")
    whole = tagger(made.path).evaluate([list(w) for w in part.sentences], [list(t) for t in part.tags or ()])
    assert whole.as_json()["accuracy"] == pytest.approx(made.proof.rivals[0].figure)
    found = json.loads(json.dumps(made.as_json(), allow_nan=False))
    assert len(found["proof"]["differences"]) == 3 and found["proof"]["split"] == "test"
    assert made.proof.listing()[0][-2:] == ("calibration error", "negative log-likelihood")
    card = (made.path / "card.md").read_text("utf-8")
    assert made.proof.verdict() in card and made.sentence() in card


def test_weights_are_the_likeliest_by_scipy(taggers: list[Path], sentences: Path, tmp_path: Path) -> None:
    found = combine(taggers, str(sentences), method="weighted", out=tmp_path / "w", threads=1)
    part = _held(sentences, "validation")
    learners: list[Any] = [tagger(path) for path in taggers]
    truth = _truth(learners[0], part)
    chosen = np.stack([_shares(one, part)[np.arange(len(truth)), truth] for one in learners])
    wanted = minimize(
        lambda w: -np.log(w @ chosen).mean(), [1 / 3] * 3, method="SLSQP", bounds=[(0, 1)] * 3,
        constraints=[{"type": "eq", "fun": lambda w: w.sum() - 1}], options={"ftol": 1e-14},
    )  # fmt: skip
    shares = np.array(list(found.weights.values()))
    assert -np.log(shares @ chosen).mean() == pytest.approx(wanted.fun, abs=1e-5)


def test_a_stack_of_taggers_is_no_worse_than_their_mean(taggers: list[Path], sentences: Path, tmp_path: Path) -> None:
    members = open_members(taggers)
    found = combine(taggers, str(sentences), method="stacking", out=tmp_path / "s", threads=1)
    part = _held(sentences, "validation")
    answers, labels, groups = split_answers(members, members[0].learner.classes, part, stacked=True)
    assert groups is not None and groups.bincount().tolist() == [len(words) for words in part.sentences]
    logs = torch.cat([one.clamp_min(1e-7).log() for one in answers], 1)
    learner = tagger(found.path)
    said = np.concatenate(learner.probabilities_of(part, calibrated=False)).astype(np.float64)
    free = LogisticRegression(C=1e4, max_iter=500).fit(logs.numpy(), labels.numpy())
    mean = torch.stack(answers).log().mean(0).softmax(1).numpy()

    def loss(p: Any) -> float:
        return float(-np.log(p[np.arange(len(labels)), labels.numpy()]).mean())

    assert loss(free.predict_proba(logs.numpy())) - 1e-4 <= loss(said) <= loss(mean) + 1e-6
    assert "validation words" in found.detail


def test_soups_of_taggers(taggers: list[Path], sentences: Path, tmp_path: Path) -> None:
    same: Any = tagger(taggers[0])
    for weight in same.network.parameters():
        weight.data.add_(1e-4)
    same.save(tmp_path / "near")
    splits = {"split_seed": 0, "threads": 1, **SPLITS}
    found = combine([taggers[0], tmp_path / "near"], str(sentences), method="soup", out=tmp_path / "soup", **splits)
    learner: Any = tagger(found.path)
    assert learner.crf is not None and verify(found.path).error is None and found.proof is not None
    parts = [tagger(taggers[0]), same]
    kept = [one.network.state_dict() for one, share in zip(parts, found.weights.values(), strict=True) if share]
    for name, value in learner.network.state_dict().items():
        torch.testing.assert_close(value, torch.stack([one[name] for one in kept]).mean(0))
    with pytest.raises(ConfigError, match="same architecture"):
        combine(taggers, str(sentences), method="soup", out=tmp_path / "mixed", threads=1)


def test_another_order_of_tags_and_a_combination_as_a_member(
    taggers: list[Path], sentences: Path, tmp_path: Path
) -> None:
    turned: Any = tagger(taggers[2])
    head = [m for m in turned.network.modules() if type(m).__name__ == "Dense"][-1]
    with torch.no_grad():
        head.weight.copy_(head.weight[[2, 0, 1]])
        head.bias.copy_(head.bias[[2, 0, 1]])
    turned.classes = tuple(turned.classes[place] for place in (2, 0, 1))
    turned.save(tmp_path / "turned")
    options: dict[str, Any] = {"split_seed": 0, "threads": 1, **SPLITS}
    plain = combine([taggers[0], taggers[2]], str(sentences), out=tmp_path / "a", **options)
    mixed = combine([taggers[0], tmp_path / "turned"], str(sentences), out=tmp_path / "b", **options)
    part = _held(sentences, "test")
    np.testing.assert_allclose(_shares(tagger(plain.path), part), _shares(tagger(mixed.path), part), atol=1e-5)
    twice = combine([tmp_path / "a", taggers[1]], str(sentences), out=tmp_path / "c", **options)
    wanted = (_shares(tagger(plain.path), part) + _shares(tagger(taggers[1]), part)) / 2
    found = tagger(twice.path)
    np.testing.assert_allclose(np.concatenate(found.probabilities_of(part, calibrated=False)), wanted, atol=1e-5)
    data = load_tagged(*tagged(20, 0))
    assert in_order(data, data.classes[::-1]).train.tags == data.train.tags


NAMED = (
    [["Ann", "Lee", "sees", "Bo"], ["Bo", "runs"], ["Lee", "sees", "Ann", "Lee"], ["it", "runs"]] * 40,
    [["B-PER", "I-PER", "O", "B-PER"], ["B-PER", "O"], ["B-PER", "O", "B-PER", "I-PER"], ["O", "O"]] * 40,
)


def _allowed(tags: list[str]) -> bool:
    return not any(bio_forbids(before, tag) for before, tag in itertools.pairwise([None, *tags]))


def test_entities_are_the_best_sequence_that_bio_allows(tmp_path: Path) -> None:
    """In NumPy, path by path: of all that BIO allows the largest product of mean marginals, which stay as they are."""
    paths, sentences = [], [["Ann", "Lee", "Bo"], ["Lee"], ["runs", "it", "Lee", "sees"]]
    for seed in range(2):
        one = SequenceTagger(seed=seed, **SMALL | {"epochs": 1})
        one.fit(*NAMED, **SPLITS, baseline="none")
        paths.append(one.save(tmp_path / str(seed)))
    members = [tagger(path) for path in paths]
    part = TaggedSet(tuple(map(tuple, sentences)), None, ("",) * 3)
    each = zip(*(one.probabilities_of(part) for one in members), strict=True)
    mean, names = [np.mean(pair, 0).astype(np.float64) for pair in each], members[0].classes
    found = combine(paths, NAMED, out=tmp_path / "both", split_seed=0, threads=1, **SPLITS)
    learner = tagger(found.path)
    assert learner.crf is None and found.proof is not None and verify(found.path).error is None
    shares = learner.probabilities_of(part, calibrated=False)
    for words, own, likely, tags in zip(sentences, mean, shares, learner.tags_of(part), strict=True):
        every = [path for path in itertools.product(range(3), repeat=len(words)) if _allowed([names[k] for k in path])]
        weights = np.array([own[np.arange(len(words)), list(p)].prod() for p in every])
        assert tags == tuple(names[k] for k in every[int(weights.argmax())])
        np.testing.assert_allclose(likely, own, atol=1e-5)
    twice = combine([found.path, paths[0]], NAMED, out=tmp_path / "twice", split_seed=0, threads=1, **SPLITS)
    both = zip(tagger(found.path).probabilities_of(part), members[0].probabilities_of(part), strict=True)
    for likely, pair in zip(tagger(twice.path).probabilities_of(part, calibrated=False), both, strict=True):
        np.testing.assert_allclose(likely, np.mean(pair, 0), atol=1e-5)
    odd = (NAMED[0], [[tag.replace("B-", "I-") for tag in NAMED[1][0]], *NAMED[1][1:]])
    assert bio_of(learner, load_tagged(*NAMED)) == names and bio_of(learner, load_tagged(*odd)) is None


def test_members_that_do_not_fit(taggers: list[Path], writers: list[Path], sentences: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="different tasks"):
        open_members([taggers[0], writers[0]])
    told, tags = tagged(60, 1)
    other = SequenceTagger(**SMALL)
    other.fit(told, [["X" if tag == "DET" else tag for tag in one] for one in tags], baseline="none")
    other.save(tmp_path / "tags")
    with pytest.raises(ConfigError, match="different tags"):
        open_members([taggers[0], tmp_path / "tags"])
    few = SequenceTagger(**SMALL)
    few.fit([["the", "dog", "sees"]] * 30, [["DET", "NOUN", "VERB"]] * 30, baseline="none")
    few.save(tmp_path / "few")
    with pytest.raises(ConfigError, match="another words, letters"):
        open_members([taggers[0], tmp_path / "few"])
    seed = SequenceTagger(**SMALL | {"split_seed": 5}).fit(str(sentences), **SPLITS, baseline="none", out=tmp_path)
    assert seed.run is not None
    with pytest.raises(ConfigError, match=r"learned from samples of this|prepare their inputs differently"):
        combine([taggers[0], seed.run.path], str(sentences), out=tmp_path / "out")
    word = TextGenerator(**WRITER | {"level": "word"})
    word.fit([text(800, 1)], baseline="none")
    word.save(tmp_path / "word")
    with pytest.raises(ConfigError, match=r"another level(.|\n)*vocabulary(.|\n)*--level"):
        open_members([writers[0], tmp_path / "word"])


@pytest.mark.parametrize("method", ["average", "weighted"])
def test_text_is_read_and_written_by_blended_probabilities(
    method: Any, writers: list[Path], play: Path, tmp_path: Path
) -> None:
    """In NumPy: every token costs -log of the blend of what the members gave it, and drawing follows it."""
    found = combine(writers, str(play), method=method, out=tmp_path / "both", threads=1)
    again: Any = writer(found.path)
    members: list[Any] = [writer(path) for path in writers]
    numbers = again.preprocess.numbers(text(300, 9))
    shares = np.array(list(found.weights.values()))
    given = np.stack([np.exp(-one.losses(numbers).double().numpy()) for one in members])
    np.testing.assert_allclose(again.losses(numbers).numpy(), -np.log(shares @ given), atol=2e-5)
    assert verify(found.path).error is None and found.proof is not None and found.proof.split == "test"
    assert found.calibration is None and found.proof.measure.name == "nats a character"
    assert again.evaluate([text(300, 9)]).nats == pytest.approx(float(-np.log(shares @ given).mean()), abs=1e-5)
    written = "".join(again.generate("to be", length=12, temperature=0))
    with torch.no_grad():
        tokens = again.preprocess.prompt("to be").tokens
        for letter in written:
            each = np.stack([one.network.eval()(torch.tensor([tokens]))[0, -1].double().numpy() for one in members])
            blend = shares @ each
            blend[:2] = 0
            assert again.preprocess.vocabulary.names[int(blend.argmax())] == letter
            tokens = (*tokens, int(blend.argmax()))
    assert "".join(again.generate("to", length=30, seed=1)) == "".join(again.generate("to", length=30, seed=1))


def test_soups_and_stacks_of_text_generators(writers: list[Path], play: Path, tmp_path: Path) -> None:
    found = combine(writers, str(play), method="soup", out=tmp_path / "soup", threads=1)
    assert verify(found.path).error is None and sum(found.weights.values()) == pytest.approx(1)
    again: Any = writer(found.path)
    kept = [writer(path).network.state_dict()
            for path, share in zip(writers, found.weights.values(), strict=True) if share]  # fmt: skip
    for name, value in again.network.state_dict().items():
        torch.testing.assert_close(value, torch.stack([one[name] for one in kept]).mean(0))
    with pytest.raises(ConfigError, match=r"text generators cannot be stacked(.|\n)*weighted"):
        combine(writers, str(play), method="stacking", out=tmp_path / "stack", threads=1)


def test_without_a_test_text(play: Path, tmp_path: Path) -> None:
    """An average, which nothing is fitted for, is set against its members on the validation text; weights are not."""
    runs = []
    for seed in range(2):
        result = TextGenerator(seed=seed, **WRITER | {"epochs": 1}).fit(str(play), baseline="none", out=tmp_path)
        assert result.run is not None
        runs.append(result.run.path)
    found = combine(runs, str(play), out=tmp_path / "average", threads=1)
    assert found.proof is not None and found.proof.split == "validation"
    assert found.findings[-1].kind == "validation-proof" and found.proof.listing()[0][1].startswith("validation")
    weighted = combine(runs, str(play), method="weighted", out=tmp_path / "weighted", threads=1)
    assert weighted.proof is None and weighted.findings[-1].kind == "no-proof"
    with pytest.raises(ConfigError, match=r"may have learned from this test text"):
        combine(runs, str(play), test=0.1, out=tmp_path / "other", threads=1)
    bare = combine([run / "bundle" for run in runs], str(play), out=tmp_path / "bare", threads=1, test=str(play))
    assert [one.kind for one in bare.findings if one.kind == "no-proof"] == []
    assert dataclasses.replace(bare, findings=()).proof is not None


def test_the_commands(
    command: Callable[..., Any], taggers: list[Path], writers: list[Path], sentences: Path, play: Path, tmp_path: Path
) -> None:
    done = command("combine", *taggers, "--on", sentences, "--out", tmp_path / "t", "--threads", "1")
    assert done.exit_code == 0, done.stderr
    assert "calibration error" in done.stdout and "validation words" in done.stdout
    assert command("info", tmp_path / "t").exit_code == 0
    tested = command("evaluate", tmp_path / "t", sentences)
    assert tested.exit_code == 0, tested.exception
    assert "probabilities: off by" in tested.stdout
    (tmp_path / "some.txt").write_text("the dog sees a cat\n", "utf-8")
    told = command("predict", tmp_path / "t", tmp_path / "some.txt", "--json")
    assert len(json.loads(told.stdout)[0]["probabilities"]) == 5
    shown = command("explain", tmp_path / "t", tmp_path / "some.txt", "--json")
    assert shown.exit_code == 0, shown.stderr
    written = command("combine", *writers, "--on", play, "--out", tmp_path / "g", "--threads", "1")
    assert written.exit_code == 0 and "test nats a character" in written.stdout, written.stderr
    for words in (("info",), ("evaluate", play), ("predict", tmp_path / "some.txt"), ("generate", "--length", "9")):
        answer = command(words[0], tmp_path / "g", *words[1:])
        assert answer.exit_code == 0, answer.stderr
