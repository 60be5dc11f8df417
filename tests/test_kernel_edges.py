"""Edges of the compiled kernels: memory around the arrays, columns side by side, slices of an epoch."""

import importlib
import itertools

import numpy as np
import pytest
from cases import DTYPES, SETS, rng

from jitprop_kernels import jit
from jitprop_kernels.contract import COEFFICIENTS


@pytest.fixture(params=SETS)
def kernels(request):
    return importlib.import_module(f"jitprop_kernels.{request.param}")


SHAPES = ((1, 1, 1), (1, 513, 3), (2, 5, 300), (15, 17, 33), (29, 512, 65), (257, 3, 31), (13, 255, 1))


def surrounded(values, dtype, gap=3):
    """The values with nan before, after and between their rows, and the array of all of it."""
    values = np.asarray(values, dtype)
    rows, columns = values.shape
    around = np.full((rows + 2, columns + gap), np.nan, dtype)
    around[1:-1, :columns] = values
    return around[1:-1, :columns], around


def surrounded_flat(shape, dtype):
    """A C-contiguous array of nan between other nan, and the array of all of it."""
    around = np.full(shape[0] * shape[1] + 128, np.nan, dtype)
    return around[64:-64].reshape(shape), around


def same(actual, expected):
    return all(a.tobytes() == e.tobytes() for a, e in zip(actual, expected, strict=True))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_nothing_beside_the_arrays_is_read_or_written(dtype, shape):
    n, k, m = shape
    g = rng("surrounded", shape)
    plain = [g.standard_normal(s).astype(dtype) for s in ((n, k), (k, m), (n, m), (k, m))]
    b = g.standard_normal((n, 1)).astype(dtype)
    inner, outer = zip(*(surrounded(array, dtype) for array in plain), strict=True)
    before = [array.tobytes() for array in outer]

    def results(W, A, dZ, Z_prev):
        return [
            *jit.layer_forward(W, A, b, "gelu"),
            *jit.linear_backward(dZ, A, W),
            *jit.layer_backward(dZ, W, A, Z_prev, "tanh"),
            jit.softmax(dZ),
            jit.output_head(dZ, np.abs(dZ) / np.abs(dZ).sum(axis=0), "cross_entropy", "softmax")[1],
            jit.dropout(dZ, 0.4, 7),
        ]

    actual = results(*inner)
    assert same(actual, results(*plain))
    assert not any(np.isnan(array).any() for array in actual)
    assert [array.tobytes() for array in outer] == before
    out, around = surrounded_flat((n, m), dtype)
    assert same([jit.linear_forward(inner[0], inner[1], b, out=out)], actual[:1])
    assert np.isnan(around[:64]).all() and np.isnan(around[-64:]).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n, k", [(1, 784), (2, 700), (13, 64), (128, 513), (257, 1024)])
def test_columns_beside_change_no_bit(dtype, n, k):
    g = rng("columns", n, k)
    W, A, b = (g.standard_normal(s).astype(dtype) for s in ((n, k), (k, 530), (n, 1)))
    Z, G = jit.layer_forward(W, A, b, "gelu")
    S = jit.softmax(Z)
    for start, stop in ((0, 1), (5, 6), (3, 36), (0, 512), (200, 530)):
        part = jit.layer_forward(W, A[:, start:stop], b, "gelu")
        whole = (array[:, start:stop] for array in (Z, G, S))
        assert same((*part, jit.softmax(part[0])), whole)


def epoch(dtype, units, layout, order, batch_size, slices=False, weights=False):
    """Train a network by Adam, with padded parameters; returns parameters, state and costs."""
    g, m = rng("epoch", units), 70
    parameters, state, frames = [], [[], []], []
    for k, n in itertools.pairwise(units):
        for shape in ((n, k), (n, 1)):
            values = g.standard_normal(shape) / np.sqrt(k)
            inner, frame = surrounded(values, dtype) if shape[1] > 1 else (values.astype(dtype), None)
            parameters.append(inner)
            frames += [] if frame is None else [frame]
            for slot in state:
                slot.append(np.zeros(shape, dtype))
    X = np.array(g.standard_normal((units[0], m)), dtype, order=layout)
    X.flags.writeable = False
    Y = g.random((units[-1], m)).astype(dtype)
    weight = g.random((1, m)).astype(dtype) if weights else None
    visited = m if order is None else len(order)
    row = dict(rate=0.05, decay=1.0, beta1=0.9, gain1=0.1, momentum_share=1.0, beta2=0.9, gain2=0.1, epsilon=1e-6)
    row |= {"clip_value": np.inf, "clip_norm": np.inf}
    steps = -(-visited // batch_size)
    coefficients = np.array([[row.get(name, 0.0) for name in COEFFICIENTS]] * steps)
    coefficients[:, COEFFICIENTS.index("step")] = np.arange(steps)
    rates = [0.2] + [0.3] * (len(units) - 2)
    options = (["relu"] * (len(units) - 2), "linear", "squared_error", "adam", state)
    empty = [np.isnan(frame) for frame in frames]
    costs = []
    for s in range(steps) if slices else (slice(None),):
        chosen = order[s * batch_size : (s + 1) * batch_size] if slices else order
        rows = coefficients[s : s + 1] if slices else coefficients
        costs += list(jit.train_epoch(parameters, X, Y, chosen, batch_size, *options, rows, 0.1, rates, 5, weight))
    assert all((np.isnan(frame) == gap).all() for frame, gap in zip(frames, empty, strict=True))
    return [np.array(costs), *parameters, *state[0], *state[1]]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("units", [(5, 1), (1, 1), (9, 17, 3), (1, 1, 1, 1), (2, *[3] * 29, 1)], ids=len)
@pytest.mark.parametrize("layout", "CF")
def test_slices_and_orders_change_no_bit(dtype, units, layout):
    natural = np.arange(70)
    for batch_size in (1, 16, 70):
        whole = epoch(dtype, units, layout, natural, batch_size)
        assert np.isfinite(whole[0]).all()
        assert same(whole, epoch(dtype, units, layout, None, batch_size))
        assert same(whole, epoch(dtype, units, layout, natural, batch_size, slices=True))
    repeated = rng("repeated").integers(0, 70, 90)
    whole = epoch(dtype, units, layout, repeated, 32, weights=True)
    assert same(whole, epoch(dtype, units, layout, repeated, 32, slices=True, weights=True))


def test_subclasses_that_hide_what_is_in_memory_are_refused(kernels):
    Z = np.zeros((3, 2), np.float32)
    hidden = np.ma.array([[0, 10**11]], mask=[[0, 1]], dtype=np.int64)
    with pytest.raises(TypeError, match="Y must be"):
        kernels.output_head(Z, hidden, "cross_entropy", "softmax")
    for array in (np.ma.array(Z), Z.view(np.recarray)):
        with pytest.raises(TypeError, match="Z must be"):
            kernels.relu(array)


def test_what_is_written_shares_no_memory_with_what_is_read(kernels):
    row = np.ones(len(COEFFICIENTS))
    W = np.ones((5, 4))
    with pytest.raises(ValueError, match="share memory"):
        kernels.update(W[1:], W[:-1], [], row, "sgd")
    m = np.zeros((5, 4))
    with pytest.raises(ValueError, match="share memory"):
        kernels.update(W, np.ones((5, 4)), [m, m], row, "adam")
    order = np.zeros(8, np.int64)
    parameters = [np.ones((8, 4)), order.view(np.float64).reshape(8, 1), np.ones((2, 8)), np.zeros((2, 1))]
    X, Y = np.ones((4, 8)), np.zeros((1, 8), np.int64)
    with pytest.raises(ValueError, match="share memory"):
        kernels.train_epoch(
            parameters, X, Y, order, 2, ["relu"], "softmax", "cross_entropy", "sgd", [], np.tile(row, (4, 1))
        )
    assert (order == 0).all() and (W == 1).all()


@pytest.mark.parametrize("top", [1e4, 1e6])
def test_cross_entropy_keeps_the_digits_of_close_logits_far_from_zero(kernels, top):
    Z = np.array([[top], [top - 2], [top - 3]], np.float32)
    expected = np.log(1 + np.exp(-2.0) + np.exp(-3.0))
    for Y in (np.array([[1], [0], [0]], np.float32), np.array([[0]])):
        cost, _ = kernels.output_head(Z, Y, "cross_entropy", "softmax")
        assert abs(cost - expected) <= 1e-6 * expected


def test_limits_at_infinity_and_nan(kernels):
    Z = np.array([[-np.inf, np.inf, np.nan]])
    for name in ("gelu", "silu"):
        a, slope = getattr(kernels, name)(Z), getattr(kernels, f"{name}_derivative")(Z)
        assert a[0, 0] == 0 and a[0, 1] == np.inf and np.isnan(a[0, 2])
        assert slope[0, 0] == 0 and slope[0, 1] == 1 and np.isnan(slope[0, 2])
    assert kernels.relu_derivative(Z)[0, 2] == 0 and np.isnan(kernels.elu_derivative(Z)[0, 2])


def test_long_sums_keep_their_digits():
    m = 300_000
    dZ = np.random.default_rng(0).random((3, m), np.float32)
    A_prev, W = np.random.default_rng(1).random((4, m), np.float32), np.ones((3, 4), np.float32)
    dW, db, _ = jit.linear_backward(dZ, A_prev, W)
    exact = dZ.astype(np.float64) @ A_prev.T.astype(np.float64) / m
    # Pieces of at most 512 terms, whose sums are added: no term sees more than 512 + m / 512 additions.
    bound = (512 + m / 512) * np.finfo(np.float32).eps / 2
    assert (np.abs(dW - exact) <= bound * exact).all()
    assert (np.abs(db[:, 0] - dZ.mean(axis=1, dtype=np.float64)) <= bound).all()
    single = jit.linear_backward(dZ[:1], A_prev, W[:1])[0]
    assert (np.abs(single - exact[:1]) <= bound * exact[:1]).all()
