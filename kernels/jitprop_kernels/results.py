"""What the functions of somebody's own kernel set must return, checked after every call, and leave alone.

The kernels that go on from a result believe it, and compiled ones would read beyond an array that is too small.
"""

import functools
import math

import numpy as np

from .contract import ACTIVATIONS
from .doors import describe, plain

__all__ = ["CHECKS", "check_results"]

NUMBER, UNUSED = "a number", "unused"  # in place of a shape
WRITING = ("update", "train_epoch")  # kernels whose purpose is to change their arguments
FIRST = 10  # calls in which arguments are compared with copies: a habit shows early, and copies cost time


def check_results(function, kernel, what):
    """Put the check of its results behind a function of the user's; one of our own sets is returned as it is.

    Parameters
    ----------
    function : callable
    kernel : str
        A name in `contract.KERNELS`: which kernel it is.
    what : str
        The name of the kernel set.

    Returns
    -------
    callable
        With the attributes of `function`. Its arrays have contiguous rows, as the contract says, though
        `function` may return others. It raises TypeError for a result of a wrong type or dtype and ValueError
        for a wrong shape or number of results.
    """
    if plain(function) is not function:  # behind one of our doors
        return function
    name = f"{kernel} of kernel set {what}"
    check = CHECKS[kernel]

    calls = 0

    @functools.wraps(function)
    def watched(*args, **kwargs):
        nonlocal calls
        calls += 1
        inputs = [] if kernel in WRITING or calls > FIRST else [x for x in args if isinstance(x, np.ndarray)]
        before = [x.copy() for x in inputs]
        result = function(*args, **kwargs)
        for i, (x, copy) in enumerate(zip(inputs, before, strict=True)):
            if not np.array_equal(x, copy, equal_nan=x.dtype.kind == "f"):
                raise ValueError(f"{name} changes its argument {i + 1}, which others still need; work on a copy")
        return check(name, result, *args, **kwargs)

    return watched


def _arrays(results):
    """The check of a kernel that returns what `results`, called with the kernel's arguments, says."""

    def check(name, result, *args, **kwargs):
        dtype, wanted = results(*args, **kwargs)
        if len(wanted) == 1:
            return _check_part(f"{name} returned", result, dtype, *wanted.values())
        if not isinstance(result, (tuple, list)):
            raise TypeError(f"{name} returned {_describe(result)}, should return {', '.join(wanted)}")
        if len(result) != len(wanted):
            raise ValueError(f"{name} returned {len(result)} values, should return {', '.join(wanted)}")
        parts = zip(wanted.items(), result, strict=True)
        return tuple(_check_part(f"{name} returned as {part}", x, dtype, shape) for (part, shape), x in parts)

    return check


def _check_part(returned, value, dtype, shape):
    if shape is UNUSED:
        return None
    if shape is NUMBER:
        if isinstance(value, np.ndarray) and value.ndim == 0:  # as numpy.squeeze makes
            value = value[()]
        if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
            raise TypeError(f"{returned} {_describe(value)}, should be a number")
        return float(value)
    wanted = f"should be {dtype} array of shape {shape}"
    if not isinstance(value, np.ndarray) or value.dtype != dtype:
        raise TypeError(f"{returned} {_describe(value)}, {wanted}")
    if value.shape != shape:
        raise ValueError(f"{returned} {_describe(value)}, {wanted}")
    return np.ascontiguousarray(value)


def _describe(value):
    return "None" if value is None else describe(value)


def _update(name, result, *_, **__):
    if result is not None:
        raise TypeError(f"{name} returned {_describe(result)}; it should change parameter and state in place")


def _train_epoch(
    name, costs, parameters, X, Y, order, batch_size, activations, output, loss, rule, state, coefficients,
    *_, **__,
):  # fmt: skip
    steps = len(coefficients)
    if not isinstance(costs, np.ndarray) or costs.dtype != np.float64:
        raise TypeError(f"{name} returned {_describe(costs)}, should be float64 array of shape ({steps},)")
    if costs.ndim != 1 or not 1 <= costs.size <= steps or (costs.size < steps and math.isfinite(costs[-1])):
        raise ValueError(
            f"{name} returned {_describe(costs)} for {steps} steps, should be a cost for each, "
            "or fewer of which the last is not finite"
        )
    return costs


# The dtype of the arrays that a kernel returns, and the names and shapes of its results.


def _elementwise(Z, *_, **__):
    return Z.dtype, {"A": Z.shape}


def _linear_forward(W, A_prev, b, out=None):
    return W.dtype, {"Z": (W.shape[0], A_prev.shape[1])}


def _linear_backward(dZ, A_prev, W):
    return W.dtype, {"dW": W.shape, "db": (W.shape[0], 1), "dA_prev": A_prev.shape}


def _layer_forward(W, A_prev, b, activation):
    return W.dtype, dict.fromkeys(("Z", "A"), (W.shape[0], A_prev.shape[1]))


def _layer_backward(dZ, W, A_prev, Z_prev, activation_prev):
    dZ_prev = UNUSED if Z_prev is None else Z_prev.shape
    return W.dtype, {"dW": W.shape, "db": (W.shape[0], 1), "dZ_prev": dZ_prev}


def _network_forward(parameters, X, activations, output=None):
    return X.dtype, {"Z" if output is None else "A": (parameters[-2].shape[0], X.shape[1])}


def _output_head(Z, Y, loss, output, sample_weight=None):
    return Z.dtype, {"cost": NUMBER, "dZ": Z.shape}


def _dropout(A, rate, key, out=None):
    return A.dtype, {"A": A.shape}


def _dot(w, x):
    return w.dtype, {"the product": NUMBER}


def _logistic_gradient(W, b, X, Y):
    return W.dtype, {"J": NUMBER, "dW": W.shape, "db": b.shape}


CHECKS = {
    "dot": _arrays(_dot),
    "logistic_gradient": _arrays(_logistic_gradient),
    "linear_forward": _arrays(_linear_forward),
    "linear_backward": _arrays(_linear_backward),
    **{f"{name}{suffix}": _arrays(_elementwise) for name in ACTIVATIONS for suffix in ("", "_derivative")},
    "softmax": _arrays(_elementwise),
    "layer_forward": _arrays(_layer_forward),
    "layer_backward": _arrays(_layer_backward),
    "output_head": _arrays(_output_head),
    "dropout": _arrays(_dropout),
    "update": _update,
    "network_forward": _arrays(_network_forward),
    "train_epoch": _train_epoch,
}
