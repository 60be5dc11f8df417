"""How the time of an epoch grows: with examples, width, depth and threads. One line an implementation."""

import os

import numba

from . import networks, workloads
from .timing import Timed as _Timed
from .workloads import IMPLEMENTATIONS, NETWORKS, Net


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
    params = [list(IMPLEMENTATIONS), workloads.chosen([64, 256, 1024, 4096, 16384])]

    def net(self, m):
        return Net((64, 32, 10), m, 64)


class Width(_Scaling):
    """An epoch over 128 examples of w-w-w-10 in batches of 64."""

    pretty_name = "epoch against width (w), w-w-w-10"
    param_names = ["implementation", "width"]
    params = [list(IMPLEMENTATIONS), workloads.chosen([8, 32, 128, 512])]

    def net(self, width):
        return Net((width, width, width, 10), 128, 64)


class Depth(_Scaling):
    """An epoch over 128 examples of a network with hidden layers of 32 units, in batches of 64."""

    pretty_name = "epoch against depth (hidden layers of 32)"
    param_names = ["implementation", "hidden layers"]
    params = [list(IMPLEMENTATIONS), workloads.chosen([1, 2, 4, 8, 16])]

    def net(self, depth):
        return Net((32,) * (depth + 1) + (10,), 128, 64)


class Threads(_Scaling):
    """An epoch of a large network with more threads, of Numba and of BLAS; the other suites use one."""

    pretty_name = "epoch against threads"
    param_names = ["implementation", "network", "threads"]
    params = [["vectorized", "jit"], ["784-128-64-10, batch 128", "784-1024-1024-10, batch 256"], [1, 2, 4, 8]]
    if workloads.QUICK:
        params = [["vectorized", "jit"], ["784-128-64-10, batch 128"], [1, 2]]

    def prepare(self, implementation, name, threads):
        if threads > len(os.sched_getaffinity(0)):
            raise NotImplementedError(f"this machine has fewer than {threads} processors")
        use(threads)
        self.network = name
        return super().prepare(implementation, name)

    def net(self, name):
        return NETWORKS.get(name) or Net((784, 1024, 1024, 10), 512, 256)

    def time_epoch(self, implementation, name, threads):
        self.call()


def use(threads):
    """Let this process use so many threads, although it was started with one."""
    import threadpoolctl

    from jitprop import get_num_threads, set_num_threads

    if numba.config.NUMBA_NUM_THREADS < threads:
        os.environ["NUMBA_NUM_THREADS"] = str(threads)
        numba.config.reload_config()  # possible until the first parallel loop has started the threads
    set_num_threads(threads)
    threadpoolctl.threadpool_limits(threads)
    limits = {pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"}
    if get_num_threads() != threads or limits != {threads}:
        raise RuntimeError(f"{threads} threads were asked for; Numba has {get_num_threads()}, BLAS {limits}")
