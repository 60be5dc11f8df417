"""Layers, output heads, updates: the public kernels around the tasks of the other modules."""

import numpy as np

from ..contract import ACTIVATIONS, COEFFICIENTS, RULES, parse
from ..doors import checked, plain
from . import activations, batches, losses, optimizers, reductions
from .affine import TRANSPOSED, Matrix, parts, product, reading, share
from .launch import address_of, bits, run, workspace

__all__ = [
    "dot",
    "dropout",
    "layer_backward",
    "layer_forward",
    "linear_backward",
    "linear_forward",
    "logistic_gradient",
    "output_head",
    "update",
]

_ELEMENTS = 200_000  # numbers that are only read and written: below so many a second thread costs more than it brings


def matrix(array):
    """`array` as a record holds it."""
    return Matrix(address_of(array), array.strides[0] // array.itemsize)


def transposed(array):
    """The transpose of `array`, which stays where it is."""
    address, stride, _ = matrix(array)
    return Matrix(address, 1, stride)


def _forward(W, A_prev, b, Z, block=0, other=(0, 0), parameter=0.0):
    n, m, k = W.shape[0], A_prev.shape[1], W.shape[1]
    B = matrix(A_prev)
    tasks = parts(n * m * k)
    mode = reading(n, B.row_stride, W.itemsize)
    task, record, _ = product(
        W.dtype, n, m, k, matrix(W), B, mode, matrix(Z), tasks, address_of(b), 1.0, block, other, parameter
    )
    run(task, record, tasks)


def _weight_gradient(dZ, A_prev):
    """dW = 1/m dZ A_prev^T; one or two rows are inner products, for which A_prev need not be transposed."""
    (n, m), k, dtype = dZ.shape, A_prev.shape[0], dZ.dtype
    dW = np.empty((n, k), dtype)
    if n <= 2:
        for i in range(n):
            record = [*matrix(A_prev)[:2], address_of(dZ[i]), k, m, address_of(dW[i]), 1, bits(1.0 / m)]
            run(reductions.row_products(dtype), record, share(k * m, _ELEMENTS))
        return dW
    tasks = parts(n * m * k)
    task, record, _ = product(
        dtype, n, k, m, matrix(dZ), matrix(A_prev), TRANSPOSED, matrix(dW), tasks, alpha=1.0 / m
    )
    run(task, record, tasks)
    return dW


def _bias_gradient(dZ):
    n, m = dZ.shape
    db = np.empty((n, 1), dZ.dtype)
    record = [*matrix(dZ)[:2], 0, n, m, address_of(db), 1, bits(1.0 / m)]
    run(reductions.row_products(dZ.dtype), record, share(n * m, _ELEMENTS))
    return db


def _input_gradient(dZ, W, block=0, other=(0, 0), parameter=0.0):
    (n, m), k = dZ.shape, W.shape[1]
    dA_prev = np.empty((k, m), W.dtype)
    B = matrix(dZ)
    tasks = parts(n * m * k)
    task, record, _ = product(
        W.dtype, k, m, n, transposed(W), B, reading(k, B.row_stride, W.itemsize), matrix(dA_prev), tasks,
        block=block, other=other, parameter=parameter,
    )  # fmt: skip
    run(task, record, tasks)
    return dA_prev


def _inner(w, x):
    """w^T x of contiguous arrays of one size."""
    sums = np.empty(-(-w.size // reductions.PIECE))
    record = [address_of(w), address_of(x), w.size, address_of(sums)]
    run(reductions.dot(w.dtype), record, share(w.size, _ELEMENTS))
    return float(sums.sum())


@checked
def linear_forward(W, A_prev, b, out=None):
    """Affine map Z = W A_prev + b.

    Shapes: W (n, n_prev), A_prev (n_prev, m), b (n, 1), Z (n, m). `out` must share no memory with the inputs.
    """
    Z = np.empty((W.shape[0], A_prev.shape[1]), W.dtype) if out is None else out
    _forward(W, A_prev, b, Z)
    return Z


@checked
def linear_backward(dZ, A_prev, W):
    """Back through the affine map: dW = 1/m dZ A_prev^T, db = 1/m sum of dZ over the examples, dA_prev = W^T dZ.

    Shapes: dZ (n, m), A_prev (n_prev, m), W (n, n_prev); dW (n, n_prev), db (n, 1), dA_prev (n_prev, m).
    """
    return _weight_gradient(dZ, A_prev), _bias_gradient(dZ), _input_gradient(dZ, W)


@checked
def layer_forward(W, A_prev, b, activation):
    """One layer: Z = W A_prev + b and A = g(Z), the activation applied to each tile of Z as it leaves the registers.

    Shapes as in `linear_forward`, A (n, m).
    """
    name, parameter = parse(activation, ACTIVATIONS, "activation")
    Z = np.empty((W.shape[0], A_prev.shape[1]), W.dtype)
    A = np.empty_like(Z)
    _forward(W, A_prev, b, Z, activations.block(name, activations.VALUE, W.dtype), matrix(A)[:2], parameter)
    return Z, A


@checked
def layer_backward(dZ, W, A_prev, Z_prev, activation_prev):
    """Back through one layer: dW, db and dZ_prev = (W^T dZ) * g'(Z_prev), the product with g' on each tile.

    Shapes as in `linear_backward`, Z_prev and dZ_prev (n_prev, m). For the first layer Z_prev and activation_prev are
    None, and dZ_prev is None: nothing uses it.
    """
    dW, db = _weight_gradient(dZ, A_prev), _bias_gradient(dZ)
    if Z_prev is None:
        return dW, db, None
    name, parameter = parse(activation_prev, ACTIVATIONS, "activation")
    chain = activations.block(name, activations.CHAIN, W.dtype)
    return dW, db, _input_gradient(dZ, W, chain, matrix(Z_prev)[:2], parameter)


@checked
def output_head(Z, Y, loss, output, sample_weight=None):
    """Cost and dZ of the output layer, from Z, so that both are right where A rounds to 0 or 1.

    J = sum_i w_i loss_i / sum_i w_i, summed in float64; dZ[:, i] = (w_i m / sum w) dloss_i/dZ[:, i], of which the means
    over the examples give the gradient of J. Z, dZ (n, m); Y (n, m) of Z's dtype, or class indices int64 (1, m) for
    cross-entropy; sample_weight (1, m).
    """
    (n, m), dtype = Z.shape, Z.dtype
    dZ = np.empty((n, m), dtype)
    example_losses = np.empty(m)
    weights = np.ones(m) if sample_weight is None else sample_weight[0].astype(np.float64)
    total = weights.sum()
    factors = (weights / total * m).astype(dtype)
    task, parameter = losses.head(loss, output, dtype, Y.dtype == np.int64)
    tasks, room = share(n * m, _ELEMENTS), 2 * losses.CHUNK * Z.itemsize
    record = [
        *matrix(Z)[:2], *matrix(Y)[:2], *matrix(dZ)[:2], n, m, 1, address_of(factors),
        address_of(example_losses), bits(parameter), workspace(tasks * room), room,
    ]  # fmt: skip
    run(task, record, tasks)
    return _inner(weights, example_losses) / float(total), dZ


@checked
def dropout(A, rate, key, out=None):
    """Inverted dropout: A * mask / (1 - rate), the mask a function of (key, unit, example) alone.

    Unit i of example j is dropped where contract.dropout_hash(key, i, j) < rate 2^32. A, out (n, m); `out` may be A.
    Srivastava et al., JMLR 15, 2014.
    """
    if out is None:
        out = np.empty(A.shape, A.dtype)
    n, m = A.shape
    record = batches.dropout_record(matrix(A)[:2], matrix(out)[:2], n, m, rate, int(key))
    run(batches.dropout(A.dtype), record, share(A.size, _ELEMENTS))
    return out


@checked
def update(parameter, gradient, state, coefficients, rule):
    """Update a parameter in place by the one form that contract.COEFFICIENTS describes.

    parameter, gradient and each array of `state` (n, k); coefficients float64 (len(COEFFICIENTS),).
    """
    slots = dict(zip(RULES[parse(rule, RULES, "rule")[0]].slots, state, strict=True))
    m, v = (matrix(slots[name])[:2] if name in slots else (0, 0) for name in ("m", "v"))
    l2 = float(coefficients[COEFFICIENTS.index("l2")])
    step = np.array([address_of(coefficients), bits(l2), bits(1.0)], np.int64)
    record = [
        optimizers.block(rule, parameter.dtype), *matrix(gradient)[:2], *parameter.shape,
        *optimizers.update_record(matrix(parameter)[:2], m, v, address_of(step), False),
    ]  # fmt: skip
    run(optimizers.update(parameter.dtype), record, share(parameter.size, _ELEMENTS))


@checked
def dot(w, x):
    """Inner product w^T x of two columns (n, 1); a float.

    Every 32768 numbers are summed in the dtype, in vectors; these sums are added in float64.
    """
    return _inner(w, x)


@checked
def logistic_gradient(W, b, X, Y):
    """Cost and gradients of logistic regression: A = sigmoid(W X + b), dZ = A - Y.

    Parameters: W (1, n_x), b (1, 1), X (n_x, m), Y (1, m) with values from 0 to 1, of one dtype.
    Returns J (float), dW = 1/m dZ X^T (1, n_x), db = 1/m sum of dZ over the examples (1, 1).
    """
    Z = plain(linear_forward)(W, X, b)
    J, dZ = plain(output_head)(Z, Y, "binary_cross_entropy", "sigmoid")
    return J, _weight_gradient(dZ, X), _bias_gradient(dZ)
