"""Signatures: made and checked here, checked by openssl, and what breaks one."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from corecur.bundle.open import open_untrusted
from corecur.bundle.signature import check_signature, sign
from corecur.errors import BundleError, ConfigError
from corecur.learners.verification import verify

from .good_bundles import as_folder, pictures, with_manifest
from .raw_zip import plain, raw_zip

pytest.importorskip("cryptography")
OPENSSL = shutil.which("openssl")
pytestmark = pytest.mark.skipif(OPENSSL is None, reason="the keys are made by openssl")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    for name in ("mine", "other"):
        private, public = folder / f"{name}.pem", folder / f"{name}.pub"
        openssl("genpkey", "-algorithm", "ed25519", "-out", private)
        openssl("pkey", "-in", private, "-pubout", "-out", public)
    openssl("genpkey", "-algorithm", "rsa", "-out", folder / "rsa.pem")
    openssl("pkey", "-in", folder / "rsa.pem", "-pubout", "-out", folder / "rsa.pub")
    return folder


def openssl(*words: object) -> str:
    return subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True, check=True).stdout


def code_of(path: Path, key: Path) -> str:
    with pytest.raises(BundleError) as caught:
        check_signature(open_untrusted(path), key)
    return caught.value.code


def test_what_is_signed_is_checked_here_and_by_openssl(tmp_path: Path, keys: Path) -> None:
    folder = as_folder(tmp_path / "m", pictures())
    file = raw_zip(tmp_path / "m.corecur", plain(pictures()))
    for path in (folder, file):
        assert sign(open_untrusted(path), keys / "mine.pem") == tmp_path / f"{path.name}.sig"
        check_signature(open_untrusted(path), keys / "mine.pub")
        assert verify(path, key=keys / "mine.pub").error is None
    checked = openssl(
        "pkeyutl", "-verify", "-pubin", "-inkey", keys / "mine.pub", "-rawin", "-in", folder / "manifest.json",
        "-sigfile", tmp_path / "m.sig",
    )  # fmt: skip
    assert "Verified Successfully" in checked
    assert (tmp_path / "m.sig").read_bytes() == (tmp_path / "m.corecur.sig").read_bytes()


def test_another_key_another_file_or_no_signature(tmp_path: Path, keys: Path) -> None:
    path = as_folder(tmp_path / "m", pictures())
    assert code_of(path, keys / "mine.pub") == "not-signed"
    sign(open_untrusted(path), keys / "mine.pem")
    assert code_of(path, keys / "other.pub") == "bad-signature"
    other = as_folder(tmp_path / "other", with_manifest(pictures() | {"card.md": b"another"}))
    shutil.copy(tmp_path / "m.sig", tmp_path / "other.sig")
    assert code_of(other, keys / "mine.pub") == "bad-signature"
    signature = (tmp_path / "m.sig").read_bytes()
    for wrong in (b"", signature[:-1], signature + b"x", signature[::-1]):
        (tmp_path / "m.sig").write_bytes(wrong)
        assert code_of(path, keys / "mine.pub") == "bad-signature"
    (tmp_path / "m.sig").unlink()
    (tmp_path / "m.sig").symlink_to(tmp_path / "other.sig")
    assert code_of(path, keys / "mine.pub") == "not-signed"


def test_a_signed_bundle_that_is_changed(tmp_path: Path, keys: Path) -> None:
    path = as_folder(tmp_path / "m", pictures())
    sign(open_untrusted(path), keys / "mine.pem")
    changes = {
        "damaged": lambda: (path / "card.md").write_bytes(b"# Pixtures\n"),
        "incomplete": lambda: (path / "model.json").unlink(),
        "unknown-member": lambda: (path / "labels.json").rename(path / "labels2.json"),
        "not-a-file": lambda: ((path / "card.md").unlink(), (path / "card.md").symlink_to(tmp_path / "m.sig")),
        "other-members": lambda: (path / "card.md").unlink(),
    }
    for code, change in changes.items():
        change()
        found = verify(path, key=keys / "mine.pub")
        assert found.error is not None and found.error.code == code
        shutil.rmtree(path)
        as_folder(path, pictures())
    (path / "manifest.json").write_bytes((path / "manifest.json").read_bytes() + b"\n")  # the same JSON, other bytes
    found = verify(path, key=keys / "mine.pub")
    assert found.error is not None and found.error.code == "bad-signature"


def test_what_is_damaged_is_not_signed(tmp_path: Path, keys: Path) -> None:
    good = pictures()["weights.safetensors"]
    path = as_folder(tmp_path / "m", pictures() | {"weights.safetensors": good[:-1] + b"\x7f"})
    with pytest.raises(BundleError, match="damaged"):
        sign(open_untrusted(path), keys / "mine.pem")
    assert os.listdir(tmp_path) == ["m"]


@pytest.mark.parametrize("name", ["mine.pub", "rsa.pem", "nothing.pem", "."])
def test_what_is_no_private_key(tmp_path: Path, keys: Path, name: str) -> None:
    path = as_folder(tmp_path / "m", pictures())
    with pytest.raises((ConfigError, BundleError), match=r"(?s)Ed25519|cannot be read|plain file"):
        sign(open_untrusted(path), keys / name)
    with pytest.raises((ConfigError, BundleError)):
        check_signature(open_untrusted(path), keys / name.replace("mine.pub", "mine.pem").replace("rsa.pem", "rsa.pub"))


def test_verify_tells_what_became_of_every_rule(tmp_path: Path, keys: Path) -> None:
    path = as_folder(tmp_path / "m", pictures())
    found = verify(path)
    assert found.error is None
    assert {o.outcome for o in found.outcomes if o.stage != "the signature"} == {"kept"}
    assert {o.outcome for o in found.outcomes if o.stage == "the signature"} == {"not checked"}
    (path / "labels.json").write_bytes(b"[1]")
    outcomes = {o.code: o.outcome for o in verify(path).outcomes}
    assert outcomes["damaged"] == "broken" and outcomes["not-a-file"] == "kept"
    assert outcomes["bad-labels"] == outcomes["not-finite"] == outcomes["bad-manifest"] == "not checked"
