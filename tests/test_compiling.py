"""Compiling in one place: options, addresses, compile time, the processor, threads and forks."""

import ctypes
import io
import os
import platform
import subprocess
import sys
import time
import weakref

import numba
import numpy as np
import pytest

from jitprop_kernels.jit import compiling, pipeline, processor, tile


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    monkeypatch.setenv("JITPROP_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def threads(monkeypatch):
    monkeypatch.setattr(compiling, "_chosen", None)
    before = numba.get_num_threads()
    yield
    numba.set_num_threads(before)


def run(program, **environment):
    command = [sys.executable, "-W", "error", "-c", program]
    environment = {**os.environ, "NUMBA_NUM_THREADS": "2", **environment}
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def double(x):
    return 2.0 * x


def test_jit_divides_as_numpy_does():
    @compiling.jit
    def inverse(x):
        return 1.0 / x

    assert inverse(0.0) == float("inf")


def test_address_is_a_c_function_compiled_once():
    address = compiling.compile_address(double, "float64(float64)")
    function = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(address)
    assert function(4.0) == 8.0
    assert compiling.compile_address(compiling.jit(double), numba.float64(numba.float64)) == address
    assert compiling.compile_address(double, "float32(float32)") != address


def test_address_needs_a_result_type():
    with pytest.raises(TypeError):
        compiling.compile_address(double, "(float64,)")


def test_nested_compilation_is_counted_once():
    inner = compiling.jit(lambda x: x + 1.0)

    @compiling.jit
    def outer(x):
        return inner(x) + inner(2.0 * x)

    before, start = compiling.compile_seconds(), time.perf_counter()
    outer(1.0)
    elapsed = time.perf_counter() - start
    assert 0.0 < compiling.compile_seconds() - before <= elapsed


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stderr", "quiet", "lines"), [(Terminal, "", 1), (Terminal, "1", 0), (io.StringIO, "", 0)]
)
def test_a_waiting_person_is_told_once(monkeypatch, stderr, quiet, lines):
    monkeypatch.setattr(compiling._watch, "told", False)
    monkeypatch.setenv("JITPROP_QUIET", quiet)
    monkeypatch.setattr(sys, "stderr", stderr())
    for number in (1.0, 2.0):
        compiling.jit(lambda x, number=number: x + number)(1.0)
    assert sys.stderr.getvalue().count("compiling kernels") == lines
    assert sys.stderr.getvalue().count("\n") == lines


def test_processor_has_known_registers():
    known = {(128, 16), (128, 32), (256, 16), (512, 32)}
    assert (compiling.vector_bits(), compiling.register_count()) in known


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="asks LLVM for x86 code")
@pytest.mark.parametrize(
    ("name", "features", "expected"),
    [
        ("generic", "", (128, 16, False)),
        ("sandybridge", "", (256, 16, False)),
        ("haswell", "", (256, 16, True)),
        ("haswell", "-avx,-avx2,-fma", (128, 16, False)),
        ("skylake-avx512", "", (512, 32, True)),
        ("generic", "+avx512f,+avx512vl", (512, 32, True)),
    ],
)
def test_processor_names_and_features(name, features, expected):
    assert processor.probe("x86_64-unknown-linux-gnu", name, features) == expected


@pytest.mark.parametrize("n", [0, -1, numba.config.NUMBA_NUM_THREADS + 1])
def test_number_of_threads_out_of_range(n):
    with pytest.raises(ValueError, match=f"from 1 to {numba.config.NUMBA_NUM_THREADS}"):
        compiling.set_num_threads(n)


@pytest.mark.parametrize("n", [1.0, True, "2", None])
def test_number_of_threads_is_an_integer(n):
    with pytest.raises(TypeError, match="integer"):
        compiling.set_num_threads(n)


def test_one_thread_is_serial():
    compiling.set_num_threads(1)
    assert compiling.get_num_threads() == 1
    assert not compiling.may_run_parallel()


THREADS = """
import threading
import numba, numpy as np
from jitprop_kernels.jit import compiling

@compiling.jit(parallel=True)
def kernel(x):
    for i in numba.prange(x.size):
        x[i] += 1.0

def many(x, counts):
    for _ in range(300):
        with compiling.parallel_region():
            kernel(x)
    counts.append(compiling.get_num_threads())

kernel(np.zeros(8))
arrays, counts = [np.zeros(1000) for _ in range(4)], []
workers = [threading.Thread(target=many, args=(x, counts)) for x in arrays]
for worker in workers: worker.start()
for worker in workers: worker.join()
assert all((x == 300.0).all() for x in arrays)
assert counts == [2, 2, 2, 2]
compiling.set_num_threads(1)
worker = threading.Thread(target=many, args=(arrays[0], counts)); worker.start(); worker.join()
assert counts[4] == 1  # what was set holds in every Python thread
"""


@pytest.mark.parametrize("layer", ["workqueue", "default"])
def test_python_threads_enter_parallel_kernels_at_once(layer):
    result = run(THREADS, NUMBA_THREADING_LAYER=layer)
    assert result.returncode == 0, result.stderr


SPINS = """
import os, sys
import numba
from jitprop_kernels.jit import compiling

before = dict(os.environ)
assert "numba.np.ufunc.omppool" not in sys.modules
with compiling.parallel_region():
    print(numba.threading_layer())
assert os.environ == before
"""


@pytest.mark.parametrize(("given", "spins"), [({}, "5000"), ({"GOMP_SPINCOUNT": "7"}, "7")], ids=["ours", "the user's"])
def test_threads_that_wait_go_to_sleep(given, spins):
    """Or two of them on one core would take turns of milliseconds."""
    result = run(SPINS, OMP_DISPLAY_ENV="verbose", NUMBA_NUM_THREADS="2", **given)
    assert result.returncode == 0, result.stderr
    if result.stdout.strip() != "omp" or "GOMP_SPINCOUNT" not in result.stderr:
        pytest.skip("Numba does not run on GNU's OpenMP here")
    assert f"GOMP_SPINCOUNT = '{spins}'" in result.stderr


FORK = """
import os, warnings
import numba
from jitprop_kernels.jit import compiling

assert compiling.may_run_parallel()
gomp = numba.threading_layer() == "omp" and numba.np.ufunc.omppool.openmp_vendor == "GNU"
warnings.simplefilter("ignore", DeprecationWarning)  # that a process with threads forks is what is tried here
child = os.fork()
if child == 0:
    refused = False
    try:
        with compiling.parallel_region():
            pass
    except RuntimeError:
        refused = True
    os._exit(0 if (compiling.may_run_parallel(), refused) == (not gomp, gomp) else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert compiling.may_run_parallel()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.parametrize("layer", ["workqueue", "default"])
def test_forked_child_is_serial_where_openmp_would_kill_it(layer):
    result = run(FORK, NUMBA_THREADING_LAYER=layer)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("kind", [pipeline._Library, pipeline._Part, pipeline.TaskCompiler])
def test_what_the_pipeline_overrides_is_there_in_numba(kind):
    """A method that this Numba calls by another name would be left out without a word."""
    theirs = {name for base in kind.__mro__ if base.__module__.startswith("numba.") for name in vars(base)}
    ours = {name for name, value in vars(kind).items() if callable(value) and not isinstance(value, type)}
    assert ours and ours <= theirs


def test_a_table_of_tiles_outlives_them():
    table = weakref.ref(tile.Tile(np.dtype("float32"), 4, 1).table)
    assert table() is not None
