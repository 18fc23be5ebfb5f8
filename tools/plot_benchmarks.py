"""Draws the tables of benchmarks/README.md: a figure stands there, and nowhere else.

    python -m tools.plot_benchmarks site/plots

Each `Plot` names a heading and columns of the first table below it.  A picture is drawn twice, for
light and for dark pages.
"""

import io
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot as plt

TABLES = Path(__file__).resolve().parents[1] / "benchmarks" / "README.md"
COLOURS = ("#0f9d8f", "#e0872e", "#6f7fd8", "#c4527a", "#8a8a8a")
INK = {"light": "#333333", "dark": "#d5d7e0"}
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")


class Plot(NamedTuple):
    """A picture of a table.

    Attributes:
        name: Name of the file.
        heading: How the heading above the table begins.
        label: What the axis of numbers says.
        columns: Columns to draw; all but the first if empty.
        rows: How the names of the rows to draw begin; all if empty.
        which: Which number of a cell: 0 is the first.
        lines: Lines over the columns instead of bars.
        mark: A number to compare with, drawn as a line.
    """

    name: str
    heading: str
    label: str
    columns: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    which: int = 0
    lines: bool = False
    mark: float | None = None


class Table(NamedTuple):
    """A table as text: the names of its columns, and its rows by their first cell."""

    columns: list[str]
    rows: dict[str, list[str]]


PLOTS = (
    Plot("demo", "The demo", "%", ("exact %", "ROUGE-L")),
    Plot("junction", "The junction of two halves", "% of the titles", ("repeated %", "missing %")),
    Plot("translation", "Translation", "BLEU", ("BLEU",)),
    Plot("titles", "Titles", "ROUGE", ("ROUGE-1", "ROUGE-L")),
    Plot("reading", "Reading", "so many times as fast is Stream; 1: as fast", which=1, mark=1.0,
         rows=("PyTorch", "grain", "PyDataset", "tf.data")),
    Plot("wrapper", "What a wrapper costs", "time of a step, beside Keras's",
         ("wrapper", "told of the batch", "own step"), mark=1.0),
    Plot("lazy", "Lazy embeddings", "time of dense Adam / time of lazy Adam; the goal is 15",
         rows=("dense / lazy",), mark=15.0),
    Plot("lazy_accuracy", "Do lazy embeddings help", "accuracy %", lines=True),
)  # fmt: skip


def draw_all(text: str) -> dict[str, str]:
    """All pictures as SVG, by file name.

    Args:
        text: benchmarks/README.md.

    Raises:
        ValueError: If a table, a column or a row is not there.
    """
    return {
        f"{plot.name}-{ground}.svg": draw(plot, table_of(plot, text), ground)
        for plot in PLOTS
        for ground in INK
    }


def with_pictures(text: str) -> str:
    """The text with each picture below its table."""
    for plot in PLOTS:
        end = _place(plot, text)[1]
        pictures = "\n".join(
            f"![The table above, drawn](plots/{plot.name}-{ground}.svg#only-{ground})"
            for ground in INK
        )
        text = f"{text[:end]}\n{pictures}\n{text[end:]}"
    return text


def table_of(plot: Plot, text: str) -> Table:
    """The rows and columns that a picture shows."""
    start, end = _place(plot, text)
    header, _, *lines = (
        [_plain(cell) for cell in line.strip("|").split("|")]
        for line in text[start:end].strip().splitlines()
    )
    wanted = plot.columns or header[1:]
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise ValueError(f"two columns below `{plot.heading}` are named `{twice[0]}`.")
    if missing := [name for name in wanted if name not in header]:
        raise ValueError(_gone(plot, "column", missing[0], header))
    rows = {
        line[0]: [line[header.index(name)] for name in wanted]
        for line in lines
        if not plot.rows or line[0].startswith(plot.rows)
    }
    if not rows:
        raise ValueError(_gone(plot, "row", plot.rows[0], [line[0] for line in lines]))
    if len(rows) == 1:  # a bar a column says more than a group of one row
        (cells,) = rows.values()
        return Table([plot.label], {name: [cell] for name, cell in zip(wanted, cells, strict=True)})
    return Table(list(wanted), rows)


def draw(plot: Plot, table: Table, ground: str) -> str:
    """A picture as SVG, the same each time."""
    settings = {"svg.hashsalt": plot.name, "svg.fonttype": "path", "font.size": 9}
    with plt.rc_context({**settings, **_inked(INK[ground])}):
        height = 2.8 if plot.lines else 0.5 + 0.17 * (_bar_count(plot, table) + len(table.rows))
        figure, axes = plt.subplots(figsize=(6.4, height), layout="constrained")
        _draw_lines(axes, plot, table) if plot.lines else _draw_bars(axes, plot, table)
        if plot.mark is not None:
            axes.axvline(plot.mark, color=INK[ground], linewidth=0.8, linestyle=":")
        axes.spines[["top", "right"]].set_visible(False)
        if len(table.columns if not plot.lines else table.rows) > 1:
            axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
        picture = io.StringIO()
        figure.savefig(picture, format="svg", transparent=True, metadata={"Date": None})
        plt.close(figure)
    return picture.getvalue()


def _draw_bars(axes: Any, plot: Plot, table: Table) -> None:
    """A group of bars a row, the first row at the top."""
    width = 0.8 / len(table.columns)
    for index, (column, colour) in enumerate(zip(table.columns, COLOURS, strict=False)):
        values = [_number(cells[index], plot.which) for cells in table.rows.values()]
        places = [place + index * width for place in range(len(values))]
        bars = axes.barh(places, values, width * 0.9, label=column, color=colour)
        axes.bar_label(bars, [f"{value:g}" for value in values], padding=3, fontsize=8)
    names = [textwrap.fill(name, 26) for name in table.rows]
    axes.set_yticks([place + 0.4 - width / 2 for place in range(len(names))], names)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel(plot.label)


def _draw_lines(axes: Any, plot: Plot, table: Table) -> None:
    """A line a row, over the columns."""
    styles = ["-", "--", ":", "-."]
    names = [name.partition(",")[0] for name in table.rows]
    kinds = list(dict.fromkeys(names))
    for name, kind, cells in zip(table.rows, names, table.rows.values(), strict=True):
        style = styles[names[: list(table.rows).index(name)].count(kind) % len(styles)]
        values = [_number(cell, plot.which) for cell in cells]
        axes.plot(table.columns, values, style, label=name, color=COLOURS[kinds.index(kind)])
    axes.set_ylabel(plot.label)


def _bar_count(plot: Plot, table: Table) -> int:
    return len(table.rows) * len(table.columns)


def _inked(ink: str) -> dict[str, str]:
    names = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
    return dict.fromkeys(names, ink)


def _place(plot: Plot, text: str) -> tuple[int, int]:
    """Where the first table below a heading begins and ends."""
    pattern = rf"^## {re.escape(plot.heading)}[^\n]*\n(?:(?!## |\|)[^\n]*\n)*((?:\|[^\n]*\n)+)"
    found = re.search(pattern, text, re.MULTILINE)
    if not found:
        raise ValueError(
            f"benchmarks/README.md has no table below a heading that begins with "
            f"`{plot.heading}`. Correct the plot `{plot.name}` in tools/plot_benchmarks.py."
        )
    return found.span(1)


def _gone(plot: Plot, kind: str, name: str, known: list[str]) -> str:
    return (
        f"the table below `{plot.heading}` has no {kind} `{name}`, only {', '.join(known)}. "
        f"Correct the plot `{plot.name}` in tools/plot_benchmarks.py."
    )


def _plain(cell: str) -> str:
    return cell.strip().replace("**", "").replace("`", "")


def _number(cell: str, which: int) -> float:
    return float(list(_numbers(cell))[which])


def _numbers(cell: str) -> Iterator[str]:
    return (found[0].replace(",", "") for found in NUMBER.finditer(cell))


if __name__ == "__main__":
    for name, picture in draw_all(TABLES.read_text("utf-8")).items():
        (Path(sys.argv[1]) / name).write_text(picture, "utf-8")
