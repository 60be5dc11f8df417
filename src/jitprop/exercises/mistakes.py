"""The mistakes that are usual in each kernel: what they give, and how to say so in the course's words.

`mistakes(kernel, arguments)` are wrong results, each with what leads to it; whoever finds one of them in the place of
the right result knows what happened.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from jitprop_kernels import vectorized
from jitprop_kernels.contract import ACTIVATIONS, COEFFICIENTS
from jitprop_kernels.doors import plain

__all__ = ["general", "mistakes"]

Mistake = tuple[str, str, Any]  # the result it shows in, the explanation, the wrong value

def _plain(name: str) -> Any:
    return plain(getattr(vectorized, name))


def general(right: np.ndarray) -> Iterator[tuple[str, Any]]:
    """Mistakes that are possible in every result."""
    if right.ndim == 2 and right.shape[0] == right.shape[1]:
        yield "it is the transpose of the right result", right.T
    yield "the sign is the wrong way round", -right
    yield "it holds nothing but zeros: is the result ever filled?", 0 * right


def mistakes(kernel: str, arguments: tuple[Any, ...]) -> Iterator[Mistake]:
    """The usual mistakes of a kernel, on arguments of `cases`."""
    name = kernel.removesuffix("_derivative")
    if kernel in _TABLE:
        yield from _TABLE[kernel](*arguments)
    elif name in (*ACTIVATIONS, "softmax"):
        yield from (_derivatives if kernel != name else _activations)(name, *arguments)


def _dot(w: Any, x: Any) -> Iterator[Mistake]:
    for explanation, value in (
        ("the last product is left out: the sum goes over range(n), n = w.shape[0]", w[:-1].T @ x[:-1]),
        ("the first product is left out: the sum begins at 0", w[1:].T @ x[1:]),
        ("the products are averaged; the dot product is their sum", w.T @ x / len(w)),
        ("only the last product is left: add to the sum, do not replace it", w[-1:] * x[-1:]),
        ("numbers are added where they are to be multiplied", (w + x).sum(keepdims=True)),
    ):
        yield "w^T x", explanation, float(value[0, 0])


def _forward(W: Any, A_prev: Any, b: Any, activation: Any = None) -> Iterator[Mistake]:
    Z, m = W @ A_prev, A_prev.shape[1]
    n, n_prev = W.shape
    yield "Z", "the bias b is forgotten: Z = W A_prev + b", Z
    yield "Z", "b is added in every turn of the inner loop; it belongs after the sum over k", Z + n_prev * b
    yield "Z", "b is subtracted; Z = W A_prev + b", Z - b
    yield "Z", "the last term of the sum over k is left out: k goes over range(n_prev)", W[:, :-1] @ A_prev[:-1] + b
    yield "Z", "the first term of the sum over k is left out: k begins at 0", W[:, 1:] @ A_prev[1:] + b
    yield "Z", "it is divided by m; the mean belongs to dW and db only", (Z + b) / m
    yield "Z", "the first bias is used for every unit; row i has b[i, 0]", Z + b[0, 0]
    if n == n_prev:
        yield "Z", "W is transposed: row i of W holds the weights of unit i, Z = W A_prev + b", W.T @ A_prev + b
    if n == m:
        yield "Z", "b is added as a row; it is a column, one number for each unit, the same for all examples", Z + b.T
    if n == m == n_prev or 1 in (n, n_prev):
        if np.broadcast_shapes(W.shape, A_prev.shape) == (n, m):
            yield "Z", "`*` multiplies element by element; the matrix product is `@`", W * A_prev + b
    if activation is None:
        yield "Z", "an activation is applied already; that is the next step", np.maximum(0, Z + b)
    else:
        yield "A", "the activation is not applied: A = g(Z)", Z + b
        other = "relu" if activation == "tanh" else "tanh"
        yield "A", f"it is always {other}; the argument `activation` names the one to use", _plain(other)(Z + b)


def _gradients(dZ: Any, A_prev: Any) -> Iterator[Mistake]:
    (n, m), n_prev = dZ.shape, len(A_prev)
    dW, db = dZ @ A_prev.T, dZ.sum(axis=1, keepdims=True)
    forgotten = "the mean 1/m over the m examples is forgotten"
    for name, total in (("dW", dW), ("db", db)):
        yield name, forgotten, total
        yield name, "it is divided by m twice", total / m**2
        yield name, "it is divided by n, the units; the mean is over the m examples", total / n
        yield name, "it is divided by n_prev, the inputs; the mean is over the m examples", total / n_prev
    over_all = "it is the sum over all of dZ; sum over the examples only, axis=1, keepdims=True"
    for divisor in (m, 1, n * m):
        yield "db", over_all, np.full((n, 1), dZ.sum() / divisor)
    if n == m:
        for divisor in (m, 1):
            yield "db", "it is summed over the units, axis 0; the examples are the columns: axis=1", (
                dZ.sum(axis=0)[:, np.newaxis] / divisor
            )
    yield "dW", "the last example is left out", dZ[:, :-1] @ A_prev[:, :-1].T / m
    yield "db", "the last example is left out", dZ[:, :-1].sum(axis=1, keepdims=True) / m
    if n == n_prev:
        yield "dW", "it is the transpose: dW = 1/m dZ A_prev^T, of the shape of W", dW.T / m


def _linear_backward(dZ: Any, A_prev: Any, W: Any) -> Iterator[Mistake]:
    yield from _gradients(dZ, A_prev)
    yield "dA_prev", "it is divided by m; the mean belongs to dW and db only", W.T @ dZ / dZ.shape[1]
    if W.shape[0] == W.shape[1]:
        yield "dA_prev", "W stands where W^T belongs: dA_prev = W^T dZ", W @ dZ


def _layer_backward(dZ: Any, W: Any, A_prev: Any, Z_prev: Any, activation_prev: Any) -> Iterator[Mistake]:
    yield from _gradients(dZ, A_prev)
    if Z_prev is None:
        return
    dA_prev, slope = W.T @ dZ, _plain(f"{activation_prev}_derivative")(Z_prev)
    yield "dZ_prev", "the factor g'(Z_prev) is forgotten: dZ_prev = dA_prev * g'(Z_prev)", dA_prev
    of_value = "it is multiplied by g(Z_prev), not by the derivative g'(Z_prev)"
    yield "dZ_prev", of_value, dA_prev * _plain(activation_prev)(Z_prev)
    yield "dZ_prev", "it is divided by m; the mean belongs to dW and db only", dA_prev * slope / dZ.shape[1]
    at_0 = "the derivative at z = 0 is taken as 0; the course takes 1 for z >= 0"
    yield "dZ_prev", at_0, dA_prev * np.where(Z_prev == 0, 0, slope)
    at_A = "g' is taken at A_prev, not at Z_prev"
    yield "dZ_prev", at_A, dA_prev * _plain(f"{activation_prev}_derivative")(A_prev)
    if W.shape[0] == W.shape[1]:
        yield "dZ_prev", "W stands where W^T belongs: dA_prev = W^T dZ", (W @ dZ) * slope


def _logistic(W: Any, b: Any, X: Any, Y: Any) -> Iterator[Mistake]:
    m = X.shape[1]
    gradient = _plain("logistic_gradient")
    J, dW, db = gradient(W, b, X, Y)
    yield "J", "the mean 1/m over the m examples is forgotten", J * m
    yield "J", "the sign is wrong: the loss is -(y log a + (1 - y) log(1 - a))", -J
    for base in (2, 10):
        yield "J", f"log is the natural logarithm, np.log, not that of base {base}", J / np.log(base)
    loss_of_1, loss_of_0 = (_plain("softplus")(sign * (W @ X + b)) for sign in (-1, 1))
    yield "J", "the term (1 - y) log(1 - a) is missing", float((Y * loss_of_1).mean())
    yield "J", "the term y log a is missing", float(((1 - Y) * loss_of_0).mean())
    without_b = gradient(W, 0 * b, X, Y)
    for name, value in zip(("J", "dW", "db"), without_b, strict=True):
        yield name, "the bias b is forgotten in z = W x + b", value
    yield "dW", "the sign is wrong: dz = a - y, not y - a", -dW
    yield "db", "the sign is wrong: dz = a - y, not y - a", -db
    yield from _gradients(_plain("sigmoid")(W @ X + b) - Y, X)
    for name, value in zip(("dW", "db"), ((W @ X + b - Y) @ X.T / m, (W @ X + b - Y).mean(keepdims=True)), strict=True):
        yield name, "the sigmoid is forgotten: dz = a - y with a = sigmoid(z)", value


def _head(Z: Any, Y: Any, loss: str, output: str) -> Iterator[Mistake]:
    cost, dZ = _plain("output_head")(Z, Y, loss, output)
    yield "cost", "the mean 1/m over the m examples is forgotten", cost * Z.shape[1]
    yield "cost", "it is the mean over the units too; the loss is their sum", cost / Z.shape[0]
    yield "cost", "the sign is wrong: the loss is -(y log a + (1 - y) log(1 - a))", -cost
    yield "dZ", "it is divided by m; the mean is taken later, in dW and db", dZ / Z.shape[1]
    yield "dZ", "the sign is wrong: dZ = A - Y", -dZ
    yield "dZ", "the sigmoid is forgotten: dZ = A - Y with A = sigmoid(Z)", Z - Y
    slope = _plain("sigmoid_derivative")(Z)
    yield "dZ", "there is a factor g'(Z) too many: with this loss it cancels, dZ = A - Y", dZ * slope


def _update(parameter: Any, gradient: Any, state: Any, coefficients: Any, rule: str) -> Iterator[Mistake]:
    rate = coefficients[COEFFICIENTS.index("rate")]
    unchanged = "it is not changed: `parameter -= ...` works in place, `parameter = parameter - ...` makes a new array"
    yield "parameter", unchanged, parameter
    yield "parameter", "it goes uphill: W -= rate dW", parameter + rate * gradient
    yield "parameter", "the learning rate is forgotten", parameter - gradient


def _dropout(A: Any, rate: float, key: int) -> Iterator[Mistake]:
    right = _plain("dropout")(A, rate, key)
    yield "A", "the factor 1 / (1 - rate) is forgotten", right * (1 - rate)
    yield "A", "nothing is dropped", A / (1 - rate)
    yield "A", "what is to be kept is dropped", A / (1 - rate) - right


def _activations(name: str, Z: Any, *parameter: float) -> Iterator[Mistake]:
    with np.errstate(over="ignore", invalid="ignore"):
        e = np.exp(Z)
        if name != "linear":
            yield "A", "Z comes back as it went in", Z
        if name in ("relu", "leaky_relu"):
            yield "A", "it is the absolute value", np.abs(Z)
            yield "A", "it is the negative part: max, not min", np.minimum(Z, 0)
            yield "A", "it is the derivative", _plain(f"{name}_derivative")(Z, *parameter)
        if parameter:
            yield "A", "the parameter is not used: it is an argument, after Z", _plain(name)(Z)
        if name == "sigmoid":
            yield "A", "the sign in the exponent is wrong: 1 / (1 + e^-z)", 1 / (1 + e)
            yield "A", "e^z / (1 + e^z) overflows for large z; 1 / (1 + e^-z) is the same number", e / (1 + e)
            yield "A", "it is tanh", np.tanh(Z)
        if name == "tanh":
            yield "A", "it is the sigmoid", _plain("sigmoid")(Z)
            overflows = "(e^z - e^-z) / (e^z + e^-z) overflows for large z; np.tanh does not"
            yield "A", overflows, (e - np.exp(-Z)) / (e + np.exp(-Z))
        if name == "softplus":
            yield "A", "log(1 + e^z) overflows for large z; np.logaddexp(0, z) is the same number", np.log(1 + e)
        if name == "gelu":
            cubic = np.sqrt(2 / np.pi) * (Z + 0.044715 * Z**3)
            yield "A", "it is the tanh formula; this gelu is exact, z Phi(z), Phi by erf", Z * (1 + np.tanh(cubic)) / 2
        if name == "softmax":
            shares = "the units of each column sum to 1: axis=0, keepdims=True"
            lowered = np.exp(Z - Z.max())
            along_rows = np.exp(Z - Z.max(axis=1, keepdims=True))
            for rows in (along_rows, e):
                over_examples = f"the sum goes over the examples, axis 1; {shares}"
                yield "A", over_examples, rows / rows.sum(axis=1, keepdims=True)
            yield "A", f"the sum goes over all numbers; {shares}", lowered / lowered.sum()
            yield "A", "e^z overflows for large z: subtract the largest z of the column first", e / e.sum(axis=0)
            yield "A", "the division by the sum is missing", e


def _derivatives(name: str, Z: Any, *parameter: float) -> Iterator[Mistake]:
    what = "the derivative"
    A, right = _plain(name)(Z, *parameter), _plain(f"{name}_derivative")(Z, *parameter)
    if name in ("relu", "leaky_relu", "elu"):
        low = 0.0 if name == "relu" else parameter[0]
        for value in sorted({low, 0.0, 0.5}):
            yield what, f"at z = 0 it is {value:g}; the course takes 1 for z >= 0", np.where(Z == 0, value, right)
    yield what, "it is the activation, not its derivative", A
    if name == "sigmoid":
        yield what, "the sign is wrong: a (1 - a), not a (a - 1)", -right
        yield what, "a (1 - a) is meant with a = sigmoid(z), not with z itself", Z * (1 - Z)
        yield what, "the sigmoid is applied twice: a (1 - a) with a = sigmoid(z)", _plain("sigmoid_derivative")(A)
        yield what, "it is 1 - a; the derivative is a (1 - a)", 1 - A
    if name == "tanh":
        yield what, "1 - a^2 is meant with a = tanh(z), not with z itself", 1 - Z**2
        yield what, "it is 1 - a; the derivative is 1 - a^2", 1 - A
        yield what, "a (1 - a) is the sigmoid's; tanh has 1 - a^2", A * (1 - A)
        yield what, "tanh is applied twice: 1 - a^2 with a = tanh(z)", 1 - np.tanh(A) ** 2
    if parameter:
        default = "the parameter is not used: it is an argument, after Z"
        yield what, default, _plain(f"{name}_derivative")(Z)


_TABLE: dict[str, Any] = {
    "dot": _dot,
    "linear_forward": _forward,
    "layer_forward": _forward,
    "linear_backward": _linear_backward,
    "layer_backward": _layer_backward,
    "logistic_gradient": _logistic,
    "output_head": _head,
    "update": _update,
    "dropout": _dropout,
}
