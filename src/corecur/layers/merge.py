"""Add, Subtract, Multiply, Average, Maximum, Minimum, Concatenate, Dot: several tensors into one.

B batch; the inputs come as one list.
"""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Unpack

import torch
from torch import Tensor

from corecur.errors import ConfigError, ShapeError
from corecur.layers.layer import Layer, LayerOptions
from corecur.layers.masks import blank, checked_masks
from corecur.layers.symbolic import Shape, shape_of


class Merge(Layer):
    """What the layers with a list of inputs share."""

    #: How many inputs it takes; None for any number from 1.
    count: ClassVar[int | None] = None

    def check_input(self, shape: Shape | torch.Size) -> None:
        raise ShapeError(
            f"{self.title} takes a list of tensors",
            got=f"one tensor of shape {tuple(shape)}",
            do=f"write {type(self).__name__}()([a, b])",
        )

    def build(self, input_shape: list[Shape]) -> None:
        self._check(input_shape)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        first = inputs[0].shape if inputs else None
        if self.count is not None or any(x.shape != first for x in inputs):
            self._check([shape_of(x) for x in inputs])
        return self.merge(inputs)

    def compute_mask(self, inputs: Any, mask: Any) -> Any:
        """Real where it is in every input; an input without a mask is real throughout."""
        masks = self.masks_of(inputs, mask)
        return functools.reduce(torch.logical_and, [m for m in masks if m is not None]) if any_of(masks) else None

    def masks_of(self, inputs: Sequence[Tensor], mask: Any) -> list[Tensor | None]:
        """The mask of each input, checked."""
        return checked_masks(mask, inputs, self.title)

    @abstractmethod
    def merge(self, inputs: Sequence[Tensor]) -> Tensor:
        """The result for inputs of fitting shapes."""

    def fits(self, shapes: list[Shape]) -> bool:
        """Whether the shapes go together: equal, but for sizes of 1, which are repeated."""
        ranks = {len(shape) for shape in shapes}
        return len(ranks) == 1 and all(len(set(sizes) - {1, None}) <= 1 for sizes in zip(*shapes, strict=True))

    def _check(self, shapes: list[Shape]) -> None:
        if not shapes or self.count not in (None, len(shapes)):
            raise ShapeError(f"{self.title} takes {self.count or 'at least 1'} inputs", got=len(shapes))
        if not self.fits(shapes):
            raise ShapeError(
                f"{self.title} cannot put these shapes together",
                got=" and ".join(str(shape) for shape in shapes),
                expected=self.wanted(),
            )

    def wanted(self) -> str:
        """What the shapes have to be, for the message."""
        return "equal shapes, or sizes of 1 where they differ"


def any_of(masks: Sequence[Tensor | None]) -> bool:
    """Whether there is any mask at all."""
    return any(mask is not None for mask in masks)


class Add(Merge):
    """The sum of the inputs.

    >>> Add()([torch.ones(1, 2), torch.ones(1, 2)])
    tensor([[2., 2.]])
    """

    def merge(self, inputs: Sequence[Tensor]) -> Tensor:
        return functools.reduce(torch.add, inputs)


class Subtract(Merge):
    """The first input minus the second.

    >>> Subtract()([torch.ones(1, 2), torch.ones(1, 2)])
    tensor([[0., 0.]])
    """

    count = 2

    def merge(self, inputs: Sequence[Tensor]) -> Tensor:
        return inputs[0] - inputs[1]


class Multiply(Merge):
    """The product of the inputs, element by element.

    >>> Multiply()([torch.full((1, 2), 3.0), torch.full((1, 2), 2.0)])
    tensor([[6., 6.]])
    """

    def forward(self, inputs: Sequence[Tensor], *, mask: Any = None) -> Tensor:
        masks = self.masks_of(inputs, mask)  # each gradient has the other factor in it, NaN included
        return super().forward([x if m is None else blank(x, m) for x, m in zip(inputs, masks, strict=True)])

    def merge(self, inputs: Sequence[Tensor]) -> Tensor:
        return functools.reduce(torch.mul, inputs)


class Average(Merge):
    """The mean of the inputs, element by element.

    >>> Average()([torch.zeros(1, 2), torch.ones(1, 2)])
    tensor([[0.5000, 0.5000]])
    """

    def merge(self, inputs: Sequence[Tensor]) -> Tensor:
        return functools.reduce(torch.add, inputs) / len(inputs)


class Maximum(Merge):
    """The largest of the inputs, element by element.

    >>> Maximum()([torch.zeros(1, 2), torch.ones(1, 2)])
    tensor([[1., 1.]])
    """

    def merge(self, inputs: Sequence[Tensor]) -> Tensor:
        return functools.reduce(torch.maximum, inputs)


class Minimum(Merge):
    """The smallest of the inputs, element by element.

    >>> Minimum()([torch.zeros(1, 2), torch.ones(1, 2)])
    tensor([[0., 0.]])
    """

    def merge(self, inputs: Sequence[Tensor]) -> Tensor:
        return functools.reduce(torch.minimum, inputs)


class Concatenate(Merge):
    """The inputs one after the other along ``axis``, the channels unless told.

    >>> Concatenate()([torch.zeros(2, 7, 7, 4), torch.zeros(2, 7, 7, 8)]).shape
    torch.Size([2, 7, 7, 12])
    """

    def __init__(self, axis: int = -1, **options: Unpack[LayerOptions]) -> None:
        super().__init__(**options)
        if not isinstance(axis, int) or isinstance(axis, bool):
            raise ConfigError("Concatenate needs an axis", got=repr(axis), expected="a whole number")
        self.axis = axis

    def merge(self, inputs: Sequence[Tensor]) -> Tensor:
        return torch.cat(tuple(inputs), self.axis)

    def compute_mask(self, inputs: Any, mask: Any) -> Any:
        """Along time, the masks one after the other; along another axis, real where it is in every input."""
        if self.axis % inputs[0].ndim != 1:
            return super().compute_mask(inputs, mask)
        masks = self.masks_of(inputs, mask)
        if not any_of(masks):
            return None
        full = [
            x.new_ones(x.shape[:2], dtype=torch.bool) if m is None else m for m, x in zip(masks, inputs, strict=True)
        ]
        return torch.cat(full, 1)

    def fits(self, shapes: list[Shape]) -> bool:
        rank = len(shapes[0])
        if any(len(shape) != rank for shape in shapes) or not -rank <= self.axis < rank:
            return False
        sizes = list(zip(*shapes, strict=True))
        del sizes[self.axis]
        return all(len(set(along) - {None}) <= 1 for along in sizes)

    def wanted(self) -> str:
        return f"shapes that have axis {self.axis} and differ only there"


class Dot(Merge):
    """The products of two inputs, summed over one axis of each: (B, …, D) and (B, …, D) -> (B, …, …).

    ``axes`` is the axis to sum over, or one for each input; with ``normalize`` the result is a cosine.

    >>> Dot(axes=1)([torch.ones(2, 3), torch.ones(2, 3)])
    tensor([[3.],
            [3.]])
    """

    count = 2

    def __init__(
        self, axes: int | tuple[int, int], *, normalize: bool = False, **options: Unpack[LayerOptions]
    ) -> None:
        super().__init__(**options)
        pair: tuple[Any, ...] = (axes, axes) if isinstance(axes, int) else tuple(axes)
        if len(pair) != 2 or any(not isinstance(axis, int) or axis == 0 for axis in pair):
            raise ConfigError("Dot needs the axes to sum over", got=axes, expected="a whole number but 0, or two")
        self.axes = axes
        self.normalize = normalize
        self._pair: tuple[int, int] = pair

    def merge(self, inputs: Sequence[Tensor]) -> Tensor:
        a, b = (x.movedim(axis, -1) for x, axis in zip(inputs, self._pair, strict=True))
        if self.normalize:
            a, b = (torch.nn.functional.normalize(x, dim=-1) for x in (a, b))
        free = (*a.shape[1:-1], *b.shape[1:-1]) or (1,)
        a, b = (x.flatten(1, -2) if x.ndim > 2 else x.unsqueeze(1) for x in (a, b))  # (B, …, D) -> (B, n, D)
        return (a @ b.mT).reshape(a.shape[0], *free)

    def compute_mask(self, inputs: Any, mask: Any) -> Any:
        """None: what is not real is summed over, or stands on two axes."""
        return Layer.compute_mask(self, inputs, mask)

    def fits(self, shapes: list[Shape]) -> bool:
        if any(not -len(shape) < axis < len(shape) for shape, axis in zip(shapes, self._pair, strict=True)):
            return False
        a, b = (shape[axis] for shape, axis in zip(shapes, self._pair, strict=True))
        return (a == b or None in (a, b)) and (shapes[0][0] == shapes[1][0] or None in (shapes[0][0], shapes[1][0]))

    def wanted(self) -> str:
        return f"equal sizes along axes {self._pair}"
