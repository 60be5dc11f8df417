"""The constants of the elementary functions in float32 and float64: polynomials, limits, parts of ln 2."""

import math
from typing import Any, NamedTuple

import numpy as np
from numba import typeof, types
from numba.core.typing.templates import AttributeTemplate
from numba.extending import infer_getattr, intrinsic, lower_getattr_generic

__all__ = ["TABLES", "Constants", "constants"]

# Printed by docs/minimax.py: exp(r) = 1 + r + r**2 EXP(r); 2 atanh(s) = 2 s + s**3 LOG(s**2); erf(x) = x + x
# ERF(x**2); Q(z) = exp(-z**2 / 2) TAIL_NUMERATOR(z) / TAIL_DENOMINATOR(z), the upper tail of the normal
# distribution, z >= 0.
EXP_FLOAT32 = (
    0.49999994, 0.16666521, 0.041668262, 0.008368671, 0.0013820896,
)  # fmt: skip
EXP_FLOAT64 = (
    0.5000000000000011, 0.16666666666666458, 0.04166666666652831, 0.008333333333473589,
    0.0013888888943883039, 0.0001984126954132508, 2.480149295111892e-05, 2.755756146798313e-06,
    2.7630280520520243e-07, 2.5006597403839545e-08,
)  # fmt: skip
LOG_FLOAT32 = (
    0.66666776, 0.39977583, 0.29870796,
)  # fmt: skip
LOG_FLOAT64 = (
    0.6666666666666734, 0.3999999999941664, 0.2857142874202761, 0.2222219860516524, 0.18183562843135323,
    0.15314085107565456, 0.14795630130550713,
)  # fmt: skip
ERF_FLOAT32 = (
    0.12837917, -0.37612626, 0.11283579, -0.026853347, 0.005187162, -0.0007997853, 7.806904e-05,
)  # fmt: skip
ERF_FLOAT64 = (
    0.1283791670955126, -0.37612638903184165, 0.11283791670977777, -0.02686617065003332,
    0.005223977680664067, -0.0008548330731154157, 0.00012055492959415591, -1.4930279735808398e-05,
    1.6553864416581212e-06, -1.7614786630892328e-07, 2.628841787686246e-08, -8.038692061653165e-09,
    2.4456602158890552e-09, -3.6506891378669994e-10,
)  # fmt: skip
TAIL_NUMERATOR_FLOAT32 = (
    0.5, 0.43829477, 0.18323502, 0.04063321, 0.004116309,
)  # fmt: skip
TAIL_NUMERATOR_FLOAT64 = (
    0.5, 0.8277731539660661, 0.6793736372325712, 0.35716411619335764, 0.13195795504052288,
    0.03563792396389193, 0.007115618493127756, 0.0010384505664916886, 0.00010641959391865128,
    6.9641968501208525e-06, 2.2373833382596584e-07,
)  # fmt: skip
TAIL_DENOMINATOR_FLOAT32 = (
    1.0, 1.6744745, 1.2025026, 0.46947038, 0.10185879, 0.0103179375,
)  # fmt: skip
TAIL_DENOMINATOR_FLOAT64 = (
    1.0, 2.4534308687349977, 2.816301885625951, 2.000658111387894, 0.9795773895088955, 0.34807784393393704,
    0.09189912439920732, 0.018101843202624247, 0.00262046620471694, 0.00026731519192170093,
    1.7456652734639587e-05, 5.60828833686864e-07,
)  # fmt: skip

LN2_REMAINDER = 2.3190468138462996e-17  # ln 2 minus its float64


class Constants(NamedTuple):
    """The numbers the functions need, in one dtype."""

    zero: Any
    half: Any
    one: Any
    two: Any
    infinity: Any
    nan: Any
    smallest_normal: Any
    log2_e: Any
    ln2_high: Any  # ln 2 = ln2_high + ln2_low; n ln2_high is exact for every exponent n
    ln2_low: Any
    sqrt2: Any
    density: Any  # 1 / sqrt(2 pi)
    shifter: Any  # adding it rounds to an integer n and leaves n + bias in the lowest bits; see scalars.power
    shifter_halves: Any  # likewise n + 2 bias; see scalars.first_half
    exponent_offset: Any  # what scalars.exponent is too large by
    exponent_limit: Any  # the largest n for which 2**-n is normal
    subnormal_scale: Any  # 2**subnormal_exponent makes every subnormal number normal
    subnormal_exponent: Any
    tiny: Any  # expm1(x) rounds to x below
    exp_limit: Any  # exp is 0 or infinite beyond, after rounding; and so on for the others
    expm1_low: Any
    expm1_high: Any
    tanh_small: Any  # 2 x is below ln 2 / 2
    tanh_limit: Any
    tail_limit: Any
    exp: tuple
    log: tuple
    erf: tuple
    tail_numerator: tuple
    tail_denominator: tuple


def _table(dtype, limits, *polynomials):
    """Return the constants of a dtype; limits: exp_limit, expm1_low, expm1_high, tanh_limit, tail_limit."""
    mantissa, bias = np.finfo(dtype).nmant, np.finfo(dtype).maxexp - 1
    exp_limit, expm1_low, expm1_high, tanh_limit, tail_limit = limits
    trailing = 2.0 ** (mantissa - (8 if dtype is np.float32 else 11))  # an exponent n has 8 or 11 bits
    ln2_high = math.floor(math.log(2.0) * trailing) / trailing
    shifter = 1.5 * 2.0**mantissa
    numbers = {
        "zero": 0.0, "half": 0.5, "one": 1.0, "two": 2.0, "infinity": math.inf, "nan": math.nan,
        "smallest_normal": 2.0 ** (1 - bias), "log2_e": 1 / math.log(2.0), "ln2_high": ln2_high,
        "ln2_low": math.log(2.0) - ln2_high + LN2_REMAINDER, "sqrt2": math.sqrt(2.0),
        "density": 1 / math.sqrt(2 * math.pi),
        "shifter": shifter + bias, "shifter_halves": shifter + 2 * bias,
        "exponent_offset": 2.0**mantissa + bias + 1, "exponent_limit": bias - 1,
        "subnormal_scale": 2.0 ** (mantissa + 2), "subnormal_exponent": mantissa + 2, "tiny": 2.0**-60,
        "exp_limit": exp_limit, "expm1_low": expm1_low, "expm1_high": expm1_high,
        "tanh_small": math.log(2.0) / 4, "tanh_limit": tanh_limit, "tail_limit": tail_limit,
    }  # fmt: skip
    names = ("exp", "log", "erf", "tail_numerator", "tail_denominator")
    tuples = {name: tuple(map(dtype, p)) for name, p in zip(names, polynomials, strict=True)}
    return Constants(**{name: dtype(number) for name, number in numbers.items()}, **tuples)


TABLES = {
    types.float32: _table(
        np.float32, (104.5, -20.0, 88.8, 10.0, 14.5),
        EXP_FLOAT32, LOG_FLOAT32, ERF_FLOAT32, TAIL_NUMERATOR_FLOAT32, TAIL_DENOMINATOR_FLOAT32,
    ),
    types.float64: _table(
        np.float64, (746.0, -40.0, 709.9, 20.0, 38.75),
        EXP_FLOAT64, LOG_FLOAT64, ERF_FLOAT64, TAIL_NUMERATOR_FLOAT64, TAIL_DENOMINATOR_FLOAT64,
    ),
}  # fmt: skip


class _Table(types.Dummy):
    """The type of the constants in a dtype, which are known when code that names one is compiled."""

    def __init__(self, dtype):
        self.numbers = TABLES[dtype]
        super().__init__(f"constants of {dtype}")


@infer_getattr
class _TypeOfConstant(AttributeTemplate):
    key = _Table

    def generic_resolve(self, table, name):
        return typeof(getattr(table.numbers, name))


@lower_getattr_generic(_Table)
def _lower_constant(context, builder, table, value, name):
    number = getattr(table.numbers, name)
    return context.get_constant_generic(builder, typeof(number), number)


@intrinsic
def constants(typingctx, x):
    """Return the Constants of the type of x."""
    if x not in TABLES:
        return None
    return _Table(x)(x), lambda context, builder, signature, arguments: context.get_dummy_value()
