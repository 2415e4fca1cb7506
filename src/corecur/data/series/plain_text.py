"""The lines of a text file, once it is sure that it is one."""

from __future__ import annotations

from pathlib import Path

from corecur.data.file_bytes import read_bytes
from corecur.errors import DataError

_COPIES = 32  # measured on panels and tables over time: a cell takes some 60 bytes as text, then 8 as a number


def read_text(path: Path, *, western: bool = False) -> str:
    """The text of a UTF-8 file; with ``western``, latin-1 too, in which old comments are often written.

    Raises DataError for an empty file, a file that is not text, and one that cannot be read.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "a.csv").write_bytes(b"a,b")
    ...     read_text(Path(folder, "a.csv"))
    'a,b'
    """
    data = read_bytes(path, copies=_COPIES)
    if not data.strip():
        raise DataError("the file is empty", where=path)
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):  # spreadsheets call UTF-16 "Unicode text"
        return _decoded(data, "utf-16", path)
    if b"\0" in data:
        raise DataError(
            "the file is not text",
            where=path,
            got="bytes that no text has",
            expected="UTF-8 text",
            do="export the table as “CSV UTF-8”" if path.suffix.casefold() in (".csv", ".tsv", ".txt") else None,
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if western:
            return data.decode("latin-1")
        raise DataError("the file is not UTF-8 text", where=path, do="save it again as “CSV UTF-8”") from error


def first_lines(path: Path, count: int, *, at_most: int = 2**20) -> list[str]:
    """The first lines of a file that are not blank, from its first ``at_most`` bytes; none where it is not text.

    >>> first_lines(Path("no such file"), 3)
    []
    """
    try:
        if not path.is_file():
            return []
        with path.open("rb") as file:
            data = file.read(at_most)
    except OSError:
        return []
    if b"\0" in data:
        return []
    lines = data.decode("utf-8-sig", errors="replace").splitlines()
    if len(data) == at_most and len(lines) > 1:
        lines = lines[:-1]  # the last one may be cut
    return [line for line in lines if line.strip()][:count]


def _decoded(data: bytes, encoding: str, path: Path) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError("the file is not text", where=path, expected="UTF-8 text") from error
