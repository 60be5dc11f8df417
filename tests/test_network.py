"""Network: what it computes, at once and in blocks of columns."""

import tracemalloc

import numpy as np
import pytest

from jitprop import Network, passes

RNG = np.random.default_rng(0)
X = RNG.normal(size=(5, 11))
LABELS = np.arange(11) % 3
WEIGHT = np.array([0, 1, 2, 0.5, 1, 1, 3, 0, 1, 0.25, 1])


def network(**options):
    return Network(
        [5, 6, 4, 3],
        **({"activation": "tanh", "seed": 3, "dtype": "float64", "kernels": "vectorized"} | options),
    )


def softmax(Z):
    exponentials = np.exp(Z - Z.max(axis=0))
    return exponentials / exponentials.sum(axis=0)


def by_hand(net, X):
    """The course's forward pass for `network()`."""
    A, caches = X, []
    for l, g in ((1, np.tanh), (2, np.tanh), (3, softmax)):
        Z = net.parameters[f"W{l}"] @ A + net.parameters[f"b{l}"]
        A = g(Z)
        caches.append((Z, A))
    return A, caches


def test_forward_is_the_course_s():
    net = network()
    A, caches = net.forward(X)
    expected, expected_caches = by_hand(net, X)
    np.testing.assert_allclose(A, expected, rtol=1e-13)
    assert len(caches) == 3 and caches[-1][1] is A
    for found, wanted in zip(caches, expected_caches, strict=True):
        for array, other in zip(found, wanted, strict=True):
            np.testing.assert_allclose(array, other, rtol=1e-13)
            assert array.flags.c_contiguous and not np.shares_memory(array, net.parameters.flat)


@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_cost_has_the_l2_term_of_the_weights_only(weight):
    net = network(l2=0.7)
    net.parameters["b1"] = np.full((6, 1), 100.0)
    A, _ = by_hand(net, X)
    w = np.ones(11) if weight is None else weight
    squares = sum((net.parameters[f"W{l}"] ** 2).sum() for l in (1, 2, 3))
    expected = -(w @ np.log(A[LABELS, np.arange(11)])) / w.sum() + 0.7 / (2 * w.sum()) * squares
    assert net.cost(X, LABELS, weight) == pytest.approx(expected, rel=1e-12)
    assert net.evaluate(X, LABELS, weight)["cost"] == pytest.approx(expected - 0.35 / w.sum() * squares, rel=1e-10)


def test_gradients_of_softmax_regression():
    net = Network([5, 3], l2=0.5, dtype="float64", seed=0, kernels="vectorized")
    W = net.parameters["W1"]
    dZ = softmax(W @ X) - np.eye(3)[:, LABELS]
    found = net.gradients(X, LABELS)
    assert list(found) == ["dW1", "db1"]
    np.testing.assert_allclose(found["dW1"], dZ @ X.T / 11 + 0.5 / 11 * W, rtol=1e-12)
    np.testing.assert_allclose(found["db1"], dZ.sum(axis=1, keepdims=True) / 11, rtol=1e-12)


def test_db_is_a_sum_over_examples_only():
    """The course's worked example: dZ = [[1, -2], [3, -4]] gives db = [[-0.5], [-0.5]]."""
    zeros = {"W1": np.zeros((2, 1)), "b1": np.zeros((2, 1))}
    net = Network([1, 2], output="linear", initialization=zeros, dtype="float64", kernels="vectorized")
    found = net.gradients([[1.0, 1.0]], -np.array([[1.0, -2.0], [3.0, -4.0]]))
    np.testing.assert_array_equal(found["db1"], [[-0.5], [-0.5]])


def test_dropout_acts_in_training_only():
    plain, dropping = network(), network(dropout=0.5)
    assert dropping.cost(X, LABELS) == plain.cost(X, LABELS)
    for name, gradient in plain.gradients(X, LABELS).items():
        assert (dropping.gradients(X, LABELS)[name] == gradient).all()


@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_blocks_give_the_same(monkeypatch, weight):
    """Blocks of 2, the last of 1, and one whose examples all have weight 0."""
    net = network(l2=0.3, output="softmax")
    weight = None if weight is None else np.where(np.arange(11) // 2 == 3, 0, weight)
    whole = [f(X, LABELS, weight) for f in (net.cost, net.evaluate, net.gradients)]
    A = net.predict_proba(X)
    monkeypatch.setattr(passes, "BLOCK_COLUMNS", (2, 2))
    cost, found, gradients = (f(X, LABELS, weight) for f in (net.cost, net.evaluate, net.gradients))
    assert cost == pytest.approx(whole[0], rel=1e-13)
    assert found == pytest.approx(whole[1], rel=1e-13)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(gradient, whole[2][name], rtol=1e-11, atol=1e-15)
    np.testing.assert_allclose(net.predict_proba(X), A, rtol=1e-13)


def test_a_block_tells_the_column_of_the_whole(monkeypatch):
    monkeypatch.setattr(passes, "BLOCK_COLUMNS", (2, 2))
    wrong = X.copy()
    wrong[4, 9] = np.inf
    with pytest.raises(ValueError, match=r"X\[4, 9\] is inf"):
        network().predict(wrong)


def test_block_widths_are_bounded():
    assert passes.block_columns(Network([2, 1], output="sigmoid").architecture) == 2**16
    assert passes.block_columns(Network([784, 128, 64, 10]).architecture) == 1024
    assert passes.block_columns(Network([100_000, 2], kernels="vectorized").architecture) == 64


def test_rows_in_a_file_are_not_copied(tmp_path):
    """The transpose of a memory map of (m, n_x): the memory that is needed does not grow with m."""
    m, n_x = 50_000, 200
    rows = np.memmap(tmp_path / "rows", np.float32, "w+", shape=(m, n_x))
    rows[:, 0] = np.arange(m) % 2
    net = Network([n_x, 1], output="sigmoid", seed=0, kernels="vectorized")
    y = rows[:, 0].copy()
    net.cost(rows.T[:, :10], y[:10])
    tracemalloc.start()
    try:
        assert net.predict(rows.T).shape == (1, m)
        net.evaluate(rows.T, y)
        net.gradients(rows.T, y)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 0.3 * rows.nbytes


def test_predictions_of_each_output():
    start = {"W1": [[2.0], [-1.0]], "b1": [[0.0], [0.5]]}
    inputs = [[-1.0, 0.0, 3.0]]
    Z = np.array([[-2.0, 0.0, 6.0], [1.5, 0.5, -2.5]])

    def net(output, loss=None):
        return Network([1, 2], output=output, loss=loss, initialization=start, kernels="vectorized")

    labels = net("sigmoid").predict(inputs)
    assert labels.dtype == np.int64
    np.testing.assert_array_equal(labels, [[0, 0, 1], [1, 1, 0]])  # exactly 1/2 is 0
    np.testing.assert_allclose(net("sigmoid").predict_proba(inputs), 1 / (1 + np.exp(-Z)), rtol=1e-6)
    classes = net("softmax").predict(inputs)
    assert classes.dtype == np.int64 and classes.shape == (3,)
    np.testing.assert_array_equal(classes, [1, 1, 0])
    np.testing.assert_allclose(net("softmax").predict_proba(inputs), softmax(Z), rtol=1e-6)
    np.testing.assert_allclose(net("linear").predict(inputs), Z)
    np.testing.assert_allclose(net("relu").predict(inputs), np.maximum(Z, 0))
    np.testing.assert_allclose(net("linear", "poisson").predict(inputs), np.exp(Z), rtol=1e-6)
    np.testing.assert_allclose(net("linear", "poisson").forward(inputs)[0], Z, rtol=1e-6)
    for output in ("linear", "relu"):
        with pytest.raises(ValueError, match=f"predict_proba needs output.*{output}"):
            net(output).predict_proba(inputs)


@pytest.mark.parametrize("kernels", ["jit", "vectorized", "loops"])
@pytest.mark.parametrize("output", ["linear", "sigmoid", "softmax"])
def test_a_network_that_diverged_answers_without_warnings(kernels, output):
    net = Network([5, 6, 4, 3], output=output, seed=3, kernels=kernels)
    for parameter in net.parameters.values():
        parameter[:] = 3e38
    Y = np.eye(3)[:, LABELS]
    assert not np.isfinite(net.evaluate(X, Y)["cost"]) and not np.isfinite(net.cost(X, Y))
    assert net.predict(X).shape[-1] == 11
    assert net.gradients(X, Y)["dW1"].shape == (6, 5)


def test_metrics_of_numbers():
    net = Network([1, 2], output="linear", initialization="zeros", dtype="float64", kernels="vectorized")
    net.parameters["b1"] = [[1.0], [2.0]]
    Y, w = np.array([[1.0, 2.0, 4.0], [2.0, 2.0, 2.0]]), np.array([1.0, 2.0, 1.0])
    mean = (w @ Y[0]) / 4
    r2 = 1 - (w @ (Y[0] - 1) ** 2) / (w @ (Y[0] - mean) ** 2)
    found = net.evaluate(np.zeros((1, 3)), Y, w)
    assert set(found) == {"cost", "r2", "mean_absolute_error"}
    assert found["r2"] == pytest.approx((r2 + 1) / 2)  # the second output is constant and met exactly
    assert found["mean_absolute_error"] == pytest.approx((2 * 1 / 2 + 3 / 2) / 4)
    assert net.evaluate(np.zeros((1, 3)), Y + [[0], [1]], w)["r2"] == pytest.approx(r2 / 2)


def test_accuracy_counts_labels():
    net = Network([1, 2], output="sigmoid", initialization="zeros", dtype="float64", kernels="vectorized")
    net.parameters["b1"] = [[1.0], [-1.0]]
    Y = np.array([[1, 1, 0], [0, 1, 1]])
    assert net.evaluate(np.zeros((1, 3)), Y)["accuracy"] == pytest.approx(3 / 6)
    assert net.evaluate(np.zeros((1, 3)), Y, [2, 1, 1])["accuracy"] == pytest.approx((2 * 1 + 0.5 + 0) / 4)


def test_targets_in_every_form_mean_the_same():
    net = network()
    forms = [LABELS, LABELS[np.newaxis], LABELS.astype(float), LABELS.astype(np.uint8), list(LABELS)]
    assert len({net.cost(X, Y) for Y in forms}) == 1
    assert net.cost(X, np.eye(3)[:, LABELS]) == pytest.approx(net.cost(X, LABELS), rel=1e-14)
    squared = network(loss="squared_error")
    assert squared.cost(X, LABELS) == squared.cost(X, np.eye(3)[:, LABELS])
    logistic = Network([5, 1], output="sigmoid", seed=0, kernels="vectorized")
    labels = LABELS > 0
    assert len({logistic.cost(X, Y) for Y in (labels, labels[np.newaxis], labels.astype(int), labels * 1.0)}) == 1


def test_inputs_of_any_kind_of_number():
    net = network(dtype="float32")
    whole = np.round(X * 10)
    expected = net.predict_proba(whole)
    for form in (
        whole.astype(np.int8),
        whole.astype(np.float32).T.copy().T,
        whole.tolist(),
        whole.astype(">f8"),
    ):
        np.testing.assert_array_equal(net.predict_proba(form), expected)
    assert net.predict_proba(X > 0).dtype == np.float32
    np.testing.assert_array_equal(net.predict_proba(np.repeat(whole, 2, axis=1)[:, ::2]), expected)


@pytest.mark.parametrize("kernels", ["loops", "jit"])
def test_columns_predicted_together_do_not_matter(kernels):
    net = network(kernels=kernels, dtype="float32")
    together = net.predict_proba(X)
    for j in range(11):
        assert (net.predict_proba(X[:, j : j + 1])[:, 0] == together[:, j]).all()
