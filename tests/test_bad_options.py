"""Options of a network that make no sense: one clear error that names the option and what is accepted."""

import numpy as np
import pytest

from jitprop import Network


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"units": [5]}, ValueError, "units must name at least the input and the output"),
        ({"units": [5, 0, 2]}, ValueError, r"units\[1\] must be from 1, got 0"),
        ({"units": [5, 4.0, 2]}, TypeError, r"units\[1\] must be an int, got float"),
        ({"units": [5, True]}, TypeError, r"units\[1\] must be an int, got bool"),
        ({"units": 5}, TypeError, "units must be a list"),
        ({"units": "52"}, TypeError, "units must be a list"),
        ({"units": np.ones((2, 2), int)}, TypeError, "units must be a list"),
        ({"units": [10**9, 10**9]}, ValueError, "more parameters than memory can hold"),
        (
            {"units": [5, 1]},
            ValueError,
            "output 'softmax' needs a unit for each of at least two classes.*sigmoid",
        ),
        ({"activation": "relu6"}, ValueError, "unknown activation 'relu6'; accepted: linear, relu"),
        ({"activation": "softmax"}, ValueError, "unknown activation 'softmax'"),
        ({"activation": "relu(2)"}, ValueError, "activation 'relu' takes no number"),
        ({"activation": "leaky_relu(2)"}, ValueError, "slope of activation 'leaky_relu' must be from 0 to 1"),
        ({"activation": ["relu"]}, ValueError, "activation has 1 names, should have 2: one for each hidden"),
        ({"activation": ["relu", 3]}, TypeError, "activation must be a name, got int"),
        ({"activation": 3}, TypeError, "activation must be a name or a list"),
        ({"units": [5, 2], "activation": "rule"}, ValueError, "unknown activation 'rule'"),
        ({"output": "tanh"}, ValueError, "unknown output 'tanh'; accepted: sigmoid, softmax, linear, relu"),
        ({"output": None}, TypeError, "output must be a name, got NoneType"),
        ({"loss": "log"}, ValueError, "unknown loss 'log'"),
        (
            {"loss": "poisson"},
            ValueError,
            "loss 'poisson' does not fit output 'softmax'; accepted: cross_entropy",
        ),
        ({"output": "linear", "loss": "huber(0)"}, ValueError, "delta of loss 'huber'"),
        ({"l2": -0.1}, ValueError, "l2 must be a finite number from 0, got -0.1"),
        ({"l2": np.inf}, ValueError, "l2 must be a finite number"),
        ({"l2": "much"}, TypeError, "l2 must be a number, got str"),
        ({"dropout": 1.0}, ValueError, "dropout must be a finite number from 0 to below 1, got 1.0"),
        ({"dropout": [0.1]}, ValueError, "dropout has 1 rates, should have 3: the input's and each hidden"),
        ({"dropout": [0.1, -1, 0]}, ValueError, r"dropout\[1\] must be"),
        ({"dropout": True}, TypeError, "dropout must be a number, got bool"),
        (
            {"units": [5, 2], "dropout": 0.2},
            ValueError,
            "dropout=0.2 acts on hidden layers, and this network has none",
        ),
        ({"dtype": "float16"}, TypeError, "dtype is float16; accepted: float32, float64"),
        ({"dtype": "real"}, TypeError, "dtype must be a NumPy dtype or its name, got 'real'"),
        ({"dtype": None}, TypeError, "dtype must be a name, got None"),
        ({"dtype": int}, TypeError, "dtype is int64"),
        ({"seed": -1}, ValueError, "seed must be from 0"),
        ({"seed": 1.0}, TypeError, "seed must be an int"),
        ({"kernels": "cuda"}, ValueError, "unknown kernels 'cuda'; accepted: jit, vectorized, loops"),
        ({"kernels": None}, TypeError, "kernels must be a name, a module or an object, got None"),
        ({"kernels": object()}, ValueError, "kernel set object has no function of a kernel's name: dot"),
    ],
)
def test_options_of_a_network(options, error, message):
    with pytest.raises(error, match=message):
        Network(**({"units": [5, 4, 3, 2], "kernels": "vectorized"} | options))


def test_number_of_examples_of_shapes():
    with pytest.raises(ValueError, match="m must be from 1, got 0"):
        Network([5, 2], kernels="vectorized").shapes(0)
