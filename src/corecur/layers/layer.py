"""``Layer``: an ``nn.Module`` that makes its parameters once it sees the shape of its input.

B batch, C channels (last axis of every public tensor).
"""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any, ClassVar, TypedDict

import numpy as np
import torch
from torch import Tensor, nn

from corecur.errors import ConfigError, ShapeError, nearest
from corecur.layers.initializers import Initializer, find_initializer
from corecur.layers.keras_weight import KerasWeight, permuted
from corecur.layers.masks import carrying, checked_mask, mask_of, takes_mask, with_mask
from corecur.layers.regularizers import Regularizer, find_regularizer
from corecur.layers.symbolic import Shape, call_symbolically, symbols_in, trial_tensors

_FINDERS: dict[str, Callable[[str], object]] = {"_initializer": find_initializer, "_regularizer": find_regularizer}


class LayerOptions(TypedDict, total=False):
    """What every layer's constructor takes besides its own arguments."""

    name: str | None
    input_shape: tuple[int | None, ...] | None
    trainable: bool
    activity_regularizer: str | Regularizer | None
    dtype: str | None


def accepted_arguments(cls: type) -> dict[str, inspect.Parameter]:
    """The constructor's arguments, with the shared options in place of ``**options``."""
    parameters = dict(list(inspect.signature(cls.__init__).parameters.items())[1:])  # type: ignore[misc]
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        for option in getattr(cls, "options_type", LayerOptions).__annotations__:
            parameters.setdefault(option, inspect.Parameter(option, inspect.Parameter.KEYWORD_ONLY, default=None))
    return {n: p for n, p in parameters.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}


class LayerType(type):
    """Records every layer's constructor arguments, so that no layer writes its own ``get_config``."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        known = accepted_arguments(cls)
        for name in kwargs:
            takes_any = cls.__init__ is Layer.__init__ and name in LayerOptions.__annotations__  # type: ignore[misc]
            if name not in known and not takes_any:
                guess = nearest(name, known)
                raise ConfigError(
                    f"{cls.__name__} has no argument {name!r}",
                    expected=", ".join(known),
                    do=f"did you mean {guess!r}?" if guess else None,
                )
        try:
            bound = inspect.signature(cls.__init__).bind(None, *args, **kwargs)  # type: ignore[misc]
        except TypeError as error:
            raise ConfigError(f"{cls.__name__}: {error}", expected=", ".join(known)) from None
        layer = super().__call__(*args, **kwargs)
        bound.apply_defaults()
        config = dict(list(bound.arguments.items())[1:])
        for name, parameter in inspect.signature(cls.__init__).parameters.items():  # type: ignore[misc]
            if parameter.kind is parameter.VAR_KEYWORD:
                config |= config.pop(name, {})
        layer.__dict__["_config"] = config
        for name, value in config.items():  # a mistyped name is refused here, not when the weights are made
            find = next((find for ending, find in _FINDERS.items() if name.endswith(ending)), None)
            if find is not None and isinstance(value, str):
                find(value)
        return layer


class Layer(nn.Module, metaclass=LayerType):
    """A module with Keras' conventions: lazy build, channels-last shapes, recorded config.

    A layer of your own defines ``forward`` (or ``call``, Keras' word) and, when it has weights, ``build``, which
    makes them as soon as the shape of the input is known.

    >>> class Scale(Layer):
    ...     def build(self, input_shape):
    ...         self.factor = self.add_weight((input_shape[-1],), initializer="ones")
    ...     def forward(self, x):
    ...         return x * self.factor
    >>> layer = Scale()
    >>> layer(torch.ones(2, 3)).shape, layer.state_dict().keys()
    (torch.Size([2, 3]), odict_keys(['factor']))
    """

    #: Axes of the input, the batch axis included; None where any number will do.
    rank: ClassVar[int | None] = None
    #: Whether the number of channels is fixed once the layer is built.
    fixes_channels: ClassVar[bool] = False
    #: Whether a mask passes through as it is, because every step is treated alike and alone.
    supports_masking: ClassVar[bool] = False
    #: What the constructor's ``**options`` may hold.
    options_type: ClassVar[type] = LayerOptions
    #: State names in the order of Keras' ``get_weights``, each with the permutation to Keras' layout (None: as it is).
    keras_weights: ClassVar[tuple[tuple[str, tuple[int, ...] | None], ...]] = ()

    _config: dict[str, Any]
    _takes_mask: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._takes_mask = takes_mask(cls)

    def __init__(
        self,
        *,
        name: str | None = None,
        input_shape: tuple[int | None, ...] | None = None,
        trainable: bool = True,
        activity_regularizer: str | Regularizer | None = None,
        dtype: str | None = None,
    ) -> None:
        super().__init__()
        if dtype not in (None, "float32"):
            raise ConfigError("a layer's dtype is None or 'float32'", got=repr(dtype), do="use compile(precision=…)")
        self.dtype = dtype
        self.name = name
        self.input_shape: Shape | None = None if input_shape is None else (None, *input_shape)
        self.built = False
        self._channels: int | None = None
        self._trainable = trainable
        self._penalized: list[tuple[nn.Parameter, Regularizer]] = []
        self.activity_regularizer = activity_regularizer
        self._activity_regularizer = find_regularizer(activity_regularizer)
        self._activity_penalty: Tensor | None = None
        self._told_of_mask = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        first = args[0] if args else None
        if not isinstance(first, Tensor):
            if self.rank is not None and isinstance(first, (list, tuple)):
                what, names = f"a {type(first).__name__} of {len(first)}", "initial_state=…, value=…"
                raise ShapeError(f"{self.title} takes one tensor", got=what, do=f"pass the others by name ({names})")
            if any(True for _ in symbols_in((args, kwargs))):
                self._build_from(args, kwargs)
                return call_symbolically(self, args, kwargs)
            if isinstance(first, np.ndarray):
                raise ShapeError(
                    f"{self.title} takes torch tensors", got="a NumPy array", do="pass torch.from_numpy(array)"
                )
        elif self.built:
            self.check_input(first.shape)
        mask = self._mask_for(first, kwargs)
        if mask is not None and not self._takes_mask:  # it is for the layers inside
            first = carrying(first, mask, self.title)
            args = (first, *args[1:])
        if not self.built:
            self._build_from(args, kwargs)
        output = super().__call__(*args, **kwargs) if self.dtype is None else self._call_in_float32(args, kwargs)
        if mask is not None:
            output = self._masked(first, output, mask)
        if self._activity_regularizer is not None and self.training:
            values = output[0] if isinstance(output, tuple) else output  # without the states beside it
            self._activity_penalty = self._activity_regularizer(values) / max(1, values.shape[0])
        return output

    def _mask_for(self, first: Any, kwargs: dict[str, Any]) -> Any:
        """The mask of a call, given or carried by the input; put into ``kwargs`` where ``forward`` takes one."""
        takes = self._takes_mask
        mask = kwargs.get("mask") if takes else kwargs.pop("mask", None)
        if isinstance(first, (list, tuple)):
            if mask is None and any(mask_of(x) is not None for x in first):
                mask = [mask_of(x) for x in first]
        else:
            mask = mask_of(first) if mask is None else mask
            if mask is not None and isinstance(first, Tensor):
                mask = checked_mask(mask, first, self.title)
        if takes and mask is not None:
            kwargs["mask"] = mask
        return mask

    def _masked(self, first: Any, output: Any, mask: Any) -> Any:
        """The output with the mask that goes on from here, unless ``forward`` gave it one."""
        result = output[0] if isinstance(output, (list, tuple)) and output else output
        if not isinstance(result, Tensor) or (result is not first and mask_of(result) is not None):
            return output
        onwards = self.compute_mask(first, mask)
        if result is first and onwards is not mask_of(first):
            result = result.view_as(result)  # what the caller holds stays as it is
        if onwards is not None or mask_of(result) is not None:
            with_mask(result, onwards)
        return result if output is first or isinstance(output, Tensor) else type(output)([result, *output[1:]])

    def compute_mask(self, inputs: Any, mask: Any) -> Any:
        """The mask of the output: that of the input where ``supports_masking``, else None. Keras' name."""
        if self.supports_masking:
            return mask
        inside = any(isinstance(child, Layer) for child in self.children())  # which see the mask, and warn themselves
        if not self._takes_mask and not inside and not self._told_of_mask:
            self._told_of_mask = True
            warnings.warn(
                f"{self.title} does not know masks: padding counts as data from here on", UserWarning, stacklevel=4
            )
        return None

    def _call_in_float32(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Compute in float32 whatever the precision of the other layers: for the last ones, as Keras advises."""
        device = next((a.device.type for a in args if isinstance(a, Tensor)), "cpu")
        if device == "meta":  # shapes only, and no autocast to leave
            return super().__call__(*args, **kwargs)
        raised = tuple(a.float() if isinstance(a, Tensor) and a.is_floating_point() else a for a in args)
        with torch.autocast(device, enabled=False):
            return super().__call__(*raised, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the output; a subclass defines this, or ``call`` under Keras' name."""
        call: Callable[..., Any] | None = getattr(self, "call", None)
        if call is None:
            raise ConfigError(f"{type(self).__name__} has no forward", do="define forward(self, x) in your class")
        return call(*args, **kwargs)

    def build(self, input_shape: Any) -> None:
        """Make the weights for inputs of this shape (batch axis included, None where unknown)."""

    @property
    def title(self) -> str:
        """How messages call this layer."""
        kind = type(self).__name__
        return f"layer {self.name!r} ({kind})" if self.name else kind

    @property
    def trainable(self) -> bool:
        """Whether training changes the weights; setting it freezes or frees them all."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for parameter in self.parameters():
            parameter.requires_grad_(value)
        for module in self.modules():
            if isinstance(module, Layer):
                module._trainable = value

    def check_input(self, shape: tuple[int | None, ...] | torch.Size) -> None:
        """Refuse an input that does not fit, with the likely cause."""
        rank, channels = self.rank, self._channels
        if rank is not None and len(shape) != rank:
            raise ShapeError(
                f"{self.title} takes {rank} axes, {_axes(rank)}",
                got=tuple(shape),
                expected=f"{rank} axes",
                do=_axis_hint(len(shape), rank),
            )
        if channels is not None and shape[-1] != channels:
            moved = len(shape) > 2 and shape[1] == channels
            raise ShapeError(
                f"{self.title} was built for {channels} channels (the last axis)",
                got=tuple(shape),
                expected=f"(…, {channels})",
                do="the channels come last: x.permute(0, 2, 3, 1)"
                if moved
                else "give inputs of the shape the model was built for, or build a new model",
            )

    def build_for(self, input_shape: Shape, *, device: torch.device | None = None) -> None:
        """Build once for this shape: check it, make the weights, move and freeze them as asked."""
        if self.built:
            return
        self.check_input(input_shape)
        if self.fixes_channels:
            if input_shape[-1] is None:
                raise ShapeError(
                    f"{self.title} needs to know the size of its last axis",
                    got=input_shape,
                    do="give it in Input(shape=…) or input_shape=…",
                )
            self._channels = input_shape[-1]
        self.input_shape = input_shape
        self.build(input_shape)
        self._finish_build(device)

    def _finish_build(self, device: torch.device | None) -> None:
        for name, value in vars(self).items():
            if isinstance(value, (list, tuple)) and any(isinstance(item, nn.Module) for item in value):
                raise ConfigError(
                    f"{self.title} has layers in a plain list, where their weights are not found",
                    where=f"self.{name}",
                    do=f"self.{name} = torch.nn.ModuleList([…])",
                )
        self.built = True
        if device is not None:
            self.to(device)
        if not self._trainable:
            self.trainable = False

    def _build_from(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Build from the arguments of a first call, symbolic or real."""
        if self.built:
            return
        first = args[0] if args else next(iter(kwargs.values()), None)
        device = first.device if isinstance(first, Tensor) else None
        if self._builds_by_running():
            self._build_by_running(args, kwargs, device)
        elif isinstance(first, (list, tuple)):
            self.input_shape = None
            self.build([tuple(x.shape) for x in first])
            self._finish_build(device)
        else:
            shape = tuple(getattr(first, "shape", ()))
            self.build_for((None, *shape[1:]), device=device)

    def _builds_by_running(self) -> bool:
        """Whether layers inside are still unbuilt and only this layer's ``forward`` knows their shapes."""
        own = type(self).build is Layer.build
        return own and any(isinstance(m, Layer) and not m.built for m in self.modules() if m is not self)

    def _build_by_running(self, args: tuple[Any, ...], kwargs: dict[str, Any], device: torch.device | None) -> None:
        trial_args, trial_kwargs = trial_tensors(args, kwargs, trial=0, device=device or torch.get_default_device())
        self.built = True
        training = self.training
        self.eval()
        try:
            with torch.no_grad():
                nn.Module.__call__(self, *_first_sample(trial_args), **_first_sample(trial_kwargs))
        except BaseException:
            self.built = False
            raise
        finally:
            self.train(training)
            for module in self.modules():  # the trial's sequences are nobody's: no state goes on from them
                reset = getattr(module, "reset_states", None)
                if module is not self and callable(reset):
                    reset()
        if isinstance(args[0], Tensor):
            self.input_shape = (None, *args[0].shape[1:])
        self._finish_build(device)

    def add_weight(
        self,
        shape: tuple[int, ...],
        *,
        initializer: str | Initializer = "glorot_uniform",
        regularizer: str | Regularizer | None = None,
        trainable: bool = True,
    ) -> nn.Parameter:
        """Make and initialise one parameter, whose penalty joins the loss; store it as ``self.<state name>``."""
        values = torch.empty(shape)
        with torch.no_grad():
            find_initializer(initializer)(values)
        parameter = nn.Parameter(values, requires_grad=trainable)
        found = find_regularizer(regularizer)
        if found is not None:
            self._penalized.append((parameter, found))
        return parameter

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """torch's way to move weights; penalties go on to those that take the place of others (from meta to a CPU)."""
        before = dict(self._parameters)
        result = super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        after = {id(old): self._parameters[name] for name, old in before.items()}
        for place, (old, regularizer) in enumerate(self._penalized):
            new = after.get(id(old))
            self._penalized[place] = (old if new is None else new, regularizer)
        return result

    def penalty(self) -> Tensor | None:
        """This layer's own regularisation term of the last call, or None."""
        terms = [regularizer(parameter) for parameter, regularizer in self._penalized]
        if self._activity_penalty is not None:
            terms.append(self._activity_penalty)
            self._activity_penalty = None
        return torch.stack(terms).sum() if terms else None

    @property
    def penalizes(self) -> bool:
        """Whether this layer itself adds a term to the loss."""
        return bool(self._penalized) or self._activity_regularizer is not None

    def window(self) -> tuple[int, int | Fraction] | None:
        """Size and stride (below 1 where it enlarges) of what one output sees along an axis; None where it sees all."""
        return 1, 1

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as they were given."""
        return dict(self._config)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """A new, unbuilt layer from such a config."""
        return cls(**config)

    def keras_state(self) -> Iterator[KerasWeight]:
        """The weights in Keras' order, over this layer and the ones inside."""
        if self.keras_weights:
            for name, order in self.keras_weights:
                tensor = getattr(self, name, None)
                if tensor is not None:
                    yield permuted(name, tensor, order)
            return
        own = [*self.named_parameters(recurse=False), *self.named_buffers(recurse=False)]
        yield from (permuted(name, tensor, None) for name, tensor in own)
        for name, module in self.named_children():
            if isinstance(module, Layer):
                yield from (replace(weight, name=f"{name}.{weight.name}") for weight in module.keras_state())
            else:
                state = module.state_dict(keep_vars=True)
                yield from (permuted(f"{name}.{inner}", tensor, None) for inner, tensor in state.items())

    def get_weights(self) -> list[np.ndarray[Any, Any]]:
        """The weights as NumPy arrays in Keras' order and layout.

        >>> from corecur.layers.dense import Dense
        >>> dense = Dense(4, input_shape=(3,))
        >>> _ = dense(torch.zeros(1, 3))
        >>> [w.shape for w in dense.get_weights()]
        [(3, 4), (4,)]
        """
        arrays = []
        for weight in self.keras_state():
            arrays.append(weight.read().detach().cpu().contiguous().numpy().copy())
        return arrays

    def set_weights(self, weights: list[np.ndarray[Any, Any]]) -> None:
        """Take weights in Keras' order and layout; ShapeError where one does not fit."""
        state = list(self.keras_state())
        if len(state) != len(weights):
            raise ShapeError(
                f"{self.title} has {len(state)} weights",
                got=f"{len(weights)} arrays",
                do="build the layer first, then pass the arrays in the order get_weights() returns them",
            )
        for weight, array in zip(state, weights, strict=True):
            expected = weight.read().shape
            values = torch.as_tensor(np.asarray(array))
            if values.shape != expected:
                raise ShapeError(
                    f"weight {weight.name!r} of {self.title} has another shape",
                    got=tuple(values.shape),
                    expected=tuple(expected),
                )
            with torch.no_grad():
                weight.write(values)

    def count_params(self) -> int:
        """Number of values in the parameters."""
        return sum(p.numel() for p in self.parameters())

    def extra_repr(self) -> str:
        shown = {k: v for k, v in self._config.items() if k not in LayerOptions.__annotations__ and v is not None}
        return ", ".join(f"{k}={v!r}" for k, v in shown.items() if not isinstance(v, nn.Module))


def snake_case(name: str) -> str:
    """A class name as Keras names layers.

    >>> snake_case("MaxPooling2D"), snake_case("Conv2DTranspose")
    ('max_pooling2d', 'conv2d_transpose')
    """
    return re.sub(r"(?<=[a-z])([A-Z])|(?<=[0-9]D)([A-Z])", r"_\1\2", name).lower()


def _first_sample(args: Any) -> Any:
    if isinstance(args, Tensor):
        return args[:1]
    if isinstance(args, (list, tuple)):
        return type(args)(_first_sample(a) for a in args)
    if isinstance(args, dict):
        return {key: _first_sample(value) for key, value in args.items()}
    return args


def _axes(rank: int) -> str:
    names = {
        2: "(batch, features)",
        3: "(batch, time, features)",
        4: "(batch, height, width, channels)",
        5: "(batch, depth, height, width, channels)",
    }
    return names.get(rank, f"{rank} of them")


def _axis_hint(got: int, rank: int) -> str:
    if rank == 3 and got == 2:
        return "return_sequences=True in a recurrent layer before it; Embedding for tokens; x.unsqueeze(-1) for numbers"
    if rank == 3 and got > 3:
        return "put TimeDistributed(Flatten()) or another TimeDistributed layer before it"
    if got == rank - 1:
        return "add the missing axis: x.unsqueeze(0) for a batch of one sample, x.unsqueeze(-1) for one channel"
    if got > rank:
        return "put Flatten() or a global pooling layer before it"
    return "check the shape of the data, or put Reshape(…) before it"
