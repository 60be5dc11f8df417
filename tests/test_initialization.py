"""First values: the right spread for each activation, drawn from the seed, or given."""

import numpy as np
import pytest

from jitprop import Network
from jitprop.initialization import natural


def network(units=(400, 300, 200, 10), **options):
    return Network(list(units), kernels="vectorized", **({"seed": 0, "dtype": "float64"} | options))


def is_normal(W, deviation):
    """Mean and deviation within 5 standard errors; as many outside two deviations as a normal law has."""
    errors = 5 / np.sqrt(W.size)
    outside = (np.abs(W) > 2 * deviation).mean()
    return abs(W.mean()) < errors * deviation and abs(W.std() / deviation - 1) < errors and 0.03 < outside < 0.06


def is_uniform(W, limit):
    inside = (np.abs(W) <= limit).all() and np.abs(W).max() > 0.99 * limit
    return inside and abs(W.std() / (limit / np.sqrt(3)) - 1) < 5 / np.sqrt(W.size)


def test_natural_is_he_before_the_relu_family_and_glorot_otherwise():
    net = network(activation=["relu", "tanh"])
    assert is_normal(net.parameters["W1"], np.sqrt(2 / 400))
    assert is_uniform(net.parameters["W2"], np.sqrt(6 / (300 + 200)))
    assert is_uniform(net.parameters["W3"], np.sqrt(6 / (200 + 10)))
    assert not any(net.parameters[name].any() for name in ("b1", "b2", "b3"))


@pytest.mark.parametrize(
    ("activation", "rule"),
    [(name, "he") for name in ("relu", "leaky_relu(0.2)", "elu", "softplus", "gelu", "silu")]
    + [(name, "glorot") for name in ("linear", "sigmoid", "tanh", "softmax")],
)
def test_natural(activation, rule):
    assert natural(activation) == rule


def test_named_ones_hold_for_every_layer():
    for l, n_prev, n in ((1, 400, 300), (2, 300, 200)):
        assert is_normal(network(initialization="he", activation="tanh").parameters[f"W{l}"], np.sqrt(2 / n_prev))
        assert is_uniform(network(initialization="glorot").parameters[f"W{l}"], np.sqrt(6 / (n_prev + n)))
        assert is_normal(network(initialization="normal").parameters[f"W{l}"], 0.01)
        assert is_normal(network(initialization="normal(0.5)").parameters[f"W{l}"], 0.5)
        assert not network(initialization="zeros").parameters[f"W{l}"].any()
        assert (network(initialization="constant(-0.5)").parameters[f"W{l}"] == -0.5).all()
        assert not network(initialization="constant(3)").parameters[f"b{l}"].any()


def test_the_seed_fixes_them():
    first, same, other = (network(seed=seed).parameters.flat for seed in (1, 1, 2))
    assert (first == same).all() and (first != other).any()


def test_both_dtypes_draw_the_same_numbers():
    wide, narrow = network(dtype="float64"), network(dtype="float32")
    for name in wide.parameters:
        assert (wide.parameters[name].astype(np.float32) == narrow.parameters[name]).all()


def test_without_a_seed_every_network_is_another_that_its_seed_repeats():
    first, second = network(seed=None), network(seed=None)
    assert first.seed != second.seed
    assert (network(seed=first.seed).parameters.flat == first.parameters.flat).all()


def test_given_arrays_are_copied():
    given = {"W1": [[1, 2, 3], [4, 5, 6]], "b1": np.array([[7.0], [8.0]])}
    net = network([3, 2], initialization=given)
    np.testing.assert_array_equal(net.parameters["W1"], given["W1"])
    given["b1"][:] = 0
    np.testing.assert_array_equal(net.parameters["b1"], [[7], [8]])
    twin = network([3, 2], initialization=net.parameters)
    assert (twin.parameters.flat == net.parameters.flat).all()


@pytest.mark.parametrize(
    ("initialization", "error", "message"),
    [
        (
            "xavier",
            ValueError,
            "unknown initialization 'xavier'; accepted: he, glorot, normal, zeros, constant",
        ),
        ("he(2)", ValueError, "initialization 'he' takes no number"),
        ("normal(-1)", ValueError, "standard deviation of initialization 'normal' must be from 0"),
        ("constant(nan)", ValueError, "value of initialization 'constant'"),
        ("constant(1e39)", ValueError, "infinite in float32"),
        (0.01, TypeError, "initialization must be a name"),
        ({"W1": np.ones((2, 3))}, ValueError, "initialization must give the arrays W1, b1; missing: b1"),
        ({"W1": np.ones((2, 3)), "b1": np.ones((2, 1)), "W2": 1}, ValueError, "unknown: W2"),
        (
            {"W1": np.ones((3, 2)), "b1": np.ones((2, 1))},
            ValueError,
            r"W1 has shape \(3, 2\), should be \(2, 3\)",
        ),
        ({"W1": np.ones((2, 3)), "b1": np.ones(2)}, ValueError, r"b1 has shape \(2,\).*rank-1"),
        ({"W1": np.full((2, 3), np.nan), "b1": np.ones((2, 1))}, ValueError, r"W1\[0, 0\] is nan"),
        ({"W1": np.ones((2, 3)), "b1": [["a"], ["b"]]}, TypeError, "b1 must hold real numbers.*got text"),
    ],
)
def test_bad_initializations(initialization, error, message):
    with pytest.raises(error, match=message):
        network([3, 2], initialization=initialization, dtype="float32")
