"""Types and groups of options that several commands share, and the way results are printed."""

import argparse
import csv
import io
import shlex
import shutil
import textwrap
from collections.abc import Iterable, Sequence

from ..network import KERNEL_SETS

__all__ = [
    "add_kernels",
    "add_network",
    "as_columns",
    "columns",
    "count",
    "fields",
    "hidden_units",
    "names",
    "share",
    "single",
    "units",
]


def count(text: str) -> int:
    """A whole number above 0."""
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def share(text: str) -> float:
    """A number from 0 to below 1."""
    value = float(text)
    if not 0 <= value < 1:
        raise ValueError
    return value


def hidden_units(text: str) -> list[int]:
    """Units of the hidden layers: "64,32", or "none"."""
    return [] if text.strip().lower() in ("", "none") else [count(part) for part in text.split(",")]


def units(text: str) -> list[int]:
    """Units of all layers, the input's first."""
    return [count(part) for part in text.split(",")]


def names(text: str) -> list[str]:
    """Names with commas between them."""
    return [name for name in (part.strip() for part in text.split(",")) if name]


def columns(text: str) -> list[str]:
    """Names of columns, written like a line of CSV: one that has a comma in it stands in quotes."""
    try:
        parts = next(csv.reader([text], skipinitialspace=True, strict=True), [])
    except csv.Error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no line of CSV: {error}") from None
    return [name for name in (part.strip() for part in parts) if name]


def as_columns(name: str) -> str:
    """How to write the name of a column after an option in a shell, for messages."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([name])
    return shlex.quote(line.getvalue())


# argparse says "invalid <name> value" when one of these refuses.
count.__name__, share.__name__, hidden_units.__name__ = "count", "share (0 to below 1)", "list of units"
units.__name__ = "list of units"


def add_kernels(parser: argparse._ActionsContainer) -> None:
    """The options that say how a network computes."""
    parser.add_argument("--kernels", choices=KERNEL_SETS, default="jit", help="what computes (default: jit)")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32", help="(default: float32)")


def add_network(parser: argparse._ActionsContainer) -> None:
    """The options that say what a network is."""
    parser.add_argument(
        "--hidden",
        type=hidden_units,
        default=[64, 32],
        metavar="N,N",
        help="units of the hidden layers, or none (default: 64,32)",
    )
    parser.add_argument(
        "--activation",
        type=names,
        default=["relu"],
        metavar="NAME",
        help="of the hidden layers, one or one for each: relu, tanh, leaky_relu(0.2), ... (default: relu)",
    )
    parser.add_argument("--loss", metavar="NAME", help="the natural one for the output by default")


def fields(rows: Iterable[tuple[str, str]]) -> str:
    """Names and what is to be said of them in two columns, wrapped to the terminal."""
    width = min(shutil.get_terminal_size().columns, 100)
    lines: list[str] = []
    for name, text in rows:
        lines += textwrap.wrap(
            text,
            max(width, 40),
            initial_indent=f"{name:<12}",
            subsequent_indent=" " * 12,
            break_on_hyphens=False,
        ) or [name]
    return "\n".join(lines)


def single(values: Sequence[str]) -> str | list[str]:
    """One name as such, several as a list: how `Network` takes activations."""
    return values[0] if len(values) == 1 else list(values)
