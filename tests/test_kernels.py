"""Every kernel of the three sets against the loops in float64, and derivatives against differences."""

import dis
import functools
import importlib
import types

import numba
import numpy as np
import pytest
import tolerances
from cases import (
    AFFINE,
    DTYPES,
    ELEMENTS,
    HEADS,
    HEADS_WITH_PARAMETERS,
    LOGITS,
    SETS,
    SPELLINGS,
    affine,
    normal,
    poisoned,
    rng,
    sample_weights,
    targets,
    wide,
)  # fmt: skip

from jitprop_kernels import contract, loops
from jitprop_kernels.contract import ACTIVATIONS

EACH = (*ACTIVATIONS, *(f"{name}_derivative" for name in ACTIVATIONS))


@pytest.fixture(params=SETS)
def kernels(request):
    return importlib.import_module(f"jitprop_kernels.{request.param}")


@pytest.fixture(params=DTYPES)
def dtype(request):
    return request.param


# Affine maps


@pytest.mark.parametrize("case", AFFINE, ids=str)
def test_linear_forward(kernels, dtype, case):
    W, A_prev, b, _ = affine(case, dtype)
    out = poisoned((case.n, case.m), dtype)
    assert kernels.linear_forward(W, A_prev, b, out=out) is out
    bound = tolerances.product(W, A_prev, dtype, plus=b)
    tolerances.close(out, loops.linear_forward(*wide(W, A_prev, b)), bound)
    Z = kernels.linear_forward(W, A_prev, b)
    assert Z.dtype == dtype and Z.tobytes() == out.tobytes()


@pytest.mark.parametrize("case", AFFINE, ids=str)
def test_linear_backward(kernels, dtype, case):
    W, A_prev, _, dZ = affine(case, dtype)
    results = kernels.linear_backward(dZ, A_prev, W)
    expected = loops.linear_backward(*wide(dZ, A_prev, W))
    ones = np.ones((case.m, 1))
    bounds = (
        tolerances.product(dZ, A_prev.T, dtype, divided=case.m),
        tolerances.product(dZ, ones, dtype, divided=case.m),
        tolerances.product(W.T, dZ, dtype),
    )
    for actual, reference, bound in zip(results, expected, bounds, strict=True):
        assert actual.dtype == dtype and actual.flags.c_contiguous
        tolerances.close(actual, reference, bound)


def test_large_product_by_a_vector(kernels, dtype):
    """C t against A (B t): two products of a matrix and a vector prove a product that loops cannot do."""
    if kernels is loops:
        return
    g = rng("large")
    W, A_prev = normal(g, (211, 1031), dtype), normal(g, (1031, 337), dtype)
    Z = kernels.linear_forward(W, A_prev, np.zeros((211, 1), dtype))
    t = g.choice([-1.0, 1.0], (337, 1))
    W, A_prev, Z = wide(W, A_prev, Z)
    bound = tolerances.product(W, A_prev, dtype).sum(axis=1, keepdims=True)
    tolerances.close(Z @ t, W @ (A_prev @ t), bound + tolerances.product(Z, t, "float64"))


def test_dot(kernels, dtype):
    for n in (1, 7, 1001):
        w, x = normal(rng("dot", n), (n, 1), dtype), normal(rng("dot", -n), (n, 1), dtype)
        result = kernels.dot(w, x)
        assert isinstance(result, float)
        tolerances.close([[result]], [[loops.dot(*wide(w, x))]], tolerances.product(w.T, x, dtype))


@pytest.mark.parametrize("n_x, m", [(1, 1), (2, 19), (17, 33), (211, 5)])
def test_logistic_gradient(kernels, dtype, n_x, m):
    g = rng("logistic", n_x, m)
    W, b, X = normal(g, (1, n_x), dtype), normal(g, (1, 1), dtype), normal(g, (n_x, m), dtype)
    Y = targets(g, "sigmoid", "binary_cross_entropy", (1, m), dtype)
    J, dW, db = kernels.logistic_gradient(W, b, X, Y)
    expected = loops.logistic_gradient(*wide(W, b, X, Y))
    # An error of z reaches the loss and dz = a - y with a factor of at most 1.
    of_z = tolerances.product(W, X, dtype, plus=b)
    of_loss, of_dZ = tolerances.head(
        loops.linear_forward(*wide(W, X, b)), *wide(Y), "sigmoid", "binary_cross_entropy", dtype
    )
    assert (
        isinstance(J, float) and dW.shape == W.shape and db.shape == b.shape and dW.dtype == db.dtype == dtype
    )
    tolerances.close(J, expected[0], (of_z + of_loss).mean())
    sums = (m + 2) * tolerances.eps(dtype)
    tolerances.close(dW, expected[1], (of_z + of_dZ + sums) @ np.abs(X.T) / m)
    tolerances.close(db, expected[2], (of_z + of_dZ + sums).mean())


# Activations


@pytest.mark.parametrize("name", EACH)
def test_elementwise(kernels, dtype, name):
    function, reference = getattr(kernels, name), getattr(loops, name)
    for Z in (LOGITS.astype(dtype), *(3 * normal(rng(shape), shape, dtype) for shape in ELEMENTS)):
        expected = reference(*wide(Z))
        bound = tolerances.elementwise(name, *wide(Z), expected, dtype)
        A = function(Z)
        assert A.dtype == dtype and not np.may_share_memory(A, Z)
        tolerances.close(A, expected, bound)
        out = poisoned(Z.shape, dtype)
        assert function(Z, out=out) is out
        assert out.tobytes() == A.tobytes()
        assert function(out := Z.copy(), out=out).tobytes() == A.tobytes()
        padded = normal(rng(Z.shape), Z.shape, dtype, padded=True)
        padded[...] = Z
        assert function(padded).tobytes() == A.tobytes()


@pytest.mark.parametrize(
    "name, parameter", [("leaky_relu", 0.0), ("leaky_relu", 0.2), ("leaky_relu", 1), ("elu", 1.5)]
)
def test_parameter_of_an_activation(kernels, dtype, name, parameter):
    Z = LOGITS.astype(dtype)
    for suffix in ("", "_derivative"):
        expected = getattr(loops, name + suffix)(*wide(Z), parameter)
        bound = tolerances.elementwise(name + suffix, *wide(Z), expected, dtype)
        tolerances.close(getattr(kernels, name + suffix)(Z, parameter), expected, bound)


def test_derivatives_at_the_kink(kernels, dtype):
    Z = np.array([[0.0, -0.0]], dtype)
    for name in ("relu_derivative", "leaky_relu_derivative", "elu_derivative"):
        assert (getattr(kernels, name)(Z) == 1).all()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_nan_propagates(kernels, dtype, name):
    Z = normal(rng("nan"), (3, 37), dtype)
    Z[1, 5] = Z[2, 36] = np.nan
    assert (np.isnan(getattr(kernels, name)(Z)) == np.isnan(Z)).all()
    A = kernels.softmax(Z)
    assert (np.isnan(A) == np.isnan(Z).any(axis=0)).all()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_derivative_is_that_of_the_function(kernels, name):
    Z = np.linspace(-6, 6, 97).reshape(1, -1) + 0.01  # no kink within the step
    h = 1e-5
    function = getattr(kernels, name)
    quotient = (function(Z + h) - function(Z - h)) / ((Z + h) - (Z - h))
    tolerances.close(
        getattr(kernels, f"{name}_derivative")(Z), quotient, tolerances.differences(1 + np.abs(Z), h)
    )


def test_softmax(kernels, dtype):
    for Z in (LOGITS.astype(dtype), *(3 * normal(rng(shape), shape, dtype) for shape in ELEMENTS)):
        expected = loops.softmax(*wide(Z))
        out = poisoned(Z.shape, dtype)
        assert kernels.softmax(Z, out=out) is out
        tolerances.close(out, expected, tolerances.softmax(*wide(Z), expected, dtype))
        assert kernels.softmax(Z.copy()).tobytes() == out.tobytes()
        tolerances.close(
            out.sum(axis=0, dtype=np.float64), np.ones(Z.shape[1]), 16 * len(Z) * tolerances.eps(dtype)
        )


# Layers


@pytest.mark.parametrize("activation", SPELLINGS)
def test_layer(kernels, activation):
    """In float64, where the bound of the product is far below what an error of the formula would be."""
    for case in AFFINE[4:9]:
        W, A_prev, b, dZ = affine(case, "float64")
        Z, A = kernels.layer_forward(W, A_prev, b, activation)
        expected_Z, expected_A = loops.layer_forward(W, A_prev, b, activation)
        bound = tolerances.product(W, A_prev, "float64", plus=b)
        tolerances.close(Z, expected_Z, bound)
        tolerances.close(A, expected_A, 2 * bound + 16 * tolerances.eps("float64") * (1 + np.abs(Z)))
        Z_prev = normal(rng("Z_prev"), A_prev.shape, padded=case.padded)
        results = kernels.layer_backward(dZ, W, A_prev, Z_prev, activation)
        expected = loops.layer_backward(dZ, W, A_prev, Z_prev, activation)
        tolerances.close(results[0], expected[0], tolerances.product(dZ, A_prev.T, "float64", divided=case.m))
        tolerances.close(
            results[1], expected[1], (case.m + 2) * tolerances.eps("float64") * np.abs(dZ).mean(1)[:, None]
        )
        tolerances.close(results[2], expected[2], 16 * tolerances.product(W.T, dZ, "float64"))
        *gradients, nothing = kernels.layer_backward(dZ, W, A_prev, None, None)
        assert nothing is None
        for actual, again in zip(gradients, results[:2], strict=True):
            tolerances.close(actual, again, 2 * tolerances.product(dZ, np.ones((case.m, 1)), "float64"))


# Output layer


def _check_head(kernels, Z, Y, loss, output, weights, dtype):
    cost, dZ = kernels.output_head(Z, Y, loss, output, weights)
    assert isinstance(cost, float) and dZ.dtype == dtype and dZ.shape == Z.shape
    Z, w = wide(Z, np.ones((1, Z.shape[1])) if weights is None else weights)
    columns = Y if Y.dtype == np.int64 else wide(Y)[0]
    expected_cost, expected_dZ = loops.output_head(Z, columns, loss, output, w)
    if Y.dtype == np.int64:
        columns = np.eye(len(Z))[Y[0]].T
    of_loss, of_dZ = tolerances.head(Z, columns, output, loss, dtype)
    share = w / w.sum()
    tolerances.close(cost, expected_cost, 2 * (of_loss * share).sum())
    tolerances.close(dZ, expected_dZ, of_dZ * share * Z.shape[1] + np.finfo(dtype).tiny)


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("output, loss", HEADS_WITH_PARAMETERS)
def test_output_head(kernels, dtype, output, loss, weighted):
    for shape in ELEMENTS:
        g = rng("head", output, loss, shape)
        Z, Y = 2 * normal(g, shape, dtype), targets(g, output, loss, shape, dtype)
        weights = sample_weights(g, shape[1], dtype) if weighted else None
        _check_head(kernels, Z, Y, loss, output, weights, dtype)
        if loss == "cross_entropy":
            classes = g.integers(0, shape[0], (1, shape[1]))
            _check_head(kernels, Z, classes, loss, output, weights, dtype)
            one_hot = np.eye(shape[0], dtype=dtype)[classes[0]].T.copy()
            _check_head(kernels, Z, one_hot, loss, output, weights, dtype)


@pytest.mark.parametrize("output, loss", [head for head in HEADS if head[1] != "poisson"])
def test_output_head_of_extreme_logits(kernels, dtype, output, loss):
    Z = np.concatenate([LOGITS, -LOGITS]).astype(dtype)
    Y = targets(rng("extreme"), output, loss, Z.shape, dtype)
    Y[0] = 0.0 if output != "softmax" else Y[0]
    cost, dZ = kernels.output_head(Z, Y, loss, output)
    assert np.isfinite(cost) and np.isfinite(dZ).all()
    _check_head(kernels, Z, Y, loss, output, None, dtype)


def test_output_head_of_a_certain_mistake_costs_its_logit(kernels, dtype):
    """At z = 1e4 the sigmoid and the softmax round to 1, yet the cost of a wrong answer is 1e4."""
    Z = np.array([[1e4, -1e4]], dtype)
    cost, dZ = kernels.output_head(Z, np.array([[0, 1]], dtype), "binary_cross_entropy", "sigmoid")
    assert cost == 1e4 and dZ.tolist() == [[1.0, -1.0]]
    cost, dZ = kernels.output_head(np.array([[1e4], [0]], dtype), np.array([[1]]), "cross_entropy", "softmax")
    assert cost == 1e4 and dZ.tolist() == [[1.0], [-1.0]]


def test_output_head_where_output_equals_target(kernels, dtype):
    Z = np.array([[1.0, -2.0, 0.0]], dtype)
    for loss in ("absolute_error", "quantile(0.9)", "huber", "squared_error"):
        cost, dZ = kernels.output_head(Z, Z.copy(), loss, "linear")
        assert cost == 0 and not dZ.any()


def test_an_infinite_rate_costs_infinity(kernels, dtype):
    cost, _ = kernels.output_head(np.array([[1e4]], dtype), np.ones((1, 1), dtype), "poisson", "linear")
    assert cost == np.inf


@pytest.mark.parametrize("output, loss", HEADS_WITH_PARAMETERS)
def test_dZ_is_the_derivative_of_the_cost(kernels, output, loss):
    shape, h = (3, 5), 1e-5
    g = rng("difference", output, loss)
    Z, Y, weights = (
        normal(g, shape),
        targets(g, output, loss, shape, "float64"),
        sample_weights(g, 5, "float64"),
    )
    _, dZ = kernels.output_head(Z, Y, loss, output, weights)
    quotient = np.empty(shape)
    for i, j in np.ndindex(shape):
        above, below = Z.copy(), Z.copy()
        above[i, j] += h
        below[i, j] -= h
        difference = kernels.output_head(above, Y, loss, output, weights)[0]
        difference -= kernels.output_head(below, Y, loss, output, weights)[0]
        quotient[i, j] = difference / (above[i, j] - below[i, j]) * shape[1]
    tolerances.close(dZ, quotient, tolerances.differences(8 * (1 + np.exp(np.abs(Z).max())), h) * shape[1])


# Dropout


def _kept(kernels, shape, rate, key):
    return kernels.dropout(np.ones(shape), rate, key) != 0


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.93])
def test_dropout(kernels, dtype, rate):
    for shape in ELEMENTS:
        A = normal(rng(shape), shape, dtype)
        for key in (0, 12345, 2**32 - 1):
            kept = [
                [
                    contract.dropout_hash(key, i, j) >= contract.dropout_threshold(rate)
                    for j in range(shape[1])
                ]
                for i in range(shape[0])
            ]
            expected = np.where(kept, A.astype(np.float64) / (1 - rate), 0.0)
            out = poisoned(shape, dtype)
            assert kernels.dropout(A, rate, key, out=out) is out
            tolerances.close(out, expected, 2 * tolerances.eps(dtype) * np.abs(expected))
            assert kernels.dropout(A, rate, key).tobytes() == out.tobytes()
            assert (
                kernels.dropout(out := A.copy(), rate, key, out=out).tobytes()
                == kernels.dropout(A, rate, key).tobytes()
            )


def test_dropout_masks_look_random(kernels):
    """Shares and correlations of 120 x 40 fair coins: each bound is five standard deviations."""
    shape, rate = (120, 40), 0.3
    size = 120 * 40
    keys = [contract.dropout_key(7, step, layer) for step in (0, 1) for layer in (0, 1)]
    masks = [_kept(kernels, shape, rate, key) - (1 - rate) for key in keys]
    deviation = np.sqrt(rate * (1 - rate))
    for mask in masks:
        assert abs(mask.mean()) < 5 * deviation / np.sqrt(size)
        for a, b in ((mask[1:], mask[:-1]), (mask[:, 1:], mask[:, :-1])):
            assert abs((a * b).mean()) < 5 * deviation**2 / np.sqrt(a.size)
    for i, a in enumerate(masks):
        for b in masks[:i]:
            assert abs((a * b).mean()) < 5 * deviation**2 / np.sqrt(size)


# The loops, compiled as they stand


@functools.cache
def _compiled(function):
    """The plain function compiled by Numba, and before it every function of the module that it calls."""
    function = getattr(function, "__wrapped__", function)
    names = {step.argval for step in dis.get_instructions(function) if step.opname == "LOAD_GLOBAL"}
    called = {
        n: f for n, f in function.__globals__.items() if n in names and isinstance(f, types.FunctionType)
    }
    scope = function.__globals__ | {n: _compiled(f) for n, f in called.items()}
    return numba.njit(types.FunctionType(function.__code__, scope, function.__name__, function.__defaults__))


def test_numba_compiles_the_loops_unchanged():
    g = rng("numba")
    W, A, b, dZ = normal(g, (3, 4)), normal(g, (4, 5)), normal(g, (3, 1)), normal(g, (3, 5))
    Y = (dZ[:1] > 0) * 1.0
    ones = np.ones((1, 5))
    for function, arguments in (
        (loops.dot, (b, b)),
        (loops.logistic_gradient, (W[:1].copy(), b[:1].copy(), A, Y)),
        (loops.linear_forward, (W, A, b)),
        (loops.linear_forward, (W, A, b, np.empty((3, 5)))),
        (loops.linear_backward, (dZ, A, W)),
        (loops.sigmoid, (dZ,)),
        (loops.elu_derivative, (dZ,)),
        (loops.gelu, (dZ,)),
        (loops.softmax, (dZ,)),
        (loops.dropout, (dZ, 0.4, 17)),
        (loops._head, (dZ, np.abs(dZ), "linear", "huber", 1.0, ones)),
        (loops._head, (dZ, np.abs(dZ), "softmax", "cross_entropy", 0.0, ones)),
    ):
        compiled = _compiled(function)(*arguments)
        plain = getattr(function, "__wrapped__", function)(*arguments)
        if not isinstance(plain, tuple):
            compiled, plain = (compiled,), (plain,)
        for actual, expected in zip(compiled, plain, strict=True):
            tolerances.close(actual, expected, 16 * tolerances.eps("float64") * (1 + np.abs(expected)))
