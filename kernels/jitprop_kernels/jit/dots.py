"""The dot tile: inner products of a few rows of A with a few rows of B, both read along their rows.

For rows of k numbers it computes ::

    C[i, j] = bias[j] + sum_p A[i, p] B[j, p]        p = 0, 1, ..., k - 1

with the lanes of a vector running over p, and adds the lanes at the end. `tile` runs them over columns instead, and
needs one operand with its columns as rows of memory; where that would have to be made by a transposition that is not
paid back (few examples, or many inputs of few units), this one reads both as they lie. A sum is taken lane by lane in
the order of p, whatever is computed beside it.
"""

import functools

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from . import compiling
from .vectors import I64, Vectors, define, vector_length

__all__ = ["dots", "dots_shape"]


def dots_shape():
    """Rows of A and of B in the largest tile: 5 x 5 sums, 5 of B and 1 of A in 32 registers, 3 x 3 in 16."""
    return (5, 5) if compiling.register_count() >= 32 else (3, 3)


def _emit(builder, arguments, scalar, rows, columns):
    a, a_rs, b, b_rs, c, c_rs, k, bias, more = arguments
    v = Vectors(builder, scalar, vector_length(4 if isinstance(scalar, ir.FloatType) else 8))
    size = I64(v.size)
    a_rs, b_rs, c_rs = (builder.mul(x, size) for x in (a_rs, b_rs, c_rs))
    left = [builder.add(a, builder.mul(a_rs, I64(i))) for i in range(rows)]
    right = [builder.add(b, builder.mul(b_rs, I64(j))) for j in range(columns)]

    def add(sums, offset, mask=None):
        others, total = [v.load(builder.add(row, offset), mask) for row in right], []
        for i, row in enumerate(left):
            value = v.load(builder.add(row, offset), mask)
            total += [v.fma(value, other, sums[i * columns + j]) for j, other in enumerate(others)]
        return total

    before = builder.block
    loop, whole, rest = (builder.append_basic_block(name) for name in ("loop", "whole", "rest"))
    builder.branch(loop)
    builder.position_at_end(loop)
    remaining, offset = builder.phi(I64), builder.phi(I64)
    sums = [builder.phi(v.type) for _ in range(rows * columns)]
    for phi, value in [(remaining, k), (offset, I64(0)), *((partial, v.zero) for partial in sums)]:
        phi.add_incoming(value, before)
    builder.cbranch(builder.icmp_signed(">=", remaining, I64(v.VL)), whole, rest)
    builder.position_at_end(whole)
    following = [builder.sub(remaining, I64(v.VL)), builder.add(offset, I64(v.VL * v.size)), *add(sums, offset)]
    for phi, value in zip([remaining, offset, *sums], following, strict=True):
        phi.add_incoming(value, whole)
    builder.branch(loop)
    builder.position_at_end(rest)
    totals = [v.sum(vector) for vector in add(sums, offset, v.mask(remaining))]
    zero = ir.Constant(scalar, 0.0)
    biased, adding = builder.icmp_unsigned("!=", bias, I64(0)), builder.icmp_unsigned("!=", more, I64(0))
    # Where there is no bias, or nothing to add to, some other number is read and left out.
    first = builder.select(biased, bias, right[0])
    step = builder.select(biased, size, I64(0))
    for j in range(columns):
        start = builder.select(biased, v.load_scalar(builder.add(first, builder.mul(step, I64(j)))), zero)
        for i in range(rows):
            place = builder.add(builder.add(c, builder.mul(c_rs, I64(i))), I64(j * v.size))
            already = builder.select(adding, v.load_scalar(place), zero)
            total = builder.fadd(builder.fadd(totals[i * columns + j], start), already)
            builder.store(total, builder.inttoptr(place, scalar.as_pointer()), align=v.size)


def _dispatcher(most_rows, widths):
    @intrinsic
    def run(typingctx, rows, columns, a, a_rs, b, b_rs, c, c_rs, k, bias, more, like):
        signature = types.void(*[types.intp] * 11, like)

        def codegen(context, builder, signature, args):
            rows, columns, *rest, _ = args
            scalar = context.get_value_type(like)
            end = builder.append_basic_block("dots.end")
            index = builder.add(builder.mul(columns, I64(most_rows + 1)), rows)
            switch = builder.switch(index, end)
            for r in range(1, most_rows + 1):
                for q in widths:
                    case = builder.append_basic_block(f"dots.{r}.{q}")
                    switch.add_case(I64(q * (most_rows + 1) + r), case)
                    with builder.goto_block(case):
                        emit = functools.partial(_emit, scalar=scalar, rows=r, columns=q)
                        function = define(builder.module, f"jitprop_dots_{r}x{q}_{scalar}", [I64] * 9, emit)
                        builder.call(function, rest)
                        builder.branch(end)
            builder.position_at_end(end)
            return context.get_dummy_value()

        return signature, codegen

    return run


def dots(dtype, n):
    """The address of the dot tile for n rows of B, as many at a time as `dots_shape` says."""
    most_rows, most_columns = dots_shape()
    return _compiled(dtype, most_rows, tuple(sorted({min(n, most_columns), n % most_columns or most_columns})))


@functools.cache
def _compiled(dtype, most_rows, widths):
    run, one = _dispatcher(most_rows, widths), dtype.type(1)

    def dot_tile(rows, columns, a, a_rs, b, b_rs, c, c_rs, k, bias, more):
        run(rows, columns, a, a_rs, b, b_rs, c, c_rs, k, bias, more, one)

    dot_tile.__name__ = dot_tile.__qualname__ = f"dot_tile_{'_'.join(map(str, widths))}_{dtype.name}"
    return compiling.compile_address(dot_tile, types.void(*[types.intp] * 11))
