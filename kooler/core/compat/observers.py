"""Who is told when a model is compiled, or is about to be built."""

import functools
from collections.abc import Callable
from typing import Any

import keras

_compile_observers: list[Callable[[Any], None]] = []
_building_observers: list[Callable[[Any, Callable[[], Any]], None]] = []
_being_built: set[int] = set()


def observe_compile(observer: Callable[[Any], None]) -> None:
    """Calls `observer(model)` after every `compile` of any model, and changes nothing else.

    Relies on: the `compile` that `keras.Model` inherits, the trainer's, is the one that every Keras
    model's `compile` ends in.  It is replaced once, when the first observer arrives, by a function
    that calls it unchanged.
    """
    _observe_every("compile", _observed)
    if observer not in _compile_observers:
        _compile_observers.append(observer)


@functools.cache  # once, or each observer would be told twice
def _observe_every(
    name: str, observed: Callable[[Callable[..., None]], Callable[..., None]]
) -> None:
    """Replaces a method that all Keras models inherit."""
    trainer: Any = next(one for one in keras.Model.__mro__ if name in vars(one))
    setattr(trainer, name, observed(getattr(trainer, name)))


def _observed(compile_model: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(compile_model)
    def compile_and_tell(self: Any, *args: Any, **kwargs: Any) -> None:
        compile_model(self, *args, **kwargs)
        for observer in _compile_observers:
            observer(self)

    return compile_and_tell


def observe_building(observer: Callable[[Any, Callable[[], Any]], None]) -> None:
    """On JAX, calls `observer(model, inputs)` before a model trains or is evaluated.

    `inputs()` gives symbolic tensors like a batch of inputs.  Metrics that the observer adds belong
    to the compiled step; later ones do not.

    Relies on: `Trainer._symbolic_build`, which JAX's trainer calls first of all; since Keras 3.16
    `fit` and `evaluate` call `_maybe_symbolic_build`, and that the other if anything is not built.
    """
    _observe_every("_symbolic_build", _observed_building)
    if hasattr(keras.Model, "_maybe_symbolic_build"):
        _observe_every("_maybe_symbolic_build", _observed_building)
    if observer not in _building_observers:
        _building_observers.append(observer)


def _observed_building(build: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(build)
    def build_and_tell(self: Any, iterator: Any = None, data_batch: Any = None) -> None:
        if id(self) in _being_built:  # one of the two within the other
            build(self, iterator=iterator, data_batch=data_batch)
            return
        _being_built.add(id(self))
        try:
            build(self, iterator=iterator, data_batch=data_batch)
        finally:
            _being_built.discard(id(self))
        for observer in _building_observers:
            observer(self, lambda: _symbolic_inputs(self, iterator, data_batch))

    return build_and_tell


def _symbolic_inputs(model: Any, iterator: Any, batch: Any) -> Any:
    """Relies on: `Functional.input`, and the iterator that `_symbolic_build` takes a batch from."""
    if getattr(model, "inputs", None):
        inputs = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    else:
        if batch is None:
            batches = next(iter(iterator))[2]
            batch = batches[0] if isinstance(batches, list | tuple) else next(batches)
        inputs = keras.utils.unpack_x_y_sample_weight(batch)[0]
    return keras.tree.map_structure(_like_one_example, inputs)


def _like_one_example(one: Any) -> keras.KerasTensor:
    """Sizes that are open become 1: what a `call` asks of its sizes, JAX can then answer."""
    shape = tuple(1 if size is None else size for size in one.shape)
    return keras.KerasTensor(shape, keras.backend.standardize_dtype(one.dtype))
