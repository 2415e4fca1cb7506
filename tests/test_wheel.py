"""The wheel: it holds the native kernels, runs where no compiler is, and needs of a system what its tag says."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from corecur.kernels.library import info
from tests.kernels.needs_kernels import needs_kernels
from tests.unpacked_wheel import ROOT, build_wheel, run_python, unpacked

pytestmark = [needs_kernels, pytest.mark.skipif(sys.platform != "linux", reason="what the tag means is Linux's")]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As ``make wheel`` makes it, from what is compiled already."""
    compiled = sorted(ROOT.glob("build/py3-none-linux_*/CMakeCache.txt"))
    if not compiled:
        pytest.skip("nothing is compiled in build/: the package is not installed from this source")
    tag = compiled[-1].parent.name.replace("py3-none-linux", "manylinux_2_17")
    return build_wheel(tmp_path_factory.mktemp("wheel"), build=compiled[-1].parent, _PYTHON_HOST_PLATFORM=tag)


def test_it_runs_its_kernels_where_no_compiler_is(wheel: Path, tmp_path: Path) -> None:
    package = unpacked(wheel)
    code = (
        "from corecur import kernels; found = kernels.info(); print(found.isa, found.threads, found.path, sep=chr(10))"
    )
    done = run_python(package, "-c", code, cwd=tmp_path, PATH=str(tmp_path))
    assert done.stderr == ""
    isa, threads, path = done.stdout.splitlines()
    assert (isa, threads) == (info().isa, info().threads)
    assert Path(path).is_relative_to(package)


def test_it_needs_no_more_than_its_tag_says(wheel: Path) -> None:
    """glibc 2.17 or newer (PEP 600), and no library but C's: least of all C++'s, or a second OpenMP runtime."""
    assert re.fullmatch(r"corecur-.*-py3-none-manylinux_2_17_\w+\.whl", wheel.name)
    (library,) = unpacked(wheel).rglob("libcorecur_kernels.so")
    content = library.read_bytes()
    versions = {tuple(map(int, found.split(b"."))) for found in re.findall(rb"\0GLIBC_([\d.]+)(?=\0)", content)}
    assert (2,) < max(versions) <= (2, 17)
    needed = set(re.findall(rb"\0((?:lib|ld-)[\w+-]+\.so[.\d]*)(?=\0)", content))
    assert needed <= {b"libc.so.6", b"libm.so.6", b"libcorecur_kernels.so"}
    assert b"libc.so.6" in needed


def test_it_holds_no_source_of_the_kernels(wheel: Path) -> None:
    assert not [path for path in unpacked(wheel).rglob("*") if path.suffix in (".cpp", ".hpp", ".o")]
