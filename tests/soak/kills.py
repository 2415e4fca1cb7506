"""Trainings that are killed and gone on with until they are done, and what they must end as."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu", "xi"]
_PATIENCE = 300.0


def write_sources(folder: Path) -> dict[str, tuple[str, ...]]:
    """Small data for every learner, and the command that trains on them: augmentation, mix-up, dropout, states."""
    draw = random.Random(1)
    lines = ["text,label"]
    for _ in range(300):
        good = draw.random() < 0.5
        words = draw.choices(_WORDS, k=draw.randint(2, 20)) + draw.choices(["fine", "great"] if good else ["bad"], k=2)
        lines.append(" ".join(words) + (",good" if good else ",bad"))
    (folder / "texts.csv").write_text("\n".join(lines))
    (folder / "book.txt").write_text(" ".join(draw.choices(_WORDS, k=1500)))
    tagged = [" ".join(draw.choices(_WORDS, k=draw.randint(3, 9))) for _ in range(120)]
    sentences = ("\n".join(f"{w}\t{'LONG' if len(w) > 4 else 'SHORT'}" for w in line.split()) for line in tagged)
    (folder / "tags.conll").write_text("\n\n".join(sentences) + "\n")
    return {
        "images": ("digits", "--epochs", "2", "--batch-size", "256", "--widths", "4,8", "--mixup", "0.2", "--cutout", "3", "--patience", "1"),
        "generator": (str(folder / "book.txt"), "--epochs", "2", "--units", "24", "--batch-size", "4",
                      "--bptt-steps", "24"),
        "texts": (str(folder / "texts.csv"), "--epochs", "3"),
        "tagger": (str(folder / "tags.conll"), "--epochs", "3", "--units", "24"),
        "series": ("waves", "--epochs", "2", "--members", "1"),
        "forecast": ("passengers", "--epochs", "8"),
    }  # fmt: skip


class Server:
    """Starts the command in forked children (``fork_server.py``), with a library to preload or without."""

    def __init__(self, preload: Path | None = None) -> None:
        more = {"OMP_NUM_THREADS": "1"} | ({} if preload is None else {"LD_PRELOAD": str(preload)})
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.soak.fork_server"], cwd=ROOT, env=os.environ | more, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def start(self, argv: tuple[str, ...], log: Path, **environment: object) -> int:
        """Start a child; its process id."""
        job = {"argv": argv, "log": str(log), "environment": {k: str(v) for k, v in environment.items()}}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return int(self._line())

    def wait(self) -> int:
        """The exit code of the child, once it has ended."""
        return int(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def close(self) -> None:
        """End the server."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(_PATIENCE)


@contextmanager
def serving(preload: Path | None = None) -> Iterator[Server]:
    """A server for as long as the block lasts."""
    server = Server(preload)
    try:
        yield server
    finally:
        server.close()


@dataclass(frozen=True)
class End:
    """What a run ends as: the hashes of its model and of its last state (optimiser, random numbers), and its figures."""

    weights: str
    state: str
    figures: tuple[str, ...]

    @classmethod
    def of(cls, out: Path) -> End:
        (run,) = out.iterdir()
        last = (run / "checkpoints" / "latest").read_text().strip()
        rows = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
        timeless = [{k: v for k, v in row.items() if k not in ("seconds", "waiting")} for row in rows]
        return cls(
            _hash(run / "bundle" / "weights.safetensors"),
            _hash(run / "checkpoints" / last / "tensors.safetensors"),
            tuple(json.dumps(row, sort_keys=True) for row in timeless),
        )


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def phase(out: Path) -> str:
    """Where a killed run stands, told by what it left."""
    run = next(iter(out.iterdir()), None) if out.exists() else None
    if run is None or not (run / "config.json").exists():
        return "before the run folder"
    checkpoints = run / "checkpoints"
    names = [entry.name for entry in checkpoints.iterdir()] if checkpoints.exists() else []
    if any(".tmp-" in name for name in names):
        return "inside a save"
    if not any((checkpoints / name / "COMMIT").exists() for name in names):
        return "before the first checkpoint"
    if '"result"' in (run / "config.json").read_text():
        return "after the end"
    if "trained " in (run / "log.txt").read_text():
        return "test, report, bundle"
    return "between checkpoints"


@dataclass
class Tally:
    """What became of many kills."""

    runs: int = 0
    equal: int = 0
    kills: int = 0
    phases: Counter[str] = field(default_factory=Counter)
    again: list[int] = field(default_factory=list)  # steps done again after each kill


def newest(out: Path) -> int:
    """The step of the newest checkpoint of a run, 0 without one."""
    steps = [int(c.parent.name[5:]) for c in out.glob("*/checkpoints/step-*/COMMIT") if ".tmp-" not in c.parent.name]
    return max(steps, default=0)


def command(out: Path, arguments: tuple[str, ...], save_every: str) -> tuple[str, ...]:
    """What a person types: the training, or, where a run was begun, to go on with it."""
    run = next(iter(out.iterdir()), None) if out.exists() else None
    if run is not None and (run / "config.json").exists():
        return ("train", "--resume", str(run), "--save-every", save_every)
    if run is not None:  # killed between the folder and its first file
        shutil.rmtree(run)
    return ("train", *arguments, "--threads", "1", "--save-every", save_every, "--out", str(out))


def until_done(
    server: Server, out: Path, arguments: tuple[str, ...], kill: Callable[[int, Path], bool], tally: Tally, *,
    save_every: Callable[[], str], most: int,
) -> int:  # fmt: skip
    """Start, let ``kill(pid, out)`` end it, and go on, up to ``most`` times; then to the end. The last exit code."""
    log = out.with_suffix(".log")
    for attempt in range(most + 1):
        pid = server.start(command(out, arguments, save_every()), log)
        hit = kill(pid, out) if attempt < most else False
        code = server.wait()
        if code != -signal.SIGKILL:
            return code
        assert hit
        tally.kills += 1
        tally.phases[phase(out)] += 1
    return code


def at_random(draw: random.Random, seconds: float) -> Callable[[int, Path], bool]:
    """Kill at a time drawn uniformly from the length of a whole run."""

    def kill(pid: int, out: Path) -> bool:
        time.sleep(draw.uniform(0, seconds))
        return _end(pid)

    return kill


def inside_a_save(draw: random.Random) -> Callable[[int, Path], bool]:
    """Kill as soon as one of the next saves has begun to write."""

    def kill(pid: int, out: Path) -> bool:
        wanted, patience = draw.randint(1, 4), time.monotonic() + 20
        seen: set[str] = set()
        while time.monotonic() < patience:
            for folder in out.glob("*/checkpoints"):
                with os.scandir(folder) as entries:
                    seen |= {entry.name for entry in entries if ".tmp-" in entry.name}
            if len(seen) >= wanted:
                time.sleep(draw.uniform(0, 0.004))
                return _end(pid)
            if not Path(f"/proc/{pid}").exists() or Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][1] == "Z":
                return False
        return False

    return kill


def _end(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def uninterrupted(server: Server, out: Path, arguments: tuple[str, ...]) -> tuple[End, float]:
    """What a run ends as that nobody disturbs, and how long it takes in seconds."""
    began = time.monotonic()
    server.start(command(out, arguments, "4"), out.with_suffix(".log"))
    code = server.wait()
    assert code == 0, out.with_suffix(".log").read_text()[-2000:]
    return End.of(out), time.monotonic() - began


def report(name: str, tally: Tally) -> dict[str, Any]:
    """The figures of many kills, printed as they are returned."""
    found = {"runs": tally.runs, "equal": tally.equal, "kills": tally.kills, "phases": dict(tally.phases)}
    print(name, json.dumps(found), flush=True)
    return found
