"""Record what torch and scikit-learn make of ten steps, for test_peers_agree.py.

Run by hand where both are installed; the tests need neither:

    python tests/record_peers.py

Everything is float64. Losses are written as the course has them: summed over the output units, averaged over
the batch.
"""

import json
import warnings
from pathlib import Path

import numpy as np
import sklearn
import torch
import torch.nn.functional as F
from sklearn.neural_network import MLPClassifier, MLPRegressor

FIXTURE = Path(__file__).with_name("fixtures") / "peers.json"
M, BATCH, EPOCHS = 19, 4, 2  # five batches an epoch, the last of three examples: ten steps

ADAM = {"name": "Adam", "learning_rate": 0.01, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}
SGD = {"name": "SGD", "learning_rate": 0.1, "momentum": 0.0, "nesterov": False}
OPTIMIZERS = {
    "sgd": SGD,
    "momentum": SGD | {"momentum": 0.9},
    "nesterov": SGD | {"momentum": 0.9, "nesterov": True},
    "rmsprop": {"name": "RMSProp", "learning_rate": 0.01, "rho": 0.95, "epsilon": 1e-8},
    "adam": ADAM,
    "adamw": ADAM | {"name": "AdamW", "weight_decay": 0.1},
}
ACTIVATIONS = {
    "linear": lambda z: z,
    "relu": torch.relu,
    "leaky_relu(0.2)": lambda z: F.leaky_relu(z, 0.2),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "elu(1.5)": lambda z: F.elu(z, 1.5),
    "softplus": F.softplus,
    "gelu": F.gelu,
    "silu": F.silu,
}
PROBABILITIES = {
    "sigmoid": torch.sigmoid,
    "softmax": lambda z: torch.softmax(z, 1),
    "linear": lambda z: z,
    "relu": torch.relu,
}
LOSSES = {
    "binary_cross_entropy": lambda z, a, y: F.binary_cross_entropy_with_logits(z, y, reduction="none"),
    "cross_entropy": lambda z, a, y: -y * torch.log_softmax(z, 1),
    "squared_error": lambda z, a, y: 0.5 * (a - y) ** 2,
    "absolute_error": lambda z, a, y: F.l1_loss(a, y, reduction="none"),
    "huber(0.7)": lambda z, a, y: F.huber_loss(a, y, delta=0.7, reduction="none"),
    "poisson": lambda z, a, y: F.poisson_nll_loss(z, y, log_input=True, full=False, reduction="none"),
}
FITTING = {
    "sigmoid": ("binary_cross_entropy", "squared_error", "absolute_error", "huber(0.7)"),
    "softmax": ("cross_entropy", "squared_error"),
    "linear": ("squared_error", "absolute_error", "huber(0.7)", "poisson"),
    "relu": ("squared_error", "absolute_error", "huber(0.7)"),
}


def runs():
    """Every optimizer, every activation, every loss with every output, and L2 with weights."""
    for optimizer in OPTIMIZERS:
        yield {"optimizer": optimizer}
    for activation in ACTIVATIONS:
        yield {"activation": activation, "optimizer": "momentum"}
    for output, losses in FITTING.items():
        for loss in losses:
            yield {"output": output, "loss": loss}
    yield {"l2": 0.5, "weighted": True, "optimizer": "adam"}


def data(rng, output, loss, n_x, n):
    """X (n_x, m) and Y (n, m) such as the output and the loss want; two decimals keep the file small."""
    X = rng.standard_normal((n_x, M)).round(2)
    if output == "softmax":
        return X, np.eye(n)[rng.integers(0, n, M)].T
    if output == "sigmoid":
        return X, rng.integers(0, 2, (n, M)).astype(float)
    return X, rng.poisson(2.0, (n, M)).astype(float) if loss == "poisson" else rng.standard_normal((n, M)).round(
        2
    ) + 1.0


def initial(rng, units):
    """W1, b1, ...; biases away from zero, so that no unit of ReLU stands at its kink."""
    return {
        f"{kind}{l}": (rng.standard_normal((n, n_prev if kind == "W" else 1)) / np.sqrt(n_prev)).round(2)
        for l, (n_prev, n) in enumerate(zip(units, units[1:], strict=False), start=1)
        for kind in "Wb"
    }


def torch_optimizer(settings, weights, biases):
    """torch's optimizer of these settings; weight decay for the weights only."""
    rate = settings["learning_rate"]
    if settings["name"] == "SGD":
        return torch.optim.SGD(weights + biases, lr=rate, momentum=settings["momentum"], nesterov=settings["nesterov"])
    if settings["name"] == "RMSProp":
        return torch.optim.RMSprop(weights + biases, lr=rate, alpha=settings["rho"], eps=settings["epsilon"])
    betas, eps = (settings["beta1"], settings["beta2"]), settings["epsilon"]
    if settings["name"] == "Adam":
        return torch.optim.Adam(weights + biases, lr=rate, betas=betas, eps=eps)
    decaying = {"params": weights, "weight_decay": settings["weight_decay"]}
    return torch.optim.AdamW([decaying, {"params": biases, "weight_decay": 0.0}], lr=rate, betas=betas, eps=eps)


def torch_run(number, activation="tanh", output="softmax", loss=None, optimizer="sgd", l2=0.0, weighted=False):
    """Ten steps of torch, and everything that is needed to repeat them."""
    rng = np.random.default_rng(number)
    loss, units = loss or FITTING[output][0], [4, 6, 5, 3]
    X, Y = data(rng, output, loss, units[0], units[-1])
    start = initial(rng, units)
    weight = rng.uniform(0.2, 2.0, M).round(2) if weighted else np.ones(M)
    tensors = {name: torch.tensor(array, requires_grad=True) for name, array in start.items()}
    weights, biases = ([tensors[f"{kind}{l}"] for l in range(1, len(units))] for kind in "Wb")
    stepper = torch_optimizer(OPTIMIZERS[optimizer], weights, biases)
    x, y, w = torch.tensor(X.T), torch.tensor(Y.T), torch.tensor(weight)
    costs = []
    for _ in range(EPOCHS):
        for first in range(0, M, BATCH):
            batch = slice(first, first + BATCH)
            A = x[batch]
            for W, b in zip(weights[:-1], biases[:-1], strict=True):
                A = ACTIVATIONS[activation](A @ W.T + b.T)
            Z = A @ weights[-1].T + biases[-1].T
            losses = LOSSES[loss](Z, PROBABILITIES[output](Z), y[batch]).sum(1)
            total = w[batch].sum()
            cost = (w[batch] * losses).sum() / total + l2 / (2 * total) * sum((W**2).sum() for W in weights)
            stepper.zero_grad()
            cost.backward()
            stepper.step()
            costs.append(cost.item())
    return {
        "name": "-".join((activation, output, loss, optimizer)) + ("-l2-weights" if weighted else ""),
        "units": units,
        "activation": activation,
        "output": output,
        "loss": loss,
        "l2": l2,
        "optimizer": OPTIMIZERS[optimizer],
        "X": X.tolist(),
        "Y": Y.tolist(),
        "sample_weight": weight.tolist() if weighted else None,
        "start": {name: array.tolist() for name, array in start.items()},
        "end": {name: tensor.detach().numpy().tolist() for name, tensor in tensors.items()},
        "costs": costs,
    }


SKLEARN_ACTIVATIONS = {"linear": "identity", "sigmoid": "logistic", "tanh": "tanh", "relu": "relu"}


def sklearn_run(number, output, activation, solver):
    """Two epochs of scikit-learn in order, from given parameters."""
    rng = np.random.default_rng(1000 + number)
    units = [4, 6, 3 if output == "softmax" else 1]
    X, Y = data(rng, output, None, units[0], units[-1])
    start = initial(rng, units)
    layers = iter([(start[f"W{l}"].T.copy(), start[f"b{l}"][:, 0].copy()) for l in range(1, len(units))])

    class Started(MLPRegressor if output == "linear" else MLPClassifier):
        def _init_coef(self, fan_in, fan_out, dtype):
            W, b = next(layers)
            assert W.shape == (fan_in, fan_out)
            return W, b

    settings = {"momentum": 0.8, "nesterovs_momentum": True} if solver == "sgd" else {}
    model = Started(
        hidden_layer_sizes=units[1:-1],
        activation=SKLEARN_ACTIVATIONS[activation],
        solver=solver,
        alpha=0.3,
        batch_size=BATCH,
        learning_rate_init=0.05,
        max_iter=EPOCHS,
        shuffle=False,
        epsilon=1e-3,  # large enough to tell where it is added
        **settings,
    )
    y = Y.argmax(0) if output == "softmax" else Y[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two epochs do not converge
        model.fit(X.T, y)
    end = {}
    for l, (W, b) in enumerate(zip(model.coefs_, model.intercepts_, strict=True), start=1):
        end |= {f"W{l}": W.T.tolist(), f"b{l}": b[:, None].tolist()}
    return {
        "name": f"{activation}-{output}-{solver}",
        "units": units,
        "activation": activation,
        "output": output,
        "l2": 0.3,
        "solver": solver,
        "X": X.tolist(),
        "Y": Y.tolist(),
        "start": {name: array.tolist() for name, array in start.items()},
        "end": end,
        "epoch_costs": model.loss_curve_,
    }


def main():
    peers = [
        ("softmax", "tanh", "sgd"),
        ("softmax", "relu", "adam"),
        ("sigmoid", "sigmoid", "sgd"),
        ("sigmoid", "linear", "adam"),
        ("linear", "relu", "sgd"),
        ("linear", "tanh", "adam"),
    ]
    recorded = {
        "versions": {
            "torch": torch.__version__,
            "scikit-learn": sklearn.__version__,
            "numpy": np.__version__,
        },
        "batch_size": BATCH,
        "epochs": EPOCHS,
        "torch": [torch_run(number, **options) for number, options in enumerate(runs())],
        "sklearn": [sklearn_run(number, *peer) for number, peer in enumerate(peers)],
    }
    FIXTURE.parent.mkdir(exist_ok=True)
    # A run a line: a change shows which run it is.
    lines = [f'"{key}": {json.dumps(recorded[key])}' for key in ("versions", "batch_size", "epochs")]
    for peer in ("torch", "sklearn"):
        lines.append(f'"{peer}": [\n' + ",\n".join(json.dumps(run) for run in recorded[peer]) + "\n]")
    FIXTURE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
