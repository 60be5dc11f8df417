"""Types and groups of options that several commands share, and the way results are printed."""

import argparse
import csv
import io
import math
import shlex
import shutil
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jitprop_kernels.contract import ACTIVATIONS, LOSSES, parse

from ..files import check_writable, same_file
from ..network import KERNEL_SETS
from ..storage import MAX_SEED

__all__ = [
    "activations",
    "add_kernels",
    "add_network",
    "as_columns",
    "check_outputs",
    "columns",
    "count",
    "fields",
    "hidden_units",
    "loss",
    "names",
    "positive",
    "seed",
    "share",
    "single",
    "units",
    "weight",
]


# argparse puts the name of the option before what these say.


def _whole(text: str, low: int, high: float, accepted: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = low - 1
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"must be {accepted}, got {text!r}")
    return value


def _number(text: str, low: float, high: float, accepted: str, open_low: bool = False) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not ((low < value if open_low else low <= value) and value < high):
        raise argparse.ArgumentTypeError(f"must be {accepted}, got {text!r}")
    return value


def count(text: str) -> int:
    """A whole number above 0."""
    return _whole(text, 1, math.inf, "a whole number above 0")


def seed(text: str) -> int:
    """A seed of a network."""
    return _whole(text, 0, MAX_SEED, f"a whole number from 0 to {MAX_SEED}")


def share(text: str) -> float:
    """A number from 0 to below 1."""
    return _number(text, 0, 1, "a number from 0 to below 1")


def positive(text: str) -> float:
    """A number above 0, such as a learning rate."""
    return _number(text, 0, math.inf, "a finite number above 0", open_low=True)


def weight(text: str) -> float:
    """A number from 0, such as the weight of a penalty."""
    return _number(text, 0, math.inf, "a finite number from 0")


def hidden_units(text: str) -> list[int]:
    """Units of the hidden layers: "64,32", or "none"."""
    return [] if text.strip().lower() in ("", "none") else _counts(text, "such as 64,32, or none")


def units(text: str) -> list[int]:
    """Units of all layers, the input's first."""
    return _counts(text, "such as 4,5,3,2")


def _counts(text: str, such: str) -> list[int]:
    try:
        return [count(part) for part in text.split(",")]
    except argparse.ArgumentTypeError:
        accepted = f"whole numbers above 0 with commas between them, {such}"
        raise argparse.ArgumentTypeError(f"must be {accepted}, got {text!r}") from None


def activations(text: str) -> list[str]:
    """Activations of hidden layers, with commas between them."""
    found = names(text)
    if not found:
        raise argparse.ArgumentTypeError(f"must be a name or names with commas between them, got {text!r}")
    for name in found:
        _parsed(name, ACTIVATIONS, "activation")
    return found


def loss(text: str) -> str:
    """A loss; whether it fits the output is known only with the output."""
    return _parsed(text, LOSSES, "loss")


def _parsed(name: str, table: Mapping[str, Any], what: str) -> str:
    try:
        parse(name, table, what)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return name


def names(text: str) -> list[str]:
    """Names with commas between them."""
    return [name for name in (part.strip() for part in text.split(",")) if name]


def columns(text: str) -> list[str]:
    """Names of columns, written like a line of CSV: one that has a comma in it stands in quotes."""
    try:
        parts = next(csv.reader([text], skipinitialspace=True, strict=True), [])
    except csv.Error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no line of CSV: {error}") from None
    found = [name for name in (part.strip() for part in parts) if name]
    if not found:
        raise argparse.ArgumentTypeError(f"must be names of columns with commas between them, got {text!r}")
    return found


def as_columns(name: str) -> str:
    """How to write the name of a column after an option in a shell, for messages."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([name])
    return shlex.quote(line.getvalue())


def check_outputs(outputs: Mapping[str, str | None], inputs: Mapping[str, str | None]) -> None:
    """Raise now, before any work is done, where a file cannot be written or would replace one that is read.

    Parameters
    ----------
    outputs, inputs : mapping of str to str or None
        The paths given, by the options as the person writes them; None where one is not given. No two outputs may
        be one file either.
    """
    taken = {name: path for name, path in inputs.items() if path is not None}
    for option, path in outputs.items():
        if path is None:
            continue
        check_writable(path)
        for name, other in taken.items():
            if same_file(path, other):
                raise ValueError(
                    f"{option} {path} is the same file as {name} {other}, which it would replace; give another name"
                )
        taken[option] = path


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
        type=activations,
        default=["relu"],
        metavar="NAME",
        help="of the hidden layers, one or one for each: relu, tanh, leaky_relu(0.2), ... (default: relu)",
    )
    parser.add_argument("--loss", type=loss, metavar="NAME", help="the natural one for the output by default")


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
