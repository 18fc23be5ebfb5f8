"""Where progress is shown: redrawn in place on a terminal or in a notebook, as lines elsewhere.

A screen is given a `Standing` and draws it; it asks nobody for anything, so nothing moves under it.
On a terminal rich draws, without a thread of its own, and the cursor stays visible.  What the
program prints meanwhile appears above the bars.  An exception that nobody catches, and the end of
the program, take the bars off the terminal first; the next phase does so in any other case.

What goes into a file or a pipe is lines of text, and never a control character.
"""

import atexit
import importlib
import sys
from typing import Any, Protocol, TextIO

from kooler.callbacks.standing import Standing, count_of, figures, pace, words
from kooler.core.words import duration

WIDTH = 30  # of a bar


class Screen(Protocol):
    """What progress is drawn on."""

    in_place: bool
    """Whether a drawing replaces the one before, so that it may be drawn often."""

    def draw(self, standing: Standing) -> None:
        """Shows where things stand."""

    def keep(self, standing: Standing) -> None:
        """Shows it for good: a phase has ended."""

    def close(self) -> None:
        """Leaves everything clean."""


def screen_for(stream: TextIO) -> Screen:
    """The screen that suits a stream, and where it stands.

    Raises:
        ImportError: It is a terminal, and rich is not installed.
    """
    if _in_notebook():
        return Notebook()
    if not getattr(stream, "isatty", lambda: False)():
        return Lines(stream)
    try:
        console = importlib.import_module("rich.console").Console(file=stream, highlight=False)
    except ImportError:
        raise ImportError(
            "Progress draws its bars with rich, which is not installed: pip install rich. Or "
            "let it write plain lines, into a file: Progress(stream=open('log.txt', 'w'))."
        ) from None
    return Lines(stream) if console.is_dumb_terminal else Terminal(console)


class Lines:
    """One line of text for each drawing."""

    in_place = False

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def draw(self, standing: Standing) -> None:
        """Writes a line."""
        self._stream.write("  ".join(words(standing)) + "\n")
        self._stream.flush()

    def keep(self, standing: Standing) -> None:
        """Writes a line."""
        self.draw(standing)

    def close(self) -> None:
        """There is nothing to clean."""


class Terminal:
    """Two bars, for epochs and batches, and a line of numbers.

    Args:
        console: A `rich.console.Console`.
    """

    in_place = True

    def __init__(self, console: Any) -> None:
        self._console = console
        self._live: Any = None
        self._excepthook = sys.excepthook

    def draw(self, standing: Standing) -> None:
        """Draws the bars in the place of those before."""
        if self._live is None:
            self._open()
        self._live.update(_picture(standing), refresh=True)

    def keep(self, standing: Standing) -> None:
        """Writes a line above the bars."""
        text = importlib.import_module("rich.text").Text("  ".join(words(standing)))
        self._console.print(text, soft_wrap=True)

    def close(self) -> None:
        """Takes the bars off the terminal."""
        if self._live is not None:
            self._live.stop()
            self._live = None
            atexit.unregister(self.close)
            if sys.excepthook == self._on_error:
                sys.excepthook = self._excepthook

    def _open(self) -> None:
        live = importlib.import_module("rich.live").Live
        self._live = live(console=self._console, auto_refresh=False, transient=True)
        self._live.start()
        self._console.show_cursor(True)
        atexit.register(self.close)
        self._excepthook = sys.excepthook
        sys.excepthook = self._on_error

    def _on_error(self, *error: Any) -> None:
        self.close()
        sys.excepthook(*error)


class Notebook:
    """Lines of text in a cell, replaced in place."""

    in_place = True

    def __init__(self) -> None:
        self._display: Any = importlib.import_module("IPython.display").display
        self._handle: Any = None
        self._kept: list[str] = []

    def draw(self, standing: Standing) -> None:
        """Replaces what the cell shows."""
        now = [_bar_of_text(standing), "  ".join(words(standing))]
        self._show([*self._kept, *now])

    def keep(self, standing: Standing) -> None:
        """Adds a line above the bar."""
        self._kept.append("  ".join(words(standing)))
        self._show(self._kept)

    def close(self) -> None:
        """The lines that were kept remain."""
        if self._kept:
            self._show(self._kept)
        self._handle, self._kept = None, []

    def _show(self, lines: list[str]) -> None:
        content = {"text/plain": "\n".join(lines)}
        if self._handle is None:
            self._handle = self._display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)


def _picture(standing: Standing) -> Any:
    text = importlib.import_module("rich.text").Text
    table = importlib.import_module("rich.table").Table.grid(padding=(0, 2))
    if standing.epoch:
        done = standing.epoch - 1 + _share(standing) * (standing.phase == "train")
        left = standing.seconds_left_in_all if standing.phase == "train" else None
        words_left = [] if left is None else [f"{duration(left)} left"]
        counts = f"{standing.epoch}/{standing.epochs}"
        table.add_row("epoch", _bar(done, standing.epochs), "  ".join([counts, *words_left]))
    bar = _bar(standing.done, standing.total)
    table.add_row(text(standing.phase), bar, "  ".join([count_of(standing), *pace(standing)]))
    group = importlib.import_module("rich.console").Group
    return group(table, text("  ".join(figures(standing))))


def _bar(done: float, total: float | None) -> Any:
    progress_bar = importlib.import_module("rich.progress_bar").ProgressBar
    return progress_bar(total=total or 1, completed=done if total else 0, width=WIDTH)


def _bar_of_text(standing: Standing) -> str:
    full = round(_share(standing) * WIDTH)
    return "█" * full + "░" * (WIDTH - full)


def _share(standing: Standing) -> float:
    return min(standing.done / standing.total, 1.0) if standing.total else 0.0


def _in_notebook() -> bool:
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ in ("ZMQInteractiveShell", "Shell")  # Jupyter's and Colab's
