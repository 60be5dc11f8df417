"""Gradient checking: backpropagation against differences of the cost, the best step, and mistakes it finds."""

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import plots
from ..gradcheck import GradientCheck, gradcheck
from ..network import Network
from .page import Exercise, Page, kernels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["EXERCISE", "MISTAKES", "check", "draw", "errors", "examples", "numeric", "run"]

UNITS = [3, 5, 2, 1]
STEPS = np.logspace(-12, 0, 25)

EXERCISE = Exercise(
    function="tanh_derivative",
    task="Write the derivative of tanh for every element of Z (n, m), and believe it only when numbers agree: compare "
    "it with `(np.tanh(Z + h) - np.tanh(Z - h)) / (2 * h)` for h = 1e-5 before you let it be checked here.",
    start="""
    import numpy as np

    def tanh_derivative(Z):
        ...
    """,
)


class WithoutMean:
    """A backward pass that forgets 1/m."""

    @staticmethod
    def linear_backward(dZ: np.ndarray, A_prev: np.ndarray, W: np.ndarray) -> tuple[Any, Any, Any]:
        return dZ @ A_prev.T, dZ.sum(axis=1, keepdims=True), W.T @ dZ


class WithoutAxis:
    """A backward pass whose db sums over units and examples."""

    @staticmethod
    def linear_backward(dZ: np.ndarray, A_prev: np.ndarray, W: np.ndarray) -> tuple[Any, Any, Any]:
        m = dZ.shape[1]
        return dZ @ A_prev.T / m, np.full((len(dZ), 1), dZ.sum() / m), W.T @ dZ


class WrongSign:
    """A derivative of tanh with its sign turned: a^2 - 1."""

    @staticmethod
    def tanh_derivative(Z: np.ndarray) -> np.ndarray:
        return np.asarray(np.tanh(Z) ** 2 - 1)


MISTAKES: dict[str, Any] = {
    "1/m is missing": WithoutMean(),
    "db sums over everything": WithoutAxis(),
    "tanh' is a^2 - 1": WrongSign(),
}


def examples() -> tuple[Network, np.ndarray, np.ndarray]:
    """A network in float64 and eight examples."""
    generator = np.random.default_rng(0)
    network = Network(UNITS, "tanh", "sigmoid", dtype="float64", seed=2, kernels=kernels())
    return network, generator.standard_normal((3, 8)), generator.integers(0, 2, (1, 8)).astype(np.float64)


def check(kernel_set: Any = None) -> GradientCheck:
    """Check the gradients of a kernel set; by default the lesson's own."""
    network, X, Y = examples()
    if kernel_set is None:
        return gradcheck(network, X, Y)
    other = Network(UNITS, "tanh", "sigmoid", dtype="float64", initialization=dict(network.parameters), seed=2,
                    kernels=kernel_set)  # fmt: skip
    return gradcheck(other, X, Y)


def numeric(network: Network, X: np.ndarray, Y: np.ndarray, name: str, index: tuple[int, int], step: float) -> float:
    """(J(w + h) - J(w - h)) / 2h for one number of the array called `name`; it is put back afterwards."""
    array = network.parameters[name]
    value = array[index].copy()
    array[index] = value + step
    above = network.cost(X, Y)
    array[index] = value - step
    below = network.cost(X, Y)
    array[index] = value
    return (above - below) / (2 * step)


def errors(dtype: str = "float64") -> list[float]:
    """The relative error of the numeric derivative in W1[0, 0] for each of `STEPS`."""
    exact, X, Y = examples()
    network = Network(UNITS, "tanh", "sigmoid", dtype=dtype, initialization=dict(exact.parameters), seed=2,
                      kernels=kernels())  # fmt: skip
    right = float(exact.gradients(X, Y)["dW1"][0, 0])
    return [abs(numeric(network, X, Y, "W1", (0, 0), float(h)) - right) / abs(right) for h in STEPS]


def run(page: Page) -> None:
    """Write the lesson."""
    network, X, Y = examples()
    page.heading("One number first")
    h = 1e-5
    left, right = numeric(network, X, Y, "W1", (0, 0), h), network.gradients(X, Y)["dW1"][0, 0]
    page.text(
        "Move one weight a little up and a little down and see what the cost does. That needs no derivation, only two "
        "forward passes:"
    )
    page.code(
        f"(J(w + h) - J(w - h)) / 2h = {left:.12f}     w = W[1][0, 0], h = {h:g}\n"
        f"dW[1] by backpropagation   = {right:.12f}"
    )
    page.heading("All of them")
    page.text(f"A network {'-'.join(map(str, UNITS))} with tanh, eight examples. Largest numbers of each array:")
    _table(page, check())
    count = network.architecture.parameter_count
    page.text(f"That took {2 * count} forward passes for {count} parameters; backpropagation took one pass back.")
    page.heading("How small should h be")
    page.predict("h = 0.1, 1e-5 or 1e-12: with which is the numeric derivative best, and why not with the smallest?")
    found = {dtype: errors(dtype) for dtype in ("float64", "float32")}
    shown = [i for i, step in enumerate(STEPS) if round(np.log10(step)) % 2 == 0 and i % 2 == 0]
    page.table([
        ["relative error, h =", *(f"{STEPS[i]:.0e}" for i in shown)],
        *([dtype, *(f"{values[i]:.0e}" for i in shown)] for dtype, values in found.items()),
    ])  # fmt: skip
    best = STEPS[int(np.argmin(found["float64"]))]
    page.answer(
        f"Here h = {best:.0e} is best in float64. A large h sees the curvature: an error of h^2 J'''/6. A small one "
        "loses the digits in which the two costs differ: an error of about eps J / h. They balance near the cube "
        "root of eps, 6e-6. In float32 there are few digits to lose, so check gradients in float64."
    )
    _mistakes(page)


def _table(page: Page, result: GradientCheck) -> None:
    rows: list[list[object]] = [["", "shape", "analytic", "numeric", "relative error", ""]]
    for name, found in result.arrays.items():
        largest = [f"{np.nanmax(np.abs(values)):.6f}" for values in (found.analytic, found.numeric)]
        verdict = "WRONG" if found.wrong else "ok"
        rows.append([f"d{name}", str(found.analytic.shape), *largest, f"{found.relative_error:.0e}", verdict])
    page.table(rows)


def _mistakes(page: Page) -> None:
    page.heading("Three mistakes, found")
    page.predict(
        "Somebody forgets 1/m; somebody sums dZ without axis; somebody writes tanh' with the wrong sign. Which of dW1 "
        "... db3 come out wrong in each case?"
    )
    rows: list[list[object]] = [["mistake", "wrong", "largest relative error"]]
    for name, kernel_set in MISTAKES.items():
        arrays = check(kernel_set).arrays
        wrong = [f"d{array}" for array, found in arrays.items() if found.wrong]
        rows.append([name, " ".join(wrong), f"{max(found.relative_error for found in arrays.values()):.1e}"])
    page.table(rows, left=2)
    page.answer(
        "1/m: everything. Without axis: every db of a layer with more than one unit; with one unit the sum over units "
        "changes nothing, so test with more than one. The sign: layer 2 only. On the way to layer 1 tanh' is met "
        "twice and the two wrong signs cancel: check every array, not just the first."
    )


def draw() -> "Figure":
    """Analytic against numeric gradients, and the error of the numeric one against h."""
    figure, (left, right) = plots.new_figure(1, 2, 5.2, 4.0)
    result = check()
    for name, found in result.arrays.items():
        left.scatter(found.analytic, found.numeric, s=22, label=f"d{name}")
    ends = np.array(left.get_xlim())
    left.plot(ends, ends, color="0.6", linewidth=0.8, zorder=0)
    left.set(xlabel="backpropagation", ylabel="(J(w + h) - J(w - h)) / 2h", title="every parameter on the diagonal")
    left.legend(fontsize=8)
    for dtype, style in (("float64", "o-"), ("float32", "s--")):
        right.loglog(STEPS, np.maximum(errors(dtype), 1e-14), style, markersize=4, label=dtype)
    right.set(xlabel="h", ylabel="relative error", title="too small loses digits, too large sees the curvature")
    right.title.set_fontsize(10)
    right.grid(alpha=0.3)
    right.legend()
    return figure
