"""Passes over the examples in blocks of columns, so that memory stays bounded however many there are.

Every function takes a completed kernel set, the parameters [W1, b1, ..., WL, bL], their architecture, and X
of shape (n_x, m) as `checks.as_inputs` leaves it: a block is cast, checked and made contiguous when its turn
comes, so that X may be a memory map larger than memory. The width of a block depends on the architecture
only, and so does the order of sums.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar

import numpy as np

from jitprop_kernels import composition
from jitprop_kernels.doors import plain

from .architecture import Architecture
from .checks import Array, cast

__all__ = ["evaluate", "gradients", "mean_loss", "outputs", "penalty", "predictions", "total_weight"]

BLOCK_ELEMENTS = 2**20  # of all activations of a block together: 4 MB in float32
BLOCK_COLUMNS = (64, 2**16)  # the narrowest and the widest block

P = ParamSpec("P")
R = TypeVar("R")


def _unwarned(function: Callable[P, R]) -> Callable[P, R]:
    """A network that diverged overflows: what comes out tells, as with compiled kernels, which never warn."""

    @functools.wraps(function)
    def run(*arguments: P.args, **options: P.kwargs) -> R:
        # Made for each call: one errstate used as a decorator, threads would share until NumPy 2.
        with np.errstate(over="ignore", invalid="ignore"):
            return function(*arguments, **options)

    return run


def block_columns(architecture: Architecture) -> int:
    """The number of columns that are processed together."""
    narrowest, widest = BLOCK_COLUMNS
    fitting = BLOCK_ELEMENTS // sum(architecture.units) // narrowest * narrowest
    return min(max(fitting, narrowest), widest)


def blocks(X: Array, architecture: Architecture) -> Iterator[tuple[slice, Array]]:
    """Slices of columns and, for each, the block of X in the network's dtype, checked to be finite; its rows or
    its columns are contiguous."""
    m, width = X.shape[1], block_columns(architecture)
    for start in range(0, m, width):
        columns = slice(start, min(start + width, m))
        yield columns, cast("X", X[:, columns], architecture.dtype, start)


def _weighted_blocks(
    X: Array, Y: Array, sample_weight: Array | None, architecture: Architecture
) -> Iterator[tuple[Array, Array, Array | None, float]]:
    """Blocks of X, of Y and of the weights, and the sum of these; blocks in which no example counts are left
    out."""
    for columns, block in blocks(X, architecture):
        weight = None if sample_weight is None else sample_weight[:, columns]
        total = total_weight(block.shape[1], weight)
        if total > 0:
            yield block, np.ascontiguousarray(Y[:, columns]), weight, total


def total_weight(m: int, sample_weight: Array | None) -> float:
    """The sum of the weights in float64; without weights each of the `m` examples counts one."""
    return float(m) if sample_weight is None else float(sample_weight.sum(dtype=np.float64))


def penalty(parameters: list[Array]) -> float:
    """The sum of the squared weights, biases left out, in float64."""
    return sum(float(np.einsum("ij,ij->", W, W, dtype=np.float64)) for W in parameters[::2])


def outputs(kernels: Any, parameters: list[Array], architecture: Architecture, X: Array) -> Array:
    """A[L], (n[L], m)."""
    # Compiled kernels never warn, and to say so takes as long as an example does.
    if getattr(kernels, "__name__", None) != "jitprop_kernels.jit":
        return _unwarned(_outputs)(kernels, parameters, architecture, X)
    if X.shape[1] > BLOCK_COLUMNS[0]:
        return _outputs(kernels, parameters, architecture, X)
    x = cast("X", X, architecture.dtype)
    return plain(kernels.network_forward)(parameters, x, architecture.activations, architecture.output)


def _outputs(kernels: Any, parameters: list[Array], architecture: Architecture, X: Array) -> Array:
    parts = [
        plain(kernels.network_forward)(parameters, block, architecture.activations, architecture.output)
        for _, block in blocks(X, architecture)
    ]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def predictions(A: Array, architecture: Architecture) -> Array:
    """What the outputs A mean: labels 0 or 1, class indices of shape (m,), or values in the units of Y."""
    if architecture.output == "sigmoid":
        return (A > 0.5).astype(np.int64)
    if architecture.output == "softmax":
        return A.argmax(axis=0)
    if architecture.loss == "poisson":  # the output is the logarithm of the expected count
        with np.errstate(over="ignore"):
            return np.exp(A)
    return A


@_unwarned
def mean_loss(
    kernels: Any,
    parameters: list[Array],
    architecture: Architecture,
    X: Array,
    Y: Array,
    sample_weight: Array | None,
) -> float:
    """sum(w loss) / sum(w), without the L2 term, summed in float64."""
    sums = 0.0
    for block, y, weight, total in _weighted_blocks(X, Y, sample_weight, architecture):
        Z = plain(kernels.network_forward)(parameters, block, architecture.activations)
        sums += total * kernels.output_head(Z, y, architecture.loss, architecture.output, weight)[0]
    return sums / total_weight(X.shape[1], sample_weight)


@_unwarned
def gradients(
    kernels: Any,
    parameters: list[Array],
    architecture: Architecture,
    X: Array,
    Y: Array,
    sample_weight: Array | None,
) -> list[Array]:
    """[dW1, db1, ..., dWL, dbL] of the cost with its L2 term, without dropout.

    The kernels give means over the columns of a block; the mean over all is that of the blocks by their
    weights.
    """
    whole = total_weight(X.shape[1], sample_weight)
    sums = [np.zeros(parameter.shape) for parameter in parameters]
    activations, output, loss = architecture.activations, architecture.output, architecture.loss
    for block, y, weight, total in _weighted_blocks(X, Y, sample_weight, architecture):
        block = np.ascontiguousarray(block)
        caches, Z = composition.forward(kernels, parameters, block, activations)
        _, dZ = kernels.output_head(Z, y, loss, output, weight)
        found = composition.backward(kernels, parameters, block, caches, dZ, activations)
        share = total / whole
        for sum_, gradient in zip(sums, found, strict=True):
            sum_ += share * gradient.astype(np.float64)
    if architecture.l2:
        for sum_, W in zip(sums[::2], parameters[::2], strict=True):
            sum_ += architecture.l2 / whole * W.astype(np.float64)
    return [sum_.astype(architecture.dtype) for sum_ in sums]


@_unwarned
def evaluate(
    kernels: Any,
    parameters: list[Array],
    architecture: Architecture,
    X: Array,
    Y: Array,
    sample_weight: Array | None,
) -> dict[str, float]:
    """The mean loss and the metrics that suit the output; see `jitprop.Network.evaluate`."""
    classifies = architecture.output in ("sigmoid", "softmax")
    loss_sum = correct = absolute = 0.0
    squares = np.zeros(architecture.units[-1])
    output = getattr(kernels, architecture.output)
    for block, y, weight, total in _weighted_blocks(X, Y, sample_weight, architecture):
        Z = plain(kernels.network_forward)(parameters, block, architecture.activations)
        loss_sum += total * kernels.output_head(Z, y, architecture.loss, architecture.output, weight)[0]
        found = predictions(output(Z), architecture)
        w = np.ones(y.shape[1]) if weight is None else weight[0].astype(np.float64)
        if classifies:
            correct += float(_right(found, y, architecture) @ w)
        else:
            errors = found.astype(np.float64) - y
            absolute += float(np.abs(errors).mean(axis=0) @ w)
            squares += errors**2 @ w
    whole = total_weight(X.shape[1], sample_weight)
    if classifies:
        return {"cost": loss_sum / whole, "accuracy": correct / whole}
    return {
        "cost": loss_sum / whole,
        "r2": _r2(squares, Y, sample_weight),
        "mean_absolute_error": absolute / whole,
    }


def _right(found: Array, y: Array, architecture: Architecture) -> Array:
    """For each example the share of its labels that were found: for one label 0 or 1."""
    if architecture.output == "sigmoid":
        return np.asarray((found == (y > 0.5)).mean(axis=0))
    classes = y[0] if y.dtype == np.int64 else y.argmax(axis=0)
    return np.asarray(found == classes, dtype=np.float64)


def _r2(squares: Array, Y: Array, sample_weight: Array | None) -> float:
    """1 - sum w (y - a)^2 / sum w (y - mean)^2, averaged over the outputs.

    A constant output has no variation to explain: it counts 1 when it is met exactly, else 0, as in
    scikit-learn.
    """
    scores = []
    w = np.ones(Y.shape[1]) if sample_weight is None else sample_weight[0].astype(np.float64)
    counted = w > 0
    for square, row in zip(squares, Y, strict=True):
        if np.ptp(row[counted]) == 0:
            scores.append(float(square == 0))
            continue
        row = row.astype(np.float64)
        scores.append(1 - float(square / (w @ (row - w @ row / w.sum()) ** 2)))
    return sum(scores) / len(scores)
