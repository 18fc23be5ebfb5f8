"""The variables of a model as named arrays.

A weight is named by its place, `encoder_0/self_projection/kernel`.  Assigning is strict: names,
shapes and number types must be those of the model.  The state of a training adds what the next
update depends on: the seed generators (dropout) and the variables of the optimizer.
"""

from collections.abc import Iterable, Mapping

import keras
import numpy as np

from kooler.seq2seq.array_files import Arrays


def named_weights(model: keras.Model) -> dict[str, keras.Variable]:
    """The weights of a model by place, whatever Keras numbered the model.

    Args:
        model: A model whose weights exist.

    Raises:
        ValueError: If two weights have the same name.
    """
    named: dict[str, keras.Variable] = {}
    for weight in model.weights:
        name = weight.path.removeprefix(f"{model.name}/")
        if name in named:
            raise ValueError(
                f"two weights are named `{name}`, so a file cannot tell them apart. "
                "Give the layers of the model different names."
            )
        named[name] = weight
    return named


def training_state(model: keras.Model) -> dict[str, keras.Variable]:
    """All variables that the next update of a compiled model depends on, by name."""
    model.optimizer.build(model.trainable_variables)
    weights = named_weights(model)
    known = {id(weight) for weight in weights.values()}
    seeds = {id(v): v for v in model.variables if id(v) not in known}.values()
    return {
        **{f"model/{name}": weight for name, weight in weights.items()},
        **{f"seeds/{index:03}": variable for index, variable in enumerate(seeds)},
        **{
            f"optimizer/{index:03}": variable
            for index, variable in enumerate(model.optimizer.variables)
        },
    }


def arrays_of(variables: Mapping[str, keras.Variable]) -> Arrays:
    """Copies of the values of variables."""
    # a copy: on torch, and on JAX's CPU, the array may be a view of memory that training overwrites
    return {
        name: np.array(keras.ops.convert_to_numpy(variable.value), order="C", copy=True)
        for name, variable in variables.items()
    }


def assign(variables: Mapping[str, keras.Variable], arrays: Mapping[str, np.ndarray]) -> None:
    """Gives variables the values of arrays of the same names, shapes and number types.

    Args:
        variables: Variables by name.
        arrays: Arrays by name.

    Raises:
        ValueError: If they do not fit; nothing is assigned then.
    """
    _check_names(variables, arrays)
    for name, variable in variables.items():
        _check_fit(name, variable, arrays[name])
    for name, variable in variables.items():
        variable.assign(arrays[name])


def _check_names(variables: Iterable[str], arrays: Iterable[str]) -> None:
    missing, unknown = sorted(set(variables) - set(arrays)), sorted(set(arrays) - set(variables))
    if missing or unknown:
        raise ValueError(
            f"the weights are of another model: {_some('missing', missing)}, "
            f"{_some('unknown', unknown)}. Build the model with the settings that trained them."
        )


def _some(word: str, names: list[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:3])
    return f"{len(names)} {word}" + (
        f" ({shown}{', …' if len(names) > 3 else ''})" if names else ""
    )


def _check_fit(name: str, variable: keras.Variable, array: np.ndarray) -> None:
    wanted = (tuple(variable.shape), keras.backend.standardize_dtype(variable.dtype))
    if (array.shape, array.dtype.name) != wanted:
        raise ValueError(
            f"`{name}` must be {wanted[1]} {wanted[0]}, received {array.dtype.name} {array.shape}. "
            "Build the model with the settings that trained it."
        )
