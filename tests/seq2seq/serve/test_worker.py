"""The worker: one batch for what is written alike, nobody's time wasted, an end without loss."""

import threading
import time
from concurrent.futures import CancelledError

import pytest

from kooler.seq2seq.serve.limits import Limits, Refusal
from kooler.seq2seq.serve.metrics import Metrics
from kooler.seq2seq.serve.query import Query
from kooler.seq2seq.serve.worker import Worker
from tests.seq2seq.serve.fakes import BROKEN, FakeWriter

LATER = 30.0


def query(*texts, order="mid", beam_size=1, max_length=12):
    return Query(list(texts), order, beam_size, 1, max_length)


def deadline(seconds=LATER):
    return time.monotonic() + seconds


class HeldWriter(FakeWriter):
    """Begins a batch only when it is let go: until then the queue fills."""

    def __init__(self):
        super().__init__()
        self.begun, self.go = threading.Event(), threading.Event()

    def write(self, texts, *way):
        self.begun.set()
        assert self.go.wait(LATER)
        return super().write(texts, *way)


@pytest.fixture
def held():
    """A worker that is busy with the text "first"."""
    worker = started(HeldWriter(), Limits(rows=3, queue=6, texts=6, gather=0.0))
    worker.first = worker.submit(query("first"), deadline())[0]
    assert worker.writer.begun.wait(LATER)
    yield worker
    worker.writer.go.set()
    worker.stop()


def started(writer, limits=Limits()):  # noqa: B008
    """A worker after its warm-up."""
    ready = threading.Event()
    worker = Worker(writer, limits, Metrics(), started=ready.set)
    worker.start()
    assert ready.wait(LATER)
    return worker


def title_of(job):
    return job.future.result(LATER)[0].text


def test_every_text_gets_its_own_title():
    worker = started(FakeWriter())

    jobs = worker.submit(query("one", "two", "three"), deadline())

    assert [title_of(job) for job in jobs] == ["ONE", "TWO", "THREE"]
    worker.stop()


def test_what_is_written_alike_is_written_together(held):
    jobs = [
        *held.submit(query("a", order="l2r"), deadline()),
        *held.submit(query("b"), deadline()),
        *held.submit(query("c", "d", order="l2r"), deadline()),
        *held.submit(query("e", order="l2r"), deadline()),
        *held.submit(query("f", order="l2r", max_length=3), deadline()),
    ]
    held.writer.go.set()

    assert [title_of(job) for job in jobs] == ["A", "B", "C", "D", "E", "F"]
    assert held.writer.batches == [["first"], ["a", "c", "d"], ["b"], ["e"], ["f"]]


def test_the_first_text_waits_a_little_for_others():
    worker = started(FakeWriter(), Limits(rows=2, gather=LATER))

    first = worker.submit(query("a"), deadline())
    second = worker.submit(query("b"), deadline())

    assert [title_of(job) for job in first + second] == ["A", "B"]
    assert worker.writer.batches == [["a", "b"]]
    worker.stop()


def test_a_full_queue_refuses_all_of_a_request_or_none(held):
    held.submit(query("a", "b", "c", "d"), deadline())

    with pytest.raises(Refusal) as raised:
        held.submit(query("e", "f", "g"), deadline())
    held.submit(query("e", "f"), deadline())

    assert raised.value.status == 503
    assert 1 <= raised.value.retry_after <= 60
    assert raised.value.message.startswith("4 texts are waiting, and the queue holds 6.")


def test_what_nobody_waits_for_is_not_written(held):
    late = held.submit(query("late"), deadline(-1.0))[0]
    left = held.submit(query("left"), deadline())[0]
    left.give_up()
    held.writer.go.set()
    (last,) = held.submit(query("last"), deadline())

    assert title_of(last) == "LAST"
    assert held.writer.batches == [["first"], ["last"]]
    for job in (late, left):
        with pytest.raises(CancelledError):
            job.future.result(LATER)


def test_an_error_is_that_of_its_batch_and_the_next_one_is_answered(capsys):
    worker = started(FakeWriter(), Limits(gather=0.0))

    (broken,) = worker.submit(query(BROKEN), deadline())
    with pytest.raises(RuntimeError, match="the model broke"):
        broken.future.result(LATER)
    (whole,) = worker.submit(query("whole"), deadline())

    assert title_of(whole) == "WHOLE"
    assert "RuntimeError: the model broke" in capsys.readouterr().err  # the log of the server
    worker.stop()


def test_the_steps_of_a_title_are_told_in_their_order():
    worker, steps = started(FakeWriter()), []

    (job,) = worker.submit(query("abc"), deadline(), steps.append)

    assert title_of(job) == "ABC"
    assert [step["open"][0]["left"] for step in steps] == ["A", "AB", "ABC"]
    worker.stop()


def test_a_title_that_nobody_watches_any_more_is_left():
    worker, steps = started(FakeWriter()), []
    (job,) = worker.submit(
        query("abcdef"), deadline(), lambda step: (steps.append(step), job_left())
    )

    def job_left():
        job.deadline = 0.0

    with pytest.raises(Refusal, match="there was no answer in time"):
        job.future.result(LATER)
    assert len(steps) == 1
    worker.stop()


def test_stopping_answers_what_waits_and_refuses_the_rest(held):
    (waiting,) = held.submit(query("waiting"), deadline())
    stopping = threading.Thread(target=held.stop)
    stopping.start()
    while held.state != "stopping":
        time.sleep(0.001)

    with pytest.raises(Refusal, match="the server is stopping"):
        held.submit(query("more"), deadline())
    held.writer.go.set()
    stopping.join(LATER)

    assert title_of(waiting) == "WAITING"


def test_nothing_is_taken_before_the_warm_up_is_over():
    worker = Worker(FakeWriter(), Limits(), Metrics())

    with pytest.raises(Refusal, match="the server is warming up"):
        worker.submit(query("a"), deadline())


def test_a_broken_warm_up_is_told():
    class Broken(FakeWriter):
        def warm_up(self):
            raise MemoryError("too large")
            yield

    failed = threading.Event()
    worker = Worker(Broken(), Limits(), Metrics(), failed=failed.set)
    worker.start()

    assert failed.wait(LATER)
    assert (worker.state, str(worker.error)) == ("broken", "too large")
    worker.stop()
