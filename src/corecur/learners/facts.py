"""What a model file is, told from its text and the header of its weights: no weight is loaded."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import prod
from typing import Any

from corecur.bundle.layout import BUNDLE, DTYPES
from corecur.bundle.open import Bundle
from corecur.errors import BundleError
from corecur.model_file import shapes_in
from corecur.models import Model
from corecur.summary import summarize

_NAMES = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True)
class Facts:
    """A bundle and its network on shapes alone, or why that cannot be built here."""

    bundle: Bundle
    network: Model | None
    obstacle: str | None

    @property
    def task(self) -> Any:
        """What it was trained for; None for a network alone."""
        preprocess = self.bundle.preprocess
        return preprocess.get("task") if isinstance(preprocess, dict) else None

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        preprocess = self.bundle.preprocess if isinstance(self.bundle.preprocess, dict) else {}
        table = self.bundle.tensor_table
        return {
            "path": str(self.bundle.path),
            "format": BUNDLE.format,
            "version": self.bundle.version,
            "task": self.task,
            "labels": self.bundle.labels,
            "sizes": {name: self.bundle.sizes[name] for name in BUNDLE.members if name in self.bundle.sizes},
            "preparation": preprocess.get("preparation"),
            "parameters": None if self.network is None else self.network.count_params(),
            "tensors": len(table),
            "values": sum(prod(shape) for shape, _ in table.values()),
        }

    def as_text(self) -> str:
        """For people."""
        found = self.as_json()
        types = Counter[str]()
        for shape, dtype in self.bundle.tensor_table.values():
            types[_NAMES[dtype]] += prod(shape)
        return "\n".join(
            [
                self.bundle.card.strip() or f"model file {self.bundle.path}",
                "",
                f"format: {found['format']}, version {found['version']}; every byte is as its manifest promises",
                "members: " + ", ".join(f"{name} ({size:,} B)" for name, size in found["sizes"].items()),
                f"weights: {found['tensors']:,} tensors, "
                + ", ".join(f"{count:,} values {name}" for name, count in types.most_common()),
                summarize(self.network) if self.network is not None else f"network: {self.obstacle}",
            ]
        )


def facts_of(bundle: Bundle) -> Facts:
    """The facts of an opened bundle, every member of which is compared with its hash.

    A network with classes of a user's own cannot be built here, and is then only named; whatever else is wrong raises
    BundleError.
    """
    try:
        network, obstacle = shapes_in(bundle), None
    except BundleError as error:
        if error.code != "unknown-layer":
            raise
        network, obstacle = None, error.what
    bundle.tensor_file.verify()
    return Facts(bundle, network, obstacle)
