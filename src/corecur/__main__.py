"""The command ``corecur``, which ``python -m corecur`` is too."""

from __future__ import annotations

import contextlib
import os
import sys

from corecur.interruption import RESUMABLE, watch


def main() -> None:
    """Watch for signals, then load the command: that takes seconds."""
    watch()
    from corecur.cli import main as run

    try:
        run()
    except SystemExit as end:
        if end.code == RESUMABLE:  # nobody who wants the machine waits until Python has taken torch apart
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
            os._exit(RESUMABLE)
        raise


if __name__ == "__main__":
    main()
