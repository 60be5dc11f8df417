"""exp, tanh, log1p, erf and their kin in float32 and float64, written so that LLVM vectorizes loops of them.

The C library's functions are scalar calls, which keep a loop scalar. These are straight lines of arithmetic:
no branch (both sides are computed and one is selected), no table, no call; and no fastmath, so NaN and
infinity come out right. Each works on float32 and float64, by the type of its argument, and can be called in
compiled functions only. Constants come from `constants(x)` in the type of x, because a bare 1.0 would make a
float32 expression float64.

The bounds in the docstrings are in ULP of the exact result, subnormal results included; those of float32 were
measured over all 2**32 arguments by tests/exhaustive_ulp.py, those of float64 over samples. They hold with
FMA hardware; without it fma(a, b, c) rounds twice, for which the tests, on samples, allow 2 ULP more.
docs/minimax.py derives the polynomials.

Sources: Cody & Waite, Software Manual for the Elementary Functions, 1980 (range reduction); Muller,
Elementary Functions, 3rd ed., 2016 (minimax polynomials, log1p); Tang, ACM TOMS 18 (1992), 211 (expm1 from
its parts); Cody, Math. Comp. 23 (1969), 631 (erfc as exp(-x**2) times a quotient).
"""

from .compiling import inlined
from .constants import constants
from .scalars import (
    copysign,
    exponent,
    first_half,
    fma,
    fraction,
    horner,
    inverse,
    power,
    second_half,
    select,
    truncate,
)

__all__ = [
    "erf", "exp", "expm1", "fma", "log", "log1p", "normal_cdf", "normal_pdf", "select", "sigmoid", "softplus",
    "tanh",
]  # fmt: skip

# NumPy's division, since Python's checks for a zero divisor with a branch, and a branch makes a loop scalar;
# inlined, since a call does too, and LLVM finds the longer functions too long by itself.
_function = inlined(forceinline=True)


@_function
def _reduce(x, shifter):
    """Return shifter + n, high, low: x = n ln 2 + high - low, n = round(x / ln 2), high exact."""
    c = constants(x)
    shifted = fma(x, c.log2_e, shifter)
    n = shifted - shifter
    return shifted, fma(n, -c.ln2_high, x), n * c.ln2_low


@_function
def _exp_factors(x, more):
    """Return q, 2**a, 2**b with exp(x - more) = (1 + q) 2**a 2**b, |q| < 1/2, for small more.

    Two powers of two, since one alone would overflow before exp does; and (1 + q) 2**a is exact, so that a
    subnormal result is rounded once. x is clamped where exp is 0 or infinite for certain; NaN passes.
    """
    c = constants(x)
    x = select(x > c.exp_limit, c.exp_limit, x)
    x = select(x < -c.exp_limit, -c.exp_limit, x)
    shifted, high, low = _reduce(x, c.shifter_halves)
    r = high - low - more
    return fma(r * r, horner(c.exp, r), r), first_half(shifted), second_half(shifted)


@_function
def _expm1_parts(x, shifter):
    """Return s, u, v with exp(x) = 2**n (1 + u + v), v small beside u, s = 2**n or as the shifter has it.

    Kept apart, u is exact and its sum with 2**n - 1 nearly so: the rounding of exp(r) - 1 disappears (Tang).
    """
    c = constants(x)
    shifted, high, low = _reduce(x, shifter)
    r = high - low
    return power(shifted), high, fma(r * r, horner(c.exp, r), -low)


@_function
def exp(x):
    """Return e**x = 2**n exp(r) with r = x - n ln 2, |r| <= ln 2 / 2; 0 and infinity beyond the range.

    Within 1.02 ULP in float32, 1.0 in float64; subnormal results are rounded once. Cody & Waite,
    chapter 6.
    """
    c = constants(x)
    q, first, second = _exp_factors(x, c.zero)
    return (c.one + q) * first * second


@_function
def expm1(x):
    """Return e**x - 1 = 2 (2**(n-1) expm1(r) + (2**(n-1) - 1/2)); expm1(-0.0) is -0.0, expm1(-inf) is -1.

    Within 1.24 ULP in float32, 1.2 in float64. Tang 1992. Half the sum, because 2**n overflows
    before expm1.
    """
    c = constants(x)
    y = select(x > c.expm1_high, c.expm1_high, x)
    y = select(y < c.expm1_low, c.expm1_low, y)
    scale, u, v = _expm1_parts(y, c.shifter - c.one)
    y = fma(scale, v, fma(scale, u, scale - c.half)) * c.two
    return select(abs(x) < c.tiny, x, y)


@_function
def tanh(x):
    """Return tanh x: |y / (y + 2)| with y = expm1(+-2x) and the sign of x, also that of -0.0.

    Within 2.0 ULP in float32, 2.0 in float64, odd to the bit. |x| is clamped where tanh rounds to
    1. The errors of y and y + 2 count less with y > 0 where |x| is large, and with y < 0 where it is small
    (up to ln 2 / 4 y needs no 2**n).
    """
    c = constants(x)
    y = abs(x)
    y = select(y > c.tanh_limit, c.tanh_limit, y)
    scale, u, v = _expm1_parts(select(y < c.tanh_small, -c.two, c.two) * y, c.shifter)
    y = fma(scale, v, fma(scale, u, scale - c.one))
    return copysign(y / (y + c.two), x)


@_function
def sigmoid(x):
    """Return 1 / (1 + e**-x) = 2**-a / (2**-a + 2**b + 2**b q) with e**-x = 2**(a+b) (1 + q).

    Within 1.7 ULP in float32, 1.7 in float64, also in the far negative tail: neither power
    overflows, and the division rounds a subnormal result once. 1 + q is never rounded.
    """
    q, first, second = _exp_factors(-x, constants(x).zero)
    numerator = inverse(first)
    total = numerator + second
    lost = numerator - (total - second)  # rounded away where the powers are 2**24 apart: another ULP
    return numerator / (total + fma(second, q, lost))


@_function
def _log_sum(k, f):
    """Return k ln 2 + log(1 + f), log(1 + f) = 2 atanh(s) = f - (h - s (h + R(s**2))), 1/2 <= (1 + f)**2 < 2.

    s = f / (2 + f), h = f**2 / 2. The leading terms k ln2_high and f are exact, so the last sum rounds nearly
    alone.
    """
    c = constants(f)
    s = f / (c.two + f)
    w = s * s
    h = c.half * f * f
    correction = fma(s, fma(w, horner(c.log, w), h), k * c.ln2_low)
    return fma(k, c.ln2_high, f - (h - correction))


@_function
def _log_limits(x, y):
    """Return y for 0 < x < inf; -inf for 0, inf for inf, NaN for negative x and NaN."""
    c = constants(x)
    limit = select(x > c.zero, c.infinity, select(x == c.zero, -c.infinity, c.nan))
    return select((x > c.zero) & (x < c.infinity), y, limit)


@_function
def log(x):
    """Return log x = k ln 2 + log f with x = 2**k f; -inf for 0, NaN below. Subnormal x are scaled first.

    Within 0.9 ULP in float32, 0.9 in float64.
    """
    c = constants(x)
    subnormal = x < c.smallest_normal
    y = select(subnormal, x * c.subnormal_scale, x)
    k = exponent(y) - select(subnormal, c.exponent_offset + c.subnormal_exponent, c.exponent_offset)
    return _log_limits(x, _log_sum(k, fraction(y) - c.one))


@_function
def log1p(x):
    """Return log(1 + x) = k ln 2 + log(f + e 2**-k): 1 + x rounds to 2**k f, and e is what it loses.

    Within 1.4 ULP in float32, 1.4 in float64; log1p(-0.0) is -0.0, log1p(-1) is -inf, NaN below.
    """
    c = constants(x)
    y = c.one + x
    back = y - c.one
    error = (c.one - (y - back)) + (x - back)  # exact (Knuth's sum), whichever of 1 and |x| is larger
    k = exponent(y) - c.exponent_offset
    # Beyond the limit 2**-k would leave the exponent field, and the error is nothing beside y anyway.
    scale = power(c.shifter - select(k > c.exponent_limit, c.exponent_limit, k))
    y = _log_limits(y, _log_sum(k, fma(error, scale, fraction(y) - c.one)))
    return select(x == c.zero, x, y)


@_function
def softplus(x):
    """Return log(1 + e**x) = max(x, 0) + log1p(e**-|x|), without overflow.

    Within 1.7 ULP in float32, 1.7 in float64. log1p needs two cases here: below and above
    sqrt(2) - 1.
    """
    c = constants(x)
    e = exp(-abs(x))
    above = e > c.sqrt2 - c.one
    f = select(above, c.half * e - c.half, e)
    return select(x > c.zero, x, c.zero) + _log_sum(select(above, c.one, c.zero), f)


@_function
def _gaussian(z):
    """Return _exp_factors of -z**2 / 2, z >= 0; z**2 in two parts, as the error of one would be z**2 ULP."""
    c = constants(z)
    upper = truncate(z)
    return _exp_factors(-c.half * upper * upper, c.half * (z - upper) * (z + upper))


@_function
def _upper_tail(z):
    """Return Q(z) = exp(-z**2 / 2) N(z) / D(z), z >= 0; positive coefficients, so nothing cancels (Cody)."""
    c = constants(z)
    z = select(z > c.tail_limit, c.tail_limit, z)
    q, first, second = _gaussian(z)
    return (c.one + q) * horner(c.tail_numerator, z) / horner(c.tail_denominator, z) * first * second


@_function
def normal_cdf(z):
    """Return Phi(z) = erfc(-z / sqrt(2)) / 2, the normal distribution function; gelu(z) = z Phi(z).

    Within 6.2 ULP in float32, 8.0 in float64: relative accuracy also in the negative tail, down to
    the subnormals.
    """
    c = constants(z)
    tail = _upper_tail(abs(z))
    return select(z > c.zero, c.one - tail, tail)


@_function
def normal_pdf(z):
    """Return phi(z) = exp(-z**2 / 2) / sqrt(2 pi), the normal density; gelu'(z) = Phi(z) + z phi(z).

    Within 2.3 ULP in float32, 2.3 in float64. In a loop with normal_cdf the exponential is computed
    once.
    """
    c = constants(z)
    z = abs(z)
    q, first, second = _gaussian(select(z > c.tail_limit, c.tail_limit, z))
    return (c.one + q) * c.density * first * second


@_function
def erf(x):
    """Return the error function: x + x ERF(x**2) for |x| < 1, else 1 - 2 Q(sqrt(2) |x|) with the sign of x.

    Within 1.5 ULP in float32, 1.4 in float64; erf(-0.0) is -0.0, erf(+-inf) is +-1.
    """
    c = constants(x)
    y = abs(x)
    far = copysign(c.one - c.two * _upper_tail(c.sqrt2 * y), x)
    square = select(y < c.one, x * x, c.one)
    return select(y < c.one, fma(x, horner(c.erf, square), x), far)
