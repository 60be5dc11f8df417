"""Z = W X + b for a few examples: W is read once, where it lies, and its rows are transposed in registers.

For one example `tile` would fill one lane of its vectors. Here the lanes run over VL units: VL x VL numbers of W become
VL vectors, one for each term of the sum, and every example adds them in turn. So a sum is taken in the order of
`tile`, and has its bits.
"""

import functools

from numba import types
from numba.extending import intrinsic

from . import compiling
from .launch import bits, compiled_task, part_of
from .steps import DEPTH
from .vectors import I64, Vectors, call_address, define, float_of, size_of, unpack, vector_length

__all__ = ["FEW", "few_product"]

FEW = 4  # examples, beyond which whole vectors of them come cheaper


def _emit(builder, arguments, scalar, VL, count):
    w, w_row, units, k, bias, x, x_term, x_example, z, z_example, more = arguments
    v = Vectors(builder, scalar, VL)
    size, mask, none = I64(v.size), v.mask(units), I64(0)
    w_row, x_term, x_example, z_example = (builder.mul(s, size) for s in (w_row, x_term, x_example, z_example))
    last = builder.sub(units, I64(1))
    # In place of units that are missing the last one is read again; these sums are not stored.
    units_read = [builder.select(builder.icmp_signed("<", I64(i), last), I64(i), last) for i in range(VL)]
    rows = [builder.add(w, builder.mul(w_row, i)) for i in units_read]
    examples = [builder.add(x, builder.mul(x_example, I64(e))) for e in range(count)]

    def add(sums, p, terms=None):
        """Add VL terms to the sums; of the last ones only those that there are."""
        offset, lines = builder.mul(p, size), []
        for row in rows:
            lines.append(v.load(builder.add(row, offset), None if terms is None else v.mask(terms)))
        for q, line in enumerate(v.transpose(lines)):
            place = builder.mul(x_term, builder.add(p, I64(q)))
            there = None if terms is None else builder.icmp_signed("<", I64(q), terms)
            if there is not None:
                place = builder.select(there, place, none)
            for e, example in enumerate(examples):
                value = v.splat(v.load_scalar(builder.add(example, place)))
                total = v.fma(line, value, sums[e])
                sums[e] = total if there is None else builder.select(there, total, sums[e])
        return sums

    biased = builder.icmp_unsigned("!=", bias, none)
    start = v.load(bias, builder.and_(mask, v.splat(biased)))
    before = builder.block
    loop, whole, part, rest, end = map(builder.append_basic_block, ("loop", "whole", "part", "rest", "end"))
    builder.branch(loop)
    builder.position_at_end(loop)
    p, sums = builder.phi(I64), [builder.phi(v.type) for _ in range(count)]
    for phi, value in zip([p, *sums], [none, *[start] * count], strict=True):
        phi.add_incoming(value, before)
    left = builder.sub(k, p)
    builder.cbranch(builder.icmp_signed(">=", left, I64(VL)), whole, part)
    builder.position_at_end(whole)
    following = [builder.add(p, I64(VL)), *add(list(sums), p)]
    for phi, value in zip([p, *sums], following, strict=True):
        phi.add_incoming(value, whole)
    builder.branch(loop)
    builder.position_at_end(part)
    builder.cbranch(builder.icmp_signed(">", left, none), rest, end)
    builder.position_at_end(rest)
    partial = add(list(sums), p, left)
    builder.branch(end)
    builder.position_at_end(end)
    totals = [builder.phi(v.type) for _ in range(count)]
    adding = builder.icmp_unsigned("!=", more, none)
    for e, total in enumerate(totals):
        total.add_incoming(sums[e], part)
        total.add_incoming(partial[e], rest)
        place = builder.add(z, builder.mul(z_example, I64(e)))
        v.store(builder.select(adding, builder.fadd(total, v.load(place, mask)), total), place, mask)


@functools.cache
def _matvec(dtype, count):
    """The address of the code for so many examples.

    Its arguments: w, row to row, units <= VL, k, bias (0: none), x, term to term, example to example, z, example to
    example, and whether to add to z. Strides in elements.
    """
    VL, one = vector_length(dtype.itemsize), dtype.type(1)

    @intrinsic
    def run(typingctx, arguments, like):
        def codegen(context, builder, signature, args):
            scalar = context.get_value_type(like)
            emit = functools.partial(_emit, scalar=scalar, VL=VL, count=count)
            function = define(builder.module, f"jitprop_matvec_{count}x{VL}_{scalar}", [I64] * 11, emit)
            builder.call(function, [builder.extract_value(args[0], i) for i in range(11)])
            return context.get_dummy_value()

        return types.void(arguments, like), codegen

    def matvec(w, w_row, units, k, bias, x, x_term, x_example, z, z_example, more):
        run((w, w_row, units, k, bias, x, x_term, x_example, z, z_example, more), one)

    matvec.__name__ = matvec.__qualname__ = f"matvec_{count}_{dtype.name}"
    return compiling.compile_address(matvec, types.void(*[types.intp] * 11))


def _few_product(record, t, tasks, one):
    (matvec, VL, n, k, count, w, w_row, bias, x, x_term, x_example, z, z_example, block, parameter) = unpack(record, 15)
    size = size_of(one)
    i0, i1 = part_of(n, VL, t, tasks)
    pieces = (k + DEPTH - 1) // DEPTH
    depth = (k + pieces - 1) // pieces
    for i in range(i0, i1, VL):
        for k0 in range(0, k, depth):
            call_address(
                matvec, w + (i * w_row + k0) * size, w_row, min(VL, i1 - i), min(depth, k - k0),
                bias + i * size if k0 == 0 else 0, x + k0 * x_term * size, x_term, x_example, z + i * size, z_example,
                int(k0 > 0),
            )  # fmt: skip
    if block != 0 and i0 < i1:
        place = z + i0 * size
        call_address(block, place, z_example, place, z_example, count, i1 - i0, float_of(parameter))


def few_product(dtype, n, k, count, W, bias, X, Z, block=0, parameter=0.0):
    """The task Z = W X + bias of `count` <= FEW examples, then a block on Z in its place.

    W is (address, row to row), X (address, term to term, example to example), Z (address, example to example): its
    units follow each other.
    """
    VL = vector_length(dtype.itemsize)
    record = [_matvec(dtype, count), VL, n, k, count, *W, bias, *X, *Z, block, bits(parameter)]
    return compiled_task(_few_product, dtype), record
