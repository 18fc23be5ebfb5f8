"""What layers hold, how they are put together, and what they know while they are called."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
from keras.src import backend
from keras.src.backend.common.global_state import get_global_attribute, set_global_attribute
from keras.src.backend.common.masking import get_keras_mask, set_keras_mask
from keras.src.utils.tracking import DotNotTrackScope, is_tracking_enabled

from kooler.core.types import Tensor


@contextlib.contextmanager
def untracked() -> Iterator[None]:
    """Attributes set meanwhile are not tracked as sub-objects.

    Relies on: `DotNotTrackScope`, which Keras uses for the same purpose in its optimizers.
    """
    with DotNotTrackScope():
        yield


@contextlib.contextmanager
def tracked() -> Iterator[None]:
    """Within `untracked`, for something that is made there and relies on being tracked.

    Relies on: `tracking_on`, the global attribute that `DotNotTrackScope` sets.
    """
    before = is_tracking_enabled()
    set_global_attribute("tracking_on", True)
    try:
        yield
    finally:
        set_global_attribute("tracking_on", before)


def mask_of(tensor: Any) -> Tensor | None:
    """The mask that Keras carries with a tensor.

    Relies on: `get_keras_mask`; the mask is an attribute of the tensor, or on JAX, whose tracers
    take none, stands in a dictionary by its `id`.
    """
    return get_keras_mask(tensor)


def set_mask(tensor: Any, mask: Tensor) -> None:
    """Makes a tensor carry a mask.

    Relies on: `set_keras_mask`.
    """
    set_keras_mask(tensor, mask)


def trace(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Runs a function on symbolic tensors, and so builds the layers that it calls.

    Relies on: `backend.compute_output_spec`, by which Keras itself builds layers without `build`.
    """
    return backend.compute_output_spec(function, *args, **kwargs)


def flat_layers(model: Any) -> Sequence[Any]:
    """A model and all the layers below it.

    Relies on: `Layer._flatten_layers`.
    """
    return list(model._flatten_layers())


def sublayers(layer: Any) -> Sequence[Any]:
    """The layers directly below a layer, in the order in which they were made.

    Relies on: `Layer._layers`; an operation of a functional model has none.
    """
    return list(getattr(layer, "_layers", ()))


def is_recomputed(layer: Any) -> bool:
    """Whether a layer was made to compute its activations again in the backward pass.

    Relies on: `Operation._remat_mode`, set from `keras.RematScope`.
    """
    return getattr(layer, "_remat_mode", None) is not None


def moving_state(model: Any) -> list[Any]:
    """The floating-point variables that the layers of a model move themselves, each once.

    Statistics of normalisation above all.  Not frozen weights, seeds, metrics.

    Relies on: `Layer._non_trainable_variables`, which has the variables that were made with
    `trainable=False`, and not those that were frozen later.
    """
    found = {}
    for layer in model._flatten_layers():
        for variable in layer._non_trainable_variables:
            if keras.backend.is_float_dtype(variable.dtype):
                found[id(variable)] = variable
    return list(found.values())


def own_variables(layer: Any) -> list[Any]:
    """The variables of a layer without those of the layers below, in the order of saving.

    Relies on: `Layer._trainable_variables` and `_non_trainable_variables`.
    """
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def made_trainable(layer: Any) -> list[Any]:
    """The variables that a layer itself made to be trained, frozen or not.

    Relies on: `Layer._trainable_variables`.
    """
    return list(layer._trainable_variables)


@contextlib.contextmanager
def listed(layer: Any, index: int, variable: Any, *, replace: bool) -> Iterator[None]:
    """Meanwhile `variable` stands among the trainable ones of a layer, at or before an index.

    Relies on: `Layer._trainable_variables`, which saving and loading read.
    """
    variables = layer._trainable_variables
    before = list(variables)
    variables[index : index + replace] = [variable]
    try:
        yield
    finally:
        variables[:] = before


def untrack_variable(layer: Any, variable: Any) -> None:
    """Takes a variable away from its layer.

    Relies on: `Layer._untrack_variable`.
    """
    layer._untrack_variable(variable)


def track_variable(layer: Any, variable: Any, index: int) -> None:
    """Gives a layer a trainable variable, at its old place.

    Relies on: `Layer._track_variable`, `_tracker` and `_trainable_variables`.
    """
    with _unlocked(layer):
        layer._track_variable(variable)
    variables = layer._trainable_variables
    variables.insert(index, variables.pop())


def add_sublayer(layer: Any, name: str, sublayer: Any) -> None:
    """Puts a layer below a layer that is built.

    Relies on: `Layer._tracker`, which is locked once a layer is built.
    """
    with _unlocked(layer):
        setattr(layer, name, sublayer)


def remove_sublayer(layer: Any, name: str) -> None:
    """Takes a layer away again.

    Relies on: `Layer._tracker.untrack`.
    """
    with _unlocked(layer):
        layer._tracker.untrack(getattr(layer, name))
        delattr(layer, name)


@contextlib.contextmanager
def _unlocked(layer: Any) -> Iterator[None]:
    locked = layer._tracker.locked
    layer._tracker.unlock()
    try:
        yield
    finally:
        if locked:
            layer._tracker.lock()


def outermost_layer() -> Any:
    """The layer or model that was called first, of those that run now; None if none runs.

    Relies on: the call context, which `Layer.__call__` opens.
    """
    context = get_global_attribute("current_call_ctx")
    return None if context is None else context.entry_layer


def add_metric(model: Any, metric: Any) -> None:
    """Makes a metric one of a model's: reported, reset and averaged with the others.

    Relies on: `Layer._tracker`, whose store `metrics` is what `Trainer.metrics` reads.
    """
    with _unlocked(model):
        model._tracker.add_to_store("metrics", metric)


def is_training() -> bool:
    """Whether the call of a layer that runs now is one of training.

    Relies on: the call context, in which `Layer.__call__` hands `training` on to inner layers.
    """
    context = get_global_attribute("current_call_ctx")
    return context is not None and context.get_value("training") is True
