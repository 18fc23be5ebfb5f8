"""Charts: the lines lie where the numbers are."""

import itertools
import math
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kooler.seq2seq import report_chart as module
from kooler.seq2seq.report_chart import (
    BOTTOM,
    HEIGHT,
    LABEL_DISTANCE,
    POINTS,
    RIGHT,
    TOP,
    WIDTH,
    line_chart,
)
from kooler.seq2seq.report_data import Chart, Curve

numbers = st.floats(-1e12, 1e12)


def draw(*curves, unit="nats"):
    return line_chart(Chart("Loss", unit, curves))


def paths(svg):
    """The corners of each drawn line, as (x, y)."""
    found = re.findall(r'<path class="line [^"]*" d="([^"]*)"', svg)
    return [[tuple(map(float, p)) for p in re.findall(r"([\d.]+) ([\d.]+)", d)] for d in found]


def tick_heights(svg):
    """The height of each labelled line of the grid."""
    pairs = re.findall(r'class="grid" d="M\d+ ([\d.]+)H\d+"/><text [^>]*>([^<]*)<', svg)
    return {float(label): float(y) for y, label in pairs}


def test_points_lie_where_the_grid_says():
    svg = draw(Curve("l2r", [0, 50, 100], [4.0, 1.0, 3.0]))

    grid = tick_heights(svg)
    (corners,) = paths(svg)
    assert grid.keys() == {0, 1, 2, 3, 4}
    assert [y for _, y in corners] == [grid[4], grid[1], grid[3]]
    assert (grid[4], grid[0]) == (TOP, HEIGHT - BOTTOM)
    left, middle, right = (x for x, _ in corners)
    assert middle - left == pytest.approx(right - middle)


def test_the_x_axis_ends_where_the_lines_end():
    svg = draw(Curve("l2r", [0, 1180], [4.0, 1.0]))

    ticks = re.findall(r'class="tick" x="([\d.]+)" y="[\d.]+" text-anchor="middle">(\d+)<', svg)
    assert [label for _, label in ticks] == ["0", "500", "1000"]
    assert max(float(x) for x, _ in ticks) < WIDTH - RIGHT
    assert paths(svg)[0][-1][0] == WIDTH - RIGHT


def test_percentages_always_run_from_0_to_100():
    assert tick_heights(draw(Curve("best", [1, 2], [40, 60]), unit="%")).keys() == {
        0,
        25,
        50,
        75,
        100,
    }
    assert min(tick_heights(draw(Curve("best", [1, 2], [40, 60])))) == 40


def test_what_is_not_finite_leaves_a_gap():
    svg = draw(Curve("l2r", [1, 2, 3, 4], [4.0, math.nan, 2.0, 1.0]))

    (corners,) = paths(svg)
    assert len(corners) == 3
    assert re.search(r'd="M[^ML]*M[^ML]*L[^ML]*"', svg)
    assert "Nothing was measured" in draw(Curve("l2r", [1], [math.inf]))
    assert len(paths(draw(Curve("a", [1], [math.nan]), Curve("b", [1], [2.0])))) == 1


def test_long_curves_are_averaged_in_blocks():
    steps = list(range(4 * POINTS))
    values = [float(step % 2) for step in steps]
    svg = draw(Curve("train", steps, [*values[:-1], math.nan]))

    (corners,) = paths(svg)
    heights = {y for _, y in corners[:-1]}
    assert len(corners) == POINTS
    assert len(heights) == 1  # each block of four has the mean 0.5
    assert corners[-1][1] > corners[0][1]  # the last one 1/3: the gap does not count


def test_labels_stand_apart_in_the_order_of_the_lines():
    svg = draw(*(Curve(f"c{i}", [0, 1], [5.0, 1.0 + i / 100]) for i in range(4)))

    places = [float(y) for y in re.findall(r'class="name [^"]*" x="\d+" y="([\d.]+)"', svg)]
    assert places == sorted(places, reverse=True)
    assert min(a - b for a, b in itertools.pairwise(places)) >= LABEL_DISTANCE - 0.01
    assert max(places) <= HEIGHT


def test_lines_of_one_order_look_the_same_in_every_chart():
    first = draw(Curve("train", [1], [1.0]), Curve("mid", [1], [2.0]))
    second = draw(Curve("mid", [1], [1.0]), Curve("other", [1], [2.0]))

    assert 'class="line series-mid"' in first
    assert 'class="line series-mid"' in second
    assert 'class="line series-1"' in second


def test_the_description_says_the_numbers():
    assert "Loss, in nats, over updates: l2r from 4 to 1.5." in draw(Curve("l2r", [1, 2], [4, 1.5]))


@pytest.mark.parametrize("values", [[0.0], [3.0, 3.0], [-2.0, -2.0], [1.0, 1.0 + 2**-52]])
def test_flat_curves_are_no_problem(values):
    svg = draw(Curve("l2r", list(range(len(values))), values))

    assert len(paths(svg)) == 1
    assert "nan" not in svg


@given(numbers, numbers)
@example(0.0, 5e-324)
def test_ticks_are_few_round_and_enclose_the_range(one, two):
    low, high = sorted((one, two))
    ticks = module._ticks(low, high)

    slack = 1e-6 * max(abs(low), abs(high))
    assert 2 <= len(ticks) <= 7
    assert ticks[0] <= low + slack
    assert ticks[-1] >= high - slack
    step = ticks[1] - ticks[0]
    lead = step / 10 ** math.floor(math.log10(step) + 1e-9)
    assert min(abs(lead - round_step) for round_step in (1, 2, 2.5, 5, 10)) < 1e-3


@pytest.mark.parametrize(
    ("value", "expected"), [(0.30000000000000004, "0.3"), (9000, "9000"), (12_500, "12.5k")]
)
def test_ticks_are_short(value, expected):
    assert module._tick_text(value) == expected
