"""The smallest techniques there are, one of each kind: they prove the core, and show how to begin.

Real techniques live in kooler/; these are for the tests of what they stand on.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import keras
from keras import ops

from kooler.core.attach import register, unregister
from kooler.core.batch import Data
from kooler.core.scan import scan
from kooler.core.step import Step
from kooler.core.table import distinct, read, write
from kooler.core.technique import Evaluate, Evaluation, Loss, Request, Technique
from kooler.optimizers import OptimizerWrapper

serializable = keras.saving.register_keras_serializable("kooler_tests")


@serializable
class Nothing(OptimizerWrapper):
    """A wrapper that overrides nothing."""


@serializable
class Trail(OptimizerWrapper):
    """A moving average of the weights, per update: a slot that starts as a copy."""

    def __init__(
        self, inner_optimizer: Any, decay: float = 0.5, *, name: str | None = None
    ) -> None:
        super().__init__(inner_optimizer, name=name)
        self.decay = decay

    def build_slots(self, variables: Sequence[Any]) -> None:
        self.averages = self.add_slots(variables, "average", initializer="copy", dtype="float32")

    def after_update(self, variables: Sequence[Any], moved: Any) -> None:
        rate = ops.where(moved, 1.0 - self.decay, 0.0)
        for average, variable in zip(
            self.slots_of(self.averages, variables), variables, strict=True
        ):
            self.assign(average, average + rate * (ops.cast(variable, "float32") - average))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "decay": self.decay}


@serializable
class Window(OptimizerWrapper):
    """Updates once per `steps` batches, each batch counted by what it weighs."""

    needs_batch: ClassVar[bool] = True

    def __init__(self, inner_optimizer: Any, steps: int, *, name: str | None = None) -> None:
        super().__init__(inner_optimizer, name=name)
        self.steps = steps

    def build_slots(self, variables: Sequence[Any]) -> None:
        self.sums = self.add_slots(variables, "sum")
        self.weight = self.add_variable((), dtype="float32", name="weight")
        self.waiting = self.add_variable((), dtype="int32", name="waiting")

    def update(self, gradients: Sequence[Any], variables: Sequence[Any]) -> None:
        weight = self.batch_weight
        sums = self.slots_of(self.sums, variables)
        for total, gradient in zip(sums, gradients, strict=True):
            self.assign(total, total + ops.cast(weight, gradient.dtype) * gradient)
        self.assign(self.weight, self.weight + weight)
        self.assign(self.waiting, self.waiting + 1)
        due = ops.equal(self.waiting, self.steps)
        self.update_if(due, lambda: self._step(sums, variables), variables)

    def release(self, reason: str, variables: Sequence[Any]) -> None:
        if reason != "fit":
            sums = self.slots_of(self.sums, variables)
            waits = ops.greater(self.waiting, 0)
            self.update_if(waits, lambda: self._step(sums, variables), variables)

    def _step(self, sums: Sequence[Any], variables: Sequence[Any]) -> None:
        weight = ops.convert_to_tensor(self.weight)
        means = [total / ops.cast(weight, total.dtype) for total in sums]
        self.inner_optimizer.apply(means, list(variables))
        for state in [*sums, self.weight, self.waiting]:
            self.assign(state, ops.zeros(state.shape, state.dtype))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "steps": self.steps}


@serializable
class Thermometer(OptimizerWrapper):
    """Reports the norm of the gradients in the logs."""

    reports: ClassVar[bool] = True

    def build_slots(self, variables: Sequence[Any]) -> None:
        self.norm = self.add_variable((), dtype="float32", name="norm")

    def before_update(self, gradients: list[Any], variables: Sequence[Any]) -> list[Any]:
        self.assign(self.norm, ops.sqrt(sum(ops.sum(ops.square(g)) for g in gradients)))
        return gradients

    def report(self) -> dict[str, Any]:
        return {"gradient_norm": ops.convert_to_tensor(self.norm)}


@serializable
class TableDescent(OptimizerWrapper):
    """Gradient descent on the rows that an embedding looked up; counts how often each was."""

    by_rows: ClassVar[bool] = True

    def __init__(self, inner_optimizer: Any, rate: float, *, name: str | None = None) -> None:
        super().__init__(inner_optimizer, name=name)
        self.rate = rate

    def row_embeddings(self, model: Any) -> list[Any]:
        return [layer for layer in model.layers if isinstance(layer, keras.layers.Embedding)]

    def build_slots(self, variables: Sequence[Any]) -> None:
        self.counts = [
            self.add_variable(v.shape[:1], dtype="int32", name=f"count_{i}")
            for i, v in enumerate(variables)
        ]

    def update(self, gradients: Sequence[Any], variables: Sequence[Any]) -> None:
        for table, rows in self.touched_rows:
            ids, by_rows = distinct(rows, table)
            (counts,) = self.slots_of(self.counts, [table])
            write(table, ids, read(table, ids) - self.rate * by_rows)
            write(counts, ids, read(counts, ids) + 1)
        super().update(gradients, variables)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate}


class Injected(Technique):
    """What every technique at the step seam has: inject and remove."""

    def inject(self, model: Any) -> Any:
        register(model, self)
        return model

    def remove(self, model: Any) -> None:
        unregister(model, self)


class Identity(Injected):
    """Stands around the evaluation, and does nothing."""

    def evaluate(self, step: Step, request: Request, inner: Evaluate) -> Evaluation:
        return inner(request)


class Lookout(Injected):
    """Takes the gradient at a point uphill: sharpness-aware minimisation without the norm."""

    place: ClassVar[int] = 20

    def __init__(self, distance: float) -> None:
        self.distance = distance

    def evaluate(self, step: Step, request: Request, inner: Evaluate) -> Evaluation:
        here = inner(request)
        moved = [
            (variable, step.value(variable, request) + self.distance * gradient)
            for variable, gradient in zip(step.trainable_variables, here.gradients, strict=True)
        ]
        return here.with_gradients(inner(request.at(moved)).gradients)


class Halves(Injected):
    """Evaluates two halves of each batch one after the other, each by what it weighs."""

    place: ClassVar[int] = 90

    def evaluate(self, step: Step, request: Request, inner: Evaluate) -> Evaluation:
        first, second = (
            keras.tree.map_structure(lambda x, i=i: None if x is None else x[i::2], request.data)
            for i in (0, 1)
        )
        one = inner(request.of(data=Data(*first)))
        two = inner(request.of(data=Data(*second), state=step.state(one)))
        share = one.batch.weight / (one.batch.weight + two.batch.weight)
        gradients = [
            share * g + (1 - share) * h for g, h in zip(one.gradients, two.gradients, strict=True)
        ]
        outputs = keras.tree.map_structure(_interleaved, one.outputs, two.outputs)
        weight = one.batch.weight + two.batch.weight
        return dataclasses.replace(
            two,
            loss=share * one.loss + (1 - share) * two.loss,
            gradients=gradients,
            outputs=outputs,
            batch=two.batch.weighing(weight),
        )


class Scanned(Injected):
    """Evaluates equal parts of each batch in one compiled loop; without masks."""

    place: ClassVar[int] = 90

    def __init__(self, parts: int) -> None:
        self.parts = parts

    def evaluate(self, step: Step, request: Request, inner: Evaluate) -> Evaluation:
        facts = []

        def body(carry: Any, part: Any) -> Any:
            sums, state, loss = carry
            one = inner(request.of(data=Data(*part), state=state))
            facts.append(one.batch)
            sums = [total + g / self.parts for total, g in zip(sums, one.gradients, strict=True)]
            return (sums, step.state(one), loss + one.loss / self.parts), one.outputs

        variables = request.variables or step.trainable_variables
        start = (
            [ops.zeros(v.shape, v.dtype) for v in variables],
            step.state() if request.state is None else list(request.state),
            ops.zeros(()),
        )
        x, y = (ops.reshape(leaf, (self.parts, -1, *leaf.shape[1:])) for leaf in request.data[:2])
        (gradients, state, loss), outputs = scan(body, start, (x, y))
        outputs = ops.reshape(outputs, (-1, *outputs.shape[2:]))
        batch = facts[0].weighing(ops.cast(ops.shape(request.data.x)[0], "float32"))
        return Evaluation(loss, gradients, outputs, batch, state)


class Flat(Injected):
    """Adds λ·‖∂loss/∂w‖² for some variables: a gradient inside of the loss."""

    place: ClassVar[int] = 70

    def __init__(self, pattern: str, weight: float) -> None:
        self.pattern = pattern
        self.weight = weight

    def loss(self, step: Step, request: Request, inner: Any) -> Loss:
        variables = [v for v in step.trainable_variables if self.pattern in v.path]
        gradients = step.gradients(lambda at: inner(at).value, request, variables)
        return inner(request).plus(self.weight * sum(ops.sum(ops.square(g)) for g in gradients))


def _interleaved(one: Any, two: Any) -> Any:
    return ops.reshape(ops.stack([one, two], axis=1), (-1, *one.shape[1:]))
