"""One dot product on every rung, from the Python loop to the compiled kernel, and a layer's affine map."""

import functools
import importlib
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .. import ladder, plots
from ..textplots import duration
from .page import Exercise, Page, numba_missing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["EXERCISE", "draw", "list_loop", "measured", "run", "steps_table", "told"]

EXERCISE = Exercise(
    function="dot",
    task="Write the inner product of two columns w and x, both (n, 1), in NumPy and without a loop. Return a number.",
    start="""
    import numpy as np

    def dot(w, x):
        ...
    """,
)

WORTH = 1.1  # a smaller gain may be chance
BUSY = "It did not just now: other programs are using the processor, as a large spread shows. Run it again."


@functools.cache
def measured(task: str) -> tuple[ladder.Step, ...]:
    """The times of a task on every rung of this machine, measured once."""
    return tuple(ladder.climb(task, seconds=0.1, patience=0.5))


@functools.cache
def list_loop(n: int = 1_000_000) -> float:
    """Seconds of the loop over two lists of n numbers: the median of three runs."""
    w, x = [0.5] * n, [2.0] * n
    runs = []
    for _ in range(3):
        before = time.perf_counter()
        total = 0.0
        for i in range(n):
            total += w[i] * x[i]
        runs.append(time.perf_counter() - before)
    return statistics.median(runs)


def told(times: float) -> str:
    """How many times as fast, without digits that mean nothing."""
    return f"{times:,.0f}" if times >= 10 else f"{times:.1f}"


def steps_table(page: Page, steps: Sequence[ladder.Step], names: Mapping[str, str] | None = None) -> None:
    """The steps as rows: first call, median, spread, speed-up over the first of them."""
    slowest = steps[0].median
    rows = [["", "first call", "median", "spread", "speed-up"]]
    for step in steps:
        label = (names or {}).get(step.rung, step.label)
        mark = "" if step.part is None else " *"
        wrong = "" if step.agrees else "  WRONG"
        rows.append(
            [label + mark, duration(step.first), duration(step.median), f"{step.spread:.0%}"]
            + [told(slowest / step.median) + wrong]
        )
    page.table(rows)
    for step in steps:
        if step.part is not None:
            unit = ladder.TASKS[step.task].unit
            page.text(f"* extrapolated: measured on {step.part} of {step.size} {unit}, and multiplied.")


def run(page: Page) -> None:
    """Write the lesson."""
    if not numba_missing():
        page.line(importlib.import_module("jitprop.info").headline())
        page.line()
    page.heading("w^T x")
    page.text(
        "A unit multiplies each feature by its weight and adds up. In Python that is a loop, which for every number "
        "looks up types, makes objects and goes round the interpreter. np.dot runs over the bare numbers in memory, "
        "several at a time (SIMD: one instruction, many numbers)."
    )
    page.code(
        """
        total = 0.0
        for i in range(n):                      total = np.dot(w, x)
            total += w[i] * x[i]
        """
    )
    page.predict(
        "For a million numbers, how many times as fast as the loop is np.dot on this machine? The notes of the course "
        "say about 300."
        + ("" if numba_missing() else " And the same loop, compiled: nearer to Python or nearer to NumPy?")
    )
    steps = measured("dot")
    steps_table(page, steps)
    page.answer(_dot_answer(steps))
    page.text(
        "The first call is apart: it may have to compile or to fetch the compiled code. Spread is half the distance "
        "between the quartiles, as a share of the median. A time without either says little."
    )
    page.heading("The same ladder for a layer: Z = W A_prev + b")
    page.text("784 inputs, 128 units, 512 examples. Here three loops are nested: unit, example, input.")
    page.predict(
        "np.dot used each number once; here each is used hundreds of times. On which of the two does the best rung "
        "gain more over Python's loop?"
    )
    products = measured("matmul")
    steps_table(page, products)
    page.answer(_product_answer(steps, products))
    page.text(
        "So: no loop over examples, features or units in Python. Loops over layers and over iterations stay, since "
        "each needs the one before. `jitprop compare` measures more computations."
    )


def _dot_answer(steps: Sequence[ladder.Step]) -> str:
    by = {step.rung: step.median for step in steps}
    text = (
        f"np.dot is {told(by['loops'] / by['numpy'])} times as fast as the loop here, today. (A loop over Python lists "
        f"is quicker than one that takes numbers out of arrays: {duration(list_loop())}, of which np.dot is "
        f"{told(list_loop() / by['numpy'])} times as fast. A factor means little without what it is a factor of.)"
    )
    if "compiled" in by:
        text += (
            f" The same loop compiled is {told(by['loops'] / by['compiled'])} times as fast as in Python. It must "
            f"still add in the order written, one number after the other. {_lanes(by['compiled'] / by['jit1'])}"
        )
    if "jit" in by:
        text += f" {_threads(by['jit1'] / by['jit'])}"
    best = min(steps, key=lambda step: step.median)
    return f"{text} Fastest: {best.label}."


def _lanes(gain: float) -> str:
    if gain >= WORTH:
        return f"Our kernel adds in many lanes at once, on one thread {told(gain)} times as fast again: that is SIMD."
    return f"Our kernel adds in many lanes at once (SIMD), and should be several times as fast again. {BUSY}"


def _threads(gain: float) -> str:
    if gain >= WORTH:
        return f"With all its threads it is {gain:.1f} times as fast once more."
    return "More threads do not help it here: handing out the work costs what they save, or the processor is busy."


def _product_answer(steps: Sequence[ladder.Step], products: Sequence[ladder.Step]) -> str:
    gains = [one[0].median / min(step.median for step in one) for one in (steps, products)]
    best = min(products, key=lambda step: step.median)
    text = (
        f"The dot product gains {told(gains[0])} times, the layer {told(gains[1])}. A number fetched from memory once "
        "and used hundreds of times while it is near keeps the arithmetic busy; the dot product waits for memory."
    )
    if gains[1] < gains[0]:
        text += f" So the layer should gain more. {BUSY}"
    by = {step.rung: step.median for step in products}
    if "jit" in by:
        text += f" {_threads(by['jit1'] / by['jit'])}"
    return f"{text} Fastest: {best.label}."


def draw() -> "Figure":
    """Bars of both ladders on a logarithmic scale."""
    tasks = ("dot", "matmul")
    figure, axes = plots.new_figure(1, 2, 6.2, 3.2)
    for axis, task in zip(axes, tasks, strict=True):
        steps = measured(task)
        seconds = {step.label + ("" if step.part is None else " *"): step.median for step in steps}
        plots.bars(axis, seconds, {label: duration(s) for label, s in seconds.items()}, ladder.TASKS[task].title)
        if any(step.part is not None for step in steps):
            axis.set_xlabel("seconds  (* extrapolated from a part)")
    return figure
