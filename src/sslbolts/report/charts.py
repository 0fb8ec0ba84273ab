"""Curves as SVG, with their values under the pointer, and the most important ones in a table."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sslbolts.report.markup import Markup, tag
from sslbolts.report.metrics import Gap, Point, Series

__all__ = ["Chart", "draw_chart"]

_WIDTH, _HEIGHT = 420, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 12, 40
_MOST_POINTS = 120
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


def draw_chart(chart: Chart) -> Markup:
    """The chart as a ``<figure>``: title, legend, an SVG that scales with its place, and a table to unfold.

    Many points are averaged in groups of equal length; the mean stands for its group. Colors come from the page's style
    (``s0`` to ``s5``), dashes (``d1`` to ``d3``) tell apart what has the same color.

    Example:
        >>> "polyline" in draw_chart(Chart("Loss", {"run": [Point(1, 5.0), Point(2, 4.0)]}))
        True
    """
    factor = 100 if chart.percent else 1
    series, looks = chart.drawn, chart.looks
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

    parts = []
    for tick in ticks:
        parts.append(tag("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y(tick), y2=y(tick), class_="grid"))
        parts.append(tag("text", _number(tick), x=_LEFT - 7, y=y(tick) + 4, class_="tick", text_anchor="end"))
    for tick in epochs:
        parts.append(tag("text", f"{tick:g}", x=x(tick), y=_HEIGHT - _BOTTOM + 18, class_="tick", text_anchor="middle"))
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(tag("text", "epoch", x=middle, y=_HEIGHT - 5, class_="tick", text_anchor="middle"))
    for number, (label, value) in enumerate(baselines.items()):
        height = y(value * factor)
        text = tag("title", f"{label}: {_value(value, chart.percent)}")
        parts.append(
            tag("line", text, x1=_LEFT, x2=_WIDTH - _RIGHT, y1=height, y2=height, class_=f"base b{number % 3}")
        )
    dots = []
    for label, points in series.items():
        color = looks[label]
        line = " ".join(f"{x(point.epoch)},{y(point.value * factor)}" for point in points)
        parts.append(tag("polyline", points=line, class_=f"curve {color}"))
        few = len(points) <= 40
        for point in points:
            whose = f"{label}, " if len(series) > 1 else ""
            said = f"{whose}epoch {point.epoch:.4g}: {_value(point.value, chart.percent)}"
            at = {"cx": x(point.epoch), "cy": y(point.value * factor)}
            dots.append(
                tag(
                    "g",
                    tag("title", said),
                    tag("circle", r=7, class_="hit", **at),
                    tag("circle", r=2.6, class_=f"dot {color}{'' if few else ' hidden'}", **at),
                )
            )
        if gap := chart.lost.get(label):
            before = [point for point in points if point.epoch <= gap.first] or points[:1]
            said = tag("title", f"{label}: {gap}")
            at = {"x": x(gap.first), "y": y(before[-1].value * factor) + 5}
            dots.append(tag("text", "\u00d7", said, class_=f"lost {color}", text_anchor="middle", **at))
    svg = tag(
        "svg",
        *parts,
        *dots,
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        role="img",
        aria_label=f"{chart.title}, over epochs; the last values: {_last_values(chart)}",
        preserveAspectRatio="xMidYMid meet",
    )
    lost = [f"{label}: {gap}" if len(chart.series) > 1 else str(gap) for label, gap in chart.lost.items()]
    details = "; ".join(filter(None, [chart.detail, *lost]))
    caption = tag("figcaption", tag("strong", chart.title), tag("span", details, class_="detail") if details else None)
    return tag("figure", caption, _legend(chart), svg, _values(chart), class_="chart")


def _legend(chart: Chart) -> Markup:
    """Every line's name and last value."""
    rows = []
    for label, look in chart.looks.items():
        if chart.series[label] or label in chart.lost:
            rows.append(tag("li", tag("i", class_=f"key {look}"), f"{label} ", tag("b", _last(chart, label))))
    for number, (label, value) in enumerate((chart.baselines or {}).items()):
        key = tag("i", class_=f"key base b{number % 3}")
        rows.append(tag("li", key, f"{label} ", tag("b", _value(value, chart.percent))))
    return tag("ul", *rows, class_="legend")


def _last(chart: Chart, label: str) -> str:
    gap = chart.lost.get(label)
    return gap.kind if gap and gap.lasting else _value(chart.drawn[label][-1].value, chart.percent)


def _last_values(chart: Chart) -> str:
    known = [f"{label} {_last(chart, label)}" for label in chart.series if chart.series[label] or label in chart.lost]
    return ", ".join(
        known + [f"{name} {_value(value, chart.percent)}" for name, value in (chart.baselines or {}).items()]
    )


def _values(chart: Chart) -> Markup:
    """A table of the first, last, lowest and highest value of each line, for those who have no pointer."""
    rows = [tag("tr", *(tag("th", head, scope="col") for head in ("", "first", "last", "lowest", "highest")))]
    for label, points in chart.drawn.items():
        lowest, highest = (choose(points, key=lambda point: point.value) for choose in (min, max))
        cells = []
        for point in (points[0], points[-1], lowest, highest):
            cells.append(
                tag("td", _value(point.value, chart.percent), tag("span", f"epoch {point.epoch:.4g}", class_="when"))
            )
        rows.append(tag("tr", tag("th", label, scope="row"), *cells))
    return tag("details", tag("summary", "Values"), tag("div", tag("table", tag("tbody", *rows)), class_="scroll"))


def _thinned(points: Series) -> Series:
    """At most so many points that they can be told apart; each the mean of as many."""
    group = math.ceil(len(points) / _MOST_POINTS)
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
