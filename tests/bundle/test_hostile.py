"""What no table of files holds: files that change while they are read, other readers, terminals, old versions."""

from __future__ import annotations

import ast
import json
import os
import random
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from typer.testing import CliRunner

from corecur.bundle.open import open_tensors, open_untrusted
from corecur.bundle.rules import CHECKPOINT_RULES, RULES
from corecur.cli import app
from corecur.errors import BundleError
from corecur.learners.facts import facts_of
from corecur.models import Model

from .good_bundles import Members, as_folder, pictures, texts, with_manifest
from .raw_zip import plain, raw_zip

ROOT = Path(__file__).resolve().parents[2]
RELEASED = Path(__file__).parent / "released"


def outcome(path: Path) -> str:
    """The card of a bundle, all of which is read; or the rule that it breaks."""
    try:
        found = open_untrusted(path)
        found.tensor_file.verify()
    except BundleError as error:
        return error.code
    return found.card


# while it is read


def swapped(path: Path, contents: list[bytes], stop: threading.Event) -> None:
    """Put one content after the other in place of a file, as one who may write there can."""
    other = path.parent.parent / "new"
    for number in range(1 << 30):
        if stop.is_set():
            return
        other.write_bytes(contents[number % len(contents)])
        os.replace(other, path)


@pytest.mark.parametrize("member", ["card.md", "weights.safetensors", "model.json"])
def test_only_bytes_that_were_hashed_are_used(tmp_path: Path, member: str) -> None:
    path, good = as_folder(tmp_path / "m", pictures()), pictures()[member]
    evil = good.replace(b"Pictures", b"Pixtures").replace(b"relu", b"tanh") if member != "weights.safetensors" else good
    evil = evil if evil != good else good[:-4] + struct.pack("<f", 9.0)
    stop = threading.Event()
    thread = threading.Thread(target=swapped, args=(path / member, [good, evil], stop))
    thread.start()
    try:
        for _ in range(200):
            found = outcome(path)
            assert found in {"# Pictures\n", "damaged"}
    finally:
        stop.set()
        thread.join()


def test_a_bundle_that_was_opened_stays_what_it_was(tmp_path: Path) -> None:
    path = as_folder(tmp_path / "m", pictures())
    found = open_untrusted(path)
    for member in path.iterdir():
        member.unlink()
    found.tensor_file.verify()
    path.rmdir()
    file = raw_zip(tmp_path / "m.corecur", plain(pictures()))
    found = open_untrusted(file)
    os.replace(raw_zip(tmp_path / "other", plain(texts())), file)
    found.tensor_file.verify()


def test_a_file_that_grows_or_shrinks_after_it_was_opened(tmp_path: Path) -> None:
    path = as_folder(tmp_path / "m", pictures())
    found = open_untrusted(path)
    with (path / "weights.safetensors").open("ab") as file:
        file.write(b"more")
    found.tensor_file.verify()  # what is behind the end was never looked at
    assert outcome(path) == "damaged"
    found = open_untrusted(as_folder(tmp_path / "n", pictures()))
    os.truncate(tmp_path / "n" / "weights.safetensors", 100)
    with pytest.raises(BundleError, match=r"shorter.*damaged"):
        found.tensor_file.verify()


def test_a_link_to_the_file_itself_is_the_caller_s_own(tmp_path: Path) -> None:
    (tmp_path / "folder").symlink_to(as_folder(tmp_path / "m", pictures()))
    (tmp_path / "file").symlink_to(raw_zip(tmp_path / "m.corecur", plain(pictures())))
    assert outcome(tmp_path / "folder") == outcome(tmp_path / "file") == "# Pictures\n"


# changed at random


@pytest.mark.parametrize("number", range(20))
def test_a_truncated_archive(tmp_path: Path, number: int) -> None:
    path = raw_zip(tmp_path / "m.corecur", plain(pictures()))
    whole = path.read_bytes()
    path.write_bytes(whole[: number * len(whole) // 20])
    assert outcome(path) == "not-a-bundle"


def mutated(header: dict[str, Any], rng: random.Random) -> bytes:
    """A header of tensors with something changed, as text."""
    name = rng.choice(sorted(header))
    field = rng.choice(["dtype", "shape", "data_offsets"])
    shapes = [[2, 3], [3, 2], [6], [1, 6], [0], [], [0, 24], [24, 40], [8, 24], [0, 16]]
    values = ["F32", "I8", "BOOL", "F64", *shapes]
    header = json.loads(json.dumps(header))
    kind = rng.randrange(5)
    if kind == 0:
        header[name][field] = rng.choice(values)
    elif kind == 1:
        header[rng.choice(["x", "y", ""])] = header.pop(name)
    elif kind == 2:
        header["z"] = {"dtype": "F32", "shape": rng.choice([[0], [4]]), "data_offsets": rng.choice([[0, 0], [40, 56]])}
    text = json.dumps(header).encode()
    if kind == 3:
        place = rng.randrange(len(text))
        text = text[:place] + bytes([rng.randrange(256)]) + text[place + 1 :]
    elif kind == 4:
        text = text[:-1] + b', "%s": %s}' % (name.encode(), json.dumps(header[name]).encode())
    return text


def test_what_is_read_here_means_the_same_to_the_formats_own_library(tmp_path: Path) -> None:
    rng, tensors, path = (
        random.Random(0),
        {"w": torch.arange(6.0).reshape(2, 3), "b": torch.arange(4.0)},
        tmp_path / "w",
    )
    good = save(tensors)
    length = int.from_bytes(good[:8], "little")
    read = 0
    for _ in range(600):
        text = mutated(json.loads(good[8 : 8 + length]), rng)
        content = len(text).to_bytes(8, "little") + text + good[8 + length :]
        path.write_bytes(content)
        try:
            file = open_tensors(path)
            found = file.load(file.table)
        except BundleError:
            continue
        theirs = load(content)
        read += 1
        assert found.keys() == theirs.keys()
        assert all(torch.equal(found[name], theirs[name]) and found[name].dtype == theirs[name].dtype for name in found)
    assert 10 < read < 300


def test_truth_values_besides_0_and_1(tmp_path: Path) -> None:
    good = save({"b": torch.tensor([True, False])})
    for value, code in ((1, None), (2, "not-finite"), (255, "not-finite")):
        (tmp_path / "w").write_bytes(good[:-1] + bytes([value]))
        file = open_tensors(tmp_path / "w")
        if code is None:
            assert file.load(file.table)["b"].tolist() == [True, True]
        else:
            with pytest.raises(BundleError, match=code):
                file.load(file.table)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("place", [0, 600_000, 999_999])
def test_one_value_among_a_million_that_is_not_finite(
    tmp_path: Path, dtype: torch.dtype, value: float, place: int
) -> None:
    tensor = torch.full((1_000_000,), torch.finfo(dtype).max, dtype=dtype)
    (tmp_path / "w").write_bytes(save({"w": tensor}))
    open_tensors(tmp_path / "w").verify()
    tensor[place] = value
    (tmp_path / "w").write_bytes(save({"w": tensor}))
    with pytest.raises(BundleError, match="not-finite"):
        open_tensors(tmp_path / "w").verify()


# what is shown

HTML = "<img src=x onerror=alert(1)>"


def with_labels(labels: list[str]) -> Members:
    return with_manifest(pictures() | {"labels.json": json.dumps(labels).encode()})


def test_labels_with_markup_stay_text_on_a_terminal(tmp_path: Path) -> None:
    path = as_folder(tmp_path / "m", with_labels([HTML, "[red]dog[/red]", "{0.__class__}"]))
    assert open_untrusted(path).labels == [HTML, "[red]dog[/red]", "{0.__class__}"]
    found = CliRunner().invoke(app, ["info", str(path), "--json"])
    assert json.loads(found.stdout)["labels"][0] == HTML


def test_a_card_cannot_steer_a_terminal(tmp_path: Path) -> None:
    card = "# Card\n\x1b]0;owned\x07\x1b[2J\u202egnp.exe\r\x9b31m"
    path = as_folder(tmp_path / "m", with_manifest(pictures() | {"card.md": card.encode()}))
    shown = CliRunner().invoke(app, ["info", str(path)]).stdout
    assert "\\x1b]0;owned\\x07\\x1b[2J\\u202egnp.exe\\r\\x9b31m" in shown
    assert not set(shown) & set("\x1b\x07\r\x9b\u202e")


def test_an_error_cannot_steer_a_terminal(tmp_path: Path) -> None:
    path = raw_zip(tmp_path / "m.corecur", [*plain(pictures()), *plain({"\x1b[31mx": b""})])
    found = CliRunner().invoke(app, ["info", str(path)])
    assert found.exit_code == 1 and "\x1b" not in found.stderr and "unknown-member" in found.stderr


# info


def test_info_reads_no_value_into_a_tensor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = as_folder(tmp_path / "m", pictures())
    facts = facts_of(open_untrusted(path))
    assert facts.network is not None and all(p.is_meta for p in facts.network.parameters())
    assert facts.as_json()["parameters"] == 4 * 9 + 4 + 4 * 3 + 3
    assert "bytes" not in facts.as_text() and "55 values F32" in facts.as_text()
    good = pictures()["weights.safetensors"]
    (path / "weights.safetensors").write_bytes(good[:-1] + b"\x7f")
    with pytest.raises(BundleError, match="damaged"):
        facts_of(open_untrusted(path))


def test_info_names_a_class_that_only_its_maker_has(tmp_path: Path) -> None:
    model = json.loads(pictures()["model.json"])
    model["network"]["layers"][0]["kind"] = "MyConv"
    path = as_folder(tmp_path / "m", with_manifest(pictures() | {"model.json": json.dumps(model).encode()}))
    shown = facts_of(open_untrusted(path)).as_text()
    assert "MyConv" in shown and "55 values F32" in shown


# the rules


def codes() -> Iterator[str]:
    """Every code that an error of the package is raised with."""
    for path in (ROOT / "src" / "corecur").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "BundleError" and node.args:
                yield from (leaf.value for leaf in ast.walk(node.args[0]) if isinstance(leaf, ast.Constant))


def test_every_code_is_a_rule_and_every_rule_is_in_the_page() -> None:
    raised = set(codes()) | {"bad-json", "duplicate-key"}  # which one function raises under a name
    assert raised == RULES.keys() | CHECKPOINT_RULES.keys()
    page = (ROOT / "SECURITY.md").read_text("utf-8")
    assert [code for code, rule in (RULES | CHECKPOINT_RULES).items() if f"| `{code}` | {rule} |" not in page] == []


# every version that was released


def test_a_bundle_of_every_released_version_answers_as_it_did() -> None:
    versions = sorted(RELEASED.iterdir())
    assert [folder.name for folder in versions] == ["v1"]
    for folder in versions:
        answers = np.load(folder / "answers.npz")
        for name in ("bundle", "bundle.corecur"):
            model = Model.load(folder / name)
            # Another processor sums in another order.
            np.testing.assert_allclose(model.predict(answers["inputs"]), answers["outputs"], rtol=1e-6, atol=1e-7)
