"""A function applied to many things at once, by spawned processes or by threads.

In order, in bounded memory, and never silent:

- At most `2 * count` results are computed ahead of the one that is asked for.
- An exception is raised where its result was due, with the traceback of the worker as its cause.
- A worker that dies (killed, out of memory, crashed) is an error, at once.
- Large arrays come from a process through shared memory, see `handover`.

Processes are spawned on every system.  A forked child inherits the locks of threads that do not
live in it: of JAX, of TensorFlow, of a thread that writes a log; it works for months and then
hangs.  The price is that the function must be found by its name in a new interpreter, and
`__main__` be guarded.  Workers are no daemons, so that what they compute may start processes too;
they ignore Ctrl-C, which ends the process that started them, and end as soon as that one is gone.
"""

import concurrent.futures
import concurrent.futures.process
import contextlib
import itertools
import multiprocessing
import multiprocessing.connection
import os
import pickle
import signal
import threading
import traceback
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from kooler.data.freed_memory import keep_freed_memory
from kooler.data.handover import Pieces, discard, parent_can_read, unpacked
from kooler.data.portable import dumps

Future = concurrent.futures.Future[Any]


class Workers:
    """Processes or threads that apply one function.

    Args:
        function: Of one argument.
        count: How many workers, at least 1.
        processes: Whether they are processes; otherwise threads.
    """

    def __init__(self, function: Callable[[Any], Any], count: int, processes: bool) -> None:
        self.count = count
        self.processes = processes
        self._function = function
        self._payload = portable(function) if processes else b""
        self._pool: concurrent.futures.Executor | None = None
        self._stop: Callable[[], Any] = lambda: None

    def map(self, items: Iterable[Any], ordered: bool = True) -> Iterator[Any]:
        """The results for some items, which are read here, a few ahead."""
        futures = self._submitted(iter(items))
        waiting = deque(itertools.islice(futures, 2 * self.count))
        try:
            while waiting:
                done = waiting[0] if ordered else _first_done(waiting)
                value = self._value(done)
                waiting.remove(done)
                waiting.extend(itertools.islice(futures, 1))
                del done  # a result is the caller's alone
                yield value
                del value
        finally:
            for future in waiting:
                if not future.cancel():
                    future.add_done_callback(_discard)

    def close(self) -> None:
        """Lets the workers end; `map` would start new ones."""
        self._stop()
        self._pool = None

    def _submit(self, item: Any) -> Future:
        if self._pool is None:
            self._pool = self._new_pool()
            self._stop = weakref.finalize(self, _shut_down, self._pool)
        with _interrupts_wait():  # processes start here, and take over that Ctrl-C is held back
            return self._pool.submit(_call if self.processes else self._function, item)

    def _submitted(self, items: Iterator[Any]) -> Iterator[Future]:
        try:
            for item in items:
                yield self._submit(item)
        except Exception as error:  # raised in its turn, after the results of the items before it
            failed: Future = concurrent.futures.Future()
            failed.set_exception(error)
            yield failed

    def _new_pool(self) -> concurrent.futures.Executor:
        if not self.processes:
            return concurrent.futures.ThreadPoolExecutor(self.count)
        return concurrent.futures.ProcessPoolExecutor(
            self.count,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_begin,
            initargs=(self._payload,),
        )

    def _value(self, future: Future) -> Any:
        try:
            value = future.result()
        except concurrent.futures.process.BrokenProcessPool as error:
            raise self._death() from error
        if isinstance(value, _Failure):
            value.raise_here()
        try:
            return unpacked(value)
        except FileNotFoundError as error:
            raise self._death() from error

    def _death(self) -> RuntimeError:
        self.close()
        return RuntimeError(
            "A worker process died. It was killed (out of memory?), it crashed, or it could "
            "not start: a script that uses worker processes must do its work under "
            '`if __name__ == "__main__":`.'
        )


def portable(function: Callable[[Any], Any]) -> bytes:
    """A function as bytes that a new interpreter understands."""
    try:
        return dumps(function)
    except Exception as error:
        raise ValueError(
            f"This cannot be sent to a worker process: {error}. Functions and classes must be "
            "defined at the top of a module (no lambda, nothing within a function), and open "
            "files or connections be opened in the worker when they are first used; or use "
            "threads, with processes=False."
        ) from error


def _first_done(waiting: Iterable[Future]) -> Future:
    first = concurrent.futures.FIRST_COMPLETED
    return next(iter(concurrent.futures.wait(waiting, return_when=first).done))


@contextlib.contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Ctrl-C comes after the block: a worker that has just begun could not ignore it yet."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _shut_down(pool: concurrent.futures.Executor) -> None:
    pool.shutdown(wait=False, cancel_futures=True)


def _discard(future: Future) -> None:
    if not future.cancelled() and future.exception() is None:
        discard(future.result())


# In the worker.

_payload = b""
_pieces: Pieces | None = None
_function: Callable[[Any], Any] | None = None


def _begin(payload: bytes) -> None:
    global _payload, _pieces
    _payload, _pieces = payload, Pieces() if parent_can_read() else None
    keep_freed_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def _call(item: Any) -> Any:
    global _function
    try:
        if _function is None:
            _function = pickle.loads(_payload)
        value = _function(item)
        return value if _pieces is None else _pieces.packed(value)
    except BaseException as error:
        return _Failure(error)


class _WorkerTraceback(Exception):
    """The cause of an exception that a worker raised."""

    def __str__(self) -> str:
        return f'in a worker process\n"""\n{self.args[0]}"""'


class _Failure:
    """An exception on its way from a worker; one that cannot travel arrives as RuntimeError."""

    def __init__(self, error: BaseException) -> None:
        self.text = "".join(traceback.format_exception(error))
        self.error = self._traveller(error)

    def raise_here(self) -> None:
        raise pickle.loads(self.error) from _WorkerTraceback(self.text)

    @staticmethod
    def _traveller(error: BaseException) -> bytes:
        try:
            travelled = pickle.dumps(error)
            if isinstance(error, Exception) and isinstance(pickle.loads(travelled), type(error)):
                return travelled
        except Exception:  # its arguments cannot be pickled, or do not make it anew
            pass
        return pickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))
