"""Checkpoints on a real disk: damaged, half written, pointed at wrongly, short of room (T1-T5, K12, K13, Q04-Q07)."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from corecur.engine import checkpoint
from corecur.engine.checkpoint import CheckpointFolder
from corecur.engine.packing import frozen
from corecur.engine.training_state import TrainingState
from corecur.errors import BundleError, RunError
from tests.engine.short_training import batches, trainer

FILES = ("COMMIT", "state.json", "tensors.safetensors")


@pytest.fixture(scope="module")
def values() -> dict[str, Any]:
    train = trainer()
    train.begin(batches(), epochs=3)
    train.train_step(next(iter(batches())))
    return dict(TrainingState.of(train).values)


def at(values: dict[str, Any], step: int) -> TrainingState:
    values = frozen(values)
    values["position"]["step"] = step
    values["network"]["5.bias"].fill_(step)
    return TrainingState(values)


def write(folder: CheckpointFolder, values: dict[str, Any], *steps: int, best: int | None = None) -> None:
    for step in steps:
        folder.write(at(values, step), identity={"n": 1}, environment={}, best=step == best)


@pytest.fixture
def folder(tmp_path: Path, values: dict[str, Any]) -> CheckpointFolder:
    """Two checkpoints of steps 10 and 20, and what is said in ``folder.told``."""
    told: list[str] = []
    held = CheckpointFolder(tmp_path / "kept", tell=told.append)
    held.told = told  # type: ignore[attr-defined]
    write(held, values, 10, 20)
    return held


def newest(folder: CheckpointFolder, **options: int) -> int:
    """The step of the newest, whose content is looked at too."""
    found = CheckpointFolder(folder.path, tell=folder.tell).newest(**options)
    assert found is not None and found.state.step == found.step
    assert float(found.state.values["network"]["5.bias"][0]) == found.step
    return found.step


def told(folder: CheckpointFolder) -> str:
    return "\n".join(folder.told)  # type: ignore[attr-defined]


def test_what_is_written_is_read(folder: CheckpointFolder) -> None:
    assert newest(folder) == 20 and told(folder) == ""
    assert sorted(p.name for p in folder.path.iterdir()) == ["latest", "step-10", "step-20"]
    assert (folder.path / "latest").read_text() == "step-20\n"
    assert sorted(p.name for p in folder.folder(20).iterdir()) == sorted(FILES)
    commit = json.loads((folder.folder(20) / "COMMIT").read_text())
    assert {name: entry["size"] for name, entry in commit["members"].items()} == {
        name: (folder.folder(20) / name).stat().st_size for name in FILES[1:]
    }


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def grown(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def linked(path: Path) -> None:
    shutil.move(path, path.parent.parent / "elsewhere")
    path.symlink_to("../elsewhere")


DAMAGE: tuple[Callable[[Path], object], ...] = (truncated, emptied, flipped, grown, linked, Path.unlink)


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda d: d.__name__)
@pytest.mark.parametrize("name", FILES)
def test_damage_falls_back_to_the_one_before_and_says_so(
    folder: CheckpointFolder, name: str, damage: Callable[[Path], object]
) -> None:
    damage(folder.folder(20) / name)
    assert newest(folder) == 10
    without_commit = name == "COMMIT" and damage is Path.unlink  # then it never was one
    assert ("checkpoint step-20 is passed over" in told(folder)) != without_commit


def test_every_bit_of_a_small_file_counts(folder: CheckpointFolder) -> None:
    for name in FILES:
        path = folder.folder(20) / name
        whole = path.read_bytes()
        for place in range(0, len(whole), max(1, len(whole) // 40)):
            broken = bytearray(whole)
            broken[place] ^= 1 << place % 8
            path.write_bytes(broken)
            with pytest.raises(BundleError):
                folder.read(20)
        path.write_bytes(whole)
    assert newest(folder) == 20


def test_a_newer_format_is_passed_over_by_that_name(folder: CheckpointFolder) -> None:
    commit = folder.folder(20) / "COMMIT"
    commit.write_text(commit.read_text().replace('"version": 1', '"version": 2'))
    assert newest(folder) == 10 and "version 2" in told(folder) and "version 1" in told(folder)


def test_none_left_but_damaged_ones_is_an_error(folder: CheckpointFolder) -> None:
    flipped(folder.folder(10) / "state.json")
    truncated(folder.folder(20) / "tensors.safetensors")
    with pytest.raises(BundleError, match="none that can be used") as refused:
        newest(folder)
    assert refused.value.code == "damaged" and "step-10" in told(folder) and "step-20" in told(folder)
    assert CheckpointFolder(folder.path.parent / "nothing").newest() is None


@pytest.mark.parametrize(
    "content",
    [None, b"", b"step-99\n", b"step-10/../step-10\n", b"../../other/step-9\n", b"/etc/passwd", b"latest\n",
     b"\xff" * 99],
)  # fmt: skip
@pytest.mark.parametrize("name", ["latest", "best"])
def test_pointers_lead_nowhere_else(
    folder: CheckpointFolder, values: dict[str, Any], name: str, content: bytes | None
) -> None:
    other = CheckpointFolder(folder.path.parent / "other")
    write(other, values, 9)
    path = folder.path / name
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_bytes(content)
    assert newest(folder) == 20 and folder.best() is None
    write(folder, values, 30)  # and a new one is written over it
    assert newest(folder) == 30 and (folder.path / "latest").read_text() == "step-30\n"
    assert newest(other) == 9


def test_a_pointer_to_itself_and_a_link_into_another_run(folder: CheckpointFolder, values: dict[str, Any]) -> None:
    other = CheckpointFolder(folder.path.parent / "other")
    write(other, values, 90)
    (folder.path / "latest").unlink()
    (folder.path / "latest").symlink_to("latest")
    (folder.path / "best").mkdir()
    (folder.path / "step-90").symlink_to("../other/step-90")
    assert folder.steps() == [10, 20] and newest(folder) == 20 and folder.best() is None


def test_a_checkpoint_under_a_wrong_name(folder: CheckpointFolder) -> None:
    folder.folder(20).rename(folder.folder(30))
    shutil.copytree(folder.folder(10), folder.path / "step-007")
    assert folder.steps() == [10, 30] and newest(folder) == 10 and "of step 20, not 30" in told(folder)


def test_pruning_keeps_the_newest_two_and_the_best(folder: CheckpointFolder, values: dict[str, Any]) -> None:
    write(folder, values, 30, 40, 50, best=30)
    assert folder.steps() == [30, 40, 50] and folder.best() == 30
    write(folder, values, 60, best=60)
    assert folder.steps() == [50, 60] and folder.best() == 60


def test_a_best_that_is_written_late_is_not_the_latest(folder: CheckpointFolder, values: dict[str, Any]) -> None:
    write(folder, values, 15, best=15)
    assert (folder.path / "latest").read_text() == "step-20\n" and newest(folder) == 20
    assert folder.steps() == [10, 15, 20] and folder.best() == 15


def test_a_damaged_newer_one_is_no_reason_to_remove_a_good_one(
    folder: CheckpointFolder, values: dict[str, Any]
) -> None:
    flipped(folder.folder(20) / "state.json")
    write(folder, values, 15)
    assert newest(folder) == 15 and newest(folder, skip=1) == 10


def test_further_back(folder: CheckpointFolder, values: dict[str, Any]) -> None:
    assert [newest(folder, skip=skip) for skip in range(4)] == [20, 10, 10, 10]
    flipped(folder.folder(10) / "state.json")
    assert newest(folder, skip=1) == 20


def test_a_set_back_forgets_what_came_after(folder: CheckpointFolder) -> None:
    folder.forget_after(10)
    assert folder.steps() == [10]


def test_leftovers_of_a_killed_writer_go(folder: CheckpointFolder) -> None:
    shutil.copytree(folder.folder(20), folder.path / "step-30.tmp-1-abc")
    (folder.path / ".latest.x1").write_bytes(b"step")
    (folder.path / "notes.txt").write_text("mine")
    assert folder.steps() == [10, 20]
    folder.clean()
    assert sorted(p.name for p in folder.path.iterdir()) == ["latest", "notes.txt", "step-10", "step-20"]


def test_the_same_step_again(folder: CheckpointFolder, values: dict[str, Any]) -> None:
    flipped(folder.folder(20) / "tensors.safetensors")
    write(folder, values, 20)
    assert newest(folder) == 20
    assert sorted(p.name for p in folder.path.iterdir()) == ["latest", "step-10", "step-20"]


@pytest.mark.parametrize("part", ["network", "optimizer"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_not_finite_is_never_kept(
    folder: CheckpointFolder, values: dict[str, Any], part: str, value: float
) -> None:
    state = at(values, 30)
    place = state.values["network"]["1.running_var"] if part == "network" else None
    if place is None:
        place = state.values["optimizer"]["states"][2]["exp_avg_sq"]
    place[0] = value
    with pytest.raises(RunError, match=r"(running_var|exp_avg_sq of weight 2 in the optimizer) holds NaN or infinity"):
        folder.write(state, identity={}, environment={})
    assert newest(folder) == 20 and folder.steps() == [10, 20]


def kept(folder: CheckpointFolder) -> dict[str, bytes]:
    return {str(p.relative_to(folder.path)): p.read_bytes() for p in folder.path.rglob("*") if p.is_file()}


def test_a_full_disk_is_seen_before(
    folder: CheckpointFolder, values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = kept(folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 9, 1))  # type: ignore[attr-defined]
    with pytest.raises(OSError) as refused:
        write(folder, values, 30)
    assert refused.value.errno == errno.ENOSPC and kept(folder) == before


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS, errno.EMFILE])
@pytest.mark.parametrize("call", ["write_members", "write_file", "sync_folder", "_read"])
def test_whatever_fails_leaves_the_old_ones(
    folder: CheckpointFolder, values: dict[str, Any], monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    before = kept(folder)
    real = getattr(checkpoint, call)

    def failing(*args: Any, **options: Any) -> Any:
        if call == "write_members":  # with some of it on the disk already
            real(*args, **options)
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(checkpoint, call, failing)
    with pytest.raises(OSError):
        write(folder, values, 30)
    monkeypatch.undo()
    after = kept(folder)
    assert {name: after.get(name) for name in before} == before
    assert [p.name for p in folder.path.iterdir() if "tmp" in p.name] == []
    assert newest(folder) == (20 if call in ("write_members", "_read") else 30)  # named, though not all was done
    write(folder, values, 40)
    assert newest(folder) == 40


def test_a_system_that_cannot_exchange(
    folder: CheckpointFolder, values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "exchanged", lambda first, second: False)
    write(folder, values, 20)
    assert newest(folder) == 20 and folder.steps() == [10, 20]


def test_a_folder_that_cannot_be_read(folder: CheckpointFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> Any:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(RunError, match="(?s)cannot be read.*Permission denied"):
        folder.newest()
