"""Write a bundle: as a folder or as one stored zip, complete or not at all; and the members of a checkpoint."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from torch import Tensor

from corecur.bundle.layout import BUNDLE, CARD, FILE_ENDINGS, LABELS, MODEL, PREPROCESS, WEIGHTS, Layout
from corecur.bundle.stored_zip import MOST_BYTES, Entry, directory
from corecur.bundle.strict_json import made_plain
from corecur.bundle.tensor_file import Write, tensor_content
from corecur.errors import RunError

#: A member's bytes, or what writes them piece by piece.
Content = bytes | Callable[[Write], None]


def write_bundle(
    path: Path,
    *,
    model: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    preprocess: Mapping[str, Any] | None = None,
    labels: list[str] | None = None,
    card: str | None = None,
) -> Path:
    """Write the members to ``path``, replacing a bundle that is there; RunError if that cannot be done.

    >>> import torch
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     where = write_bundle(Path(folder) / "m", model={"kind": "none"}, weights={"w": torch.ones(2)})
    ...     sorted(member.name for member in where.iterdir())
    ['manifest.json', 'model.json', 'weights.safetensors']
    """
    members: dict[str, Content] = {MODEL: as_json(model), WEIGHTS: tensor_content(weights)}
    if preprocess is not None:
        members[PREPROCESS] = as_json(preprocess)
    if labels is not None:
        members[LABELS] = as_json(_shown(labels, path))
    if card is not None:
        members[CARD] = card.encode("utf-8", "backslashreplace")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _refuse_to_replace_others(path)
        if path.suffix in FILE_ENDINGS:
            write_file(path, lambda file: _fill_zip(file, members))
        else:
            _write_folder(path, members)
    except OSError as error:
        raise RunError(
            "the model file cannot be written", where=path, got=error.strerror, do="choose a folder you may write to"
        ) from error
    return path


def _shown(labels: list[str], path: Path) -> list[str]:
    """The labels as a reader takes them: names that can be shown, and different ones."""
    shown = [made_plain(label) for label in labels]
    if len(set(shown)) != len(shown):
        twice = next(label for label in shown if shown.count(label) > 1)
        raise RunError(
            "two classes have one name once characters that cannot be shown are left out", where=path, got=twice
        )
    return shown


def write_members(folder: Path, layout: Layout, members: Mapping[str, Content]) -> None:
    """Fill an empty folder: each member, synced to the disk, then the manifest with their sizes and hashes, synced too.

    Who calls this renames the folder and syncs the one around it. OSError where it cannot be written.

    >>> from corecur.bundle.layout import CHECKPOINT
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tensors = tensor_content({})
    ...     write_members(Path(folder), CHECKPOINT, {"state.json": b"{}", "tensors.safetensors": tensors})
    ...     sorted(os.listdir(folder))
    ['COMMIT', 'state.json', 'tensors.safetensors']
    """
    hashed = {}
    for name, content in members.items():
        with (folder / name).open("xb") as file:
            hashed[name] = _write_hashed(file, content)
            _sync(file)
    with (folder / layout.manifest).open("xb") as file:
        file.write(_manifest(layout, hashed))
        _sync(file)
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder as durable as what they name."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _Hashed:
    """What was written of a member: size, SHA-256, CRC-32."""

    def __init__(self) -> None:
        self.size = 0
        self.sha256 = hashlib.sha256()
        self.crc = 0


def _write_hashed(file: IO[bytes], content: Content, *, checksum: bool = False) -> _Hashed:
    hashed = _Hashed()

    def write(piece: bytes | memoryview) -> None:
        file.write(piece)
        hashed.size += len(piece)
        hashed.sha256.update(piece)
        if checksum:
            hashed.crc = zlib.crc32(piece, hashed.crc)

    if isinstance(content, bytes):
        write(content)
    else:
        content(write)
    return hashed


def _manifest(layout: Layout, hashed: Mapping[str, _Hashed]) -> bytes:
    entries = {name: {"size": of.size, "sha256": of.sha256.hexdigest()} for name, of in hashed.items()}
    return as_json({"format": layout.format, "version": layout.versions[-1], "members": entries})


def as_json(value: Any) -> bytes:
    """UTF-8 JSON, the same bytes for the same value."""
    return (json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False) + "\n").encode()


def _fill_zip(file: IO[bytes], members: Mapping[str, Content]) -> None:
    entries: list[Entry] = []

    def add(name: str, content: Content) -> _Hashed:
        start = file.tell()
        file.write(Entry(name, 0, 0).local())  # the true one follows when the checksum is known
        hashed = _write_hashed(file, content, checksum=True)
        end = file.tell()
        if end > MOST_BYTES:
            raise OSError(errno.EFBIG, "a model file in one file has less than 4 GiB; save it as a folder")
        entries.append(Entry(name, hashed.crc, hashed.size))
        file.seek(start)
        file.write(entries[-1].local())
        file.seek(end)
        return hashed

    hashed = {name: add(name, content) for name, content in members.items()}
    add(BUNDLE.manifest, _manifest(BUNDLE, hashed))
    file.write(directory(entries))


def write_file(path: Path, fill: Callable[[IO[bytes]], object]) -> None:
    """Let ``fill`` write one file, which appears whole or not at all; OSError where that cannot be done."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            fill(file)
            _sync(file)
        Path(temporary).chmod(0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _write_folder(path: Path, members: Mapping[str, Content]) -> None:
    """Members, then the folder, then its name: each is on the disk before the next depends on it.

    A bundle that is there changes places with the new one in one step where the system can do that (Linux, on most
    file systems). Elsewhere the old one is moved away first, and for a moment there is none; its name is then free,
    never half filled.
    """
    room = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    made, old = room / "new", room / "old"
    try:
        made.mkdir()
        made.chmod(0o755)
        write_members(made, BUNDLE, members)
        if not path.exists():
            os.replace(made, path)
        elif not exchanged(made, path):
            os.replace(path, old)
            try:
                os.replace(made, path)
            except OSError:
                os.replace(old, path)
                raise
        sync_folder(path.parent)
    finally:
        shutil.rmtree(room, ignore_errors=True)


def exchanged(first: Path, second: Path) -> bool:
    """Let two folders change places; False where the system or the file system cannot."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    if rename(here, os.fsencode(first), here, os.fsencode(second), exchange) == 0:
        return True
    reason = ctypes.get_errno()
    if reason in (errno.EINVAL, errno.ENOSYS):
        return False
    raise OSError(reason, os.strerror(reason))


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _refuse_to_replace_others(path: Path) -> None:
    """Only a bundle of the same form, or an empty folder, makes way for a new one."""
    if not path.exists() and not path.is_symlink():
        return
    names = _names_in(path)
    if names is None or names - set(BUNDLE.members) or (names and BUNDLE.manifest not in names):
        raise RunError("there is something else where the model file should go", where=path, do="choose another path")


def _names_in(path: Path) -> set[str] | None:
    """What a folder or zip holds; None where it is neither, or not what the path's ending says."""
    if path.suffix not in FILE_ENDINGS:
        return {member.name for member in path.iterdir()} if path.is_dir() and not path.is_symlink() else None
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        return set(archive.namelist())
