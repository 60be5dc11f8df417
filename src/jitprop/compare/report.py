"""The comparison in a terminal of 80 columns: a table with bars for each computation, and who wins where."""

import math
import os
from collections.abc import Sequence

from .. import info
from ..ladder import Step, crossovers
from ..textplots import duration
from . import Comparison

__all__ = ["busy", "conclusions", "table", "times", "verdict"]

LABEL, BAR = 24, 17
EIGHTHS = " ▏▎▍▌▋▊▉█"


def table(comparison: Comparison) -> str:
    """A line for each rung: the first call, the median and the spread of the others, a bar, and times the loops."""
    task, steps = comparison.task, comparison.steps
    low = 10.0 ** math.floor(math.log10(min(step.median for step in steps)))
    high = max(step.median for step in steps)
    lines = [
        f"{task.title}: {steps[0].size:,} {task.unit}, float32",
        f"{'':{LABEL}} {'first':>7}  {'median':>8}  {'spread':>7}  {'time, logarithmic':<{BAR}} {'speed-up':>8}",
    ]
    for step in steps:
        faster = times(steps[0].median / step.median)
        mark = "~" if step.part is not None else " "
        star = "*" if step.compiled else " "
        wrong = "" if step.agrees else "  DOES NOT AGREE"
        spread = f"±{min(step.spread, 9.99):.0%}"
        lines.append(
            f"{step.label:<{LABEL}} {duration(step.first):>7}{star} {mark + duration(step.median):>8}  {spread:>7}  "
            f"{_bar(step.median, low, high):<{BAR}} {faster:>8}{wrong}"
        )
    for step in steps:
        if step.part is not None:
            part = f"{step.part:,} of {step.size:,} {task.unit}"
            lines.append(f"~ extrapolated: {step.label} were timed on {part}")
    if comparison.left_out:
        lines.append(f"sizes left out for lack of time: {', '.join(f'{size:,}' for size in comparison.left_out)}")
    return "\n".join(lines)


def times(ratio: float) -> str:
    """How many times, with no more digits than matter."""
    return f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.1f}"


def _bar(value: float, low: float, high: float) -> str:
    eighths = round(8 * BAR * math.log(value / low) / math.log(high / low)) if high > low else 8 * BAR
    return "█" * (eighths // 8) + (EIGHTHS[eighths % 8] if eighths % 8 else "")


def verdict(comparison: Comparison) -> list[str]:
    """Who is faster at this size, NumPy or our kernels, and at which others; and whether compiled loops beat both."""
    numpy = comparison.step("numpy")
    lines = []
    for rung in ("jit1", "jit"):
        ours = comparison.step(rung)
        if numpy is not None and ours is not None:
            lines.append(f"{_outcome(ours, numpy)}{_sizes(comparison, rung)}.")
    fastest = min(comparison.steps, key=lambda step: step.median)
    kernels = [step for step in comparison.steps if step.rung in ("jit1", "jit")]
    if kernels and fastest.rung not in ("jit1", "jit", "numpy"):
        best = min(kernels, key=lambda step: step.median)
        if best.against(fastest) < 1:
            ratio = times(best.median / fastest.median)
            lines.append(f"Fastest: {fastest.label}, {ratio} times as fast as our {best.label}.")
    return lines


def _outcome(ours: Step, numpy: Step) -> str:
    ratio = ours.against(numpy)
    if ratio == 1:
        return f"NumPy and our {ours.label}: no difference beyond the spread"
    if ratio < 1:
        return f"NumPy wins: {1 / ratio:.1f} times as fast as our {ours.label}"
    return f"Our {ours.label}: {ratio:.1f} times as fast as NumPy"


def _sizes(comparison: Comparison, rung: str) -> str:
    """At which of the sizes the faster one changes."""
    numpy, ours = comparison.curve.get("numpy", []), comparison.curve.get(rung, [])
    leads = ["NumPy" if a.against(b) > 1 else "ours" for a, b in zip(numpy, ours, strict=True) if a.against(b) != 1]
    at = crossovers(numpy, ours)
    if not leads or len(numpy) == 1:
        return ""
    if not at:
        often = "every size" if len(leads) == len(numpy) else "no size slower"
        return f"; {leads[0]} at {often} from {numpy[0].size:,} to {numpy[-1].size:,}"
    if len(at) == 1:
        return f"; below about {round(at[0]):,} {comparison.task.unit} {leads[0]}, above it {leads[-1]}"
    where = ", ".join(f"{round(size):,}" for size in at)
    return f"; over the sizes the lead changes at about {where} {comparison.task.unit}, {leads[0]} first"


def busy() -> str:
    """A warning where other programs keep the processors busy: several threads then wait for each other."""
    processors = info.available_threads()
    load = os.getloadavg()[0]
    if load <= 0.75 * processors:
        return ""
    return (
        f"Other programs are at work here (load {load:.1f} on {processors} processors): times will be too long, "
        "most of all where several threads wait for each other. Better run this again on an idle machine."
    )


def conclusions(comparisons: Sequence[Comparison]) -> list[str]:
    """In which of the computations NumPy wins, and in which it is as fast, against our kernels with all threads."""
    lists: dict[str, list[str]] = {"NumPy wins": [], "no difference beyond the spread": [], "our kernels win": []}
    for comparison in comparisons:
        numpy, ours = comparison.step("numpy"), comparison.step("jit") or comparison.step("jit1")
        if numpy is None or ours is None:
            continue
        ratio = ours.against(numpy)
        outcome = list(lists)[0 if ratio < 1 else 1 if ratio == 1 else 2]
        lists[outcome].append(comparison.task.name)
    return [f"{outcome}: {', '.join(names) or 'nowhere'}" for outcome, names in lists.items()]
