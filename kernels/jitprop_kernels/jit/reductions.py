"""Sums over examples or inputs: bias gradients, products with one row, inner products, squares.

A sum runs in four vectors of partial sums, which are added in a fixed order at the end, and a long one in pieces: its
bits depend on its length and on the width of a vector only.
"""

import numpy as np
from llvmlite import ir
from numba.extending import intrinsic

from .compiling import inlined
from .launch import compiled_task
from .tile import NV
from .vectors import I64, Vectors, cast, float_of, size_of, unpack, vector_at, vector_length

__all__ = ["PIECE", "dot", "inner", "panel_sum", "row_products", "squares"]

PIECE = 32768  # numbers of a long sum that one thread adds up

_CHAINS = 4  # the latency of a fused multiply-add over its throughput


def _summing(weighted):
    """An intrinsic: sum_j x[j] y[j] of n numbers at two addresses, or where not `weighted` sum_j x[j]."""

    @intrinsic
    def total(typingctx, x, y, n, like):
        signature = like(x, y, n, like)

        def codegen(context, builder, signature, args):
            x, y, n, _ = args
            scalar = context.get_value_type(like)
            v = Vectors(builder, scalar, vector_length(4 if isinstance(scalar, ir.FloatType) else 8))

            def add(sums, offset, left=None):
                """Add four vectors from `offset` on, of the last ones only what is `left`."""
                added = []
                for chain, partial in enumerate(sums):
                    place = builder.add(offset, I64(chain * v.VL * v.size))
                    mask = None if left is None else v.mask(left, chain * v.VL)
                    value = v.load(builder.add(x, place), mask)
                    if weighted:
                        added.append(v.fma(value, v.load(builder.add(y, place), mask), partial))
                    else:
                        added.append(builder.fadd(partial, value))
                return added

            stride, before = v.VL * _CHAINS, builder.block
            loop, body, after = (builder.append_basic_block(name) for name in ("sum.loop", "sum.body", "sum.end"))
            builder.branch(loop)
            builder.position_at_end(loop)
            left, offset = builder.phi(I64), builder.phi(I64)
            sums = [builder.phi(v.type) for _ in range(_CHAINS)]
            for phi, start in [(left, n), (offset, I64(0)), *((partial, v.zero) for partial in sums)]:
                phi.add_incoming(start, before)
            builder.cbranch(builder.icmp_signed(">=", left, I64(stride)), body, after)
            builder.position_at_end(body)
            for phi, value in zip(sums, add(sums, offset), strict=True):
                phi.add_incoming(value, body)
            left.add_incoming(builder.sub(left, I64(stride)), body)
            offset.add_incoming(builder.add(offset, I64(stride * v.size)), body)
            builder.branch(loop)
            builder.position_at_end(after)
            sums = add(sums, offset, left)
            vector = builder.fadd(builder.fadd(sums[0], sums[1]), builder.fadd(sums[2], sums[3]))
            return v.sum(vector)

        return signature, codegen

    return total


_inner, _sum = _summing(True), _summing(False)


@inlined
def inner(x, y, n, one):
    """`_inner` in pieces whose sums are added in float64: a single sum of millions would lose its last digits."""
    total = np.float64(0.0)
    for p in range(0, n, PIECE):
        place, count = p * size_of(one), min(PIECE, n - p)
        total += _sum(x + place, 0, count, one) if y == 0 else _inner(x + place, y + place, count, one)
    return total


@intrinsic
def _panel_sum(typingctx, x, stride, count, like):
    """The sum of the first `count` columns of a row of panels that are `stride` bytes apart."""
    signature = like(x, stride, count, like)

    def codegen(context, builder, signature, args):
        x, stride, count, _ = args
        scalar = context.get_value_type(like)
        v = Vectors(builder, scalar, vector_length(4 if isinstance(scalar, ir.FloatType) else 8))

        def add(sums, place, masks):
            places = [builder.add(place, I64(j * v.VL * v.size)) for j in range(NV)]
            return [builder.fadd(*pair) for pair in zip(sums, map(v.load, places, masks), strict=True)]

        before, NR = builder.block, I64(NV * v.VL)
        loop, whole, rest = (builder.append_basic_block(f"panels.{name}") for name in ("loop", "whole", "rest"))
        builder.branch(loop)
        builder.position_at_end(loop)
        left, place = builder.phi(I64), builder.phi(I64)
        sums = [builder.phi(v.type) for _ in range(NV)]
        for phi, start in [(left, count), (place, x), *((partial, v.zero) for partial in sums)]:
            phi.add_incoming(start, before)
        builder.cbranch(builder.icmp_signed(">=", left, NR), whole, rest)
        builder.position_at_end(whole)
        values = [builder.sub(left, NR), builder.add(place, stride), *add(sums, place, [None] * NV)]
        for phi, value in zip([left, place, *sums], values, strict=True):
            phi.add_incoming(value, whole)
        builder.branch(loop)
        builder.position_at_end(rest)
        total, *others = add(sums, place, [v.mask(left, j * v.VL) for j in range(NV)])
        for other in others:
            total = builder.fadd(total, other)
        return v.sum(total)

    return signature, codegen


@inlined
def panel_sum(x, stride, count, NR, one):
    """`_panel_sum` in pieces whose sums are added in float64; NR is the width of a panel."""
    total = np.float64(0.0)
    for e in range(0, count, PIECE):
        total += _panel_sum(x + e // NR * stride, stride, min(PIECE, count - e), one)
    return total


def _row_products(record, t, tasks, one):
    a, a_stride, v, rows, columns, out, out_stride, alpha = unpack(record, 8)
    size = size_of(one)
    for i in range(rows * t // tasks, rows * (t + 1) // tasks):
        target = vector_at(out + i * out_stride * size, 1, one)
        target[0] = cast(float_of(alpha) * inner(a + i * a_stride * size, v, columns, one), one)


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
    total = vector_at(out, rows, 0.0)
    for i in range(rows * t // tasks, rows * (t + 1) // tasks):
        row = w + i * w_stride * size_of(one)
        total[i] = inner(row, row, columns, one)


def squares(dtype):
    """The task that sums the squares of each row of a matrix.

    Record (w, w_stride, rows, columns, out); out takes a float64 a row.
    """
    return compiled_task(_squares, dtype)
