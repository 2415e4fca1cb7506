"""How recurrent layers are computed: which kernel runs and why, ``explain``; which one ran, ``last_path``."""

from __future__ import annotations

from corecur.kernels.choose import asking_for, choose, explain, last_path

__all__ = ["asking_for", "choose", "explain", "last_path"]
