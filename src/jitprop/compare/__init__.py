"""The comparison: each computation of the course on every rung of the ladder, and where each way wins.

`measure` gives a `Comparison` of one computation; `report` says it in a terminal, `output` in files.
"""

import contextlib
import os
import signal
import traceback
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from jitprop_kernels import composition, results
from jitprop_kernels.doors import plain

from .. import ladder
from ..exercises import check_module, load
from ..kernelsets import warn_of_misspelt
from ..ladder import TASKS, Step, Task
from .budget import Budget

__all__ = ["GROUPS", "QUICK", "Brought", "Budget", "Comparison", "bring", "chosen", "known_at", "measure", "scaled"]

GROUPS = {"activations": tuple(name for name, task in TASKS.items() if task.arguments is TASKS["relu"].arguments)}
QUICK = ("dot", "logistic", "matmul", "relu", "tanh", "softmax", "backward", "epoch")
QUICK_SIZES = {"dot": 10_000, "logistic": 16, "matmul": 16, "backward": 16, "epoch": 128}  # others: 64
SECONDS, PATIENCE = 0.12, 0.25  # of a rung, as in `ladder`, where there is time
QUICK_SECONDS, QUICK_PATIENCE = 0.03, 0.1
CURVE_SECONDS, CURVE_PATIENCE = 0.01, 0.02
WEIGHT = 4  # of a rung at the computation's size in its time; a point of a curve weighs 1
CONTENDERS = ("numpy", "jit1", "jit")  # who wins where is asked of these
OWN_SECONDS = 20  # a brought kernel that was right on small arguments may be endless on large ones
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
    left_out: tuple[int, ...] = ()  # sizes for which there was no time

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
    warn_of_misspelt(module)
    offered = tuple(report.name for report in reports)
    own = types.SimpleNamespace(**{name: getattr(module, name) for name in offered})
    name = os.path.basename(what).removesuffix(".py")
    return Brought(name, composition.complete(own), offered)


def measure(
    name: str,
    quick: bool = False,
    brought: Brought | None = None,
    curves: bool = True,
    budget: Budget | None = None,
) -> Comparison:
    """Climb the ladder for one computation: at its size, and, shorter, at each of a row of sizes.

    Parameters
    ----------
    name : str
        Of `TASKS`.
    quick : bool
        Smaller.
    brought : Brought, optional
        A student's kernels, for one more rung.
    curves : bool
        Whether every rung is timed at every size, or only NumPy and our kernels.
    budget : Budget, optional
        The time of this comparison and of those that follow; a minute for this one by default.

    Raises
    ------
    ValueError
        A brought kernel fails, or does not come to an end, on larger arguments than it was checked on.
    """
    task, budget = TASKS[name], budget or Budget([name])
    size = QUICK_SIZES.get(name, 64) if quick else task.size
    seconds, patience = (QUICK_SECONDS, QUICK_PATIENCE) if quick else (SECONDS, PATIENCE)
    sizes = [s for s in task.sizes if not quick or s <= size]
    mine = (f"yours: {brought.name}"[:24], brought.function(name)) if brought and brought.touches(name) else None
    rungs = ladder.rungs(name)
    timed = [rung for rung in rungs if curves or rung in CONTENDERS]
    ours = curves and mine is not None
    left = budget.begin(name, WEIGHT * (len(rungs) + (mine is not None)) + (len(timed) + ours) * len(sizes))
    patience = min(patience, left / 8)
    steps = _climb(task, rungs, mine, size, seconds, patience, lambda: budget.take(WEIGHT))
    curve: dict[str, list[Step]] = {rung: [] for rung in [*timed, *["own"] * ours]}
    left_out = []
    for point in _ends_first(sizes):
        if budget.left() == 0 and point not in (size, sizes[0], sizes[-1]):
            left_out.append(point)
            continue
        known = {step.rung: known_at(step, point) for step in steps if step.rung in curve}
        new = [rung for rung in timed if known[rung] is None]
        own = mine if ours and known["own"] is None else None
        found = _climb(task, new, own, point, CURVE_SECONDS, CURVE_PATIENCE, lambda: budget.take(1))
        for step in [*found, *filter(None, known.values())]:
            curve[step.rung].append(step)
    ordered = {rung: sorted(row, key=lambda step: step.size) for rung, row in curve.items()}
    return Comparison(task, steps, ordered, tuple(sorted(left_out)))


def _ends_first(sizes: Sequence[int]) -> list[int]:
    """The smallest and the largest, between which crossovers are looked for, and then the others from the middle on."""
    middle = (len(sizes) - 1) / 2
    inner = sorted(range(1, len(sizes) - 1), key=lambda at: abs(at - middle))
    return [*dict.fromkeys([sizes[0], sizes[-1]]), *(sizes[at] for at in inner)]


def known_at(step: Step, size: int) -> Step | None:
    """What a step says of another size: of its own, and where it was extrapolated of all that are no smaller."""
    if size == step.size:
        return step
    return scaled(step, size) if step.part is not None and size >= step.part else None


def scaled(step: Step, size: int) -> Step:
    """An extrapolated step, extrapolated to another size."""
    ratio = size / step.size
    part = None if size == step.part else step.part
    first, seconds = step.first * ratio, tuple(s * ratio for s in step.seconds)
    return step._replace(size=size, first=first, seconds=seconds, part=part)


def _climb(
    task: Task,
    rungs: Sequence[str],
    own: tuple[str, Callable[..., Any]] | None,
    size: int,
    seconds: float,
    patience: float,
    allowance: Callable[[], float],
) -> list[Step]:
    steps = ladder.climb(task.name, size, rungs, None, seconds, patience, allowance)
    if own is not None:
        with _limited(own[0].removeprefix("yours: "), task):
            steps += ladder.climb(task.name, size, (), own, seconds, patience, allowance)
    return steps


def _running(error: BaseException) -> str | None:
    """The student's kernel in which an error was raised: an epoch calls several, and is itself not the student's."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__) if frame.f_globals is vars(results)]
    # Every kernel of a student's is called by what `results.check_results` put around it, whose parameter says which.
    kernels = [frame.f_locals["kernel"] for frame in frames if "kernel" in frame.f_locals]
    return str(kernels[-1]) if kernels else None


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
    except TimeoutError as error:
        kernel = _running(error) or task.kernel
        raise ValueError(f"{name}: {kernel} took more than {OWN_SECONDS} s for {task.title}") from None
    except Exception as error:
        kernel, text = _running(error) or task.kernel, f"{type(error).__name__}: {error}"
        raise ValueError(f"{name}: {kernel} is right on small arrays, but in {task.title}: {text}") from error
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
