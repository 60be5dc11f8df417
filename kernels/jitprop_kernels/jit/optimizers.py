"""The update of a parameter, in place, for every rule: the one form that `contract.COEFFICIENTS` describes."""

import functools
import math

import numpy as np
from numba import types
from numba.extending import intrinsic

from ..contract import COEFFICIENTS, RULES
from . import compiling
from .launch import compiled_task, part
from .vectors import Vectors, call_address, cast, float_of, size_of, unpack, vector_at, vector_length

__all__ = ["block", "gradient_squares", "update", "update_record"]

(
    _STEP, _RATE, _DECAY, _L2, _BETA1, _GAIN1, _M_SHARE, _G_SHARE, _BETA2, _GAIN2, _EPSILON, _CLIP_VALUE, _CLIP_NORM,
) = range(len(COEFFICIENTS))  # fmt: skip


def _vectors(has_m, has_v):
    """An intrinsic: the update of `columns` numbers at w from the gradient at g and the averages at m and v.

    Written out, since a compiled loop would first have to find out that the four do not overlap, which takes longer
    than the two vectors of a row of a tile.
    """

    def emit(v, places, numbers, mask):
        builder, (w, g, m, s) = v.builder, places
        rate, decay, shrink, beta1, gain1, m_share, g_share, beta2, root2, epsilon, most, least = numbers
        W = v.load(w, mask)
        gradient = v.fma(shrink, W, v.load(g, mask))
        for limit, beyond in ((most, ">"), (least, "<")):  # a nan is beyond neither, and stays
            gradient = builder.select(builder.fcmp_ordered(beyond, gradient, limit), limit, gradient)
        direction = builder.fmul(g_share, gradient)
        if has_m:
            M = v.fma(beta1, v.load(m, mask), builder.fmul(gain1, gradient))
            v.store(M, m, mask)
            direction = v.fma(m_share, M, direction)
        if has_v:
            share = builder.fmul(root2, gradient)  # its square may be a number where that of the gradient is not
            V = v.fma(beta2, v.load(s, mask), builder.fmul(share, share))
            v.store(V, s, mask)
            root = v.call(f"llvm.sqrt.{v.suffix}", v.type, [V])
            direction = builder.fdiv(direction, builder.fadd(root, epsilon))
        v.store(builder.fsub(builder.fmul(decay, W), builder.fmul(rate, direction)), w, mask)

    @intrinsic
    def row(typingctx, w, g, m, v, columns, numbers):
        signature = types.void(*[types.intp] * 5, numbers)

        def codegen(context, builder, signature, args):
            *places, columns, packed = args
            scalar = context.get_value_type(numbers.dtype)
            vectors = Vectors(builder, scalar, vector_length(numbers.dtype.bitwidth // 8))
            values = [vectors.splat(builder.extract_value(packed, i)) for i in range(len(numbers))]
            vectors.each(
                columns, lambda at, mask: emit(vectors, [builder.add(place, at) for place in places], values, mask)
            )
            return context.get_dummy_value()

        return signature, codegen

    return row


@functools.cache
def block(rule, dtype):
    """The address of ``update(record, i, j, g, g_stride, rows, columns)``: the block at row i, column j of a parameter.

    `record` is the address of what `update_record` made, g that of the block of the gradient.
    """
    row = _vectors("m" in RULES[rule].slots, "v" in RULES[rule].slots)
    one = dtype.type(1)

    def update(record, i, j, g, g_stride, rows, columns):
        w, w_stride, m, m_stride, v, v_stride, step, is_bias = unpack(record, 8)
        coefficients, l2, factor = unpack(step, 3)
        size, number, s = size_of(one), vector_at(coefficients, len(COEFFICIENTS), 0.0), float_of(factor)
        decay, shrink = (1.0, 0.0) if is_bias else (number[_DECAY], float_of(l2))
        numbers = (
            cast(number[_RATE], one), cast(decay, one), cast(shrink, one),
            cast(number[_BETA1], one), cast(number[_GAIN1] * s, one), cast(number[_M_SHARE], one),
            cast(number[_G_SHARE] * s, one), cast(number[_BETA2], one), cast(math.sqrt(number[_GAIN2] * s * s), one),
            cast(number[_EPSILON], one), cast(number[_CLIP_VALUE], one), cast(-number[_CLIP_VALUE], one),
        )  # fmt: skip
        for q in range(rows):
            row(
                w + ((i + q) * w_stride + j) * size, g + q * g_stride * size,
                m + ((i + q) * m_stride + j) * size, v + ((i + q) * v_stride + j) * size, columns, numbers,
            )  # fmt: skip

    update.__name__ = update.__qualname__ = f"update_{rule}_{dtype.name}"
    return compiling.compile_address(update, types.void(*[types.intp] * 7))


def update_record(w, m, v, step, is_bias):
    """What `block` reads: w, m and v are (address, stride), the latter (0, 0) where the rule has none.

    `step` is the address of three numbers: the address of a row of coefficients, the factor of L2, and that by which
    clipping by norm scales the gradient. A bias has neither decay nor L2.
    """
    return [*w, *m, *v, step, int(is_bias)]


def _update(record, t, tasks, one):
    block, g, g_stride, rows, columns = unpack(record, 5)
    i0, i1 = part(rows, t, tasks)
    if i1 > i0:
        call_address(block, record + 5 * 8, i0, 0, g + i0 * g_stride * size_of(one), g_stride, i1 - i0, columns)


def update(dtype):
    """The task that updates a whole parameter: record (block, g, g_stride, rows, columns, and `update_record`)."""
    return compiled_task(_update, dtype)


def _gradient_squares(record, t, tasks, one):
    g, g_stride, w, w_stride, rows, columns, step, is_bias, out = unpack(record, 9)
    coefficients, l2 = unpack(step, 2)
    size, total = size_of(one), vector_at(out, rows, 0.0)
    limit = cast(vector_at(coefficients, len(COEFFICIENTS), 0.0)[_CLIP_VALUE], one)
    shrink = cast(0.0 if is_bias else float_of(l2), one)
    i0, i1 = part(rows, t, tasks)
    for i in range(i0, i1):
        G = vector_at(g + i * g_stride * size, columns, one)
        W = vector_at(w + i * w_stride * size, columns, one)
        total[i] = 0.0
        for j in range(columns):
            gradient = G[j] + shrink * W[j]
            if gradient > limit:
                gradient = limit
            elif gradient < -limit:
                gradient = -limit
            total[i] += np.float64(gradient) * np.float64(gradient)


def gradient_squares(dtype):
    """The task that sums the squares of each row of a gradient, with L2 and after the clip by value.

    Record (g, g_stride, w, w_stride, rows, columns, step, is_bias, out); out takes a float64 a row.
    """
    return compiled_task(_gradient_squares, dtype)
