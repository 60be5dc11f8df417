"""How the time of an epoch grows: with examples, width, depth and threads. One line an implementation."""

import os

from . import networks, workloads
from .timing import Timed as _Timed
from .workloads import NETWORKS, OF_NETWORKS, Net

LARGE = {
    "784-128-64-10, batch 128": NETWORKS["784-128-64-10, batch 128"],
    "784-1024-1024-10, batch 256": Net((784, 1024, 1024, 10), 512, 256),
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


class Threads:
    """An epoch of a large network with more threads, of Numba and of BLAS; the other suites use one.

    Numba's number is fixed when it is imported, so each sample comes from a process of its own.
    """

    pretty_name = "epoch against threads"
    timeout = 300
    param_names = ["implementation", "network", "threads"]
    params = [["vectorized", "jit"], workloads.chosen(LARGE), [1, 2] if workloads.QUICK else [1, 2, 4, 8]]
    number, repeat, rounds, warmup_time = 5, (2, 5, 10.0), 2, 0

    def setup(self, implementation, name, threads):
        if threads > len(os.sched_getaffinity(0)):
            raise NotImplementedError(f"this machine has fewer than {threads} processors")

    def timeraw_epoch(self, implementation, name, threads):
        setup = f"""
            import os, sys
            os.environ.update(dict.fromkeys({workloads.THREADS}, "{threads}"))
            sys.path.insert(0, {str(workloads.ROOT)!r})
            from benchmarks import scaling
            call = scaling.start("{implementation}", "{name}", {threads})
            """
        return "call()", setup


def start(implementation, name, threads):
    """A function that trains for an epoch, checked and compiled, in a process that has so many threads."""
    from jitprop import get_num_threads

    if get_num_threads() != threads:
        raise RuntimeError(f"{threads} threads were asked for; Numba has {get_num_threads()}")
    net = LARGE[name]
    networks.check(implementation, net)
    trained, (X, Y) = networks.network(net, implementation), workloads.data(net, "float32")
    networks.fit(trained, net, X, Y, workloads.STAYS)
    return lambda: networks.fit(trained, net, X, Y, workloads.STAYS)
