"""L-layer fully connected networks on the CPU, trained by loops, by NumPy and by compiled kernels."""

__version__ = "0.1.0"
