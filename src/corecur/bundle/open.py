"""The one door for model files and checkpoints: nothing in them is trusted, run, extracted or believed unchecked."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from corecur.bundle.layout import BUNDLE, CARD, CHECKPOINT, LABELS, MODEL, PREPROCESS, STATE, Layout
from corecur.bundle.member_files import Region, open_plain, read_folder
from corecur.bundle.stored_zip import read_zip
from corecur.bundle.strict_json import is_plain, parse_json
from corecur.bundle.tensor_file import TensorFile, TensorTable
from corecur.errors import BundleError


@dataclass(frozen=True)
class Opened:
    """What a model file and a checkpoint have in common: tensors, which are read and hashed when they are asked for."""

    path: Path
    version: int
    sizes: Mapping[str, int]
    manifest: bytes = field(repr=False)
    tensor_file: TensorFile = field(repr=False)

    @property
    def tensor_table(self) -> TensorTable:
        """Name, shape and dtype of every tensor, from the header; no memory is taken for values."""
        return self.tensor_file.table

    def tensors(self, expected: TensorTable) -> dict[str, Tensor]:
        """The tensors, if the file holds exactly those expected, as the manifest promises and all finite."""
        return self.tensor_file.load(expected)


@dataclass(frozen=True)
class Bundle(Opened):
    """An opened model file: every member but the weights has the size and hash that the manifest promises."""

    model: Any
    preprocess: Any
    labels: list[str] | None
    card: str


@dataclass(frozen=True)
class Checkpoint(Opened):
    """An opened checkpoint."""

    state: Any


def open_untrusted(path: str | Path) -> Bundle:
    """Open a model file after checking form, sizes and hashes; BundleError names the rule that is broken."""
    with _within_memory(path):
        members = _Members(Path(path), BUNDLE)
        return Bundle(
            **members.opened(),
            model=members.json(MODEL),
            preprocess=members.json(PREPROCESS) if PREPROCESS in members.regions else None,
            labels=members.labels(),
            card=members.text(CARD) if CARD in members.regions else "",
        )


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Open a checkpoint through the same checks; without its COMMIT it is none."""
    with _within_memory(path):
        members = _Members(Path(path), CHECKPOINT)
        return Checkpoint(**members.opened(), state=members.json(STATE))


@contextlib.contextmanager
def _within_memory(path: str | Path) -> Iterator[None]:
    try:
        yield
    except MemoryError as error:
        raise BundleError("too-much", "the model file does not fit in memory", where=path) from error


def open_tensors(path: Path) -> TensorFile:
    """Open a file of tensors that stands alone, under no manifest; the checks of form and values are the same."""
    if not path.is_file():
        raise BundleError("no-file", "the weights cannot be read: there is no such file", where=path)
    try:
        return TensorFile(open_plain(path), where=path)
    except OSError as error:
        raise BundleError("unreadable", f"the weights cannot be read: {error.strerror}", where=path) from error


class _Members:
    """The members of a file and what its manifest promises of them; each is compared with that as it is read."""

    def __init__(self, path: Path, layout: Layout) -> None:
        self.path = path
        self.layout = layout
        self.regions = self._find()
        missing = [name for name in (layout.manifest, *layout.required) if name not in self.regions]
        if missing:
            raise BundleError("incomplete", f"the model file lacks {', '.join(missing)}", where=path)
        self._manifest = self._content(layout.manifest)
        found = self._parsed(self._manifest, layout.manifest)
        self._promised = self._check_manifest(found)
        self._version: int = found["version"]

    def _find(self) -> dict[str, Region]:
        try:
            if self.path.is_dir():
                return read_folder(self.path, self.layout)
            if not self.path.exists():
                raise BundleError("no-file", "there is no such model file", where=self.path)
            if self.layout.may_be_one_file:
                return read_zip(self.path, self.layout)
        except OSError as error:
            raise self._unreadable(error) from error
        raise BundleError("not-a-file", "this is not a folder", where=self.path)

    def _check_manifest(self, manifest: Any) -> dict[str, str]:
        """The hashes it promises, of exactly the members there are, in their sizes."""
        if not isinstance(manifest, dict) or set(manifest) != {"format", "version", "members"}:
            raise BundleError("bad-manifest", "the manifest is not of a known form", where=self.path)
        version, versions = manifest["version"], self.layout.versions
        if manifest["format"] != self.layout.format or type(version) is not int or version not in versions:
            raise BundleError(
                "other-version",
                f"this is {ascii(manifest['format'])[:40]}, version {ascii(version)[:40]};"
                f" this program reads {self.layout.format!r}, version {', '.join(map(str, versions))}",
                where=self.path,
                do="use the version of corecur that wrote it, or a newer one",
            )
        promised = manifest["members"]
        if not isinstance(promised, dict) or set(promised) != set(self.regions) - {self.layout.manifest}:
            raise BundleError("other-members", "the manifest lists other members than there are", where=self.path)
        for name, entry in promised.items():
            known = isinstance(entry, dict) and set(entry) == {"size", "sha256"}
            if not known or type(entry["size"]) is not int or not isinstance(entry["sha256"], str):
                raise BundleError("bad-manifest", f"the entry for {name} is not of a known form", where=self.path)
            if entry["size"] != self.regions[name].size:
                raise self._damaged(name)
        return {name: entry["sha256"] for name, entry in promised.items()}

    def opened(self) -> dict[str, Any]:
        """The fields of ``Opened``."""
        name = self.layout.tensors
        return {
            "path": self.path,
            "version": self._version,
            "sizes": {name: region.size for name, region in self.regions.items()},
            "manifest": self._manifest,
            "tensor_file": TensorFile(self.regions[name], where=self.path, sha256=self._promised[name]),
        }

    def json(self, name: str) -> Any:
        """A member as the value it describes."""
        return self._parsed(self._kept_promise(name), name)

    def text(self, name: str) -> str:
        """A member as text."""
        try:
            return self._kept_promise(name).decode("utf-8")
        except UnicodeDecodeError as error:
            raise BundleError("bad-text", f"{name} is not UTF-8", where=self.path) from error

    def labels(self) -> list[str] | None:
        """The class names: different texts that can be shown."""
        if LABELS not in self.regions:
            return None
        labels = self.json(LABELS)
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            raise BundleError("bad-labels", "labels.json is not a list of texts", where=self.path)
        odd = next((label for label in labels if not is_plain(label)), None)
        if odd is not None:
            raise BundleError("bad-labels", f"a label is no name that can be shown: {ascii(odd[:80])}", where=self.path)
        if len(set(labels)) != len(labels):
            raise BundleError("bad-labels", "two classes have one label", where=self.path)
        return labels

    def _kept_promise(self, name: str) -> bytes:
        content = self._content(name)
        if hashlib.sha256(content).hexdigest() != self._promised[name]:
            raise self._damaged(name)
        return content

    def _content(self, name: str) -> bytes:
        try:
            return self.regions[name].content()
        except EOFError as error:
            raise self._damaged(name) from error
        except OSError as error:
            raise self._unreadable(error) from error

    def _parsed(self, content: bytes, name: str) -> Any:
        return parse_json(content, self.layout.limits[name], where=self.path, name=name)

    def _damaged(self, name: str) -> BundleError:
        do = "copy the model file again"
        return BundleError("damaged", f"{name} is not what the manifest promises", where=self.path, do=do)

    def _unreadable(self, error: OSError) -> BundleError:
        return BundleError("unreadable", f"the model file cannot be read: {error.strerror}", where=self.path)
