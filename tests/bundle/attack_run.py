"""A process that opens every file of the corpus through every entry point, watched, with little memory to spare.

It prints one JSON list: for each opening the rule that was named, the seconds, the megabytes, and what else happened.
"""

from __future__ import annotations

import functools
import gc
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from click.testing import CliRunner
from typer.main import get_command

from corecur.bundle.open import open_untrusted
from corecur.bundle.rules import RULES
from corecur.cli import app
from corecur.errors import BundleError, CorecurError, ShapeError
from corecur.learners.image_classifier import ImageClassifier
from corecur.learners.tasks import TASKS, load_generator, load_learner
from corecur.model_file import load_weights, model_in
from corecur.models import Model

from .corpus import CORPUS, Attack
from .good_bundles import as_folder, pictures, texts
from .marker import MARKER

COMMAND = get_command(app)
SPARE = 64 << 20
# What the process may look at besides the file: how much memory there is.
SYSTEM = ("/proc/meminfo", "/sys/fs/cgroup")
WATCHED = (
    "exec", "compile", "import", "marshal.", "pickle.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.spawn",
    "subprocess.", "socket.", "ctypes.", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink",
    "os.truncate", "os.chmod", "shutil.", "tempfile.", "open", "webbrowser.", "urllib.", "http.",
)  # fmt: skip
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Watch:
    """Notes, between ``begin`` and ``end``, every event that opening a model file has no business with."""

    def __init__(self) -> None:
        self.folder: str | None = None
        self.events: list[str] = []
        sys.addaudithook(self._note)

    def _note(self, event: str, args: tuple[Any, ...]) -> None:
        if self.folder is None or not event.startswith(WATCHED):
            return
        if event == "open":
            path, _, flags = args
            name = os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else str(path)
            inside = name.startswith(self.folder) or "/" not in name or name.startswith(SYSTEM)
            if inside and not (flags or 0) & WRITING:
                return
        self.events.append(f"{event} {str(args)[:200]}")


def command(*words: str) -> Callable[[Path], None]:
    """A command of the command line, as a function that raises what it printed."""

    def run(path: Path) -> None:
        result = CliRunner().invoke(COMMAND, [word.replace("MODEL", str(path)) for word in words])
        if result.exit_code == 0:
            return
        text = f"{result.stdout}{result.stderr}"
        found = [code for code in text.replace("]", "[").split("[") if code and code in RULES]
        raise BundleError(found[-1] if found else f"exit {result.exit_code}: {text[-300:]}", text[-300:])

    return run


@functools.cache
def model_of_pictures() -> Any:
    """A model of the form that the weights of the corpus are for."""
    with tempfile.TemporaryDirectory() as folder:
        return model_in(open_untrusted(as_folder(Path(folder) / "m", pictures())))


def weights_alone(path: Path) -> None:
    """The weights of the file in a model of the right form."""
    try:
        load_weights(model_of_pictures(), path / "weights.safetensors")
    except ShapeError as error:
        raise BundleError("other-tensors", error.what) from error


ENTRIES: dict[str, tuple[set[str], Callable[[Path], Any]]] = {
    "Model.load": ({"file", "network", "build"}, Model.load),
    "info": ({"file", "network"}, command("info", "MODEL")),
    "info --json": ({"file", "network"}, command("info", "MODEL", "--json")),
    "verify": ({"file", "network", "build", "task"}, command("verify", "MODEL")),
    "load_learner": ({"file", "network", "build", "task"}, load_learner),
    "load_generator": ({"file", "network", "build", "task"}, load_generator),
    "evaluate": ({"file", "network", "build", "task"}, command("evaluate", "MODEL", "digits")),
    "predict": ({"file", "network", "build", "task"}, command("predict", "MODEL", "no.png")),
    "generate": ({"file", "network", "build", "task"}, command("generate", "MODEL")),
    "ImageClassifier.load": ({"file", "network", "build", "task"}, ImageClassifier.load),
} | {f"{row.learner.__name__}.load ": ({"file"}, row.learner.load) for row in TASKS.values()}


def entries(attack: Attack, chosen: list[str]) -> Iterator[tuple[str, Callable[[Path], Any]]]:
    """The entry points that must refuse a file."""
    for name, (doors, enter) in ENTRIES.items():
        if chosen and name not in chosen:
            continue
        other = attack.code == "other-task" and name == "ImageClassifier.load"  # which has one task
        if attack.door in doors and not other:
            yield name, enter
    if attack.id.startswith("C") and attack.id != "C31":  # which only a manifest can tell
        yield "load_weights", weights_alone


def status(field: str) -> int:
    """A line of this process's memory figures, in bytes."""
    text = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith(field))


def opened(attack: Attack, path: Path, room: Path, watch: Watch, chosen: list[str]) -> Iterator[dict[str, Any]]:
    """One file through every entry point."""
    for name, enter in entries(attack, chosen):
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
        before, code = status("VmRSS"), "accepted"
        watch.events, watch.folder = [], str(room)
        began = time.process_time()
        try:
            enter(path)
        except BundleError as error:
            code = error.code
        except BaseException as error:  # a crash is a finding, not the end
            code = f"{type(error).__name__}: {error}"[:200]
        seconds, watch.folder = time.process_time() - began, None
        if (room / MARKER).exists():
            watch.events.append("the payload ran")
        yield {
            "attack": attack.id, "entry": name, "code": code, "seconds": seconds,
            "mb": (status("VmHWM") - before) / 2**20, "events": watch.events,
        }  # fmt: skip


def run(chosen: list[str]) -> list[dict[str, Any]]:
    """All openings of all files through these entry points, or through all."""
    torch.set_num_threads(1)
    watch, results = Watch(), []
    with tempfile.TemporaryDirectory() as folder:
        good = [as_folder(Path(folder) / str(n), members) for n, members in enumerate((pictures(), texts()))]
        for _, enter in ENTRIES.values():  # what is imported at first use, is imported now
            for path in good:
                try:
                    enter(path)
                except CorecurError:
                    continue
            model_of_pictures()
        gc.collect()
        gc.freeze()  # so that collecting what an opening left looks at that alone
        limit = status("VmSize") + SPARE
        for number, attack in enumerate(CORPUS.values()):
            room = Path(folder) / f"room{number}"
            room.mkdir()
            path = attack.make(room)
            resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
            results += opened(attack, path, room, watch, chosen)
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    return results


def main() -> None:
    """Print what became of the corpus at the entry points named on the command line, or at all."""
    print(json.dumps(run(sys.argv[1:])))
