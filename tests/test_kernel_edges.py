"""Edges of the compiled kernels: memory around the arrays, columns side by side, slices of an epoch."""

import itertools

import numpy as np
import pytest
from cases import DTYPES, rng

from jitprop_kernels import jit
from jitprop_kernels.contract import COEFFICIENTS

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
