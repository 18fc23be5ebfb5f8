"""One source of batches for `fit`, `evaluate`, `predict` and loops of one's own.

A stream has one position, that of training: an epoch and a number of batches within it.  `fit` and
`next(stream)` move it, so that each batch is trained on once, whoever takes it, also when a fit
ends within an epoch and the next one goes on.  `evaluate`, `predict` and validation read a pass of
their own, from the first sample to the last, in the order of the source, and move nothing.  So the
same stream may train and validate, and the rows of `predict` are those of the source.

`state()` is the position, `restore` goes there: seeds come from (seed, epoch, index), so what
follows are the same batches, also with another number of workers.
"""

import itertools
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from numbers import Integral
from types import GeneratorType
from typing import Any

from kooler.core.compat import Feed
from kooler.data.device import Send, sender
from kooler.data.parallel import check_workers
from kooler.data.passes import GeneratedPasses, IndexedPasses, Passes
from kooler.data.samples import can_be_indexed, check_source, count

_END = object()


class Stream(Feed):
    """Feeds Keras's trainers on all backends, each sample exactly once an epoch.

    Args:
        source: Samples, or with `batch_size=None` batches: anything with `__len__` and
            `__getitem__`, arrays, a tuple or a dict of arrays, also nested, an Arrow table;
            or a function that makes a generator of them.  A batch is what `fit` takes: inputs, or a
            tuple of inputs, targets and sample weights.
        batch_size: How many samples make up a batch; None if the source yields batches.
        shuffle: Whether training comes in another order each epoch; for what can be indexed.
        seed: Of that order, and of `random_generator`.
        workers: How many processes or threads read a source that can be indexed; 0 reads here.
        processes: Whether the workers are spawned processes; otherwise threads.
        prefetch: Whether the next batch is put on the accelerator while a step runs; on a CPU, and
            on TensorFlow, it makes no difference.
    """

    def __init__(
        self,
        source: Any,
        *,
        batch_size: int | None = None,
        shuffle: bool = False,
        seed: int = 0,
        workers: int = 0,
        processes: bool = True,
        prefetch: bool = True,
    ) -> None:
        super().__init__()
        batch_size, seed = _checked_numbers(batch_size, seed)
        check_workers(workers)
        self._passes = _passes(source, batch_size, bool(shuffle), seed, workers, processes)
        self._given = {
            "seed": seed,
            "batch_size": batch_size,
            "shuffle": bool(shuffle),
            "samples": self._passes.samples,
        }
        self._lock = threading.RLock()
        self._epoch = 0
        self._position = 0
        self._aside = 0
        self._rest: Iterator[Any] | None = None
        self._held: deque[Any] = deque()  # drawn, but not yet taken
        self._prefetch = prefetch
        self._late: Exception | None = None  # raised while a batch was drawn ahead

    @property
    def num_batches(self) -> int | None:
        """How many batches an epoch has; None for a generator."""
        return self._passes.length

    @property
    def taken_aside(self) -> int:
        """How many batches `next` and loops have taken, beside those of `fit`."""
        return self._aside

    def state(self) -> dict[str, Any]:
        """The position of training, as a dictionary that can be written as JSON."""
        with self._lock:
            return {"epoch": self._epoch, "position": self._position, **self._given}

    def restore(self, state: dict[str, Any]) -> None:
        """Goes to a position that `state` told, of a stream with the same settings."""
        for name, value in self._given.items():
            if state.get(name) != value:
                raise ValueError(
                    f"The state is of a stream with {name}={state.get(name)!r}, this one has "
                    f"{name}={value!r}: its batches would be others. Make the stream with the "
                    "source and the arguments of the saved one; only `workers` may differ."
                )
        with self._lock:
            self._go_to(state["epoch"], state["position"])

    def close(self) -> None:
        """Ends the workers; reading on starts new ones."""
        with self._lock:
            self._go_to(self._epoch, self._position)
            self._passes.close()

    def __next__(self) -> Any:
        """The next batch of training; after the last one of an epoch, the first of the next."""
        batch = self._take(None)
        self._aside += 1
        return batch

    def __iter__(self) -> Iterator[Any]:
        """The batches that are left of the epoch of training; all of them at its beginning."""
        for batch in self._left():
            self._aside += 1
            yield batch

    # What `Feed` asks for.

    def batches(self, purpose: str, endless: bool) -> Iterator[Any]:
        """The batches for a trainer."""
        if purpose == "build":
            return iter(self._ahead(1))
        send = sender() if self._prefetch else None
        if purpose == "train":
            taken = self._forever() if endless else self._left()
            return taken if send is None else self._sent(taken, send)
        batches = self._passes.batches(0, 0, shuffled=False)
        return batches if send is None else map(send, batches)

    def batches_left(self, purpose: str) -> int | None:
        """How many batches a pass will have."""
        length = self._passes.length
        return length if length is None or purpose != "train" else length - self._position

    def examples(self) -> list[Any]:
        """A few batches whose shapes show which axes vary."""
        return self._passes.examples() or self._ahead(2)

    # The position.

    def _left(self) -> Iterator[Any]:
        with self._lock:
            if self._ahead(1) == []:  # a generator shows only now that its epoch was over
                self._go_to(self._epoch + 1, 0)
            epoch = self._epoch
        while (batch := self._take(epoch)) is not _END:
            yield batch

    def _forever(self) -> Iterator[Any]:
        while True:
            yield self._take(None)

    def _take(self, epoch: int | None) -> Any:
        with self._lock:
            while epoch in (None, self._epoch):
                held = self._ahead(1)
                if held:
                    self._held.popleft()
                    self._moved()
                    return held[0]
                if not self._position:
                    raise ValueError("The source of a Stream has no batches.")
                self._go_to(self._epoch + 1, 0)
            return _END

    def _sent(self, taken: Iterator[Any], send: Send) -> Iterator[Any]:
        """Batches on the accelerator; while one is used, the next is on its way."""
        batch, sent = None, None
        for one in taken:
            ready = sent if one is batch else send(one)
            batch = self._drawn_ahead()
            sent = None if batch is None else send(batch)
            yield ready

    def _drawn_ahead(self) -> Any:
        """The batch after the one just taken, None at the end of an epoch; errors wait for it."""
        with self._lock:
            try:
                held = self._ahead(1) if self._position else []
            except Exception as error:
                self._late = error
                return None
            except BaseException:  # Ctrl-C: the batch just taken will not be used
                self._go_to(self._epoch, self._position - 1)
                raise
            return held[0] if held else None

    def _moved(self) -> None:
        self._position += 1
        if self._position == self._passes.length:
            self._go_to(self._epoch + 1, 0)

    def _ahead(self, number: int) -> list[Any]:
        """Up to `number` batches of this epoch, which remain to be taken."""
        with self._lock:
            if self._late is not None:
                late, self._late = self._late, None
                raise late
            if self._rest is None:
                self._rest = self._passes.batches(self._epoch, self._position, shuffled=True)
            try:
                self._held.extend(itertools.islice(self._rest, max(0, number - len(self._held))))
            except BaseException:  # also Ctrl-C: nothing was taken, so nothing is lost
                self._go_to(self._epoch, self._position)
                raise
            return list(itertools.islice(self._held, number))

    def _go_to(self, epoch: int, position: int) -> None:
        self._epoch, self._position = epoch, position
        self._rest = None
        self._late = None
        self._held.clear()


def _passes(
    source: Any, batch_size: int | None, shuffle: bool, seed: int, workers: int, processes: bool
) -> Passes:
    check_source(source, batch_size)
    if can_be_indexed(source):
        if not count(source):
            raise ValueError("The source of a Stream has no samples, received one of length 0.")
        return IndexedPasses(source, batch_size, shuffle, seed, workers, processes)
    _check_function(source)
    if shuffle:
        raise ValueError(
            "`shuffle=True` needs a source that can be indexed. Let the generator yield "
            "`shuffle_buffer(samples, size)` instead."
        )
    if workers:
        raise ValueError(
            f"A generator can be read by one reader only, received workers={workers!r}. Let it "
            "yield what is cheap and `parallel_map` the rest: "
            "Stream(lambda: parallel_map(prepare, names(), workers=2))."
        )
    return GeneratedPasses(source, batch_size, seed)


def _check_function(source: Any) -> None:
    if isinstance(source, GeneratorType | Iterator):
        raise ValueError(
            f"A {type(source).__name__} can be run through only once. Pass the function that makes "
            "it, without calling it: Stream(read), not Stream(read())."
        )
    if callable(source):
        return
    if isinstance(source, Iterable):
        raise ValueError(
            f"A {type(source).__name__} can be iterated but not indexed. Pass a function that "
            "returns it: Stream(lambda: dataset)."
        )
    raise ValueError(
        "`source` must have __len__ and __getitem__, or be a function that makes a generator, "
        f"received a {type(source).__name__}."
    )


def _checked_numbers(batch_size: Any, seed: Any) -> tuple[int | None, int]:
    if batch_size is not None and (not isinstance(batch_size, Integral) or batch_size < 1):
        raise ValueError(
            "`batch_size` must be how many samples make up a batch, or None if the source yields "
            f"batches, received batch_size={batch_size!r}."
        )
    if not isinstance(seed, Integral) or seed < 0:
        raise ValueError(f"`seed` must be a whole number, 0 or more, received seed={seed!r}.")
    return None if batch_size is None else int(batch_size), int(seed)
