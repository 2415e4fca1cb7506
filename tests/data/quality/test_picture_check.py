"""Noise among pictures of all degrees of roughness."""

from __future__ import annotations

import numpy as np

from corecur.data.gathered import Part
from corecur.data.quality.picture_check import picture_findings


def test_noise_is_told_from_rough_textures() -> None:
    random, across = np.random.default_rng(0), np.linspace(0, 6, 24)
    made = []
    for k in range(120):  # a third of them rougher than far from the usual, none of them noise
        wave = np.sin(across[:, None] * random.uniform(0.5, 2) + across * random.uniform(0.5, 2))
        made.append(wave + (0.9 if k % 3 == 0 else 0.1) * random.normal(size=wave.shape))
    for k in (7, 40, 80):
        made[k] = random.uniform(-2, 2, (24, 24))
    pixels = (np.stack(made)[..., None] * 40 + 128).clip(0, 255).astype(np.uint8)
    part = Part(pixels, np.array([*"ab"] * 60), [f"{k}.png" for k in range(120)])
    noise = [one for one in picture_findings({"train": part})[0] if one.kind == "noise"]
    assert [line.split(":")[0] for one in noise for line in one.evidence] == ["7.png", "40.png", "80.png"]
