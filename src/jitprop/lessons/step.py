"""One step of training: every array of a forward and a backward pass and the update, with shape and values."""

from typing import TYPE_CHECKING

import numpy as np

from .. import plots
from ..network import Network
from ..trace import Trace, trace
from .page import Exercise, Page, kernels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["EXERCISE", "X", "Y", "draw", "example", "network", "run", "wrong_bias_gradient"]

# Is exactly one of two inputs 1?
X = np.array([[0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 0.0, 1.0]])
Y = np.array([[0.0, 1.0, 1.0, 0.0]])
LEARNING_RATE = 0.5

EXERCISE = Exercise(
    function="linear_backward",
    task="Write the middle of the backward pass: from dZ (n, m), A_prev (n_prev, m) and W (n, n_prev) the gradients dW "
    "and db, which are means over the examples, and dA_prev. Shapes: those of W, of b (n, 1), of A_prev.",
    start="""
    import numpy as np

    def linear_backward(dZ, A_prev, W):
        ...
        return dW, db, dA_prev
    """,
)


def network(seed: int = 1) -> Network:
    """The network of this lesson: 2-3-1 with tanh, in float64."""
    return Network([2, 3, 1], "tanh", "sigmoid", dtype="float64", seed=seed, kernels=kernels())


def example() -> Trace:
    """The step of this lesson."""
    return trace(network(), X, Y, LEARNING_RATE)


def wrong_bias_gradient(dZ: np.ndarray) -> float:
    """What 1/m np.sum(dZ) without an axis gives: one number for all units."""
    return float(np.sum(dZ) / dZ.shape[1])


def run(page: Page) -> None:
    """Write the lesson."""
    step = example()
    page.text(
        "Four examples, the columns of X: is exactly one of the two inputs 1? A network 2-3-1 with tanh and a sigmoid "
        "output takes one step of gradient descent. Below is every array on the way, in the order of computation."
    )
    page.predict(
        "Before you read on: which shapes have dW[2], db[1] and dA[1]? Is there a dA[0]? Which sign has dZ[2] "
        "where y is 1?"
    )
    for line in str(step).splitlines():
        page.line(line)
    page.line()
    page.answer(
        f"dW[2] {step['dW[2]'].shape}, db[1] {step['db[1]'].shape}, dA[1] {step['dA[1]'].shape}: a gradient has the "
        "shape of its array. dA[0] is never computed: nothing uses it. dZ[2] = A[2] - Y is negative where y is 1: "
        "a is too small there, as a probability below 1 always is."
    )
    page.heading("What the step was worth")
    net = network()
    before = net.cost(X, Y)
    net.parameters = {name: step[f"new {name[0]}[{name[1:]}]"] for name in net.parameters}
    page.text(f"The cost goes from {before:.6f} to {net.cost(X, Y):.6f}.")
    page.heading("db, said exactly")
    dZ = np.array([[1.0, -2.0], [3.0, -4.0]])
    right = kernels().linear_backward(dZ, np.zeros((1, 2)), np.zeros((2, 1)))[1]
    page.text("Two units, two examples. db sums over the examples only, axis 1, and keeps its shape (n, 1):")
    page.code(
        f"dZ = {str(dZ).replace(chr(10), ',')}\n"
        f"1/m np.sum(dZ, axis=1, keepdims=True) = {str(right).replace(chr(10), ',')}  right\n"
        f"1/m np.sum(dZ)                        = {wrong_bias_gradient(dZ):.1f}               wrong: no axis"
    )
    page.text("The trace as a document: `jitprop lesson step --html step.html`, or `--latex step.tex`.")


def draw() -> "Figure":
    """The arrays of the step as pictures: blue below zero, red above."""
    step = example()
    names = [["W[1]", "Z[1]", "A[1]", "W[2]", "Z[2]", "A[2]"], ["dW[1]", "dZ[1]", "dA[1]", "dW[2]", "dZ[2]", "db[1]"]]
    figure, axes = plots.new_figure(2, 6, 2.1, 1.9)
    for row, axes_row in zip(names, axes, strict=True):
        for name, axis in zip(row, axes_row, strict=True):
            values = step[name]
            largest = float(np.abs(values).max()) or 1.0
            axis.imshow(values, cmap="RdBu_r", vmin=-1.6 * largest, vmax=1.6 * largest)
            for (i, j), value in np.ndenumerate(values):
                axis.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=8)
            axis.set(title=f"{name}  {values.shape}", xticks=[], yticks=[])
            axis.title.set_fontsize(10)
    figure.suptitle("rows are units, columns are examples (of W: units of the layer before)", fontsize=10)
    return figure
