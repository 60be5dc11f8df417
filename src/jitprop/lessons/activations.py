"""Activations: curves and derivatives, saturation, the collapse of linear layers, and why ReLU learns faster."""

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import plots
from ..history import History
from ..network import Network
from ..optimizers import SGD
from .initialization import flower
from .page import Exercise, Page, kernels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["CURVES", "EXERCISE", "curve", "draw", "layer_gradients", "linear_stack", "run", "train"]

CURVES = ("sigmoid", "tanh", "relu", "leaky_relu")
COMPARED = ("linear", "sigmoid", "tanh", "relu")
UNITS = [2, 16, 16, 16, 1]
LEARNING_RATE, EPOCHS, GOAL = 0.1, 1000, 0.3

EXERCISE = Exercise(
    function="leaky_relu",
    task="Write leaky ReLU for every element of Z (n, m): z where z >= 0, slope times z below. `slope` is a parameter "
    "from 0 to 1, 0.01 by default. No loop, no new dtype: float32 in, float32 out.",
    start="""
    import numpy as np

    def leaky_relu(Z, slope=0.01):
        ...
    """,
)


def curve(name: str, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """g(z) and g'(z) of a hidden activation, for numbers z of any shape."""
    kernel_set: Any = kernels()
    Z = np.ascontiguousarray(z, np.float64).reshape(1, -1)
    g, slope = getattr(kernel_set, name)(Z), getattr(kernel_set, f"{name}_derivative")(Z)
    return g.reshape(np.shape(z)), slope.reshape(np.shape(z))


def layer_gradients(activation: str, depth: int = 6, width: int = 16) -> list[float]:
    """The root mean square of dW[l] for the layers 1 to L of a network that has not been trained."""
    X, Y = flower()
    units = [2, *[width] * (depth - 1), 1]
    network = Network(units, activation, "sigmoid", dtype="float64", seed=0, kernels=kernels())
    gradients = network.gradients(X, Y)
    return [float(np.sqrt(np.mean(gradients[f"dW{l}"] ** 2))) for l in range(1, depth + 1)]


def linear_stack() -> tuple[Network, np.ndarray, np.ndarray, float]:
    """Three layers without activation, the one W and b they amount to, and the largest difference of outputs."""
    network = Network([2, 5, 4, 1], "linear", "linear", dtype="float64", seed=0, kernels=kernels())
    generator = np.random.default_rng(1)
    W, b = np.eye(2), np.zeros((2, 1))
    for l in (1, 2, 3):
        network.parameters[f"b{l}"] = generator.standard_normal(network.parameters[f"b{l}"].shape)
        Wl, bl = network.parameters[f"W{l}"], network.parameters[f"b{l}"]
        W, b = Wl @ W, Wl @ b + bl
    X = generator.standard_normal((2, 1000))
    return network, W, b, float(np.abs(network.predict(X) - (W @ X + b)).max())


def train(activation: str) -> tuple[Network, History]:
    """Gradient descent on the petals with this activation in three hidden layers; everything else is the same."""
    X, Y = flower()
    network = Network(UNITS, activation, "sigmoid", seed=0, kernels=kernels())
    return network, network.fit(X, Y, EPOCHS, optimizer=SGD(LEARNING_RATE), verbose=False)


def run(page: Page) -> None:
    """Write the lesson."""
    _curves(page)
    _saturation(page)
    _collapse(page)
    _speed(page)


def _curves(page: Page) -> None:
    page.heading("Curves and slopes")
    z = np.array([-10.0, -2.0, 0.0, 2.0, 10.0])
    rows: list[list[object]] = [["", *(f"z = {value:g}" for value in z)]]
    for name in CURVES:
        for label, values in zip((f"{name}", "   slope"), curve(name, z), strict=True):
            rows.append([label, *(f"{value:.3g}" for value in values)])
    page.table(rows)
    page.text(
        "Sigmoid: a' = a (1 - a), never above 1/4. Tanh: a' = 1 - a^2. ReLU: 0 below zero, 1 from zero on. Leaky "
        "ReLU keeps a small slope below zero, so that no unit is ever without a gradient."
    )


def _saturation(page: Page) -> None:
    page.heading("Saturation")
    page.predict(
        "A network of six layers with sigmoid hidden units, not yet trained. How much smaller is the gradient of "
        "its first layer than that of its last? And with ReLU?"
    )
    found = {name: layer_gradients(name) for name in ("sigmoid", "tanh", "relu")}
    page.text("Root mean square of the gradient, layer by layer:")
    page.table([
        ["", *(f"dW[{l}]" for l in range(1, 7))],
        *([name, *(f"{g:.1e}" for g in values)] for name, values in found.items()),
    ])  # fmt: skip
    ratio = found["sigmoid"][-1] / found["sigmoid"][0]
    page.answer(
        f"{ratio:,.0f} times with sigmoid: each layer back multiplies by a slope of at most 1/4. With ReLU the "
        f"slope is 1 where a unit is on, and the ratio is {found['relu'][-1] / found['relu'][0]:.1f}."
    )


def _collapse(page: Page) -> None:
    page.heading("Without activations a deep network is one layer")
    network, W, b, difference = linear_stack()
    page.text("Three linear layers 2-5-4-1 with random weights and biases, and the single affine map they amount to:")
    page.code(
        "W = W[3] W[2] W[1]                        b = W[3] (W[2] b[1] + b[2]) + b[3]\n"
        f"W = {np.array2string(W, precision=4):<37} b = {np.array2string(b, precision=4)}\n"
        f"largest difference of the outputs on 1000 examples: {difference:.1e}"
    )
    page.text(
        f"{network.architecture.parameter_count} parameters say what {W.size + b.size} say. Depth needs something "
        "that is not linear between the layers, and ReLU, though straight on both sides, is not linear."
    )


def _speed(page: Page) -> None:
    page.heading("Which learns faster")
    page.predict(
        f"The same network {'-'.join(map(str, UNITS))} on the flower, the same learning rate, {EPOCHS} steps: in "
        "which order do linear, sigmoid, tanh and ReLU arrive?"
    )
    X, Y = flower()
    marks = (1, 100, 200, 500, 1000)
    rows: list[list[object]] = [["cost at step", *marks, "accuracy", f"< {GOAL:g} at"]]
    for name in COMPARED:
        network, history = train(name)
        first = next((str(i) for i, cost in enumerate(history.cost, 1) if cost < GOAL), "never")
        costs = [f"{history.cost[step - 1]:.3f}" for step in marks]
        rows.append([name, *costs, f"{network.evaluate(X, Y)['accuracy']:.0%}", first])
    page.table(rows)
    page.answer(
        "ReLU first, then tanh. Sigmoid has hardly begun: its gradients are the small ones above. Linear never "
        "arrives, however long it runs: its boundary is a straight line."
    )


def draw() -> "Figure":
    """Curves, slopes, cost curves, and the boundaries of linear, tanh and ReLU layers."""
    figure, grid = plots.new_figure(2, 3, 4.0, 3.3)
    axes, below = grid
    z = np.linspace(-5, 5, 401)
    styles = ("-", "-", "-", "--")  # ReLU and its leaky sister nearly coincide
    for name, style in zip(CURVES, styles, strict=True):
        values, slopes = curve(name, z)
        axes[0].plot(z, values, style, label=name)
        axes[1].plot(z, slopes, style, label=name)
    axes[0].set(title="g(z)", xlabel="z", ylim=(-1.2, 3))
    axes[1].set(title="g'(z): near 0 is saturated", xlabel="z", ylim=(-0.05, 1.1))
    axes[0].legend(fontsize=8)
    X, Y = flower()
    boundaries = dict(zip(("linear", "tanh", "relu"), below, strict=True))
    for name, style in zip(COMPARED, ("-", "--", "-", "-"), strict=True):
        network, history = train(name)
        axes[2].plot(range(1, EPOCHS + 1), history.cost, style, label=name)
        if name in boundaries:
            plots.decision_boundary(boundaries[name], network, X, Y, f"hidden layers: {name}")
    axes[2].set(title="cost", xlabel="step", ylim=(0, 0.8))
    axes[2].legend(fontsize=8)
    for axis in axes:
        axis.grid(alpha=0.3)
    return figure
