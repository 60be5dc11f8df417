"""How the columns of a table are used: learned from the training part and kept in the model.

Numbers are standardized, (x - mean) / standard deviation; booleans become 0 or 1; categories one-hot, a row
of X for each.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .modelfile import ModelFileError
from .tables import Column, Table, listing

__all__ = ["IMPUTATIONS", "Feature", "check_finite", "doubtful", "learn_features", "standardization"]

IMPUTATIONS = ("median", "mean", "most_frequent")
FEW = 20  # so many categories are always accepted
SELDOM = 5  # texts that come in fewer rows than this, on average, are told
MANY = 10_000  # more make the first layer larger than a person can have meant


@dataclass(frozen=True)
class Feature:
    """How one column becomes rows of X; `fill` stands in for missing values where the person asked for it."""

    name: str
    kind: str
    mean: float = 0.0
    scale: float = 1.0
    categories: tuple[str, ...] = ()
    fill: float | str | None = None

    @property
    def width(self) -> int:
        """The number of rows of X."""
        return len(self.categories) if self.kind == "category" else 1

    def describe(self) -> str:
        """How the column is used, for a person."""
        if self.kind == "number":
            return f"number, standardized: mean {self.mean:.4g}, standard deviation {self.scale:.4g}"
        if self.kind == "boolean":
            return "boolean: 0 or 1"
        return f"category, one-hot: {listing(self.categories, 4)}"

    def to_dict(self) -> dict[str, Any]:
        """What a model file keeps."""
        return asdict(self) | {"categories": list(self.categories)}

    @classmethod
    def from_dict(cls, stored: Any) -> "Feature":
        """The feature a model file describes; ModelFileError where it makes no sense."""
        try:
            feature = cls(**{**stored, "categories": tuple(stored["categories"])})
        except (TypeError, KeyError):
            raise ModelFileError(f"damaged: {stored!r:.100} does not describe a column") from None
        numbers: list[Any] = [feature.mean, feature.scale]
        if feature.kind != "category" and feature.fill is not None:
            numbers.append(feature.fill)
        good = (
            isinstance(feature.name, str)
            and feature.kind in ("number", "boolean", "category")
            and all(isinstance(x, (int, float)) and math.isfinite(x) for x in numbers)
            and feature.scale > 0
            and all(isinstance(category, str) for category in feature.categories)
            and (feature.kind != "category" or feature.fill is None or feature.fill in feature.categories)
        )
        if not good:
            raise ModelFileError(f"damaged: column {feature.name!r:.100} is described by impossible values")
        return feature


def learn_features(
    table: Table,
    names: Sequence[str],
    training: np.ndarray,
    impute: str | None = None,
    categorical: Sequence[str] = (),
) -> tuple[list[Feature], dict[str, str]]:
    """Decide how each column is used, from the rows in `training`.

    Parameters
    ----------
    table : Table
    names : sequence of str
        The columns to use.
    training : ndarray of int
        Rows to learn means, standard deviations and categories from: those held out must not leak into them.
    impute : {None, "median", "mean", "most_frequent"}
        What stands in for missing values; booleans and categories take the most frequent value in any case.
    categorical : sequence of str
        Columns that are categories although they look like numbers.

    Returns
    -------
    (list of Feature, dict of str to str)
        The features, and why columns are left out.

    Raises
    ------
    ValueError
        Missing values and no `impute`; values that are infinite, or numbers in some rows and texts in others;
        a column of a type that is not accepted; no column is left.
    """
    columns = {name: _column(table, name) for name in names}
    left_out = {name: "no values" for name, column in columns.items() if column.missing[training].all()}
    gaps = {n: int(c.missing.sum()) for n, c in columns.items() if c.missing.any() and n not in left_out}
    if gaps and impute is None:
        shown = ", ".join(
            f"{name!r} ({count} of {table.rows} rows)" for name, count in list(gaps.items())[:8]
        )
        more = f" and {len(gaps) - 8} more columns" if len(gaps) > 8 else ""
        raise ValueError(
            f"{table.source}: missing values in {shown}{more}; "
            "use --impute median, mean or most_frequent to fill them, or --drop to leave columns out"
        )
    features = []
    for name, column in columns.items():
        if name in left_out:
            continue
        learned = _learn(table, column, training, impute, name in categorical)
        if isinstance(learned, Feature):
            features.append(learned)
        else:
            left_out[name] = learned
    if not features:
        reasons = "; ".join(f"{name!r}: {reason}" for name, reason in left_out.items()) or "there is none"
        raise ValueError(f"{table.source}: no column is left to learn from ({reasons})")
    return features, left_out


def _column(table: Table, name: str) -> Column:
    """The column; one that cannot be read tells the way out."""
    table.check_name(name)
    try:
        return table[name]
    except ValueError as error:
        raise ValueError(f"{error}; use --drop to leave it out") from None


def _learn(
    table: Table, column: Column, training: np.ndarray, impute: str | None, categorical: bool
) -> Feature | str:
    """The feature, or the reason why the column is of no use."""
    known = training[~column.missing[training]]
    booleans = None if categorical else column.booleans()
    if booleans is not None:
        if np.ptp(booleans[known].astype(int)) == 0:
            return "the same value everywhere"
        fill = float(booleans[known].mean() >= 0.5) if impute else None
        return Feature(column.name, "boolean", fill=fill)
    numbers, wrong = column.numbers()
    share = 1 - wrong.sum() / max(1, (~column.missing).sum())
    if categorical or share < 0.5:
        return _learn_category(column, known, impute, categorical)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(
            f"{table.source}, {table.place(row)}: column {column.name!r} is {column.values[row]!r}, while "
            f"most of its values are numbers ({wrong.sum()} are not); correct it, use --categorical or --drop"
        )
    check_finite(table, column, numbers)
    values = numbers[known]
    if values.min() == values.max():
        return "the same value everywhere"
    mean, scale = standardization(values)
    fills = {"median": lambda: float(np.median(values)), "mean": lambda: mean}
    fill = fills.get(impute, lambda: float(_most_frequent(values.tolist())))() if impute else None
    return Feature(column.name, "number", mean, scale, fill=fill)


def _learn_category(column: Column, known: np.ndarray, impute: str | None, asked: bool) -> Feature | str:
    texts = column.texts()[known].tolist()
    categories = tuple(sorted(set(texts)))
    if len(categories) == 1:
        return "the same value everywhere"
    if len(categories) > MANY or (len(categories) > max(FEW, len(texts) // 2) and not asked):
        return f"{len(categories)} different texts in {len(texts)} rows"
    return Feature(
        column.name, "category", categories=categories, fill=_most_frequent(texts) if impute else None
    )


def doubtful(
    table: Table, features: Sequence[Feature], training: np.ndarray, categorical: Sequence[str] = ()
) -> dict[str, str]:
    """Columns that are used but may say which row it is, and not what it is like; and what looks like that.

    Only to be told: nothing is learned differently. Columns in `categorical` are meant to be what they are.
    """
    found = {}
    for feature in features:
        if feature.name in categorical or feature.kind == "boolean":
            continue
        column = table[feature.name]
        if feature.kind == "category":
            known, different = int((~column.missing[training]).sum()), len(feature.categories)
            if different > max(FEW, known // SELDOM):
                found[feature.name] = f"{different} different texts in {known} rows, each of them a row of X"
        elif not column.missing.any() and _counts_rows(column.numbers()[0]):
            found[feature.name] = "whole numbers, all different, in order or without a gap, like numbers of rows"
    return found


def _counts_rows(numbers: np.ndarray) -> bool:
    """Whether they are like 1, 2, 3, ..., in any order, or whole and always rise or always fall."""
    if len(numbers) < FEW or (numbers != np.floor(numbers)).any():
        return False
    steps = np.diff(numbers)
    if (steps > 0).all() or (steps < 0).all():
        return True
    return bool((np.diff(np.sort(numbers)) == 1).all())


def _most_frequent(values: list[Any]) -> Any:
    counts = Counter(values)
    most = max(counts.values())
    return min(value for value, count in counts.items() if count == most)


def standardization(values: np.ndarray) -> tuple[float, float]:
    """The mean and the standard deviation (1 for equal values) of float64 numbers of any finite size."""
    if values.min() == values.max():
        return float(values[0]), 1.0  # their computed deviation would be a rounding error
    # A power of two brings the largest number near 1 and loses no bit, so that no square overflows or
    # vanishes.
    exponent = math.frexp(float(np.abs(values).max()))[1]
    near_one = np.ldexp(values, -exponent)
    mean, scale = math.ldexp(float(near_one.mean()), exponent), math.ldexp(float(near_one.std()), exponent)
    return mean, max(scale, float(np.finfo(np.float64).tiny))


def check_finite(table: Table, column: Column, numbers: np.ndarray) -> None:
    """No number that is there may be infinite."""
    if np.isinf(numbers).any():
        row = int(np.argmax(np.isinf(numbers)))
        raise ValueError(f"{table.source}, {table.place(row)}: column {column.name!r} is infinite")
