"""Good bundles changed at random: bytes of the archive, bytes and values of members whose hashes fit again."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from corecur.bundle.open import open_untrusted
from corecur.bundle.rules import RULES
from corecur.bundle.write import as_json
from corecur.errors import BundleError
from corecur.learners.tasks import learner_in
from corecur.model_file import model_in

from .good_bundles import Members, pictures, texts, with_manifest
from .raw_zip import plain, raw_zip

MOST_SECONDS = 2.0
VALUES: list[Any] = [
    None, True, 0, -1, 1, 2**31, 2**63, 10**30, 0.5, 1e308, "", "x", "Dense", "Model", "Sequential", "../x",
    "os.system",
    [], [None, 4], [2, 2], {}, {"kind": "Dense"}, {"tensor": [0, 0]}, {"layer": {"kind": "Dense"}}, "__class__", "F64",
]  # fmt: skip


def changed_bytes(content: bytes, rng: random.Random) -> bytes:
    """A few bytes flipped, cut out, doubled or put in."""
    for _ in range(rng.choice([1, 1, 2, 5])):
        place, end = sorted(rng.randrange(len(content) + 1) for _ in range(2))
        end = min(end, place + 40)
        middle = rng.choice([b"", content[place:end] * 2, rng.randbytes(end - place), b'"', b"{", b"[", b",", b"\0"])
        content = content[:place] + middle + content[end:]
    return content or b"\0"


def changed_value(content: bytes, rng: random.Random) -> bytes:
    """JSON with another value, key or element somewhere inside."""
    document = {"root": json.loads(content)}
    inside: Any = document
    step: Any = "root"
    while isinstance(inside[step], (dict, list)) and inside[step] and rng.random() < 0.8:
        inside = inside[step]
        step = rng.choice(sorted(inside) if isinstance(inside, dict) else range(len(inside)))
    kind = rng.randrange(4)
    if kind == 0 and isinstance(inside, dict) and inside is not document:
        inside[rng.choice(["kind", "layers", "config", "x", "name"])] = inside.pop(step)
    elif kind == 1 and isinstance(inside, list):
        inside.append(inside[step])
    elif kind == 2 and inside is not document:
        del inside[step]
    else:
        inside[step] = rng.choice(VALUES)
    return as_json(document.get("root"))


def changed_header(content: bytes, rng: random.Random) -> bytes:
    """Weights whose header is changed and has a length that fits."""
    length = int.from_bytes(content[:8], "little")
    change = rng.choice([changed_bytes, changed_value])
    header = change(content[8 : 8 + length].rstrip(), rng)
    return len(header).to_bytes(8, "little") + header + content[8 + length :]


def changed_member(rng: random.Random) -> tuple[Members, str]:
    """A good bundle with one member changed, the manifest fitting."""
    members = rng.choice([pictures, texts])()
    name = rng.choice(sorted(set(members) - {"manifest.json"}))
    changes: list[Callable[[bytes, random.Random], bytes]] = [changed_bytes]
    if name.endswith(".json"):
        changes += [changed_value] * 3
    elif name.endswith(".safetensors"):
        changes += [changed_header] * 3
    return with_manifest(members | {name: rng.choice(changes)(members[name], rng)}), name


def fuzz(folder: Path, *, seed: int, seconds: float | None = None, count: int | None = None) -> Counter[str]:
    """Open so many changed bundles, or for so long; what came of them. Anything but a BundleError is raised."""
    rng, found, until = random.Random(seed), Counter[str](), time.monotonic() + (seconds or 1e9)
    path = folder / "m.corecur"
    while time.monotonic() < until and found.total() < (count or 1 << 60):
        if rng.random() < 0.3:
            raw_zip(path, plain(rng.choice([pictures, texts])()))
            path.write_bytes(changed_bytes(path.read_bytes(), rng))
        else:
            raw_zip(path, plain(changed_member(rng)[0]))
        began, code = time.process_time(), "accepted"
        try:
            bundle = open_untrusted(path)
            model_in(bundle)
            learner_in(bundle, device="cpu")
        except BundleError as error:
            code = error.code
        found[code] += 1
        took = time.process_time() - began
        if code not in {*RULES, "accepted"} or took > MOST_SECONDS:
            raise AssertionError(f"{code} after {took:.1f} s, input {found.total()} of seed {seed}")
    return found
