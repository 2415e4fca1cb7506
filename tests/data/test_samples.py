from __future__ import annotations

import functools
import gzip
import hashlib
import http.server
import logging
import re
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from corecur.data import samples
from corecur.data.samples import PUBLISHED, SAMPLES, gather_sample
from corecur.errors import ConfigError, DataError

from .picture_files import pixels
from .test_cifar import write_binary
from .test_idx import idx_bytes, write_set


@pytest.fixture(autouse=True)
def _no_network_and_no_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CORECUR_DATA", raising=False)
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "cache" / name)
    logging.getLogger("pooch").setLevel("ERROR")


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder that is served, and its address."""
    folder = tmp_path / "site"
    folder.mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def publish(folder: Path, address: str, monkeypatch: pytest.MonkeyPatch, *, name: str = "mnist") -> None:
    for split, count in (("train", 6), ("t10k", 4)):
        write_set(folder, count=count, split=split)
    files = tuple((path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in sorted(folder.iterdir()))
    monkeypatch.setitem(PUBLISHED, name, replace(PUBLISHED[name], address=address, files=files))


def test_digits_are_those_of_scikit_learn_scaled_to_bytes() -> None:
    part = gather_sample("digits").parts["train"]
    bunch = load_digits()
    assert np.array_equal(np.asarray(part.pictures)[..., 0], np.rint(bunch.images * 255 / 16))
    assert np.array_equal(part.labels, bunch.target)
    assert np.max(part.pictures) == 255


def test_a_set_is_found_under_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORECUR_DATA", str(tmp_path))
    (tmp_path / "fashion_mnist").mkdir()
    write_set(tmp_path / "fashion_mnist")
    found = gather_sample("Fashion-MNIST")
    assert found.kind == "sample"
    assert found.classes is not None
    assert found.classes[9] == "ankle boot"
    assert found.parts["train"].labels.tolist()[:2] == ["T-shirt", "trouser"]


def test_cifar_is_found_under_the_folder_without_its_list_of_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORECUR_DATA", str(tmp_path))
    (tmp_path / "cifar10" / "cifar-10-batches-bin").mkdir(parents=True)
    write_binary(tmp_path / "cifar10" / "cifar-10-batches-bin", "data_batch_1.bin")
    assert gather_sample("cifar10").parts["train"].labels.tolist() == ["airplane", "automobile", "bird", "cat"]


def test_labels_that_are_not_the_sets_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORECUR_DATA", str(tmp_path))
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "train-images-idx3-ubyte").write_bytes(idx_bytes(pixels(0, 2, 4, 4)))
    (tmp_path / "mnist" / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.array([0, 10], dtype=np.uint8)))
    with pytest.raises(DataError, match="not those of mnist"):
        gather_sample("mnist")


def test_a_set_is_fetched_checked_and_kept(site: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    publish(*site, monkeypatch)
    assert {split: len(part) for split, part in gather_sample("mnist").parts.items()} == {"train": 6, "test": 4}
    for path in site[0].iterdir():
        path.unlink()
    assert len(gather_sample("mnist").parts["train"]) == 6


def test_an_archive_is_fetched_and_unpacked(
    site: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "batches").mkdir()
    write_binary(tmp_path / "batches", "data_batch_1.bin")
    path = site[0] / "cifar-10-binary.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(tmp_path / "batches", "cifar-10-batches-bin")
    files = ((path.name, hashlib.sha256(path.read_bytes()).hexdigest()),)
    monkeypatch.setitem(PUBLISHED, "cifar10", replace(PUBLISHED["cifar10"], address=site[1], files=files))
    for _ in range(2):
        assert gather_sample("cifar10").parts["train"].labels.tolist() == ["airplane", "automobile", "bird", "cat"]
    assert (tmp_path / "cache/corecur/cifar10/cifar-10-batches-bin/data_batch_1.bin").is_file()


def test_a_file_that_is_not_the_published_one_is_refused_and_not_kept(
    site: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(*site, monkeypatch)
    (site[0] / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"something else"))
    with pytest.raises(DataError, match="not the one that was published"):
        gather_sample("mnist")
    assert not list((tmp_path / "cache").rglob("train-images*"))


@pytest.mark.parametrize("root", [None, "data"])
def test_offline_the_error_says_which_file_to_put_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: str | None
) -> None:
    if root is not None:
        monkeypatch.setenv("CORECUR_DATA", str(tmp_path / root))
    for name in PUBLISHED:
        # Nobody listens at port 9 of this machine.
        monkeypatch.setitem(PUBLISHED, name, replace(PUBLISHED[name], address="http://127.0.0.1:9/"))
        with pytest.raises(DataError, match="cannot be fetched") as caught:
            gather_sample(name)
        message = str(caught.value)
        assert PUBLISHED[name].files[0][0] in message
        assert (str(tmp_path / "data" / name) if root else "set CORECUR_DATA") in message


def test_every_published_file_has_a_whole_sha256() -> None:
    for sample in PUBLISHED.values():
        assert all(re.fullmatch("[0-9a-f]{64}", digest) for _, digest in sample.files)
        assert len(set(sample.classes)) == 10
    assert set(SAMPLES) == {"digits", *PUBLISHED}


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'kmnist'"):
        gather_sample("kmnst")


def test_nothing_is_fetched_by_importing() -> None:
    assert "pooch" not in vars(samples)
