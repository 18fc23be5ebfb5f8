"""The place of arrays in `fit`, `evaluate` and `predict`, taken by something of our own."""

import sys
from collections.abc import Iterator
from typing import Any

import keras
from keras.src.trainers.data_adapters import data_adapter_utils
from keras.src.trainers.data_adapters.data_adapter import DataAdapter
from keras.src.trainers.epoch_iterator import EpochIterator


class Feed(DataAdapter):
    """What Keras's trainers accept in the place of arrays, and what it says to whoever feeds them.

    Keras tells a data adapter neither whether it asks for training or for evaluation, nor that a
    batch is drawn only to see its shape.  Both stand on the stack when it calls `on_epoch_begin`.

    Relies on: `get_data_adapter` hands a `DataAdapter` through; every backend's trainer runs
    `EpochIterator._enumerate_iterator`, which calls `on_epoch_begin` before it asks for an iterator
    and reads `_num_batches` after; `fit` and `evaluate` keep the names of their arguments; a
    used-up iterator is warned about by `_interrupted_warning`; on an accelerator JAX's trainer
    draws a batch ahead by `_one_batch_ahead_iterator`, which would be lost when `fit` ends, so that
    here it draws none.
    """

    batch_size = None
    has_partial_batch = None
    partial_batch_size = None

    def __init__(self) -> None:
        self._asked: tuple[str, bool] = ("read", False)
        self._failure: Exception | None = None
        self._reader: Any = None

    def batches(self, purpose: str, endless: bool) -> Iterator[Any]:
        """The batches of a pass.

        Args:
            purpose: "train"; "build", of which only shapes are looked at; or "read".
            endless: Whether the trainer counts the steps itself, beyond the end of an epoch.
        """
        raise NotImplementedError

    def batches_left(self, purpose: str) -> int | None:
        """How many batches a pass would have now, None if that is not known."""
        raise NotImplementedError

    def examples(self) -> list[Any]:
        """A few batches whose shapes show which axes vary."""
        raise NotImplementedError

    def on_epoch_begin(self) -> None:
        """Notes who asks, and tells how many batches there are."""
        self._reader, purpose = _reader_on_stack()
        reader = self._reader
        endless = purpose == "train" and reader.steps_per_epoch is not None
        self._asked = purpose, endless
        if reader is None:
            return
        reader._num_batches = None if endless else self.batches_left(purpose)
        vars(reader)["_one_batch_ahead_iterator"] = iter
        if purpose == "read":  # each time from the first batch
            reader._current_iterator = None
        vars(reader).pop("_interrupted_warning", None)
        if reader.steps_per_epoch is None or purpose == "build":  # the end of a pass is no accident
            reader._interrupted_warning = _say_nothing

    def on_epoch_end(self) -> None:
        """Raises what was raised within TensorFlow, which would tell of it in its own words."""
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure from failure.__cause__

    def get_numpy_iterator(self) -> Iterator[Any]:
        """Batches of NumPy arrays."""
        batches: Iterator[Any] = data_adapter_utils.get_numpy_iterator(self._pass(self._asked))
        return batches

    def get_jax_iterator(self, super_batch: int | None = None) -> Iterator[Any]:
        """Batches that JAX can be fed; where Keras 3.16 asks for it, several as one.

        There it also asks here, and nowhere before, for a batch that it only looks at.
        """
        looked_at = sys._getframe(1).f_code.co_name == "_maybe_symbolic_build"
        asked = ("build", False) if looked_at else self._asked
        batches: Iterator[Any] = data_adapter_utils.get_jax_iterator(self._pass(asked))
        if super_batch is None:
            return batches
        together: Iterator[Any] = data_adapter_utils.super_batch_iterator(batches, super_batch)
        return together

    def get_torch_dataloader(self) -> Any:
        """A loader that hands on tensors on the device of the model, and reads nothing ahead."""
        return data_adapter_utils.get_torch_dataloader(self._pass(self._asked))

    def get_tf_dataset(self) -> Any:
        """A dataset that reads nothing ahead."""
        import tensorflow as tf

        signature = data_adapter_utils.get_tensor_spec([_tuples(one) for one in self.examples()])
        dataset = tf.data.Dataset.from_generator(
            lambda: self._guarded(signature), output_signature=signature
        )
        options = tf.data.Options()
        options.experimental_optimization.inject_prefetch = False
        return dataset.with_options(options)

    def _pass(self, asked: tuple[str, bool]) -> Iterator[Any]:
        for batch in self.batches(*asked):
            yield _tuples(batch)

    def _guarded(self, signature: Any) -> Iterator[Any]:
        try:
            for batch in self._pass(self._asked):
                keras.tree.map_structure(_check_shape, batch, signature)
                yield batch
        except Exception as error:
            self._failure = error
            self._reader._interrupted_warning = _say_nothing


_PURPOSES = {
    "fit": "train",
    "evaluate": "read",
    "predict": "read",
    "_symbolic_build": "build",
    "_maybe_symbolic_build": "build",
}


def _reader_on_stack() -> tuple[Any, str]:
    """The iterator of a trainer that called the caller, and what for; None without a trainer."""
    frame: Any = sys._getframe(2)
    if frame.f_code is not EpochIterator._enumerate_iterator.__code__:
        return None, "read"
    reader = frame.f_locals["self"]
    while frame is not None and frame.f_code.co_name not in _PURPOSES:
        frame = frame.f_back
    if frame is None:
        return reader, "read"
    _check_alone(frame.f_code.co_name, frame.f_locals)
    return reader, _PURPOSES[frame.f_code.co_name]


def _check_alone(method: str, arguments: dict[str, Any]) -> None:
    """Keras says nothing of arguments that it leaves out where the data have an adapter."""
    for name in ("y", "sample_weight", "class_weight"):
        if arguments.get(name) is not None and method in ("fit", "evaluate"):
            raise ValueError(
                f"`{method}` was given `{name}` beside data that come in batches of their own, and "
                "Keras would leave it out. Let a batch be (inputs, targets, sample_weights)."
            )


def _say_nothing() -> None:
    pass


def _tuples(batch: Any) -> Any:
    return tuple(batch) if isinstance(batch, list) else batch


def _check_shape(array: Any, spec: Any) -> None:
    if not spec.shape.is_compatible_with(array.shape):
        raise ValueError(
            f"TensorFlow was promised arrays of shape {tuple(spec.shape)}, and a batch has one of "
            f"shape {tuple(array.shape)}. An axis varies that did not vary in the batches that "
            "were looked at (of a generator the first two, else the first, middle and last one). "
            "Let these differ in it, or pad all batches to one shape."
        )
