"""How a technique reaches its model: `compile` is enough, and a plain model is never touched.

Keras hands an optimizer gradients and nothing else. A wrapper may need more: how much a batch
weighs, the end of an epoch before validation, the rows of an embedding. So after `compile` each
model is looked at, and if kooler has anything to do for it, *that instance* gets

- its own `train_step`, if a step technique is registered or a wrapper asks for batches
  (`needs_batch`), rows (`by_rows`) or logs (`reports`): the step of `step.py` instead of Keras's.
  Otherwise Keras's own step runs, untouched. A model's own, and on PyTorch also Keras's if it is
  only to be watched, runs with somebody listening.
- its own `fit`, which adds one callback in front of the others and then runs Keras's `fit`: the
  callback tells wrappers the end of an epoch (before validation, and before anybody saves) and of
  `fit`; and its own `evaluate` and `predict`, after which, however they end, the weights are back
  that a callback exchanged for others (`lending.py`).

Compiling with a plain optimizer takes both away again, `remove` of the last technique too.

How does a model that is compiled get here? `compile` gives the optimizer no reference to its
model, at no point, on no backend; so `Trainer.compile` is observed (`compat.observe_compile`) once
this file is imported, as every wrapper and technique does. Its behaviour does not change: it runs,
and then this file looks for wrappers in `model.optimizer`. That covers Sequential, Functional and
subclassed models, wrappers inside `LossScaleOptimizer`, and `load_model`, which compiles.
Rejected: looking for the caller's frame or asking the garbage collector who holds the optimizer
(works by accident, and on TensorFlow too late, inside the traced step); a descriptor for
`Model.optimizer` (slows every read, for all models); our own `Model` class (would exclude every
model that exists).
"""

import dataclasses
import functools
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar

import keras

from kooler.core import compat, step
from kooler.core.batch import Batch, Data, applying, recording
from kooler.core.ends import fit_telling, returning_method
from kooler.core.replicas import replica_count
from kooler.core.rows import look_up
from kooler.core.technique import Plan, Technique
from kooler.core.types import Tensor

ATTRIBUTE = "_kooler_attachment"


class Attachable:
    """What an optimizer promises that wants to know its model; `OptimizerWrapper` fills it in."""

    needs_batch: ClassVar[bool] = False
    """Whether `batch.current()` must be known in `apply`."""

    by_rows: ClassVar[bool] = False
    """Whether the gradients of some embeddings are to be taken by rows: see `row_embeddings`."""

    needs_rows: ClassVar[bool] = True
    """With `by_rows`: whether it is an error where they cannot be had; else see `without_rows`."""

    reports: ClassVar[bool] = False
    """Whether `report()` gives entries for the logs of each step."""

    inner_optimizer: Any

    @property
    def sees_state(self) -> bool:
        """Whether it reads BatchNorm's statistics in `apply`; on JAX, Keras's step hides them."""
        return False

    def bind(self, model: Any) -> None:
        """Hears which model it belongs to, after every `compile` and before it is built."""

    @property
    def passes_rows(self) -> bool:
        """Whether a wrapper inside may take gradients by rows, which this one then never sees."""
        return True

    def row_embeddings(self, model: Any) -> Sequence[Any]:
        """The embedding layers whose gradients it takes by rows; asked in each (traced) step."""
        return ()

    def without_rows(self, why: str) -> None:
        """Hears, with `needs_rows = False`, that gradients will come whole, and why."""

    def look_up(self, table: Any, ids: Tensor) -> Tensor:
        """What rows of such a table are worth to the loss, in each (traced) step; changes nothing.

        Args:
            table: Variable [rows, dimension].
            ids: int32 [n], with repetitions.

        Returns:
            [n, dimension]
        """
        return look_up(table, ids)

    def alternatives(self) -> dict[str, list[tuple[Any, Any]]]:
        """Other values for the variables of the model, by name: pairs of a variable and a slot.

        `kooler.callbacks.averaged_weights(model, name)` puts them in place.
        """
        return {}

    def report(self) -> dict[str, Tensor]:
        """Entries for the logs, inside of the compiled step, after the update."""
        return {}

    def settle(self, reason: str) -> None:
        """Decides about what waits: at the end of an "epoch", of "fit", or on "flush"."""


class Attachment:
    """What kooler does for one model; made by `attach`.

    In a hand-written loop it says how much a batch weighs:

        attachment = kooler.attach(model)
        with attachment.weigh(number_of_tokens):
            model.optimizer.apply(gradients, model.trainable_variables)
    """

    def __init__(self, model: Any) -> None:
        self._model = weakref.ref(model)
        self.techniques: list[Technique] = []
        self._by_rows: list[Attachable] = []

    @property
    def wrappers(self) -> list[Attachable]:
        """The wrappers in the model's optimizer, outermost first."""
        return list(wrappers_in(getattr(self._model(), "optimizer", None)))

    def weigh(self, weight: Tensor) -> AbstractContextManager[None]:
        """Says by how many terms the loss of the gradients that are applied meanwhile was divided.

        Args:
            weight: Scalar, for instance the number of examples, or of unmasked tokens; of all
                replicas together where `tf.distribute` has several.
        """
        return applying(Batch(examples=weight, reported=weight))

    def tables_by_rows(self, optimizer: Any) -> list[Any]:
        """The tables whose gradients the wrappers in an optimizer take by rows."""
        within = [one for one in self._by_rows if any(one is w for w in wrappers_in(optimizer))]
        return [layer.embeddings for layer, _ in _embeddings_of(self._model(), within)]

    def refresh(self) -> None:
        """Gives the model what its optimizer and techniques need now, and takes the rest away."""
        model: Any = self._model()
        wrappers = self.wrappers
        self._by_rows = self._taking_rows(model)
        for wrapper in wrappers:
            wrapper.bind(model)
        needed = bool(wrappers or self.techniques)
        _set(model, "fit", fit_telling(model, settle) if needed else None)
        for name in ("evaluate", "predict"):
            _set(model, name, returning_method(model, name) if needed else None)
        if _set(model, "train_step", self._train_step_for(model, wrappers)):
            model.train_function = None
        if not wrappers and not self.techniques:
            model.__dict__.pop(ATTRIBUTE, None)

    def _train_step_for(
        self, model: Any, wrappers: Sequence[Attachable]
    ) -> Callable[..., Any] | None:
        by_rows = self._by_rows
        asked = any(one.needs_batch or one.reports or one.sees_state for one in wrappers)
        if not (self.techniques or by_rows or asked):
            return None
        if compat.has_own(model, "train_step"):
            self._check_own_step(model)
            return _observing(model, wrappers)
        if not self.techniques and not by_rows and keras.backend.backend() == "torch":
            return _observing(model, wrappers)  # every call into PyTorch takes time in each step
        plan = Plan(
            tuple(self.techniques),
            lambda: _embeddings_of(model, by_rows),
            lambda: _reports_of(wrappers),
        )
        train = step.train_statelessly if keras.backend.backend() == "jax" else step.train
        return functools.partial(train, model, plan)

    def _taking_rows(self, model: Any) -> list[Attachable]:
        """The wrappers that get gradients by rows; those that need them and cannot: an error."""
        obstacles = dict(_obstacles(getattr(model, "optimizer", None)))
        taking = [one for one in self.wrappers if one.by_rows]
        for one in taking:
            outer = obstacles.get(id(one))
            if outer is not None and one.needs_rows:
                raise ValueError(_never_seen(one, outer))
            if outer is not None:
                one.without_rows(f"{type(outer).__name__} around it works with whole gradients")
            elif compat.has_own(model, "train_step") and not one.needs_rows:
                one.without_rows(f"{type(model).__name__} defines its own `train_step`")
        own = compat.has_own(model, "train_step")
        return [one for one in taking if id(one) not in obstacles and (one.needs_rows or not own)]

    def _check_own_step(self, model: Any) -> None:
        if not self.techniques and not self._by_rows:
            return
        names = [type(one).__name__ for one in self.techniques] or ["a gradient by rows"]
        raise ValueError(
            f"The model class {type(model).__name__} defines its own `train_step`, which "
            f"{', '.join(names)} would have to replace. Put what it does into `compute_loss` "
            "or `call`, or train this model without the technique."
        )


def attach(model: Any) -> Attachment:
    """Connects a model with the kooler wrappers in its optimizer.

    `compile` does this by itself. It is needed once where `model.optimizer` was set in another
    way, or for a loop of your own, in which `attachment.weigh` says how much each batch weighs.

    Args:
        model: A Keras model with an optimizer.

    Returns:
        The attachment of this model; the same one every time.

    Raises:
        TypeError: `model` is not a Keras model.
        ValueError: It has no optimizer.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"`attach` needs a Keras model, received {model!r} of type {type(model).__name__}."
        )
    if getattr(model, "optimizer", None) is None:
        raise ValueError(
            f"The model {model.name!r} has no optimizer to connect with. "
            "Call `model.compile(optimizer, …)` first."
        )
    attachment = attachment_of(model)
    attachment.refresh()
    return attachment


def flush(model: Any) -> None:
    """Applies what waits in the optimizer of a model: a partial accumulation window, lazy catch-up.

    `fit` does this by itself at the end of each epoch, as the wrappers' settings say.

    Args:
        model: A compiled model; one without kooler wrappers, or not yet trained, is left alone.

    Raises:
        TypeError: `model` is not a Keras model.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"`flush` needs a Keras model, received {model!r} of type {type(model).__name__}."
        )
    settle(model, "flush")


def settle(model: Any, reason: str) -> None:
    """Tells the wrappers of a model, outside of a step, that it is time to decide what waits."""
    optimizer: Any = getattr(model, "optimizer", None)
    outermost = list(outermost_wrappers(optimizer))
    if not outermost or not optimizer.built:
        return

    def tell() -> None:
        for wrapper in outermost:
            wrapper.settle(reason)

    if keras.backend.backend() == "jax":
        model.jax_state_sync()
    if keras.backend.backend() == "tensorflow":
        model.distribute_strategy.run(tell)
    else:
        tell()
    compat.separate_buffers([*model.variables, *optimizer.variables])


def attachment_of(model: Any) -> Attachment:
    """The attachment of a model, made if need be, without any effect on the model."""
    found: Attachment | None = model.__dict__.get(ATTRIBUTE)
    if found is None:
        found = model.__dict__[ATTRIBUTE] = Attachment(model)
    return found


def register(model: Any, technique: Technique) -> None:
    """Adds a step technique to a compiled model.

    Raises:
        ValueError: The model is not compiled, defines its own `train_step`, or has it already.
    """
    if not getattr(model, "compiled", False):
        name = getattr(model, "name", model)
        raise ValueError(
            f"{type(technique).__name__} needs a compiled model, and {name!r} is not. "
            "Call `model.compile(…)` first, then inject."
        )
    attachment = attachment_of(model)
    if any(one is technique for one in attachment.techniques):
        raise ValueError(
            f"This {type(technique).__name__} is already part of the step of {model.name!r}. "
            "Make a second one to apply it twice, or `remove` it first."
        )
    attachment.techniques.append(technique)
    try:
        attachment.refresh()
    except ValueError:
        attachment.techniques.remove(technique)
        attachment.refresh()
        raise
    model.train_function = None


def unregister(model: Any, technique: Technique) -> None:
    """Takes a step technique away again.

    Raises:
        ValueError: The model does not have it.
    """
    attachment = model.__dict__.get(ATTRIBUTE)
    if attachment is None or technique not in attachment.techniques:
        raise ValueError(
            f"This {type(technique).__name__} is not part of the step of {model.name!r}, so it "
            "cannot be removed. Remove the object that was injected."
        )
    attachment.techniques.remove(technique)
    attachment.refresh()
    model.train_function = None


def outermost_wrappers(optimizer: Any) -> Iterator[Attachable]:
    """The wrappers that stand in no other wrapper, through whatever of Keras's lies around them."""
    if isinstance(optimizer, Attachable):
        yield optimizer
    elif optimizer is not None:
        for inner in inner_optimizers(optimizer):
            yield from outermost_wrappers(inner)


def wrappers_in(optimizer: Any) -> Iterator[Attachable]:
    """All wrappers in an optimizer, outermost first."""
    for wrapper in outermost_wrappers(optimizer):
        yield wrapper
        for inner in inner_optimizers(wrapper):
            yield from wrappers_in(inner)


def inner_optimizers(optimizer: Any) -> list[Any]:
    """The optimizers directly inside of another: of a wrapper, or of Keras's own containers."""
    inner = getattr(optimizer, "inner_optimizer", None)
    groups: Any = getattr(optimizer, "group_optimizers", None)
    groups = groups or getattr(optimizer, "optimizers", None) or ()
    return [one for one in (inner, *groups) if isinstance(one, keras.optimizers.Optimizer)]


def _compiled(model: Any) -> None:
    if any(outermost_wrappers(getattr(model, "optimizer", None))) or ATTRIBUTE in model.__dict__:
        attachment_of(model).refresh()


def _set(model: Any, name: str, function: Callable[..., Any] | None) -> bool:
    """Sets or deletes an attribute of the instance, past Keras's tracking; says whether it did."""
    if function is not None:
        model.__dict__[name] = function
        return True
    return model.__dict__.pop(name, None) is not None


def _observing(model: Any, wrappers: Sequence[Attachable]) -> Callable[..., Any]:
    """The `train_step` of the class, with the facts of its batch collected while it runs."""
    own = type(model).train_step

    def train_step(*arguments: Any) -> Any:
        data = Data(*keras.utils.unpack_x_y_sample_weight(arguments[-1]))
        step.complete(model, data)
        with recording(model) as record, applying(lambda: _seen_by(model, record.batch(data))):
            result = own(model, *arguments)
        if keras.backend.backend() != "jax":
            return {**result, **_reports_of(wrappers)}
        logs, state = result
        optimizer_variables = zip(model.optimizer.variables, state[2], strict=True)
        with keras.StatelessScope(list(optimizer_variables)):
            return {**logs, **_reports_of(wrappers)}, state

    return train_step


def _embeddings_of(model: Any, wrappers: Sequence[Attachable]) -> list[tuple[Any, Any]]:
    found = [(layer, one) for one in wrappers for layer in one.row_embeddings(model)]
    claimed: dict[int, Any] = {}
    for layer, one in found:
        if claimed.setdefault(id(layer.embeddings), one) is not one:
            raise ValueError(
                f"{type(claimed[id(layer.embeddings)]).__name__} and {type(one).__name__} both "
                f"take the gradient of {layer.name!r} by rows. Name it in one of them only."
            )
    return [(layer, one.look_up) for layer, one in found]


def _obstacles(optimizer: Any, outside: Any = None) -> Iterator[tuple[int, Any]]:
    """Pairs of a wrapper and one around it that changes or keeps gradients: it must see them all.

    The first is named by its identity.
    """
    if isinstance(optimizer, Attachable):
        if outside is not None:
            yield id(optimizer), outside
        outside = outside if optimizer.passes_rows else optimizer
    for inner in inner_optimizers(optimizer):
        yield from _obstacles(inner, outside)


def _never_seen(wrapper: Attachable, outer: Any) -> str:
    name, outside = type(wrapper).__name__, type(outer).__name__
    return (
        f"{name} takes gradients by rows, which {outside} around it would never see. Put {name} "
        f"outside: {name}({outside}(…))."
    )


def _seen_by(model: Any, batch: Batch) -> Batch:
    if replica_count() == 1:
        return batch
    return _Part(**vars(batch), model=type(model).__name__)


@dataclasses.dataclass(frozen=True)
class _Part(Batch):
    """A replica's part of a batch, in a step that is not ours: its share cannot be set right."""

    model: str = ""

    @property
    def weight(self) -> Tensor:
        raise ValueError(
            f"The model class {self.model} defines its own `train_step`, so with several replicas "
            "the gradients of unequal parts of a batch cannot be weighed. Put what it does into "
            "`compute_loss` or `call`, or train it on one replica."
        )


def _reports_of(wrappers: Sequence[Attachable]) -> dict[str, Tensor]:
    return {name: value for one in wrappers for name, value in one.report().items()}


# In `model.compile(Wrapper(…))` Python looks `compile` up before it makes the wrapper: this cannot
# wait for the first wrapper.
compat.observe_compile(_compiled)
