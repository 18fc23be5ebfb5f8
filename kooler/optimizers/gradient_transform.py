"""Functions of the gradients, in front of any optimizer.

    optimizer = GradientTransform("adam", skip_nonfinite(), centralize(), clip_by_global_norm(1.0))

Each transform gets what the one before gave, and the optimizer what the last one gave.  A transform
is any function `f(gradients, variables) → gradients`; `kooler.optimizers.transforms` has those that
are known by name.  It runs inside of the compiled step: write it with `keras.ops`.

It transforms what reaches it: `GradientTransform(Accumulate(Adam))` every micro-gradient,
`Accumulate(GradientTransform(Adam))` their average.  So clipping, noise and centralisation come
before the memory of the inner optimizer and before its weight decay.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
from keras import ops

from kooler.core import compat
from kooler.core.conditional import replica_count
from kooler.core.types import Tensor
from kooler.optimizers.transforms.nonfinite import SkipNonfinite
from kooler.optimizers.transforms.transform import Transform, as_config, from_config
from kooler.optimizers.wrapper import OptimizerWrapper


@keras.saving.register_keras_serializable("kooler")
class GradientTransform(OptimizerWrapper):
    """Transforms gradients on their way to the inner optimizer.

    Args:
        inner_optimizer: A Keras optimizer, a wrapper, or the name of a Keras optimizer.
        *transforms: Functions of `(gradients, variables)` that return as many gradients, applied
            in this order.
        name: A name, as for any optimizer.

    Example:
        >>> GradientTransform("adam", only("embedding", clip_by_l1_norm(1.0)), centralize())
    """

    def __init__(
        self, inner_optimizer: Any, *transforms: Callable[..., Any], name: str | None = None
    ) -> None:
        for transform in transforms:
            _check_transform(transform)
        _check_states([one for one in transforms if isinstance(one, Transform)])
        super().__init__(inner_optimizer, name=name)
        with compat.untracked():
            self._transforms = list(transforms)

    @classmethod
    def around(cls, optimizer: Any, **arguments: Any) -> Any:
        """For `inject(model, GradientTransform, transforms=[…])`."""
        return cls(optimizer, *arguments.pop("transforms", ()), **arguments)

    @property
    def reports(self) -> bool:  # type: ignore[override]  # a class variable for those who always do
        """Whether steps may be skipped, which the logs then tell."""
        return self._skip is not None

    def report(self) -> dict[str, Tensor]:
        """How many steps were skipped in all."""
        return {"skipped_steps": ops.convert_to_tensor(self._skip.skipped)} if self._skip else {}

    def bind(self, model: Any) -> None:
        """Tells the transforms which model it is."""
        for transform in self._ours():
            transform.bind(model)

    def build_slots(self, variables: Sequence[Any]) -> None:
        """The states of the transforms become ours."""
        for transform in self._ours():
            transform.build(variables)
            for variable in transform.state:
                compat.track(self, variable)

    def update(self, gradients: Sequence[Tensor], variables: Sequence[Any]) -> None:
        """Transforms, and lets the inner optimizer step unless it is to be skipped."""
        replicas = replica_count()  # each hands on its share of the sum; transforms see the sum
        whole = [g * replicas for g in gradients] if replicas > 1 else list(gradients)
        if self._skip is None:
            self._step(self._transforms, whole, variables)
            return
        place = self._transforms.index(self._skip)
        whole = self._transformed(self._transforms[:place], whole, variables)
        finite = self._skip.judge(whole)
        rest = functools.partial(self._step, self._transforms[place + 1 :], whole, variables)
        self.update_if(finite, rest, variables)

    def release(self, reason: str, variables: Sequence[Any]) -> None:
        """At the end of an epoch: too many skipped steps are an error."""
        if self._skip is not None:
            self._skip.check()

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        return {**super().get_config(), "transforms": [as_config(one) for one in self._transforms]}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """Makes the wrapper, the optimizer inside of it, and the transforms."""
        inner = keras.saving.deserialize_keras_object(config["inner_optimizer"], custom_objects)
        transforms = [from_config(one, custom_objects) for one in config["transforms"]]
        return cls(inner, *transforms, name=config["name"])

    def _step(
        self, transforms: Sequence[Any], gradients: list[Tensor], variables: Sequence[Any]
    ) -> None:
        gradients = self._transformed(transforms, gradients, variables)
        replicas = replica_count()
        shares = [gradient / replicas for gradient in gradients] if replicas > 1 else gradients
        super().update(shares, variables)

    def _transformed(
        self, transforms: Sequence[Any], gradients: list[Tensor], variables: Sequence[Any]
    ) -> list[Tensor]:
        for transform in transforms:
            gradients = _checked(transform, transform(gradients, variables), gradients)
        return gradients

    @property
    def _skip(self) -> SkipNonfinite | None:
        return next((one for one in self._transforms if isinstance(one, SkipNonfinite)), None)

    def _ours(self) -> Iterator[Transform]:
        return (one for one in self._transforms if isinstance(one, Transform))


def _check_transform(transform: Any) -> None:
    if callable(transform) and not isinstance(transform, type | keras.optimizers.Optimizer):
        return
    raise TypeError(
        "A transform is a function of (gradients, variables) that returns gradients, received "
        f"{transform!r} of type {type(transform).__name__}. Write for instance "
        "GradientTransform('adam', clip_by_norm(1.0))."
    )


def _check_states(transforms: Sequence[Transform]) -> None:
    states = [variable for transform in transforms for variable in transform.state]
    if len({id(variable) for variable in states}) < len(states):
        raise ValueError(
            f"One of the transforms {transforms} occurs twice, and it counts its steps. "
            "Call its function a second time to make another one."
        )
    if sum(isinstance(transform, SkipNonfinite) for transform in transforms) > 1:
        raise ValueError(
            f"There is more than one skip_nonfinite among the transforms {transforms}. "
            "Keep the first, or use `zero_nans` after it."
        )


def _checked(transform: Any, new: Any, old: Sequence[Tensor]) -> list[Tensor]:
    """What a function made of the gradients, if they are as many and of the same shapes."""
    shapes = [tuple(gradient.shape) for gradient in old]
    got = [_shape(gradient) for gradient in new] if isinstance(new, list | tuple) else new
    if got == shapes:
        return list(new)
    raise ValueError(
        f"The transform {transform!r} was given gradients of the shapes {shapes}, and must return "
        f"a list of gradients of the same shapes, but returned {got}."
    )


def _shape(gradient: Any) -> Any:
    return None if gradient is None else tuple(gradient.shape)
