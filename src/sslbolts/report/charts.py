"""Curves as SVG, with their values under the pointer, and the most important ones in a table."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sslbolts.report.layout import Markup, render
from sslbolts.report.metrics import Gap, Point, Series

__all__ = ["MOST_POINTS", "Chart", "draw_chart", "draw_charts"]

MOST_POINTS = 120
"""Points of a line; of more, groups are averaged."""

_WIDTH, _HEIGHT = 420, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 12, 40
_COLORS, _DASHES = 6, 4
_MOST = 1e100  # what is drawn of larger values


@dataclass(frozen=True)
class Chart:
    """The content of a chart.

    Attributes:
        title: above it.
        series: label -> points; its place says the color and the dashes, also of those without points.
        baselines: label -> a level.
        percent: whether values are shares, shown in percent.
        detail: below the title.
        gaps: label -> where its values are not finite.
    """

    title: str
    series: Mapping[str, Series]
    baselines: Mapping[str, float] | None = None
    percent: bool = False
    detail: str = ""
    gaps: Mapping[str, Gap] = field(default_factory=dict)

    @property
    def looks(self) -> dict[str, str]:
        """Label -> its classes in the page's style."""
        return {
            label: f"s{place % _COLORS} d{place // _COLORS % _DASHES}".removesuffix(" d0")
            for place, label in enumerate(self.series)
        }

    @property
    def drawn(self) -> dict[str, Series]:
        """The points as they are drawn."""
        return {label: _thinned(points) for label, points in self.series.items() if points}

    @property
    def lost(self) -> dict[str, Gap]:
        """The gaps of what is drawn."""
        return {label: self.gaps[label] for label in self.series if label in self.gaps}


def draw_charts(charts: Sequence[Chart]) -> Markup | None:
    """Charts beside each other: two or four fill two columns, others three."""
    return render("charts", charts=[draw_chart(chart) for chart in charts]) if charts else None


def draw_chart(chart: Chart) -> Markup:
    """The chart as a ``<figure>``: title, legend, an SVG that scales with its place, and a table to unfold.

    Many points are averaged in groups of equal length; the mean stands for its group. Colors come from the page's style
    (``s0`` to ``s5``), dashes (``d1`` to ``d3``) tell apart what has the same color.

    Example:
        >>> "polyline" in draw_chart(Chart("Loss", {"run": [Point(1, 5.0), Point(2, 4.0)]}))
        True
    """
    factor = 100 if chart.percent else 1
    series = chart.drawn
    baselines = chart.baselines or {}
    values = [_drawable(point.value) * factor for points in series.values() for point in points]
    values += [value * factor for value in baselines.values()]
    low, high, ticks = _scale(min(values), max(values))
    ends = [point.epoch for points in series.values() for point in points]
    last = max(ends + [gap.last for gap in chart.lost.values()])
    last = math.ceil(last - 1e-9) if last > 2 else last
    epochs = _ticks(0, last, whole=last >= 2)

    def x(epoch: float) -> float:
        return round(_LEFT + (_WIDTH - _LEFT - _RIGHT) * epoch / last, 1)

    def y(value: float) -> float:
        value = _drawable(value)
        return round(_HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - _TOP) * (value - low) / (high - low), 1)

    gaps = [f"{label}: {gap}" if len(chart.series) > 1 else str(gap) for label, gap in chart.lost.items()]
    return render(
        "chart",
        title=chart.title,
        details="; ".join(filter(None, [chart.detail, *gaps])),
        legend=_legend(chart),
        said=f"{chart.title}, over epochs; the last values: {_last_values(chart)}",
        width=_WIDTH,
        height=_HEIGHT,
        left=_LEFT,
        right=_WIDTH - _RIGHT,
        bottom=_HEIGHT - _BOTTOM,
        levels=[{"at": y(tick), "label": _number(tick)} for tick in ticks],
        epochs=[{"at": x(tick), "label": f"{tick:g}"} for tick in epochs],
        baselines=[
            {"at": y(value * factor), "said": f"{label}: {_value(value, chart.percent)}", "look": f"b{number % 3}"}
            for number, (label, value) in enumerate(baselines.items())
        ],
        curves=[_curve(chart, label, points, x, lambda value: y(value * factor)) for label, points in series.items()],
        values=_values(chart),
    )


def _curve(
    chart: Chart, label: str, points: Series, x: Callable[[float], float], y: Callable[[float], float]
) -> dict[str, Any]:
    """A line, its points with their values, and the place from which on there are none."""
    whose = f"{label}, " if len(chart.drawn) > 1 else ""
    dots = [
        {
            "x": x(point.epoch),
            "y": y(point.value),
            "said": f"{whose}epoch {point.epoch:.4g}: {_value(point.value, chart.percent)}",
        }
        for point in points
    ]
    gap, lost = chart.lost.get(label), None
    if gap:
        before = [point for point in points if point.epoch <= gap.first] or points[:1]
        lost = {"x": x(gap.first), "y": y(before[-1].value) + 5, "said": f"{label}: {gap}"}
    line = " ".join(f"{dot['x']},{dot['y']}" for dot in dots)
    return {"points": line, "look": chart.looks[label], "dots": dots, "many": len(points) > 40, "lost": lost}


def _legend(chart: Chart) -> list[dict[str, str]]:
    """Every line's name and last value."""
    rows = [
        {"look": look, "label": label, "value": _last(chart, label)}
        for label, look in chart.looks.items()
        if chart.series[label] or label in chart.lost
    ]
    for number, (label, value) in enumerate((chart.baselines or {}).items()):
        rows.append({"look": f"base b{number % 3}", "label": label, "value": _value(value, chart.percent)})
    return rows


def _last(chart: Chart, label: str) -> str:
    gap = chart.lost.get(label)
    return gap.kind if gap and gap.lasting else _value(chart.drawn[label][-1].value, chart.percent)


def _last_values(chart: Chart) -> str:
    known = [f"{label} {_last(chart, label)}" for label in chart.series if chart.series[label] or label in chart.lost]
    return ", ".join(
        known + [f"{name} {_value(value, chart.percent)}" for name, value in (chart.baselines or {}).items()]
    )


def _values(chart: Chart) -> list[dict[str, Any]]:
    """The first, last, lowest and highest value of each line, for those who have no pointer."""
    rows = []
    for label, points in chart.drawn.items():
        lowest, highest = (choose(points, key=lambda point: point.value) for choose in (min, max))
        cells = [
            {"value": _value(point.value, chart.percent), "when": f"epoch {point.epoch:.4g}"}
            for point in (points[0], points[-1], lowest, highest)
        ]
        rows.append({"label": label, "cells": cells})
    return rows


def _thinned(points: Series) -> Series:
    """At most so many points that they can be told apart; each the mean of as many."""
    group = math.ceil(len(points) / MOST_POINTS)
    if group == 1:
        return list(points)
    parts = [points[start : start + group] for start in range(0, len(points), group)]
    return [Point(part[-1].epoch, sum(_drawable(point.value) for point in part) / len(part)) for part in parts]


def _drawable(value: float) -> float:
    return max(-_MOST, min(_MOST, value))


def _scale(low: float, high: float) -> tuple[float, float, Sequence[float]]:
    """Ends of the axis and its ticks."""
    if high - low < 1e-12 * max(1.0, abs(high)):
        margin = abs(high) * 0.1 or 1.0
        low, high = low - margin, high + margin
    margin = 0.06 * (high - low)
    bottom = low - margin
    if low >= 0 > bottom:
        bottom = 0.0
    return bottom, high + margin, _ticks(bottom, high + margin)


def _ticks(low: float, high: float, *, whole: bool = False) -> list[float]:
    """About five round numbers from ``low`` to ``high``."""
    rough = max((high - low) / 5, 1e-12)
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    if whole:
        step = max(1, math.ceil(step))
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 12) for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _number(value: float) -> str:
    return f"{value:.4g}"


def _value(value: float, percent: bool) -> str:
    return f"{100 * value:.1f} %" if percent else f"{value:.4g}"
