"""Leases: one owner at a time, whatever dies."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy

from corecur.run_lock import this_process
from corecur.tuning.leases import SILENCE, Leases


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sqlalchemy.Engine]:
    made = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'a.db'}", connect_args={"timeout": 60})
    yield made
    made.dispose()


def leave(engine: sqlalchemy.Engine, key: int, beat: float, **changes: object) -> None:
    """The row of another process."""
    row = {"key": key, "owner": json.dumps(this_process() | {"token": "other"} | changes), "beat": beat}
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("insert into corecur_leases values (:key, :owner, :beat)"), row)


def test_one_owner_at_a_time(engine: sqlalchemy.Engine) -> None:
    mine, theirs = Leases(engine), Leases(engine)
    assert mine.claim(1) and mine.claim(1) and not theirs.claim(1)
    assert mine.is_mine(1) and not theirs.is_mine(1) and theirs.is_held(1)
    theirs.release(1)  # not theirs to give
    assert mine.is_mine(1)
    mine.release(1)
    assert theirs.claim(1) and not mine.claim(1)


def test_the_lease_of_a_dead_process_here_is_taken_at_once_however_fresh(engine: sqlalchemy.Engine) -> None:
    leases = Leases(engine)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    leave(engine, 1, time.time(), pid=gone.pid, process_started="1")
    assert not leases.is_held(1)
    assert leases.claim(1) and leases.is_mine(1)


def test_the_lease_of_another_machine_is_taken_when_it_is_silent(engine: sqlalchemy.Engine) -> None:
    leases = Leases(engine)
    leave(engine, 1, time.time(), host="elsewhere", boot_id="other")
    leave(engine, 2, time.time() - SILENCE - 1, host="elsewhere", boot_id="other")
    assert not leases.claim(1)
    assert leases.claim(2)


def test_a_beat_keeps_a_lease_alive(engine: sqlalchemy.Engine) -> None:
    leases = Leases(engine)
    leases.claim(1)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("update corecur_leases set beat = 0"))
    leases.beat()
    with engine.connect() as connection:
        assert connection.execute(sqlalchemy.text("select beat from corecur_leases")).scalar_one() > time.time() - 5


def test_of_many_that_see_a_dead_owner_one_gets_its_lease(engine: sqlalchemy.Engine) -> None:
    Leases(engine)
    for key in range(20):
        leave(engine, key, 0.0, host="elsewhere", boot_id="other")
    rivals = [Leases(engine) for _ in range(4)]
    taken: list[list[int]] = [[] for _ in rivals]

    def grab(place: int) -> None:
        taken[place] = [key for key in range(20) if rivals[place].claim(key)]

    threads = [threading.Thread(target=grab, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(key for keys in taken for key in keys) == list(range(20))


def test_a_stretch_alone_is_alone(engine: sqlalchemy.Engine) -> None:
    inside, most = 0, 0

    def enter() -> None:
        nonlocal inside, most
        with Leases(engine).alone(-1):
            inside += 1
            most = max(most, inside)
            time.sleep(0.02)
            inside -= 1

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
