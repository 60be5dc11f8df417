"""Ratios as series of their own: they stay put when the clock of a machine changes. Smaller is better in all of them.

Both sides take turns within one process, call by call; the ratio is the median of the rounds' ratios.
"""

import numpy as np

from . import timing, workloads

SECONDS = 1.0 if workloads.MODE == "full" else 0.1  # of each comparison

PAIRS = {
    "linear_forward": ("16x16 on 16", "128x784 on 128", "512x512 on 512"),
    "layer_backward": ("16x16 on 16", "128x784 on 128", "512x512 on 512"),
    "sigmoid": ("16x16", "128x128", "784x1024"),
    "tanh": ("16x16", "128x128", "784x1024"),
    "relu": ("16x16", "128x128", "784x1024"),
    "softmax": ("16x16", "128x128", "784x1024"),
    "dot": ("1000", "1000000"),
    "train_epoch": ("20-32-1, batch 32", "64-100-10, batch 200", "784-128-64-10, batch 128"),
}
KERNELS_AT = {f"{kernel} {size}": (kernel, size) for kernel, sizes in PAIRS.items() for size in sizes}


def call(implementation, kernel, size, dtype):
    """A function without arguments that makes one call, after the check and the first call, which compiles."""
    workloads.check_kernel(implementation, kernel, size, dtype)
    function = getattr(workloads.kernel_set(implementation), kernel)
    arguments = workloads.arguments(kernel, size, dtype, workloads.STAYS)
    return lambda: function(*arguments)


class _Ratio:
    """The time of `over` divided by that of `under`, at the same work."""

    timeout = 300
    over = under = ""
    param_names = ["kernel and size", "dtype"]

    def setup(self, name, dtype):
        kernel, size = KERNELS_AT[name]
        for implementation in (self.over, self.under):
            workloads.skip_slow(implementation, workloads.work(kernel, size).steps)
        self.sides = [call(implementation, kernel, size, dtype) for implementation in (self.over, self.under)]

    def track_ratio(self, name, dtype):
        times = timing.race(self.sides, SECONDS)
        return float(np.median(times[:, 0] / times[:, 1]))


class JitOverVectorized(_Ratio):
    """Below 1 the compiled kernel is faster than NumPy."""

    pretty_name = "ratio: jit over vectorized (smaller is better)"
    unit = "times the time of vectorized (smaller is better)"
    over, under = "jit", "vectorized"
    params = [workloads.chosen(KERNELS_AT), workloads.chosen(workloads.DTYPES)]


class VectorizedOverLoops(_Ratio):
    """Where loops can do it: how far below 1 vectorizing brings it."""

    pretty_name = "ratio: vectorized over loops (smaller is better)"
    unit = "times the time of loops (smaller is better)"
    over, under = "vectorized", "loops"
    params = [
        workloads.chosen(
            name for name, at in KERNELS_AT.items() if workloads.work(*at).steps <= workloads.LIMITS["loops"]
        ),
        workloads.chosen(workloads.DTYPES),
    ]


class ProductOverPeak:
    """The time of a product over what its operations take at the peak of fused multiply-adds of one core.

    The peak is measured right before and after; the higher one counts. 1 is the limit, reached by nothing.
    """

    pretty_name = "ratio: a product over the FMA peak (smaller is better)"
    unit = "times the time at the peak of FMA (smaller is better)"
    timeout = 300
    param_names = ["implementation", "product", "dtype"]
    params = [["vectorized", "jit"], workloads.chosen(list(workloads.AFFINE)[1:]), workloads.chosen(workloads.DTYPES)]

    def setup(self, implementation, size, dtype):
        self.side = call(implementation, "linear_forward", size, dtype)
        self.operations = workloads.work("linear_forward", size).operations

    def track_ratio(self, implementation, size, dtype):
        try:
            from jitprop_kernels.jit.peak import fma_peak
        except ImportError:  # commits before there was a measured peak
            return float("nan")
        before = fma_peak(dtype)
        seconds = float(np.median(timing.race([self.side], SECONDS)))
        return seconds * max(before, fma_peak(dtype)) * 1e9 / self.operations
