"""The one door for model files: nothing in them is trusted, run, extracted or believed unchecked."""

from __future__ import annotations

import hashlib
import json
import math
import re
import stat
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from corecur.bundle.layout import CARD, LABELS, LIMITS, MANIFEST, MEMBERS, MODEL, PREPROCESS, REQUIRED, VERSION, WEIGHTS
from corecur.errors import BundleError

_MAX_DEPTH = 64
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")


@dataclass(frozen=True)
class Bundle:
    """An opened model file, every member of which has the size and hash the manifest promises."""

    path: Path
    model: Any
    preprocess: Any
    labels: list[str] | None
    card: str
    sizes: Mapping[str, int]
    _weights: bytes = field(repr=False)

    def weights(self, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors, which must be exactly those of ``expected`` in name, shape and dtype, and finite."""
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            found = load(self._weights)
        except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise BundleError("bad-weights", f"the weights cannot be read: {error}", where=self.path) from error
        missing, extra = set(expected) - set(found), set(found) - set(expected)
        if missing or extra:
            lists = f"missing {sorted(missing)[:5]}, unexpected {sorted(extra)[:5]}"
            raise BundleError("other-tensors", f"the weights are not those of the model: {lists}", where=self.path)
        for name, tensor in found.items():
            wanted = expected[name]
            if tensor.shape != wanted.shape or tensor.dtype != wanted.dtype:
                got = f"{tuple(tensor.shape)} {tensor.dtype}, not {tuple(wanted.shape)} {wanted.dtype}"
                raise BundleError("other-tensors", f"tensor {name!r} is {got}", where=self.path)
            if tensor.dtype.is_floating_point and not bool(torch.isfinite(tensor).all()):
                raise BundleError("not-finite", f"tensor {name!r} holds NaN or infinity", where=self.path)
        return found


def open_untrusted(path: str | Path) -> Bundle:
    """Open a model file after checking form, sizes and hashes; BundleError names the rule that is broken."""
    path = Path(path)
    members = _read_folder(path) if path.is_dir() else _read_zip(path)
    manifest = parse_json(members[MANIFEST], where=path)
    _check_manifest(manifest, members, path)
    labels = parse_json(members[LABELS], where=path) if LABELS in members else None
    if labels is not None and not (isinstance(labels, list) and all(isinstance(label, str) for label in labels)):
        raise BundleError("bad-labels", "labels.json is not a list of strings", where=path)
    try:
        card = members.get(CARD, b"").decode()
    except UnicodeDecodeError as error:
        raise BundleError("bad-text", "card.md is not UTF-8", where=path) from error
    return Bundle(
        path=path,
        model=parse_json(members[MODEL], where=path),
        preprocess=parse_json(members[PREPROCESS], where=path) if PREPROCESS in members else None,
        labels=labels,
        card=card,
        sizes={name: len(content) for name, content in members.items()},
        _weights=members[WEIGHTS],
    )


def parse_json(content: bytes, *, where: Path) -> Any:
    """Strict JSON: UTF-8, no duplicate keys, no NaN, no infinity, no bottomless nesting.

    >>> parse_json(b'{"a": [1, 2]}', where=Path("x"))
    {'a': [1, 2]}
    """

    def refuse_constant(name: str) -> Any:
        raise BundleError("bad-json", f"{name} is not JSON", where=where)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise BundleError("duplicate-key", "a JSON object names a key twice", where=where)
        return found

    def finite(number: str) -> float:
        return float(number) if math.isfinite(float(number)) else refuse_constant(number)

    depth = deepest = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", content)):  # before parsing, which recurses
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    if deepest > _MAX_DEPTH:
        raise BundleError("bad-json", f"JSON nested {deepest} deep", where=where)
    try:
        return json.loads(
            content.decode("utf-8"), object_pairs_hook=unique, parse_constant=refuse_constant, parse_float=finite
        )
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        if isinstance(error, BundleError):
            raise
        raise BundleError("bad-json", f"not valid JSON: {error}", where=where) from error


def _check_manifest(manifest: Any, members: Mapping[str, bytes], path: Path) -> None:
    if not isinstance(manifest, dict) or set(manifest) != {"format", "version", "members"}:
        raise BundleError("bad-manifest", "the manifest is not of a known form", where=path)
    if manifest["format"] != "corecur" or manifest["version"] != VERSION:
        raise BundleError(
            "other-version",
            f"the model file has version {manifest['version']!r}, this program reads {VERSION}",
            where=path,
            do="use the version of corecur that wrote it, or a newer one",
        )
    promised = manifest["members"]
    if not isinstance(promised, dict) or set(promised) != set(members) - {MANIFEST}:
        raise BundleError("other-members", "the manifest lists other members than there are", where=path)
    for name, entry in promised.items():
        content = members[name]
        if not isinstance(entry, dict) or set(entry) != {"size", "sha256"}:
            raise BundleError("bad-manifest", f"the manifest's entry for {name} is not of a known form", where=path)
        if entry["size"] != len(content) or entry["sha256"] != hashlib.sha256(content).hexdigest():
            raise BundleError(
                "damaged", f"{name} is not what the manifest promises", where=path, do="copy the model file again"
            )


def _read_folder(path: Path) -> dict[str, bytes]:
    members = {}
    try:
        for entry in path.iterdir():
            status = entry.lstat()
            _check_member(entry.name, status.st_size, path)
            if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
                raise BundleError("not-a-file", f"{entry.name} is not a plain file", where=path)
            members[entry.name] = entry.read_bytes()
    except OSError as error:
        raise BundleError("unreadable", f"the model file cannot be read: {error.strerror}", where=path) from error
    _check_complete(members, path)
    return members


def _read_zip(path: Path) -> dict[str, bytes]:
    if not path.exists():
        raise BundleError("no-file", "there is no such model file", where=path)
    if not path.is_file():
        raise BundleError("not-a-file", "this is neither a folder nor a plain file", where=path)
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            for entry in entries:
                _check_member(entry.filename, entry.file_size, path)
                kind = entry.external_attr >> 16
                if (
                    entry.compress_type != zipfile.ZIP_STORED
                    or entry.flag_bits & 1
                    or entry.file_size != entry.compress_size
                ):
                    raise BundleError("not-stored", f"{entry.filename} is compressed or encrypted", where=path)
                if kind and not stat.S_ISREG(kind):
                    raise BundleError("not-a-file", f"{entry.filename} is not a plain file", where=path)
            if len({entry.filename for entry in entries}) != len(entries):
                raise BundleError("duplicate-member", "a member stands in the file twice", where=path)
            members = {entry.filename: archive.read(entry) for entry in entries}
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, ValueError) as error:
        if isinstance(error, BundleError):
            raise
        raise BundleError("not-a-bundle", f"this is not a corecur model file: {error}", where=path) from error
    _check_complete(members, path)
    return members


def _check_member(name: str, size: int, path: Path) -> None:
    if name not in MEMBERS:
        raise BundleError("unknown-member", f"a model file has no member {name!r}", where=path)
    if size > LIMITS[name]:
        raise BundleError("too-large", f"{name} has {size:,} bytes, at most {LIMITS[name]:,} are read", where=path)


def _check_complete(members: Mapping[str, bytes], path: Path) -> None:
    missing = [name for name in REQUIRED if name not in members]
    if missing:
        raise BundleError("incomplete", f"the model file lacks {', '.join(missing)}", where=path)
