"""The computation graph of e = (a + b)(b + 1): derivatives edge by edge, and back from the end."""

import math
from typing import TYPE_CHECKING

import numpy as np

from .. import plots
from .page import Exercise, Page, kernels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["EXERCISE", "backward", "draw", "forward", "run", "sigmoid_edges"]

A, B = 2.0, 1.0
STEP = 1e-5

EXERCISE = Exercise(
    function="sigmoid_derivative",
    task="Walk back through the graph of the sigmoid in NumPy: write the derivative of `a = 1 / (1 + e^-z)` in z, for "
    "every element of an array Z of any shape (n, m) at once.",
    start="""
    import numpy as np

    def sigmoid_derivative(Z):
        ...
    """,
)


def forward(a: float, b: float) -> dict[str, float]:
    """The values of the graph, from the inputs to e: c = a + b, d = b + 1, e = c d."""
    c = a + b
    d = b + 1
    return {"a": a, "b": b, "c": c, "d": d, "e": c * d}


def backward(values: dict[str, float]) -> dict[str, float]:
    """The derivative of e in every value of the graph, from e to the inputs, each edge used once."""
    de = 1.0
    dc = de * values["d"]  # e = c d
    dd = de * values["c"]
    da = dc * 1  # c = a + b
    db = dc * 1 + dd * 1  # c = a + b and d = b + 1: two paths lead from b to e
    return {"e": de, "d": dd, "c": dc, "b": db, "a": da}


def sigmoid_edges(z: float) -> list[tuple[str, str, float, float, float]]:
    """The graph of the sigmoid from its end: step, edge, value, derivative of the edge, of a so far."""
    u = -z
    v = math.exp(u)
    w = 1 + v
    a = 1 / w
    edges = [
        ("a = 1 / w", "da/dw = -1 / w^2", a, -1 / (w * w)),
        ("w = 1 + v", "dw/dv = 1", w, 1.0),
        ("v = e^u", "dv/du = v", v, v),
        ("u = -z", "du/dz = -1", u, -1.0),
    ]
    rows, so_far = [], 1.0
    for step, edge, value, derivative in edges:
        so_far *= derivative
        rows.append((step, edge, value, derivative, so_far))
    return rows


def numerical(a: float, b: float) -> tuple[float, float]:
    """de/da and de/db from values of e alone, by central differences."""
    along_a = (forward(a + STEP, b)["e"] - forward(a - STEP, b)["e"]) / (2 * STEP)
    along_b = (forward(a, b + STEP)["e"] - forward(a, b - STEP)["e"]) / (2 * STEP)
    return along_a, along_b


def run(page: Page) -> None:
    """Write the lesson."""
    values = forward(A, B)
    slopes = backward(values)
    page.heading("Forward: values")
    page.text("A formula is computed in steps. For e = (a + b)(b + 1) there are three, drawn as a graph:")
    page.code(
        f"a = {values['a']:g} ──────────┐\n"
        f"                ├──> c = a + b = {values['c']:g} ──┐\n"
        f"          ┌─────┘                    ├──> e = c d = {values['e']:g}\n"
        f"b = {values['b']:g} ────┴────────> d = b + 1 = {values['d']:g} ──┘"
    )
    page.heading("Backward: derivatives")
    page.predict("b goes from 1 to 1.01 while a stays at 2. By how much, about, does e grow?")
    page.text(
        "An edge of the graph has a derivative of its own, read off from one small step. Walk from e back and multiply "
        "along a path; where several paths lead from a value to e, add them."
    )
    page.table(
        [
            ["value", "edges that leave it", "de / d(value)"],
            ["e", "", f"{slopes['e']:g}"],
            ["c", f"de/dc = d = {values['d']:g}", f"{slopes['c']:g}"],
            ["d", f"de/dd = c = {values['c']:g}", f"{slopes['d']:g}"],
            ["a", "dc/da = 1", f"{slopes['c']:g} * 1 = {slopes['a']:g}"],
            ["b", "dc/db = 1 and dd/db = 1", f"{slopes['c']:g} * 1 + {slopes['d']:g} * 1 = {slopes['b']:g}"],
        ],
        left=2,
    )
    grown = forward(A, B + 0.01)["e"] - values["e"]
    along_a, along_b = numerical(A, B)
    page.answer(
        f"By {grown:.4f}: about {slopes['b']:g} times 0.01, since b acts along two paths. Measured without any "
        f"derivation, by moving a and b a little: de/da = {along_a:.6f}, de/db = {along_b:.6f}."
    )
    page.text(
        "One walk back gave the derivatives in both inputs. A network has a cost at its end and a million inputs, its "
        "weights: one walk still gives all of them. That is backpropagation, and dW is short for dJ/dW."
    )
    _sigmoid(page)


def _sigmoid(page: Page) -> None:
    z = 1.0
    rows = sigmoid_edges(z)
    page.heading("The same walk on the sigmoid")
    page.text(f"a = 1 / (1 + e^-z) in four steps, at z = {z:g}, read from the end:")
    page.table(
        [
            ["step", "edge", "value", "edge's", "da so far"],
            *([step, edge, f"{value:.4f}", f"{d:.4f}", f"{so_far:.4f}"] for step, edge, value, d, so_far in rows),
        ],
        left=2,
    )
    a, slope = rows[0][2], rows[-1][4]
    ours = kernels().sigmoid_derivative(np.array([[z]]))[0, 0]
    page.text(
        f"da/dz = e^-z / (1 + e^-z)^2, and that is a (1 - a) = {a * (1 - a):.4f}: the forward value is all it needs. "
        f"The kernel says {ours:.4f}. (Sometimes written a (a - 1): that is {a * (a - 1):.4f}, negative, while "
        "the sigmoid rises everywhere.)"
    )
    assert math.isclose(slope, ours)


def draw() -> "Figure":
    """The graph with values above the nodes and derivatives below."""
    figure, axes = plots.new_figure(1, 1, 7.0, 3.6)
    values = forward(A, B)
    slopes = backward(values)
    places = {"a": (0.0, 1.0), "b": (0.0, 0.0), "c": (1.5, 1.0), "d": (1.5, 0.0), "e": (3.0, 0.5)}
    texts = {"a": "a", "b": "b", "c": "c = a + b", "d": "d = b + 1", "e": "e = c d"}
    edges = {("a", "c"): 1.0, ("b", "c"): 1.0, ("b", "d"): 1.0, ("c", "e"): values["d"], ("d", "e"): values["c"]}
    for (start, end), slope in edges.items():
        arrow = {"arrowstyle": "->", "color": "0.4", "shrinkA": 38, "shrinkB": 38, "lw": 1.5}
        axes.annotate("", places[end], places[start], arrowprops=arrow)
        x, y = (np.array(places[start]) + np.array(places[end])) / 2
        label = f"d{end}/d{start} = {slope:g}"
        aside = 0.09 if places[start][1] >= places[end][1] else -0.09  # off the line, on the side it leaves free
        side = "center" if places[start][1] == places[end][1] else "left"
        where = {"ha": side, "va": "bottom" if aside > 0 else "top"}
        axes.text(x, y + aside / (1 if side == "left" else 2), label, fontsize=9, color="0.3", **where)
    for name, (x, y) in places.items():
        axes.text(x, y, texts[name], ha="center", va="center", bbox={"boxstyle": "round", "fc": "#dde8f5", "pad": 0.6})
        axes.text(x, y + 0.2, f"{values[name]:g}", ha="center", color="C0", fontsize=12)
        axes.text(x, y - 0.27, f"de/d{name} = {slopes[name]:g}", ha="center", color="C3", fontsize=10)
    axes.set(xlim=(-0.5, 3.5), ylim=(-0.45, 1.4), title="values forward (blue), derivatives of e backward (red)")
    axes.axis("off")
    return figure
