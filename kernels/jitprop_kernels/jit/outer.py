"""The sum of a few outer products: dW of so few examples that a register tile would store more than it sums.

For `count` examples, the columns of A = dZ and the rows of B = A_prev^T, it computes ::

    C[i, j] = alpha * (sum_e A[i, e] B[e, j]) + beta * C[i, j]        e = 0, 1, ..., count - 1

Some vectors of each row of B stay in registers while the rows of C pass by. An element has the bits that the register
tile gives it.
"""

import functools

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from . import compiling
from .vectors import I64, Vectors, vector_length

__all__ = ["most", "outer"]


def most():
    """Of how many examples there may be a vector in registers, or of fewer examples more: half of the registers."""
    return compiling.register_count() // 2


def _emit(builder, scalar, count, rows, columns, a, a_rs, a_cs, b, b_row, c, c_row, alpha, beta):
    v = Vectors(builder, scalar, vector_length(4 if isinstance(scalar, ir.FloatType) else 8))
    size, one = I64(v.size), ir.Constant(scalar, 1.0)
    a_rs, a_cs, b_row, c_row = (builder.mul(x, size) for x in (a_rs, a_cs, b_row, c_row))
    scale, kept = v.splat(alpha), v.splat(beta)
    ways = {
        "keep": lambda total, C: v.fma(scale, total, v.load(*C)),
        "put": lambda total, C: builder.fmul(scale, total),
        "add": lambda total, C: v.fma(scale, total, builder.fmul(kept, v.load(*C))),
    }

    def strip(way, offset, vectors, mask=None):
        """Some columns of all rows."""
        along = [builder.add(offset, I64(q * v.VL * v.size)) for q in range(vectors)]
        right = [
            [v.load(builder.add(builder.add(b, builder.mul(b_row, I64(e))), place), mask) for place in along]
            for e in range(count)
        ]
        with cgutils.for_range(builder, rows) as loop:
            left = builder.add(a, builder.mul(loop.index, a_rs))
            row = builder.add(c, builder.mul(loop.index, c_row))
            dZ = [v.splat(v.load_scalar(builder.add(left, builder.mul(a_cs, I64(e))))) for e in range(count)]
            for q, place in enumerate(along):
                total = v.zero
                for e in range(count):
                    total = v.fma(dZ[e], right[e][q], total)
                C = builder.add(row, place), mask
                v.store(ways[way](total, C), *C)

    def every(way):
        widest, start = most() // (1 << (count - 1).bit_length()), I64(0)
        for vectors in sorted({widest, min(widest, most() // 4), 1}, reverse=True):
            width = vectors * v.VL
            whole = builder.mul(builder.udiv(columns, I64(width)), I64(width))
            with cgutils.for_range_slice(builder, start, whole, I64(width)) as (j, _):
                strip(way, builder.mul(j, size), vectors)
            start = whole
        with builder.if_then(builder.icmp_signed("<", start, columns)):
            strip(way, builder.mul(start, size), 1, v.mask(builder.sub(columns, start)))

    with builder.if_else(builder.fcmp_ordered("==", beta, one)) as (same, other):
        with same:
            every("keep")
        with other, builder.if_else(builder.fcmp_unordered("!=", beta, ir.Constant(scalar, 0.0))) as (more, none):
            with more:
                every("add")
            with none:
                every("put")


@functools.cache
def outer(dtype, count):
    """The address of ``outer(rows, columns, a, a_rs, a_cs, b, b_row, c, c_row, alpha, beta)`` for `count` examples.

    a, b and c are addresses; A has a stride for its rows and one for its columns, B and C one for their rows.
    """
    scalar = types.float32 if dtype.itemsize == 4 else types.float64

    @intrinsic
    def run(typingctx, rows, columns, a, a_rs, a_cs, b, b_row, c, c_row, alpha, beta):
        def codegen(context, builder, signature, args):
            _emit(builder, context.get_value_type(scalar), count, *args)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 9, scalar, scalar), codegen

    def outer_products(rows, columns, a, a_rs, a_cs, b, b_row, c, c_row, alpha, beta):
        run(rows, columns, a, a_rs, a_cs, b, b_row, c, c_row, alpha, beta)

    outer_products.__name__ = outer_products.__qualname__ = f"outer_products_{count}_{dtype.name}"
    return compiling.compile_address(outer_products, types.void(*[types.intp] * 9, scalar, scalar))
