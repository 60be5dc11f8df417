"""Depth: shallow against deep at equal numbers of parameters on nested regions; more data and larger networks."""

import functools
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .. import plots
from ..network import Network
from ..optimizers import Adam
from ..schedules import Cosine
from .page import Exercise, Page, kernels
from .planar import circles, moons, rings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["EXERCISE", "SHAPES", "Result", "draw", "learning_curve", "parity", "run", "train"]

# Hidden layers of about 240 parameters each, from one wide one to four narrow ones.
SHAPES = {
    "1 hidden layer": [60],
    "2 hidden layers": [13, 13],
    "3 hidden layers": [10, 10, 9],
    "4 hidden layers": [8, 8, 8, 8],
}
SIZES = {"tiny": [4], "middle": [13, 13], "large": [40, 40, 40]}
SEEDS = (0, 1, 2)
# A learning rate that falls to zero settles in few steps, so that NumPy needs no minutes either.
EPOCHS, BATCH_SIZE, LEARNING_RATE = 150, 100, 0.04
AMOUNTS = (50, 200, 800, 3200)
# Of every network of the learning curve, whatever the number of examples.
STEPS, CURVE_BATCH_SIZE, CURVE_LEARNING_RATE = 1500, 50, 0.02

EXERCISE = Exercise(
    function="layer_forward",
    task="Depth is this function called again and again. Write one layer: Z = W A_prev + b and A = g(Z), where "
    "`activation` is the name of g: 'linear', 'relu', 'tanh' or 'sigmoid' at least. Return both.",
    start="""
    def layer_forward(W, A_prev, b, activation):
        ...
        return Z, A
    """,
)


class Result(NamedTuple):
    """A trained network, and its share of right answers on the examples it saw and on others."""

    network: Network
    seen: float
    unseen: float


def train(hidden: Sequence[int], activation: str = "tanh", seed: int = 0, m: int = 1000) -> Result:
    """Train on `m` points of five nested rings, for `EPOCHS` epochs; asked again, the same result is returned."""
    return _train(tuple(hidden), activation, seed, m)


@functools.cache
def _train(hidden: tuple[int, ...], activation: str, seed: int, m: int) -> Result:
    X, Y = rings(m, seed=seed)
    network = Network([2, *hidden, 1], activation, "sigmoid", seed=seed, kernels=kernels())
    network.fit(X, Y, EPOCHS, BATCH_SIZE, Adam(Cosine(LEARNING_RATE, EPOCHS)), verbose=False)
    return _result(network, X, Y, seed)


def learning_curve(hidden: Sequence[int], amounts: Sequence[int] = AMOUNTS, seed: int = 0) -> list[Result]:
    """Results for growing numbers of examples, after equally many steps, so that only the examples differ."""
    return [_learn(tuple(hidden), m, seed) for m in amounts]


@functools.cache
def _learn(hidden: tuple[int, ...], m: int, seed: int) -> Result:
    X, Y = rings(m, seed=seed)
    network = Network([2, *hidden, 1], "relu", "sigmoid", seed=seed, kernels=kernels())
    epochs = max(1, STEPS // -(-m // CURVE_BATCH_SIZE))
    network.fit(X, Y, epochs, CURVE_BATCH_SIZE, Adam(Cosine(CURVE_LEARNING_RATE, epochs)), verbose=False)
    return _result(network, X, Y, seed)


def _result(network: Network, X: np.ndarray, Y: np.ndarray, seed: int) -> Result:
    seen, unseen = (network.evaluate(*data)["accuracy"] for data in ((X, Y), rings(4000, seed=1000 + seed)))
    return Result(network, seen, unseen)


def parity(bits: int) -> tuple[int, int]:
    """Units that tell whether the number of ones among `bits` is odd: by a tree of XORs, and in one hidden layer.

    A tree has bits - 1 nodes of three units (two hidden and one output each). One hidden layer whose units look
    for one pattern of bits each needs a unit for each of the 2^(bits-1) odd patterns.
    """
    return 3 * (bits - 1), 2 ** (bits - 1) + 1


def run(page: Page) -> None:
    """Write the lesson."""
    page.heading("Equal size, different depth")
    page.text(
        "A disc is cut into five rings that take turns in two classes: regions nested in regions. Four networks "
        f"with tanh have nearly the same number of parameters and the same training: 1000 examples, {EPOCHS} "
        f"epochs, Adam with a rate that falls to zero. The median of {len(SEEDS)} seeds, on points they have not seen:"
    )
    page.predict("Which is best: one layer of 60 units, two of 13, three of about 10, or four of 8?")
    rows: list[list[object]] = [["", "units", "parameters", "accuracy", "worst", "best"]]
    medians = []
    for name, hidden in SHAPES.items():
        results = [train(hidden, seed=seed) for seed in SEEDS]
        found = [result.unseen for result in results]
        medians.append(statistics.median(found))
        layers, count = results[0].network.architecture.units, results[0].network.architecture.parameter_count
        shown = [f"{share:.1%}" for share in (medians[-1], min(found), max(found))]
        rows.append([name, "-".join(map(str, layers)), count, *shown])
    page.table(rows, left=2)
    page.answer(
        f"From one hidden layer to the best of the deeper ones the accuracy goes from {medians[0]:.0%} to "
        f"{max(medians):.0%} without a parameter more. A second layer can use 'inside this circle' as often as it "
        "likes; a single one has to put every ring together from half planes. More depth is not always more: the "
        "step from one layer to two is the large one, and what follows is small beside it and depends on the seed."
    )
    _parity(page)
    _data(page)


def _parity(page: Page) -> None:
    page.heading("A case that can be counted: parity")
    page.text("Is the number of ones among n bits odd? A tree of XORs against one hidden layer with a unit a pattern:")
    counts = [[n, *parity(n)] for n in (2, 4, 8, 16, 32)]
    page.table([["n", "units of the tree", "units side by side"], *counts], left=0)
    page.text(
        "Only the depth of the tree grows, as the logarithm of n. (That is a statement about this way to build it: "
        "units that may count all bits at once do with about n in one layer.)"
    )


def _data(page: Page) -> None:
    page.heading("More data, larger networks")
    page.predict("Three networks, 50 to 3200 examples, equally many steps: who gains from more examples, who does not?")
    rows: list[list[object]] = [["unseen points right", *(f"m = {m}" for m in AMOUNTS), "50 seen"]]
    curves = {name: learning_curve(hidden) for name, hidden in SIZES.items()}
    for name, results in curves.items():
        layers = "-".join(map(str, results[0].network.architecture.units))
        rows.append([f"{name} {layers}", *(f"{r.unseen:.1%}" for r in results), f"{results[0].seen:.0%}"])
    page.table(rows)
    page.answer(
        "The tiny network stays where it is: it cannot draw the rings, whatever it is shown. The middle one gains "
        "from more examples for a while, the large one to the end. With 50 examples the large one knows those by "
        "heart (last column) and not much else: large networks and much data need each other."
    )


def draw() -> "Figure":
    """Boundaries at equal size, the learning curves, and what a small network makes of moons and circles."""
    figure, axes = plots.new_figure(2, 3, 4.2, 3.6)
    X, Y = rings(1000)
    for axis, (name, hidden) in zip(axes[0], list(SHAPES.items())[:3], strict=True):
        result = train(hidden)
        title = f"{name}, {result.network.architecture.parameter_count} parameters: {result.unseen:.0%}"
        plots.decision_boundary(axis, result.network, X, Y, title)
    for name, hidden in SIZES.items():
        axes[1][0].plot(AMOUNTS, [result.unseen for result in learning_curve(hidden)], "o-", label=f"{name} {hidden}")
    axes[1][0].set(xscale="log", xlabel="examples", ylabel="accuracy", title="rings, on unseen points")
    axes[1][0].grid(alpha=0.3)
    axes[1][0].legend(fontsize=8)
    for axis, (name, data) in zip(axes[1][1:], {"moons": moons(), "circles": circles()}.items(), strict=True):
        network = Network([2, 4, 1], "tanh", "sigmoid", seed=0, kernels=kernels())
        network.fit(*data, 2 * EPOCHS, CURVE_BATCH_SIZE, Adam(LEARNING_RATE / 2), verbose=False)
        plots.decision_boundary(axis, network, *data, f"{name}: four tanh units are enough")
    return figure
