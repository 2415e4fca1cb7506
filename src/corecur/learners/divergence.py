"""A training that runs away ends at once, with advice, and not with a model of NaN."""

from __future__ import annotations

import math

from corecur.engine.callback import Callback, Logs
from corecur.errors import RunError


class RefuseDivergence(Callback):
    """Raises RunError at the end of an epoch whose loss, or a weight after it, is no finite number.

    >>> RefuseDivergence().on_epoch_end(0, {"loss": float("nan")})
    Traceback (most recent call last):
        ...
    corecur.errors.RunError: the training ran away: the loss is nan
      where:    epoch 1
      do this:  take a lower learning rate
    """

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        loss = float((logs or {}).get("loss", 0.0))
        what = f"the loss is {loss}" if not math.isfinite(loss) else self._lost_weight()
        if what:
            raise RunError(
                f"the training ran away: {what}", where=f"epoch {epoch + 1}", do="take a lower learning rate"
            )

    def _lost_weight(self) -> str | None:
        lost = (name for name, weight in self.model.named_parameters() if not bool(weight.isfinite().all()))
        name = next(lost, None)
        return None if name is None else f"the weight {name} holds NaN or infinity"
