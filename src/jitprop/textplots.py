"""Small plots made of characters, for a terminal of 80 columns."""

import math
from collections.abc import Mapping, Sequence

__all__ = ["curves", "duration"]

MARKS = "*o+x"


def curves(
    series: Mapping[str, Sequence[float]], width: int = 58, height: int = 10, axis: str = "epoch", first: int = 1
) -> str:
    """Curves over the epochs, or what else `axis` counts from `first`, a mark for each.

    The y axis is logarithmic where values span a decade.

    Parameters
    ----------
    series : mapping of str to sequence of float
        Name and values, all of the same length.
    width, height : int
        Characters of the area inside the axes.
    axis : str
    first : int
    """
    values = [v for ys in series.values() for v in ys if math.isfinite(v)]
    if not values:
        return "(nothing to plot)"
    low, high = min(values), max(values)
    logarithmic = low > 0 and high >= 10 * low
    scale = math.log10 if logarithmic else float
    bottom, top = scale(low), scale(high)
    span = (top - bottom) or 1.0
    area = [[" "] * width for _ in range(height)]
    epochs = max(len(ys) for ys in series.values())
    # The first series is drawn last: where two marks meet, it is the one to see.
    for mark, ys in reversed(list(zip(MARKS, series.values(), strict=False))):
        for x in range(width):
            y = ys[min(round(x * (epochs - 1) / max(width - 1, 1)), len(ys) - 1)]
            if math.isfinite(y):
                area[height - 1 - round((scale(y) - bottom) / span * (height - 1))][x] = mark
    lines = []
    for row, cells in enumerate(area):
        at = top - span * row / (height - 1)
        number = f"{10**at if logarithmic else at:9.3g}" if row % 3 == 0 or row == height - 1 else ""
        lines.append(f"{number:>9} |{''.join(cells).rstrip()}")
    lines.append(f"{'':9} +{'-' * width}")
    left = f"{axis} {first}"
    lines.append(f"{'':11}{left}{str(epochs - 1 + first).rjust(width - len(left))}")
    legend = "   ".join(f"{mark} {name}" for mark, name in zip(MARKS, series, strict=False))
    return "\n".join([*lines, f"{'':11}{legend}" + ("   (logarithmic)" if logarithmic else "")])


def duration(seconds: float) -> str:
    """A time in the unit that gives it one to three digits before the point."""
    for factor, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "µs"), (1e9, "ns")):
        number = float(f"{seconds * factor:.3g}")  # rounded before the unit is chosen: 0.9996 s is 1 s
        if number >= 1:
            return f"{seconds * factor:.0f} {unit}" if number >= 100 else f"{number:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"
