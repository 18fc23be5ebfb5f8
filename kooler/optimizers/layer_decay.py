"""Layer-wise decay of the learning rate, for fine-tuning: the nearer to the input, the smaller.

With L layers that have weights, counted from the input as 0 … L − 1, layer i is multiplied by

    λᵢ = factor^(L − 1 − i),

so the last one, nearest to the output, keeps the full learning rate (Howard and Ruder 2018,
https://arxiv.org/abs/1801.06146; Clark et al. 2020, https://arxiv.org/abs/2003.10555; Bao et al.
2021, https://arxiv.org/abs/2106.08254).  A model inside the model is opened; a layer made of
layers, such as a Transformer block, counts as one.  Frozen layers count, so that freezing some does
not change the rates of the others.
"""

import numbers
from collections.abc import Sequence
from typing import Any

import keras

Multipliers = list[tuple[Any, float]]


def layer_decay(model: Any, factor: float) -> Multipliers:
    """Multipliers for `LearningRateMultiplier`, from the layers of a model.

    Args:
        model: A built Keras model; or, to say oneself what counts as one layer, a list of
            selectors from the input to the output.
        factor: Above 0 and at most 1; 0.75 for base, 0.9 for large Transformers are usual.

    Returns:
        Pairs of selector and multiplier, from the input to the output; frozen layers have none.

    Raises:
        ValueError: `factor` is out of its range, or the model is not built or wholly frozen.
        TypeError: `model` is neither a model nor a list.

    Example:
        >>> optimizer = LearningRateMultiplier("adam", layer_decay(model, 0.75))
        >>> layer_decay([["embed", "position"], "block1", "block2", ["norm", "head"]], 0.75)
    """
    _check_factor(factor)
    if isinstance(model, keras.Model):
        layers = _layers_with_weights(model)
        stages = _each_weight_once(layers)
        _check_stages(model, layers, stages)
    elif isinstance(model, list | tuple) and model:
        stages = list(model)
    else:
        raise TypeError(
            "`layer_decay` needs a model, or a list of selectors from input to output, received "
            f"{model!r}."
        )
    depths = range(len(stages) - 1, -1, -1)
    return [
        (stage, float(factor) ** depth)
        for stage, depth in zip(stages, depths, strict=True)
        if stage is not None
    ]


def _layers_with_weights(model: Any) -> list[Any]:
    found: list[Any] = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found += [inner for inner in _layers_with_weights(layer) if inner not in found]
        elif layer.weights and layer not in found:
            found.append(layer)
    return found


def _each_weight_once(layers: Sequence[Any]) -> list[Any]:
    """A selector per layer, None for a frozen one; a shared weight counts where it comes first."""
    seen: set[int] = set()
    stages: list[Any] = []
    for layer in layers:
        own = layer.trainable_variables
        new = [variable for variable in own if id(variable) not in seen]
        seen |= {id(variable) for variable in new}
        stages.append((layer if len(new) == len(own) else new) if new else None)
    return stages


def _check_factor(factor: Any) -> None:
    number = isinstance(factor, numbers.Real) and not isinstance(factor, bool)
    if not (number and 0 < float(factor) <= 1):
        raise ValueError(
            f"`factor` must be above 0 and at most 1, received factor={factor!r}. "
            "To freeze layers, set `trainable = False`."
        )


def _check_stages(model: Any, layers: Sequence[Any], stages: Sequence[Any]) -> None:
    if not layers:
        raise ValueError(
            f"The model {model.name!r} has no weights yet, so its layers cannot be counted. "
            "Call it on a batch, or `model.build(…)`, first."
        )
    if not any(stage is not None for stage in stages):
        raise ValueError(
            f"Every layer of the model {model.name!r} is frozen, so none has a learning rate. "
            "Set `trainable = True` for the layers that are to be trained."
        )
