"""The command, which sends itself a signal in a phase of its work: ``python -m tests.signalled PHASE SIGNAL train …``.

The signal is a real one, and what the phase was about to do goes on after it, more slowly. When it was sent, and after
how many steps, stands in the file that ``$SIGNALLED`` names. ``SIGINT,SIGINT`` is one and half a second later another.
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
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# phase -> (where the function is, its name, which of its calls, seconds that it takes longer)
PHASES: dict[str, tuple[str, str, int, float]] = {
    "data scan": ("corecur.data.decoding", "quiet_pillow", 1, 2.0),
    "preparing": ("corecur.learners.image_classifier:ImageClassifier", "set_up", 1, 0.5),
    "first step": ("corecur.engine.trainer:Trainer", "train_step", 1, 0.3),
    "mid-step": ("corecur.engine.micro_batches:MicroBatches", "run", 7, 0.3),
    "mid-save": ("corecur.engine.checkpoint", "write_members", 4, 0.5),
    "save, before its name": ("corecur.engine.checkpoint", "sync_folder", 4, 0.5),
    "pruning": ("corecur.engine.checkpoint:CheckpointFolder", "prune", 4, 0.3),
    "validation": ("corecur.engine.micro_batches:MicroBatches", "run", 8, 0.3),
    "end of an epoch": ("corecur.run_folder:MetricsLog", "on_epoch_end", 2, 0.3),
    "last save": ("corecur.engine.checkpointing:Checkpointing", "finish", 1, 0.3),
    "test": ("corecur.learners.image_classifier:ImageClassifier", "test", 1, 1.0),
    "bundle": ("corecur.bundle.write", "write_members", 1, 1.0),
    "report": ("corecur.report.page", "render", 1, 1.0),
    "result": ("corecur.run_folder", "_write_json", 2, 1.0),
    "after all": ("corecur.console", "say_result", 1, 1.0),
    "step without end": ("corecur.engine.micro_batches:MicroBatches", "run", 7, 60.0),
    "save without end": ("corecur.engine.checkpoint", "write_members", 4, 60.0),
}


_STEPS = [0]


def send(numbers: list[int]) -> None:
    """Send this process its signals, and note when the last one comes."""
    for wait, number in enumerate(numbers[1:], 1):
        threading.Timer(wait / 2, os.kill, [os.getpid(), number]).start()
    last = time.monotonic() + (len(numbers) - 1) / 2
    Path(os.environ["SIGNALLED"]).write_text(f"{last} {_STEPS[0]}")
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
    importlib.import_module("corecur.learners.resume")  # whoever takes a function by its name has it before the change
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


class AtImport(MetaPathFinder):
    """Sends the signal when a module is looked for first."""

    def __init__(self, name: str, numbers: list[int]) -> None:
        self.name, self.numbers = name, numbers

    def find_spec(self, name: str, *_: Any) -> None:
        if name == self.name:
            sys.meta_path.remove(self)
            send(self.numbers)


def main() -> None:
    phase, numbers = sys.argv[1], [int(signal.Signals[name]) for name in sys.argv[2].split(",")]
    del sys.argv[1:3]
    if phase == "import":
        sys.meta_path.insert(0, AtImport("torch", numbers))
    else:
        count_steps()
        send_in(phase, numbers)
    importlib.import_module("corecur.__main__").main()


# in the process that starts it


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
        return self.steps_at_signal - (self.step_resumed or 0)


def run(*words: object, folder: Path, before: tuple[str, ...] = ("-m", "corecur")) -> subprocess.CompletedProcess[str]:
    """The command, or what stands in its place, in a folder."""
    environment = os.environ | {
        "SIGNALLED": str(folder / "signalled"),
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}",
    }
    line = [sys.executable, *before, *map(str, words)]
    return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300)


def train_words(photos: Path) -> list[object]:
    """A training of 12 steps in 4 epochs, each of which is kept."""
    return ["train", photos, "--epochs", 4, "--threads", 1, "--widths", "4,8", "--save-every", 1]


def stop_and_go_on(folder: Path, photos: Path, phase: str, signals: str) -> Outcome:
    """Stop the command in a phase, and do what it says then."""
    words = train_words(photos)
    stopped = run(phase, signals, *words, folder=folder, before=("-m", "tests.signalled"))
    ended = time.monotonic()
    assert (folder / "signalled").exists(), (stopped.returncode, stopped.stderr)
    sent, steps = (folder / "signalled").read_text().split()
    hint = re.search(r"corecur (train --resume .*)", stopped.stderr)
    again = run(*(words if hint is None else shlex.split(hint[1])), folder=folder)
    assert again.returncode == 0, again.stderr
    (made,) = folder.glob("runs/*")
    found = re.search(r"going on at step (\d+)", again.stdout)
    resumed = 12 if "complete" in again.stdout else int(found[1]) if found else None
    return Outcome(stopped.returncode, ended - float(sent), int(steps), resumed, stopped.stderr, made)


def figures(made: Path) -> tuple[bytes, list[dict[str, Any]]]:
    """Weights and results of a run, without what a clock says."""
    rows = [json.loads(line) for line in (made / "metrics.jsonl").read_text().splitlines()]
    kept = [{name: value for name, value in row.items() if name not in ("seconds", "waiting")} for row in rows]
    return (made / "bundle" / "weights.safetensors").read_bytes(), kept


if __name__ == "__main__":
    main()
