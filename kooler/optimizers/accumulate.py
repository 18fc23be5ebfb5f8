"""Gradient accumulation: one update from the gradients of several batches, as if they were one.

Batch i of a window has a mean loss over nᵢ terms (examples, tokens, sum of sample weights) and the
gradient gᵢ.  The gradient of all of them as one big batch is

    g = (n₁·g₁ + … + n_k·g_k) / (n₁ + … + n_k)

and is kept as a running mean, which for one batch is that batch's gradient bit for bit and cannot
overflow where a sum could:

    N ← N + nᵢ
    ḡ ← ḡ + nᵢ/N · (gᵢ − ḡ)

The inner optimizer is called with ḡ when the window is full, and only then: between two updates
nothing moves.  So clipping, weight decay, momentum and constraints act on the averaged gradient,
schedules count updates, and whatever the inner optimizer is, it cannot tell the window from one
batch.  Nobody needs to know the nᵢ of a window beforehand, so a window that the end of the epoch
cuts short is exact as well.

A loss that is reduced by a sum has no nᵢ; there ḡ is the plain sum of the gradients.

Where a wrapper inside takes the gradient of an embedding by rows, it is kept by rows, too
(`row_window.py`): a batch and a window cost what they touch of the table.

The idea for Keras: Su Jianlin 2019, https://spaces.ac.cn/archives/6794.
"""

import functools
import weakref
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import keras
from keras import ops

from kooler.core import attach, compat
from kooler.core.batch import Batch, applying
from kooler.core.replicas import read, replica_count, sum_over_replicas
from kooler.core.running_mean import take_in
from kooler.core.types import Tensor
from kooler.optimizers.incoming import trained
from kooler.optimizers.row_window import RowWindow
from kooler.optimizers.wrapper import OptimizerWrapper

POLICIES = ("apply", "carry", "drop")


@keras.saving.register_keras_serializable("kooler")
class Accumulate(OptimizerWrapper):
    """Lets the inner optimizer step once for several batches, with the gradient of all of them.

    How much a batch weighs is read where Keras divides its loss; in a loop of your own, say it with
    `kooler.attach(model).weigh(n)`, or all batches weigh the same.  A variable that gets no
    gradient from a batch counts with a gradient of zero, on each backend.

    Args:
        inner_optimizer: A Keras optimizer, a wrapper, or the name of a Keras optimizer.
        steps: Batches per update: a positive integer, or a function of the number of updates taken
            so far (`ops` only; a Keras schedule will do).
        on_partial: What happens at the end of each epoch to a window that is not full: "apply" it
            (before validation), "carry" it into the next epoch, or "drop" it.
        name: A name, as for any optimizer.

    Example:
        >>> model.compile(Accumulate(keras.optimizers.Adam(1e-3), steps=100), loss="mse")
        >>> model.fit(x, y, batch_size=1)
    """

    needs_batch: ClassVar[bool] = True
    passes_rows = True  # `RowWindow` looks after them

    def __init__(
        self,
        inner_optimizer: Any,
        steps: int | Callable[[Tensor], Tensor],
        *,
        on_partial: str = "apply",
        name: str | None = None,
    ) -> None:
        _check_steps(steps)
        if on_partial not in POLICIES:
            raise ValueError(
                f"`on_partial` must be one of {', '.join(POLICIES)}, "
                f"received on_partial={on_partial!r}."
            )
        super().__init__(inner_optimizer, name=name)
        self.steps = steps
        self.on_partial = on_partial
        with compat.untracked():
            self._model: Callable[[], Any] = lambda: None

    def bind(self, model: Any) -> None:
        """Hears whose embeddings may be taken by rows."""
        with compat.untracked():
            self._model = weakref.ref(model)

    def build_slots(self, variables: Sequence[Any]) -> None:
        """The mean gradient of the window so far, what it weighs, and of how many batches it is."""
        tables = self._tables_by_rows()
        self.trained = [v for v in trained(variables) if id(v) not in tables]
        self.tables = [v for v in variables if id(v) in tables]
        self.mean_gradients = [self._mean_slot(variable) for variable in self.trained]
        self.weight = self.add_variable((), dtype="float32", name="weight")
        self.waiting = self.add_variable((), dtype="int32", name="waiting")
        self.windows = [RowWindow(self, one, self._mean_slot(one)) for one in self.tables]

    def update(self, gradients: Sequence[Tensor], variables: Sequence[Any]) -> None:
        """Takes the gradients into the window, and steps if that is full."""
        self._gather(dict(zip(map(id, variables), gradients, strict=True)))
        self._step_if(ops.greater_equal(self.waiting, ops.cast(self._steps_now(), "int32")))

    def release(self, reason: str, variables: Sequence[Any]) -> None:
        """Applies, drops or keeps a window that is not full; "flush" always applies it."""
        waits = ops.greater(self.waiting, 0)
        if reason == "flush" or (reason == "epoch" and self.on_partial == "apply"):
            self._step_if(waits)
        elif reason == "epoch" and self.on_partial == "drop":
            self.update_if(waits, self._empty, ())

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        steps = keras.saving.serialize_keras_object(self.steps)
        return {**super().get_config(), "steps": steps, "on_partial": self.on_partial}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """Makes the wrapper, and first the schedule and the optimizer inside of it."""
        steps = keras.saving.deserialize_keras_object(config["steps"], custom_objects)
        return super().from_config({**config, "steps": steps}, custom_objects)

    def _steps_now(self) -> Any:
        if callable(self.steps):
            return self.steps(ops.convert_to_tensor(self.iterations))
        return self.steps

    def _gather(self, gradients: dict[int, Tensor]) -> None:
        (weight,) = sum_over_replicas([self.batch_weight])
        total = self.weight + weight
        share = ops.where(total > 0, weight / ops.where(total > 0, total, 1.0), 0.0)
        adds_up = self.batch is not None and self.batch.summed
        for mean, variable in zip(self.mean_gradients, self.trained, strict=True):
            gradient = gradients.get(id(variable))
            new = 0.0 if gradient is None else ops.cast(gradient, mean.dtype)
            if adds_up:
                self.assign(mean, mean + new)
            else:
                take_in(mean, new, share)
        self._gather_rows(gradients, *((1.0, None) if adds_up else (share, total)))
        self.assign(self.weight, total)
        self.assign(self.waiting, self.waiting + 1)

    def _gather_rows(
        self, gradients: dict[int, Tensor], share: Tensor, total: Tensor | None
    ) -> None:
        """Into the windows of rows; gradients that arrive whole, in a loop of one's own, too."""
        touched = {id(table): rows for table, rows in self.touched_rows}
        self._check_expected(touched)
        for window in self.windows:
            key = id(window.table)
            if key in touched:
                window.add(touched[key], share, total)
            elif key in gradients:
                window.add_whole(gradients[key] * replica_count(), share, total)

    def _check_expected(self, touched: dict[int, Any]) -> None:
        expected = {id(window.table) for window in self.windows}
        inside = any(wrapper.by_rows for wrapper in attach.wrappers_in(self.inner_optimizer))
        if inside and not touched.keys() <= expected:
            raise ValueError(
                f"The gradients of some embeddings arrive by rows, but {self.name!r} was built "
                "before it knew its model. Compile the model with it (or call "
                "`kooler.attach(model)`) before the optimizer is built."
            )

    def _step_if(self, due: Tensor) -> None:
        """Steps where the window is due; with a longer list of rows where a short will not do."""
        sizes = [one.size(self.steps) for one in self.windows]
        lengths = [one.length for one in self.windows]
        changed = [*self.trained, *self.tables]
        if sizes == lengths or keras.backend.backend() == "torch":
            self.update_if(due, functools.partial(self._step, lengths), changed)
            return
        fits = functools.reduce(
            ops.logical_and,
            [one.count <= size for one, size in zip(self.windows, sizes, strict=True)],
        )
        exceeds = ops.logical_and(due, ops.logical_not(fits))
        self.update_if(ops.logical_and(due, fits), functools.partial(self._step, sizes), changed)
        self.update_if(exceeds, functools.partial(self._step, lengths), changed)

    def _step(self, sizes: Sequence[int]) -> None:
        weight = ops.copy(ops.convert_to_tensor(self.weight))
        gradients = [
            ops.cast(read(mean), variable.dtype)
            for mean, variable in zip(self.mean_gradients, self.trained, strict=True)
        ]
        pairs = zip(self.windows, sizes, strict=True)
        rows = {id(one.table): one.rows(size, weight) for one, size in pairs}
        with applying(Batch(examples=weight, reported=weight, rows=rows)):
            self.inner_optimizer.apply(gradients, self.trained)
        self._empty()

    def _empty(self) -> None:
        for state in [*self.mean_gradients, self.weight, self.waiting]:
            self.assign(state, ops.zeros(state.shape, state.dtype))
        for window in self.windows:
            window.empty()

    def _mean_slot(self, variable: Any) -> Any:
        (slot,) = self.add_slots([variable], "mean_gradient", dtype=_wide(variable.dtype))
        return slot

    def _tables_by_rows(self) -> set[int]:
        model = self._model()
        if model is None:
            return set()
        tables = attach.attachment_of(model).tables_by_rows(self.inner_optimizer)
        return {id(table) for table in tables}


def _wide(dtype: str) -> str:
    """Half precision loses small gradients in a mean of many."""
    return "float32" if dtype in ("float16", "bfloat16") else dtype


def _check_steps(steps: Any) -> None:
    if callable(steps):
        return
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
        raise ValueError(
            "`steps` must be a positive number of batches, or a function that gives one for the "
            f"number of updates taken so far, received steps={steps!r}."
        )
