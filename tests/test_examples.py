"""Every example runs, shortened, and says what it promises."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def run(name: str, *arguments: str) -> None:
    runpy.run_path(str(EXAMPLES / name))["main"](arguments)


def share(text: str) -> float:
    """The first percentage in a text, from 0 to 1."""
    found = re.search(r"(\d+\.\d+) ?%", text)
    assert found is not None, text
    return float(found[1]) / 100


def test_every_example_is_run_here() -> None:
    tested = Path(__file__).read_text("utf-8")
    assert [path.name for path in EXAMPLES.glob("*.py") if f'run("{path.name}"' not in tested] == []


def test_mnist_cnn(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CORECUR_DATA", raising=False)
    run("mnist_cnn.py", "--epochs", "2", "--samples", "1000")
    out = capsys.readouterr().out
    assert "225,034" in out  # the parameters of the articles' network
    assert share(out) > 0.7


def test_own_layer_is_refused_unless_its_class_is_passed(capsys: pytest.CaptureFixture[str]) -> None:
    run("own_layer.py", "--epochs", "3")
    out = capsys.readouterr().out
    assert "[unknown-layer]" in out
    assert "the same answers: True" in out
    assert share(out) > 0.7


def test_functional_branches(capsys: pytest.CaptureFixture[str]) -> None:
    run("functional_branches.py", "--epochs", "2")
    out = capsys.readouterr().out
    accuracies = [float(value) for value in re.findall(r"^\w*accuracy (\S+)$", out, re.MULTILINE)]
    assert len(accuracies) == 2 and min(accuracies) > 0.6


def test_photographs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    for name, colour in (("sky", (90, 150, 250)), ("grass", (60, 180, 40))):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(20):
            pixels = rng.normal(colour, 30, (16, 16, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    run("photographs.py", str(tmp_path / "photos"), "--epochs", "3", "--model", str(tmp_path / "model"))
    out = capsys.readouterr().out
    assert share(out) > 0.7
    assert sorted(path.name for path in (tmp_path / "model").iterdir())[-1] == "weights.safetensors"


def test_vanishing_gradients(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("vanishing_gradients.py", str(tmp_path / "plot.svg"), "--short")
    out = capsys.readouterr().out
    shrunk = {name: float(value) for name, value in re.findall(r"^(.+): 99 steps back (\S+) before", out, re.MULTILINE)}
    assert shrunk["simple RNN, weights of norm 0.7"] < 1e-12 < shrunk["simple RNN, orthogonal"]
    assert shrunk["LSTM, forget bias 0"] < shrunk["LSTM, forget bias 1"] < shrunk["LSTM, forget bias 4"]
    assert shrunk["GRU"] < shrunk["GRU, update bias 4"]
    assert (tmp_path / "plot.svg").read_text("utf-8").startswith("<?xml")
