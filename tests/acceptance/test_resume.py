"""A training on real data that is killed, and one that is stopped, end as one that was never interrupted."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.acceptance

Answer = Callable[..., Any]
QUESTIONS = ("--epochs", "4", "--threads", "1", "--save-every", "20")


def digest(bundle: str | Path, folder: Path) -> str:
    return hashlib.sha256((folder / bundle / "weights.safetensors").read_bytes()).hexdigest()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 75)])
def test_questions_after_an_interruption(
    answer: Answer, data: Callable[[str], Path], tmp_path: Path, number: signal.Signals, code: int
) -> None:
    source = data("sentences") / "TREC.train.all"
    whole = answer("train", source, *QUESTIONS, "--out", "whole")
    line = [sys.executable, "-m", "corecur", "train", str(source), *QUESTIONS, "--out", "broken"]
    with subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not list(tmp_path.glob("broken/*/checkpoints/step-[1-9]*/COMMIT")):
            assert process.poll() is None, "the training was over before it could be interrupted"
            time.sleep(0.01)
        process.send_signal(number)
    assert process.returncode == code
    (run,) = tmp_path.glob("broken/*")
    assert not (run / "bundle").exists()
    again = answer("train", "--resume", run)
    assert again["test"] == whole["test"]
    assert digest(again["bundle"], tmp_path) == digest(whole["bundle"], tmp_path)
