"""One look for all pictures: sizes, colors that color-blind readers tell apart, and saving."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["COLORS", "INK", "MUTED", "new_figure", "save", "tidy"]

COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
"""Okabe and Ito's colors: blue, orange, green, purple, sky, vermilion."""
INK = "#222222"
MUTED = "#777777"


def new_figure(width: float, height: float) -> "Figure":
    """A figure of ``width`` x ``height`` inches that belongs to nobody else: no pyplot, no global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def tidy(axes: "Axes", *, title: str, xlabel: str, ylabel: str) -> None:
    """Title, axis labels with units, a light grid and no box."""
    axes.set_title(title, loc="left", fontsize=11, color=INK, fontweight="bold")
    axes.set_xlabel(xlabel, color=MUTED)
    axes.set_ylabel(ylabel, color=MUTED)
    axes.grid(color="#e5e5e5", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color("#bbbbbb")


def save(figure: "Figure", path: str | Path, **options: Any) -> Path:
    """Write a figure; the file's ending says the format. Makes the folder."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=options.pop("dpi", 130), **options)
    return path
