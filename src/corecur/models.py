"""``Input``, ``Model`` and ``Sequential``: networks under Keras' conventions that are torch modules.

B batch. Every model trains with ``compile`` and ``fit`` and answers with ``evaluate`` and ``predict``; all of it runs
on the one ``Trainer``, and everything a torch user does with a module works too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from corecur import runtime
from corecur.data.as_batches import as_batches
from corecur.data.batches import Batches
from corecur.data.hold_out import hold_out
from corecur.engine.callback import Callback
from corecur.engine.class_weights import checked_class_weights
from corecur.engine.fit_checkpoints import FitCheckpoints
from corecur.engine.history import History
from corecur.engine.metric import Metric
from corecur.engine.one_batch import is_one_batch, no_loss, output_of
from corecur.engine.optimizers import find_optimizer
from corecur.engine.outputs import find_losses, find_metrics, joined
from corecur.engine.progress import ProgressBar
from corecur.engine.rate_range import RateRange, find_rate
from corecur.engine.trainer import Trainer, device_of
from corecur.engine.trainer_for import trainer_for
from corecur.errors import ConfigError, ShapeError
from corecur.graph import Graph, as_input, unique_names
from corecur.layers.layer import Layer
from corecur.layers.plain import is_plain
from corecur.layers.recurrent import reset_states
from corecur.layers.successive import run_layers
from corecur.layers.symbolic import Shape, SymbolicTensor, call_symbolically, symbols_in


def Input(  # noqa: N802 - Keras' word
    shape: tuple[int | None, ...] | None = None,
    *,
    batch_shape: Shape | None = None,
    dtype: torch.dtype = torch.float32,
    name: str | None = None,
) -> SymbolicTensor:
    """The start of a functional model: a symbolic tensor of this shape, the batch axis left out.

    >>> Input((28, 28, 1))
    SymbolicTensor(shape=(None, 28, 28, 1), dtype=torch.float32)
    """
    if (shape is None) == (batch_shape is None):
        raise ConfigError("Input takes a shape without the batch axis", do="Input((height, width, channels))")
    full = batch_shape if batch_shape is not None else (None, *(shape or ()))
    if any(size is not None and (not isinstance(size, int) or size < 1) for size in full):
        raise ConfigError("an Input's sizes are whole numbers from 1, or None where unknown", got=shape)
    return SymbolicTensor(tuple(full), dtype=dtype, name=name)


class Model(Layer):
    """A network: given by its graph, ``Model(inputs, outputs)``, or by a subclass with ``forward`` (or ``call``).

    >>> from corecur.layers.dense import Dense
    >>> x = Input((4,))
    >>> model = Model(x, Dense(2, "softmax")(Dense(8, "relu")(x)))
    >>> model(torch.zeros(3, 4)).shape
    torch.Size([3, 2])
    """

    def __init__(self, inputs: Any = None, outputs: Any = None, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self._graph: Graph | None = None
        self._declared_shape: Shape | None = None
        self._compiled: dict[str, Any] | None = None
        self._trainer: Trainer | None = None
        self._loss: Any = None
        self._metrics: list[Metric] = []
        self._precision = torch.float32
        self._called_with: list[SymbolicTensor] = []
        self.history: History | None = None
        if outputs is not None:
            self._graph = Graph(inputs, outputs)
            layers = self._graph.layers
            for layer_name, layer in zip(unique_names(layers), layers, strict=True):
                self._adopt(layer_name, layer)
            self.built = True

    def _adopt(self, name: str, layer: nn.Module) -> None:
        if isinstance(layer, Layer):
            layer.name = name
        if name in self._modules:
            raise ConfigError(f"two layers are called {name!r}", do="give each layer of a model its own name")
        if hasattr(self, name):
            raise ConfigError(f"a layer cannot be called {name!r}: models have an attribute of that name")
        self.add_module(name, layer)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if self._graph is None:
            return super().forward(*args, **kwargs)
        if kwargs:
            raise ConfigError(
                "a model made of Inputs takes tensors only",
                got=", ".join(kwargs),
                do="choose the mode with model.train() or model.eval()",
            )
        return self._graph.run(args)

    def extra_repr(self) -> str:
        return "" if type(self) in (Model, Sequential) else super().extra_repr()

    def check_input(self, shape: Shape | torch.Size) -> None:
        """Refuse an input of another shape than the model's ``Input`` has."""
        wanted = self._graph.inputs[0].shape if self._graph is not None else self._declared_shape
        if wanted is None:
            return
        fits = len(shape) == len(wanted) and all(w is None or w == s for w, s in zip(wanted, shape, strict=True))
        if not fits:
            raise ShapeError(
                f"{self.title} takes inputs of another shape",
                got=tuple(shape),
                expected=f"(batch, {', '.join('any' if size is None else str(size) for size in wanted[1:])})",
                do="prepare the data as at training, or build a model for this shape",
            )

    def compute_mask(self, inputs: Any, mask: Any) -> None:
        """None: the layers inside carry the mask, and the last of them gave the output its own."""

    def _name_of(self, layer: nn.Module) -> str:
        return next(name for name, child in self.named_children() if child is layer)

    @property
    def layers(self) -> list[nn.Module]:
        """The layers directly inside, in order."""
        return list(self.children())

    def get_layer(self, name: str) -> nn.Module:
        """The layer of that name."""
        children = dict(self.named_children())
        if name not in children:
            raise ConfigError(f"the model has no layer {name!r}", expected=", ".join(children))
        return children[name]

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        metrics: Any = None,
        *,
        loss_weights: Sequence[float] | None = None,
        precision: str = "float32",
    ) -> None:
        """Choose what ``fit`` minimises and with what; names, objects and functions are all welcome.

        ``precision="auto"`` multiplies in bfloat16 where the processor does so in hardware.
        Several outputs take a list of losses, one each, and of metrics (or lists of them). ConfigError on an unknown
        name, or on more or fewer losses than outputs.
        """
        self._compiled = {"optimizer": optimizer, "loss": loss, "metrics": metrics, "loss_weights": loss_weights}
        self._compiled["precision"] = precision
        self._precision = runtime.find_precision(precision, device_of(self))
        self._optimizer = find_optimizer(optimizer)
        self._trainer = None
        outputs = len(self.output_symbols) or None
        self._loss = None if loss is None else find_losses(loss, loss_weights, outputs)
        self._metrics = find_metrics(metrics, len(loss) if isinstance(loss, (list, tuple)) else None)

    @property
    def trainer(self) -> Trainer:
        """The trainer of this model; made at the first use after ``compile``, which needs a built model."""
        if self._trainer is None:
            self._require_compiled()
            self._trainer = trainer_for(
                self, self._optimizer, loss=self._loss, metrics=self._metrics, precision=self._precision
            )
        return self._trainer

    def _require_compiled(self) -> None:
        if self._compiled is None or self._loss is None:
            raise ConfigError(
                "the model is not compiled",
                do='model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")',
            )

    @property
    def stop_training(self) -> bool:
        """Set to True in a callback to end the training."""
        return self._trainer is not None and self._trainer.stop_training

    @stop_training.setter
    def stop_training(self, value: bool) -> None:
        if self._trainer is not None:
            self._trainer.stop_training = value

    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        batch_size: int = 32,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Sequence[Callback] | Callback = (),
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: dict[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        validation_batch_size: int | None = None,
        validation_freq: int = 1,
        bptt_steps: int | None = None,
        checkpoints: str | Path | None = None,
        save_every: str | int = "1m",
        resume: bool | str | Path = False,
    ) -> History:
        """Train for ``epochs`` on arrays, tensors, a Dataset, a DataLoader or ``Batches``.

        ``validation_split`` takes the last share of the samples; ``validation_data`` is (x, y), (x, y, weights) or
        any source of batches. Shuffling follows torch's seed. ``bptt_steps`` truncates back-propagation through time:
        sequences are cut into pieces of so many steps, one update each, and recurrent states go on from piece to piece.
        ``checkpoints`` is a folder that keeps the training every 500 steps, ``"2m"``, …; the same call with
        ``resume=True`` (or the folder) goes on in the middle of an epoch, to the same bytes.
        """
        self._require_compiled()
        kept = FitCheckpoints(checkpoints, resume=resume, save_every=save_every) if checkpoints or resume else None
        validation = self._validation(validation_data, validation_batch_size or batch_size)
        if validation_split and validation is None:
            (x, y, sample_weight), held = hold_out(x, y, sample_weight, validation_split)
            validation = self._batches(*held, batch_size=validation_batch_size or batch_size)
        drawn = int(torch.randint(2**31, ()).item()) if shuffle else None
        seed = drawn if kept is None or drawn is None else kept.shuffle_seed(drawn)
        batches = self._batches(x, y, sample_weight, batch_size=batch_size, shuffle=shuffle, seed=seed or 0)
        self._build_on(batches)
        trainer = self.trainer
        trainer.class_weights, trainer.bptt_steps = checked_class_weights(class_weight), bptt_steps
        given = [callbacks] if isinstance(callbacks, Callback) else callbacks
        rows = trainer.fit(
            batches,
            epochs=epochs,
            initial_epoch=initial_epoch,
            validation=validation,
            validate_every=validation_freq,
            callbacks=[*given, *([ProgressBar(epochs)] if verbose else ())],
            checkpoints=None if kept is None else kept.keeper(validates=validation is not None, shuffle_seed=seed),
        )
        self.history = History(initial_epoch, rows)
        return self.history

    def find_learning_rate(
        self, x: Any, y: Any = None, *, batch_size: int = 32, rates: tuple[float, float] = (1e-7, 10), steps: int = 100
    ) -> RateRange:
        """Try rates from the lower to the higher on a training that is then undone; the result has a ``suggestion``.

        Weights, optimiser and random numbers stay as they are, to the bit; a model not yet built is built first.
        """
        batches = self._batches(x, y, None, batch_size=batch_size, shuffle=True)
        self._build_on(batches)
        return find_rate(self.trainer, batches, rates=rates, steps=steps)

    def evaluate(
        self, x: Any, y: Any = None, *, batch_size: int = 256, sample_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """The loss, or ``[loss, metric, …]`` when there are metrics, or a dict of them."""
        self._require_compiled()
        batches = self._batches(x, y, sample_weight, batch_size=batch_size)
        self._build_on(batches)
        results = self.trainer.evaluate(batches)
        if return_dict:
            return results
        values = list(results.values())
        return values if len(values) > 1 else values[0]

    def predict(self, x: Any, *, batch_size: int = 256) -> Any:
        """The outputs for all samples: NumPy arrays for arrays and lists, tensors for tensors."""
        if self._is_complete() and is_one_batch(x, batch_size):
            outputs = [output_of(self, x, device=device_of(self), precision=self._precision)]
        else:
            batches = self._batches(x, None, None, batch_size=batch_size)
            self._build_on(batches)
            trainer = self._trainer or Trainer(self, loss=no_loss, precision=self._precision)
            outputs = list(trainer.predict(batches))
        as_tensor = isinstance(x, (Tensor, Batches)) or (isinstance(x, (list, tuple)) and isinstance(x[0], Tensor))
        return joined(outputs, as_tensor=as_tensor)

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        *,
        sample_weight: Any = None,
        class_weight: dict[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """One update from one batch; the loss (and the metrics of this batch) before it."""
        self._require_compiled()
        batches = self._batches(x, y, sample_weight, batch_size=2**31 - 1)
        self._build_on(batches)
        trainer = self.trainer
        trainer.class_weights = checked_class_weights(class_weight)
        trainer.begin(batches, epochs=1)
        for metric in self._metrics:
            metric.reset()
        loss, _ = trainer.train_step(next(iter(batches)))
        results = {"loss": float(loss)} | {m.name: m.result() for m in self._metrics}
        if return_dict:
            return results
        return list(results.values()) if self._metrics else results["loss"]

    def reset_states(self) -> None:
        """Let every recurrent layer inside forget the state it carries from call to call."""
        reset_states(self)

    def summary(
        self, *, print_fn: Callable[[str], Any] = print, input_shape: tuple[int | None, ...] | None = None
    ) -> None:
        """Print each layer's output shape, parameters, multiply-adds, activation memory and receptive field."""
        from corecur.summary import summarize

        print_fn(summarize(self, input_shape=input_shape))

    def save(self, path: str | Path) -> None:
        """Write the model file: a folder, or one stored zip if the path ends in ``.zip`` or ``.corecur``."""
        from corecur.model_file import save_model

        save_model(self, Path(path))

    @classmethod
    def load(cls, path: str | Path, *, custom: Iterable[type[nn.Module]] = ()) -> Any:
        """Read a model file; classes of your own are used only if you list them in ``custom``."""
        from corecur.model_file import load_model

        return load_model(Path(path), custom=custom)

    def save_weights(self, path: str | Path) -> None:
        """Write the state dict as a safetensors file."""
        from corecur.model_file import save_weights

        save_weights(self, Path(path))

    def load_weights(self, path: str | Path) -> None:
        """Read a safetensors file that ``save_weights`` wrote for a model of this form."""
        from corecur.model_file import load_weights

        load_weights(self, Path(path))

    def _batches(self, x: Any, y: Any, weights: Any, **options: Any) -> Batches:
        return as_batches(x, y, weights, device=device_of(self), **options)

    def _validation(self, data: Any, batch_size: int) -> Batches | None:
        given = data if isinstance(data, (tuple, list)) and len(data) in (2, 3) else (data,)
        return None if data is None else self._batches(*given, *[None] * (3 - len(given)), batch_size=batch_size)

    def _is_complete(self) -> bool:
        return self.built and not any(isinstance(m, Layer) and not m.built for m in self.modules())

    def _build_on(self, batches: Batches) -> None:
        if not self._is_complete():
            first = next(iter(batches)).inputs
            inputs = first if isinstance(first, tuple) else (first,)
            self.built = False
            self._build_from(tuple(t[:1] for t in inputs), {})

    def _build_from(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self.built:
            return
        super()._build_from(args, kwargs)
        if all(hasattr(x, "shape") for x in args):
            self._called_with = [SymbolicTensor((None, *x.shape[1:]), dtype=x.dtype) for x in args]

    @property
    def input_symbols(self) -> list[SymbolicTensor]:
        """The symbolic inputs, of a subclass those of its first call; none while nothing is known of them."""
        return self._called_with if self._graph is None else self._graph.inputs

    @property
    def output_symbols(self) -> list[SymbolicTensor]:
        """The symbolic outputs; none while nothing is known of them."""
        return list(symbols_in(self._graph.outputs)) if self._graph is not None else []


class Sequential(Model):
    """A chain of layers; any ``nn.Module`` can be one.

    >>> from corecur.layers.conv import Conv2D
    >>> from corecur.layers.dense import Dense
    >>> model = Sequential([Conv2D(4, 3, input_shape=(8, 8, 1)), nn.Flatten(), Dense(2)])
    >>> model(torch.zeros(5, 8, 8, 1)).shape
    torch.Size([5, 2])
    """

    def __init__(self, layers: Iterable[Any] = (), *, name: str | None = None) -> None:
        super().__init__(name=name)
        self._output: SymbolicTensor | None = None
        for layer in layers:
            self.add(layer)

    def add(self, layer: Any) -> None:
        """Append a layer; as soon as the input shape is known, it is built at once."""
        chain = self.layers
        if isinstance(layer, SymbolicTensor):
            if chain or self._output is not None:
                raise ConfigError("an Input comes first in a Sequential")
            self._start(layer)
            self._declared_shape = layer.shape
            return
        if not isinstance(layer, nn.Module):
            raise ConfigError(
                f"a Sequential holds layers, not {type(layer).__name__}",
                got=repr(layer),
                do="add the layer itself, or wrap a function in Activation(…)",
            )
        if any(layer is other for other in chain):
            raise ConfigError("a layer stands once in a Sequential", do="use Model(inputs, outputs) to share a layer")
        name = unique_names([*chain, layer])[-1]
        if not chain and self._output is None and isinstance(layer, Layer) and layer.input_shape is not None:
            dtype = getattr(layer, "input_dtype", torch.float32)
            self._start(SymbolicTensor(layer.input_shape, dtype=dtype))
            self._declared_shape = layer.input_shape
        self._adopt(name, layer)
        self._trainer = None  # its optimizer knows nothing of this layer
        try:
            self._extend_to(layer)
        except (ConfigError, ShapeError):
            delattr(self, name)
            raise

    def pop(self) -> nn.Module:
        """Take the last layer off and return it."""
        if not self.layers:
            raise ConfigError("an empty Sequential has no layer to take off")
        name, layer = list(self.named_children())[-1]
        delattr(self, name)
        self._trainer = None
        if self._output is not None:
            self._start(self._first)
            for other in self.layers:
                self._extend_to(other)
        return layer

    def _start(self, symbol: SymbolicTensor) -> None:
        self._output = symbol
        self._first = symbol
        self.input_shape = symbol.shape
        self.built = True

    def _extend_to(self, layer: nn.Module) -> None:
        """Follow the shape through one more layer, where the shape before it is known."""
        symbol = self._output
        if symbol is None:
            self.built = False
            return
        try:
            called = layer(symbol) if isinstance(layer, Layer) else call_symbolically(layer, (symbol,), {})
        except ShapeError:
            raise
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            raise ShapeError(
                f"layer {self._name_of(layer)!r} cannot take what comes before it",
                got=symbol.shape,
                expected=str(error).splitlines()[0],
            ) from error
        found = list(symbols_in(called))
        if len(found) != 1:
            raise ConfigError(
                "a layer in a Sequential returns one tensor", got=f"{len(found)} from {type(layer).__name__}"
            )
        # Without the node that made it, which would hold every layer before: a chain needs no graph.
        self._output = SymbolicTensor(found[0].shape, dtype=found[0].dtype)

    def build(self, input_shape: Shape) -> None:
        """Build every layer for this input shape, the batch axis included."""
        if not self.layers:
            raise ConfigError("an empty Sequential has nothing to run", do="add layers first")
        self._start(SymbolicTensor(tuple(input_shape)))
        for layer in self.layers:
            self._extend_to(layer)

    def forward(self, x: Any) -> Any:
        if self._output is not None:
            x = as_input(x, self._first.dtype)
        return run_layers(list(self._modules.values()), x)

    def in_a_row(self, x: Tensor) -> list[nn.Module] | None:
        """Its layers, where a call is nothing but calling them one after the other; ``x`` is checked as in a call."""
        self.check_input(x.shape)
        return list(self.children()) if type(self) is Sequential and is_plain(self) else None

    @property
    def input_symbols(self) -> list[SymbolicTensor]:
        return [self._first] if self._output is not None else []

    @property
    def output_symbols(self) -> list[SymbolicTensor]:
        return [self._output] if self._output is not None else []

    @property
    def output_shape(self) -> Shape | None:
        """The shape of the output, the batch axis included; None until the model is built."""
        return None if self._output is None else self._output.shape
