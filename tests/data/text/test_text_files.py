from __future__ import annotations

from pathlib import Path

import pytest

from corecur.data.text.text_files import TextReader, decode_text
from corecur.errors import ConfigError, DataError

WESTERN = "Der Müller café – „schön“ und 20 weitere Wörter in dieser Zeile"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_marks_and_utf8_are_found(encoding: str) -> None:
    assert decode_text("好 café\r\nb\rc".encode(encoding)) == ("好 café\nb\nc", None)


def test_western_bytes_are_windows_1252() -> None:
    assert decode_text(WESTERN.encode("cp1252")) == (WESTERN, WESTERN.index("ü"))
    assert decode_text(b"a long enough text \x81")[0] == "a long enough text \x81"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (WESTERN.encode("cp1252"), "byte 5.*0xfc.*--encoding latin-1"),
        ("味道很好，送餐很快".encode("gb18030"), "byte 2.*--encoding gb18030"),
        (b"PNG\x00\x01\xff\xfe", "no text file"),
    ],
)
def test_utf8_alone_refuses_with_place_and_advice(data: bytes, words: str) -> None:
    with pytest.raises(DataError, match=f"(?s){words}"):
        decode_text(data, encoding="utf-8", where="a.txt")


def test_auto_does_not_take_anything_for_western() -> None:
    for data in ("味道很好，送餐很快".encode("gb18030"), "очень хорошо".encode("cp1251"), b"\x89PNG\x00\xff"):
        with pytest.raises(DataError):
            decode_text(data, where="a.txt")
    with pytest.raises(DataError, match="utf-16-le"):
        decode_text("plain".encode("utf-16-le"))


def test_a_given_encoding_rules(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes("味道很好".encode("gb18030"))
    assert TextReader("gb18030").read(tmp_path / "a") == "味道很好"
    for name in ("no-such", "base64", "rot13"):
        with pytest.raises(ConfigError, match="encoding"):
            TextReader(name)


def test_bad_files_are_set_aside_and_counted(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes("味道很好".encode("gb18030"))
    (tmp_path / "b").write_bytes(WESTERN.encode("cp1252"))
    reader = TextReader(skip_bad=True)
    assert reader.read(tmp_path / "a") is None and reader.read(tmp_path / "b") == WESTERN
    western, bad = map(str, reader.findings())
    assert "Windows-1252" in western and "b, byte 5" in western
    assert bad.startswith("1 bad item was set aside") and "not UTF-8" in bad
    with pytest.raises(DataError, match="cannot be read"):
        TextReader().read(tmp_path)
