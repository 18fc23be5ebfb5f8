"""What a trainer does between a batch and its loss."""

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras.src import backend
from keras.src.losses.loss import unscale_loss_for_distribution
from keras.src.saving.serialization_lib import ObjectSharingScope
from keras.src.trainers.data_adapters import get_data_adapter

from kooler.core.compat.layers import mask_of
from kooler.core.types import Tensor


def has_own(model: Any, method: str) -> bool:
    """Whether the class of a model brings its own version of one of the trainer's methods.

    Relies on: `keras.Model` inherits the trainer of its backend, whose methods are Keras's.
    """
    return getattr(type(model), method) is not getattr(keras.Model, method)


def model_of(callback: Any) -> Any:
    """The model of a callback; `callback.model` would also take JAX's state out of the trainer.

    Relies on: `Callback._model`.
    """
    return callback._model


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


def run_symbolically(model: Any, inputs: Any, training: bool) -> None:
    """Traces the `call` of a model, for what happens on the way.

    Relies on: `compute_output_spec` of the backend.
    """
    backend.compute_output_spec(lambda x: call_model(model, x, training), inputs)


def duplicate(model: Any) -> Any:
    """A model of the same config, in which a layer that several hold is one again.

    Relies on: `ObjectSharingScope`, in which Keras saves and loads models.
    """
    with ObjectSharingScope():
        config = keras.saving.serialize_keras_object(model)
    with ObjectSharingScope():
        return keras.saving.deserialize_keras_object(config)
