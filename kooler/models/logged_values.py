"""Numbers from inside of any layer, in the progress bar and the history of an ordinary `fit`.

    def call(self, x):
        hidden = self.dense(x)
        log("hidden_size", ops.sqrt(ops.mean(hidden**2)))
        return ops.relu(hidden)

A compiled step returns only what its model returns, and keeps only variables. So each name gets a
metric of the model that is being trained, `log` remembers the value while the model runs, and the
metric is updated where the loss is computed: in the same trace, so that the value is a tensor of
it. Averages weigh each batch by its number of examples, as Keras weighs `loss`.

On JAX a metric must exist before the step is compiled. There a model whose layers use `log` is
traced once, symbolically, before it first trains; PyTorch and TensorFlow make the metric when they
come to it. A model without `log` is left alone.
"""

import functools
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

import keras
from keras import ops

from kooler.core import compat
from kooler.core.batch import Data, examples_in
from kooler.core.hooks import hook
from kooler.core.traces import current_trace
from kooler.core.types import Tensor

ATTRIBUTE = "_kooler_logged"


def log(name: str, value: Tensor) -> Tensor:
    """Reports a value from the `call` of a layer under a name, with the losses and metrics.

    In `fit` and `evaluate` of a compiled model; elsewhere it does nothing. Several values of the
    same name in one batch are averaged.

    Args:
        name: How it is reported; with "val_" before it in validation.
        value: A tensor; its mean is reported.

    Returns:
        The value.

    Raises:
        ValueError: The name is that of another metric of the model.

    Example:
        >>> log("entropy", -ops.sum(p * ops.log(p), axis=-1))
    """
    _seen.any = True
    if _running.discovered is not None:
        _running.discovered.append(name)
        return value
    model = _running.model or compat.outermost_layer()
    if not isinstance(model, keras.Model) or not getattr(model, "compiled", False):
        return value
    if _ready(model, name):
        _running.values.append((name, value, current_trace()))
    return value


def _ready(model: Any, name: str) -> bool:
    """Whether the model has a metric for this name, or could be given one."""
    if name in _metrics_of(model):
        return True
    if keras.backend.backend() != "jax":
        _prepare(model, [name])
        return True
    if model is _running.model:
        warnings.warn(
            f"`log({name!r}, …)` was first met inside of a compiled step, too late for this run; "
            "it is reported from the next on.",
            stacklevel=3,
        )
        _known.discard(model)
    return False


def _metrics_of(model: Any) -> dict[str, Any]:
    found: dict[str, Any] = model.__dict__.get(ATTRIBUTE, {})
    return found


def _prepare(model: Any, names: list[str]) -> None:
    """Gives a model what it needs to report some names: metrics, and places to fill them."""
    for name in names:
        if name in _metrics_of(model):
            continue
        if name in [metric.name for metric in model.metrics]:
            raise ValueError(
                f"The model {model.name!r} has a metric {name!r} of its own, so `log` cannot "
                "report a value under this name. Take another."
            )
        metric = _MeanIfAny(name=name)
        compat.add_metric(model, metric)
        if not _metrics_of(model):
            model.__dict__[ATTRIBUTE] = {}
            hook(model, functools.partial(_run, model))
            model.__dict__["compute_loss"] = _draining(model, model.compute_loss)
        _metrics_of(model)[name] = metric


def _run(model: Any, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Stands around the `call` of a model: if it is the outermost, it is the one to report.

    What an earlier call left is forgotten; `predict` for instance computes no loss.
    """
    outermost = compat.outermost_layer()  # none inside of a step of JAX
    if _running.model is not None or outermost not in (None, model):
        return call(*args, **kwargs)
    _running.values = []
    _running.model = model
    try:
        return call(*args, **kwargs)
    finally:
        _running.model = None


def _draining(model: Any, compute_loss: Callable[..., Any]) -> Callable[..., Any]:
    """The `compute_loss` of a model, which first enters what was logged."""

    @functools.wraps(compute_loss)
    def drain_and_compute(x: Any = None, *args: Any, **kwargs: Any) -> Any:
        values, _running.values = _running.values, []
        here = current_trace()
        for name, value, trace in values:
            if trace != here:
                raise ValueError(
                    f"`log({name!r}, …)` stands inside of a loop (`scan`), a branch (`cond`) or a "
                    "part that is recomputed, out of which no value leads. Log it outside of it."
                )
            mean = ops.mean(ops.cast(ops.stop_gradient(value), "float32"))
            _metrics_of(model)[name].update_state(mean, sample_weight=examples_in(Data(x)))
        return compute_loss(x, *args, **kwargs)

    return drain_and_compute


class _MeanIfAny(keras.metrics.Mean):
    """The mean, and NaN where nothing was logged: a value may be one of training only."""

    def result(self) -> Tensor:
        """The mean of what was logged."""
        return ops.where(self.count > 0, super().result(), float("nan"))


# JAX: which names there are must be known before.


def _discover(model: Any, inputs: Callable[[], Any]) -> None:
    if keras.backend.backend() != "jax" or model in _known:
        return
    if not _seen.any and not any(map(_mentions_log, _functions_of(model))):
        return
    _known.add(model)
    _running.discovered = []
    try:
        for training in (True, False):
            compat.run_symbolically(model, inputs(), training)
        names = _running.discovered
    finally:
        _running.discovered = None
    _prepare(model, list(dict.fromkeys(names)))


def _functions_of(model: Any) -> Iterator[Any]:
    """The functions that a model may run: methods of its layers, and those of `Lambda`."""
    for layer in compat.flat_layers(model):
        yield getattr(layer, "function", None)
        for kind in type(layer).__mro__:
            if not kind.__module__.startswith("keras."):
                yield from vars(kind).values()


def _mentions_log(function: Any) -> bool:
    code = getattr(function, "__code__", None)
    return code is not None and any("log" in one.co_names for one in _codes(code))


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


class _Seen:
    """Whether `log` was ever called in this process."""

    any = False


class _Running(threading.local):
    """What was logged by the model that runs in this thread."""

    def __init__(self) -> None:
        self.model: Any = None
        self.values: list[tuple[str, Tensor, Any]] = []
        self.discovered: list[str] | None = None


_seen = _Seen()
_running = _Running()
_known: weakref.WeakSet[Any] = weakref.WeakSet()  # models whose names were looked for
compat.observe_building(_discover)
compat.observe_compile(_known.discard)
