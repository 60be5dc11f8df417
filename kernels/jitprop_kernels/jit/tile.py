"""The register tile: a small matrix product whose sums never leave the vector registers.

For MR rows and up to NV vectors of VL columns it computes ::

    C[i, j] = alpha * (bias[i] + sum_p A[i, p] B[p, j])        p = 0, 1, ..., k - 1

or adds that to C, one column of A times one row of B at a time: MR * NV independent chains of fused multiply-adds,
enough to hide their latency, fed by NV loads and MR broadcasts. Every sum is taken in the order of p, whatever MR, NV
or the columns beside it are, so an element's bits do not depend on how a product was cut into tiles. A has a stride for
its rows and one for its columns, which lets one tile serve W A_prev, W^T dZ and dZ A_prev^T.

MR and NV follow the vector registers (Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication",
ACM TOMS 34(3), 2008, section 6; Van Zee and van de Geijn, "BLIS", ACM TOMS 41(3), 2015): MR * NV accumulators, NV
registers for a row of B and one for a broadcast must fit.
"""

import functools
from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from . import compiling
from .vectors import I64, Vectors, define, vector_length

__all__ = ["Tile", "call_tile", "tile"]


class Tile(NamedTuple):
    """The machine code of the tile for one dtype, and its shape."""

    address: int
    MR: int
    NV: int
    VL: int

    @property
    def NR(self):
        """Columns of the widest tile."""
        return self.NV * self.VL


def _shape(itemsize):
    """MR, NV, VL for the host: 14 x 2 of 32 registers (28 sums, 2 of B, 1 broadcast, 1 spare), 6 x 2 of 16."""
    VL = vector_length(itemsize)
    return (14, 2, VL) if compiling.register_count() >= 32 else (6, 2, VL)


class _Body:
    """Emits one tile of MR rows and NV vectors; `masked` where columns of the last vector may be outside."""

    def __init__(self, builder, scalar, MR, NV, VL, masked):
        self.builder, self.MR, self.NV, self.VL, self.masked = builder, MR, NV, VL, masked
        self.v = Vectors(builder, scalar, VL)
        self.masks = [None] * NV

    def load(self, address, j):
        return self.v.load(self.builder.add(address, I64(j * self.VL * self.v.size)), self.masks[j])

    def store(self, value, address, j):
        self.v.store(value, self.builder.add(address, I64(j * self.VL * self.v.size)), self.masks[j])

    def grid(self, make):
        return [[make(i, j) for j in range(self.NV)] for i in range(self.MR)]

    def emit(self, columns, a, a_rs, a_cs, b, b_rs, c, c_rs, k, bias, more, alpha):
        builder = self.builder
        if self.masked:
            self.masks = [self.v.mask(columns, j * self.VL) for j in range(self.NV)]
        a_rs, a_cs, b_rs, c_rs = (builder.mul(x, I64(self.v.size)) for x in (a_rs, a_cs, b_rs, c_rs))
        row = [builder.add(c, builder.mul(c_rs, I64(i))) for i in range(self.MR)]
        sums = self.accumulate(self.initial(bias), a, a_rs, a_cs, b, b_rs, k)
        self.finish(sums, row, more, alpha)

    def initial(self, bias):
        """The first value of every sum: the bias of its row, or zero where `bias` is null."""
        builder, before = self.builder, self.builder.block
        biased, start = builder.append_basic_block("biased"), builder.append_basic_block("start")
        builder.cbranch(builder.icmp_unsigned("!=", bias, I64(0)), biased, start)
        builder.position_at_end(biased)
        size = I64(self.v.size)
        addresses = [builder.add(bias, builder.mul(size, I64(i))) for i in range(self.MR)]
        values = [self.v.splat(self.v.load_scalar(address)) for address in addresses]
        builder.branch(start)
        builder.position_at_end(start)

        def phi(i, j):
            value = builder.phi(self.v.type)
            value.add_incoming(self.v.zero, before)
            value.add_incoming(values[i], biased)
            return value

        return self.grid(phi)

    def accumulate(self, sums, a, a_rs, a_cs, b, b_rs, k):
        """The loop over p.

        One running pointer serves four rows of A. LLVM knows that all move alike and would make one chain of additions
        of them, as long as that of the sums; `opaque` hides it.
        """
        builder, before = self.builder, self.builder.block
        offsets = [I64(0), a_rs, builder.mul(a_rs, I64(2)), builder.mul(a_rs, I64(3))]
        four = builder.mul(a_rs, I64(4))
        starts = [a]
        for _ in range((self.MR - 1) // 4):
            starts.append(builder.add(starts[-1], four))
        loop, after = builder.append_basic_block("k"), builder.append_basic_block("done")
        builder.branch(loop)
        builder.position_at_end(loop)

        def running(kind, value):
            phi = builder.phi(kind)
            phi.add_incoming(value, before)
            return phi

        p, b_row = running(I64, I64(0)), running(I64, b)
        pointers = [running(I64, start) for start in starts]
        partial = self.grid(lambda i, j: running(self.v.type, sums[i][j]))
        b_vectors = [self.load(b_row, j) for j in range(self.NV)]
        total = []
        for i in range(self.MR):
            a_value = self.v.splat(self.v.load_scalar(builder.add(pointers[i // 4], offsets[i % 4])))
            total.append([self.v.fma(a_value, b_vectors[j], partial[i][j]) for j in range(self.NV)])
        following = builder.add(p, I64(1))
        for phi, value in [(p, following), (b_row, builder.add(b_row, b_rs))]:
            phi.add_incoming(value, loop)
        for phi in pointers:
            phi.add_incoming(self.v.opaque(builder.add(phi, a_cs)), loop)
        for i in range(self.MR):
            for j in range(self.NV):
                partial[i][j].add_incoming(total[i][j], loop)
        builder.cbranch(builder.icmp_signed("<", following, k), loop, after)
        builder.position_at_end(after)
        return total

    def finish(self, sums, row, more, alpha):
        """Scale, and store or add to what is there. alpha = 1 leaves every bit."""
        builder = self.builder
        scale = self.v.splat(alpha)
        added = builder.icmp_unsigned("!=", more, I64(0))
        add, put, end = (builder.append_basic_block(name) for name in ("add", "put", "end"))
        builder.cbranch(added, add, put)
        builder.position_at_end(add)
        for i in range(self.MR):
            for j in range(self.NV):
                self.store(self.v.fma(scale, sums[i][j], self.load(row[i], j)), row[i], j)
        builder.branch(end)
        builder.position_at_end(put)
        for i in range(self.MR):
            for j in range(self.NV):
                self.store(builder.fmul(scale, sums[i][j]), row[i], j)
        builder.branch(end)
        builder.position_at_end(end)


def _define(module, scalar, MR, NV, VL, masked):
    """The tile of one shape as a function of `module`."""
    name = f"jitprop_tile_{MR}x{NV}x{VL}{'_masked' if masked else ''}_{scalar}"
    emit = lambda builder, arguments: _Body(builder, scalar, MR, NV, VL, masked).emit(*arguments)  # noqa: E731
    return define(module, name, [I64] * 11 + [scalar], emit)


def _dispatcher(MR, NV, VL):
    """An intrinsic that runs the tile of `rows` rows and just as many vectors as `columns` needs."""

    @intrinsic
    def run(typingctx, rows, columns, a, a_rs, a_cs, b, b_rs, c, c_rs, k, bias, more, alpha):
        signature = types.void(*[types.intp] * 12, alpha)

        def codegen(context, builder, signature, args):
            scalar = context.get_value_type(alpha)
            rows, columns = args[0], args[1]
            end = builder.append_basic_block("tile.end")
            # Which of the tiles of a given number of rows: one vector or two, whole or masked.
            VLs = ir.Constant(I64, VL)
            vectors = builder.sdiv(builder.add(columns, ir.Constant(I64, VL - 1)), VLs)
            partly = builder.icmp_signed("!=", builder.srem(columns, VLs), ir.Constant(I64, 0))
            which = builder.add(builder.mul(vectors, ir.Constant(I64, 2)), builder.zext(partly, I64))
            index = builder.add(builder.mul(rows, ir.Constant(I64, 2 * NV + 2)), which)
            switch = builder.switch(index, end)
            for r in range(1, MR + 1):
                for v in range(1, NV + 1):
                    for masked in (False, True):
                        case = builder.append_basic_block(f"tile.{r}.{v}.{masked}")
                        switch.add_case(ir.Constant(I64, r * (2 * NV + 2) + 2 * v + masked), case)
                        with builder.goto_block(case):
                            builder.call(_define(builder.module, scalar, r, v, VL, masked), args[1:])
                            builder.branch(end)
            builder.position_at_end(end)
            return context.get_dummy_value()

        return signature, codegen

    return run


@functools.cache
def tile(dtype):
    """The tile for float32 or float64 on this processor, compiled when first asked for."""
    dtype = np.dtype(dtype)
    MR, NV, VL = _shape(dtype.itemsize)
    run = _dispatcher(MR, NV, VL)

    def register_tile(rows, columns, a, a_rs, a_cs, b, b_rs, c, c_rs, k, bias, more, alpha):
        run(rows, columns, a, a_rs, a_cs, b, b_rs, c, c_rs, k, bias, more, alpha)

    scalar = types.float32 if dtype == np.float32 else types.float64
    return Tile(compiling.compile_address(register_tile, types.void(*[types.intp] * 12, scalar)), MR, NV, VL)


@intrinsic
def call_tile(typingctx, address, rows, columns, a, a_rs, a_cs, b, b_rs, c, c_rs, k, bias, more, alpha):
    """Call the tile at `address`.

    rows <= MR, columns <= NR; strides in elements; a, b, c and bias are addresses, bias may be 0; `more` adds to C.
    """
    signature = types.void(*[types.intp] * 13, alpha)

    def codegen(context, builder, signature, args):
        kind = ir.FunctionType(ir.VoidType(), [I64] * 12 + [context.get_value_type(alpha)])
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), args[1:])
        return context.get_dummy_value()

    return signature, codegen
