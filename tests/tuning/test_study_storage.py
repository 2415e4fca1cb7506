"""Storages: SQLite, PostgreSQL for real, and those that cannot be reached; no message holds a password."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from corecur.errors import ConfigError, RunError
from corecur.tuning.study_storage import hidden, open_storage, reaching, sqlite_url


@pytest.mark.parametrize(
    ("url", "kind", "words"),
    [
        ("postgresql+psycopg://ann:topsecret@127.0.0.1:1/db", RunError, "cannot be reached"),
        ("postgresql+psycopg://ann:topsecret@no-such-host.invalid/db", RunError, "cannot be reached"),
        ("sqlite:////nowhere/at/all/study.db", RunError, "cannot be reached"),
        ("topsecret", ConfigError, "no storage that can be opened"),
        ("martian://ann:topsecret@host/db", ConfigError, "no storage that can be opened"),
    ],
)
def test_a_storage_that_cannot_be_reached_is_told_without_its_password(
    url: str, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words) as caught:
        open_storage(url)
    assert "topsecret" not in str(caught.value)


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_bytes(b"not a database " * 100)
    with pytest.raises(RunError, match="cannot be reached"):
        open_storage(sqlite_url(tmp_path))


def test_braces_in_a_path_are_no_template(tmp_path: Path) -> None:
    folder = tmp_path / "a {b} c 猫"
    folder.mkdir()
    open_storage(sqlite_url(folder)).engine.dispose()
    with contextlib.closing(sqlite3.connect(folder / "study.db")) as database:
        assert ("studies",) in database.execute("select name from sqlite_master").fetchall()


def test_an_address_is_shown_without_password_and_query() -> None:
    assert hidden("postgresql+psycopg://a:b@h:5/d?password=c") == "postgresql+psycopg://a:***@h:5/d"
    assert hidden("nothing") == "a database"


def test_a_database_that_goes_away_in_the_middle_is_told_with_the_cause_and_without_the_password() -> None:
    import optuna
    import sqlalchemy

    url = "postgresql+psycopg://ann:topsecret@host/db"
    cause = sqlalchemy.exc.OperationalError("select 1", {}, Exception("server closed, topsecret and all"))
    with pytest.raises(RunError, match="cannot be reached(.|\n)*server closed, \\*\\*\\* and all"), reaching(url):
        raise optuna.exceptions.StorageInternalError("An exception is raised during the commit.") from cause
