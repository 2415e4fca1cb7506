"""The plain average of the weights over the last part of a training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice

from torch import Tensor

from corecur import runtime
from corecur.engine.callback import Callback, Logs
from corecur.engine.callbacks import AveragedWeights, WeightAverage
from corecur.engine.evaluating import evaluating
from corecur.engine.norm_statistics import counting_statistics
from corecur.errors import ConfigError

# Batches from which the statistics of batch normalisations are counted.
_COUNTED = 32


class StochasticWeightAverage(AveragedWeights):
    """Trains as ever, but validates and ends with the mean of the weights after every step from ``start`` on.

    ``start`` is a share of the training. Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima and Better
    Generalization", who average once an epoch at a constant rate. The running statistics of batch normalisations are
    counted anew for the average, over the first training batches of epoch 0: no random number is drawn for it.

    >>> StochasticWeightAverage(0.5).start
    0.5
    """

    def __init__(self, start: float = 0.75) -> None:
        if not 0.0 <= start < 1.0:
            raise ConfigError("the start of a weight average lies in [0, 1)", got=start)
        self.start = start

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if self.trainer.budget.progress(self.trainer.steps_done) < self.start:
            return
        self._updates += 1
        for name, tensor in self.model.state_dict().items():
            if tensor.dtype.is_floating_point:
                self._average[name].lerp_(tensor, 1 / self._updates)
            else:
                self._average[name].copy_(tensor)

    def _has_average(self) -> bool:
        return self._updates > 0

    def _take_average(self) -> None:
        super()._take_average()
        trainer, batches = self.trainer, self.trainer.batches
        if batches is None:
            return
        exact = runtime.precision(trainer.precision, trainer.device)
        with evaluating(self.model), counting_statistics(self.model), exact:
            for one in islice(batches.epoch(0), _COUNTED):
                self.model(*([one.inputs] if isinstance(one.inputs, Tensor) else one.inputs))


#: What a recipe's ``average`` stands for: no callback, an exponential average, or one over the last part.
AVERAGES: Mapping[str, Callable[[], tuple[Callback, ...]]] = {
    "none": tuple,
    "ema": lambda: (WeightAverage(0.99),),
    "swa": lambda: (StochasticWeightAverage(),),
}
