"""Things in the place of files (links in circles, pipes, folders, archives), and files beyond all memory."""

from __future__ import annotations

import io
import os
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from corecur.data import memory, samples
from corecur.data.file_bytes import read_bytes
from corecur.data.samples import Sample, gather_sample
from corecur.errors import DataError
from tests.conftest import write_shades
from tests.robustness.hostile_files import motions, texts
from tests.robustness.memory_of import cost_of

Command = Callable[..., Any]
QUICK = ("--epochs", 1, "--threads", 1)


def photos(root: Path) -> Path:
    return write_shades(root, {"dark": 8, "light": 8})


FOLDERS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "pictures": (photos, ".png"),
    "texts": (texts, ".txt"),
    "series": (motions, ".csv"),
}
INTRUDERS: dict[str, Callable[[Path], object]] = {
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a pipe": lambda path: os.mkfifo(path),
    "an empty pipe, first of all": lambda path: os.mkfifo(path.with_stem("00")),
}


@pytest.mark.parametrize("intruder", INTRUDERS)
@pytest.mark.parametrize("kind", FOLDERS)
def test_what_is_no_file_is_named_and_can_be_set_aside(
    command: Command, tmp_path: Path, kind: str, intruder: str
) -> None:
    make, suffix = FOLDERS[kind]
    root = make(tmp_path / "set")
    first = sorted(root.iterdir())[0]
    INTRUDERS[intruder](first / f"x{suffix}")
    name = f"00{suffix}" if "first" in intruder else f"x{suffix}"
    refused = command("train", root, *QUICK)
    assert refused.exit_code == 1 and f"{first.name}/{name}" in refused.stderr, refused.stderr
    learned = command("train", root, *QUICK, "--skip-bad", "--show-recipe")
    assert learned.exit_code == 0, learned.stderr
    assert f"{first.name}/{name}" in learned.stdout and "set aside" in learned.stdout


@pytest.mark.parametrize("kind", FOLDERS)
def test_circles_of_folders_and_folders_with_the_name_of_a_file_do_no_harm(
    command: Command, tmp_path: Path, kind: str
) -> None:
    make, suffix = FOLDERS[kind]
    root = make(tmp_path / "set")
    before = command("train", root, *QUICK, "--show-recipe").stdout.splitlines()[0]
    first = sorted(root.iterdir())[0]
    (first / "up").symlink_to("..")
    (first / "round.part").symlink_to("round.part")
    (root / "loop").symlink_to("loop")
    (first / f"folder{suffix}").mkdir()
    after = command("train", root, *QUICK, "--show-recipe")
    assert after.exit_code == 0 and after.stdout.splitlines()[0] == before, after.stderr


@pytest.mark.parametrize("name", ["a.csv", "a.txt", "a.conll", "a.ts", "a.npz", "a.npy", "a.jsonl", "a.png", "a"])
def test_a_pipe_is_no_source(command: Command, tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    result = command("train", tmp_path / name, *QUICK)
    assert result.exit_code == 1 and name in result.stderr and "Traceback" not in result.stderr


def test_a_pipe_is_no_question(command: Command, trained: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    result = command("predict", trained, tmp_path / "a.png")
    assert result.exit_code == 1 and "not a file" in result.stderr


# D14: what cannot be held is refused by its size, before it is read.

READ = """
import torch
from corecur.learners.tasks import TASKS, find_task
def work(source): TASKS[find_task(source)].learner(epochs=1).read(source)"""
BEGINNINGS = {
    "table.csv": "time,x\n2024-01-01,1.5\n2024-01-02,2.5\n2024-01-03,0.5\n",
    "panel.csv": "id,x,label\n1,2.5,a\n1,3.5,a\n2,1.5,b\n2,0.5,b\n",
    "reviews.csv": "text,label\nhow very nice,a\nhow very dull,b\n",
    "pictures.csv": "path,label\na.png,cat\nb.png,dog\n",
    "novel.txt": "It was a dark and stormy night.\nAnd so on.\n",
    "words.conll": "Anna B-PER\nsees O\n\nBerlin B-LOC\n",
}


def test_sources_beyond_memory_are_refused_unread(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in BEGINNINGS]
    for path in paths:
        path.write_text(BEGINNINGS[path.name], "utf-8")
        os.truncate(path, 200 * 2**30)  # takes no room on the disk
    cost = cost_of(READ, [str(path) for path in paths])
    for path, refusal in zip(paths, cost.refusals, strict=True):
        assert refusal is not None and "too large for the free memory" in refusal and path.name in refusal
    assert cost.seconds < 5 and cost.megabytes < 100, cost


def test_the_size_that_fits_depends_on_what_is_made_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100)
    monkeypatch.setattr(memory, "_system_memory", lambda: 800)
    monkeypatch.setattr(memory, "_control_group_memory", list)
    assert len(read_bytes(tmp_path / "a", copies=8)) == 100
    with pytest.raises(DataError, match="at most 88"):
        read_bytes(tmp_path / "a", copies=9)


# D13: nothing is unpacked but what is fetched by name, and that only if its sum is the published one.


def hostile_tar(path: Path) -> Path:
    """A tar archive with a path out of its folder, a link and a file through it."""
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as archive:
        for name, target in (("../outside.txt", ""), ("link", "/etc"), ("link/through.txt", "")):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = (tarfile.SYMTYPE, target) if target else (tarfile.REGTYPE, "")
            entry.size = 0 if target else 4
            archive.addfile(entry, io.BytesIO(b"evil"))
    return path


def hostile_zip(path: Path) -> Path:
    """A zip archive with a path out of its folder."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../outside.txt", "evil")
        archive.writestr("cat/1.png", "")
    return path


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tgz"])
def test_an_archive_is_no_source(command: Command, tmp_path: Path, name: str) -> None:
    (tmp_path / "in").mkdir()
    path = (hostile_zip if name.endswith("zip") else hostile_tar)(tmp_path / "in" / name)
    before = sorted(tmp_path.rglob("*"))
    result = command("train", path, *QUICK)
    assert result.exit_code == 1 and name in result.stderr and "unpack it" in result.stderr
    assert sorted(tmp_path.rglob("*")) == before


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the address that it is served at."""

    class Silent(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    (tmp_path / "served").mkdir()
    with HTTPServer(("127.0.0.1", 0), partial(Silent, directory=str(tmp_path / "served"))) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield tmp_path / "served", f"http://127.0.0.1:{found.server_port}/"
        found.shutdown()


def test_an_archive_of_another_sum_is_never_unpacked(
    server: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, address = server
    hostile_tar(folder / "cifar-10-binary.tar.gz")
    published = samples.PUBLISHED["cifar10"]
    monkeypatch.setitem(samples.PUBLISHED, "cifar10", Sample(address, published.files, published.classes))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(samples.FOLDER_VARIABLE, raising=False)
    with pytest.raises(DataError, match="not the one that was published"):
        gather_sample("cifar10")
    assert not [path for path in tmp_path.rglob("*") if path.name in ("outside.txt", "link", "through.txt")]
