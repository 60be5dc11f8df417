"""The ladder of the course: one computation on every rung from Python loops to compiled kernels, checked and timed.

A task of `TASKS` is a computation; a rung of `RUNGS` is a way to do it (see `rungs`, where both are). `climb(task)`
does it once on each rung, where it may have to compile, compares what comes out with NumPy in float64, and then times
each rung::

    from jitprop import ladder
    steps = ladder.climb("dot", 1_000_000)
    for step in steps:
        print(step.label, step.first, step.median, step.spread, step.part)
    print(ladder.call("dot", "compiled", *ladder.TASKS["dot"].arguments(1000)))

A step whose `part` is not None is extrapolated: its loops ran over `part` columns of `size`, and its seconds are
multiplied accordingly. Without Numba there are only the rungs of Python and NumPy.
"""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from jitprop_kernels import vectorized
from jitprop_kernels.doors import plain

from .blas import blas_threads
from .rungs import RUNGS, TASKS, Task, available, call, compile_seconds, function, rungs, threads

__all__ = [
    "RUNGS",
    "TASKS",
    "Step",
    "Task",
    "available",
    "call",
    "climb",
    "compile_seconds",
    "crossovers",
    "function",
    "rungs",
]

SECONDS, PATIENCE = 0.12, 0.5  # to time a rung for; a call of a slow rung that would take longer is extrapolated
FEWEST, MOST = 3, 200  # runs
ENOUGH = 8  # runs for quartiles to mean something
NOISE = 0.05  # a smaller difference is none, even where the spread is smaller still
SHORTEST = 20e-6  # seconds: calls are timed together until they take so long, well above the clock's own time
SETTLE = 0.02  # seconds: threads wait in a loop for more work before they go to sleep


class Step(NamedTuple):
    """What was measured on a rung; the seconds are of the whole size, also where only a part was measured."""

    task: str
    rung: str
    label: str
    size: int
    threads: int | None  # None: NumPy's own
    first: float
    seconds: tuple[float, ...]
    part: int | None  # the size the times are extrapolated from, None where the whole was measured
    agrees: bool
    compiled: float = 0.0  # seconds of the first call that were spent on compiling

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Half the distance between the quartiles, as a share of the median.

        Of few runs, which know less, half the distance between the fastest and the slowest.
        """
        low, high = np.percentile(self.seconds, [25, 75] if len(self.seconds) >= ENOUGH else [0, 100])
        return float((high - low) / (2 * self.median))

    def against(self, other: "Step") -> float:
        """How many times as fast as `other` this is; 1.0 where the difference lies within the spread of both."""
        ratio = other.median / self.median
        return 1.0 if abs(math.log(ratio)) <= math.log1p(max(NOISE, self.spread + other.spread)) else ratio


def climb(
    task: str,
    size: int | None = None,
    only: Sequence[str] | None = None,
    own: tuple[str, Callable[..., Any]] | None = None,
    seconds: float = SECONDS,
    patience: float = PATIENCE,
    allowance: Callable[[], float] | None = None,
) -> list[Step]:
    """Do a task on every rung, check the results and time them.

    Parameters
    ----------
    task : str
        Of `TASKS`.
    size : int, optional
        The task's own by default.
    only : sequence of str, optional
        Rungs; all of them by default.
    own : (str, callable), optional
        A name and a function with the parameters of the task's kernel: the last rung.
    seconds : float
        For about so long each rung is timed, after its first call.
    patience : float
        Python loops, and `own`, of which one call would take longer than this, are timed on a part of the size and
        extrapolated: the step's `part`.
    allowance : callable, optional
        The seconds there are for the next rung, if fewer than `seconds`. It is asked for each in turn, when all first
        calls are over. A rung is timed for three runs at least.

    Returns
    -------
    list of Step
        From the bottom.

    Raises
    ------
    ValueError
        There is no such task or rung.
    """
    if task not in TASKS:
        raise ValueError(f"unknown computation {task!r}; accepted: {', '.join(TASKS)}")
    size = size or TASKS[task].size
    chosen: dict[str, tuple[str, Callable[..., Any]]] = {
        rung: (RUNGS[rung], function(task, rung)) for rung in (rungs(task) if only is None else only)
    }
    if own is not None:
        chosen["own"] = own
    expected: dict[int, list[np.ndarray]] = {}
    first = {rung: _first(TASKS[task], rung, does, size, patience, expected) for rung, (_, does) in chosen.items()}
    steps: list[Step] = []
    settled = False
    for rung, (label, does) in chosen.items():
        if not settled:
            time.sleep(SETTLE)
        span = seconds if allowance is None else min(seconds, allowance())
        steps.append(_step(TASKS[task], rung, label, does, size, first[rung], span))
        settled = steps[-1].threads == 1
    return steps


class _First(NamedTuple):
    """The first call of a rung, and what is to be timed."""

    columns: int  # of the first call
    seconds: float
    compiled: float
    part: int  # the size to be timed
    arguments: tuple[Any, ...]
    agrees: bool


def _first(
    task: Task,
    rung: str,
    does: Callable[..., Any],
    size: int,
    patience: float,
    expected: dict[int, list[np.ndarray]],
) -> _First:
    """Call a rung: at the size itself, a slow one at a part that grows by eights until a call takes long enough."""
    slow = rung in ("loops", "own")
    part = min(task.least, size) if slow else size
    calls: list[tuple[int, float]] = []
    compiling = compile_seconds()
    with threads(rung):
        while True:
            arguments = task.arguments(part)
            before = time.perf_counter()
            result = does(*arguments)
            seconds = time.perf_counter() - before
            calls.append((part, seconds))
            if part == size:
                break
            if rung == "own" and len(calls) == 1:
                continue  # it may have compiled something, which says nothing about the next call
            if part * 64 >= size and seconds * size / part <= patience:
                part = size
            elif seconds * 8 > patience:
                break
            else:
                part = min(8 * part, size)
    if part not in expected:
        exact = task.arguments(part, "float64")
        expected[part] = _arrays(task, plain(getattr(vectorized, task.kernel))(*exact), exact)
    agrees = _agree(_arrays(task, result, arguments), expected[part], max(task.longest, part))
    return _First(*calls[0], compile_seconds() - compiling, part, arguments, agrees)


def _threads(count: int | None) -> str:
    return f"{count} thread{'s' if count != 1 else ''}"


def _step(
    task: Task, rung: str, label: str, does: Callable[..., Any], size: int, first: _First, seconds: float
) -> Step:
    with threads(rung) as count:
        runs = _time(lambda: does(*first.arguments), seconds)
    if rung in ("prange", "jit"):
        label = f"{label}, {_threads(count)}"
    elif rung == "numpy" and task.products and (products := blas_threads()) is not None:
        label = f"{label}, BLAS: {_threads(products)}"
    runs = tuple(run * size / first.part for run in runs)
    # What the first call left of the size, it would have done as the others do.
    beginning = first.seconds + statistics.median(runs) * (1 - first.columns / size)
    part = None if first.part == size else first.part
    return Step(task.name, rung, label, size, count, beginning, runs, part, first.agrees, first.compiled)


def _time(does: Callable[[], Any], seconds: float) -> tuple[float, ...]:
    """Seconds of each run; very short calls are timed several together."""
    together = 1
    runs: list[float] = []
    started = time.perf_counter()
    while len(runs) < FEWEST or (len(runs) < MOST and time.perf_counter() - started < seconds):
        before = time.perf_counter()
        for _ in range(together):
            does()
        run = time.perf_counter() - before
        if run < SHORTEST and not runs:
            together *= 2
            continue
        runs.append(run / together)
    return tuple(runs)


def _arrays(task: Task, result: Any, arguments: tuple[Any, ...]) -> list[np.ndarray]:
    """All numbers of a result; an epoch's are its costs and the parameters it has changed."""
    parts = [*(result if isinstance(result, tuple) else (result,))]
    if task.name == "epoch":
        parts += arguments[0]
    return [np.array(part, np.float64) for part in parts]


def _agree(actual: list[np.ndarray], expected: list[np.ndarray], longest: int) -> bool:
    """Whether results are equal to rounding in float32: eps for each term of the longest sum."""
    eps = float(np.finfo(np.float32).eps)
    for a, e in zip(actual, expected, strict=True):
        if a.shape != e.shape or not (np.abs(a - e) <= eps * longest * max(1.0, np.abs(e).max())).all():
            return False
    return True


def crossovers(first: Sequence[Step], second: Sequence[Step]) -> list[float]:
    """Sizes at which one curve comes to lie above the other.

    Both are steps of the same sizes in ascending order. Sizes at which they differ by no more than their spread are
    left out, and between two others the curves are taken as straight lines of logarithms.
    """
    clear = [(a, b) for a, b in zip(first, second, strict=True) if a.against(b) != 1]
    found = []
    for left, right in zip(clear, clear[1:], strict=False):
        before, after = (math.log(a.median / b.median) for a, b in (left, right))
        if before * after < 0:
            share = before / (before - after)
            found.append(float(left[0].size ** (1 - share) * right[0].size ** share))
    return found
