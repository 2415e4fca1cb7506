"""Write a bundle: as a folder or as one stored zip, complete or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from corecur.bundle.layout import CARD, FILE_ENDINGS, LABELS, MANIFEST, MODEL, PREPROCESS, VERSION, WEIGHTS
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
    from safetensors.torch import save

    members: dict[str, bytes] = {MODEL: as_json(model)}
    members[WEIGHTS] = save({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()})
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
        if path.suffix in FILE_ENDINGS:
            _write_zip(path, members)
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


def _write_zip(path: Path, members: Mapping[str, bytes]) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            with zipfile.ZipFile(file, "w", compression=zipfile.ZIP_STORED) as archive:
                for name, content in members.items():
                    entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
                    entry.external_attr = 0o100644 << 16
                    archive.writestr(entry, content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _write_folder(path: Path, members: Mapping[str, bytes]) -> None:
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        for name, content in members.items():
            with (temporary / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        temporary.chmod(0o755)
        if path.exists():
            _refuse_to_replace_others(path)
            shutil.rmtree(path)
        os.replace(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _refuse_to_replace_others(path: Path) -> None:
    if not path.is_dir() or (any(path.iterdir()) and not (path / MANIFEST).exists()):
        raise RunError("there is something else where the model file should go", where=path, do="choose another path")
