"""The command in processes of its own, which send themselves a signal in a phase of their work.

The signal is a real one, and what the phase was about to do goes on after it, more slowly. Torch takes seconds to load:
``python -m tests.signalled`` loads it once, and each command is a fork of that process. ``SIGINT,SIGINT`` is one signal
and half a second later another.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# phase -> (where the function is, its name, which of its calls, seconds that it takes longer)
PHASES: dict[str, tuple[str, str, int, float]] = {
    "data scan": ("corecur.data.decoding", "quiet_pillow", 1, 2.0),
    "preparing": ("corecur.learners.image_classifier:ImageClassifier", "set_up", 1, 0.5),
    "first step": ("corecur.engine.trainer:Trainer", "train_step", 1, 0.3),
    "mid-step": ("corecur.engine.micro_batches:MicroBatches", "run", 7, 0.3),
    "mid-save": ("corecur.engine.checkpoint", "write_members", 2, 0.5),
    "save, before its name": ("corecur.engine.checkpoint", "sync_folder", 2, 0.5),
    "pruning": ("corecur.engine.checkpoint:CheckpointFolder", "prune", 2, 0.3),
    "validation": ("corecur.engine.micro_batches:MicroBatches", "run", 8, 0.3),
    "end of an epoch": ("corecur.run_folder:MetricsLog", "on_epoch_end", 2, 0.3),
    "last save": ("corecur.engine.checkpointing:Checkpointing", "finish", 1, 0.3),
    "test": ("corecur.learners.image_classifier:ImageClassifier", "test", 1, 1.0),
    "bundle": ("corecur.bundle.write", "write_members", 1, 1.0),
    "report": ("corecur.report.page", "render", 1, 1.0),
    "result": ("corecur.run_folder", "_write_json", 2, 1.0),
    "after all": ("corecur.console", "say_result", 1, 1.0),
    "step without end": ("corecur.engine.micro_batches:MicroBatches", "run", 7, 60.0),
    "save without end": ("corecur.engine.checkpoint", "write_members", 2, 60.0),
}


_STEPS = [0]


def send(numbers: list[int]) -> None:
    """Send this process its signals, and note when the last one comes."""
    for wait, number in enumerate(numbers[1:], 1):
        threading.Timer(wait / 2, os.kill, [os.getpid(), number]).start()
    last = time.monotonic() + (len(numbers) - 1) / 2
    Path("signalled").write_text(f"{last} {_STEPS[0]}")
    os.kill(os.getpid(), numbers[0])


def count_steps() -> None:
    """Count the steps that are done."""
    from corecur.engine.trainer import Trainer

    train_step = Trainer.train_step

    def counted(self: Any, batch: Any) -> Any:
        found = train_step(self, batch)
        _STEPS[0] = self.step
        return found

    Trainer.train_step = counted  # type: ignore[method-assign]


def send_in(phase: str, numbers: list[int]) -> None:
    """Send the signal when a phase begins."""
    place, name, call, seconds = PHASES[phase]
    module, _, kind = place.partition(":")
    owner = importlib.import_module(module)
    owner = getattr(owner, kind) if kind else owner
    work: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def signalled(*words: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            send(numbers)
            time.sleep(seconds)
        return work(*words, **options)

    setattr(owner, name, signalled)


def work(words: list[str], phase: str, signals: str) -> None:
    """In a child: the command, with its output in files."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    code: Any = 1
    try:
        if phase:
            count_steps()
            send_in(phase, [int(signal.Signals[name]) for name in signals.split(",")])
        sys.argv[1:] = words
        importlib.import_module("corecur.__main__").main()
    except SystemExit as end:
        code = end.code or 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def serve() -> None:
    """Load everything, then a child for each line of orders: folder, words, phase, signals."""
    for name in ("__main__", "cli", "learners.resume", "learners.image_classifier", "report.page"):
        importlib.import_module(f"corecur.{name}")
    importlib.import_module("torch._dynamo")  # which the first step of an optimiser loads
    for line in sys.stdin:
        folder, *order = json.loads(line)
        child = os.fork()
        if child == 0:
            os.chdir(folder)
            work(*order)
        _, status = os.waitpid(child, 0)
        print(json.dumps([os.waitstatus_to_exitcode(status), time.monotonic()]), flush=True)


# in the process that gives the orders


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    at: float
    out: str
    err: str


@dataclass(frozen=True)
class Outcome:
    """What became of a stop and of going on after it."""

    code: int
    seconds: float
    steps_at_signal: int
    step_resumed: int | None
    said: str
    run: Path

    @property
    def steps_lost(self) -> int:
        """Steps that were done and are done again."""
        return max(0, self.steps_at_signal - (self.step_resumed or 0))


class Commands:
    """Runs commands, one after the other."""

    def __init__(self) -> None:
        environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}", "OMP_NUM_THREADS": "1"}
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.signalled"], env=environment, text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def run(self, *words: object, folder: Path, phase: str = "", signals: str = "") -> Ended:
        """The command in a folder, with a signal in a phase of it if one is named."""
        assert self._server.stdin is not None and self._server.stdout is not None
        self._server.stdin.write(json.dumps([str(folder), [*map(str, words)], phase, signals]) + "\n")
        code, at = json.loads(self._server.stdout.readline())
        return Ended(code, at, *((folder / name).read_text(errors="surrogateescape") for name in ("stdout", "stderr")))

    def stop_and_go_on(self, folder: Path, photos: Path, phase: str, signals: str) -> Outcome:
        """Stop a training in a phase, and do what it says then."""
        words = train_words(photos)
        stopped = self.run(*words, folder=folder, phase=phase, signals=signals)
        assert (folder / "signalled").exists(), stopped
        sent, steps = (folder / "signalled").read_text().split()
        hint = re.search(r"corecur (train --resume .*)", stopped.err, re.DOTALL)
        again = self.run(*(words if hint is None else shlex.split(hint[1])), folder=folder)
        assert again.code == 0, again
        (made,) = folder.glob("runs/*")
        found = re.search(r"going on at step (\d+)", again.out)
        resumed = 12 if "complete" in again.out else int(found[1]) if found else None
        return Outcome(stopped.code, stopped.at - float(sent), int(steps), resumed, stopped.err, made)

    def close(self) -> None:
        """End the process that they are forks of."""
        self._server.communicate()


def train_words(photos: Path) -> list[object]:
    """A training of 12 steps in 4 epochs, each of which is kept."""
    return ["train", photos, "--epochs", 4, "--threads", 1, "--widths", "4,8", "--save-every", 1]


def figures(made: Path) -> tuple[bytes, list[dict[str, Any]]]:
    """Weights and results of a run, without what a clock says."""
    rows = [json.loads(line) for line in (made / "metrics.jsonl").read_text().splitlines()]
    kept = [{name: value for name, value in row.items() if name not in ("seconds", "waiting")} for row in rows]
    return (made / "bundle" / "weights.safetensors").read_bytes(), kept


if __name__ == "__main__":
    serve()
