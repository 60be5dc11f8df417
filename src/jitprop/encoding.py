"""From the columns of a table to the rows of X, as `preprocessing` has learned it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .preprocessing import Feature, check_finite
from .tables import Column, Table, listing

__all__ = ["encode"]


def encode(
    features: Sequence[Feature], table: Table, dtype: str, ignore_unknown: bool = False
) -> tuple[np.ndarray, dict[str, int]]:
    """X of a table, by what was learned.

    Parameters
    ----------
    features : sequence of Feature
    table : Table
        Columns in any order; more columns than needed do no harm.
    dtype : {"float32", "float64"}
    ignore_unknown : bool
        Whether a category not seen in training is all zeros instead of an error.

    Returns
    -------
    (ndarray, dict of str to int)
        X of shape (n_x, m), the transpose of a C-contiguous array, and how many unknown categories each
        column has.

    Raises
    ------
    ValueError
        A column is absent, or a value is missing, infinite, no number or an unknown category.
    """
    rows = np.zeros((table.rows, sum(feature.width for feature in features)), dtype)
    unknown = {}
    at = 0
    for feature in features:
        column = table[feature.name]
        if feature.fill is None and column.missing.any():
            row = int(np.argmax(column.missing))
            raise ValueError(
                f"{table.source}, {table.place(row)}: column {feature.name!r} is missing "
                f"({column.missing.sum()} of {table.rows} rows), and the model was trained without --impute"
            )
        part = rows[:, at : at + feature.width]
        if feature.kind == "category":
            count = _encode_category(feature, table, column, part, ignore_unknown)
            if count:
                unknown[feature.name] = count
        elif feature.kind == "boolean":
            part[:, 0] = _encode_boolean(feature, table, column)
        else:
            with np.errstate(over="ignore"):
                part[:, 0] = _encode_number(feature, table, column)
            if not np.isfinite(part).all():
                row = int(np.argmin(np.isfinite(part[:, 0])))
                raise _refuse(table, column, row, f"too large for {dtype} once standardized")
        at += feature.width
    return rows.T, unknown


def _refuse(table: Table, column: Column, row: int, wanted: str) -> ValueError:
    value = column.texts()[row]
    return ValueError(f"{table.source}, {table.place(row)}: column {column.name!r} is {value!r}, {wanted}")


def _encode_number(feature: Feature, table: Table, column: Column) -> np.ndarray:
    numbers, wrong = column.numbers()
    if wrong.any():
        raise _refuse(table, column, int(np.argmax(wrong)), "which is not a number")
    check_finite(table, column, numbers)
    if feature.fill is not None:
        numbers[column.missing] = feature.fill
    # Halved first: the difference of two finite numbers may be infinite.
    return (numbers / 2 - feature.mean / 2) / feature.scale * 2


def _encode_boolean(feature: Feature, table: Table, column: Column) -> np.ndarray:
    values = column.booleans()
    if values is None:
        accepted = ("true", "false")
        texts = column.texts().tolist()
        row = next(i for i, t in enumerate(texts) if t.lower() not in accepted and not column.missing[i])
        raise _refuse(table, column, row, "accepted: true and false")
    numbers = values.astype(np.float64)
    if feature.fill is not None:
        numbers[column.missing] = feature.fill
    return numbers


def _encode_category(
    feature: Feature, table: Table, column: Column, part: np.ndarray, ignore_unknown: bool
) -> int:
    place: dict[Any, int] = {category: i for i, category in enumerate(feature.categories)}
    unknown = 0
    for row, (text, missing) in enumerate(zip(column.texts().tolist(), column.missing.tolist(), strict=True)):
        at = place.get(feature.fill if missing else text)
        if at is not None:
            part[row, at] = 1
        elif ignore_unknown:
            unknown += 1
        else:
            known = f"not seen in training: {listing(feature.categories, 6)}; --unknown ignore accepts it"
            raise _refuse(table, column, row, known)
    return unknown
