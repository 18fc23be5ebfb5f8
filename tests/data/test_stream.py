"""Each sample exactly once, whoever takes it, on every backend."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from kooler.data import Stream, random_generator
from tests.conftest import BACKEND
from tests.data.sources import Failing, Noisy, Numbered


class Seen(keras.layers.Layer):
    """Hands its input on, and notes on the side which samples came by, in training."""

    def __init__(self) -> None:
        super().__init__()
        self.slots = self.add_weight(shape=(64,), initializer="zeros", trainable=False)

    def call(self, inputs: Any, training: bool = False) -> Any:
        if training:
            number = ops.cast(inputs[:, 0], "int32")
            self.slots.assign_add(ops.sum(ops.one_hot(number, 64), axis=0))
        return inputs


def counting_model(**arguments: Any) -> keras.Model:
    model = keras.Sequential([Seen(), keras.layers.Dense(1, kernel_initializer="zeros")])
    model.compile(keras.optimizers.SGD(0.0), "mse", **arguments)
    return model


def counts(model: keras.Model, length: int) -> list[int]:
    """How often each sample was trained on."""
    slots = ops.convert_to_numpy(model.layers[0].slots)
    assert not slots[length:].any()
    return [int(count) for count in slots[:length]]


def generated(length: int, batch_size: int = 4) -> Any:
    def read() -> Iterator[Any]:
        for start in range(0, length, batch_size):
            numbers = np.arange(start, min(start + batch_size, length), dtype="float32")
            yield np.repeat(numbers[:, None], 3, axis=1), numbers[:, None]

    return read


SOURCES = {
    "numbered": lambda: Stream(Numbered(10), batch_size=4, shuffle=True),
    "generator": lambda: Stream(generated(10)),
    "threads": lambda: Stream(Numbered(10), batch_size=4, shuffle=True, workers=2, processes=False),
}


@pytest.fixture(params=SOURCES)
def stream(request: pytest.FixtureRequest) -> Any:
    return SOURCES[request.param]()


def numbers(batch: Any) -> list[int]:
    return [int(number) for number in batch[1][:, 0]]


# What a stream yields.


def test_batches_are_rows_of_a_permutation_by_seed_and_epoch() -> None:
    stream = Stream(Numbered(10), batch_size=4, shuffle=True, seed=7)

    for epoch in range(3):
        order = np.random.default_rng((7, epoch)).permutation(10).tolist()
        expected = [order[0:4], order[4:8], order[8:10]]
        assert [numbers(batch) for batch in stream] == expected


def test_without_shuffling_batches_are_in_order() -> None:
    stream = Stream(Numbered(5), batch_size=2)

    assert [numbers(batch) for batch in stream] == [[0, 1], [2, 3], [4]]
    assert stream.num_batches == 3


def test_a_source_of_batches_is_handed_on() -> None:
    batches = [(np.zeros((2, 3)), np.zeros((2, 1))), (np.ones((1, 3)), np.ones((1, 1)))]

    received = list(Stream(batches))

    assert all(a is b for a, b in zip(received, batches, strict=True))


def test_next_goes_on_beyond_an_epoch() -> None:
    stream = Stream(Numbered(4), batch_size=3)

    assert [numbers(next(stream)) for _ in range(4)] == [[0, 1, 2], [3], [0, 1, 2], [3]]
    assert stream.state()["epoch"] == 2


def test_samples_of_a_generator_are_put_into_batches() -> None:
    stream = Stream(lambda: iter(Numbered(5)[i] for i in range(5)), batch_size=2)

    assert [numbers(batch) for batch in stream] == [[0, 1], [2, 3], [4]]
    assert [numbers(batch) for batch in stream] == [[0, 1], [2, 3], [4]]


# Trainers.


def test_fit_sees_each_sample_once_an_epoch(stream: Stream) -> None:
    model = counting_model()

    model.fit(stream, epochs=3, verbose=0)

    assert counts(model, 10) == [3] * 10
    assert (stream.state()["epoch"], stream.state()["position"]) in ((3, 0), (2, 3))


def test_fits_that_end_within_an_epoch_lose_nothing(stream: Stream) -> None:
    model = counting_model()

    model.fit(stream, steps_per_epoch=2, verbose=0)
    model.fit(stream, steps_per_epoch=3, epochs=3, verbose=0)
    model.fit(stream, epochs=1, verbose=0)  # what is left: 11 of 12 batches were taken

    assert counts(model, 10) == [4] * 10


@pytest.mark.skipif(BACKEND == "torch", reason="PyTorch's trainer has one step an execution")
@pytest.mark.parametrize("steps", [2, 4])
def test_several_steps_in_one_execution(stream: Stream, steps: int) -> None:
    model = counting_model(steps_per_execution=steps)

    model.fit(stream, epochs=2, verbose=0)

    assert counts(model, 10) == [2] * 10


def test_the_same_stream_trains_and_validates(stream: Stream) -> None:
    model = counting_model()

    history = model.fit(stream, epochs=2, validation_data=stream, verbose=0).history

    assert counts(model, 10) == [2] * 10
    assert history["val_loss"] == pytest.approx([28.5, 28.5])  # the mean of 0², …, 9²


def test_validation_of_a_few_steps_is_the_same_each_time(stream: Stream) -> None:
    model = counting_model()

    history = model.fit(
        stream, epochs=3, validation_data=stream, validation_steps=2, verbose=0
    ).history

    assert history["val_loss"] == pytest.approx([17.5] * 3)  # the mean of 0², …, 7²
    assert counts(model, 10) == [3] * 10


def test_predict_and_evaluate_read_in_order_and_move_nothing(stream: Stream) -> None:
    model = counting_model()
    model.fit(stream, steps_per_epoch=1, verbose=0)
    model.layers[1].kernel.assign([[1.0], [0.0], [0.0]])
    before = stream.state()

    predicted = model.predict(stream, verbose=0)
    loss = model.evaluate(stream, verbose=0)

    np.testing.assert_array_equal(predicted[:, 0], np.arange(10.0))
    assert loss == 0.0
    assert stream.state() == before


def test_a_callback_may_take_batches(stream: Stream) -> None:
    taken: list[int] = []

    class Taking(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch == 0:
                taken.extend(numbers(next(stream)))

    model = counting_model()
    model.fit(stream, epochs=2, verbose=0, callbacks=[Taking()])

    trained, aside = counts(model, 10), Counter(taken)
    assert [count + aside[i] for i, count in enumerate(trained)] == [2] * 10
    assert len(taken) == 8


def test_stopping_within_an_epoch_loses_nothing(stream: Stream) -> None:
    class Stopping(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.model.stop_training = True

    model = counting_model()
    model.fit(stream, epochs=5, verbose=0, callbacks=[Stopping()])
    model.fit(stream, verbose=0)

    assert counts(model, 10) == [1] * 10


def test_the_exception_of_a_source_comes_out_of_fit() -> None:
    stream = Stream(Failing(10, at=3), batch_size=2)  # no batch whose shapes TensorFlow is shown
    model = counting_model()

    with pytest.raises(KeyError, match="no such sample") as caught:
        model.fit(stream, verbose=0)

    assert any(entry.path.name == "sources.py" for entry in caught.traceback)
    assert counts(model, 10) == [1] * 2 + [0] * 8
    assert stream.state()["position"] == 1


def test_the_exception_of_a_generator_comes_out_of_fit() -> None:
    def read() -> Iterator[Any]:
        yield from generated(8)()
        raise KeyError("boom")

    with pytest.raises(KeyError, match="boom"):
        counting_model().fit(Stream(read), steps_per_epoch=10, verbose=0)


def test_two_streams_at_once() -> None:
    first, second = Stream(Numbered(6), batch_size=2), Stream(generated(9))

    pairs = [(numbers(next(first)), numbers(next(second))) for _ in range(3)]

    assert pairs == [([0, 1], [0, 1, 2, 3]), ([2, 3], [4, 5, 6, 7]), ([4, 5], [8])]


# Resuming.


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_a_restored_stream_goes_on_with_the_same_batches(workers: int) -> None:
    def make(workers: int) -> Stream:
        return Stream(
            Noisy(10), batch_size=3, shuffle=True, seed=3, workers=workers, processes=False
        )

    whole = make(0)
    for _ in range(6):
        next(whole)
    state = json.loads(json.dumps(whole.state()))
    resumed = make(workers)
    resumed.restore(state)

    for _ in range(7):
        for mine, theirs in zip(next(whole), next(resumed), strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_a_generator_draws_by_seed_epoch_and_number() -> None:
    def read() -> Iterator[Any]:
        for _ in range(2):
            yield random_generator().random(1)

    stream = Stream(read, seed=5)

    for epoch in range(2):
        expected = [np.random.default_rng((5, epoch, number)).random(1) for number in range(2)]
        assert list(stream) == expected


def test_a_source_may_read_another_stream_and_draw_on() -> None:
    class Nested(Noisy):
        def __getitem__(self, index: int) -> Any:
            first = random_generator().random()
            next(Stream(Noisy(1), batch_size=1, seed=9))
            return first, random_generator().random()

    firsts, seconds = next(Stream(Nested(1), batch_size=1, seed=3))
    expected = np.random.default_rng((3, 0, 0)).random(2).astype("float32")

    assert [firsts[0], seconds[0]] == expected.tolist()


def test_ctrl_c_while_a_batch_is_read_loses_nothing() -> None:
    class Interrupted(Numbered):
        calm = False

        def __getitem__(self, index: int) -> Any:
            if index == 1 and not self.calm:
                self.calm = True
                raise KeyboardInterrupt
            return super().__getitem__(index)

    stream = Stream(Interrupted(3), batch_size=1)
    next(stream)
    with pytest.raises(KeyboardInterrupt):
        next(stream)

    assert [numbers(batch) for batch in stream] == [[1], [2]]


def test_after_closing_a_stream_goes_on_with_new_workers() -> None:
    stream = Stream(Numbered(8), batch_size=1, workers=2, processes=False)
    seen = numbers(next(stream))
    stream.close()

    assert seen + [number for batch in stream for number in numbers(batch)] == list(range(8))


def test_a_restored_generator_goes_on_with_the_same_batches() -> None:
    def read() -> Iterator[Any]:
        for _ in range(5):
            yield random_generator().random((2, 1))

    whole = Stream(read)
    for _ in range(8):
        next(whole)
    resumed = Stream(read)
    resumed.restore(whole.state())

    assert whole.state()["epoch"] == 1
    for _ in range(6):
        np.testing.assert_array_equal(next(whole), next(resumed))


def test_a_fit_after_restoring_runs_through_what_is_left(stream: Stream) -> None:
    model = counting_model()
    model.fit(stream, steps_per_epoch=4, verbose=0)
    again = SOURCES["numbered" if stream.num_batches else "generator"]()
    again.restore(stream.state())

    model.fit(again, epochs=2, verbose=0)

    assert counts(model, 10) == [3] * 10


@settings(max_examples=25)
@given(
    length=st.integers(1, 12),
    size=st.integers(1, 5),
    failures=st.sets(st.integers(0, 30), max_size=4),
    moves=st.lists(st.sampled_from(["next", "epoch", "restart", "peek"]), max_size=12),
)
def test_exactly_once_under_exceptions_and_restarts(
    length: int, size: int, failures: set[int], moves: list[str]
) -> None:
    calls = iter(range(10**6))

    class Fragile(Numbered):
        def __getitem__(self, index: int) -> Any:
            if next(calls) in failures:
                raise OSError("the disk stumbled")
            return super().__getitem__(index)

    def make() -> Stream:
        return Stream(Fragile(length), batch_size=size, shuffle=True)

    stream, seen = make(), Counter[int]()

    def take(move: str) -> Stream:
        if move == "restart":
            new = make()
            new.restore(stream.state())
            return new
        if move == "peek":
            stream.batches("build", endless=False)
        elif move == "next":
            seen.update(numbers(next(stream)))
        else:
            for batch in stream:
                seen.update(numbers(batch))
        return stream

    for move in moves:
        try:
            stream = take(move)
        except OSError:
            continue
    failures.clear()
    if stream.state()["position"]:
        take("epoch")

    assert [seen[i] for i in range(length)] == [stream.state()["epoch"]] * length


# Sources.


def test_arrays_tables_and_memory_maps(tmp_path: Path) -> None:
    array = np.arange(12, dtype="int32").reshape(6, 2)
    np.save(tmp_path / "a.npy", array)
    sources = {
        "array": array,
        "map": np.load(tmp_path / "a.npy", mmap_mode="r"),
        "list": list(array),
    }

    for source in sources.values():
        for shuffle in (False, True):
            batches = list(Stream(source, batch_size=4, shuffle=shuffle))
            assert [batch.shape for batch in batches] == [(4, 2), (2, 2)]
            assert sorted(np.concatenate(batches)[:, 0]) == [0, 2, 4, 6, 8, 10]
    columns = list(Stream({"x": array, "y": array[:, 0]}, batch_size=5))
    np.testing.assert_array_equal(columns[1]["y"], [10])
    pairs = list(Stream((array, array[:, 0]), batch_size=6))
    np.testing.assert_array_equal(pairs[0][0], array)


def test_an_arrow_table_is_read_by_row() -> None:
    arrow = pytest.importorskip("pyarrow", reason="Arrow is no dependency")
    table = arrow.table({"x": [[1, 2], [3, 4], [5, 6]], "y": [0.5, 1.5, 2.5]})

    first, second = Stream(table, batch_size=2)

    np.testing.assert_array_equal(first["x"], [[1, 2], [3, 4]])
    np.testing.assert_array_equal(second["y"], np.array([2.5], "float32"))


def test_a_batch_is_a_copy_and_keeps_the_type_of_arrays() -> None:
    column = np.arange(4.0)

    for source in (column, list(column.reshape(4, 1))):
        for shuffle in (False, True):
            batch = next(Stream(source, batch_size=2, shuffle=shuffle))
            batch += 100

            assert batch.dtype == "float64"
    np.testing.assert_array_equal(column, np.arange(4.0))


def test_columns_may_be_nested() -> None:
    array = np.arange(6, dtype="int32")

    (inputs, targets), _ = Stream(({"a": array, "b": -array}, array + 1), batch_size=4)

    np.testing.assert_array_equal(inputs["a"], [0, 1, 2, 3])
    np.testing.assert_array_equal(inputs["b"], [0, -1, -2, -3])
    np.testing.assert_array_equal(targets, [1, 2, 3, 4])


def test_columns_of_objects_become_arrays() -> None:
    texts = np.array(["a", "bcd", "ef"], object)  # as tables give them
    arrays = np.empty(3, object)
    arrays[:] = [np.full(2, number, "float32") for number in range(3)]

    for shuffle in (False, True):
        batch = next(Stream({"text": texts, "x": arrays}, batch_size=3, shuffle=shuffle))

        assert sorted(batch["text"].tolist()) == ["a", "bcd", "ef"]
        assert batch["x"].dtype == "float32"
        assert sorted(batch["x"][:, 1].tolist()) == [0, 1, 2]


def test_a_source_with_a_dtype_may_draw_random_numbers() -> None:
    class Typed(Noisy):
        dtype = "float32"

    np.testing.assert_array_equal(
        next(Stream(Typed(4), batch_size=4)), next(Stream(Noisy(4), batch_size=4))
    )


def test_getitems_is_asked_for_a_whole_batch() -> None:
    class Fast(Numbered):
        asked: ClassVar[list[list[int]]] = []

        def __getitems__(self, rows: list[int]) -> list[Any]:
            self.asked.append(rows)
            return [self[row] for row in rows]

    assert [numbers(batch) for batch in Stream(Fast(3), batch_size=2)] == [[0, 1], [2]]
    assert Fast.asked == [[0, 1], [2]]


# Errors.


@pytest.mark.parametrize(
    ("source", "arguments", "text"),
    [
        (generated(3)(), {}, r"run through only once. Pass the function that makes it"),
        ({1, 2}, {}, r"can be iterated but not indexed"),
        (3, {}, r"must have __len__ and __getitem__, .* received a int"),
        ("text", {}, r"A text is no source of samples"),
        ([], {}, r"no samples"),
        ((1, 2), {}, r"each a NumPy array, received tuple of \['int'\]"),
        ((np.zeros(2), np.zeros(3)), {"batch_size": 1}, r"one length, received lengths \[2, 3\]"),
        ((np.zeros(2), np.zeros(2)), {}, r"rows of a tuple are samples, .* batch_size=None"),
        (generated(3), {"shuffle": True}, r"shuffle_buffer\(samples, size\)"),
        (generated(3), {"workers": 2}, r"one reader only, received workers=2"),
        (Numbered(3), {"batch_size": 0}, r"received batch_size=0"),
        (Numbered(3), {"batch_size": 4.0}, r"received batch_size=4.0"),
        (Numbered(3), {"seed": -1}, r"received seed=-1"),
        (Numbered(3), {"seed": None}, r"received seed=None"),
        (Numbered(3), {"workers": -1}, r"received workers=-1"),
        (Numbered(3), {"workers": 1.5}, r"received workers=1.5"),
    ],
)
def test_what_is_no_source_is_refused(source: Any, arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Stream(source, **arguments)


def test_a_state_of_another_stream_is_refused() -> None:
    stream = Stream(Numbered(8), batch_size=4)

    with pytest.raises(ValueError, match=r"batch_size=2, this one has batch_size=4"):
        stream.restore(Stream(Numbered(8), batch_size=2).state())
    with pytest.raises(ValueError, match=r"samples=9, this one has samples=8"):
        stream.restore(Stream(Numbered(9), batch_size=4).state())


def test_a_position_is_json_whatever_kind_of_number_was_given() -> None:
    stream = Stream(Numbered(8), batch_size=np.int64(4), seed=np.int64(1))

    assert json.loads(json.dumps(stream.state())) == stream.state()


def test_arguments_that_keras_would_leave_out_are_refused() -> None:
    stream = Stream(Numbered(8), batch_size=4)

    with pytest.raises(ValueError, match=r"`fit` was given `class_weight` beside data"):
        counting_model().fit(stream, class_weight={0: 2.0}, verbose=0)
    with pytest.raises(ValueError, match=r"`evaluate` was given `sample_weight` beside data"):
        counting_model().evaluate(stream, sample_weight=np.ones(8), verbose=0)


def test_an_empty_generator_is_an_error() -> None:
    with pytest.raises(ValueError, match="has no batches"):
        next(Stream(generated(0)))


def test_samples_of_several_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"one shape, received \[\(2,\), \(3,\)\]. Pad them"):
        next(Stream([np.zeros(2), np.zeros(3)], batch_size=2))


@pytest.mark.parametrize(
    ("samples", "text"),
    [
        ([{"a": 1, "b": 2}, {"a": 1}], r"one structure, .* \['a', 'b'\] and a dict of \['a'\]"),
        ([{"a": 1}, {"a": 1, "b": 2}], r"one structure, .* \['a', 'b'\] and a dict of \['a'\]"),
        ([(1, 2), (1, 2, 3)], r"one structure, .* tuple of 2 and a tuple of 3"),
        ([{"a": 1}, 1], r"one structure, received a dict of \['a'\] and int"),
        ([[np.zeros(3), np.zeros(1)]] * 2, r"a list of one shape, .* go into a tuple"),
        ([1, [2]], r"a list of one shape, received a list: \[1, \[2\]\]"),
        ([(1, None)] * 2, r"received a NoneType: None"),
    ],
)
def test_samples_that_make_no_batch_are_refused(samples: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        next(Stream(samples, batch_size=2))


def test_a_function_that_yields_nothing_is_told_so() -> None:
    with pytest.raises(ValueError, match=r"returned a NoneType. Does it `yield`\?"):
        next(Stream(lambda: None))


def test_random_numbers_outside_of_a_stream_are_refused() -> None:
    with pytest.raises(RuntimeError, match="while no Stream reads"):
        random_generator()
