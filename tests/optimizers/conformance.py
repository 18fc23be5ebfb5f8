"""The conformance suite of the update seam: one row per technique, every promise for each of them.

    CASES = [
        Case("window", lambda o: Window(o, 3), lambda o: WindowOracle(o, 3),
             neutral=lambda o: Window(o, 1), state=("sums",)),
    ]

`compose(*cases)` nests rows, outermost first.  `test_conformance.py` runs for each row

- **exact**: the weights and every named state after every gradient equal the NumPy oracle;
- **neutral**: the setting that switches it off is the inner optimizer, bit for bit;
- **composable**: all pairs, both ways round;
- **flushed**: what waits is applied as the oracle says;
- **resumable**: saved after every step, loaded in another process, continued: equal bit for bit.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from kooler.core.attach import wrappers_in
from kooler.core.batch import Batch, applying

STEPS = 50
SHAPES = ((), (3,), (5, 4), (3, 3, 2, 4))
WEIGHTS = (3.0, 50.0, 7.0, 20.0)  # of batches, in turn


@dataclass(frozen=True)
class Case:
    """A technique under test.

    Args:
        name: For the report.
        wrap: Makes the wrapper around an optimizer.
        oracle: Makes its oracle around an oracle.
        neutral: Makes the wrapper in the setting that changes nothing, if there is one.
        state: Attributes of the wrapper, and keys of `oracle.state()`, to compare.
    """

    name: str
    wrap: Callable[[Any], Any]
    oracle: Callable[[Any], Any]
    neutral: Callable[[Any], Any] | None = None
    state: Sequence[str] = ()


def compose(*cases: Case) -> Case:
    """Several techniques in one another, the first outermost."""

    def nested(makers: list[Callable[[Any], Any]]) -> Callable[[Any], Any]:
        def make(inner: Any) -> Any:
            for maker in reversed(makers):
                inner = maker(inner)
            return inner

        return make

    return Case(
        " of ".join(case.name for case in cases),
        nested([case.wrap for case in cases]),
        nested([case.oracle for case in cases]),
        state=tuple(dict.fromkeys(name for case in cases for name in case.state)),
    )


def pairs(cases: Sequence[Case]) -> list[Case]:
    """All ordered pairs of different techniques."""
    return [compose(one, other) for one, other in itertools.permutations(cases, 2)]


def gradients(seed: int = 0, steps: int = STEPS) -> Iterator[list[np.ndarray]]:
    """A fixed stream of float32 gradients of all shapes."""
    random = np.random.default_rng(seed)
    for _ in range(steps):
        yield [random.normal(size=shape).astype("float32") for shape in SHAPES]


def fresh_variables(seed: int = 1) -> list[Any]:
    """Variables of all shapes, the same each time."""
    random = np.random.default_rng(seed)
    values = [random.normal(size=shape).astype("float32") for shape in SHAPES]
    return [keras.Variable(value, name=f"v{i}") for i, value in enumerate(values)]


def follow_oracle(case: Case, inner: Any, oracle: Any, tolerance: float, flush_after: int) -> None:
    """Feeds wrapper and oracle the same stream, and compares after every gradient.

    Args:
        case: The technique.
        inner: A Keras optimizer.
        oracle: The oracle of that optimizer.
        tolerance: Largest allowed difference, absolute for numbers below 1, relative above.
        flush_after: After this many gradients what waits is applied, once.
    """
    optimizer, oracle = case.wrap(inner), case.oracle(oracle)
    variables = fresh_variables()
    weights = [np.array(array(v), "float64") for v in variables]
    optimizer.build(variables)
    apply = applier(optimizer, variables)
    for step, stream in enumerate(gradients()):
        weight = WEIGHTS[step % len(WEIGHTS)]
        apply(stream, weight)
        weights = oracle.apply([g.astype("float64") for g in stream], weights, weight)
        if step + 1 == flush_after:
            optimizer.settle("flush")
            weights = oracle.flush(weights)
        compare(f"{case.name}, step {step + 1}, weights", variables, weights, tolerance)
        compare_state(case, step, optimizer, oracle, tolerance)


def applier(optimizer: Any, variables: list[Any]) -> Callable[[list[np.ndarray], float], None]:
    """A function that applies gradients; compiled on JAX, where the trainer compiles it as well."""
    if keras.backend.backend() != "jax":

        def apply(stream: list[np.ndarray], weight: float) -> None:
            with applying(Batch(examples=weight)):
                optimizer.apply([ops.convert_to_tensor(g) for g in stream], variables)

        return apply

    import jax

    @jax.jit
    def stateless(slots: Any, stream: Any, weights: Any, weight: Any) -> Any:
        with applying(Batch(examples=weight)):
            return optimizer.stateless_apply(slots, stream, weights)

    def apply_compiled(stream: list[np.ndarray], weight: float) -> None:
        slots = [variable.value for variable in optimizer.variables]
        results = stateless(slots, stream, [variable.value for variable in variables], weight)
        for variable, value in zip(
            [*variables, *optimizer.variables], [*results[0], *results[1]], strict=True
        ):
            variable.assign(value)

    return apply_compiled


def compare_state(case: Case, step: int, optimizer: Any, oracle: Any, tolerance: float) -> None:
    """Every named state tensor of every wrapper in the nesting."""
    expected = oracle.state()
    for name in case.state:
        (owner,) = [one for one in wrappers_in(optimizer) if hasattr(one, name)]
        label = f"{case.name}, step {step + 1}, {name}"
        if expected[name]:  # an inner oracle makes its state when the first gradient reaches it
            state = keras.tree.flatten(getattr(owner, name))
            compare(label, state, expected[name], tolerance)


def compare(
    label: str, variables: Sequence[Any], expected: Sequence[Any], tolerance: float
) -> None:
    """Raises with the label where a variable is not what the oracle says."""
    for variable, wanted in zip(variables, expected, strict=True):
        np.testing.assert_allclose(
            array(variable), wanted, rtol=tolerance, atol=tolerance, err_msg=label
        )


def array(variable: Any) -> np.ndarray:
    """A NumPy copy of a variable."""
    return np.array(ops.convert_to_numpy(variable))
