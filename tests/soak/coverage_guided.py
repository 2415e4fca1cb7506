"""Coverage-guided fuzzing of the one door, with the library atheris, which is no dependency of the project.

``python -m tests.soak.coverage_guided -max_total_time=600 -len_control=0``: an input is a member, framed by a manifest
that fits, or the archive itself. Anything but a BundleError is a crash.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["corecur.bundle", "corecur.architecture", "json"]):
    from corecur.bundle.open import open_untrusted
    from corecur.errors import BundleError
    from corecur.model_file import shapes_in

from tests.bundle.good_bundles import pictures, with_manifest
from tests.bundle.raw_zip import plain, raw_zip

PATH = Path(tempfile.mkdtemp()) / "m.corecur"
MEMBERS = ("model.json", "weights.safetensors", "labels.json", "card.md", "preprocess.json")


def one_input(data: bytes) -> None:
    """Open what the fuzzer made of its input."""
    if data and data[0] < len(MEMBERS):
        raw_zip(PATH, plain(with_manifest(pictures() | {MEMBERS[data[0]]: data[1:]})))
    else:
        PATH.write_bytes(data[1:])
    try:
        bundle = open_untrusted(PATH)
        shapes_in(bundle)
        bundle.tensor_file.verify()
    except BundleError:
        return


def seeds() -> Path:
    """The good members and the good archive, as inputs to begin with."""
    folder = Path(tempfile.mkdtemp())
    for number, name in enumerate(MEMBERS):
        (folder / name).write_bytes(bytes([number]) + pictures()[name])
    (folder / "archive").write_bytes(b"\xff" + raw_zip(PATH, plain(pictures())).read_bytes())
    return folder


if __name__ == "__main__":
    atheris.Setup([*sys.argv, str(seeds())], one_input)
    atheris.Fuzz()
