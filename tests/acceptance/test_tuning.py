"""Searches as people run them: workers, a stop, and a study that two machines' folders share on PostgreSQL.

``CORECUR_REQUIRE_POSTGRES=1`` makes a machine without PostgreSQL a failure.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corecur.errors import ConfigError, RunError
from corecur.learners.image_classifier import ImageClassifier
from corecur.tuning.leases import Leases
from corecur.tuning.open_study import join_study
from corecur.tuning.search_worker import work
from corecur.tuning.study_storage import open_storage
from corecur.tuning.trial_table import row_of
from corecur.tuning.tune import tune
from tests.soak.kills import write_sources
from tests.tuning.killed_search import in_a_process
from tests.tuning.postgres_server import PASSWORD, missing, postgres
from tests.tuning.small_search import search, told

pytestmark = pytest.mark.acceptance

_SMALL = ["--widths", "4", "--threads", "1", "--search", "learning_rate", "--sampler", "random", "--pruner", "none"]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    why = missing()
    if why is not None and not os.environ.get("CORECUR_REQUIRE_POSTGRES"):
        pytest.skip(why)
    with postgres() as url:
        yield url


def test_workers_stop_on_request_and_the_same_command_goes_on(tmp_path: Path) -> None:
    """Two workers; SIGTERM to the controller ends all three with exit code 75 and whole trials, then all is done."""
    line = [sys.executable, "-m", "corecur", "tune", "digits", *_SMALL, "--trials", "5", "--epochs", "8", "--workers",
            "2"]  # fmt: skip
    process = subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    study, last = tmp_path / "runs" / "tune-digits", time.monotonic() + 120
    while not list(study.glob("trials/*/*/metrics.jsonl")) and time.monotonic() < last:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 75, said
    assert "go on with: corecur tune digits" in said
    assert not [path for path in Path("/proc").glob("[0-9]*/cmdline") if _works_on(path, study)]
    again = subprocess.run([*line, "--json"], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=300)
    told_ = json.loads(again.stdout)
    assert [row["end"] for row in told_["trials"]] == ["done"] * 5
    assert {row["number"] for row in told_["trials"]} == set(range(5))


def _works_on(path: Path, study: Path) -> bool:
    try:
        words = path.read_bytes().split(b"\0")
    except OSError:
        return False
    return str(study).encode() in words


def test_a_wrong_password_is_told_without_it(server: str) -> None:
    with pytest.raises(RunError, match="cannot be reached(.|\n)*password authentication failed") as caught:
        open_storage(server.replace("s3cret", "wr0ng"))
    assert "wr0ng" not in str(caught.value)


def test_leases_on_postgresql(server: str) -> None:
    engine = open_storage(server.replace("postgresql+psycopg", "postgres")).engine
    mine, theirs = Leases(engine), Leases(engine)
    assert mine.claim(10**6) and not theirs.claim(10**6)
    mine.beat()
    mine.release(10**6)
    assert theirs.claim(10**6)
    theirs.release(10**6)
    engine.dispose()


def test_a_study_on_postgresql_is_shared_by_two_folders_as_by_two_machines(
    server: str, shades: Path, tmp_path: Path
) -> None:
    given: dict[str, Any] = {"trials": 4, "sampler": "random", "epochs": 1, "study": "shared"}
    expected = told(search(shades, tmp_path / "plain", **given).rows)
    one, other = tmp_path / "one", tmp_path / "other"
    search(shades, one, storage=server, **given | {"trials": 1})
    process = in_a_process(lambda: search(shades, other, storage=server, **given), tmp_path / "log")
    with contextlib.closing(join_study(one / "shared", server)) as book:
        work(book, ImageClassifier(seed=3).read(shades), trials=4, until=None, again="")
        process.join(60)
        rows = [row_of(trial, book.request) for trial in book.trials()]
    assert process.exitcode == 0
    assert told(rows) == expected
    places = [(folder / "shared" / str(row.run)).exists() for row in rows for folder in (one, other)]
    assert sum(places) == 4  # each trained once, here or there
    assert not any(PASSWORD in file.read_text("utf-8", "replace")
                   for file in tmp_path.rglob("*") if file.is_file() and file.suffix != ".db")  # fmt: skip
    with pytest.raises(ConfigError, match="of another search"):
        search(shades, one, storage=server, **given | {"seed": 4})


_TINY: dict[str, dict[str, Any]] = {
    "images": {"epochs": 1, "widths": (4, 8)},
    "generator": {"epochs": 1, "units": 16, "batch_size": 4, "bptt_steps": 24},
    "texts": {"epochs": 1, "units": 8, "embedding": 8},
    "tagger": {"epochs": 1, "units": 8},
    "series": {"epochs": 1, "members": 1, "filters": 8, "model": "fcn"},
    "forecast": {"epochs": 2},
}


@pytest.mark.parametrize("kind", list(_TINY))
def test_every_task_can_be_searched(kind: str, tmp_path: Path) -> None:
    """Its usual space, a measure of its own, its network measured, and the best model at hand."""
    source = write_sources(tmp_path)[kind][0]
    result = tune(source, out=tmp_path / "runs", trials=2, threads=1, pruner="none", **_TINY[kind])
    assert [row.end for row in result.rows] == ["done", "done"]
    assert all(row.parameters and row.latency and row.value is not None for row in result.rows)
    assert next(iter(result.rows[1].settings)) == "learning_rate"
    assert result.tests[result.best.number]["sentence"]
    assert result.learner().task == result.request.task
    run = result.folder / str(result.best.run)
    tested = json.loads((run / "config.json").read_text())["result"]["test"]
    assert tested is None or tested["split"] == "validation"  # a text generator scores what it has
