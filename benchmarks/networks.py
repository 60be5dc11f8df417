"""A whole network as people use it: the time of an epoch of training, and of a prediction."""

import numpy as np

import jitprop

from . import workloads
from .timing import Timed as _Timed
from .workloads import IMPLEMENTATIONS, NETWORKS, OF_NETWORKS


def network(net, implementation, dtype="float32"):
    """A new network on the kernels of an implementation; equal seeds give equal weights."""
    kernels = workloads.kernel_set(implementation) if implementation == "loops compiled" else implementation
    return jitprop.Network(net.units, net.activation, net.output, dtype=dtype, seed=1, kernels=kernels)


def fit(trained, net, X, Y, learning_rate):
    """One epoch of plain gradient descent in batches; its cost."""
    optimizer = jitprop.SGD(learning_rate)
    return trained.fit(X, Y, epochs=1, batch_size=net.batch_size, optimizer=optimizer, verbose=False).cost[0]


def outcome(implementation, net, start, dtype, kind):
    """The cost of an epoch, the parameters after it, and the probabilities it then gives: a list in float64."""
    trained, (X, Y) = network(net, implementation, dtype), workloads.data(net, kind)
    trained.parameters = {name: array.astype(dtype) for name, array in start.items()}
    cost = fit(trained, net, X.astype(dtype), Y if Y.dtype.kind == "i" else Y.astype(dtype), 0.01)
    return [np.asarray(x, np.float64) for x in (cost, *trained.parameters.values(), trained.predict_proba(X))]


def check(implementation, net, dtype="float32"):
    """Raise unless an epoch, and what is predicted after it, agree with the reference in float64."""
    start = network(net, "vectorized", dtype).parameters
    loops = "loops" if net.products <= workloads.LIMITS["loops"] else workloads.defines(net.products)
    expected = workloads.kept(f"{net} {dtype}", lambda: outcome(loops, net, start, "float64", dtype))
    workloads.agree(outcome(implementation, net, start, dtype, dtype), expected, dtype, net.longest)


class Training(_Timed):
    """One epoch, permutation and gather included."""

    pretty_name = "training: one epoch"
    param_names = ["implementation", "network"]
    params = [list(IMPLEMENTATIONS), workloads.chosen(NETWORKS)]

    def prepare(self, implementation, name):
        net = NETWORKS[name]
        workloads.skip_slow(implementation, net.products)
        check(implementation, net)
        trained, (X, Y) = network(net, implementation), workloads.data(net, "float32")
        return lambda: fit(trained, net, X, Y, workloads.STAYS)

    def time_epoch(self, implementation, name):
        self.call()


class Prediction(_Timed):
    """The probabilities of all examples of the network's data, or of one."""

    pretty_name = "prediction"
    param_names = ["implementation", "network", "examples"]
    params = [list(OF_NETWORKS), workloads.chosen(NETWORKS), ["all", "one"]]

    def prepare(self, implementation, name, examples):
        net = NETWORKS[name]
        columns = net.m if examples == "all" else 1
        workloads.skip_slow(implementation, net.products // 3)
        check(implementation, net)
        trained = network(net, implementation)
        X = workloads.data(net, "float32")[0][:, :columns]
        return lambda: trained.predict_proba(X)

    def time_predict(self, implementation, name, examples):
        self.call()
