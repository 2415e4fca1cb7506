"""Trainings that are killed and gone on with until they are done, and what they must end as."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tests.soak.marks import Marks

ROOT = Path(__file__).parents[2]
_WORDS = [
    "alpha",
    "beta",
    "gamma",
    "delta",
    "epsilon",
    "zeta",
    "eta",
    "theta",
    "iota",
    "kappa",
    "lambda",
    "mu",
    "nu",
    "xi",
]
_PATIENCE = 300.0
#: Kills a process, now or later, that leaves these marks; when that was (``time.time()``), or None where it came late.
Kill = Callable[[int, Marks], float | None]


def write_sources(folder: Path) -> dict[str, tuple[str, ...]]:
    """Small data for every learner, and the command that trains on them: augmentation, mix-up, dropout, states."""
    draw = random.Random(1)
    lines = ["text,label"]
    for _ in range(200):
        good = draw.random() < 0.5
        words = draw.choices(_WORDS, k=draw.randint(2, 20)) + draw.choices(["fine", "great"] if good else ["bad"], k=2)
        lines.append(" ".join(words) + (",good" if good else ",bad"))
    (folder / "texts.csv").write_text("\n".join(lines))
    (folder / "book.txt").write_text(" ".join(draw.choices(_WORDS, k=900)))
    tagged = [" ".join(draw.choices(_WORDS, k=draw.randint(3, 9))) for _ in range(100)]
    sentences = ("\n".join(f"{w}\t{'LONG' if len(w) > 4 else 'SHORT'}" for w in line.split()) for line in tagged)
    (folder / "tags.conll").write_text("\n\n".join(sentences) + "\n")
    return {
        "images": ("digits", "--epochs", "3", "--batch-size", "256", "--widths", "4,8", "--mixup", "0.2",
                   "--cutout", "3"),
        "generator": (str(folder / "book.txt"), "--epochs", "2", "--units", "24", "--batch-size", "4",
                      "--bptt-steps", "24"),
        "texts": (str(folder / "texts.csv"), "--epochs", "3"),
        "tagger": (str(folder / "tags.conll"), "--epochs", "3", "--units", "24"),
        "series": ("waves", "--epochs", "2", "--members", "1", "--filters", "16", "--mixup", "0.2", "--dropout", "0.2"),
        "forecast": ("passengers", "--epochs", "30", "--learning-rate", "0.1", "--patience", "1"),  # stops early
    }  # fmt: skip


class Program(Protocol):
    """What starts the command, one process at a time."""

    def start(self, argv: Sequence[str], log: Path, *, marks: Path | None = None, **environment: Any) -> int:
        """Start it; its process id."""

    def wait(self) -> int:
        """Its exit code, once it has ended."""


class Fresh:
    """Starts the command as a person does: a new interpreter each time, which marks nothing."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, argv: Sequence[str], log: Path, *, marks: Path | None = None, **environment: Any) -> int:
        more = {"OMP_NUM_THREADS": "1"} | {name: str(value) for name, value in environment.items()}
        if marks is not None:
            Marks(marks).reset("with a checkpoint")
        with log.open("ab") as file:
            line = [sys.executable, "-m", "corecur", *argv]
            self._process = subprocess.Popen(line, env=os.environ | more, stdout=file, stderr=file)
        return self._process.pid

    def wait(self) -> int:
        assert self._process is not None
        return self._process.wait(_PATIENCE)


class Server:
    """Starts the command in forked children (``fork_server.py``), with a library to preload or without."""

    def __init__(self, preload: Path | None = None) -> None:
        more = {"OMP_NUM_THREADS": "1"} | ({} if preload is None else {"LD_PRELOAD": str(preload)})
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.soak.fork_server"], cwd=ROOT, env=os.environ | more, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def start(self, argv: Sequence[str], log: Path, *, marks: Path | None = None, **environment: Any) -> int:
        job: dict[str, Any] = {"argv": argv, "log": str(log), "marks": "" if marks is None else str(marks)}
        job["environment"] = {name: str(value) for name, value in environment.items()}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return int(self._line())

    def wait(self) -> int:
        return int(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        with self._process:  # closes its standard input, which ends it
            pass


@dataclass(frozen=True)
class Hit:
    """What one kill hit: what was being done, whether a save was left half done, and what was lost by it."""

    phase: str
    is_inside_a_save: bool
    steps: int
    seconds: float


class Run:
    """One run of the command in a folder of its own, over as many processes as it takes.

    Each gets the environment; with ``NO_CHARTS=1`` the report is a page without sections. ``notes`` is a folder for
    what is written about the run and no part of it.
    """

    def __init__(self, out: Path, arguments: Sequence[str], *, notes: Path | None = None, **environment: Any) -> None:
        self.out = out
        self.notes = out.parent if notes is None else notes
        self.arguments = arguments
        self.environment = environment
        self.log = self.beside("log")
        self.marks = Marks(self.beside("marks"))

    def beside(self, kind: str) -> Path:
        """A file about the run."""
        return self.notes / f"{kind}-of-{self.out.name}"

    @property
    def folder(self) -> Path | None:
        """The run folder, once there is one."""
        found = [path for path in self.out.glob("*") if not path.name.startswith(".")]
        assert len(found) < 2, "a run was begun anew beside one that could have gone on"
        return found[0] if found else None

    @property
    def steps(self) -> list[int]:
        """The steps whose checkpoints are in their place."""
        found = self.out.glob("*/checkpoints/step-*/COMMIT")
        return sorted(int(path.parent.name[5:]) for path in found if ".tmp-" not in path.parent.name)

    def command(self, save_every: str = "4") -> tuple[str, ...]:
        """What a person types: the training, or, where a run was begun, to go on with it."""
        run = self.folder
        if run is not None:
            return ("train", "--resume", str(run), "--save-every", save_every)
        return ("train", *self.arguments, "--threads", "1", "--save-every", save_every, "--out", str(self.out))

    def attempt(
        self, program: Program, kill: Kill | None = None, *, save_every: str = "4", **environment: Any
    ) -> int | Hit:
        """Begin or go on, and kill or not: the exit code, or what was hit."""
        self.marks.reset()
        began = time.time()
        more = self.environment | environment
        pid = program.start(self.command(save_every), self.log, marks=self.marks.path, **more)
        at = None if kill is None else kill(pid, self.marks)
        code = program.wait()
        if kill is not None and code in (-signal.SIGKILL, -signal.SIGSEGV):
            return self.hit(began, at or time.time())
        return code

    def hit(self, began: float, at: float) -> Hit:
        """What a kill at this time hit, in a process that began then."""
        saved = [path.stat().st_mtime for path in self.out.glob("*/checkpoints/step-*/COMMIT")]
        since = max([began, *(time for time in saved if time < at)])
        lost = max(0, self.marks.step - max(self.steps, default=0))
        return Hit(self._phase(), any(self.out.glob("*/checkpoints/step-*.tmp-[0-9]*-*")), lost, max(0.0, at - since))

    def _phase(self) -> str:
        run = self.folder
        if run is None:
            return "before the run folder"
        if '"result"' in (run / "config.json").read_text():
            return "after the end"
        if not self.steps:
            return "before the first checkpoint"
        if self.marks.writer:
            return self.marks.writer
        if self.marks.main in ("start", "reading"):
            return "going on"
        return self.marks.main

    def finish(self, program: Program, **environment: Any) -> None:
        """Go on to the end, undisturbed."""
        code = self.attempt(program, **environment)
        assert code == 0, self.log.read_text()[-2000:]

    def end(self) -> dict[str, str]:
        """What the run ends as, by hashes: every member of its model, its last state, its figures, its test."""
        run = self.folder
        assert run is not None
        timed = ("card.md", "manifest.json")  # the card holds a date and the command; the manifest its hash
        members = {path.name: path.read_bytes() for path in (run / "bundle").iterdir() if path.name not in timed}
        last = (run / "checkpoints" / "latest").read_text().strip()
        members["last state"] = (run / "checkpoints" / last / "tensors.safetensors").read_bytes()
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        timeless = [{k: v for k, v in row.items() if k not in ("seconds", "waiting")} for row in rows]
        members["metrics.jsonl"] = json.dumps(timeless).encode()
        members["test"] = json.dumps(json.loads((run / "config.json").read_text())["result"]["test"]).encode()
        return {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}

    def remove(self) -> None:
        """Make room: hundreds of runs are large."""
        shutil.rmtree(self.out, ignore_errors=True)


def undisturbed(
    program: Program, out: Path, arguments: Sequence[str], **environment: Any
) -> tuple[dict[str, str], float]:
    """What a run ends as that nobody disturbs, and how long it takes in seconds."""
    ends, times = [], []
    for name in (out.name, f"{out.name}-again"):  # the first one may wait for files to be read
        run, began = Run(out.with_name(name), arguments, **environment), time.monotonic()
        run.finish(program)
        times.append(time.monotonic() - began)
        ends.append(run.end())
    assert ends[0] == ends[1]
    return ends[0], min(times)


def end_now(pid: int, number: signal.Signals = signal.SIGKILL) -> float | None:
    """Send a signal; when that was, or None where the process was gone."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)
        return time.time()
    return None


def at_random(draw: random.Random, seconds: float) -> Kill:
    """A kill at a time drawn uniformly from the length of a whole run."""
    wait = draw.uniform(0, seconds)

    def kill(pid: int, marks: Marks) -> float | None:
        time.sleep(wait)
        return end_now(pid)

    return kill


def aimed_at(phase: str, draw: random.Random, seconds: float) -> Kill:
    """A kill shortly after the process begins, once some of its time is over, to do a thing of this name."""
    wait = 0.0 if phase == "reading" else draw.uniform(0, 0.4 * seconds)
    then = draw.uniform(0, 0.2 * seconds if phase == "training" else 0.006)

    def kill(pid: int, marks: Marks) -> float | None:
        time.sleep(wait)
        while phase not in (marks.main, marks.writer):
            time.sleep(0.0002)
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return None
        time.sleep(then)
        return end_now(pid)

    return kill


@dataclass
class Tally:
    """What became of many kills."""

    runs: int = 0
    equal: int = 0
    hits: list[Hit] = field(default_factory=list)

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.runs + other.runs, self.equal + other.equal, self.hits + other.hits)

    @property
    def phases(self) -> Counter[str]:
        """How many kills hit what."""
        return Counter(hit.phase for hit in self.hits)

    def report(self, name: str) -> dict[str, Any]:
        """The figures, printed as they are returned; bounds are exact two-sided 95 % ones where all are equal."""
        kills = len(self.hits)
        found: dict[str, Any] = {"kills": kills, "runs": self.runs, "runs equal": self.equal}
        if self.equal == self.runs:
            found["at least, of kills and of runs"] = [round(0.025 ** (1 / n), 4) for n in (kills, self.runs)]
        found["left half a save"] = sum(hit.is_inside_a_save for hit in self.hits)
        for what, values in (("steps", [h.steps for h in self.hits]), ("seconds", [h.seconds for h in self.hits])):
            found[f"{what} lost"] = {"median": round(statistics.median(values), 3), "most": round(max(values), 3)}
        found["phases"] = dict(self.phases.most_common())
        print(f"{name}: {json.dumps(found)}", flush=True)
        return found
