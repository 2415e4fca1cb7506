"""The same kinds of bad model files for four loaders: ``python -m bench.attacks [--write]``.

corecur's Model.load, torch.load(weights_only=True), safetensors' load_file (both followed by a strict load_state_dict
into a model that the caller built) and, where it is installed, Keras' load_model with its safe mode. Every file is made
from a good one of the loader's own format; what a format cannot hold is left out. Each loader runs in a process of its
own, with 3 GiB to spare and 20 seconds for a file. A file is refused where the loader raises an ordinary exception;
accepted where it does not; a crash is a time out, an exhausted memory or stack, or the end of the process. To accept is
no hole by itself: compressed members, or numbers of another type that are converted, other formats mean to take.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import pickle
import resource
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from bench.record import RESULTS

Parts = dict[str, bytes]
PEERS = ("corecur", "keras", "safetensors", "torch")
SPARE, SECONDS = 3 << 30, 20
ELF = b"\x7fELF" + bytes(60)


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


def parts_of(path: Path) -> Parts:
    """The members of a zip."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write_parts(path: Path, parts: list[tuple[str, bytes]], *, method: int = zipfile.ZIP_STORED) -> None:
    """A zip of these members, whatever their names."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in parts:
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.external_attr, info.compress_type = 0o100644 << 16, method
            archive.writestr(info, content)


def state(**changed: Any) -> dict[str, Tensor]:
    """The weights of the little network, some of them others; None leaves one out."""
    torch.manual_seed(0)
    good = {
        "0.weight": torch.randn(4, 3),
        "0.bias": torch.zeros(4),
        "1.weight": torch.randn(2, 4),
        "1.bias": torch.ones(2),
    }
    changes = {name.replace("_", "."): value for name, value in changed.items()}
    return {name: value for name, value in (good | changes).items() if value is not None}


#: Weights that are not those of the network, as changes of the good ones.
TENSORS: dict[str, Callable[[], dict[str, Tensor]]] = {
    "NaN in the weights": lambda: state(**{"0_bias": torch.full((4,), torch.nan)}),
    "infinity in the weights": lambda: state(**{"1_bias": torch.tensor([torch.inf, 0.0])}),
    "a matrix turned over": lambda: state(**{"0_weight": torch.randn(3, 4)}),
    "a tensor missing": lambda: state(**{"1_bias": None}),
    "a tensor more": lambda: state(**{"2_bias": torch.ones(1)}),
    "another type of number": lambda: state(**{"0_bias": torch.zeros(4, dtype=torch.float64)}),
    "a name that steers a terminal": lambda: state() | {"\x1b[2J": torch.ones(1)},
}


def damaged(content: bytes, kind: str, place: int) -> bytes | None:
    """A file's bytes, damaged; ``place`` is inside its weights."""
    return {
        "a bit turned over in the weights": content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :],
        "half of the file": content[: len(content) // 2],
        "bytes behind the end": content + b"more",
        "another format's beginning": ELF + content,
        "an empty file": b"",
    }.get(kind)


DAMAGES = (
    "a bit turned over in the weights",
    "half of the file",
    "bytes behind the end",
    "another format's beginning",
    "an empty file",
)
CONTAINERS = (
    "a member twice",
    "a member called ../../x",
    "a member nobody knows",
    "members compressed",
    "a pickle in place of the file",
)
TEXTS: dict[str, Callable[[bytes], bytes]] = {
    "a key twice in the text": lambda text: text.replace(b"{", b'{"a": 1, "a": 2, ', 1),
    "a field nobody knows": lambda text: text.replace(b"{", b'{"unknown": 1, ', 1),
    "NaN in the text": lambda text: text.replace(b"4", b"NaN", 1),
    "a hundred thousand brackets": lambda text: b"[" * 100_000 + b"]" * 100_000,
    "a layer of kind os.system": lambda text: text.replace(b'"Dense"', b'"os.system"'),
    "an activation that is code": lambda text: text.replace(b'"activation": "relu"', b'"activation": "lambda x: x"'),
    "two thousand million units": lambda text: text.replace(b'"units": 4', b'"units": 2147483647'),
}


def archived(parts: Parts, kind: str, path: Path, room: Path) -> bool:
    """An archive spoilt in one of the ways of CONTAINERS; False where the kind is another."""
    members = list(parts.items())
    if kind == "a member twice":
        write_parts(path, [*members, (members[0][0], b"evil")])
    elif kind == "a member called ../../x":
        write_parts(path, [*members, ("../../x", b"evil")])
    elif kind == "a member nobody knows":
        write_parts(path, [*members, (f"{members[0][0].rpartition('/')[0]}/evil.py".lstrip("/"), b"evil")])
    elif kind == "members compressed":
        write_parts(path, members, method=zipfile.ZIP_DEFLATED)
    elif kind == "a pickle in place of the file":
        path.write_bytes(pickle.dumps(Payload(str(room / "marker"))))
    else:
        return False
    return True


class Corecur:
    """One file, written by Model.save; whoever changes a member also mends its manifest."""

    def __init__(self) -> None:
        from corecur.layers.dense import Dense
        from corecur.models import Input, Sequential

        self.model = Sequential([Input((3,)), Dense(4, "relu"), Dense(2)])
        self.names = dict(zip(state(), self.model.state_dict(), strict=True))

    def good(self, path: Path) -> None:
        self.model.save(path)

    def spoil(self, kind: str, path: Path, room: Path) -> bool:
        import hashlib

        self.good(path)
        parts = parts_of(path)
        weights = path.read_bytes().index(parts["weights.safetensors"][-8:])
        content = damaged(path.read_bytes(), kind, weights)
        if content is not None:
            path.write_bytes(content)
            return True
        if archived(parts, kind, path, room):
            return True
        if kind in TENSORS:
            parts["weights.safetensors"] = save({self.names.get(k, k): v for k, v in TENSORS[kind]().items()})
        elif kind in TEXTS:
            parts["model.json"] = TEXTS[kind](parts["model.json"])
        elif kind == "a pickle for the weights":
            parts["weights.safetensors"] = pickle.dumps(Payload(str(room / "marker")))
        else:
            return False
        manifest = json.loads(parts.pop("manifest.json"))
        manifest["members"] = {
            name: {"size": len(part), "sha256": hashlib.sha256(part).hexdigest()} for name, part in parts.items()
        }
        write_parts(path, [*parts.items(), ("manifest.json", json.dumps(manifest).encode())])
        return True

    def load(self, path: Path) -> None:
        from corecur.models import Model

        Model.load(path)


class Plain:
    """What the two weight formats share: the caller builds the network."""

    def check(self, found: dict[str, Tensor]) -> None:
        nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)).load_state_dict(found, strict=True)


class Safetensors(Plain):
    """A file of tensors."""

    def good(self, path: Path) -> None:
        path.write_bytes(save(state()))

    def spoil(self, kind: str, path: Path, room: Path) -> bool:
        content = damaged(save(state()), kind, len(save(state())) - 2)
        if kind in TENSORS:
            content = save(TENSORS[kind]())
        elif kind in ("a pickle in place of the file", "a pickle for the weights"):
            content = pickle.dumps(Payload(str(room / "marker")))
        elif kind in ("a key twice in the text", "a field nobody knows", "a hundred thousand brackets"):
            good = save(state())
            length = int.from_bytes(good[:8], "little")
            text = good[8 : 8 + length].rstrip()
            spoilt = {
                "a key twice in the text": text[:-1] + b',"__metadata__":{"a":"1","a":"2"}}',
                "a field nobody knows": text.replace(b'{"dtype"', b'{"unknown":1,"dtype"', 1),
            }.get(kind, b"[" * 100_000 + b"]" * 100_000)
            content = len(spoilt).to_bytes(8, "little") + spoilt + good[8 + length :]
        if content is None:
            return False
        path.write_bytes(content)
        return True

    def load(self, path: Path) -> None:
        self.check(load_file(path))


class Torch(Plain):
    """What torch.save writes."""

    def good(self, path: Path) -> None:
        torch.save(state(), path)

    def spoil(self, kind: str, path: Path, room: Path) -> bool:
        self.good(path)
        raw = path.read_bytes()
        content = damaged(raw, kind, raw.index(state()["0.weight"].numpy().tobytes()) + 9)
        if content is not None:
            path.write_bytes(content)
            return True
        if archived(parts_of(path), kind, path, room):
            return True
        if kind in TENSORS:
            torch.save(TENSORS[kind](), path)
        elif kind == "a pickle for the weights":
            torch.save({"0.weight": Payload(str(room / "marker"))}, path)
        else:
            return False
        return True

    def load(self, path: Path) -> None:
        self.check(torch.load(path, weights_only=True))


class Keras:
    """A ``.keras`` file."""

    def __init__(self) -> None:
        import keras

        self.keras = keras
        layers = keras.layers
        self.model = keras.Sequential([keras.Input((3,)), layers.Dense(4, "relu"), layers.Dense(2)])

    def good(self, path: Path) -> None:
        self.model.save(path)

    def spoil(self, kind: str, path: Path, room: Path) -> bool:
        self.good(path)
        raw, parts = path.read_bytes(), parts_of(path)
        kernel = self.model.layers[0].kernel.numpy().tobytes()
        content = damaged(raw, kind, raw.index(kernel) + 5 if kernel in raw else len(raw) // 2)
        if content is not None:
            path.write_bytes(content)
            return True
        if archived(parts, kind, path, room):
            return True
        if kind in TEXTS:
            parts["config.json"] = TEXTS[kind](parts["config.json"])
        elif kind == "a pickle for the weights":
            parts["model.weights.h5"] = pickle.dumps(Payload(str(room / "marker")))
        elif kind in TENSORS:
            parts["model.weights.h5"] = self._other_weights(kind, room)
        else:
            return False
        write_parts(path, list(parts.items()))
        return True

    def _other_weights(self, kind: str, room: Path) -> bytes:
        import h5py
        import numpy as np

        path = room / "weights.weights.h5"
        self.model.save_weights(path)
        with h5py.File(path, "a") as file:
            first = file["layers/dense/vars"]
            if kind in ("NaN in the weights", "infinity in the weights"):
                first["1"][...] = np.nan if kind.startswith("NaN") else np.inf
            elif kind in ("a tensor more", "a name that steers a terminal"):
                first["7" if kind == "a tensor more" else "\x1b[2J"] = np.ones(1)
            else:
                good = first["0"][...]
                del first["0"]
                if kind == "a matrix turned over":
                    first["0"] = good.T
                elif kind == "another type of number":
                    first["0"] = good.astype("f8")
        return path.read_bytes()

    def load(self, path: Path) -> None:
        self.keras.saving.load_model(path)


KINDS = (*DAMAGES, *CONTAINERS, *TENSORS, "a pickle for the weights", *TEXTS)
ENDINGS = {"corecur": ".corecur", "keras": ".keras", "safetensors": ".safetensors", "torch": ".pt"}
LOADERS: dict[str, type[Any]] = {"corecur": Corecur, "keras": Keras, "safetensors": Safetensors, "torch": Torch}


def outcome(loader: Any, path: Path, room: Path) -> str:
    """What loading comes to."""

    def too_long(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(SECONDS)
    try:
        loader.load(path)
        found = "accepted"
    except (TimeoutError, MemoryError, RecursionError) as error:
        found = f"crash: {type(error).__name__}"
    except Exception as error:  # whatever a loader raises is a refusal, unless it wanted memory and got none
        found = "crash: no memory" if "can't allocate memory" in str(error) else "refused"
    finally:
        signal.alarm(0)
    return "ran code" if (room / "marker").exists() else found


def run(peer: str, kinds: list[str]) -> None:
    """These kinds of files for one loader; each is printed with its outcome, as JSON lines."""
    loader = LOADERS[peer]()
    with tempfile.TemporaryDirectory() as folder:
        good = Path(folder) / f"good{ENDINGS[peer]}"
        loader.good(good)
        loader.load(good)  # the good one must load, or nothing here means anything
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        for number, kind in enumerate(kinds):
            room = Path(folder) / str(number)
            room.mkdir()
            path = room / f"m{ENDINGS[peer]}"
            found = "–"
            if loader.spoil(kind, path, room):
                print(json.dumps([kind, "crash: the process ended"]), flush=True)  # unless the next line says otherwise
                resource.setrlimit(resource.RLIMIT_AS, (size + SPARE, resource.RLIM_INFINITY))
                found = outcome(loader, path, room)
                resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            print(json.dumps([kind, found]), flush=True)


def measured(peer: str) -> dict[str, str]:
    """All kinds for one loader; where its process ends, another goes on behind the file that ended it."""
    found: dict[str, str] = {}
    while len(found) < len(KINDS):
        rest = [kind for kind in KINDS if kind not in found]
        done = subprocess.run(
            [sys.executable, "-m", "bench.attacks", "--child", peer, *rest], capture_output=True, text=True, check=False
        )
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
        if not lines:
            raise RuntimeError(f"{peer} does not load its own good file: {done.stderr[-500:]}")
        found |= dict(lines)
    return found


def main() -> None:
    """Print the table, and with --write keep it."""
    parser = argparse.ArgumentParser(prog="python -m bench.attacks", description=__doc__)
    parser.add_argument("--write", action="store_true", help="keep the table in bench/results")
    parser.add_argument("--child", nargs="+", metavar="PEER", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        run(options.child[0], options.child[1:])
        return
    peers = [peer for peer in PEERS if peer != "keras" or importlib.util.find_spec("keras")]
    table = {peer: measured(peer) for peer in peers}
    print("| file | " + " | ".join(peers) + " |\n|---|" + "---|" * len(peers))
    for kind in KINDS:
        print(f"| {kind} | " + " | ".join(table[peer][kind] for peer in peers) + " |")
    counts = {peer: Counter(found.split(":")[0] for found in table[peer].values()) for peer in peers}
    for peer in peers:
        print(f"{peer} {version(peer)}: {dict(counts[peer])}")
    if options.write:
        versions = {peer: version(peer) for peer in peers}
        text = json.dumps({"versions": versions, "counts": counts, "outcomes": table}, indent=1, ensure_ascii=False)
        (RESULTS / "attacks.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
