"""Hundreds of kills at random moments, and one after every change of a file in a save: always the same end."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from pathlib import Path

import pytest

from tests.soak.kills import (
    End,
    Server,
    Tally,
    at_random,
    command,
    inside_a_save,
    report,
    serving,
    uninterrupted,
    until_done,
    write_sources,
)

KILLS = int(os.environ.get("CORECUR_KILLS", "220"))
# The share of the kills that each learner gets.
SHARES = {"images": 0.35, "generator": 0.35, "texts": 0.1, "tagger": 0.1, "series": 0.05, "forecast": 0.05}
MUST_BE_HIT = ("before the first checkpoint", "inside a save", "between checkpoints", "test, report, bundle")


def killed(server: Server, folder: Path, name: str, arguments: tuple[str, ...], kills: int) -> Tally:
    """Runs of one learner until so many kills have hit; every one must end as the undisturbed one."""
    end, seconds = uninterrupted(server, folder / "whole", arguments)
    draw, tally = random.Random(name), Tally()
    while tally.kills < kills:
        out = folder / f"run-{tally.runs}"
        kill = inside_a_save(draw) if draw.random() < 0.3 else at_random(draw, seconds)
        code = until_done(
            server, out, arguments, kill, tally, save_every=lambda: draw.choice(["1", "3", "8"]), most=draw.randint(1, 5)
        )
        assert code == 0, out.with_suffix(".log").read_text()[-2000:]
        tally.runs += 1
        tally.equal += End.of(out) == end
    report(name, tally)
    return tally


def test_kills_at_random_moments(tmp_path: Path) -> None:
    total = Tally()
    jobs = write_sources(tmp_path)
    with serving() as server:
        for name, share in SHARES.items():
            folder = tmp_path / name
            folder.mkdir()
            tally = killed(server, folder, name, jobs[name], round(KILLS * share))
            total.runs, total.equal, total.kills = (
                total.runs + tally.runs, total.equal + tally.equal, total.kills + tally.kills
            )  # fmt: skip
            total.phases += tally.phases
    report("all", total)
    assert total.equal == total.runs
    assert total.kills >= KILLS * 0.9
    assert all(total.phases[phase] for phase in MUST_BE_HIT), "a phase was never hit: the test shows nothing of it"


@pytest.fixture(scope="module")
def injector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that ends a process, or lets its calls fail, at one of them."""
    library = tmp_path_factory.mktemp("injector") / "kill_at.so"
    source = Path(__file__).with_name("kill_at.c")
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl", "-lpthread"], check=True)
    return library


ARGUMENTS = ("digits", "--epochs", "1", "--widths", "4", "--batch-size", "256")


@pytest.mark.parametrize("under", ["/checkpoints", "/"], ids=["every change of a checkpoint", "every third of any file"])
def test_a_kill_after_every_change_of_a_file(injector: Path, tmp_path: Path, under: str) -> None:
    with serving(injector) as server:
        end, _ = uninterrupted(server, tmp_path / "whole", ARGUMENTS)
        calls = tmp_path / "calls.txt"
        place = f"{tmp_path}/counted"
        server.start(command(Path(place), ARGUMENTS, "4"), tmp_path / "log", KILL_UNDER=place + "/", KILL_LOG=calls)
        assert server.wait() == 0
        matching = [line for line in calls.read_text().splitlines() if under in line.partition("/counted")[2]]
        assert len(matching) > 50
        hits = 0
        for number in range(1, len(matching) + 1, 1 if under == "/checkpoints" else 3):
            out = tmp_path / f"out-{number}"
            # The run folder's name holds the time, so the place in it is matched by what stands behind.
            match = "/checkpoints" if under == "/checkpoints" else f"/out-{number}/"
            server.start(command(out, ARGUMENTS, "4"), tmp_path / "log", KILL_UNDER=match, KILL_AT=number)
            code = server.wait()
            hits += code == -signal.SIGKILL
            while code:
                server.start(command(out, ARGUMENTS, "4"), tmp_path / "log", KILL_UNDER="nothing", KILL_AT=0)
                code = server.wait()
                assert code == 0, (tmp_path / "log").read_text()[-2000:]
            assert End.of(out) == end, f"after call {number}"
        print(f"{under}: {len(matching)} calls in an undisturbed run, {hits} kills")
        assert hits > 0.8 * len(range(1, len(matching) + 1, 1 if under == "/checkpoints" else 3))
