"""Write a bundle: as a folder or as one stored zip, complete or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from corecur.bundle.layout import CARD, FILE_ENDINGS, LABELS, MANIFEST, MEMBERS, MODEL, PREPROCESS, VERSION, WEIGHTS
from corecur.errors import RunError


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
    members: dict[str, bytes] = {MODEL: as_json(model), WEIGHTS: as_safetensors(weights)}
    if preprocess is not None:
        members[PREPROCESS] = as_json(preprocess)
    if labels is not None:
        members[LABELS] = as_json(labels)
    if card is not None:
        members[CARD] = card.encode()
    manifest = {
        "format": "corecur",
        "version": VERSION,
        "members": {n: {"size": len(b), "sha256": hashlib.sha256(b).hexdigest()} for n, b in members.items()},
    }
    members = {MANIFEST: as_json(manifest)} | members
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


def as_json(value: Any) -> bytes:
    """UTF-8 JSON, the same bytes for the same value."""
    return (json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False) + "\n").encode()


def as_safetensors(weights: Mapping[str, Tensor]) -> bytes:
    """The tensors under their names, each with values of its own even where a layer stands in two places."""
    from safetensors.torch import save

    return save({n: t.detach().cpu().clone(memory_format=torch.contiguous_format) for n, t in weights.items()})


def _fill_zip(file: IO[bytes], members: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(file, "w", compression=zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, content)


def write_file(path: Path, fill: Callable[[IO[bytes]], object]) -> None:
    """Let ``fill`` write one file, which appears whole or not at all; OSError where that cannot be done."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _write_folder(path: Path, members: Mapping[str, bytes]) -> None:
    room = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    made, old = room / "new", room / "old"
    try:
        made.mkdir()
        for name, content in members.items():
            with (made / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        made.chmod(0o755)
        if path.exists():
            os.replace(path, old)
        try:
            os.replace(made, path)
        except OSError:
            if old.exists():
                os.replace(old, path)
            raise
    finally:
        shutil.rmtree(room, ignore_errors=True)


def _refuse_to_replace_others(path: Path) -> None:
    """Only a bundle of the same form, or an empty folder, makes way for a new one."""
    if not path.exists() and not path.is_symlink():
        return
    names = _names_in(path)
    if names is None or names - set(MEMBERS) or (names and MANIFEST not in names):
        raise RunError("there is something else where the model file should go", where=path, do="choose another path")


def _names_in(path: Path) -> set[str] | None:
    """What a folder or zip holds; None where it is neither, or not what the path's ending says."""
    if path.suffix not in FILE_ENDINGS:
        return {member.name for member in path.iterdir()} if path.is_dir() and not path.is_symlink() else None
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        return set(archive.namelist())
