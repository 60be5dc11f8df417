"""Readers of people's tables: CSV, NPZ and Parquet files into a `Table`."""

import csv
import io
import itertools
import math
import os
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .tables import MISSING, Column, Table, listing

__all__ = ["read_table"]


def read_table(path: str | os.PathLike[str]) -> Table:
    """Read a CSV, NPZ or Parquet file, told apart by its first bytes.

    Parameters
    ----------
    path : path-like
        CSV: UTF-8 with a header; commas, semicolons or tabs between the fields. NPZ: 1-D arrays are columns,
        a 2-D array ``X`` of shape (m, k) is the columns ``X[0]`` to ``X[k-1]``; examples are rows. Parquet:
        needs pyarrow.

    Returns
    -------
    Table

    Raises
    ------
    ValueError
        The file is not what it says, is damaged, has no rows, or is one of Python's pickles.
    ImportError
        A Parquet file, and pyarrow is not installed.
    OSError
        The file cannot be read.
    """
    source = os.fspath(path)
    with open(source, "rb") as file:
        content = file.read()
    if not content:
        raise ValueError(f"{source} is empty")
    kind = os.path.splitext(source)[1].lower()
    if content.startswith(b"PK\x03\x04"):
        table = _read_npz(source, content)
    elif content.startswith(b"PAR1"):
        table = _read_parquet(source, content)
    elif kind in (".npz", ".parquet"):
        raise ValueError(f"{source} is not {'an NPZ' if kind == '.npz' else 'a Parquet'} file")
    else:
        table = _read_csv(source, content)
    if table.rows == 0:
        raise ValueError(f"{source} has columns but no rows")
    return table


def _read_csv(source: str, content: bytes) -> Table:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{source} is not a CSV file in UTF-8: byte {error.start} is 0x{content[error.start]:02x}; "
            "accepted: CSV saved as UTF-8, NPZ, Parquet"
        ) from None
    if "\0" in text:
        raise ValueError(f"{source} is not a CSV file: it holds zero bytes")
    delimiter = _delimiter(text)
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True
    )
    records: list[list[str]] = []
    lines: list[int] = []
    try:
        for record in reader:
            if not record:
                continue  # a blank line
            if records and len(record) != len(records[0]):
                raise ValueError(
                    f"{source}, line {reader.line_num} has {len(record)} fields, the header {len(records[0])}"
                )
            records.append([field.strip() for field in record])
            lines.append(reader.line_num)
    except csv.Error as error:
        raise ValueError(f"{source}, line {reader.line_num}: {error}") from None
    if not records:
        raise ValueError(f"{source} holds only blank lines")
    names = _header(source, records[0])
    fields = zip(*records[1:], strict=True) if len(records) > 1 else itertools.repeat((), len(names))
    columns = {
        name: partial(_csv_column, name, texts, delimiter == ";")
        for name, texts in zip(names, fields, strict=len(records) > 1)
    }
    return Table(source, names, len(records) - 1, columns, tuple(lines[1:]))


def _csv_column(name: str, texts: tuple[str, ...], decimal_comma: bool) -> Column:
    values = np.empty(len(texts), object)
    values[:] = texts
    return Column(name, values, np.array([text in MISSING for text in texts], bool), decimal_comma)


def _delimiter(text: str) -> str:
    """The one of comma, semicolon and tab that splits the first records alike, into the most fields."""
    best, most = "", 1
    for delimiter in ",;\t":
        try:
            sample = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
            counts = {len(record) for record in itertools.islice(sample, 20) if record}
        except csv.Error:  # the reading itself will tell
            continue
        if len(counts) == 1 and max(counts) > most:
            best, most = delimiter, max(counts)
    header = text.lstrip().partition("\n")[0]
    return best or max(",;\t", key=header.count)


def _header(source: str, fields: list[str]) -> tuple[str, ...]:
    def numeric(field: str) -> bool:
        try:
            return math.isfinite(float(field))
        except ValueError:
            return False

    if all(map(numeric, fields)):
        raise ValueError(
            f"{source} starts with numbers, {fields[0]!r}, ...: a first line with names is needed"
        )
    names = tuple(field or f"column {i}" for i, field in enumerate(fields, 1))
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"{source} has more than one column named {listing(twice)}")
    return names


# NPZ and Parquet
# -----------------------------------------------------------------------------------------------------


def _read_npz(source: str, content: bytes) -> Table:
    columns: dict[str, Callable[[], Column]] = {}
    lengths: dict[str, int] = {}
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        foreign = [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]
        if foreign:
            raise ValueError(f"it holds {listing(foreign, 3)}; a spreadsheet must be saved as CSV")
    except (
        ValueError,
        EOFError,
        OSError,
        MemoryError,
        zipfile.BadZipFile,
        zlib.error,
        NotImplementedError,
    ) as error:
        raise ValueError(f"{source} cannot be read as an NPZ file of plain arrays: {error}") from None
    for name, array in arrays.items():
        if array.ndim not in (1, 2):
            raise ValueError(f"{source}: array {name!r} must have one or two dimensions, examples as rows")
        lengths[name] = len(array)
        parts = (
            [(name, array)]
            if array.ndim == 1
            else [(f"{name}[{j}]", array[:, j]) for j in range(array.shape[1])]
        )
        for part, values in parts:
            columns[part] = partial(_array_column, source, part, values)
    if len(set(lengths.values())) != 1:
        found = ", ".join(f"{name!r} {length}" for name, length in lengths.items()) or "none"
        raise ValueError(f"{source}: arrays must have as many rows as there are examples, found {found}")
    return Table(source, tuple(columns), next(iter(lengths.values())), columns)


def _array_column(source: str, name: str, values: np.ndarray) -> Column:
    missing = np.zeros(len(values), bool)
    if values.dtype.kind == "S":
        try:
            values = np.char.decode(values, "utf-8")
        except UnicodeDecodeError:
            raise ValueError(f"{source}: column {name!r} holds bytes that are not UTF-8 text") from None
    if values.dtype.kind == "U":
        values = np.array([text.strip() for text in values.tolist()], object)
        missing = np.array([text in MISSING for text in values], bool)
    elif values.dtype.kind == "f":
        values = values.astype(np.float64)
        missing = np.isnan(values)
    elif values.dtype.kind not in "biu":
        raise ValueError(
            f"{source}: column {name!r} is {values.dtype}; accepted: numbers, booleans and texts"
        )
    return Column(name, values, missing)


def _read_parquet(source: str, content: bytes) -> Table:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ImportError(f"{source}: Parquet files need pyarrow: pip install 'jitprop[parquet]'") from None
    try:
        found = pyarrow.parquet.read_table(pyarrow.BufferReader(content))
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"{source} cannot be read as a Parquet file: {error}") from None
    names = tuple(found.column_names)
    columns = {name: partial(_arrow_column, source, name, found.column(i)) for i, name in enumerate(names)}
    if len(columns) < len(names):
        raise ValueError(f"{source} has more than one column of the same name: {listing(names)}")
    return Table(source, names, found.num_rows, columns)


def _arrow_column(source: str, name: str, values: Any) -> Column:
    from pyarrow import types

    kind = values.type.value_type if types.is_dictionary(values.type) else values.type
    missing = np.asarray(values.is_null().to_pylist(), bool)
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        texts = np.empty(len(values), object)
        texts[:] = [text.strip() if text is not None else "" for text in values.to_pylist()]
        return Column(name, texts, missing | np.array([text in MISSING for text in texts], bool))
    if types.is_boolean(kind):
        return Column(name, np.array([bool(value) for value in values.to_pylist()]), missing)
    if types.is_integer(kind):
        plain = values.to_pylist()
        dtype = np.uint64 if types.is_unsigned_integer(kind) else np.int64
        return Column(name, np.array([0 if value is None else value for value in plain], dtype), missing)
    if types.is_floating(kind) or types.is_decimal(kind):
        numbers = np.array([math.nan if v is None else float(v) for v in values.to_pylist()], np.float64)
        return Column(name, numbers, np.isnan(numbers))
    raise ValueError(f"{source}: column {name!r} is {values.type}; accepted: numbers, booleans and texts")
