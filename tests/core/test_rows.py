"""Gradients of embeddings by rows: the same as dense ones, at the price of the rows alone."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from kooler.core.rows import look_up
from kooler.core.table import read
from kooler.core.types import Tensor
from tests.conftest import BACKEND
from tests.toys import Nothing, TableDescent, Trail, Window, serializable

LENGTH, DIMENSION = 61, 7  # numbers that no other tensor of the model has
RANDOM = np.random.default_rng(7)
IDS = RANDOM.integers(0, LENGTH, (12, 5))
Y = RANDOM.normal(size=(12, 1)).astype("float32")


@serializable
class Pooled(keras.Model):
    """The mean of some rows, and a layer on top; `extra(outputs)` may use the table once more."""

    def __init__(self, embedding: Any = None, extra: Any = None) -> None:
        super().__init__()
        self.table = embedding or keras.layers.Embedding(LENGTH, DIMENSION, name="table")
        self.head = keras.layers.Dense(1)
        self.extra = extra

    def call(self, ids: Any) -> Any:
        outputs = self.head(ops.mean(self.table(ids), axis=1))
        return outputs if self.extra is None else self.extra(self, outputs)


def trained(
    optimizer: Any, ids: Any = IDS, make: Any = Pooled, **arguments: Any
) -> tuple[keras.Model, Any]:
    """A model after two epochs, and its table before."""
    keras.utils.set_random_seed(5)
    model = make()
    model.compile(optimizer, loss="mse", **arguments)
    model(ids[:1])
    before = np.array(ops.convert_to_numpy(model.table.embeddings))
    model.fit(ids, Y[: len(ids)], batch_size=4, epochs=2, shuffle=False, verbose=0)
    return model, before


def by_rows(rate: float = 0.5) -> TableDescent:
    return TableDescent(keras.optimizers.SGD(0.5), rate=rate)


def numbers(tensor: Any) -> Any:
    return np.array(ops.convert_to_numpy(tensor))


def assert_close(one: keras.Model, other: keras.Model) -> None:
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)


def test_descent_by_rows_is_dense_descent() -> None:
    ours, before = trained(by_rows())
    dense, _ = trained(keras.optimizers.SGD(0.5))

    assert_close(ours, dense)
    untouched = np.setdiff1d(np.arange(LENGTH), IDS)
    np.testing.assert_array_equal(numbers(ours.table.embeddings)[untouched], before[untouched])


def test_each_batch_counts_a_row_once() -> None:
    model, _ = trained(by_rows())

    expected = Counter(i for batch in np.split(IDS, 3) for i in set(batch.ravel()))
    found = numbers(model.optimizer.counts[0])
    assert found.tolist() == [2 * expected[i] for i in range(LENGTH)]


def test_negative_ids_count_from_the_end() -> None:
    ids = np.where(IDS % 2, IDS, IDS - LENGTH)
    from_the_end, _ = trained(by_rows(), ids)
    from_the_start, _ = trained(by_rows())

    assert_close(from_the_end, from_the_start)


def test_a_frozen_table_is_left_alone() -> None:
    frozen = keras.layers.Embedding(LENGTH, DIMENSION, name="table", trainable=False)
    model, before = trained(by_rows(), make=lambda: Pooled(frozen))

    np.testing.assert_array_equal(numbers(model.table.embeddings), before)


def test_a_wrapper_says_what_the_rows_are_worth() -> None:
    @serializable
    class Overdue(TableDescent):
        """Every row is to be three times what the table says."""

        def look_up(self, table: Any, ids: Tensor) -> Tensor:
            return 3 * super().look_up(table, ids)

    model, before = trained(Overdue(keras.optimizers.SGD(0.0), rate=0.0), metrics=["mae"])
    loss = model.history.history["loss"][0]
    outputs = 3 * before[IDS].mean(axis=1) @ numbers(model.head.kernel)

    assert loss == pytest.approx(np.mean((Y - outputs) ** 2), rel=1e-5)


def test_outer_wrappers_act_on_the_table_too() -> None:
    model, before = trained(Trail(by_rows(), decay=0.0))

    for average, variable in zip(model.optimizer.averages, model.trainable_variables, strict=True):
        np.testing.assert_array_equal(numbers(average), numbers(variable))
    assert not np.array_equal(numbers(model.table.embeddings), before)


# What the loss must not do with a table.


def softmax(model: Any, outputs: Any) -> Any:
    logits = ops.matmul(ops.ones((1, DIMENSION)), ops.transpose(model.table.embeddings))
    return outputs + ops.mean(ops.softmax(logits))


def by_hand(model: Any, outputs: Any) -> Any:
    return outputs + ops.mean(ops.take(model.table.embeddings, ops.arange(3), axis=0))


def reversed_embedding(model: Any, outputs: Any) -> Any:
    return outputs + ops.mean(model.table(ops.ones((2, DIMENSION)), reverse=True))


@pytest.mark.parametrize("use", [softmax, by_hand, reversed_embedding])
def test_a_table_that_is_used_elsewhere_is_an_error(use: Any) -> None:
    embedding = keras.layers.ReversibleEmbedding(LENGTH, DIMENSION, name="table")

    with pytest.raises(ValueError, match="table/embeddings' is also used outside of the look-ups"):
        trained(by_rows(), make=lambda: Pooled(embedding, use))


def test_a_table_that_is_only_looked_at_is_none() -> None:
    def norm(model: Any, outputs: Any) -> Any:
        return outputs + 0 * ops.stop_gradient(ops.mean(model.table.embeddings))

    watched, _ = trained(by_rows(), make=lambda: Pooled(extra=norm))
    plain, _ = trained(by_rows())

    assert_close(watched, plain)


@pytest.mark.parametrize(
    "argument",
    [{"embeddings_regularizer": "l2"}, {"embeddings_constraint": "unit_norm"}],
    ids=["regularizer", "constraint"],
)
def test_a_table_with_a_regularizer_or_a_constraint_is_an_error(argument: Any) -> None:
    embedding = keras.layers.Embedding(LENGTH, DIMENSION, name="table", **argument)

    with pytest.raises(ValueError, match="table/embeddings' has a regularizer or a constraint"):
        trained(by_rows(), make=lambda: Pooled(embedding))


def test_a_layer_that_does_more_than_looking_up_is_an_error() -> None:
    class Scaled(keras.layers.Embedding):
        def call(self, ids: Any) -> Any:
            return 2 * super().call(ids)

    lora = keras.layers.Embedding(LENGTH, DIMENSION, name="table", lora_rank=2)
    for embedding in (Scaled(LENGTH, DIMENSION, name="table"), lora):
        with pytest.raises(ValueError, match=r"'table' .* does more than look up rows of one var"):
            trained(by_rows(), make=lambda e=embedding: Pooled(e))


def test_two_wrappers_for_one_table_are_an_error() -> None:
    @serializable
    class Another(TableDescent):
        passes_rows = True

    with pytest.raises(ValueError, match="Another and TableDescent both take the gradient of 'tab"):
        trained(Another(by_rows(), rate=0.1))


def test_a_wrapper_that_keeps_gradients_must_not_stand_around() -> None:
    with pytest.raises(ValueError, match="TableDescent takes gradients by rows, which Window"):
        trained(Nothing(Window(by_rows(), 2)))


# What it costs.

SHAPE = (LENGTH, DIMENSION)
TABLE = rf"\[{LENGTH},{DIMENSION}\]"


def step_of(model: keras.Model) -> tuple[Any, Any, Any]:
    """The train step as a function, its state and a batch, as Keras's JAX trainer calls it."""
    groups = (
        model.trainable_variables,
        model.non_trainable_variables,
        model.optimizer.variables,
        model.metrics_variables,
    )
    state = tuple([variable.value for variable in group] for group in groups)
    return model.train_step, state, (IDS[:4].astype("int32"), Y[:4])


def equations(jaxpr: Any) -> Iterator[Any]:
    """All equations of a program, those of the programs inside of it included."""
    for equation in jaxpr.eqns:
        inside = [p.jaxpr for p in equation.params.values() if hasattr(p, "jaxpr")]
        inside += [p for p in equation.params.values() if hasattr(p, "eqns")]
        yield from (e for one in inside for e in equations(one))
        if not inside:
            yield equation


def touches_the_table(equation: Any) -> bool:
    shapes = [getattr(v.aval, "shape", ()) for v in [*equation.invars, *equation.outvars]]
    return SHAPE in [tuple(shape) for shape in shapes]


@pytest.mark.skipif(BACKEND != "jax", reason="reads the program of JAX")
def test_jax_only_gathers_and_scatters() -> None:
    import jax

    function, state, batch = step_of(trained(by_rows())[0])
    program = jax.make_jaxpr(function)(state, batch)
    used = {e.primitive.name for e in equations(program.jaxpr) if touches_the_table(e)}
    compiled = jax.jit(function, donate_argnums=0).lower(state, batch).compile().as_text()
    instructions = set(re.findall(rf"= f32{TABLE}\S* ([\w-]+)\(", compiled))

    assert used - {"stop_gradient"} == {"gather", "scatter"}
    assert instructions <= {"parameter", "fusion", "scatter"}  # what is fused is listed as well


@pytest.mark.skipif(BACKEND != "torch", reason="listens to the operations of PyTorch")
def test_torch_only_gathers_and_scatters() -> None:
    from torch.utils._python_dispatch import TorchDispatchMode

    used: set[str] = set()

    class Listen(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore
            result = function(*args, **(kwargs or {}))
            if any(tuple(getattr(t, "shape", ())) == SHAPE for t in [*args, result]):
                used.add(function.__name__)
            return result

    model, _ = trained(by_rows())
    with Listen():
        model.train_on_batch(IDS[:4], Y[:4])

    assert used == {f"{n}.default" for n in ("detach", "embedding", "index_select", "index_copy_")}


@pytest.mark.skipif(BACKEND != "tensorflow", reason="reads the graph of TensorFlow")
def test_tensorflow_only_gathers_and_scatters() -> None:
    import tensorflow as tf

    model, _ = trained(by_rows(), jit_compile=False)
    batch = tf.constant(IDS[:4].astype("int32")), tf.constant(Y[:4])
    graph = tf.function(model.train_step).get_concrete_function(batch).graph
    whole = [o for o in graph.get_operations() for t in o.outputs if t.shape.as_list() == [*SHAPE]]

    assert whole == []


def test_looking_up_and_reading_agree() -> None:
    table = keras.Variable(RANDOM.normal(size=SHAPE).astype("float32"))
    ids = ops.convert_to_tensor([4, 0, 4], dtype="int32")

    np.testing.assert_array_equal(numbers(look_up(table, ids)), numbers(read(table, ids)))
