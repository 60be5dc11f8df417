"""The one place of tolerances: each from the precision of the dtype and the length of sums, none from a run.

Let u = eps/2 be the unit roundoff. A sum of k products, in any order, with or without fused multiply-add,
differs from the exact one by at most k u / (1 - k u) times the sum of the products' absolute values (Higham,
Accuracy and Stability of Numerical Algorithms, 2nd edition, section 3.1). Two computed results differ by less
than k eps times it.

An elementary function (exp, log1p, tanh, erfc) is good to 4 ulp, NumPy's own promise, and a formula around it
adds no more than 4 roundings: FUNCTION = 8 units of eps, times the condition of the formula, which stands
beside its name.
"""

import math

import numpy as np

from jitprop_kernels import loops

FUNCTION = 8.0


def eps(dtype):
    """Distance from 1 to the next number of the dtype."""
    return float(np.finfo(dtype).eps)


def close(actual, expected, bound):
    """Each element of `actual` lies within `bound` of that of `expected`; nan is never close."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape
    error, bound = np.abs(actual - expected), np.broadcast_to(bound, expected.shape)
    worst = np.unravel_index(np.argmax(np.where(np.isnan(error), np.inf, error - bound)), error.shape)
    assert (error <= bound).all(), (
        f"at {tuple(map(int, worst))}: {actual[worst]!r} is {error[worst]:.3g} from {expected[worst]!r}, "
        f"more than {bound[worst]:.3g}; {(~(error <= bound)).sum()} of {error.size} elements are"
    )


def product(A, B, dtype, plus=0.0, divided=1.0):
    """Bound on each element of a computed (A B + plus) / divided: k products, a sum more and a division."""
    absolute = np.abs(A.astype(np.float64)) @ np.abs(B.astype(np.float64)) + np.abs(plus)
    return (A.shape[1] + 2) * eps(dtype) * absolute / divided + np.finfo(dtype).tiny


def _sigmoid(z):
    return loops._sigmoid(z)


def _density(z):
    return math.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)


# The size of what is rounded in computing a function at z, where that is not the function's own value. A
# normal distribution's tail has the condition z^2, and so has the density; 1 - a has the rounding of a.
_SIZES = {
    "sigmoid_derivative": _sigmoid,
    "tanh_derivative": lambda z: 1.0,
    "gelu": lambda z: abs(loops._gelu(z)) * (1 + min(z, 0) ** 2),
    "gelu_derivative": lambda z: (
        loops._normal_distribution(z) * (1 + min(z, 0) ** 2) + abs(z) * _density(z) * (1 + z * z)
    ),
    "silu_derivative": lambda z: _sigmoid(z) * (1 + abs(z)),
}


def elementwise(name, Z, expected, dtype):
    """Bound on an activation or derivative; results below the smallest normal number may be 0."""
    size = np.abs(expected)
    if name in _SIZES:
        size = np.array([[_SIZES[name](float(z)) for z in row] for row in Z])
    return FUNCTION * eps(dtype) * size + FUNCTION * np.finfo(dtype).tiny * (1 + np.abs(Z))


def softmax(Z, expected, dtype):
    """Bound on softmax: the rounding of z - max(z) shows in e^(z - max), that of the sum grows with n."""
    lowered = np.abs(Z - Z.max(axis=0))
    return eps(dtype) * expected * (FUNCTION + lowered + len(Z)) + FUNCTION * np.finfo(dtype).tiny


def head(Z, Y, output, loss, dtype):
    """Bounds on the loss of each element and on dZ before weights: the sizes of the terms that are added."""
    name = loss.split("(")[0]
    n = len(Z)
    if output == "softmax":
        lowered = np.abs(Z - Z.max(axis=0))
        of_loss, of_dZ = Y * (1 + lowered) + Y * n, 1 + np.abs(Y) + n / FUNCTION
        if name == "squared_error":
            of_loss, of_dZ = (1 + np.abs(Y)) ** 2, (1 + np.abs(Y)) * (1 + n / FUNCTION)
    elif name == "binary_cross_entropy":
        of_loss, of_dZ = 1 + np.abs(Z), 1 + np.abs(Y)
    elif name == "poisson":
        of_loss, of_dZ = np.exp(Z) + np.abs(Y * Z), np.exp(Z) + np.abs(Y)
    else:
        size = np.abs(Y) + (1.0 if output == "sigmoid" else np.abs(Z))
        of_loss, of_dZ = size * size + size, 1 + size
    return (FUNCTION + n) * eps(dtype) * of_loss, FUNCTION * eps(dtype) * of_dZ


def differences(size, step):
    """Bound on a central difference of step h of a smooth function whose terms have `size`, in float64.

    The truncation is h^2/6 times the third derivative, taken as `size`, and the rounding FUNCTION eps size /
    h.
    """
    return size * (step * step + FUNCTION * eps("float64") / step)


def training(units, batch_size, steps, dtype):
    """Relative bound on costs and parameters after some steps, each of which adds its sums' roundings.

    An error made in an early step is carried on by the later ones; gentle rates as in the tests let it grow
    by no more than the factor of two that the bound has over the roundings' worst case in each sum.
    """
    longest = sum(units) + batch_size
    return 2 * steps * (FUNCTION + longest) * eps(dtype)
