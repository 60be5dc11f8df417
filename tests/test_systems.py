"""Systems 1 to 5 of the course learn in all three kernel sets, on data that are made here."""

import numpy as np
import pytest

from jitprop import SGD, Adam, Network

KERNELS = ("loops", "vectorized", "jit")
every_set = pytest.mark.parametrize("kernels", KERNELS)


def halves(X, Y):
    """Every other example to train on, the others to test with."""
    return (X[:, ::2], Y[:, ::2]), (X[:, 1::2], Y[:, 1::2])


def separable(seed=0, n_x=6, m=120):
    """Points on both sides of a plane, with a gap."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_x, m))
    w = rng.normal(size=(n_x, 1))
    side = np.sign(w.T @ X)
    return X + 0.3 * side * w / np.linalg.norm(w), (side + 1) / 2


def petals(seed=0, m=160, count=4):
    """A rose with petals of alternating labels, as in week 3; no straight line separates them."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 2 * np.pi, m)
    radius = np.abs(np.sin(count / 2 * angle)) * rng.uniform(0.6, 1.0, m)
    label = np.floor(angle / (2 * np.pi / count)) % 2
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)]), label[np.newaxis]


def rings(seed=0, m=200):
    """A disc inside a ring."""
    rng = np.random.default_rng(seed)
    angle, inside = rng.uniform(0, 2 * np.pi, m), rng.integers(0, 2, m)
    radius = np.where(inside, rng.uniform(0, 0.8, m), rng.uniform(1.2, 2.0, m))
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)]), inside[np.newaxis]


@every_set
def test_1_logistic_regression(kernels):
    (X, Y), held_out = halves(*separable())
    net = Network([6, 1], output="sigmoid", initialization="zeros", dtype="float64", kernels=kernels)
    history = net.fit(X, Y, epochs=150, optimizer=SGD(0.5), verbose=False)
    assert history.cost[0] == pytest.approx(np.log(2), rel=1e-12)  # zeros say 1/2 to every example
    assert (np.diff(history.cost) < 0).all()
    assert history.cost[-1] < 0.25
    assert net.evaluate(*held_out)["accuracy"] > 0.9


@every_set
def test_1_is_gradient_descent_as_the_course_writes_it(kernels):
    (X, Y), _ = halves(*separable(seed=3))
    net = Network([6, 1], output="sigmoid", initialization="zeros", dtype="float64", kernels=kernels)
    net.fit(X, Y, epochs=5, optimizer=SGD(0.1), verbose=False)
    w, b, m = np.zeros((6, 1)), 0.0, X.shape[1]
    for _ in range(5):
        A = 1 / (1 + np.exp(-(w.T @ X + b)))
        dZ = A - Y
        w -= 0.1 * (X @ dZ.T / m)
        b -= 0.1 * (np.sum(dZ) / m)
    np.testing.assert_allclose(net.parameters["W1"], w.T, rtol=1e-12)
    np.testing.assert_allclose(net.parameters["b1"], b, rtol=1e-12)


@every_set
def test_2_house_prices_with_a_linear_output(kernels):
    """Prices that are an affine function of size and rooms are found exactly."""
    X = np.random.default_rng(1).normal(size=(2, 40))
    Y = np.array([[3.0, -2.0]]) @ X + 5.0
    net = Network([2, 1], output="linear", dtype="float64", seed=0, kernels=kernels)
    net.fit(X, Y, epochs=200, optimizer=SGD(0.2), verbose=False)
    np.testing.assert_allclose(net.parameters["W1"], [[3.0, -2.0]], atol=1e-6)
    np.testing.assert_allclose(net.parameters["b1"], [[5.0]], atol=1e-6)
    assert net.evaluate(X, Y)["r2"] == pytest.approx(1.0)


@every_set
def test_2_house_prices_with_one_relu_neuron(kernels):
    """A price is never negative: below some size it is 0, which no straight line fits."""
    size = np.linspace(-1, 2, 60)[np.newaxis]
    price = np.maximum(0, 1.5 * size)
    start = {"W1": [[0.5]], "b1": [[0.5]]}
    relu = Network([1, 1], output="relu", initialization=start, dtype="float64", kernels=kernels)
    line = Network([1, 1], output="linear", initialization=start, dtype="float64", kernels=kernels)
    for net in (relu, line):
        net.fit(size, price, epochs=400, optimizer=SGD(0.3), verbose=False)
    assert (relu.predict(size) >= 0).all() and (line.predict(size) < 0).any()
    assert relu.evaluate(size, price)["r2"] > 0.999 > 0.95 > line.evaluate(size, price)["r2"]


@every_set
def test_3_shallow_network_on_petals(kernels):
    training, held_out = halves(*petals())
    shallow = Network([2, 4, 1], activation="tanh", output="sigmoid", dtype="float64", seed=0, kernels=kernels)
    logistic = Network([2, 1], output="sigmoid", dtype="float64", seed=0, kernels=kernels)
    for net in (shallow, logistic):
        net.fit(*training, epochs=200, optimizer=Adam(0.1), verbose=False)
    assert shallow.evaluate(*held_out)["accuracy"] > 0.9
    assert logistic.evaluate(*held_out)["accuracy"] < 0.75


@every_set
def test_4_deep_network(kernels):
    training, held_out = halves(*rings())
    deep = Network([2, 8, 6, 4, 1], output="sigmoid", seed=1, kernels=kernels)
    history = deep.fit(*training, epochs=60, batch_size=16, optimizer=Adam(0.02), verbose=False)
    assert history.cost[-1] < 0.1 * history.cost[0]
    assert deep.evaluate(*held_out)["accuracy"] > 0.95


@every_set
def test_5_many_classes(kernels):
    rng = np.random.default_rng(5)
    classes = np.arange(150) % 5
    X = 3 * np.stack([np.cos(classes * 1.2566), np.sin(classes * 1.2566)]) + 0.5 * rng.normal(size=(2, 150))
    training, (X_test, Y_test) = halves(X, classes[np.newaxis])
    net = Network([2, 10, 5], seed=0, kernels=kernels)
    net.fit(*training, epochs=40, batch_size=25, optimizer=Adam(0.05), verbose=False)
    assert net.predict(X_test).shape == (75,)
    assert (net.predict(X_test) == Y_test[0]).mean() > 0.95
    np.testing.assert_allclose(net.predict_proba(X_test).sum(axis=0), 1, rtol=1e-5)
    by_index, by_column = (net.evaluate(X_test, Y) for Y in (Y_test[0], np.eye(5)[:, Y_test[0]]))
    # A loss is a difference of logits near 10 in float32, whatever the form of the targets.
    assert by_column == pytest.approx(by_index, abs=10 * float(np.finfo(np.float32).eps))


def test_the_three_sets_take_the_same_way():
    """Ten steps in float64 from the same seed: what differs is the order of sums, by some eps."""
    (X, Y), _ = halves(*rings(seed=4))
    found = {}
    for kernels in KERNELS:
        net = Network(
            [2, 7, 5, 1], activation=["tanh", "silu"], output="sigmoid", l2=0.01, dropout=0.2,
            dtype="float64", seed=9, kernels=kernels,
        )  # fmt: skip
        net.fit(X, Y, epochs=2, batch_size=20, optimizer=Adam(0.01), verbose=False)
        assert net.steps_trained == 10
        found[kernels] = net.parameters
    for name in found["loops"]:
        for kernels in ("vectorized", "jit"):
            np.testing.assert_allclose(found[kernels][name], found["loops"][name], rtol=1e-9, atol=1e-12)


@every_set
def test_equal_hidden_units_stay_equal(kernels):
    """Why parameters are drawn: with equal values a layer of any width is one unit."""
    (X, Y), _ = halves(*petals())
    net = Network(
        [2, 4, 1],
        activation="tanh",
        output="sigmoid",
        initialization="constant(0.5)",
        dtype="float64",
        kernels=kernels,
    )
    net.fit(X, Y, epochs=20, optimizer=SGD(0.5), verbose=False)
    W1, W2 = net.parameters["W1"], net.parameters["W2"]
    assert not np.allclose(W1, 0.5)
    np.testing.assert_allclose(W1, np.broadcast_to(W1[:1], W1.shape), rtol=1e-12)
    np.testing.assert_allclose(W2, np.broadcast_to(W2[:, :1], W2.shape), rtol=1e-12)
