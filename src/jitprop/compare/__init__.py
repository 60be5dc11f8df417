"""The comparison: each computation of the course on every rung of the ladder, and where each way wins.

`measure` gives a `Comparison` of one computation; `report` says it in a terminal, `output` in files.
"""

import contextlib
import os
import signal
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from jitprop_kernels import composition
from jitprop_kernels.doors import plain

from .. import ladder
from ..exercises import check_module, load
from ..ladder import TASKS, Step, Task

__all__ = ["GROUPS", "QUICK", "Brought", "Comparison", "bring", "chosen", "measure", "scaled"]

GROUPS = {"activations": tuple(name for name, task in TASKS.items() if task.arguments is TASKS["relu"].arguments)}
QUICK = ("dot", "logistic", "matmul", "relu", "tanh", "softmax", "backward", "epoch")
QUICK_SIZES = {"dot": 10_000, "logistic": 16, "matmul": 16, "backward": 16, "epoch": 128}  # others: 64
CURVE_SECONDS, CURVE_PATIENCE = 0.01, 0.02
OWN_SECONDS = 60  # a brought kernel that was right on small arguments may be endless on large ones
TOUCHED = {  # what is composed of several kernels is that of a student who brings one of them
    "backward": {"layer_backward", "linear_backward", "relu_derivative"},
    "epoch": {
        "train_epoch",
        "linear_forward",
        "layer_forward",
        "relu",
        "linear_backward",
        "layer_backward",
        "relu_derivative",
        "output_head",
        "update",
    },
}


class Comparison(NamedTuple):
    """A computation on every rung: at its size, and over a row of sizes."""

    task: Task
    steps: list[Step]
    curve: dict[str, list[Step]]  # of each rung, in order of size

    def step(self, rung: str) -> Step | None:
        """The step on a rung, None if the machine or the computation has none."""
        return next((step for step in self.steps if step.rung == rung), None)


class Brought(NamedTuple):
    """A student's kernels: the set completed, the names that are the student's, and the computations they touch."""

    name: str
    kernels: Any
    offered: tuple[str, ...]

    def touches(self, task: str) -> bool:
        return bool(TOUCHED.get(task, {TASKS[task].kernel}) & set(self.offered))

    def function(self, task: str) -> Callable[..., Any]:
        return plain(getattr(self.kernels, TASKS[task].kernel))


def chosen(only: Sequence[str], quick: bool, brought: Brought | None) -> list[str]:
    """The computations to compare: those asked for, or those that a student's kernels touch, or all.

    Raises
    ------
    ValueError
        An unknown name, or none that the brought kernels touch.
    """
    names: list[str] = []
    for name in only:
        if name not in TASKS and name not in GROUPS:
            raise ValueError(f"unknown computation {name!r}; accepted: {', '.join((*TASKS, *GROUPS))}")
        names += GROUPS.get(name, (name,))
    names = list(dict.fromkeys(names)) or list(QUICK if quick and brought is None else TASKS)
    if brought is None:
        return names
    touched = [name for name in names if brought.touches(name)]
    if not touched:
        raise ValueError(
            f"{brought.name} offers {', '.join(brought.offered)}, which none of these computations uses: "
            f"{', '.join(names)}"
        )
    return touched


def bring(what: str, say: Callable[[str], None] = print) -> Brought | None:
    """A student's kernels, if all are right; says of each whether it is, and what is wrong.

    Raises
    ------
    ValueError
        The module offers no kernel or cannot be imported.
    OSError
        There is no such file.
    """
    reports = check_module(what)
    for report in reports:
        say(str(report))
    if not all(reports):
        return None
    module = load(what)
    offered = tuple(report.name for report in reports)
    own = types.SimpleNamespace(**{name: getattr(module, name) for name in offered})
    name = os.path.basename(what).removesuffix(".py")
    return Brought(name, composition.complete(own), offered)


def measure(name: str, quick: bool = False, brought: Brought | None = None) -> Comparison:
    """Climb the ladder for one computation: at its size, and, shorter, at each of a row of sizes.

    Raises
    ------
    ValueError
        A brought kernel fails, or does not come to an end, on larger arguments than it was checked on.
    """
    task = TASKS[name]
    size = QUICK_SIZES.get(name, 64) if quick else task.size
    seconds, patience = (0.03, 0.1) if quick else (ladder.SECONDS, ladder.PATIENCE)
    sizes = [s for s in task.sizes if not quick or s <= size]

    mine = (f"yours: {brought.name}"[:24], brought.function(name)) if brought and brought.touches(name) else None
    steps = _climb(task, ladder.rungs(name), mine, size, seconds, patience)
    curve: dict[str, list[Step]] = {step.rung: [] for step in steps}
    for point in sizes:
        # Loops that were too slow for the size before are not tried again: that would take most of the time.
        last = {rung: row[-1] for rung, row in curve.items() if row and row[-1].part is not None}
        rungs = [rung for rung in ladder.rungs(name) if rung not in last]
        found = _climb(task, rungs, None if "own" in last else mine, point, CURVE_SECONDS, CURVE_PATIENCE)
        for step in [*found, *(scaled(step, point) for step in last.values())]:
            curve[step.rung].append(step)
    return Comparison(task, steps, curve)


def scaled(step: Step, size: int) -> Step:
    """An extrapolated step, extrapolated to another size."""
    ratio = size / step.size
    return step._replace(size=size, first=step.first * ratio, seconds=tuple(s * ratio for s in step.seconds))


def _climb(
    task: Task,
    rungs: Sequence[str],
    own: tuple[str, Callable[..., Any]] | None,
    size: int,
    seconds: float,
    patience: float,
) -> list[Step]:
    steps = ladder.climb(task.name, size, rungs, seconds=seconds, patience=patience)
    if own is not None:
        with _limited(own[0].removeprefix("yours: "), task):
            steps += ladder.climb(task.name, size, (), own, seconds, patience)
    return steps


@contextlib.contextmanager
def _limited(name: str, task: Task) -> Iterator[None]:
    """Turn what a student's kernel raises, or that it never ends, into an error that says so."""

    def time_is_up(signum: int, frame: Any) -> None:
        raise TimeoutError

    try:
        before = signal.signal(signal.SIGALRM, time_is_up)
    except ValueError:  # not the main thread, which alone may be interrupted
        yield
        return
    signal.alarm(OWN_SECONDS)
    try:
        yield
    except TimeoutError:
        raise ValueError(f"{name}: {task.kernel} took more than {OWN_SECONDS} s for {task.title}") from None
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        raise ValueError(f"{name}: {task.kernel} is right on small arrays, but in {task.title}: {text}") from error
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
