"""Ten steps from the same parameters give what torch and scikit-learn gave (recorded by record_peers.py)."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import tolerances

from jitprop.network import Network
from jitprop.optimizers import SGD, optimizer_from_dict
from jitprop_kernels.contract import COEFFICIENTS

RECORDED = json.loads(Path(__file__).with_name("fixtures").joinpath("peers.json").read_text())
BATCH, EPOCHS = RECORDED["batch_size"], RECORDED["epochs"]
SETS = ("loops", "vectorized", "jit")


def network(run, kernels, dtype="float64"):
    return Network(
        run["units"],
        run["activation"],
        run["output"],
        run.get("loss"),
        initialization=run["start"],
        l2=run["l2"],
        dtype=dtype,
        kernels=kernels,
    )


def agree(run, parameters, costs, expected, dtype):
    """Costs and parameters within the bound of ten steps, relative to the largest of each array."""
    steps = EPOCHS * -(-len(run["X"][0]) // BATCH)
    bound = tolerances.training(run["units"], BATCH, steps, dtype)
    tolerances.close(costs, expected, bound * np.abs(expected).max())
    for name, end in run["end"].items():
        scale = max(np.abs(end).max(), np.abs(run["start"][name]).max())
        tolerances.close(parameters[name], np.array(end), bound * scale)


@pytest.mark.parametrize("kernels", SETS)
@pytest.mark.parametrize("run", RECORDED["torch"], ids=lambda run: run["name"])
def test_torch(run, kernels):
    net = network(run, kernels)
    mean, m = [], len(run["X"][0])
    history = net.fit(
        run["X"],
        run["Y"],
        epochs=EPOCHS,
        batch_size=BATCH,
        optimizer=optimizer_from_dict(run["optimizer"]),
        shuffle=False,
        sample_weight=run["sample_weight"],
        verbose=False,
    )
    weight = np.ones(m) if run["sample_weight"] is None else np.array(run["sample_weight"])
    shares = np.add.reduceat(weight, np.arange(0, m, BATCH))
    for costs in np.array(run["costs"]).reshape(EPOCHS, -1):
        mean.append(costs @ shares / shares.sum())
    agree(run, net.parameters, history.cost, np.array(mean), "float64")


@pytest.mark.parametrize("kernels", ("vectorized", "jit"))
@pytest.mark.parametrize("run", RECORDED["torch"][:6], ids=lambda run: run["name"])
def test_torch_in_float32(run, kernels):
    net = network(run, kernels, "float32")
    optimizer = optimizer_from_dict(run["optimizer"])
    history = net.fit(run["X"], run["Y"], EPOCHS, BATCH, optimizer, shuffle=False, verbose=False)
    costs, m = np.array(run["costs"]).reshape(EPOCHS, -1), len(run["X"][0])
    shares = np.minimum(m - np.arange(0, m, BATCH), BATCH)
    agree(run, net.parameters, history.cost, costs @ shares / m, "float32")


@pytest.mark.parametrize("kernels", SETS)
@pytest.mark.parametrize("run", [run for run in RECORDED["sklearn"] if run["solver"] == "sgd"], ids=lambda r: r["name"])
def test_sklearn_sgd(run, kernels):
    net = network(run, kernels)
    optimizer = SGD(0.05, momentum=0.8, nesterov=True)
    history = net.fit(run["X"], run["Y"], EPOCHS, BATCH, optimizer, shuffle=False, verbose=False)
    agree(run, net.parameters, history.cost, np.array(run["epoch_costs"]), "float64")


def sklearn_adam(steps, rate=0.05, beta1=0.9, beta2=0.999, epsilon=1e-3):
    """Coefficients of scikit-learn's Adam: epsilon is added to sqrt(v) outside the bias correction."""
    t = np.arange(1, steps + 1)
    columns = {
        "step": t,
        "rate": rate * np.sqrt(1 - beta2**t) / (1 - beta1**t),
        "decay": 1.0,
        "beta1": beta1,
        "gain1": 1 - beta1,
        "momentum_share": 1.0,
        "beta2": beta2,
        "gain2": 1 - beta2,
        "epsilon": epsilon,
        "clip_value": np.inf,
        "clip_norm": np.inf,
    }
    table = np.zeros((steps, len(COEFFICIENTS)))
    for name, values in columns.items():
        table[:, COEFFICIENTS.index(name)] = values
    return table


@pytest.mark.parametrize("kernels", SETS)
@pytest.mark.parametrize(
    "run", [run for run in RECORDED["sklearn"] if run["solver"] == "adam"], ids=lambda r: r["name"]
)
def test_sklearn_adam(run, kernels):
    kernel_set = importlib.import_module(f"jitprop_kernels.{kernels}")
    X, Y = np.array(run["X"]), np.array(run["Y"])
    m = X.shape[1]
    parameters = [np.array(run["start"][f"{kind}{l}"]) for l in range(1, len(run["units"])) for kind in "Wb"]
    state = [[np.zeros_like(parameter) for parameter in parameters] for _ in "mv"]
    loss = network(run, "vectorized").architecture.loss
    coefficients = np.split(sklearn_adam(EPOCHS * -(-m // BATCH)), EPOCHS)
    shares = np.minimum(m - np.arange(0, m, BATCH), BATCH)
    epoch_costs = []
    for rows in coefficients:
        costs = kernel_set.train_epoch(
            parameters,
            X,
            Y,
            np.arange(m),
            BATCH,
            [run["activation"]] * (len(run["units"]) - 2),
            run["output"],
            loss,
            "adam",
            state,
            rows,
            l2=run["l2"],
        )
        epoch_costs.append(costs @ shares / m)
    names = [f"{kind}{l}" for l in range(1, len(run["units"])) for kind in "Wb"]
    agree(run, dict(zip(names, parameters, strict=True)), epoch_costs, np.array(run["epoch_costs"]), "float64")
