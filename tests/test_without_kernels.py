"""The package where no C++ compiler was: it installs, says so once, and computes the same on torch alone."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from corecur.kernels.library import info
from tests.unpacked_wheel import build_wheel, run_python, unpacked

NOTICE = "corecur runs without its native kernels, several times slower: "
WHY = "the package was installed without a C++ compiler; install g++ or clang and corecur anew"


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as it is installed where there is no compiler."""
    into = tmp_path_factory.mktemp("bare")
    return unpacked(build_wheel(into, CXX=str(into / "nothing")))


def test_a_compiler_means_kernels() -> None:
    """A build that fails leaves a package that works, so that only this tells of an error in the kernels' source."""
    if os.environ.get("CORECUR_KERNELS") == "off":
        pytest.skip("the kernels are switched off")
    if not any(map(shutil.which, ("g++", "clang++"))):
        pytest.skip("there is no C++ compiler")
    assert info().isa is not None, info().why
    assert info().threads == "torch's OpenMP threads"


def test_without_a_compiler_the_package_installs(bare: Path) -> None:
    assert (bare / "corecur" / "kernels" / "native.py").is_file()
    assert not list(bare.rglob("*.so"))


RECURRENT = """
import torch, corecur
from corecur import kernels
from corecur.layers import GRU, LSTM, Bidirectional, SimpleRNN
print(corecur.__file__)
print("before", flush=True)
x = torch.randn(3, 5, 2)
for make in (SimpleRNN, LSTM, GRU):
    for layer in (make(4), make(4, zoneout=0.1), Bidirectional(make(4))):
        layer(x, mask=torch.arange(5) < torch.tensor([[5], [0], [2]])).sum().backward()
        assert kernels.last_path().kernel in ("fused", "scripted loop"), kernels.last_path()
print(kernels.info().why)
"""


def test_one_notice_comes_at_first_use(bare: Path, tmp_path: Path) -> None:
    done = run_python(bare, "-c", RECURRENT, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    where, before, why = done.stdout.splitlines()
    assert Path(where).is_relative_to(bare)
    assert (before, why) == ("before", WHY)
    assert done.stderr.count(NOTICE + WHY) == 1
    assert run_python(bare, "-c", "import corecur.layers, corecur.kernels", cwd=tmp_path).stderr == ""


def test_the_command_says_it_in_a_line(bare: Path, tmp_path: Path) -> None:
    rows = [f"the {word} number {number},{label}" for number in range(30) for word, label in PAIRS]
    (tmp_path / "words.csv").write_text("text,label\n" + "\n".join(rows) + "\n", "utf-8")
    done = run_python(bare, "-m", "corecur", "train", "words.csv", "--model", "gru", "--epochs", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if "kernels" in line] == [f"! {NOTICE}{WHY}"]
    assert "Warning" not in done.stderr
    assert "test accuracy" in done.stdout


PAIRS = (("cat", "animal"), ("oak", "plant"))
