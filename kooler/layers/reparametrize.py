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

from typing import Any

import keras

from kooler.core import compat
from kooler.core.hooks import reset_functions
from kooler.core.selectors import Selector, select
from kooler.layers.originals import Originals, parametrized_in
from kooler.layers.parametrization import Parametrization
from kooler.layers.parametrized_weight import ParametrizedWeight, holds
from kooler.layers.quantised import already_quantised, is_quantised


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
        TypeError: `parametrization` is none, or `model` no model or layer.
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
    _check_model(model)
    known = parametrized_in(model)
    planned = [
        _planned(model, known, variable, parametrization) for variable in _chosen(model, variables)
    ]
    for weight in planned:  # only now, when none of them can fail
        weight.install()
    reset_functions(model)
    return model


def merge(model: Any) -> Any:
    """Gives every reparametrised weight of a model its present value for good.

    Args:
        model: A Keras model or layer; it is changed in place, and then has plain weights only.

    Returns:
        The model.
    """
    _check_model(model)
    for parametrized in parametrized_in(model):
        parametrized.remove()
    reset_functions(model)
    return model


def _check_model(model: Any) -> None:
    if not isinstance(model, keras.layers.Layer):
        raise TypeError(
            f"The first argument must be a Keras model or layer, received {model!r}. "
            "Which of its weights are meant comes after it."
        )


def _chosen(model: Any, variables: Selector) -> list[Any]:
    """The selected weights; a weight of a quantised layer is found too, and refused by its name."""
    weights = _weights_of(model)
    quantised = [
        (layer, variable)
        for layer in compat.flat_layers(model)
        if is_quantised(layer)
        for variable in compat.own_variables(layer)
        if not holds(weights, variable)
    ]
    chosen = select(_without_layers(variables), [*weights, *(one for _, one in quantised)])
    for layer, variable in quantised:
        if holds(chosen, variable):
            raise already_quantised(layer, variable.path)
    return chosen


def _planned(
    model: Any, known: list[ParametrizedWeight], variable: Any, parametrization: Parametrization
) -> ParametrizedWeight:
    before = next((one for one in known if one.derived is variable), None)
    parts = [] if before is None else before.parts
    return ParametrizedWeight(model, before or variable, [*parts, parametrization])


def _weights_of(model: Any) -> list[Any]:
    """The trainable weights of a model as its layers see them, also computed ones."""
    derived = [one.derived for one in parametrized_in(model)]
    hidden = [one.variable for one in parametrized_in(model)]
    plain = [
        variable
        for layer in compat.flat_layers(model)
        if not isinstance(layer, Originals)
        for variable in compat.made_trainable(layer)
        if not holds(hidden, variable)
    ]
    return [*derived, *{id(one): one for one in plain}.values()]


def _without_layers(selector: Selector) -> Selector:
    """The same selector with the weights of a layer in the place of the layer."""
    if isinstance(selector, list | tuple):
        return [_without_layers(part) for part in selector]
    if isinstance(selector, keras.layers.Layer) and _weights_of(selector):
        return _weights_of(selector)
    return selector
