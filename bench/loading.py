"""``load``: reading a model file of 100 MB with every check, beside the same tensors read without any."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from bench.contender import Case, Contender
from corecur.bundle.open import open_untrusted
from corecur.bundle.tensor_file import table_of
from corecur.bundle.write import write_bundle
from corecur.model_file import load_model, save_model

_LAYERS, _SIDE = 25, 1024  # 25 matrices of 4 MiB
_REPEATS = 5
MAPPED, PLAIN = "load_file, values not read", "load_file and a copy"
FOLDER, FILE, MODEL = "a bundle's weights, folder", "a bundle's weights, one file", "Model.load"


class Loading:
    """The same 100 MB, read in one of the ways."""

    def __init__(self, way: str) -> None:
        torch.manual_seed(0)
        weights = {f"layer{n:02}": torch.randn(_SIDE, _SIDE) for n in range(_LAYERS)}
        self._way, self._table = way, table_of(weights)
        self._room = tempfile.TemporaryDirectory()
        self._path = Path(self._room.name) / ("m.corecur" if way == FILE else "m")
        if way == MODEL:
            self._save_model(weights)
        elif way in (FOLDER, FILE):
            write_bundle(self._path, model={}, weights=weights)
        else:
            save_file(weights, self._path)

    def _save_model(self, weights: dict[str, Tensor]) -> None:
        from corecur.layers.dense import Dense
        from corecur.models import Input, Sequential

        model = Sequential([Input((_SIDE,)), *(Dense(_SIDE, use_bias=False) for _ in weights)])
        model.load_state_dict(dict(zip(model.state_dict(), weights.values(), strict=True)))
        save_model(model, self._path)

    def _load(self) -> list[Tensor]:
        if self._way == MODEL:
            return list(load_model(self._path).state_dict().values())
        if self._way in (FOLDER, FILE):
            return list(open_untrusted(self._path).tensors(self._table).values())
        found = load_file(self._path)
        return [found[name].clone() if self._way == PLAIN else found[name] for name in self._table]

    def prove(self) -> Sequence[float]:
        """Mean square and last value of every tensor."""
        found = self._load()
        return [float(value) for tensor in found for value in (tensor.square().mean(), tensor[-1, -1])]

    def run(self) -> int:
        for _ in range(_REPEATS):
            self._load()
        return _REPEATS


def cases() -> list[Case]:
    """The one case of this job."""
    contenders = tuple(
        Contender(way, "bench.loading:Loading", {"way": way}) for way in (PLAIN, MAPPED, FOLDER, FILE, MODEL)
    )
    return [Case("load", "reading 100 MiB of weights", "load", contenders, judged=FOLDER, target=1.1)]
