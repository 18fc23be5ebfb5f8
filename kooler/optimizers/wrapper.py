"""The update seam: gradients go in, new weights come out, and a wrapper stands in between.

On JAX, PyTorch and TensorFlow alike, training ends in `optimizer.apply(gradients, variables)`.  An
`OptimizerWrapper` stands exactly there, around another optimizer or wrapper.  A technique overrides

    build_slots(variables)                    what it remembers, one tensor per variable
    before_update(gradients, variables)       → the gradients that go on
    update(gradients, variables)              whether, and on what, the inner optimizer steps
    after_update(variables, moved)            what happens to the new weights
    release(reason, variables)                what happens to what waits, at the end of an epoch

and nothing else.  Wrappers nest and act on what reaches them, outermost first:
`Clip(Accumulate(Adam))` clips every micro-gradient, `Accumulate(Clip(Adam))` their average.

Two counters: `iterations` counts the updates really taken, by the innermost optimizer, and is what
schedules, averages and telemetry go by; `calls` counts how often gradients arrived here.

What a technique must respect, and may rely on (each point has a test):

- Gradients arrive unscaled, never None, and without those that *are* the new value
  (`overwrite_with_gradient`, of float8), which are written at once.
- Write with `self.assign(variable, value)`, in a way that does not depend on Python's values: use
  `ops.where`, or `update_if` for something expensive.  On PyTorch `variable.value` is a view that
  changes: `ops.copy` what must stay.
- Slots that start as a copy of the weights start at the weights of the first update (or of the
  checkpoint), whatever was loaded before.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from kooler.core import attach, compat, conditional
from kooler.core.batch import Batch, Rows, current
from kooler.core.conditional import replica_count, run_if, sum_over_replicas
from kooler.core.differentiate import dense
from kooler.core.types import Tensor
from kooler.optimizers.incoming import given, without_overwrites


class OptimizerWrapper(keras.optimizers.Optimizer, attach.Attachable):
    """Stands around an optimizer; by itself it changes nothing, bit for bit.

    Args:
        inner_optimizer: A Keras optimizer, a wrapper, or the name of a Keras optimizer.
        name: A name, as for any optimizer.

    Example:
        >>> class Halve(OptimizerWrapper):
        ...     def before_update(self, gradients, variables):
        ...         return [gradient / 2 for gradient in gradients]
        >>> model.compile(Halve(keras.optimizers.SGD(0.1)), loss="mse")
    """

    needs_batch: ClassVar[bool] = False
    """Whether the technique asks for `self.batch`: sizes, weights, masks, rows."""

    missing_are_zeros: ClassVar[bool] = False
    """Whether a missing gradient is taken to be zero, as it is on JAX, or left out."""

    def __init__(self, inner_optimizer: Any, *, name: str | None = None) -> None:
        inner = as_optimizer(inner_optimizer, type(self).__name__)
        super().__init__(learning_rate=0.0, name=name)
        compat.forget_learning_rate(self)
        self.inner_optimizer = inner
        self.loss_scale_factor = inner.loss_scale_factor
        inner.loss_scale_factor = None  # from here on it is ours, so that we see true gradients

    @classmethod
    def around(cls, optimizer: Any, **arguments: Any) -> Any:
        """Makes the wrapper around an optimizer, from arguments by name: what `inject` calls."""
        return cls(optimizer, **arguments)

    # What a technique overrides.

    def build_inner(self, variables: Sequence[Any]) -> None:
        """Builds the optimizer inside, before our own slots."""
        if not self.inner_optimizer.built:
            self.inner_optimizer.build(variables)

    def build_slots(self, variables: Sequence[Any]) -> None:
        """Creates what the technique remembers, with `add_slots` and `add_variable`."""

    def before_update(self, gradients: list[Tensor], variables: Sequence[Any]) -> Sequence[Tensor]:
        """Returns the gradients that go on; one per variable."""
        return gradients

    def update(self, gradients: Sequence[Tensor], variables: Sequence[Any]) -> None:
        """Lets the inner optimizer take its step."""
        self.inner_optimizer.apply(gradients, variables)

    def after_update(self, variables: Sequence[Any], moved: Tensor) -> None:
        """Acts on the new weights.

        Args:
            variables: All that were given gradients, whole or by rows.
            moved: Boolean scalar: whether an update was taken, or the gradients only gathered.
        """

    def release(self, reason: str, variables: Sequence[Any]) -> None:
        """Applies, drops or keeps what waits.

        Args:
            reason: "epoch", "fit" or "flush".
            variables: All variables of the model that are trained.
        """

    # What a technique may use.

    @property
    def iterations(self) -> Any:
        """The number of updates really taken, however deep the nesting."""
        return self.inner_optimizer.iterations

    @property
    def calls(self) -> Any:
        """The number of times gradients arrived, this one not yet counted."""
        return compat.call_counter(self)

    @property
    def batch(self) -> Batch | None:
        """The facts of the batch whose gradients are being applied; None if nobody knows them."""
        return current()

    @property
    def batch_weight(self) -> Tensor:
        """Float scalar: by how many terms the loss of the batch was divided; 1 if unknown."""
        batch = self.batch
        return ops.ones((), "float32") if batch is None else batch.weight

    @property
    def touched_rows(self) -> list[tuple[Any, Rows]]:
        """Tables of embeddings and the rows that this batch looked up: see `row_embeddings`.

        `before_update` and `update` are not given these tables, `after_update` is.
        """
        rows = self.batch.rows if self.batch is not None else {}
        return [(v, rows[id(v)]) for v in self._book.variables if id(v) in rows]

    @property
    def passes_rows(self) -> bool:
        """Whether a wrapper inside may take gradients by rows.

        By itself yes if this one neither changes gradients nor decides about updates; one that does
        and looks after `touched_rows` as well sets the class attribute to True.
        """
        return not self._computes_with_gradients()

    def add_slots(
        self,
        variables: Sequence[Any],
        name: str,
        *,
        initializer: Any = "zeros",
        dtype: str | None = None,
    ) -> list[Any]:
        """Makes one variable per model variable, placed and sharded like it.

        Args:
            variables: The model's variables.
            name: What the slot is, for instance "average".
            initializer: A Keras initializer, or "copy": the value of the model's variable.
            dtype: The type of the slots; that of each variable by default.

        Returns:
            The slots, in the order of `variables`.
        """
        slots = [self._slot_for(variable, name, initializer, dtype) for variable in variables]
        if initializer == "copy":
            self._book.copies.extend(zip(slots, variables, strict=True))
        return slots

    def slots_of(self, slots: Sequence[Any], variables: Sequence[Any]) -> list[Any]:
        """Those slots that belong to the given variables."""
        return [slots[self._book.index[id(variable)]] for variable in variables]

    def update_if(
        self, predicate: Tensor, update: Callable[[], None], variables: Sequence[Any]
    ) -> None:
        """Runs `update()` only where `predicate` holds, also inside of a compiled step.

        Args:
            predicate: Boolean scalar.
            update: Assigns to the given variables, and to those of this optimizer and the inner
                ones.
            variables: The variables of the model that it may change.
        """
        run_if(predicate, update, [*variables, *self.variables])

    def assign(self, variable: Any, value: Tensor) -> None:
        """Assigns to a weight or a slot, on every replica of the model."""
        conditional.assign(variable, value)

    # What Keras calls.

    def build(self, variables: Sequence[Any]) -> None:
        """Creates the variables of the inner optimizer and the slots."""
        if self.built:
            return
        self._check_nesting()
        variables = list(variables)
        with _outside_of_traces():
            self.build_inner(variables)  # Keras's Nadam relies on tracking
        with compat.untracked():
            super().build(variables)
            self._book = _Book(variables)
            self.build_slots(variables)

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        """Takes gradients; see `keras.optimizers.Optimizer.apply`."""
        if len(grads) == 0:
            if not self.built or not self.touched_rows:
                return
            trainable_variables = []
        variables = self._known(grads, trainable_variables)
        gradients, variables = given(grads, variables, self.batch, self.missing_are_zeros)
        gradients, variables = without_overwrites(gradients, variables)
        gradients = self._true(gradients)
        self._start_copies()
        with self._update_followed(variables):
            self.update(list(self.before_update(gradients, variables)), variables)
        self.assign(self.calls, self.calls + 1)

    def settle(self, reason: str) -> None:
        """Decides about what waits here, then in the wrappers inside."""
        if not self.built:
            return
        with self._update_followed(self._book.variables):
            self.release(reason, self._book.variables)
            for inner in attach.inner_optimizers(self):
                for wrapper in attach.outermost_wrappers(inner):
                    wrapper.settle(reason)

    @property
    def variables(self) -> list[Any]:
        """Our own variables, then the inner ones: JAX hands exactly these through the step."""
        return [*super().variables, *self.inner_optimizer.variables]

    @property
    def learning_rate(self) -> Any:
        """The learning rate of the innermost optimizer."""
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self.inner_optimizer.learning_rate = value

    @property
    def loss_scale_factor(self) -> float | None:
        """What the loss is multiplied by; taken over from the inner optimizer."""
        factor: float | None = self.__dict__.get("loss scale")
        return factor

    @loss_scale_factor.setter
    def loss_scale_factor(self, value: float | None) -> None:
        self.__dict__["loss scale"] = value

    def scale_loss(self, loss: Tensor) -> Tensor:
        """Multiplies the loss by the inner optimizer's scale, and by the factor taken from it."""
        loss = self.inner_optimizer.scale_loss(loss)
        return loss if self.loss_scale_factor is None else loss * self.loss_scale_factor

    def finalize_variable_values(self, var_list: Sequence[Any]) -> None:
        """What the inner optimizer does at the end of `fit`."""
        self.inner_optimizer.finalize_variable_values(var_list)

    def save_own_variables(self, store: Any) -> None:
        """Saves our own variables only; Keras finds the inner optimizer by itself."""
        for index, variable in enumerate(super().variables):
            store[str(index)] = ops.convert_to_numpy(variable)
        if len(super().variables) == 2:  # as many as a Keras optimizer has before it is built,
            store["wrapper"] = np.zeros(())  # which would take ours for its own

    def load_own_variables(self, store: Any) -> None:
        """Loads our own variables; if there are none yet, training begins with a new state."""
        if not self.built:
            warnings.warn(_left_out(self.name), stacklevel=2)
            return
        variables, saved = super().variables, saved_variables(store)
        if len(saved) != len(variables):
            raise ValueError(
                f"The checkpoint has {len(saved)} variables for the optimizer "
                f"{self.name!r} ({type(self).__name__}), which has {len(variables)}: it was "
                "written by another nesting of wrappers, or for other weights. Build the optimizer "
                "as it was when the checkpoint was written, or load the weights only: call "
                "`load_weights` before `compile`."
            )
        for variable, value in zip(variables, saved, strict=True):
            variable.assign(value)

    def get_config(self) -> dict[str, Any]:
        """The arguments; a technique adds its own."""
        inner = keras.saving.serialize_keras_object(self.inner_optimizer)
        innermost = inner["config"]
        while "inner_optimizer" in innermost:
            innermost = innermost["inner_optimizer"]["config"]
        if self.loss_scale_factor is not None:
            innermost["loss_scale_factor"] = self.loss_scale_factor
        return {"inner_optimizer": inner, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """Makes the wrapper, and first the optimizer inside of it."""
        inner = keras.saving.deserialize_keras_object(config["inner_optimizer"], custom_objects)
        return cls(**{**config, "inner_optimizer": inner})

    # How it is done.

    def _known(self, grads: Sequence[Any], given: Sequence[Any] | None) -> list[Any]:
        """The variables that the gradients belong to; builds the optimizer on the first call."""
        if given is not None:
            with keras.name_scope(self.name):
                self.build(given)
        elif not self.built:
            raise ValueError(
                f"The optimizer {self.name!r} was given gradients without variables before it was "
                "built. Call `optimizer.build(model.trainable_variables)` first."
            )
        variables = self._book.variables if given is None else list(given)
        if len(grads) != len(variables):
            raise ValueError(
                f"The optimizer {self.name!r} was given {len(grads)} gradients for "
                f"{len(variables)} variables. Give one gradient (or None) for each."
            )
        unknown = [v.path for v in variables if id(v) not in self._book.index]
        if unknown:
            raise ValueError(
                f"The optimizer {self.name!r} was built for other variables than {unknown}. "
                "Compile the model again after changing what is trainable."
            )
        return variables

    @contextmanager
    def _update_followed(self, variables: Sequence[Any]) -> Iterator[None]:
        """Around what may update; then calls `after_update`, if the technique has one."""
        if type(self).after_update is OptimizerWrapper.after_update:
            yield
            return
        count = ops.copy(ops.convert_to_tensor(self.iterations))
        yield
        tables = [t for t, _ in self.touched_rows if all(t is not v for v in variables)]
        self.after_update([*variables, *tables], ops.greater(self.iterations, count))

    def _computes_with_gradients(self) -> bool:
        own, plain = type(self), OptimizerWrapper
        return own.before_update is not plain.before_update or own.update is not plain.update

    def _true(self, gradients: list[Tensor]) -> list[Tensor]:
        """Without the loss scale, the same on every replica, and no `IndexedSlices`.

        Keras sums the gradients of the replicas in the innermost optimizer.  Techniques must see
        that sum, so each wrapper takes it, and hands on its share to be summed once more.
        """
        scaled = self.loss_scale_factor is not None
        if scaled or replica_count() > 1 or self._computes_with_gradients():
            gradients = dense(gradients)
        if scaled:
            gradients = [gradient / self.loss_scale_factor for gradient in gradients]
        if replica_count() == 1:
            return gradients
        return [gradient / replica_count() for gradient in sum_over_replicas(gradients)]

    def _start_copies(self) -> None:
        """Slots that are copies start at the weights that the first gradients belong to."""
        copies = self._book.copies
        if not copies:
            return
        first = ops.equal(self.calls, 0)
        if keras.backend.backend() == "jax":  # fused with what follows; a condition would copy
            for slot, variable in copies:
                value = ops.cast(variable.value, slot.dtype)
                slot.assign(ops.where(first, value, slot.value))
            return

        def copy() -> None:
            for slot, variable in copies:
                self.assign(slot, ops.cast(variable.value, slot.dtype))

        run_if(first, copy, [slot for slot, _ in copies])

    def _slot_for(self, variable: Any, name: str, initializer: Any, dtype: str | None) -> Any:
        start = initializer
        if initializer == "copy":  # another optimizer's slot may have no value before it is used
            start = CopyOf(variable) if id(variable) in self._book.index else "zeros"
        if dtype in (None, variable.dtype):
            return self.add_variable_from_reference(variable, name=name, initializer=start)
        path = variable.path.replace("/", "_")
        layout = compat.layout_of(variable)
        return self.add_variable(variable.shape, start, dtype, layout=layout, name=f"{path}_{name}")

    def _check_nesting(self) -> None:
        if keras.backend.backend() != "jax":
            return
        if isinstance(self.inner_optimizer, keras.optimizers.LossScaleOptimizer):
            raise ValueError(
                f"On JAX, LossScaleOptimizer must be the outermost optimizer, but it is inside of "
                f"{type(self).__name__}. Write LossScaleOptimizer({type(self).__name__}(…))."
            )


class _Book:
    """What a built wrapper knows about variables."""

    def __init__(self, variables: list[Any]) -> None:
        self.variables = variables
        self.index = {id(variable): i for i, variable in enumerate(variables)}
        self.copies: list[tuple[Any, Any]] = []  # (slot, variable)


class CopyOf(keras.initializers.Initializer):
    """Starts a slot at the value of a variable, in a buffer of its own.

    TensorFlow builds optimizers inside of the traced step: the value is read outside of it.
    """

    def __init__(self, variable: Any) -> None:
        self.variable = variable

    def __call__(self, shape: Any, dtype: Any = None, **kwargs: Any) -> Tensor:
        """A copy of the value."""
        with _outside_of_traces():
            value = self.variable.value
            if keras.backend.backend() == "torch":
                value = value.detach()
            return ops.cast(ops.copy(value), dtype)


def as_optimizer(identifier: Any, wrapper: str) -> Any:
    """What is to be wrapped, for checks before a wrapper takes anything over from it.

    Raises:
        TypeError: It is neither an optimizer nor the name of one.
    """
    try:
        found = keras.optimizers.get(identifier)
    except (ValueError, TypeError):
        found = None
    if found is not None:
        return found
    raise TypeError(
        f"{wrapper} wraps a Keras optimizer, received {identifier!r} of type "
        f"{type(identifier).__name__}. Pass an optimizer, a wrapper, or the name of an optimizer."
    )


def saved_variables(store: Any) -> list[Any]:
    """What `OptimizerWrapper.save_own_variables` put into a checkpoint, in order."""
    names = filter(str.isdigit, store.keys())
    return [store[name] for name in sorted(names, key=int)]


def _left_out(name: str) -> str:
    return (
        f"The optimizer {name!r} has no state yet, so that of the checkpoint is left out: training "
        "begins with a new one. To go on from the checkpoint's, use `keras.models.load_model`, or "
        "call `model.optimizer.build(model.trainable_variables)` before `load_weights`."
    )


def _outside_of_traces() -> AbstractContextManager[Any]:
    """On TensorFlow, what is written while a step is first traced is lost otherwise."""
    if keras.backend.backend() != "tensorflow":
        return nullcontext()
    import tensorflow as tf

    scope: AbstractContextManager[Any] = tf.init_scope()
    return scope
