"""Run folders and signals at full size: many processes at once, many kills at random times."""

from __future__ import annotations

import collections
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from corecur.errors import RunError
from corecur.run_folder import RunFolder
from corecur.run_lock import is_running

pytestmark = pytest.mark.soak

# All have loaded torch when they begin, so that they truly begin at once.
OPENERS = r"""
import os, sys, time
from pathlib import Path
from corecur.errors import RunError
from corecur.run_folder import RunFolder
go, start = os.pipe()
for number in range(100):
    if os.fork() == 0:
        os.close(start)
        os.read(go, 1)
        try:
            run = RunFolder.open(Path(sys.argv[1]))
            os.write(1, b"held %d\n" % os.getpid())
            run.log(f"{os.getpid()} writes")
            time.sleep(5)
        except RunError as error:
            os.write(1, " ".join(str(error).split()).encode() + b"\n")
            os._exit(0)
        run.close()
        os._exit(0)
os.close(start)
for number in range(100): os.wait()
"""


def test_of_a_hundred_that_open_a_run_at_once_one_wins(tmp_path: Path) -> None:
    RunFolder.create(tmp_path, "a", {"seed": 1}).close()
    (path,) = tmp_path.iterdir()
    line = [sys.executable, "-c", OPENERS, str(path)]
    answers = subprocess.run(line, capture_output=True, text=True, check=True).stdout.splitlines()
    winners = [answer.split()[1] for answer in answers if answer.startswith("held")]
    assert (len(answers), len(winners)) == (100, 1)
    named = collections.Counter(re.findall(r"got: process (\d+) on", "\n".join(answers)))
    assert named == {winners[0]: 99}
    assert re.fullmatch(rf"\S+ {winners[0]} writes\n", (path / "log.txt").read_text())
    assert sorted(os.listdir(path)) == ["config.json", "log.txt"]


WRITER = r"""
import os, sys
from pathlib import Path
from corecur.run_folder import RunFolder
for request in sys.stdin:                       # a fresh process each time, without loading torch again
    child = os.fork()
    if child == 0:
        run, turn = RunFolder.open(Path(sys.argv[1])), 0
        os.write(1, b"%d\n" % os.getpid())
        while True:
            turn += 1
            text = "x" * 4 ** (turn % 9)
            run.write_config({"text": text, "size": len(text)})
            run.replace_metrics([{"epoch": number} for number in range(turn % 50)])
            for number in range(5): run.log_metrics({"epoch": turn % 50 + number}); run.log("line " * turn)
    os.waitpid(child, 0)
    os.write(1, b"gone\n")
"""


def test_after_a_kill_at_any_moment_a_run_is_whole_and_free(tmp_path: Path) -> None:
    RunFolder.create(tmp_path, "a", {"text": "", "size": 0}).close()
    (path,) = tmp_path.iterdir()
    line, left = [sys.executable, "-c", WRITER, str(path)], collections.Counter[str]()
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as writer:
        assert writer.stdin is not None and writer.stdout is not None
        for _ in range(300):
            writer.stdin.write("again\n")
            pid = int(writer.stdout.readline())
            assert is_running(path)
            time.sleep(random.uniform(0, 0.05))
            os.kill(pid, signal.SIGKILL)
            assert writer.stdout.readline() == "gone\n"
            left.update(re.sub(r"[a-z0-9_]{8}$", "…", name) for name in os.listdir(path))
            assert not is_running(path)
            with RunFolder.open(path) as run:
                config = run.config
                assert len(config["text"]) == config["size"]
                metrics = run.path / "metrics.jsonl"
                whole = metrics.read_bytes().splitlines(keepends=True) if metrics.exists() else []
                assert run.epochs == sum(row.endswith(b"\n") for row in whole)
                rows = [json.loads(row) for row in whole if row.endswith(b"\n")]
                assert [row["epoch"] for row in rows] == list(range(len(rows)))
            assert sorted(os.listdir(path)) in (
                ["config.json", "log.txt"], ["config.json", "log.txt", "metrics.jsonl"],
            )  # fmt: skip
        writer.stdin.close()
    assert (path / "log.txt").read_text().count("taken over") == 300
    assert left["lock"] == 300 and any(name.startswith(".") for name in left), "the kills must have hit writes"


STEPS = """
import os, random, sys, time
from corecur.errors import Stopped
from corecur.interruption import polite, wanted, watch
watch()
print("ready", flush=True)
done = 0
try:
    while True:
        with polite():
            for _ in range(20):
                begun = os.open(sys.argv[1], os.O_CREAT | os.O_EXCL)
                time.sleep(random.uniform(0, 0.002))
                os.close(begun); os.unlink(sys.argv[1])
                if wanted(): raise Stopped("stopped on request")
except Stopped as stopped:
    print("by itself", flush=True)
    sys.exit(stopped.exit_code)
"""


def test_a_signal_at_any_moment_ends_with_75_and_inside_a_stretch_after_a_whole_step(tmp_path: Path) -> None:
    ways = collections.Counter[str]()
    for turn in range(200):
        step = tmp_path / f"step-{turn}"
        line = [sys.executable, "-c", STEPS, str(step)]
        with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None and process.stderr is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(random.uniform(0, 0.1))
            sent = time.monotonic()
            process.send_signal(random.choice([signal.SIGINT, signal.SIGTERM]))
            way, said = process.stdout.read().strip() or "at once", process.stderr.read()
        assert process.returncode == 75 and "Traceback" not in said
        assert time.monotonic() - sent < 2
        assert not step.exists()
        ways[way] += 1
    assert ways["by itself"] > 100


def test_a_run_that_somebody_else_writes_stays_as_it_is(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path, "a", {"seed": 1}) as run:
        before = {path: path.read_bytes() for path in run.path.iterdir()}
        for _ in range(20):
            with pytest.raises(RunError):
                RunFolder.open(run.path)
        assert {path: path.read_bytes() for path in run.path.iterdir()} == before
