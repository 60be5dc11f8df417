"""The scalar operations that the elementary functions need and Python lacks; LLVM vectorizes every one."""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .processor import has_fma

__all__ = [
    "copysign", "exponent", "first_half", "fma", "fraction", "horner", "inverse", "power", "second_half",
    "select", "truncate",
]  # fmt: skip

FLOATS = {types.float32: 23, types.float64: 52}  # bits of the mantissa


def _emit_fma(builder, a, b, c):
    if not has_fma():  # llvm.fma would be a call of libm
        return builder.fadd(builder.fmul(a, b), c)
    return builder.fma(a, b, c)


@intrinsic
def fma(typingctx, a, b, c):
    """Return a * b + c, rounded once where the processor has FMA; all three of one float type."""
    if a not in FLOATS or not a == b == c:
        return None
    return a(a, b, c), lambda context, builder, signature, arguments: _emit_fma(builder, *arguments)


@intrinsic
def select(typingctx, condition, a, b):
    """Return a where condition holds, else b, without a branch; a and b of one type."""
    if condition != types.boolean or a != b:
        return None
    return a(condition, a, b), lambda context, builder, signature, arguments: builder.select(*arguments)


@intrinsic
def horner(typingctx, coefficients, x):
    """Return sum_k coefficients[k] x**k by Horner's rule in FMAs; coefficients: a tuple of x's type."""
    if not isinstance(coefficients, types.UniTuple) or coefficients.dtype != x:
        return None

    def codegen(context, builder, signature, arguments):
        *lower, value = cgutils.unpack_tuple(builder, arguments[0])
        for coefficient in reversed(lower):
            value = _emit_fma(builder, value, arguments[1], coefficient)
        return value

    return x(coefficients, x), codegen


def _bitwise(emit):
    """Make an intrinsic of emit(builder, i, mantissa): i, the argument's bits as an integer, to the result's.

    In LLVM because Numba would widen 32-bit integers to 64 bits, which halves the elements in a vector
    register.
    """

    @intrinsic
    def operation(typingctx, x):
        if x not in FLOATS:
            return None

        def codegen(context, builder, signature, arguments):
            bits = builder.bitcast(arguments[0], ir.IntType(x.bitwidth))
            mantissa = FLOATS[x]
            return builder.bitcast(emit(builder, bits, mantissa), arguments[0].type)

        return x(x), codegen

    return operation


def _halved(builder, i):
    return builder.lshr(i, i.type(1))


def _sqrt_half(i):
    """Return the bits of sqrt(1/2) in the width of i."""
    return 0x3F3504F3 if i.type.width == 32 else 0x3FE6A09E667F3BCD


def _emit_exponent(builder, i, mantissa):
    # k, made positive, goes into the mantissa of 2**mantissa: without AVX-512 there is no conversion from
    # int64.
    offset = (1 << (i.type.width - 2)) - _sqrt_half(i)
    biased = builder.lshr(builder.add(i, i.type(offset)), i.type(mantissa))
    return builder.or_(biased, i.type(((1 << (i.type.width - mantissa - 2)) - 1 + mantissa) << mantissa))


def _emit_fraction(builder, i, mantissa):
    fraction = builder.and_(builder.sub(i, i.type(_sqrt_half(i))), i.type((1 << mantissa) - 1))
    return builder.add(fraction, i.type(_sqrt_half(i)))


# power(shifter + n) = 2**n; first_half and second_half (shifter_halves + n) = 2**a and 2**b with a + b = n, a
# = n // 2.
power = _bitwise(lambda builder, i, m: builder.shl(i, i.type(m)))
first_half = _bitwise(lambda builder, i, m: builder.shl(_halved(builder, i), i.type(m)))
second_half = _bitwise(lambda builder, i, m: builder.shl(builder.sub(i, _halved(builder, i)), i.type(m)))
# inverse(2**a) = 2**-a: the exponent fields of the two add up to twice the bias.
inverse = _bitwise(lambda builder, i, m: builder.sub(i.type(((1 << (i.type.width - m - 1)) - 2) << m), i))
# x = 2**k f with sqrt(1/2) <= f < sqrt(2): exponent(x) = k + exponent_offset, fraction(x) = f.
exponent, fraction = _bitwise(_emit_exponent), _bitwise(_emit_fraction)
# The upper half of the mantissa of x: its square is exact.
truncate = _bitwise(lambda builder, i, m: builder.and_(i, i.type(-(1 << (m // 2 + 1)))))


@intrinsic
def copysign(typingctx, x, sign):
    """Return |x| with the sign of `sign`."""
    if x not in FLOATS or x != sign:
        return None

    def codegen(context, builder, signature, arguments):
        kind = arguments[0].type
        function_type = ir.FunctionType(kind, [kind, kind])
        function = builder.module.declare_intrinsic("llvm.copysign", [kind], function_type)
        return builder.call(function, arguments)

    return x(x, sign), codegen
