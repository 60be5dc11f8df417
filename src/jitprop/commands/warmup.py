"""``jitprop warmup``: compile ahead of the first training what it needs."""

import argparse
import time
from typing import Any

import numpy as np

from jitprop_kernels.contract import ACTIVATIONS, DTYPES, OUTPUTS

from ..kernelsets import compile_seconds
from ..network import Network
from ..optimizers import SGD, Adam, Optimizer, RMSProp

__all__ = ["add"]

COMMON = ("relu", "tanh")
RULES: tuple[Optimizer, ...] = (SGD(), SGD(momentum=0.9), RMSProp(), Adam())
EXAMPLES, UNITS = 512, (256, 128)  # large enough that the work is shared among threads


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "warmup",
        help="compile kernels ahead of the first training",
        description="Train and use small networks of every kind, so that later processes find all compiled.",
    )
    parser.set_defaults(run=run)
    parser.add_argument("--dtype", choices=(*DTYPES, "all"), default="float32", help="(default: float32)")
    parser.add_argument("--all", action="store_true", help=f"every activation, not only {' and '.join(COMMON)}")


def run(arguments: argparse.Namespace) -> int:
    """Warm up and tell how long each part took."""
    dtypes = DTYPES if arguments.dtype == "all" else (arguments.dtype,)
    activations = tuple(ACTIVATIONS) if arguments.all else COMMON
    for dtype in dtypes:
        for output in OUTPUTS:
            compiled, started = compile_seconds(), time.perf_counter()
            for activation in activations:
                for optimizer in RULES:
                    _exercise(dtype, activation, output, optimizer)
            compiled, passed = compile_seconds() - compiled, time.perf_counter() - started
            done = f"compiled for {compiled:.1f} s" if compiled else "kernels were in the cache"
            print(f"{dtype}, {output:<8} {passed:6.1f} s, {done}", flush=True)
    print(f"ready: {', '.join(activations)} with every output and optimizer, in {' and '.join(dtypes)}")
    return 0


def _exercise(dtype: str, activation: str, output: str, optimizer: Optimizer) -> None:
    generator = np.random.default_rng(0)
    X = generator.standard_normal((EXAMPLES, UNITS[0])).astype(dtype).T
    Y = np.arange(EXAMPLES) % 2
    network = Network([*UNITS, 2 if output == "softmax" else 1], activation, output, dtype=dtype, seed=0, kernels="jit")
    for size in (32, EXAMPLES):
        network.fit(X, Y, epochs=1, batch_size=size, optimizer=optimizer, verbose=False)
    network.fit(X, Y, epochs=1, batch_size=32, optimizer=optimizer, validation_data=(X, Y), verbose=False)
    network.predict(X)
    network.gradients(X, Y)
