"""NumPy: a lean loop that allocates nothing, with out= everywhere and the update in pieces that stay in cache."""

import numpy as np

from . import data
from .reference import BETA1, BETA2, EPSILON

__all__ = ["runners", "versions"]

_PIECE = 2**15  # elements of the flat parameters that are updated together


def versions():
    return {"numpy": np.__version__}


def _buffers(units, rows, dtype):
    return [np.empty((rows, n), dtype) for n in units]


def _views(flat, units):
    """W and b of every layer as views of one flat array, so that an update is one pass."""
    found, start = [], 0
    for n_prev, n in zip(units, units[1:], strict=False):
        found.append(flat[start : start + n * n_prev].reshape(n, n_prev))
        found.append(flat[start + n * n_prev : start + n * n_prev + n])
        start += n * n_prev + n
    return found


def _size(units):
    return sum(n * n_prev + n for n_prev, n in zip(units, units[1:], strict=False))


class Training:
    """Examples are rows, as they lie in memory."""

    def __init__(self, case):
        net = self.net = case.network
        self.optimizer, self.X = case.optimizer, None
        self.X, self.y = data.examples(net, case.dtype)
        self.flat, self.gradient, self.m, self.v = (np.zeros(_size(net.units), case.dtype) for _ in range(4))
        self.scratch = np.empty(min(_PIECE, self.flat.size), case.dtype)
        self.p, self.g = _views(self.flat, net.units), _views(self.gradient, net.units)
        self.L = len(net.units) - 1
        self.A, self.dA = _buffers(net.units, net.batch, case.dtype), _buffers(net.units[1:], net.batch, case.dtype)
        self.masks = _buffers(net.units, net.batch, bool)
        self.labels = np.empty(net.batch, np.int64)
        self.rows, self.ones = np.arange(net.batch), np.ones(net.batch, case.dtype)
        self.column, self.target = (np.empty((net.batch, 1), case.dtype) for _ in range(2))
        self.Y = self.y[:, None].astype(case.dtype)
        self.rng = np.random.default_rng()

    def reset(self, parameters, rate):
        for view, array in zip(self.p, parameters, strict=True):
            view[...] = array
        self.m[:], self.v[:], self.rate, self.t = 0, 0, rate, 0

    def parameters(self):
        return [view.copy() for view in self.p]

    def epochs(self, count):
        net = self.net
        for _ in range(count):
            if net.full:
                total = self.step(None)
                continue
            order, total = self.rng.permutation(net.examples), 0.0
            for start in range(0, net.examples, net.batch):
                total += self.step(order[start : start + net.batch])
        return total / net.steps

    def follow(self, batches):
        for batch in batches:
            self.step(batch)

    def step(self, chosen):
        if chosen is None:
            self.A[0], labels, target = self.X, self.y, self.Y
        else:
            # mode="clip" writes to out directly; the default goes through a copy.
            np.take(self.X, chosen, 0, self.A[0], "clip")
            labels, target = self.labels, self.target
            if self.net.units[-1] == 1:
                np.take(self.Y, chosen, 0, target, "clip")
            else:
                np.take(self.y, chosen, 0, labels, "clip")
        self._forward()
        cost = self._logistic(target) if self.net.units[-1] == 1 else self._softmax(labels)
        self._backward()
        self._update()
        return cost

    def _forward(self):
        A, p = self.A, self.p
        for l in range(self.L):
            Z = np.dot(A[l], p[2 * l].T, A[l + 1])
            Z += p[2 * l + 1]
            if l + 1 < self.L:
                np.maximum(Z, 0, out=Z)

    def _softmax(self, labels):
        """The mean cost; leaves dZ / batch."""
        Z, dZ, column = self.A[-1], self.dA[-1], self.column
        np.max(Z, 1, column, True)
        Z -= column
        np.exp(Z, dZ)
        np.sum(dZ, 1, None, column, True)
        cost = (np.log(column).sum() - Z[self.rows, labels].sum()) / len(Z)
        dZ /= column
        dZ[self.rows, labels] -= 1
        dZ *= 1 / len(Z)
        return cost

    def _logistic(self, target):
        """The mean cost from z: max(z, 0) - z y + log(1 + e^-|z|); leaves dZ / batch."""
        Z, dZ, column = self.A[-1], self.dA[-1], self.column
        np.abs(Z, column)
        np.negative(column, column)
        np.exp(column, column)
        np.log1p(column, dZ)
        cost = dZ.sum()
        np.maximum(Z, 0, out=dZ)
        cost += dZ.sum() - np.dot(Z[:, 0], target[:, 0])
        # sigmoid(z) is 1 / (1 + e) for z >= 0 and e / (1 + e) below, with e = e^-|z|
        np.copyto(dZ, column)
        np.copyto(dZ, 1, where=Z >= 0)
        column += 1
        dZ /= column
        dZ -= target
        dZ *= 1 / len(Z)
        return cost / len(Z)

    def _backward(self):
        A, dA, p, g = self.A, self.dA, self.p, self.g
        for l in range(self.L - 1, -1, -1):
            dZ = dA[l]
            np.dot(dZ.T, A[l], g[2 * l])
            np.dot(self.ones, dZ, g[2 * l + 1])
            if l:
                np.dot(dZ, p[2 * l], dA[l - 1])
                np.greater(A[l], 0, self.masks[l])
                dA[l - 1] *= self.masks[l]

    def _update(self):
        if self.optimizer == "adam":
            self.t += 1
            root = np.sqrt(1 - BETA2**self.t)
            rate, epsilon = float(self.rate * root / (1 - BETA1**self.t)), float(EPSILON * root)
        for start in range(0, self.flat.size, _PIECE):
            piece = slice(start, start + _PIECE)
            w, g = self.flat[piece], self.gradient[piece]
            if self.optimizer == "sgd":
                g *= self.rate
                w -= g
                continue
            m, v, s = self.m[piece], self.v[piece], self.scratch[: w.size]
            m *= BETA1
            np.multiply(g, 1 - BETA1, s)
            m += s
            v *= BETA2
            g *= g
            g *= 1 - BETA2
            v += g
            np.sqrt(v, s)
            s += epsilon
            np.divide(m, s, s)
            s *= rate
            w -= s


class Prediction:
    """Forward through buffers made once."""

    def __init__(self, case):
        units = case.network.units
        self.X = data.examples(case.network, case.dtype, case.examples)[0]
        self.p = data.parameters(case.network, case.dtype)
        self.A = [self.X, *_buffers(units[1:], len(self.X), case.dtype)]
        self.column = np.empty((len(self.X), 1), case.dtype)
        self.L = len(units) - 1

    def predict(self):
        Z = self.X
        for l in range(self.L):
            Z = np.dot(Z, self.p[2 * l].T, self.A[l + 1])
            Z += self.p[2 * l + 1]
            if l + 1 < self.L:
                np.maximum(Z, 0, out=Z)
        if Z.shape[1] == 1:
            np.negative(Z, Z)
            np.exp(Z, Z)
            Z += 1
            return np.reciprocal(Z, Z)
        np.max(Z, 1, self.column, True)
        Z -= self.column
        np.exp(Z, Z)
        np.sum(Z, 1, None, self.column, True)
        Z /= self.column
        return Z

    def result(self):
        return self.predict()


def runners(case, threads):
    """The rows of this framework with the ways to run each: {row: {way: how to make it}}."""
    kind = Training if case.task == "train" else Prediction
    return {"NumPy": {"": lambda: kind(case)}}
