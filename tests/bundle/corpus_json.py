"""Attacks through the text members: JSON, names that would choose code, networks without measure, preprocessing."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from corecur.bundle.write import as_json

from .good_bundles import Members, as_folder, manifest_of, pictures, texts, with_manifest
from .marker import payload

Row = tuple[str, str, Callable[[Path], Path], str, Any]
JSONS: list[Row] = []


def member(
    id_: str, what: str, code: str, content: Callable[[bytes], bytes] | bytes, *, name: str = "model.json"
) -> None:
    """Other bytes for a member, the manifest fitting."""

    def make(folder: Path) -> Path:
        new = content if isinstance(content, bytes) else content(pictures()[name])
        return as_folder(folder / "m", with_manifest(pictures() | {name: new}))

    JSONS.append((id_, what, make, code, "file"))


def changed(members: Members, name: str, place: tuple[Any, ...], value: Any) -> Members:
    """The members with another value at a place of one of them."""
    found = json.loads(members[name])
    inside = found
    for step in place[:-1]:
        inside = inside[step]
    inside[place[-1]] = value
    return with_manifest(members | {name: as_json(found)})


def network(id_: str, what: str, code: str, place: tuple[Any, ...], value: Any, *, door: str = "network") -> None:
    """Another value in the description of the network."""
    JSONS.append(
        (
            id_,
            what,
            lambda folder: as_folder(folder / "m", changed(pictures(), "model.json", place, value)),
            code,
            door,
        )
    )


def task(id_: str, what: str, code: str, place: tuple[Any, ...], value: Any, *, of: Any = pictures) -> None:
    """Another value in the preprocessing."""
    JSONS.append(
        (
            id_,
            what,
            lambda folder: as_folder(folder / "m", changed(of(), "preprocess.json", place, value)),
            code,
            "task",
        )
    )


def labels(id_: str, what: str, value: Any, *, code: str = "bad-labels", door: str = "file") -> None:
    def make(folder: Path) -> Path:
        return as_folder(folder / "m", with_manifest(pictures() | {"labels.json": as_json(value)}))

    JSONS.append((id_, what, make, code, door))


def manifest(id_: str, what: str, code: str, **other: Any) -> None:
    def make(folder: Path) -> Path:
        rest = {name: content for name, content in pictures().items() if name != "manifest.json"}
        return as_folder(folder / "m", rest | {"manifest.json": manifest_of(rest, **other)})

    JSONS.append((id_, what, make, code, "file"))


# texts that are no JSON, or have two readings

member("B01", "a key twice", "duplicate-key", lambda good: good.rstrip()[:-1] + b', "network": null}')
member(
    "B02", "a key twice inside", "duplicate-key", lambda good: good.replace(b'"filters"', b'"filters": 9, "filters"')
)
for id_, text in (("B03", b"NaN"), ("B03b", b"-Infinity"), ("B03c", b"-0"), ("B03d", b"1e999"), ("B03e", b"1e-999")):
    member(id_, f"the number {text.decode()}", "bad-json", b'{"network": %s, "compiled": null}' % text)
member("B04", "a hundred thousand brackets", "bad-json", b"[" * 100_000 + b"]" * 100_000)
member("B04b", "brackets that do not close", "bad-json", b"[" * (1 << 22))


def _long(folder: Path) -> Path:
    path = as_folder(folder / "m", pictures())
    with (path / "model.json").open("wb") as file:
        file.write(b'"')
        file.truncate(100 << 20)
    return path


JSONS.append(("B05", "a text of 100 MB", _long, "too-large", "file"))
member("B05b", "a text of 4 MB", "bad-json", b'"' + b"a" * ((1 << 22) - 2) + b'"')
member("B05c", "a text of 4 MB of escapes", "bad-json", b'"' + b"\\n" * ((1 << 21) - 1) + b'"')
member("B06", "a million keys", "too-large", b"{" + b",".join(b'"k%d":0' % n for n in range(1_000_000)) + b"}")
member(
    "B06b", "three hundred thousand keys", "bad-json", b"{" + b",".join(b'"%d":0' % n for n in range(300_000)) + b"}"
)
member("B06c", "two million lists", "bad-json", b"[" + b"[]," * 1_390_000 + b"[]]")
member("B07", "five thousand digits", "bad-json", b'{"network": %s, "compiled": null}' % (b"9" * 5000))
member("B08", "a byte order mark", "bad-json", lambda good: b"\xef\xbb\xbf" + good)
member("B08b", "UTF-16", "bad-json", lambda good: good.decode().encode("utf-16"))
member("B08c", "no UTF-8", "bad-json", lambda good: good.replace(b"Conv2D", b"Conv\xff"))
member("B08d", "half a surrogate pair", "bad-json", lambda good: good.replace(b"Conv2D", b"\\ud800"))
member("B08e", "text that is none in the card", "bad-text", b"\xff\xfe", name="card.md")
member("B25", "a second document behind the first", "bad-json", lambda good: good + b"{}")

# names that would choose code

_LAYER = ("network", "layers", 0)
for number, key in enumerate(["__class__", "__proto__", "__init__", "_instantiator", "_class_path", "_target_"]):
    network(f"B09.{number}", f"the key {key} in a layer", "unknown-field", (*_LAYER, key), "os.system")
    network(f"B09.{number}c", f"the key {key} in its settings", "unknown-field", (*_LAYER, "config", key), "os.system")
for number, kind in enumerate(["os.system", "builtins.eval", "keras.utils.get_file", "torch.load", "Lambda", "Layer"]):
    network(f"B10.{number}", f"a layer of kind {kind}", "unknown-layer", (*_LAYER, "kind"), kind, door="build")
network("B10.v", "a setting of kind os.system", "unknown-value", (*_LAYER, "config", "kernel_initializer"),
        {"kind": "os.system", "command": "id"})  # fmt: skip
_ACTIVATION = (*_LAYER, "config", "activation")
network("B11", "an activation that is code", "bad-architecture", _ACTIVATION, "lambda x: __import__('os').system('id')")
network("B12", "an activation that is a pickle", "bad-architecture", _ACTIVATION,
        base64.b64encode(payload(Path("."))).decode())  # fmt: skip
for number, text in enumerate(
    ["{0.__globals__}", "%n%n", "${jndi:ldap://localhost/x}", "{{7*7}}", "torch.nn.functional.relu"]
):
    network(f"B13.{number}", f"an activation {text}", "bad-architecture", _ACTIVATION, text)
network("B13.o", "an optimizer os.system", "bad-architecture", ("compiled", "optimizer"), "os.system", door="build")
network("B13.l", "a loss builtins.eval", "bad-architecture", ("compiled", "loss"), "builtins.eval", door="build")
network(
    "B13.k",
    "an optimizer that is a call",
    "bad-architecture",
    ("compiled", "optimizer"),
    {"kind": "Popen", "args": "id"},
    door="build",
)
for number, name in enumerate(["..", ".", "", "a/b", "a\0b", "forward", "a" * 60_000]):
    network(f"B16.{number}", f"a layer called {name[:9]!r}", "bad-architecture", (*_LAYER, "name"), name)
member(
    "B16.8",
    "a layer with a name of 1 MB",
    "bad-json",
    lambda good: good.replace(b'"conv2d"', b'"%s"' % (b"a" * (1 << 20))),
)
network("B24", "a field more in the model", "bad-architecture", ("extra",), 1)
network("B24b", "a field more in the network", "unknown-field", ("network", "extra"), 1)
task("B24c", "a field more in the preprocessing", "bad-preprocess", ("extra",), 1)

# versions

for number, version in enumerate([999, -1, "1; rm", None, 1.0, True, [1], 10**30]):
    manifest(f"B17.{number}", f"version {version!r}", "other-version", version=version)
manifest("B17.f", "another format", "other-version", format="keras")
member("B17.m", "no version", "bad-manifest", b'{"format": "corecur", "members": {}}', name="manifest.json")
JSONS[-1] = (*JSONS[-1][:2], lambda folder: as_folder(folder / "m", pictures() | {
    "manifest.json": b'{"format": "corecur", "members": {}}'}), *JSONS[-1][3:])  # fmt: skip
manifest("B24m", "a field more in the manifest", "bad-manifest", url="http://localhost/")
manifest(
    "B24n", "a manifest of other members", "other-members", members={"model.json": {"size": 1, "sha256": "0" * 64}}
)

# networks without measure

for number, (value, code) in enumerate(
    [(0, "bad-architecture"), (-1, "bad-architecture"), (2**31, "too-much"), (2**63, "too-much"),
     (-(2**63), "too-much"), (1.5, "bad-architecture"), ("64", "bad-architecture"), (None, "bad-architecture"),
     ([4], "bad-architecture"),
     (2**31 - 1, "too-much"), ({"kind": "L2"}, "bad-architecture")]
):  # fmt: skip
    network(f"B18.{number}", f"{value!r} filters", code, (*_LAYER, "config", "filters"), value)
network("B19", "activations of a terabyte", "too-much", ("network", "input", "shape"), [None, 300_000, 300_000, 1])
network("B19b", "a batch of two thousand million", "too-much", ("network", "input", "shape"), [2_000_000_000, 8, 8, 1])


def _chain(count: int) -> Any:
    one = {"kind": "Activation", "name": None, "config": {"activation": "relu"}}
    return {
        "kind": "Sequential",
        "name": None,
        "input": {"shape": [None, 4], "dtype": "float32"},
        "layers": [one] * count,
    }


member("B20", "a million layers", "too-large", lambda good: b'{"network": {"layers": [' + b"{}," * 1_400_000 + b"{}]}}")
network("B20b", "five thousand layers", "too-much", ("network",), _chain(5_000))


def _symbol() -> Any:
    return {"shape": [None, 4], "dtype": "float32"}


def _graph(layers: list[Any], calls: list[tuple[str, int]], name: str | None = None) -> Any:
    made = [{"layer": layer, "args": [{"tensor": [source, 0]}], "kwargs": {}} for layer, source in calls]
    return {
        "kind": "Model", "name": name, "inputs": [_symbol()], "layers": layers, "calls": made,
        "outputs": {"tensor": [len(calls) - 1, 0]},
    }  # fmt: skip


def _doubled(depth: int) -> Any:
    inner: Any = {"kind": "Dense", "name": "a", "config": {"units": 4}}
    for _ in range(depth):
        inner = _graph([inner], [("a", -1), ("a", 0)], name="a")
    return inner


_DENSE = {"kind": "Dense", "name": "a", "config": {"units": 4}}
network("B21", "a layer that takes its own output", "bad-architecture", ("network",), _graph([_DENSE], [("a", 0)]))
network("B21b", "two layers that wait for each other", "bad-architecture", ("network",),
        _graph([_DENSE, _DENSE | {"name": "b"}], [("a", 1), ("b", 0)]))  # fmt: skip
network("B21c", "a network that calls itself twice, twelve times over", "too-much", ("network",), _doubled(12))
network("B21d", "a network inside networks", "too-much", ("network",), _doubled(14))

# preprocessing and labels

task("B14", "a pattern without end", "bad-preprocess", ("tokenizer", "pattern"), "(a+)+$", of=texts)
task("B15", "a path for a vocabulary", "bad-preprocess", ("vocabulary",), "/etc/passwd", of=texts)
task("B15b", "a path for its tokens", "bad-preprocess", ("vocabulary", "tokens"), "/etc/passwd", of=texts)
task("B15c", "an address for its tokens", "bad-preprocess", ("vocabulary", "tokens"), "http://localhost:9/", of=texts)
task("B15d", "a tokeniser of another kind", "bad-preprocess", ("tokenizer", "kind"), "os.system", of=texts)
task(
    "B15e",
    "a token more than the network knows",
    "bad-preprocess",
    ("vocabulary", "tokens"),
    [*"abcdefghijklm"],
    of=texts,
)
labels("B22", "labels that turn writing round", ["cat", "a\u202egnp.exe", "x"])
labels("B22b", "labels that colour a terminal", ["cat", "\x1b[31mdog", "x"])
labels("B22c", "a million labels", [str(n) for n in range(1_000_000)], code="too-large")
labels("B22h", "two hundred thousand labels", [str(n) for n in range(200_000)], code="bad-json")
labels("B22d", "one label twice", ["cat", "cat", "dog"])
labels("B22e", "fewer labels than classes", ["cat", "dog"], door="task")
labels("B22f", "labels that are no texts", ["cat", 1, None])
labels("B22g", "an empty label", ["cat", "", "dog"])
for number, (mean, std, code) in enumerate(
    [([0.5], [0], "bad-preprocess"), ([1e308], [1.0], "bad-preprocess"), ([0.5], [1e-308], "bad-preprocess"),
     ([], [], "bad-preprocess"), ([0.5] * 3, [1.0], "bad-preprocess"), ("x", [1.0], "bad-preprocess"),
     ([0.5], [-1.0], "bad-preprocess")]
):  # fmt: skip
    task(f"B23.{number}", f"mean {str(mean)[:9]}, std {std}", code, ("normalisation",), {"mean": mean, "std": std})
member("B23.n", "a mean that is NaN", "bad-json", lambda good: good.replace(b"0.5", b"NaN"), name="preprocess.json")
task("B23.h", "pictures of another height", "bad-preprocess", ("preparation", "height"), 9)
task("B23.t", "another task", "other-task", ("task",), "os.system")
task("B23.l", "a list for a task", "other-task", ("task",), ["image-classification"])
