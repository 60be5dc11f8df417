"""The checked doors of the kernel sets: what every public kernel checks before a line of it runs.

Compiled code checks nothing, so no array may pass that a kernel could read or write outside of. `checked` puts the
check of the kernel's own name in front of it; ``kernel.__wrapped__`` is the kernel without its door.
"""

import functools
import math
from collections.abc import Callable

import numpy as np

from .contract import ACTIVATIONS, COEFFICIENTS, OUTPUTS, RULES, parse, parse_loss

__all__ = ["CHECKS", "checked", "describe", "plain"]


def checked(kernel):
    """Put the check named like `kernel` in front of it."""
    check = CHECKS[kernel.__name__]

    @functools.wraps(kernel)
    def door(*args, **kwargs):
        check(*args, **kwargs)
        return kernel(*args, **kwargs)

    vars(door)["_door"] = door, kernel
    return door


def plain(function):
    """The kernel behind a door; any other callable is returned as it is, even a decorated door or kernel."""
    # A decorator that uses functools.wraps copies attributes and sets __wrapped__ too, but is not its own door.
    door, kernel = getattr(function, "_door", (None, None))
    return kernel if door is function else function


def describe(value):
    """What `value` is, for an error."""
    if isinstance(value, np.ndarray):
        kind = "array" if _plain(value) else type(value).__name__
        return f"{value.dtype} {kind} of shape {value.shape}"
    return type(value).__name__


def _plain(array):
    """Subclasses may hide what is in memory, as masked arrays do, from checks that call their methods."""
    return type(array) is np.ndarray or type(array) is np.memmap


def _plain_floats(name, array):
    if not _plain(array) or (dtype := array.dtype).char not in "fd":
        raise TypeError(f"{name} must be a float32 or float64 array, got {describe(array)}")
    if not dtype.isnative:
        raise TypeError(f"{name} must have the machine's byte order, got dtype {dtype.str}")
    if not array.flags.aligned:
        raise ValueError(f"{name} must be aligned to its items, got address {array.ctypes.data}")


def matrix(name, array, shape=None, dtype=None):
    """`array` must be a 2-D float32 or float64 ndarray with contiguous rows, of `shape` where that is not None."""
    _plain_floats(name, array)
    if array.ndim != 2:
        raise ValueError(f"{name} must have two dimensions, got shape {array.shape}")
    if dtype is not None and array.dtype != dtype:
        raise TypeError(f"{name} is {array.dtype}, but the other arrays are {dtype}")
    n, m = array.shape
    if n == 0 or m == 0:
        raise ValueError(f"{name} is empty: shape {array.shape}")
    if shape is not None:
        wanted_n, wanted_m = shape
        if (wanted_n is not None and n != wanted_n) or (wanted_m is not None and m != wanted_m):
            wanted = ", ".join("any" if n is None else str(n) for n in shape)
            raise ValueError(f"{name} has shape {array.shape}, should be ({wanted})")
    rows, columns = array.strides
    itemsize = array.itemsize
    if (columns != itemsize and m > 1) or (rows < m * itemsize and n > 1):
        raise ValueError(f"{name} must have contiguous rows (numpy.ascontiguousarray), got strides {array.strides}")
    if rows % itemsize:
        raise ValueError(f"{name} must be aligned to its items, got strides {array.strides}")
    return array


def writable(name, array, shape, dtype):
    """`array` must be such a matrix that a kernel may write."""
    matrix(name, array, shape, dtype)
    if not array.flags.writeable:
        raise ValueError(f"{name} is read-only")


def check_out(out, shape, dtype, in_place=None, **inputs):
    """`out` must have the result's shape and share no memory with an input, except be `in_place` itself."""
    if out is None:
        return
    writable("out", out, shape, dtype)
    if not out.flags.c_contiguous:
        raise ValueError(f"out must be C-contiguous, got strides {out.strides}")
    for name, array in inputs.items():
        if np.may_share_memory(out, array):
            if array is in_place and out.ctypes.data == array.ctypes.data and out.strides == array.strides:
                continue
            raise ValueError(f"out overlaps {name}")


def _column(name, array, n, dtype):
    """`array` must be a contiguous column of n numbers: a vector of biases, which kernels read without a stride."""
    matrix(name, array, (n, 1), dtype)
    _contiguous(name, array)


def _contiguous(name, array):
    if not array.flags.c_contiguous:
        raise ValueError(f"{name} must be C-contiguous (numpy.ascontiguousarray), got strides {array.strides}")


def _linear_forward(W, A_prev, b, out=None):
    matrix("W", W)
    matrix("A_prev", A_prev, (W.shape[1], None), W.dtype)
    _column("b", b, W.shape[0], W.dtype)
    check_out(out, (W.shape[0], A_prev.shape[1]), W.dtype, W=W, A_prev=A_prev, b=b)


def _linear_backward(dZ, A_prev, W):
    matrix("W", W)
    matrix("A_prev", A_prev, (W.shape[1], None), W.dtype)
    matrix("dZ", dZ, (W.shape[0], A_prev.shape[1]), W.dtype)


def _elementwise(Z, out=None):
    matrix("Z", Z)
    check_out(out, Z.shape, Z.dtype, in_place=Z, Z=Z)


def _with_parameter(activation):
    row = ACTIVATIONS[activation]

    def check(Z, value, out):
        _elementwise(Z, out)
        if isinstance(value, bool) or not isinstance(value, (int, float, np.floating, np.integer)):
            raise TypeError(f"{row.parameter} must be a number, got {type(value).__name__}")
        if not (row.low <= value <= row.high and math.isfinite(value)):
            upper = "" if math.isinf(row.high) else f" to {row.high:g}"
            raise ValueError(f"{row.parameter} must be from {row.low:g}{upper}, got {value}")

    return check


def _leaky_relu(Z, slope=0.01, out=None):
    _with_parameter("leaky_relu")(Z, slope, out)


def _elu(Z, alpha=1.0, out=None):
    _with_parameter("elu")(Z, alpha, out)


def _layer_forward(W, A_prev, b, activation):
    _linear_forward(W, A_prev, b)
    parse(activation, ACTIVATIONS, "activation")


def _layer_backward(dZ, W, A_prev, Z_prev, activation_prev):
    _linear_backward(dZ, A_prev, W)
    if (Z_prev is None) != (activation_prev is None):
        raise ValueError("Z_prev and activation_prev go together: both are given, or both None for the first layer")
    if Z_prev is not None:
        matrix("Z_prev", Z_prev, A_prev.shape, W.dtype)
        parse(activation_prev, ACTIVATIONS, "activation")


def check_targets(Y, loss, n, m, dtype):
    """Y must be (n, m) of `dtype`, or for cross-entropy class indices, int64 of shape (1, m), from 0 to n - 1."""
    if loss == "cross_entropy" and _plain(Y) and Y.dtype == np.int64:
        if Y.shape != (1, m):
            raise ValueError(f"Y of class indices has shape {Y.shape}, should be (1, {m})")
        if not (Y.flags.c_contiguous and Y.flags.aligned and Y.dtype.isnative):
            raise ValueError(f"Y must be C-contiguous, aligned and of native byte order, got strides {Y.strides}")
        if Y.min() < 0 or Y.max() >= n:
            raise ValueError(f"Y holds class indices from {Y.min()} to {Y.max()}, accepted: 0 to {n - 1}")
        return
    matrix("Y", Y, (n, m), dtype)
    high = {"binary_cross_entropy": 1.0, "cross_entropy": 1.0, "poisson": math.inf}.get(loss)
    if high is not None and not (Y.min() >= 0 and Y.max() <= high):
        accepted = "0 to 1" if high == 1.0 else "numbers that are not negative"
        raise ValueError(f"Y holds numbers from {Y.min():g} to {Y.max():g}, {loss} takes {accepted}")


def check_sample_weight(sample_weight, m, dtype):
    """sample_weight must be (1, m), finite, not negative, and not all zero."""
    if sample_weight is None:
        return
    matrix("sample_weight", sample_weight, (1, m), dtype)
    if not ((sample_weight >= 0).all() and 0 < sample_weight.sum(dtype=np.float64) < math.inf):
        raise ValueError("sample_weight must hold numbers that are not negative, and not only zeros, of a finite sum")


def _output_head(Z, Y, loss, output, sample_weight=None):
    matrix("Z", Z)
    _, name, _ = parse_loss(loss, output)
    n, m = Z.shape
    check_targets(Y, name, n, m, Z.dtype)
    check_sample_weight(sample_weight, m, Z.dtype)


def check_rate(rate):
    """A dropout rate is a number from 0, and below 1."""
    if isinstance(rate, bool) or not isinstance(rate, (int, float, np.floating, np.integer)):
        raise TypeError(f"dropout rate must be a number, got {type(rate).__name__}")
    if not 0 <= rate < 1:
        raise ValueError(f"dropout rate must be from 0 to below 1, got {rate}")


def check_key(key):
    """A key is an int that fits 32 bits."""
    if isinstance(key, bool) or not isinstance(key, (int, np.integer)):
        raise TypeError(f"key must be an int, got {type(key).__name__}")
    if not 0 <= key < 2**32:
        raise ValueError(f"key must be from 0 to 2**32 - 1, got {key}")


def _dropout(A, rate, key, out=None):
    matrix("A", A)
    check_rate(rate)
    check_key(key)
    check_out(out, A.shape, A.dtype, in_place=A, A=A)


_CLIPS = COEFFICIENTS.index("clip_value")  # it and clip_norm, behind it, may be infinite


def _check_coefficients(coefficients, shape):
    """They must have this shape; None for any number of rows but 0."""
    if not _plain(coefficients) or coefficients.dtype != np.float64 or not coefficients.dtype.isnative:
        raise TypeError(f"coefficients must be a float64 array, got {describe(coefficients)}")
    if shape[0] is None and coefficients.ndim == 2:
        shape = max(1, len(coefficients)), shape[1]
    if coefficients.shape != shape or not (coefficients.flags.c_contiguous and coefficients.flags.aligned):
        raise ValueError(f"coefficients has shape {coefficients.shape}, should be {shape}, C-contiguous and aligned")
    if not np.isfinite(coefficients[..., :_CLIPS]).all():
        raise ValueError("coefficients must be finite, but for clip_value and clip_norm")
    if not (coefficients[..., COEFFICIENTS.index("gain2")] >= 0).all():
        raise ValueError("gain2 of coefficients must not be negative")
    if coefficients[..., _CLIPS:].min() > 0:  # not so where one is nan
        return
    for column in range(_CLIPS, len(COEFFICIENTS)):
        lowest = coefficients[..., column].min()
        if not lowest > 0:
            raise ValueError(f"{COEFFICIENTS[column]} of coefficients must be above 0 (inf for none), got {lowest:g}")


def _span(array):
    """The first address of an array without negative strides, and the one behind its last."""
    first, reach = array.__array_interface__["data"][0], array.itemsize  # sooner than array.ctypes.data
    for n, stride in zip(array.shape, array.strides, strict=True):
        reach += (n - 1) * stride
    return first, first + reach


def _disjoint(written, read):
    """No array that is written may share memory with another: kernels read what they were given, not what they wrote.

    Both are lists of names and arrays.
    """
    spans = [(*_span(array), name, True) for name, array in written]
    spans = sorted(spans + [(*_span(array), name, False) for name, array in read])
    end, last, last_written = 0, "", False
    for low, high, name, is_written in spans:
        if low < end and (is_written or last_written):
            raise ValueError(f"{name} and {last} share memory, and one of them is written")
        if high > end or is_written:
            end, last, last_written = max(end, high), name, is_written


def _slots(state, rule, each="arrays"):
    slots = RULES[parse(rule, RULES, "rule")[0]].slots
    if not isinstance(state, (list, tuple)):
        raise TypeError(f"state must be a list, got {type(state).__name__}")
    if len(state) != len(slots):
        raise ValueError(f"state has {len(state)} {each}, rule {rule!r} needs {len(slots)}: {slots}")
    return slots


def _update(parameter, gradient, state, coefficients, rule):
    matrix("parameter", parameter)
    writable("parameter", parameter, parameter.shape, parameter.dtype)
    matrix("gradient", gradient, parameter.shape, parameter.dtype)
    written = [("parameter", parameter)]
    for slot, array in zip(_slots(state, rule), state, strict=True):
        writable(f"state {slot}", array, parameter.shape, parameter.dtype)
        written.append((f"state {slot}", array))
    _check_coefficients(coefficients, (len(COEFFICIENTS),))
    _disjoint(written, [("gradient", gradient), ("coefficients", coefficients)])


def _dot(w, x):
    matrix("w", w, (None, 1))
    _column("w", w, len(w), w.dtype)
    _column("x", x, len(w), w.dtype)


def _logistic_gradient(W, b, X, Y):
    matrix("W", W, (1, None))
    matrix("b", b, (1, 1), W.dtype)
    matrix("X", X, (W.shape[1], None), W.dtype)
    check_targets(Y, "binary_cross_entropy", 1, X.shape[1], W.dtype)


def _check_parameters(name, arrays, like, dtype):
    """`arrays` must be a list like the parameters; returns them with their names."""
    if not isinstance(arrays, (list, tuple)):
        raise TypeError(f"{name} must be a list of arrays, got {type(arrays).__name__}")
    if len(arrays) != len(like):
        raise ValueError(f"{name} has {len(arrays)} arrays, should have {len(like)}")
    named = _named(name, arrays)
    for (own, array), other in zip(named, like, strict=True):
        writable(own, array, other.shape, dtype)
    return named


def _named(name, arrays):
    return [(f"{name} {'Wb'[i % 2]}{i // 2 + 1}", array) for i, array in enumerate(arrays)]


def _check_order(order, m):
    if order is None:
        return m
    if not _plain(order) or order.dtype != np.int64 or not order.dtype.isnative or order.ndim != 1:
        raise TypeError(f"order must be a 1-D int64 array of example indices, got {describe(order)}")
    if order.size == 0 or not (order.flags.c_contiguous and order.flags.aligned):
        raise ValueError("order must be C-contiguous, aligned and not empty")
    if order.min() < 0 or order.max() >= m:
        raise ValueError(f"order holds indices from {order.min()} to {order.max()}, accepted: 0 to {m - 1}")
    return order.size


def _check_layers(parameters, activations, n, dtype, check):
    """Check W1, b1, ..., WL, bL of a network of n features with `check`, and the names; returns n[L]."""
    if len(parameters) < 2 or len(parameters) % 2:
        raise ValueError(f"parameters must be [W1, b1, ..., WL, bL], got {len(parameters)} arrays")
    for l, (W, b) in enumerate(zip(parameters[::2], parameters[1::2], strict=True), start=1):
        check(f"W{l}", W, (None, n), dtype)
        n = W.shape[0]
        check(f"b{l}", b, (n, 1), dtype)
        _contiguous(f"b{l}", b)
    layers = len(parameters) // 2
    if len(activations) != layers - 1:
        raise ValueError(f"activations has {len(activations)} names, {layers - 1} hidden layers need one each")
    for activation in activations:
        parse(activation, ACTIVATIONS, "activation")
    return n


def _network_forward(parameters, X, activations, output=None):
    _plain_floats("X", X)
    columns = X.ndim == 2 and X.shape[1] > 1 and X.strides[1] != X.itemsize
    if columns and (X.strides[0] != X.itemsize and X.shape[0] > 1):
        raise ValueError(f"X must have contiguous rows or columns, got strides {X.strides}")
    matrix("X", X.T if columns else X)
    _check_layers(parameters, activations, X.shape[0], X.dtype, matrix)
    if output is not None:
        parse(output, OUTPUTS, "output")


def _train_epoch(
    parameters, X, Y, order, batch_size, activations, output, loss, rule, state, coefficients,
    l2=0.0, dropout=None, key=0, sample_weight=None,
):  # fmt: skip
    if not isinstance(X, np.ndarray) or X.dtype.char not in "fd" or not X.dtype.isnative:
        raise TypeError(f"X must be a float32 or float64 array, got {describe(X)}")
    if X.ndim != 2 or not (X.flags.c_contiguous or X.flags.f_contiguous):
        raise ValueError(f"X must have two dimensions and be C- or F-contiguous, got {describe(X)}")
    if X.size == 0:
        raise ValueError(f"X is empty: shape {X.shape}")
    m = X.shape[1]
    n = _check_layers(parameters, activations, X.shape[0], X.dtype, writable)
    layers = len(parameters) // 2
    _, name, _ = parse_loss(loss, output)
    check_targets(Y, name, n, m, X.dtype)
    check_sample_weight(sample_weight, m, X.dtype)
    visited = _check_order(order, m)
    if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)):
        raise TypeError(f"batch_size must be an int, got {type(batch_size).__name__}")
    if not 1 <= batch_size <= m:
        raise ValueError(f"batch_size must be from 1 to m = {m}, got {batch_size}")
    if not isinstance(parameters, (list, tuple)):
        raise TypeError(f"parameter must be a list of arrays, got {type(parameters).__name__}")
    written = _named("parameter", parameters)  # checked with the layers
    for slot, arrays in zip(_slots(state, rule, "slots"), state, strict=True):
        written += _check_parameters(f"state {slot}", arrays, parameters, X.dtype)
    steps = None if order is None and batch_size == m else -(-visited // batch_size)
    _check_coefficients(coefficients, (steps, len(COEFFICIENTS)))
    read = [("X", X), ("Y", Y), ("order", order), ("coefficients", coefficients), ("sample_weight", sample_weight)]
    _disjoint(written, [(what, array) for what, array in read if array is not None])
    if isinstance(l2, bool) or not isinstance(l2, (int, float, np.floating, np.integer)):
        raise TypeError(f"l2 must be a number, got {type(l2).__name__}")
    if not (math.isfinite(l2) and l2 >= 0):
        raise ValueError(f"l2 must be a finite number that is not negative, got {l2}")
    if dropout is not None:
        if len(dropout) != layers:
            raise ValueError(f"dropout has {len(dropout)} rates, should have {layers}: input and hidden layers")
        for rate in dropout:
            check_rate(rate)
    check_key(key)


CHECKS: dict[str, Callable[..., None]] = {
    "dot": _dot,
    "logistic_gradient": _logistic_gradient,
    "linear_forward": _linear_forward,
    "linear_backward": _linear_backward,
    **{f"{name}{suffix}": _elementwise for name in ACTIVATIONS for suffix in ("", "_derivative")},
    **{f"leaky_relu{suffix}": _leaky_relu for suffix in ("", "_derivative")},
    **{f"elu{suffix}": _elu for suffix in ("", "_derivative")},
    "softmax": _elementwise,
    "layer_forward": _layer_forward,
    "layer_backward": _layer_backward,
    "output_head": _output_head,
    "dropout": _dropout,
    "update": _update,
    "network_forward": _network_forward,
    "train_epoch": _train_epoch,
}
