"""What every framework is held to: ten steps written down plainly in float64, and the tolerance.

A sum of k terms of either sign carries an error of about sqrt(k) eps (Higham and Mary, "A new approach to
probabilistic rounding error analysis", 2019). A step of a layer has a sum over n_prev units forward, over n units
backward and over the batch for dW, and some 8 roundings of elementwise functions. Each of the ten steps adds its
errors, so the tolerance on the cost, relative to the cost, is

    10 eps sum over layers of (sqrt(n_prev) + sqrt(n) + sqrt(batch) + 8)

with the eps of the dtype. The ten steps must move the cost by at least 10 times the tolerance: else the check would
not notice a framework that trains wrongly.
"""

import math

import numpy as np

from . import data

__all__ = ["RATES", "STEPS", "compare", "cost", "outputs", "tolerance", "train"]

STEPS = 10
RATES = {"sgd": 0.05, "adam": 0.002}
# Of Adam, everywhere. With the usual epsilon of 1e-8 a gradient of nothing but rounding errors moves a parameter by a
# whole rate, and ten steps of a deep network end at costs that differ by 1e-3. The speed does not depend on it.
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-4
MOVED = 10.0
_JUDGED = 2048  # examples at most that the cost is computed of


def tolerance(case):
    """On the cost, relative to the cost."""
    units, batch = case.network.units, math.sqrt(case.network.batch)
    sums = sum(math.sqrt(a) + math.sqrt(b) + batch + 8 for a, b in zip(units, units[1:], strict=False))
    return STEPS * float(np.finfo(case.dtype).eps) * sums


def _forward(parameters, X):
    A = [X]
    for W, b in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
        A.append(np.maximum(A[-1] @ W.T + b, 0.0))
    return A, A[-1] @ parameters[-2].T + parameters[-1]


def _probabilities(Z):
    if Z.shape[1] == 1:
        return np.where(Z >= 0, 1 / (1 + np.exp(-np.abs(Z))), np.exp(-np.abs(Z)) / (1 + np.exp(-np.abs(Z))))
    E = np.exp(Z - Z.max(axis=1, keepdims=True))
    return E / E.sum(axis=1, keepdims=True)


def outputs(parameters, X):
    """The probabilities (m, n[L]) in float64."""
    return _probabilities(_forward([p.astype(np.float64) for p in parameters], X.astype(np.float64))[1])


def _hot(y, classes):
    return y[:, None].astype(np.float64) if classes == 1 else np.eye(classes)[y]


def judged(case, X, y):
    """The examples of the ten batches, or of their last ones, by which the cost after them is judged."""
    found = data.batches(case.network, STEPS)
    visited = np.arange(len(X)) if found[0] is None else np.unique(np.concatenate(found))
    return X[visited[-_JUDGED:]], y[visited[-_JUDGED:]]


def cost(case, parameters, X, y):
    """The mean cross-entropy of the judged examples, in float64."""
    X, y = judged(case, X, y)
    Z = _forward([np.asarray(p, np.float64) for p in parameters], X.astype(np.float64))[1]
    if Z.shape[1] == 1:
        z = Z[:, 0]
        return float(np.mean(np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z)))))
    top = Z.max(axis=1)
    total = top + np.log(np.exp(Z - top[:, None]).sum(axis=1))
    return float(np.mean(total - Z[np.arange(len(y)), y]))


def _gradients(parameters, X, Y):
    A, Z = _forward(parameters, X)
    dZ, found = (_probabilities(Z) - Y) / len(X), []
    for l in range(len(A) - 1, -1, -1):
        found = [dZ.T @ A[l], dZ.sum(axis=0), *found]
        if l:
            dZ = (dZ @ parameters[2 * l]) * (A[l] > 0)
    return found


def train(case, X, y):
    """The parameters after ten steps from the first ones, in float64."""
    p = [a.astype(np.float64) for a in data.parameters(case.network, case.dtype)]
    m, v = ([np.zeros_like(a) for a in p] for _ in "mv")
    rate = RATES[case.optimizer]
    for t, batch in enumerate(data.batches(case.network, STEPS), start=1):
        chosen = slice(None) if batch is None else batch
        Y = _hot(y[chosen], case.network.units[-1])
        for i, g in enumerate(_gradients(p, X[chosen].astype(np.float64), Y)):
            if case.optimizer == "sgd":
                p[i] -= rate * g
                continue
            m[i] = BETA1 * m[i] + (1 - BETA1) * g
            v[i] = BETA2 * v[i] + (1 - BETA2) * g * g
            p[i] -= rate * (m[i] / (1 - BETA1**t)) / (np.sqrt(v[i] / (1 - BETA2**t)) + EPSILON)
    return p


def compare(case):
    """The cost before and after ten steps, and the tolerance on the latter; an error if the steps hardly move it."""
    X, y = data.examples(case.network, case.dtype)
    before = cost(case, data.parameters(case.network, case.dtype), X, y)
    after = cost(case, train(case, X, y), X, y)
    allowed = tolerance(case) * max(before, after)
    if not abs(after - before) >= MOVED * allowed:
        raise ValueError(f"{case}: ten steps take the cost from {before:.6g} to {after:.6g}, too little for a check")
    return {"before": before, "after": after, "tolerance": allowed}
