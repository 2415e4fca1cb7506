from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import sys
import threading
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from corecur.bundle import write
from corecur.bundle.layout import BUNDLE, CHECKPOINT
from corecur.bundle.open import open_checkpoint, open_untrusted
from corecur.bundle.tensor_file import table_of, tensor_content
from corecur.bundle.write import as_json, write_bundle, write_file
from corecur.errors import BundleError, RunError

WEIGHTS = {"b": torch.arange(3), "a": torch.linspace(0, 1, 6).reshape(2, 3)}
EVERYTHING: dict[str, Any] = {
    "model": {"kind": "none", "größe": [1, 2.5, None]},
    "weights": WEIGHTS,
    "preprocess": {"mean": 0.5},
    "labels": ["Hund", "猫", "[[["],
    "card": "# A card\n",
}
both_forms = pytest.mark.parametrize("name", ["m", "m.zip", "m.corecur"])


def contents(path: Path) -> dict[str, bytes]:
    if path.is_dir():
        return {member.name: member.read_bytes() for member in path.iterdir()}
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@both_forms
def test_what_is_written_is_what_is_read(tmp_path: Path, name: str) -> None:
    path = write_bundle(tmp_path / "deep" / "er" / name, **EVERYTHING)
    found = open_untrusted(path)
    assert (found.model, found.preprocess, found.labels, found.card) == (
        EVERYTHING["model"], EVERYTHING["preprocess"], EVERYTHING["labels"], EVERYTHING["card"]
    )  # fmt: skip
    weights = found.tensors(table_of(WEIGHTS))
    assert all(torch.equal(weights[key], WEIGHTS[key]) for key in WEIGHTS)
    assert os.listdir(path.parent) == [name]


@both_forms
def test_the_manifest_promises_size_and_hash_of_every_member(tmp_path: Path, name: str) -> None:
    members = contents(write_bundle(tmp_path / name, **EVERYTHING))
    assert set(members) == set(BUNDLE.members)
    manifest = json.loads(members.pop("manifest.json"))
    assert manifest == {
        "format": "corecur",
        "version": 1,
        "members": {n: {"size": len(b), "sha256": hashlib.sha256(b).hexdigest()} for n, b in members.items()},
    }


@both_forms
def test_optional_members_are_left_out(tmp_path: Path, name: str) -> None:
    path = write_bundle(tmp_path / name, model={}, weights=WEIGHTS)
    assert sorted(contents(path)) == ["manifest.json", "model.json", "weights.safetensors"]
    found = open_untrusted(path)
    assert (found.preprocess, found.labels, found.card) == (None, None, "")


@both_forms
def test_the_same_model_gives_the_same_bytes(tmp_path: Path, name: str) -> None:
    first, second = (write_bundle(tmp_path / folder / name, **EVERYTHING) for folder in ("1", "2"))
    assert contents(first) == contents(second)
    if first.is_file():
        assert first.read_bytes() == second.read_bytes()


def test_a_zip_only_stores_plain_files(tmp_path: Path) -> None:
    with zipfile.ZipFile(write_bundle(tmp_path / "m.zip", **EVERYTHING)) as archive:
        for entry in archive.infolist():
            assert entry.compress_type == zipfile.ZIP_STORED
            assert stat.S_ISREG(entry.external_attr >> 16)
            assert entry.date_time == (1980, 1, 1, 0, 0, 0)


@both_forms
def test_others_may_read_it(tmp_path: Path, name: str) -> None:
    path = write_bundle(tmp_path / name, **EVERYTHING)
    assert stat.S_IMODE(path.stat().st_mode) == (0o755 if path.is_dir() else 0o644)


def test_shared_and_strided_tensors_are_written_whole(tmp_path: Path) -> None:
    shared = torch.arange(6.0).reshape(2, 3)
    weights = {"one": shared, "two": shared, "turned": shared.T, "part": shared[:, 1]}
    found = open_untrusted(write_bundle(tmp_path / "m", model={}, weights=weights)).tensors(table_of(weights))
    assert all(torch.equal(found[key], weights[key]) for key in weights)


@both_forms
def test_a_bundle_makes_way_for_the_next(tmp_path: Path, name: str) -> None:
    write_bundle(tmp_path / name, **EVERYTHING)
    path = write_bundle(tmp_path / name, model={"kind": "new"}, weights=WEIGHTS)
    assert open_untrusted(path).model == {"kind": "new"}
    assert open_untrusted(path).labels is None
    assert os.listdir(tmp_path) == [name]
    assert (tmp_path / "empty").mkdir() is None
    assert open_untrusted(write_bundle(tmp_path / "empty", **EVERYTHING)).card


def _folder_of_something_else(path: Path) -> None:
    path.mkdir()
    (path / "thesis.txt").write_text("precious")


def _folder_with_a_manifest_of_something_else(path: Path) -> None:
    _folder_of_something_else(path)
    (path / "manifest.json").write_text("{}")


def _archive_of_something_else(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("thesis.txt", "precious")


OTHERS = {
    "a file": ("m", lambda path: path.write_text("precious")),
    "a folder": ("m", _folder_of_something_else),
    "a folder with a manifest": ("m", _folder_with_a_manifest_of_something_else),
    "a file that ends in zip": ("m.zip", lambda path: path.write_text("precious")),
    "an empty file": ("m.zip", lambda path: path.write_text("")),
    "another archive": ("m.zip", _archive_of_something_else),
    "a folder that ends in zip": ("m.zip", _folder_of_something_else),
    "a link": ("m", lambda path: path.symlink_to(path.parent)),
}


@pytest.mark.parametrize("other", OTHERS)
def test_something_else_is_never_overwritten(tmp_path: Path, other: str) -> None:
    name, make = OTHERS[other]
    make(tmp_path / name)
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    with pytest.raises(RunError, match="something else where the model file should go"):
        write_bundle(tmp_path / name, **EVERYTHING)
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match=r"(?s)cannot be written.*file.m"):
        write_bundle(tmp_path / "file" / "m", **EVERYTHING)
    with pytest.raises(RunError, match="cannot be written"):
        write_bundle(tmp_path / ("x" * 300), **EVERYTHING)


@both_forms
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_where_writing_fails_nothing_is_left_and_the_old_one_stays(
    tmp_path: Path, name: str, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_bundle(tmp_path / name, **EVERYTHING)
    before = contents(path)

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("corecur.bundle.write.exchanged", lambda *_: False)
    monkeypatch.setattr(os, step, full)
    with pytest.raises(RunError, match=r"(?s)cannot be written.*No space left"):
        write_bundle(path, model={"kind": "new"}, weights=WEIGHTS)
    with pytest.raises(RunError):
        write_bundle(tmp_path / f"new{name}", model={"kind": "new"}, weights=WEIGHTS)
    monkeypatch.undo()
    assert contents(path) == before
    assert os.listdir(tmp_path) == [name]


def test_the_old_folder_comes_back_where_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_bundle(tmp_path / "m", **EVERYTHING)
    replace, calls = os.replace, []

    def second_fails(source: Any, target: Any) -> None:
        calls.append(target)
        if len(calls) == 2:
            raise OSError(5, "Input/output error")
        replace(source, target)

    monkeypatch.setattr("corecur.bundle.write.exchanged", lambda *_: False)
    monkeypatch.setattr(os, "replace", second_fails)
    with pytest.raises(RunError, match="Input/output error"):
        write_bundle(path, model={"kind": "new"}, weights=WEIGHTS)
    assert open_untrusted(path).labels == EVERYTHING["labels"]
    assert os.listdir(tmp_path) == ["m"]


def test_where_the_system_cannot_exchange_the_old_one_is_moved_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bundle(tmp_path / "m", **EVERYTHING)
    monkeypatch.setattr("corecur.bundle.write.exchanged", lambda *_: False)
    assert open_untrusted(write_bundle(tmp_path / "m", model={"kind": "new"}, weights=WEIGHTS)).model["kind"] == "new"
    assert os.listdir(tmp_path) == ["m"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no exchange of names")
def test_a_reader_never_finds_a_folder_without_a_bundle(tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "m", **EVERYTHING)
    done, lost = threading.Event(), []

    def look() -> None:
        while not done.is_set():
            if not path.exists():
                lost.append(time.time())

    watching = threading.Thread(target=look)
    watching.start()
    for number in range(50):
        write_bundle(path, model={"number": number}, weights=WEIGHTS)
    done.set()
    watching.join()
    assert lost == []


def test_names_become_durable_after_what_they_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    fsync, exchanged, replace = os.fsync, write.exchanged, os.replace

    def synced(descriptor: int) -> None:
        steps.append("sync " + Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        fsync(descriptor)

    def renamed(do: Any) -> Any:
        def rename(*paths: Path) -> Any:
            steps.append(f"rename to {Path(paths[1]).name}")
            return do(*paths)

        return rename

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed(replace))
    monkeypatch.setattr(write, "exchanged", renamed(exchanged))
    members = ["sync model.json", "sync weights.safetensors", "sync manifest.json", "sync new"]
    for _ in range(2):
        write_bundle(tmp_path / "m", model={}, weights=WEIGHTS)
        assert steps == [*members, "rename to m", f"sync {tmp_path.name}"]
        steps.clear()
    write_bundle(tmp_path / "m.zip", model={}, weights=WEIGHTS)
    assert steps[0].startswith("sync .m.zip.")
    assert steps[1:] == ["rename to m.zip", f"sync {tmp_path.name}"]


def test_an_archive_is_what_the_standard_library_writes(tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "m.zip", **EVERYTHING)
    with zipfile.ZipFile(tmp_path / "theirs.zip", "w") as archive:
        for name, content in contents(path).items():
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, content)
    assert path.read_bytes() == (tmp_path / "theirs.zip").read_bytes()


def test_too_much_for_one_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "MOST_BYTES", 100)
    with pytest.raises(RunError, match="less than 4 GiB; save it as a folder"):
        write_bundle(tmp_path / "m.zip", **EVERYTHING)
    assert os.listdir(tmp_path) == []


def test_a_checkpoint_is_written_and_read_through_the_same_door(tmp_path: Path) -> None:
    state = {"step": 7, "history": [{"loss": 0.1 + 0.2}]}
    write.write_members(
        tmp_path, CHECKPOINT, {"state.json": as_json(state), "tensors.safetensors": tensor_content(WEIGHTS)}
    )
    found = open_checkpoint(tmp_path)
    assert found.state == state
    assert found.tensor_table == table_of(WEIGHTS)
    tensors = found.tensors(table_of(WEIGHTS))
    assert all(torch.equal(tensors[key], WEIGHTS[key]) for key in WEIGHTS)
    for opener, path in ((open_untrusted, tmp_path), (open_checkpoint, write_bundle(tmp_path / "m", **EVERYTHING))):
        with pytest.raises(BundleError, match="has no member"):
            opener(path)
    shutil.rmtree(tmp_path / "m")
    (tmp_path / "COMMIT").unlink()
    with pytest.raises(BundleError, match="lacks COMMIT"):
        open_checkpoint(tmp_path)


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def fails(file: Any) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_file(tmp_path / "f", fails)
    assert os.listdir(tmp_path) == []
    write_file(tmp_path / "f", lambda file: file.write(b"whole"))
    assert (tmp_path / "f").read_bytes() == b"whole"


def test_json_without_numbers_that_json_has_not() -> None:
    assert as_json({"ä": 1}) == '{\n "ä": 1\n}\n'.encode()
    with pytest.raises(ValueError, match="not JSON compliant"):
        as_json({"a": float("nan")})
