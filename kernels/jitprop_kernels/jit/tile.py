"""The register tile: a small matrix product whose sums never leave the vector registers.

For MR rows and up to NV vectors of VL columns it computes ::

    C[i, j] = alpha * (bias[i] + sum_p A[i, p] B[p, j]) + beta * C[i, j]        p = 0, 1, ..., k - 1

one column of A times one row of B at a time: MR * NV independent chains of fused multiply-adds, enough to hide their
latency, fed by NV loads and MR broadcasts. Every sum is taken in the order of p, whatever MR, NV or the columns beside
it are, so an element's bits do not depend on how a product was cut into tiles. With beta = 0 the tile does not read C;
with C = W, alpha = -learning rate and beta = 1 it is a step of gradient descent. A has a stride for its rows and one
for its columns, which lets one tile serve W A_prev, W^T dZ and dZ A_prev^T; where dZ stands in panels of examples (see
`steps`), the columns of A come in groups, with a jump from one to the next. Where alpha = 1 and beta = 0, relu, or the
way back through it, can be applied to the sums while they are in registers.

MR and NV follow the vector registers (Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication",
ACM TOMS 34(3), 2008, section 6; Van Zee and van de Geijn, "BLIS", ACM TOMS 41(3), 2015): MR * NV accumulators, NV
registers for a row of B and one for a broadcast must fit.
"""

import functools

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from . import compiling
from .vectors import I64, LINE, Vectors, vector_length

__all__ = ["GATE", "NV", "RECTIFY", "STORE", "Tile", "call_tile", "tall_tile", "tile"]

NV = 2  # vectors in a row of a tile
_AT_ONCE = 12 * LINE  # bytes that may be asked for at once

# What a tile does with its sums before it stores them: nothing but alpha and beta; or, where these are 1 and 0, relu,
# with zeros that are -0 where z < 0, so that they tell them from z = 0, where its derivative is 1; or the way back
# through it: times 0 where the number beside has the sign of such a zero.
STORE, RECTIFY, GATE = range(3)
# Never freed: records hold their addresses, and two Python threads may each make a first `Tile`.
_tables: list[np.ndarray] = []


class Tile:
    """The tiles of up to MR rows and NV vectors for one dtype, and the table of those that are compiled."""

    def __init__(self, dtype, MR, NV):
        self.dtype, self.MR, self.NV, self.VL = dtype, MR, NV, vector_length(dtype.itemsize)
        self.NR = NV * self.VL  # columns of the widest tile
        self.table = np.zeros(MR + 1, np.int64)
        _tables.append(self.table)
        self.address = self.table.ctypes.data

    def rows(self, n):
        """How many of n rows to take at a time; the tiles of so many, and of the rest, are compiled.

        Rows are shared out evenly: 100 rows are 8 tiles of 13 or 12, not 7 of 14 and one of 2.
        """
        tiles = -(-n // self.MR)
        rows = -(-n // tiles)
        self.compile(rows, n % rows)
        return rows

    def compile(self, *heights):
        """Compile the tiles of so many rows where that is yet to be done; none may be called before."""
        for rows in heights:
            if rows and not self.table[rows]:
                self.table[rows] = _compiled(self.dtype, rows, self.NV, self.VL)


class _Body:
    """Emits one tile of MR rows and NV vectors; `masked` where columns of the last vector may be outside."""

    def __init__(self, builder, scalar, MR, NV, VL, masked):
        self.builder, self.MR, self.NV, self.VL, self.masked = builder, MR, NV, VL, masked
        self.v = Vectors(builder, scalar, VL)
        self.masks = [None] * NV
        # Whether all of C is asked for at the start. With more lines than a core keeps under way the first terms wait.
        self.at_once = MR * NV * VL * self.v.size <= _AT_ONCE

    def load(self, address, j):
        return self.v.load(self.builder.add(address, I64(j * self.VL * self.v.size)), self.masks[j])

    def store(self, value, address, j):
        self.v.store(value, self.builder.add(address, I64(j * self.VL * self.v.size)), self.masks[j])

    def ask_for(self, row):
        """Ask for a row of C, which is often out of reach when the sums are done."""
        for j in range(0, self.NV * self.VL * self.v.size, LINE):
            self.v.prefetch(self.builder.add(row, I64(j)), write=True)

    def grid(self, make):
        return [[make(i, j) for j in range(self.NV)] for i in range(self.MR)]

    def emit(self, columns, a, a_rs, a_cs, b, b_rs, c, c_rs, k, group, jump, bias, ahead, pace, *last):
        builder = self.builder
        if self.masked:
            self.masks = [self.v.mask(columns, j * self.VL) for j in range(self.NV)]
        a_rs, a_cs, b_rs, c_rs, jump = (builder.mul(x, I64(self.v.size)) for x in (a_rs, a_cs, b_rs, c_rs, jump))
        row = [builder.add(c, builder.mul(c_rs, I64(i))) for i in range(self.MR)]
        if self.at_once:
            for address in row:
                self.ask_for(address)
        target = row[0], c_rs, row[-1]
        sums = self.accumulate(self.initial(bias), a, a_rs, a_cs, b, b_rs, k, group, jump, target, ahead, pace)
        self.finish(sums, row, *last)

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

    def accumulate(self, sums, a, a_rs, a_cs, b, b_rs, k, group, jump, target, ahead, pace):
        """The loop over p, and around it one over groups of columns of A.

        One running pointer serves four rows of A. LLVM knows that all move alike and would make one chain of additions
        of them, as long as that of the sums; `opaque` hides it.

        Unless they were asked for at once, with each term a row of C is, where the sums will go, until the last.
        """
        builder, before = self.builder, self.builder.block
        first_row, c_rs, last_row = target
        offsets = [I64(0), a_rs, builder.mul(a_rs, I64(2)), builder.mul(a_rs, I64(3))]
        four = builder.mul(a_rs, I64(4))
        starts = [a]
        for _ in range((self.MR - 1) // 4):
            starts.append(builder.add(starts[-1], four))
        outer, loop, next_group, after = (builder.append_basic_block(name) for name in ("group", "k", "next", "done"))

        def carried(values, block):
            """A phi for each value that comes from `block`."""
            phis = [builder.phi(value.type) for value in values]
            for phi, value in zip(phis, values, strict=True):
                phi.add_incoming(value, block)
            return phis

        def carry(phis, values, block):
            for phi, value in zip(phis, values, strict=True):
                phi.add_incoming(value, block)

        flat = [partial for line in sums for partial in line]
        builder.branch(outer)
        builder.position_at_end(outer)
        left, *around = outer_phis = carried([k, first_row, b, ahead, *starts, *flat], before)
        length = builder.select(builder.icmp_signed("<", left, group), left, group)
        builder.branch(loop)
        builder.position_at_end(loop)
        p, c_row, b_row, line, *rest = inner_phis = carried([I64(0), *around], outer)
        pointers, partial = rest[: len(starts)], rest[len(starts) :]
        self.v.prefetch(line)
        if not self.at_once:
            self.ask_for(c_row)
        b_vectors = [self.load(b_row, j) for j in range(self.NV)]
        total = []
        for i in range(self.MR):
            a_value = self.v.splat(self.v.load_scalar(builder.add(pointers[i // 4], offsets[i % 4])))
            total += [self.v.fma(a_value, b_vectors[j], partial[i * self.NV + j]) for j in range(self.NV)]
        following, b_next, line_next = builder.add(p, I64(1)), builder.add(b_row, b_rs), builder.add(line, pace)
        c_next = builder.select(builder.icmp_unsigned("<", c_row, last_row), builder.add(c_row, c_rs), c_row)
        moved = [self.v.opaque(builder.add(pointer, a_cs)) for pointer in pointers]
        carry(inner_phis, [following, c_next, b_next, line_next, *moved, *total], loop)
        builder.cbranch(builder.icmp_signed("<", following, length), loop, next_group)
        builder.position_at_end(next_group)
        remaining = builder.sub(left, length)
        jumped = [builder.add(pointer, jump) for pointer in moved]
        carry(outer_phis, [remaining, c_next, b_next, line_next, *jumped, *total], next_group)
        builder.cbranch(builder.icmp_signed(">", remaining, I64(0)), outer, after)
        builder.position_at_end(after)
        return [total[i * self.NV : (i + 1) * self.NV] for i in range(self.MR)]

    def finish(self, sums, row, epilogue, other, other_rs, alpha, beta):
        """Scale or do what `epilogue` says, and store; what is there is read only where beta is not 0.

        alpha = 1 and beta = 1 leave every bit.
        """
        builder, other_rs = self.builder, self.builder.mul(other_rs, I64(self.v.size))
        scale, kept = self.v.splat(alpha), self.v.splat(beta)
        beside = [builder.add(other, builder.mul(other_rs, I64(i))) for i in range(self.MR)]
        ways = {
            "add": lambda i, j: self.v.fma(scale, sums[i][j], builder.fmul(kept, self.load(row[i], j))),
            "put": lambda i, j: builder.fmul(scale, sums[i][j]),
            "rectify": lambda i, j: self.v.rectified(sums[i][j]),
            "gate": lambda i, j: self.v.gated(sums[i][j], self.load(beside[i], j)),
        }
        choose, *blocks, end = (builder.append_basic_block(name) for name in ("choose", *ways, "end"))
        add, put, rectify, gate = blocks
        builder.cbranch(builder.fcmp_unordered("!=", beta, ir.Constant(beta.type, 0.0)), add, choose)
        builder.position_at_end(choose)
        choice = builder.switch(epilogue, put)
        choice.add_case(I64(RECTIFY), rectify)
        choice.add_case(I64(GATE), gate)
        for block, value in zip(blocks, ways.values(), strict=True):
            builder.position_at_end(block)
            for i in range(self.MR):
                for j in range(self.NV):
                    self.store(value(i, j), row[i], j)
            builder.branch(end)
        builder.position_at_end(end)


@functools.cache
def _compiled(dtype, rows, NV, VL):
    """The address of the tile of so many rows, which takes just as many vectors as `columns` needs."""
    scalar = types.float32 if dtype == np.float32 else types.float64

    @intrinsic
    def run(
        typingctx, columns, a, a_rs, a_cs, b, b_rs, c, c_rs, k, group, jump, bias, ahead, pace, epilogue, other,
        other_rs, alpha, beta,
    ):  # fmt: skip
        def codegen(context, builder, signature, args):
            columns, end = args[0], builder.append_basic_block("tile.end")
            # Less than NV whole vectors are rare: the masked tile will do, and is needed anyway.
            shapes = [("==", NV, False), *(("<=", v, True) for v in range(1, NV + 1))]
            for relation, vectors, masked in shapes:
                fits, unfit = builder.append_basic_block("tile.fits"), builder.append_basic_block("tile.unfit")
                builder.cbranch(builder.icmp_signed(relation, columns, I64(vectors * VL)), fits, unfit)
                builder.position_at_end(fits)
                _Body(builder, context.get_value_type(scalar), rows, vectors, VL, masked).emit(*args)
                builder.branch(end)
                builder.position_at_end(unfit)
            builder.branch(end)
            builder.position_at_end(end)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 17, scalar, scalar), codegen

    def register_tile(
        columns, a, a_rs, a_cs, b, b_rs, c, c_rs, k, group, jump, bias, ahead, pace, epilogue, other, other_rs,
        alpha, beta,
    ):  # fmt: skip
        run(
            columns, a, a_rs, a_cs, b, b_rs, c, c_rs, k, group, jump, bias, ahead, pace, epilogue, other, other_rs,
            alpha, beta,
        )  # fmt: skip

    register_tile.__name__ = register_tile.__qualname__ = f"tile_{rows}x{NV}x{VL}_{dtype.name}"
    return compiling.compile_address(register_tile, types.void(*[types.intp] * 17, scalar, scalar))


@functools.cache
def tile(dtype):
    """The tiles for float32 or float64: 14 x 2 of 32 registers (28 sums, 2 of B, 1 broadcast, 1 spare), 6 x 2 of 16."""
    return Tile(np.dtype(dtype), 14 if compiling.register_count() >= 32 else 6, NV)


@functools.cache
def tall_tile(dtype):
    """Those of a single vector, with twice the rows, so that fewer of them read each number of B."""
    return Tile(np.dtype(dtype), NV * tile(dtype).MR, 1)


@intrinsic
def call_tile(
    typingctx, table, rows, columns, a, a_rs, a_cs, b, b_rs, c, c_rs, k, group, jump, bias, ahead, pace, epilogue,
    other, other_rs, alpha, beta,
):  # fmt: skip
    """Call the tile of so many rows in the table at an address.

    rows as `Tile.rows` gives them, columns <= NR; strides in elements; a, b, c and bias are addresses, bias may be 0.
    After every `group` columns of A there are `jump` more elements to the next column; where there is nothing to jump
    over, group = k. With each term of its sums the tile asks for a line of memory that will be wanted later, the first
    at `ahead`, each `pace` bytes after the one before; where there is none, for its own at b again and again: (b, 0).
    `epilogue` is STORE, RECTIFY or GATE, the latter with numbers beside C: their address and row stride.
    """
    signature = types.void(*[types.intp] * 19, alpha, beta)

    def codegen(context, builder, signature, args):
        table, rows, *arguments = args
        address = builder.load(builder.gep(builder.inttoptr(table, I64.as_pointer()), [rows]))
        kind = ir.FunctionType(ir.VoidType(), [argument.type for argument in arguments])
        builder.call(builder.inttoptr(address, kind.as_pointer()), arguments)
        return context.get_dummy_value()

    return signature, codegen
