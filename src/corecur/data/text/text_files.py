"""Text files as text: which encoding their bytes are in, and what to say where they are no text."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, field
from pathlib import Path

from corecur.data.file_bytes import read_bytes
from corecur.errors import ConfigError, DataError
from corecur.finding import Finding, remark

AUTO = "auto"
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins with the mark of UTF-16, so it comes first
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Windows-1252 where it differs from latin-1; five of these bytes it leaves open.
_WINDOWS = {byte: bytes([byte]).decode("cp1252", errors="ignore") or chr(byte) for byte in range(0x80, 0xA0)}
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_MOST_FOREIGN = 0.34
_BYTES_LOOKED_AT = 2**16
_COPIES = 12  # measured on a table of texts: its bytes, its text, its cells, its tokens


def check_encoding(name: str) -> str:
    """The name of an encoding, or ConfigError where there is none of that name.

    >>> check_encoding("latin-1")
    'latin-1'
    """
    if name == AUTO:
        return name
    try:
        info = codecs.lookup(name)
    except (LookupError, TypeError) as error:
        raise ConfigError(
            "there is no such encoding", got=name, expected="auto, utf-8, latin-1, cp1252, gb18030, shift-jis, …"
        ) from error
    if not getattr(info, "_is_text_encoding", True):
        raise ConfigError("this encoding is not one of texts", got=name, expected="utf-8, latin-1, gb18030, …")
    return name


def decode_text(data: bytes, *, encoding: str = AUTO, where: object = None) -> tuple[str, int | None]:
    """Bytes as text with ``\\n`` at line ends, and where the first byte stands that is not UTF-8, if ``auto`` met one.

    A byte order mark decides (UTF-8, UTF-16, UTF-32). Then ``auto`` is UTF-8, and for a text of mostly ASCII that is
    not, Windows-1252, which contains latin-1. Raises DataError with the offset of the byte, and for what is no text.

    >>> decode_text("caf\\u00e9".encode("latin-1"))
    ('caf\\xe9', 3)
    """
    foreign = None
    marked = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    chosen = marked or ("utf-8" if encoding == AUTO else encoding)
    try:
        text = data.decode(chosen)
    except UnicodeDecodeError as error:
        if encoding != AUTO or marked or not _is_western(data):
            raise _not_decodable(data, chosen, error, where) from error
        foreign = error.start
        text = data.decode("latin-1").translate(_WINDOWS)
    if text.count("\0") * 10 > len(text):
        raise DataError(
            "this is no text: it is full of zero bytes", where=where, do="if it is UTF-16, give encoding='utf-16-le'"
        )
    return text.replace("\r\n", "\n").replace("\r", "\n"), foreign


def _is_western(data: bytes) -> bool:
    """Whether bytes may be latin-1 or Windows-1252: few of them beyond ASCII, none that only binary files have."""
    start = data[:_BYTES_LOOKED_AT]
    beyond = len(start) - len(start.translate(None, bytes(range(128, 256))))
    return beyond <= _MOST_FOREIGN * len(start) and not _BINARY.search(data)


def _not_decodable(data: bytes, encoding: str, error: UnicodeDecodeError, where: object) -> DataError:
    if _BINARY.search(data[:_BYTES_LOOKED_AT]):
        return DataError(
            "this is no text file", where=where, got=f"the byte 0x{data[error.start]:02x} at {error.start:,}"
        )
    advice = "gb18030" if _decodes(data, "gb18030") and not _is_western(data) else "latin-1"
    return DataError(
        f"the file is not {encoding.upper()} text",
        where=f"byte {error.start:,}" if where is None else f"{where}, byte {error.start:,}",
        got=f"0x{data[error.start]:02x}",
        do=f"give its encoding (--encoding {advice}), save it again as UTF-8, or set such files aside with --skip-bad",
    )


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


@dataclass
class TextReader:
    """Reads the files of one source under one rule, and remembers what was odd: bad ones set aside, other encodings.

    With ``skip_bad`` a file or row that cannot be used is noted in ``bad`` instead of raising.

    >>> reader = TextReader(skip_bad=True)
    >>> reader.read(Path("no such file")), reader.findings()[0].verdict
    (None, '1 bad item was set aside (no such file: the file cannot be read: No such file or directory).')
    """

    encoding: str = AUTO
    skip_bad: bool = False
    bad: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)

    def __post_init__(self) -> None:
        check_encoding(self.encoding)

    def read(self, path: Path) -> str | None:
        """The text of a file, or None where it was set aside."""
        try:
            text, foreign = decode_text(read_bytes(path, copies=_COPIES), encoding=self.encoding, where=path)
        except DataError as error:
            self.refuse(error, place=str(path))
            return None
        if foreign is not None:
            self.foreign.append(f"{path.name}, byte {foreign:,}")
        return text

    def refuse(self, error: DataError, *, place: str) -> None:
        """Raise the error, or with ``skip_bad`` note it.

        >>> TextReader(skip_bad=True).refuse(DataError("it is empty"), place="a.txt")
        """
        if not self.skip_bad:
            raise error
        self.bad.append(f"{place}: {error.what}")

    def findings(self) -> list[Finding]:
        """What was noted.

        >>> TextReader().findings()
        []
        """
        found = list(self.notes)
        if self.foreign:
            many = f"{len(self.foreign):,} files are not UTF-8 and were"
            files = "1 file is not UTF-8 and was" if len(self.foreign) == 1 else many
            found.append(
                remark(f"{files} read as Windows-1252, which contains latin-1 (the first: {self.foreign[0]}).")
            )
        if len(self.bad) == 1:
            found.append(remark(f"1 bad item was set aside ({self.bad[0]})."))
        elif self.bad:
            found.append(remark(f"{len(self.bad):,} bad items were set aside (the first: {self.bad[0]})."))
        return found
