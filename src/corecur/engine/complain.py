"""What goes wrong in a training without ending it, said to whoever watches."""

from __future__ import annotations

import sys


def complain(line: str) -> None:
    """Write a line on standard error: results go elsewhere."""
    print(line, file=sys.stderr)
