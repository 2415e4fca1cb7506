"""The generator from Python and by the command."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from corecur.cli import app
from corecur.errors import BundleError, ConfigError, DataError
from corecur.learners.tasks import find_task, load_generator
from corecur.learners.text_generator import TextGenerator

QUICK: dict[str, Any] = {
    "epochs": 6, "units": 24, "embedding": 12, "batch_size": 8, "bptt_steps": 16, "learning_rate": 0.02,
    "dropout": 0.1, "input_dropout": 0.0, "threads": 1,
}  # fmt: skip
NAMES, VERBS = ("Anna", "Bert", "Carla"), ("sees", "likes", "hears")


def play(lines: int, *, seed: int = 0) -> str:
    """Speeches of one form: what follows what is learned in a moment."""
    rng = np.random.default_rng(seed)
    return "".join(f"{rng.choice(NAMES)}:\n{rng.choice(VERBS)} {rng.choice(NAMES)}.\n" for _ in range(lines))


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def learner() -> TextGenerator:
    generator = TextGenerator(**QUICK)
    generator.fit([play(400)])
    return generator


@pytest.fixture(scope="module")
def bundle(learner: TextGenerator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return learner.save(tmp_path_factory.mktemp("generator") / "bundle")


def test_it_learns_and_writes_on(learner: TextGenerator) -> None:
    score = learner.evaluate([play(100, seed=1)])
    # Three choices of three in about 18 characters, and little else to know.
    assert 3 * np.log(3) / 20 < score.nats < 0.35 and score.split == "test" and score.unknown == 0
    written = "".join(learner.generate("Anna:", length=200, temperature=0.5))
    assert len(written) == 200
    words = set(re.findall(r"\w+", written)[:-1])
    assert words <= {*NAMES, *VERBS} and len(words) > 3


def test_text_comes_piece_by_piece_and_follows_from_the_seed(learner: TextGenerator) -> None:
    pieces = learner.generate("Bert", length=30, temperature=1.0, seed=5)
    first = next(pieces)
    assert len(first) == 1
    other = learner.generate("Carla", length=30, temperature=1.0, seed=6)
    mixed = [(next(pieces), next(other)) for _ in range(29)]  # two texts from one network at the same time
    alone = ["".join(learner.generate(p, length=30, temperature=1.0, seed=s)) for p, s in (("Bert", 5), ("Carla", 6))]
    assert first + "".join(one for one, _ in mixed) == alone[0]
    assert "".join(two for _, two in mixed) == alone[1][:29]
    assert "".join(learner.generate("Bert", length=30, temperature=1.0, seed=7)) != alone[0]


def test_sampling_settings(learner: TextGenerator) -> None:
    greedy = "".join(learner.generate("An", length=20, temperature=0))
    assert (
        greedy
        == "".join(learner.generate("An", length=20, top_k=1))
        == "".join(learner.generate("An", length=20, temperature=1, top_p=1e-6, seed=3))
    )
    for wrong in ({"temperature": -1.0}, {"top_k": -1}, {"top_p": 2.0}, {"length": 0}, {"length": True}, {"seed": -1}):
        with pytest.raises(ConfigError):  # at the call, not at the first piece
            learner.generate("An", **wrong)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="a prompt is a text"):
        learner.generate(3)  # type: ignore[arg-type]


def test_answers_do_not_depend_on_each_other(learner: TextGenerator) -> None:
    one, two = learner.predict(["Anna l", "\u00c4nna\u20ac"], length=25)
    assert learner.predict("Anna l", length=25)[0].text == one.text and len(one.text) == 25
    assert two.replaced == {"\u00c4": "A", "\u20ac": ""} and two.prompt == "\u00c4nna\u20ac"
    header, rows, _ = learner.listing([one, two], top=3)
    assert len(header) == 2 and rows[0][1] == one.prompt + one.text
    assert learner.spreadsheet([one])[1] == [[one.name, one.prompt, one.text]]


def test_a_bundle_writes_and_scores_the_same(learner: TextGenerator, bundle: Path) -> None:
    loaded = TextGenerator.load(bundle)
    assert "".join(loaded.generate("Bert ", length=60, seed=3)) == "".join(learner.generate("Bert ", length=60, seed=3))
    text = [play(50, seed=2)]
    assert loaded.evaluate(text).as_json() == learner.evaluate(text).as_json()


def test_what_does_not_fit_the_network_is_refused(bundle: Path) -> None:
    from corecur.bundle.open import open_untrusted

    opened = open_untrusted(bundle)
    vocabulary = opened.preprocess["vocabulary"]  # type: ignore[index,call-overload]
    vocabulary["tokens"] = vocabulary["tokens"][:-1]  # type: ignore[index,call-overload]
    with pytest.raises(BundleError, match="does not fit the network"):
        TextGenerator.from_bundle(opened)


def test_the_seed_gives_the_weights() -> None:
    states = []
    for seed in (1, 1, 2):
        torch.manual_seed(len(states))
        generator = TextGenerator(seed=seed, **QUICK | {"epochs": 1})
        generator.fit([play(100)])
        states.append(generator.network.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not all(torch.equal(states[0][name], states[2][name]) for name in states[0])


@pytest.mark.parametrize(("level", "settings"), [("word", {"min_count": 1}), ("bpe", {"vocabulary": 280})])
def test_other_levels(level: str, settings: dict[str, Any]) -> None:
    generator = TextGenerator(level=level, **QUICK | {"epochs": 20, "batch_size": 4} | settings)
    result = generator.fit([play(300)])
    assert result.test.level == level and result.test.perplexity < 2.5
    written = "".join(generator.generate("Anna:\nsees", length=40, temperature=0.3))
    assert re.match(r" (Anna|Bert|Carla)\.\n", written)
    assert (result.test.bits_per_character is None) == (level == "word")


def test_splits_given_and_taken() -> None:
    text = play(200)
    generator = TextGenerator(**QUICK)
    data = generator.read([text], test=0.2, validation=0.1)
    assert data.test is not None and data.validation is not None
    assert data.train.text + data.validation.text + data.test.text == text
    assert generator.read([text], validation=0).validation is None
    again = generator.complete(generator.read([text], validation=0), validation="0.25")
    assert again.validation is not None and len(again.validation.text) == round(len(text) / 4)
    none = TextGenerator(**QUICK | {"epochs": 1}).fit([text], validation=0)
    assert none.test is None and "val_loss" not in none.history[0]
    with pytest.raises(ConfigError, match="no labels"):
        generator.read([text], ["a"])


BAD = {
    "empty": (b"", "no text to learn from"),
    "blank": (b" \n\n ", "no text to learn from"),
    "one character": (b"aaaaaaaaaa" * 100, "only one distinct character"),
    "almost nothing": (b"abcdefgh", "too short to learn from"),
    "no text": (bytes(range(256)) * 40, "is no text"),
    "other encoding": ("天地玄黄".encode("gb18030") * 100, "not UTF-8"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_texts(tmp_path: Path, case: str) -> None:
    content, message = BAD[case]
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        TextGenerator(**QUICK).fit(path)
    assert find_task(str(path)) == "text-generation"  # which says what the file lacks


def test_a_text_shorter_than_its_pieces(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="shorter than a piece"):
        TextGenerator(**QUICK | {"bptt_steps": 500}).fit([play(20)])
    short = TextGenerator(epochs=1, threads=1, units=8).fit(["to be or not to be, that is"])  # the recipe shrinks
    assert short.test is not None and np.isfinite(short.test.nats)


def test_a_line_of_ten_megabytes_is_text_like_any_other() -> None:
    from corecur.learners.generator_recipe import choose_generator
    from corecur.learners.generator_tokens import fit_generator_tokens

    text = "abracadabra" * 1_000_000
    recipe = choose_generator([text], overrides={})
    assert recipe.level == "char"
    assert len(fit_generator_tokens(text, level="char").numbers(text)) == len(text)


# By the command


@pytest.fixture
def book(tmp_path: Path) -> Path:
    path = tmp_path / "play.txt"
    path.write_text(play(300), "utf-8")
    return path


def options() -> list[str]:
    return [word for name, value in QUICK.items() for word in (f"--{name.replace('_', '-')}", str(value))]


def test_train_picks_the_task_and_says_what_to_try(command: Any, book: Path, tmp_path: Path) -> None:
    result = command("train", book, *options())
    assert result.exit_code == 0, result.stderr
    assert "characters: " in result.stdout and re.search(r"\nvalidation: 0\.\d+ nats a character", result.stdout)
    (run,) = (tmp_path / "runs").iterdir()
    page = (run / "report.html").read_text("utf-8")
    for wanted in ("Perplexity", "Temperature 0.5", "Most frequent characters", "How much the past helps"):
        assert wanted in page
    config = json.loads((run / "config.json").read_text("utf-8"))
    assert config["task"] == "text-generation" and config["recipe"]["level"] == "char" and config["level"] == "char"
    following = re.search(r"corecur generate (\S+) --prompt '(.*)' --length 400", result.stdout)
    assert following is not None
    written = command("generate", following[1], "--prompt", following[2], "--length", 30, "--seed", 1)
    assert written.exit_code == 0 and written.stdout.startswith(following[2]), written.stderr
    assert len(written.stdout) == len(following[2]) + 31
    assert command("info", following[1]).exit_code == 0
    scored = json.loads(command("evaluate", following[1], book, "--json").stdout)
    assert scored["task"] == "text-generation" and scored["test"]["nats"] < 0.5


def test_generate_as_json(command: Any, bundle: Path) -> None:
    words = ["--prompt", "Anna\u20ac", "--length", 20, "--temperature", 0.5, "--top-k", 5, "--top-p", 0.9, "--seed", 4]
    result = command("generate", bundle, *words, "--json")
    assert result.exit_code == 0 and result.stderr == "" and result.stdout.count("\n") == 1
    found = json.loads(result.stdout)
    settings = {"length": 20, "temperature": 0.5, "top_k": 5, "top_p": 0.9, "seed": 4, "prompt": "Anna\u20ac"}
    assert settings.items() <= found.items()
    assert len(found["text"]) == 20 and found["tokens_per_second"] > 0
    assert "\u20ac (left out)" in found["findings"][0]["verdict"]
    plain = command("generate", bundle, *words)
    assert plain.stdout == f"Anna\u20ac{found['text']}\n" and "left out" in plain.stderr
    seeds = {json.loads(command("generate", bundle, "--length", 1, "--json").stdout)["seed"] for _ in range(3)}
    assert len(seeds) > 1  # a new one each time


def test_generate_reads_standard_input(bundle: Path) -> None:
    found = CliRunner().invoke(app, ["generate", str(bundle), "--prompt", "-", "--length", "5"], input="Bert\n")
    assert found.exit_code == 0 and found.stdout.startswith("Bert") and len(found.stdout) == 10
    answers = CliRunner().invoke(app, ["predict", str(bundle), "-", "--json"], input="Anna\n\nCarla l\n")
    assert [answer["prompt"] for answer in json.loads(answers.stdout)] == ["Anna", "Carla l"]


def test_generate_refuses_what_cannot_be(command: Any, bundle: Path, trained: Path) -> None:
    refused = command("generate", trained)
    assert refused.exit_code == 2 and "this model writes no text" in refused.stderr
    assert command("generate", bundle, "--top-p", "0").exit_code == 2
    assert command("generate", bundle, "--temperature", "nan").exit_code == 2
    assert load_generator(bundle).task == "text-generation"


def test_the_sample_is_for_it_when_asked(command: Any) -> None:
    shown = command("train", "pydoc", "--task", "text-generation", "--show-recipe", "--json")
    assert shown.exit_code == 0 and json.loads(shown.stdout)["recipe"]["level"] == "char"


def test_poems_and_splits_by_file_names(command: Any, tmp_path: Path) -> None:
    poems = [{"title": "静夜思", "paragraphs": ["床前明月光，", "疑是地上霜。"]}] * 60
    (tmp_path / "poems").mkdir()
    for name in ("a.json", "b.json"):
        (tmp_path / "poems" / name).write_text(json.dumps(poems), "utf-8")
    words = [*options(), "--epochs", 40, "--validation", "last-file", "--json"]
    found = command("train", tmp_path / "poems", *words)
    assert found.exit_code == 0, found.stderr
    assert json.loads(found.stdout)["test"]["perplexity"] < 1.5
    (tmp_path / "book").mkdir()
    for split, count in (("train", 200), ("valid", 20), ("test", 30)):
        (tmp_path / "book" / f"x.{split}.txt").write_text(play(count), "utf-8")
    found = command("train", tmp_path / "book", *options(), "--json")
    test = json.loads(found.stdout)["test"]
    assert test["split"] == "test" and test["characters"] == len(play(30)) - 1


def test_time_instead_of_epochs() -> None:
    result = TextGenerator(threads=1, units=16).fit([play(200)], seconds=4)
    assert result.train_seconds < 5 and result.test is not None


def test_progress_is_told(learner: TextGenerator) -> None:
    lines: list[str] = []
    TextGenerator(**QUICK | {"epochs": 1}).fit([play(60)], tell=lines.append)
    assert any("distinct characters" in line for line in lines) and any("little text" in line for line in lines)
    assert io.StringIO(learner.describe(learner.read([play(60)]))[0]).readline().startswith("texts (corpus)")
