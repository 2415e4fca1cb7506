"""Hundreds of kills at random moments, and other ways to lose a process: always the same end."""

from __future__ import annotations

import itertools
import os
import random
import signal
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.soak.kills import (
    Fresh,
    Hit,
    Kill,
    Program,
    Run,
    Server,
    Tally,
    aimed_at,
    at_random,
    end_now,
    undisturbed,
    write_sources,
)
from tests.soak.marks import Marks

pytestmark = pytest.mark.soak

KILLS = int(os.environ.get("CORECUR_KILLS", "220"))
# Learner, whether the report has its charts (which take longer than such a training), the share of the kills.
SHARES = (
    ("images", False, 0.26), ("images", True, 0.08), ("generator", False, 0.24), ("generator", True, 0.06),
    ("texts", False, 0.09), ("tagger", False, 0.09), ("series", False, 0.09), ("forecast", False, 0.09),
)  # fmt: skip
# The share of those that are aimed at something; the others come at any time.
AIMED = 0.45
DAY = 86_400
# What is aimed at, and how often: what is short is hardly ever hit at a random time.
TARGETS = {"save": 4, "training": 3, "validation": 3, "pruning": 2, "reading": 2, "test": 1, "bundle": 1, "report": 1,
           "result": 1}  # fmt: skip
MUST_BE_HIT = {
    "before the run folder", "before the first checkpoint", "going on", "training", "save", "pruning", "validation",
    "test", "bundle", "report", "after the end",
}  # fmt: skip


def kills_of(
    program: Program,
    folder: Path,
    arguments: tuple[str, ...],
    kills: int,
    *,
    aimed: float = AIMED,
    **environment: Any,
) -> Tally:
    """Runs of one learner until so many kills have hit; each run goes on until it is done."""
    folder.mkdir()
    end, seconds = undisturbed(program, folder / "undisturbed", arguments, **environment)
    draw = random.Random(folder.name)
    tally = Tally()
    while len(tally.hits) < kills:
        run = Run(folder / f"run-{tally.runs}", arguments, **environment)
        for _ in range(draw.randint(1, 3)):
            (target,) = draw.choices([*TARGETS], [*TARGETS.values()])
            kill = aimed_at(target, draw, seconds) if draw.random() < aimed else at_random(draw, seconds)
            hit = run.attempt(program, kill, save_every=draw.choice("137"))
            if isinstance(hit, Hit):
                tally.hits.append(hit)
            else:
                assert hit == 0, run.log.read_text()[-2000:]
                break
        run.finish(program)
        tally.runs += 1
        tally.equal += run.end() == end
        run.remove()
    return tally


def test_kills_at_random_moments(tmp_path: Path) -> None:
    jobs, total = write_sources(tmp_path), Tally()
    with Server() as server:
        for name, charts, share in SHARES:
            folder = tmp_path / f"{name}{' with charts' if charts else ''}"
            tally = kills_of(server, folder, jobs[name], round(KILLS * share), **({} if charts else {"NO_CHARTS": 1}))
            tally.report(folder.name)
            total += tally
    total.report("all")
    assert total.equal == total.runs
    assert len(total.hits) >= 0.95 * KILLS
    assert set(total.phases) >= MUST_BE_HIT, "what was never hit is not shown"
    assert sum(hit.is_inside_a_save for hit in total.hits) >= KILLS // 20, "saves were seldom caught half done"
    assert max(hit.steps for hit in total.hits) > 0, "there were no steps to be done again"


def test_kills_of_fresh_processes(tmp_path: Path) -> None:
    arguments = (*write_sources(tmp_path)["images"], "--epochs", "30")  # or most kills would come while it loads
    tally = kills_of(Fresh(), tmp_path / "fresh", arguments, max(3, KILLS // 20), aimed=0)
    tally.report("fresh processes")
    assert tally.equal == tally.runs
    with Server() as server:
        forked, _ = undisturbed(server, tmp_path / "forked", arguments)
    assert forked == Run(tmp_path / "fresh" / "undisturbed", arguments).end()


def by_signal(number: signal.Signals, wait: float) -> Kill:
    def kill(pid: int, marks: Marks) -> float | None:
        time.sleep(wait)
        return end_now(pid, number)

    return kill


def asleep(wait: float, seconds: float) -> Kill:
    """Held for some seconds, as a laptop that is closed, and let go again."""

    def kill(pid: int, marks: Marks) -> float | None:
        time.sleep(wait)
        if end_now(pid, signal.SIGSTOP) is not None:
            time.sleep(seconds)
            end_now(pid, signal.SIGCONT)
        return None

    return kill


@pytest.mark.parametrize("name", ["images", "generator"])
def test_a_crash_of_the_interpreter_and_a_process_that_sleeps(tmp_path: Path, name: str) -> None:
    arguments, draw, hits = write_sources(tmp_path)[name], random.Random(11), Counter[str]()
    with Server() as server:
        end, seconds = undisturbed(server, tmp_path / "undisturbed", arguments, NO_CHARTS=1)
        for number in range(6):
            run = Run(tmp_path / f"run-{number}", arguments, NO_CHARTS=1)
            for _ in range(2):
                found = run.attempt(server, by_signal(signal.SIGSEGV, draw.uniform(0.2, 1) * seconds), save_every="3")
                hits["crash"] += isinstance(found, Hit)
            slept = run.attempt(server, asleep(draw.uniform(0.1, 0.5) * seconds, 5.0))
            hits["sleep"] += slept == 0
            assert run.end() == end
    print(name, dict(hits), flush=True)
    assert hits["crash"] >= 4 and hits["sleep"] == 6


class LoaderRun(Run):
    """A training of one's own, with a loader's two worker processes."""

    @property
    def folder(self) -> None:
        """There is none: the checkpoints lie in a folder of the caller's."""

    def command(self, save_every: str = "") -> tuple[str, ...]:
        self.out.mkdir(exist_ok=True)
        return ("loader-fit", str(self.out))

    def weights(self) -> bytes:
        """The bytes of the model that it leaves."""
        return (self.out / "bundle" / "weights.safetensors").read_bytes()


def workers_of(pid: int) -> list[int]:
    """The child processes of a process."""
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listed.read_text().split()] if listed.exists() else []


@pytest.mark.parametrize("victims", ["all", "one worker", "the parent"])
def test_a_training_with_worker_processes(tmp_path: Path, victims: str) -> None:
    draw, hits = random.Random(5), 0

    def kill(pid: int, marks: Marks) -> float | None:
        """Once both workers live, and some time after, in the midst of an epoch."""
        while len(workers := workers_of(pid)) < 2:
            time.sleep(0.001)
            if not Path(f"/proc/{pid}").exists():
                return None
        time.sleep(draw.uniform(0, 0.2))
        if victims == "all":
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        return end_now(workers[0] if victims == "one worker" else pid)

    with Server() as server:
        whole = LoaderRun(tmp_path / "undisturbed", ())
        whole.finish(server)
        for number in range(6):
            run = LoaderRun(tmp_path / f"run-{number}", ())
            for _ in range(2):
                found = run.attempt(server, kill)
                hits += found != 0
            run.finish(server)
            assert run.weights() == whole.weights()
    print(f"{victims}: {hits} of 12 hit", flush=True)
    assert hits >= 6


def make_the_newest_look_oldest(run: Run) -> None:
    """By the dates of the files; the numbers of the steps say otherwise."""
    for age, step in enumerate(run.steps):
        (checkpoint,) = run.out.glob(f"*/checkpoints/step-{step}")
        for path in (*checkpoint.iterdir(), checkpoint):
            os.utime(path, (1e9 - age * DAY,) * 2)


def test_a_clock_that_jumps_changes_nothing(tmp_path: Path, injector: Path) -> None:
    arguments, draw = write_sources(tmp_path)["generator"], random.Random(3)
    places = ((DAY, "Pacific/Apia"), (-DAY, "America/Adak"), (0, "UTC"), (-400 * DAY, "Asia/Kolkata"))
    with Server(injector) as server:
        end, seconds = undisturbed(server, tmp_path / "undisturbed", arguments, NO_CHARTS=1)
        run, hits = Run(tmp_path / "run", arguments, NO_CHARTS=1), 0
        for clock, zone in itertools.islice(itertools.cycle(places), 12):
            newest, said = max(run.steps, default=None), len(run.log.read_text()) if hits else 0
            kill = aimed_at("training", draw, 0.5 * seconds)
            found = run.attempt(server, kill, save_every="1", FAULT_CLOCK=clock, TZ=zone)
            hits += isinstance(found, Hit)
            if hits > 1:
                assert f"going on at step {newest}" in run.log.read_text()[said:]
            if not isinstance(found, Hit):
                break
            make_the_newest_look_oldest(run)
        else:
            run.finish(server)
    print(f"clock: {hits} kills", flush=True)
    assert hits >= 2
    assert run.end() == end
