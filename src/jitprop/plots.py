"""Pictures of what networks learn, drawn with matplotlib when it is installed."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .files import check_path, replacing
from .network import Network

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["bars", "cost_curve", "decision_boundary", "new_figure", "picture_format", "save"]

ROOM = 0.6  # right of the longest bar, for its text, as a part of the bar's length


def new_figure(
    rows: int = 1, columns: int = 1, width: float = 6.4, height: float = 4.0
) -> "tuple[Figure, Any]":
    """A figure that needs no display, and its axes.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("pictures need matplotlib: pip install 'jitprop[plot]'") from None
    figure = Figure(figsize=(columns * width, rows * height), layout="constrained")
    FigureCanvasAgg(figure)  # not pyplot: the person's own backend and open figures are left alone
    return figure, figure.subplots(rows, columns)


def save(figure: "Figure", path: str | os.PathLike[str], dpi: int = 120) -> None:
    """Write a figure to a file that appears whole or not at all, in the format its name ends with."""
    format = picture_format(path)
    with replacing(path) as file:
        figure.savefig(file, format=format, dpi=dpi)


def picture_format(path: str | os.PathLike[str]) -> str:
    """The format that the end of a file's name asks for, PNG without one.

    Raises
    ------
    ValueError
        matplotlib does not write that format.
    ImportError
        matplotlib is not installed.
    """
    accepted = new_figure()[0].canvas.get_supported_filetypes()
    format = os.path.splitext(check_path(path))[1].removeprefix(".").lower() or "png"
    if format not in accepted:
        raise ValueError(
            f"{os.fspath(path)}: unknown kind of picture {format!r}; accepted: {', '.join(sorted(accepted))}"
        )
    return format


def cost_curve(axes: "Axes", series: Mapping[str, Sequence[float]], title: str = "") -> None:
    """Costs over the epochs."""
    for (name, values), style in zip(series.items(), ("-", "--", ":", "-."), strict=False):
        axes.plot(range(1, len(values) + 1), values, style, label=name)
    lowest = min(min(values) for values in series.values())
    if lowest > 0 and max(max(values) for values in series.values()) >= 10 * lowest:
        axes.set_yscale("log")
    axes.set(xlabel="epoch", ylabel="cost", title=title)
    axes.grid(alpha=0.3)
    axes.legend()


def bars(axes: "Axes", seconds: Mapping[str, float], texts: Mapping[str, str], title: str = "") -> None:
    """Times as bars on a logarithmic scale, each with its text."""
    names = list(seconds)
    drawn = axes.barh(names, [seconds[name] for name in names], color=["C3", "C1", "C0", "C2"][: len(names)])
    axes.bar_label(drawn, [texts[name] for name in names], padding=4)
    axes.set_xscale("log")
    low, high = min(seconds.values()), max(seconds.values())
    left = low / 3
    axes.set_xlim(left, high * (high / left) ** ROOM)
    axes.invert_yaxis()
    axes.set(xlabel="seconds", title=title)


def decision_boundary(axes: "Axes", network: Network, X: np.ndarray, Y: np.ndarray, title: str = "") -> None:
    """The probability a network of two inputs gives every point of the plane, and the examples on it.

    Parameters
    ----------
    axes : matplotlib Axes
    network : Network
        Two inputs, one sigmoid output.
    X : ndarray, shape (2, m)
    Y : ndarray, shape (1, m)
        0 or 1.

    Raises
    ------
    ValueError
        The network has not two inputs and one sigmoid output.
    """
    units, output = network.architecture.units, network.architecture.output
    if (units[0], units[-1], output) != (2, 1, "sigmoid"):
        raise ValueError(
            "a decision boundary needs two inputs and one sigmoid output, "
            f"got {units[0]}, {units[-1]} and {output}"
        )
    low, high = X.min(axis=1), X.max(axis=1)
    margin = 0.1 * (high - low)
    x, y = (np.linspace(low[i] - margin[i], high[i] + margin[i], 300) for i in (0, 1))
    points = np.stack(np.meshgrid(x, y)).reshape(2, -1)
    A = network.predict_proba(points).reshape(300, 300)
    axes.contourf(x, y, A, levels=np.linspace(0, 1, 11), cmap="RdBu", alpha=0.6)
    axes.contour(x, y, A, levels=[0.5], colors="black")
    axes.scatter(
        X[0], X[1], c=np.asarray(Y).reshape(-1), cmap="RdBu", s=12, edgecolors="black", linewidths=0.3
    )
    axes.set(xlabel="x1", ylabel="x2", title=title)
