"""Optimizers and wrappers in NumPy, float64, a few lines each: the normative equations.

An oracle wraps another as the wrapper it describes does, and counts with Python's numbers:

    oracle = TrailOracle(WindowOracle(SGDOracle(0.1), steps=2), decay=0.5)
    weights = oracle.apply(gradients, weights, weight=8)      # lists of arrays
    oracle.state()                                            # by name, like the wrapper's slots
"""

from collections.abc import Callable
from typing import Any

import numpy as np

Arrays = list[np.ndarray]


class Oracle:
    """Stands around an oracle; by itself it changes nothing."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    @property
    def iterations(self) -> int:
        return self.inner.iterations

    def apply(self, gradients: Arrays, weights: Arrays, weight: float = 1.0) -> Arrays:
        return self.inner.apply(gradients, weights, weight)

    def flush(self, weights: Arrays) -> Arrays:
        return self.inner.flush(weights)

    def state(self) -> dict[str, Arrays]:
        return self.inner.state()


class SGDOracle:
    """Plain descent: w ← w − η·g."""

    slots: tuple[str, ...] = ()  # attributes, one array per weight, that begin at zero

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.iterations = 0

    def apply(self, gradients: Arrays, weights: Arrays, weight: float = 1.0) -> Arrays:
        self.iterations += 1
        return [w - self.rate * g for w, g in zip(weights, gradients, strict=True)]

    def flush(self, weights: Arrays) -> Arrays:
        return weights

    def state(self) -> dict[str, Arrays]:
        return {}


class AdamOracle(SGDOracle):
    """Kingma and Ba 2014, in Keras's form: ε is added after the bias correction of the rate."""

    slots = ("m", "v")

    def __init__(self, rate: float, b1: float = 0.9, b2: float = 0.999, e: float = 1e-7) -> None:
        super().__init__(rate)
        self.constants = b1, b2, e
        self.m: Arrays = []
        self.v: Arrays = []

    def apply(self, gradients: Arrays, weights: Arrays, weight: float = 1.0) -> Arrays:
        b1, b2, e = self.constants
        self.iterations += 1
        zeros = [np.zeros_like(w) for w in weights]
        self.m = [b1 * m + (1 - b1) * g for m, g in zip(self.m or zeros, gradients, strict=True)]
        self.v = [
            b2 * v + (1 - b2) * g * g for v, g in zip(self.v or zeros, gradients, strict=True)
        ]
        rate = self.rate * np.sqrt(1 - b2**self.iterations) / (1 - b1**self.iterations)
        moves = [rate * m / (np.sqrt(v) + e) for m, v in zip(self.m, self.v, strict=True)]
        return [w - move for w, move in zip(weights, moves, strict=True)]


class MomentumOracle(SGDOracle):
    """Polyak's heavy ball, in Keras's form: m ← μ·m − η·g, w ← w + m."""

    slots = ("m",)

    def __init__(self, rate: float, momentum: float = 0.9) -> None:
        super().__init__(rate)
        self.momentum = momentum
        self.m: Arrays = []

    def apply(self, gradients: Arrays, weights: Arrays, weight: float = 1.0) -> Arrays:
        self.iterations += 1
        self.m = self.m or [np.zeros_like(w) for w in weights]
        self.m = [self.momentum * m - self.rate * g for m, g in zip(self.m, gradients, strict=True)]
        return [w + m for w, m in zip(weights, self.m, strict=True)]


class TrailOracle(Oracle):
    """a ← a + (1 − d)·(w − a) at each update; a starts at the weights of the first gradient."""

    def __init__(self, inner: Any, decay: float = 0.5) -> None:
        super().__init__(inner)
        self.decay = decay
        self.averages: Arrays = []

    def apply(self, gradients: Arrays, weights: Arrays, weight: float = 1.0) -> Arrays:
        self.averages = self.averages or [w.copy() for w in weights]
        count = self.iterations
        return self._follow(count, self.inner.apply(gradients, weights, weight))

    def flush(self, weights: Arrays) -> Arrays:
        return self._follow(self.iterations, self.inner.flush(weights))

    def _follow(self, count: int, weights: Arrays) -> Arrays:
        rate = (1 - self.decay) * (self.iterations > count)
        self.averages = [a + rate * (w - a) for a, w in zip(self.averages, weights, strict=True)]
        return weights

    def state(self) -> dict[str, Arrays]:
        return {**self.inner.state(), "averages": self.averages}


class WindowOracle(Oracle):
    """One update per k batches with g = Σ nᵢ·gᵢ / Σ nᵢ."""

    def __init__(self, inner: Any, steps: int) -> None:
        super().__init__(inner)
        self.steps = steps
        self.sums: Arrays = []
        self.total, self.waiting = 0.0, 0

    def apply(self, gradients: Arrays, weights: Arrays, weight: float = 1.0) -> Arrays:
        self.sums = self.sums or [np.zeros_like(w) for w in weights]
        self.sums = [s + weight * g for s, g in zip(self.sums, gradients, strict=True)]
        self.total, self.waiting = self.total + weight, self.waiting + 1
        return self._step(weights) if self.waiting == self.steps else weights

    def flush(self, weights: Arrays) -> Arrays:
        return self.inner.flush(self._step(weights) if self.waiting else weights)

    def _step(self, weights: Arrays) -> Arrays:
        means = [s / self.total for s in self.sums]
        self.sums = [np.zeros_like(s) for s in self.sums]
        weight, self.total, self.waiting = self.total, 0.0, 0
        return self.inner.apply(means, weights, weight)

    def state(self) -> dict[str, Arrays]:
        return {**self.inner.state(), "sums": self.sums}


class MultiplierOracle(Oracle):
    """θ ← θ₀ + λ·(θ′ − θ₀), one λ per weight."""

    def __init__(self, inner: Any, multipliers: list[float]) -> None:
        super().__init__(inner)
        self.multipliers = multipliers

    def apply(self, gradients: Arrays, weights: Arrays, weight: float = 1.0) -> Arrays:
        return self._scaled(weights, self.inner.apply(gradients, weights, weight))

    def flush(self, weights: Arrays) -> Arrays:
        return self._scaled(weights, self.inner.flush(weights))

    def _scaled(self, before: Arrays, after: Arrays) -> Arrays:
        triples = zip(self.multipliers, before, after, strict=True)
        return [old + factor * (new - old) for factor, old, new in triples]


class ClipOracle(Oracle):
    """gᵢ ← gᵢ · c / max(‖g‖, c), with the norm of all gradients together."""

    def __init__(self, inner: Any, norm: float) -> None:
        super().__init__(inner)
        self.norm = norm

    def apply(self, gradients: Arrays, weights: Arrays, weight: float = 1.0) -> Arrays:
        total = np.sqrt(sum(np.sum(np.square(g)) for g in gradients))
        factor = self.norm / max(total, self.norm)
        return self.inner.apply([g * factor for g in gradients], weights, weight)


class AccumulateOracle(WindowOracle):
    """One update per k batches with g = Σ nᵢ·gᵢ / Σ nᵢ; what is kept is that mean so far."""

    def state(self) -> dict[str, Arrays]:
        means = [s / self.total if self.waiting else s for s in self.sums]
        return {**self.inner.state(), "mean_gradients": means}


class LookaheadOracle(Oracle):
    """φ ← φ + α·(w − φ), w ← φ after every k updates; the inner slots likewise, or anew."""

    def __init__(self, inner: Any, period: int, size: float, on_sync: str = "keep") -> None:
        super().__init__(inner)
        self.period, self.size, self.on_sync = period, size, on_sync
        self.slow: Arrays = []
        self.slow_slots: dict[str, Arrays] = {}
        self.count = 0

    def apply(self, gradients: Arrays, weights: Arrays, weight: float = 1.0) -> Arrays:
        self.slow = self.slow or [w.copy() for w in weights]
        count = self.iterations
        return self._pull(count, self.inner.apply(gradients, weights, weight))

    def flush(self, weights: Arrays) -> Arrays:
        return self._pull(self.iterations, self.inner.flush(weights))

    def _pull(self, count: int, weights: Arrays) -> Arrays:
        self.count += self.iterations > count
        if self.count < self.period:
            return weights
        self.count = 0
        self.slow = self._between(self.slow, weights)
        innermost = self.inner
        while hasattr(innermost, "inner"):
            innermost = innermost.inner
        for name in innermost.slots if self.on_sync != "keep" else ():
            fast = getattr(innermost, name)
            zeros = [np.zeros_like(slot) for slot in fast]
            slow = self._between(self.slow_slots.get(name, zeros), fast)
            self.slow_slots[name] = slow if self.on_sync == "pullback" else zeros
            setattr(innermost, name, self.slow_slots[name])
        return [w.copy() for w in self.slow]

    def _between(self, slow: Arrays, fast: Arrays) -> Arrays:
        return [s + self.size * (f - s) for s, f in zip(slow, fast, strict=True)]

    def state(self) -> dict[str, Arrays]:
        return {**self.inner.state(), "slow": self.slow}


class AverageOracle(Oracle):
    """a ← a + r(t)·(w − a) at update t = 1, 2, …; a starts at the weights of the first gradient."""

    def __init__(self, inner: Any, rates: dict[str, Callable[[int], float]]) -> None:
        super().__init__(inner)
        self.rates = rates
        self.averages: dict[str, Arrays] = {}
        self.updates = 0

    def apply(self, gradients: Arrays, weights: Arrays, weight: float = 1.0) -> Arrays:
        self.averages = self.averages or {name: [w.copy() for w in weights] for name in self.rates}
        count = self.iterations
        return self._follow(count, self.inner.apply(gradients, weights, weight))

    def flush(self, weights: Arrays) -> Arrays:
        return self._follow(self.iterations, self.inner.flush(weights))

    def _follow(self, count: int, weights: Arrays) -> Arrays:
        if self.iterations > count:
            self.updates += 1
            for name, rate in self.rates.items():
                pairs = zip(self.averages[name], weights, strict=True)
                self.averages[name] = [a + rate(self.updates) * (w - a) for a, w in pairs]
        return weights

    def state(self) -> dict[str, Arrays]:
        flat = [average for name in sorted(self.averages) for average in self.averages[name]]
        return {**self.inner.state(), "average_slots": flat}


class GroupsOracle:
    """An oracle for each group of weights, on gradients that were clipped together."""

    def __init__(self, oracles: list[Any], places: list[int]) -> None:
        self.oracles = oracles
        self.places = places

    @property
    def iterations(self) -> int:
        return max(oracle.iterations for oracle in self.oracles)

    def apply(self, gradients: Arrays, weights: Arrays, weight: float = 1.0) -> Arrays:
        return self._each(lambda one, g, w: one.apply(g, w, weight), gradients, weights)

    def flush(self, weights: Arrays) -> Arrays:
        return self._each(lambda one, g, w: one.flush(w), weights, weights)

    def _each(self, step: Any, gradients: Arrays, weights: Arrays) -> Arrays:
        new = list(weights)
        for number, oracle in enumerate(self.oracles):
            own = [i for i, place in enumerate(self.places) if place == number]
            stepped = step(oracle, [gradients[i] for i in own], [weights[i] for i in own])
            for i, value in zip(own, stepped, strict=True):
                new[i] = value
        return new

    def state(self) -> dict[str, Arrays]:
        return {}
