"""The library behind NumPy's matrix products, as far as it can be asked."""

import importlib

__all__ = ["blas_threads"]


def blas_threads() -> int | None:
    """The threads of NumPy's matrix products, if threadpoolctl, which comes with scikit-learn, can tell."""
    try:
        threadpoolctl = importlib.import_module("threadpoolctl")
    except ImportError:
        return None
    # scikit-learn and SciPy may bring a BLAS of their own.
    pools = [pool for pool in threadpoolctl.threadpool_info() if pool.get("user_api") == "blas"]
    own = [pool for pool in pools if "numpy" in str(pool.get("filepath"))] or pools
    return int(own[0]["num_threads"]) if own else None
