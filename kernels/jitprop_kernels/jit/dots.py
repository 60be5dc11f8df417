"""The dot tile: inner products of a few rows of A with a few rows of B, both read along their rows.

For rows of k numbers it computes ::

    C[i, j] = bias[j] + sum_p A[i, p] B[j, p]        p = 0, 1, ..., k - 1

with the lanes of a vector running over p, and adds the lanes at the end, those of several sums together. `tile` runs
them over columns instead, and needs one operand with its columns as rows of memory; where that would have to be made
by a transposition that is not paid back (few examples, or many inputs of few units), this one reads both as they lie.
A sum is taken lane by lane in the order of p, whatever is computed beside it.
"""

import functools

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from . import compiling
from .vectors import I64, Vectors, define, vector_length

__all__ = ["dots"]


_MOST_COLUMNS = 16  # more than a tile has rows


def _shape(count, grain):
    """Rows of A and of B in a tile for `count` of A, which are shared out evenly: 16 are 4 x 4, not 3 x 5 and one.

    The registers must take rows x columns sums, a vector of each row of A, one of B and a spare one.
    """
    registers = compiling.register_count()
    most = 5 if registers >= 32 else 3
    rows = -(-count // -(-count // most)) if grain is None else max(r for r in range(1, most + 1) if grain % r == 0)
    return rows, min(_MOST_COLUMNS, (registers - 2 - rows) // rows)


def _emit(builder, arguments, scalar, rows, columns):
    a, a_rs, b, b_rs, c, c_rs, k, bias, more = arguments
    v = Vectors(builder, scalar, vector_length(4 if isinstance(scalar, ir.FloatType) else 8))
    size = I64(v.size)
    a_rs, b_rs, c_rs = (builder.mul(x, size) for x in (a_rs, b_rs, c_rs))
    left = [builder.add(a, builder.mul(a_rs, I64(i))) for i in range(rows)]
    right = [builder.add(b, builder.mul(b_rs, I64(j))) for j in range(columns)]

    def add(sums, offset, mask=None):
        values, added = [v.load(builder.add(row, offset), mask) for row in left], dict(sums)
        for j, row in enumerate(right):
            other = v.load(builder.add(row, offset), mask)
            for i, value in enumerate(values):
                added[i, j] = v.fma(value, other, sums[i, j])
        return added

    before = builder.block
    loop, whole, rest = (builder.append_basic_block(name) for name in ("loop", "whole", "rest"))
    builder.branch(loop)
    builder.position_at_end(loop)
    remaining, offset = builder.phi(I64), builder.phi(I64)
    sums = {(i, j): builder.phi(v.type) for i in range(rows) for j in range(columns)}
    for phi, value in [(remaining, k), (offset, I64(0)), *((partial, v.zero) for partial in sums.values())]:
        phi.add_incoming(value, before)
    builder.cbranch(builder.icmp_signed(">=", remaining, I64(v.VL)), whole, rest)
    builder.position_at_end(whole)
    values = [builder.sub(remaining, I64(v.VL)), builder.add(offset, I64(v.VL * v.size)), *add(sums, offset).values()]
    for phi, value in zip([remaining, offset, *sums.values()], values, strict=True):
        phi.add_incoming(value, whole)
    builder.branch(loop)
    builder.position_at_end(rest)
    sums = add(sums, offset, v.mask(remaining))
    has_bias = builder.icmp_unsigned("!=", bias, I64(0))
    bias = builder.select(has_bias, bias, c)  # a masked load of an address that is none would be slow
    biased, adding = v.splat(has_bias), v.splat(builder.icmp_unsigned("!=", more, I64(0)))
    for j in range(0, columns, v.VL):
        mask, along = v.mask(I64(columns - j)), I64(j * v.size)
        start = v.load(builder.add(bias, along), builder.and_(mask, biased))
        for i in range(rows):
            total = v.sums([sums[i, q] for q in range(j, min(columns, j + v.VL))])
            place = builder.add(builder.add(c, builder.mul(c_rs, I64(i))), along)
            already = v.load(place, builder.and_(mask, adding))
            v.store(builder.fadd(builder.fadd(total, start), already), place, mask)


def _dispatcher(shapes):
    @intrinsic
    def run(typingctx, rows, columns, a, a_rs, b, b_rs, c, c_rs, k, bias, more, like):
        signature = types.void(*[types.intp] * 11, like)

        def codegen(context, builder, signature, args):
            rows, columns, *rest, _ = args
            scalar = context.get_value_type(like)
            end = builder.append_basic_block("dots.end")
            switch = builder.switch(builder.add(builder.mul(columns, I64(_MOST_COLUMNS)), rows), end)
            for r, q in shapes:
                case = builder.append_basic_block(f"dots.{r}.{q}")
                switch.add_case(I64(q * _MOST_COLUMNS + r), case)
                with builder.goto_block(case):
                    emit = functools.partial(_emit, scalar=scalar, rows=r, columns=q)
                    function = define(builder.module, f"jitprop_dots_{r}x{q}_{scalar}", [I64] * 9, emit)
                    builder.call(function, rest)
                    builder.branch(end)
            builder.position_at_end(end)
            return context.get_dummy_value()

        return signature, codegen

    return run


def dots(dtype, n, count, grain=None):
    """The dot tile for `count` rows of A and n of B: its address, and how many of each it takes.

    Threads take rows of A in multiples of those of the tile, or of `grain`.
    """
    rows, columns = _shape(count, grain)
    heights, widths = {min(count, rows), count % rows}, {min(n, columns), n % columns}
    return _compiled(dtype, tuple((r, q) for r in sorted(heights) for q in sorted(widths) if r and q)), rows, columns


@functools.cache
def _compiled(dtype, shapes):
    run, one = _dispatcher(shapes), dtype.type(1)

    def dot_tile(rows, columns, a, a_rs, b, b_rs, c, c_rs, k, bias, more):
        run(rows, columns, a, a_rs, b, b_rs, c, c_rs, k, bias, more, one)

    dot_tile.__name__ = dot_tile.__qualname__ = "dot_tile_" + "_".join(f"{r}x{q}" for r, q in shapes) + f"_{dtype.name}"
    return compiling.compile_address(dot_tile, types.void(*[types.intp] * 11))
