"""What a new process waits for: imports, and the first call with an empty and with a filled cache of kernels."""

import os
import shutil
import subprocess
import sys
import tempfile

from . import workloads

FIRST = {
    "sigmoid": "from jitprop_kernels import jit; import numpy as np; Z = np.ones((8, 8), np.float32)",
    "linear_forward": "from jitprop_kernels import jit; import numpy as np; Z = np.ones((8, 8), np.float32)",
    "fit, 64-100-10": "import numpy as np; from jitprop import Network; X = np.ones((64, 200), np.float32); "
    "Y = np.arange(200) % 10; net = Network([64, 100, 10], seed=1)",
}
CALLS = {
    "sigmoid": "jit.sigmoid(Z)",
    "linear_forward": "jit.linear_forward(Z, Z, Z[:, :1].copy())",
    "fit, 64-100-10": "net.fit(X, Y, epochs=1, batch_size=200, verbose=False)",
}
# After the call, which has trained `net`.
CHECKS = {
    "sigmoid": "assert abs(jit.sigmoid(Z) - 1 / (1 + np.exp(-Z))).max() < 1e-6",
    "linear_forward": "assert (jit.linear_forward(Z, Z, Z[:, :1].copy()) == 9).all()",
    "fit, 64-100-10": "slow = Network([64, 100, 10], seed=1, kernels='vectorized'); "
    "slow.fit(X, Y, epochs=1, batch_size=200, verbose=False); "
    "assert abs(net.parameters['W1'] - slow.parameters['W1']).max() < 1e-5",
}

EMPTY_CACHE = """
import os, tempfile
os.environ["JITPROP_CACHE_DIR"] = tempfile.mkdtemp(dir=os.environ["JITPROP_CACHE_DIR"])
"""


class FirstCall:
    """The first call in a new process, imports not counted: cold compiles it, cached finds it compiled."""

    pretty_name = "first call in a process"
    timeout = 300
    param_names = ["call", "cache"]
    params = [workloads.chosen(FIRST), ["cold", "cached"]]
    number, repeat, rounds, warmup_time = 1, (1, 5, 10.0), 2, 0
    directory = None

    def setup(self, call, cache):
        if workloads.COMPARE and (call, cache) == ("fit, 64-100-10", "cold"):
            raise NotImplementedError("compiling the whole step takes too long to be compared")
        if cache == "cold" or not workloads.COMPARE:  # a comparison takes the user's cache for a filled one
            self.directory, self.before = tempfile.mkdtemp(prefix="jitprop-bench-"), dict(os.environ)
            os.environ["JITPROP_CACHE_DIR"] = self.directory
        if cache == "cached":
            code = f"{FIRST[call]}; {CALLS[call]}; {CHECKS[call]}"
            subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)

    def teardown(self, call, cache):
        if self.directory:
            os.environ.pop("JITPROP_CACHE_DIR")
            os.environ.update(self.before)
            shutil.rmtree(self.directory)

    def timeraw_first_call(self, call, cache):
        return CALLS[call], (EMPTY_CACHE if cache == "cold" else "") + FIRST[call]


class Import:
    """A new process imports a package; what of jitprop's time is NumPy's and Numba's own is told apart."""

    pretty_name = "import"
    param_names = ["package"]
    params = [workloads.chosen(["jitprop", "jitprop_kernels.jit", "numpy", "numba"])]
    number, repeat, rounds, warmup_time = 1, (3, 10, 10.0), 2, 0

    def timeraw_import(self, package):
        return f"import {package}"
