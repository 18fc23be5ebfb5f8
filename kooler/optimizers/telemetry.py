"""Numbers about the gradients and the updates, computed inside of the compiled step.

`Telemetry` changes nothing.  It measures what passes through the place where it stands, for all
variables together and for groups of them, and its numbers are entries of the logs: in the progress
bar, in the history, in TensorBoard.

| quantity | |
|---|---|
| `gradient_norm` | ‖g‖ of the gradients that arrived last |
| `weight_norm` | ‖θ‖ after the last update |
| `update_norm` | ‖θ − θ′‖, by how much the last update moved the weights θ′ |
| `update_ratio` | ‖θ − θ′‖ / ‖θ′‖; about 0.001 is usual for Adam |
| `clip_rate` | the share of gradients of this epoch that the clipping inside has made shorter |
| `nonfinite_count` | how many times so far a gradient held an infinity or a NaN |
| `noise_scale` | the gradient noise scale, see below |

Clipping *inside* is that of the wrappers directly inside of this one, and `clipnorm`, `clipvalue`
and `global_clipnorm` of the optimizer that they end in.

The simple noise scale B = tr Σ / ‖G‖² says at about how many examples a bigger batch stops to pay.
Around `Accumulate` it is free: with k gradients gᵢ of bᵢ examples each and their mean g of B
examples,

    E‖gᵢ‖² = ‖G‖² + tr Σ / bᵢ,      E‖g‖² = ‖G‖² + tr Σ / B,

which gives an unbiased estimate of tr Σ and of ‖G‖² for each update.  Both are smoothed by a moving
average over updates, and then divided.  McCandlish et al. 2018, appendix A.1,
https://arxiv.org/abs/1812.06162.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import keras
from keras import ops

from kooler.core.replicas import replica_count
from kooler.core.selectors import as_config, select
from kooler.core.types import Tensor
from kooler.optimizers.gradient_transform import GradientTransform
from kooler.optimizers.wrapper import OptimizerWrapper

QUANTITIES = (
    "gradient_norm",
    "weight_norm",
    "update_norm",
    "update_ratio",
    "clip_rate",
    "nonfinite_count",
    "noise_scale",
)
KERAS_CLIPPING = ("clipnorm", "global_clipnorm", "clipvalue")
SMOOTHING = 0.95  # of the two parts of the noise scale, per update


@keras.saving.register_keras_serializable("kooler")
class Telemetry(OptimizerWrapper):
    """Reports numbers about the gradients and updates that pass through it.

    `Telemetry(Accumulate(…))` sees each gradient of a window, `Accumulate(Telemetry(…))` their
    mean.  Numbers about updates are those of the last update, also between two of them.

    Args:
        inner_optimizer: A Keras optimizer, a wrapper, or the name of a Keras optimizer.
        quantities: What to measure: names from the table at the top of this file.
        groups: Name → selector: measures these variables by themselves, too, as
            "gradient_norm/name". Groups may overlap.
        name: Where two of them stand in one optimizer, a name, that begins the entries of the logs:
            "name/gradient_norm".

    Example:
        >>> quantities = ["gradient_norm", "update_ratio"]
        >>> model.compile(Telemetry("adam", quantities, groups={"head": "head/"}), loss="mse")
    """

    needs_batch: ClassVar[bool] = True
    reports: ClassVar[bool] = True

    def __init__(
        self,
        inner_optimizer: Any,
        quantities: Sequence[str],
        *,
        groups: Mapping[str, Any] | None = None,
        name: str | None = None,
    ) -> None:
        known = _known(quantities)
        super().__init__(inner_optimizer, name=name)
        self.quantities = known
        self.groups = tuple((groups or {}).items())
        self.prefix = "" if name is None else f"{name}/"
        self._before: list[Tensor] = []
        self._squares: Tensor = None

    def build_slots(self, variables: Sequence[Any]) -> None:
        """One number for each quantity and group; no slot as large as a weight."""
        chosen = [select(selector, variables) for _, selector in self.groups]
        self._members = [[True] * len(variables)] + [
            [any(v is one for one in group) for v in variables] for group in chosen
        ]
        self._check_inside()
        self.values = {quantity: self._numbers(quantity) for quantity in self.quantities}
        self.sums = {name: self._numbers(name) for name in self._sums_needed()}

    def before_update(self, gradients: list[Tensor], variables: Sequence[Any]) -> list[Tensor]:
        """Measures the gradients."""
        self._squares = self._by_group(gradients, variables)
        self._set("gradient_norm", lambda: replica_count() * ops.sqrt(self._squares))
        if "nonfinite_count" in self.values:
            bad = [ops.logical_not(ops.all(ops.isfinite(gradient))) for gradient in gradients]
            found = self._by_group(bad, variables) > 0
            count = self.values["nonfinite_count"]
            self.assign(count, count + ops.cast(found, "float32"))
        if "noise_scale" in self.values:
            self._gather_noise(gradients, variables)
        return gradients

    def update(self, gradients: Sequence[Tensor], variables: Sequence[Any]) -> None:
        """Lets the inner optimizer step, and watches what clips on the way."""
        self._remember()
        if "clip_rate" not in self.values:
            super().update(gradients, variables)
            return
        with _watching(self.inner_optimizer, list(gradients)) as leaving:
            super().update(gradients, variables)
        left = self._by_group(_clipped_by_keras(leaving[0], leaving[1]), variables)
        shorter = ops.cast(left < self._squares * (1 - 1e-5), "float32")
        for name, more in (("clipped", shorter), ("seen", ops.ones_like(shorter))):
            self.assign(self.sums[name], self.sums[name] + more)
        self.assign(self.values["clip_rate"], self.sums["clipped"] / self.sums["seen"])

    def after_update(self, variables: Sequence[Any], moved: Tensor) -> None:
        """Measures the step that was taken, if one was."""
        now = self._book.variables
        if "weight_norm" in self.values:
            self._set("weight_norm", lambda: ops.sqrt(self._by_group([v.value for v in now], now)))
        if self._before:
            old = ops.sqrt(self._by_group(self._before, now))
            moves = [v.value - before for v, before in zip(now, self._before, strict=True)]
            step = ops.sqrt(self._by_group(moves, now))
            self._set("update_norm", lambda: step, moved)
            self._set("update_ratio", lambda: step / ops.maximum(old, 1e-30), moved)
            self._before = []
        if "noise_scale" in self.values:
            self._close_window(moved)
        self._squares = None

    def settle(self, reason: str) -> None:
        """What waits inside may be applied here: that is an update as well."""
        if not self.built:
            return
        self._remember()
        super().settle(reason)
        if reason == "epoch" and "clip_rate" in self.values:
            for name in ("clipped", "seen"):
                self.assign(self.sums[name], ops.zeros_like(self.sums[name].value))

    def report(self) -> dict[str, Tensor]:
        """The numbers by name."""
        if not self.built:
            return {}
        names = ["", *(f"/{name}" for name, _ in self.groups)]
        return {
            f"{self.prefix}{quantity}{group}": ops.convert_to_tensor(numbers)[index]
            for quantity, numbers in self.values.items()
            for index, group in enumerate(names)
        }

    def get_config(self) -> dict[str, Any]:
        """The arguments; layers and variables as the expressions that match them."""
        variables = self._book.variables if self.built else ()
        groups = {name: as_config(selector, variables) for name, selector in self.groups}
        config = {**super().get_config(), "quantities": list(self.quantities), "groups": groups}
        return config if self.prefix else {**config, "name": None}

    # How it is done.

    def _numbers(self, name: str) -> Any:
        return self.add_variable((len(self._members),), dtype="float32", name=name)

    def _sums_needed(self) -> list[str]:
        clip = ["clipped", "seen"] if "clip_rate" in self.values else []
        noise = ["small", "inverse", "count", "big", "total", "variance", "signal"]
        return clip + (noise if "noise_scale" in self.values else [])

    def _by_group(self, tensors: Sequence[Tensor], variables: Sequence[Any]) -> Tensor:
        """The sum of the squares of the tensors, for all together and for each group: [groups]."""
        squares = {
            id(v): ops.sum(ops.square(ops.cast(t, "float32")))
            for v, t in zip(variables, tensors, strict=True)
        }
        zero = ops.zeros((), "float32")
        every = ops.stack([squares.get(id(v), zero) for v in self._book.variables])
        members = ops.convert_to_tensor(self._members, "bool")
        return ops.sum(ops.where(members, every, 0.0), axis=1)

    def _set(self, quantity: str, measure: Any, moved: Tensor | None = None) -> None:
        if quantity in self.values:
            numbers, new = self.values[quantity], measure()
            self.assign(numbers, new if moved is None else ops.where(moved, new, numbers.value))

    def _remember(self) -> None:
        if "update_norm" in self.values or "update_ratio" in self.values:
            self._before = [ops.copy(v.value) for v in self._book.variables]

    def _gather_noise(self, gradients: Sequence[Tensor], variables: Sequence[Any]) -> None:
        """Adds a gradient of the window; knows what its mean is, this one included."""
        inner: Any = self.inner_optimizer
        weight = ops.cast(self.batch_weight, "float32")
        share = weight / (inner.weight + weight)
        waiting = {id(v): slot for v, slot in zip(inner.trained, inner.mean_gradients, strict=True)}
        means = [
            slot.value + ops.cast(share, slot.dtype) * (ops.cast(g, slot.dtype) - slot.value)
            for g, slot in zip(gradients, (waiting[id(v)] for v in variables), strict=True)
        ]
        self.assign(self.sums["big"], self._by_group(means, variables))
        for name, more in (
            ("small", self._squares),
            ("inverse", 1 / weight),
            ("count", 1.0),
            ("total", weight),
        ):
            self.assign(self.sums[name], self.sums[name] + more)

    def _close_window(self, moved: Tensor) -> None:
        sums = {name: ops.convert_to_tensor(number) for name, number in self.sums.items()}
        count = ops.maximum(sums["count"], 1.0)
        small, inverse = sums["small"] / count, sums["inverse"] / count
        whole = 1 / ops.maximum(sums["total"], 1e-30)
        usable = ops.logical_and(moved, sums["count"] > 1)
        gap = ops.where(usable, inverse - whole, 1.0)
        variance = (small - sums["big"]) / gap
        signal = (inverse * sums["big"] - whole * small) / gap
        for name, new in (("variance", variance), ("signal", signal)):
            smooth = SMOOTHING * sums[name] + (1 - SMOOTHING) * new
            self.assign(self.sums[name], ops.where(usable, smooth, sums[name]))
        square = ops.convert_to_tensor(self.sums["signal"])
        ratio = self.sums["variance"] / ops.where(square > 0, square, 1.0)
        self._set("noise_scale", lambda: ratio, usable)
        empty = ops.equal(self.inner_optimizer.waiting, 0)  # applied, or dropped
        for name in ("small", "inverse", "count", "total"):
            self.assign(self.sums[name], ops.where(empty, 0.0, sums[name]))

    def _check_inside(self) -> None:
        inner = self.inner_optimizer
        if "noise_scale" in self.quantities and not hasattr(inner, "mean_gradients"):
            raise ValueError(
                "`noise_scale` compares gradients with their mean, so Telemetry must stand "
                f"directly around Accumulate, and stands around {type(inner).__name__}. Write "
                "Telemetry(Accumulate(…), …), or leave `noise_scale` out."
            )
        if "clip_rate" in self.quantities and not _clips(inner):
            raise ValueError(
                "`clip_rate` counts what is clipped directly inside of Telemetry, and there "
                f"{type(inner).__name__} clips nothing. Give the optimizer `clipnorm`, put "
                "Telemetry directly around what clips, or leave `clip_rate` out."
            )


@contextmanager
def _watching(optimizer: Any, gradients: list[Tensor]) -> Iterator[list[Any]]:
    """Notes, while the block runs, what arrives behind the wrappers directly inside, and where."""
    _, end = _chain(optimizer)
    arrived = [gradients, end]
    own = end.apply

    def apply(grads: Any, *arguments: Any) -> None:
        arrived[0] = list(grads)
        own(grads, *arguments)

    end.__dict__["apply"] = apply
    try:
        yield arrived
    finally:
        del end.__dict__["apply"]


def _chain(optimizer: Any) -> tuple[list[Any], Any]:
    """The wrappers that hand gradients on in each call, and the optimizer behind them."""
    chain: list[Any] = []
    while isinstance(optimizer, OptimizerWrapper) and _hands_on(optimizer):
        chain.append(optimizer)
        optimizer = optimizer.inner_optimizer
    return chain, optimizer


def _hands_on(wrapper: OptimizerWrapper) -> bool:
    if isinstance(wrapper, GradientTransform):
        return not wrapper.reports  # else it may skip a step
    return type(wrapper).update is OptimizerWrapper.update


def _clips(optimizer: Any) -> bool:
    chain, end = _chain(optimizer)
    transforms = any(
        isinstance(one, GradientTransform)
        or type(one).before_update is not OptimizerWrapper.before_update
        for one in chain
    )
    return transforms or any(getattr(end, name, None) is not None for name in KERAS_CLIPPING)


def _clipped_by_keras(gradients: list[Tensor], optimizer: Any) -> list[Tensor]:
    """What Keras's optimizer makes of gradients first, by its own settings."""
    if getattr(optimizer, "clipvalue", None) is not None:
        return [ops.clip(g, -optimizer.clipvalue, optimizer.clipvalue) for g in gradients]
    limit = getattr(optimizer, "clipnorm", None)
    if limit is not None:
        return [g * _factor(ops.sum(ops.square(g)), limit) for g in gradients]
    limit = getattr(optimizer, "global_clipnorm", None)
    if limit is not None:
        total = sum(ops.sum(ops.square(g)) for g in gradients)
        return [g * _factor(total, limit) for g in gradients]
    return gradients


def _factor(square: Tensor, limit: float) -> Tensor:
    return limit / ops.maximum(ops.sqrt(square), limit)


def _known(quantities: Any) -> tuple[str, ...]:
    names = (quantities,) if isinstance(quantities, str) else tuple(quantities)
    unknown = [name for name in names if name not in QUANTITIES]
    if unknown or not names:
        raise ValueError(
            f"`quantities` must name at least one of {', '.join(QUANTITIES)}, "
            f"received quantities={quantities!r}."
        )
    return tuple(dict.fromkeys(names))
