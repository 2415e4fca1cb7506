"""A file read whole: what is no file, or would not fit in memory, is refused before."""

from __future__ import annotations

import os
from pathlib import Path

from corecur.data.memory import available_memory
from corecur.errors import DataError


def read_bytes(path: Path, *, copies: int) -> bytes:
    """The bytes of a file of which the free memory can hold ``copies``: bytes, text, cells, tokens. Raises DataError.

    A pipe or a device, which would block for ever, is no file.

    >>> read_bytes(Path("no such file"), copies=8)
    Traceback (most recent call last):
        ...
    corecur.errors.DataError: the file cannot be read: No such file or directory
      where:    no such file
    """
    try:
        size, room = path.stat().st_size, available_memory()
        if not path.is_file():
            what = "a folder" if path.is_dir() else "a pipe or a device"
            raise DataError(f"the file cannot be read: it is {what}", where=path)
        if size * copies > room:
            raise DataError(
                "the file is too large for the free memory",
                where=path,
                got=f"{size:,} bytes",
                expected=f"at most {room // copies:,}: what is made of it takes up to {copies} times its size",
                do="give a part of it, or use a machine with more memory",
            )
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"the file cannot be read: {error.strerror or error}", where=path) from error


def source_path(source: str | os.PathLike[str]) -> Path:
    """The path that a source names, its home folder filled in; DataError for words that can be none.

    >>> source_path("a long text " * 1000)
    Traceback (most recent call last):
        ...
    corecur.errors.DataError: this can be no path: File name too long
      got:      'a long text a long text a long text …'
      do this:  to give a text itself, put it into a list: ["a long text …"]
    """
    path = Path(source).expanduser()
    try:
        path.exists()
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or str(error)
        raise DataError(
            f"this can be no path: {said}", got=f"{os.fspath(source)[:35]!r}"[:-1] + " …'",
            do=f'to give a text itself, put it into a list: ["{os.fspath(source)[:11]} …"]',
        ) from error  # fmt: skip
    return path
