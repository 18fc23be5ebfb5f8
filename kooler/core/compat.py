"""The only file of kooler that touches Keras's private API.

Each function here hides one use, says what it relies on, and has a test in
`tests/core/test_compat.py` with its name, so that a Keras release which changes the internals is
named by the test that fails.  Nothing here is a technique.
"""

import contextlib
import functools
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras.src import backend
from keras.src.backend.common.global_state import get_global_attribute, set_global_attribute
from keras.src.backend.common.masking import get_keras_mask, set_keras_mask
from keras.src.backend.common.stateless_scope import get_stateless_scope
from keras.src.backend.common.variables import AutocastScope
from keras.src.losses.loss import unscale_loss_for_distribution
from keras.src.optimizers.base_optimizer import clip_by_global_norm
from keras.src.saving.serialization_lib import ObjectSharingScope
from keras.src.trainers.data_adapters import data_adapter_utils, get_data_adapter
from keras.src.trainers.data_adapters.data_adapter import DataAdapter
from keras.src.trainers.epoch_iterator import EpochIterator
from keras.src.utils.tracking import DotNotTrackScope, is_tracking_enabled

from kooler.core.types import Tensor

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


def run_symbolically(model: Any, inputs: Any, training: bool) -> None:
    """Traces the `call` of a model, for what happens on the way.

    Relies on: `compute_output_spec` of the backend.
    """
    backend.compute_output_spec(lambda x: call_model(model, x, training), inputs)


def has_own(model: Any, method: str) -> bool:
    """Whether the class of a model brings its own version of one of the trainer's methods.

    Relies on: `keras.Model` inherits the trainer of its backend, whose methods are Keras's.
    """
    return getattr(type(model), method) is not getattr(keras.Model, method)


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


def duplicate(model: Any) -> Any:
    """A model of the same config, in which a layer that several hold is one again.

    Relies on: `ObjectSharingScope`, in which Keras saves and loads models.
    """
    with ObjectSharingScope():
        config = keras.saving.serialize_keras_object(model)
    with ObjectSharingScope():
        return keras.saving.deserialize_keras_object(config)


# Optimizers.


def call_counter(optimizer: Any) -> Any:
    """The variable in which an optimizer counts the calls of its own `apply`.

    Relies on: `BaseOptimizer._iterations`; `iterations` is public, but a wrapper forwards it.
    """
    return optimizer._iterations


def forget_learning_rate(optimizer: Any) -> None:
    """Drops the learning-rate variable that every Keras optimizer makes, a wrapper too.

    Relies on: `BaseOptimizer._learning_rate`, `_untrack_variable` and `_variables`.
    """
    optimizer._untrack_variable(optimizer._learning_rate)


def track(optimizer: Any, variable: Any) -> None:
    """Makes a variable that exists one of an optimizer's: it is handed on and saved with it.

    Relies on: `BaseOptimizer._track_variable`, which `add_variable` calls.
    """
    optimizer._track_variable(variable)


def own_learning_rate(optimizer: Any) -> Any:
    """What an optimizer has as its learning rate: a variable, a schedule or a function.

    Relies on: `BaseOptimizer._learning_rate`; the public `learning_rate` is its present value.
    """
    return optimizer._learning_rate


def update_counter(optimizer: Any) -> tuple[Any, int]:
    """The variable that counts the calls of an innermost optimizer, and how many make an update.

    Relies on: `BaseOptimizer._iterations`, which with `gradient_accumulation_steps` counts batches.
    """
    return optimizer._iterations, optimizer.gradient_accumulation_steps or 1


def model_of(callback: Any) -> Any:
    """The model of a callback; `callback.model` would also take JAX's state out of the trainer.

    Relies on: `Callback._model`.
    """
    return callback._model


def running_values(model: Any, variables: Sequence[Any]) -> list[np.ndarray]:
    """What variables hold now, also within `fit` on JAX, whose trainer then holds their values.

    Unlike `jax_state_sync` it moves nothing; it does wait for the step that computes them.

    Relies on: `_jax_state`, lists of values by the names of the trainer's lists of variables, and
    `_jax_state_synced`.
    """
    held: dict[int, Any] = {}
    if not getattr(model, "_jax_state_synced", True):
        for name, values in (getattr(model, "_jax_state", None) or {}).items():
            owner = model.optimizer if name == "optimizer_variables" else model
            own = owner.variables if owner is not model else getattr(model, name)
            held.update(zip(map(id, own), values or (), strict=False))
    return [np.array(keras.ops.convert_to_numpy(held.get(id(v), v))) for v in variables]


def clipped_by_global_norm(gradients: Sequence[Tensor], norm: float) -> list[Tensor]:
    """The gradients, clipped by one norm, to the bits that a Keras optimizer would give.

    Relies on: `clip_by_global_norm` of `base_optimizer`.
    """
    return list(clip_by_global_norm(gradients, norm))


def copy_decay_exclusions(old: Any, new: Any) -> None:
    """What one optimizer excludes from weight decay the other excludes as well.

    Relies on: where `exclude_from_weight_decay` writes; its configuration has none of it.
    """
    for name in ("_exclude_from_weight_decay", "_exclude_from_weight_decay_pattern"):
        if hasattr(old, name):
            setattr(new, name, getattr(old, name))


def decays(optimizer: Any, variable: Any) -> bool:
    """Whether an optimizer that decays weights would decay this one, built for it or not.

    Relies on: `BaseOptimizer._use_weight_decay`; since Keras 3.16 that looks up what `build` found
    by `_is_excluded_from_weight_decay`.
    """
    if hasattr(optimizer, "_is_excluded_from_weight_decay"):
        return not optimizer._is_excluded_from_weight_decay(variable)
    return bool(optimizer._use_weight_decay(variable))


@contextlib.contextmanager
def must_be_finite(optimizer: Any, tensors: Sequence[Tensor]) -> Iterator[None]:
    """Meanwhile loss scaling skips the update not only if a gradient is inf or nan: these count.

    Relies on: `LossScaleOptimizer.apply` and `stateless_apply` ask `check_finite(gradients)`.
    """
    scaling = _loss_scaling(optimizer) if tensors else None
    if scaling is None:
        yield
        return
    check = type(scaling).check_finite
    vars(scaling)["check_finite"] = lambda gradients: check(scaling, [*gradients, *tensors])
    try:
        yield
    finally:
        vars(scaling).pop("check_finite", None)  # replicas run in threads: each comes by here


def _loss_scaling(optimizer: Any) -> Any:
    while optimizer is not None and not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = getattr(optimizer, "inner_optimizer", None)
    return optimizer


def momenta_of(optimizer: Any) -> list[Any]:
    """What a Keras optimizer remembers of gradients: its variables without the counter, the
    learning rate, the moving averages of the weights, and what is no floating-point number.

    Relies on: `BaseOptimizer._iterations`, `_learning_rate`, `_model_variables_moving_average`.
    """
    averages = getattr(optimizer, "_model_variables_moving_average", [])
    others = [optimizer._iterations, optimizer._learning_rate, *averages]
    return [
        variable
        for variable in optimizer.variables
        if not any(variable is other for other in others)
        and keras.backend.is_float_dtype(variable.dtype)
    ]


def built_for(optimizer: Any) -> list[Any]:
    """The model's variables that a Keras optimizer was built for.

    Relies on: `BaseOptimizer._trainable_variables`.
    """
    return list(optimizer._trainable_variables)


def fast_points(optimizer: Any) -> list[tuple[Any, Any]]:
    """Pairs of a weight and the fast point z that a `ScheduleFreeAdamW` keeps for it.

    Relies on: `ScheduleFreeAdamW._momentums`, in the order of `_trainable_variables`.
    """
    return list(zip(optimizer._trainable_variables, optimizer._momentums, strict=True))


def layout_of(variable: Any) -> Any:
    """How a variable lies on the devices of `keras.distribution`.

    Relies on: `Variable._layout`, which `add_variable_from_reference` reads as well.
    """
    return getattr(variable, "_layout", None)


def move_by_torch(variables: Sequence[Any], goals: Sequence[Tensor], rate: float) -> None:
    """Moves variables a part of the way to their goals, all in one kernel; exact at both ends.

    Relies on: `torch._foreach_lerp_`, as Keras's own optimizers on others of its family.
    """
    import torch

    own = [variable.value.data for variable in variables]
    goals = [goal.detach().to(one.dtype) for goal, one in zip(goals, own, strict=True)]
    torch._foreach_lerp_(own, goals, rate)


def exchange_optimizer(model: Any, old: Any, new: Any) -> None:
    """Puts `new` where `old` stands in a compiled model, also in what `model.save` writes.

    Relies on: `Trainer._compile_config`, whose `config` holds the arguments of `compile`.
    """
    with untracked():
        if model.optimizer is old:
            model.optimizer = new
        else:
            model.optimizer.inner_optimizer = new
    config = model._compile_config.config
    if config["optimizer"] is old:
        config["optimizer"] = new


# The state of a step.


def scope_value(variable: Any) -> Tensor:
    """The value of a variable in the innermost of all open stateless scopes that knows it.

    Relies on: `StatelessScope.original_scope`, by which nested scopes are chained; Keras itself
    looks only into the innermost, and on JAX the others hold the only true values.
    """
    value = _value_in_scopes(variable)
    return variable.value if value is None else value


def visible_value(variable: Any) -> Tensor | None:
    """The same, but None on JAX within a step that hides the variable from the optimizer.

    Relies on: `get_stateless_scope`; Keras's own JAX step hands only trainable weights on.
    """
    if keras.backend.backend() != "jax" or not _in_step():
        return variable.value
    return _value_in_scopes(variable)


def _in_step() -> bool:
    """Whether any scope around us is that of a step, and not only of a condition outside of one."""
    scope = get_stateless_scope()
    while scope is not None and isinstance(scope, _Inheriting):
        scope = scope.original_scope
    return scope is not None


def _value_in_scopes(variable: Any) -> Tensor | None:
    scope = get_stateless_scope()
    while scope is not None:
        value = scope.get_current_value(variable)
        if value is not None:
            return value
        scope = scope.original_scope
    return None


def inheriting_scope(pairs: Sequence[tuple[Any, Tensor]]) -> keras.StatelessScope:
    """A stateless scope that also knows what the scopes around it know.

    Relies on: `StatelessScope.original_scope` and `state_mapping`.
    """
    inherited: list[dict[int, Tensor]] = []
    scope = get_stateless_scope()
    while scope is not None:
        inherited.append(scope.state_mapping)
        scope = scope.original_scope
    inner = _Inheriting(list(pairs))
    own = inner.state_mapping
    inner.state_mapping = {}
    for mapping in [*reversed(inherited), own]:
        inner.state_mapping.update(mapping)
    return inner


class _Inheriting(keras.StatelessScope):
    """A scope of our own."""


def separate_buffers(variables: Iterable[Any]) -> None:
    """Gives each variable a buffer of its own on JAX, where `a.assign(b)` makes two share one.

    Keras donates its buffers to the compiled step, and one buffer cannot be donated twice.

    Relies on: `Variable._value`.
    """
    if keras.backend.backend() != "jax":
        return
    import jax.numpy as jnp

    seen: set[int] = set()
    for variable in variables:
        if id(variable._value) in seen:
            variable._value = jnp.array(variable._value, copy=True)
        seen.add(id(variable._value))


@contextlib.contextmanager
def kept_values(model: Any) -> Iterator[None]:
    """If an exception leaves variables of a model without a value on JAX, they get one.

    The one that they had before, or where that was donated to a step, the one after the last step
    that ended.

    Relies on: `Variable._value`, which Keras's JAX trainer sets to None while it runs, and
    `_jax_state`, where it keeps the values meanwhile.
    """
    if keras.backend.backend() != "jax":
        yield
        return
    optimizer = model.optimizer.variables if model.optimizer is not None else []
    variables = [*model.variables, *model.metrics_variables, *optimizer]
    before = [variable._value for variable in variables]
    try:
        yield
    finally:
        pairs = list(zip(variables, before, strict=True))
        if any(now._value is None and old is not None for now, old in pairs):
            _restore(model, pairs)


def _restore(model: Any, pairs: list[tuple[Any, Any]]) -> None:
    for variable, value in pairs:
        if variable._value is None and value is not None and not value.is_deleted():
            variable._value = value
    running = keras.tree.flatten(getattr(model, "_jax_state", None) or {})
    missing = any(variable._value is None for variable, _ in pairs)
    if missing and not any(value.is_deleted() for value in running):
        model.jax_state_sync()
    model._jax_state, model._jax_state_synced = None, True


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


# The trainer.


def compute_loss(model: Any, data: Any, outputs: Any) -> Tensor:
    """The training loss of a model for its outputs.

    Relies on: `Trainer._compute_loss`, which calls the public `compute_loss`, also where a subclass
    overrides it without the argument `training`.
    """
    return model._compute_loss(
        x=data.x, y=data.y, y_pred=outputs, sample_weight=data.sample_weight, training=True
    )


def call_model(model: Any, x: Any, training: bool | None) -> Any:
    """The outputs of a model; `training=None` leaves it to the layer around.

    Relies on: `_call_has_training_arg`.
    """
    if model._call_has_training_arg:
        return model(x, training=training)
    return model(x)


def track_loss(model: Any, loss: Tensor, examples: Any) -> None:
    """Enters the loss of a batch into the metric that the progress bar calls `loss`.

    Relies on: `Trainer._loss_tracker`, and `unscale_loss_for_distribution` as TensorFlow's trainer.
    """
    model._loss_tracker.update_state(unscale_loss_for_distribution(loss), sample_weight=examples)


def unbuilt(model: Any) -> bool:
    """Whether a layer, the compiled loss or the compiled metrics still lack variables.

    Relies on: `_flatten_layers`, `_compile_loss` and `_compile_metrics`.
    """
    parts = [*model._flatten_layers(), model._compile_loss, model._compile_metrics]
    return not all(part.built for part in parts if part is not None)


@contextlib.contextmanager
def noted_losses(model: Any, note: Callable[[str, str, Tensor, Any, Any], None]) -> Iterator[None]:
    """Meanwhile, `note(name, reduction, values, mask, sample_weight)` hears of each compiled loss.

    `values` are the losses before the reduction, `mask` is what Keras multiplies them by.

    Relies on: `CompileLoss._flat_losses`, a list of named tuples with a field `loss`, and
    `Loss.__call__`, which calls `Loss.call` and then reduces.
    """
    compiled = model._compile_loss
    if compiled is None or not compiled.built:
        yield
        return
    entries = compiled._flat_losses
    compiled._flat_losses = [entry._replace(loss=_noted(entry, note)) for entry in entries]
    try:
        yield
    finally:
        compiled._flat_losses = entries


def _noted(entry: Any, note: Callable[[str, str, Tensor, Any, Any], None]) -> Callable[..., Tensor]:
    loss = entry.loss

    def call(y_true: Any, y_pred: Any, sample_weight: Any = None) -> Tensor:
        def values_of(*arguments: Any) -> Tensor:
            values = type(loss).call(loss, *arguments)
            masks = [m for m in (mask_of(y_pred), mask_of(values)) if m is not None]
            mask = functools.reduce(keras.ops.logical_and, masks) if masks else None
            note(entry.name, loss.reduction, values, mask, sample_weight)
            return values

        loss.call = values_of
        try:
            return loss(y_true, y_pred, sample_weight)
        finally:
            del loss.call

    return call


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


def batches_of(data: Any, batch_size: int) -> Iterator[Any]:
    """The inputs of a model batch by batch, from anything that `fit` takes, as NumPy arrays.

    Relies on: `get_data_adapter`, which Keras's trainers begin with, and `DataAdapter`.
    """
    arrays = data if isinstance(data, tuple) else (data,)
    adapter = get_data_adapter(*arrays, batch_size=batch_size)
    adapter.on_epoch_begin()
    try:
        for batch in itertools.islice(adapter.get_numpy_iterator(), adapter.num_batches):
            yield keras.utils.unpack_x_y_sample_weight(batch)[0]
    finally:
        adapter.on_epoch_end()


# Data.


class Feed(DataAdapter):
    """What Keras's trainers accept in the place of arrays, and what it says to whoever feeds them.

    Keras tells a data adapter neither whether it asks for training or for evaluation, nor that a
    batch is drawn only to see its shape.  Both stand on the stack when it calls `on_epoch_begin`.

    Relies on: `get_data_adapter` hands a `DataAdapter` through; every backend's trainer runs
    `EpochIterator._enumerate_iterator`, which calls `on_epoch_begin` before it asks for an iterator
    and reads `_num_batches` after; `fit` and `evaluate` keep the names of their arguments; a
    used-up iterator is warned about by `_interrupted_warning`; on an accelerator JAX's trainer
    draws a batch ahead by `_one_batch_ahead_iterator`, which would be lost when `fit` ends, so that
    here it draws none.
    """

    batch_size = None
    has_partial_batch = None
    partial_batch_size = None

    def __init__(self) -> None:
        self._asked: tuple[str, bool] = ("read", False)
        self._failure: Exception | None = None
        self._reader: Any = None

    def batches(self, purpose: str, endless: bool) -> Iterator[Any]:
        """The batches of a pass.

        Args:
            purpose: "train"; "build", of which only shapes are looked at; or "read".
            endless: Whether the trainer counts the steps itself, beyond the end of an epoch.
        """
        raise NotImplementedError

    def batches_left(self, purpose: str) -> int | None:
        """How many batches a pass would have now, None if that is not known."""
        raise NotImplementedError

    def examples(self) -> list[Any]:
        """A few batches whose shapes show which axes vary."""
        raise NotImplementedError

    def on_epoch_begin(self) -> None:
        """Notes who asks, and tells how many batches there are."""
        self._reader, purpose = _reader_on_stack()
        reader = self._reader
        endless = purpose == "train" and reader.steps_per_epoch is not None
        self._asked = purpose, endless
        if reader is None:
            return
        reader._num_batches = None if endless else self.batches_left(purpose)
        vars(reader)["_one_batch_ahead_iterator"] = iter
        if purpose == "read":  # each time from the first batch
            reader._current_iterator = None
        vars(reader).pop("_interrupted_warning", None)
        if reader.steps_per_epoch is None or purpose == "build":  # the end of a pass is no accident
            reader._interrupted_warning = _say_nothing

    def on_epoch_end(self) -> None:
        """Raises what was raised within TensorFlow, which would tell of it in its own words."""
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure from failure.__cause__

    def get_numpy_iterator(self) -> Iterator[Any]:
        """Batches of NumPy arrays."""
        batches: Iterator[Any] = data_adapter_utils.get_numpy_iterator(self._pass(self._asked))
        return batches

    def get_jax_iterator(self, super_batch: int | None = None) -> Iterator[Any]:
        """Batches that JAX can be fed; where Keras 3.16 asks for it, several as one.

        There it also asks here, and nowhere before, for a batch that it only looks at.
        """
        looked_at = sys._getframe(1).f_code.co_name == "_maybe_symbolic_build"
        asked = ("build", False) if looked_at else self._asked
        batches: Iterator[Any] = data_adapter_utils.get_jax_iterator(self._pass(asked))
        if super_batch is None:
            return batches
        together: Iterator[Any] = data_adapter_utils.super_batch_iterator(batches, super_batch)
        return together

    def get_torch_dataloader(self) -> Any:
        """A loader that hands on tensors on the device of the model, and reads nothing ahead."""
        return data_adapter_utils.get_torch_dataloader(self._pass(self._asked))

    def get_tf_dataset(self) -> Any:
        """A dataset that reads nothing ahead."""
        import tensorflow as tf

        signature = data_adapter_utils.get_tensor_spec([_tuples(one) for one in self.examples()])
        dataset = tf.data.Dataset.from_generator(
            lambda: self._guarded(signature), output_signature=signature
        )
        options = tf.data.Options()
        options.experimental_optimization.inject_prefetch = False
        return dataset.with_options(options)

    def _pass(self, asked: tuple[str, bool]) -> Iterator[Any]:
        for batch in self.batches(*asked):
            yield _tuples(batch)

    def _guarded(self, signature: Any) -> Iterator[Any]:
        try:
            for batch in self._pass(self._asked):
                keras.tree.map_structure(_check_shape, batch, signature)
                yield batch
        except Exception as error:
            self._failure = error
            self._reader._interrupted_warning = _say_nothing


_PURPOSES = {
    "fit": "train",
    "evaluate": "read",
    "predict": "read",
    "_symbolic_build": "build",
    "_maybe_symbolic_build": "build",
}


def _reader_on_stack() -> tuple[Any, str]:
    """The iterator of a trainer that called the caller, and what for; None without a trainer."""
    frame: Any = sys._getframe(2)
    if frame.f_code is not EpochIterator._enumerate_iterator.__code__:
        return None, "read"
    reader = frame.f_locals["self"]
    while frame is not None and frame.f_code.co_name not in _PURPOSES:
        frame = frame.f_back
    if frame is None:
        return reader, "read"
    _check_alone(frame.f_code.co_name, frame.f_locals)
    return reader, _PURPOSES[frame.f_code.co_name]


def _check_alone(method: str, arguments: dict[str, Any]) -> None:
    """Keras says nothing of arguments that it leaves out where the data have an adapter."""
    for name in ("y", "sample_weight", "class_weight"):
        if arguments.get(name) is not None and method in ("fit", "evaluate"):
            raise ValueError(
                f"`{method}` was given `{name}` beside data that come in batches of their own, and "
                "Keras would leave it out. Let a batch be (inputs, targets, sample_weights)."
            )


def _say_nothing() -> None:
    pass


def _tuples(batch: Any) -> Any:
    return tuple(batch) if isinstance(batch, list) else batch


def _check_shape(array: Any, spec: Any) -> None:
    if not spec.shape.is_compatible_with(array.shape):
        raise ValueError(
            f"TensorFlow was promised arrays of shape {tuple(spec.shape)}, and a batch has one of "
            f"shape {tuple(array.shape)}. An axis varies that did not vary in the batches that "
            "were looked at (of a generator the first two, else the first, middle and last one). "
            "Let these differ in it, or pad all batches to one shape."
        )


# Weights that are computed.


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


class DerivedVariable(keras.Variable):
    """A variable without a value of its own, for the place in a layer where a weight stood.

    Relies on: layers and operations take the value of any `keras.Variable` by `value`, and the
    attributes that `Variable.__init__` sets.

    Args:
        like: The variable whose name, path, shape and dtype it has.
        compute: Gives the value.
        assign: Takes a value.
        sources: The variables it is computed from; they say whether it is trainable.
    """

    def __init__(
        self,
        like: Any,
        compute: Callable[[], Tensor],
        assign: Callable[[Tensor], None],
        sources: Sequence[Any],
    ) -> None:
        for name in _VARIABLE_ATTRIBUTES:
            object.__setattr__(self, name, getattr(like, name, None))
        for name in ("_value", "_initializer", "_regularizer", "_constraint"):
            object.__setattr__(self, name, None)
        object.__setattr__(self, "_overwrite_with_gradient", False)
        self.compute = compute
        self.take = assign
        self.sources = sources

    @property
    def value(self) -> Tensor:
        """What it is computed to be now."""
        return self._maybe_autocast(self.compute())

    def assign(self, value: Any) -> Tensor:
        """Sets the variables it is computed from, so that it has this value."""
        value = self._convert_to_tensor(value, dtype=self._dtype)
        if tuple(value.shape) != tuple(self._shape):
            raise ValueError(
                f"The weight {self._path!r} has the shape {tuple(self._shape)}, so no value of "
                f"shape {tuple(value.shape)} can be assigned to it."
            )
        self.take(value)
        return value

    @property
    def trainable(self) -> bool:
        """Whether any of its sources is trained."""
        return any(source.trainable for source in self.sources)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for source in self.sources:
            source.trainable = value


_VARIABLE_ATTRIBUTES = (
    "_name",
    "_path",
    "_shape",
    "_ndim",
    "_dtype",
    "_autocast",
    "_aggregation",
    "_synchronization",
    "_layout",
)


def autocast(dtype: str | None) -> contextlib.AbstractContextManager[Any]:
    """Within it, floating-point variables are read in `dtype`, as inside of a layer's `__call__`.

    With None they are read as they are.

    Relies on: `AutocastScope`, which `Layer.__call__` opens.
    """
    scope: contextlib.AbstractContextManager[Any] = AutocastScope(dtype)
    return scope
