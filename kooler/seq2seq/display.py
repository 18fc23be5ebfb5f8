"""What one sees while a model learns.

On a terminal a few lines that are redrawn in place: the loss, tokens a second, the time left, and
one title of the dev set as it gets better.  Anywhere else, in a file or a pipe, plain lines now and
then, without control characters.  The training tells a display what happened; a display never
changes it.
"""

import sys
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from kooler.core.words import duration, printable
from kooler.seq2seq.speed import TrainingSpeed

PAUSE = 10.0  # seconds between two plain lines, at least
SHOWN = 400  # characters of a text


class Step(NamedTuple):
    """What an update tells.

    Attributes:
        update: Its number, from 1.
        updates: The number of the last one.
        loss: The loss of its batch.
        tokens: Tokens in its batch, padding not counted.
        learning_rate: The rate it was made with.
        seconds_left: Until a time limit ends the training; None without one.
    """

    update: int
    updates: int
    loss: float
    tokens: int
    learning_rate: float
    seconds_left: float | None = None


class Look(NamedTuple):
    """What an evaluation on the dev set tells.

    Attributes:
        update: The update after which it was made.
        nll: Nats per token, by order.
        exact: Share of exact titles in a sample, in percent.
        source: A text of the dev set.
        reference: Its title.
        title: What the model writes.
        averaged: Of how many checkpoints the weights are the mean; 0 for those of the training.
    """

    update: int
    nll: Mapping[str, float]
    exact: float
    source: str
    reference: str
    title: str
    averaged: int = 0


class Display(Protocol):
    """What a training talks to; use it as a context manager, which leaves the terminal clean."""

    def __enter__(self) -> "Display": ...

    def __exit__(self, *error: object) -> None: ...

    def note(self, text: str) -> None:
        """Shows a sentence and keeps it."""

    def step(self, step: Step) -> None:
        """Shows an update."""

    def look(self, look: Look) -> None:
        """Shows an evaluation."""


def make_display(stream: TextIO | None = None) -> Display:
    """The display that suits a stream: redrawn in place on a terminal, plain lines elsewhere.

    Args:
        stream: Where to write; None is stderr.
    """
    stream = stream or sys.stderr
    console = Console(file=stream, highlight=False)
    if console.is_terminal and not console.is_dumb_terminal:
        return LiveDisplay(console)
    return PlainDisplay(stream)


class Silence:
    """A display that shows nothing."""

    def __enter__(self) -> "Silence":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def note(self, text: str) -> None:
        """Shows nothing."""

    def step(self, step: Step) -> None:
        """Shows nothing."""

    def look(self, look: Look) -> None:
        """Shows nothing."""


class PlainDisplay:
    """One line every few seconds, and one for each evaluation.

    Args:
        stream: Where to write.
        clock: Tells the time in seconds.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._speed = TrainingSpeed(clock)
        self._last = clock()

    def __enter__(self) -> "PlainDisplay":
        return self

    def __exit__(self, *error: object) -> None:
        self._stream.flush()

    def note(self, text: str) -> None:
        """Writes a sentence as one line."""
        self._stream.write(printable(text) + "\n")
        self._stream.flush()

    def step(self, step: Step) -> None:
        """Writes a line if the last one is long enough ago, and for the last update."""
        self._speed.add(step.update, step.tokens)
        if self._clock() - self._last >= PAUSE or step.update == step.updates:
            self._last = self._clock()
            self.note("  ".join(_figures(step, self._speed)))

    def look(self, look: Look) -> None:
        """Writes what the evaluation found, and the title of the example."""
        self.note(f"update {look.update}  dev{_whose(look)}  {_losses(look)}  title: {look.title}")


class LiveDisplay:
    """A few lines that are redrawn in place.

    Args:
        console: The terminal.
        clock: Tells the time in seconds.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._speed = TrainingSpeed(clock)
        self._step: Step | None = None
        self._look: Look | None = None
        self._live = Live(
            get_renderable=self.picture,
            console=console,
            refresh_per_second=4,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> "LiveDisplay":
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()

    def note(self, text: str) -> None:
        """Writes a sentence above the lines that move."""
        self._live.console.print(Text(printable(text)), soft_wrap=True)

    def step(self, step: Step) -> None:
        """Keeps an update for the next redrawing."""
        self._speed.add(step.update, step.tokens)
        self._step = step

    def look(self, look: Look) -> None:
        """Keeps an evaluation for the next redrawing."""
        self._look = look

    def picture(self) -> RenderableType:
        """The lines as they are now."""
        lines: list[RenderableType] = []
        if self._step:
            first, *others = _figures(self._step, self._speed)
            bar = ProgressBar(self._step.updates, self._step.update, width=30)
            lines += [_beside(Text(first), bar), Text("  ".join(others))]
        if self._look:
            lines += [
                Text(f"dev after {self._look.update}{_whose(self._look)}  {_losses(self._look)}")
            ]
            lines += [_example(self._look)]
        return Group(*lines)


def _figures(step: Step, speed: TrainingSpeed) -> list[str]:
    tokens = speed.tokens()
    return [
        f"update {step.update}/{step.updates}",
        f"loss {step.loss:.3f}",
        f"{tokens:,.0f} tokens/s" if tokens else "… tokens/s",
        f"{_left(step, speed)} left",
        f"learning rate {step.learning_rate:.1e}",
    ]


def _left(step: Step, speed: TrainingSpeed) -> str:
    updates = speed.updates()
    if not updates:
        return "…"
    seconds = (step.updates - step.update) / updates
    if step.seconds_left is not None:
        seconds = min(seconds, max(step.seconds_left, 0))
    return duration(seconds)


def _losses(look: Look) -> str:
    parts = [f"{order} {value:.3f}" for order, value in look.nll.items()]
    return "nats per token " + ", ".join(parts) + f"  exact titles {look.exact:.0f} %"


def _whose(look: Look) -> str:
    return f", mean weights of {look.averaged} checkpoints" if look.averaged else ""


def _beside(left: RenderableType, right: RenderableType) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_row(left, right)
    return table


def _example(look: Look) -> Table:
    table = Table.grid(padding=(0, 2))
    rows = {"text": look.source, "its title": look.reference, "written": look.title}
    for name, text in rows.items():
        style = "bold" if name == "written" else "dim"
        shown = text if len(text) <= SHOWN else text[: SHOWN - 2] + " …"
        table.add_row(Text(name, "dim"), Text(printable(shown), style))
    return table
