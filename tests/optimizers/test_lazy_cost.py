"""What a lazy step costs, read in its program: nothing but gathers and scatters see a table."""

import re
from typing import Any

import keras
import pytest

from kooler.layers import SparseEmbedding
from kooler.optimizers import Accumulate, Lazy
from tests.conftest import BACKEND
from tests.core.test_rows import DIMENSION, IDS, LENGTH, SHAPE, Y, equations, step_of, trained

INNER = {
    "adam": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1, global_clipnorm=1.0),
    "momentum": lambda: keras.optimizers.SGD(0.01, momentum=0.9, weight_decay=0.1),
    "sgd": lambda: keras.optimizers.SGD(0.01),
    "adagrad": lambda: keras.optimizers.Adagrad(0.01, weight_decay=0.1),
}
CASES = [("adam", "catch_up"), ("momentum", "catch_up")]
SLOW = [("adam", "freeze"), ("adam", "decay"), ("sgd", "catch_up"), ("adagrad", "catch_up")]
CASES += [pytest.param(*case, marks=pytest.mark.compiles) for case in SLOW]


def one_step(kind: str, untouched: str, batches: int = 1, **arguments: Any) -> Any:
    lazy: Any = Lazy(INNER[kind](), "embeddings$", untouched=untouched)
    optimizer = lazy if batches == 1 else Accumulate(lazy, batches)
    return trained(optimizer, IDS[:4], **arguments)[0]


@pytest.mark.skipif(BACKEND != "jax", reason="reads the program of JAX")
@pytest.mark.parametrize(("kind", "untouched"), CASES)
def test_jax_only_gathers_and_scatters(kind: str, untouched: str) -> None:
    import jax

    function, state, batch = step_of(one_step(kind, untouched))
    program = jax.make_jaxpr(function)(state, batch)
    long = [e for e in equations(program.jaxpr) if _is_long(e)]
    compiled = jax.jit(function, donate_argnums=0).lower(state, batch).compile().as_text()
    sizes = rf"(?:f32|s32)\[{LENGTH}(?:,{DIMENSION})?\]"

    assert {e.primitive.name for e in long} - {"stop_gradient"} == {"gather", "scatter"}
    instructions = set(re.findall(rf"= {sizes}\S* ([\w-]+)\(", compiled))
    assert instructions <= {"parameter", "fusion", "scatter"}


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "jax", reason="reads the program of JAX")
def test_jax_accumulates_by_gathers_and_scatters() -> None:
    """The last condition is for windows of more rows than expected: it takes the whole list."""
    import jax

    function, state, batch = step_of(one_step("adam", "catch_up", batches=2))
    outer = list(equations(jax.make_jaxpr(function)(state, batch).jaxpr))
    usual, _ = [e for e in outer if e.primitive.name == "cond" and _is_long(e)]
    inner = [e for branch in usual.params["branches"] for e in equations(branch.jaxpr)]

    assert {e.primitive.name for e in outer if _is_long(e)} <= {"gather", "scatter", "cond"}
    assert {e.primitive.name for e in inner if _is_long(e)} == {"gather", "scatter"}


def _is_long(equation: Any) -> bool:
    shapes = [tuple(getattr(v.aval, "shape", ())) for v in [*equation.invars, *equation.outvars]]
    return any(shape[:1] == (LENGTH,) for shape in shapes)


@pytest.mark.skipif(BACKEND != "torch", reason="listens to the operations of PyTorch")
@pytest.mark.parametrize("batches", [1, 2])
@pytest.mark.parametrize(("kind", "untouched"), CASES)
def test_torch_only_gathers_and_scatters(kind: str, untouched: str, batches: int) -> None:
    from torch.utils._python_dispatch import TorchDispatchMode

    used: set[str] = set()

    class Listen(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore
            result = function(*args, **(kwargs or {}))
            if any(tuple(getattr(t, "shape", ()))[:1] == (LENGTH,) for t in [*args, result]):
                used.add(function.__name__)
            return result

    model = one_step(kind, untouched, batches)
    with Listen():
        for _ in range(batches):
            model.train_on_batch(IDS[:4], Y[:4])

    assert used <= {f"{n}.default" for n in ("detach", "embedding", "index_select", "index_copy_")}


@pytest.mark.skipif(BACKEND != "tensorflow", reason="reads the graph of TensorFlow")
@pytest.mark.parametrize("batches", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("kind", "untouched"), CASES)
def test_tensorflow_only_gathers_and_scatters(kind: str, untouched: str, batches: int) -> None:
    """Of a step of a window, the graph outside of its conditions."""
    import tensorflow as tf

    model = one_step(kind, untouched, batches, jit_compile=False)
    batch = tf.constant(IDS[:4].astype("int32")), tf.constant(Y[:4])
    graph = tf.function(model.train_step).get_concrete_function(batch).graph
    shapes = [t.shape.as_list() for o in graph.get_operations() for t in o.outputs]

    assert [*SHAPE] not in shapes
    assert [LENGTH] not in shapes


@pytest.mark.skipif(BACKEND != "tensorflow", reason="only there Keras reads the table to look up")
def test_on_tensorflow_a_sparse_embedding_never_reads_its_table() -> None:
    import tensorflow as tf

    layer = SparseEmbedding(*SHAPE)
    layer.build()
    graph = tf.function(lambda ids: layer(ids)).get_concrete_function(tf.constant([1, 2])).graph

    assert all(o.type != "ReadVariableOp" for o in graph.get_operations())
