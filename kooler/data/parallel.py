"""A map over processes or threads that keeps order, memory and exceptions."""

from collections.abc import Callable, Iterable, Iterator
from numbers import Integral
from typing import Any, TypeVar

from kooler.data.workers import Workers

Item = TypeVar("Item")
Result = TypeVar("Result")


def parallel_map(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int = 2,
    ordered: bool = True,
    processes: bool = True,
) -> Iterator[Result]:
    """Applies a function to each item, several at once; see `kooler.data.workers`.

    The items are read in this process only, a few ahead of the results: they may be infinite, and
    may come from a generator.

    Args:
        function: Of one item.  For processes, defined at the top of a module.
        items: Any iterable.
        workers: How many processes or threads; 0 computes here.
        ordered: Whether results come in the order of the items; otherwise as they are done.
        processes: Whether the workers are spawned processes; otherwise threads, which suits what
            waits for a disk or a network, or computes in NumPy.

    Returns:
        An iterator of the results.  The workers end with it.

    Raises:
        ValueError: At once, if the function cannot be sent to a process.
        RuntimeError: If a worker dies.
    """
    check_workers(workers)
    if not workers:
        return _one_by_one(function, items)
    return _results(Workers(function, workers, processes), items, ordered)


def check_workers(workers: Any) -> None:
    """Refuses a number of workers that is none."""
    if not isinstance(workers, Integral) or workers < 0:
        raise ValueError(
            "`workers` must be how many processes or threads work, 0 for none, received "
            f"workers={workers!r}."
        )


def _one_by_one(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    for item in items:  # not `map`: a StopIteration of the function would end it silently
        yield function(item)


def _results(workers: Workers, items: Iterable[Any], ordered: bool) -> Iterator[Any]:
    try:
        yield from workers.map(items, ordered)
    finally:
        workers.close()
