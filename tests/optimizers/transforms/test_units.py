"""Which axes belong to one output unit, for every layer of Keras that has a kernel."""

from typing import Any

import keras
import pytest

from kooler.optimizers.transforms.units import Axes, PerUnit

L = keras.layers
ZEROS: dict[str, Any] = {"kernel_initializer": "zeros"}  # random numbers take JAX a second
RECURRENT = {**ZEROS, "recurrent_initializer": "zeros"}
CASES: dict[str, tuple[Any, tuple[int, ...], dict[str, Axes]]] = {
    "Dense": (L.Dense(4, **ZEROS), (3,), {"kernel": (0,), "bias": ()}),
    "Conv2D": (L.Conv2D(4, 3, **ZEROS), (8, 8, 2), {"kernel": (0, 1, 2), "bias": ()}),
    "Conv2DTranspose": (
        L.Conv2DTranspose(4, 3, **ZEROS),
        (8, 8, 2),
        {"kernel": (0, 1, 3), "bias": ()},
    ),
    "Conv1DTranspose": (L.Conv1DTranspose(4, 3, **ZEROS), (8, 2), {"kernel": (0, 2), "bias": ()}),
    "DepthwiseConv2D": (
        L.DepthwiseConv2D(3, depthwise_initializer="zeros"),
        (8, 8, 2),
        {"kernel": (0, 1), "bias": ()},
    ),
    "SeparableConv2D": (
        L.SeparableConv2D(4, 3, depthwise_initializer="zeros", pointwise_initializer="zeros"),
        (8, 8, 2),
        {"depthwise_kernel": (0, 1), "pointwise_kernel": (0, 1, 2), "bias": ()},
    ),
    "EinsumDense": (
        L.EinsumDense("abc,cde->abde", (None, 2, 3), bias_axes="de", **ZEROS),
        (5, 4),
        {"kernel": (0,), "bias": ()},
    ),
    "EinsumDense out": (
        L.EinsumDense("abde,dec->abc", (None, 6), **ZEROS),
        (5, 2, 3),
        {"kernel": (0, 1)},
    ),
    "Embedding": (L.Embedding(7, 3, "zeros"), (5,), {"embeddings": (1,)}),
    "LSTM": (
        L.LSTM(2, **RECURRENT),
        (5, 3),
        {"kernel": (0,), "recurrent_kernel": (0,), "bias": ()},
    ),
    "GRU": (L.GRU(2, **RECURRENT), (5, 3), {"kernel": (0,), "recurrent_kernel": (0,), "bias": ()}),
    "LayerNormalization": (L.LayerNormalization(), (5, 3), {"gamma": (), "beta": ()}),
}


@pytest.mark.parametrize("name", CASES)
def test_the_layers_of_keras(name: str) -> None:
    layer, shape, expected = CASES[name]
    layer.build((2, *shape))
    transform = PerUnit("", {}, lambda gradient, variable, axes: gradient)
    transform.bind(model := keras.Sequential([layer]))

    found = {variable.name: transform.axes(variable) for variable in model.trainable_variables}

    assert found == expected


def test_the_four_kernels_of_attention() -> None:
    attention = L.MultiHeadAttention(2, 3, **ZEROS)
    attention.build((2, 5, 6), (2, 5, 6))
    model = keras.Sequential([attention])
    transform = PerUnit("", {}, lambda gradient, variable, axes: gradient)
    transform.bind(model)

    found = {v.path.split("/", 1)[-1]: transform.axes(v) for v in model.trainable_variables}

    kernels = {path.split("/")[-2]: axes for path, axes in found.items() if "kernel" in path}
    assert kernels == {"query": (0,), "key": (0,), "value": (0,), "attention_output": (0, 1)}
    assert {axes for path, axes in found.items() if "bias" in path} == {()}


def test_without_a_model_the_name_and_the_shape_decide() -> None:
    transform = PerUnit("", {}, lambda gradient, variable, axes: gradient)
    shapes = {"kernel": (3, 3, 2, 4), "bias": (2, 3), "embeddings": (7, 3), "scale": (3,)}

    found = {
        name: transform.axes(keras.Variable(keras.ops.ones(shape), name=name))
        for name, shape in shapes.items()
    }

    assert found == {"kernel": (0, 1, 2), "bias": (), "embeddings": (1,), "scale": ()}
