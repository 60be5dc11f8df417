"""Activations: each is one line that gives g(z) and g'(z) together; what a caller does not use, LLVM deletes.

From that line `block` makes the five loops that kernels need, compiled only when one is used. The formulas are those
of `loops`; the derivatives at a kink are the course's: 1 at 0 for relu and leaky_relu.
"""

import functools

from .compiling import inlined
from .functions import exp, expm1, normal_cdf, normal_pdf, select, sigmoid, softplus, tanh
from .launch import compiled_block, compiled_task
from .scalars import copysign
from .vectors import call_address, cast, float_of, size_of, unpack, vector_at

__all__ = [
    "CHAIN", "DERIVATIVE", "FORMULAS", "IN_PLACE", "PAIR", "SIGNED_RELU", "VALUE", "block",
    "elementwise", "multiply",
]  # fmt: skip

# Each of these is g(z, parameter, zero, one) -> (g(z), g'(z)). A comparison with nan is false, which decides which
# side a nan takes: that of z, or as in `loops` where z does not appear.


def _linear(z, parameter, zero, one):
    return z, one


def _relu(z, parameter, zero, one):
    return select(z < zero, zero, z), select(z >= zero, one, zero)


def _leaky_relu(z, slope, zero, one):
    return select(z < zero, slope * z, z), select(z >= zero, one, slope)


def _sigmoid(z, parameter, zero, one):
    a = sigmoid(z)
    return a, a * sigmoid(-z)  # 1 - a would lose all digits where a rounds to 1


def _tanh(z, parameter, zero, one):
    a = tanh(z)
    return a, (one - a) * (one + a)


def _elu(z, alpha, zero, one):
    below = select(z >= zero, zero, z)  # expm1 + 1 would lose the digits of e^z where that is small
    return select(z >= zero, z, alpha * expm1(below)), select(z >= zero, one, alpha * exp(below))


def _softplus(z, parameter, zero, one):
    return softplus(z), sigmoid(z)


def _gelu(z, parameter, zero, one):
    # At -inf, z Phi(z) would be inf * 0; there and below -40 both factors have long made it 0.
    inside = select(z < -cast(40.0, one), -cast(40.0, one), z)
    cdf = normal_cdf(inside)
    density = normal_pdf(inside)
    return inside * cdf, cdf + select(abs(z) > cast(40.0, one), zero, inside) * density


def _silu(z, parameter, zero, one):
    # Below -110 (-750 in float64) z sigmoid(z) is 0; -inf times 0 would be nan.
    inside = select(z < -cast(1000.0, one), -cast(1000.0, one), z)
    a = sigmoid(inside)
    below = sigmoid(-inside)
    return inside * a, a + select(below == zero, zero, inside * a) * below


def _signed_relu(z, parameter, zero, one):
    """relu as `tile.RECTIFY` stores it, -0 where z < 0; and g' of what it stored, as `tile.GATE` takes it."""
    return select(z < zero, copysign(zero, -one), z + zero), select(copysign(one, z) < zero, zero, one)


FORMULAS = {
    "linear": _linear,
    "relu": _relu,
    "leaky_relu": _leaky_relu,
    "sigmoid": _sigmoid,
    "tanh": _tanh,
    "elu": _elu,
    "softplus": _softplus,
    "gelu": _gelu,
    "silu": _silu,
}

SIGNED_RELU = "signed_relu"  # for IN_PLACE and, with y = g(z) where others take z, for CHAIN

VALUE = 0  # y = g(x)
DERIVATIVE = 1  # y = g'(x)
CHAIN = 2  # x = x * g'(y)
PAIR = 3  # y = g(x), x = g'(x)
IN_PLACE = 4  # x = g(x): VALUE with y = x would fail LLVM's test for overlap, and run its loop of scalars
_KINDS = ("value", "derivative", "chain", "pair", "in_place")


@functools.cache
def _body(name, kind):
    """The loop of one kind over the formula of one activation, both matrices by address and distance of rows."""
    formula = inlined(_signed_relu if name == SIGNED_RELU else FORMULAS[name])

    def activation(x, x_stride, y, y_stride, rows, columns, parameter, one):
        zero, p = one - one, cast(parameter, one)
        for i in range(rows):
            X = vector_at(x + i * x_stride * size_of(one), columns, one)
            Y = vector_at(y + i * y_stride * size_of(one), columns, one)
            for j in range(columns):
                if kind == VALUE:
                    Y[j] = formula(X[j], p, zero, one)[0]
                elif kind == DERIVATIVE:
                    Y[j] = formula(X[j], p, zero, one)[1]
                elif kind == CHAIN:
                    X[j] = X[j] * formula(Y[j], p, zero, one)[1]
                elif kind == IN_PLACE:
                    X[j] = formula(X[j], p, zero, one)[0]
                else:
                    a, derivative = formula(X[j], p, zero, one)
                    Y[j] = a
                    X[j] = derivative

    activation.__qualname__ = activation.__name__ = f"{name}_{_KINDS[kind]}"
    return activation


def block(name, kind, dtype):
    """The address of the loop of an activation: VALUE, DERIVATIVE, CHAIN, PAIR or IN_PLACE."""
    return compiled_block(_body(name, kind), dtype)


def _multiply(x, x_stride, y, y_stride, rows, columns, parameter, one):
    for i in range(rows):
        X = vector_at(x + i * x_stride * size_of(one), columns, one)
        Y = vector_at(y + i * y_stride * size_of(one), columns, one)
        for j in range(columns):
            X[j] *= Y[j]


def multiply(dtype):
    """The address of the loop x = x * y."""
    return compiled_block(_multiply, dtype)


def _elementwise(record, t, tasks, one):
    block, x, x_stride, y, y_stride, rows, columns, parameter = unpack(record, 8)
    size, p = size_of(one), float_of(parameter)
    if rows == 1:
        j0, j1 = columns * t // tasks, columns * (t + 1) // tasks
        call_address(block, x + j0 * size, x_stride, y + j0 * size, y_stride, 1, j1 - j0, p)
    else:
        i0, i1 = rows * t // tasks, rows * (t + 1) // tasks
        x0, y0 = x + i0 * x_stride * size, y + i0 * y_stride * size
        call_address(block, x0, x_stride, y0, y_stride, i1 - i0, columns, p)


def elementwise(dtype):
    """The task that runs a block over a matrix: record (block, x, x_stride, y, y_stride, rows, columns, parameter)."""
    return compiled_task(_elementwise, dtype)
