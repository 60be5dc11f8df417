"""Updates, and training of the three sets against that of the loops: ten steps of everything there is."""

import importlib

import numpy as np
import pytest
import tolerances
from cases import DTYPES, HEADS, NETWORKS, SETS, normal, parameters, rng, sample_weights, targets, wide

from jitprop_kernels import loops
from jitprop_kernels.contract import ACTIVATIONS, COEFFICIENTS, RULES


@pytest.fixture(params=SETS)
def kernels(request):
    return importlib.import_module(f"jitprop_kernels.{request.param}")


@pytest.fixture(params=DTYPES)
def dtype(request):
    return request.param


def rows(rule, steps, rate=0.05, decay=1.0, l2=0.0, step=0, clip_value=np.inf, clip_norm=np.inf):
    """Coefficients as an optimizer makes them: torch's SGD with momentum, RMSProp and Adam."""
    table = np.zeros((steps, len(COEFFICIENTS)))
    column = {name: table[:, k] for k, name in enumerate(COEFFICIENTS)}
    t = step + np.arange(1, steps + 1)
    column["step"][:] = t
    column["rate"][:], column["decay"][:], column["l2"][:] = rate, decay, l2
    column["gradient_share"][:] = 1.0
    column["clip_value"][:], column["clip_norm"][:] = clip_value, clip_norm
    if rule in ("momentum", "adam"):
        column["beta1"][:], column["gain1"][:] = 0.9, 0.1 if rule == "adam" else 1.0
        column["momentum_share"][:], column["gradient_share"][:] = 1.0, 0.0
    if rule in ("rmsprop", "adam"):
        column["beta2"][:], column["gain2"][:], column["epsilon"][:] = 0.99, 0.01, 1e-3
    if rule == "adam":
        column["rate"][:] = rate * np.sqrt(1 - 0.99**t) / (1 - 0.9**t)
    return table


@pytest.mark.parametrize("rule", RULES)
def test_update(kernels, dtype, rule):
    for shape in ((1, 1), (7, 33), (16, 5)):
        g = rng("update", shape)
        parameter = normal(g, shape, dtype, padded=True)
        state = [np.abs(normal(g, shape, dtype)) for _ in RULES[rule].slots]
        expected, expected_state = wide(parameter)[0], wide(*state)
        for row in rows(rule, 3, decay=0.99, l2=0.1):
            gradient = normal(g, shape, dtype)
            assert kernels.update(parameter, gradient, state, row, rule) is None
            loops.update(expected, *wide(gradient), expected_state, row, rule)
        # Sums of a few terms that are of the size of 1 to 10 in three steps.
        size = 3 * 8 * tolerances.eps(dtype) * (10 + np.abs(expected))
        tolerances.close(parameter, expected, size)
        for actual, reference in zip(state, expected_state, strict=True):
            tolerances.close(actual, reference, size + 24 * tolerances.eps(dtype) * np.abs(reference))


class Training:
    """A small network, its data and the arguments of train_epoch, the same for every set."""

    def __init__(
        self, units, activation, output, loss, rule="sgd", m=13, batch_size=5, steps=10, dtype="float64"
    ):
        g = rng("training", units, output, loss)
        self.units, self.batch_size, self.dtype = units, batch_size, dtype
        self.parameters = parameters(g, units, dtype)
        self.parameters[-1] += 1  # or else outputs of relu would rest at 0
        X = normal(g, (units[0], m), dtype)
        self.state = [[np.zeros_like(p) for p in self.parameters] for _ in RULES[rule].slots]
        self.arguments = {
            "X": X,
            "Y": targets(g, output, loss, (units[-1], m), dtype),
            "order": g.integers(0, m, steps * batch_size - 2),  # so the last batch is smaller
            "batch_size": batch_size,
            "activations": [activation] * (len(units) - 2),
            "output": output,
            "loss": loss,
            "rule": rule,
            "coefficients": rows(rule, steps),
        }

    def run(self, kernels, **changes):
        """Costs, parameters and state of a run that leaves this object as it was."""
        arrays = [p.copy() for p in self.parameters]
        state = [[p.copy() for p in slot] for slot in self.state]
        costs = kernels.train_epoch(arrays, state=state, **(self.arguments | changes))
        assert isinstance(costs, np.ndarray) and costs.dtype == np.float64
        return costs, arrays, [array for slot in state for array in slot]

    def check(self, kernels, **changes):
        """Costs, parameters and state after ten steps agree with those of the loops."""
        actual, expected = self.run(kernels, **changes), self.run(loops, **changes)
        rtol = tolerances.training(self.units, self.batch_size, len(expected[0]), self.dtype)
        tolerances.close(actual[0], expected[0], rtol * (1 + np.abs(expected[0])))
        for arrays, references in zip(actual[1:], expected[1:], strict=True):
            for array, reference in zip(arrays, references, strict=True):
                assert array.dtype == self.dtype
                tolerances.close(array, reference, rtol * (1 + np.abs(reference)))
        assert any((a != b).any() for a, b in zip(actual[1], self.parameters, strict=True))


@pytest.mark.parametrize("output, loss", HEADS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_training(kernels, activation, output, loss):
    """Ten steps of every activation with every loss, at three depths, a rule each."""
    if kernels is loops:
        return
    for units, rule in (((3, 4, 2), "sgd"), ((2, 5, 3, 2), "momentum"), ((3, 2, 4, 3, 2), "adam")):
        Training(units, activation, output, loss, rule).check(kernels)


OPTIONS = {
    "whole batch in order": {"order": None, "batch_size": 13, "coefficients": rows("adam", 1)},
    "in order, last batch smaller": {"order": None, "coefficients": rows("adam", 3)},
    "batches of one": {"batch_size": 1, "order": np.arange(9), "coefficients": rows("adam", 9)},
    "L2 and decay": {"l2": 0.3, "coefficients": rows("adam", 10, decay=0.99)},
    "dropout": {"dropout": (0.2, 0.5), "key": 2**32 - 5},
    "dropout of a hidden layer": {"dropout": (0.0, 0.4), "key": 3},
    "sample weights": {"sample_weight": sample_weights(rng("weights"), 13, "float64")},
    "everything": {
        "l2": 0.1, "dropout": (0.1, 0.3), "key": 11,
        "sample_weight": sample_weights(rng("weights"), 13, "float64"),
    },
}  # fmt: skip


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("head", [("softmax", "cross_entropy"), ("linear", "huber")], ids="-".join)
def test_training_options(kernels, option, head):
    changes = OPTIONS[option]
    training = Training((7, 17, 3), "relu", *head, rule="adam")
    training.check(kernels, **changes)
    fortran = training.run(kernels, **changes, X=np.asfortranarray(training.arguments["X"]))
    whole = training.run(kernels, **changes)
    assert [a.tobytes() for a in (fortran[0], *fortran[1])] == [a.tobytes() for a in (whole[0], *whole[1])]


@pytest.mark.parametrize("units", NETWORKS, ids=lambda units: "-".join(map(str, units)))
@pytest.mark.parametrize("rule", RULES)
def test_training_of_networks(kernels, units, rule):
    for dtype in DTYPES:
        Training(units, "tanh", "sigmoid", "binary_cross_entropy", rule, steps=4, dtype=dtype).check(kernels)


def test_training_with_class_indices(kernels):
    training = Training((3, 4, 3), "tanh", "softmax", "cross_entropy")
    classes = rng("classes").integers(0, 3, (1, 13))
    training.check(kernels, Y=classes)
    one_hot = np.eye(3)[classes[0]].T.copy()
    rtol = tolerances.training(training.units, 5, 10, "float64")
    tolerances.close(training.run(kernels, Y=classes)[0], training.run(kernels, Y=one_hot)[0], rtol)


def test_slices_equal_the_whole(kernels):
    """Two calls with the halves of an epoch's steps give its bits, dropout and optimizer state included."""
    training = Training((3, 4, 4, 2), "relu", "linear", "squared_error", rule="adam", batch_size=4)
    a = training.arguments
    options = {"l2": 0.1, "dropout": (0.1, 0.3, 0.2), "key": 9}
    costs, arrays, state = training.run(kernels, **options)
    parts, slots = (
        [p.copy() for p in training.parameters],
        [[p.copy() for p in slot] for slot in training.state],
    )
    halves = [
        kernels.train_epoch(
            parts, state=slots, **(a | options | {"order": a["order"][of], "coefficients": rows_})
        )
        for of, rows_ in ((slice(0, 16), a["coefficients"][:4]), (slice(16, None), a["coefficients"][4:]))
    ]
    assert np.concatenate(halves).tobytes() == costs.tobytes()
    flat = [array for slot in slots for array in slot]
    assert [p.tobytes() for p in parts + flat] == [p.tobytes() for p in arrays + state]


@pytest.mark.parametrize("options", [{}, {"dropout": [0.2, 0.3], "l2": 0.1}], ids=["plain", "options"])
@pytest.mark.parametrize("m", [3, 13, 70])
def test_steps_on_all_examples_go_together(kernels, m, options):
    training = Training((4, 5, 2), "tanh", "linear", "squared_error", "adam", m=m)
    full = options | {"order": None, "batch_size": m}
    whole = training.run(kernels, **full, coefficients=rows("adam", 4))
    for step in range(4):
        costs, training.parameters, state = training.run(
            kernels, **full, coefficients=rows("adam", 4)[step : step + 1]
        )
        assert costs.tolist() == [whole[0][step]]
        training.state = [state[: len(state) // 2], state[len(state) // 2 :]]
    assert all(np.array_equal(*pair) for pair in zip(training.parameters, whole[1], strict=True))
    if kernels is not loops:
        training.check(kernels, **full, coefficients=rows("adam", 4))


def test_l2_touches_weights_only(kernels):
    """With no gradient of the loss, a step of L2 shrinks weights by rate l2 / m and leaves biases."""
    training = Training((2, 3, 1), "linear", "linear", "squared_error")
    X = np.zeros((2, 4))
    W1, b1, W2, b2 = training.parameters
    Y = np.repeat(W2 @ b1 + b2, 4, axis=1)
    costs, arrays, _ = training.run(
        kernels, X=X, Y=Y, order=None, batch_size=4, coefficients=rows("sgd", 1, rate=0.1, decay=0.9), l2=2.0
    )
    squares = (W1**2).sum() + (W2**2).sum()
    tolerances.close(costs, [2.0 / 8 * squares], 32 * tolerances.eps("float64") * squares)
    for array, before, factor in zip(
        arrays, training.parameters, (0.9 - 0.05, 1, 0.9 - 0.05, 1), strict=True
    ):
        tolerances.close(array, factor * before, 16 * tolerances.eps("float64") * (1 + np.abs(before)))


def test_batch_without_weight_changes_nothing(kernels):
    training = Training((3, 4, 1), "relu", "linear", "squared_error", rule="adam")
    weights = np.zeros((1, 13))
    weights[0, 10:] = 1.0
    changes = {"sample_weight": weights, "order": np.arange(13), "l2": 0.5}
    costs, arrays, state = training.run(kernels, **changes, coefficients=rows("adam", 3))
    assert costs[:2].tolist() == [0.0, 0.0] and costs[2] > 0
    last = {
        "sample_weight": weights,
        "order": np.arange(10, 13),
        "l2": 0.5,
        "coefficients": rows("adam", 3)[2:],
    }
    _, expected, expected_state = training.run(kernels, **last)
    assert [a.tobytes() for a in arrays + state] == [a.tobytes() for a in expected + expected_state]


@pytest.mark.parametrize("rate", [1e200, 1e308])
def test_cost_that_is_not_finite_stops_before_the_update(kernels, rate):
    training = Training((3, 4, 2), "relu", "linear", "squared_error")
    table = rows("sgd", 10)
    table[3, COEFFICIENTS.index("rate")] = rate
    costs, arrays, _ = training.run(kernels, coefficients=table)
    assert len(costs) == 5 and np.isfinite(costs[:4]).all() and not np.isfinite(costs[4])
    _, before, _ = training.run(kernels, coefficients=table[:4], order=training.arguments["order"][:20])
    assert [a.tobytes() for a in arrays] == [a.tobytes() for a in before]


def test_nan_in_the_data_stops_the_first_step(kernels):
    training = Training((3, 4, 2), "relu", "softmax", "cross_entropy")
    X = training.arguments["X"].copy()
    X[1, training.arguments["order"][2]] = np.nan
    costs, arrays, _ = training.run(kernels, X=X)
    assert len(costs) == 1 and np.isnan(costs[0])
    assert [a.tobytes() for a in arrays] == [a.tobytes() for a in training.parameters]
