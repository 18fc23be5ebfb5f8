"""The first signal is noted, the second one counts, and the old handlers come back."""

import os
import signal
import threading

import pytest

from kooler.seq2seq.interruption import interruptible, terminable


@pytest.mark.parametrize(
    ("number", "error", "code"),
    [(signal.SIGINT, KeyboardInterrupt, None), (signal.SIGTERM, SystemExit, 143)],
)
def test_a_signal_is_noted_and_stops_when_asked_to(number, error, code):
    noticed = []

    with interruptible(lambda: noticed.append("!")) as interruption:
        assert not interruption
        os.kill(os.getpid(), number)
        assert interruption
        with pytest.raises(error) as stopped:
            interruption.stop()

    assert noticed == ["!"]
    assert getattr(stopped.value, "code", None) == code


def test_a_second_signal_stops_at_once():
    with pytest.raises(KeyboardInterrupt), interruptible(lambda: None):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("still running")


def test_the_old_handlers_come_back():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    with pytest.raises(ZeroDivisionError), interruptible(lambda: None):
        assert signal.getsignal(signal.SIGINT) is not before[0]
        raise ZeroDivisionError

    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_sigterm_ends_a_block_and_is_then_what_it_was():
    before, cleaned = signal.getsignal(signal.SIGTERM), []

    with pytest.raises(SystemExit) as stopped, terminable():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            raise AssertionError("still running")
        finally:
            cleaned.append("files")

    assert (stopped.value.code, cleaned) == (143, ["files"])
    assert signal.getsignal(signal.SIGTERM) is before


def test_in_another_thread_nothing_is_touched():
    seen = []

    def work():
        with terminable(), interruptible(lambda: None) as interruption:
            seen.append(bool(interruption))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    assert seen == [False]
