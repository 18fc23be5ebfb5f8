"""Any tensor inside of a model: its value, another value in its place, the gradient by it.

    capture = Capture(model, ["block/attend.scores", "block_*/feed_forward"])
    values = capture.predict(x)        # {"output": …, "block/attend.scores": …, …}

A `Capture` is a Keras model around the model, with the same weights, that returns a dictionary: the
model's output and the captured tensors. So it predicts in batches, compiled; it can be evaluated
and trained with losses on inner tensors; and what nobody uses of the computation, the compiler
removes. The model itself is not rebuilt, not changed and not even touched: hooks stand around
the `call` of its layers only while the `Capture` runs or is traced (`probe.py`).

With `patch` a tensor is replaced on its way: by zeros (ablation), by a function of itself
(steering), by what it was for another input. The idea is that of TransformerLens's hooks and of
nnsight (https://arxiv.org/abs/2407.14561); names are explained in `tensor_names.py`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kooler.core import compat
from kooler.core.compiled import compiled
from kooler.core.differentiate import differentiate
from kooler.core.types import Tensor
from kooler.models.probe import Probe
from kooler.models.tensor_names import Pattern

OUTPUT = "output"


class Capture(keras.Model):
    """A model that returns tensors from inside of another model.

    Args:
        model: A Keras model; its weights are shared.
        names: A name or several: of layers ("block/attend": their outputs), of local variables of
            their `call` ("block/attend.scores"), or given by `tap`; `*` matches within a
            segment of a path, `#1` is the second call, `#*` every call. Or a dictionary: what a
            tensor is to be called → its name.
        patch: Name → a value (broadcast to the shape of the tensor), or a function of the tensor.
            A tensor that is captured and patched is returned as patched.
        output: Whether the output of the model is returned too, as "output". Without it, all that
            comes after the captured tensors is removed by the compiler.
        name: Name of this model.

    Raises:
        TypeError: A name is no string.
        ValueError: No such local variable; nothing named; a place that no value can leave; one name
            for several tensors. A name that nothing in the model has is noticed when the model
            first runs.

    Example:
        >>> Capture(model, "attend.scores").predict(x)["attend.scores"].shape
        (1000, 8, 20, 20)
        >>> Capture(model, [], patch={"attend.scores": lambda s: 0 * s}).predict(x)["output"]
    """

    def __init__(
        self,
        model: Any,
        names: str | Sequence[str] | Mapping[str, str],
        *,
        patch: Mapping[str, Any] | None = None,
        output: bool = True,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        if not isinstance(model, keras.layers.Layer):
            raise TypeError(f"`Capture` needs a Keras model, received {model!r}.")
        self.model = model
        called = names if isinstance(names, Mapping) else {}
        texts = list(called.values()) if called else [names] if _is_one(names) else names
        wanted = [Pattern(one) for one in texts]
        patches = [(Pattern(one), new) for one, new in (patch or {}).items()]
        if not wanted and not patches:
            raise ValueError(
                "`names` is empty and nothing is patched, so there is nothing to capture. "
                "`kooler.models.names(model)` lists what there is."
            )
        _check_own_names(called, output)
        self.output_returned = output
        with compat.untracked():
            self._asked = (wanted, patches)
            self._own_names: dict[str, list[str]] = {}
            for own, text in called.items():
                self._own_names.setdefault(Pattern(text).exact, []).append(own)
            self._probe = Probe(model, *self._asked) if model.built else None

    def call(self, inputs: Any, training: Any = None) -> dict[str, Any]:
        """Runs the model and returns its output together with the captured tensors."""
        return self._named(*self._run(inputs, training))

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """As every model's; on TensorFlow, losses and metrics need names without "#".

        Raises:
            ValueError: On TensorFlow a loss or a metric is for a name such as "attend#1".
        """
        named = [one for one in [*args, *kwargs.values()] if isinstance(one, Mapping)]
        numbered = [name for mapping in named for name in mapping if "#" in str(name)]
        if numbered and keras.backend.backend() == "tensorflow":
            raise ValueError(
                f"TensorFlow takes no '#' in the name of a loss or metric, received {numbered[0]!r}"
                f". Give the tensor a name of its own: `names={{'second': {numbered[0]!r}}}`."
            )
        super().compile(*args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """Refuses: a `Capture` has nothing of its own to save."""
        raise NotImplementedError(
            "A Capture is not saved: its weights are those of its model. Save `capture.model`, and "
            "make the Capture again after loading."
        )

    def gradients(
        self,
        x: Any,
        function: Callable[[dict[str, Any]], Tensor],
        *,
        batch_size: int = 32,
    ) -> dict[str, np.ndarray]:
        """The gradients of any number by each captured tensor, over a data set, compiled.

        Args:
            x: Arrays: the inputs of the model for all examples.
            function: Takes what this model returns (with "output") and returns a tensor, whose sum
                is differentiated: [batch], so that each example has its own gradient, or a
                scalar.
            batch_size: How many examples at a time.

        Returns:
            Name → gradient, with the shape of the captured tensor.  Zero where the number does not
            depend on it.

        Raises:
            ValueError: A captured tensor is not of floating point.

        Example:
            >>> capture.gradients(x, lambda values: values["output"][:, 3])
        """
        arrays = [np.asarray(leaf) for leaf in keras.tree.flatten(x)]
        structure = keras.tree.map_structure(lambda _: 0, x)

        def by_inner(*leaves: Tensor) -> dict[str, Tensor]:
            return self._gradients(keras.tree.pack_sequence_as(structure, leaves), function)

        run = compiled(by_inner, self.variables or self.model.variables)
        batches = [
            run(*(array[start : start + batch_size] for array in arrays))
            for start in range(0, len(arrays[0]), batch_size)
        ]
        return {
            name: np.concatenate([ops.convert_to_numpy(batch[name]) for batch in batches])
            for name in batches[0]
        }

    def _run(
        self, inputs: Any, training: Any, added: Mapping[str, Tensor] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        if not self.model.built:  # its layers do not exist yet
            compat.call_model(self.model, inputs, training)
        if self._probe is None:
            with compat.untracked():
                self._probe = Probe(self.model, *self._asked)
        with self._probe.running(added) as record:
            output = compat.call_model(self.model, inputs, training)
            self._probe.check(record)
        return output, record.values

    def _named(self, output: Any, values: dict[str, Any]) -> dict[str, Any]:
        named = self._under_own_names(values)
        return {OUTPUT: output, **named} if self.output_returned else named

    def _under_own_names(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {
            own: value
            for name, value in values.items()
            for own in self._own_names.get(name, [name])
        }

    def _gradients(
        self, inputs: Any, function: Callable[[dict[str, Any]], Tensor]
    ) -> dict[str, Tensor]:
        """Zeros are added to the tensors, and the gradient is taken by the zeros."""
        values = self._run(inputs, False)[1]
        for name, value in values.items():
            _check_float(name, value)

        def of_zeros(zeros: list[Tensor]) -> tuple[Tensor, None]:
            output, shifted = self._run(inputs, False, dict(zip(values, zeros, strict=True)))
            return ops.sum(function({OUTPUT: output, **self._named(output, shifted)})), None

        zeros = [ops.zeros_like(value) for value in values.values()]
        gradients = differentiate(of_zeros, zeros)[1]
        found = {
            name: ops.zeros_like(zero) if gradient is None else gradient
            for name, zero, gradient in zip(values, zeros, gradients, strict=True)
        }
        return self._under_own_names(found)


def _is_one(names: Any) -> bool:
    """Whether this is a name, not several; `Pattern` refuses what is no name at all."""
    return isinstance(names, str) or not isinstance(names, Iterable)


def _check_own_names(called: Mapping[str, str], output: bool) -> None:
    if output and OUTPUT in called:
        raise ValueError(
            f"{OUTPUT!r} is the name of the model's own output, so {called[OUTPUT]!r} cannot be "
            "called that. Take another name, or set `output=False`."
        )
    for own, text in called.items():
        if Pattern(text).many:
            raise ValueError(
                f"{text!r} may be several tensors, which cannot all be called {own!r}. Give a "
                "name to each of them, or pass the pattern in a list."
            )


def _check_float(name: str, value: Any) -> None:
    dtypes = [keras.backend.standardize_dtype(leaf.dtype) for leaf in keras.tree.flatten(value)]
    if len(dtypes) != 1 or not keras.backend.is_float_dtype(dtypes[0]):
        raise ValueError(
            f"{name!r} is no single tensor of floating point (it has {', '.join(dtypes)}), so "
            "there is no gradient by it. Leave it out of this `Capture`."
        )
