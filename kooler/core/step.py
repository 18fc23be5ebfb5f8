"""One training step on three backends: what a technique may ask of it, and who asks in what order.

A step evaluates the loss of a batch and its gradients, hands the gradients to the optimizer, and
reports metrics. Keras has three versions of it. Here it is one, and *pure* in the middle: an
evaluation takes a `Request` (a batch, and values to use in place of some variables) and returns an
`Evaluation` (loss, gradients, outputs, and the new state of BatchNorm, metrics and seeds) without
changing anything. Only at the end is the state of the evaluation that won written to the
variables.

A technique stands around the evaluation and may ask for others:

    class TwoSteps(Technique):
        def evaluate(self, step, request, inner):
            here = inner(request)
            there = inner(request.at(moved(here.gradients)))
            return here.with_gradients(there.gradients)

Every evaluation of a step sees the same state and the same random numbers, so the second of two
sees the first one's dropout masks, and its BatchNorm statistics count only if it is the one
returned.

Techniques run in the order of their `place`, lowest outermost; equal places in the order in which
they were registered. Without any, and without an optimizer that needs to know its batches, a model
keeps Keras's own step: see `attach.py`.
"""

import functools
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
from keras import ops

from kooler.core import compat
from kooler.core.batch import Batch, Data, applying, examples_in, recording
from kooler.core.differentiate import dense, differentiate
from kooler.core.replicas import of_all_replicas
from kooler.core.rows import RowLookups
from kooler.core.technique import Evaluation, Loss, Plan, Request, Technique
from kooler.core.types import Tensor


class Step:
    """A running training step, as techniques see it.

    Args:
        model: A compiled Keras model.
        plan: What its step is made of.
    """

    def __init__(self, model: Any, plan: Plan) -> None:
        self.model = model
        self.plan = plan
        self.optimizer = model.optimizer
        self.trainable_variables: list[Any] = list(model.trainable_variables)
        self.state_variables = [*model.non_trainable_variables, *model.metrics_variables]
        self._start = self._values_at_start()
        self._evaluate = _nest(plan.techniques, "evaluate", self, self._evaluate_plainly)
        self._loss = _nest(plan.techniques, "loss", self, self._loss_plainly)

    def run(self, data: Data) -> dict[str, Tensor]:
        """Trains on a batch, and returns the logs."""
        evaluation = self._evaluate(Request(data))
        with _without_gradients():
            evaluation = of_all_replicas(evaluation)
            self._write(evaluation.state)
            compat.track_loss(self.model, evaluation.loss, examples_in(data))
            by_rows = [rows.gradients for rows in evaluation.batch.rows.values()]
            with applying(evaluation.batch), compat.must_be_finite(self.optimizer, by_rows):
                self._apply(evaluation.gradients)
            self._keep(evaluation.gradients)
            logs = self.model.compute_metrics(
                data.x, data.y, evaluation.outputs, data.sample_weight
            )
            return {**logs, **self.plan.report()}

    # What a technique may ask.

    def value(self, variable: Any, request: Request | None = None) -> Tensor:
        """The value of a variable: in a request that replaces it, or else now."""
        for replaced, value in request.values if request else ():
            if replaced is variable:
                return value
        return self._start.get(id(variable), variable.value)

    def state(self, evaluation: Evaluation | None = None) -> list[Tensor]:
        """All values of `state_variables` after an evaluation, or at the start of the step."""
        changed = evaluation.state if evaluation else [None] * len(self.state_variables)
        pairs = zip(self.state_variables, changed, strict=True)
        return [ops.convert_to_tensor(self.value(v)) if new is None else new for v, new in pairs]

    def gradients(
        self, function: Callable[[Request], Tensor], request: Request, variables: Sequence[Any]
    ) -> list[Tensor | None]:
        """The gradients of any scalar function of a request by the values of some variables.

        Args:
            function: Takes a request, returns a scalar, for instance `inner(request).value`.
            request: Where to evaluate it.
            variables: By what variables to differentiate.

        Returns:
            One gradient per variable; differentiable inside of `Technique.loss`.
        """
        start = [ops.convert_to_tensor(self.value(variable, request)) for variable in variables]

        def scalar(values: list[Tensor]) -> tuple[Tensor, None]:
            return function(request.at(list(zip(variables, values, strict=True)))), None

        return differentiate(scalar, start)[1]

    def loss_scale(self) -> Tensor:
        """What the gradients of an evaluation are multiplied by (1 without loss scaling)."""
        return self._scaled(ops.ones((), "float32"))

    # How it is done.

    def _evaluate_plainly(self, request: Request) -> Evaluation:
        asked = self.trainable_variables if request.variables is None else request.variables
        rows = RowLookups(self.plan.embeddings(), asked)
        variables = [variable for variable in asked if not rows.cover(variable)]
        values = [self.value(variable, request) for variable in variables]
        tables = [self.value(table, request) for table in rows.tables]
        facts: list[Batch] = []  # what is no tensor cannot be returned by a differentiated function

        def scaled(tensors: list[Tensor]) -> tuple[Tensor, Any]:
            pairs = zip(variables, tensors[: len(variables)], strict=True)
            guarded = rows.guarded(tables, tensors[len(variables) :])
            with rows.watched():
                loss = self._loss(request.at([*pairs, *guarded]))
            self.plan.gradients.clear()  # their memory serves for the new ones
            facts[:] = [loss.batch]
            aux = (loss.value, loss.outputs, loss.batch.tensors(), loss.state, rows.ids())
            return self._scaled(loss.value), aux

        sources = [*values, *rows.guards(tables)]
        (_, aux), gradients = differentiate(scaled, sources, leaves=rows.any)
        value, outputs, tensors, state, ids = aux
        if self.plan.techniques:
            gradients = dense(gradients)
        found = dict(zip(map(id, variables), gradients, strict=False))
        rows.check(gradients[len(values) : len(sources)])
        touched = rows.touched(ids, gradients[len(sources) :], self.loss_scale)
        batch = facts[0].with_tensors(tensors).with_rows(touched)
        return Evaluation(value, [found.get(id(v)) for v in asked], outputs, batch, state)

    def _loss_plainly(self, request: Request) -> Loss:
        with recording(self.model) as record:
            if keras.backend.backend() == "jax":
                value, outputs, state = self._loss_by_jax(request)
            else:
                value, outputs, state = self._loss_by_scope(request)
        return Loss(value, outputs, record.batch(request.data), state)

    def _loss_by_jax(self, request: Request) -> tuple[Tensor, Any, list[Tensor | None]]:
        """Keras's JAX trainer is already a function of all values."""
        model, data = self.model, request.data
        state = self.state() if request.state is None else list(request.state)
        split = len(model.non_trainable_variables)
        _, (value, outputs, non_trainable, metrics) = model.compute_loss_and_updates(
            [self.value(variable, request) for variable in self.trainable_variables],
            state[:split],
            state[split:],
            data.x,
            data.y,
            data.sample_weight,
            training=True,
            optimizer_variables=[self.value(variable) for variable in self.optimizer.variables],
        )
        return value, outputs, [*non_trainable, *metrics]

    def _loss_by_scope(self, request: Request) -> tuple[Tensor, Any, list[Tensor | None]]:
        """A stateless scope catches every update, and replaces only the values that differ.

        Replacing a value makes TensorFlow read the whole variable, also where a layer would read a
        few rows; so the others are left alone, except the regularized ones.
        """
        pairs = [(v, value) for v, value in request.values if value is not v.value]
        replaced = {id(variable) for variable, _ in pairs}
        pairs += _regularized(v for v in self.trainable_variables if id(v) not in replaced)
        if request.state is not None:
            pairs += list(zip(self.state_variables, request.state, strict=True))
        with keras.StatelessScope(pairs, collect_losses=True) as scope:
            outputs = compat.call_model(self.model, request.data.x, training=True)
            value = compat.compute_loss(self.model, request.data, outputs)
        return value, outputs, [scope.get_current_value(v) for v in self.state_variables]

    def _scaled(self, loss: Tensor) -> Tensor:
        if not self._start:
            return self.optimizer.scale_loss(loss)
        pairs = [(variable, self.value(variable)) for variable in self.optimizer.variables]
        with keras.StatelessScope(pairs):
            return self.optimizer.scale_loss(loss)

    def _values_at_start(self) -> dict[int, Tensor]:
        """On JAX, the values that the step was called with; elsewhere variables hold their own."""
        if keras.backend.backend() != "jax":
            return {}
        variables = [*self.trainable_variables, *self.state_variables, *self.optimizer.variables]
        return {id(variable): variable.value for variable in variables}

    def _write(self, state: Sequence[Tensor | None]) -> None:
        for variable, value in zip(self.state_variables, state, strict=True):
            if value is not None:
                variable.assign(value)

    def _keep(self, gradients: list[Tensor | None]) -> None:
        """On PyTorch, lets gradients live until the next ones are computed, as Keras's step does.

        Memory that is free at the end of a step goes back to the system, which clears it anew for
        each step: of 14 ms that a step of Adam on 600,000 weights took, 3 went there.
        """
        if keras.backend.backend() == "torch":
            self.plan.gradients[:] = gradients

    def _apply(self, gradients: list[Tensor | None]) -> None:
        if keras.backend.backend() != "jax":
            pairs = zip(gradients, self.trainable_variables, strict=True)
            self.optimizer.apply_gradients(pairs)
            return
        weights, slots = self.optimizer.stateless_apply(
            [variable.value for variable in self.optimizer.variables],
            gradients,
            [variable.value for variable in self.trainable_variables],
        )
        for variable, value in zip(
            [*self.trainable_variables, *self.optimizer.variables], [*weights, *slots], strict=True
        ):
            variable.assign(value)


def train(model: Any, plan: Plan, data: Any) -> dict[str, Tensor]:
    """One step on a batch, by Keras variables; on JAX inside of a scope that holds their values."""
    batch = Data(*keras.utils.unpack_x_y_sample_weight(data))
    complete(model, batch)
    return Step(model, plan).run(batch)


def train_statelessly(
    model: Any, plan: Plan, state: Any, data: Any
) -> tuple[dict[str, Tensor], Any]:
    """The same with the signature of Keras's JAX trainer: the state comes in and goes out."""
    groups = (
        model.trainable_variables,
        model.non_trainable_variables,
        model.optimizer.variables,
        model.metrics_variables,
    )
    pairs = [
        pair
        for variables, values in zip(groups, state, strict=True)
        for pair in zip(variables, values, strict=True)
    ]
    with keras.StatelessScope(pairs) as scope:
        logs = train(model, plan, data)
    return logs, tuple([scope.get_current_value(v) for v in variables] for variables in groups)


def complete(model: Any, data: Data) -> None:
    """TensorFlow builds a model while its step is traced: here before, where nothing is kept."""
    if not compat.unbuilt(model):
        return
    with keras.StatelessScope():
        outputs = compat.call_model(model, data.x, training=False)
    with keras.StatelessScope(_regularized(model.trainable_variables)):
        compat.compute_loss(model, data, outputs)
        model.compute_metrics(data.x, data.y, outputs, data.sample_weight)


def _regularized(variables: Iterable[Any]) -> list[tuple[Any, Tensor]]:
    """Inside of a scope, Keras looks for the values of these in the scope only."""
    return [(v, v.value) for v in variables if v.regularizer is not None]


def _nest(
    techniques: Sequence[Technique], method: str, step: Step, plain: Callable[[Request], Any]
) -> Callable[[Request], Any]:
    inner = plain
    for technique in sorted(techniques, key=lambda one: one.place)[::-1]:
        if getattr(type(technique), method) is not getattr(Technique, method):
            inner = functools.partial(_around, getattr(technique, method), step, inner)
    return inner


def _around(method: Callable[..., Any], step: Step, inner: Any, request: Request) -> Any:
    return method(step, request, inner)


def _without_gradients() -> AbstractContextManager[Any]:
    """PyTorch records every operation unless told otherwise."""
    if keras.backend.backend() != "torch":
        return nullcontext()
    import torch

    return torch.no_grad()
