"""The door for files of strangers: each basic attack is refused with the rule it breaks, and nothing runs."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from corecur.bundle.layout import BUNDLE, Limit
from corecur.bundle.open import open_untrusted
from corecur.bundle.strict_json import parse_json
from corecur.bundle.tensor_file import table_of
from corecur.bundle.write import as_json, write_bundle
from corecur.errors import BundleError

WEIGHTS = {"w": torch.linspace(0, 1, 6).reshape(2, 3), "n": torch.arange(2)}
MODEL = {"kind": "none", "layers": [{"a": 1}]}
Members = dict[str, bytes]


def good_members(**changed: bytes) -> Members:
    """The members of a good bundle; the manifest fits whatever is changed."""
    members = {"model.json": as_json(MODEL), "weights.safetensors": save(WEIGHTS), "labels.json": as_json(["a", "b"])}
    members |= {name.replace("__", "."): content for name, content in changed.items()}
    return members | {"manifest.json": manifest_of(members)}


def manifest_of(members: Members, **changed: Any) -> bytes:
    entries = {n: {"size": len(b), "sha256": hashlib.sha256(b).hexdigest()} for n, b in members.items()}
    return as_json({"format": "corecur", "version": 1, "members": entries} | changed)


def as_folder(path: Path, members: Members) -> Path:
    path.mkdir()
    for name, content in members.items():
        (path / name).write_bytes(content)
    return path


def as_zip(path: Path, members: Members, *, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression=compression) as archive:
        for name, content in members.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, content, compress_type=compression)
    return path


def refused(path: Path, *, weights: Any = None) -> str:
    """The rule that opening and reading everything breaks; ``weights`` are those expected, where that matters."""
    with pytest.raises(BundleError) as caught:
        found = open_untrusted(path)
        found.tensors(found.tensor_table if weights is None else table_of(weights))
    assert path.name in str(caught.value)
    return caught.value.code


FORMS: dict[str, Callable[[Path, Members], Path]] = {
    "folder": lambda path, members: as_folder(path / "m", members),
    "zip": lambda path, members: as_zip(path / "m.zip", members),
}
both_forms = pytest.mark.parametrize("form", FORMS)


@both_forms
def test_a_good_one_opens(tmp_path: Path, form: str) -> None:
    found = open_untrusted(str(FORMS[form](tmp_path, good_members())))
    assert found.model == MODEL
    assert found.labels == ["a", "b"]
    assert found.sizes["weights.safetensors"] == len(save(WEIGHTS))
    assert set(found.tensors(table_of(WEIGHTS))) == {"w", "n"}


# containers


@both_forms
@pytest.mark.parametrize("member", sorted(good_members()))
def test_a_flipped_bit_in_any_member(tmp_path: Path, form: str, member: str) -> None:
    members = good_members()
    path = FORMS[form](tmp_path, members)
    content = members[member]
    for place in (0, len(content) // 2, len(content) - 2):
        flipped = content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :]
        if form == "folder":
            (path / member).write_bytes(flipped)
        else:
            path.write_bytes((path.read_bytes()).replace(content, flipped))
        known = {"damaged", "bad-json", "bad-manifest", "other-version", "other-members", "bad-weights"}
        assert refused(path) in known


@both_forms
def test_a_flipped_bit_anywhere_is_seen(tmp_path: Path, form: str) -> None:
    path, rng = FORMS[form](tmp_path, good_members()), random.Random(0)
    files = [path] if path.is_file() else sorted(path.iterdir())
    for _ in range(100):
        file = rng.choice(files)
        content = file.read_bytes()
        place = rng.randrange(len(content))
        file.write_bytes(content[:place] + bytes([content[place] ^ (1 << rng.randrange(8))]) + content[place + 1 :])
        refused(path)
        file.write_bytes(content)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.7, 0.95, 0.999])
def test_a_truncated_file(tmp_path: Path, share: float) -> None:
    path = as_zip(tmp_path / "m.zip", good_members())
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert refused(path) == "not-a-bundle"


def test_a_truncated_member(tmp_path: Path) -> None:
    path = as_folder(tmp_path / "m", good_members())
    (path / "weights.safetensors").write_bytes(b"")
    assert refused(path) == "damaged"


@both_forms
@pytest.mark.parametrize("name", ["evil.py", "Model.json", "model.json.bak", "assets.h5"])
def test_an_extra_member(tmp_path: Path, form: str, name: str) -> None:
    assert refused(FORMS[form](tmp_path, good_members() | {name: b""})) == "unknown-member"


@both_forms
@pytest.mark.parametrize("name", ["manifest.json", "model.json", "weights.safetensors"])
def test_a_missing_member(tmp_path: Path, form: str, name: str) -> None:
    members = good_members()
    del members[name]
    assert refused(FORMS[form](tmp_path, members)) == "incomplete"


@both_forms
def test_a_member_the_manifest_does_not_know(tmp_path: Path, form: str) -> None:
    assert refused(FORMS[form](tmp_path, good_members() | {"card.md": b"hello"})) == "other-members"
    members = good_members()
    del members["labels.json"]
    (tmp_path / "second").mkdir()
    assert refused(FORMS[form](tmp_path / "second", members)) == "other-members"


@pytest.mark.parametrize("name", ["../x", "..", "a/../../x", "C:\\x", "sub/model.json", "model.json/"])
def test_names_that_lead_elsewhere(tmp_path: Path, name: str) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    assert refused(as_zip(inside / "m.zip", good_members() | {name: b"out"})) == "unknown-member"
    assert os.listdir(tmp_path) == ["inside"]
    assert os.listdir(inside) == ["m.zip"]


def test_an_absolute_name(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    assert refused(as_zip(tmp_path / "m.zip", good_members() | {str(marker): b"out"})) == "unknown-member"
    assert not marker.exists()


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_compressed_zip(tmp_path: Path, method: int) -> None:
    members = good_members(card__md=b"0" * 500_000)
    assert refused(as_zip(tmp_path / "m.zip", members, compression=method)) == "not-stored"


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_twice(tmp_path: Path) -> None:
    path = as_zip(tmp_path / "m.zip", good_members())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(archive.getinfo("model.json"), b"{}")
    assert refused(path) == "duplicate-member"


def test_an_encrypted_member(tmp_path: Path) -> None:
    path = as_zip(tmp_path / "m.zip", {"model.json": b"{}"})
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    assert refused(path) == "not-stored"


def test_links(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(as_json(["secret"]))
    path = as_folder(tmp_path / "m", good_members())
    (path / "labels.json").unlink()
    (path / "labels.json").symlink_to(secret)
    assert refused(path) == "not-a-file"
    (path / "labels.json").unlink()
    (path / "labels.json").hardlink_to(secret)
    assert refused(path) == "not-a-file"
    entry = zipfile.ZipInfo("labels.json")
    entry.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        archive.writestr(entry, str(secret))
    assert refused(tmp_path / "m.zip") == "not-a-file"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipes_and_folders_do_not_hang(tmp_path: Path) -> None:
    path = as_folder(tmp_path / "m", good_members())
    (path / "labels.json").unlink()
    os.mkfifo(path / "labels.json")
    assert refused(path) == "not-a-file"
    (path / "labels.json").unlink()
    (path / "labels.json").mkdir()
    assert refused(path) == "not-a-file"
    os.mkfifo(tmp_path / "pipe.zip")
    assert refused(tmp_path / "pipe.zip") == "not-a-file"


def test_no_file_and_an_unreadable_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused(tmp_path / "nothing.zip") == "no-file"
    path = as_folder(tmp_path / "m", good_members())

    def denied(*args: Any, **kwargs: Any) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", denied)
    assert refused(path) == "unreadable"


def test_a_member_larger_than_any_of_its_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BUNDLE.limits, "model.json", Limit(10, 10))  # type: ignore[arg-type]
    for form in FORMS:
        (tmp_path / form).mkdir()
        assert refused(FORMS[form](tmp_path / form, good_members())) == "too-large"


# other kinds of file under our names


class Marker:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("ending", [".corecur", ".zip", ".pt"])
def test_pickles_under_any_name_run_nothing(tmp_path: Path, ending: str) -> None:
    marker = tmp_path / "marker"
    plain, torchs = tmp_path / f"plain{ending}", tmp_path / f"torch{ending}"
    plain.write_bytes(pickle.dumps(Marker(marker)))
    torch.save({"w": Marker(marker)}, torchs)
    assert refused(plain) == "not-a-bundle"
    assert refused(torchs) in {"unknown-member", "odd-archive"}
    for member in ("model.json", "weights.safetensors", "labels.json"):
        folder = as_folder(tmp_path / f"{member}-{ending}", good_members(**{member: plain.read_bytes()}))
        assert refused(folder, weights=WEIGHTS) in {"bad-json", "bad-weights"}
    assert not marker.exists()


@pytest.mark.parametrize("content", [b"", b"x", b"\x7fELF" + bytes(500), b"<html></html>", b"PK\x05\x06" + bytes(18)])
def test_files_of_other_kinds(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.corecur"
    path.write_bytes(content)
    assert refused(path) in {"not-a-bundle", "incomplete"}


# the manifest


@pytest.mark.parametrize("version", [2, 999, 0, -1, "1", "1; rm", None, [1]])
def test_another_version(tmp_path: Path, version: Any) -> None:
    members = good_members()
    del members["manifest.json"]
    path = as_folder(tmp_path / "m", members | {"manifest.json": manifest_of(members, version=version)})
    assert refused(path) == "other-version"


@pytest.mark.parametrize(
    "manifest", [b"[]", b"{}", b'{"format": "corecur", "version": 1}', b"null", b'"x"', manifest_of({}, extra=1)]
)
def test_a_manifest_of_another_form(tmp_path: Path, manifest: bytes) -> None:
    assert refused(as_folder(tmp_path / "m", good_members() | {"manifest.json": manifest})) == "bad-manifest"


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        ({"size": 1}, "bad-manifest"),
        ({"size": 1, "sha256": "x", "path": "y"}, "bad-manifest"),
        (None, "bad-manifest"),
        ({"size": 1, "sha256": "0" * 64}, "damaged"),
    ],
)
def test_an_entry_that_does_not_fit(tmp_path: Path, entry: Any, code: str) -> None:
    members = good_members()
    manifest = json.loads(members["manifest.json"])
    manifest["members"]["model.json"] = entry
    assert refused(as_folder(tmp_path / "m", members | {"manifest.json": as_json(manifest)})) == code


# JSON

BAD_JSON = {
    "a key twice": (b'{"a": 1, "a": 2}', "duplicate-key"),
    "a key twice inside": (b'{"x": [{"a": 1, "a": 1}]}', "duplicate-key"),
    "NaN": (b'{"a": NaN}', "bad-json"),
    "Infinity": (b'{"a": -Infinity}', "bad-json"),
    "a number beyond floats": (b'{"a": 1e999}', "bad-json"),
    "five thousand digits": (b"[" + b"9" * 5000 + b"]", "bad-json"),
    "bottomless lists": (b"[" * 30_000 + b"]" * 30_000, "bad-json"),
    "bottomless objects": (b'{"a":' * 100 + b"1" + b"}" * 100, "bad-json"),
    "no end": (b'{"a": ', "bad-json"),
    "a second document": (b"{} {}", "bad-json"),
    "a byte order mark": (b"\xef\xbb\xbf{}", "bad-json"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), "bad-json"),
    "not UTF-8": (b'{"a": "\xff"}', "bad-json"),
    "nothing": (b"", "bad-json"),
}


@pytest.mark.parametrize("content", BAD_JSON)
@pytest.mark.parametrize("member", ["model.json", "preprocess.json", "labels.json", "manifest.json"])
def test_json_that_is_none(tmp_path: Path, content: str, member: str) -> None:
    members = good_members(**{member: BAD_JSON[content][0]})
    if member == "manifest.json":
        members["manifest.json"] = BAD_JSON[content][0]
    assert refused(as_folder(tmp_path / "m", members)) == BAD_JSON[content][1]


def parsed(content: bytes) -> Any:
    return parse_json(content, Limit(1 << 20, 10_000), where=Path("x"), name="y")


def test_brackets_in_texts_are_no_nesting() -> None:
    texts = ["[" * 40 + "{", '"[[[', "\\", '\\"[[', "]]]}"] * 40
    assert parsed(as_json({"vocabulary": texts})) == {"vocabulary": texts}
    assert parsed(b"[" * 64 + b"]" * 64)
    with pytest.raises(BundleError, match="nested more than 64 deep"):
        parsed(b'["[",' * 65 + b"1" + b"]" * 65)


@pytest.mark.parametrize("labels", [{}, "ab", [1], ["a", None], [["a"]]])
def test_labels_are_a_list_of_texts(tmp_path: Path, labels: Any) -> None:
    assert refused(as_folder(tmp_path / "m", good_members(labels__json=as_json(labels)))) == "bad-labels"


def test_a_card_is_text(tmp_path: Path) -> None:
    assert refused(as_folder(tmp_path / "m", good_members(card__md=b"\xff\xfe"))) == "bad-text"


# weights

W = WEIGHTS["w"]
BAD_WEIGHTS: dict[str, tuple[dict[str, torch.Tensor], str]] = {
    "another shape": (WEIGHTS | {"w": torch.zeros(3, 2)}, "other-tensors"),
    "one value more": (WEIGHTS | {"w": torch.zeros(2, 4)}, "other-tensors"),
    "another dtype": (WEIGHTS | {"w": W.double()}, "other-tensors"),
    "whole numbers": (WEIGHTS | {"w": W.long()}, "other-tensors"),
    "a tensor more": (WEIGHTS | {"x": W.clone()}, "other-tensors"),
    "a tensor less": ({"w": W}, "other-tensors"),
    "NaN": (WEIGHTS | {"w": W * float("nan")}, "not-finite"),
    "one infinity": (WEIGHTS | {"w": torch.where(W == 1, float("inf"), W)}, "not-finite"),
}


@pytest.mark.parametrize("case", BAD_WEIGHTS)
def test_weights_that_are_not_those_of_the_model(tmp_path: Path, case: str) -> None:
    given, code = BAD_WEIGHTS[case]
    path = as_folder(tmp_path / "m", good_members(weights__safetensors=save(given)))
    assert refused(path, weights=WEIGHTS) == code


def header(text: bytes, data: bytes = b"") -> bytes:
    return len(text).to_bytes(8, "little") + text + data


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 8,
        header(b"{"),
        header(b'{"w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}'),
        header(b'{"w": {"dtype": "F32", "shape": [4611686018427387904], "data_offsets": [0, 8]}}', bytes(8)),
        header(b'{"w": {"dtype": "PY", "shape": [1], "data_offsets": [0, 8]}}', bytes(8)),
        save(WEIGHTS) + b"more",
    ],
)
def test_safetensors_that_are_none(tmp_path: Path, content: bytes) -> None:
    path = as_folder(tmp_path / "m", good_members(weights__safetensors=content))
    assert refused(path, weights=WEIGHTS) in {"bad-weights", "bad-json"}


def test_what_write_bundle_writes_passes(tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "m", model=MODEL, weights=WEIGHTS, labels=["a", "b"])
    assert {p.name: p.read_bytes() for p in path.iterdir()}.keys() == good_members().keys()
