"""The demonstration: networks trained on real data, and one epoch of it timed in each kernel set."""

import os
import statistics
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from . import datasets, info, plots, textplots
from .datasets import Dataset
from .history import History
from .kernelsets import compile_seconds
from .network import Network
from .optimizers import SGD

__all__ = ["RECIPES", "Recipe", "Timing", "agreement", "demonstrate", "fit", "new_network", "time_epoch"]

SETS = {"loops": "loops", "vectorized": "NumPy", "jit": "JIT"}
PATIENCE, PART = 10.0, 5.0  # seconds: an epoch in loops that would take longer is timed on a part of it
RUNS, RUN_SECONDS = (3, 15), 0.6  # so many runs of an epoch, for about so long


class Recipe(NamedTuple):
    """How the demonstration trains on one of the data sets."""

    hidden: tuple[int, ...]
    activation: str
    output: str
    learning_rate: float
    batch_size: int
    epochs: int


RECIPES = {
    "digits": Recipe((100,), "relu", "softmax", 0.05, 32, 30),
    "cancer": Recipe((16, 8), "relu", "sigmoid", 0.005, 32, 40),
    "diabetes": Recipe((16,), "tanh", "linear", 0.002, 32, 40),
}


class Timing(NamedTuple):
    """Seconds of each run, how many examples a run passed over, and the network after one."""

    seconds: list[float]
    examples: int
    network: Network

    def epoch(self, m: int) -> float:
        """Seconds of an epoch of `m` examples: the median, or what it comes to from a part."""
        return statistics.median(self.seconds) * m / self.examples


def demonstrate(names: Sequence[str], epochs: int | None, picture: str | None, quick: bool) -> bool:
    """Train, draw, time and compare for each data set; print it all.

    Parameters
    ----------
    names : sequence of str
        Of `datasets.DATASETS`.
    epochs : int or None
        Instead of each recipe's own.
    picture : str or None
        The file for a picture; None draws none.
    quick : bool
        Fewer epochs, and the loops timed on a part.

    Returns
    -------
    bool
        Whether the kernel sets agreed to rounding on every data set.
    """
    print(info.headline())
    results = []
    agreed = True
    for name in names:
        recipe = RECIPES[name]
        recipe = recipe._replace(epochs=epochs or (min(recipe.epochs, 8) if quick else recipe.epochs))
        data = datasets.load(name)
        print(f"\n── {data.description} " + "─" * max(0, 75 - len(data.description)))
        compiled = compile_seconds()
        history = _train(data, recipe)
        timings = _time_all(data, recipe, 0.5 if quick else PATIENCE)
        agreed &= _report(data, recipe, timings, compile_seconds() - compiled)
        results.append((data, history, timings))
    if picture is not None:
        _draw(results, picture)
    return agreed


def new_network(data: Dataset, recipe: Recipe, kernels: str) -> Network:
    outputs = len(data.labels) if recipe.output == "softmax" else 1
    units = [len(data.X), *recipe.hidden, outputs]
    return Network(units, recipe.activation, recipe.output, seed=0, kernels=kernels)


def fit(network: Network, X: np.ndarray, Y: np.ndarray, recipe: Recipe, epochs: int = 1, **more: Any) -> History:
    optimizer = SGD(recipe.learning_rate, momentum=0.9)
    size = min(recipe.batch_size, X.shape[1])
    return network.fit(X, Y, epochs=epochs, batch_size=size, optimizer=optimizer, **more)


def _train(data: Dataset, recipe: Recipe) -> History:
    network = new_network(data, recipe, "jit")
    layers = "-".join(map(str, network.architecture.units))
    print(
        f"{data.X.shape[1]} examples to train on, {data.X_test.shape[1]} held out; network {layers}, "
        f"{recipe.activation},\n{recipe.output}; batches of {recipe.batch_size}, momentum, "
        f"{recipe.epochs} epochs\n"
    )
    held_out = (data.X_test, data.Y_test)
    history = fit(network, data.X, data.Y, recipe, recipe.epochs, validation_data=held_out)
    print(textplots.curves({"cost": history.cost, "held-out cost": history.validation_cost}))
    found = network.evaluate(*held_out)
    if data.labels:
        base = np.bincount(data.Y_test).max() / len(data.Y_test)
        print(f"\nheld-out accuracy {found['accuracy']:.1%}; the most frequent answer alone: {base:.1%}")
    else:
        base = 1 - (data.Y_test**2).sum() / ((data.Y_test - data.Y_test.mean()) ** 2).sum()
        print(
            f"\nheld-out r2 {found['r2']:.3f}, mean error {found['mean_absolute_error'] * data.scale:.3g}; "
            f"the mean alone: r2 {base:.3f}, error {np.abs(data.Y_test).mean() * data.scale:.3g}"
        )
    return history


def time_epoch(data: Dataset, recipe: Recipe, kernels: str, examples: int) -> Timing:
    """Time one epoch over the first `examples`, from the same start each time; compile time is not in it."""
    X, Y = data.X[:, :examples], data.Y[:examples]
    start = new_network(data, recipe, kernels)
    fit(start.copy(), X[:, : 2 * recipe.batch_size], Y[: 2 * recipe.batch_size], recipe, verbose=False)
    seconds: list[float] = []
    while len(seconds) < RUNS[0] or (len(seconds) < RUNS[1] and sum(seconds) < RUN_SECONDS):
        network = start.copy()
        before = time.perf_counter()
        fit(network, X, Y, recipe, verbose=False)
        seconds.append(time.perf_counter() - before)
        if seconds[0] > RUN_SECONDS:
            break
    return Timing(seconds, examples, network)


def _time_all(data: Dataset, recipe: Recipe, patience: float) -> dict[str, Timing]:
    m = data.X.shape[1]
    timings = {}
    part = min(m, 2 * recipe.batch_size)
    estimate = time_epoch(data, recipe, "loops", part).epoch(m)
    whole_batches = int(m * min(patience, PART) / estimate) // recipe.batch_size * recipe.batch_size
    part = m if estimate <= patience else max(part, whole_batches)
    timings["loops"] = time_epoch(data, recipe, "loops", part)
    for kernels in ("vectorized", "jit"):
        timings[kernels] = time_epoch(data, recipe, kernels, m)
    return timings


def agreement(data: Dataset, recipe: Recipe, timings: dict[str, Timing]) -> tuple[float, float]:
    """The largest difference between parameters after the same epoch, and what rounding allows.

    Each step adds errors of up to eps times the length of its longest sum, relative to the largest parameter.
    """
    examples = min(timing.examples for timing in timings.values())
    networks = []
    for kernels, timing in timings.items():
        network = timing.network
        if timing.examples != examples:
            network = new_network(data, recipe, kernels)
            fit(network, data.X[:, :examples], data.Y[:examples], recipe, verbose=False)
        networks.append(network)
    pairs = [
        (np.abs(a - b).max(), np.abs(a).max())
        for other in networks[1:]
        for a, b in zip(networks[0].parameters.values(), other.parameters.values(), strict=True)
    ]
    steps = -(-examples // recipe.batch_size)
    longest = max(*networks[0].architecture.units, recipe.batch_size)
    eps = float(np.finfo(networks[0].architecture.dtype).eps)
    largest = max(float(size) for _, size in pairs)
    return max(float(difference) for difference, _ in pairs), eps * steps * longest * largest


def _report(data: Dataset, recipe: Recipe, timings: dict[str, Timing], compiled: float) -> bool:
    m = data.X.shape[1]
    slowest = timings[next(iter(timings))].epoch(m)
    print("\none epoch      median      fastest - slowest    runs   times as fast")
    for kernels, timing in timings.items():
        seconds = [s * m / timing.examples for s in timing.seconds]
        mark = "" if timing.examples == m else " *"
        median = statistics.median(seconds)
        spread = f"{textplots.duration(min(seconds))} - {textplots.duration(max(seconds))}"
        faster = slowest / median
        shown = f"{faster:,.0f}" if faster >= 10 else f"{faster:.1f}"
        print(
            f"{SETS[kernels]:<10}{textplots.duration(median) + mark:>12}   {spread:>20}   "
            f"{len(seconds):>4}   {shown:>10}"
        )
    partial = [timing.examples for timing in timings.values() if timing.examples != m]
    if partial:
        print(f"* measured on {partial[0]} of {m} examples")
    if compiled:
        print(f"compiling took {compiled:.1f} s, once, and is not in these times")
    else:
        print("nothing had to be compiled: the kernels came from the cache")
    difference, allowed = agreement(data, recipe, timings)
    verdict = "agree to rounding" if difference <= allowed else "DO NOT AGREE"
    print(f"afterwards the weights {verdict}: differences up to {difference:.0e}, allowed {allowed:.0e}")
    return difference <= allowed


def _draw(results: list[tuple[Dataset, History, dict[str, Timing]]], picture: str) -> None:
    try:
        figure, axes = plots.new_figure(len(results), 2, 5.5, 3.2)
    except ImportError as error:
        print(f"\nno picture: {error}")
        return
    for (data, history, timings), (left, right) in zip(results, np.reshape(axes, (-1, 2)), strict=True):
        m = data.X.shape[1]
        plots.cost_curve(left, {"training": history.cost, "held out": history.validation_cost}, data.name)
        seconds = {SETS[kernels]: timing.epoch(m) for kernels, timing in timings.items()}
        texts = {
            SETS[kernels]: textplots.duration(timing.epoch(m)) + ("" if timing.examples == m else " (from a part)")
            for kernels, timing in timings.items()
        }
        plots.bars(right, seconds, texts, f"{data.name}: one epoch")
    plots.save(figure, picture)
    print(f"\npicture saved: {os.path.abspath(picture)}")
