"""What students are told of their kernels: right ones pass, and each usual mistake is named."""

import math
import os
import signal
import sys

import numpy as np
import pytest

from jitprop import exercises
from jitprop.exercises import check
from jitprop_kernels import loops, vectorized
from jitprop_kernels.contract import COEFFICIENTS, KERNELS
from jitprop_kernels.doors import plain

RATE = COEFFICIENTS.index("rate")


@pytest.mark.parametrize("kernels", [loops, vectorized], ids=["loops", "vectorized"])
def test_right_kernels_are_right(kernels):
    for name in KERNELS:
        report = check(plain(getattr(kernels, name)), name)
        assert report and report.ok and report.messages == () and str(report) == f"{name}: right"


def sigmoid(Z):
    return 1 / (1 + np.exp(-Z))


def logistic(W, b, X, Y):
    """With every usual mistake but that of the mean of dW."""
    m, A = X.shape[1], sigmoid(W @ X + b)
    J = -np.sum(Y * np.log(A) + (1 - Y) * np.log(1 - A))
    return float(J), (Y - A) @ X.T / m, (A - Y).sum(axis=1, keepdims=True)


def backward(dW=None, db=None, dA_prev=None):
    """`linear_backward` with some of its results made wrong."""

    def linear_backward(dZ, A_prev, W):
        m = dZ.shape[1]
        return (
            dZ @ A_prev.T / m if dW is None else dW(dZ, A_prev, m),
            dZ.mean(axis=1, keepdims=True) if db is None else db(dZ),
            W.T @ dZ if dA_prev is None else dA_prev(dZ, W, m),
        )

    return linear_backward


def layer(slope):
    def layer_backward(dZ, W, A_prev, Z_prev, activation_prev):
        m = dZ.shape[1]
        dZ_prev = None if Z_prev is None else (W.T @ dZ) * slope(Z_prev)
        return dZ @ A_prev.T / m, dZ.mean(axis=1, keepdims=True), dZ_prev

    return layer_backward


def changed(W, A_prev, b):
    W *= 1.0
    Z = W @ A_prev
    Z += b
    A_prev[0, 0] += 1
    return Z


def one_short(W, A_prev, b):
    Z = np.zeros((len(W), A_prev.shape[1]), W.dtype)
    for j in range(A_prev.shape[1] - 1):
        Z[:, j] = (W @ A_prev)[:, j] + b[:, 0]
    return Z


def rebinds(parameter, gradient, state, coefficients, rule):
    parameter = parameter - coefficients[RATE] * gradient


MISTAKES = [
    ("linear_forward", lambda W, A_prev, b: W @ A_prev, "Z: the bias b is forgotten"),
    ("linear_forward", lambda W, A_prev, b: W @ A_prev + W.shape[1] * b, "b is added in every turn of the inner loop"),
    ("linear_forward", lambda W, A_prev, b: (W @ A_prev + b).T, "Z has shape (4, 2), should be (2, 4): it is tr"),
    ("linear_forward", lambda W, A_prev, b: (W @ A_prev + b)[0], "Z has shape (4,), should be (2, 4): a rank-1 array"),
    ("linear_forward", lambda W, A_prev, b: None, "it returns None: is there a `return` at its end?"),
    ("linear_forward", lambda W, A_prev, b: (W @ A_prev + b).astype("d"), "Z is float64, should be float32"),
    ("linear_forward", lambda W, A_prev: W @ A_prev, "linear_forward(W, A_prev, b) raises TypeError"),
    ("linear_forward", lambda W, A_prev, b: 3.1 * (W @ A_prev + b), "Z is not right: 3.1 times what it should be"),
    ("linear_forward", changed, "A_prev is an argument and is changed by the call"),
    ("linear_forward", one_short, "in the last column only: does a loop stop one short?"),
    ("linear_backward", backward(dW=lambda dZ, A, m: dZ @ A.T), "dW: the mean 1/m over the m examples is forgotten"),
    ("linear_backward", backward(dW=lambda dZ, A, m: dZ @ A.T / len(dZ)), "dW: it is divided by n, the units"),
    ("linear_backward", backward(dW=lambda dZ, A, m: A @ dZ.T / m), "dW has shape (3, 2), should be (2, 3): it is"),
    ("linear_backward", backward(db=lambda dZ: dZ.sum(1, keepdims=True)), "db: the mean 1/m over the m examples"),
    ("linear_backward", backward(db=lambda dZ: dZ.mean(0, keepdims=True)), "db has shape (1, 4), should be (2, 1): su"),
    ("linear_backward", backward(db=lambda dZ: dZ.mean(1)), "db has shape (2,), should be (2, 1): a rank-1 array"),
    ("linear_backward", backward(db=lambda dZ: np.sum(dZ) / dZ.shape[1]), "sum over the examples only, axis=1"),
    (
        "linear_backward",
        backward(db=lambda dZ: np.full((len(dZ), 1), dZ.sum() / dZ.shape[1], dZ.dtype)),
        "db: it is the sum over all of dZ",
    ),
    ("linear_backward", backward(dA_prev=lambda dZ, W, m: W.T @ dZ / m), "the mean belongs to dW and db only"),
    ("linear_backward", lambda dZ, A_prev, W: (dZ, W), "it returns 2 results; wanted: dW, db, dA_prev"),
    ("layer_backward", layer(lambda Z: 1), "dZ_prev: the factor g'(Z_prev) is forgotten"),
    ("layer_backward", layer(lambda Z: np.maximum(Z, 0)), "multiplied by g(Z_prev), not by the derivative"),
    ("layer_backward", layer(lambda Z: Z > 0), "the derivative at z = 0 is taken as 0; the course takes 1"),
    ("relu_derivative", lambda Z: (Z > 0).astype(Z.dtype), "at z = 0 it is 0; the course takes 1 for z >= 0"),
    ("relu_derivative", lambda Z: Z >= 0, "the derivative is bool, should be float64"),
    ("relu", lambda Z: np.maximum(Z, 0, out=Z), "Z is an argument and is changed by the call"),
    ("linear", lambda Z: Z, "Z is an argument and comes back as a result"),
    ("sigmoid", lambda Z: np.exp(Z) / (1 + np.exp(Z)), "overflows for large z"),
    ("sigmoid", lambda Z: math.exp(Z), "sigmoid(Z) raises TypeError: only"),
    ("sigmoid_derivative", lambda Z: sigmoid(Z) * (sigmoid(Z) - 1), "the sign is wrong: a (1 - a), not a (a - 1)"),
    ("sigmoid_derivative", lambda Z: Z * (1 - Z), "with a = sigmoid(z), not with z itself"),
    ("tanh_derivative", lambda Z: 1 - Z**2, "1 - a^2 is meant with a = tanh(z)"),
    ("leaky_relu", lambda Z, slope=0.01: np.maximum(0.01 * Z, Z), "the parameter is not used"),
    ("gelu", lambda Z: Z * (1 + np.tanh(0.7978845608 * (Z + 0.044715 * Z**3))) / 2, "it is the tanh formula"),
    ("softmax", lambda Z: np.exp(Z) / np.exp(Z).sum(1, keepdims=True), "the sum goes over the examples, axis 1"),
    ("softmax", lambda Z: np.exp(Z) / np.exp(Z).sum(0), "subtract the largest z of the column first"),
    ("dot", lambda w, x: w.T @ x, "w^T x is an array of shape (1, 1); it should be a number"),
    ("dot", lambda w, x: float((w * x)[:-1].sum()), "w^T x: the last product is left out"),
    ("logistic_gradient", logistic, "J: the mean 1/m over the m examples is forgotten"),
    ("logistic_gradient", logistic, "dW: the sign is wrong: dz = a - y, not y - a"),
    ("logistic_gradient", logistic, "db: the mean 1/m over the m examples is forgotten"),
    ("update", rebinds, "works in place"),
    ("dropout", lambda A, rate, key: A, "A is an argument and comes back as a result"),
    (
        "output_head",
        lambda Z, Y, loss, output: (vectorized.output_head(Z, Y, loss, output)[0], (sigmoid(Z) - Y) / Z.shape[1]),
        "dZ: it is divided by m; the mean is taken later",
    ),
]


@pytest.mark.parametrize(("name", "function", "told"), MISTAKES)
def test_a_usual_mistake_is_named(name, function, told):
    report = check(function, name)
    assert not report
    assert told in str(report), str(report)


def test_the_example_shows_where_and_what():
    (message,) = check(lambda W, A_prev, b: W @ A_prev, "linear_forward").messages
    W, A_prev, b = exercises.trial_cases("linear_forward")[0]
    wrong, right = (W @ A_prev)[0, 0], (W @ A_prev + b)[0, 0]
    assert f"Z[0, 0] is {wrong:.5g}, should be {right:.5g}" in message
    assert message.endswith("(for W (2, 3), A_prev (3, 4), b (2, 1))")


def endless(w, x):
    while True:
        pass


def stubborn(w, x):
    while True:
        try:
            endless(w, x)
        except BaseException:
            continue


def greedy(w, x):
    return np.ones(1 << 40)


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (endless, "it does not come to an end: time was up (line "),
        (stubborn, "it does not come to an end"),
        (greedy, "dot(w, x) raises "),
        (lambda w, x: 1 / 0, "dot(w, x) raises ZeroDivisionError: division by zero (line "),
        (lambda w, x: sys.exit(3), "dot(w, x) raises SystemExit: 3"),
        (lambda w, x: os._exit(3), "it ended the whole process (exit status 3)"),
        (lambda w, x: os.kill(os.getpid(), signal.SIGSEGV), "it ended the whole process (signal SIGSEGV)"),
        (lambda w, x: input(), "dot(w, x) raises EOFError"),
    ],
)
def test_nothing_a_function_does_reaches_the_one_who_asks(function, told, capfd):
    report = check(function, "dot", seconds=0.5)
    assert told in str(report) and not report
    assert capfd.readouterr() == ("", "")


def test_what_it_prints_is_not_shown(capfd):
    assert check(lambda w, x: print("here") or float((w * x).sum()), "dot")
    assert capfd.readouterr().out == ""


def test_modules_by_path_and_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "beside.py").write_text("def times(w, x):\n    return w * x\n")
    path = tmp_path / "my_kernels.py"
    path.write_text(
        "import numpy as np\nfrom beside import times\nn = 3\n\ndef dot(w, x):\n    return float(times(w, x).sum())\n\n"
        "def relu(Z):\n    return np.maximum(Z, 1)\n"
    )
    assert exercises.offered(path) == ["dot", "relu"]
    for what in (path, str(path), "my_kernels"):
        dot, relu = exercises.check_module(what)
        assert dot.ok and "A is not right" in str(relu)
    assert exercises.load("my_kernels").n == exercises.load(path).n == 3
    assert str(tmp_path) not in sys.path
    monkeypatch.delitem(sys.modules, "my_kernels")
    monkeypatch.delitem(sys.modules, "beside")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("def dot(w, x)\n    return 1\n", "it cannot be imported: SyntaxError"),
        ("1 / 0\n", "it cannot be imported: ZeroDivisionError: division by zero (line 1: 1 / 0)"),
        ("import jitprop.nothing\n", "it cannot be imported: ModuleNotFoundError"),
        ("while True: pass\n", "it does not come to an end when it is imported"),
        ("dot = 3\n", "has no function of a kernel's name; it has no function at all"),
        ("def dott(w, x): pass\n", "has no function of a kernel's name; it has dott"),
    ],
)
def test_a_module_that_offers_nothing(tmp_path, text, told):
    path = tmp_path / "broken.py"
    path.write_text(text)
    with pytest.raises(ValueError) as caught:
        exercises.offered(path, seconds=1)
    assert told in str(caught.value) and str(path) in str(caught.value)


def test_a_reference_and_cases_of_ones_own():
    def descend(a, n):
        return {"W": a - n, "costs": [float(n), 1.0]}

    cases = [(np.ones((2, 1)), 1), (np.zeros((1, 3)), 2)]
    assert check(descend, "descend", reference=descend, cases=cases)
    wrong = check(lambda a, n: {"W": a + n, "costs": [float(n), 1.0]}, "descend", reference=descend, cases=cases)
    assert "W is not right; W[0, 0] is 2, should be 0" in str(wrong)
    shapes = check(lambda units: [(3, 4)], "shapes", reference=lambda units: [(4, 3)], cases=[([3, 4],)])
    assert "it is [(3, 4)], should be [(4, 3)]" in str(shapes)


def test_wrong_questions():
    with pytest.raises(ValueError, match="unknown kernel 'dott'; accepted: dot,"):
        check(abs, "dott")
    with pytest.raises(ValueError, match="reference needs cases"):
        check(abs, "dot", reference=abs)
    with pytest.raises(TypeError, match="a function, a module or a path is to be checked, got int"):
        check(3, "dot")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.py"):
        check("nowhere.py", "dot")
    with pytest.raises(ValueError, match="no module named 'nowhere' here"):
        check("nowhere", "dot")
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):  # the reference's fault, not the student's
        check(lambda a: a, "mine", reference=lambda a: 1 / 0, cases=[(1,)])
