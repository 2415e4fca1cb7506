"""``python -m corecur`` is the command ``corecur``."""

from corecur.cli import main

if __name__ == "__main__":
    main()
