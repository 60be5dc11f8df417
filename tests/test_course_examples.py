"""The small examples of the course, on paper in its lectures, by the kernels of the three sets."""

import importlib
import math

import numpy as np
import pytest
import tolerances
from cases import SETS, rng

from jitprop_kernels.contract import COEFFICIENTS

EPS = tolerances.eps("float64")


@pytest.fixture(params=SETS)
def kernels(request):
    return importlib.import_module(f"jitprop_kernels.{request.param}")


def steps(kernels, parameters, X, Y, activations, output, loss, count=20, rate=0.5):
    """Gradient descent on the whole batch; returns the costs."""
    row = dict.fromkeys(COEFFICIENTS, 0.0) | {"rate": rate, "decay": 1.0, "gradient_share": 1.0}
    row |= {"clip_value": np.inf, "clip_norm": np.inf}
    costs = [
        kernels.train_epoch(
            parameters,
            X,
            Y,
            None,
            X.shape[1],
            activations,
            output,
            loss,
            "sgd",
            [],
            np.array([[*row.values()]]),
        )
        for _ in range(count)
    ]
    return np.concatenate(costs)


def test_sigmoid(kernels):
    Z = np.array([[0.0, 2.0, -2.0]])
    A = kernels.sigmoid(Z)
    assert A[0, 0] == 0.5
    tolerances.close(A[0, 1] + A[0, 2], 1.0, 8 * EPS)
    tolerances.close(kernels.sigmoid_derivative(Z), A * (1 - A), 8 * EPS)  # not g (g - 1)
    assert kernels.sigmoid_derivative(Z)[0, 0] == 0.25


def test_tanh(kernels):
    Z = np.array([[0.0, 0.5]])
    A = kernels.tanh(Z)
    assert A[0, 0] == 0 and kernels.tanh_derivative(Z)[0, 0] == 1
    tolerances.close(kernels.tanh_derivative(Z), 1 - A * A, 8 * EPS)


def test_relu_and_its_derivative_at_zero(kernels):
    Z = np.array([[-2.0, 0.0, 3.0]])
    assert kernels.relu(Z).tolist() == [[0, 0, 3]]
    assert kernels.relu_derivative(Z).tolist() == [[0, 1, 1]]
    assert kernels.leaky_relu(Z).tolist() == [[-0.02, 0, 3]]
    assert kernels.leaky_relu_derivative(Z).tolist() == [[0.01, 1, 1]]


def test_softmax_of_an_example(kernels):
    """z = (5, 2, -1, 3) of the lecture on softmax: e^z is 148.4, 7.4, 0.4, 20.1, their sum 176.3."""
    A = kernels.softmax(np.array([[5.0], [2.0], [-1.0], [3.0]]))
    assert [round(float(a), 3) for a in A[:, 0]] == [0.842, 0.042, 0.002, 0.114]


def test_db_sums_over_examples_only(kernels):
    dZ = np.array([[1.0, -2.0], [3.0, -4.0]])
    _, db, _ = kernels.linear_backward(dZ, np.ones((1, 2)), np.ones((2, 1)))
    assert db.tolist() == [[-0.5], [-0.5]]


def test_shapes_of_a_3_4_1_network(kernels):
    m = 7
    W1, b1, W2, b2 = np.ones((4, 3)), np.zeros((4, 1)), np.ones((1, 4)), np.zeros((1, 1))
    X, Y = np.ones((3, m)), np.ones((1, m))
    Z1, A1 = kernels.layer_forward(W1, X, b1, "tanh")
    Z2 = kernels.linear_forward(W2, A1, b2)
    assert Z1.shape == A1.shape == (4, m) and Z2.shape == (1, m)
    _, dZ2 = kernels.output_head(Z2, Y, "binary_cross_entropy", "sigmoid")
    dW2, db2, dZ1 = kernels.layer_backward(dZ2, W2, A1, Z1, "tanh")
    dW1, db1, nothing = kernels.layer_backward(dZ1, W1, X, None, None)
    assert [a.shape for a in (dZ2, dW2, db2, dZ1, dW1, db1)] == [
        (1, m),
        (1, 4),
        (1, 1),
        (4, m),
        (4, 3),
        (4, 1),
    ]
    assert nothing is None


@pytest.mark.parametrize("z", [-3.0, 0.0, 2.0])
def test_dZ_is_a_minus_y(kernels, z):
    """For sigmoid with binary cross-entropy, softmax with cross-entropy and linear with squared error."""
    Z, Y = np.array([[z, z]]), np.array([[0.0, 1.0]])
    _, dZ = kernels.output_head(Z, Y, "binary_cross_entropy", "sigmoid")
    tolerances.close(dZ, kernels.sigmoid(Z) - Y, 8 * EPS)
    cost, dZ = kernels.output_head(Z, Y, "squared_error", "linear")
    tolerances.close(dZ, Z - Y, 8 * EPS)
    tolerances.close(cost, 0.25 * (z * z + (z - 1) ** 2), 16 * EPS * (1 + z * z))
    Z, Y = np.array([[z], [1.0], [0.0]]), np.array([[0.0], [1.0], [0.0]])
    _, dZ = kernels.output_head(Z, Y, "cross_entropy", "softmax")
    tolerances.close(dZ, kernels.softmax(Z) - Y, 8 * EPS)


def test_cost_of_logistic_regression(kernels):
    """With zero parameters every a is 1/2, the cost log 2, and dz = 1/2 - y."""
    X = np.array([[1.0, 2.0, -1.0], [0.0, 3.0, 1.0]])
    Y = np.array([[1.0, 0.0, 1.0]])
    J, dW, db = kernels.logistic_gradient(np.zeros((1, 2)), np.zeros((1, 1)), X, Y)
    tolerances.close(J, math.log(2), 8 * EPS)
    tolerances.close(dW, [[(-0.5 + 1.0 + 0.5) / 3, (1.5 - 0.5) / 3]], 8 * EPS)
    tolerances.close(db, [[-0.5 / 3]], 8 * EPS)


def test_logistic_regression_learns_from_zeros(kernels):
    X = rng("logistic").standard_normal((2, 30))
    Y = (X[:1] > X[1:]) * 1.0
    costs = steps(kernels, [np.zeros((1, 2)), np.zeros((1, 1))], X, Y, [], "sigmoid", None, count=60)
    tolerances.close(costs[0], math.log(2), 8 * EPS)
    assert (np.diff(costs) < 0).all() and costs[-1] < 0.4


def test_calories(kernels):
    """Rows carbs, protein, fat; columns apple, beef, egg, potato: column sums are a product with ones."""
    grams = np.array([[56.0, 0.0, 4.4, 68.0], [1.2, 104.0, 52.0, 8.0], [1.8, 135.0, 99.0, 0.9]])
    total = kernels.linear_forward(np.ones((1, 3)), grams, np.zeros((1, 1)))
    tolerances.close(total, [[59.0, 239.0, 155.4, 76.9]], 4 * EPS * 239)
    tolerances.close((100 * grams / total).sum(axis=0), np.full(4, 100.0), 8 * EPS * 100)


def test_inner_product(kernels):
    w, x = np.array([[1.0], [2.0], [3.0]]), np.array([[4.0], [5.0], [6.0]])
    assert kernels.dot(w, x) == 32.0


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_with_zeros_only_the_last_bias_moves(kernels, activation):
    g = rng("zeros")
    X, Y = g.standard_normal((3, 20)), (g.random((1, 20)) < 0.3) * 1.0
    parameters = [np.zeros((4, 3)), np.zeros((4, 1)), np.zeros((1, 4)), np.zeros((1, 1))]
    steps(kernels, parameters, X, Y, [activation], "sigmoid", None)
    assert not any(parameter.any() for parameter in parameters[:3])
    assert parameters[3][0, 0] < 0


def test_equal_units_stay_identical(kernels):
    g = rng("equal")
    X, Y = g.standard_normal((3, 20)), (g.random((1, 20)) < 0.5) * 1.0
    parameters = [np.full((4, 3), 0.3), np.zeros((4, 1)), np.full((1, 4), 0.3), np.zeros((1, 1))]
    steps(kernels, parameters, X, Y, ["tanh"], "sigmoid", None)
    W1, b1, W2, _ = parameters
    assert (W1 != 0.3).all()
    for array, tolerance in ((W1, 64 * EPS), (b1, 64 * EPS), (W2.T, 64 * EPS)):
        tolerances.close(array, np.broadcast_to(array[:1], array.shape), tolerance)


def test_linear_hidden_layers_collapse_into_one(kernels):
    g = rng("collapse")
    W1, b1, W2, b2 = (g.standard_normal(shape) for shape in ((4, 3), (4, 1), (2, 4), (2, 1)))
    X = g.standard_normal((3, 5))
    _, A1 = kernels.layer_forward(W1, X, b1, "linear")
    deep = kernels.linear_forward(W2, A1, b2)
    tolerances.close(deep, kernels.linear_forward(W2 @ W1, X, W2 @ b1 + b2), 64 * EPS)


def test_one_relu_neuron_for_house_prices(kernels):
    """The price grows with the size and is never negative."""
    size = np.linspace(0.1, 1.0, 20).reshape(1, -1)
    parameters = [np.full((1, 1), 0.5), np.zeros((1, 1))]
    costs = steps(kernels, parameters, size, 2 * size, [], "relu", "squared_error", count=200)
    assert costs[-1] < 1e-3 * costs[0]
    assert (kernels.relu(kernels.linear_forward(parameters[0], size - 1, parameters[1])) >= 0).all()
