"""What this machine is and what jitprop makes of it: processor, vectors, threads, peak, versions, cache."""

import importlib.metadata
import os
import platform
import sys
import textwrap
from pathlib import Path
from typing import Any

import numba
import numpy as np

from jitprop_kernels.jit.cache import cache_directory, cache_entries
from jitprop_kernels.jit.compiling import get_num_threads, parallel_region
from jitprop_kernels.jit.processor import has_fma, vector_bits

from . import __version__
from .blas import blas_threads

__all__ = ["gather", "headline", "processor_name"]


def processor_name() -> str:
    """The model of the processor as the system calls it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("model name", "Model", "Processor") and value.strip():
                return value.strip()
    except OSError:  # not Linux
        pass
    return platform.processor() or platform.machine()


def available_threads() -> int:
    """The processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threading_layer() -> str:
    """What runs parallel loops; numba knows once its threads have started."""
    with parallel_region():
        return str(numba.threading_layer())


def blas() -> str:
    """The library behind NumPy's matrix products, as NumPy was built."""
    found: Any = np.show_config(mode="dicts")
    build = found.get("Build Dependencies", {}).get("blas", {})
    return f"{build.get('name', 'unknown')} {build.get('version', '')}".strip()


def held_back() -> list[str]:
    """Settings in the environment that may hold NumPy to an older processor or to fewer threads."""
    names = ("OPENBLAS_", "MKL_", "OMP_", "BLIS_")
    return sorted(f"{name}={value}" for name, value in os.environ.items() if name.startswith(names))


def headline() -> str:
    """The lines that belong beside every time that is measured."""
    threads = get_num_threads()
    products = blas_threads()
    behind = blas() if products is None else f"{blas()}, {products} thread{'s' if products > 1 else ''}"
    lines = [
        f"jitprop {__version__} on {processor_name()}, {vector_bits()}-bit vectors, "
        f"{threads} thread{'s' if threads > 1 else ''}",
        f"Python {platform.python_version()}, NumPy {np.__version__}, Numba {numba.__version__}",
        f"NumPy's products by {behind}",
    ]
    if settings := held_back():
        lines.append(f"set in the environment: {', '.join(settings)}")
    return "\n".join(textwrap.fill(line, 80, break_on_hyphens=False) for line in lines)


def gather(measure: bool = True) -> dict[str, Any]:
    """Everything `jitprop info` tells, as JSON can say it.

    Parameters
    ----------
    measure : bool
        Whether to measure the peak of fused multiply-adds, of one thread.
    """
    peaks: dict[str, float] = {}
    if measure:
        from jitprop_kernels.jit.peak import fma_peak

        peaks = {name: round(float(fma_peak(name)), 1) for name in ("float32", "float64")}
    entries = cache_entries()
    directory = cache_directory()
    return {
        "jitprop": __version__,
        "processor": processor_name(),
        "architecture": platform.machine(),
        "vector_bits": vector_bits(),
        "fma": has_fma(),
        "threads": {
            "available": available_threads(),
            "used": get_num_threads(),
            "most": numba.config.NUMBA_NUM_THREADS,
            "blas": blas_threads(),
            "layer": threading_layer(),
        },
        "fma_peak_gflops": peaks,
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "blas": blas(),
            "numba": numba.__version__,
            "llvmlite": importlib.metadata.version("llvmlite"),
        },
        "system": f"{platform.system()} {platform.release()}",
        "executable": sys.executable,
        "environment": held_back(),
        "cache": {
            "directory": None if directory is None else str(directory),
            "kernels": len(entries),
            "bytes": sum(entry.size for entry in entries),
        },
    }
