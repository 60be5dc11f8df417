"""Examples, first parameters and batches, the same in every process whatever its BLAS: no products in here."""

import numpy as np

__all__ = ["batches", "examples", "parameters"]


def examples(network, dtype, count=None):
    """X (m, n_x), examples as rows, and their classes (m,) int64.

    The class is read off the first inputs, so that there is something to learn and the cost moves.
    """
    rng = np.random.default_rng(1)
    X = rng.standard_normal((count or network.examples, network.units[0])).astype(dtype)
    classes = network.units[-1]
    y = (X[:, 0] > 0) if classes == 1 else X[:, :classes].argmax(axis=1)
    return X, y.astype(np.int64)


def parameters(network, dtype):
    """[W1, b1, ..., WL, bL] with W (n, n_prev) and b (n,): He's initialization, and biases away from ReLU's kink."""
    rng = np.random.default_rng(2)
    found = []
    for n_prev, n in zip(network.units, network.units[1:], strict=False):
        found.append((rng.standard_normal((n, n_prev)) * np.sqrt(2 / n_prev)).astype(dtype))
        found.append((rng.standard_normal(n) * 0.1).astype(dtype))
    return found


def batches(network, count):
    """The examples of the first `count` batches, or for a full batch None, all in order, so many times."""
    if network.full:
        return [None] * count
    rng = np.random.default_rng(3)
    epochs = -(-count // network.steps)
    order = np.concatenate([rng.permutation(network.examples) for _ in range(epochs)])
    return list(order[: count * network.batch].reshape(count, network.batch))
