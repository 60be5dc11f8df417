"""Benchmark suites for asv.

Imported before NumPy: settings held over from the shell are removed here, since they may hold OpenBLAS to an
old processor. The numbers of threads stay as asv.conf.json sets them; where asv leaves the environment as it is
(``--python=same``) it is one all the same.
"""

import os

for _name in list(os.environ):
    if _name.startswith(("OPENBLAS_", "MKL_", "OMP_", "GOTO_", "BLIS_")) and not _name.endswith("_NUM_THREADS"):
        del os.environ[_name]

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
