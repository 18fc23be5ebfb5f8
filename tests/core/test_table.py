"""Rows of a table: summed, read and written, and nothing else of the table moves."""

from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

from kooler.core.batch import Rows
from kooler.core.compiled import compiled
from kooler.core.table import chosen, distinct, read, write
from tests.conftest import BACKEND

LENGTH, DIMENSION = 9, 2


def rows_of(ids: list[int]) -> Rows:
    gradients = np.arange(1.0, 1.0 + DIMENSION * len(ids)).reshape(-1, DIMENSION)
    return Rows(
        ops.convert_to_tensor(ids, dtype="int32"),
        ops.convert_to_tensor(gradients, dtype="float32"),
    )


def table_of(values: Any) -> keras.Variable:
    return keras.Variable(np.asarray(values, "float32"))


def numbers(tensor: Any) -> Any:
    return np.array(ops.convert_to_numpy(tensor)).tolist()


def inside(rows: Rows) -> tuple[Any, Any]:
    """What belongs to the table, in NumPy."""
    ids, gradients = np.array(numbers(rows.ids), int), np.array(numbers(rows.gradients))
    return ids[ids < LENGTH], gradients[ids < LENGTH]


@given(st.lists(st.integers(0, LENGTH - 1), min_size=6, max_size=6))
def test_distinct_rows_have_the_sum_of_the_gradients(ids: list[int]) -> None:
    rows = rows_of(ids)
    expected = np.zeros((LENGTH, DIMENSION))
    np.add.at(expected, ids, np.array(numbers(rows.gradients)))

    found, gradients = inside(distinct(rows, table_of(np.zeros((LENGTH, DIMENSION)))))

    assert found.tolist() == sorted(set(ids))
    np.testing.assert_allclose(gradients, expected[sorted(set(ids))], rtol=1e-6)


@pytest.mark.parametrize("length", [9, 2**29], ids=["ids and places fit", "they do not"])
def test_the_length_of_the_table_does_not_matter(length: int) -> None:
    """On JAX, ids and places are sorted as one number of 32 bits where they fit."""
    ids = [8, 3, 3, 0, 8, 5, 3, 0, 1, 2, 8, 7]
    rows = rows_of(ids)
    expected = np.zeros((9, DIMENSION))
    np.add.at(expected, ids, np.array(numbers(rows.gradients)))

    found = distinct(rows, SimpleNamespace(shape=(length, DIMENSION)))

    assert numbers(found.ids)[:7] == [0, 1, 2, 3, 5, 7, 8]
    assert min([length, *numbers(found.ids)[7:]]) == length
    np.testing.assert_array_equal(numbers(found.gradients)[:7], expected[[0, 1, 2, 3, 5, 7, 8]])


@pytest.mark.skipif(BACKEND != "jax", reason="elsewhere the look-up has raised an error")
def test_what_is_no_row_becomes_none() -> None:
    wraps = 2**32 // 6 + 1  # times six look-ups it is 2, in 32 bits
    table = table_of(np.zeros((LENGTH, DIMENSION)))
    write(table, *distinct(rows_of([2**31 - 1, 4, LENGTH, -(2**31), 4, wraps]), table))

    assert np.unique(np.nonzero(np.array(numbers(table)))[0]).tolist() == [4]


def test_what_is_left_over_lies_beyond_the_table_without_gradients() -> None:
    rows = distinct(rows_of([7, 2, 7]), table_of(np.zeros((LENGTH, DIMENSION))))

    beyond = [] if BACKEND == "torch" else [LENGTH + 2]
    assert numbers(rows.ids) == [2, 7, *beyond]
    assert numbers(rows.gradients) == [[3.0, 4.0], [6.0, 8.0], *([[0.0, 0.0]] * len(beyond))]


def test_reading_and_writing_touch_these_rows_only() -> None:
    start = np.arange(LENGTH * DIMENSION, dtype="float32").reshape(LENGTH, DIMENSION)
    table = table_of(start)
    ids = distinct(rows_of([8, 3, 8, 0]), table).ids
    write(table, ids, 10 * read(table, ids))

    expected = start.copy()
    expected[[0, 3, 8]] *= 10
    np.testing.assert_array_equal(numbers(table), expected)


@given(st.lists(st.booleans(), min_size=4, max_size=4))
def test_chosen_rows_keep_their_order(wanted: list[bool]) -> None:
    ids = [1, 4, 7, LENGTH + 3]  # the last is none of the table
    found = chosen(ops.convert_to_tensor(ids, "int32"), ops.convert_to_tensor(wanted), LENGTH)

    kept = [one for one, is_wanted in zip(ids[:3], wanted, strict=False) if is_wanted]
    assert [one for one in numbers(found) if one < LENGTH] == kept
    assert numbers(found) == sorted(set(numbers(found)))


@pytest.mark.skipif(BACKEND == "torch", reason="PyTorch has no rows that are left over")
def test_rows_that_are_all_beyond_the_end_write_nothing() -> None:
    table = table_of(np.ones((LENGTH, DIMENSION)))
    write(table, ops.convert_to_tensor([LENGTH, LENGTH + 1]), ops.zeros((2, DIMENSION)))

    assert numbers(table) == [[1.0, 1.0]] * LENGTH


def test_a_slot_with_one_entry_per_row() -> None:
    table = table_of(np.zeros((LENGTH, DIMENSION)))
    count = keras.Variable([5] * LENGTH, "int32", trainable=False)
    ids = distinct(rows_of([4, 4]), table).ids
    write(count, ids, read(count, ids) + 1)

    assert numbers(count) == [5, 5, 5, 5, 6, 5, 5, 5, 5]


@pytest.mark.parametrize("jit", [False, True], ids=["", "XLA"])
@pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow runs graphs with XLA or without")
def test_inside_of_a_graph(jit: bool) -> None:
    import tensorflow as tf

    table = table_of(np.ones((LENGTH, DIMENSION)))

    @tf.function(jit_compile=jit)
    def step(ids: Any, gradients: Any) -> Any:
        found = distinct(Rows(ids, gradients), table)
        write(table, found.ids, read(table, found.ids) - found.gradients)

    step(*rows_of([8, 1, 8, 8]))

    assert numbers(table)[1] == [1.0 - 3.0, 1.0 - 4.0]
    assert numbers(table)[8] == [1.0 - (1 + 5 + 7), 1.0 - (2 + 6 + 8)]
    assert numbers(table)[2:8] == [[1.0, 1.0]] * 6


def test_a_batch_without_look_ups() -> None:
    table = table_of(np.ones((LENGTH, DIMENSION)))
    empty = Rows(ops.zeros(0, "int32"), ops.zeros((0, DIMENSION)))
    found = distinct(empty, table)
    write(table, found.ids, read(table, found.ids) + 1)

    assert numbers(found.ids) == []
    assert numbers(table) == [[1.0, 1.0]] * LENGTH


def test_in_a_compiled_function_too() -> None:
    table = table_of(np.zeros((LENGTH, DIMENSION)))
    run = compiled(lambda ids, gradients: tuple(distinct(Rows(ids, gradients), table)), [table])
    rows = rows_of([7, 2, 7])

    assert numbers(run(*rows)[0])[:2] == [2, 7]
