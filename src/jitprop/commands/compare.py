"""``jitprop compare``: the computations of the course on every rung from Python loops to compiled kernels."""

import argparse
import textwrap
import time
from typing import Any

from ..compare import GROUPS, Budget, bring, chosen, measure
from ..compare.budget import DRAWING, MINUTE
from ..ladder import TASKS, compile_seconds
from ..plots import new_figure
from .options import check_outputs, names

__all__ = ["add"]


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "compare",
        help="loops, compiled loops, NumPy and our kernels, timed side by side",
        description="Time the computations of the course as Python loops, the same loops compiled by plain njit and "
        "with prange, NumPy, and our kernels with one thread and with all; first calls, which compile, apart. "
        "Results are compared first. It is made to take less than a minute, and less still the next time, when nothing "
        "has to be compiled: a slow or busy machine times fewer runs, three at least, which shows in the spread, "
        "and in the end fewer sizes. Without a file to write, only NumPy and our kernels are timed at other sizes.",
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "--only",
        type=names,
        action="extend",
        default=[],
        metavar="A,B",
        help=f"some of: {', '.join(TASKS)}; {', '.join(GROUPS)} stands for all of these",
    )
    parser.add_argument("--quick", action="store_true", help="smaller sizes, fewer activations")
    parser.add_argument(
        "--bring", metavar="MODULE", help="your own kernels, a module or a .py file: checked, then in the same tables"
    )
    parser.add_argument("--json", metavar="FILE", help="all measurements as JSON")
    parser.add_argument("--csv", metavar="FILE", help="all measurements as a table")
    parser.add_argument("--plot", metavar="FILE", help="a picture, PNG or SVG by its name, with matplotlib")


def run(arguments: argparse.Namespace) -> int:
    """Measure, print, write; 1 if brought kernels are wrong or results disagree, and then nothing is written."""
    from .. import info  # imports Numba, as do the reports, which name its version
    from ..compare import report

    outputs = {f"--{name}": getattr(arguments, name) for name in ("json", "csv", "plot")}
    check_outputs(outputs, {"--bring": arguments.bring})
    if arguments.plot is not None:
        _check_picture(arguments.plot)
    chosen(arguments.only, arguments.quick, None)  # a name that is wrong is told before anything is checked
    brought = None
    if arguments.bring is not None:
        brought = bring(arguments.bring)
        if brought is None:
            return 1
    computations = chosen(arguments.only, arguments.quick, brought)
    started, compiled = time.perf_counter(), compile_seconds()
    budget = Budget(computations, MINUTE - (DRAWING if arguments.plot is not None else 0))
    curves = any(path is not None for path in outputs.values())
    print(info.headline())
    if warning := report.busy():
        print(textwrap.fill(warning, 80))
    comparisons = []
    for name in computations:
        comparison = measure(name, arguments.quick, brought, curves, budget)
        comparisons.append(comparison)
        print(f"\n{report.table(comparison)}")
        for line in report.verdict(comparison):
            print(textwrap.fill(line, 80, subsequent_indent="  "), flush=True)
    print(_notes(time.perf_counter() - started, compile_seconds() - compiled))
    print("NumPy and our kernels with all threads, at the sizes of the tables:")
    for line in report.conclusions(comparisons):
        print(textwrap.fill(line, 80, subsequent_indent="  "))
    if not all(step.agrees for comparison in comparisons for step in comparison.steps):
        print("the results DO NOT AGREE; no file is written")
        return 1
    _write(arguments, comparisons)
    return 0


def _check_picture(path: str) -> None:
    """Raise now what drawing would raise after a minute: matplotlib is missing, or the name has no known ending."""
    figure, _ = new_figure()
    kinds = figure.canvas.get_supported_filetypes()
    kind = path.rpartition(".")[2].lower() if "." in path else "png"
    if kind not in kinds:
        raise ValueError(f"{path}: unknown kind of picture {kind!r}; accepted: {', '.join(sorted(kinds))}")


def _notes(seconds: float, compiled: float) -> str:
    text = (
        "first: the first call, which is in no other column; * marks where it had to compile. What is compiled is kept "
        "for the next time. spread: half the distance between the quartiles, of fewer than 8 runs between the fastest "
        "and the slowest. speed-up: times as fast as the Python loops; ~ marks what is extrapolated. "
        f"All of this took {seconds:.0f} s"
    )
    text += f", compiling {compiled:.0f} s of it." if compiled else "; nothing had to be compiled."
    if seconds > 60:
        text += " That is more than a minute: every rung is timed for three runs at least."
    return "\n" + textwrap.fill(text, 80) + "\n"


def _write(arguments: argparse.Namespace, comparisons: list[Any]) -> None:
    from ..compare import output

    texts = [(arguments.json, output.as_json), (arguments.csv, output.as_csv)]
    for path, text in texts:
        if path is not None:
            output.write(path, text(comparisons))
            print(f"written: {path}")
    if arguments.plot is not None:
        output.draw_to(comparisons, arguments.plot)
        print(f"picture: {arguments.plot}")
