"""Two good bundles to spoil: a classifier of small pictures, and a generator of text; neither is trained."""

from __future__ import annotations

import functools
import hashlib
import tempfile
from pathlib import Path

import torch

from corecur.bundle.write import as_json
from corecur.layers.conv import Conv2D
from corecur.layers.dense import Dense
from corecur.layers.embedding import Embedding
from corecur.layers.gru import GRU
from corecur.layers.pool import GlobalAveragePooling2D
from corecur.learners.generator_tokens import fit_generator_tokens
from corecur.model_file import save_model
from corecur.models import Input, Sequential

Members = dict[str, bytes]
Good = dict[str, Members]


def manifest_of(members: Members, /, **changed: object) -> bytes:
    """The manifest that fits these members, but for what is changed."""
    entries = {n: {"size": len(b), "sha256": hashlib.sha256(b).hexdigest()} for n, b in members.items()}
    return as_json({"format": "corecur", "version": 1, "members": entries} | changed)


def with_manifest(members: Members) -> Members:
    """The same members with a manifest that fits."""
    rest = {name: content for name, content in members.items() if name != "manifest.json"}
    return rest | {"manifest.json": manifest_of(rest)}


@functools.cache
def pictures() -> Members:
    """A classifier of pictures of 8 by 8 points into three classes."""
    torch.manual_seed(0)
    model = Sequential(
        [Conv2D(4, 3, activation="relu", input_shape=(8, 8, 1)), GlobalAveragePooling2D(), Dense(3, "softmax")]
    )
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    preprocess = {
        "task": "image-classification",
        "preparation": {"height": 8, "width": 8, "channels": 1, "white": None},
        "normalisation": {"mean": [0.5], "std": [0.25]},
        "views": "one",
    }
    return _members(model, preprocess=preprocess, labels=["cat", "dog", "鸟"], card="# Pictures\n")


@functools.cache
def texts() -> Members:
    """A generator of text, character by character."""
    torch.manual_seed(0)
    preprocess = fit_generator_tokens("to be or not to be\n", level="char")
    size = len(preprocess.vocabulary)
    model = Sequential(
        [Input((None,), dtype=torch.int64), Embedding(size, 4), GRU(5, return_sequences=True), Dense(size)]
    )
    return _members(model, preprocess=preprocess.model_dump(mode="json"))


def _members(model: Sequential, **members: object) -> Members:
    with tempfile.TemporaryDirectory() as folder:
        path = save_model(model, Path(folder) / "m", **members)
        return {member.name: member.read_bytes() for member in path.iterdir()}


def as_folder(path: Path, members: Members) -> Path:
    """The members as files of a new folder."""
    path.mkdir(parents=True)
    for name, content in members.items():
        (path / name).write_bytes(content)
    return path
