"""People's tables: named columns as a file holds them.

A `Table` gives a column when it is asked for, so that a column nobody uses may hold anything. What the values
mean for a network is decided in `preprocessing`; `readers` read the files.
"""

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["MISSING", "Column", "Table", "listing", "nearest"]

MISSING = frozenset({"", "NA", "N/A", "NaN", "nan", "NULL", "null"})
BOOLEANS = {"true": True, "false": False}


@dataclass(frozen=True)
class Column:
    """The values of one column, and which of them are missing.

    `values` is an array of float64, integers, bool, or of strings as objects; `decimal_comma` says that a
    number may be written with a comma.
    """

    name: str
    values: np.ndarray
    missing: np.ndarray
    decimal_comma: bool = False

    def numbers(self) -> tuple[np.ndarray, np.ndarray]:
        """float64 values, nan where there is no number, and where that is although something stands there."""
        if self.values.dtype != object:
            numbers = self.values.astype(np.float64)
        else:
            numbers = np.array([self._number(text) for text in self.values], np.float64)
        numbers[self.missing] = np.nan
        return numbers, np.isnan(numbers) & ~self.missing

    def _number(self, text: str) -> float:
        if self.decimal_comma:
            text = text.replace(",", ".", 1)
        try:
            return float(text) if "_" not in text else math.nan
        except ValueError:
            return math.nan

    def texts(self) -> np.ndarray:
        """The values as strings, as the person would write them; those of missing values mean nothing."""
        if self.values.dtype == object:
            return self.values
        return np.array([_text(value) for value in self.values.tolist()], object)

    def booleans(self) -> np.ndarray | None:
        """The values as bool if each of them is true or false, else None."""
        if self.values.dtype == bool:
            return self.values
        if self.values.dtype != object:
            return None
        found = [BOOLEANS.get(text.lower()) for text in self.values]
        if any(value is None and not absent for value, absent in zip(found, self.missing, strict=True)):
            return None
        return np.array([bool(value) for value in found])


def _text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


@dataclass(frozen=True)
class Table:
    """Named columns of equal length, from a file."""

    source: str
    names: tuple[str, ...]
    rows: int
    columns: Mapping[str, Callable[[], Column]]
    lines: tuple[int, ...] | None = None

    def __getitem__(self, name: str) -> Column:
        self.check_name(name)
        return self.columns[name]()

    def check_name(self, name: str) -> None:
        """Refuse the name of no column; the values of one that is there are not looked at."""
        if name not in self.columns:
            close = nearest(name, self.names)
            hint = f"it has {listing(self.names)}" if close is None else f"did you mean {close!r}?"
            raise ValueError(f"{self.source} has no column {name!r}; {hint}")

    def place(self, row: int) -> str:
        """Where a row stands in the file, for messages."""
        return f"line {self.lines[row]}" if self.lines else f"row {row + 1}"


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The name that is likely to be meant, whether its letters are capitals or not; None where none is near."""
    by_letters = {each.casefold(): each for each in names}
    # difflib's own cutoff, 0.6, takes "income" for what is meant by "note".
    close = difflib.get_close_matches(name.casefold(), by_letters, 1, cutoff=0.7)
    return by_letters[close[0]] if close else None


def listing(names: Iterable[str], most: int = 12) -> str:
    """Names for a message: not more than it can hold."""
    names = list(names)
    shown = ", ".join(repr(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
