"""Selectors: one way to say which variables of a model are meant, for the whole library.

A selector is

- a **layer** (or model): all its variables, those of its sub-layers included;
- a **variable**: itself;
- a **regular expression**: every variable in whose `path` it is found (`re.search`);
- a **list** (or tuple) of selectors: all that any of them means.

Nothing is ever selected silently: a selector that matches nothing is an error that shows it and the
nearest paths, and where each variable may have only one answer, two selectors that claim the same
variable are an error that names both.
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras

Selector = Any
"""A layer, a variable, a regular expression, or a list of selectors."""

NEAREST_SHOWN = 5


def select(
    selector: Selector, variables: Iterable[Any], *, allow_nothing: bool = False
) -> list[Any]:
    """Resolves a selector among variables.

    Args:
        selector: What is meant: layer, variable, regular expression or a list of these.
        variables: The Keras variables to choose from, for instance `model.trainable_variables`.
        allow_nothing: Whether to return an empty list where nothing matches.

    Returns:
        The selected variables, each once, in the order of `variables`.

    Raises:
        TypeError: `selector` is none of the four kinds.
        ValueError: A selector matches nothing, or is no valid regular expression.

    Example:
        >>> select("embeddings$", model.trainable_variables)
        >>> select([model.get_layer("head"), "bias"], model.trainable_variables)
    """
    variables = list(variables)
    wanted = _identities(selector, variables, allow_nothing)
    return [variable for variable in variables if id(variable) in wanted]


def select_each(
    selectors: Mapping[Any, Any] | Sequence[tuple[Selector, Any]], variables: Iterable[Any]
) -> list[Any]:
    """Gives each variable the value of the one selector that matches it.

    Args:
        selectors: A dictionary or a list of pairs: selector and value.
        variables: The Keras variables to label.

    Returns:
        One entry per variable: the value of its selector, None where no selector matches it.

    Raises:
        ValueError: A selector matches nothing, or two selectors match the same variable.

    Example:
        >>> select_each({"embedding": 0.1, "head": 2.0}, model.trainable_variables)
    """
    variables = list(variables)
    claims: dict[int, tuple[Selector, Any]] = {}
    for selector, value in pairs(selectors):
        for variable in select(selector, variables):
            if id(variable) in claims:
                raise ValueError(
                    f"The selectors {shown(claims[id(variable)][0])} and {shown(selector)} both "
                    f"match the variable {variable.path!r}, and only one may. "
                    "Make one of them narrower."
                )
            claims[id(variable)] = (selector, value)
    return [claims[id(variable)][1] if id(variable) in claims else None for variable in variables]


def pairs(
    selectors: Mapping[Any, Any] | Iterable[tuple[Selector, Any]],
) -> list[tuple[Selector, Any]]:
    """The pairs of a dictionary, or of a list of pairs, of selectors and values."""
    return list(selectors.items() if isinstance(selectors, Mapping) else selectors)


def as_config(selector: Selector, variables: Iterable[Any] = ()) -> Any:
    """Writes a selector with strings only, so that it can be saved with an optimizer.

    A layer or a variable becomes the regular expressions that match exactly its paths.  A
    Sequential model has its name in the paths of its weights when it is made, and no longer when it
    is loaded: if `variables` show that this is safe, the first part of a path may be missing.

    Args:
        selector: Any selector; a layer must be built, since its paths are what is written.
        variables: Those that were chosen from, if they are known: of a layer only these are meant.

    Returns:
        A string, or a list of strings and lists, that selects the same variables.
    """
    variables = list(variables)
    if isinstance(selector, str):
        return selector
    if isinstance(selector, keras.Variable):
        return _pattern_of(selector, variables)
    if isinstance(selector, keras.layers.Layer):
        own = select(selector, variables) if variables else _variables_of(selector)
        return [_pattern_of(variable, variables) for variable in own]
    if isinstance(selector, list | tuple):
        return [as_config(part, variables) for part in selector]
    raise TypeError(_not_a_selector(selector))


def shown(selector: Selector) -> str:
    """How an error message shows a selector."""
    if isinstance(selector, keras.Variable):
        return f"variable {selector.path!r}"
    if isinstance(selector, keras.layers.Layer):
        return f"layer {selector.name!r}"
    if isinstance(selector, list | tuple):
        return f"[{', '.join(shown(part) for part in selector)}]"
    return repr(selector)


def _identities(selector: Selector, variables: list[Any], allow_nothing: bool) -> set[int]:
    if isinstance(selector, list | tuple):
        if not selector:
            raise ValueError(
                "The selector [] is empty, so it matches no variable. "
                "Name at least one layer, variable or regular expression."
            )
        return {key for part in selector for key in _identities(part, variables, allow_nothing)}
    matches = {id(variable) for variable in variables if _matches(selector, variable)}
    if not matches and not allow_nothing:
        raise ValueError(_nothing_matches(selector, variables))
    return matches


def _matches(selector: Selector, variable: Any) -> bool:
    if isinstance(selector, str):
        return _found(selector, variable.path)
    if isinstance(selector, keras.Variable):
        return selector is variable
    if isinstance(selector, keras.layers.Layer):
        return any(own is variable for own in _variables_of(selector))
    raise TypeError(_not_a_selector(selector))


def _pattern_of(variable: Any, variables: list[Any]) -> str:
    first, _, rest = variable.path.partition("/")
    pattern = f"^({re.escape(first)}/)?{re.escape(rest)}$"
    only_one = sum(_found(pattern, other.path) for other in variables) == 1
    return pattern if "/" in rest and only_one else f"^{re.escape(variable.path)}$"


def _found(pattern: str, path: str) -> bool:
    try:
        return re.search(pattern, path) is not None
    except re.error as error:
        raise ValueError(
            f"The selector {pattern!r} is not a valid regular expression: {error}. "
            "It is searched in the path of each variable; escape special characters with a "
            "backslash."
        ) from error


def _variables_of(layer: Any) -> list[Any]:
    if not layer.variables and not layer.built:
        raise ValueError(
            f"The selector layer {layer.name!r} is not built, so it has no variables yet. "
            "Call the model on a batch (or give it an Input) first, or select by a regular "
            "expression."
        )
    return list(layer.variables)


def _not_a_selector(selector: Any) -> str:
    return (
        f"{selector!r} of type {type(selector).__name__} is not a selector. "
        "Use a layer, a variable, a regular expression, or a list of these."
    )


def _nothing_matches(selector: Selector, variables: list[Any]) -> str:
    paths = [variable.path for variable in variables]
    name = selector if isinstance(selector, str) else getattr(selector, "path", selector.name)
    near = difflib.get_close_matches(name, paths, NEAREST_SHOWN, cutoff=0.0)
    listed = ", ".join(repr(path) for path in near) or "none: there are no variables"
    return (
        f"The selector {shown(selector)} matches none of the {len(paths)} variables. "
        f"The nearest paths: {listed}."
    )
