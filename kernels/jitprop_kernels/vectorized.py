"""The kernels in NumPy: the loops of `loops` as operations on whole arrays.

What a good NumPy programmer writes: no loop over examples or units, memory reused with ``out=``, no temporary
that is not needed, nothing in a wider type than the arrays have (but for the cost, summed in float64).
"""

import functools
import math
import sys

import numpy as np

from . import composition
from .contract import COEFFICIENTS, RULES, dropout_threshold, parse_loss
from .doors import checked, plain

_this = sys.modules[__name__]


def _finish(result, out):
    """`result`, moved to `out` where that is given."""
    if out is None:
        return result
    out[...] = result
    return out


def _matmul(A, B, out=None):
    # OpenBLAS kernels set the flag for "invalid" now and then on finite numbers (numpy issue 24067).
    with np.errstate(invalid="ignore"):
        return np.matmul(A, B, out=out)


@checked
def dot(w, x):
    """Inner product w^T x of two columns (n, 1), summed in their type; a float."""
    return float(np.dot(w[:, 0], x[:, 0]))


@checked
def logistic_gradient(W, b, X, Y):
    """Cost and gradients of logistic regression without a loop: A = sigmoid(W X + b), dZ = A - Y.

    Parameters: W (1, n_x), b (1, 1), X (n_x, m), Y (1, m) with values from 0 to 1, of one dtype.
    Returns J (float), dW = 1/m dZ X^T (1, n_x), db = 1/m sum of dZ over the examples (1, 1).
    """
    J, dZ = plain(output_head)(plain(linear_forward)(W, X, b), Y, "binary_cross_entropy", "sigmoid")
    return J, *_parameter_gradients(dZ, X)


@checked
def linear_forward(W, A_prev, b, out=None):
    """Affine map Z = W A_prev + b.

    Shapes: W (n, n_prev), A_prev (n_prev, m), b (n, 1), Z (n, m). `out` must share no memory with the inputs.
    """
    Z = _matmul(W, A_prev, out)
    Z += b
    return Z


def _parameter_gradients(dZ, A_prev):
    dW = _matmul(dZ, A_prev.T)
    dW /= dZ.shape[1]
    return dW, dZ.mean(axis=1, keepdims=True)


@checked
def linear_backward(dZ, A_prev, W):
    """Back through the affine map: dW = 1/m dZ A_prev^T, db = 1/m sum_i dZ[:, i], dA_prev = W^T dZ.

    Shapes: dZ (n, m), A_prev (n_prev, m), W (n, n_prev); a gradient has the shape of its array.
    """
    return *_parameter_gradients(dZ, A_prev), _matmul(W.T, dZ)


@checked
def linear(Z, out=None):
    """A = Z, as a copy."""
    return _finish(Z.copy() if out is None else Z, out)


@checked
def linear_derivative(Z, out=None):
    """Derivative of `linear`: 1."""
    return _finish(np.ones(Z.shape, Z.dtype), out)


@checked
def relu(Z, out=None):
    """A = max(0, Z)."""
    return np.maximum(Z, 0, out=out)


@checked
def relu_derivative(Z, out=None):
    """Derivative of `relu`: 0 for z < 0, and 1 for z >= 0 (the course's choice at 0)."""
    return np.greater_equal(Z, 0, out=np.empty(Z.shape, Z.dtype) if out is None else out)


@checked
def leaky_relu(Z, slope=0.01, out=None):
    """A = max(slope Z, Z), slope from 0 to 1."""
    return np.maximum(Z * float(slope), Z, out=out)


@checked
def leaky_relu_derivative(Z, slope=0.01, out=None):
    """Derivative of `leaky_relu`: slope for z < 0, and 1 for z >= 0."""
    return _finish(np.where(Z >= 0, Z.dtype.type(1), Z.dtype.type(slope)), out)


@checked
def sigmoid(Z, out=None):
    """A = 1 / (1 + e^-Z)."""
    A = np.negative(Z, out=out)
    with np.errstate(over="ignore"):  # 1 / inf is the 0 that is wanted
        np.exp(A, out=A)
    A += 1
    return np.divide(1, A, out=A)


@checked
def sigmoid_derivative(Z, out=None):
    """Derivative of `sigmoid`: a (1 - a)."""
    A = plain(sigmoid)(Z)
    return np.multiply(A, 1 - A, out=A if out is None else out)


@checked
def tanh(Z, out=None):
    """A = tanh(Z)."""
    return np.tanh(Z, out=out)


@checked
def tanh_derivative(Z, out=None):
    """Derivative of `tanh`: 1 - a^2."""
    A = np.tanh(Z, out=out)
    np.multiply(A, A, out=A)
    return np.subtract(1, A, out=A)


@checked
def elu(Z, alpha=1.0, out=None):
    """A = Z for z >= 0, alpha (e^Z - 1) for z < 0 (Clevert and others 2016, arXiv:1511.07289)."""
    A = np.minimum(Z, 0)
    np.expm1(A, out=A)
    A *= float(alpha)
    return np.add(np.maximum(Z, 0), A, out=A if out is None else out)


@checked
def elu_derivative(Z, alpha=1.0, out=None):
    """Derivative of `elu`: 1 for z >= 0, alpha e^Z for z < 0."""
    derivative = np.exp(np.minimum(Z, 0))
    derivative *= float(alpha)
    np.copyto(derivative, 1, where=Z >= 0)
    return _finish(derivative, out)


@checked
def softplus(Z, out=None):
    """A = log(1 + e^Z), computed as max(Z, 0) + log(1 + e^-|Z|), where nothing overflows."""
    A = np.negative(np.abs(Z))
    np.log1p(np.exp(A, out=A), out=A)
    return np.add(np.maximum(Z, 0), A, out=A if out is None else out)


@checked
def softplus_derivative(Z, out=None):
    """Derivative of `softplus`: sigmoid(Z)."""
    return plain(sigmoid)(Z, out)


def _above_minus_infinity(Z):
    """Z with the least finite number for -inf, since -inf times 0 is a nan."""
    return np.maximum(Z, np.finfo(Z.dtype).min)


@checked
def gelu(Z, out=None):
    """A = Z Phi(Z), Phi the normal distribution function: exact, not the tanh formula (arXiv:1606.08415)."""
    return np.multiply(_above_minus_infinity(Z), _normal_distribution(Z), out=out)


@checked
def gelu_derivative(Z, out=None):
    """Derivative of `gelu`: Phi(Z) + Z e^(-Z^2/2) / sqrt(2 pi)."""
    bounded = np.clip(Z, -64, 64)  # the density is 0 long before; so the square does not overflow
    density = np.exp(np.square(bounded) * -0.5)
    density *= bounded
    density *= 1 / math.sqrt(2 * math.pi)
    return np.add(_normal_distribution(Z), density, out=density if out is None else out)


@checked
def silu(Z, out=None):
    """A = Z sigmoid(Z), also called swish."""
    return np.multiply(_above_minus_infinity(Z), plain(sigmoid)(Z), out=out)


@checked
def silu_derivative(Z, out=None):
    """Derivative of `silu`: s (1 + z (1 - s)) with s = sigmoid(z)."""
    S = plain(sigmoid)(Z)
    derivative = 1 - S
    derivative *= np.minimum(_above_minus_infinity(Z), np.finfo(Z.dtype).max)
    derivative += 1
    return np.multiply(derivative, S, out=derivative if out is None else out)


@checked
def softmax(Z, out=None):
    """A_i = e^(z_i) / sum_j e^(z_j) over the units of a column, from Z - max(Z) so that nothing overflows."""
    A = np.subtract(Z, Z.max(axis=0, keepdims=True), out=out)
    np.exp(A, out=A)
    A /= A.sum(axis=0, keepdims=True)
    return A


# erf for |x| <= 0.46875, erfc to 4 and beyond, as quotients of polynomials: W. J. Cody, "Rational Chebyshev
# approximations for the error function", Mathematics of Computation 23 (1969), pages 631 to 637, with the
# coefficients of his function CALERF (netlib, specfun). Highest power first.
_ERF_P = (
    1.85777706184603153e-1, 3.16112374387056560e0, 1.13864154151050156e2, 3.77485237685302021e2,
    3.20937758913846947e3,
)  # fmt: skip
_ERF_Q = (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3)
_ERFC_P = (
    2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0, 6.61191906371416295e1,
    2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3,
    1.23033935479799725e3,
)  # fmt: skip
_ERFC_Q = (
    1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3,
    3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3,
)  # fmt: skip
_TAIL_P = (
    1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1,
    1.60837851487422766e-2, 6.58749161529837803e-4,
)  # fmt: skip
_TAIL_Q = (
    1.0, 2.56852019228982242e0, 1.87295284992346725e0, 5.27905102951428412e-1, 6.05183413124413191e-2,
    2.33520497626869185e-3,
)  # fmt: skip


def _quotient(x, numerator, denominator):
    p, q = np.full_like(x, numerator[0]), np.full_like(x, denominator[0])
    for above, below in zip(numerator[1:], denominator[1:], strict=True):
        p *= x
        p += above
        q *= x
        q += below
    p /= q
    return p


def _erfc_from(x, quotient):
    # e^(-x^2) with x^2 split so that the larger part is exact: the rounding of x^2 would show in the tail.
    near = np.trunc(x * 16) / 16
    return np.exp(-near * near) * np.exp((near - x) * (near + x)) * quotient


def _normal_distribution(Z):
    """Phi(z) = erfc(-z / sqrt 2) / 2, accurate in both tails."""
    x = np.minimum(np.abs(Z) * math.sqrt(0.5), 40)  # erfc(40) is 0 in both types
    inner, tail = x <= 0.46875, x > 4
    between = ~(inner | tail)
    result = np.empty(Z.shape, Z.dtype)
    t = x[inner]
    result[inner] = 0.5 - 0.5 * (t * _quotient(t * t, _ERF_P, _ERF_Q))
    t = x[between]  # a nan is here too
    result[between] = 0.5 * _erfc_from(t, _quotient(t, _ERFC_P, _ERFC_Q))
    if tail.any():
        t = x[tail]
        s = 1 / (t * t)
        result[tail] = 0.5 * _erfc_from(t, (1 / math.sqrt(math.pi) - s * _quotient(s, _TAIL_P, _TAIL_Q)) / t)
    return np.subtract(1, result, out=result, where=Z > 0)


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
        return *_parameter_gradients(dZ, A_prev), None
    return composition.layer_backward(_this, dZ, W, A_prev, Z_prev, activation_prev)


_parse_loss = functools.cache(parse_loss)


@checked
def output_head(Z, Y, loss, output, sample_weight=None):
    """Cost of the output layer and dZ[L], computed from Z so that no logit makes them infinite without cause.

    The cost is sum_i w_i loss_i / sum_i w_i, a loss being summed over the units; dZ[:, i] is (w_i m / sum w)
    times its derivative, so that the means over the columns that follow give the gradient of the cost.

    Parameters
    ----------
    Z : ndarray, shape (n, m)
        Z[L].
    Y : ndarray, shape (n, m), or int64 (1, m)
        Targets of Z's dtype; for cross_entropy class indices too.
    loss, output : str
        A row of `contract.LOSSES` and a row of `contract.OUTPUTS` that has it.
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
    output, name, parameter = _parse_loss(loss, output)
    # Only a Poisson rate overflows, and then its cost is infinite.
    with np.errstate(over="ignore", invalid="ignore"):
        if name == "cross_entropy":
            losses, dZ = _cross_entropy(Z, Y)
        elif name == "binary_cross_entropy":
            losses, dZ = _binary_cross_entropy(Z, Y)
        elif output == "softmax":
            losses, dZ = _softmax_squared_error(Z, Y)
        else:
            A = plain(getattr(_this, output))(Z)
            losses, dZ = _element_loss(A, Y, name, parameter)
            if output != "linear":
                dZ *= plain(getattr(_this, f"{output}_derivative"))(Z)
        losses = losses.sum(axis=0, keepdims=True, dtype=np.float64)
        if sample_weight is None:
            return float(losses.mean()), dZ
        share = sample_weight.astype(np.float64)
        share /= share.sum()
        dZ *= (share * Z.shape[1]).astype(Z.dtype)
        return float((losses * share).sum()), dZ


def _cross_entropy(Z, Y):
    """-sum_i y_i log a_i = sum_i y_i (log(sum_j e^(z_j)) - z_i); a - y as columns of Y sum to 1."""
    S = Z - Z.max(axis=0, keepdims=True)
    A = np.exp(S)
    total = A.sum(axis=0, keepdims=True)
    A /= total
    if Y.dtype == np.int64:
        losses = np.log(total) - np.take_along_axis(S, Y, axis=0)
        A[Y[0], np.arange(Y.shape[1])] -= 1
        return losses, A
    losses = np.subtract(np.log(total), S, out=S)
    losses *= Y
    A -= Y
    return losses, A


def _binary_cross_entropy(Z, Y):
    """-y log a - (1 - y) log(1 - a), a = sigmoid(z): log(1 + e^-|z|) plus (1 - y) z for z >= 0, else -y z."""
    E = np.exp(-np.abs(Z))
    losses = np.log1p(E)
    positive = Z >= 0
    losses += np.where(positive, 1 - Y, -Y) * Z
    A = np.where(positive, 1, E)
    A /= 1 + E
    A -= Y
    return losses, A


def _softmax_squared_error(Z, Y):
    """1/2 (a - y)^2; dZ = a * (d - sum_j d_j a_j) with d = a - y, by the derivative of softmax."""
    A = plain(softmax)(Z)
    D = A - Y
    losses = 0.5 * D * D
    D -= (D * A).sum(axis=0, keepdims=True)
    D *= A
    return losses, D


def _element_loss(A, Y, name, parameter):
    """Loss of each element, and its derivative in a."""
    if name == "squared_error":  # 1/2 (a - y)^2;  a - y
        D = A - Y
        return 0.5 * D * D, D
    if name == "absolute_error":  # |a - y|;  its sign, 0 at 0
        D = A - Y
        return np.abs(D), np.sign(D)
    if name == "huber":  # d = a - y: 1/2 d^2 for |d| <= delta, else delta (|d| - delta/2);  d within +-delta
        D = A - Y
        C = np.clip(D, -parameter, parameter)
        return C * (D - 0.5 * C), C
    if name == "poisson":  # e^a - y a, a the logarithm of the rate;  e^a - y
        E = np.exp(A)
        return E - Y * A, E - Y
    # quantile: level d for d >= 0, else (level - 1) d, d = y - a;  -level, or 1 - level, or 0 at equality
    D = Y - A
    dA = np.where(D > 0, A.dtype.type(-parameter), A.dtype.type(1 - parameter))
    np.copyto(dA, 0, where=D == 0)
    return np.maximum(parameter * D, (parameter - 1) * D), dA


def _mix(x):
    """`contract._mix` on an array of uint32, in place: products wrap by themselves."""
    x ^= x >> 16
    x *= 0x7FEB352D
    x ^= x >> 15
    x *= 0x46CA68B3
    x ^= x >> 16
    return x


@checked
def dropout(A, rate, key, out=None):
    """Inverted dropout: A * mask / (1 - rate), where a share `rate` of the mask is 0 and the rest is 1.

    The mask is a function of the key, the unit i and the column j only: `contract.dropout_hash`. `key` is an
    int of 32 bits; backward passes dZ through the same call. A dropped element is 0 whatever it was. `out`
    may be A.
    """
    n, m = A.shape
    units = np.arange(n, dtype=np.uint32)[:, np.newaxis] * np.uint32(0x1E3779B1)
    units += np.uint32(key)
    columns = np.arange(m, dtype=np.uint32) * np.uint32(0x2C1B3C6D)
    dropped = _mix(_mix(units) + columns) < np.uint32(dropout_threshold(rate))
    result = np.divide(A, 1 - float(rate), out=out)
    np.copyto(result, 0, where=dropped)
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
    c = dict(zip(COEFFICIENTS, coefficients.tolist(), strict=True))
    slots = dict(zip(RULES[rule].slots, state, strict=True))
    g = composition.clipped(gradient + c["l2"] * parameter if c["l2"] else gradient, c["clip_value"])
    step = g * (c["rate"] * c["gradient_share"])
    if "m" in slots:
        m = slots["m"]
        m *= c["beta1"]
        m += c["gain1"] * g
        step += (c["rate"] * c["momentum_share"]) * m
    if "v" in slots:
        v = slots["v"]
        v *= c["beta2"]
        # Not gain2 times g^2: where clip_norm makes little of a large g, both may be outside of float32.
        scaled = g * math.sqrt(c["gain2"])
        scaled *= scaled
        v += scaled
        divisor = np.sqrt(v)
        divisor += c["epsilon"]
        step /= divisor
    if c["decay"] != 1:
        parameter *= c["decay"]
    parameter -= step


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
