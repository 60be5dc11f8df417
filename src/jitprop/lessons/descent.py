"""Gradient descent on the cost J(w, b) of logistic regression: sign, path, learning rate, hyper-parameters."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jitprop_kernels import vectorized

from .. import datasets, plots, textplots
from ..network import Network
from ..optimizers import SGD
from .page import Exercise, Page, kernels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["EXERCISE", "RATES", "START", "X", "Y", "Path", "compare", "cost", "descend", "draw", "run", "walk"]

# Eight examples of one feature; the labels overlap, so that the lowest cost lies at finite w and b.
X = np.array([[-2.0, -1.0, -0.5, 0.5, 1.0, 1.5, 2.5, 3.0]])
Y = np.array([[0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0]])
START = (-2.0, 2.0)
RATES = {"too small": 0.05, "well": 2.0, "too large": 20.0}
STEPS = 30
HIDDEN, LEARNING_RATES, EPOCHS = (1, 4, 16), (0.01, 0.3, 3.0, 30.0), 300

def descend(W: Any, b: Any, X: Any, Y: Any, learning_rate: float, iterations: int) -> tuple[Any, Any]:
    """Gradient descent for logistic regression on all examples at once, from W and b, which stay as they are."""
    for _ in range(iterations):
        _, dW, db = vectorized.logistic_gradient(W, b, X, Y)
        W, b = W - learning_rate * dW, b - learning_rate * db
    return W, b


def _cases() -> list[tuple[Any, ...]]:
    generator = np.random.default_rng(0)
    cases: list[tuple[Any, ...]] = []
    sizes = ((2, 5, 0.5, 1), (3, 7, 0.1, 4), (1, 8, 2.0, 10), (4, 1, 0.5, 3))
    for n_x, m, learning_rate, iterations in sizes:
        W, b, x = (generator.standard_normal(shape) for shape in ((1, n_x), (1, 1), (n_x, m)))
        cases.append((W, b, x, (generator.random((1, m)) < 0.5).astype(float), learning_rate, iterations))
    return cases


EXERCISE = Exercise(
    function="descend",
    task="Write gradient descent for logistic regression. Start from W (1, n_x) and b (1, 1), take `iterations` steps "
    "with all examples X (n_x, m), Y (1, m) at once, and return the new W and b. The arrays you were given must stay "
    "as they are.",
    start="""
    import numpy as np

    def descend(W, b, X, Y, learning_rate, iterations):
        ...
        return W, b
    """,
    reference=descend,
    cases=_cases(),
)


class Path(NamedTuple):
    """Where descent came by: w, b, the cost there and its derivatives, an entry for the start and each step."""

    w: list[float]
    b: list[float]
    J: list[float]
    dw: list[float]
    db: list[float]


def cost(w: float, b: float) -> tuple[float, float, float]:
    """J, dJ/dw and dJ/db of the eight examples, by the kernel."""
    J, dW, db = kernels().logistic_gradient(np.array([[w]]), np.array([[b]]), X, Y)
    return J, float(dW[0, 0]), float(db[0, 0])


def walk(learning_rate: float, steps: int = STEPS, start: tuple[float, float] = START) -> Path:
    """Gradient descent: w -= learning_rate dw and b -= learning_rate db, so many times."""
    path = Path([], [], [], [], [])
    w, b = start
    for step in range(steps + 1):
        values = (w, b, *cost(w, b))
        for entries, value in zip(path, values, strict=True):
            entries.append(value)
        if step < steps:
            w, b = w - learning_rate * values[3], b - learning_rate * values[4]
    return path


def compare(epochs: int = EPOCHS) -> dict[tuple[int, float], tuple[float, float]]:
    """Costs of networks on the petals, in training and held out, by hidden units and learning rate."""
    x, y = datasets.petals(300, seed=0)
    held_out = datasets.petals(300, seed=1)
    found = {}
    set_: Any = kernels()
    for hidden in HIDDEN:
        for rate in LEARNING_RATES:
            net = Network([2, hidden, 1], "tanh", "sigmoid", seed=0, kernels=set_)
            net.fit(x, y, epochs=epochs, batch_size=x.shape[1], optimizer=SGD(rate), verbose=False)
            found[hidden, rate] = (net.cost(x, y), net.cost(*held_out))
    return found


def run(page: Page) -> None:
    """Write the lesson."""
    page.heading("Which way is down")
    page.text(
        "The cost J(w, b) of logistic regression is a bowl over the plane of w and b. Here it is made of eight "
        "examples with one feature x:"
    )
    page.code(
        f"x  {'  '.join(f'{x:4g}' for x in X[0])}\ny  {'  '.join(f'{y:4g}' for y in Y[0])}\n\n"
        "w := w - alpha dJ/dw        b := b - alpha dJ/db"
    )
    page.text("Hold b = 0 and look at three values of w. The sign of the slope alone says where to go:")
    rows = []
    for w in (-1.0, 0.5, 3.0):
        J, dw, _ = cost(w, 0.0)
        rows.append([f"{w:g}", f"{J:.4f}", f"{dw:+.4f}", "right, w grows" if dw < 0 else "left, w shrinks"])
    page.table([["w", "J", "dJ/dw", "the step goes"], *rows], left=0)
    _path(page)
    _rates(page)
    _hyper_parameters(page)


def _path(page: Page) -> None:
    rate = RATES["well"]
    path = walk(rate)
    page.heading(f"The path from w = {START[0]:g}, b = {START[1]:g}, alpha = {rate:g}")
    shown = [
        [k, *(f"{values[k]:.4f}" for values in path[:3]), *(f"{values[k]:+.4f}" for values in path[3:])]
        for k in (0, 1, 2, 3, 5, 10, 20, 30)
    ]
    page.table([["step", "w", "b", "J", "dw", "db"], *shown], left=0)
    ends = [walk(rate, 200, start) for start in ((-2.0, 2.0), (3.0, 3.0), (0.0, -3.0))]
    page.text(
        "Steps get shorter by themselves, since the slope does. Started elsewhere it ends at the same place: from "
        + ", ".join(f"({end.w[0]:g}, {end.b[0]:g}) at ({end.w[-1]:.4f}, {end.b[-1]:.4f})" for end in ends)
        + ". This J is convex: it has one lowest point. With hidden layers it is not, and descent finds a low point, "
        "not surely the lowest."
    )


def _rates(page: Page) -> None:
    paths = {name: walk(rate) for name, rate in RATES.items()}
    page.heading("Too small, too large")
    page.predict(
        f"From the same start, {STEPS} steps with alpha = "
        + ", ".join(f"{rate:g}" for rate in RATES.values())
        + f". Which one ends lowest? Which ends higher than J = {paths['well'].J[0]:.2f}, where it began?"
    )
    series = {f"alpha = {RATES[name]:g}": path.J for name, path in paths.items()}
    page.code(textplots.curves(series, 54, 12, axis="step", first=0))
    small, well, large = (paths[name].J for name in RATES)
    page.answer(
        f"alpha = {RATES['well']:g} ends at J = {well[-1]:.4f}. With {RATES['too small']:g} the cost falls at every "
        f"step and is still {small[-1]:.2f}. With {RATES['too large']:g} each step overshoots the valley and lands "
        f"higher on the other side: J ends at {large[-1]:.2f} and was up to {max(large):.2f}. So plot the cost: "
        "falling slowly, raise alpha; rising or jumping, lower it, by factors of about 3."
    )


def _hyper_parameters(page: Page) -> None:
    found = compare()
    page.heading("Comparing hyper-parameters")
    page.text(
        "The learning rate, the number of steps, L and n[l] are set by you, not by descent: they decide what W and b "
        f"become. Try and compare, on examples held out. Petals in the plane, one tanh layer, {EPOCHS} steps on "
        "all 300 examples; held-out cost:"
    )
    rows = [[hidden, *(f"{found[hidden, rate][1]:.3f}" for rate in LEARNING_RATES)] for hidden in HIDDEN]
    page.table([["hidden units", *(f"alpha {rate:g}" for rate in LEARNING_RATES)], *rows], left=0)
    hidden, rate = min(found, key=lambda key: found[key][1])
    page.text(
        f"Best here: {hidden} hidden units with alpha = {rate:g}. Answering 0.5 everywhere costs log 2 = "
        f"{np.log(2):.3f}."
    )


def draw() -> "Figure":
    """The three paths on the surface of J, and the cost along them."""
    figure, (left, right) = plots.new_figure(1, 2, 6.0, 4.2)
    w, b = np.linspace(-4, 19, 93), np.linspace(-6, 7, 66)
    surface = np.array([[cost(x, y)[0] for x in w] for y in b])
    left.contourf(w, b, surface, levels=np.geomspace(surface.min(), surface.max(), 18), cmap="Blues", alpha=0.8)
    for (name, rate), color in zip(RATES.items(), ("C2", "C1", "C3"), strict=True):
        path = walk(rate)
        label = f"alpha = {rate:g}, {name}"
        shown = 8 if name == "too large" else STEPS + 1
        left.plot(path.w[:shown], path.b[:shown], "o-", color=color, markersize=3, linewidth=1, label=label)
        right.plot(path.J, "o-", color=color, markersize=3, linewidth=1, label=label)
    left.plot(*START, "ks", markersize=6)
    left.set(xlim=(w[0], w[-1]), ylim=(b[0], b[-1]), xlabel="w", ylabel="b")
    left.set_title("paths on J(w, b); 7 steps of the red")
    right.set(xlabel="step", ylabel="J", yscale="log", ylim=(0.4, 20), title="the cost along them")
    right.grid(alpha=0.3)
    right.legend()
    return figure
