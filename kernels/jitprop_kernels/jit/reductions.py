"""Sums over examples: bias gradients, products with one row, inner products.

A sum runs in four vectors of partial sums, which are added in a fixed order at the end: its bits depend on its length
and on the width of a vector only.
"""

import numpy as np
from llvmlite import ir
from numba.extending import intrinsic

from .launch import compiled_task
from .vectors import I64, Vectors, cast, float_of, size_of, unpack, vector_at, vector_length

__all__ = ["PIECE", "dot", "row_products", "squares"]

PIECE = 32768  # numbers of a long sum that one thread adds up

_CHAINS = 4  # the latency of a fused multiply-add over its throughput


@intrinsic
def _inner(typingctx, x, y, n, like):
    """sum_j x[j] y[j] of n numbers at two addresses; sum_j x[j] where y is 0."""
    signature = like(x, y, n, like)

    def codegen(context, builder, signature, args):
        x, y, n, _ = args
        scalar = context.get_value_type(like)
        VL = vector_length(4 if isinstance(scalar, ir.FloatType) else 8)
        v = Vectors(builder, scalar, VL)
        weighted = builder.icmp_unsigned("!=", y, I64(0))
        width, stride = I64(VL * _CHAINS), I64(VL * _CHAINS * v.size)
        before = builder.block
        loop, body, after = (builder.append_basic_block(name) for name in ("sum.loop", "sum.body", "sum.end"))
        builder.branch(loop)
        builder.position_at_end(loop)
        left, offset = builder.phi(I64), builder.phi(I64)
        sums = [builder.phi(v.type) for _ in range(_CHAINS)]
        for phi, start in [(left, n), (offset, I64(0)), *((s, v.zero) for s in sums)]:
            phi.add_incoming(start, before)
        builder.cbranch(builder.icmp_signed(">", left, I64(0)), body, after)
        builder.position_at_end(body)
        ones = ir.Constant(v.type, [1.0] * VL)
        none = I64(0)
        new = []
        for chain, total in enumerate(sums):
            place = builder.add(offset, I64(chain * VL * v.size))
            mask = v.mask(left, chain * VL)
            first = v.load(builder.add(x, place), mask)
            masked = v.mask(builder.select(weighted, left, none), chain * VL)
            second = builder.select(weighted, v.load(builder.add(y, place), masked), ones)
            new.append(v.fma(first, second, total))
        left.add_incoming(builder.sub(left, width), body)
        offset.add_incoming(builder.add(offset, stride), body)
        for phi, value in zip(sums, new, strict=True):
            phi.add_incoming(value, body)
        builder.branch(loop)
        builder.position_at_end(after)
        total = builder.fadd(builder.fadd(sums[0], sums[1]), builder.fadd(sums[2], sums[3]))
        lanes = [builder.extract_element(total, ir.IntType(32)(q)) for q in range(VL)]
        while len(lanes) > 1:
            half = len(lanes) // 2
            lanes = [builder.fadd(lanes[q], lanes[q + half]) for q in range(half)]
        return lanes[0]

    return signature, codegen


def _row_products(record, t, tasks, one):
    a, a_stride, v, rows, columns, out, out_stride, alpha = unpack(record, 8)
    size, scale = size_of(one), cast(float_of(alpha), one)
    for i in range(rows * t // tasks, rows * (t + 1) // tasks):
        target = vector_at(out + i * out_stride * size, 1, one)
        target[0] = scale * _inner(a + i * a_stride * size, v, columns, one)


def row_products(dtype):
    """The task alpha A v; with v = 0, alpha times the sums of the rows.

    Record (a, a_stride, v, rows, columns, out, out_stride, alpha).
    """
    return compiled_task(_row_products, dtype)


def _dot(record, t, tasks, one):
    x, y, n, out = unpack(record, 4)
    pieces = (n + PIECE - 1) // PIECE
    partial = vector_at(out, pieces, 0.0)
    for p in range(pieces * t // tasks, pieces * (t + 1) // tasks):
        place = p * PIECE * size_of(one)
        partial[p] = _inner(x + place, y + place, min(PIECE, n - p * PIECE), one)


def dot(dtype):
    """The task of an inner product: record (x, y, n, out); out takes the float64 sum of every PIECE of numbers."""
    return compiled_task(_dot, dtype)


def _squares(record, t, tasks, one):
    w, w_stride, rows, columns, out = unpack(record, 5)
    total = np.float64(0.0)
    for i in range(rows):
        row = w + i * w_stride * size_of(one)
        total += _inner(row, row, columns, one)
    vector_at(out, 1, 0.0)[0] = total


def squares(dtype):
    """The task that sums the squares of a matrix: record (w, w_stride, rows, columns, out); out is a float64."""
    return compiled_task(_squares, dtype)
