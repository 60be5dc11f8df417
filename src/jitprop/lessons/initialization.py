"""Initialization: weights zero, equal, small, He's and too large; hidden units that stay identical."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .. import plots
from ..datasets import petals
from ..history import History
from ..network import Network
from ..optimizers import SGD
from .page import Exercise, Page, kernels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "CHOICES", "EXERCISE", "Trained", "compare", "different_units", "draw", "flower", "moved_from_zero", "off_units",
    "run", "train",
]  # fmt: skip

UNITS = [2, 20, 7, 5, 1]
LEARNING_RATE, EPOCHS = 0.1, 1500
CHOICES = {
    "all zero": "zeros",
    "all equal, 0.5": "constant(0.5)",
    "normal times 0.01": "normal(0.01)",
    "He": "he",
    "normal times 3": "normal(3)",
}

EXERCISE = Exercise(
    function="relu_derivative",
    task="Write the derivative of ReLU for every element of Z (n, m): 0 below zero, 1 from zero on. At zero itself "
    "the course takes 1, and with all weights zero every z is exactly there.",
    start="""
    import numpy as np

    def relu_derivative(Z):
        ...
    """,
)


class Trained(NamedTuple):
    """A network, the costs of its training, and how many different units its first layer had before and after."""

    network: Network
    history: History
    before: int
    after: int


def flower() -> tuple[np.ndarray, np.ndarray]:
    """The data of this lesson: petals, with coordinates of the size of 1."""
    X, Y = petals(400, seed=1)
    return X / 2, Y


def different_units(network: Network) -> int:
    """How many different units layer 1 has: different rows of [W1, b1], to the last bit."""
    rows = np.hstack([network.parameters["W1"], network.parameters["b1"]])
    return len(np.unique(rows, axis=0))


def off_units(network: Network, X: np.ndarray) -> int:
    """How many hidden units have a = 0 for every example, so that nothing ever moves them again."""
    return sum(int((A == 0).all(axis=1).sum()) for _, A in network.forward(X)[1][:-1])


def train(initialization: str, units: list[int] = UNITS, activation: str = "relu", epochs: int = EPOCHS) -> Trained:
    """Gradient descent on the petals from one of the initializations."""
    X, Y = flower()
    network = Network(units, activation, "sigmoid", initialization=initialization, seed=3, kernels=kernels())
    before = different_units(network)
    history = network.fit(X, Y, epochs, optimizer=SGD(LEARNING_RATE), verbose=False)
    return Trained(network, history, before, different_units(network))


def moved_from_zero() -> list[str]:
    """Which parameters of a network 2-4-1 are not zero any more after 300 steps from zero."""
    X, Y = flower()
    kept = (Y[0] == 1) | (np.arange(Y.size) % 2 == 0)  # with as many 0 as 1 not even the bias would move
    network = Network([2, 4, 1], "tanh", "sigmoid", initialization="zeros", seed=0, kernels=kernels())
    network.fit(X[:, kept], Y[:, kept], 300, optimizer=SGD(LEARNING_RATE), verbose=False)
    return [f"{name[0]}[{name[1:]}]" for name, array in network.parameters.items() if np.any(array != 0)]


def compare() -> dict[str, Trained]:
    """`train` from each of `CHOICES`."""
    return {name: train(spelling) for name, spelling in CHOICES.items()}


def run(page: Page) -> None:
    """Write the lesson."""
    page.heading("Five ways to begin")
    page.text(
        f"A network {'-'.join(map(str, UNITS))} with ReLU is trained on the flower: 400 points on petals that take "
        f"turns in two colours, half of them 1. Gradient descent, {EPOCHS} steps, learning rate {LEARNING_RATE:g}. "
        "Only the first weights differ; biases begin at zero."
    )
    page.predict(
        "Which of these learn: all weights zero, all 0.5, normal times 0.01, He (normal times the root of "
        "2 / n[l-1]), normal times 3? And what does a network cost that always says one half?"
    )
    X, Y = flower()
    results = compare()
    rows: list[list[object]] = [["first weights", "first cost", "last cost", "accuracy", "different units"]]
    for name, trained in results.items():
        costs, found = trained.history.cost, trained.network.evaluate(X, Y)
        rows.append([
            name, f"{costs[0]:.4f}", f"{costs[-1]:.4f}", f"{found['accuracy']:.0%}", f"{trained.after} of {UNITS[1]}",
        ])  # fmt: skip
    page.table(rows)
    page.answer(
        f"Only He learns the flower. One half for everything costs log 2 = {np.log(2):.4f}, and that is where zero and "
        "0.01 stay. Weights of 3 multiply from layer to layer: the first cost is enormous, and the first steps "
        f"throw the units about: {off_units(results['normal times 3'].network, X)} of {sum(UNITS[1:-1])} hidden "
        "units end off, at z < 0 for every example, where ReLU is flat (from He: "
        f"{off_units(results['He'].network, X)})."
    )
    _twins(page)
    _small(page)


def _twins(page: Page) -> None:
    page.heading("Equal units stay equal")
    trained = train("constant(0.5)", [2, 4, 1], "tanh", 300)
    page.text("A network 2-4-1 with tanh, all weights 0.5, after 300 steps. The rows of W[1] are the hidden units:")
    page.code(str(trained.network.parameters["W1"]))
    page.text(
        f"It moved (0.5 is gone) and its cost fell from {trained.history.cost[0]:.3f} to "
        f"{trained.history.cost[-1]:.3f}, but the rows are the same to the last bit. Units with equal weights "
        "compute equal a, receive equal dz, and take equal steps, for ever. Four twins are one unit with four "
        "times the say: the network is as strong as 2-1-1."
    )
    moved = moved_from_zero()
    page.text(
        f"From zeros it is worse: {', '.join(moved)} alone moves, even where more examples are 1 than 0, since dW[2] "
        "needs A[1], which is 0, and dZ[1] needs W[2], which is 0. Logistic regression has no hidden units, so "
        "there zeros are fine."
    )


def _small(page: Page) -> None:
    page.heading("Why 0.01 stalls and He does not")
    page.text("The standard deviation of A[l] before training, layer by layer, for the same examples:")
    X, _ = flower()
    rows: list[list[object]] = [["first weights", *(f"A[{l}]" for l in range(1, len(UNITS) - 1))]]
    for name in ("normal times 0.01", "He", "normal times 3"):
        network = Network(UNITS, output="sigmoid", initialization=CHOICES[name], seed=3, kernels=kernels())
        rows.append([name, *(f"{A.std():.2g}" for _, A in network.forward(X)[1][:-1])])
    page.table(rows)
    page.text(
        "Each layer multiplies the signal by about the root of n[l-1] / 2 times the size of a weight: with 0.01 "
        "that is 0.03 after 20 units and 0.02 after 7, and the gradient shrinks the same way going back. He's "
        "factor, the root of 2 / n[l-1], makes the product one."
    )


def draw() -> "Figure":
    """Cost curves of the five, and the boundary of twins beside that of He's units."""
    figure, axes = plots.new_figure(1, 3, 4.4, 3.8)
    results = compare()
    for (name, trained), style in zip(results.items(), ("-", "-", "--", "-", "-"), strict=True):  # two coincide
        axes[0].plot(range(1, EPOCHS + 1), trained.history.cost, style, label=name)
    axes[0].axhline(np.log(2), color="0.6", linewidth=0.8, linestyle=":")
    axes[0].set(xlabel="step", ylabel="cost", ylim=(0, 1), title="cost (dotted: log 2)")
    axes[0].legend(fontsize=8, loc=(0.48, 0.25))
    X, Y = flower()
    for axis, name in zip(axes[1:], ("all equal, 0.5", "He"), strict=True):
        plots.decision_boundary(axis, results[name].network, X, Y, f"first weights: {name}")
    return figure
