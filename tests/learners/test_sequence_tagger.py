from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from corecur.cli import app
from corecur.errors import BundleError, ConfigError, DataError
from corecur.learners.sequence_tagger import SequenceTagger
from corecur.learners.tasks import find_task

QUICK = {
    "epochs": 12, "units": 12, "embedding": 8, "characters": 6, "filters": 8, "batch_size": 8, "threads": 1,
    "learning_rate": 0.02, "dropout": 0.1,
}  # fmt: skip
NAMES, VERBS = ("Anna", "Bert", "Carla", "David"), ("sees", "likes", "hears")


def made_up(count: int, *, seed: int) -> tuple[list[list[str]], list[list[str]]]:
    """Sentences in which capitals mark people: tags follow from the spelling alone."""
    rng, sentences, tags = np.random.default_rng(seed), [], []
    for _ in range(count):
        name, verb = str(rng.choice(NAMES)), str(rng.choice(VERBS))
        second = [str(rng.choice(NAMES)), "Miller"] if rng.random() < 0.5 else ["it"]
        sentences.append([name, verb, *second, "."])
        tags.append(["B-person", "O", *(["B-person", "I-person"] if len(second) == 2 else ["O"]), "O"])
    return sentences, tags


def write(path: Path, sentences: list[list[str]], tags: list[list[str]]) -> Path:
    blocks = (
        "".join(f"{word}\t{tag}\n" for word, tag in zip(*pair, strict=True))
        for pair in zip(sentences, tags, strict=True)
    )
    path.write_text("\n".join(blocks), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def learner() -> SequenceTagger:
    tagger = SequenceTagger(**QUICK)
    tagger.fit(*made_up(120, seed=0))
    return tagger


def test_it_learns_and_answers(learner: SequenceTagger) -> None:
    sentences, tags = made_up(40, seed=1)
    found = learner.evaluate(sentences, tags)
    assert found.entities and found.f1 > 0.95
    assert [list(answer.tags) for answer in learner.predict(sentences)] == [list(a) for a in found.answers]
    (answer,) = learner.predict("Anna sees Carla Miller.")
    assert answer.tokens == ("Anna", "sees", "Carla", "Miller", ".") and answer.tags[2:4] == ("B-person", "I-person")


def test_an_answer_does_not_depend_on_its_batch(learner: SequenceTagger) -> None:
    sentences = [["Anna"], ["Bert", "likes", "it", ".", "Xaver", "sees", "Yvonne"] * 5, ["it", "2020"]]
    alone = [learner.predict([sentence])[0].tags for sentence in sentences]
    assert [answer.tags for answer in learner.predict(sentences)] == alone
    learner.network.train()  # emissions, not paths
    torch.manual_seed(0)
    for module in learner.network.modules():
        if hasattr(module, "rate"):
            module.eval()
    part = learner._batches(
        type(learner.read(*made_up(30, seed=0)).train)(tuple(map(tuple, sentences)), None, ("",) * 3), tagged=False
    )
    (batch,) = part
    together = learner.network(*batch.inputs)
    for row, place in enumerate(batch.index.tolist()):  # type: ignore[union-attr]
        words = tuple(field[row : row + 1, : len(sentences[place])] for field in batch.inputs)
        torch.testing.assert_close(
            together[row, : len(sentences[place])], learner.network(*words)[0], atol=1e-5, rtol=1e-5
        )
    learner.network.eval()


def test_the_bundle_answers_the_same(learner: SequenceTagger, tmp_path: Path) -> None:
    again = SequenceTagger.load(learner.save(tmp_path / "tagger.corecur"))
    sentences, _ = made_up(10, seed=2)
    assert again.predict(sentences) == learner.predict(sentences)
    with pytest.raises(BundleError, match="no sequence tagger"):
        learner.network.save(tmp_path / "network")
        SequenceTagger.load(tmp_path / "network")


def test_the_same_seed_the_same_weights() -> None:
    data = made_up(40, seed=0)
    states = []
    for _ in range(2):
        tagger = SequenceTagger(**QUICK | {"epochs": 2})
        tagger.fit(*data)
        states.append(tagger.network.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(states[0].values(), states[1].values(), strict=True))


@pytest.mark.parametrize("settings", [{"crf": False}, {"model": "gru", "layers": 2}, {"outline": 0}])
def test_other_settings(settings: dict[str, object]) -> None:
    tagger = SequenceTagger(**QUICK | settings)
    assert tagger.fit(*made_up(120, seed=0)).test.accuracy > 0.9
    assert (tagger.crf is None) == (settings.get("crf") is False)


def test_the_command(tmp_path: Path) -> None:
    folder = tmp_path / "names"
    folder.mkdir()
    for split, count in (("train", 100), ("dev", 20), ("test", 20)):
        write(folder / f"{split}.conll", *made_up(count, seed=count))
    assert find_task(str(folder)) == "sequence-tagging"
    settings = [f"--{name.replace('_', '-')}={value}" for name, value in QUICK.items()]
    run = CliRunner()
    trained = run.invoke(app, ["train", str(folder), "--json", "--out", str(tmp_path / "runs"), *settings])
    assert trained.exit_code == 0, trained.stderr
    result = json.loads(trained.stdout)
    assert result["task"] == "sequence-tagging" and result["test"]["f1"] > 0.9
    page = Path(result["report"]).read_text(encoding="utf-8")
    assert "F1 of entities" in page and "Transitions" in page and "Mistakes" in page
    tested = run.invoke(app, ["evaluate", result["bundle"], str(folder / "test.conll")])
    assert tested.exit_code == 0 and "person" in tested.stdout
    said = run.invoke(
        app, ["predict", result["bundle"], "-", "--json"], input="Anna sees it.\n\nBert hears Carla Miller.\n"
    )
    assert [row["tokens"][0] for row in json.loads(said.stdout)] == ["Anna", "Bert"]
    assert json.loads(said.stdout)[1]["entities"][-1]["text"] == "Carla Miller"
    table = run.invoke(app, ["predict", result["bundle"], str(folder / "test.conll"), "--format", "csv"])
    assert table.stdout.startswith("sentence,word,tag,probability\n") and table.stdout.count("\n") > 80
    assert run.invoke(app, ["info", result["bundle"]]).exit_code == 0


def test_what_is_wrong_is_named(learner: SequenceTagger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="differ in number"):
        SequenceTagger(**QUICK).fit([["a", "b"]] * 30, [["X"]] * 30)
    with pytest.raises(DataError, match="one tag only"):
        SequenceTagger(**QUICK).fit([["a", "b"]] * 30, [["X", "X"]] * 30)
    with pytest.raises(ConfigError, match="has no setting 'unit'"):
        SequenceTagger(unit=3)
    with pytest.raises(DataError, match="no word"):
        learner.predict(["", "  "])
    with pytest.raises(DataError, match="no tags"):
        learner.evaluate([["a"]])
    bad = tmp_path / "bad.conll"
    bad.write_bytes(b"Anna\tB-person\nM\xfcller\n")
    with pytest.raises(DataError, match=r"has no tag.*\n.*bad.conll:2"):
        SequenceTagger(**QUICK).fit(bad)
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    with pytest.raises(DataError, match="no word"):
        learner.predict(Path("-"))


def test_a_token_of_ten_megabytes_and_unknown_words(learner: SequenceTagger) -> None:
    answers = learner.predict([["x" * 10_000_000, "sees"], ["漢字", "\U0001f600"]])
    assert [len(answer.tags) for answer in answers] == [2, 2]
