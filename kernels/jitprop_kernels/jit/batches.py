"""What happens to a batch besides products: gathering its examples, and dropout.

`step` is the address of the record of the running step, see `epoch`: (coefficients, L2 factor, address of the examples
of the batch, number of the step).
"""

import numpy as np
from numba.extending import register_jitable

from ..contract import dropout_threshold
from .launch import bits, compiled_task
from .vectors import cast, float_of, size_of, unpack, vector_at

__all__ = ["dropout", "dropout_record", "gather_columns", "gather_rows", "weigh"]


def _gather_columns(record, t, tasks, one):
    x, x_stride, n, step, count, out, out_stride = unpack(record, 7)
    chosen, size = vector_at(unpack(step, 4)[2], count, np.int64(0)), size_of(one)
    for i in range(n * t // tasks, n * (t + 1) // tasks):
        source = x + i * x_stride * size
        target = vector_at(out + i * out_stride * size, count, one)
        for j in range(count):
            target[j] = vector_at(source + chosen[j] * size, 1, one)[0]


def _gather_rows(record, t, tasks, one):
    x, x_stride, n, step, count, out, out_stride = unpack(record, 7)
    chosen, size = vector_at(unpack(step, 4)[2], count, np.int64(0)), size_of(one)
    for j in range(count * t // tasks, count * (t + 1) // tasks):
        source = vector_at(x + chosen[j] * x_stride * size, n, one)
        target = vector_at(out + j * out_stride * size, n, one)
        for i in range(n):
            target[i] = source[i]


def gather_columns(dtype):
    """The task out[:, j] = x[:, example j of the batch] for x with contiguous rows.

    Record (x, x_stride, n, step, count, out, out_stride).
    """
    return compiled_task(_gather_columns, dtype)


def gather_rows(dtype):
    """The task out[j, :] = x[example j of the batch, :], record of `gather_columns`: examples are rows of x."""
    return compiled_task(_gather_rows, dtype)


def _weigh(record, t, tasks, one):
    w, count, weights, factors = unpack(record, 4)
    given, weight, factor = vector_at(w, count, one), vector_at(weights, count, 0.0), vector_at(factors, count, one)
    total = 0.0
    for j in range(count):
        weight[j] = given[j]
        total += given[j]
    for j in range(count):
        factor[j] = cast(weight[j] / total * count, one) if total > 0.0 else one - one


def weigh(dtype):
    """The task that makes of sample weights their float64 values and the factors w m / sum w.

    Record (w, count, weights, factors).
    """
    return compiled_task(_weigh, dtype)


# contract.dropout_hash and dropout_key on uint32, whose products wrap by themselves, so that they fill vectors.


@register_jitable
def _mix(x):
    x = np.uint32((x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D))
    x = np.uint32((x ^ (x >> np.uint32(15))) * np.uint32(0x46CA68B3))
    return x ^ (x >> np.uint32(16))


@register_jitable
def _key(key, step, layer):
    return _mix(np.uint32(_mix(np.uint32(_mix(np.uint32(key)) + np.uint32(step))) + np.uint32(layer)))


@register_jitable
def _hash(key, i, j):
    first = _mix(np.uint32(key + np.uint32(np.uint32(i) * np.uint32(0x1E3779B1))))
    return _mix(np.uint32(first + np.uint32(np.uint32(j) * np.uint32(0x2C1B3C6D))))


def _dropout(record, t, tasks, one):
    a, a_stride, out, out_stride, rows, columns, transposed, threshold, scale, key, layer, step = unpack(record, 12)
    seed = np.uint32(key) if step == 0 else _key(key, unpack(step, 4)[3], layer)
    least = np.uint32(threshold)
    size, zero, factor = size_of(one), one - one, cast(float_of(scale), one)
    for i in range(rows * t // tasks, rows * (t + 1) // tasks):
        A = vector_at(a + i * a_stride * size, columns, one)
        B = vector_at(out + i * out_stride * size, columns, one)
        for j in range(columns):
            number = _hash(seed, j, i) if transposed else _hash(seed, i, j)
            B[j] = A[j] * factor if number >= least else zero


def dropout(dtype):
    """The task of inverted dropout: record of `dropout_record`."""
    return compiled_task(_dropout, dtype)


def dropout_record(a, out, rows, columns, rate, key, layer=0, step=0, transposed=False):
    """Record of dropout from `a` to `out`, each (address, stride); in a step the key is made of key, step and layer.

    `transposed` tells that examples are rows here: the mask belongs to unit and example, however they are stored.
    """
    scale = bits(1.0 / (1.0 - float(rate)))
    return [*a, *out, rows, columns, int(transposed), dropout_threshold(rate), scale, key, layer, step]
