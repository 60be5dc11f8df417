"""JAX: a step compiled by jit and called from Python, and a whole epoch in one compiled scan with donated buffers."""

import math

import numpy as np

from . import data
from .reference import BETA1, BETA2, EPSILON

__all__ = ["runners", "versions"]


def versions():
    import jax
    import jaxlib

    return {"jax": jax.__version__, "jaxlib": jaxlib.__version__}


def _set_dtype(case):
    import jax

    jax.config.update("jax_enable_x64", case.dtype == "float64")


def _logits(p, x, turned):
    import jax

    for W, b in p[:-1]:
        x = jax.nn.relu(x @ (W if turned else W.T) + b)
    W, b = p[-1]
    return x @ (W if turned else W.T) + b


def _cost(p, x, y, turned):
    import jax
    import jax.numpy as jnp

    Z = _logits(p, x, turned)
    if Z.shape[1] == 1:
        z = Z[:, 0]
        return jnp.mean(jnp.maximum(z, 0) - z * y + jnp.log1p(jnp.exp(-jnp.abs(z))))
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(Z), y[:, None], 1, mode="promise_in_bounds"))


def _pairs(arrays, turned):
    import jax.numpy as jnp

    pairs = zip(arrays[::2], arrays[1::2], strict=True)
    return [(jnp.array(W.T.copy() if turned else W), jnp.array(b)) for W, b in pairs]


class _Training:
    span = 1  # epochs that one count of `epochs` is

    def __init__(self, case, turned):
        import jax.numpy as jnp

        _set_dtype(case)
        self.case, self.turned = case, turned  # whether weights lie as (n_prev, n)
        X, y = data.examples(case.network, case.dtype)
        self.X = jnp.array(X)
        self.y = jnp.array(y.astype(case.dtype if case.network.units[-1] == 1 else np.int32))
        self.rng = np.random.default_rng()

    def reset(self, parameters, rate):
        import jax
        import jax.numpy as jnp

        p = _pairs(parameters, self.turned)
        self.rate = jnp.array(rate, self.case.dtype)
        zeros = [jax.tree_util.tree_map(jnp.zeros_like, p) for _ in "mv"]
        adam = (*zeros, jnp.zeros((), self.case.dtype))
        self.state = p, adam if self.case.optimizer == "adam" else ()

    def parameters(self):
        found = [np.asarray(array) for pair in self.state[0] for array in pair]
        return [array.T if self.turned else array for array in found]

    def _step(self, state, X, y, chosen, rate):
        """One step in JAX: the new state, and the cost."""
        import jax
        import jax.numpy as jnp

        p, kept = state
        if chosen is not None:
            X, y = (array.at[chosen].get(mode="promise_in_bounds") for array in (X, y))
        cost, g = jax.value_and_grad(_cost)(p, X, y, self.turned)
        each = jax.tree_util.tree_map
        if self.case.optimizer == "sgd":
            return (each(lambda w, g: w - rate * g, p, g), kept), cost
        m, v, t = kept
        t = t + 1
        # expm1: in float32 the difference 1 - beta2^t would lose half of its digits.
        root = jnp.sqrt(-jnp.expm1(t * math.log(BETA2)))
        factor, epsilon = -rate * root / jnp.expm1(t * math.log(BETA1)), EPSILON * root
        m = each(lambda m, g: BETA1 * m + (1 - BETA1) * g, m, g)
        v = each(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, v, g)
        p = each(lambda w, m, v: w - factor * m / (jnp.sqrt(v) + epsilon), p, m, v)
        return (p, (m, v, t)), cost


class Step(_Training):
    """A call of a compiled function a step, the permutation drawn by NumPy."""

    def __init__(self, case, turned):
        import jax

        super().__init__(case, turned)
        self.compiled = jax.jit(self._step, donate_argnums=0)

    def epochs(self, count):
        net = self.case.network
        for _ in range(count):
            order = [None] if net.full else self.rng.permutation(net.examples).astype(np.int32).reshape(-1, net.batch)
            costs = self.follow(order)
        return float(sum(costs)) / net.steps

    def follow(self, batches):
        import jax

        state, costs = self.state, []
        for batch in batches:
            chosen = None if batch is None else batch.astype(np.int32, copy=False)
            state, cost = self.compiled(state, self.X, self.y, chosen, self.rate)
            costs.append(cost)
        self.state = jax.block_until_ready(state)
        return costs


class Scan(_Training):
    """A call of a compiled function an epoch, the permutation drawn by NumPy."""

    def __init__(self, case, turned, unroll=1):
        import jax

        super().__init__(case, turned)
        self.unroll = unroll
        self.compiled = jax.jit(self._epoch, donate_argnums=0)

    def _epoch(self, state, X, y, order, rate):
        import jax

        def body(state, chosen):
            return self._step(state, X, y, chosen, rate)

        return jax.lax.scan(body, state, order, unroll=self.unroll)

    def epochs(self, count):
        net = self.case.network
        for _ in range(count):
            costs = self._run(self.rng.permutation(net.examples).astype(np.int32).reshape(-1, net.batch))
        return float(costs.mean())

    def _run(self, order):
        import jax

        self.state, costs = self.compiled(self.state, self.X, self.y, order, self.rate)
        jax.block_until_ready(self.state)
        return costs

    def follow(self, batches):
        self._run(np.array(batches, np.int32))


class FullScan(Scan):
    """Several epochs of one batch each in one call: an epoch that is one step leaves nothing to scan over else."""

    LENGTH = span = 10

    def _epoch(self, state, X, y, order, rate):
        import jax

        def body(state, _):
            return self._step(state, X, y, None, rate)

        return jax.lax.scan(body, state, None, length=self.LENGTH)

    def epochs(self, count):
        for _ in range(count):
            costs = self._run(None)
        return float(costs[-1])

    def follow(self, batches):
        if len(batches) != self.LENGTH:
            raise ValueError(f"one call makes {self.LENGTH} steps, not {len(batches)}")
        self._run(None)


class Prediction:
    """Forward, compiled."""

    def __init__(self, case, turned):
        import jax
        import jax.numpy as jnp

        _set_dtype(case)
        output = jax.nn.sigmoid if case.network.units[-1] == 1 else jax.nn.softmax
        self.p = _pairs(data.parameters(case.network, case.dtype), turned)
        self.X = jnp.array(data.examples(case.network, case.dtype, case.examples)[0])
        self.compiled = jax.jit(lambda p, X: output(_logits(p, X, turned)))

    def predict(self):
        return self.compiled(self.p, self.X).block_until_ready()

    def result(self):
        return np.asarray(self.predict())


def runners(case, threads):
    """{row: {way: how to make it}}."""

    def each(kind, **options):
        return {"": lambda: kind(case, False, **options), "W turned": lambda: kind(case, True, **options)}

    if case.task != "train":
        return {"JAX": each(Prediction)}
    if case.network.full:
        return {"JAX step": each(Step), "JAX scan": each(FullScan)}
    unrolled = each(Scan, unroll=min(4, case.network.steps))
    scans = each(Scan) | {f"unrolled, {way}".rstrip(", "): make for way, make in unrolled.items()}
    return {"JAX step": each(Step), "JAX scan": scans}
