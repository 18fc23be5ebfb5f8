"""How many examples fit into memory: whole batches, and half as many whenever they do not.

An evaluation changes nothing (see `core/step.py`), so one that ran out of memory can be repeated in
smaller parts. Where the error appears, differs:

- PyTorch runs eagerly: it is raised inside of the evaluation, and caught there.
- JAX and TensorFlow run the compiled step, so it is raised by Keras's `train_function`. This one is
  replaced: it keeps the batch, halves, compiles anew, and tries again.

The batch is not trained on twice: on JAX a failed step returns no new state, on TensorFlow weights
are written last. If a failed step has taken the weights with it (JAX donates their memory to the
step), the error says so, and with what size to begin.
"""

import functools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import keras

from kooler.core.technique import Evaluation, Request


class Halving:
    """The number of examples that are evaluated at a time: None, the whole batch, until halved."""

    def __init__(self) -> None:
        self.size: int | None = None
        self.largest = 0  # examples of a batch, so far

    def evaluate(
        self, request: Request, evaluate: Callable[[int | None], Evaluation]
    ) -> Evaluation:
        """Evaluates with the size of now; on PyTorch with smaller ones where it must."""
        self.largest = keras.tree.flatten(request.data.x)[0].shape[0] or 0
        while True:
            try:
                return evaluate(self.size)
            except Exception as error:
                if keras.backend.backend() != "torch" or not out_of_memory(error):
                    raise
                self.halve(error)
            _free_memory()

    def halve(self, error: Exception) -> None:
        """Half as many examples from now on; an error where there is only one."""
        before = self.size or self.largest
        if before <= 1:
            raise error
        self.size = (before + 1) // 2
        _say(
            f"Microbatch('auto') ran out of memory with {before} examples at a time, and goes on "
            f"with {self.size}."
        )

    def watch(self, model: Any) -> None:
        """Stands around the compiled step of a model."""
        if not on_accelerator():
            _say(
                "Microbatch('auto') found no GPU: it takes whole batches, and smaller parts only "
                "if the backend reports that memory has run out. Give a size to bound it."
            )
        if keras.backend.backend() != "torch":
            vars(model)["make_train_function"] = functools.partial(self._make, model)
            model.train_function = None

    def leave(self, model: Any) -> None:
        """Gives the model its own step back."""
        vars(model).pop("make_train_function", None)
        model.train_function = None

    def _make(self, model: Any, force: bool = False) -> Any:
        if model.train_function is None or force:
            type(model).make_train_function(model, force=True)
            model.train_function = functools.partial(self._train, model, model.train_function)
        return model.train_function

    def _train(self, model: Any, train: Callable[..., Any], *arguments: Any) -> Any:
        *state, batches = arguments
        again = _Again(batches)
        while True:
            try:
                return train(*state, again.batches())
            except Exception as error:
                if not out_of_memory(error):
                    raise
                self.largest = keras.tree.flatten(again.drawn[-1])[0].shape[0]
                self.halve(error)
                _check_alive(state, self.size, error)
            type(model).make_train_function(model, force=True)
            train = model.train_function
            model.train_function = functools.partial(self._train, model, train)


class _Again:
    """The batches of one call of the compiled step, which can be drawn once more."""

    def __init__(self, source: Any) -> None:
        self.source = iter(source)
        self.drawn: list[Any] = []

    def batches(self) -> Iterator[Any]:
        """Those that the failed call has not been trained on, then the others."""
        if not self.drawn:
            self.drawn.append(next(self.source))  # its StopIteration is the end of the epoch
        # TensorFlow has written the weights of the batches before; JAX starts from its old state.
        start = len(self.drawn) - 1 if keras.backend.backend() == "tensorflow" else 0
        return self._from(start)

    def _from(self, start: int) -> Iterator[Any]:
        yield from list(self.drawn[start:])
        for batch in self.source:
            self.drawn.append(batch)
            yield batch


def out_of_memory(error: BaseException) -> bool:
    """Whether a backend says with this error that memory has run out."""
    names = {kind.__name__ for kind in type(error).__mro__}
    text = str(error)
    return bool(names & {"OutOfMemoryError", "ResourceExhaustedError"}) or any(
        sign in text for sign in ("RESOURCE_EXHAUSTED", "out of memory", "can't allocate memory")
    )


def on_accelerator() -> bool:
    """Whether the backend computes on a GPU (or TPU)."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return jax.default_backend() != "cpu"
    if backend == "torch":
        import torch

        return torch.cuda.is_available()
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def _check_alive(state: list[Any], size: int | None, error: Exception) -> None:
    if any(getattr(leaf, "is_deleted", bool)() for leaf in keras.tree.flatten(state)):
        raise RuntimeError(
            "The step that ran out of memory has taken the weights with it. Load them again, and "
            f"train with Microbatch({size})."
        ) from error


def _free_memory() -> None:
    """PyTorch keeps freed memory; another part needs it in other pieces."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _say(text: str) -> None:
    warnings.warn(text, UserWarning, stacklevel=4)
