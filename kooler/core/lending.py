"""Other values in the place of a model's own, for a while; the own ones always come back.

    with lent(model, [(variable, value), …]):
        model.evaluate(x, y)

Own and lent values change places by reference or by copy, never by arithmetic, so that what comes
back is what went, bit for bit, and looking at a model does not change its training.

A callback has no block to stand in: it keeps the `Loan`, and gives it back in a later method, which
an exception may skip. So `fit`, `evaluate` and `predict` of a model with kooler wrappers end in
`returning`, and give back what was lent while they ran.
"""

import contextlib
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import keras
from keras import ops

from kooler.core import compat
from kooler.core.types import Tensor

Pairs = Sequence[tuple[Any, Any]]

_open: "weakref.WeakKeyDictionary[Any, list[Loan]]" = weakref.WeakKeyDictionary()


class Loan:
    """Values that stand in a model's variables until `give_back`.

    Args:
        model: A built Keras model.
        pairs: Variables of the model, and what to put there: variables or tensors of that shape, in
            any floating-point type.
    """

    def __init__(self, model: Any, pairs: Pairs) -> None:
        _sync(model)
        self._model = weakref.ref(model)
        self._own = [(variable, _now(variable)) for variable, _ in pairs]
        _open.setdefault(model, []).append(self)
        _write([(variable, ops.cast(_copy(value), variable.dtype)) for variable, value in pairs])

    def give_back(self) -> None:
        """Puts the own values back, after those of loans that were made later."""
        model = self._model()
        loans = _open.get(model, []) if model is not None else []
        if self not in loans:
            return
        _sync(model)
        while self in loans:
            _write(loans.pop()._own)


@contextlib.contextmanager
def lent(model: Any, pairs: Pairs) -> Iterator[None]:
    """Lends values to a model while the block runs; see `Loan`."""
    loan = Loan(model, pairs)
    try:
        yield
    finally:
        loan.give_back()


@contextlib.contextmanager
def returning(model: Any) -> Iterator[None]:
    """When the block ends, however it ends, what was lent to the model meanwhile is given back."""
    before = list(_open.get(model, []))
    try:
        with compat.kept_values(model):
            yield
    finally:
        for loan in [one for one in _open.get(model, []) if one not in before][:1]:
            loan.give_back()


def _sync(model: Any) -> None:
    """On JAX the trainer holds the values during an epoch."""
    if keras.backend.backend() == "jax":
        model.jax_state_sync()


def _write(pairs: Pairs) -> None:
    for variable, value in pairs:
        variable.assign(value)


def _now(variable: Any) -> Tensor:
    """What a variable holds now, whatever happens to it; JAX's arrays never change."""
    return variable.value if keras.backend.backend() == "jax" else _copy(variable)


def _copy(value: Any) -> Tensor:
    """In a buffer of its own: JAX gives away the buffers of variables to compiled steps."""
    tensor = ops.convert_to_tensor(value)
    return ops.copy(tensor.detach() if keras.backend.backend() == "torch" else tensor)
