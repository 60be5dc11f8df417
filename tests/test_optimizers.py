"""Optimizers against the formulas of their papers, written out here on single numbers."""

import json
import math
import pickle

import numpy as np
import pytest

from jitprop.optimizers import SGD, Adam, AdamW, RMSProp, optimizer_from_dict
from jitprop.schedules import Constant, Cosine, Exponential, WarmUp
from jitprop_kernels import loops, vectorized
from jitprop_kernels.contract import COEFFICIENTS, RULES

STEPS = 6


def sgd(w, gradients, rates):
    for g, rate in zip(gradients, rates, strict=True):
        w = w - rate * g
    return w


def momentum(w, gradients, rates, mu=0.9, nesterov=False):
    m = 0.0
    for g, rate in zip(gradients, rates, strict=True):
        m = mu * m + g
        w = w - rate * (g + mu * m if nesterov else m)
    return w


def rmsprop(w, gradients, rates, rho=0.9, epsilon=1e-8):
    v = 0.0
    for g, rate in zip(gradients, rates, strict=True):
        v = rho * v + (1 - rho) * g * g
        w = w - rate * g / (math.sqrt(v) + epsilon)
    return w


def adam(w, gradients, rates, beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=0.0):
    m = v = 0.0
    for t, (g, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
        w = w - rate * weight_decay * w
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
        w = w - rate * m_hat / (math.sqrt(v_hat) + epsilon)
    return w


CASES = [
    (SGD(0.1), sgd),
    (SGD(0.1, momentum=0.9), momentum),
    (SGD(0.1, momentum=0.9, nesterov=True), lambda *a: momentum(*a, nesterov=True)),
    (RMSProp(0.1), rmsprop),
    (RMSProp(0.1, rho=0.5, epsilon=0.1), lambda *a: rmsprop(*a, rho=0.5, epsilon=0.1)),
    (Adam(0.1), adam),
    (Adam(0.1, beta1=0.0, beta2=0.5, epsilon=0.1), lambda *a: adam(*a, beta1=0.0, beta2=0.5, epsilon=0.1)),
    (AdamW(0.1, weight_decay=0.3), lambda *a: adam(*a, weight_decay=0.3)),
    (AdamW(Exponential(0.1, 0.5), weight_decay=0.3), lambda *a: adam(*a, weight_decay=0.3)),
]


@pytest.mark.parametrize("kernels", (loops, vectorized), ids=("loops", "vectorized"))
@pytest.mark.parametrize(("optimizer", "textbook"), CASES, ids=[str(case[0]) for case in CASES])
def test_textbook(optimizer, textbook, kernels):
    rng = np.random.default_rng(0)
    W, gradients = rng.standard_normal((2, 3)), rng.standard_normal((STEPS, 2, 3))
    rates = optimizer.schedule(np.arange(STEPS) / 3)
    expected = [textbook(float(W.flat[i]), gradients.reshape(STEPS, -1)[:, i], rates) for i in range(W.size)]
    state = [np.zeros_like(W) for _ in RULES[optimizer.rule].slots]
    rows = optimizer.coefficients(np.arange(1, STEPS + 1), rates)
    for row, gradient in zip(rows, gradients, strict=True):
        kernels.update(W, gradient, state, row, optimizer.rule)
    # A step has some ten roundings, relative to numbers of the size of 1.
    np.testing.assert_allclose(W.ravel(), expected, rtol=0, atol=10 * STEPS * np.finfo(float).eps)


def test_rows_do_not_depend_on_the_call():
    for optimizer, _ in CASES:
        steps = np.arange(1, 8)
        rates = optimizer.schedule(steps / 4)
        whole = optimizer.coefficients(steps, rates)
        assert (
            whole.dtype == np.float64 and whole.shape == (7, len(COEFFICIENTS)) and whole.flags.c_contiguous
        )
        parts = [optimizer.coefficients(steps[part], rates[part]) for part in (slice(3), slice(3, 7))]
        assert np.array_equal(whole, np.vstack(parts))
        clips = COEFFICIENTS.index("clip_value")
        assert np.isfinite(whole[:, :clips]).all() and (whole[:, clips:] == np.inf).all()


def test_bias_correction_far_out():
    """After very many steps the corrections are exactly 1."""
    optimizer = Adam(0.1)
    row = optimizer.coefficients(np.array([10**9]), np.array([0.1]))[0]
    assert row[COEFFICIENTS.index("rate")] == 0.1
    assert row[COEFFICIENTS.index("epsilon")] == 1e-8


@pytest.mark.parametrize("optimizer", [case[0] for case in CASES] + [SGD(WarmUp(Cosine(0.1, 5)))], ids=str)
def test_description_pickle_hash(optimizer):
    for twin in (
        optimizer_from_dict(json.loads(json.dumps(optimizer.to_dict()))),
        pickle.loads(pickle.dumps(optimizer)),
    ):
        assert twin == optimizer and hash(twin) == hash(optimizer) and type(twin) is type(optimizer)
    with pytest.raises(AttributeError):
        optimizer.learning_rate = 1.0


@pytest.mark.parametrize("kind", [SGD, RMSProp, Adam, AdamW])
def test_clipping(kind):
    """Two columns, by keyword only; a description without clipping does not mention it, and need not."""
    both = kind(0.1, clip_value=np.float32(0.5), clip_norm=2)
    assert (both.clip_value, both.clip_norm) == (0.5, 2.0)
    row = dict(zip(COEFFICIENTS, both.coefficients(np.array([3]), np.array([0.1]))[0], strict=True))
    without = dict(zip(COEFFICIENTS, kind(0.1).coefficients(np.array([3]), np.array([0.1]))[0], strict=True))
    assert row == without | {"clip_value": 0.5, "clip_norm": 2.0}
    assert repr(both).endswith(", clip_value=0.5, clip_norm=2.0)") and eval(repr(both)) == both
    assert "clip" not in repr(kind(0.1)) and eval(repr(kind(0.1))) == kind(0.1)
    one = kind(0.1, clip_norm=2.0)
    assert len({both, one, kind(0.1), kind(0.1, clip_value=0.5), kind(0.1, clip_norm=2)}) == 4
    for optimizer in (both, one, kind(0.1)):
        assert optimizer_from_dict(json.loads(json.dumps(optimizer.to_dict()))) == optimizer
    assert both.to_dict() == kind(0.1).to_dict() | {"clip_value": 0.5, "clip_norm": 2.0}
    assert not [name for name in kind(0.1).to_dict() if "clip" in name]
    assert optimizer_from_dict(kind(0.1).to_dict() | {"clip_value": None, "clip_norm": None}) == kind(0.1)
    with pytest.raises(TypeError, match="positional"):
        kind(0.1, *[0.5] * (len(kind(0.1).to_dict()) - 2), 0.5)


def test_equality():
    assert SGD(Constant(0.1)) == SGD(0.1) == SGD(np.float64(0.1))
    assert SGD(0.1) != SGD(0.2)
    assert Adam(0.1) != AdamW(0.1, weight_decay=0.0)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: SGD(0), ValueError, "learning_rate"),
        (lambda: Adam(-0.1), ValueError, "learning_rate"),
        (lambda: Adam(math.nan), ValueError, "learning_rate"),
        (lambda: RMSProp(math.inf), ValueError, "learning_rate"),
        (lambda: SGD(10**400), ValueError, "learning_rate"),
        (lambda: SGD("0.1"), TypeError, "learning_rate"),
        (lambda: SGD(True), TypeError, "learning_rate"),
        (lambda: SGD(lambda epoch: 0.1), TypeError, "learning_rate"),
        (lambda: SGD(Cosine), TypeError, "learning_rate"),
        (lambda: SGD(0.1, momentum=1.0), ValueError, "momentum of SGD"),
        (lambda: SGD(0.1, momentum=-0.1), ValueError, "momentum of SGD"),
        (lambda: SGD(0.1, nesterov=True), ValueError, "nesterov"),
        (lambda: SGD(0.1, 0.9, nesterov=1), TypeError, "nesterov"),
        (lambda: RMSProp(rho=1), ValueError, "rho of RMSProp"),
        (lambda: RMSProp(epsilon=0), ValueError, "epsilon of RMSProp"),
        (lambda: Adam(beta1=1.0), ValueError, "beta1 of Adam"),
        (lambda: Adam(beta2=-1e-9), ValueError, "beta2 of Adam"),
        (lambda: Adam(epsilon=None), TypeError, "epsilon of Adam"),
        (lambda: AdamW(weight_decay=-1), ValueError, "weight_decay of AdamW"),
        (lambda: SGD(clip_value=0), ValueError, "clip_value of SGD must be a finite number above 0, got 0"),
        (lambda: Adam(clip_value=-1.0), ValueError, "clip_value of Adam"),
        (lambda: Adam(clip_norm=0.0), ValueError, "clip_norm of Adam"),
        (lambda: AdamW(clip_norm=math.nan), ValueError, "clip_norm of AdamW"),
        (lambda: RMSProp(clip_norm=math.inf), ValueError, "clip_norm of RMSProp"),
        (lambda: RMSProp(clip_norm="1"), TypeError, "clip_norm of RMSProp"),
        (lambda: SGD(clip_value=True), TypeError, "clip_value of SGD"),
        (lambda: optimizer_from_dict(SGD().to_dict() | {"clip_norm": -1}), ValueError, "clip_norm of SGD"),
        (lambda: optimizer_from_dict(SGD().to_dict() | {"clip": 1.0}), ValueError, "fields"),
        (lambda: optimizer_from_dict({"name": "LBFGS"}), ValueError, "unknown optimizer"),
        (lambda: optimizer_from_dict({"name": {}}), ValueError, "unknown optimizer"),
        (lambda: optimizer_from_dict({"name": "SGD", "learning_rate": 0.1}), ValueError, "fields"),
        (lambda: optimizer_from_dict(Adam().to_dict() | {"beta1": "0.9"}), ValueError, "beta1"),
        (lambda: optimizer_from_dict([]), ValueError, "unknown optimizer"),
    ],
)
def test_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()
