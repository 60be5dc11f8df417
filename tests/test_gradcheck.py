"""Backpropagation against central differences: every activation, output, loss, depth; and the check."""

import types

import numpy as np
import pytest

from jitprop import Network
from jitprop.gradcheck import gradcheck
from jitprop_kernels import vectorized
from jitprop_kernels.contract import ACTIVATIONS, OUTPUTS

M = 7
SPELLINGS = [*ACTIVATIONS, "leaky_relu(0.3)", "elu(1.5)"]
HEADS = [(output, loss) for output, row in OUTPUTS.items() for loss in row.losses]
HEADS += [("linear", "huber(0.4)"), ("linear", "quantile(0.9)")]
CASES = [(output, loss, 1, "relu") for output, loss in HEADS]
CASES += [(*head, depth, activation) for head in HEADS for depth in (2, 3) for activation in SPELLINGS]


def example(output, loss, n, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(3, M))
    if output == "softmax":
        return X, rng.integers(0, n, M)
    if output == "sigmoid":
        return X, rng.integers(0, 2, (n, M))
    if loss == "poisson":
        return X, rng.poisson(2.0, (n, M))
    return X, rng.normal(size=(n, M)) + 0.5


def network(units, seed=1, **options):
    """With biases that are not zero, so that nothing stands on a kink by construction."""
    net = Network(units, seed=seed, **options)
    rng = np.random.default_rng(seed)
    net.parameters = {name: 0.7 * rng.normal(size=array.shape) for name, array in net.parameters.items()}
    return net


@pytest.mark.parametrize("kernels", ["vectorized", "jit"])
@pytest.mark.parametrize(("output", "loss", "depth", "activation"), CASES)
def test_every_activation_output_loss_and_depth(kernels, output, loss, depth, activation):
    units = [3, *[4, 3][: depth - 1], 2]
    net = network(units, activation=activation, output=output, loss=loss, l2=0.1, dtype="float64", kernels=kernels)
    found = gradcheck(net, *example(output, loss, 2))
    assert found.ok, found
    assert not any(check.kinks for check in found.arrays.values()), found
    assert list(found.arrays) == list(net.parameters)


@pytest.mark.parametrize(("output", "loss"), HEADS)
def test_loops(output, loss):
    net = network([3, 4, 2], activation="tanh", output=output, loss=loss, kernels="loops")
    found = gradcheck(net, *example(output, loss, 2), directions=3)
    assert found.ok, found


@pytest.mark.parametrize("kernels", ["vectorized", "jit"])
def test_sample_weights_and_l2(kernels):
    net = network([3, 4, 2], activation="gelu", l2=3.0, kernels=kernels)
    X, Y = example("softmax", None, 2)
    weight = np.array([0, 1, 2, 0.5, 0, 3, 1])
    assert gradcheck(net, X, Y, sample_weight=weight).ok
    unweighted = gradcheck(net, X, Y)["W1"].analytic
    assert np.abs(gradcheck(net, X, Y, sample_weight=weight)["W1"].analytic - unweighted).max() > 1e-3


def wrong_kernels(**functions):
    return types.SimpleNamespace(**functions)


def test_a_wrong_derivative_is_found_and_named():
    def tanh_derivative(Z, out=None):
        return 1.01 * vectorized.tanh_derivative(Z)

    net = network([3, 4, 2], activation="tanh", kernels=wrong_kernels(tanh_derivative=tanh_derivative))
    X, Y = example("softmax", None, 2)
    found = gradcheck(net, X, Y)
    assert not found.ok
    assert len(found["W1"].wrong) == 12 and len(found["b1"].wrong) == 4
    assert not found["W2"].wrong and not found["b2"].wrong
    assert "WRONG" in str(found) and "wrong: W1[0, 0], W1[0, 1]" in str(found)
    assert 1e-3 < found["W1"].relative_error < 1e-1
    assert gradcheck(net, X, Y, parameters=["W2", "b2"]).ok
    assert not gradcheck(net, X, Y, directions=4).ok
    assert not gradcheck(net, X, Y, parameters="W1", directions=1).ok


def test_one_wrong_entry_is_found():
    def linear_backward(dZ, A_prev, W):
        dW, db, dA_prev = vectorized.linear_backward(dZ, A_prev, W)
        dW[0, 1] += 1e-5
        return dW, db, dA_prev

    net = network([3, 2], kernels=wrong_kernels(linear_backward=linear_backward))
    assert gradcheck(net, *example("softmax", None, 2))["W1"].wrong == [(0, 1)]


def test_a_gradient_that_is_not_a_number_is_wrong():
    def tanh_derivative(Z, out=None):
        return np.full_like(Z, np.nan)

    net = network([3, 4, 2], activation="tanh", kernels=wrong_kernels(tanh_derivative=tanh_derivative))
    assert not gradcheck(net, *example("softmax", None, 2)).ok


def test_entries_on_a_kink_are_told_and_left_out():
    """With zeros every z of the hidden layer is exactly 0: neither W1 nor b1 can be checked, the rest can."""
    net = Network([3, 4, 1], output="sigmoid", initialization="zeros", kernels="vectorized")
    found = gradcheck(net, example("sigmoid", None, 1)[0], np.ones(M))
    assert len(found["W1"].kinks) == 12 and len(found["b1"].kinks) == 4
    assert not found["W2"].kinks and not found["b2"].kinks
    assert np.isnan(found["W1"].numeric).all() and np.isnan(found["W1"].relative_error)
    assert "no derivative, on a kink: W1[0, 0]" in str(found) and "and 7 more" in str(found)
    assert found.ok
    assert not gradcheck(net, np.ones((3, M)), np.ones(M), parameters=["W1"]).ok  # nothing was compared


@pytest.mark.parametrize("activation", ["leaky_relu", "elu(2.0)"])
def test_kinks_of_other_activations(activation):
    net = Network([1, 1, 1], activation=activation, output="linear", initialization="zeros", kernels="vectorized")
    net.parameters["W2"] = [[1.0]]
    assert gradcheck(net, [[1.0, 2.0]], [3.0, 4.0])["W1"].kinks == [(0, 0)]


@pytest.mark.parametrize("activation", ["elu", "leaky_relu(1.0)", "softplus", "tanh"])
def test_smooth_activations_have_no_kink(activation):
    net = Network([1, 1, 1], activation=activation, output="linear", initialization="zeros", kernels="vectorized")
    net.parameters["W2"] = [[1.0]]
    found = gradcheck(net, [[1.0, 2.0]], [3.0, 4.0])
    assert found.ok and not found["W1"].kinks


@pytest.mark.parametrize("loss", ["absolute_error", "quantile(0.3)"])
def test_the_kink_of_a_loss(loss):
    net = Network([1, 1], output="linear", loss=loss, initialization="zeros", kernels="vectorized")
    assert gradcheck(net, [[1.0, 2.0]], [0.0, 4.0])["b1"].kinks == [(0, 0)]


def test_a_kink_near_by_is_no_kink():
    """z = 1e-6 lies within the first step and outside the smaller ones."""
    net = Network([1, 1, 1], output="linear", initialization="zeros", dtype="float64", kernels="vectorized")
    net.parameters = {"W1": [[0.5]], "b1": [[-0.5 + 1e-6]], "W2": [[1.0]]}
    found = gradcheck(net, [[1.0]], [3.0])
    assert found.ok and not any(check.kinks for check in found.arrays.values()), found


def test_the_network_is_not_changed():
    net = network([3, 4, 2])
    net.kernel_set = Network([3, 4, 2], kernels="vectorized").kernel_set
    before = net.parameters.flat.copy()
    assert gradcheck(net, *example("softmax", None, 2)).ok
    assert net.parameters.flat.tobytes() == before.tobytes()
    assert net.architecture.dtype == "float32"


def test_directions_depend_on_the_seed_only():
    net = network([3, 4, 2], activation="tanh", kernels="vectorized")
    X, Y = example("softmax", None, 2)
    first, same, other = (gradcheck(net, X, Y, directions=2, seed=seed)["directions"] for seed in (0, 0, 1))
    assert (first.analytic == same.analytic).all() and (first.analytic != other.analytic).all()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"parameters": ["W9"]}, ValueError, "parameters.*W9.*accepted: W1, b1"),
        ({"parameters": []}, ValueError, "parameters"),
        ({"parameters": 5}, TypeError, "parameters must be names such as .*, got 5"),
        ({"parameters": [["W1"]]}, TypeError, "parameters must be names"),
        ({"directions": 0}, ValueError, "directions must be from 1, got 0"),
        ({"directions": 1.0}, TypeError, "directions must be an int"),
        ({"step": 0}, ValueError, "step must be a finite number above 0"),
        ({"step": "small"}, TypeError, "step must be a number"),
        ({"directions": 1, "seed": -1}, ValueError, "seed"),
        ({"sample_weight": np.zeros(M)}, ValueError, "sample_weight"),
    ],
)
def test_bad_options(options, error, message):
    net = network([3, 4, 2], kernels="vectorized")
    with pytest.raises(error, match=message):
        gradcheck(net, *example("softmax", None, 2), **options)


def test_what_is_no_network():
    with pytest.raises(TypeError, match="network must be a Network, got str"):
        gradcheck("x", np.ones((3, 1)), [0])
