"""Images: pictures into columns, scaled and standardized; cat or not; house prices with one ReLU neuron."""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .. import plots
from ..history import History
from ..loop import DivergenceError
from ..network import Network
from ..optimizers import SGD
from .page import Exercise, Page, kernels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "EXERCISE", "Standardization", "as_text", "draw", "houses", "pictures", "run", "scale", "train_cats", "train_house",
    "unroll",
]  # fmt: skip

SIZE, TRAINING, TEST = 24, 209, 200
HIDDEN = [20, 7, 5]
LEARNING_RATE, EPOCHS = 0.05, 300

EXERCISE = Exercise(
    function="sigmoid",
    task="Pixels that nobody scaled make |z| large, and e^1000 is infinite. Write the sigmoid for every element of "
    "Z (n, m) so that no element overflows, for z = 1000 as for z = -1000, and without a warning.",
    start="""
    import numpy as np

    def sigmoid(Z):
        ...
    """,
)


def pictures(m: int, seed: int, size: int = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """Pictures made here: a head with two pointed ears (1), or with round ears or none (0), in any two colours.

    Returns
    -------
    images : ndarray of uint8, shape (m, size, size, 3)
        Height, width, channel.
    Y : ndarray, shape (1, m)
        A third are cats.
    """
    generator = np.random.default_rng(seed)
    images = np.empty((m, size, size, 3), np.uint8)
    kinds = np.arange(m) % 3
    generator.shuffle(kinds)
    for image, kind in zip(images, kinds, strict=True):
        background, colour = generator.integers(0, 256, (2, 3))
        if abs(int(background.sum()) - int(colour.sum())) < 150:  # nobody could see the head
            background, colour = background // 3, 255 - colour // 3
        inside = _head(int(kind), size, generator)[:, :, np.newaxis]
        noisy = np.where(inside, colour, background) + generator.normal(0.0, 12.0, (size, size, 3))
        image[:] = np.clip(noisy, 0, 255)
    return images, (kinds == 0).reshape(1, m).astype(np.float32)


def _head(kind: int, size: int, generator: np.random.Generator) -> np.ndarray:
    """Which pixels belong to the head: kind 0 has pointed ears, 1 has round ones, 2 none."""
    row, column = np.mgrid[0:size, 0:size] / size
    y, x = 0.64 + generator.uniform(-0.04, 0.04), 0.5 + generator.uniform(-0.05, 0.05)
    radius = generator.uniform(0.24, 0.28)
    inside = (row - y) ** 2 + (column - x) ** 2 < radius**2
    for side in (-1, 1):
        if kind == 0:
            foot = y - 0.45 * radius
            above = (foot - row) / (1.3 * radius)  # 0 at the foot of the ear, 1 at its point
            inside |= (above > 0) & (np.abs(column - x - side * 0.6 * radius) < 0.42 * radius * (1 - above))
        elif kind == 1:
            inside |= (row - y + 0.8 * radius) ** 2 + (column - x - side * 0.85 * radius) ** 2 < (0.42 * radius) ** 2
    return inside


def as_text(image: np.ndarray) -> str:
    """A picture as characters, every second row: # where a pixel is unlike the corner."""
    unlike = np.abs(image.astype(int) - image[0, 0].astype(int)).sum(axis=2) > 150
    return "\n".join("".join("#" if pixel else "." for pixel in row) for row in unlike[::2])


def unroll(images: np.ndarray) -> np.ndarray:
    """Pictures (m, height, width, 3) as columns (3 height width, m): all of red, then green, then blue."""
    if images.ndim != 4 or images.shape[3] != 3:
        raise ValueError(f"images must be (m, height, width, 3), got {images.shape}")
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2).reshape(len(images), -1).T)


def scale(X: np.ndarray) -> np.ndarray:
    """Bytes 0 to 255 as numbers 0 to 1, float32."""
    return X.astype(np.float32) / np.float32(255)


class Standardization(NamedTuple):
    """The mean and the deviation of each row, (n_x, 1), from the training examples only."""

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, X: np.ndarray) -> "Standardization":
        """Measure the rows of X; a row that never changes gets the deviation 1."""
        deviation = X.std(axis=1, keepdims=True)
        return cls(X.mean(axis=1, keepdims=True), np.where(deviation == 0, 1, deviation))

    def __call__(self, X: np.ndarray) -> np.ndarray:
        return np.asarray((X - self.mean) / self.deviation, dtype=X.dtype)


class Cats(NamedTuple):
    """A trained network, its costs (None where it diverged), and shares of right answers."""

    network: Network
    history: History | None
    seen: float
    unseen: float


def prepared(how: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """X, Y, X_test, Y_test with "bytes" as they are, "scaled", or "standardized" pixels."""
    (images, Y), (others, Y_test) = pictures(TRAINING, seed), pictures(TEST, seed + 1)
    X, X_test = unroll(images), unroll(others)
    if how == "bytes":
        return X.astype(np.float32), Y, X_test.astype(np.float32), Y_test
    X, X_test = scale(X), scale(X_test)
    if how == "standardized":
        standardize = Standardization.of(X)
        X, X_test = standardize(X), standardize(X_test)
    return X, Y, X_test, Y_test


def train_cats(how: str = "standardized", hidden: Sequence[int] = HIDDEN, epochs: int = EPOCHS) -> Cats:
    """The course's network on pictures prepared in one of the three ways: gradient descent on all at once.

    Asked again, the same result is returned.
    """
    return _train_cats(how, tuple(hidden), epochs)


@functools.cache
def _train_cats(how: str, hidden: tuple[int, ...], epochs: int) -> Cats:
    X, Y, X_test, Y_test = prepared(how)
    network = Network([len(X), *hidden, 1], "relu", "sigmoid", seed=1, kernels=kernels())
    history = None
    try:
        history = network.fit(X, Y, epochs, optimizer=SGD(LEARNING_RATE), verbose=False)
    except DivergenceError:  # the parameters are the last finite ones
        pass
    return Cats(network, history, network.evaluate(X, Y)["accuracy"], network.evaluate(X_test, Y_test)["accuracy"])


def houses(m: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Sizes in 100 square metres (1, m) and prices in 100,000 (1, m), below a certain size worth nothing."""
    generator = np.random.default_rng(seed)
    size = generator.uniform(0.2, 3.0, (1, m))
    price = np.maximum(0, 2.0 * (size - 0.6) + generator.normal(0.0, 0.25, (1, m)))
    return size.astype(np.float32), price.astype(np.float32)


@functools.cache
def train_house(output: str = "relu", epochs: int = 2000) -> tuple[Network, History]:
    """One neuron, size to price, squared error; asked again, the same network is returned."""
    X, Y = houses()
    network = Network([1, 1], None, output, "squared_error", initialization={"W1": [[1.0]], "b1": [[0.0]]}, seed=0,
                      kernels=kernels())  # fmt: skip
    return network, network.fit(X, Y, epochs, optimizer=SGD(0.05), verbose=False)


def run(page: Page) -> None:
    """Write the lesson."""
    _columns(page)
    _units(page)
    _houses(page)


def _columns(page: Page) -> None:
    page.heading("A picture is a column")
    tiny = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3)
    page.text("A picture of 2 x 2 pixels, each (red, green, blue), as an array (height, width, 3):")
    page.code("\n".join("  ".join(str(tuple(map(int, pixel))) for pixel in row) for row in tiny[0]))
    page.predict(
        "Unrolled channel by channel, all of red first, what are the twelve numbers of the column? And what does "
        "image.reshape(-1, 1) give instead?"
    )
    page.code(
        f"image.transpose(2, 0, 1).reshape(-1, 1)   {' '.join(map(str, unroll(tiny)[:, 0]))}\n"
        f"image.reshape(-1, 1)                      {' '.join(map(str, tiny.reshape(-1)))}"
    )
    images, Y = pictures(TRAINING, 0)
    page.answer(
        "Red is 0 3 6 9. Without the transpose the colours of a pixel stay together. Either will do for a network, "
        "so long as every picture is unrolled in the same way. What will not do: images.reshape(-1, m) for an "
        "array (m, height, width, 3), which has the right shape and mixes the pictures. Unroll each to a row, then "
        "transpose."
    )
    page.text(
        f"{TRAINING} pictures made here, {SIZE} x {SIZE} x 3: X has the shape {unroll(images).shape}, Y {Y.shape}. "
        f"A cat is a head with two pointed ears; the others have round ears or none. {int(Y.sum())} are cats, so "
        f"who always says 'no cat' is right in {1 - Y.mean():.0%}. A cat, and what is none:"
    )
    shown = [as_text(images[np.flatnonzero(Y[0] == label)[0]]).splitlines() for label in (1, 0)]
    page.code("\n".join(f"{cat}      {other}" for cat, other in zip(*shown, strict=True)))


def _units(page: Page) -> None:
    page.heading("Bytes, fractions, standard units")
    layers = "-".join(map(str, [3 * SIZE * SIZE, *HIDDEN, 1]))
    page.predict(
        f"The course's network {layers}, {EPOCHS} steps: on bytes 0 to 255 as they are, on bytes / 255, and with "
        "each row also brought to mean 0 and deviation 1. Which learns?"
    )
    rows: list[list[object]] = [["pixels", "first cost", "last cost", "seen", "new"]]
    found = {how: train_cats(how) for how in ("bytes", "scaled", "standardized")}
    found["standardized, no hidden layer"] = train_cats(hidden=[])
    for how, cats in found.items():
        costs = ["diverged", "-"] if cats.history is None else [f"{cats.history.cost[i]:.4f}" for i in (0, -1)]
        rows.append([how, *costs, f"{cats.seen:.0%}", f"{cats.unseen:.0%}"])
    page.table(rows)
    page.answer(
        "Bytes make z, and with it the first steps, far too large: what is left says the base rate. Fractions train, "
        "in jumps: all inputs are positive, so the steps zigzag. Standard units are quickest. Mean and deviation "
        "come from the training pictures and are used unchanged on new ones. New pictures are harder than seen ones: "
        f"{TRAINING} are few for {3 * SIZE * SIZE} inputs. Logistic regression, the last line, cannot know an ear "
        "whatever its colour."
    )


def _houses(page: Page) -> None:
    page.heading("House prices with one ReLU neuron")
    page.text("Input: the size in 100 square metres. Target: the price in 100,000. Small sheds are worth nothing.")
    rows: list[list[object]] = [["output", "w", "b", "cost", "0.3", "1", "2"]]
    for output in ("linear", "relu"):
        network, history = train_house(output)
        w, b = (float(array[0, 0]) for array in network.parameters.values())
        prices = network.predict([[0.3, 1.0, 2.0]])[0]
        rows.append([output, f"{w:.2f}", f"{b:.2f}", f"{history.cost[-1]:.4f}", *(f"{price:.2f}" for price in prices)])
    page.table(rows)
    page.text(
        "A straight line pays people to take a shed of 30 square metres. The ReLU neuron max(0, w x + b) cannot: its "
        "price is zero there, the bend found by itself, and the line fits better where houses do have a price."
    )


def draw() -> "Figure":
    """Six pictures, the cost curves for three kinds of pixels, and the prices of houses."""
    figure, grid = plots.new_figure(2, 4, 3.4, 3.0)
    images, Y = pictures(TRAINING, 0)
    cats, others = np.flatnonzero(Y[0] == 1)[:3], np.flatnonzero(Y[0] == 0)[:3]
    for axis, index in zip((*grid[0, :3], *grid[1, :3]), (*cats, *others), strict=True):
        axis.imshow(images[index])
        axis.set(title="cat (1)" if Y[0, index] else "not a cat (0)", xticks=[], yticks=[])
    for how in ("bytes", "scaled", "standardized"):
        history = train_cats(how).history
        if history is not None:
            grid[0, 3].plot(range(1, EPOCHS + 1), history.cost, label=how)
    grid[0, 3].set(title="cost", xlabel="step", ylim=(0, 1))
    grid[0, 3].legend(fontsize=8)
    X, prices = houses()
    grid[1, 3].plot(X[0], prices[0], ".", color="0.5")
    sizes = np.linspace(0, 3, 200, dtype=np.float32).reshape(1, -1)
    for output, style in (("linear", "--"), ("relu", "-")):
        grid[1, 3].plot(sizes[0], train_house(output)[0].predict(sizes)[0], style, label=output)
    grid[1, 3].set(title="house prices", xlabel="100 square metres", ylabel="100,000")
    grid[1, 3].legend(fontsize=8)
    return figure
