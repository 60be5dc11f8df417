"""The course's loops once more, with the outer loop on several threads: `prange` in the place of `range`.

They are the loops of `jitprop_kernels.loops` in every other respect. Where all turns of an outer loop add to the
same numbers, that loop cannot be shared out: the turns would write over each other's sums. There the loops are
exchanged, so that each number of the result is summed by one thread; a single sum Numba splits up by itself. Sums
begin inside the loops: Numba would share out ``np.zeros`` as a loop of its own, and compile twice as long.
"""

from typing import Any

import numpy as np
from numba import prange

from jitprop_kernels.loops import _binary_cross_entropy, _highest, _sigmoid

__all__ = ["PARALLEL"]


def dot(w: Any, x: Any) -> Any:
    total = w.dtype.type(0)
    for i in prange(w.shape[0]):
        total += w[i, 0] * x[i, 0]
    return float(total)


def logistic_gradient(W: Any, b: Any, X: Any, Y: Any) -> Any:
    n_x, m = X.shape
    dZ = np.empty((1, m), X.dtype)
    J = 0.0
    for i in prange(m):
        z = b[0, 0]
        for k in range(n_x):
            z += W[0, k] * X[k, i]
        y = float(Y[0, i])
        J += _binary_cross_entropy(float(z), y)
        dZ[0, i] = _sigmoid(float(z)) - y
    dW, db = _parameter_gradients(dZ, X)
    return J / m, dW, db


def linear_forward(W: Any, A_prev: Any, b: Any) -> Any:
    n, n_prev = W.shape
    m = A_prev.shape[1]
    Z = np.empty((n, m), W.dtype)
    for i in prange(n):
        for j in range(m):
            Z[i, j] = 0.0
            for k in range(n_prev):
                Z[i, j] += W[i, k] * A_prev[k, j]
            Z[i, j] += b[i, 0]
    return Z


def linear_backward(dZ: Any, A_prev: Any, W: Any) -> Any:
    dW, db = _parameter_gradients(dZ, A_prev)
    n, n_prev = W.shape
    m = dZ.shape[1]
    dA_prev = np.empty((n_prev, m), W.dtype)
    for k in prange(n_prev):
        for j in range(m):
            dA_prev[k, j] = 0.0
            for i in range(n):
                dA_prev[k, j] += W[i, k] * dZ[i, j]
    return dW, db, dA_prev


def _parameter_gradients(dZ: Any, A_prev: Any) -> Any:
    n, m = dZ.shape
    n_prev = A_prev.shape[0]
    dW = np.empty((n, n_prev), dZ.dtype)
    db = np.empty((n, 1), dZ.dtype)
    for k in prange(n_prev):  # not over i: logistic regression has one unit
        for i in range(n):
            dW[i, k] = 0.0
            for j in range(m):
                dW[i, k] += dZ[i, j] * A_prev[k, j]
            dW[i, k] /= m
    for i in range(n):
        db[i, 0] = 0.0
        for j in range(m):
            db[i, 0] += dZ[i, j]
        db[i, 0] /= m
    return dW, db


def _each(g: Any, Z: Any, out: Any) -> Any:
    A = np.empty(Z.shape, Z.dtype)
    for i in prange(Z.shape[0]):
        for j in range(Z.shape[1]):
            A[i, j] = g(float(Z[i, j]))
    return A


def _each_with(g: Any, Z: Any, parameter: Any, out: Any) -> Any:
    A = np.empty(Z.shape, Z.dtype)
    for i in prange(Z.shape[0]):
        for j in range(Z.shape[1]):
            A[i, j] = g(float(Z[i, j]), parameter)
    return A


def softmax(Z: Any) -> Any:
    n, m = Z.shape
    A = np.empty((n, m), Z.dtype)
    for j in prange(m):
        highest = _highest(Z, j)
        total = Z.dtype.type(0)
        for i in range(n):
            A[i, j] = np.exp(float(Z[i, j] - highest))
            total += A[i, j]
        for i in range(n):
            A[i, j] /= total
    return A


PARALLEL = {
    function.__name__: function
    for function in (
        dot,
        logistic_gradient,
        linear_forward,
        linear_backward,
        _parameter_gradients,
        _each,
        _each_with,
        softmax,
    )
}
