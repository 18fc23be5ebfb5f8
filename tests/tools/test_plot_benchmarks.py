"""Pictures show the numbers of the tables, and complain where a table has changed its shape."""

import pytest

from tools.plot_benchmarks import PLOTS, TABLES, Plot, Table, draw, table_of, with_pictures

TEXT = """# Benchmarks

## Speed: `speed.py`

Words.

| way | seconds | memory, MB |
|---|---|---|
| `ours` | 1,024: **2.5** | 3 |
| theirs | 2,048: 5 | 4.5 |

## Other

| way | seconds |
|---|---|
| ours | 9 |
"""


def test_a_table_is_read_below_its_heading() -> None:
    assert table_of(Plot("a", "Speed", "s"), TEXT) == Table(
        ["seconds", "memory, MB"], {"ours": ["1,024: 2.5", "3"], "theirs": ["2,048: 5", "4.5"]}
    )


def test_a_single_row_becomes_a_bar_a_column() -> None:
    assert table_of(Plot("a", "Speed", "s", rows=("theirs",)), TEXT) == Table(
        ["s"], {"seconds": ["2,048: 5"], "memory, MB": ["4.5"]}
    )


@pytest.mark.parametrize(
    ("plot", "message"),
    [
        (Plot("a", "Nothing", "s"), "has no table below a heading that begins with `Nothing`"),
        (Plot("a", "Speed", "s", ("hours",)), "no column `hours`, only way, seconds, memory, MB"),
        (Plot("a", "Speed", "s", rows=("his",)), "no row `his`, only ours, theirs. Correct the"),
    ],
)
def test_what_is_gone_is_named(plot: Plot, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        table_of(plot, TEXT)


def test_a_picture_holds_the_numbers_that_were_asked_for() -> None:
    plot = Plot("a", "Speed", "s", ("seconds",), which=1)

    picture = draw(plot, table_of(plot, TEXT), "light")

    assert "<!-- 2.5 -->" in picture  # matplotlib names each text that it draws as a path
    assert "<!-- 1024 -->" not in picture
    assert "<!-- ours -->" in picture
    assert draw(plot, table_of(plot, TEXT), "light") == picture


@pytest.mark.parametrize("plot", PLOTS, ids=lambda plot: plot.name)
def test_the_benchmarks_have_what_the_pictures_show(plot: Plot) -> None:
    table = table_of(plot, TABLES.read_text("utf-8"))

    assert table.columns
    assert table.rows


def test_each_picture_stands_below_its_table() -> None:
    text = with_pictures(TABLES.read_text("utf-8"))

    after = text.partition("| nearest title, the best baseline | 0.0 |")[2].splitlines()
    assert after[2].startswith("![The table above, drawn](plots/demo-light.svg")
    assert text.count("#only-dark") == len(PLOTS)
