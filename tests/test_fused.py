"""The fused epoch against the references, its threads in every order, the memory around it, and how much it takes."""

import gc
import itertools
import os
import platform
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import tolerances
from cases import normal, parameters, rng
from fused import Case, Poisoned, PoisonedWorkspace, Threads, draw, forget_plans, small_pieces, watched_plans

from jitprop import SGD, Adam, Network
from jitprop_kernels import jit, vectorized
from jitprop_kernels.contract import RULES
from jitprop_kernels.jit import epoch, forward, gradients, plan
from jitprop_kernels.jit.columns import ColumnPlan
from jitprop_kernels.jit.pieces import PiecePlan, number_of_pieces
from jitprop_kernels.jit.rows import RowPlan
from jitprop_kernels.jit.tile import tile

SEEDS = range(160)
BOTH = {"l2": 0.1, "weighted": True}
HUBER = "linear", "huber"
# What could go wrong where threads share an array, at each of the edges that the layouts have.
CASES = (
    Case((20, 32, 3), 200, 128, "C", visited=250, dropout=(0.3, 0.3), **BOTH),
    Case((20, 32, 3), 200, 128, "F", visited=250, dropout=(0.3, 0.3), clip_norm=0.1, **BOTH),
    Case((129, 17, 33), 300, 300, "C", clip_value=0.02, rule="rmsprop", indices=True),
    Case((200, 7, 5, 1), 100, 100, "F", head=HUBER, rule="sgd"),  # wide
    Case((200, 32, 2), 100, 65, "F", visited=130, dropout=(0.3, 0.3), rule="momentum"),
    Case((300, 1), 97, 97, "F", head=("linear", "squared_error"), rule="sgd", clip_norm=0.1),
    Case((300, 3), 97, 97, "F", head=("linear", "squared_error"), rule="sgd"),
    Case((5, 1), 3000, 3000, "C", head=("sigmoid", "binary_cross_entropy"), rule="sgd"),
    Case((1, 1, 1, 1), 90, 90, "F", head=("linear", "squared_error"), activations=("tanh",) * 2),
    # One output behind relu, whose dW is summed of panels.
    Case((40, 33, 1), 130, 70, "F", visited=100, activations=("relu",), head=HUBER, clip_norm=0.1, **BOTH),
    Case((40, 130, 37, 1), 100, 100, "C", activations=("relu",) * 2, head=HUBER, rule="sgd", l2=0.1),
    Case((40, 130, 37, 1), 100, 65, "F", visited=130, activations=("relu",) * 2, head=HUBER, clip_value=0.02),
    Case((9, 1, 1), 100, 65, "F", visited=130, activations=("relu",), head=HUBER, rule="momentum"),
    Case((2, 4, 1), 33_000, 33_000, "F", activations=("relu",), head=HUBER),  # more than are summed at once
    Case((33, 65, 130, 2), 64, 33, "C", visited=65),  # fewer panels than threads
    Case((60, 40), 100, 70, "F", visited=130, dropout=(0.3,), clip_norm=0.1, **BOTH),  # a first layer that is the last
    Case((90, 600, 300, 2), 300, 260, "F", visited=520, rule="rmsprop"),  # more rows than stay in cache, some left over
    Case((33, 65, 130, 2), 64, 64, "F", dropout=(0.0, 0.3, 0.3), clip_norm=0.1, **BOTH),
    Case((30, 33, 3), 1100, 1030, "F", visited=2000, rule="sgd"),  # more examples than are summed at once
    Case((30, 33, 3), 1100, 1030, "C", visited=2000),
    Case((1100, 40, 3), 50, 40, "C", visited=60, rule="sgd", pad=0),  # sums of more terms than that
    Case((3, 33, 1100, 2), 64, 40, "F", visited=60, rule="sgd"),
    Case((1024, 64, 3), 50, 40, "F", visited=60, rule="sgd", pad=0),  # rows that crowd each other
    Case((2100, 17, 3), 50, 40, "F", visited=60, dropout=(0.3, 0.3), **BOTH),  # rows far apart
    Case((2100, 17, 2), 70, 70, "F", rule="sgd"),
    Case((2100, 530, 2), 110, 100, "F", visited=120),  # in parts, of more units than one part has
    Case((2100, 33, 2), 200, 200, "F", rule="sgd", clip_norm=0.1),
    Case((9000, 5, 3), 60, 40, "F", visited=70, **BOTH),  # so many that they are shared
    Case((9000, 5, 3), 60, 40, "F", visited=70, rule="sgd", dropout=(0.3, 0.3), pad=0),
    Case((20_000, 5, 3), 60, 24, "F", visited=25),  # a last batch of fewer examples than threads
    Case((9000, 1), 60, 40, "F", visited=70, head=("sigmoid", "binary_cross_entropy"), rule="sgd", clip_norm=0.1),
    Case((700, 30, 2), 400, 400, "F", rule="momentum"),  # many that are longer than the cache
    Case((1040, 4, 2), 150, 131, "F", visited=131, **BOTH),  # units and examples of which loops make the gradients
    Case((300, 3, 2), 150, 70, "F", visited=75, rule="sgd", clip_norm=0.1),
    Case((260, 3, 2), 1030, 1030, "F"),
    Case((260, 2), 1030, 1030, "F", rule="sgd", clip_norm=0.1),
    Case((1040, 30, 2), 20, 3, "F", visited=10, rule="sgd"),
    Case((300, 30, 270), 20, 4, "F", visited=10, clip_value=0.02),
    Case((9000, 6, 270), 20, 2, "F", visited=5, rule="adam"),  # a row of dW at a time
    Case((2100, 1001, 2), 3, 1, "F", rule="momentum"),  # one example, and more weights than stay in cache
    Case((2100, 1001, 2), 5, 2, "F", visited=3, rule="sgd"),
    Case((300, 30, 270), 20, 4, "C", visited=10, rule="momentum", clip_norm=0.1),
    Case((31, 130, 3), 40, 5, "F", visited=13, dropout=(0.3, 0.3), **BOTH),
    Case((31, 130, 3), 40, 5, "C", visited=13, dropout=(0.3, 0.3), clip_norm=0.1),
    Case((65, 33, 200), 5, 5, "F", head=("sigmoid", "squared_error"), rule="sgd"),
    Case((65, 33, 200), 5, 5, "C", head=("linear", "absolute_error"), rule="momentum", clip_value=0.02),
    Case((129, 1, 65), 9, 1, "C", visited=3, rule="sgd"),
    Case((40_000, 2, 3), 7, 3, "F", visited=5),  # sums that are cut into pieces
    Case((40_000, 2, 3), 40, 40, "F", rule="sgd"),
    Case((4, *[3] * 98, 2), 60, 40, "F", visited=60, head=("linear", "squared_error"), activations=("tanh",) * 98),
    Case((4, *[3] * 98, 2), 9, 4, "C", visited=7, head=("linear", "squared_error"), activations=("tanh",) * 98),
)


def same(actual, expected):
    return all(a.tobytes() == e.tobytes() for a, e in zip(actual, expected, strict=True))


def agrees(case, actual):
    """Whether the numbers are those that NumPy finds."""
    rtol = tolerances.training(case.units, case.batch, case.steps, case.dtype)
    for array, reference in zip(actual, case.train(vectorized), strict=True):
        tolerances.close(array, reference, rtol * (1 + np.abs(reference)))


@pytest.mark.parametrize("first", SEEDS[::10])
def test_random_cases_agree_with_numpy(monkeypatch, first):
    for seed in range(first, first + 10):
        case, threads = draw(seed), Threads(monkeypatch, 3, Threads.ORDERS[seed % 4])
        with watched_plans() as plans:
            agrees(case, case.train(jit))
        assert type(plans[0]) is PiecePlan or max(tasks for _, tasks in threads.regions) == 3


@pytest.mark.parametrize("units", [(300, 1), (300, 20, 1), (40, 1), (2, 4, 1)], ids=str)
def test_sums_over_many_examples_keep_their_digits(units):
    """All terms have one sign mostly: of 30000 added one after the other, three digits would be lost."""
    case = Case(units, 30_000, 30_000, head=("linear", "squared_error"), rule="sgd", dtype="float32")
    like, state, X, Y, order, table, _ = case.arrays()
    found = []
    for dtype, kernels in (("float32", jit), ("float64", vectorized)):
        arrays = [np.zeros(p.shape, dtype) for p in like]
        if len(units) > 2:
            arrays[1][:], arrays[2][:] = 1, 0.01
        kernels.train_epoch(
            arrays, np.asarray(X + 1, dtype, order="F"), np.asarray(Y + 1, dtype), order, 30_000,
            ["relu"] * (len(units) - 2), *case.head, "sgd", state, table,
        )  # fmt: skip
        found.append(arrays)
    for array, reference in zip(*found, strict=True):
        assert np.abs(array - reference).max() <= 12 * np.finfo(np.float32).eps * np.abs(reference).max()


def test_one_output_adds_like_terms_in_pieces():
    """The error of a chain grows with its length where all terms are alike: that of 4096 examples on any processor."""
    m, eps = 32_768, np.finfo(np.float32).eps
    case = Case((2, 4, 1), m, m, head=("linear", "squared_error"), rule="sgd", dtype="float32")
    like, state, X, _, order, table, _ = case.arrays()
    for target in np.linspace(0.1, 0.9, 15, dtype=np.float32):
        found = []
        for dtype, kernels in (("float32", jit), ("float64", vectorized)):
            arrays = [np.zeros(p.shape, dtype) for p in like]
            arrays[1][:] = 1  # so that A[1] is 1
            Y = np.full((1, m), target, dtype)
            kernels.train_epoch(arrays, X.astype(dtype), Y, order, m, ["relu"], *case.head, "sgd", state, table)
            found.append(arrays)
        for array, reference in zip(*found, strict=True):
            np.testing.assert_allclose(array, reference, rtol=160 * eps)


def serial(monkeypatch, case, **changes):
    with monkeypatch.context() as patch:
        Threads(patch, 1, "ascending")
        return case.train(jit, **changes)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_threads_in_any_order_give_the_same_bits(monkeypatch, case):
    for dtype in ("float32", "float64"):
        case = Case(**vars(case) | {"dtype": dtype})
        expected = serial(monkeypatch, case)
        assert np.isfinite(expected[0]).all()
        if dtype == "float64":
            agrees(case, expected)
        for number, order in itertools.product((2, 3, 8), Threads.ORDERS):
            with monkeypatch.context() as patch:
                threads = Threads(patch, number, order)
                assert same(case.train(jit), expected), f"{number} threads, {order}"
                assert all(tasks == number for _, tasks in threads.regions)
                assert max(length for length, _ in threads.regions) > 1


@pytest.mark.parametrize("case", [case for case in CASES if case.layout == "F" and case.visited], ids=str)
def test_asking_for_the_next_batch_changes_no_bit(monkeypatch, case):
    expected = serial(monkeypatch, case)
    monkeypatch.setattr(plan, "NEAR", 0)
    assert same(serial(monkeypatch, case), expected)
    for order in Threads.ORDERS:
        with monkeypatch.context() as patch:
            Threads(patch, 3, order)
            assert same(case.train(jit), expected)


def test_tiles_enough_ask_for_all_of_the_next_batch():
    """Whatever else they ask for; and a thread without tiles asks for nothing."""
    shares = gradients._shares.py_func
    assert shares(0, 100, 7, 98, 14, 96, 2, 3, False, 96, 400) == (0, 1, 0)
    for n, panels, tall, count, arrays, wanted, (begin, end) in itertools.product(
        (1, 14, 100, 520, 830, 1024), (1, 2, 25), (1, 7, 29), (16, 128, 256, 1000), (0, 1, 3), (1, 16, 128),
        ((0, 0), (28, 0), (0, 42), (42, 28)),
    ):  # fmt: skip
        step, chunk = min(n, 14), tall * min(n, 14)
        tiles = {  # of each chunk and panel, where the thread begins and ends in the middle of one
            (r0, f): len(range(max(r0, begin * (f == 0)), min(n - end * (f == panels - 1), r0 + chunk), step))
            for r0, f in itertools.product(range(0, n, chunk), range(panels))
        }
        mine = sum(tiles.values())
        requests, tiles_a_row, pace = shares(mine, n, panels, chunk, step, count, 2, arrays, True, wanted, 400)
        free = mine - sum(min(t, requests) for (_, f), t in tiles.items() if f + 1 < panels)
        assert tiles_a_row * count * pace >= 400 or mine == 0
        assert free >= tiles_a_row * wanted or mine < wanted


@pytest.mark.parametrize("units", [(3, 40, 5, 2), (1100, 40, 5, 2), (200, 30, 5, 2), (3, 40, 1100, 2)], ids=str)
@pytest.mark.parametrize("rate", [0.0, 0.3])
@pytest.mark.parametrize("columns", [64, 5])
def test_relu_at_the_kink(units, rate, columns):
    """Where z is 0 or -0 the derivative is 1, below it is 0; of what the tile keeps, A, both are zeros.

    With sums of one piece, and of two that end in a block; with a wide first layer; with examples as rows.
    """
    case = Case(units, columns, columns, "F", head=("linear", "squared_error"), rule="sgd", dropout=(0.0, rate, rate))
    like, state, X, Y, order, table, _ = case.arrays()
    W1, b1, W2, b2 = like[:4]
    X[:, ::2] = 0  # for half of the examples z is b
    W1[::3], b1[:] = 0, 0  # for a third of the units z is 0
    W1[1], b1[1] = -np.abs(W1[1]), -0.0
    W2[0], b2[0] = 0, 0
    W2[4] = np.abs(W2[4])  # so that something goes back to layer 1
    found = []
    for kernels in (jit, vectorized):
        trained = [p.copy() for p in like]
        activations = ["relu"] * (len(units) - 2)
        kernels.train_epoch(
            trained, X, Y, order, columns, activations, *case.head, "sgd", state, table, 0.0, case.dropout, 7
        )
        found.append(trained)
    assert (found[0][0][::3] != 0).any(axis=1).all() and (found[0][2][0] != 0).any()
    rtol = tolerances.training(units, columns, case.steps, case.dtype)
    for array, reference in zip(*found, strict=True):
        tolerances.close(array, reference, rtol * (1 + np.abs(reference)))


@pytest.mark.parametrize("case", [*CASES, *map(draw, range(500, 540))], ids=str)
def test_nothing_beside_the_arrays_is_read_or_written(monkeypatch, case):
    """With nan around all arrays, in gaps between those of the workspace and in all that is not yet written."""
    for dtype in ("float32", "float64"):
        case = Case(**vars(case) | {"dtype": dtype})
        expected = serial(monkeypatch, case)
        for byte in (0xFF, 0x5A):
            place = Poisoned()
            with monkeypatch.context() as patch:
                Threads(patch, 3, "descending")
                workspace = PoisonedWorkspace(patch, byte)
                assert same(case.train(jit, place), expected)
            assert place.is_whole() and not workspace.overrun()
            forget_plans()


PIECES = [case for case in CASES if case.batch >= 24]


@pytest.mark.parametrize("case", [*PIECES, *map(draw, range(600, 660))], ids=str)
def test_pieces_in_any_order_with_poison_around(monkeypatch, case):
    """Batches in pieces: they agree with NumPy, no thread needs another's, and nothing beside the arrays is touched."""
    small_pieces(monkeypatch)
    monkeypatch.setattr(plan, "NEAR", 0)  # so that they ask for the next batch
    for dtype in ("float32", "float64"):
        case = Case(**vars(case) | {"dtype": dtype})
        expected = serial(monkeypatch, case)
        if dtype == "float64":
            agrees(case, expected)
        for number, order in ((2, "descending"), (3, "together"), (8, "mixed")):
            place = Poisoned()
            with monkeypatch.context() as patch:
                Threads(patch, number, order)
                workspace = PoisonedWorkspace(patch)
                with watched_plans() as plans:
                    assert same(case.train(jit, place), expected), f"{number} threads, {order}"
            assert place.is_whole() and not workspace.overrun()
            assert case.batch < 24 or type(plans[0]) is PiecePlan
            forget_plans()


@pytest.mark.parametrize("units", [(64, 100, 10), (30, 64, 64, 1), (20, 32, 1), (5, *[17] * 98, 1)], ids=str)
def test_a_larger_batch_has_no_fewer_pieces(units):
    """And each has a panel at least, of which so many are made."""
    chosen = [number_of_pieces(units, batch, np.dtype("float32")) for batch in range(1, 6000)]
    assert chosen == sorted(chosen) and chosen[0] == 1 and chosen[-1] > 1
    assert all(number % 2 == 0 for number in chosen if number > 1)  # two threads share them evenly
    assert all(64 * number <= batch + 63 for batch, number in enumerate(chosen, start=1) if number > 1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("k", "m", "batch"), [(300, 50, None), (1027, 209, None), (4096, 100, 33)])
@pytest.mark.parametrize("optimizer", [SGD, Adam])
def test_few_units_have_the_bits_of_many(dtype, k, m, batch, optimizer):
    """dW of up to four units is summed by loops of its own, wherever X begins; five units go through the tile."""
    g = np.random.default_rng(k)
    given = {"W1": g.standard_normal((5, k)) / k, "b1": np.zeros((5, 1))}
    memory, Y = g.standard_normal(m * k + 16).astype(dtype), g.standard_normal((5, m))

    def weights(units, begin):
        memory[begin : begin + m * k] = examples
        start = {name: array[:units] for name, array in given.items()}
        net = Network([k, units], output="linear", dtype=dtype, seed=1, initialization=start)
        X = memory[begin : begin + m * k].reshape(m, k).T
        net.fit(X, Y[:units], 2, batch, optimizer(0.01), verbose=False)
        return net.parameters["W1"]

    examples = memory[: m * k].copy()
    many = weights(5, 0)
    for units, begin in itertools.product((1, 2, 3, 4), (0, 5)):
        np.testing.assert_array_equal(weights(units, begin), many[:units])


def test_batches_at_the_border_of_the_layouts(monkeypatch):
    """Every batch from 1 to a panel and one more, in order and gathered: both layouts come up, and agree with NumPy."""
    Threads(monkeypatch, 3, "mixed")
    with watched_plans() as plans:
        for batch in range(1, tile(np.dtype("float64")).NR + 2):
            for layout, visited in itertools.product("CF", (None, 2 * batch + 1)):
                case = Case((17, 9, 3), max(batch, 2 * (batch % 2)), batch, layout, visited, dropout=(0.0, 0.3))
                agrees(case, case.train(jit))
    assert set(map(type, plans)) == {RowPlan, ColumnPlan}


@pytest.mark.parametrize("clip_norm", [np.inf, 0.1])
@pytest.mark.parametrize("layout", "CF")
def test_large_batches_of_small_networks_go_in_pieces(monkeypatch, layout, clip_norm):
    """At sizes that are worth it, with a smaller batch at the end that has fewer pieces."""
    case = Case((64, 100, 10), 600, 250, layout, visited=600, clip_norm=clip_norm, dropout=(0.2, 0.5), **BOTH)
    expected = serial(monkeypatch, case)
    agrees(case, expected)
    for number in (2, 3):
        with monkeypatch.context() as patch, watched_plans() as plans:
            threads = Threads(patch, number, "mixed")
            assert same(case.train(jit), expected)
        assert type(plans[0]) is PiecePlan and sorted(plans[0].tapes) == [100, 250]
        assert max(tasks for _, tasks in threads.regions) == 2


# Prediction

NETWORKS = (
    (64, 100, 10, 100, 200, 10, 200, 10),  # layers that take turns in the same memory, of different widths
    (200, 32, 130, 3),
    (300, 1),
    (300, 5),
    (7, 1, 40, 1),
    (33, 200, 2),
    (40_000, 2, 3),
    (4, *[3] * 98, 2),
)


def framed(X):
    """X with columns of nan beside it."""
    return np.ascontiguousarray(np.pad(X, ((0, 0), (0, 3)), constant_values=np.nan))


LAYOUTS = {
    "C": lambda X, place: place(X),
    "F": lambda X, place: place(X.T.copy()).T,
    "columns of more": lambda X, place: place(framed(X))[:, :-3],
    "rows of more": lambda X, place: place(framed(X.T))[:, :-3].T,
}


@pytest.mark.parametrize("output", ["softmax", "sigmoid", None])
@pytest.mark.parametrize("units", NETWORKS, ids=lambda units: "-".join(map(str, units))[:30])
def test_prediction_by_threads_in_any_order_with_poison_around(monkeypatch, units, output):
    for dtype, m in itertools.product(("float32", "float64"), (1, 5, 65, 300 if units[0] < 10_000 else 33)):
        g = rng("prediction", units, m)
        arrays, X = parameters(g, units, dtype), normal(g, (units[0], m), dtype)
        hidden = ["tanh"] * (len(units) - 2)
        expected = vectorized.network_forward(arrays, X, hidden, output)
        with monkeypatch.context() as patch:
            Threads(patch, 1, "ascending")
            alone = jit.network_forward(arrays, X, hidden, output)
        tolerances.close(alone, expected, tolerances.training(units, 1, 1, dtype) * (1 + np.abs(expected)))
        for (number, order), layout in itertools.product(((3, "descending"), (8, "mixed"), (2, "together")), LAYOUTS):
            place = Poisoned()
            with monkeypatch.context() as patch:
                Threads(patch, number, order)
                workspace = PoisonedWorkspace(patch)
                given = LAYOUTS[layout](X, place)
                assert same([jit.network_forward([place(p) for p in arrays], given, hidden, output)], [alone]), layout
            assert place.is_whole() and not workspace.overrun()
            forget_plans()


# Memory


def allowed(units, batch, m, slots, itemsize, copies=0):
    """Bytes that training may take, beside X and Y."""
    numbers = sum(a.strides[0] // a.itemsize * len(a) for a in Network(units, output="linear").parameters.arrays)
    padded = -(-batch // tile(np.dtype(f"float{8 * itemsize}")).NR) * tile(np.dtype(f"float{8 * itemsize}")).NR
    return 1.1 * itemsize * (numbers * (1 + slots + copies) + 3 * padded * sum(units)) + 2**20 + 8 * m


SIZES = (
    ((784, 128, 64, 10), 128, 60_000),
    ((784, 128, 64, 10), 5000, 60_000),
    ((64, 100, 10), 1797, 1797),
    ((12288, 20, 7, 5, 1), 209, 209),
    ((10_000, 50, 1), 100, 300),
    ((784, 1024, 1024, 10), 256, 2000),
    ((2, 1), 100_000, 100_000),
    ((2, 4, 1), 100_000, 100_000),
    ((2, 3, 3, 3, 1), 20_000, 30_000),
    ((10, 33, 1), 10_000, 20_000),
    ((5, *[1] * 98, 1), 4096, 10_000),
    ((5, *[17] * 98, 1), 1000, 1000),
    ((5, *[17] * 98, 1), 8, 100),
    ((3000, 1), 1, 30),
    ((64, 100, 10), 200, 2000),
    ((16, 240, 240, 2), 1024, 4096),
    ((30, 64, 64, 1), 100_000, 100_000),
    ((5, *[3] * 98, 1), 20_000, 20_000),
)  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layout", "CF")
@pytest.mark.parametrize("units, batch, m", SIZES, ids=lambda size: str(size)[:30])
def test_a_workspace_is_of_the_size_that_is_promised(units, batch, m, layout, dtype):
    parameters = Network(units, output="linear", dtype=dtype).parameters.arrays
    state = [[np.zeros_like(p) for p in parameters] for _ in RULES["adam"].slots]
    X, Y = np.zeros((units[0], m), dtype, order=layout), np.zeros((units[-1], m), dtype)
    options = ["relu"] * (len(units) - 2), "linear", "squared_error", "adam", state, True, (False, False)
    plan = epoch._layout(units, batch, X.dtype)(
        parameters, X, Y, batch == m, batch, *options, (0.0,) * (len(units) - 1), 0, None
    )  # fmt: skip
    for count in {batch, m % batch or batch}:
        plan.tape(count)
    assert plan.nbytes <= allowed(units, batch, m, len(state), X.itemsize)


@pytest.mark.parametrize("layout", "CF")
@pytest.mark.parametrize("units, batch, epochs", [((784, 128, 10), 128, 2), ((784, 30, 1), 8, 1), ((500, 3), 1000, 3)])
def test_training_on_a_file_copies_nothing(tmp_path, layout, units, batch, epochs):
    """X is larger than all that training may take, so that a copy of it would be seen."""
    m = 20_000
    shape = (m, units[0]) if layout == "F" else (units[0], m)
    values = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", np.float32, shape)
    values[:] = np.random.default_rng(0).random(shape, np.float32)
    values.flush()
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    X = X.T if layout == "F" else X
    Y = np.random.default_rng(1).random((units[-1], m), np.float32)

    network = Network(units, output="linear", seed=0)
    few = np.ones((units[0], 2 * batch), np.float32, order=layout)
    network.copy().fit(few, Y[:, : 2 * batch], 1, batch_size=batch, optimizer=Adam(), verbose=False)  # compiles
    tracemalloc.start()
    network.fit(X, Y, epochs, batch_size=batch, optimizer=Adam(), verbose=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The state before the last steps is kept as well, in case a number is not finite or Ctrl-C comes.
    limit = allowed(units, batch, m, slots=2, itemsize=4, copies=3)
    assert X.nbytes > 2 * limit
    assert peak <= limit


def test_nothing_grows_with_epochs_but_the_history():
    X, Y = np.random.default_rng(0).random((20, 1003), np.float32), np.zeros((1, 1003), np.float32)
    network, taken = Network((20, 16, 1), output="linear", seed=0), []
    network.fit(X, Y, 1000, batch_size=100, verbose=False)  # compiles
    tracemalloc.start()
    for _ in range(4):
        network.fit(X, Y, 1500, batch_size=100, verbose=False)  # returns the history, which is dropped
        gc.collect()
        taken.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    # A workspace may be replaced by one of another call; what grows with epochs would grow every time.
    assert min(np.diff(taken)) < 8 * 1500


@pytest.mark.parametrize(
    "units, batch", [((2048, 64, 1), 24), ((26_000, 4), 4), ((26_000, 4), 30), ((300, 40, 1), 64), ((200_000, 1), 2)]
)
def test_many_threads_take_no_more(monkeypatch, units, batch):
    """Each has scratch for its share of the columns of dW, not for all of them."""
    Threads(monkeypatch, 64, "ascending")
    case = Case(units, batch, batch, head=("linear", "squared_error"), dtype="float32", pad=0)
    with watched_plans() as plans:
        case.train(jit)
    assert plans[0].nbytes <= allowed(units, batch, batch, slots=2, itemsize=4)


@pytest.mark.parametrize("units, batch, most", [((784, 128, 64, 10), 128, 3), ((60, 40), 70, 3), ((60, 40), 81, 1)])
def test_threads_share_units_where_that_is_cheaper_and_there_is_memory(monkeypatch, units, batch, most):
    case = Case(units, 3 * batch, batch, rule="adam", dtype="float32", pad=0)
    monkeypatch.setattr(plan, "SPAWN", 0)
    monkeypatch.setattr(plan, "CROSSING", 0)
    for number in range(1, 5):
        with monkeypatch.context() as patch, watched_plans() as plans:
            Threads(patch, number, "together")
            case.train(jit)
        (tape,) = plans[0].tapes.values()
        assert len(tape.own) == (2 * number if 1 < number <= most else 0)  # going forward, and for gradients
        assert plans[0].nbytes <= allowed(units, batch, 3 * batch, slots=2, itemsize=4)


@pytest.mark.parametrize("kernels", [jit, vectorized], ids=["jit", "vectorized"])
@pytest.mark.filterwarnings("ignore:Setting the strides:DeprecationWarning")
def test_training_sees_strides_that_change_in_place(kernels):
    """A parameter that stays the same object may still come to lie otherwise."""
    case = Case((5, 9, 2), 40, 40, rule="sgd")
    like, state, X, Y, order, table, _ = case.arrays()
    frame = rng("strides").standard_normal((18, 5))
    like[0] = frame[:9]
    for stride in (5, 10):
        like[0].strides = 8 * stride, 8
        fresh = [np.array(p) for p in like]
        costs = [
            kernels.train_epoch(p, X, Y, order, 40, ["relu"], *case.head, "sgd", state, table) for p in (like, fresh)
        ]
        assert same(costs[:1], costs[1:]) and same(like, fresh)


@pytest.mark.parametrize("module", [epoch, forward], ids=["training", "prediction"])
def test_an_interrupted_plan_is_made_again(monkeypatch, module):
    """Ctrl-C while a tape is written, which may compile, must not leave half of it for the next call."""
    forget_plans()
    case = Case((7, 5, 2), 40, 40, rule="sgd")
    like, state, X, Y, order, table, _ = case.arrays()

    def run():
        if module is forward:
            return [jit.network_forward(like, X, ["relu"], "softmax")]
        jit.train_epoch(like, X, Y, order, 40, ["relu"], *case.head, "sgd", state, table)
        return like

    def interrupted():
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "player", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run()
    assert all(np.isfinite(array).all() for array in run())


# Other widths of vectors


WIDTHS = """
import pytest, test_fused
from jitprop_kernels.jit import compiling
assert compiling.vector_bits() == {bits}
patch = pytest.MonkeyPatch()
for case in test_fused.CASES:
    # Those that need the fewest kernels, which have to be compiled for this processor.
    if case.head == ("softmax", "cross_entropy") and case.rule in ("sgd", "adam") and case.clip_value > 1:
        test_fused.test_nothing_beside_the_arrays_is_read_or_written(patch, case)
        test_fused.agrees(case, test_fused.serial(patch, case))
test_fused.test_batches_at_the_border_of_the_layouts(patch)
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names processors of x86")
@pytest.mark.parametrize("processor, bits", [("x86-64-v3", 256), ("x86-64-v2", 128)])
def test_other_widths_of_vectors(processor, bits):
    environment = {**os.environ, "NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": ""}
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WIDTHS.format(bits=bits)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
