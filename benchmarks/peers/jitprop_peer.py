"""jitprop: the compiled epoch as it is, and `Network.fit` around it, so that what the fit loop costs is seen."""

import numpy as np

from . import data
from .reference import BETA1, BETA2, EPSILON

__all__ = ["peak", "runners", "versions"]


def versions():
    import numba

    import jitprop

    return {"jitprop": jitprop.__version__, "numba": numba.__version__}


def peak(dtype, seconds):
    """GFLOP/s of one thread that only multiplies and adds in registers."""
    from jitprop_kernels.jit.peak import fma_peak

    return float(fma_peak(dtype, seconds))


def _network(case):
    import jitprop

    units = case.network.units
    given = data.parameters(case.network, case.dtype)
    names = [f"{kind}{l}" for l in range(1, len(units)) for kind in "Wb"]
    arrays = {name: a if a.ndim == 2 else a[:, None] for name, a in zip(names, given, strict=True)}
    output = "sigmoid" if units[-1] == 1 else "softmax"
    return jitprop.Network(list(units), "relu", output, initialization=arrays, dtype=case.dtype, seed=0)


def _optimizer(case, rate):
    import jitprop

    return jitprop.SGD(rate) if case.optimizer == "sgd" else jitprop.Adam(rate, BETA1, BETA2, EPSILON)


class _Training:
    def __init__(self, case, threads):
        self.case, self.network = case, _network(case)
        rows, self.y = data.examples(case.network, case.dtype)
        self.X = rows.T  # columns are examples; the memory is that of the peers
        _check_threads(threads)

    def reset(self, parameters, rate):
        shaped = (a if a.ndim == 2 else a[:, None] for a in parameters)
        self.network.parameters = dict(zip(self.network.parameters, shaped, strict=True))
        self.optimizer = _optimizer(self.case, rate)

    def parameters(self):
        return [array[:, 0] if l % 2 else array.copy() for l, array in enumerate(self.network.parameters.values())]


class Epoch(_Training):
    """`train_epoch` with a new permutation and the coefficients of every step each time; full batches in one call."""

    def __init__(self, case, threads):
        super().__init__(case, threads)
        from jitprop_kernels.doors import plain

        self.call, self.rng = plain(self.network.kernels.train_epoch), np.random.default_rng()
        self.Y = self.y[None] if case.network.units[-1] > 1 else self.y[None].astype(case.dtype)

    def reset(self, parameters, rate):
        super().reset(parameters, rate)
        from jitprop.architecture import allocate
        from jitprop_kernels.contract import RULES

        slots = RULES[self.optimizer.rule].slots
        self.state, self.t = [allocate(self.network.architecture)[1] for _ in slots], 0
        self.rate = rate

    def epochs(self, count):
        net = self.case.network
        if net.full:
            return float(self._train(None, count)[-1])
        for _ in range(count):
            costs = self._train(self.rng.permutation(net.examples), net.steps)
        return float(costs.mean())

    def follow(self, batches):
        for batch in batches:
            self._train(batch, 1)

    def _train(self, order, steps):
        architecture, numbers = self.network.architecture, self.t + np.arange(1, steps + 1)
        coefficients = self.optimizer.coefficients(numbers, np.full(steps, self.rate))
        costs = self.call(
            self.network.parameters.arrays, self.X, self.Y, order, self.case.network.batch, architecture.activations,
            architecture.output, architecture.loss, self.optimizer.rule, self.state, coefficients,
        )  # fmt: skip
        self.t += steps
        if len(costs) != steps:
            raise FloatingPointError(f"the cost of step {self.t} is not finite")
        return costs


class Fit(_Training):
    """`Network.fit` without callbacks."""

    def reset(self, parameters, rate):
        super().reset(parameters, rate)
        self.network.optimizer = None  # the averages start at zero

    def epochs(self, count):
        net = self.case.network
        batch = None if net.full else net.batch
        history = self.network.fit(self.X, self.y, count, batch, self.optimizer, verbose=False)
        return history.cost[-1]

    def follow(self, batches):
        for batch in batches:
            chosen = slice(None) if batch is None else batch
            self.network.fit(self.X[:, chosen], self.y[chosen], 1, None, self.optimizer, verbose=False)


class Prediction:
    """`Network.predict_proba`."""

    def __init__(self, case, threads):
        self.network = _network(case)
        self.X = data.examples(case.network, case.dtype, case.examples)[0].T
        _check_threads(threads)

    def predict(self):
        return self.network.predict_proba(self.X)

    def result(self):
        return self.predict().T


def _check_threads(threads):
    from jitprop_kernels.jit.compiling import get_num_threads

    if get_num_threads() != threads:
        raise RuntimeError(f"jitprop runs {get_num_threads()} threads, not {threads}")


def runners(case, threads):
    """{row: {way: how to make it}}."""
    if case.task != "train":
        return {"Network.predict_proba": {"": lambda: Prediction(case, threads)}}
    return {"jitprop": {"": lambda: Epoch(case, threads)}, "Network.fit": {"": lambda: Fit(case, threads)}}
