"""What two models must be to play against each other; everything else is refused by name."""

import warnings
from collections import Counter
from typing import Any

import keras

from kooler.core import compat

Shape = tuple[int | None, ...]


def check_players(generator: Any, discriminator: Any, trick: Any) -> None:
    """Refuses models that cannot be the players of a GAN.

    Raises:
        TypeError: One is no Keras model. ValueError: They are not built, share weights, or the
            examples of the one are not what the other takes.
    """
    for role, model in (("generator", generator), ("discriminator", discriminator)):
        if not isinstance(model, keras.Model):
            raise TypeError(
                f"`{role}` must be a Keras model, received {model!r} of type "
                f"{type(model).__name__}."
            )
    _check_shapes(generator, discriminator)
    _check_weights(generator, discriminator)
    if trick == "subtract" and draws_random_numbers(discriminator):
        warnings.warn(
            f"The discriminator {discriminator.name!r} draws random numbers in training, as dropout"
            " does. With trick='subtract' its two passes over generated examples draw different "
            "ones, and the discriminator gets a wrong gradient. Use trick='frozen'.",
            stacklevel=3,
        )


def latent_shape(generator: Any) -> tuple[int, ...]:
    """The shape of one input of a generator.

    Raises:
        ValueError: It is not known.
    """
    shape = _shape(generator, "generator", "input_shape")[1:]
    if any(size is None for size in shape):
        raise ValueError(
            f"The input of the generator {generator.name!r} has the shape {shape} without the "
            "batch, so it is not known how many random numbers to draw. Make it with "
            "keras.Input((64,)), for instance."
        )
    return tuple(int(size) for size in shape if size is not None)


def draws_random_numbers(model: Any) -> bool:
    """Whether a layer of the model has a state of random numbers, as dropout and noise do."""
    states = (getattr(layer, "seed_generator", None) for layer in compat.flat_layers(model))
    return any(isinstance(state, keras.random.SeedGenerator) for state in states)


def _check_shapes(generator: Any, discriminator: Any) -> None:
    latent_shape(generator)
    made = _shape(generator, "generator", "output_shape")
    taken = _shape(discriminator, "discriminator", "input_shape")
    _shape(discriminator, "discriminator", "output_shape")
    pairs = zip(made[1:], taken[1:], strict=False)
    if len(made) != len(taken) or any(None not in pair and pair[0] != pair[1] for pair in pairs):
        raise ValueError(
            f"The generator makes examples of shape {made[1:]}, but the discriminator takes "
            f"{taken[1:]}. Both must be the shape of the real examples."
        )


def _shape(model: Any, role: str, name: str) -> Shape:
    shape = getattr(model, name, None) if model.built else None
    if shape is None:
        raise ValueError(
            f"The {role} {model.name!r} does not say its {name}. Begin it with keras.Input(…), or "
            "put a model of your own class into keras.Sequential([keras.Input(…), model])."
        )
    if not isinstance(shape, tuple) or not all(isinstance(size, int | None) for size in shape):
        raise ValueError(
            f"The {role} {model.name!r} must have one input and one output, but its {name} is "
            f"{shape}."
        )
    return shape


def _check_weights(generator: Any, discriminator: Any) -> None:
    own = {id(variable) for variable in generator.variables}
    shared = [variable.path for variable in discriminator.variables if id(variable) in own]
    if shared:
        raise ValueError(
            f"Generator and discriminator share the weights {shared}, which would have to follow "
            "both losses. Give each its own."
        )
    if keras.backend.backend() != "torch":
        return
    counts = Counter(v.path for v in [*generator.variables, *discriminator.variables])
    twice = [path for path, count in counts.items() if count > 1]
    if twice:  # Keras's PyTorch trainer would clear the gradient of one of them only
        raise ValueError(
            f"Generator and discriminator both have weights called {twice}, which Keras on "
            "PyTorch takes for one. Give the layers different names."
        )
