"""The bar on a terminal, in a notebook, and in a file."""

import io
import re
import sys
import types
from typing import Any

import keras
import numpy as np
import pytest

from kooler.callbacks import Progress, progress, screens
from kooler.callbacks.standing import Standing
from kooler.optimizers import Accumulate

X = np.ones((16, 3), "float32")
Y = np.ones((16, 1), "float32")


class TerminalStream(io.StringIO):
    """What rich takes for a terminal."""

    def isatty(self) -> bool:
        return True


def model_with(optimizer: Any = "sgd") -> Any:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(optimizer, "mse", metrics=["mae"])
    return model


def lines_of(stream: io.StringIO) -> list[str]:
    return stream.getvalue().splitlines()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> TerminalStream:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return TerminalStream()


def test_a_file_gets_a_line_for_each_epoch_and_no_control_character() -> None:
    stream = io.StringIO()
    model_with().fit(
        X,
        Y,
        batch_size=4,
        epochs=2,
        verbose=0,
        validation_data=(X, Y),
        callbacks=[Progress("loss", stream=stream)],
    )

    first, second = lines_of(stream)
    assert re.match(r"epoch 1/2  train  batch 4/4  .*examples/s  loss [\d.]+  val_loss", first)
    assert second.startswith("epoch 2/2")
    assert "mae" not in first
    assert not re.search(r"[^\n\x20-\x7e]", stream.getvalue())


def test_every_so_many_seconds_a_line() -> None:
    stream = io.StringIO()
    model_with().fit(
        X, Y, batch_size=4, verbose=0, callbacks=[Progress(log_every=0.0, stream=stream)]
    )

    assert [re.search(r"batch (\d)/4", line).group(1) for line in lines_of(stream)] == [  # type: ignore[union-attr]
        "1",
        "2",
        "3",
        "4",
    ]
    assert "learning rate 0.01" in lines_of(stream)[1]


def test_updates_are_told_where_they_are_not_batches() -> None:
    stream = io.StringIO()
    model = model_with(Accumulate("sgd", 4))
    model.fit(X, Y, batch_size=2, verbose=0, callbacks=[Progress(stream=stream)])

    assert "batch 8/8  update 2" in lines_of(stream)[0]


def test_evaluate_and_predict() -> None:
    stream, model = io.StringIO(), model_with()
    model.evaluate(X, Y, batch_size=4, verbose=0, callbacks=[Progress(stream=stream)])
    model.predict(X, batch_size=4, verbose=0, callbacks=[Progress(stream=stream)])

    evaluated, predicted = lines_of(stream)
    assert re.match(r"evaluate  batch 4/4  .*loss [\d.]+  mae", evaluated)
    assert predicted.startswith("predict  batch 4/4")


def test_training_is_the_same_with_and_without() -> None:
    weights = []
    for callbacks in ([], [Progress(log_every=0.0, stream=io.StringIO())]):
        keras.utils.set_random_seed(2)
        model = model_with(Accumulate("adam", 2))
        model.fit(X, Y, batch_size=4, verbose=0, shuffle=False, callbacks=callbacks)
        weights.append(model.get_weights())

    assert all((a == b).all() for a, b in zip(*weights, strict=True))


def test_bars_on_a_terminal(terminal: TerminalStream) -> None:
    model_with().fit(
        X,
        Y,
        batch_size=4,
        epochs=2,
        verbose=0,
        validation_data=(X, Y),
        callbacks=[Progress(every=0.0, stream=terminal)],
    )
    written = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", terminal.getvalue())

    assert re.search(r"epoch +[━╸╺]+ +1/2", written)
    assert re.search(r"train +[━╸╺]+ +2/4", written)
    assert re.search(r"validate +[━╸╺]+ +1/\?", written)  # how many is known from the second on
    assert re.search(r"validate +[━╸╺]+ +2/4", written)
    assert "epoch 2/2  train  batch 4/4" in written
    assert "\x1b[2K" in terminal.getvalue().rpartition("━")[2]  # the last bar is taken away


def test_after_an_exception_the_terminal_is_clean(
    terminal: TerminalStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            raise KeyboardInterrupt

    errors: list[Any] = []
    monkeypatch.setattr(sys, "excepthook", lambda *error: errors.append(error))
    out = sys.stdout
    with pytest.raises(KeyboardInterrupt):
        model_with().fit(X, Y, verbose=0, callbacks=[Progress(stream=terminal), Stop()])
    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)

    written = terminal.getvalue()
    assert written.rfind("\x1b[?25h") > written.rfind("\x1b[?25l")  # the cursor can be seen
    assert sys.stdout is out
    assert len(errors) == 1


def test_where_an_exception_is_caught_the_end_of_the_program_cleans(
    terminal: TerminalStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_end: list[Any] = []
    monkeypatch.setattr(screens.atexit, "register", at_end.append)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    screen = screens.screen_for(terminal)
    screen.draw(Standing("train"))
    out = sys.stdout  # what rich has put in its place

    (close,) = at_end
    close()

    assert sys.stdout is not out


def test_a_notebook_cell_is_replaced_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []

    class Handle:
        def update(self, content: dict[str, str], raw: bool) -> None:
            shown.append(content["text/plain"])

    def display(content: dict[str, str], raw: bool, display_id: bool) -> Handle:
        shown.append(content["text/plain"])
        return Handle()

    shell = type("ZMQInteractiveShell", (), {})()
    ipython = types.SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", types.SimpleNamespace(display=display))
    model_with().fit(X, Y, batch_size=4, epochs=2, verbose=0, callbacks=[Progress(every=0.0)])

    assert shown[0].startswith("░" * 30)
    assert shown[-1].count("\n") == 1
    assert shown[-1].startswith("epoch 1/2  train  batch 4/4")


def test_a_loop_of_ones_own() -> None:
    stream = io.StringIO()
    bar = Progress(log_every=0.0, stream=stream)
    taken = []
    for item in bar.track("abc", label="letter"):
        taken.append(item)
        bar.log(loss=0.5)

    assert taken == ["a", "b", "c"]
    assert re.match(r"letter  batch 1/3  .*loss 0\.5", lines_of(stream)[0])
    assert lines_of(stream)[-1].startswith("letter  batch 3/3")


def test_a_count_of_ones_own_per_second() -> None:
    stream = io.StringIO()
    bar = Progress(log_every=0.0, per_second="tokens", stream=stream)
    for number in bar.track(range(3)):
        bar.log(tokens=100.0 * (number + 1))

    assert "tokens/s" in lines_of(stream)[-1]


def test_one_process_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(progress, "is_first_process", lambda: False)
    model_with().fit(X, Y, verbose=0, callbacks=[Progress(log_every=0.0, stream=stream)])

    assert stream.getvalue() == ""


def test_batches_may_end_out_of_order_and_after_validation_has_begun() -> None:
    stream = io.StringIO()
    bar = Progress(stream=stream)
    bar.set_params({"steps": 3, "epochs": 1})
    bar.on_train_begin()
    bar.on_epoch_begin(0)
    for batch in range(3):
        bar.on_train_batch_begin(batch)
    bar.on_train_batch_end(1, {"loss": 2.0})
    bar.on_test_begin()
    bar.on_test_batch_begin(0)
    bar.on_train_batch_end(2, {"loss": 3.0})
    bar.on_train_batch_end(0, {"loss": 1.0})
    bar.on_test_batch_end(0, {"loss": 9.0})
    bar.on_test_end()
    bar.on_epoch_end(0)

    assert re.match(r"epoch 1/1  train  batch 3/3  .*loss 3\b", lines_of(stream)[0])


def test_without_rich_a_terminal_is_an_error(
    terminal: TerminalStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)
    with pytest.raises(ImportError, match="pip install rich"):
        list(Progress(stream=terminal).track("a"))


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="`every` must be a number of seconds, received every=-1"):
        Progress(every=-1)


def test_drawing_that_is_slow_is_done_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    seconds = iter(range(10**6))

    class Slow:
        in_place = True

        def draw(self, standing: Any) -> None:
            drawn.append(standing.done)

        def keep(self, standing: Any) -> None: ...

        def close(self) -> None: ...

    monkeypatch.setattr(progress, "screen_for", lambda stream: Slow())
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(seconds))
    monkeypatch.setattr(progress.time, "thread_time", iter(np.arange(0, 99, 0.25)).__next__)

    list(Progress(every=1.0).track(range(500)))

    gaps = np.diff(drawn[2:])  # a quarter of a second for each, of 50 seconds
    assert len(gaps) > 2
    assert gaps.min() >= 10
