"""Activations of whole matrices, each Z, out (n, m) of float32 or float64; `out` may be Z itself.

Within the errors that `functions` states; a nan gives what it gives in `loops`. Formulas and their sources are in
`loops`; here each is one compiled loop (see `activations`), cut into parts for the threads when it is long.
"""

import numpy as np

from ..doors import checked
from . import activations, losses
from .affine import share
from .launch import address_of, bits, run, workspace

__all__ = [
    "elu",
    "elu_derivative",
    "gelu",
    "gelu_derivative",
    "leaky_relu",
    "leaky_relu_derivative",
    "linear",
    "linear_derivative",
    "relu",
    "relu_derivative",
    "sigmoid",
    "sigmoid_derivative",
    "silu",
    "silu_derivative",
    "softmax",
    "softplus",
    "softplus_derivative",
    "tanh",
    "tanh_derivative",
]

_ELEMENTS = 60_000  # below so many a second thread costs more than it brings


def _apply(name, kind, Z, parameter, out):
    if out is None:
        out = np.empty(Z.shape, Z.dtype)
    elif kind == activations.VALUE and np.may_share_memory(Z, out):
        kind = activations.IN_PLACE
    block = activations.block(name, kind, Z.dtype)
    (rows, columns), stride = Z.shape, Z.strides[0] // Z.itemsize
    if Z.flags.c_contiguous:
        rows, columns = 1, Z.size
    record = [block, address_of(Z), stride, address_of(out), out.shape[1], rows, columns, bits(parameter)]
    run(activations.elementwise(Z.dtype), record, share(Z.size, _ELEMENTS))
    return out


@checked
def softmax(Z, out=None):
    """a_i = e^(z_i) / sum_j e^(z_j) over the units of each column, computed from z - max z."""
    if out is None:
        out = np.empty(Z.shape, Z.dtype)
    n, m = Z.shape
    tasks, room = share(Z.size, _ELEMENTS), 2 * losses.CHUNK * Z.itemsize
    record = [address_of(Z), Z.strides[0] // Z.itemsize, address_of(out), m, n, m, 1, workspace(tasks * room), room]
    run(losses.softmax(Z.dtype), record, tasks)
    return out


@checked
def linear(Z, out=None):
    """Linear: a = z."""
    return _apply("linear", activations.VALUE, Z, 0.0, out)


@checked
def linear_derivative(Z, out=None):
    """Derivative of linear: 1."""
    return _apply("linear", activations.DERIVATIVE, Z, 0.0, out)


@checked
def relu(Z, out=None):
    """RELU: max(0, z)."""
    return _apply("relu", activations.VALUE, Z, 0.0, out)


@checked
def relu_derivative(Z, out=None):
    """Derivative of relu: 0 for z < 0, 1 for z >= 0."""
    return _apply("relu", activations.DERIVATIVE, Z, 0.0, out)


@checked
def leaky_relu(Z, slope=0.01, out=None):
    """Leaky relu: slope z for z < 0, else z."""
    return _apply("leaky_relu", activations.VALUE, Z, slope, out)


@checked
def leaky_relu_derivative(Z, slope=0.01, out=None):
    """Derivative of leaky_relu: slope for z < 0, 1 for z >= 0."""
    return _apply("leaky_relu", activations.DERIVATIVE, Z, slope, out)


@checked
def sigmoid(Z, out=None):
    """Sigmoid: 1 / (1 + e^-z)."""
    return _apply("sigmoid", activations.VALUE, Z, 0.0, out)


@checked
def sigmoid_derivative(Z, out=None):
    """Derivative of sigmoid: a (1 - a)."""
    return _apply("sigmoid", activations.DERIVATIVE, Z, 0.0, out)


@checked
def tanh(Z, out=None):
    """Tanh: tanh z."""
    return _apply("tanh", activations.VALUE, Z, 0.0, out)


@checked
def tanh_derivative(Z, out=None):
    """Derivative of tanh: 1 - a^2."""
    return _apply("tanh", activations.DERIVATIVE, Z, 0.0, out)


@checked
def elu(Z, alpha=1.0, out=None):
    """ELU: alpha (e^z - 1) for z < 0, else z."""
    return _apply("elu", activations.VALUE, Z, alpha, out)


@checked
def elu_derivative(Z, alpha=1.0, out=None):
    """Derivative of elu: alpha e^z for z < 0, else 1."""
    return _apply("elu", activations.DERIVATIVE, Z, alpha, out)


@checked
def softplus(Z, out=None):
    """Softplus: log(1 + e^z)."""
    return _apply("softplus", activations.VALUE, Z, 0.0, out)


@checked
def softplus_derivative(Z, out=None):
    """Derivative of softplus: sigmoid(z)."""
    return _apply("softplus", activations.DERIVATIVE, Z, 0.0, out)


@checked
def gelu(Z, out=None):
    """GELU: z Phi(z), Phi the normal distribution function."""
    return _apply("gelu", activations.VALUE, Z, 0.0, out)


@checked
def gelu_derivative(Z, out=None):
    """Derivative of gelu: Phi(z) + z phi(z)."""
    return _apply("gelu", activations.DERIVATIVE, Z, 0.0, out)


@checked
def silu(Z, out=None):
    """SILU: z sigmoid(z)."""
    return _apply("silu", activations.VALUE, Z, 0.0, out)


@checked
def silu_derivative(Z, out=None):
    """Derivative of silu: s (1 + z (1 - s)) with s = sigmoid(z)."""
    return _apply("silu", activations.DERIVATIVE, Z, 0.0, out)
