"""What optimizers remember from one update to the next, and what each of these slots begins with.

Momenta, second moments, accumulators: Keras's optimizers make a variable for each and do not say
afterwards how it began.  So a copy of the optimizer is built for stand-ins of its weights: of one
entry each, of the same rank and path, and each with a value of its own.  A slot of the copy that
holds one of these values begins as that weight (schedule-free optimizers have such slots); any
other begins as the constant that it holds, which is 0 for most, 0.1 for Adagrad.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from kooler.core import attach, compat

MARK = 1000.5


def memory_of(optimizer: Any) -> list[Any]:
    """The slots of the optimizers that move the weights, through all wrappers around them."""
    return [slot for one in _innermost(optimizer) for slot in compat.momenta_of(one)]


def beginnings_of(optimizer: Any) -> list[Any]:
    """For each of these slots what it begins with: a number, or a weight of the model."""
    return [start for one in _innermost(optimizer) for start in _beginnings(one)]


def _innermost(optimizer: Any) -> Iterator[Any]:
    inside = attach.inner_optimizers(optimizer)
    if not inside:
        yield optimizer
    for one in inside:
        yield from _innermost(one)


def _beginnings(optimizer: Any) -> Iterator[Any]:
    weights = compat.built_for(optimizer)
    with _eagerly(), compat.tracked():
        copy = type(optimizer).from_config(optimizer.get_config())
        copy.build([_stand_in(weight, MARK + index) for index, weight in enumerate(weights)])
        numbers = [ops.convert_to_numpy(slot).item() for slot in compat.momenta_of(copy)]
    for number in numbers:
        index = number - MARK
        yield weights[int(index)] if index in range(len(weights)) else number


def _stand_in(weight: Any, number: float) -> Any:
    *folders, name = weight.path.split("/")
    with contextlib.ExitStack() as scopes:
        for folder in folders:
            scopes.enter_context(keras.name_scope(folder))
        return keras.Variable(ops.full((1,) * len(weight.shape), number), name=name)


def _eagerly() -> Any:
    """TensorFlow builds optimizers inside of the traced step, where nothing has a value yet."""
    if keras.backend.backend() != "tensorflow":
        return contextlib.nullcontext()
    import tensorflow as tf

    return tf.init_scope()
