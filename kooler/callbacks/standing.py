"""Where a training stands: numbers, and the words for them.

Nothing here knows a model or a screen.
"""

import dataclasses
import re
from collections.abc import Mapping

from kooler.core.words import duration, printable


@dataclasses.dataclass
class Standing:
    """What is shown.

    Attributes:
        phase: "train", "validate", "evaluate", "predict", or a name of one's own.
        done: Batches so far.
        total: All batches, or None where nobody knows.
        epoch: The epoch, from 1; 0 outside of epochs.
        epochs: How many there will be.
        updates: Updates taken, where that is not the number of batches.
        batches_per_second: By window.
        counted: A number per second and its name, for example (512.0, "examples").
        values: Metrics and other numbers by name.
        memory: Bytes by place.
    """

    phase: str
    done: int = 0
    total: int | None = None
    epoch: int = 0
    epochs: int = 0
    updates: int | None = None
    batches_per_second: float | None = None
    counted: tuple[float, str] | None = None
    values: Mapping[str, float] = dataclasses.field(default_factory=dict)
    memory: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @property
    def seconds_left(self) -> float | None:
        """Until this phase ends."""
        if self.total is None or not self.batches_per_second:
            return None
        return max(self.total - self.done, 0) / self.batches_per_second

    @property
    def seconds_left_in_all(self) -> float | None:
        """Until the last epoch ends, if validation took no time."""
        if self.seconds_left is None or self.total is None or not self.batches_per_second:
            return None
        later = max(self.epochs - self.epoch, 0) * self.total
        return self.seconds_left + later / self.batches_per_second


def words(standing: Standing) -> list[str]:
    """All of it, in the order of a line."""
    parts = [f"epoch {standing.epoch}/{standing.epochs}"] if standing.epoch else []
    parts += [standing.phase, f"batch {count_of(standing)}", *pace(standing), *figures(standing)]
    return parts


def count_of(standing: Standing) -> str:
    """For example 12/40."""
    return f"{standing.done}/{'?' if standing.total is None else standing.total}"


def pace(standing: Standing) -> list[str]:
    """Speed and time left."""
    parts = []
    if standing.updates is not None:
        parts.append(f"update {standing.updates}")
    if standing.counted is not None:
        parts.append(f"{standing.counted[0]:,.0f} {standing.counted[1]}/s")
    elif standing.batches_per_second:
        parts.append(f"{standing.batches_per_second:,.1f} batches/s")
    if standing.seconds_left is not None and standing.done != standing.total:
        parts.append(f"{duration(standing.seconds_left)} left")
    return parts


def figures(standing: Standing) -> list[str]:
    """Metrics and memory."""
    parts = [f"{printable(name)} {value:.4g}" for name, value in standing.values.items()]
    parts += [f"{place} {size / 2**30:.1f} GiB" for place, size in standing.memory.items()]
    return parts


def chosen(values: Mapping[str, object], pattern: str | None) -> dict[str, float]:
    """The numbers among some values whose name has the pattern; all of them without one."""
    numbers = {name: value for name, value in values.items() if isinstance(value, int | float)}
    return {name: value for name, value in numbers.items() if re.search(pattern or "", name)}
