"""Who works on which trial: a row in the study's database, for as long as its process lives.

A process that is killed leaves its row. On the same machine that is seen at once; elsewhere its row grows old. Whoever
sees it takes the row over, which only one of several can: an update names the owner it replaces.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from corecur.run_lock import is_alive, this_process

if TYPE_CHECKING:
    from sqlalchemy import Engine, Table

#: Seconds between signs of life, and after how many without one a process on another machine counts as dead.
BEAT, SILENCE = 5.0, 120.0
_PAUSE = 0.05


class Leases:
    """The leases of a database; a key is a trial's id, or any other number that nobody else uses.

    >>> import sqlalchemy
    >>> engine = sqlalchemy.create_engine("sqlite://")
    >>> mine, theirs = Leases(engine), Leases(engine)
    >>> mine.claim(7), theirs.claim(7), mine.release(7), theirs.claim(7)
    (True, False, None, True)
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.owner = json.dumps(this_process() | {"token": secrets.token_hex(8)})
        self._table = _table(engine)

    def claim(self, key: int) -> bool:
        """Take a lease that is free or a dead process's; False where somebody has it."""
        from sqlalchemy import insert, update
        from sqlalchemy.exc import IntegrityError

        table, now = self._table, time.time()
        found = self._holder(key)
        if found is None:
            try:
                with self.engine.begin() as connection:
                    connection.execute(insert(table).values(key=key, owner=self.owner, beat=now))
            except IntegrityError:
                return False
            return True
        owner, beat = found
        if owner == self.owner:
            return True
        if _lives(owner, now - beat):
            return False
        was = (table.c.key == key) & (table.c.owner == owner) & (table.c.beat == beat)
        with self.engine.begin() as connection:
            taken = connection.execute(update(table).where(was).values(owner=self.owner, beat=now))
        return bool(taken.rowcount == 1)

    def release(self, key: int) -> None:
        """Give a lease back; nothing where it is not this process's."""
        from sqlalchemy import delete

        table = self._table
        with self.engine.begin() as connection:
            connection.execute(delete(table).where((table.c.key == key) & (table.c.owner == self.owner)))

    def is_held(self, key: int) -> bool:
        """Whether a living process has a lease."""
        found = self._holder(key)
        return found is not None and _lives(found[0], time.time() - found[1])

    def is_mine(self, key: int) -> bool:
        """Whether this process still has a lease."""
        found = self._holder(key)
        return found is not None and found[0] == self.owner

    def beat(self) -> None:
        """Give a sign of life for all leases of this process."""
        from sqlalchemy import update

        table = self._table
        with self.engine.begin() as connection:
            connection.execute(update(table).where(table.c.owner == self.owner).values(beat=time.time()))

    @contextlib.contextmanager
    def alone(self, key: int) -> Iterator[None]:
        """A stretch that only one process at a time is in."""
        while not self.claim(key):
            time.sleep(_PAUSE)
        try:
            yield
        finally:
            self.release(key)

    def _holder(self, key: int) -> tuple[str, float] | None:
        from sqlalchemy import select

        table = self._table
        with self.engine.connect() as connection:
            row = connection.execute(select(table.c.owner, table.c.beat).where(table.c.key == key)).first()
        return None if row is None else (str(row[0]), float(row[1]))


def _table(engine: Engine) -> Table:
    from sqlalchemy import Column, Double, Integer, MetaData, Table, Text, inspect
    from sqlalchemy.exc import DBAPIError

    data = MetaData()
    table = Table(
        "corecur_leases",
        data,
        Column("key", Integer, primary_key=True, autoincrement=False),
        Column("owner", Text, nullable=False),
        Column("beat", Double, nullable=False),
    )
    try:
        data.create_all(engine)
    except DBAPIError:  # another worker made it between the look and the making
        if not inspect(engine).has_table(table.name):
            raise
    return table


def _lives(owner: str, silence: float) -> bool:
    """Whether the owner of a lease works on: here that is known, elsewhere its sign of life must be fresh."""
    said: Any = json.loads(owner)
    mine = this_process()
    is_here = all(said.get(name) == mine[name] for name in ("host", "boot_id"))
    return is_alive(said) if is_here else silence < SILENCE
