"""Exchanging the weights of a model for their averages, and back.

Where an average serves is in looking at the model: to validate, predict, and save.  So it takes the
place of the weights for that long,

    with averaged_weights(model):            model.fit(…, callbacks=[AveragedWeights()])
        model.save("averaged.keras")

and then the weights come back, bit for bit, after an exception too (`kooler/core/lending.py`).  A
model that is saved within the block *is* its average; one that is saved outside has both, and its
training can go on.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras

from kooler.callbacks.batch_statistics import update_batch_statistics
from kooler.core import attach
from kooler.core.lending import Loan, lent


@contextlib.contextmanager
def averaged_weights(model: Any, name: str = "average") -> Iterator[None]:
    """While the block runs, the model has the averaged weights.

    With `batch_statistics="recompute"`, call `update_batch_statistics` first thing in the block.

    Args:
        model: A model that was compiled with `WeightAverage`.
        name: Which of its averages.

    Raises:
        ValueError: There is no such average.

    Example:
        >>> with averaged_weights(model, "slow"):
        ...     model.evaluate(x, y)
    """
    with lent(model, alternative(model, name)):
        yield


class AveragedWeights(keras.callbacks.Callback):
    """Validates, evaluates and predicts with the averaged weights.

    Args:
        name: Which of the averages.
        data: For `batch_statistics="recompute"`: what `update_batch_statistics` takes; it is read
            at each validation.

    Example:
        >>> model.fit(x, y, validation_data=held_out, callbacks=[AveragedWeights()])
    """

    async_safe = True  # nothing happens after a batch, so Keras need not wait for us

    def __init__(self, name: str = "average", *, data: Any = None) -> None:
        super().__init__()
        self.name = name
        self._data = data
        self._loan: Loan | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        """Finds out whether there is such an average, before the training and not after."""
        alternative(self.model, self.name)
        self._check_data()

    def on_test_begin(self, logs: Any = None) -> None:
        """The averages go in."""
        self._check_data()
        self._loan = Loan(self.model, alternative(self.model, self.name))
        if self._data is not None:
            update_batch_statistics(self.model, self._data)

    def on_test_end(self, logs: Any = None) -> None:
        """The weights come back."""
        if self._loan is not None:
            self._loan.give_back()
            self._loan = None

    def on_predict_begin(self, logs: Any = None) -> None:
        """The averages go in."""
        self.on_test_begin(logs)

    def on_predict_end(self, logs: Any = None) -> None:
        """The weights come back."""
        self.on_test_end(logs)

    def _check_data(self) -> None:
        for wrapper in attach.wrappers_in(self.model.optimizer):
            policy = getattr(wrapper, "batch_statistics", None)
            if policy == "recompute" and self.name in wrapper.alternatives() and self._data is None:
                raise ValueError(
                    "With batch_statistics='recompute', AveragedWeights needs the data to compute "
                    "them from, received data=None. Write AveragedWeights(data=x), with some "
                    "thousand examples of the training data."
                )


def alternative(model: Any, name: str) -> list[tuple[Any, Any]]:
    """The variables of a model, and what another name has for them.

    Args:
        model: A built model, compiled with wrappers.
        name: For instance that of an average.

    Raises:
        TypeError: `model` is no Keras model.
        ValueError: It is not built or compiled, or has nothing of that name.
    """
    _check_model(model)
    found = [wrapper.alternatives() for wrapper in attach.wrappers_in(model.optimizer)]
    named = [pairs for one in found for other, pairs in one.items() if other == name]
    if not named:
        names = ", ".join(repr(other) for one in found for other in one) or "none"
        raise ValueError(
            f"The optimizer of {model.name!r} keeps no average called {name!r}; it keeps: {names}. "
            "Compile the model with WeightAverage(optimizer, EMA(0.999)), or name one of these."
        )
    pairs = [pair for one in named for pair in one]
    trained = [id(variable) for variable, slot in pairs if variable.trainable]
    if len(trained) > len(set(trained)):
        raise ValueError(
            f"Two wrappers in the optimizer of {model.name!r} keep an average called {name!r}. "
            "Give them names: WeightAverage(optimizer, {'slow': EMA(0.999)})."
        )
    return list({id(variable): (variable, slot) for variable, slot in pairs}.values())


def _check_model(model: Any) -> None:
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"Averaged weights need a Keras model, received {model!r} of type "
            f"{type(model).__name__}."
        )
    if getattr(model, "optimizer", None) is None:
        raise ValueError(
            f"The model {model.name!r} is not compiled, so nothing averages its weights. Call "
            "`model.compile(WeightAverage(…), …)` first."
        )
    if not model.built:
        raise ValueError(
            f"The model {model.name!r} is not built, so it has no weights to exchange. Train it, "
            "or call it on a batch."
        )
