"""Logistic regression: its cost as maximum likelihood, why dz = a - y, and two loops, one loop, none."""

import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import ladder, plots
from .descent import X, Y, walk
from .page import Exercise, Page, kernels
from .vectorization import steps_table, told

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["EXERCISE", "draw", "likelihood", "measured", "run", "slopes"]

STEP = 1e-5

EXERCISE = Exercise(
    function="logistic_gradient",
    task="Write the cost J and the gradients dW, db of logistic regression without any loop. W is (1, n_x), b (1, 1), "
    "X (n_x, m), Y (1, m). Return J as a number, dW as (1, n_x) and db as (1, 1).",
    start="""
    import numpy as np

    def logistic_gradient(W, b, X, Y):
        ...
        return J, dW, db
    """,
)


def likelihood(w: float, b: float) -> tuple[np.ndarray, float, float]:
    """p(y | x) of each of the eight examples, their product, and the cost J by the kernel."""
    set_: Any = kernels()
    A = set_.sigmoid(w * X + b)
    p = A**Y * (1 - A) ** (1 - Y)
    J, _, _ = set_.logistic_gradient(np.array([[w]]), np.array([[b]]), X, Y)
    return p[0], float(p.prod()), J


def loss(z: float, y: float) -> float:
    """-(y log a + (1 - y) log(1 - a)) with a = sigmoid(z)."""
    a = 1 / (1 + math.exp(-z))
    return -(y * math.log(a) + (1 - y) * math.log(1 - a))


def slopes(z: float, y: float) -> tuple[float, float, float, float]:
    """dL/da, da/dz and their product for one example, and dL/dz measured by a central difference."""
    a = 1 / (1 + math.exp(-z))
    dL_da = -y / a + (1 - y) / (1 - a)
    da_dz = a * (1 - a)
    return dL_da, da_dz, dL_da * da_dz, (loss(z + STEP, y) - loss(z - STEP, y)) / (2 * STEP)


@functools.cache
def measured() -> tuple[ladder.Step, ...]:
    """The times of the gradient of 209 pictures with 12288 features each, in two loops, one, none, and compiled."""
    chosen = [rung for rung in ladder.rungs("logistic") if rung in ("loops", "one_loop", "numpy", "jit1", "jit")]
    return tuple(ladder.climb("logistic", only=chosen, seconds=0.1, patience=0.5))


def run(page: Page) -> None:
    """Write the lesson."""
    page.heading("A probability for each label")
    page.text(
        "One unit: `z = w^T x + b` and `a = sigmoid(z)`, read as the probability that the label y is 1. Both labels "
        "fit in one formula, since a number to the power of 0 is 1:"
    )
    page.code("p(y | x) = a^y (1 - a)^(1 - y)        y = 1: a        y = 0: 1 - a")
    page.text(
        "Examples drawn independently multiply. Maximum likelihood asks for the w and b that make the product of all "
        "p largest. A product of many small numbers underflows, so take its logarithm, a sum; change the sign so "
        "that small is good; divide by m. That is the cost:"
    )
    page.code("J = -1/m log(p1 p2 ... pm) = -1/m sum (y log a + (1 - y) log(1 - a))")
    page.predict("Before training w = 0 and b = 0. What is J then, for any data whatever?")
    path = walk(2.0, 200)
    rows = []
    for name, w, b in (("zero", 0.0, 0.0), ("w = 1", 1.0, 0.0), ("best", path.w[-1], path.b[-1])):
        _, product, J = likelihood(w, b)
        rows.append([name, f"{w:.4f}", f"{b:.4f}", f"{product:.6f}", f"{J:.4f}", f"{math.exp(-8 * J):.6f}"])
    page.table([["", "w", "b", "product of p", "J", "e^(-m J)"], *rows])
    page.answer(
        f"log 2 = {math.log(2):.4f}: every a is 1/2. The table is of eight examples; the last column shows that J is "
        "the likelihood in other clothes. The last row is where gradient descent ends: no w and b explain these "
        "labels better."
    )
    _chain(page)
    _loops(page)


def _chain(page: Page) -> None:
    page.heading("Why dz = a - y")
    page.text("dz is short for dL/dz. Two edges lead from z to the loss L of an example:")
    page.code(
        """
        dL/da = -y / a + (1 - y) / (1 - a)
        da/dz = a (1 - a)
        dL/dz = -y (1 - a) + (1 - y) a  =  a - y
        """
    )
    rows = []
    for z, y in ((2.0, 1.0), (2.0, 0.0), (-3.0, 1.0)):
        dL_da, da_dz, product, numerical = slopes(z, y)
        a = 1 / (1 + math.exp(-z))
        rows.append(
            [f"{z:g}", f"{y:g}", f"{a:.4f}", f"{dL_da:.4f}", f"{da_dz:.4f}", f"{product:.4f}"]
            + [f"{a - y:.4f}", f"{numerical:.4f}"]
        )
    page.table([["z", "y", "a", "dL/da", "da/dz", "product", "a - y", "measured"], *rows], left=0)
    page.text(
        "The steep dL/da of a confident mistake and the flat sigmoid cancel: the slope is the error itself. Then "
        "`dW = 1/m dZ X^T` and `db = 1/m sum of dZ`."
    )


def _loops(page: Page) -> None:
    page.heading("Two loops, one loop, none")
    page.code(
        """
        # two loops                        # one loop
        for i in range(m):                 for i in range(m):
            z = b                              x = X[:, i:i+1]
            for k in range(n_x):               a = sigmoid(W @ x + b)
                z += W[0, k] * X[k, i]         dz = a - Y[0, i]
            dz = sigmoid(z) - Y[0, i]          dW += dz * x.T
            for k in range(n_x):               db += dz
                dW[0, k] += X[k, i] * dz   dW /= m; db /= m
            db += dz
        dW /= m; db /= m

        # no loop
        dZ = sigmoid(W @ X + b) - Y
        dW = dZ @ X.T / m
        db = dZ.mean(axis=1, keepdims=True)
        """
    )
    page.text(
        "The running sums are plain sums; m divides once, at the end. J is left out here, but not in what is timed: "
        "209 pictures of `64 * 64 * 3 = 12288` numbers each."
    )
    page.predict("How many times as fast is one loop? And no loop at all?")
    steps = measured()
    names = {"loops": "two loops", "one_loop": "one loop", "numpy": "no loop (NumPy)"}
    steps_table(page, steps, names)
    by = {step.rung: step.median for step in steps}
    best = min(steps, key=lambda step: step.median)
    page.answer(
        f"One loop is {told(by['loops'] / by['one_loop'])} times as fast as two, no loop "
        f"{told(by['loops'] / by['numpy'])} times. Fastest here: {names.get(best.rung, best.label)}. The loop over the "
        "iterations of gradient descent stays: each needs the one before."
    )


def draw() -> "Figure":
    """The fit as a probability, and the loss of an example against z with its slope a - y."""
    figure, (left, right) = plots.new_figure(1, 2, 5.6, 3.8)
    path = walk(2.0, 200)
    z = np.linspace(-5, 5, 201)
    x = np.linspace(-4, 4.5, 201)
    left.plot(x, 1 / (1 + np.exp(-(path.w[-1] * x + path.b[-1]))), label="a = p(y = 1 | x)")
    left.scatter(X[0], Y[0], c=Y[0], cmap="coolwarm", edgecolors="black", zorder=3)
    left.set(xlabel="x", title=f"the most likely fit: w = {path.w[-1]:.2f}, b = {path.b[-1]:.2f}")
    left.legend()
    for y, color in ((1, "C3"), (0, "C0")):
        right.plot(z, [loss(float(at), y) for at in z], color=color, label=f"loss, y = {y}")
        right.plot(z, 1 / (1 + np.exp(-z)) - y, "--", color=color, label=f"its slope a - y, y = {y}")
    right.axhline(0, color="0.7", linewidth=0.8)
    right.set(xlabel="z", title="loss of one example")
    right.legend(fontsize=8)
    for axes in (left, right):
        axes.grid(alpha=0.3)
    return figure
