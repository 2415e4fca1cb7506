"""Where a study is kept: SQLite in its folder, or any database that Optuna takes; reached, or a clear error."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corecur.errors import ConfigError, RunError

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

# Seconds that a process waits for another one's write, and for a database to answer.
_SECONDS_TO_WRITE = 60
_SECONDS_TO_ANSWER = 10
# The driver that `corecur[tune]` brings; an address that names none gets it.
_POSTGRES = "postgresql+psycopg"


def sqlite_url(folder: Path) -> str:
    """The storage of a study that has none of its own: one file in its folder.

    >>> sqlite_url(Path("runs/tune-digits"))
    'sqlite:///runs/tune-digits/study.db'
    """
    return f"sqlite:///{folder / 'study.db'}"


def make_file(folder: Path) -> None:
    """The database file of a study, with its tables and indexes, whole or not at all: a kill in between leaves none.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     make_file(Path(folder))
    ...     [path.name for path in Path(folder).iterdir()]
    ['study.db']
    """
    for left in folder.glob(".study.db.tmp-*"):
        left.unlink(missing_ok=True)
    if not (folder / "study.db").exists():
        draft = folder / f".study.db.tmp-{secrets.token_hex(4)}"
        open_storage(f"sqlite:///{draft}").engine.dispose()
        os.replace(draft, folder / "study.db")


def hidden(url: str) -> str:
    """A storage's address without its password, for messages and files.

    >>> hidden("postgresql+psycopg://ann:secret@host/db?sslpassword=b")
    'postgresql+psycopg://ann:***@host/db'
    """
    try:
        from sqlalchemy.engine import make_url
        from sqlalchemy.exc import ArgumentError
    except ImportError:
        return "a database"
    try:
        return make_url(url).set(query={}).render_as_string(hide_password=True)
    except ArgumentError:
        return "a database"


def open_storage(url: str) -> RDBStorage:
    """The database at an address, with Optuna's tables in it; ConfigError for an address that is none.

    RunError where the database cannot be reached. No message holds the password.
    """
    try:
        import optuna
        import sqlalchemy
    except ImportError as error:
        raise ConfigError("a search needs Optuna", got=str(error), do="pip install 'corecur[tune]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    scheme, _, rest = url.partition("://")
    url = f"{_POSTGRES}://{rest}" if scheme in ("postgres", "postgresql") else url
    try:
        with reaching(url):
            # Optuna takes braces for a template of its own.
            return optuna.storages.RDBStorage(
                url.replace("{", "{{").replace("}", "}}"), engine_kwargs=_settings(url)
            )  # fmt: skip
    except (ImportError, sqlalchemy.exc.ArgumentError) as error:
        raise ConfigError(
            "this is no storage that can be opened",
            where=hidden(url),
            got=_reason(error, url),
            expected="such as postgresql+psycopg://user:password@host/database",
            do="pip install 'corecur[tune]' brings the driver for PostgreSQL",
        ) from None
    except RuntimeError as error:  # tables of another version of Optuna's
        raise _unreached(url, error) from None


@contextlib.contextmanager
def reaching(url: str) -> Iterator[None]:
    """Work with a database; RunError, without its password, where it cannot be reached or does not take something."""
    import optuna
    import sqlalchemy

    try:
        yield
    except sqlalchemy.exc.ArgumentError:
        raise
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.OptunaError) as error:
        raise _unreached(url, error) from None


def _unreached(url: str, error: BaseException) -> RunError:
    return RunError(
        "the storage cannot be reached", where=hidden(url), got=_reason(error, url),
        do="see that it runs and that name, user and password are right; then give the same command again",
    )  # fmt: skip


def _settings(url: str) -> dict[str, Any]:
    if url.startswith("sqlite"):
        return {"connect_args": {"timeout": _SECONDS_TO_WRITE}}
    # A database without an encoding of its own gives bytes unless it is asked for text.
    libpq = {"connect_timeout": _SECONDS_TO_ANSWER, "client_encoding": "utf8"}
    return {"connect_args": libpq if url.startswith(_POSTGRES) else {}, "pool_pre_ping": True}


def _reason(error: BaseException, url: str) -> str:
    """The first words of an error, the password taken out wherever it stands."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    while not hasattr(error, "orig") and error.__cause__ is not None:  # Optuna puts words of its own around it
        error = error.__cause__
    text = next((line for line in str(getattr(error, "orig", None) or error).splitlines() if line.strip()), "")
    try:
        address = make_url(url)
    except ArgumentError:
        return text.replace(url, "…")
    secrets = [address.password, *(v for k, v in address.query.items() if "pass" in k and isinstance(v, str))]
    for secret in filter(None, map(str, secrets)):
        text = text.replace(secret, "***")
    return text.replace(url, hidden(url))
