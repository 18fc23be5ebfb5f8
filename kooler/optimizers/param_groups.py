"""Parameter groups: another optimizer, learning rate, decay or clipping for selected variables.

    ParamGroups(
        [
            Group("embedding", optimizer=keras.optimizers.SGD(0.1)),
            Group("encoder", lr_multiplier=0.1),
            Group("bias|gamma|beta", weight_decay=0.0),
            Group("pooler", frozen=True),
        ],
        default=keras.optimizers.AdamW(3e-4, weight_decay=0.05),
    )

Each group has an optimizer of its own, a copy of the default if it names none.  With equal settings
one group, or any number of them, is the single optimizer bit for bit.  What must not depend on how
the variables are grouped does not:

- `global_clipnorm` of the default is the norm over all groups, except frozen ones.
- `learning_rate` is that of the default, and setting it sets that of every copy.
- `iterations` counts the updates of the group that has taken most.
- A missing gradient (None, on PyTorch and TensorFlow) is zero, as it is on JAX: moments decay,
  weights decay.  Variables that a call of `apply` does not name stand still with all their state.

A selector that matches nothing is an error that shows the nearest paths, one variable in two groups
an error that names both.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import keras
from keras import ops

from kooler.core import attach, compat, selectors
from kooler.core.conditional import replica_count
from kooler.core.types import Tensor
from kooler.optimizers.group import Group, follow, innermost, optimizer_of
from kooler.optimizers.group_table import table
from kooler.optimizers.wrapper import OptimizerWrapper, as_optimizer, saved_variables


@keras.saving.register_keras_serializable("kooler")
class ParamGroups(OptimizerWrapper):
    """Trains groups of variables in different ways.

    Args:
        groups: What is special; see `Group`.
        default: The optimizer of all other variables, or its name.
        strict: If False, a selector may match nothing, and of two groups that match a variable the
            first gets it.
        name: A name, as for any optimizer.

    Raises:
        ValueError: When it is built: a selector matches nothing, or two match one variable.
    """

    missing_are_zeros: ClassVar[bool] = True

    def __init__(
        self, groups: Sequence[Group], default: Any, *, strict: bool = True, name: str | None = None
    ) -> None:
        groups = _checked_groups(groups)
        default = as_optimizer(default, type(self).__name__)
        _check_default(default)
        optimizers = [
            None if group.frozen else optimizer_of(group, default, number)
            for number, group in enumerate(groups)
        ]
        _check_optimizers(optimizers, default)
        super().__init__(default, name=name)
        self.strict = bool(strict)
        self._global_norm = innermost(self.inner_optimizer).global_clipnorm
        innermost(self.inner_optimizer).global_clipnorm = None  # from here on it is ours
        with compat.untracked():
            self._groups = groups
            self.group_optimizers = [one for one in optimizers if one is not None]

    @classmethod
    def around(cls, optimizer: Any, **arguments: Any) -> Any:
        """For `inject(model, ParamGroups, groups=[…])`."""
        return cls(default=optimizer, **arguments)

    def summary(self, print_fn: Callable[[str], Any] = print) -> None:
        """Prints what each group does, and which variable went where.

        Args:
            print_fn: Called with the text.

        Raises:
            ValueError: It is not built: nobody knows the variables yet.
        """
        if not self.built:
            raise ValueError(
                f"The optimizer {self.name!r} is not built, so no variable went anywhere yet. Call "
                "`optimizer.build(model.trainable_variables)` first."
            )
        print_fn(table([*self._groups, None], self._all_optimizers(), self._members))

    @property
    def passes_rows(self) -> bool:
        """One norm over all groups must see all gradients whole."""
        return self._global_norm is None

    def build_inner(self, variables: Sequence[Any]) -> None:
        """Gives each group its variables."""
        places = self._places(variables)
        members: list[list[Any]] = [[] for _ in self._all_optimizers()]
        for variable, place in zip(variables, places, strict=True):
            members[place].append(variable)
        with compat.untracked():  # the weights are the model's
            self._place = {id(v): place for v, place in zip(variables, places, strict=True)}
            self._members = members
        for optimizer, own in self._used():
            if not optimizer.built:
                optimizer.build(own)

    def build_slots(self, variables: Sequence[Any]) -> None:
        """Which variable went where, so that a checkpoint of other groups is noticed."""
        places = [self._place[id(variable)] for variable in variables]
        self._saved_places = self.add_variable(
            (len(places),), _Values(places), dtype="int32", name="groups"
        )

    def update(self, gradients: Sequence[Tensor], variables: Sequence[Any]) -> None:
        """Lets the optimizer of each group step on what belongs to it."""
        gradients = self._clipped(gradients, variables)
        for place, optimizer in enumerate(self._all_optimizers()):
            pairs = [
                (gradient, variable)
                for gradient, variable in zip(gradients, variables, strict=True)
                if self._place[id(variable)] == place
            ]
            if optimizer is not None and self._members[place]:
                optimizer.apply([g for g, _ in pairs], [v for _, v in pairs])

    @property
    def variables(self) -> list[Any]:
        """Our own variables, those of the default, then those of the groups."""
        return [*super().variables, *(v for one in self.group_optimizers for v in one.variables)]

    @property
    def iterations(self) -> Any:
        """The number of updates of the group that has taken most."""
        counts = [optimizer.iterations for optimizer, _ in self._used()] if self.built else []
        if len(counts) < 2:
            return counts[0] if counts else self.inner_optimizer.iterations
        return functools.reduce(ops.maximum, counts)

    @property
    def learning_rate(self) -> Any:
        """The learning rate of the default, shared by groups without an optimizer of their own."""
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self.inner_optimizer.learning_rate = value
        for group, optimizer in zip(self._groups, self._all_optimizers()[:-1], strict=True):
            if optimizer is not None and group.optimizer is None:
                follow(optimizer, self.inner_optimizer)

    def finalize_variable_values(self, var_list: Sequence[Any]) -> None:
        """What the optimizer of each group does at the end of `fit`, with its variables."""
        for optimizer, members in self._used():
            own = {id(variable) for variable in members}
            optimizer.finalize_variable_values([v for v in var_list if id(v) in own])

    def load_own_variables(self, store: Any) -> None:
        """Loads our own variables, if the groups are those of the checkpoint."""
        if not self.built:
            super().load_own_variables(store)
            return
        places = [self._place[id(variable)] for variable in self._book.variables]
        own = saved_variables(store)
        saved = [int(place) for place in own[1]] if len(own) == 2 else places
        if saved != places:
            raise ValueError(
                f"The checkpoint was written with other groups: variable by variable the optimizer "
                f"{self.name!r} has the groups {places}, the checkpoint {saved}. Build the groups "
                "as they were, or load the weights only."
            )
        super().load_own_variables(store)

    def get_config(self) -> dict[str, Any]:
        """The arguments; layers and variables become regular expressions."""
        config = super().get_config()
        default = config.pop("inner_optimizer")
        if self._global_norm is not None:
            default["config"]["global_clipnorm"] = self._global_norm
        variables = self._book.variables if self.built else ()
        groups = [group.get_config(variables) for group in self._groups]
        return {**config, "groups": groups, "default": default, "strict": self.strict}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """Makes the groups, the default and their optimizers."""
        default = keras.saving.deserialize_keras_object(config["default"], custom_objects)
        groups = [Group.from_config(group, custom_objects) for group in config["groups"]]
        return cls(**{**config, "groups": groups, "default": default})

    def _all_optimizers(self) -> list[Any]:
        """The optimizer of each group, None where it is frozen, and last the default."""
        optimizers = iter(self.group_optimizers)
        own = [None if group.frozen else next(optimizers) for group in self._groups]
        return [*own, self.inner_optimizer]

    def _used(self) -> list[tuple[Any, list[Any]]]:
        """The optimizers that have variables, with these."""
        pairs = zip(self._all_optimizers(), self._members, strict=True)
        return [(optimizer, members) for optimizer, members in pairs if optimizer and members]

    def _places(self, variables: Sequence[Any]) -> list[int]:
        """The number of the group of each variable; the default is the last."""
        rules = [(group.selector, number) for number, group in enumerate(self._groups)]
        rest = len(rules)
        if self.strict:
            found = selectors.select_each(rules, variables)
            return [rest if place is None else place for place in found]
        places = {id(variable): rest for variable in variables}
        for selector, number in reversed(rules):
            chosen = selectors.select(selector, variables, allow_nothing=True)
            places |= {id(variable): number for variable in chosen}
        return [places[id(variable)] for variable in variables]

    def _clipped(self, gradients: Sequence[Tensor], variables: Sequence[Any]) -> list[Tensor]:
        if self._global_norm is None:
            return list(gradients)
        trained = [self._all_optimizers()[self._place[id(v)]] is not None for v in variables]
        replicas = (
            replica_count()
        )  # each hands on its share of the sum; the norm is that of the sum
        norm = self._global_norm / replicas
        kept = [g for g, used in zip(gradients, trained, strict=True) if used]
        clipped = iter(compat.clipped_by_global_norm(kept, norm) if kept else [])
        return [next(clipped) if used else g for g, used in zip(gradients, trained, strict=True)]


class _Values(keras.initializers.Initializer):
    """Starts a variable at given whole numbers."""

    def __init__(self, values: list[int]) -> None:
        self.values = values

    def __call__(self, shape: Any, dtype: Any = None, **kwargs: Any) -> Tensor:
        return ops.convert_to_tensor(self.values, dtype)


def _checked_groups(groups: Any) -> list[Group]:
    if not isinstance(groups, list | tuple) or not all(isinstance(one, Group) for one in groups):
        raise TypeError(
            f"`groups` must be a list of Group, received {groups!r}. "
            "Write ParamGroups([Group('head', lr_multiplier=10.0)], default='adam')."
        )
    return list(groups)


def _check_default(default: Any) -> None:
    inner = innermost(default)
    parts = [default, *attach.wrappers_in(default)]
    if hasattr(inner, "optimizers") or any(isinstance(part, ParamGroups) for part in parts):
        raise ValueError(
            f"The default of ParamGroups must be one optimizer, received {default.name!r}, which "
            "holds several. Write all groups into one ParamGroups."
        )
    if inner.global_clipnorm and (inner is not default or inner.gradient_accumulation_steps):
        raise ValueError(
            f"`global_clipnorm={inner.global_clipnorm}` of the default cannot be global over all "
            "groups, since it acts on what a wrapper or `gradient_accumulation_steps` gathers in "
            "each group alone. Put the wrapper around: Accumulate(ParamGroups(groups, default), n)."
        )
    _check_new(default)


def _check_optimizers(optimizers: Sequence[Any], default: Any) -> None:
    seen = {id(innermost(default))}
    for optimizer in [one for one in optimizers if one is not None]:
        inner = innermost(optimizer)
        _check_new(optimizer)
        if id(inner) in seen:
            raise ValueError(
                f"The optimizer {inner.name!r} is given twice, and would count every step twice. "
                "Make one for each group, or one group with a list of selectors."
            )
        _check_whole(inner)
        seen.add(id(inner))


def _check_new(optimizer: Any) -> None:
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        raise ValueError(
            "LossScaleOptimizer cannot stand inside of ParamGroups, since there is one loss. "
            "Write LossScaleOptimizer(ParamGroups(…))."
        )
    if optimizer.built:
        raise ValueError(
            f"The optimizer {optimizer.name!r} has been built for other variables. "
            "Make a new one for ParamGroups."
        )


def _check_whole(optimizer: Any) -> None:
    """What is about all variables cannot be set for one group."""
    for name in ("global_clipnorm", "loss_scale_factor"):
        value = getattr(optimizer, name, None)
        if value is not None:
            raise ValueError(
                f"The optimizer {optimizer.name!r} of a group has {name}={value}, which is about "
                "all variables. Set it on the default; for one group there is `clipnorm`."
            )
