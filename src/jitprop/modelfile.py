"""Model files: named arrays and a JSON description in the safetensors layout, never pickle.

A file is the length of its header (8 bytes, little-endian), the header (JSON: for every tensor its dtype,
shape and place in the data; the strings of ``__metadata__``), and the data, tensor after tensor without gaps.
What jitprop adds is in three of those strings: ``jitprop_format``, the version of what it means;
``jitprop``, a JSON object; ``jitprop_crc32``, the CRC-32 of that object's text and of the data, in decimal,
without which a file is read too. Any program that reads safetensors reads the arrays; the layout is described at
https://huggingface.co/docs/safetensors/index#format.

A file is data of unknown origin: everything its header says is checked against the size of the file before
memory is allocated.
"""

import json
import math
import os
import stat
import zlib
from collections.abc import Iterable, Mapping
from typing import IO, Any

import numpy as np

from .files import check_path, replacing

__all__ = ["FORMAT", "ModelFileError", "is_model", "read", "write"]

FORMAT = 1  # raised when a reader of the number before would misunderstand the file
DTYPES: dict[str, np.dtype] = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8"), "I64": np.dtype("<i8")}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
MAX_HEADER = 100_000_000  # bytes: the bound of the safetensors library
SIGNATURES = {
    b"PK\x03\x04": "a ZIP or NPZ file",
    b"\x93NUMPY": "an NPY file",
    b"PAR1": "a Parquet file",
    b"\x80": "a pickle",
}


class ModelFileError(ValueError):
    """A file is not a model that this version reads; the message names the file and what is wrong."""


def write(
    path: str | os.PathLike[str], tensors: Mapping[str, np.ndarray], metadata: Mapping[str, Any]
) -> None:
    """Write named arrays and their description to a file that appears whole or not at all.

    Parameters
    ----------
    path : path-like
        The file to write or replace.
    tensors : mapping of str to ndarray
        float32, float64 or int64, of any shape and strides. `read` gives them back in this order, bit for
        bit.
    metadata : mapping
        What JSON can say: strings, finite numbers, booleans, None, lists, dicts with string keys.

    Raises
    ------
    TypeError
        `path` is no path, a tensor is not an array of those dtypes, or `metadata` holds what JSON cannot say.
    ValueError
        A name is empty or reserved, or a number in `metadata` is not finite.
    OSError
        The file cannot be written; what was there before is untouched.
    """
    arrays = {name: _storable(name, array) for name, array in tensors.items()}
    try:
        description = json.dumps(dict(metadata), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise type(error)(f"metadata holds what JSON cannot say: {error}") from None
    _check_keys(metadata)
    # Wide items first, so that each tensor is aligned to its items in the file too.
    placed = sorted(arrays, key=lambda name: -arrays[name].itemsize)
    offsets, end = {}, 0
    for name in placed:
        begin, end = end, end + arrays[name].nbytes
        offsets[name] = [begin, end]
    checksum = str(_checksum(description, (arrays[name] for name in placed)))
    strings = {"jitprop_format": str(FORMAT), "jitprop_crc32": checksum, "jitprop": description}
    header: dict[str, Any] = {"__metadata__": strings}
    for name, array in arrays.items():
        header[name] = {
            "dtype": NAMES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": offsets[name],
        }
    head = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    if len(head) > MAX_HEADER:
        raise ValueError(f"names and metadata take {len(head)} bytes, accepted: up to {MAX_HEADER}")
    with replacing(path) as file:
        file.write(len(head).to_bytes(8, "little"))
        file.write(head)
        for name in placed:
            file.write(arrays[name].data)


def _checksum(description: str, arrays: Iterable[np.ndarray]) -> int:
    """The CRC-32 of what stands in a file: the text of the description, and the arrays in the order of the data."""
    checksum = zlib.crc32(description.encode("utf-8", "surrogatepass"))
    for array in arrays:
        checksum = zlib.crc32(array.astype(array.dtype.newbyteorder("<"), copy=False).data, checksum)
    return checksum


def _check_keys(metadata: Mapping[str, Any]) -> None:
    """Every key must be a string: of other keys JSON would make strings, and `read` would return those."""
    pending: list[Any] = [metadata]
    while pending:
        value = pending.pop()
        if isinstance(value, Mapping):
            for key in value:
                if not isinstance(key, str):
                    kind = type(key).__name__
                    raise TypeError(f"keys in metadata must be strings, got {key!r:.40} of type {kind}")
            pending.extend(value.values())
        elif isinstance(value, (list, tuple)):
            pending.extend(value)


def _storable(name: str, array: np.ndarray) -> np.ndarray:
    if not isinstance(name, str):
        raise TypeError(f"the name of a tensor must be a string, got {type(name).__name__}")
    if not name or name == "__metadata__":
        raise ValueError(f"{name!r} cannot be the name of a tensor")
    if not isinstance(array, np.ndarray) or array.dtype.newbyteorder("<") not in NAMES:
        kind = f"{array.dtype} array" if isinstance(array, np.ndarray) else type(array).__name__
        raise TypeError(f"tensor {name!r} must be a float32, float64 or int64 array, got {kind}")
    return np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")


def read(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read what `write` wrote.

    Parameters
    ----------
    path : path-like
        A model file.

    Returns
    -------
    (dict of str to ndarray, dict)
        The tensors, C-contiguous, and the metadata.

    Raises
    ------
    TypeError
        `path` is no path.
    ModelFileError
        The file is not a jitprop model, is of a newer format, or is truncated or damaged: every part of it is
        checked against the others, and all values against the checksum.
    OSError
        The file does not exist or cannot be read.
    """
    path = check_path(path)
    with open(path, "rb", opener=_open_without_waiting) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ModelFileError(f"{path}: not a jitprop model: not a regular file")
        try:
            header, size = _read_header(file, status.st_size)
            strings = header.pop("__metadata__", None)
            metadata = _metadata(strings)
            places = {name: _place(name, entry) for name, entry in header.items()}
            _check_cover(places, size)
            # In the order of the header, whatever that of the data.
            tensors = dict.fromkeys(places, np.empty(0))
            in_data = sorted(places.items(), key=lambda item: item[1][2:])
            for name, (dtype, shape, _, _) in in_data:
                tensors[name] = _read_tensor(file, name, dtype, shape)
            _check_sum(strings, [tensors[name] for name, _ in in_data])
        except ModelFileError as error:
            raise ModelFileError(f"{path}: {error}") from None
    return tensors, metadata


def is_model(path: str | os.PathLike[str]) -> bool:
    """Whether a file says that it is a jitprop model, of whatever version, and whole or damaged behind its header."""
    with open(path, "rb", opener=_open_without_waiting) as file:
        try:
            header, _ = _read_header(file, os.fstat(file.fileno()).st_size)
        except ModelFileError:
            return False
    strings = header.get("__metadata__")
    return isinstance(strings, dict) and "jitprop_format" in strings


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)  # a named pipe would wait for a writer


def _read_header(file: IO[bytes], size: int) -> tuple[dict[str, Any], int]:
    """The header's object and the number of bytes of data that follow it."""
    start = file.read(9)
    for signature, kind in SIGNATURES.items():
        if start.startswith(signature) and start[8:] != b"{":
            raise ModelFileError(f"not a jitprop model: it looks like {kind}")
    length = int.from_bytes(start[:8], "little")
    if len(start) < 9 or start[8:] != b"{" or length > MAX_HEADER:
        raise ModelFileError("not a jitprop model: it does not start with a safetensors header")
    if length > size - 8:
        raise ModelFileError(f"truncated: the header has {length} bytes, of which {size - 8} are there")
    text = start[8:] + file.read(length - 1)
    return _parse(text, "header"), size - 8 - length


def _parse(text: bytes | str, what: str) -> dict[str, Any]:
    """A JSON object with each name once and finite numbers only."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a name appears twice")
        return found

    def finite(number: str) -> float:
        value = float(number)
        if not math.isfinite(value):
            raise ValueError(f"{number:.20} is not a finite number")
        return value

    def whole(number: str) -> int:
        finite(number)  # an int may be beyond float64, as which most are used
        return int(number)

    try:
        text = text.decode() if isinstance(text, bytes) else text
        parsed = json.loads(
            text, object_pairs_hook=unique, parse_int=whole, parse_float=finite, parse_constant=finite
        )
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"not a jitprop model: its {what} is not valid JSON ({error})") from None
    if not isinstance(parsed, dict):
        raise ModelFileError(f"not a jitprop model: its {what} is not a JSON object")
    return parsed


def _metadata(strings: Any) -> dict[str, Any]:
    strings = {} if strings is None else strings
    if not isinstance(strings, dict) or not all(isinstance(text, str) for text in strings.values()):
        raise ModelFileError("not a jitprop model: its metadata is not a map of strings")
    if "jitprop_format" not in strings or "jitprop" not in strings:
        raise ModelFileError("not a jitprop model: a safetensors file that another program wrote")
    version = strings["jitprop_format"]
    if not (version.isascii() and version.isdigit() and len(version) < 10):
        raise ModelFileError(f"not a jitprop model: its format number is {version[:20]!r}")
    if int(version) > FORMAT:
        raise ModelFileError(
            f"written by a newer jitprop: format {version}, this version reads up to {FORMAT}; update jitprop"
        )
    return _parse(strings["jitprop"], "metadata")


def _check_sum(strings: dict[str, str], arrays: Iterable[np.ndarray]) -> None:
    stored = strings.get("jitprop_crc32")  # absent from files of versions that did not write it
    if stored is not None and stored != str(_checksum(strings["jitprop"], arrays)):
        raise ModelFileError("damaged: what it holds is not what was written, by its checksum")


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _place(name: str, entry: Any) -> tuple[np.dtype, tuple[int, ...], int, int]:
    """The dtype, shape, begin and end of a tensor, agreeing with each other."""
    if not name or not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ModelFileError(f"damaged: tensor {name!r} is not described by dtype, shape and data_offsets")
    kind, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(kind, str) or kind not in DTYPES:
        raise ModelFileError(f"tensor {name!r} has dtype {kind!r}, accepted: {', '.join(DTYPES)}")
    if not isinstance(shape, list) or len(shape) > 32 or not all(map(_whole, shape)):
        raise ModelFileError(f"damaged: tensor {name!r} has shape {shape!r}")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_whole, offsets)):
        raise ModelFileError(f"damaged: tensor {name!r} has data_offsets {offsets!r}")
    dtype, (begin, end) = DTYPES[kind], offsets
    length = math.prod(shape) * dtype.itemsize
    if end - begin != length:
        raise ModelFileError(
            f"damaged: tensor {name!r} of shape {shape} needs {length} bytes, its place has {end - begin}"
        )
    return dtype, tuple(shape), begin, end


def _check_cover(places: dict[str, tuple[np.dtype, tuple[int, ...], int, int]], size: int) -> None:
    """The tensors must fill the data one after another: no gap, no overlap, nothing behind."""
    expected = 0
    for name, (_, _, begin, end) in sorted(places.items(), key=lambda item: item[1][2:]):
        if begin != expected:
            raise ModelFileError(
                f"damaged: tensor {name!r} starts at byte {begin} of the data, expected {expected}"
            )
        expected = end
    if size < expected:
        raise ModelFileError(f"truncated: {size} of {expected} bytes of data are there")
    if size > expected:
        raise ModelFileError(f"damaged: {size - expected} bytes follow the last tensor")


def _read_tensor(file: IO[bytes], name: str, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    flat = np.empty(math.prod(shape), dtype)
    if file.readinto(flat.data.cast("B") if flat.size else bytearray()) != flat.nbytes:  # type: ignore[attr-defined]
        raise ModelFileError(f"truncated while it was read, in tensor {name!r}")
    try:
        return flat.reshape(shape).astype(dtype.newbyteorder("="), copy=False)
    except ValueError:  # an empty tensor whose other dimensions are beyond what NumPy counts
        raise ModelFileError(f"damaged: tensor {name!r} has shape {list(shape)}") from None
