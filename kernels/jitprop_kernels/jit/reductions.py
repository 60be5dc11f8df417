"""Sums over examples or inputs: bias gradients, products with one row, inner products, squares.

A sum runs in four vectors of partial sums (over panels in one for each row, several rows side by side), which are added
in a fixed order at the end, and a long one in pieces: its bits depend on its length and on the width of a vector only.
"""

import functools

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .compiling import inlined
from .launch import compiled_task, part, part_of
from .tile import NV
from .vectors import I64, Vectors, call_address, cast, float_of, size_of, unpack, vector_at, vector_length

__all__ = ["PIECE", "add_pieces", "dot", "inner", "panel_sums", "row_products", "squares"]

PIECE = 32768  # numbers of a long sum that one thread adds up
_COLUMNS = 4096  # of panels that are added up in one chain for each row

_AT_ONCE = 2048  # numbers of pieces that are added up, then used
_TOGETHER = 8  # rows of panels that are summed side by side
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


def _summing_panels(weighted):
    """An intrinsic: out = scale times the sums of `count` columns of up to _TOGETHER rows of panels.

    Plus `out` if `more`. Where `weighted`, each number is multiplied by that of its column, at the address of `y`.
    Strides in bytes.
    """

    @intrinsic
    def sums(typingctx, x, row, panel, y, count, rows, out, more, scale):
        signature = types.void(*[types.intp] * 8, scale)
        return signature, functools.partial(_emit_panel_sums, weighted)

    return sums


def _emit_panel_sums(weighted, context, builder, signature, args):
    x, row, panel, y, count, rows, out, more, scale = args
    v = Vectors(builder, scale.type, vector_length(4 if isinstance(scale.type, ir.FloatType) else 8))
    # In place of rows that are missing the last one is read again.
    last, some = builder.sub(rows, I64(1)), map(I64, range(min(_TOGETHER, v.VL)))
    places = [builder.select(builder.icmp_signed("<", i, last), i, last) for i in some]
    places = [builder.add(x, builder.mul(place, row)) for place in places]
    along = [I64(j * v.VL * v.size) for j in range(NV)]

    def add(sums, offset, passed, masks):
        """Add the panel `offset` bytes on, whose first column is the one `passed` bytes from the first of all."""
        added = []
        if weighted:
            start = builder.add(y, passed)
            factors = [v.load(builder.add(start, j), mask) for j, mask in zip(along, masks, strict=True)]
        for place, partial in zip(places, sums, strict=True):
            start = builder.add(place, offset)
            vectors = [v.load(builder.add(start, j), mask) for j, mask in zip(along, masks, strict=True)]
            if weighted:
                for vector, factor in zip(vectors, factors, strict=True):
                    partial = v.fma(vector, factor, partial)
                added.append(partial)
            else:
                added.append(builder.fadd(partial, functools.reduce(builder.fadd, vectors)))
        return added

    before, NR = builder.block, I64(NV * v.VL)
    loop, whole, rest = (builder.append_basic_block(f"panels.{name}") for name in ("loop", "whole", "rest"))
    part, end = (builder.append_basic_block(f"panels.{name}") for name in ("part", "end"))
    builder.branch(loop)
    builder.position_at_end(loop)
    left, offset = builder.phi(I64), builder.phi(I64)
    sums = [builder.phi(v.type) for _ in places]
    for phi, start in [(left, count), (offset, I64(0)), *((partial, v.zero) for partial in sums)]:
        phi.add_incoming(start, before)
    passed = builder.mul(builder.sub(count, left), I64(v.size))
    builder.cbranch(builder.icmp_signed(">=", left, NR), whole, part)
    builder.position_at_end(whole)
    values = [builder.sub(left, NR), builder.add(offset, panel), *add(sums, offset, passed, [None] * NV)]
    for phi, value in zip([left, offset, *sums], values, strict=True):
        phi.add_incoming(value, whole)
    builder.branch(loop)
    builder.position_at_end(part)
    builder.cbranch(builder.icmp_signed(">", left, I64(0)), rest, end)
    builder.position_at_end(rest)
    with_rest = add(sums, offset, passed, [v.mask(left, j * v.VL) for j in range(NV)])
    builder.branch(end)
    builder.position_at_end(end)
    totals = [builder.phi(v.type) for _ in places]
    for phi, *values in zip(totals, sums, with_rest, strict=True):
        for value, block in zip(values, (part, rest), strict=True):
            phi.add_incoming(value, block)
    mask, adding = v.mask(rows), v.splat(builder.icmp_unsigned("!=", more, I64(0)))
    already = v.load(out, builder.and_(mask, adding))
    v.store(v.fma(v.sums(totals), v.splat(scale), already), out, mask)
    return context.get_dummy_value()


_panel_sums, _weighted_panel_sums = _summing_panels(False), _summing_panels(True)


@inlined
def panel_sums(x, row, panel, y, count, NR, out, n, scale, one):
    """`scale` times the sums of `count` columns of n rows of panels, to `out`; panels are NR wide, strides in numbers.

    Where the address y is not 0, columns are multiplied by the numbers there. A long sum is taken in pieces.
    """
    size, together = size_of(one), min(_TOGETHER, NR // NV)
    for i in range(0, n, together):
        for e in range(0, count, _COLUMNS):
            place, terms, rows = x + (e // NR * panel + i * row) * size, min(_COLUMNS, count - e), min(together, n - i)
            target, factor = out + i * size, cast(scale, one)
            if y == 0:
                _panel_sums(place, row * size, panel * size, y, terms, rows, target, e, factor)
            else:
                _weighted_panel_sums(place, row * size, panel * size, y + e * size, terms, rows, target, e, factor)


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


def _add_pieces(record, t, tasks, one):
    x, x_row, rows, columns, grain, pieces, distance, update = unpack(record, 8)
    size = size_of(one)
    i0, i1, j0, j1 = 0, 1, 0, columns
    if rows == 1:
        j0, j1 = part_of(columns, grain, t, tasks)
    else:
        i0, i1 = part(rows, t, tasks)
    for i in range(i0, i1):
        for j in range(j0, j1, _AT_ONCE):
            n, place = min(_AT_ONCE, j1 - j), x + (i * x_row + j) * size
            total = vector_at(place, n, one)
            for p in range(1, pieces):
                other = vector_at(place + p * distance * size, n, one)
                for q in range(n):
                    total[q] += other[q]
            if update != 0:
                call_address(update, record + 8 * 8, i, j, place, 0, 1, n)


def add_pieces(dtype):
    """The task that adds other pieces of a sum to the first, in their order, and may then update a parameter with it.

    Record (first piece, numbers from row to row, rows, columns, grain, pieces, numbers from piece to piece, address of
    the block that updates, or 0, and `optimizers.update_record`). Threads share the rows, or where there is one its
    columns, in multiples of `grain`.
    """
    return compiled_task(_add_pieces, dtype)
