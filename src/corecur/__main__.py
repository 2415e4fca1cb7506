"""The command ``corecur``, which ``python -m corecur`` is too."""

from __future__ import annotations

from corecur.interruption import watch


def main() -> None:
    """Watch for signals, then load the command: that takes seconds."""
    watch()
    from corecur.cli import main as run

    run()


if __name__ == "__main__":
    main()
