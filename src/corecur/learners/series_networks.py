"""The networks a series classifier can use, by name, and several of them as one.

B batch, T time, C channels, F filters, H units, K classes, M members.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from corecur.layers.activation import Activation
from corecur.layers.conv import Conv1D
from corecur.layers.dense import Dense
from corecur.layers.dropout import Dropout
from corecur.layers.lstm import LSTM
from corecur.layers.merge import Add, Average, Concatenate
from corecur.layers.norm import BatchNormalization
from corecur.layers.pool import AveragePooling1D, GlobalAveragePooling1D, MaxPooling1D
from corecur.layers.symbolic import SymbolicTensor
from corecur.models import Input, Model
from corecur.names import Table


@dataclass(frozen=True)
class SeriesSizes:
    """How large a member is: filters F, units H of recurrent layers, how much of time it skips, how far it looks.

    A first convolution takes only every ``shrink``-th step, where that is above 1; ``reach`` is the longest kernel
    that is of use; ``halvings`` is how often time is halved before a recurrent layer reads it.
    """

    filters: int = 64
    units: int = 64
    depth: int = 6
    shrink: int = 1
    reach: int = 39
    halvings: int = 0
    dropout: float = 0.0

    def kernel(self, size: int) -> int:
        """The odd kernel size of at most ``size`` and the reach.

        >>> SeriesSizes(reach=12).kernel(39), SeriesSizes().kernel(9)
        (11, 9)
        """
        least = max(1, min(size, self.reach))
        return least if least % 2 else least - 1


#: The features of a series (B, F) from its steps (B, T, C): what stands before the softmax.
Member = Callable[[Any, SeriesSizes], Any]


def fcn(x: SymbolicTensor, sizes: SeriesSizes) -> Any:
    """Three convolutions and the mean over time (Wang et al. 2017, "Time series classification from scratch").

    F, 2F and F filters of 9, 5 and 3 steps; the article has 128, 256 and 128 of 8, 5 and 3.
    """
    for filters, size in ((sizes.filters, 9), (2 * sizes.filters, 5), (sizes.filters, 3)):
        x = _active(_convolved(x, filters, sizes.kernel(size)))
    return GlobalAveragePooling1D()(x)  # (B, T, F) -> (B, F)


def resnet(x: SymbolicTensor, sizes: SeriesSizes) -> Any:
    """Three blocks of three convolutions with a shortcut around each (Wang et al. 2017)."""
    for filters in (sizes.filters, 2 * sizes.filters, 2 * sizes.filters):
        y = x
        for size in (9, 5):
            y = _active(_convolved(y, filters, sizes.kernel(size)))
        x = _active(Add()([_convolved(y, filters, sizes.kernel(3)), _convolved(x, filters, 1)]))
    return GlobalAveragePooling1D()(x)


def inception(x: SymbolicTensor, sizes: SeriesSizes) -> Any:
    """Modules of long, middle and short kernels side by side, a shortcut around every three (Ismail Fawaz et al. 2020).

    As InceptionTime's network: F / 4 filters a branch (there 32 of F = 128), kernels of up to 39, 19 and 9 steps.
    """
    shortcut = x
    for number in range(sizes.depth):
        x = _inception_module(x, sizes)
        if number % 3 == 2:
            x = shortcut = Activation("relu")(Add()([x, _convolved(shortcut, x.shape[-1] or 1, 1)]))
        else:
            x = Activation("relu")(x)
    return GlobalAveragePooling1D()(x)


def _inception_module(x: Any, sizes: SeriesSizes) -> Any:
    """(B, T, C) -> (B, T, F), normalised, not yet active."""
    width = max(1, sizes.filters // 4)
    narrow = x if x.shape[-1] == 1 else _linear(x, width, 1)
    branches = [_linear(narrow, width, size) for size in sorted({sizes.kernel(k) for k in (39, 19, 9)}, reverse=True)]
    branches.append(_linear(MaxPooling1D(3, 1, "same")(x), width, 1))
    return _normalised(Concatenate()(branches))


def lstm_fcn(x: SymbolicTensor, sizes: SeriesSizes) -> Any:
    """A fully convolutional network beside an LSTM (Karim et al. 2017, "LSTM fully convolutional networks").

    Unlike the article's, the LSTM reads the series step by step (pairs of steps averaged until it is short), so that
    any length will do; the article hands it all steps at once, as one vector.
    """
    steps = x
    for _ in range(sizes.halvings):
        steps = AveragePooling1D(2, padding="same")(steps)
    memory = Dropout(0.5)(LSTM(sizes.units)(steps))  # (B, H)
    return Concatenate()([fcn(x, sizes), memory])  # (B, F + H)


def hybrid(x: SymbolicTensor, sizes: SeriesSizes) -> Any:
    """Convolutions, then recurrent layers over what they found: convolve and halve, then two LSTMs, the last state."""
    for filters, size in ((sizes.filters, 9), (2 * sizes.filters, 5)):
        x = _active(_convolved(x, filters, sizes.kernel(size)))
        if sizes.halvings:
            x = MaxPooling1D(2, padding="same")(x)
    for _ in range(sizes.halvings - 2):
        x = MaxPooling1D(2, padding="same")(x)
    return LSTM(sizes.units)(LSTM(sizes.units, return_sequences=True)(x))  # (B, T', 2F) -> (B, H)


def _stem(x: Any, sizes: SeriesSizes) -> Any:
    """A convolution at every ``shrink``-th step, (B, T, C) -> (B, T', F / 2), for series that are very long.

    It looks back only, so that its steps stay where they are whatever the batch's length.
    """
    if sizes.shrink == 1:
        return x
    size, filters = 2 * sizes.shrink + 5, max(1, sizes.filters // 2)
    convolution = Conv1D(filters, size, sizes.shrink, "causal", use_bias=False, kernel_initializer="he_uniform")
    return _active(_normalised(convolution(x)))


def _linear(x: Any, filters: int, size: int) -> Any:
    return Conv1D(filters, size, padding="same", use_bias=False, kernel_initializer="he_uniform")(x)


def _normalised(x: Any) -> Any:
    return BatchNormalization(momentum=0.9, epsilon=1e-5)(x)


def _convolved(x: Any, filters: int, size: int) -> Any:
    return _normalised(_linear(x, filters, size))


def _active(x: Any) -> Any:
    return Activation("relu")(x)


SERIES_NETWORKS: Table[Member] = Table(
    "model", {"fcn": fcn, "inception": inception, "resnet": resnet, "lstm-fcn": lstm_fcn, "hybrid": hybrid}
)


def build_members(names: Sequence[str], *, channels: int, classes: int, sizes: SeriesSizes) -> tuple[Model, Model]:
    """One network of several members: what answers, (B, T, C) -> (B, K), and what trains, with an output a member.

    Both are made of the same layers. The answer is the mean of the members' probabilities; training them side by side,
    each on its own loss, is training them alone (Lakshminarayanan et al. 2017, "deep ensembles").

    >>> answers, members = build_members(["fcn", "fcn"], channels=1, classes=3, sizes=SeriesSizes(filters=4))
    >>> answers.output_symbols[0].shape, len(members.output_symbols)
    ((None, 3), 2)
    """
    inputs = Input((None, channels))
    outputs = []
    for name in names:
        features = SERIES_NETWORKS[name](_stem(inputs, sizes), sizes)
        if sizes.dropout:
            features = Dropout(sizes.dropout)(features)
        outputs.append(Activation("softmax")(Dense(classes, dtype="float32")(features)))
    answer = outputs[0] if len(outputs) == 1 else Average()(outputs)
    return Model(inputs, answer, name="-".join(dict.fromkeys(names))), Model(inputs, outputs)
