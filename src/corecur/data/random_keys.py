"""Random numbers that are a pure function of (seed, epoch, sample index, stream), a batch at a time.

Nothing is drawn from a generator, so no order of samples, batch size, worker or resume can change what a sample gets.
The mixing is SplitMix64's finaliser (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA
2014), used as a counter-based generator (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).

Shapes: B batch, n numbers per sample, N samples.
"""

from __future__ import annotations

import functools
import hashlib
import math

import torch
from torch import Tensor

_MASK = 2**64 - 1
_GAMMA = 0x9E3779B97F4A7C15
# The finaliser: three xor-shifts with a multiplication after the first two.
_SHIFTS = (30, 27, 31)
_MULTIPLIERS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


def _signed(value: int) -> int:
    """The int64 that has the bits of a 64-bit unsigned number."""
    return value - 2**64 if value >= 2**63 else value


def _mix(z: int) -> int:
    """SplitMix64's finaliser of one Python integer."""
    z &= _MASK
    for shift, multiplier in zip(_SHIFTS[:2], _MULTIPLIERS, strict=True):
        z = (z ^ (z >> shift)) * multiplier & _MASK
    return z ^ (z >> _SHIFTS[2])


def _fold_high(z: Tensor, shift: int) -> Tensor:
    """``z ^= z >> shift``, in place, with the shift of an unsigned number: int64 shifts copies of the sign in."""
    return z.bitwise_xor_((z >> shift).bitwise_and_((1 << (64 - shift)) - 1))


def _mix_tensor(z: Tensor) -> Tensor:
    """SplitMix64's finaliser of every element, in place; int64 products wrap as unsigned ones do."""
    for shift, multiplier in zip(_SHIFTS[:2], _MULTIPLIERS, strict=True):
        z = _fold_high(z, shift).mul_(_signed(multiplier))
    return _fold_high(z, _SHIFTS[2])


@functools.lru_cache(maxsize=1024)
def _stream_number(stream: int | str) -> int:
    if isinstance(stream, int):
        return stream
    return int.from_bytes(hashlib.blake2b(stream.encode(), digest_size=8).digest(), "little")


def key(seed: int, epoch: int, *, stream: int | str = 0) -> int:
    """One 64-bit number that stands for a seed, an epoch and a stream.

    >>> key(0, 0) != key(0, 1) != key(1, 0)
    True
    """
    z = 0
    for part in (seed, epoch, _stream_number(stream)):
        z = _mix((z ^ _mix(part + _GAMMA)) + _GAMMA)
    return z


def _bits(seed: int, epoch: int, index: Tensor, n: int, stream: int | str) -> Tensor:
    """64 random bits for each sample and number: (B,) int64 -> (B, n) int64."""
    start = _mix_tensor((index * _signed(_GAMMA)).add_(_signed(key(seed, epoch, stream=stream))))
    steps = torch.arange(1, n + 1, device=index.device).mul_(_signed(_GAMMA))
    return _mix_tensor(start[:, None] + steps)  # (B, n)


def uniform(seed: int, epoch: int, index: Tensor, n: int = 1, *, stream: int | str = 0) -> Tensor:
    """``n`` uniform numbers in [0, 1) for every sample index: (B,) int64 -> (B, n) float32, multiples of 2**-24.

    The first numbers do not depend on ``n``; different streams are independent of each other.

    >>> a = uniform(7, 0, torch.tensor([4, 9]), 3)
    >>> b = uniform(7, 0, torch.tensor([9]), 3)
    >>> torch.equal(a[1:], b)
    True
    """
    bits = _bits(seed, epoch, index, n, stream)
    return (bits >> 40).bitwise_and_(2**24 - 1).to(torch.float32).mul_(2.0**-24)


def integers(seed: int, epoch: int, index: Tensor, n: int = 1, *, high: int, stream: int | str = 0) -> Tensor:
    """``n`` whole numbers in [0, high) for every sample index: (B,) int64 -> (B, n) int64.

    ``high`` is at most 2**31; a value's probability is off by at most 2**-32 (fixed-point scaling of 32 bits).

    >>> integers(7, 0, torch.arange(1000), 5, high=3).unique().tolist()
    [0, 1, 2]
    """
    bits = _bits(seed, epoch, index, n, stream)
    return (bits >> 32).bitwise_and_(2**32 - 1).mul_(high) >> 32


def normal(seed: int, epoch: int, index: Tensor, n: int = 1, *, stream: int | str = 0) -> Tensor:
    """``n`` standard normal numbers for every sample index: (B,) int64 -> (B, n) float32 (Box and Muller, 1958).

    The first numbers do not depend on ``n``.

    >>> draws = normal(7, 0, torch.arange(1000), 10)
    >>> bool(draws.mean().abs() < 0.02), bool((draws.std() - 1).abs() < 0.02)
    (True, True)
    """
    radius = (
        uniform(seed, epoch, index, n, stream=f"{stream}: radius").neg_().add_(1)
    )  # (0, 1]: its logarithm is finite
    angle = uniform(seed, epoch, index, n, stream=f"{stream}: angle")
    return radius.log_().mul_(-2).sqrt_().mul_(angle.mul_(2 * math.pi).cos_())


def permutation(n: int, seed: int, epoch: int = 0, *, stream: int | str = "order") -> Tensor:
    """The order of ``n`` samples in an epoch: (N,) int64; the global generator is neither read nor moved.

    >>> [torch.equal(permutation(100, 3, 1), permutation(100, 3, epoch)) for epoch in (1, 2)]
    [True, False]
    """
    generator = torch.Generator().manual_seed(key(seed, epoch, stream=stream) >> 1)
    return torch.randperm(n, generator=generator)
