from __future__ import annotations

import numpy as np
import pytest
import torch

from corecur.data.colour import recolour

YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])


def pictures(c: int, n: int = 3) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(c).integers(0, 256, (n, 6, 5, c), dtype=np.uint8))


def reference(image: np.ndarray, brightness: float, contrast: float, saturation: float, hue: float) -> np.ndarray:
    """One after the other in float64, clipped at the end."""
    x = image.astype(np.float64) * brightness
    luma = (x @ YIQ[0]).mean() if x.shape[-1] == 3 else x.mean()
    x = (x - luma) * contrast + luma
    if x.shape[-1] == 3:
        yiq = x @ YIQ.T
        chroma = (yiq[..., 1] + 1j * yiq[..., 2]) * saturation * np.exp(2j * np.pi * hue)
        x = np.stack([yiq[..., 0], chroma.real, chroma.imag], -1) @ np.linalg.inv(YIQ).T
    return np.clip(x, 0, 255)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("brightness", "contrast", "saturation", "hue"),
    [
        (1.3, 1, 1, 0), (0.5, 1, 1, 0), (1, 1.7, 1, 0), (1, 0.2, 1, 0), (1, 1, 1.5, 0), (1, 1, 0, 0), (1, 1, 1, 0.1),
        (1, 1, 1, -0.4), (0.9, 1.2, 0.7, 0.25),
    ],
)  # fmt: skip
def test_equals_float64(channels: int, brightness: float, contrast: float, saturation: float, hue: float) -> None:
    images = pictures(channels)
    factors = {"brightness": brightness, "contrast": contrast, "saturation": saturation, "hue": hue}
    got = recolour(images, **{name: torch.full((3,), float(value)) for name, value in factors.items()})
    assert got.dtype == torch.uint8 and got.shape == images.shape
    for picture, expected in zip(got, images, strict=True):
        assert np.abs(picture.numpy() - reference(expected.numpy(), **factors)).max() <= 0.5 + 1e-3


def test_nothing_asked_changes_nothing() -> None:
    for channels in (1, 3, 4):
        images = pictures(channels)
        assert torch.equal(recolour(images), images)
    same = torch.ones(3)
    assert torch.equal(recolour(pictures(3), brightness=same, contrast=same, saturation=same), pictures(3))


def test_no_saturation_is_grey_and_grey_has_no_hue() -> None:
    grey = recolour(pictures(3), saturation=torch.zeros(3))
    spread = grey.int().amax(-1) - grey.int().amin(-1)
    assert spread.max() <= 1
    level = pictures(1).expand(-1, -1, -1, 3)
    assert (recolour(level, hue=torch.full((3,), 0.3)).int() - level.int()).abs().max() == 0


def test_no_contrast_is_the_mean() -> None:
    flat = recolour(pictures(1), contrast=torch.zeros(3))
    for picture, original in zip(flat, pictures(1), strict=True):
        assert (picture == original.double().mean().round().to(torch.uint8)).all()


def test_each_picture_has_its_own_numbers_whatever_the_batch() -> None:
    images = pictures(3, 7)
    factors = {
        name: torch.linspace(0.5, 1.5, 7) - float(name == "hue")
        for name in ("brightness", "contrast", "saturation", "hue")
    }
    whole = recolour(images, **factors)
    for i in range(7):
        alone = recolour(images[i : i + 1], **{name: value[i : i + 1] for name, value in factors.items()})
        assert torch.equal(alone, whole[i : i + 1])
