"""The target column of a table: the task it sets, what a network is given for it, and predictions."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from jitprop_kernels.contract import parse_loss

from .checks import check_integer
from .modelfile import ModelFileError
from .preprocessing import check_finite, standardization
from .tables import Column, Table

__all__ = ["TASKS", "Target", "decide", "known_values", "split"]

TASKS = {"binary": "sigmoid", "multiclass": "softmax", "regression": "linear"}
FEW = 20  # so many different whole numbers are classes; more are quantities
MANY = 10_000


@dataclass(frozen=True)
class Target:
    """A target column: its classes in the person's words, or for a regression offset + scale * output of the
    network.

    With `exponential`, the network's output is the logarithm of the value (Poisson regression).
    """

    name: str
    labels: tuple[str, ...] = ()
    offset: float = 0.0
    scale: float = 1.0

    def standardized(self, numbers: np.ndarray, output: str, loss: str | None) -> "Target":
        """Scaled by the training part: a linear output has mean 0, one that is not negative keeps its 0.

        Poisson's loss is for counts, which are left as they are.
        """
        if self.labels or loss == "poisson":
            return self
        mean, deviation = standardization(numbers)
        return replace(self, offset=mean if output == "linear" else 0.0, scale=deviation)

    def for_network(self, values: np.ndarray, dtype: str) -> np.ndarray:
        """Y of shape (m,): class indices, or standardized numbers."""
        if self.labels:
            return values
        return ((values / 2 - self.offset / 2) / self.scale * 2).astype(dtype)

    def numbers(self, predictions: np.ndarray) -> np.ndarray:
        """The network's predictions, (1, m), in the units of the column, float64 (m,)."""
        values = predictions.astype(np.float64).reshape(-1)
        return self.offset + self.scale * values

    def describe(self) -> str:
        """The task, for a person."""
        if not self.labels:
            return "regression"
        shown = ", ".join(map(_quoted, self.labels[:8])) + (", ..." if len(self.labels) > 8 else "")
        return f"{len(self.labels)} classes: {shown}"

    def to_dict(self) -> dict[str, Any]:
        """What a model file keeps."""
        return asdict(self) | {"labels": list(self.labels)}

    @classmethod
    def from_dict(cls, stored: Any) -> "Target":
        """The target a model file describes; ModelFileError where it makes no sense."""
        try:
            target = cls(**{**stored, "labels": tuple(stored["labels"])})
        except (TypeError, KeyError):
            raise ModelFileError(f"damaged: {stored!r:.100} does not describe a target") from None
        good = (
            isinstance(target.name, str)
            and all(isinstance(label, str) for label in target.labels)
            and all(isinstance(x, (int, float)) and math.isfinite(x) for x in (target.offset, target.scale))
            and target.scale > 0
        )
        if not good:
            raise ModelFileError(f"damaged: target {target.name!r:.100} is described by impossible values")
        return target


def decide(
    table: Table, name: str, task: str | None = None, output: str | None = None, loss: str | None = None
) -> tuple[Target, str, np.ndarray]:
    """Infer the task from the target column, or take the one that is asked for.

    Two different values are two classes. Texts are classes, and so are at most `FEW` different whole numbers,
    if they are no more than half as many as the rows; other numbers are a regression.

    Parameters
    ----------
    table : Table
    name : str
        The target column.
    task : {None, "binary", "multiclass", "regression"}
    output : {None, "sigmoid", "softmax", "linear", "relu"}
    loss : str, optional

    Returns
    -------
    (Target, str, ndarray)
        The target, not yet standardized; the output; class indices, int64 (m,), or float64 numbers (m,).

    Raises
    ------
    ValueError
        Missing values, one class only, texts where numbers are needed, or options that do not fit each other.
    """
    column = table[name]
    if column.missing.any():
        rows = f"{column.missing.sum()} of {table.rows} rows"
        raise ValueError(f"{table.source}: target {name!r} is missing in {rows}; remove these rows")
    if task is not None and task not in TASKS:
        raise ValueError(f"unknown task {task!r}; accepted: {', '.join(TASKS)}")
    if output is None:
        output = TASKS[task or _infer(table, column)]
        if task is None and loss is not None and output == "sigmoid" and loss == "cross_entropy":
            output = "softmax"  # two classes go with either
    output, loss, _ = parse_loss(loss, output)
    classes = output in ("sigmoid", "softmax")
    if task is not None and classes != (task != "regression") or (task, output) == ("multiclass", "sigmoid"):
        raise ValueError(f"--output {output} does not fit --task {task}")
    if classes:
        labels, indices = _classes(table, column)
        if output == "sigmoid" and len(labels) > 2:
            option, other = ("--output sigmoid", "softmax") if task is None else ("--task binary", "multiclass")
            raise ValueError(
                f"{table.source}: {option} tells two classes apart, target {name!r} has {len(labels)}: use {other}"
            )
        return Target(name, labels), output, indices
    numbers, wrong = column.numbers()
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(
            f"{table.source}, {table.place(row)}: target {name!r} is {column.values[row]!r}, "
            "a regression needs numbers"
        )
    check_finite(table, column, numbers)
    if (numbers == numbers[0]).all():
        raise ValueError(_constant(table, column))
    if (output == "relu" or loss == "poisson") and numbers.min() < 0:
        row = int(np.argmin(numbers))
        asked = "output relu" if output == "relu" else "loss poisson"
        raise ValueError(
            f"{table.source}, {table.place(row)}: {asked} cannot reach target {name!r} {numbers[row]:g}"
        )
    return Target(name), output, numbers


def _quoted(label: str) -> str:
    """The label, in quotes where it would be hard to tell where it ends."""
    return repr(label) if "," in label or any(map(str.isspace, label)) else label


def _infer(table: Table, column: Column) -> str:
    numbers, wrong = column.numbers()
    different = set((column.texts() if wrong.any() else numbers).tolist())
    if len(different) == 2:
        return "binary"
    if column.values.dtype == bool or wrong.any():
        return "multiclass"
    whole = bool((numbers == np.floor(numbers)).all())
    return "multiclass" if whole and len(different) <= min(FEW, max(2, table.rows // 2)) else "regression"


def _classes(table: Table, column: Column) -> tuple[tuple[str, ...], np.ndarray]:
    """The labels, numbers in their order and texts in theirs, and each row's index."""
    texts = column.texts().tolist()
    numbers, wrong = column.numbers()
    numeric = not wrong.any() and column.values.dtype != bool
    keys: Sequence[Any] = numbers.tolist() if numeric else texts
    words: dict[Any, str] = {}
    for key, text in zip(keys, texts, strict=True):
        words.setdefault(key, text)  # 1 and 1.0 are one class
    if len(words) < 2:
        raise ValueError(_constant(table, column))
    if len(words) > MANY or (len(words) > FEW and len(words) > table.rows // 2):
        raise ValueError(
            f"{table.source}: target {column.name!r} has {len(words)} different values in {table.rows} rows, "
            "too many for classes; a regression needs numbers"
        )
    order = {key: i for i, key in enumerate(sorted(words))}
    return tuple(words[key] for key in order), np.array([order[key] for key in keys], np.int64)


def _constant(table: Table, column: Column) -> str:
    return f"{table.source}: target {column.name!r} is {column.texts()[0]!r} in every row; nothing to learn"


def known_values(target: Target, table: Table) -> np.ndarray | None:
    """What `decide` gave, for another table; None where its target column does not say it for every row."""
    if target.name not in table.names:
        return None
    column = table[target.name]
    numbers, wrong = column.numbers()
    if column.missing.any():
        return None
    if not target.labels:
        return None if wrong.any() or not np.isfinite(numbers).all() else numbers
    place = {label: i for i, label in enumerate(target.labels)}
    indices = [place.get(text, -1) for text in column.texts().tolist()]
    return None if -1 in indices else np.array(indices, np.int64)


def split(values: np.ndarray, classes: bool, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the training part and of the part held out, each in the order of the rows.

    Parameters
    ----------
    values : ndarray (m,)
        Class indices, of which each part gets its share, or numbers.
    classes : bool
        Whether they are class indices; a class is never held out whole.
    fraction : float
        The share to hold out, from 0 to below 1.
    seed : int
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"validation fraction must be from 0 to below 1, got {fraction:g}")
    generator = np.random.default_rng(check_integer("seed", seed, 0))
    groups = [np.flatnonzero(values == k) for k in np.unique(values)] if classes else [np.arange(len(values))]
    held = [generator.permutation(rows)[: min(round(fraction * len(rows)), len(rows) - 1)] for rows in groups]
    if fraction > 0 and sum(map(len, held)) == 0:
        raise ValueError(
            f"{len(values)} rows are too few to hold out {fraction:g} of them; use --validation-fraction 0"
        )
    aside = np.sort(np.concatenate(held)).astype(np.int64)
    return np.setdiff1d(np.arange(len(values)), aside), aside
