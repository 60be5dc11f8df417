"""Benchmark suites for asv.

Imported before NumPy: settings held over from the shell are removed here, since they may hold OpenBLAS to an
old processor. The numbers of threads stay as asv.conf.json sets them.
"""

import os

for _name in list(os.environ):
    if _name.startswith(("OPENBLAS_", "MKL_", "OMP_")) and not _name.endswith("_NUM_THREADS"):
        del os.environ[_name]
