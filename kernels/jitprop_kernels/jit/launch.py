"""Tasks: machine code that is called by its address, on one thread or on several.

A task is a function ``task(record, t, tasks)``: do part `t` of `tasks` of what the record at that address describes.
A record is a row of int64: addresses, sizes, strides, and floating-point numbers by their bits. A block is a smaller
piece of code that a task calls in its turn, such as one activation. Tasks and blocks are compiled one by one, from one
source for float32 and float64, and only when needed; what calls them neither contains nor optimizes them again. So the
package has one parallel shell, compiled once, which serves every kernel.
"""

import ctypes
import functools
import struct
import threading

import numba
import numpy as np
from numba import types

from . import compiling
from .compiling import inlined
from .vectors import call_address

__all__ = [
    "address_of", "bits", "compiled_block", "compiled_task", "function", "launch", "launcher", "part", "part_of", "run",
    "workspace",
]  # fmt: skip

_address, _first = ctypes.addressof, ctypes.c_char.from_buffer
_TASK = types.void(types.intp, types.intp, types.intp)


def bits(value):
    """The bits of a float64, as the int64 that stands for it in a record."""
    return struct.unpack("<q", struct.pack("<d", value))[0]


def address_of(array):
    """Where the first number of `array` is, 0 for None; the caller keeps the array alive."""
    if array is None:
        return 0
    if array.flags.carray:  # the quick ways, which other arrays do not offer
        return _address(_first(array))
    if array.flags.fnc and array.flags.behaved:
        return _address(_first(array.T))
    return array.ctypes.data


@inlined
def launch(launcher, task, record, tasks):
    """Run all parts of a task: directly when there is one, else through the parallel shell at `launcher`."""
    if tasks == 1:
        call_address(task, record, 0, 1)
    else:
        call_address(launcher, task, record, tasks)


@inlined
def part(n, t, tasks):
    """Where part t of n things begins and ends."""
    if tasks == 1:  # a division takes as long as some small tasks
        return 0, n
    return n * t // tasks, n * (t + 1) // tasks


@inlined
def part_of(m, grain, t, tasks):
    """Where part t of m columns begins and ends; parts are multiples of `grain`, the last may be smaller."""
    if tasks == 1:
        return 0, m
    first, last = part((m + grain - 1) // grain, t, tasks)
    return min(m, first * grain), min(m, last * grain)


def _parallel_shell(task, record, tasks):
    for t in numba.prange(tasks):
        call_address(task, record, t, tasks)


@functools.cache
def launcher():
    """The address of the parallel shell: ``@njit(parallel=True)`` as a C function."""
    return compiling.compile_address(_parallel_shell, _TASK, parallel=True)


def _named(function, body, dtype):
    function.__name__ = function.__qualname__ = f"{body.__qualname__}_{np.dtype(dtype).name}"
    return function


@functools.cache
def compiled_task(body, dtype):
    """The address of ``body(record, t, tasks, one)`` compiled for a dtype.

    `one` is 1 in the dtype: the only thing that tells the code of one dtype from that of another.
    """
    one, inner = np.dtype(dtype).type(1), inlined(body)

    def task(record, t, tasks):
        inner(record, t, tasks, one)

    return compiling.compile_address(_named(task, body, dtype), _TASK)


@functools.cache
def compiled_block(body, dtype):
    """The address of ``body(x, x_stride, y, y_stride, rows, columns, parameter, one)`` compiled for a dtype."""
    one, inner = np.dtype(dtype).type(1), inlined(body)

    def block(x, x_stride, y, y_stride, rows, columns, parameter):
        inner(x, x_stride, y, y_stride, rows, columns, parameter, one)

    signature = types.void(*[types.intp] * 6, types.float64)
    return compiling.compile_address(_named(block, body, dtype), signature)


@functools.cache
def function(address):
    """A task or the parallel shell as a Python function.

    Of bytes and `ctypes.c_int64`: with types declared, a call would take twice the time.
    """
    return ctypes.CFUNCTYPE(None)(address)


_FIRST, _ONLY = ctypes.c_int64(0), ctypes.c_int64(1)


def run(task, record, tasks=1):
    """Run a task from Python; `record` is its list of int64, `tasks` how many parts it may be cut into."""
    numbers = struct.pack(f"{len(record)}q", *record)
    if tasks == 1:
        function(task)(numbers, _FIRST, _ONLY)
        return
    with compiling.parallel_region():
        function(launcher())(ctypes.c_int64(task), numbers, ctypes.c_int64(tasks))


_local = threading.local()


def workspace(size):
    """The address of at least `size` bytes, aligned to a cache line: scratch of this Python thread.

    Buffers that became too small are kept: a record that is not yet run, such as that of a call which a signal handler
    interrupts with a larger one, may hold their address. Each is twice the one before, so they double the memory.
    """
    buffers = _local.__dict__.setdefault("buffers", [np.empty(0, np.uint8)])
    if buffers[-1].size < size + 64:
        buffers.append(np.empty(max(size + 64, 2 * buffers[-1].size), np.uint8))
    start = address_of(buffers[-1])
    return start + -start % 64
