"""The kernels as loops over numbers: the definition that the other two sets are held to.

Written to be followed line by line and never made fast. NumPy only holds the numbers. Columns are examples:
``Z[i, j]`` is unit i of example j. Sums run in the arrays' own type, but for the cost, which is summed in
float64. Numba compiles these functions as they stand, except those that read names such as "relu".
"""

import math
import sys

import numpy as np

from . import composition
from .contract import RULES, dropout_hash, dropout_threshold, parse_loss
from .doors import checked

_this = sys.modules[__name__]


@checked
def dot(w, x):
    """Inner product w^T x = sum_i w_i x_i of two columns (n, 1); a float."""
    total = w.dtype.type(0)
    for i in range(w.shape[0]):
        total += w[i, 0] * x[i, 0]
    return float(total)


@checked
def logistic_gradient(W, b, X, Y):
    """Cost and gradients of logistic regression, with one loop over examples and two over features inside it.

    For each example a = sigmoid(W x + b), loss -(y log a + (1 - y) log(1 - a)) and dz = a - y; the cost J and
    the gradients dW, db are the means over the examples (course, week 2).

    Parameters
    ----------
    W : ndarray, shape (1, n_x)
    b : ndarray, shape (1, 1)
    X : ndarray, shape (n_x, m)
    Y : ndarray, shape (1, m)
        Values from 0 to 1; all four are float32 or all float64.

    Returns
    -------
    J : float
    dW : ndarray, shape (1, n_x)
    db : ndarray, shape (1, 1)

    Raises
    ------
    ValueError, TypeError
        An array has another shape or dtype.
    """
    n_x, m = X.shape
    J = 0.0
    dW = np.zeros((1, n_x), X.dtype)
    db = np.zeros((1, 1), X.dtype)
    for i in range(m):
        z = b[0, 0]
        for k in range(n_x):
            z += W[0, k] * X[k, i]
        y = float(Y[0, i])
        J += _binary_cross_entropy(float(z), y)
        dz = _sigmoid(float(z)) - y
        for k in range(n_x):
            dW[0, k] += X[k, i] * dz
        db[0, 0] += dz
    for k in range(n_x):
        dW[0, k] /= m
    db[0, 0] /= m
    return J / m, dW, db


@checked
def linear_forward(W, A_prev, b, out=None):
    """Affine map Z = W A_prev + b: z_ij = sum_k w_ik a_kj + b_i.

    Shapes: W (n, n_prev), A_prev (n_prev, m), b (n, 1), Z (n, m). `out` must share no memory with the inputs.
    """
    n, n_prev = W.shape
    m = A_prev.shape[1]
    Z = np.empty((n, m), W.dtype) if out is None else out
    for i in range(n):
        for j in range(m):
            Z[i, j] = 0.0
            for k in range(n_prev):
                Z[i, j] += W[i, k] * A_prev[k, j]
            Z[i, j] += b[i, 0]
    return Z


@checked
def linear_backward(dZ, A_prev, W):
    """Back through the affine map: dW = 1/m dZ A_prev^T, db = 1/m sum_j dZ[:, j], dA_prev = W^T dZ.

    Shapes: dZ (n, m), A_prev (n_prev, m), W (n, n_prev); a gradient has the shape of its array.
    """
    dW, db = _parameter_gradients(dZ, A_prev)
    n, n_prev = W.shape
    m = dZ.shape[1]
    dA_prev = np.zeros((n_prev, m), W.dtype)
    for k in range(n_prev):
        for j in range(m):
            for i in range(n):
                dA_prev[k, j] += W[i, k] * dZ[i, j]
    return dW, db, dA_prev


def _parameter_gradients(dZ, A_prev):
    n, m = dZ.shape
    n_prev = A_prev.shape[0]
    dW = np.zeros((n, n_prev), dZ.dtype)
    db = np.zeros((n, 1), dZ.dtype)
    for i in range(n):
        for k in range(n_prev):
            for j in range(m):
                dW[i, k] += dZ[i, j] * A_prev[k, j]
            dW[i, k] /= m
        for j in range(m):
            db[i, 0] += dZ[i, j]
        db[i, 0] /= m
    return dW, db


# An activation g(z) and its derivative for one number z, and below for an array. Comparisons are
# such that g of a nan is a nan.


def _linear(z):
    return z


def _linear_derivative(z):
    return 1.0


def _relu(z):
    return 0.0 if z < 0 else z


def _relu_derivative(z):
    return 1.0 if z >= 0 else 0.0  # at 0 the course's choice


def _leaky_relu(z, slope):
    return slope * z if z < 0 else z


def _leaky_relu_derivative(z, slope):
    return 1.0 if z >= 0 else slope


def _sigmoid(z):
    if z < 0:  # the same number, by powers of e that do not overflow
        return math.exp(z) / (1.0 + math.exp(z))
    return 1.0 / (1.0 + math.exp(-z))


def _sigmoid_derivative(z):
    a = _sigmoid(z)
    return a * (1.0 - a)


def _tanh(z):
    return math.tanh(z)


def _tanh_derivative(z):
    a = math.tanh(z)
    return 1.0 - a * a


def _elu(z, alpha):
    return alpha * math.expm1(z) if z < 0 else z


def _elu_derivative(z, alpha):
    return 1.0 if z >= 0 else alpha * math.exp(z)


def _softplus(z):
    if z > 0:  # log(1 + e^z) = z + log(1 + e^-z)
        return z + math.log1p(math.exp(-z))
    return math.log1p(math.exp(z))


def _normal_distribution(z):
    return 0.5 * math.erfc(-z * math.sqrt(0.5))  # not 1 + erf, which loses the digits of the left tail


def _gelu(z):
    if z == -math.inf:  # the limit; the product would be a nan
        return 0.0
    return z * _normal_distribution(z)


def _gelu_derivative(z):
    if math.isinf(z):  # z e^(-z^2/2) goes to 0
        return _normal_distribution(z)
    return _normal_distribution(z) + z * math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)


def _silu(z):
    if z == -math.inf:
        return 0.0
    return z * _sigmoid(z)


def _silu_derivative(z):
    a = _sigmoid(z)
    if math.isinf(z):  # z (1 - a) or z a goes to 0
        return a
    return a * (1.0 + z * (1.0 - a))


def _each(g, Z, out):
    A = np.empty(Z.shape, Z.dtype) if out is None else out
    for i in range(Z.shape[0]):
        for j in range(Z.shape[1]):
            A[i, j] = g(float(Z[i, j]))
    return A


def _each_with(g, Z, parameter, out):
    A = np.empty(Z.shape, Z.dtype) if out is None else out
    for i in range(Z.shape[0]):
        for j in range(Z.shape[1]):
            A[i, j] = g(float(Z[i, j]), parameter)
    return A


@checked
def linear(Z, out=None):
    """A = Z, as a copy."""
    return _each(_linear, Z, out)


@checked
def linear_derivative(Z, out=None):
    """Derivative of `linear`: 1."""
    return _each(_linear_derivative, Z, out)


@checked
def relu(Z, out=None):
    """A = max(0, Z)."""
    return _each(_relu, Z, out)


@checked
def relu_derivative(Z, out=None):
    """Derivative of `relu`: 0 for z < 0, and 1 for z >= 0 (the course's choice at 0)."""
    return _each(_relu_derivative, Z, out)


@checked
def leaky_relu(Z, slope=0.01, out=None):
    """A = max(slope Z, Z), slope from 0 to 1."""
    return _each_with(_leaky_relu, Z, slope, out)


@checked
def leaky_relu_derivative(Z, slope=0.01, out=None):
    """Derivative of `leaky_relu`: slope for z < 0, and 1 for z >= 0."""
    return _each_with(_leaky_relu_derivative, Z, slope, out)


@checked
def sigmoid(Z, out=None):
    """A = 1 / (1 + e^-Z)."""
    return _each(_sigmoid, Z, out)


@checked
def sigmoid_derivative(Z, out=None):
    """Derivative of `sigmoid`: a (1 - a)."""
    return _each(_sigmoid_derivative, Z, out)


@checked
def tanh(Z, out=None):
    """A = tanh(Z)."""
    return _each(_tanh, Z, out)


@checked
def tanh_derivative(Z, out=None):
    """Derivative of `tanh`: 1 - a^2."""
    return _each(_tanh_derivative, Z, out)


@checked
def elu(Z, alpha=1.0, out=None):
    """A = Z for z >= 0, alpha (e^Z - 1) for z < 0 (Clevert and others 2016, arXiv:1511.07289)."""
    return _each_with(_elu, Z, alpha, out)


@checked
def elu_derivative(Z, alpha=1.0, out=None):
    """Derivative of `elu`: 1 for z >= 0, alpha e^Z for z < 0."""
    return _each_with(_elu_derivative, Z, alpha, out)


@checked
def softplus(Z, out=None):
    """A = log(1 + e^Z)."""
    return _each(_softplus, Z, out)


@checked
def softplus_derivative(Z, out=None):
    """Derivative of `softplus`: sigmoid(Z)."""
    return _each(_sigmoid, Z, out)


@checked
def gelu(Z, out=None):
    """A = Z Phi(Z), Phi the normal distribution function: exact, not the tanh formula (arXiv:1606.08415)."""
    return _each(_gelu, Z, out)


@checked
def gelu_derivative(Z, out=None):
    """Derivative of `gelu`: Phi(Z) + Z e^(-Z^2/2) / sqrt(2 pi)."""
    return _each(_gelu_derivative, Z, out)


@checked
def silu(Z, out=None):
    """A = Z sigmoid(Z), also called swish."""
    return _each(_silu, Z, out)


@checked
def silu_derivative(Z, out=None):
    """Derivative of `silu`: s (1 + z (1 - s)) with s = sigmoid(z)."""
    return _each(_silu_derivative, Z, out)


@checked
def softmax(Z, out=None):
    """A_i = e^(z_i) / sum_k e^(z_k) over a column, each lowered by the largest, which cancels."""
    n, m = Z.shape
    A = np.empty((n, m), Z.dtype) if out is None else out
    for j in range(m):
        highest = _highest(Z, j)
        total = Z.dtype.type(0)
        for i in range(n):
            A[i, j] = math.exp(float(Z[i, j] - highest))
            total += A[i, j]
        for i in range(n):
            A[i, j] /= total
    return A


def _highest(Z, j):
    highest = Z[0, j]
    for i in range(1, Z.shape[0]):
        if Z[i, j] > highest:
            highest = Z[i, j]
    return highest


@checked
def layer_forward(W, A_prev, b, activation):
    """One layer: Z = W A_prev + b and A = g(Z).

    `activation` is a row of `contract.ACTIVATIONS`, as "relu" or "leaky_relu(0.2)". Returns Z and A, (n, m).
    """
    return composition.layer_forward(_this, W, A_prev, b, activation)


@checked
def layer_backward(dZ, W, A_prev, Z_prev, activation_prev):
    """Back through one layer: dW and db as in `linear_backward`, dZ_prev = (W^T dZ) * g'(Z_prev).

    For the first layer Z_prev and activation_prev are None, and dZ_prev is None: nothing uses dA[0].
    """
    if Z_prev is None:
        dW, db = _parameter_gradients(dZ, A_prev)
        return dW, db, None
    return composition.layer_backward(_this, dZ, W, A_prev, Z_prev, activation_prev)


# The losses. Those that take logarithms are computed from z, where no logarithm of a rounded 0 can appear.


def _exp(z):
    return math.inf if z > 709.782 else math.exp(z)  # math.exp raises where NumPy and Numba say inf


def _binary_cross_entropy(z, y):
    # -y log a - (1 - y) log(1 - a), a = sigmoid(z): -log a = softplus(-z) and -log(1 - a) = softplus(z).
    # Derivative in z: a - y.
    return y * _softplus(-z) + (1.0 - y) * _softplus(z)


def _loss(a, y, name, parameter):
    """Loss of one output a, and its derivative in a."""
    d = a - y
    if name == "squared_error":  # 1/2 d^2;  d
        return 0.5 * d * d, d
    if name == "absolute_error":  # |d|;  the sign of d, 0 at 0
        if d == 0:
            return 0.0, 0.0
        return (d, 1.0) if d > 0 else (-d, -1.0)
    if name == "huber":  # 1/2 d^2 for |d| <= delta, else delta (|d| - delta/2);  d, held within +-delta
        if d > parameter:
            return parameter * (d - 0.5 * parameter), parameter
        if d < -parameter:
            return parameter * (-d - 0.5 * parameter), -parameter
        return 0.5 * d * d, d
    if name == "poisson":  # e^a - y a, where a is the logarithm of the rate;  e^a - y
        return _exp(a) - y * a, _exp(a) - y
    # quantile: (1 - level) d for d > 0, -level d for d < 0;  1 - level, or -level, or 0 at equality
    if d == 0:
        return 0.0, 0.0
    return ((1.0 - parameter) * d, 1.0 - parameter) if d > 0 else (-parameter * d, -parameter)


def _column(Z, Y, j, output, loss, parameter, dZ):
    """The loss of example j, the sum over its units; fills column j of dZ."""
    total = Z.dtype.type(0)
    for i in range(Z.shape[0]):
        z, y = float(Z[i, j]), float(Y[i, j])
        if loss == "binary_cross_entropy":
            value = _binary_cross_entropy(z, y)
            dZ[i, j] = _sigmoid(z) - y
        elif output == "sigmoid":
            value, slope = _loss(_sigmoid(z), y, loss, parameter)
            dZ[i, j] = slope * _sigmoid_derivative(z)
        elif output == "relu":
            value, slope = _loss(_relu(z), y, loss, parameter)
            dZ[i, j] = slope * _relu_derivative(z)
        else:
            value, slope = _loss(z, y, loss, parameter)
            dZ[i, j] = slope
        total += value
    return float(total)


def _softmax_column(Z, Y, j, loss, dZ):
    """The same for softmax, whose units depend on each other."""
    n = Z.shape[0]
    highest = _highest(Z, j)
    total = 0.0
    for i in range(n):
        total += math.exp(float(Z[i, j] - highest))
    value = 0.0
    if loss == "cross_entropy":  # -sum_i y_i log a_i, with log a_i = z_i - log(sum_k e^(z_k));  a - y
        for i in range(n):
            lowered, y = float(Z[i, j] - highest), float(Y[i, j])
            value += y * (math.log(total) - lowered)
            dZ[i, j] = math.exp(lowered) / total - y
        return value
    inner = 0.0  # squared error: 1/2 sum_i d_i^2, d = a - y;  a_i (d_i - sum_k d_k a_k)
    for i in range(n):
        a = math.exp(float(Z[i, j] - highest)) / total
        d = a - float(Y[i, j])
        value += 0.5 * d * d
        inner += d * a
    for i in range(n):
        a = math.exp(float(Z[i, j] - highest)) / total
        dZ[i, j] = a * (a - float(Y[i, j]) - inner)
    return value


def _head(Z, Y, output, loss, parameter, weights):
    n, m = Z.shape
    dZ = np.empty((n, m), Z.dtype)
    cost = 0.0
    total = 0.0
    for j in range(m):
        total += float(weights[0, j])
    for j in range(m):
        if output == "softmax":
            value = _softmax_column(Z, Y, j, loss, dZ)
        else:
            value = _column(Z, Y, j, output, loss, parameter, dZ)
        share = float(weights[0, j]) / total
        cost += share * value
        for i in range(n):
            dZ[i, j] *= share * m
    return cost, dZ


@checked
def output_head(Z, Y, loss, output, sample_weight=None):
    """Cost of the output layer and dZ[L], computed from Z so that no logit makes them infinite without cause.

    The cost is sum_j w_j loss_j / sum_j w_j, a loss being summed over the units; dZ[:, j] is (w_j m / sum w)
    times its derivative, so that the means over the columns that follow give the gradient of the cost.

    Parameters
    ----------
    Z : ndarray, shape (n, m)
        Z[L].
    Y : ndarray, shape (n, m), or int64 (1, m)
        Targets of Z's dtype; for cross_entropy class indices too. Columns of probabilities sum to 1.
    loss, output : str
        A row of `contract.LOSSES` that fits the row of `contract.OUTPUTS`. The derivative of absolute_error
        is 0 where a = y, and so is that of quantile.
    sample_weight : ndarray, shape (1, m), optional
        Weights w of the examples, of Z's dtype.

    Returns
    -------
    float, ndarray of shape (n, m)

    Raises
    ------
    ValueError, TypeError
        An array or a name does not fit.
    """
    output, name, parameter = parse_loss(loss, output)
    n, m = Z.shape
    if Y.dtype == np.int64:  # class indices: their one-hot columns
        classes, Y = Y, np.zeros((n, m), Z.dtype)
        for j in range(m):
            Y[classes[0, j], j] = 1.0
    weights = np.ones((1, m), Z.dtype) if sample_weight is None else sample_weight
    with np.errstate(over="ignore"):  # only a Poisson rate overflows, and then its cost is infinite
        return _head(Z, Y, output, name, parameter, weights)


@checked
def dropout(A, rate, key, out=None):
    """Inverted dropout: A * mask / (1 - rate), where a share `rate` of the mask is 0 and the rest is 1.

    The mask is a function of the key, the unit i and the column j only: `contract.dropout_hash`. `key` is an
    int of 32 bits; backward passes dZ through the same call. A dropped element is 0 whatever it was. `out`
    may be A.
    """
    result = np.empty(A.shape, A.dtype) if out is None else out
    threshold = dropout_threshold(rate)
    for i in range(A.shape[0]):
        for j in range(A.shape[1]):
            kept = dropout_hash(key, i, j) >= threshold
            result[i, j] = A[i, j] / (1.0 - float(rate)) if kept else 0.0
    return result


@checked
def update(parameter, gradient, state, coefficients, rule):
    """One step of an optimizer on one parameter, in place; `contract.COEFFICIENTS` has its form and names.

    Parameters
    ----------
    parameter, gradient : ndarray, shape (n, k)
    state : list of ndarray
        The rule's slots for this parameter, each of its shape, changed in place.
    coefficients : ndarray, float64, shape (len(COEFFICIENTS),)
        A row of numbers for this step.
    rule : str
        A row of `contract.RULES`.
    """
    slots = dict(zip(RULES[rule].slots, state, strict=True))
    _update(parameter, gradient, slots.get("m"), slots.get("v"), coefficients)


def _update(parameter, gradient, m, v, coefficients):
    (
        _, rate, decay, l2, beta1, gain1, momentum_share, gradient_share, beta2, gain2, epsilon, clip_value, _,
    ) = coefficients  # fmt: skip
    for i in range(parameter.shape[0]):
        for j in range(parameter.shape[1]):
            g = gradient[i, j] + l2 * parameter[i, j]
            if g > clip_value:
                g = clip_value
            elif g < -clip_value:
                g = -clip_value
            step = gradient_share * g
            if m is not None:
                m[i, j] = beta1 * m[i, j] + gain1 * g
                step += momentum_share * m[i, j]
            if v is not None:
                v[i, j] = beta2 * v[i, j] + gain2 * g * g
                step /= math.sqrt(v[i, j]) + epsilon
            parameter[i, j] = decay * parameter[i, j] - rate * step


@checked
def network_forward(parameters, X, activations, output=None):
    """Forward through the network: A[L], or Z[L] where no output is named; see `composition.network_forward`."""
    return composition.network_forward(_this, parameters, X, activations, output)


@checked
def train_epoch(
    parameters, X, Y, order, batch_size, activations, output, loss, rule, state, coefficients,
    l2=0.0, dropout=None, key=0, sample_weight=None,
):  # fmt: skip
    """Train on an epoch, or on a slice of one, in place; returns the cost of each batch, float64.

    For each batch forward, cost, backward and update: see `composition.train_epoch` for the parameters.
    """
    return composition.train_epoch(
        _this, parameters, X, Y, order, batch_size, activations, output, loss, rule, state, coefficients,
        l2, dropout, key, sample_weight,
    )  # fmt: skip
