"""The benchmark suites: asv finds them, each runs at its smallest, and comparisons raise no false alarm."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]

# In a process of its own: the suites pin threads and clean the environment before NumPy is imported.
EVERY_ONE = """
import inspect, itertools, sys
sys.path.insert(0, ".")
from benchmarks import kernels, memory, networks, ratios, scaling, startup, timing
ran = 0
for module in (kernels, networks, scaling, ratios, startup, memory):
    for name, suite in vars(module).copy().items():
        if name.startswith("_") or not inspect.isclass(suite) or suite.__module__ != module.__name__:
            continue
        methods = [m for m in dir(suite) if m.startswith(("time_", "timeraw_", "track_", "peakmem_"))]
        for parameters in itertools.product(*getattr(suite, "params", [])):
            if not methods or (module, parameters[0]) == (kernels, "loops compiled") and name not in ("dot", "update"):
                continue
            bench = suite()
            try:
                getattr(bench, "setup", lambda *_: None)(*parameters)
                for method in methods:
                    result = getattr(bench, method)(*parameters)
                    assert not method.startswith("track") or 0 < result < 1e6, (name, result)
                    assert not method.startswith("timeraw") or result, name
                    ran += 1
            except NotImplementedError as skipped:
                assert "fewer than" in str(skipped), (name, parameters, skipped)
            finally:
                getattr(bench, "teardown", lambda *_: None)(*parameters)
print(ran, "benchmarks ran")
"""


def test_every_benchmark_runs_at_its_smallest():
    environment = os.environ | {"JITPROP_BENCHMARKS": "quick", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning:multiprocessing", "-c", EVERY_ONE]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) > 100, done.stdout


@pytest.fixture
def workloads(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        monkeypatch.setenv(name, os.environ.get(name, "1"))  # importing the suites must not change later tests
    from benchmarks import workloads

    return workloads


def test_every_kernel_has_sizes(workloads):
    from jitprop_kernels.contract import KERNELS

    assert list(workloads.SIZES) == list(KERNELS)
    for kernel, sizes in workloads.SIZES.items():
        steps = [workloads.work(kernel, size).steps for size in sizes]
        assert steps[0] <= workloads.LIMITS["loops"], kernel


def test_a_wrong_kernel_gets_no_time(workloads, monkeypatch):
    from jitprop_kernels import vectorized

    monkeypatch.setattr(vectorized, "relu", lambda Z, out=None: np.abs(Z))
    with pytest.raises(AssertionError, match="from the reference"):
        workloads.check_kernel("vectorized", "relu", "16x16", "float32")
    monkeypatch.setattr(vectorized, "relu", lambda Z, out=None: np.full_like(Z, np.nan))
    with pytest.raises(AssertionError, match="from the reference"):
        workloads.check_kernel("vectorized", "relu", "16x16", "float32")


def test_loops_that_would_take_minutes_are_skipped_visibly(workloads):
    with pytest.raises(NotImplementedError, match="loops would take too long"):
        workloads.skip_slow("loops", 10**9)
    workloads.skip_slow("jit", 10**12)
