"""Clipping of gradients by value and by global norm: against formulas written out here, and bit by bit."""

import importlib
import itertools

import numpy as np
import pytest
import tolerances
from cases import DTYPES, HEADS, NETWORKS, SETS, normal, rng, sample_weights, wide
from test_train_epoch import Training, rows

from jitprop import SGD, Adam, AdamW, Checkpoint, Network, RMSProp
from jitprop_kernels import jit, loops, vectorized
from jitprop_kernels.composition import complete
from jitprop_kernels.contract import ACTIVATIONS, COEFFICIENTS, RULES

INF = np.inf


@pytest.fixture(params=SETS)
def kernels(request):
    return importlib.import_module(f"jitprop_kernels.{request.param}")


@pytest.fixture(params=DTYPES)
def dtype(request):
    return request.param


def same(left, right):
    """Whether two results of `Training.run` have the same bits."""
    left, right = ([array.tobytes() for array in (costs, *arrays, *state)] for costs, arrays, state in (left, right))
    return left == right


# A reference of its own: a network of tanh layers with a linear output and the squared error, in float64.


def gradients(parameters, X, Y, weights, l2=0.0):
    """dW1, db1, ... of sum_j w_j 1/2 |a_j - y_j|^2 / sum w + l2 / (2 sum w) |W|^2."""
    A, total = [X], weights.sum()
    for l in range(0, len(parameters), 2):
        Z = parameters[l] @ A[-1] + parameters[l + 1]
        A.append(Z if l + 2 == len(parameters) else np.tanh(Z))
    dZ, found = (A[-1] - Y) * weights / total, []
    for l in range(len(parameters) - 2, -1, -2):
        found = [dZ @ A[l // 2].T + l2 / total * parameters[l], dZ.sum(axis=1, keepdims=True), *found]
        dZ = (1 - A[l // 2] ** 2) * (parameters[l].T @ dZ)
    return found


def by_value(found, clip_value):
    return [np.minimum(np.maximum(g, -clip_value), clip_value) for g in found]


def norm_of(found):
    return np.linalg.norm(np.concatenate([g.ravel() for g in found]))


def by_norm(found, clip_norm):
    norm = norm_of(found)
    return [g * (clip_norm / norm) for g in found] if norm > clip_norm else found


def step(parameters, state, found, row, rule):
    """One update of all parameters with the gradients `found`, which are clipped already."""
    c = dict(zip(COEFFICIENTS, row.tolist(), strict=True))
    slots = dict(zip(RULES[rule].slots, state, strict=True))
    for p, (parameter, g) in enumerate(zip(parameters, found, strict=True)):
        direction = c["gradient_share"] * g
        if "m" in slots:
            slots["m"][p][:] = c["beta1"] * slots["m"][p] + c["gain1"] * g
            direction = direction + c["momentum_share"] * slots["m"][p]
        if "v" in slots:
            slots["v"][p][:] = c["beta2"] * slots["v"][p] + c["gain2"] * g**2
            direction = direction / (np.sqrt(slots["v"][p]) + c["epsilon"])
        parameter[:] = (1.0 if p % 2 else c["decay"]) * parameter - c["rate"] * direction


def reference(training, table, l2, weights):
    """Parameters and state after the steps of `table`, and of each step the largest g and the norm before it is cut."""
    a = training.arguments
    parameters, state = wide(*training.parameters), [wide(*slot) for slot in training.state]
    X, Y = wide(a["X"], a["Y"])
    seen = []
    for s, row in enumerate(table):
        batch = a["order"][s * training.batch_size : (s + 1) * training.batch_size]
        found = gradients(parameters, X[:, batch], Y[:, batch], wide(weights[:, batch])[0], l2)
        clip_value, clip_norm = row[COEFFICIENTS.index("clip_value")], row[COEFFICIENTS.index("clip_norm")]
        largest, found = max(np.abs(g).max() for g in found), by_value(found, clip_value)
        seen.append((largest, norm_of(found)))
        step(parameters, state, by_norm(found, clip_norm), row, a["rule"])
    return parameters, [array for slot in state for array in slot], np.array(seen)


@pytest.mark.parametrize("units", NETWORKS, ids=lambda units: "-".join(map(str, units)))
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", ["value", "norm", "value and norm"])
def test_against_the_formulas(kernels, kind, rule, units):
    """Limits that some steps reach and others do not, without and with L2 and sample weights."""
    for dtype, (l2, weighted) in itertools.product(DTYPES, ((0.0, False), (0.7, True))):
        training = Training(units, "tanh", "linear", "squared_error", rule, steps=6, dtype=dtype)
        weights = sample_weights(rng("weights"), 13, dtype) if weighted else np.ones((1, 13), dtype)
        options = {"decay": 0.99}
        if "value" in kind:
            largest = reference(training, rows(rule, 6, **options), l2, weights)[2][:, 0]
            options["clip_value"] = np.sort(largest)[2:4].mean()
        if "norm" in kind:
            norms = reference(training, rows(rule, 6, **options), l2, weights)[2][:, 1]
            options["clip_norm"] = np.sort(norms)[2:4].mean()
        table = rows(rule, 6, **options)
        *expected, seen = reference(training, table, l2, weights)
        for column, name in enumerate(("clip_value", "clip_norm")):
            if name in options:
                assert (seen[:, column] > options[name]).any()
                assert (seen[:, column] < options[name]).any() or kind == "value and norm"
        _, *actual = training.run(
            kernels, coefficients=table, l2=l2, sample_weight=weights if weighted else None
        )
        rtol = tolerances.training(units, 5, 6, dtype)
        for arrays, references in zip(actual, expected, strict=True):
            for array, exact in zip(arrays, references, strict=True):
                assert array.dtype == dtype
                tolerances.close(array, exact, rtol * (1 + np.abs(exact)))


CLIPS = {"clip_value": 0.02, "clip_norm": 0.1}


@pytest.mark.parametrize("output, loss", HEADS)
def test_every_output_and_loss(kernels, output, loss):
    """As the loops do it, and otherwise than without clipping."""
    for units, rule in (((3, 4, 2), "sgd"), ((2, 5, 3, 2), "momentum"), ((3, 2, 4, 3, 2), "adam")):
        training = Training(units, "tanh", output, loss, rule)
        clips = rows(rule, 10, **CLIPS)
        if kernels is not loops:
            training.check(kernels, coefficients=clips)
        assert not same(training.run(kernels), training.run(kernels, coefficients=clips))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_and_option(kernels, activation):
    if kernels is loops:
        return
    weights = sample_weights(rng("weights"), 13, "float64")
    for options in (
        {"order": None, "batch_size": 13, "coefficients": rows("adam", 1, **CLIPS)},
        {"order": None, "l2": 0.3, "coefficients": rows("adam", 3, **CLIPS)},
        {"l2": 0.1, "dropout": (0.1, 0.3), "key": 11, "sample_weight": weights},
    ):
        training = Training((7, 17, 3), activation, "softmax", "cross_entropy", rule="adam")
        training.check(kernels, **{"coefficients": rows("adam", 10, decay=0.99, **CLIPS)} | options)


def test_the_two_in_exact_numbers(kernels, dtype):
    """One weight and one bias with the gradient (3, 4), whose norm is 5; every number here is exact."""
    X, Y = np.array([[0.75]], dtype), np.array([[-4.0]], dtype)

    def after(clip_value, clip_norm):
        W, b = np.zeros((1, 1), dtype), np.zeros((1, 1), dtype)
        table = rows("sgd", 1, rate=1.0, clip_value=clip_value, clip_norm=clip_norm)
        kernels.train_epoch([W, b], X, Y, None, 1, [], "linear", "squared_error", "sgd", [], table)
        return -W.item(), -b.item()

    assert after(INF, INF) == after(4.0, 5.0) == (3.0, 4.0)
    assert after(3.5, INF) == (3.0, 3.5)
    assert after(2.0, INF) == (2.0, 2.0)
    assert after(INF, 2.5) == (1.5, 2.0)
    assert after(INF, 1.25) == (0.75, 1.0)
    # The value first: (2, 2) has the norm sqrt(8), so that 3 leaves it, and cutting (3, 4) to 2.5 first would not.
    assert after(2.0, 3.0) == (2.0, 2.0)
    both = after(2.0, 2.0)
    assert both[0] == both[1] and abs(both[0] - np.sqrt(2.0)) <= 2 * tolerances.eps(dtype)


def test_decay_is_not_in_the_norm(kernels):
    """The gradient is (3, 4) with or without a decay, which is applied in full."""
    W, b = np.full((1, 1), 4.0), np.full((1, 1), -3.0)
    table = rows("sgd", 1, rate=1.0, decay=0.5, clip_norm=2.5)
    X, Y = np.array([[0.75]]), np.array([[-4.0]])
    kernels.train_epoch([W, b], X, Y, None, 1, [], "linear", "squared_error", "sgd", [], table)
    assert (W.item(), b.item()) == (2.0 - 1.5, -3.0 - 2.0)


def test_convention_of_torch(kernels):
    """clip_grad_value_ is ours; clip_grad_norm_ multiplies by clip_norm / (norm + 1e-6), ours by clip_norm / norm."""
    training = Training((7, 17, 3), "tanh", "linear", "squared_error", steps=1)
    a = training.arguments
    X, Y = (a[name][:, a["order"]] for name in ("X", "Y"))
    found = gradients(training.parameters, X, Y, np.ones((1, X.shape[1])), l2=0.5)  # L2 in the loss, as in ours
    rounding = tolerances.training(training.units, 5, 1, "float64")

    def moved(**clips):
        _, arrays, _ = training.run(kernels, coefficients=rows("sgd", 1, rate=1.0, **clips), l2=0.5)
        return [before - after for before, after in zip(training.parameters, arrays, strict=True)]

    for mine, g in zip(moved(clip_value=0.05), found, strict=True):
        tolerances.close(mine, np.clip(g, -0.05, 0.05), rounding)
    norm = norm_of(found)
    assert norm > 0.5
    difference = 0.0
    for mine, g in zip(moved(clip_norm=0.5), found, strict=True):
        tolerances.close(mine, g * (0.5 / norm), rounding)
        torch = g * min(1.0, 0.5 / (norm + 1e-6))
        tolerances.close(mine, torch * (1 + 1e-6 / norm), rounding)
        difference = max(difference, np.abs(mine - torch).max())
    assert 100 * rounding < difference < 1e-6 / norm


@pytest.mark.parametrize("rule", RULES)
def test_limits_that_are_not_reached_change_no_bit(kernels, dtype, rule):
    training = Training((7, 17, 3), "relu", "softmax", "cross_entropy", rule, dtype=dtype)
    options = {"l2": 0.1, "dropout": (0.1, 0.3), "key": 11}
    without = training.run(kernels, **options)
    if kernels is jit and rule == "sgd":  # takes the step in the tile where nothing is clipped, and rounds otherwise
        without = training.run(kernels, **options, coefficients=rows(rule, 10, clip_value=1e10))
    for clips in ({"clip_value": 100.0}, {"clip_norm": 1000.0}, {"clip_value": 1e30, "clip_norm": 1e300}):
        table = rows(rule, 10, **clips)
        assert same(without, training.run(kernels, **options, coefficients=table))
        table[::2] = rows(rule, 10)[::2]  # steps with and without a limit in one call
        assert same(without, training.run(kernels, **options, coefficients=table))


def test_slices_equal_the_whole(kernels, dtype):
    """Calls with parts of an epoch's steps give its bits."""
    training = Training((3, 4, 4, 2), "relu", "linear", "squared_error", "adam", batch_size=4, dtype=dtype)
    table, order = rows("adam", 10, **CLIPS), training.arguments["order"]
    options = {"l2": 0.1, "dropout": (0.1, 0.3, 0.2), "key": 9}
    costs, arrays, state = training.run(kernels, coefficients=table, **options)
    parts, slots = [p.copy() for p in training.parameters], [[p.copy() for p in s] for s in training.state]
    pieces = [
        kernels.train_epoch(
            parts, state=slots,
            **(training.arguments | options | {"order": order[4 * a : 4 * b], "coefficients": table[a:b]}),
        )
        for a, b in ((0, 1), (1, 5), (5, 10))
    ]  # fmt: skip
    assert same((costs, arrays, state), (np.concatenate(pieces), parts, [a for slot in slots for a in slot]))


def test_each_step_has_its_own_limits(kernels):
    training = Training((3, 4, 2), "tanh", "linear", "squared_error", "momentum", steps=4)
    table = np.concatenate([rows("momentum", 4, **CLIPS)[:2], rows("momentum", 4)[2:]])
    training.check(kernels, coefficients=table)
    assert not same(training.run(kernels, coefficients=table), training.run(kernels))


def test_batch_without_weight_changes_nothing(kernels):
    training = Training((3, 4, 1), "relu", "linear", "squared_error", "adam")
    table, weights = rows("adam", 3, **CLIPS), np.zeros((1, 13))
    weights[0, 10:] = 1.0
    _, *all_three = training.run(kernels, sample_weight=weights, order=np.arange(13), coefficients=table)
    _, *last = training.run(kernels, sample_weight=weights, order=np.arange(10, 13), coefficients=table[2:])
    assert same((weights, *all_three), (weights, *last))


# Numbers that are not finite, and huge ones


@pytest.mark.parametrize("rule", RULES)
def test_update(kernels, dtype, rule):
    """By value, number by number; the limit of the norm is not read."""
    for shape in ((1, 1), (7, 33), (16, 5)):
        g = rng("clipped update", shape)
        parameter, gradient = normal(g, shape, dtype, padded=True), normal(g, shape, dtype)
        state = [np.abs(normal(g, shape, dtype)) for _ in RULES[rule].slots]
        expected, slots = wide(parameter)[0], wide(*state)
        found = by_value([wide(gradient)[0] + 0.5 * expected], 0.25)
        assert (np.abs(found[0]) == 0.25).any() or shape == (1, 1)
        row = rows(rule, 1, l2=0.5, decay=0.9, clip_value=0.25)[0]
        step([expected], [[slot] for slot in slots], found, row, rule)
        other, other_state = parameter.copy(), [slot.copy() for slot in state]
        kernels.update(parameter, gradient, state, row, rule)
        size = 8 * tolerances.eps(dtype) * (10 + np.abs(expected))
        for actual, exact in zip((parameter, *state), (expected, *slots), strict=True):
            tolerances.close(actual, exact, size)
        row[COEFFICIENTS.index("clip_norm")] = 1e-6
        kernels.update(other, gradient, other_state, row, rule)
        assert [a.tobytes() for a in (parameter, *state)] == [a.tobytes() for a in (other, *other_state)]


def test_update_with_numbers_that_are_not_finite(kernels, dtype):
    """An infinity is held at the limit, and a nan stays one."""
    parameter = np.zeros((1, 35), dtype)
    gradient = np.resize(np.array([np.nan, INF, -INF, 0.5, -3.0, -0.25, 7.0], dtype), (1, 35))
    kernels.update(parameter, gradient, [], rows("sgd", 1, rate=1.0, clip_value=2.0)[0], "sgd")
    expected = np.resize([np.nan, -2.0, 2.0, -0.5, 2.0, 0.25, -2.0], (1, 35))
    np.testing.assert_array_equal(parameter, expected)


def test_nan_stays_nan(kernels, dtype):
    """An infinite input saturates a tanh, so that the cost is finite and a gradient is infinity times 0."""
    training = Training((3, 4, 2), "tanh", "linear", "squared_error", steps=1, dtype=dtype)
    X = training.arguments["X"].copy()
    X[1, training.arguments["order"][2]] = INF
    costs, arrays, _ = training.run(kernels, X=X, coefficients=rows("sgd", 1, clip_value=0.5))
    assert np.isfinite(costs).all()
    assert np.isnan(arrays[0][:, 1]).all()
    assert np.isfinite(arrays[0][:, [0, 2]]).all() and all(np.isfinite(a).all() for a in arrays[1:])
    for clips in ({"clip_norm": 0.5}, {"clip_value": 0.5, "clip_norm": 1e300}):
        costs, arrays, _ = training.run(kernels, X=X, coefficients=rows("sgd", 1, **clips))
        assert np.isfinite(costs).all() and all(np.isnan(a).all() for a in arrays)


@pytest.mark.parametrize("rule", RULES)
def test_huge_gradients(kernels, dtype, rule):
    """Squares far beyond float32 and factors whose squares are far below it: the step is that of a small gradient."""
    large = 1e25
    X, Y = np.array([[1.0, 2.0, 4.0], [0.5, -1.0, 1.0]], dtype), np.full((1, 3), -1.0, dtype)
    W, b = np.zeros((1, 2), dtype), np.zeros((1, 1), dtype)
    state = [[np.zeros((1, 2), dtype), np.zeros((1, 1), dtype)] for _ in RULES[rule].slots]
    table = rows(rule, 1, clip_norm=0.5)
    kernels.train_epoch(
        [W, b], X * X.dtype.type(large), Y, None, 3, [], "linear", "absolute_error", rule, state, table
    )
    found = by_norm([large * X.astype(float).sum(axis=1)[np.newaxis] / 3, np.ones((1, 1))], 0.5)
    parameters, slots = [np.zeros((1, 2)), np.zeros((1, 1))], [[np.zeros((1, 2)), np.zeros((1, 1))] for _ in state]
    step(parameters, slots, found, table[0], rule)
    actual = [W, b, *(array for slot in state for array in slot)]
    for array, exact in zip(actual, parameters + [array for slot in slots for array in slot], strict=True):
        tolerances.close(array, exact, 16 * tolerances.eps(dtype) * (np.abs(exact) + 1e-6))


# Around the kernels


def test_a_kernel_of_the_user_gets_the_scaled_row():
    """The composed epoch tells `update` by data alone, and leaves the caller's rows as they are."""
    seen = []

    class Mine:
        @staticmethod
        def update(parameter, gradient, state, coefficients, rule):
            seen.append(dict(zip(COEFFICIENTS, coefficients.tolist(), strict=True)))
            vectorized.update(parameter, gradient, state, coefficients, rule)

    training = Training((3, 4, 2), "tanh", "linear", "squared_error", "adam", steps=1)
    a = training.arguments
    table = rows("adam", 1, clip_norm=0.01, clip_value=5.0)
    table[:, COEFFICIENTS.index("gradient_share")] = 0.5
    before = table.copy()
    mine = training.run(complete(Mine), coefficients=table, l2=0.6)
    assert table.tobytes() == before.tobytes()
    assert same(mine, training.run(vectorized, coefficients=table, l2=0.6))
    X, Y = (a[name][:, a["order"]] for name in ("X", "Y"))
    m = X.shape[1]
    factor = 0.01 / norm_of(gradients(training.parameters, X, Y, np.ones((1, m)), l2=0.6))
    for p, numbers in enumerate(seen):
        expected = {"gain1": 0.1 * factor, "gain2": 0.01 * factor**2, "gradient_share": 0.5 * factor}
        expected |= {"l2": 0.0 if p % 2 else 0.6 / m, "clip_value": 5.0, "rate": table[0, 1], "beta1": 0.9}
        assert {name: numbers[name] for name in expected} == pytest.approx(expected, rel=1e-12)
    assert len(seen) == 4


OPTIMIZERS = (
    SGD(0.5, clip_norm=0.05),
    SGD(0.1, 0.9, nesterov=True, clip_value=0.01),
    RMSProp(0.01, clip_value=0.02, clip_norm=0.05),
    Adam(0.02, clip_norm=0.03),
    AdamW(0.02, clip_value=0.01, clip_norm=0.02),
)


def network(kernels, dtype="float32", **options):
    return Network([4, 7, 5, 1], activation="tanh", output="sigmoid", seed=11, kernels=kernels, dtype=dtype, **options)


def everything(net):
    arrays = [*net.parameters.arrays, *(array for slot in net.optimizer_state for array in slot)]
    return [array.tobytes() for array in arrays]


@pytest.mark.parametrize("kernels", SETS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_a_stop_changes_no_bit(kernels, optimizer, tmp_path):
    """Two calls, a resumed checkpoint and a saved model give the bits of one call, and clipping changes them."""
    generator = np.random.default_rng(5)
    X = generator.standard_normal((4, 30))
    Y = (X[0] + X[1] * X[2] > 0).astype(float)
    options = {"batch_size": 8, "verbose": False}
    whole, twice, stopped, resumed, plain = (network(kernels, l2=0.1, dropout=0.1) for _ in range(5))
    whole.fit(X, Y, epochs=5, optimizer=optimizer, **options)
    twice.fit(X, Y, epochs=2, optimizer=optimizer, **options)
    twice.save(tmp_path / "model")
    twice = Network.load(tmp_path / "model", kernels=kernels)
    assert twice.optimizer == optimizer
    twice.fit(X, Y, epochs=3, **options)
    assert everything(twice) == everything(whole)
    checkpoint = Checkpoint(tmp_path / "checkpoint", every=3)
    stopped.fit(X, Y, epochs=3, optimizer=optimizer, checkpoint=checkpoint, **options)
    resumed.fit(X, Y, epochs=5, optimizer=optimizer, checkpoint=checkpoint, resume=True, **options)
    assert everything(resumed) == everything(whole)
    settings = {name: value for name, value in optimizer.to_dict().items() if "clip" not in name and name != "name"}
    plain.fit(X, Y, epochs=5, optimizer=type(optimizer)(**settings), **options)
    assert everything(plain) != everything(whole)


def test_another_limit_is_another_optimizer(tmp_path):
    """Averages start afresh, and a checkpoint of the other is refused."""
    net, X = network("vectorized"), np.random.default_rng(1).standard_normal((4, 20))
    options = {"batch_size": 10, "verbose": False}
    net.fit(X, X[0] > 0, epochs=2, optimizer=Adam(clip_norm=1.0), checkpoint=tmp_path / "run", **options)
    assert net.optimizer_steps == 4
    net.fit(X, X[0] > 0, epochs=1, optimizer=Adam(clip_norm=2.0), **options)
    assert net.optimizer_steps == 2
    with pytest.raises(ValueError, match=r"is the checkpoint of training with Adam\(.*clip_norm=1\.0\)"):
        net.fit(X, X[0] > 0, epochs=3, optimizer=Adam(), checkpoint=tmp_path / "run", resume=True, **options)


def test_clipping_keeps_a_run_together_that_diverges_without():
    generator = np.random.default_rng(0)
    X = generator.standard_normal((3, 60))
    Y = 100 * (X[:1] ** 2)

    def last(**clips):
        net = Network([3, 16, 16, 1], output="linear", seed=0, kernels="vectorized")
        return net.fit(X, Y, epochs=20, batch_size=10, optimizer=SGD(0.1, **clips), verbose=False).cost[-1]

    with pytest.raises(RuntimeError, match="diverged"):
        last()
    assert np.isfinite(last(clip_norm=1.0)) and np.isfinite(last(clip_value=0.1))
