"""A payload that shows whether it ran: unpickled, it makes a folder."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

MARKER = "marker-of-a-payload-that-ran"


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder / MARKER),)


def payload(folder: Path) -> bytes:
    """The pickle that makes ``folder/MARKER``."""
    return pickle.dumps(Payload(folder))
