"""BatchNorm's statistics, computed again for the weights that a model has now.

The moving mean and variance of BatchNorm belong to the weights of the training.  Averaged weights
give other activations, so their statistics can be taken from data once more: for batches i of nᵢ
examples with mean mᵢ and variance vᵢ, those of all examples together,

    m = Σ nᵢ·mᵢ / Σ nᵢ,      v = Σ nᵢ·(vᵢ + (mᵢ − m)²) / Σ nᵢ.

Izmailov et al. 2018, section 3.2, https://arxiv.org/abs/1803.05407.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from kooler.core import compat


def update_batch_statistics(model: Any, data: Any, *, batch_size: int = 256) -> None:
    """Gives each BatchNorm layer the statistics of the data under the weights of now.

    The model runs in training mode and learns nothing; all other state stays as it is.

    Args:
        model: A built Keras model. Frozen BatchNorm layers are left alone.
        data: Anything that `fit` takes: arrays, tuples of arrays, a data set; targets are ignored.
        batch_size: Examples per batch, where `data` is arrays.

    Raises:
        ValueError: The model is not built, or the data is empty.

    Example:
        >>> with averaged_weights(model):
        ...     update_batch_statistics(model, x)
        ...     model.evaluate(x_test, y_test)
    """
    if not isinstance(model, keras.Model) or not model.built:
        raise ValueError(
            f"`update_batch_statistics` needs a built Keras model, received {model!r}. Call the "
            "model on a batch first."
        )
    layers = [layer for layer in compat.flat_layers(model) if _moves_statistics(layer)]
    if not layers:
        return
    variables = [v for layer in layers for v in (layer.moving_mean, layer.moving_variance)]
    moments = _moments(model, layers, variables, data, batch_size)
    for variable, value in zip(variables, moments, strict=True):
        variable.assign(value)


def _moments(
    model: Any, layers: list[Any], variables: list[Any], data: Any, batch_size: int
) -> list[np.ndarray]:
    """The mean and the variance of each layer in turn, over all batches; changes nothing."""
    counts, batches = [], []
    state = [(v, np.array(ops.convert_to_numpy(v))) for v in model.non_trainable_variables]
    momenta = [layer.momentum for layer in layers]
    try:
        for layer in layers:
            layer.momentum = 0.0  # then the moving statistics are those of the last batch
        run = _forward(model, variables)
        for inputs in compat.batches_of(data, batch_size):
            batches.append([np.array(ops.convert_to_numpy(v), "float64") for v in run(inputs)])
            counts.append(len(keras.tree.flatten(inputs)[0]))
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        for variable, value in state:
            variable.assign(value)
    if not counts:
        raise ValueError("`data` has no batch, so there are no statistics in it. Give examples.")
    return _together(np.array(counts, "float64"), batches)


def _together(counts: np.ndarray, batches: list[list[np.ndarray]]) -> list[np.ndarray]:
    shares = counts / counts.sum()
    moments: list[np.ndarray] = []
    for means, variances in zip(*[iter(zip(*batches, strict=True))] * 2, strict=True):
        mean = np.tensordot(shares, np.stack(means), 1)
        spread = np.stack(variances) + (np.stack(means) - mean) ** 2
        moments += [mean, np.tensordot(shares, spread, 1)]
    return moments


def _forward(model: Any, variables: list[Any]) -> Callable[[Any], list[Any]]:
    """Runs the model in training mode on a batch; returns the new values of `variables`."""
    if keras.backend.backend() == "jax":
        return _forward_by_jax(model, variables)

    def run(inputs: Any) -> list[Any]:
        compat.call_model(model, inputs, training=True)
        return [ops.copy(ops.convert_to_tensor(variable)) for variable in variables]

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        traced = tf.function(run, reduce_retracing=True)
        return lambda inputs: list(traced(_tensors(inputs)))
    import torch

    return torch.no_grad()(lambda inputs: run(_tensors(inputs)))


def _forward_by_jax(model: Any, variables: list[Any]) -> Callable[[Any], list[Any]]:
    import jax

    keys = [id(variable) for variable in variables]

    @jax.jit
    def run(weights: Any, state: Any, inputs: Any) -> list[Any]:
        _, new = model.stateless_call(weights, state, inputs, training=True)
        values = dict(zip(map(id, model.non_trainable_variables), new, strict=True))
        return [values[key] for key in keys]

    weights = [variable.value for variable in model.trainable_variables]
    state = [variable.value for variable in model.non_trainable_variables]
    return lambda inputs: list(run(weights, state, inputs))


def _tensors(inputs: Any) -> Any:
    return keras.tree.map_structure(ops.convert_to_tensor, inputs)


def _moves_statistics(layer: Any) -> bool:
    """Whether a layer is a BatchNorm (or works as one) that is not frozen."""
    names = ("moving_mean", "moving_variance", "momentum")
    return layer.trainable and all(hasattr(layer, name) for name in names)
