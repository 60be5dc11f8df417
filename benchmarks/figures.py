"""The compiled kernels beside NumPy, in one run: time, ratio, and share of the measured peak of fused multiply-adds.

    python benchmarks/figures.py [--threads 1] [--seconds 2] [--json FILE]

Both sides take turns, call by call, so that a change of the clock meets both; medians are given, and of the ratio the
quartiles of its rounds. Each result is first compared with NumPy's. BLAS is set to the threads asked for in a fresh
process, in which settings of OpenBLAS, MKL and OpenMP that the environment may hold are removed.
"""

import argparse
import json
import os
import sys
import time

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


def race(sides, seconds):
    """Times in seconds, a row a round: every side once a round, in turn, each repeated to last at least 50 us."""
    repeats = []
    for side in sides:
        side(), side()
        start = time.perf_counter()
        side()
        repeats.append(max(1, int(50e-6 / (time.perf_counter() - start))))
    rows, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(rows) < 5:
        row = []
        for side, count in zip(sides, repeats, strict=True):
            start = time.perf_counter()
            for _ in range(count):
                side()
            row.append((time.perf_counter() - start) / count)
        rows.append(row)
    return np.array(rows)


def normal(*shape):
    return np.random.default_rng(len(shape) + sum(shape)).standard_normal(shape, np.float32)


def forward(n, k, m):
    W, A, b = normal(n, k), normal(k, m), normal(n, 1)
    Z = np.empty((n, m), np.float32)
    return lambda: jit.linear_forward(W, A, b, out=Z), lambda: W @ A + b, 2 * n * k * m


def activation(name, n, m):
    Z = 3 * normal(n, m)
    out = np.empty_like(Z)
    ours, theirs = getattr(jit, name), getattr(vectorized, name)
    return lambda: ours(Z, out=out), lambda: theirs(Z, out=out), 0


def backward(n, k, m, activation_prev):
    dZ, W, A, Z = normal(n, m), normal(n, k), normal(k, m), normal(k, m)
    arguments = (dZ, W, A, Z, activation_prev)
    return lambda: jit.layer_backward(*arguments), lambda: vectorized.layer_backward(*arguments), 4 * n * k * m


def inner(n):
    w, x = normal(n, 1), normal(n, 1)
    return lambda: jit.dot(w, x), lambda: vectorized.dot(w, x), 2 * n


COMPARISONS = {
    "linear_forward 128x784 by 784x128": lambda: forward(128, 784, 128),
    "linear_forward 512^3": lambda: forward(512, 512, 512),
    "linear_forward 1024^3": lambda: forward(1024, 1024, 1024),
    **{
        f"{name} {n}x{m}": lambda name=name, n=n, m=m: activation(name, n, m)
        for name in ("sigmoid", "tanh", "softmax", "gelu")
        for n, m in ((128, 128), (784, 1024))
    },
    "layer_backward 128x784, m 128, relu": lambda: backward(128, 784, 128, "relu"),
    "layer_backward 128x784, m 128, tanh": lambda: backward(128, 784, 128, "tanh"),
    "dot 1000000": lambda: inner(1_000_000),
}


def check(ours, theirs):
    ours, theirs = (x if isinstance(x, tuple) else (x,) for x in (ours, theirs))
    for a, b in zip(ours, theirs, strict=True):
        size = np.abs(b).max()
        if not np.abs(np.asarray(a, np.float64) - b).max() <= 1e-4 * size:
            raise SystemExit("the two sides do not agree")


def main():
    chosen = options()
    peak = fma_peak("float32", 1.0) * chosen.threads
    print(f"peak of fused multiply-adds, float32, {chosen.threads} threads: {peak:.1f} GFLOP/s")
    print(f"{'':40} {'jit us':>10} {'NumPy us':>10} {'NumPy/jit':>10} {'quartiles':>13} {'of peak':>8}")
    figures = {"threads": chosen.threads, "peak_gflops": peak, "comparisons": {}}
    for name, make in COMPARISONS.items():
        if chosen.only not in name:
            continue
        ours, theirs, operations = make()
        check(ours(), theirs())
        times = race((ours, theirs), chosen.seconds)
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

    from jitprop_kernels import jit, vectorized
    from jitprop_kernels.jit.peak import fma_peak

    main()
