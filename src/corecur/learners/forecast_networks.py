"""The networks a forecaster can use, by name. Each column is forecast from its own past, by the same weights.

B batch, L lookback, S segments, W steps of a segment, C columns, D hidden units, H horizon, Q quantiles.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from corecur.layers.dense import Dense
from corecur.layers.dropout import Dropout
from corecur.layers.gru import GRU
from corecur.layers.ordered_quantiles import OrderedQuantiles
from corecur.layers.positional import PositionEmbedding
from corecur.layers.reversible import ReversibleNormalization, WindowStatistics
from corecur.layers.shape import Permute, Reshape
from corecur.layers.symbolic import SymbolicTensor
from corecur.layers.time_distributed import TimeDistributed
from corecur.models import Input, Model
from corecur.names import Table

Normalisation = Literal["window", "last", "none"]


@dataclass(frozen=True)
class Form:
    """What a forecasting network takes and makes: (B, L, C) -> (B, H, C, Q)."""

    lookback: int
    columns: int
    horizon: int
    quantiles: int
    normalisation: Normalisation = "window"
    segment: int = 1
    hidden: int = 128
    dropout: float = 0.5


def segment_gru(form: Form) -> Model:
    """A GRU over segments of the past and a linear map of its last state to all steps of the horizon at once.

    After SegRNN (Lin et al. 2023, arXiv 2308.11200): segments in place of single steps make the recurrence a few steps
    long; a learned vector tells the columns apart. Here with a linear head (``docs/recipes-forecast.md``).

    >>> segment_gru(Form(lookback=96, columns=7, horizon=24, quantiles=3, segment=12)).output_symbols[0].shape
    (None, 24, 7, 3)
    """

    def body(z: SymbolicTensor) -> Any:
        z = Reshape((form.columns, form.lookback // form.segment, form.segment))(z)  # (B, C, L) -> (B, C, S, W)
        z = Dense(form.hidden, "relu")(z)  # (B, C, S, D)
        z = TimeDistributed(GRU(form.hidden))(z)  # (B, C, S, D) -> (B, C, D)
        return Dropout(form.dropout)(PositionEmbedding(form.columns)(z))

    return _forecaster(form, body, name="segment_gru")


def linear(form: Form) -> Model:
    """One linear map from the past to the horizon, shared by all columns: DLinear's rival (Zeng et al. 2023).

    >>> linear(Form(lookback=24, columns=1, horizon=12, quantiles=3)).count_params()
    900
    """
    return _forecaster(form, lambda z: z, name="linear")


def _forecaster(form: Form, body: Callable[[SymbolicTensor], Any], *, name: str) -> Model:
    """What all share: the level of the window taken away, a body (B, C, L) -> (B, C, D), quantiles, the level again."""
    x = inputs = Input((form.lookback, form.columns))
    statistics: Any = None
    if form.normalisation != "none":
        window = form.normalisation == "window"
        statistics = WindowStatistics("mean" if window else "last", scale=window)(x)  # (B, 2, C)
        x = ReversibleNormalization()([x, statistics])
    z = body(Permute((2, 1))(x))  # (B, L, C) -> (B, C, L) -> (B, C, D)
    y = Dense(form.horizon * form.quantiles, dtype="float32")(z)  # (B, C, H·Q)
    y = Permute((2, 1, 3))(Reshape((form.columns, form.horizon, form.quantiles))(y))  # (B, H, C, Q)
    y = OrderedQuantiles()(y)
    if statistics is not None:
        y = ReversibleNormalization(reverse=True)([y, statistics])
    return Model(inputs, y, name=name)


FORECAST_NETWORKS: Table[Callable[[Form], Model]] = Table("model", {"segment-gru": segment_gru, "linear": linear})
