"""The one thread that owns the model: a bounded queue in front of it, batches out of it.

The unit is one text.  A request with several texts leaves several of them in the queue, and one
that does not find room for all leaves none.  The worker takes the oldest text, waits a few
milliseconds for others that are written in the same way, and writes them together.  A text whose
request has given up, or whose time is over, is not written at all: under overload that is what
brings a server back.
"""

import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from kooler.seq2seq.serve.limits import Limits, Refusal
from kooler.seq2seq.serve.metrics import Metrics
from kooler.seq2seq.serve.query import Query
from kooler.seq2seq.serve.shapes import ShapedWriter
from kooler.seq2seq.writer import Title

Titles = list[Title]


@dataclass(eq=False)
class Job:
    """One text that waits for its titles.

    Attributes:
        text: What to write titles for.
        way: Order, beam size and longest title; jobs of one way are written together.
        deadline: The time, as `time.monotonic` counts it, from which nobody waits any more.
        tell: Gets every step of the search; None if only the end is asked for.
        future: Gets the titles.
    """

    text: str
    way: tuple[str, int, int]
    deadline: float
    tell: Callable[[dict[str, Any]], None] | None = None
    future: "Future[Titles]" = field(default_factory=Future)

    @property
    def is_wanted(self) -> bool:
        """Whether somebody still waits."""
        return not self.future.cancelled() and time.monotonic() < self.deadline

    def give_up(self) -> None:
        """Nobody waits any more: a job that waits is dropped, a title that grows is left."""
        self.deadline = 0.0
        self.future.cancel()


class Worker:
    """Writes titles in a thread of its own.

    Args:
        writer: Used by that thread alone.
        limits: Of the server.
        metrics: Get what is counted.
        started: Called in its thread once titles are written.
        failed: Called there if the warm-up fails; nothing is ever answered then.
    """

    def __init__(
        self,
        writer: ShapedWriter,
        limits: Limits,
        metrics: Metrics,
        *,
        started: Callable[[], None] = lambda: None,
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        self.writer = writer
        self.limits = limits
        self.metrics = metrics
        self.started = started
        self.failed = failed
        self.state = "warming up"
        self.error: BaseException | None = None
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._seconds_per_text = 0.05
        self._thread = threading.Thread(target=self._run, name="kooler-worker", daemon=True)
        metrics.waiting.set_function(lambda: len(self._jobs))
        metrics.ready.set_function(lambda: self.state == "ready")

    def start(self) -> None:
        """Begins with the warm-up."""
        self._thread.start()

    def stop(self) -> None:
        """Writes what is in the queue, takes nothing more, and ends the thread."""
        with self._changed:
            self.state = "stopping"
            self._changed.notify_all()
        self._thread.join()

    def submit(
        self,
        query: Query,
        deadline: float,
        tell: Callable[[dict[str, Any]], None] | None = None,
    ) -> list[Job]:
        """Puts the texts of a request into the queue.

        Args:
            query: What is asked for.
            deadline: The time, as `time.monotonic` counts it, up to which somebody waits.
            tell: Gets every step, in the worker's thread; for a query of one text.

        Raises:
            Refusal: 503, if they do not all find room, or no titles are written now.
        """
        way = (query.order, query.beam_size, query.max_length)
        jobs = [Job(text, way, deadline, tell) for text in query.texts]
        with self._changed:
            self._check_ready()
            self._check_room(len(jobs))
            self._jobs.extend(jobs)
            self._changed.notify_all()
        return jobs

    def _check_ready(self) -> None:
        if self.state != "ready":
            raise Refusal(503, f"the server is {self.state}.", retry_after=5)

    def _check_room(self, count: int) -> None:
        if len(self._jobs) + count > self.limits.queue:
            wait = ceil(len(self._jobs) * self._seconds_per_text)
            raise Refusal(
                503,
                f"{len(self._jobs)} texts are waiting, and the queue holds {self.limits.queue}. "
                "Try again later.",
                retry_after=min(max(wait, 1), 60),
            )

    def _run(self) -> None:
        try:
            self._warm_up()
        except BaseException as error:
            self.state, self.error = "broken", error
            self.failed()
            return
        while jobs := self._next():
            self._write(jobs)

    def _warm_up(self) -> None:
        for _ in self.writer.warm_up():
            if self.state != "warming up":  # asked to stop
                return
        with self._changed:
            if self.state == "warming up":
                self.state = "ready"
        self.started()

    def _next(self) -> list[Job]:
        """The jobs to do together; none when the server stops."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self.state == "stopping")
            if self._jobs and self._jobs[0].tell is None:
                self._changed.wait_for(self._is_enough, self.limits.gather)
            return self._taken()

    def _is_enough(self) -> bool:
        return len(self._jobs) >= self.limits.rows or self.state == "stopping"

    def _taken(self) -> list[Job]:
        """Takes the oldest job and those that can be done with it out of the queue."""
        taken: list[Job] = []
        for job in tuple(self._jobs):
            alone = job.tell is not None
            if not taken or (not alone and taken[0].tell is None and job.way == taken[0].way):
                taken.append(job)
            if len(taken) == self.limits.rows or taken[0].tell:
                break
        for job in taken:
            self._jobs.remove(job)
        return taken

    def _write(self, jobs: Sequence[Job]) -> None:
        """Answers jobs; an error is theirs, and the next ones find the worker at work."""
        for job in jobs:
            if not job.is_wanted:
                job.future.cancel()
        jobs = [job for job in jobs if job.future.set_running_or_notify_cancel()]
        if not jobs:
            return
        started = time.monotonic()
        try:
            tell = jobs[0].tell
            answers = [self._grown(jobs[0], tell)] if tell else self._written(jobs)
        except Exception as error:
            if not isinstance(error, Refusal):
                traceback.print_exc()
            for job in jobs:
                job.future.set_exception(error)
            return
        finally:
            self._count(len(jobs), time.monotonic() - started)
        for job, titles in zip(jobs, answers, strict=True):
            job.future.set_result(titles)

    def _written(self, jobs: Sequence[Job]) -> list[Titles]:
        return self.writer.write([job.text for job in jobs], *jobs[0].way)

    def _grown(self, job: Job, tell: Callable[[dict[str, Any]], None]) -> Titles:
        """Writes one text and tells every step, as long as somebody listens."""
        for part in self.writer.grow(job.text, *job.way):
            if isinstance(part, list):
                return part
            if time.monotonic() >= job.deadline:
                raise Refusal(504, TOO_LATE)
            tell(part)
        raise RuntimeError("a search ended without titles")

    def _count(self, texts: int, seconds: float) -> None:
        self.metrics.batch_texts.observe(texts)
        self.metrics.batch_seconds.observe(seconds)
        self._seconds_per_text += 0.2 * (seconds / texts - self._seconds_per_text)


TOO_LATE = "there was no answer in time; the server is busy. Try again later, or ask for less."
