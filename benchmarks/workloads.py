"""What is measured: arguments for every kernel at named sizes, networks with data, and the check before a time.

The random data depend on the kernel, the size and the dtype only, so that every implementation and every commit is
given the same.
"""

import hashlib
import importlib
import inspect
import os
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jitprop_kernels import loops
from jitprop_kernels.contract import COEFFICIENTS, KERNELS
from jitprop_kernels.doors import plain

from . import compiled

DTYPES = ("float32", "float64")
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
ROOT = Path(__file__).resolve().parents[1]
MODE = os.environ.get("JITPROP_BENCHMARKS", "full")
QUICK = MODE == "quick"  # the smallest of everything, to see that all of it runs
COMPARE = MODE == "compare"  # everything but what takes long, at both commits in turn
IMPLEMENTATIONS = ("loops", "vectorized", "jit") if COMPARE else ("loops", "loops compiled", "vectorized", "jit")

AFFINE = {"16x16 on 16": (16, 16, 16), "64x64 on 64": (64, 64, 64), "128x784 on 128": (128, 784, 128),
          "512x512 on 512": (512, 512, 512)}  # fmt: skip
ELEMENTS = {"16x16": (16, 16), "128x128": (128, 128), "784x1024": (784, 1024)}
COLUMNS = {"10x32": (10, 32), "10x1024": (10, 1024), "1000x256": (1000, 256)}
VECTORS = {"1000": (1000,), "30000": (30_000,), "1000000": (1_000_000,)}
LOGISTIC = {"64 features, 100 examples": (64, 100), "784 features, 1000 examples": (784, 1000),
            "12288 features, 209 examples": (12288, 209)}  # fmt: skip


class Net(NamedTuple):
    """A network to train: units of its layers, what it is made of, and its data; without a batch size all in order."""

    units: tuple[int, ...]
    m: int
    batch_size: int | None
    activation: str = "relu"
    output: str = "softmax"

    @property
    def products(self):
        """Multiplications of an epoch, forward and backward."""
        return 3 * self.m * sum(a * b for a, b in zip(self.units, self.units[1:], strict=False))

    @property
    def longest(self):
        """Numbers in the longest sum of an epoch: what an early step rounds, the later ones carry on."""
        batch = self.batch_size or self.m
        return 2 * -(-self.m // batch) * (sum(self.units) + batch)


NETWORKS = {
    "20-32-1, batch 32": Net((20, 32, 1), 256, 32, "tanh", "sigmoid"),
    "64-100-10, batch 200": Net((64, 100, 10), 1000, 200),
    "784-128-64-10, batch 128": Net((784, 128, 64, 10), 1280, 128),
    "12288-20-7-5-1, full batch of 209": Net((12288, 20, 7, 5, 1), 209, None, "relu", "sigmoid"),
    "784-1024-1024-10, batch 256": Net((784, 1024, 1024, 10), 512, 256),
    "784-2048-2048-10, batch 1024": Net((784, 2048, 2048, 10), 1024, 1024),
}
LEARNS = 0.05  # the rate at which results are compared
STAYS = 1e-12  # the rate at which is timed: so small that every call meets the same parameters

# Steps of an innermost loop (some 0.3 us each in Python, 1 ns compiled) in one call beyond which there is no time:
# asv calls a benchmark some ten times in a round, with its check.
LIMITS = {"loops": 1_200_000, "loops compiled": 1_200_000_000}
TIMED = {"loops": 150_000, "loops compiled": 150_000_000} if COMPARE else LIMITS


def chosen(table):
    """The names to measure: all, or in a quick pass the first, which is the smallest."""
    names = list(table)
    return names[:1] if QUICK else names


# Compiling the loops of a whole network takes seconds in every process that asv starts; a quick pass does it once.
OF_NETWORKS = tuple(name for name in IMPLEMENTATIONS if not (QUICK and name == "loops compiled"))


def kernel_set(implementation):
    """The module, or the whole kernel set, of an implementation."""
    if implementation == "loops compiled":
        return compiled.kernel_set()
    return importlib.import_module(f"jitprop_kernels.{implementation}")


def skip_slow(implementation, steps):
    """Say that there is no time for so many steps of a loop, which asv shows as n/a."""
    if steps > TIMED.get(implementation, np.inf):
        raise NotImplementedError(f"{implementation} would take too long: {steps:.1e} steps of a loop")


class Work(NamedTuple):
    """Arguments of one kernel: how to make them, steps of its innermost loop, numbers in its longest sum."""

    make: object
    steps: int
    longest: int
    operations: int = 0


def _normal(generator, dtype, *shape):
    return generator.standard_normal(shape).astype(dtype)


def coefficients(steps, rate):
    """Rows for Adam, so that nothing changes where the rate is STAYS."""
    values = {"step": 1, "rate": rate, "decay": 1.0, "beta1": 0.9, "gain1": 0.1, "momentum_share": 1.0, "beta2": 0.99,
              "gain2": 0.01, "epsilon": 1e-3, "clip_value": np.inf, "clip_norm": np.inf}  # fmt: skip
    return np.tile([float(values.get(name, 0.0)) for name in COEFFICIENTS], (steps, 1))


def _affine(kernel, shape):
    n, k, m = shape

    def make(g, dtype, rate):
        W, A_prev, b = _normal(g, dtype, n, k), _normal(g, dtype, k, m), _normal(g, dtype, n, 1)
        dZ, Z_prev = _normal(g, dtype, n, m), _normal(g, dtype, k, m)
        return {
            "linear_forward": (W, A_prev, b),
            "linear_backward": (dZ, A_prev, W),
            "layer_forward": (W, A_prev, b, "relu"),
            "layer_backward": (dZ, W, A_prev, Z_prev, "relu"),
        }[kernel]

    passes = 2 if "backward" in kernel else 1
    return Work(make, passes * n * k * m, max(shape), 2 * passes * n * k * m)


def _elements(kernel, shape):
    n, m = shape

    def make(g, dtype, rate):
        Z = 3 * _normal(g, dtype, n, m)
        if kernel == "dropout":
            return Z, 0.2, 12345
        if kernel != "update":
            return (Z,)
        state = [_normal(g, dtype, n, m), np.square(_normal(g, dtype, n, m))]
        return Z, _normal(g, dtype, n, m), state, coefficients(1, rate)[0], "adam"

    return Work(make, n * m, n)


def _output_head(kernel, shape):
    n, m = shape

    def make(g, dtype, rate):
        return _normal(g, dtype, n, m), g.integers(0, n, (1, m)), "cross_entropy", "softmax"

    return Work(make, n * m, n + m)


def _dot(kernel, shape):
    (n,) = shape

    def make(g, dtype, rate):  # positive: where terms cancel, the error is large beside the result
        return abs(_normal(g, dtype, n, 1)), abs(_normal(g, dtype, n, 1))

    return Work(make, n, n, 2 * n)


def _logistic_gradient(kernel, shape):
    n_x, m = shape

    def make(g, dtype, rate):
        W, X = _normal(g, dtype, 1, n_x) / dtype.type(n_x) ** 0.5, _normal(g, dtype, n_x, m)
        return W, np.zeros((1, 1), dtype), X, g.integers(0, 2, (1, m)).astype(dtype)

    return Work(make, 2 * n_x * m, max(shape), 4 * n_x * m)


def _parameters(g, net, dtype):
    """[W1, b1, ..., WL, bL]."""
    found = []
    for n_prev, n in zip(net.units, net.units[1:], strict=False):
        found += [_normal(g, dtype, n, n_prev) / dtype.type(n_prev) ** 0.5, np.zeros((n, 1), dtype)]
    return found


def _network_forward(kernel, net):
    def make(g, dtype, rate):
        return _parameters(g, net, dtype), data(net, dtype)[0], [net.activation] * (len(net.units) - 2), net.output

    return Work(make, net.products // 3, sum(net.units), 2 * net.products // 3)


def _train_epoch(kernel, net):
    steps = -(-net.m // (net.batch_size or net.m))

    def make(g, dtype, rate):
        parameters = _parameters(g, net, dtype)
        X, Y = data(net, dtype)
        Y = Y[np.newaxis] if net.output == "softmax" else Y
        state = [[np.zeros_like(p) for p in parameters] for _ in range(2)]
        loss = "cross_entropy" if net.output == "softmax" else "binary_cross_entropy"
        hidden = [net.activation] * (len(net.units) - 2)
        order = g.permutation(net.m) if net.batch_size else None
        return (parameters, X, Y, order, net.batch_size or net.m, hidden, net.output, loss, "adam", state,
                coefficients(steps, rate))  # fmt: skip

    return Work(make, net.products, net.longest, 2 * net.products)


_OF_KERNELS = {name: net for name, net in NETWORKS.items() if not COMPARE or net.products < 1e9}
_KINDS = {
    "dot": (_dot, VECTORS),
    "logistic_gradient": (_logistic_gradient, LOGISTIC),
    **dict.fromkeys(("linear_forward", "linear_backward", "layer_forward", "layer_backward"), (_affine, AFFINE)),
    "output_head": (_output_head, COLUMNS),
    "network_forward": (_network_forward, _OF_KERNELS),
    "train_epoch": (_train_epoch, _OF_KERNELS),
}
SIZES = {kernel: _KINDS.get(kernel, (None, ELEMENTS))[1] for kernel in KERNELS}


def work(kernel, size):
    """The `Work` of a kernel at one of its `SIZES`, or at a shape of the same form."""
    shape = SIZES[kernel][size] if isinstance(size, str) else size
    return _KINDS.get(kernel, (_elements, None))[0](kernel, shape)


def arguments(kernel, size, dtype, rate=LEARNS):
    """The arguments of a call; `rate` is that of the kernels that update parameters."""
    seed = zlib.crc32(f"{kernel} {size} {dtype}".encode())
    return work(kernel, size).make(np.random.default_rng(seed), np.dtype(dtype), rate)


def data(net, dtype):
    """X, an example a row in memory as tables are, and Y: class indices or 0 and 1, from a linear rule with noise."""
    g = np.random.default_rng(net.m)
    X = g.standard_normal((net.m, net.units[0])).astype(dtype).T
    scores = g.standard_normal((net.units[-1], net.units[0])) @ X + g.standard_normal((net.units[-1], net.m))
    return X, scores.argmax(axis=0) if net.output == "softmax" else (scores > 0).astype(dtype)


def _each(function, value):
    """`function` of every array in nested lists."""
    if isinstance(value, list | tuple):
        return type(value)(_each(function, item) for item in value)
    return function(value) if isinstance(value, np.ndarray) else value


_CHANGED = {"update": (0, 2), "train_epoch": (0, 9)}  # the places of arguments that are changed


def results(kernel, function, arguments):
    """Everything that `function` returns or changes, as a flat list in float64; the arguments stay as they were."""
    own = _each(lambda array: array.copy("K"), arguments)
    found = []

    def collect(value):
        if isinstance(value, list | tuple):
            for item in value:
                collect(item)
        elif value is not None:
            found.append(np.asarray(value, np.float64))

    collect([function(*own), [own[place] for place in _CHANGED.get(kernel, ())]])
    return found


_STORE = ROOT / ".asv" / "references"


def kept(what, compute):
    """`compute()`, a list of arrays, kept in a file for the next process; `what` says in full what they are."""
    modules = (loops, compiled, importlib.import_module(__name__))
    sources = "".join(inspect.getsource(module) for module in modules)
    name = hashlib.sha256(f"{what} {np.__version__} {sources}".encode()).hexdigest()[:32]
    path = _STORE / f"{name}.npz"
    if path.exists():
        with np.load(path, allow_pickle=False) as file:
            return [file[f"arr_{number}"] for number in range(len(file))]
    found = compute()
    _STORE.mkdir(parents=True, exist_ok=True)
    written = path.with_name(f"{name}.{os.getpid()}.npz")
    np.savez(written, *found)
    os.replace(written, path)
    return found


def defines(steps):
    """What says what is right where Python's loops take long: those loops compiled unchanged, and where these take
    minutes too NumPy, which is itself held to the loops at the smaller sizes."""
    return "loops compiled" if steps <= LIMITS["loops compiled"] else "vectorized"


def reference(kernel, size, dtype):
    """The results of the loops in float64: in Python where that is a moment, else compiled unchanged, and kept."""
    given = _each(lambda a: a.astype(np.float64) if a.dtype.kind == "f" else a, arguments(kernel, size, dtype))
    steps = work(kernel, size).steps
    if steps <= 20_000:
        return results(kernel, plain(getattr(loops, kernel)), given)
    function = plain(getattr(kernel_set(defines(steps)), kernel))
    return kept(f"{kernel} {size} {dtype}", lambda: results(kernel, function, given))


def agree(actual, expected, dtype, longest):
    """Raise unless two lists of arrays are the same to rounding.

    A sum of k products in any order is good to k eps times its terms (see tests/tolerances.py); errors of random terms
    add up to about the square root of that, so that the largest element of a result serves as the size of all. The
    functions around the sums are good to 8 eps.
    """
    bound = (8 + longest) * float(np.finfo(dtype).eps)
    for number, (a, b) in enumerate(zip(actual, expected, strict=True)):
        if a.shape != b.shape:
            raise AssertionError(f"result {number} has shape {a.shape}, the reference {b.shape}")
        error, size = np.abs(a - b).max(), np.abs(b).max()
        if not error <= bound * max(size, np.finfo(dtype).tiny):
            raise AssertionError(f"result {number} is {error:.3g} from the reference, whose size is {size:.3g}")


def check_kernel(implementation, kernel, size, dtype):
    """Raise unless the implementation agrees with the loops in float64 at this very shape."""
    function = getattr(kernel_set(implementation), kernel)
    actual = results(kernel, function, arguments(kernel, size, dtype))
    agree(actual, reference(kernel, size, dtype), dtype, work(kernel, size).longest)
