"""The forward pass of a whole network: the three sets, every layout of X, and what a column must not depend on."""

import functools
import tracemalloc

import numpy as np
import pytest
import tolerances

from jitprop import Network
from jitprop_kernels import jit, loops, vectorized
from jitprop_kernels.contract import ACTIVATIONS, OUTPUTS

NETWORKS = [
    (1, 1), (7, 1), (3, 5, 2), (33, 17, 31, 4), (130, 20, 3), (129, 32, 1), (1500, 3, 2), (40, 97, 65, 10),
    (5, 1100, 3),
]  # fmt: skip
COUNTS = [1, 2, 4, 5, 15, 16, 31, 33, 129]


def same_bits(a, b):
    return a.shape == b.shape and a.tobytes() == b.tobytes()


def network(units, dtype, seed=0):
    g = np.random.default_rng(seed)
    shapes = zip(units[1:], units, strict=False)
    return [
        (g.standard_normal(shape) / np.sqrt(shape[1])).astype(dtype)
        for n, k in shapes
        for shape in ((n, k), (n, 1))
    ]


def examples(units, m, dtype, order="F"):
    return np.asarray(np.random.default_rng(m).standard_normal((units[0], m)), dtype, order)


def names(units, activation="tanh"):
    return [activation] * (len(units) - 2)


def rounding(parameters, A, eps):
    """How far rounding may move A[L]: of a sum of k terms by k + 2 halves of eps of its absolute terms, twice for two
    sums in other orders; slopes of tanh are at most 1, of sigmoid 1/4, their own errors below 4 eps."""
    error = np.zeros_like(A)
    for W, b in zip(parameters[::2], parameters[1::2], strict=True):
        error = np.abs(W) @ error + (W.shape[1] + 2) * eps * (np.abs(W) @ np.abs(A) + np.abs(b))
        A, error = np.tanh(W @ A + b), error + 4 * eps
    return error / 4 + 4 * eps


@pytest.mark.parametrize("units", NETWORKS, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sets_agree(units, dtype):
    parameters, X = network(units, dtype), examples(units, 19, dtype)
    exact = [p.astype(np.float64) for p in parameters]
    expected = loops.network_forward(exact, X.astype(np.float64), names(units), "sigmoid")
    bound = rounding(exact, X.astype(np.float64), np.finfo(dtype).eps)
    for kernels in (vectorized, jit):
        found = kernels.network_forward(parameters, X, names(units), "sigmoid")
        assert found.dtype == dtype
        tolerances.close(found, expected, bound)


@pytest.mark.parametrize("output", [None, *OUTPUTS])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_and_output(activation, output):
    units = (6, 19, 35, 4)
    parameters, X = network(units, "float64"), examples(units, 37, "float64")
    expected = vectorized.network_forward(parameters, X, names(units, activation), output)
    np.testing.assert_allclose(
        jit.network_forward(parameters, X, names(units, activation), output), expected, rtol=1e-11, atol=1e-13
    )


@pytest.mark.parametrize("units", NETWORKS, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_column_depends_on_itself_alone(units, dtype, monkeypatch):
    parameters, X = network(units, dtype), examples(units, 700, dtype)
    forward = functools.partial(jit.network_forward, parameters, activations=names(units), output="sigmoid")
    whole = forward(X)
    for m in COUNTS:
        for order in "CF":
            assert same_bits(forward(np.asarray(X[:, :m], order=order)), whole[:, :m])
        assert same_bits(forward(np.array(X, order="C")[:, 5 : 5 + m]), whole[:, 5 : 5 + m])
        assert same_bits(forward(X[:, 5 : 5 + m]), whole[:, 5 : 5 + m])
    monkeypatch.setattr(jit.forward, "SPAWN", 0)
    for m in (3, 300):
        for order in "CF":
            assert same_bits(forward(np.array(X[:, :m], order=order)), whole[:, :m])


@pytest.mark.parametrize("units", [(3, 4, 2), (1100, 4, 2), (300, 4, 2)], ids=str)
@pytest.mark.parametrize("output", [None, "relu"])
def test_the_sign_of_a_zero_depends_on_its_column_alone(units, output):
    """Of z < 0, z = 0 and z = -0, where nothing that follows is large enough to hide a sign."""
    parameters, X = network(units, "float32"), np.abs(examples(units, 70, "float32"))
    W1, b1, W2, b2 = parameters
    W1[:], b1[:], W2[:], b2[:] = -np.abs(W1), -0.0, -1, -0.0
    W1[0], X[:, ::3] = 0, 0
    whole = jit.network_forward(parameters, X, ["relu"], output)
    for m in (1, 3, 4, 5, 33):
        for order in "CF":
            part = np.array(X[:, :m], order=order)
            assert same_bits(jit.network_forward(parameters, part, ["relu"], output), whole[:, :m])


def test_views_with_gaps():
    units = (40, 21, 3)
    parameters, X = network(units, "float32"), examples(units, 50, "float32", "C")
    wide = np.full((40, 90), np.nan, np.float32)
    wide[:, 7:57] = X
    tall = np.full((90, 60), np.nan, np.float32)
    tall[7:57, 3:43] = X.T
    expected = jit.network_forward(parameters, X, ["relu"])
    assert np.array_equal(jit.network_forward(parameters, wide[:, 7:57], ["relu"]), expected)
    assert np.array_equal(jit.network_forward(parameters, tall[7:57, 3:43].T, ["relu"]), expected)
    with pytest.raises(ValueError, match="contiguous"):
        jit.network_forward(parameters, wide[:, :80:2], ["relu"])


@pytest.mark.parametrize("kernels", [loops, vectorized, jit], ids=["loops", "vectorized", "jit"])
def test_door(kernels):
    units = (3, 4, 2)
    parameters, X = network(units, "float64"), examples(units, 5, "float64")
    for wrong, message in [
        ((parameters[:3], X, ["tanh"]), "3 arrays"),
        ((parameters, X[:2], ["tanh"]), "W1 has shape"),
        ((parameters, X, []), "activations has 0 names"),
        ((parameters, X, ["swish"]), "unknown activation"),
        ((parameters, X, ["tanh"], "tanh"), "unknown output"),
    ]:
        with pytest.raises(ValueError, match=message):
            kernels.network_forward(*wrong)
    with pytest.raises(TypeError, match="float32"):
        kernels.network_forward(parameters, X.astype(np.float32), ["tanh"])


def test_prediction_does_not_copy_the_examples(tmp_path):
    units, m = (200, 30, 3), 40_000
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((m, units[0]), np.float32))
    X = np.load(tmp_path / "x.npy", mmap_mode="r").T
    net = Network(units, output="softmax", seed=0)
    net.predict_proba(X[:, :3000])
    tracemalloc.start()
    net.predict_proba(X)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < X.nbytes / 4


@pytest.mark.parametrize("m", [1, 2, 100, 1797])
def test_only_what_is_not_finite_is_refused(m):
    net = Network([64, 9, 3], seed=0)
    for order in "CF":
        X = np.zeros((64, m), np.float32, order)
        X[5, m - 1] = 3e38  # its square overflows
        X.flags.writeable = False
        assert net.predict_proba(X).shape == (3, m)
        for value in (np.nan, np.inf, -np.inf):
            X = np.zeros((64, m), np.float32, order)
            X[5, m - 1] = value
            with pytest.raises(ValueError, match=rf"X\[5, {m - 1}\] is {value}"):
                net.predict_proba(X)
