"""What happens to a batch besides products: gathering its examples, and dropout.

`step` is the address of the record of the running step, which `epoch` fills. Its entries are the addresses and numbers
named below: of the row of coefficients, the L2 factor, the factor of clipping, the indices of the batch's examples, the
number of the step, and how many examples the next batch has, whose indices follow.
"""

import numpy as np
from numba import types
from numba.extending import intrinsic

from ..contract import dropout_threshold
from .compiling import inlined
from .launch import bits, compiled_task, part_of
from .vectors import Vectors, cast, float_of, size_of, unpack, vector_at, vector_length

__all__ = [
    "AT_CHOSEN", "AT_COEFFICIENTS", "AT_FACTOR", "AT_L2", "AT_NEXT", "AT_NUMBER", "RUNNING", "drop_panels", "dropout",
    "dropout_record", "gather_columns", "gather_rows", "weigh",
]  # fmt: skip

AT_COEFFICIENTS, AT_L2, AT_FACTOR, AT_CHOSEN, AT_NUMBER, AT_NEXT = range(6)
RUNNING = 6  # entries of the record of the running step
# Bytes of examples between the one that is copied and the one that is asked for, about as many lines as a core keeps
# under way; and those of an example so long that the processor sees by itself what comes next.
_FLIGHT, _LONG = 1536, 16_384


def _gather_columns(record, t, tasks, one):
    x, x_stride, n, step, first, count, out, out_panel, out_row, NR = unpack(record, 10)
    chosen, size = vector_at(unpack(step, RUNNING)[AT_CHOSEN] + first * 8, count, np.int64(0)), size_of(one)
    start, stop = part_of(count, NR, t, tasks)
    for j0 in range(start, stop, NR):
        width = min(NR, stop - j0)
        for i in range(n):
            source = x + i * x_stride * size
            target = vector_at(out + (j0 // NR * out_panel + i * out_row) * size, width, one)
            for q in range(width):
                target[q] = vector_at(source + chosen[j0 + q] * size, 1, one)[0]


def gather_columns(dtype):
    """The task that copies `count` of the batch's columns, from its `first` on, of an x with contiguous rows.

    Record (x, x_stride, n, step, first, count, out, numbers from panel to panel, from row to row, NR); NR columns are a
    panel.
    """
    return compiled_task(_gather_columns, dtype)


@intrinsic
def _copy(typingctx, source, target, n, ahead, like):
    """Copy n numbers of the type of `like` to where none of them is, and ask for those at `ahead`."""
    signature = types.void(*[types.intp] * 4, like)

    def codegen(context, builder, signature, args):
        source, target, n, ahead, one = args
        v = Vectors(builder, one.type, vector_length(like.bitwidth // 8))

        def copy(offset, mask):
            v.prefetch(builder.add(ahead, offset))
            v.store(v.load(builder.add(source, offset), mask), builder.add(target, offset), mask)

        v.each(n, copy)
        return context.get_dummy_value()

    return signature, codegen


def _gather_rows(record, t, tasks, one):
    x, x_stride, n, step, first, count, out, out_stride, grain = unpack(record, 9)
    chosen, size = vector_at(unpack(step, RUNNING)[AT_CHOSEN] + first * 8, count, np.int64(0)), size_of(one)
    start, stop = part_of(count, grain, t, tasks)
    on = (_FLIGHT + n * size - 1) // (n * size)
    for j in range(start, stop):
        ahead = x + chosen[min(j + on, stop - 1)] * x_stride * size
        _copy(x + chosen[j] * x_stride * size, out + j * out_stride * size, n, ahead, one)


def _gather_long_rows(record, t, tasks, one):
    x, x_stride, n, step, first, count, out, out_stride, grain = unpack(record, 9)
    chosen, size = vector_at(unpack(step, RUNNING)[AT_CHOSEN] + first * 8, count, np.int64(0)), size_of(one)
    start, stop = part_of(count, grain, t, tasks)
    for j in range(start, stop):
        source = vector_at(x + chosen[j] * x_stride * size, n, one)
        target = vector_at(out + j * out_stride * size, n, one)
        for i in range(n):
            target[i] = source[i]


def gather_rows(dtype, n):
    """The task out[j, :] = x[example first + j of the batch, :] where examples are rows of x, of n numbers.

    Record (x, x_stride, n, step, first, count, out, out_stride, grain).
    """
    return compiled_task(_gather_rows if n * dtype.itemsize <= _LONG else _gather_long_rows, dtype)


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


@inlined
def _mix(x):
    x = np.uint32((x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D))
    x = np.uint32((x ^ (x >> np.uint32(15))) * np.uint32(0x46CA68B3))
    return x ^ (x >> np.uint32(16))


@inlined
def _key(key, step, layer):
    return _mix(np.uint32(_mix(np.uint32(_mix(np.uint32(key)) + np.uint32(step))) + np.uint32(layer)))


@inlined
def _hash(key, i, j):
    first = _mix(np.uint32(key + np.uint32(np.uint32(i) * np.uint32(0x1E3779B1))))
    return _mix(np.uint32(first + np.uint32(np.uint32(j) * np.uint32(0x2C1B3C6D))))


def _dropout(record, t, tasks, one):
    a, a_stride, out, out_stride, rows, columns, transposed, threshold, scale = unpack(record, 9)
    grain, key, layer, step, first = unpack(record + 9 * 8, 5)
    seed = np.uint32(key) if step == 0 else _key(key, unpack(step, RUNNING)[AT_NUMBER], layer)
    least = np.uint32(threshold)
    size, zero, factor = size_of(one), one - one, cast(float_of(scale), one)
    start, stop = part_of(rows, grain, t, tasks)
    for i in range(start, stop):
        A = vector_at(a + i * a_stride * size, columns, one)
        B = vector_at(out + i * out_stride * size, columns, one)
        for j in range(columns):
            number = _hash(seed, j, first + i) if transposed else _hash(seed, i, first + j)
            B[j] = A[j] * factor if number >= least else zero


def dropout(dtype):
    """The task of inverted dropout: record of `dropout_record`."""
    return compiled_task(_dropout, dtype)


def dropout_record(a, out, rows, columns, rate, key, layer=0, step=0, first=0, transposed=False, grain=1):
    """Record of dropout from `a` to `out`, each (address, stride); in a step the key is made of key, step and layer.

    `transposed` tells that examples are rows here: the mask belongs to unit and example, however they are stored.
    The example at `a` is number `first` of the batch. Threads share the rows in multiples of `grain`.
    """
    scale = bits(1.0 / (1.0 - float(rate)))
    return [*a, *out, rows, columns, int(transposed), dropout_threshold(rate), scale, grain, key, layer, step, first]


def _drop_panels(record, t, tasks, one):
    a, g, panel, n, count, NR, threshold, scale, key, layer, step, first = unpack(record, 12)
    seed, least = _key(key, unpack(step, RUNNING)[AT_NUMBER], layer), np.uint32(threshold)
    size, zero, factor = size_of(one), one - one, cast(float_of(scale), one)
    start, stop = part_of(count, NR, t, tasks)
    for j in range(start, stop, NR):
        for i in range(n):
            place = (j // NR * panel + i * NR) * size
            A, G = vector_at(a + place, NR, one), vector_at(g + place, NR, one)
            for q in range(NR):
                dropped = _hash(seed, i, first + j + q) < least
                A[q] = zero if dropped else A[q] * factor
                if layer != 0:  # there is no derivative by the input
                    G[q] = zero if dropped else G[q] * factor


def drop_panels(dtype):
    """The task of dropout on panels, in place, of activations and of the derivatives beside them.

    Each mask is drawn once. Record (a, g, numbers from panel to panel, n, count, NR, threshold, scale, key, layer,
    step, number of the first example in the batch).
    """
    return compiled_task(_drop_panels, dtype)
