"""How recurrent layers and convolutions are computed: which kernel runs and why, ``explain``; which one ran,
``last_path``; and what runs the native ones, ``info``."""

from __future__ import annotations

from corecur.kernels.choose import asking_for, choose, explain, last_path
from corecur.kernels.library import info

__all__ = ["asking_for", "choose", "explain", "info", "last_path"]
