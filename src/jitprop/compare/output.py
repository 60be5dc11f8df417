"""The comparison in files: JSON, CSV, and a picture of time against size and of speed-ups."""

import csv
import io
import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .. import info, plots
from ..files import replacing
from ..ladder import Step, crossovers
from ..textplots import duration
from . import Comparison
from .report import times, verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["as_csv", "as_json", "draw", "draw_to", "write"]

COLORS = {"loops": "C3", "one_loop": "C6", "compiled": "C1", "prange": "C8", "numpy": "C0", "jit1": "C2", "jit": "k"}
CELL = 5.6, 3.4  # inches
FIELDS = (
    "computation",
    "unit",
    "size",
    "rung",
    "label",
    "threads",
    "first_s",
    "compiled_s",
    "median_s",
    "spread",
    "fastest_s",
    "slowest_s",
    "runs",
    "extrapolated_from",
    "agrees",
    "curve",
)


def _row(step: Step, unit: str, curve: bool) -> dict[str, Any]:
    values = (
        step.task,
        unit,
        step.size,
        step.rung,
        step.label,
        step.threads,
        step.first,
        step.compiled,
        step.median,
        step.spread,
        min(step.seconds),
        max(step.seconds),
        len(step.seconds),
        step.part,
        step.agrees,
        curve,
    )
    return dict(zip(FIELDS, values, strict=True))


def _rows(comparison: Comparison) -> list[dict[str, Any]]:
    unit = comparison.task.unit
    rows = [_row(step, unit, False) for step in comparison.steps]
    return rows + [_row(step, unit, True) for steps in comparison.curve.values() for step in steps]


def as_json(comparisons: Sequence[Comparison]) -> str:
    """All measurements, what they were made on, the crossovers and the verdicts; seconds, as JSON."""
    found = [
        {
            "computation": comparison.task.name,
            "title": comparison.task.title,
            "measurements": _rows(comparison),
            "left_out": comparison.left_out,
            "crossovers": {
                rung: crossovers(comparison.curve["numpy"], comparison.curve[rung])
                for rung in ("jit1", "jit")
                if rung in comparison.curve and "numpy" in comparison.curve
            },
            "verdict": verdict(comparison),
        }
        for comparison in comparisons
    ]
    return json.dumps({"machine": info.gather(measure=False), "comparisons": found}, indent=2) + "\n"


def as_csv(comparisons: Sequence[Comparison]) -> str:
    """A row for each measurement; the machine stands in the last columns of every row."""
    machine = info.gather(measure=False)
    about = {"processor": machine["processor"], "threads_used": machine["threads"]["used"]}
    about |= {name: machine["versions"][name] for name in ("python", "numpy", "numba")}
    text = io.StringIO()
    writer = csv.DictWriter(text, [*FIELDS, *about], lineterminator="\n")
    writer.writeheader()
    for comparison in comparisons:
        writer.writerows(row | about for row in _rows(comparison))
    return text.getvalue()


def write(path: str, text: str) -> None:
    """Write a text file that appears whole or not at all."""
    with replacing(path, text=True) as file:
        file.write(text)


def draw(comparisons: Sequence[Comparison]) -> "Figure":
    """For each computation its time against size with the crossovers, and beside it the speed-ups over the loops."""
    across = 1 if len(comparisons) <= 4 else 2
    down = -(-len(comparisons) // across)
    figure, axes = plots.new_figure(down, 2 * across, *CELL)
    cells = list(axes.reshape(-1))
    for comparison in comparisons:
        left, right = cells.pop(0), cells.pop(0)
        _curves(left, comparison)
        _speedups(right, comparison)
    for cell in cells:
        cell.set_axis_off()
    handles = {line.get_label(): line for cell in axes.reshape(-1) for line in cell.get_legend_handles_labels()[0]}
    figure.legend(handles.values(), handles, loc="lower center", ncols=4, fontsize=8, frameon=False)
    figure.suptitle(info.headline().replace("\n", "; ", 1), fontsize=9, y=1 - 0.1 / (CELL[1] * down), va="top")
    _arrange(figure, down, 2 * across)
    return figure


def _arrange(figure: "Figure", down: int, across: int) -> None:
    """Fixed margins, in inches: to look for the best ones takes as long as the whole picture once more."""
    figure.set_layout_engine(None)
    width, height = CELL[0] * across, CELL[1] * down
    left, right, bottom, top = 0.7, 0.2, 1.2, 0.8
    gap_across, gap_down = 1.6, 0.85  # for the names of the rungs; for a title and an axis label
    axes_width = (width - left - right - gap_across * (across - 1)) / across
    axes_height = (height - bottom - top - gap_down * (down - 1)) / down
    figure.subplots_adjust(
        left=left / width,
        right=1 - right / width,
        bottom=bottom / height,
        top=1 - top / height,
        wspace=gap_across / axes_width,
        hspace=gap_down / axes_height,
    )


def draw_to(comparisons: Sequence[Comparison], path: str) -> None:
    """Write the picture, in the format that the name ends with."""
    plots.save(draw(comparisons), path)


def _curves(axes: "Axes", comparison: Comparison) -> None:
    for rung, steps in comparison.curve.items():
        color = COLORS.get(rung, "C4")
        sizes, medians = [step.size for step in steps], [step.median for step in steps]
        axes.plot(sizes, medians, color=color, label=steps[0].label, linewidth=1.4)
        for step in steps:  # hollow where the time is extrapolated
            hollow = step.part is not None
            axes.plot(step.size, step.median, "o", color=color, markersize=4, fillstyle="none" if hollow else "full")
    for rung, style, height in (("jit1", ":", 0.03), ("jit", "--", 0.97)):
        if rung in comparison.curve:
            label = f"NumPy = {comparison.curve[rung][0].label}"
            for at in crossovers(comparison.curve["numpy"], comparison.curve[rung]):
                axes.axvline(at, color=COLORS[rung], linestyle=style, linewidth=0.9, label=label)
                axes.annotate(
                    f"{at:,.0f}",
                    (at, height),
                    (3, 0),
                    xycoords=axes.get_xaxis_transform(),
                    textcoords="offset points",
                    verticalalignment="bottom" if height < 0.5 else "top",
                    color=COLORS[rung],
                    fontsize=7,
                )
    axes.set(xscale="log", yscale="log", xlabel=comparison.task.unit, ylabel="seconds")
    axes.set_title(comparison.task.title, fontsize=9)
    axes.grid(alpha=0.3)
    axes.minorticks_off()  # half of the time of drawing


def _speedups(axes: "Axes", comparison: Comparison) -> None:
    steps = comparison.steps
    speedups = [steps[0].median / step.median for step in steps]
    bars = axes.barh([step.label for step in steps], speedups, color=[COLORS.get(step.rung, "C4") for step in steps])
    marks = [
        f"{times(speedup)}  ({'~' if step.part else ''}{duration(step.median)})"
        for speedup, step in zip(speedups, steps, strict=True)
    ]
    axes.bar_label(bars, marks, padding=3, fontsize=7)
    axes.set(xscale="log", xlabel="times as fast as the Python loops")
    axes.set_xlim(0.5, 10 ** (math.log10(max(*speedups, 10.0)) * 1.35))
    axes.set_title(f"{steps[0].size:,} {comparison.task.unit}", fontsize=9)
    axes.tick_params(axis="y", labelsize=7)
    axes.minorticks_off()
    axes.invert_yaxis()
