"""Derive the polynomials of kernels/jitprop_kernels/jit/constants.py and print them as they stand there.

Each polynomial p(x) = sum_k c_k x**k approximates a smooth function f on an interval, with the weight that
makes weight * |p - f| the relative error of the function it serves. The Remez exchange algorithm (Muller,
Elementary Functions, 3rd ed., section 3.5) finds the minimax coefficients in 50 digits. They are then rounded
to the working precision one at a time, lowest power first: after c_0 is rounded, the best c_1, c_2, ... for
that c_0 are computed anew, so that the higher coefficients absorb the rounding of the lower ones.

Needs mpmath and NumPy:  python docs/minimax.py
"""

from itertools import pairwise

import numpy as np
from mpmath import erf, erfc, exp, expm1, log1p, matrix, mp, mpf, pi, sqrt

mp.dps = 50


def chebyshev_grid(low, high, points):
    """Return points in (low, high), denser at the ends as a minimax error's extrema are; 0 is left out."""
    angle = [mpf(2 * i + 1) * pi / (2 * points) for i in range(points)]
    grid = [(low + high) / 2 - (high - low) / 2 * mp.cos(a) for a in angle]
    return np.array([x for x in grid if abs(x) > mpf(10) ** -9], dtype=object)


def horner(coefficients, x):
    """Return sum_k c_k x**k."""
    value = x * 0
    for c in reversed(coefficients):
        value = value * x + c
    return value


def extrema(error, count):
    """Return the indices of the `count` largest extrema of alternating sign, or None if there are fewer."""
    changes = [0] + [i for i in range(1, len(error)) if (error[i] > 0) != (error[i - 1] > 0)] + [len(error)]
    peaks = [max(range(a, b), key=lambda i: abs(error[i])) for a, b in pairwise(changes)]
    while len(peaks) > count:
        ends = [0, len(peaks) - 1]
        candidates = range(len(peaks)) if len(peaks) > count + 1 else ends
        smallest = min(candidates, key=lambda i: abs(error[peaks[i]]))
        if smallest not in ends:  # its smaller neighbour goes with it, so that the signs still alternate
            neighbour = min(smallest - 1, smallest + 1, key=lambda i: abs(error[peaks[i]]))
            peaks.pop(max(smallest, neighbour))
            smallest = min(smallest, neighbour)
        peaks.pop(smallest)
    return peaks if len(peaks) == count else None


def spread(points, count):
    """Return `count` indices below `points`, spread as the extrema of a Chebyshev polynomial."""
    return [round((points - 1) * (1 - float(mp.cos(pi * i / (count - 1)))) / 2) for i in range(count)]


def remez(x, f, weight, count):
    """Return the `count` coefficients that minimize max(weight * |p(x) - f|) over the points x."""
    index = spread(len(x), count + 1)
    coefficients = None
    for _ in range(30):
        rows = [[weight[j] * x[j] ** k for k in range(count)] + [(-1) ** i] for i, j in enumerate(index)]
        solution = mp.lu_solve(matrix(rows), matrix([weight[j] * f[j] for j in index]))
        coefficients, level = list(solution[:count]), abs(solution[count])
        error = weight * (horner(coefficients, x) - f)
        found = extrema(error, count + 1)
        if found is None or max(abs(error)) <= level * mpf("1.0001"):
            break
        index = found
    return coefficients


def rational_remez(x, f, count):
    """Return the denominator D = 1 + ... of the N / D that minimizes max(|N / D - f| / f).

    N has `count` coefficients, D one more. The equations are linear but for the level times the denominator,
    for which the last denominator stands in.
    """
    index = spread(len(x), 2 * count + 1)
    divisor = (1 + x) ** count
    for _ in range(30):
        for _ in range(4):
            scale = 1 / (f * divisor)
            rows = [
                [scale[j] * x[j] ** k for k in range(count)]
                + [-scale[j] * f[j] * x[j] ** k for k in range(1, count + 1)]
                + [(-1) ** i]
                for i, j in enumerate(index)
            ]
            solution = list(mp.lu_solve(matrix(rows), matrix([scale[j] * f[j] for j in index])))
            denominator = [mpf(1), *solution[count:-1]]
            divisor = horner(denominator, x)
        error = horner(solution[:count], x) / (divisor * f) - 1
        found = extrema(error, 2 * count + 1)
        if found is None or max(abs(error)) <= abs(solution[-1]) * mpf("1.001"):
            break
        index = found
    return denominator


def minimax(f, weight, low, high, count, dtype):
    """Return `count` coefficients in dtype's precision and the maximum of weight * |p - f| they reach."""
    x = chebyshev_grid(mpf(low), mpf(high), 50 * count)
    return round_one_by_one(x, np.array([f(v) for v in x]), np.array([weight(v) for v in x]), count, dtype)


def round_one_by_one(x, exact, scale, count, dtype):
    """Return what minimax does, from the values of f and of the weight at the points x."""
    rounded, rest, rest_scale = [], exact, scale
    for remaining in range(count, 0, -1):
        c = dtype(str(mp.nstr(remez(x, rest, rest_scale, remaining)[0], 40)))
        rounded.append(c)
        rest, rest_scale = (rest - mpf(float(c))) / x, rest_scale * abs(x)
    error = scale * (horner([mpf(float(c)) for c in rounded], x) - exact)
    return rounded, max(abs(error))


HALF_LN2 = mp.log(2) / 2 * mpf("1.0005")  # the rounding of x / ln 2 moves r a little beyond ln 2 / 2
SQUARE_S = ((sqrt(2) - 1) / (sqrt(2) + 1)) ** 2  # s = f / (2 + f) for 1 + f = sqrt(2)


def exp_remainder(r):
    """(exp(r) - 1 - r) / r**2."""
    return (expm1(r) - r) / r**2


def exp_weight(r):
    """The share of r**2 in exp(r)."""
    return r**2 / exp(r)


def log_remainder(w):
    """(2 atanh(s) - 2 s) / s**3 with w = s**2."""
    s = sqrt(w)
    return (log1p(s) - log1p(-s) - 2 * s) / s**3


def erf_remainder(u):
    """(erf(x) - x) / x with u = x**2."""
    return erf(sqrt(u)) / sqrt(u) - 1


def tail_ratio(z):
    """Q(z) exp(z**2 / 2), with Q the upper tail of the standard normal distribution."""
    return exp(z * z / 2) * erfc(z / sqrt(2)) / 2


def tail_quotient(largest, count, dtype):
    """Return numerator, error and denominator of tail_ratio on [0, largest].

    The numerator is fitted to the rounded denominator.
    """
    # The ratio falls like 1 / z: points dense near 0, even in z / (z + 4).
    shares = chebyshev_grid(mpf(0), largest / (largest + mpf(4)), 50 * count)
    z = 4 * shares / (1 - shares)
    f = np.array([tail_ratio(v) for v in z])
    denominator = [dtype(mp.nstr(c, 40)) for c in rational_remez(z, f, count)]
    exact = f * horner([mpf(float(c)) for c in denominator], z)
    return *round_one_by_one(z, exact, 1 / exact, count, dtype), denominator


def derive():
    """Yield (name, coefficients, largest relative error) of each polynomial."""
    for dtype, (n_exp, n_log, n_erf, n_tail, largest) in SIZES.items():
        kind = dtype.__name__.upper()
        yield f"EXP_{kind}", *minimax(exp_remainder, exp_weight, -HALF_LN2, HALF_LN2, n_exp, dtype)
        yield f"LOG_{kind}", *minimax(log_remainder, lambda w: w / 2, 0, SQUARE_S, n_log, dtype)
        yield f"ERF_{kind}", *minimax(erf_remainder, lambda u: 1 / (1 + erf_remainder(u)), 0, 1, n_erf, dtype)
        numerator, error, denominator = tail_quotient(largest, n_tail, dtype)
        yield f"TAIL_NUMERATOR_{kind}", numerator, error
        yield f"TAIL_DENOMINATOR_{kind}", denominator, error


# Numbers of coefficients of exp, log, erf and the tail's numerator; the z beyond which the tail rounds to
# zero.
SIZES = {np.float32: (5, 3, 7, 5, 14.5), np.float64: (10, 7, 14, 11, 38.75)}


def main():
    """Print the polynomials as Python source."""
    for name, coefficients, error in derive():
        print(f"{name} = (  # error 2**{float(mp.log(error, 2)):.1f}")
        print("".join(f"    {c!s},\n" for c in coefficients) + ")")


if __name__ == "__main__":
    main()
