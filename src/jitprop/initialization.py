"""The first values of the parameters: small enough not to saturate, different enough to break the symmetry.

With equal weights the units of a layer compute the same, get the same gradient, and stay the same for ever.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from jitprop_kernels.contract import ACTIVATIONS, parse

from .architecture import Architecture, Layer
from .checks import Array
from .parameters import complete_arrays

__all__ = ["INITIALIZATIONS", "initialize"]


class Initialization(NamedTuple):
    """A row of `INITIALIZATIONS`: the optional parameter, its default and its range."""

    parameter: str | None = None
    default: float = 0.0
    low: float = 0.0
    high: float = math.inf


INITIALIZATIONS = {
    "he": Initialization(),
    "glorot": Initialization(),
    "normal": Initialization("standard deviation", 0.01),
    "zeros": Initialization(),
    "constant": Initialization("value", 0.0, low=-math.inf),
}


def initialize(
    arrays: list[Array],
    architecture: Architecture,
    initialization: str | Mapping[str, Any] | None,
    seed: int,
) -> None:
    """Fill W1, b1, ..., WL, bL.

    - ``"he"``: W normal with variance 2 / n[l-1], so that ReLU keeps the variance of its inputs (He et al.
      2015, "Delving deep into rectifiers", equation 10);
    - ``"glorot"``: W uniform within sqrt(6 / (n[l-1] + n[l])) of zero (Glorot and Bengio 2010, equation 16);
    - ``"normal(0.01)"``: W normal with that standard deviation, as in the course;
    - ``"zeros"``, ``"constant(c)"``: W zero, or c everywhere;
    - None: He before an activation of the ReLU family, Glorot before any other.

    Biases are zero in each of these. A mapping gives all the arrays themselves.

    Parameters
    ----------
    arrays : list of ndarray
        The views to fill, in the order of `architecture.parameter_shapes`.
    architecture : Architecture
    initialization : str, mapping or None
    seed : int
        Draws are ``numpy.random.default_rng(seed)``'s in float64, layer by layer, cast to the network's
        dtype.

    Raises
    ------
    TypeError
        `initialization` is neither a name nor a mapping nor None, or an array of the mapping is of a wrong
        dtype.
    ValueError
        An unknown name, a number where none belongs or out of range, a missing or unknown array or one of
        wrong shape.
    """
    if isinstance(initialization, Mapping):
        given = complete_arrays(initialization, architecture, "initialization")
        for array, values in zip(arrays, given.values(), strict=True):
            array[:] = values
        return
    name, value = None, 0.0
    if initialization is not None:
        if not isinstance(initialization, str):
            kind = type(initialization).__name__
            accepted = f"a name ({', '.join(INITIALIZATIONS)}), a dict of arrays or None"
            raise TypeError(f"initialization must be {accepted}, got {kind}")
        name, value = parse(initialization, INITIALIZATIONS, "initialization")
        if abs(value) > float(np.finfo(architecture.dtype).max):
            raise ValueError(f"initialization {initialization!r} is infinite in {architecture.dtype}")
    rng = np.random.default_rng(seed)
    for layer, W, b in zip(architecture.layers, arrays[::2], arrays[1::2], strict=True):
        W[:] = _weights(layer, name or natural(layer.activation), value, rng)
        b[:] = 0


def natural(activation: str) -> str:
    """The initialization that suits the layer's own activation."""
    if activation == "softmax":
        return "glorot"
    return "he" if ACTIVATIONS[parse(activation, ACTIVATIONS, "activation")[0]].rectifier else "glorot"


def _weights(layer: Layer, name: str, value: float, rng: np.random.Generator) -> Array | float:
    shape = (layer.n, layer.n_prev)
    if name == "he":
        return math.sqrt(2 / layer.n_prev) * rng.standard_normal(shape)
    if name == "glorot":
        limit = math.sqrt(6 / (layer.n_prev + layer.n))
        return rng.uniform(-limit, limit, shape)
    if name == "normal":
        return value * rng.standard_normal(shape)
    return value
