"""Any weight of any built layer as a function of other numbers, computed before the layer runs.

    reparametrize(model, "kernel$", WeightNorm())

A constraint repairs a weight after each step; a parametrization changes what is trained. Here the
weight's place in its layer is taken by a variable without a value of its own, which is computed
from *originals*: variables that live in a layer below the weight's. So gradients reach the
originals by the chain rule, exactly; nothing is assigned in `call`; and the layer, its class and
its config stay as they are.

- Computed once in each call of the layer. The cells of an RNN get it computed before the loop.
- State, as singular vectors, moves in training only, once a call.
- `layer.kernel.assign(w)` goes through `right_inverse`.
- Files hold the weight where a plain model looks for it, and the originals beside it: a plain
  model loads the file of a reparametrised one and the other way round; between two reparametrised
  models everything arrives exactly. `.keras` files load as the plain model.
- `merge(model)` gives the plain model with the same outputs.

The idea is that of `torch.nn.utils.parametrize`; "pre" constraints of this series:
https://kexue.fm/archives/6311.
"""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
from keras import ops

from kooler.core import compat
from kooler.core.hooks import HookHandle, hook, reset_functions
from kooler.core.selectors import Selector, select
from kooler.core.types import Tensor
from kooler.layers.parametrization import Chain, Parametrization


def reparametrize(model: Any, variables: Selector, parametrization: Parametrization) -> Any:
    """Makes weights of a built model functions of other numbers, which are trained instead.

    A second parametrization of the same weight is applied to what the first one made. Compile the
    model afterwards if the parametrization brings new trainable variables, as `WeightNorm` does. A
    model outside of `model` that has run before must be told: `reset_functions(outer)`.

    Args:
        model: A built Keras model or layer; it is changed in place.
        variables: Which of its trainable weights: a layer, a variable, a regular expression, or a
            list of these.
        parametrization: What to make of them.

    Returns:
        The model.

    Raises:
        TypeError: `parametrization` is none.
        ValueError: Nothing is selected, the result has another shape, or a layer holds its weight
            in a way that excludes this: quantised, with LoRA, with a constraint.

    Example:
        >>> reparametrize(discriminator, "kernel$", SpectralNorm())
        >>> reparametrize(model, lstm.cell.recurrent_kernel, Orthogonal())
    """
    if not isinstance(parametrization, Parametrization):
        raise TypeError(
            f"{parametrization!r} of type {type(parametrization).__name__} is no parametrization. "
            "Use one of `kooler.layers`, as `WeightNorm()`, or a subclass of `Parametrization`."
        )
    for variable in select(_without_layers(variables), _weights_of(model)):
        _add(model, variable, parametrization)
    reset_functions(model)
    return model


def merge(model: Any) -> Any:
    """Gives every reparametrised weight of a model its present value for good.

    Args:
        model: A Keras model or layer; it is changed in place, and then has plain weights only.

    Returns:
        The model.
    """
    for parametrized in _parametrized_in(model):
        parametrized.remove()
    reset_functions(model)
    return model


class Originals(keras.layers.Layer):
    """The variables from which a weight is computed; it lies below the layer of the weight.

    Args:
        weight: The weight.
        values: Name → initial value and whether it is trained.
    """

    def __init__(self, weight: "ParametrizedWeight", values: Mapping[str, Any]) -> None:
        super().__init__(name=f"{weight.variable.name}_parametrization", dtype=weight.dtype)
        self.weight = weight
        for name, (value, trainable) in values.items():
            variable = self.add_weight(
                tuple(value.shape), "zeros", weight.dtype, trainable=trainable, name=name
            )
            variable.assign(value)
        self.built = True  # nobody calls it, and a model with an unbuilt layer is built at a step

    def save_own_variables(self, store: Any) -> None:
        """Originals and state, also the original that lies in the variable of the weight."""
        for name, variable in self.weight.sources().items():
            store[name] = variable

    def load_own_variables(self, store: Any) -> None:
        """The same; a plain file has none, and has already been assigned through the weight."""
        for name, variable in self.weight.sources().items() if store.keys() else ():
            variable.assign(store[name])

    def quantize(self, *args: Any, **kwargs: Any) -> None:
        """Refuses: `Model.quantize` asks the innermost layers only, and this is one."""
        raise _not_quantised(self.weight.owner)


class ParametrizedWeight:
    """One weight that is computed: what belongs to it, and how it comes and goes.

    Args:
        model: Where it is to be found.
        variable: The plain variable, which holds the last original if that has its shape.
        parts: The parametrizations, the first next to the originals.
    """

    def __init__(self, model: Any, variable: Any, parts: list[Parametrization]) -> None:
        layers = [one for one in compat.flat_layers(model) if not isinstance(one, Originals)]
        self.variable = variable
        self.dtype = keras.backend.standardize_dtype(variable.dtype)
        self.owner = next(one for one in layers if _has(compat.own_variables(one), variable))
        self.index = _position(compat.made_trainable(self.owner), variable)
        self.regularizer = variable.regularizer
        self.places = [
            (layer, name)
            for layer in layers
            for name, value in layer.__dict__.items()
            if value is variable
        ]
        self._check()
        self.parts = parts
        self._chain = Chain(parts).for_variable(self.owner, variable)
        self._handles: list[HookHandle] = []
        self._make_originals()
        self._install(layers)

    def sources(self) -> dict[str, Any]:
        """Name → variable, of all originals and all state."""
        return {**self._originals, **self._state}

    def value(self) -> Tensor:
        """The weight: as computed for the running call of its layer, or now."""
        cached = _running.values.get(id(self))
        return self._compute(False) if cached is None else cached

    def assign(self, weight: Tensor) -> None:
        """Sets the originals and the state as `right_inverse` and `initial_state` say."""
        state = self._chain.initial_state(weight)
        values = _as_tuple(self._chain.right_inverse(weight))
        for variable, value in zip(self._originals.values(), values, strict=True):
            variable.assign(value)
        for name, value in state.items():
            self._state[name].assign(value)

    def remove(self) -> None:
        """Gives the weight back to its layer, as a plain variable with the present value."""
        value = self._compute(False)
        for handle in self._handles:
            handle.remove()
        for layer, name in self.places:
            layer.__dict__[name] = self.variable
        compat.remove_sublayer(self.owner, self._layer.name)
        if not _parametrized_in(self.owner, below=False):
            _unpatch(self.owner)
        if not self._reused:
            compat.track_variable(self.owner, self.variable, self.index)
        self.variable.regularizer = self.regularizer
        self.variable.assign(value)

    @contextlib.contextmanager
    def listed(self) -> Iterator[None]:
        """Meanwhile the layer saves and loads the weight, where a plain layer has it."""
        with compat.listed(self.owner, self.index, self.derived, replace=self._reused):
            yield

    def _check(self) -> None:
        path, layer = self.variable.path, self.owner
        if not self.places:
            raise ValueError(
                f"The layer {layer.name!r} does not hold {path!r} as an attribute, so nothing can "
                "be put in its place. Make it an attribute of its own (`self.kernel = …`)."
            )
        if getattr(layer, "quantization_mode", None) is not None:
            raise ValueError(
                f"The layer {layer.name!r} is quantised, so {path!r} cannot be reparametrised. "
                "Reparametrise first, then `merge`, then quantise."
            )
        if getattr(layer, "lora_enabled", False):
            raise ValueError(
                f"The layer {layer.name!r} has LoRA, which keeps {path!r} frozen. Reparametrise "
                "the LoRA matrices themselves, or do it before `enable_lora`."
            )
        if self.variable.constraint is not None:
            raise ValueError(
                f"{path!r} has a constraint, which would act on the original and not on the "
                "weight. Make the layer without the constraint."
            )

    def _make_originals(self) -> None:
        weight = ops.convert_to_tensor(self.variable)
        values = _as_tuple(self._chain.right_inverse(weight))
        state = self._chain.initial_state(weight)
        made = self._chain.forward(*values, **state)
        if tuple(made.shape) != tuple(weight.shape):
            raise ValueError(
                f"The parametrization of {self.variable.path!r} gives a weight of shape "
                f"{tuple(made.shape)}; its layer needs {tuple(weight.shape)}."
            )
        names = [f"original_{number}" for number in range(len(values))]
        self._reused = tuple(values[-1].shape) == tuple(weight.shape)
        new = list(zip(names, values, strict=True))[: -1 if self._reused else None]
        fresh = {name: (value, True) for name, value in new}
        fresh |= {name: (value, False) for name, value in state.items()}
        trainable = self.variable.trainable
        with _scope_of(self.variable):
            self._layer = Originals(self, fresh)
        held = {variable.name: variable for variable in self._layer.weights}
        if self._reused:
            held[names[-1]] = self.variable
            self.variable.assign(values[-1])
        self._originals = {name: held[name] for name in names}
        self._state = {name: held[name] for name in state}
        for original in self._originals.values():
            original.trainable = trainable

    def _install(self, layers: list[Any]) -> None:
        originals = list(self._originals.values())
        self.derived = compat.DerivedVariable(self.variable, self.value, self.assign, originals)
        for layer, name in self.places:
            layer.__dict__[name] = self.derived
        if not self._reused:
            compat.untrack_variable(self.owner, self.variable)
        compat.add_sublayer(self.owner, self._layer.name, self._layer)
        regularizer = self.regularizer
        if regularizer is not None:
            self.variable.regularizer = None
            originals[-1].regularizer = lambda _: regularizer(self.derived)
        _patch(self.owner)
        entries = [_entry(layers, layer) for layer, _ in self.places]
        for entry in {id(one): one for one in entries}.values():
            self._handles.append(hook(entry, self._once))

    def _once(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Stands around the layer's `call`: computes the weight, once for all uses in it."""
        before = _running.values
        _running.values = {**before, id(self): self._compute(compat.is_training())}
        try:
            return call(*args, **kwargs)
        finally:
            _running.values = before

    def _compute(self, training: bool) -> Tensor:
        with compat.autocast(self.dtype):
            originals = [ops.convert_to_tensor(one) for one in self._originals.values()]
            state = self._present_state(originals, training) if self._state else {}
            return self._chain.forward(*originals, **state)

    def _present_state(self, originals: list[Tensor], training: bool) -> dict[str, Tensor]:
        kept = {name: ops.stop_gradient(ops.copy(one)) for name, one in self._state.items()}
        fixed = [ops.stop_gradient(original) for original in originals]
        state = {
            n: ops.stop_gradient(v)
            for n, v in self._chain.update(kept, *fixed, training=training).items()
        }
        for name, value in state.items() if training else ():
            self._state[name].assign(value)
        return state


def _add(model: Any, variable: Any, parametrization: Parametrization) -> None:
    parts: list[Parametrization] = []
    for parametrized in _parametrized_in(model):
        if parametrized.derived is variable:
            parts = parametrized.parts
            variable = parametrized.variable
            parametrized.remove()
    ParametrizedWeight(model, variable, [*parts, parametrization])


def _parametrized_in(model: Any, *, below: bool = True) -> list[ParametrizedWeight]:
    layers = compat.flat_layers(model) if below else compat.sublayers(model)
    return [layer.weight for layer in layers if isinstance(layer, Originals)]


def _weights_of(model: Any) -> list[Any]:
    """The trainable weights of a model as its layers see them, also computed ones."""
    derived = [one.derived for one in _parametrized_in(model)]
    hidden = [one.variable for one in _parametrized_in(model)]
    plain = [
        variable
        for layer in compat.flat_layers(model)
        if not isinstance(layer, Originals)
        for variable in compat.made_trainable(layer)
        if not _has(hidden, variable)
    ]
    return [*derived, *{id(one): one for one in plain}.values()]


def _without_layers(selector: Selector) -> Selector:
    """The same selector with the weights of a layer in the place of the layer."""
    if isinstance(selector, list | tuple):
        return [_without_layers(part) for part in selector]
    if isinstance(selector, keras.layers.Layer) and _weights_of(selector):
        return _weights_of(selector)
    return selector


def _entry(layers: list[Any], layer: Any) -> Any:
    """The layer whose call computes the weight: for a cell, the RNN that loops over it."""
    for outer in layers:
        if isinstance(outer, keras.layers.RNN) and _has(compat.flat_layers(outer), layer):
            return outer
    return layer


def _patch(owner: Any) -> None:
    """Lets a layer save and load what it computes, and refuse to be quantised."""
    for method in ("save_own_variables", "load_own_variables", "quantize"):
        if not isinstance(owner.__dict__.get(method), _Patched):
            owner.__dict__[method] = _Patched(owner, method)


def _unpatch(owner: Any) -> None:
    for method in ("save_own_variables", "load_own_variables", "quantize"):
        before = owner.__dict__.pop(method).before
        if before is not None:
            owner.__dict__[method] = before


class _Patched:
    """Stands in the place of a method of a layer that has reparametrised weights."""

    def __init__(self, owner: Any, method: str) -> None:
        self.owner = owner
        self.method = method
        self.before = owner.__dict__.get(method)  # Keras wraps some methods on the instance

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        if self.method == "quantize":
            raise _not_quantised(self.owner)
        weights = sorted(_parametrized_in(self.owner, below=False), key=lambda one: one.index)
        with contextlib.ExitStack() as stack:
            for parametrized in weights:
                stack.enter_context(parametrized.listed())
            plain = self.before or functools.partial(
                getattr(type(self.owner), self.method), self.owner
            )
            plain(*args, **kwargs)


def _not_quantised(owner: Any) -> ValueError:
    return ValueError(
        f"The layer {owner.name!r} has reparametrised weights, which cannot be quantised. "
        "Call `kooler.layers.merge(model)` first."
    )


def _scope_of(variable: Any) -> contextlib.ExitStack:
    """The name scopes in which a variable was made, so that new paths begin as its own."""
    scopes = contextlib.ExitStack()
    for name in variable.path.split("/")[:-1]:
        scopes.enter_context(keras.name_scope(name))
    return scopes


def _position(variables: list[Any], variable: Any) -> int:
    return next(index for index, one in enumerate(variables) if one is variable)


def _has(things: Sequence[Any], thing: Any) -> bool:
    return any(thing is one for one in things)


def _as_tuple(originals: Any) -> tuple[Tensor, ...]:
    return tuple(originals) if isinstance(originals, tuple | list) else (originals,)


class _Running(threading.local):
    """The weights that are computed for the layers that run now in this thread, by id."""

    def __init__(self) -> None:
        self.values: dict[int, Tensor] = {}


_running = _Running()
