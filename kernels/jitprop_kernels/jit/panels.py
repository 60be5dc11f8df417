"""Panels: copies of parts of a matrix in the order in which the register tile reads them.

A panel holds NR columns, row after row, so that the tile walks through memory without a gap. `pack` copies columns of a
matrix whose rows are contiguous, `transpose` takes them from rows: the columns of A^T are the rows of A. Columns that
are missing in the last panel are not written, and the tile does not read them.
"""

import functools

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .compiling import inlined
from .vectors import I64, Vectors, define, size_of, vector_at, vector_length

__all__ = ["pack", "transpose"]


@inlined
def pack(source, stride, rows, columns, panel, NR, one):
    """Copy `rows` x `columns` numbers at `source` into a panel."""
    for p in range(rows):
        inner = vector_at(source + p * stride * size_of(one), columns, one)
        outer = vector_at(panel + p * NR * size_of(one), columns, one)
        for j in range(columns):
            outer[j] = inner[j]


def _transposing(masked):
    """An intrinsic that transposes VL x VL numbers in registers; `masked` where some rows or columns are missing."""

    def emit(builder, arguments, scalar):
        source, stride, rows, columns, target, target_stride = arguments
        v = Vectors(builder, scalar, vector_length(4 if isinstance(scalar, ir.FloatType) else 8))
        size, last = I64(v.size), builder.sub(rows, I64(1))
        stride, target_stride = builder.mul(stride, size), builder.mul(target_stride, size)
        across, down = (v.mask(columns), v.mask(rows)) if masked else (None, None)
        none, lines = ir.Constant(ir.VectorType(ir.IntType(1), v.VL), None), []
        for i in map(I64, range(v.VL)):
            if masked:  # in place of rows that are missing the last one is read again
                i = builder.select(builder.icmp_signed("<", i, last), i, last)
            lines.append(v.load(builder.add(source, builder.mul(stride, i)), across))
        for i, line in zip(map(I64, range(v.VL)), v.transpose(lines), strict=True):
            if masked:
                mask = builder.select(builder.icmp_signed("<", i, columns), down, none)
            v.store(line, builder.add(target, builder.mul(target_stride, i)), mask if masked else None)

    @intrinsic
    def block(typingctx, source, stride, rows, columns, target, target_stride, like):
        signature = types.void(*[types.intp] * 6, like)

        def codegen(context, builder, signature, args):
            scalar = context.get_value_type(like)
            name = f"jitprop_transpose_{'masked' if masked else 'whole'}_{scalar}"
            function = define(builder.module, name, [I64] * 6, functools.partial(emit, scalar=scalar))
            builder.call(function, args[:6])
            return context.get_dummy_value()

        return signature, codegen

    return block


_transpose_whole, _transpose_masked = _transposing(False), _transposing(True)


@inlined
def transpose(source, stride, rows, columns, target, target_stride, VL, one):
    """Write the transpose of `rows` x `columns` numbers at `source` to `target`, and nothing beside it."""
    size = size_of(one)
    for p in range(0, columns, VL):
        for i in range(0, rows, VL):
            height, width = min(VL, rows - i), min(VL, columns - p)
            place, to = source + (i * stride + p) * size, target + (p * target_stride + i) * size
            if height == VL and width == VL:
                _transpose_whole(place, stride, height, width, to, target_stride, one)
            else:
                _transpose_masked(place, stride, height, width, to, target_stride, one)
