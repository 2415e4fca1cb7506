"""Run folders on disks that are full, read-only or gone."""

from __future__ import annotations

import errno
import json
import os
import re
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corecur.errors import RunError
from corecur.run_folder import RunFolder, free_space


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunFolder]:
    """A run, open."""
    with RunFolder.create(tmp_path / "runs", "digits", {"seed": 7}) as made:
        yield made


def rows(run: RunFolder) -> list[Any]:
    """What stands in ``metrics.jsonl``."""
    return [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB, which only a privileged user can make."""
    disk = tmp_path / "disk"
    disk.mkdir()
    line = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(line, check=False, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a small file system")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill(disk: Path) -> Path:
    """Take all the space that is left."""
    with pytest.raises(OSError, match="No space left"), (disk / "full").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return disk / "full"


def test_a_full_disk_ends_no_training_and_loses_no_line(small_disk: Path) -> None:
    heard: list[str] = []
    with RunFolder.create(small_disk, "a", {"seed": 1}, tell=heard.append) as run:
        run.log("before " + "x" * 1000)
        full = fill(small_disk)
        for epoch in range(1, 200):
            run.log_metrics({"epoch": epoch, "loss": 1.5})
            run.log(f"line {epoch} " + "y" * 100)
        assert run.epochs == 199
        assert [re.sub(".*/", "", line) for line in heard] == [
            "metrics.jsonl cannot be written now (No space left on device); it is kept, and the work goes on",
            "log.txt cannot be written now (No space left on device); it is kept, and the work goes on",
        ]
        with pytest.raises(RunError, match=r"(?s)cannot be written.*No space left"):
            run.write_config({"seed": 2, "more": "z" * 10_000})
        assert run.config == {"seed": 1}
        for path in run.path.iterdir():
            assert path.read_bytes().endswith(b"\n") or path.name == "lock" or not path.stat().st_size
        full.unlink()
        run.log_metrics({"epoch": 200})
        run.write_config({"seed": 2})
    assert [row["epoch"] for row in rows(run)] == list(range(1, 201))
    log = (run.path / "log.txt").read_text().splitlines()
    assert [line.split()[2] for line in log[1:]] == [str(epoch) for epoch in range(1, 200)]
    assert sorted(os.listdir(run.path)) == ["config.json", "log.txt", "metrics.jsonl"]


def test_rows_replaced_on_a_full_disk_are_written_later(small_disk: Path) -> None:
    with RunFolder.create(small_disk, "a", {}, tell=lambda line: None) as run:
        for epoch in range(1, 4):
            run.log_metrics({"epoch": epoch})
        full = fill(small_disk)
        run.replace_metrics([{"epoch": 1}])
        run.log_metrics({"epoch": 2, "again": 1.0})
        assert [row["epoch"] for row in rows(run)] == [1, 2, 3]
        full.unlink()
    assert rows(run) == [{"epoch": 1}, {"epoch": 2, "again": 1.0}]


def test_no_run_is_left_where_the_disk_is_full(small_disk: Path) -> None:
    fill(small_disk)
    with pytest.raises(RunError, match=r"(?s)run folder cannot be made.*No space left.*--out"):
        RunFolder.create(small_disk, "a", {"text": "x" * 10_000})
    assert os.listdir(small_disk) == ["full"]
    assert free_space(small_disk / "not" / "yet") == 0


def test_a_disk_that_becomes_read_only(small_disk: Path) -> None:
    heard: list[str] = []
    run = RunFolder.create(small_disk, "a", {"seed": 1}, tell=heard.append)
    run.log("begun")
    run.close()  # or the system would refuse to
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    run.log("going on")
    run.log_metrics({"epoch": 1})
    assert len(heard) == 2 and "Read-only file system" in heard[0]
    for refused in (lambda: run.write_config({}), lambda: RunFolder.create(small_disk, "b")):
        with pytest.raises(RunError, match="Read-only file system|no permission"):
            refused()
    with pytest.raises(RunError, match="Read-only file system"):
        RunFolder.open(run.path)
    assert "begun" in (run.path / "log.txt").read_text()


def test_a_process_without_free_file_numbers_goes_on(run: RunFolder) -> None:
    heard: list[str] = []
    run.tell = heard.append
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 200), hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        run.log_metrics({"epoch": 1})
        run.replace_metrics([{"epoch": 1}])
        run.log_metrics({"epoch": 2})
        with pytest.raises(RunError, match="Too many open files"):
            run.write_config({})
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for number in taken:
            os.close(number)
    assert [line.partition("now ")[2] for line in heard] == ["(Too many open files); it is kept, and the work goes on"]
    run.log_metrics({"epoch": 3})
    assert [row["epoch"] for row in rows(run)] == [1, 2, 3]


def test_it_is_told_again_after_the_disk_took_something(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    for _ in range(2):
        with monkeypatch.context() as failing:
            failing.setattr(os, "write", refuse)
            run.log("a")
            run.log("b")
        run.log("c")
    told = capsys.readouterr().err.splitlines()
    assert (
        told
        == [f"! {run.path / 'log.txt'} cannot be written now (Input/output error); it is kept, and the work goes on"]
        * 2
    )
    assert [line[-1] for line in (run.path / "log.txt").read_text().splitlines()] == list("abcabc")


def test_a_folder_deleted_in_the_middle_is_said_to_be_gone(tmp_path: Path) -> None:
    with (
        pytest.raises(RunError, match=r"(?s)the run folder is gone.*where: +.*-a") as caught,
        RunFolder.create(tmp_path, "a", {}) as run,
    ):
        run.log_metrics({"epoch": 1})
        shutil.rmtree(run.path)
        run.log_metrics({"epoch": 2})
    assert caught.value.__notes__ == ["  left:     nothing; the folder is gone"]
    assert os.listdir(tmp_path) == []
    for work in (run.log, lambda _: run.replace_metrics([])):
        with pytest.raises(RunError, match="the run folder is gone"):
            work("x")


def test_files_deleted_in_the_middle_come_back(run: RunFolder) -> None:
    run.log("a")
    (run.path / "log.txt").unlink()
    (run.path / "lock").unlink()
    run.log("b")
    assert re.fullmatch(r"\S+ b\n", (run.path / "log.txt").read_text())
