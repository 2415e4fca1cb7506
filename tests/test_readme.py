"""README and docs stay true: their Python runs, their commands have those options, their links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "README.zh-CN.md", *sorted((ROOT / "docs").glob("*.md"))]
ALL_PAGES = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", ROOT / "CHANGELOG.md"]


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a language on a page."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def make_photos(folder: Path) -> None:
    """Two classes of small pictures that differ in colour."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for name, colour in (("cat", (200, 120, 60)), ("dog", (60, 120, 200))):
        (folder / name).mkdir(parents=True)
        for number in range(20):
            pixels = rng.normal(colour, 40, (16, 16, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name_of)
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_photos(tmp_path / "photos")
    shared: dict[str, object] = {"__name__": "page"}
    for number, block in enumerate(blocks(page, "python"), 1):
        short = re.sub(r"\bepochs=\d+", "epochs=1", block)
        exec(compile(short, f"{name_of(page)}, block {number}", "exec"), shared)


def options(command: str) -> set[str]:
    """What ``corecur <command>`` takes; for train, the settings of the recipes and of reading too."""
    import typer

    from corecur.cli import app
    from corecur.learners.tasks import TASKS

    found = typer.main.get_command(app).commands[command].params  # type: ignore[attr-defined]
    known = {option for parameter in found for option in parameter.opts}
    if command == "train":
        models = [model for task in TASKS.values() for model in (task.learner.recipe_model, task.learner.reading_model)]
        known |= {f"--{name.replace('_', '-')}" for model in models for name in model.model_fields}
    return known


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_have_the_options_shown(page: Path) -> None:
    shown = re.findall(r"(?:^\$ |`)corecur (.+?)(?:`|$)", page.read_text("utf-8"), re.MULTILINE)
    for line in shown:
        words = shlex.split(line.split(" > ")[0], comments=True)
        asked = {word for word in words[1:] if word.startswith("--")}
        assert asked <= options(words[0]), f"corecur {line}"


@pytest.mark.parametrize("page", ALL_PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        place = page.parent / file if file else page
        assert place.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", place.read_text("utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}, target


def test_pages_name_make_targets_that_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)) | {"help"}
    for page in ALL_PAGES:
        assert set(re.findall(r"`make ([a-z]+)`", page.read_text("utf-8"))) <= targets, name_of(page)


def test_both_readmes_have_the_same_sections_and_programs() -> None:
    english, chinese = PAGES[:2]
    depths = [re.findall(r"^(#+) ", page.read_text("utf-8"), re.MULTILINE) for page in (english, chinese)]
    assert depths[0] == depths[1]
    code = [[line for block in blocks(page, "python") for line in block.splitlines()] for page in (english, chinese)]
    bare = [[re.sub(r"\s*#.*", "", line) for line in lines] for lines in code]
    assert bare[0] == bare[1]


def test_every_public_layer_loss_metric_and_optimizer_has_its_word_in_names() -> None:
    from corecur.engine.optimizers import OPTIMIZERS
    from corecur.engine.schedules import SCHEDULES
    from corecur.layers import LAYERS

    text = (ROOT / "docs" / "names.md").read_text("utf-8")
    rows = [*LAYERS.values(), *OPTIMIZERS.values(), *SCHEDULES.values()]
    bare = {re.sub(r"[123]D", "", row.__name__) for row in rows}
    words = {re.sub(r"[123]D", "", word) for word in re.findall(r"\w+", text)}
    assert bare - words == set()
