"""``jitprop cache``: show or clear what is kept of compiled kernels."""

import argparse
import time
from typing import Any

__all__ = ["add"]


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "cache",
        help="show or clear the compiled kernels",
        description="Compiled kernels are kept between runs.",
    )
    parser.set_defaults(run=run)
    parser.add_argument("action", choices=("show", "clear"), nargs="?", default="show", help="(default: show)")


def run(arguments: argparse.Namespace) -> int:
    """Show or clear."""
    from jitprop_kernels.jit.cache import cache_directory, cache_entries, clear_cache  # imports Numba

    directory = cache_directory()
    if arguments.action == "clear":
        print(f"{clear_cache()} kernels removed from {directory}")
        return 0
    entries = cache_entries()
    size = sum(entry.size for entry in entries)
    print(f"{directory}: {len(entries)} kernels, {size / 2**20:.1f} MB")
    for entry in reversed(entries):
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used))
        print(f"  {entry.size / 1024:8.0f} kB  used {used}  {entry.function}")
    return 0
