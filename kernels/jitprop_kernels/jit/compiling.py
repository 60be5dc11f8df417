"""The one place that compiles: the options, the processor they meet, and the threads that run the result.

The options, and why:

- ``nogil``: kernels touch arrays only, so other Python threads may train other networks meanwhile.
- ``error_model="numpy"``: a division by zero gives inf or nan, as in the references. Python's model puts a
  branch that raises after every division, and such loops do not vectorize.
- ``fastmath=False``: its flags let LLVM reorder sums, so that bits depend on the processor and on the caller,
  and delete checks for nan. Kernels write out the order of their sums and ask for FMA explicitly.
- ``boundscheck=False``: every public function has checked its shapes before a kernel runs.
- ``parallel`` is chosen function by function: it takes seconds to compile, so only thin shells ask for it.

Nothing is compiled at import: a kernel is compiled or loaded from the cache when it first meets a signature.
"""

from __future__ import annotations

import contextlib
import functools
import numbers
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba
from numba import types
from numba.core import event, sigutils
from numba.core.ccallback import CFunc
from numba.core.compiler import Compiler
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import CPUDispatcher
from numba.np.ufunc.parallel import threading_layer

from jitprop_kernels.jit.cache import KernelCache, baked_addresses
from jitprop_kernels.jit.pipeline import PartCompiler, TaskCompiler
from jitprop_kernels.jit.processor import has_fma, register_count, vector_bits

__all__ = [
    "OPTIONS",
    "compile_address",
    "compile_seconds",
    "get_num_threads",
    "has_fma",
    "inlined",
    "jit",
    "may_run_parallel",
    "parallel_region",
    "register_count",
    "set_num_threads",
    "vector_bits",
]

config: Any = numba.config  # its attributes are made at run time

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": False, "boundscheck": False}


def jit(function: Callable[..., Any] | None = None, *, parallel: bool = False) -> Any:
    """Compile a function when it is first called with a signature; used bare or as ``@jit(parallel=True)``.

    Parameters
    ----------
    function : callable
        Plain Python that Numba compiles without the interpreter. What it refers to is frozen into the code,
        so an address from `compile_address` must be an argument: it means nothing in the next process.
    parallel : bool
        Whether ``prange`` loops run on several threads. Enter such a function under `parallel_region`.

    Returns
    -------
    numba dispatcher
    """
    if function is None:
        return functools.partial(jit, parallel=parallel)
    if config.DISABLE_JIT:
        return function
    return _Kernel(function, locals={}, targetoptions={"nopython": True, "parallel": parallel, **OPTIONS})


class _Kernel(CPUDispatcher):
    """A dispatcher as `numba.njit` makes it, with our cache."""

    def __init__(self, py_func: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        super().__init__(py_func, *arguments, **options)
        self._cache = KernelCache(py_func, self.targetoptions, "kernel", _watch.tell)

    def compile(self, sig: Any) -> Any:
        with global_compiler_lock:
            try:
                return super().compile(sig)
            finally:
                self._cache.abandon(sig)


def inlined(function: Callable[..., Any] | None = None, *, forceinline: bool = False) -> Any:
    """Compile a function as a part of those that call it; used bare or as ``@inlined(forceinline=True)``.

    As `numba.extending.register_jitable`, except that no machine code is made of the function itself, which would never
    run; so Python cannot call it.
    """
    if function is None:
        return functools.partial(inlined, forceinline=forceinline)
    options = {"nopython": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True, "_nrt": False, **OPTIONS}
    if forceinline:
        options["forceinline"] = True
    return _Inlined(function, locals={}, targetoptions=options, pipeline_class=PartCompiler)


class _Inlined(CPUDispatcher):
    def get_call_template(self, args: Any, kws: Any) -> Any:
        return super().get_call_template(tuple(map(types.unliteral, args)), kws)

    def compile(self, sig: Any) -> Any:
        arguments, _ = sigutils.normalize_signature(sig)
        if arguments not in self.overloads:
            compiled = self._compiler.compile(arguments, None)
            key = object()  # stands for the machine code there is not
            compiled.target_context.insert_user_function(key, compiled.fndesc, [compiled.library])
            self.overloads[arguments] = compiled._replace(entry_point=key)
        return self.overloads[arguments].entry_point


_callbacks: dict[tuple[Any, ...], Any] = {}


def compile_address(function: Callable[..., Any], signature: Any, *, parallel: bool = False) -> int:
    """Compile a leaf function once and return the address of its machine code, valid in this process only.

    A function that is called by its address is not optimized again within each caller.

    Parameters
    ----------
    function : callable
        Plain Python or what `jit` returned. It must not raise: a C function has no way to report it.
    signature : numba signature or str
        Arguments and result, such as ``types.void(types.intp, types.float64)``.
    parallel : bool
        Whether ``prange`` loops run on several threads, as in `jit`. Such a loop should call functions by
        address: one that only writes to arrays made by ``carray`` Numba takes for dead code and removes.

    Returns
    -------
    int
        Address of a C function. Pass it to kernels as an argument: a kernel that holds it as a constant is
        not cached, where it would survive the process.

    Raises
    ------
    TypeError
        When the signature has no result type.
    """
    if config.DISABLE_JIT:
        raise RuntimeError(
            "the jit kernels cannot run with NUMBA_DISABLE_JIT=1: they exist as machine code only; "
            'unset it, or use kernels="vectorized" or "loops"'
        )
    function = getattr(function, "py_func", function)
    arguments, result = sigutils.normalize_signature(signature)
    key = (function, arguments, result, parallel)
    options = dict(OPTIONS, parallel=parallel, _nrt=parallel)
    # Numba's own lock, since compilations of other functions may come here while they hold it.
    with global_compiler_lock:
        if key not in _callbacks:
            pipeline = Compiler if parallel else TaskCompiler
            callback: Any = CFunc(function, (arguments, result), locals={}, options=options, pipeline_class=pipeline)
            callback._cache = KernelCache(function, options, "callback", _watch.tell)
            _watch.compile_callback(callback)
            baked_addresses.add(callback.address)
            _callbacks[key] = callback
        return int(_callbacks[key].address)


class _Watch(event.Listener):
    """Times compilations of kernels and announces the first; called while numba's compiler lock is held."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.depth = 0
        self.began = 0.0
        self.told = False

    def on_start(self, occurrence: Any) -> None:
        if isinstance(occurrence.data["dispatcher"], _Kernel):
            self.begin()

    def on_end(self, occurrence: Any) -> None:
        if isinstance(occurrence.data["dispatcher"], _Kernel):
            self.end()

    def compile_callback(self, callback: Any) -> None:
        """Compile a C callback, for which numba broadcasts no event."""
        compile_uncached = callback._compile_uncached

        def watched() -> Any:
            self.begin()
            try:
                compiled = compile_uncached()
                # LLVM's part, which would come when the address is asked for.
                compiled.library.get_pointer_to_function(compiled.fndesc.llvm_cfunc_wrapper_name)
                return compiled
            finally:
                self.end()

        callback._compile_uncached = watched
        try:
            callback.compile()
        finally:
            callback._cache.abandon(callback._sig)

    def begin(self) -> None:
        if self.depth == 0:  # compilations nest: the outermost one holds the time of those inside
            self.began = time.perf_counter()
            self.tell()
        self.depth += 1

    def end(self) -> None:
        self.depth -= 1
        if self.depth == 0:
            self.seconds += time.perf_counter() - self.began

    def tell(self) -> None:
        # Only a person at a terminal waits and wonders; a program that reads stderr is left alone.
        if self.told or os.environ.get("JITPROP_QUIET") or sys.stderr is None or not sys.stderr.isatty():
            return
        self.told = True
        line = "jitprop: compiling kernels for this processor (first use; `jitprop warmup` does it ahead) ..."
        print(line, file=sys.stderr, flush=True)


_watch = _Watch()
event.register("numba:compile", _watch)


def compile_seconds() -> float:
    """Return the seconds this process has spent compiling kernels, loads from the cache excluded."""
    return _watch.seconds


_workqueue = threading.RLock()
_forked_from_gomp = False
_chosen: int | None = None
# How often a waiting thread of GNU's OpenMP looks before it sleeps: longer than threads of a step wait for each other,
# some 0.1 ms. By default it is 300,000 times, so threads that other programs crowd onto one core take turns of 8 ms.
_SPINS = 5000


@functools.cache
def _start_threads() -> None:
    """Start numba's threads. GNU's OpenMP reads its settings when it is loaded; those of the user are kept."""
    setting = "GOMP_SPINCOUNT"
    if setting in os.environ or "OMP_WAIT_POLICY" in os.environ:
        numba.get_num_threads()
        return
    os.environ[setting] = str(_SPINS)
    try:
        numba.get_num_threads()
    finally:
        os.environ.pop(setting, None)  # gone where another Python thread was here at the same time


def set_num_threads(n: int) -> None:
    """Set how many threads a parallel kernel uses, in the whole process.

    Raises
    ------
    TypeError
        When n is not an integer.
    ValueError
        When n is not between 1 and ``numba.config.NUMBA_NUM_THREADS``.
    """
    global _chosen
    most = config.NUMBA_NUM_THREADS
    if isinstance(n, bool) or not isinstance(n, numbers.Integral):
        raise TypeError(f"n, the number of threads, must be an integer, not {type(n).__name__}")
    if not 1 <= n <= most:
        raise ValueError(f"n, the number of threads, must be from 1 to {most} (NUMBA_NUM_THREADS), not {n}")
    _start_threads()
    _chosen = int(n)
    numba.set_num_threads(_chosen)


def get_num_threads() -> int:
    """Return how many threads a parallel kernel uses when it is called from this Python thread.

    It is what `set_num_threads` chose, or else all that numba has within the limit of the container, and
    never more than `numba.set_num_threads` left to this Python thread.
    """
    _start_threads()
    return int(min(numba.get_num_threads(), _container_threads() if _chosen is None else _chosen))


@functools.cache
def _container_threads() -> int:
    """Return the threads that NUMBA_NUM_THREADS or else the container's share of processor time leaves."""
    most = config.NUMBA_NUM_THREADS
    if "NUMBA_NUM_THREADS" in os.environ:
        return most
    for quota_file, period_file in (("cpu.max", None), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            words = Path("/sys/fs/cgroup", quota_file).read_text().split()
            if period_file is not None:
                words += Path("/sys/fs/cgroup", period_file).read_text().split()
            quota, period = int(words[0]), int(words[1])
        except (OSError, ValueError, IndexError):  # no such file here, or "max": no limit
            continue
        if quota > 0 and period > 0:
            return max(1, min(most, -(-quota // period)))
    return most


def may_run_parallel() -> bool:
    """Return whether a parallel kernel may be entered and would use several threads."""
    return config.NUMBA_NUM_THREADS > 1 and not _forked_from_gomp and get_num_threads() > 1


@contextlib.contextmanager
def parallel_region() -> Iterator[None]:
    """Set the threads that parallel kernels in this block use, and let one Python thread in where need be.

    The "workqueue" threading layer aborts the process when two Python threads enter it at once, so one waits
    for the other; the layers "omp" and "tbb" take no lock.

    Raises
    ------
    RuntimeError
        In a forked child that a parallel kernel would kill, see `may_run_parallel`.
    """
    if _forked_from_gomp:
        raise RuntimeError("a forked child cannot run parallel kernels on GNU's OpenMP; spawn it instead")
    _start_threads()  # the layer is known from here on
    before = numba.get_num_threads()
    wanted = get_num_threads()
    with _workqueue if threading_layer() == "workqueue" else contextlib.nullcontext():
        if wanted == before:
            yield
            return
        numba.set_num_threads(wanted)
        try:
            yield
        finally:
            numba.set_num_threads(before)


def _after_fork() -> None:
    # A parallel region kills a forked child when its parent used GNU's OpenMP; other runtimes start anew.
    global _workqueue, _forked_from_gomp
    _workqueue = threading.RLock()
    pool = sys.modules.get("numba.np.ufunc.omppool")
    _forked_from_gomp = pool is not None and getattr(pool, "openmp_vendor", "GNU") == "GNU"


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
