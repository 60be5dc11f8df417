"""What Numba cannot be asked for in Python: vectors in registers, and memory and code by their addresses."""

import itertools

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from . import compiling

__all__ = [
    "I64",
    "LINE",
    "Vectors",
    "call_address",
    "cast",
    "define",
    "float_of",
    "size_of",
    "unpack",
    "vector_at",
    "vector_length",
]

LINE = 64  # bytes of a cache line
I64 = ir.IntType(64)
_I32 = ir.IntType(32)
_BIT = ir.IntType(1)


def vector_length(itemsize):
    """How many numbers of `itemsize` bytes a vector register of this processor holds."""
    return compiling.vector_bits() // (8 * itemsize)


def define(module, name, arguments, emit):
    """The function `name` of `module`, made by ``emit(builder, arguments)`` when it is not there yet.

    LLVM optimizes it once and does not copy it into its callers.
    """
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), name)
    function.linkage = "linkonce_odr"
    function.attributes.add("noinline")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    emit(builder, function.args)
    builder.ret_void()
    return function


@intrinsic
def size_of(typingctx, like):
    """The size in bytes of a number of the type of `like`."""
    return types.intp(like), lambda context, builder, signature, args: I64(like.bitwidth // 8)


class Vectors:
    """Emits operations on vectors of VL numbers; addresses are int64, columns outside a mask are not touched."""

    def __init__(self, builder, scalar, VL):
        self.builder, self.scalar, self.VL = builder, scalar, VL
        self.type = ir.VectorType(scalar, VL)
        self.size = 4 if isinstance(scalar, ir.FloatType) else 8
        self.zero = ir.Constant(self.type, [0.0] * VL)
        self.suffix = f"v{VL}{'f32' if self.size == 4 else 'f64'}"

    def call(self, name, result, arguments):
        """Call an LLVM intrinsic, declared at its first use in the module."""
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, name), arguments)

    def splat(self, value):
        """A number in every lane."""
        undefined = ir.Constant(ir.VectorType(value.type, self.VL), ir.Undefined)
        first = self.builder.insert_element(undefined, value, _I32(0))
        return self.builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(_I32, self.VL), [0] * self.VL))

    def fma(self, a, b, c):
        """a b + c with one rounding; with two where the processor has no such instruction, as the library is slow."""
        if not compiling.has_fma():
            return self.builder.fadd(self.builder.fmul(a, b), c)
        return self.call(f"llvm.fma.{self.suffix}", self.type, [a, b, c])

    def rectified(self, z):
        """z, but -0 where z < 0, and 0 where z = -0: the sign tells on which side of the kink z was."""
        minus, zero = ir.Constant(self.type, [-0.0] * self.VL), self.zero
        return self.builder.select(self.builder.fcmp_ordered("<", z, zero), minus, self.builder.fadd(z, zero))

    def gated(self, value, a):
        """`value` times 1 where `a` has no sign, else times 0."""
        integers = ir.VectorType(ir.IntType(8 * self.size), self.VL)
        zero = ir.Constant(integers, [0] * self.VL)
        negative = self.builder.icmp_signed("<", self.builder.bitcast(a, integers), zero)
        one = ir.Constant(self.type, [1.0] * self.VL)
        return self.builder.fmul(value, self.builder.select(negative, self.zero, one))

    def mask(self, columns, first=0):
        """The lanes q with first + q < columns."""
        lanes = ir.Constant(ir.VectorType(I64, self.VL), [first + q for q in range(self.VL)])
        return self.builder.icmp_signed("<", lanes, self.splat(columns))

    def opaque(self, value):
        """The same int64, of which LLVM does not know where it comes from: no instruction, by way of empty assembly."""
        nothing = ir.InlineAsm(ir.FunctionType(I64, [I64]), "", "=r,0", side_effect=False)
        return self.builder.call(nothing, [value])

    def load_scalar(self, address):
        return self.builder.load(self.builder.inttoptr(address, self.scalar.as_pointer()), align=self.size)

    def load(self, address, mask=None):
        """The vector at an address; zero in the lanes outside the mask."""
        pointer = self.builder.inttoptr(address, self.type.as_pointer())
        if mask is None:
            return self.builder.load(pointer, align=self.size)
        arguments = [pointer, _I32(self.size), mask, self.zero]
        return self.call(f"llvm.masked.load.{self.suffix}.p0", self.type, arguments)

    def store(self, value, address, mask=None):
        pointer = self.builder.inttoptr(address, self.type.as_pointer())
        if mask is None:
            self.builder.store(value, pointer, align=self.size)
        else:
            arguments = [value, pointer, _I32(self.size), mask]
            self.call(f"llvm.masked.store.{self.suffix}.p0", ir.VoidType(), arguments)

    def prefetch(self, address, write=False):
        """Ask for the cache line at an address, which need not exist."""
        pointer = self.builder.inttoptr(address, ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, _I32, _I32, _I32])
        function = cgutils.get_or_insert_function(self.builder.module, kind, "llvm.prefetch.p0")
        self.builder.call(function, [pointer, _I32(int(write)), _I32(3), _I32(1)])

    def each(self, columns, emit):
        """``emit(offset, mask)`` in a loop over the whole vectors of so many numbers, then for what is left of one.

        `columns` and the offset, in bytes, are int64; whole vectors have no mask. `emit` opens no blocks.
        """
        builder, before = self.builder, self.builder.block
        loop, whole, rest, part, after = map(builder.append_basic_block, ("each", "whole", "rest", "part", "after"))
        builder.branch(loop)
        builder.position_at_end(loop)
        j = builder.phi(I64)
        j.add_incoming(I64(0), before)
        following, offset = builder.add(j, I64(self.VL)), builder.mul(j, I64(self.size))
        builder.cbranch(builder.icmp_signed("<=", following, columns), whole, rest)
        builder.position_at_end(whole)
        emit(offset, None)
        j.add_incoming(following, whole)
        builder.branch(loop)
        builder.position_at_end(rest)
        builder.cbranch(builder.icmp_signed("<", j, columns), part, after)
        builder.position_at_end(part)
        emit(offset, self.mask(builder.sub(columns, j)))
        builder.branch(after)
        builder.position_at_end(after)

    def sum(self, value):
        """The sum of the lanes."""
        return self.builder.extract_element(self.sums([value]), _I32(0))

    def sums(self, vectors):
        """The sums of the lanes of each of up to VL vectors, in the first lanes of one.

        Each half is added to the other, until one lane is left; of several vectors together: of two vectors
        the lower halves form one vector and the upper halves another.
        """
        undefined, half = ir.Constant(self.type, ir.Undefined), self.VL // 2
        while half:
            lower = [q for q in range(2 * self.VL) if q // half % 2 == 0]
            choices = [ir.Constant(ir.VectorType(_I32, self.VL), [q + upper for q in lower]) for upper in (0, half)]
            pairs = itertools.zip_longest(vectors[::2], vectors[1::2], fillvalue=undefined)
            vectors = [
                self.builder.fadd(*(self.builder.shuffle_vector(*pair, choice) for choice in choices)) for pair in pairs
            ]
            half //= 2
        return vectors[0]

    def transpose(self, rows):
        """Transpose VL vectors of VL numbers in log2(VL) rounds, each of which mixes pairs of vectors.

        First numbers change places within pieces of 128 bits, then whole pieces do: processors have instructions for
        just these steps, and not for those of a textbook.
        """
        piece, step = 16 // self.size, 1
        vectors, column = list(rows), [list(range(self.VL)) for _ in rows]  # to which each number belongs
        while step < self.VL:
            if step < piece:  # a0 b0 a1 b1 and a2 b2 a3 b3 of each piece, then two numbers at a time
                starts = [q for q in range(0, self.VL, step) if q % piece < piece // 2]
                lower = [q + vector + s for q in starts for vector in (0, self.VL) for s in range(step)]
                distance = piece // 2
            else:  # the even pieces of both, and the odd
                lower = [q for q in range(2 * self.VL) if q // piece % 2 == 0]
                distance = piece
            for i in range(self.VL):
                if i // step % 2 == 0:
                    pair, columns = (vectors[i], vectors[i + step]), column[i] + column[i + step]
                    for place, upper in ((i, 0), (i + step, distance)):
                        lanes = [q + upper for q in lower]
                        choice = ir.Constant(ir.VectorType(_I32, self.VL), lanes)
                        vectors[place] = self.builder.shuffle_vector(*pair, choice)
                        column[place] = [columns[q] for q in lanes]
            step *= 2
        return [vectors[i] for i in sorted(range(self.VL), key=lambda i: column[i][0])]


@intrinsic
def call_address(typingctx, address, *arguments):
    """Call the C function at `address`, which returns nothing."""
    signature = types.void(types.intp, types.StarArgTuple(tuple(arguments)))

    def codegen(context, builder, signature, args):
        values = cgutils.unpack_tuple(builder, args[1])
        kind = ir.FunctionType(ir.VoidType(), [value.type for value in values])
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), values)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def vector_at(typingctx, address, n, like):
    """The `n` numbers at `address`, of the type of `like`, to be indexed; `n` is for the reader.

    A pointer and not an array, of which Numba would make much more code, and LLVM nothing better.
    """
    signature = types.CPointer(like)(types.intp, types.intp, like)
    return signature, lambda context, builder, signature, args: builder.inttoptr(
        args[0], context.get_value_type(signature.return_type)
    )


@intrinsic(prefer_literal=True)
def unpack(typingctx, record, n):
    """The `n` int64 at the address `record`, as a tuple; `n` is a constant."""
    count = n.literal_value
    signature = types.UniTuple(types.intp, count)(types.intp, n)

    def codegen(context, builder, signature, args):
        first = builder.inttoptr(args[0], I64.as_pointer())
        values = [builder.load(builder.gep(first, [I64(i)])) for i in range(count)]
        return context.make_tuple(builder, signature.return_type, values)

    return signature, codegen


@intrinsic
def float_of(typingctx, bits):
    """The float64 that has these bits."""
    return types.float64(types.int64), lambda context, builder, signature, args: builder.bitcast(
        args[0], ir.DoubleType()
    )


@intrinsic
def cast(typingctx, value, like):
    """`value` as a number of the type of `like`."""
    return like(value, like), lambda context, builder, signature, args: context.cast(
        builder, args[0], signature.args[0], signature.return_type
    )
