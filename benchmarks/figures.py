"""The compiled kernels beside NumPy, in one run: time, ratio, and share of the measured peak of fused multiply-adds.

    python benchmarks/figures.py [--threads 1] [--seconds 2] [--json FILE]

Both sides take turns, call by call, so that a change of the clock meets both; medians are given, and of the ratio the
quartiles of its rounds. Each result is first compared with NumPy's. BLAS is set to the threads asked for in a fresh
process, in which settings of OpenBLAS, MKL and OpenMP that the environment may hold are removed.
"""

import argparse
import functools
import inspect
import json
import os
import sys
from pathlib import Path

FOREIGN = ("OPENBLAS_", "MKL_", "OMP_", "GOTO_", "BLIS_")


def restart(threads):
    """Run this program again with nothing set for BLAS and OpenMP but the number of threads."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    environment |= {name: str(threads) for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")}
    environment |= {"NUMBA_NUM_THREADS": str(threads), "JITPROP_FIGURES": "1"}
    os.execve(sys.executable, [sys.executable, *sys.argv], environment)


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each comparison")
    parser.add_argument("--only", default="", help="comparisons whose name contains this")
    parser.add_argument("--json", help="also write the figures to this file")
    return parser.parse_args()


# Kernel and shape, (n, n_prev, m) where there are products.
COMPARISONS = [
    ("linear_forward", (128, 784, 128)),
    ("linear_forward", (512, 512, 512)),
    ("linear_forward", (1024, 1024, 1024)),
    *((name, shape) for name in ("sigmoid", "tanh", "softmax", "gelu") for shape in ((128, 128), (784, 1024))),
    ("layer_backward", (128, 784, 128)),
    ("dot", (1_000_000,)),
]


def sides(kernel, shape):
    """The same call of jit and of vectorized, each without arguments; results are written over where that goes."""
    given = workloads.arguments(kernel, shape, "float32")
    functions = [getattr(module, kernel) for module in (jit, vectorized)]
    ours, theirs = (workloads.results(kernel, function, given) for function in functions)
    workloads.agree(ours, theirs, "float32", workloads.work(kernel, shape).longest)
    options = {"out": ours[0].astype("float32")} if "out" in inspect.signature(functions[0]).parameters else {}
    return [functools.partial(function, *given, **options) for function in functions]


def main():
    chosen = options()
    peak = fma_peak("float32", 1.0) * chosen.threads
    print(f"peak of fused multiply-adds, float32, {chosen.threads} threads: {peak:.1f} GFLOP/s")
    print(f"{'':40} {'jit us':>10} {'NumPy us':>10} {'NumPy/jit':>10} {'quartiles':>13} {'of peak':>8}")
    figures = {"threads": chosen.threads, "peak_gflops": peak, "comparisons": {}}
    for kernel, shape in COMPARISONS:
        name = f"{kernel} {'x'.join(map(str, shape))}"
        if chosen.only not in name:
            continue
        operations = workloads.work(kernel, shape).operations
        times = race(sides(kernel, shape), chosen.seconds)
        (a, b), ratio = np.median(times, axis=0), np.quantile(times[:, 1] / times[:, 0], (0.25, 0.5, 0.75))
        share = operations / a / 1e9 / peak
        of_peak = f"{share:8.1%}" if operations else ""
        print(f"{name:40} {a * 1e6:10.1f} {b * 1e6:10.1f} {ratio[1]:10.2f} {ratio[0]:6.2f} {ratio[2]:6.2f} {of_peak}")
        figures["comparisons"][name] = {"jit": a, "numpy": b, "ratio": ratio[1], "share_of_peak": share or None}
    if chosen.json:
        with open(chosen.json, "w", encoding="utf-8") as file:
            json.dump(figures, file, indent=1)


if __name__ == "__main__":
    if "JITPROP_FIGURES" not in os.environ:
        restart(options().threads)
    import numpy as np

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from benchmarks import workloads
    from benchmarks.timing import race
    from jitprop_kernels import jit, vectorized
    from jitprop_kernels.jit.peak import fma_peak

    main()
