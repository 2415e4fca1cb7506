"""Runs of the command under trouble: many that go on at once, a reader beside, folders that vanish, other threads."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from corecur import ImageClassifier
from corecur.bundle.open import open_checkpoint, open_untrusted
from corecur.errors import BundleError, Stopped
from corecur.learners.run_request import RunRequest
from tests.conftest import SHADES, write_shades
from tests.signalled import ROOT, Commands, train_words

pytestmark = pytest.mark.soak

ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT / "src")}


@pytest.fixture(scope="module")
def commands() -> Iterator[Commands]:
    found = Commands()
    yield found
    found.close()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shades(tmp_path_factory.mktemp("data") / "photos", dict.fromkeys(SHADES, 24))


@pytest.fixture(scope="module")
def stopped(commands: Commands, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was stopped in its second epoch; to be copied."""
    folder = tmp_path_factory.mktemp("stopped")
    assert commands.run(*train_words(photos), folder=folder, phase="mid-step", signals="SIGTERM").code == 75
    (made,) = folder.glob("runs/*")
    return made


def starts(line: list[str], folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "corecur", *line], cwd=folder, env=ENVIRONMENT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_of_several_that_go_on_at_once_one_does(tmp_path: Path, stopped: Path, photos: Path) -> None:
    shutil.copytree(stopped, tmp_path / "run")
    began = [starts(["train", "--resume", "run"], tmp_path) for _ in range(5)]
    ends = {process.pid: (*process.communicate(timeout=300), process.returncode) for process in began}
    winners = [pid for pid, end in ends.items() if end[2] == 0 and "going on at step" in end[0]]
    told = Counter(re.search(r"process (\d+) on|is (complete)", out + err)[0] for out, err, code in ends.values()  # type: ignore[index]
                   if "going on at step" not in out)  # fmt: skip
    print(f"{len(began)} starts, {len(winners)} went on; the others: {dict(told)}")
    assert len(winners) == 1
    assert set(told) <= {f"process {winners[0]} on", "is complete"}
    assert list((tmp_path / "run").glob("bundle/manifest.json"))


def read_all(made: Path, seen: Counter[str]) -> None:
    """Look at everything in a run, and count what is whole and what is not."""

    def look(name: str, path: Path, is_whole: object) -> None:
        try:
            whole = is_whole(path)  # type: ignore[operator]
        except FileNotFoundError:
            return  # not there yet
        seen[f"{name} {'whole' if whole else 'IN PART'}"] += 1

    look("config.json", made / "config.json", lambda path: isinstance(json.loads(path.read_bytes()), dict))
    look("metrics.jsonl", made / "metrics.jsonl", lambda path: all(
        line.endswith(b"\n") and json.loads(line) for line in path.read_bytes().splitlines(keepends=True)))  # fmt: skip
    look("report.html", made / "report.html", lambda path: path.read_bytes().rstrip().endswith(b"</html>"))
    with contextlib.suppress(FileNotFoundError):
        name = (made / "checkpoints" / "latest").read_text()
        try:
            opened = open_checkpoint(made / "checkpoints" / name.strip())
            whole = bool(opened.tensors(opened.tensor_table))
        except (BundleError, OSError) as error:
            if (made / "checkpoints" / "latest").read_text() != name:
                return  # it had to go, for a newer one was there
            whole = False
            seen[f"checkpoint {error}"] += 1
        seen[f"checkpoint {'whole' if whole else 'IN PART'}"] += 1
    if (made / "bundle").is_dir():
        seen["bundle whole"] += bool(open_untrusted(made / "bundle").model)


def test_a_reader_sees_nothing_in_part(tmp_path: Path, photos: Path) -> None:
    words = [str(word) for word in train_words(photos)]
    words[words.index("--epochs") + 1] = "40"
    seen: Counter[str] = Counter()
    process = starts(words, tmp_path)
    while process.poll() is None:
        for made in tmp_path.glob("runs/*"):
            read_all(made, seen)
    process.communicate()
    assert process.returncode == 0
    for made in tmp_path.glob("runs/*"):
        read_all(made, seen)
    print(dict(seen))
    assert not [name for name in seen if not name.endswith("whole")]
    assert seen["checkpoint whole"] > 20 and seen["bundle whole"] > 0


def test_a_run_folder_that_is_deleted_in_the_middle(tmp_path: Path, photos: Path) -> None:
    words = [str(word) for word in train_words(photos)]
    words[words.index("--epochs") + 1] = "4000"
    process = starts(words, tmp_path)
    while not list(tmp_path.glob("runs/*/checkpoints/latest")):
        assert process.poll() is None
        time.sleep(0.05)
    (made,) = tmp_path.glob("runs/*")
    made.rename(tmp_path / "gone")
    _, said = process.communicate(timeout=60)
    print(said[-300:])
    assert process.returncode == 1 and "the run folder is gone" in said and "should not" not in said
    assert list(tmp_path.glob("runs/*")) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("this user may not mount a disk")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def test_a_disk_that_becomes_read_only_and_is_mended(
    commands: Commands, small_disk: Path, tmp_path: Path, stopped: Path
) -> None:
    shutil.copytree(stopped, small_disk / "run")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    refused = commands.run("train", "--resume", small_disk / "run", folder=tmp_path)
    print(refused.err)
    assert refused.code == 1 and "the run folder cannot be written" in refused.err
    assert "Read-only file system" in refused.err
    elsewhere = commands.run("train", "digits", "--out", small_disk / "runs", folder=tmp_path)
    print(elsewhere.err)
    assert elsewhere.code == 1 and "--out" in elsewhere.err
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    assert commands.run("train", "--resume", small_disk / "run", folder=tmp_path).code == 0


def test_a_disk_that_is_full_when_it_is_resumed(
    commands: Commands, small_disk: Path, tmp_path: Path, stopped: Path
) -> None:
    shutil.copytree(stopped, small_disk / "run")
    with contextlib.suppress(OSError), open(small_disk / "ballast", "wb", buffering=0) as file:
        while file.write(bytes(1 << 16)):
            pass
    kept = sorted(path.name for path in (small_disk / "run" / "checkpoints").iterdir())
    found = commands.run("train", "--resume", small_disk / "run", folder=tmp_path)
    print(found.code, found.err)
    assert found.code in (1, 75) and "No space left" in found.err and "should not" not in found.err
    assert sorted(path.name for path in (small_disk / "run" / "checkpoints").iterdir()) == kept
    (small_disk / "ballast").unlink()
    assert commands.run("train", "--resume", small_disk / "run", folder=tmp_path).code == 0


@pytest.mark.parametrize("name", ["with space", "größe 猫", "it's", 'a "b"', "a\nb", "-x", "x" * 200 + "/" + "y" * 200])
def test_places_of_any_name(commands: Commands, tmp_path: Path, photos: Path, name: str) -> None:
    (tmp_path / "in" / name).mkdir(parents=True)
    (tmp_path / "in" / name / "runs").symlink_to(tmp_path / "real")
    (tmp_path / "real").mkdir()
    source = tmp_path / "in" / name / "photos"
    shutil.copytree(photos, source)
    found = commands.stop_and_go_on(tmp_path / "in" / name, source, "mid-step", "SIGINT")
    assert (found.code, found.steps_lost) == (75, 0)


def test_another_number_of_threads_goes_on_and_is_told(
    commands: Commands, tmp_path: Path, stopped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(stopped, tmp_path / "one")
    shutil.copytree(stopped, tmp_path / "two")
    assert commands.run("train", "--resume", "one", folder=tmp_path).code == 0
    request = RunRequest.in_config(json.loads((tmp_path / "two" / "config.json").read_text()), where=tmp_path)
    learner = ImageClassifier(threads=2, **request.settings)
    told: list[str] = []
    learner.fit(request.source, resume=tmp_path / "two", tell=told.append)
    said = capsys.readouterr().err
    assert "! threads was 1 and is 2 now: the result may differ in its last digits" in said
    one, two = (load_file(tmp_path / name / "bundle" / "weights.safetensors") for name in ("one", "two"))
    largest = max(float(np.abs(one[name].astype(np.float64) - two[name].astype(np.float64)).max()) for name in one)
    with capsys.disabled():
        print(f"largest difference of a weight after 6 more steps with another number of threads: {largest:.3g}")
    assert largest < 1e-3


def test_a_data_loader_with_workers_is_stopped_by_a_group_signal(tmp_path: Path) -> None:
    script = """
import sys, torch, time
from corecur import Sequential, Stopped
from corecur.layers import Dense
from torch.utils.data import DataLoader, TensorDataset
class Slow(TensorDataset):
    def __getitem__(self, row):
        time.sleep(0.002)
        return super().__getitem__(row)
x = torch.linspace(-1, 1, 400)[:, None]
loader = DataLoader(Slow(x, x * 3), batch_size=8, num_workers=2)
model = Sequential([Dense(1, input_shape=(1,))])
model.compile(optimizer="sgd", loss="mse")
print("ready", flush=True)
try:
    model.fit(loader, epochs=1000, checkpoints="kept", verbose=0)
except Stopped as error:
    print(error, flush=True)
    sys.exit(error.exit_code)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=tmp_path, env=ENVIRONMENT, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    while not list(tmp_path.glob("kept/step-*/COMMIT")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    time.sleep(1)
    sent = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    print(out, err, f"{time.monotonic() - sent:.2f} s")
    assert process.returncode == Stopped.exit_code and "resume=True" in out
