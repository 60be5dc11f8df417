"""The one table of cases: shapes that are awkward on purpose, data for them, and the sets they are run on.

Sizes are 1, primes, and one off each side of the edges of tiles and panels (14, 16, 32), with sums much
longer than the result is wide and the reverse. Loops must be able to do them: at most some ten thousand
products each.
"""

import zlib
from typing import NamedTuple

import numpy as np

from jitprop_kernels.contract import ACTIVATIONS, OUTPUTS

SETS = ("loops", "vectorized", "jit")
DTYPES = ("float32", "float64")


class Affine(NamedTuple):
    """W is (n, n_prev), A_prev (n_prev, m); if `padded`, rows lie in wider ones, as in a network."""

    n: int
    n_prev: int
    m: int
    padded: bool = False

    def __str__(self):
        return f"{self.n}x{self.n_prev}-on-{self.m}" + ("-padded" if self.padded else "")


AFFINE = (
    Affine(1, 1, 1),
    Affine(1, 1, 17),
    Affine(1, 7, 1),
    Affine(5, 1, 1),
    Affine(2, 3, 4),
    Affine(13, 14, 15),
    Affine(14, 16, 32),
    Affine(15, 17, 33, padded=True),
    Affine(16, 31, 31),
    Affine(29, 2, 47),
    Affine(33, 1, 16),
    Affine(1, 499, 3, padded=True),
    Affine(3, 211, 31),
    Affine(97, 2, 5),
    Affine(2, 5, 163, padded=True),
    Affine(27, 28, 13),
    Affine(31, 33, 1),
)

# For kernels that work on single elements, or on columns.
ELEMENTS = ((1, 1), (1, 33), (3, 17), (13, 1), (15, 16), (31, 5))

# Where functions are steep, flat, at a kink, about to overflow, or a branch of an approximation begins.
LOGITS = np.array(
    [
        0.0,
        -0.0,
        1e-30,
        -1e-30,
        1e-4,
        -1e-4,
        0.3,
        -0.3,
        0.66,
        -0.67,
        1.0,
        -1.0,
        3.0,
        -3.0,
        5.6,
        -5.7,
        9.0,
        -9.0,
    ]
    + [17.0, -17.0, 30.0, -30.0, 60.0, -60.0, 88.0, -89.0, 104.0, -104.0, 710.0, -746.0, 1e4, -1e4]
).reshape(4, 8)

# Every activation, those with a parameter also with one of the user's.
SPELLINGS = (*ACTIVATIONS, "leaky_relu(0.2)", "leaky_relu(0)", "elu(1.5)")

HEADS = tuple((output, loss) for output, row in OUTPUTS.items() for loss in row.losses)
HEADS_WITH_PARAMETERS = (
    *HEADS,
    ("linear", "huber(0.3)"),
    ("sigmoid", "huber(0.2)"),
    ("linear", "quantile(0.9)"),
)

# Units of the layers, the input first: no hidden layer, one, several; narrow, and wider than a tile.
NETWORKS = ((5, 1), (3, 4, 2), (7, 17, 3), (2, 5, 3, 2), (4, 3, 15, 2, 3))


def rng(*name):
    """A generator that depends on the name of the case only."""
    return np.random.default_rng(zlib.crc32(repr(name).encode()))


def normal(generator, shape, dtype="float64", padded=False):
    """Normal numbers of the dtype, in rows of a wider array if `padded`."""
    array = generator.standard_normal(shape).astype(dtype)
    if not padded:
        return array
    wide = np.full((shape[0], shape[1] + 5), np.nan, dtype)
    wide[:, : shape[1]] = array
    return wide[:, : shape[1]]


def affine(case, dtype):
    """W, A_prev, b and dZ of an affine case."""
    g = rng("affine", case.n, case.n_prev, case.m)
    W = normal(g, (case.n, case.n_prev), dtype, case.padded)
    A_prev = normal(g, (case.n_prev, case.m), dtype, case.padded)
    return W, A_prev, normal(g, (case.n, 1), dtype), normal(g, (case.n, case.m), dtype, case.padded)


def targets(generator, output, loss, shape, dtype):
    """Targets that suit the loss, one column an example."""
    n, m = shape
    if output == "softmax":
        Y = np.exp(generator.standard_normal(shape))
        return (Y / Y.sum(axis=0)).astype(dtype)
    if output == "sigmoid":
        Y = generator.random(shape)
        Y[generator.random(shape) < 0.5] = 1.0
        Y[generator.random(shape) < 0.3] = 0.0
        return Y.astype(dtype)
    if loss.startswith("poisson"):
        return generator.poisson(2.0, shape).astype(dtype)
    return generator.standard_normal(shape).astype(dtype)


def parameters(generator, units, dtype):
    """[W1, b1, ..., WL, bL], scaled so that no layer saturates."""
    arrays = []
    for n_prev, n in zip(units, units[1:], strict=False):
        arrays += [normal(generator, (n, n_prev)) / np.sqrt(n_prev), 0.1 * normal(generator, (n, 1))]
    return [array.astype(dtype) for array in arrays]


def poisoned(shape, dtype):
    """An array of nan for a kernel to fill: an element it forgets is seen."""
    return np.full(shape, np.nan, dtype)


def sample_weights(generator, m, dtype):
    """Weights of the examples, every third of them 0."""
    weights = generator.random((1, m)).astype(dtype)
    weights[0, ::3] = 0.0
    weights[0, -1] = 2.0
    return weights


def wide(*arrays):
    """The same numbers in float64."""
    return [np.array(array, np.float64, order="C") for array in arrays]
