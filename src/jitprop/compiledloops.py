"""The loops of `jitprop_kernels.loops`, compiled by Numba as they stand: the rungs "compiled" and "prange".

The options are those of plain ``numba.njit``. What is compiled is kept in the cache of the kernels, so that only the
first comparison on a machine waits for it.
"""

import dis
import functools
import time
import types
from collections.abc import Callable
from typing import Any

import numpy as np
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import CPUDispatcher
from numba.extending import register_jitable

from jitprop_kernels import composition, contract, loops
from jitprop_kernels.doors import plain
from jitprop_kernels.jit.cache import KernelCache

from .parallelloops import PARALLEL

__all__ = ["compile_seconds", "compiled", "compiled_set"]


class _Loop(CPUDispatcher):
    """A dispatcher as ``numba.njit`` makes it, with the cache of the kernels."""

    seconds = 0.0  # of this process, spent on compiling loops
    compiling = 0  # how many compilations are nested here; all run under Numba's lock

    def __init__(self, function: Callable[..., Any], parallel: bool) -> None:
        # No entry point for C is asked for: each would take some 20 ms.
        options = {"nopython": True, "parallel": parallel, "no_cfunc_wrapper": True}
        super().__init__(function, locals={}, targetoptions=options)
        self._cache = KernelCache(function, self.targetoptions, "kernel", lambda: None)

    def compile(self, sig: Any) -> Any:
        with global_compiler_lock:
            before, misses = time.perf_counter(), self.stats.cache_misses.total()
            _Loop.compiling += 1
            try:
                return super().compile(sig)
            finally:
                _Loop.compiling -= 1
                if not _Loop.compiling and self.stats.cache_misses.total() > misses:
                    _Loop.seconds += time.perf_counter() - before
                self._cache.abandon(sig)


def compile_seconds() -> float:
    """How long this process has spent compiling loops, in seconds, loads from the cache excluded."""
    return _Loop.seconds


@functools.cache
def compiled(function: Callable[..., Any], parallel: bool = False) -> Any:
    """A function of `loops` compiled by plain ``numba.njit`` as it stands, and so every function that it calls.

    With `parallel` the functions that `parallelloops` writes with prange take the places of theirs.
    """
    function = plain(function)
    if parallel and not _shared_out(function):
        return compiled(function)
    return _Loop(_copy(function, parallel), parallel and function.__name__ in PARALLEL)


@functools.cache
def _handed_on(function: Callable[..., Any], parallel: bool) -> Any:
    """A function that compiled code hands to another as an argument: by its name, since a dispatcher would leave an
    address of this process in the code, and such code is not cached.
    """
    if parallel and not _shared_out(function):
        return _handed_on(function, False)
    options = {"parallel": parallel and function.__name__ in PARALLEL, "no_cfunc_wrapper": True}
    return register_jitable(**options)(_copy(function, parallel))


def _copy(function: Callable[..., Any], parallel: bool) -> Any:
    """A function that calls compiled functions in the places of those that it calls."""
    body = PARALLEL.get(function.__name__, function) if parallel else function
    called = _called(body)
    # _each(g, ...) is called with one of the others.
    compile_ = _handed_on if any(inner.__code__.co_varnames[0] == "g" for inner in called.values()) else compiled
    scope = body.__globals__ | {name: compile_(inner, parallel) for name, inner in called.items()}
    return types.FunctionType(body.__code__, scope, function.__name__, body.__defaults__)


def _called(function: Callable[..., Any]) -> dict[str, Any]:
    """The functions that a function calls by a global name."""
    names = {step.argval for step in dis.get_instructions(function) if step.opname == "LOAD_GLOBAL"}
    found = {name: function.__globals__.get(name) for name in names}
    return {name: plain(value) for name, value in found.items() if isinstance(value, types.FunctionType)}


def _shared_out(function: Callable[..., Any]) -> bool:
    """Whether a function or one that it calls has a loop on several threads; any other is compiled only once."""
    return function.__name__ in PARALLEL or any(map(_shared_out, _called(function).values()))


def _descend(parameter: Any, gradient: Any, rate: Any) -> None:
    """W -= rate dW, number by number."""
    for i in range(parameter.shape[0]):
        for j in range(parameter.shape[1]):
            parameter[i, j] -= rate * gradient[i, j]


@functools.cache
def _head(output: str, loss: str, parameter: float) -> Any:
    """The output layer of a network, whose names are constants to the compiler."""
    head = compiled(loops._head)

    def output_head(Z: Any, Y: Any, weights: Any) -> Any:
        return head(Z, Y, output, loss, parameter, weights)

    return _Loop(output_head, False)


@functools.cache
def compiled_set(parallel: bool = False) -> types.SimpleNamespace:
    """A kernel set of the compiled loops: what reads names such as "relu" stays in Python around them."""
    names = ["dot", "logistic_gradient", "linear_forward", "linear_backward", "softmax"]
    names += [name + suffix for name in contract.ACTIVATIONS for suffix in ("", "_derivative")]
    kernels = types.SimpleNamespace(**{name: compiled(getattr(loops, name), parallel) for name in names})
    descend = compiled(_descend)

    def layer_backward(dZ: Any, W: Any, A_prev: Any, Z_prev: Any, activation_prev: Any) -> Any:
        if Z_prev is None:  # dA[0] is never computed
            return *compiled(loops._parameter_gradients, parallel)(dZ, A_prev), None
        return composition.layer_backward(kernels, dZ, W, A_prev, Z_prev, activation_prev)

    def output_head(Z: Any, Y: Any, loss: str, output: str, sample_weight: Any = None) -> Any:
        head = _head(*contract.parse_loss(loss, output))
        return head(Z, Y, np.ones((1, Z.shape[1]), Z.dtype))

    def update(parameter: Any, gradient: Any, state: Any, coefficients: Any, rule: str) -> None:
        descend(parameter, gradient, coefficients[contract.COEFFICIENTS.index("rate")])

    kernels.layer_forward = functools.partial(composition.layer_forward, kernels)
    kernels.layer_backward, kernels.output_head, kernels.update = layer_backward, output_head, update
    kernels.train_epoch = functools.partial(composition.train_epoch, kernels)
    return kernels
