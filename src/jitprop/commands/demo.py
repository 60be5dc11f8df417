"""``jitprop demo``: train on real data and time an epoch in loops, NumPy and compiled kernels."""

import argparse
from typing import Any

from ..datasets import DATASETS
from ..files import check_writable
from .options import count

__all__ = ["add"]

PICTURE = "jitprop-demo.png"


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "demo",
        help="train on real data, and time loops, NumPy and compiled kernels",
        description="Train on data that comes with scikit-learn, show the cost curve and how good it "
        "is on data held out, and time one epoch in loops, in NumPy and in compiled kernels: same network, "
        "same data, same start.",
    )
    parser.set_defaults(run=run)
    parser.add_argument("--data", choices=(*DATASETS, "all"), default="all", help="(default: all)")
    parser.add_argument("--epochs", type=count, metavar="N", help="instead of what suits the data")
    parser.add_argument(
        "--plot", default=PICTURE, metavar="FILE", help=f"the picture, with matplotlib (default: {PICTURE})"
    )
    parser.add_argument("--quick", action="store_true", help="few epochs, loops timed on a part")


def run(arguments: argparse.Namespace) -> int:
    """Demonstrate; 1 if the kernel sets disagree."""
    from .. import demo  # imports Numba

    check_writable(arguments.plot)
    chosen = list(DATASETS) if arguments.data == "all" else [arguments.data]
    return 0 if demo.demonstrate(chosen, arguments.epochs, arguments.plot, arguments.quick) else 1
