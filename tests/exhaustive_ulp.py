"""Measure the elementary functions' errors in ULP: float32 over all 2**32 arguments, float64 over samples.

A script, run by hand (a minute or two a function on two cores); the docstrings of functions.py state what it
prints.

    python tests/exhaustive_ulp.py [--float64] [NAME ...]

float32 is judged against the C library's float64 functions, whose own error is 1e-9 of a float32 ULP; float64
against mpmath. The unit is the ULP of the exact result, for subnormal results the smallest subnormal.
"""

import math
import sys

import numpy as np
from numba import njit, prange
from numba.extending import register_jitable

from jitprop_kernels.jit import functions


@register_jitable(error_model="numpy")
def exact_sigmoid(x):
    e = math.exp(-abs(x))
    return 1.0 / (1.0 + e) if x > 0 else e / (1.0 + e)


@register_jitable(error_model="numpy")
def exact_softplus(x):
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


@register_jitable(error_model="numpy")
def exact_log(x):
    return math.log(x) if x > 0 else (-math.inf if x == 0 else math.nan)


@register_jitable(error_model="numpy")
def exact_log1p(x):
    return math.log1p(x) if x > -1 else (-math.inf if x == -1 else math.nan)


@register_jitable(error_model="numpy")
def exact_normal_cdf(x):
    return 0.5 * math.erfc(-x * math.sqrt(0.5))


@register_jitable(error_model="numpy")
def exact_normal_pdf(x):
    return math.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)


EXACT = {
    "exp": math.exp, "expm1": math.expm1, "log": exact_log, "log1p": exact_log1p, "tanh": math.tanh,
    "erf": math.erf, "sigmoid": exact_sigmoid, "softplus": exact_softplus, "normal_cdf": exact_normal_cdf,
    "normal_pdf": exact_normal_pdf,
}  # fmt: skip


@njit(error_model="numpy")
def ulp_error(got, exact):
    """Return |got - exact| in float32 ULP of exact; infinity for a wrong NaN, infinity or zero."""
    rounded = np.float32(exact)
    if math.isnan(exact) or math.isnan(got):
        return 0.0 if math.isnan(exact) and math.isnan(got) else math.inf
    if math.isinf(rounded) or exact == 0.0:
        return 0.0 if got == rounded and math.copysign(1.0, got) == math.copysign(1.0, exact) else math.inf
    exponent = max(math.frexp(exact)[1] - 24, -149)
    return abs(np.float64(got) - exact) / math.ldexp(1.0, exponent)


def compile_scan(function, exact):
    """Return the compiled loop over the float32 bit patterns start, start + step, ... below 2**32."""

    @njit(parallel=True, error_model="numpy", nogil=True)
    def scan(start, step, worst, where):
        for block in prange(worst.size):
            bits = np.empty(4096, np.uint32)
            values = np.empty(4096, np.float32)
            size = 2**32 // worst.size
            for first in range(block * size, (block + 1) * size, 4096 * step):
                for i in range(4096):
                    bits[i] = min(first + start + i * step, 2**32 - 1)
                x = bits.view(np.float32)
                for i in range(4096):
                    values[i] = function(x[i])
                for i in range(4096):
                    error = ulp_error(values[i], exact(np.float64(x[i])))
                    if error > worst[block]:
                        worst[block], where[block] = error, x[i]

    return scan


def measure_float32(name, step=1):
    """Return the largest error of a function in float32 and the argument where it occurs."""
    worst, where = np.zeros(256), np.zeros(256, np.float32)
    compile_scan(getattr(functions, name), EXACT[name])(0, step, worst, where)
    return worst.max(), where[worst.argmax()]


def mpmath_references():
    """Return name -> the function in mpmath."""
    from mpmath import mp

    mp.dps = 60
    return {
        "exp": mp.exp, "expm1": mp.expm1, "log": mp.log, "log1p": mp.log1p, "tanh": mp.tanh, "erf": mp.erf,
        "sigmoid": lambda x: 1 / (1 + mp.exp(-x)), "softplus": lambda x: mp.log1p(mp.exp(x)),
        "normal_cdf": lambda x: mp.erfc(-x / mp.sqrt(2)) / 2, "normal_pdf": lambda x: mp.npdf(x),
    }  # fmt: skip


def float64_sample(name, size):
    """Return arguments of every magnitude within the range where the function is not constant."""
    rng = np.random.default_rng(1)
    spread = rng.choice([-1.0, 1.0], size) * 2.0 ** rng.uniform(-60, 11, size)
    normal = rng.normal(0, 1, size)
    x = np.concatenate([spread, normal, 10 * normal, rng.uniform(-760, 760, size)])
    limits = {
        "exp": (-750, 709), "expm1": (-50, 709), "sigmoid": (-750, 40), "softplus": (-750, 750),
        "tanh": (-20, 20), "erf": (-6, 6), "normal_cdf": (-39, 9), "normal_pdf": (-39, 39),
    }  # fmt: skip
    if name in ("log", "log1p"):
        x = np.concatenate([np.abs(x), np.exp(rng.uniform(-744, 709, size)), 1 + 0.01 * normal])
        return np.concatenate([x, spread[np.abs(spread) < 1]]) if name == "log1p" else x
    low, high = limits[name]
    return x[(x >= low) & (x <= high)]


def measure_float64(name, size=20000):
    """Return the largest error of a function in float64 over a sample and the argument where it occurs."""
    from mpmath import ldexp, mpf

    function, exact = getattr(functions, name), mpmath_references()[name]
    x = float64_sample(name, size)
    values = njit(lambda x: [function(v) for v in x])(x)
    worst = (0.0, 0.0)
    for argument, got in zip(x, values, strict=True):
        reference = exact(mpf(float(argument)))
        exponent = max(math.frexp(float(reference))[1] - 53, -1074)
        worst = max(worst, (float(abs(mpf(float(got)) - reference) / ldexp(1, exponent)), float(argument)))
    return worst


def main(arguments):
    """Print the largest errors of the functions named, or of all."""
    measure = measure_float64 if "--float64" in arguments else measure_float32
    for name in [a for a in arguments if not a.startswith("--")] or EXACT:
        error, x = measure(name)
        print(f"{name:12s} {error:.3f} ULP at {x!r}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
