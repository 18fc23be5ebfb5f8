"""Curves in the report, drawn as SVG by hand.

A chart takes a few kB, is sharp at any size, and takes its colours (light, dark, paper) from the
page and its letters from the reader's fonts.
"""

import math
import sys
from collections.abc import Sequence

from kooler.seq2seq.report_data import Chart, Curve
from kooler.seq2seq.report_text import escape, shorten
from kooler.seq2seq.report_words import say

WIDTH, HEIGHT = 340, 216
LEFT, RIGHT, TOP, BOTTOM = 34, 46, 8, 34
POINTS = 240  # more than these are averaged in blocks
LABEL_DISTANCE = 14
KNOWN_NAMES = ("l2r", "r2l", "mid", "best", "train")


def chart_figures(charts: Sequence[Chart]) -> str:
    """Draws charts with their captions.

    Args:
        charts: Any number of them.

    Returns:
        HTML, empty if there are none.
    """
    if not charts:
        return ""
    figures = "".join(
        f"<figure><figcaption><b>{escape(say(chart.title))}</b> {escape(say(chart.unit))}"
        f"</figcaption>{line_chart(chart)}</figure>"
        for chart in charts
    )
    long = any(len(curve.x) > POINTS for chart in charts for curve in chart.curves)
    note = f'<p class="quiet">{say("Long curves are averaged in blocks.")}</p>' if long else ""
    return f'<div class="charts">{figures}</div>{note}'


def line_chart(chart: Chart) -> str:
    """Draws curves over common axes.

    Args:
        chart: The curves; values that are not finite leave gaps.

    Returns:
        An `svg` element with a description for screen readers.
    """
    curves = [_block_means(curve) for curve in chart.curves if _finite(curve)]
    points = [(x, y) for curve in curves for x, y in _finite(curve)]
    if not points:
        return f'<p class="quiet">{say("Nothing was measured.")}</p>'
    x_end = max(x for x, _ in points)
    x_ticks = _ticks(min(x for x, _ in points), x_end)
    y_ticks = _ticks(*_y_range(chart.unit, [y for _, y in points]))
    frame = _Frame((x_ticks[0], x_end), (y_ticks[0], y_ticks[-1]))
    names = _label_places([(frame.y(_last(curve)), curve.name) for curve in curves])
    return "".join(
        [
            f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            f'aria-label="{escape(_description(chart))}">',
            *(_y_grid(frame, tick) for tick in y_ticks),
            *(_x_tick(frame, tick) for tick in x_ticks if tick <= x_end),
            f'<text class="axis" x="{WIDTH - RIGHT}" y="{HEIGHT - 4}" text-anchor="end">'
            f"{escape(say(chart.x_label))}</text>",
            *(_line(frame, curve, _series(curve.name, i)) for i, curve in enumerate(curves)),
            *(
                f'<text class="name {_series(name, i)}" x="{WIDTH - RIGHT + 7}" y="{y:.1f}">'
                f"{escape(shorten(say(name), 6))}</text>"
                for i, (y, name) in enumerate(names)
            ),
            "</svg>",
        ]
    )


class _Frame:
    """Where numbers lie in the picture."""

    def __init__(self, x_range: tuple[float, float], y_range: tuple[float, float]) -> None:
        self._x, self._x_span = x_range[0], (x_range[1] - x_range[0]) or 1.0
        self._y, self._y_span = y_range[0], y_range[1] - y_range[0]

    def x(self, value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (value - self._x) / self._x_span

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - self._y) / self._y_span


def _block_means(curve: Curve) -> Curve:
    """Averages long curves in equal blocks."""
    size = math.ceil(len(curve.x) / POINTS)
    if size <= 1:
        return curve
    blocks = [slice(start, start + size) for start in range(0, len(curve.x), size)]
    return Curve(
        curve.name,
        [_mean(curve.x[block]) for block in blocks],
        [_mean(curve.y[block]) for block in blocks],
    )


def _mean(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan


def _finite(curve: Curve) -> list[tuple[float, float]]:
    return [(x, y) for x, y in zip(curve.x, curve.y, strict=True) if math.isfinite(y)]


def _last(curve: Curve) -> float:
    return _finite(curve)[-1][1]


def _y_range(unit: str, values: Sequence[float]) -> tuple[float, float]:
    """From 0 where that does not squeeze the curves; percentages from 0 to 100."""
    low, high = min(values), max(values)
    if unit == "%" and low >= 0 and high <= 100:
        return 0, 100
    return (0 if 0 <= low < 0.6 * high else low), high


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers that enclose a range."""
    size = max(abs(low), abs(high))
    if size < sys.float_info.min:  # 0, or too small to be divided
        size = 1.0
    span = high - low if high - low > 1e-6 * size else size
    power = 10.0 ** math.floor(math.log10(span / 4))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= span / 4 * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [step * i for i in range(first, max(last, first + 1) + 1)]


def _tick_text(value: float) -> str:
    return f"{value / 1000:g}k" if abs(value) >= 10_000 else f"{value:g}"


def _y_grid(frame: _Frame, tick: float) -> str:
    y = frame.y(tick)
    return (
        f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>'
        f'<text class="tick" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">'
        f"{_tick_text(tick)}</text>"
    )


def _x_tick(frame: _Frame, tick: float) -> str:
    return (
        f'<text class="tick" x="{frame.x(tick):.1f}" y="{HEIGHT - BOTTOM + 15}" '
        f'text-anchor="middle">{_tick_text(tick)}</text>'
    )


def _series(name: str, index: int) -> str:
    """The class that gives a curve its colour and its dashes."""
    return f"series-{name}" if name in KNOWN_NAMES else f"series-{index % 4}"


def _line(frame: _Frame, curve: Curve, series: str) -> str:
    path, pen = [], "M"
    for x, y in zip(curve.x, curve.y, strict=True):
        if math.isfinite(y):
            path.append(f"{pen}{frame.x(x):.1f} {frame.y(y):.1f}")
        pen = "L" if math.isfinite(y) else "M"
    dots = [(frame.x(x), frame.y(y)) for x, y in _finite(curve)[-1:]]
    return f'<path class="line {series}" d="{"".join(path)}"/>' + "".join(
        f'<circle class="dot {series}" cx="{x:.1f}" cy="{y:.1f}" r="2.6"/>' for x, y in dots
    )


def _label_places(labels: list[tuple[float, str]]) -> list[tuple[float, str]]:
    """Moves labels apart that would lie on each other; keeps their order in the chart."""
    lowest = HEIGHT - BOTTOM + 4.0
    places: dict[int, float] = {}
    for index in sorted(range(len(labels)), key=lambda i: -labels[i][0]):
        places[index] = min(labels[index][0] + 4, lowest)
        lowest = places[index] - LABEL_DISTANCE
    return [(places[index], name) for index, (_, name) in enumerate(labels)]


def _description(chart: Chart) -> str:
    lines = [
        say(
            "{name} from {first} to {last}",
            name=curve.name,
            first=f"{_finite(curve)[0][1]:.4g}",
            last=f"{_last(curve):.4g}",
        )
        for curve in chart.curves
        if _finite(curve)
    ]
    return say(
        "{title}, in {unit}, over {x}: {lines}.",
        title=say(chart.title),
        unit=say(chart.unit),
        x=say(chart.x_label),
        lines="; ".join(lines),
    )
