"""``jitprop gradcheck``: backpropagation against central differences on a small network."""

import argparse
from typing import Any

import numpy as np

from ..gradcheck import gradcheck
from ..network import KERNEL_SETS, Network
from .options import activations, count, loss, seed, single, units, weight

__all__ = ["add"]

OUTPUTS = ("sigmoid", "softmax", "linear", "relu")


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "gradcheck",
        help="compare backpropagation with numerical derivatives",
        description="Compare the gradients of a small network on random examples with central differences of "
        "its cost, in float64. Exit code 1 if they disagree.",
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "--units",
        type=units,
        default=[4, 5, 3, 2],
        metavar="N,N,...",
        help="n_x, n[1], ... (default: 4,5,3,2)",
    )
    parser.add_argument(
        "--activation",
        type=activations,
        default=["tanh"],
        metavar="NAME",
        help="of the hidden layers, one or one for each (default: tanh)",
    )
    parser.add_argument("--output", choices=OUTPUTS, default="sigmoid", help="(default: sigmoid)")
    parser.add_argument("--loss", type=loss, metavar="NAME", help="the natural one for the output by default")
    parser.add_argument("--l2", type=weight, default=0.0, metavar="X", help="weight penalty (default: 0)")
    parser.add_argument("--examples", type=count, default=7, metavar="M", help="(default: 7)")
    parser.add_argument(
        "--directions", type=count, metavar="K", help="along K random directions instead of every entry"
    )
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="(default: 0)")
    parser.add_argument("--kernels", choices=KERNEL_SETS, default="jit", help="what computes (default: jit)")


def run(arguments: argparse.Namespace) -> int:
    """Draw a network and examples, compare, print."""
    network = Network(
        arguments.units,
        single(arguments.activation) if len(arguments.units) > 2 else None,
        arguments.output,
        loss=arguments.loss,
        l2=arguments.l2,
        dtype="float64",
        seed=arguments.seed,
        kernels=arguments.kernels,
    )
    X, Y = _examples(network, arguments.examples, arguments.seed)
    result = gradcheck(network, X, Y, directions=arguments.directions, seed=arguments.seed)
    print(f"{network!r}\non {arguments.examples} random examples; largest absolute values of each array\n")
    print(result)
    print("\nthe gradients agree" if result.ok else "\nTHE GRADIENTS DISAGREE")
    return 0 if result.ok else 1


def _examples(network: Network, m: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    units, output, loss = network.architecture.units, network.architecture.output, network.architecture.loss
    for name in network.parameters:
        if name.startswith("b"):  # zero biases would hide mistakes in what multiplies them
            network.parameters[name][:] = 0.1 * generator.standard_normal(network.parameters[name].shape)
    X = generator.standard_normal((units[0], m))
    if output == "softmax":
        return X, np.eye(units[-1])[:, generator.integers(0, units[-1], m)]
    if output == "sigmoid":
        return X, generator.integers(0, 2, (units[-1], m)).astype(np.float64)
    if loss == "poisson":
        return X, generator.poisson(2.0, (units[-1], m)).astype(np.float64)
    return X, generator.standard_normal((units[-1], m)) + (2.0 if output == "relu" else 0.0)
