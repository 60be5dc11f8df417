"""Every array of a network and its shape, from the units alone, before anything is run."""

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import plots
from ..architecture import Architecture
from ..network import Network
from .page import Exercise, Page, kernels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["EXERCISE", "draw", "refusal", "run", "seen", "shapes"]

SMALL, M = [3, 4, 1], 7
COURSE, PICTURES = [12288, 20, 7, 5, 1], 209

def shapes(units: list[int], m: int) -> dict[str, tuple[int, int]]:
    """The shapes of W, b, Z and A of every layer, by name."""
    found: dict[str, tuple[int, int]] = {}
    for l in range(1, len(units)):
        found |= {f"W{l}": (units[l], units[l - 1]), f"b{l}": (units[l], 1)}
        found |= {f"Z{l}": (units[l], m), f"A{l}": (units[l], m)}
    return found


EXERCISE = Exercise(
    function="shapes",
    task="Write a function that gets the units [n_x, n[1], ..., n[L]] and the number m of examples, and returns a "
    'dictionary of the shapes of W, b, Z and A of every layer: {"W1": (n[1], n_x), "b1": ..., "Z1": ..., "A1": ..., '
    '"W2": ...}.',
    start="""
    def shapes(units, m):
        found = {}
        ...
        return found
    """,
    reference=shapes,
    cases=((SMALL, M), ([2, 1], 5), ([5, 4, 3, 2], 1), (COURSE, PICTURES)),
)


def seen(units: list[int], m: int) -> dict[str, tuple[int, ...]]:
    """The shapes that arrays really have in a pass forward and back on random examples."""
    set_: Any = kernels()
    net = Network(units, "tanh", "sigmoid", seed=0, dtype="float64", kernels=set_)
    x = np.random.default_rng(0).standard_normal((units[0], m))
    y = np.ones((units[-1], m))
    A, caches = net.forward(x)
    found: dict[str, tuple[int, ...]] = {"X": x.shape, "Y": y.shape}
    for l, (Z, A_l) in enumerate(caches, 1):
        found |= {f"Z{l}": Z.shape, f"A{l}": A_l.shape}
    found |= {name: array.shape for name, array in net.parameters.items()}
    found |= {name: array.shape for name, array in net.gradients(x, y).items()}
    return found


def refusal() -> str:
    """What a network says to examples that are rows."""
    net = Network(SMALL, "tanh", "sigmoid", seed=0, kernels="vectorized")
    try:
        net.predict(np.ones((M, SMALL[0])))
    except ValueError as error:
        return str(error)
    raise AssertionError("the network accepted examples as rows")


def run(page: Page) -> None:
    """Write the lesson."""
    page.heading("Three rules")
    page.text(
        "Examples are columns, m of them. The units n[0] = n_x, n[1], ..., n[L] fix every shape; the input is not "
        "counted as a layer, the output is."
    )
    page.code(
        """
        W[l], dW[l]         (n[l], n[l-1])   a row for each unit of the layer
        b[l], db[l]         (n[l], 1)        broadcast over the examples
        Z[l], A[l], dZ[l]   (n[l], m)        a column for each example
        """
    )
    page.text("A gradient has the shape of its array. All of it follows from one product, Z = W A_prev + b:")
    page.code("(n[l], m)  =  (n[l], n[l-1]) @ (n[l-1], m)  +  (n[l], 1)")
    page.predict(
        "A network has 3 inputs, 4 hidden units and 1 output. Write down the shapes of W1, b1, W2, b2, and of Z1 and "
        f"Z2 for m = {M} examples. How many parameters are there in all?"
    )
    architecture = Architecture.build(SMALL, "tanh", "sigmoid")
    page.code(str(architecture.shapes(M)))
    predicted, found = architecture.shapes(M), seen(SMALL, M)
    assert all(predicted[name] == shape for name, shape in found.items())
    page.answer(
        f"{architecture.parameter_count}: `4 * 3 + 4` and `1 * 4 + 1`. Nothing was run for the table. A pass forward "
        f"and back on random examples then made {len(found)} arrays, and every one had the shape predicted."
    )
    _wrong(page)
    _course(page)


def _wrong(page: Page) -> None:
    page.heading("Where it goes wrong")
    page.table(
        [
            ["written", "should be", "since"],
            ["W1 (3, 4)", "W1 (4, 3)", "a row of W1 is one unit with its 3 weights"],
            ["b1 (4, 3)", "b1 (4, 1)", "a unit has one bias"],
            ["Z2 (1, 1)", "Z2 (1, m)", "every example has its own output"],
            ["db1 one number", "db1 (4, 1)", "the sum runs over the examples only"],
            ["w^T is 1 x m", "1 x n_x", "w has a weight for each feature"],
        ],
        left=3,
    )
    page.text("Examples given as rows do not fit, and the error says so:")
    page.text(f"ValueError: {refusal()}")


def _course(page: Page) -> None:
    page.heading("The network for pictures")
    page.predict(
        "64 x 64 pictures with 3 colours make 12288 features. In the network 12288-20-7-5-1, how many of the "
        "parameters are in layer 1? What is L?"
    )
    architecture = Architecture.build(COURSE, "relu", "sigmoid")
    predicted = architecture.shapes(PICTURES)
    rows = [
        [l, *(f"{predicted[f'{name}{l}']}" for name in "WbZ"), n, n * (n_prev + 1)]
        for l, n_prev, n, _ in architecture.layers
    ]
    page.table([["layer", "W, dW", "b, db", "Z, A, dZ", "units", "parameters"], *rows], left=4)
    first = COURSE[1] * (COURSE[0] + 1)
    page.answer(
        f"`20 * 12288 + 20` = {first}, which is {first / architecture.parameter_count:.2%} of "
        f"{architecture.parameter_count}. L = {architecture.L}."
    )


def draw() -> "Figure":
    """The products of each layer as boxes, a square for each number."""
    figure, axes = plots.new_figure(2, 1, 8.0, 2.2)
    for axis, layer in zip(axes, Architecture.build(SMALL, "tanh", "sigmoid").layers, strict=True):
        x = 0.0
        parts = [
            (f"Z{layer.l}", layer.n, M, "C0", "="),
            (f"W{layer.l}", layer.n, layer.n_prev, "C1", "@"),
            ("X" if layer.l == 1 else f"A{layer.l - 1}", layer.n_prev, M, "C2", "+"),
            (f"b{layer.l}", layer.n, 1, "C3", ""),
        ]
        for name, rows, columns, color, sign in parts:
            for i in range(rows):
                for j in range(columns):
                    cell = {"facecolor": color, "alpha": 0.35, "edgecolor": "white", "linewidth": 2}
                    axis.add_patch(_square(x + j, rows / 2 - 1 - i, **cell))
            axis.text(x + columns / 2, rows / 2 + 0.25, f"{name} ({rows}, {columns})", ha="center", fontsize=9)
            axis.text(x + columns + 1.1, 0, sign, ha="center", va="center", fontsize=16)
            x += columns + 2.2
        axis.set(xlim=(-0.5, 27.0), ylim=(-2.3, 3.0), aspect="equal")
        axis.set_title(f"layer {layer.l}: b is one column, repeated for all {M} examples", fontsize=10)
        axis.axis("off")
    return figure


def _square(x: float, y: float, **options: Any) -> Any:
    from matplotlib.patches import Rectangle  # an extra: only where a picture is drawn

    return Rectangle((x, y), 1, 1, **options)
