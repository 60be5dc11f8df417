"""Training gives the same bits on 1, 2, 3, 4 and 8 threads of every threading layer: 200 steps of each network.

A process of its own for each layer trains them with every number of threads, and prints a digest of the parameters and
of the optimizer's state, the layout of the batch and the threads of each region.
"""

import collections
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fused import Case, watched_plans

THREADS = (1, 2, 3, 4, 8)
STEPS = 200
OPTIONS = {"l2": 0.1, "weighted": True, "dtype": "float32"}

# Each ends with a smaller batch.
CASES = {
    "panels for all but eight": Case((48, 100, 10), 500, 200, "F", rule="sgd", dtype="float32"),
    "panels of columns of X": Case((48, 100, 10), 500, 200, "C", dropout=(0.2, 0.5), indices=True, **OPTIONS),
    "two pieces": Case((64, 100, 10), 500, 200, "F", rule="sgd", dtype="float32"),
    "two pieces of columns of X": Case((64, 100, 10), 500, 200, "C", dropout=(0.2, 0.5), indices=True, **OPTIONS),
    "eight pieces": Case((30, 40, 40, 2), 1300, 1100, "F", dropout=(0.0, 0.3, 0.3), clip_norm=0.1, **OPTIONS),
    "fewer panels than threads": Case((130, 128, 64, 10), 80, 40, "F", dropout=(0.2, 0.5, 0.0), **OPTIONS),
    "many features of few units": Case((1500, 20, 7, 3), 120, 100, "F", rule="momentum", clip_norm=0.1, **OPTIONS),
    "features in pieces": Case((9000, 9, 3), 60, 40, "F", rule="sgd", dtype="float32"),
    "more examples than are summed at once": Case((20, 33, 2), 1300, 1200, "C", rule="sgd", dtype="float32"),
    "examples as rows": Case((300, 300, 200, 10), 40, 9, "F", dropout=(0.0, 0.3, 0.3), **OPTIONS),
    "examples as rows of columns of X": Case((300, 300, 200, 10), 40, 9, "C", rule="sgd", clip_norm=0.1, **OPTIONS),
    "float64": Case((200, 130, 33, 3), 100, 64, "F", rule="rmsprop", clip_value=0.02),
    "float64 in rows": Case((500, 300, 3), 20, 5, "C"),
}
LAYOUTS = {
    "RowPlan": {"examples as rows", "examples as rows of columns of X", "float64 in rows"},
    "PiecePlan": {"two pieces", "two pieces of columns of X", "eight pieces"},
}
MOST = {"two pieces": 2, "two pieces of columns of X": 2, "eight pieces": 8}  # threads that find something to do


def measure():
    """Print what each number of threads gives for each case; called in a process of its own."""
    import numba

    import jitprop
    from jitprop_kernels import jit
    from jitprop_kernels.jit import plan

    # So that steps of small networks run on several threads as well.
    plan.SPAWN = plan.CROSSING = 0
    found = []
    for name, case in CASES.items():
        case = Case(**vars(case) | {"visited": STEPS * case.batch - 3})
        for threads in THREADS:
            jitprop.set_num_threads(threads)
            digest = hashlib.sha256()
            with watched_plans() as plans:
                for array in case.train(jit):
                    digest.update(np.ascontiguousarray(array))
            regions = [tape.threads for tape in plans[0].tapes.values()]
            found.append((name, threads, digest.hexdigest(), type(plans[0]).__name__, regions))
    print(json.dumps([numba.threading_layer(), found]))


def available(layer):
    """Whether Numba can use a threading layer here."""
    pool = {"omp": "omppool", "tbb": "tbbpool"}.get(layer, layer)
    return subprocess.run([sys.executable, "-c", f"import numba.np.ufunc.{pool}"], capture_output=True).returncode == 0


def results(layer):
    environment = {**os.environ, "NUMBA_NUM_THREADS": str(max(THREADS)), "NUMBA_THREADING_LAYER": layer}
    environment["OMP_WAIT_POLICY"] = "PASSIVE"  # eight threads that spin would keep each other from two cores
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    command = [sys.executable, "-W", "error", "-c", "import test_bits; test_bits.measure()"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    used, found = json.loads(done.stdout)
    assert used == layer
    return found


def test_bits_do_not_depend_on_threads_or_their_layer():
    layers = [layer for layer in ("omp", "workqueue", "tbb") if available(layer)]
    assert "workqueue" in layers
    digests = collections.defaultdict(set)
    for layer in layers:
        for name, threads, digest, layout, regions in results(layer):
            digests[name].add(digest)
            assert layout == next((layout for layout, names in LAYOUTS.items() if name in names), "ColumnPlan")
            used = min(threads, MOST.get(name, threads))
            assert {n for tape in regions for n in tape} <= {1, used}
            assert max(regions[0]) == used  # of the larger batch
    assert set(digests) == set(CASES)
    assert {name: len(each) for name, each in digests.items()} == dict.fromkeys(CASES, 1)


@pytest.mark.parametrize("name", CASES)
def test_the_cases_are_trained_and_stay_finite(name):
    """What is compared above are numbers that steps have changed: digests of nan would agree as well."""
    from jitprop_kernels import jit

    case = Case(**vars(CASES[name]) | {"visited": STEPS * CASES[name].batch - 3})
    costs, *arrays = case.train(jit)
    assert all(np.isfinite(array).all() for array in (costs, *arrays))
    assert costs[-10:].mean() < costs[:10].mean()
