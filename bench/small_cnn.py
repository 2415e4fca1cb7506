"""The job of ``fit``: a small CNN for 28×28 pictures, its data and its first weights, the same for every contender.

conv 32 (3×3, relu), pool, conv 64 (3×3, relu), pool, dense 128 (relu), dense 10; Adam, cross-entropy, float32.

N samples, C channels, F filters, U units.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SAMPLES, SIZE, CLASSES = 2048, 28, 10
RATE, EPSILON = 1e-3, 1e-7
PROOF_EPOCHS = 3
# Kernels in Keras' layout: (height, width, C, F) and (C, U); 5 × 5 positions are left after both pools.
KERNELS = ((3, 3, 1, 32), (3, 3, 32, 64), (5 * 5 * 64, 128), (128, CLASSES))
#: Multiply-adds of one sample: positions of the output times the size of the kernel.
MULTIPLY_ADDS = (26 * 26 * 9 * 32, 11 * 11 * 9 * 32 * 64, 1600 * 128, 128 * CLASSES)
#: Floating-point operations of a training step on one sample: forward, gradient of the weights, gradient of the input
#: (which the first layer does not need).
FLOPS = 2.0 * (3 * sum(MULTIPLY_ADDS) - MULTIPLY_ADDS[0])


def samples() -> tuple[NDArray[Any], NDArray[Any]]:
    """Pictures (N, 28, 28, 1) of noise and classes (N,) that a random linear map gives them: something to learn."""
    draw = np.random.default_rng(0)
    x = draw.standard_normal((SAMPLES, SIZE, SIZE, 1), dtype=np.float32)
    teacher = draw.standard_normal((SIZE * SIZE, CLASSES), dtype=np.float32)
    return x, (x.reshape(SAMPLES, -1) @ teacher).argmax(1)


def weights() -> list[NDArray[Any]]:
    """Kernels (Glorot's uniform) and biases (zero) in the order and layout of Keras' ``set_weights``."""
    draw, arrays = np.random.default_rng(1), []
    for shape in KERNELS:
        taps = int(np.prod(shape[:-2]))
        bound = (6 / (taps * (shape[-2] + shape[-1]))) ** 0.5
        arrays += [draw.uniform(-bound, bound, shape).astype(np.float32), np.zeros(shape[-1], np.float32)]
    return arrays
