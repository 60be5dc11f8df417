"""The peak memory of a process that trains or predicts, the interpreter and its libraries included."""

import os

from . import networks, workloads
from .workloads import NETWORKS, OF_NETWORKS


def apart(function, *arguments):
    """Run a check in a child process, so that its memory is not in the peak of this one."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            function(*arguments)
            status = 0
        finally:
            os._exit(status)
    if os.waitpid(child, 0)[1]:
        raise AssertionError(f"{function.__name__}{arguments} failed in a process of its own")


class PeakMemory:
    """Peak of the resident memory; loops and NumPy show what the interpreter and its libraries take alone."""

    pretty_name = "peak memory"
    timeout = 300
    param_names = ["implementation", "network"]
    params = [list(OF_NETWORKS), workloads.chosen(NETWORKS)]

    def setup(self, implementation, name):
        net = NETWORKS[name]
        workloads.skip_slow(implementation, net.products)
        apart(networks.check, implementation, net)
        self.net, self.trained = net, networks.network(net, implementation)
        self.X, self.Y = workloads.data(net, "float32")

    def peakmem_train(self, implementation, name):
        networks.fit(self.trained, self.net, self.X, self.Y, workloads.STAYS)

    def peakmem_predict(self, implementation, name):
        self.trained.predict_proba(self.X)
