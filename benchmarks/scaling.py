"""How the time of an epoch grows: with examples, width, depth and threads. One line an implementation."""

import atexit
import os
import subprocess
import sys

from . import networks, workloads
from .timing import Timed as _Timed
from .workloads import NETWORKS, OF_NETWORKS, Net

LARGE = {
    "784-128-64-10, batch 128": NETWORKS["784-128-64-10, batch 128"],
    "784-1024-1024-10, batch 256": NETWORKS["784-1024-1024-10, batch 256"],
}


class _Scaling(_Timed):
    """`net(value)` is the network that belongs to a value of the second parameter."""

    def prepare(self, implementation, value):
        net = self.net(value)
        workloads.skip_slow(implementation, net.products)
        networks.check(implementation, net)
        trained, (X, Y) = networks.network(net, implementation), workloads.data(net, "float32")
        return lambda: networks.fit(trained, net, X, Y, workloads.STAYS)

    def time_epoch(self, implementation, value):
        self.call()


class Examples(_Scaling):
    """An epoch of 64-32-10 in batches of 64, with more and more examples."""

    pretty_name = "epoch against examples (m), 64-32-10"
    param_names = ["implementation", "examples"]
    params = [list(OF_NETWORKS), workloads.chosen([64, 256, 1024, 4096, 16384])]

    def net(self, m):
        return Net((64, 32, 10), m, 64)


class Width(_Scaling):
    """An epoch over 128 examples of w-w-w-10 in batches of 64."""

    pretty_name = "epoch against width (w), w-w-w-10"
    param_names = ["implementation", "width"]
    params = [list(OF_NETWORKS), workloads.chosen([8, 32, 128, 512])]

    def net(self, width):
        return Net((width, width, width, 10), 128, 64)


class Depth(_Scaling):
    """An epoch over 128 examples of a network with hidden layers of 32 units, in batches of 64."""

    pretty_name = "epoch against depth (hidden layers of 32)"
    param_names = ["implementation", "hidden layers"]
    params = [list(OF_NETWORKS), workloads.chosen([1, 2, 4, 8, 16])]

    def net(self, depth):
        return Net((32,) * (depth + 1) + (10,), 128, 64)


class Threads(_Timed):
    """An epoch of a large network with more threads, of Numba and of BLAS; the other suites use one."""

    pretty_name = "epoch against threads"
    param_names = ["implementation", "network", "threads"]
    params = [["vectorized", "jit"], workloads.chosen(LARGE), [1, 2] if workloads.QUICK else [1, 2, 4, 8]]

    def prepare(self, implementation, name, threads):
        if threads > len(os.sched_getaffinity(0)):
            raise NotImplementedError(f"this machine has fewer than {threads} processors")
        return Apart(implementation, name, threads).epoch

    def time_epoch(self, implementation, name, threads):
        self.call()


class Apart:
    """A process that trains for an epoch when told to: Numba's and BLAS's threads are fixed when they are imported."""

    running = None

    def __init__(self, implementation, name, threads):
        Apart.close()
        environment = os.environ | dict.fromkeys(workloads.THREADS, str(threads))
        command = [sys.executable, "-m", __name__, implementation, name, str(threads)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        Apart.running = subprocess.Popen(command, cwd=workloads.ROOT, env=environment, **pipes)
        self.wait()

    def wait(self):
        """Until the process is ready again, which it says by one byte."""
        if Apart.running.stdout.read(1) != b".":
            raise RuntimeError(f"the process that trains ended with status {Apart.running.wait()}")

    def epoch(self):
        """Have it train for one."""
        Apart.running.stdin.write(b".")
        Apart.running.stdin.flush()
        self.wait()

    @staticmethod
    def close():
        """End the process, if there is one."""
        if Apart.running:
            Apart.running.stdin.close()
            Apart.running.wait()
            Apart.running.stdout.close()
        Apart.running = None


atexit.register(Apart.close)


def main(implementation, name, threads):
    """Train for an epoch, checked and compiled, for every byte that comes; the answer to each is one byte."""
    from jitprop import get_num_threads

    if get_num_threads() != int(threads):
        raise RuntimeError(f"{threads} threads were asked for; Numba has {get_num_threads()}")
    net = LARGE[name]
    networks.check(implementation, net)
    trained, (X, Y) = networks.network(net, implementation), workloads.data(net, "float32")
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what is printed does not get between
    answers.write(b".")
    while sys.stdin.buffer.read(1):
        networks.fit(trained, net, X, Y, workloads.STAYS)
        answers.write(b".")


if __name__ == "__main__":
    main(*sys.argv[1:])
