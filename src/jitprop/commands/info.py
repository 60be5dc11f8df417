"""``jitprop info``: the machine, the versions and the cache."""

import argparse
import json
from typing import Any

from .options import fields

__all__ = ["add"]


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "info",
        help="processor, threads, measured peak, versions, cache",
        description="Say what the processor is, how fast one of its cores multiplies and adds, which threads "
        "and versions are in use, and where compiled kernels are kept.",
    )
    parser.set_defaults(run=run)
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")
    parser.add_argument("--no-peak", action="store_true", help="do not measure the peak, which takes a moment")


def run(arguments: argparse.Namespace) -> int:
    """Print what is known."""
    from .. import info  # imports Numba

    found = info.gather(measure=not arguments.no_peak)
    if arguments.json:
        print(json.dumps(found, indent=2))
        return 0
    threads, versions, cache = found["threads"], found["versions"], found["cache"]
    peaks = [f"{value:g} GFLOP/s in {dtype}" for dtype, value in found["fma_peak_gflops"].items()]
    rows = [
        ("jitprop", found["jitprop"]),
        ("processor", f"{found['processor']} ({found['architecture']}), {found['system']}"),
        ("vectors", f"{found['vector_bits']} bits, {'fused' if found['fma'] else 'no fused'} multiply-add"),
        ("threads", f"{threads['used']} used of {threads['available']} available, layer {threads['layer']}"),
        ("FMA peak", f"{', '.join(peaks) or 'not measured'} (one thread)"),
        ("Python", f"{versions['python']}, {found['executable']}"),
        ("NumPy", f"{versions['numpy']}, BLAS {versions['blas']}"),
        ("Numba", f"{versions['numba']}, llvmlite {versions['llvmlite']}"),
        ("cache", f"{cache['directory']}: {cache['kernels']} kernels, {cache['bytes'] / 2**20:.1f} MB"),
    ]
    if found["environment"]:
        rows.append(("environment", ", ".join(found["environment"])))
    print(fields(rows))
    return 0
