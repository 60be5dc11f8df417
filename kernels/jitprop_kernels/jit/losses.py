"""Output heads: from Z[L] and the targets to every example's loss and dZ[L], in one pass over chunks of columns.

Losses of outputs that work element by element are one line each, like activations: loss and derivative by a. The
pairs of sigmoid with binary cross-entropy and softmax with cross-entropy are computed from Z, so that the cost stays
finite and right when a rounds to 0 or 1. A column's sums run over its units in order; what stands beside it does not
matter.
"""

import functools

import numpy as np

from ..contract import parse_loss
from .activations import FORMULAS
from .compiling import inlined
from .functions import exp, log, select, sigmoid, softplus
from .launch import compiled_task, part_of
from .vectors import cast, float_of, size_of, unpack, vector_at

__all__ = ["CHUNK", "head", "softmax"]

CHUNK = 256  # columns at a time: their maxima and sums stay in the first level of cache

# Each of these is loss(a, y, parameter, zero, one) -> (loss, its derivative by a).


def _squared_error(a, y, parameter, zero, one):
    return cast(0.5, one) * (a - y) * (a - y), a - y


@inlined
def _sign(x, zero, one):
    return select(x > zero, one, select(x < zero, -one, x))  # x itself is 0 or nan


def _absolute_error(a, y, parameter, zero, one):
    return abs(a - y), _sign(a - y, zero, one)


def _huber(a, y, delta, zero, one):
    error = a - y
    size = abs(error)
    far = size > delta
    return (
        select(far, delta * (size - cast(0.5, one) * delta), cast(0.5, one) * error * error),
        select(far, delta * _sign(error, zero, one), error),
    )


def _poisson(a, y, parameter, zero, one):
    rate = exp(a)
    return rate - y * a, rate - y


def _quantile(a, y, level, zero, one):
    error = a - y
    weight = select(error > zero, one - level, select(error < zero, -level, error))
    return error * weight, weight


def _logistic(z, y, parameter, zero, one):
    """Binary cross-entropy of sigmoid(z): max(z, 0) - z y + log(1 + e^-|z|), and its derivative by z."""
    return (select(z > zero, z, zero) - z * y) + softplus(-abs(z)), sigmoid(z) - y


_LOSSES = {
    "squared_error": _squared_error,
    "absolute_error": _absolute_error,
    "huber": _huber,
    "poisson": _poisson,
    "quantile": _quantile,
}


@functools.cache
def _elementwise_head(output, loss):
    """The head of an output that works element by element."""
    activation = inlined(FORMULAS["linear" if loss == "binary_cross_entropy" else output])
    formula = inlined(_logistic if loss == "binary_cross_entropy" else _LOSSES[loss])

    def head(record, t, tasks, one):
        z, z_stride, y, y_stride, dz, dz_stride, n, m, grain, factors, losses, parameter = unpack(record, 12)
        scratch, room = unpack(record + 12 * 8, 2)
        size, zero, p = size_of(one), one - one, cast(float_of(parameter), one)
        values = vector_at(scratch + t * room, CHUNK, one)
        start, stop = part_of(m, grain, t, tasks)
        for j0 in range(start, stop, CHUNK):
            columns = min(CHUNK, stop - j0)
            total = vector_at(losses + j0 * 8, columns, 0.0)
            factor = vector_at(factors + j0 * size, columns, one)
            for j in range(columns):
                total[j] = 0.0
            for i in range(n):
                Z = vector_at(z + (i * z_stride + j0) * size, columns, one)
                Y = vector_at(y + (i * y_stride + j0) * size, columns, one)
                dZ = vector_at(dz + (i * dz_stride + j0) * size, columns, one)
                # Loops of one dtype and few arrays, which fill vectors.
                for j in range(columns):
                    a, slope = activation(Z[j], p, zero, one)
                    value, derivative = formula(a, Y[j], p, zero, one)
                    values[j] = value
                    dZ[j] = derivative * slope
                for j in range(columns):
                    dZ[j] *= factor[j]
                for j in range(columns):
                    total[j] += values[j]

    head.__qualname__ = head.__name__ = f"{output}_{loss}_head"
    return head


@inlined
def _softmax_chunk(z, z_stride, a, a_stride, n, columns, top, norm, zero, one):
    """Softmax of a chunk of columns: fills `top` with each column's maximum and `norm` with its sum of e^(z - top)."""
    size = size_of(one)
    first = vector_at(z, columns, one)
    for j in range(columns):
        top[j], norm[j] = first[j], zero
    for i in range(1, n):
        Z = vector_at(z + i * z_stride * size, columns, one)
        for j in range(columns):
            top[j] = select(Z[j] > top[j], Z[j], top[j])
    for i in range(n):
        Z = vector_at(z + i * z_stride * size, columns, one)
        A = vector_at(a + i * a_stride * size, columns, one)
        for j in range(columns):
            e = exp(Z[j] - top[j])
            A[j] = e
            norm[j] += e
    for i in range(n):
        A = vector_at(a + i * a_stride * size, columns, one)
        for j in range(columns):
            A[j] = A[j] / norm[j]


def _softmax(record, t, tasks, one):
    z, z_stride, a, a_stride, n, m, grain, scratch, room = unpack(record, 9)
    size, zero = size_of(one), one - one
    top = vector_at(scratch + t * room, CHUNK, one)
    norm = vector_at(scratch + t * room + CHUNK * size, CHUNK, one)
    start, stop = part_of(m, grain, t, tasks)
    for j in range(start, stop, CHUNK):
        columns = min(CHUNK, stop - j)
        _softmax_chunk(z + j * size, z_stride, a + j * size, a_stride, n, columns, top, norm, zero, one)


# What each loss of softmax makes of a chunk, of which dz holds the softmax: losses to `total`, dZ in place.


def _cross_entropy_indices(z, z_stride, y, y_stride, dz, dz_stride, n, columns, top, norm, factor, total, zero, one):
    size, chosen = size_of(one), vector_at(y, columns, np.int64(0))
    for j in range(columns):
        norm[j] = log(norm[j])
    for j in range(columns):
        logit = vector_at(z + (chosen[j] * z_stride + j) * size, 1, one)
        # top + log norm - z would lose the digits of log norm to a large top.
        total[j] = norm[j] - (logit[0] - top[j])
        own = vector_at(dz + (chosen[j] * dz_stride + j) * size, 1, one)
        own[0] -= one
    for i in range(n):
        dZ = vector_at(dz + i * dz_stride * size, columns, one)
        for j in range(columns):
            dZ[j] *= factor[j]


def _cross_entropy_columns(z, z_stride, y, y_stride, dz, dz_stride, n, columns, top, norm, factor, total, zero, one):
    size = size_of(one)
    for j in range(columns):
        norm[j] = log(norm[j])
    for j in range(columns):
        total[j] = 0.0
    for i in range(n):
        Z = vector_at(z + i * z_stride * size, columns, one)
        Y = vector_at(y + i * y_stride * size, columns, one)
        dZ = vector_at(dz + i * dz_stride * size, columns, one)
        for j in range(columns):
            total[j] += select(Y[j] == zero, zero, Y[j] * (norm[j] - (Z[j] - top[j])))
        for j in range(columns):
            dZ[j] = (dZ[j] - Y[j]) * factor[j]


def _squared_errors(z, z_stride, y, y_stride, dz, dz_stride, n, columns, top, inner, factor, total, zero, one):
    size = size_of(one)
    for j in range(columns):
        total[j], inner[j] = 0.0, zero
    for i in range(n):
        Y = vector_at(y + i * y_stride * size, columns, one)
        A = vector_at(dz + i * dz_stride * size, columns, one)
        for j in range(columns):
            error = A[j] - Y[j]
            total[j] += cast(0.5, one) * error * error
            inner[j] += error * A[j]
    for i in range(n):
        Y = vector_at(y + i * y_stride * size, columns, one)
        A = vector_at(dz + i * dz_stride * size, columns, one)
        for j in range(columns):
            A[j] = A[j] * (A[j] - Y[j] - inner[j]) * factor[j]


@functools.cache
def _softmax_head(loss):
    """The head of softmax with one of the losses above."""
    finish, indices = inlined(loss), loss is _cross_entropy_indices

    def head(record, t, tasks, one):
        z, z_stride, y, y_stride, dz, dz_stride, n, m, grain, factors, losses = unpack(record, 11)
        scratch, room = unpack(record + 12 * 8, 2)
        size, zero = size_of(one), one - one
        top = vector_at(scratch + t * room, CHUNK, one)
        norm = vector_at(scratch + t * room + CHUNK * size, CHUNK, one)
        start, stop = part_of(m, grain, t, tasks)
        for j in range(start, stop, CHUNK):
            columns, Z, dZ = min(CHUNK, stop - j), z + j * size, dz + j * size
            Y = y + j * (8 if indices else size)
            _softmax_chunk(Z, z_stride, dZ, dz_stride, n, columns, top, norm, zero, one)
            factor = vector_at(factors + j * size, columns, one)
            total = vector_at(losses + j * 8, columns, 0.0)
            finish(Z, z_stride, Y, y_stride, dZ, dz_stride, n, columns, top, norm, factor, total, zero, one)

    head.__qualname__ = head.__name__ = f"softmax{loss.__name__}_head"
    return head


def softmax(dtype):
    """The task softmax: record (z, z_stride, a, a_stride, n, m, grain, scratch, room).

    `room` is the distance from the scratch of a thread, 2 CHUNK numbers, to that of the next.
    """
    return compiled_task(_softmax, dtype)


def head(loss, output, dtype, indices):
    """The task of an output head and the parameter of its loss; `indices` tells that y holds class indices.

    Record (z, z_stride, y, y_stride, dz, dz_stride, n, m, grain, factors, losses, parameter, scratch, room): threads
    share the columns in multiples of `grain`; dZ of an example is multiplied by its factor; `losses` are float64;
    scratch as in `softmax`.
    """
    output, name, parameter = parse_loss(loss, output)
    if output != "softmax":
        body = _elementwise_head(output, name)
    elif name == "cross_entropy":
        body = _softmax_head(_cross_entropy_indices if indices else _cross_entropy_columns)
    else:
        body = _softmax_head(_squared_errors)
    return compiled_task(body, dtype), parameter
