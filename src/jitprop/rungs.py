"""What the ladder climbs: the computations, and the rungs, which are ways to do them.

The rungs "compiled" and "prange" are the functions of `jitprop_kernels.loops`, compiled by plain ``numba.njit`` as
they stand, and with the outer loop on several threads (`compiledloops`, `parallelloops`).
"""

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from jitprop_kernels import contract, loops, vectorized
from jitprop_kernels.doors import plain

from . import kernelsets
from .kernelsets import get_num_threads, set_num_threads
from .optimizers import SGD

__all__ = ["RUNGS", "TASKS", "Task", "available", "call", "compile_seconds", "function", "rungs", "threads"]

RUNGS = {
    "loops": "Python loops",
    "one_loop": "one loop, NumPy in it",  # logistic regression only
    "compiled": "loops, njit",
    "prange": "loops, prange",
    "numpy": "NumPy",
    "jit1": "kernels, 1 thread",
    "jit": "kernels",  # with all threads
}
COMPILED = ("compiled", "prange", "jit1", "jit")
_LOOPS = "jitprop.compiledloops"  # imports Numba


class Task(NamedTuple):
    """A computation of `size` columns (or numbers, for the dot product), proportional to which is its work."""

    name: str
    title: str
    kernel: str
    arguments: Callable[..., tuple[Any, ...]]  # of size and dtype="float32"
    size: int
    sizes: tuple[int, ...]  # of the curve of time against size, `size` among them
    longest: int  # terms of the longest sum of fixed length: what rounding may grow to
    least: int = 1  # the smallest part that loops are extrapolated from
    unit: str = "examples"
    products: bool = True  # of matrices or vectors, which NumPy leaves to its BLAS and the threads of that


# The tasks


def _normal(*shapes: tuple[int, int], dtype: str) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.standard_normal(shape, np.float32).astype(dtype, copy=False) for shape in shapes]


def _dot(size: int, dtype: str = "float32") -> tuple[Any, ...]:
    return tuple(_normal((size, 1), (size, 1), dtype=dtype))


def _logistic(size: int, dtype: str = "float32") -> tuple[Any, ...]:
    W, b, X, Y = _normal((1, 12288), (1, 1), (12288, size), (1, size), dtype=dtype)
    return W / 100, b, X, (Y > 0).astype(dtype)


def _matmul(size: int, dtype: str = "float32") -> tuple[Any, ...]:
    return tuple(_normal((128, 784), (784, size), (128, 1), dtype=dtype))


def _elements(size: int, dtype: str = "float32") -> tuple[Any, ...]:
    return (3 * _normal((100, size), dtype=dtype)[0],)


def _backward(size: int, dtype: str = "float32") -> tuple[Any, ...]:
    arrays = _normal((128, size), (128, 784), (784, size), (784, size), dtype=dtype)
    return *arrays, "relu"


def _epoch(size: int, dtype: str = "float32") -> tuple[Any, ...]:
    W1, b1, W2, b2, X, Z = _normal((100, 64), (100, 1), (10, 100), (10, 1), (64, size), (10, size), dtype=dtype)
    parameters = [0.1 * W1, 0.0 * b1, 0.1 * W2, 0.0 * b2]
    Y = (Z == Z.max(axis=0)).astype(dtype)
    steps = -(-size // 64)
    rows = SGD(0.05).coefficients(np.arange(1, steps + 1), np.full(steps, 0.05))
    return parameters, X, Y, None, min(64, size), ["relu"], "softmax", "cross_entropy", "sgd", [], rows


_COLUMNS = (1, 8, 64, 256, 1024, 4096)
TASKS = {
    task.name: task
    for task in (
        Task("dot", "w^T x, the dot product", "dot", _dot, 1_000_000, (10, 100, 1000, 10_000, 100_000, 1_000_000), 1,
             unit="numbers"),
        Task("logistic", "logistic regression gradient, 12288 features", "logistic_gradient", _logistic, 209,
             (1, 4, 16, 64, 209), 12288),
        Task("matmul", "Z = W A_prev + b, 784 inputs, 128 units", "linear_forward", _matmul, 512,
             (1, 2, 8, 32, 128, 512), 784),
        *(Task(name, f"{name} of 100 units", name, _elements, 1024, _COLUMNS, 100, products=False)
          for name in (*contract.ACTIVATIONS, "softmax")),
        Task("backward", "backward of a relu layer, 784 inputs, 128 units", "layer_backward", _backward, 512,
             (1, 2, 8, 32, 128, 512), 128),
        Task("epoch", "an epoch of training, 64-100-10, batches of 64", "train_epoch", _epoch, 1024,
             (64, 256, 1024, 4096), 1000, least=64),
    )
}  # fmt: skip


# The rungs


def available() -> tuple[str, ...]:
    """The rungs this machine has: without Numba only those in Python and NumPy."""
    if importlib.util.find_spec("numba") is None:
        return tuple(rung for rung in RUNGS if rung not in COMPILED)
    return tuple(RUNGS)


def one_loop(W: Any, b: Any, X: Any, Y: Any) -> Any:
    """Cost and gradients of logistic regression with one loop, over the examples: the features are vectors."""
    n_x, m = X.shape
    J, dW, db = 0.0, np.zeros((1, n_x), X.dtype), np.zeros((1, 1), X.dtype)
    for i in range(m):
        x = X[:, i : i + 1]
        z = (W @ x + b)[0, 0]
        a = 1 / (1 + np.exp(-z))
        J += float(np.logaddexp(0, z) - Y[0, i] * z)  # -(y log a + (1 - y) log(1 - a)), from z
        dz = a - Y[0, i]
        dW += x.T * dz
        db += dz
    return J / m, dW / m, db / m


def function(task: str, rung: str) -> Callable[..., Any]:
    """The function that does `task` on `rung`, without checks of its arguments.

    Raises
    ------
    ValueError
        There is no such task or rung, or the task has no such rung.
    """
    if task not in TASKS:
        raise ValueError(f"unknown computation {task!r}; accepted: {', '.join(TASKS)}")
    if rung not in rungs(task):
        raise ValueError(f"{task} has no rung {rung!r}; accepted: {', '.join(rungs(task))}")
    if rung == "one_loop":
        return one_loop
    kernels: Any = {"loops": loops, "numpy": vectorized}.get(rung)
    if rung in ("compiled", "prange"):
        kernels = importlib.import_module(_LOOPS).compiled_set(rung == "prange")
    elif kernels is None:
        kernels = importlib.import_module("jitprop_kernels.jit")
    return plain(getattr(kernels, TASKS[task].kernel))


def compile_seconds() -> float:
    """How long this process has spent compiling kernels and loops, in seconds, loads from the cache excluded."""
    return kernelsets.compile_seconds() + (sys.modules[_LOOPS].compile_seconds() if _LOOPS in sys.modules else 0.0)


def rungs(task: str) -> tuple[str, ...]:
    """The rungs of a task on this machine, from the bottom."""
    most = get_num_threads() if "jit" in available() else 1
    absent = {"one_loop"} if task != "logistic" else set()
    if most == 1:
        absent.add("jit")  # it would be the rung below once more
    return tuple(rung for rung in available() if rung not in absent)


@contextlib.contextmanager
def threads(rung: str) -> Iterator[int | None]:
    """The threads that a rung runs on: one, or all that jitprop may use; None where NumPy decides."""
    if rung not in ("prange", "jit1", "jit"):
        yield 1 if rung in ("loops", "compiled") else None
        return
    most = get_num_threads()
    if rung == "jit1":
        set_num_threads(1)
    try:
        with importlib.import_module("jitprop_kernels.jit.compiling").parallel_region():
            yield get_num_threads()
    finally:
        if rung == "jit1":
            set_num_threads(most)


def call(task: str, rung: str, *arguments: Any) -> Any:
    """The result of a task on a rung."""
    with threads(rung):
        return function(task, rung)(*arguments)
