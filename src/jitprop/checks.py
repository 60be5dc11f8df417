"""What every public entry checks before anything is computed: inputs, targets, weights, numbers.

Messages use the course's words: examples are columns, X is (n_x, m), Y is (n[L], m). Values are checked after
the cast to the network's dtype, since 1e39 is finite in float64 and infinite in float32.
"""

import math
import numbers
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeAlias

import numpy as np
import numpy.typing as npt

from jitprop_kernels.contract import LOSSES, parse

if TYPE_CHECKING:
    from .architecture import Architecture

__all__ = [
    "Array",
    "as_inputs",
    "cast",
    "check_inputs",
    "check_integer",
    "check_number",
    "check_parameter",
    "check_sample_weight",
    "check_targets",
]

Array: TypeAlias = npt.NDArray[Any]

BLOCK = 2**18  # elements looked at together, so that their mask stays in cache
SUM_TOLERANCE = 1e-5  # of columns of probabilities: a column of float32 is off by less than 1e-6


def check_number(name: str, value: Any, low: float, high: float = math.inf, open_low: bool = False) -> float:
    """`value` as a float from `low` (or above it) to below `high`, refusing what is not a number."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}")
    try:
        number = float(value)
    except OverflowError:  # an int beyond float64
        number = math.inf
    if not (math.isfinite(number) and (low < number if open_low else low <= number) and number < high):
        lower = f"above {low:g}" if open_low else f"from {low:g}"
        upper = "" if math.isinf(high) else f" {'and' if open_low else 'to'} below {high:g}"
        raise ValueError(f"{name} must be a finite number {lower}{upper}, got {value!s:.40}")
    return number


def check_integer(name: str, value: Any, low: int, high: int | None = None) -> int:
    """`value` as an int from `low` to `high`, refusing booleans and floats."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an int, got {type(value).__name__}")
    if value < low or (high is not None and value > high):
        upper = "" if high is None else f" to {high}"
        raise ValueError(f"{name} must be from {low}{upper}, got {value}")
    return int(value)


def as_numbers(name: str, value: Any, for_text: str = "") -> Array:
    """`value` as an array of booleans, integers or floats, without a copy; `for_text` is told whoever gives
    text."""
    if type(value) is np.ndarray and value.dtype.kind in "biuf":
        return value
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise ValueError(f"{name} has masked entries; fill them or leave their examples out")
    if hasattr(value, "tocsr"):
        kind = type(value).__name__
        raise TypeError(f"{name} is a sparse {kind}; give a dense array, e.g. {name}.toarray()")
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} is not a rectangular array of numbers: {error}") from None
    if array.dtype.kind not in "biuf":
        text = array.dtype.kind in "UST" or any(isinstance(value, str) for value in array.flat)
        found = _contents(array) + (for_text if text else "")
        raise TypeError(f"{name} must hold real numbers (booleans, integers or floats), got {found}")
    return array


def _contents(array: Array) -> str:
    """What an array that does not hold numbers does hold, for an error."""
    if array.dtype.kind == "O" and array.ndim == 0:  # no array at all
        value = array.item()
        return "None" if value is None else f"an object of type {type(value).__name__}"
    if array.dtype.kind == "O" and array.size:
        others = [value for value in array.flat if not isinstance(value, numbers.Real)]
        return f"Python objects such as {others[0]!r:.40}" if others else "Python objects; use .astype(float)"
    kinds = {"O": "Python objects", "U": "text", "T": "text", "S": "bytes", "c": "complex numbers"}
    return kinds.get(array.dtype.kind, str(array.dtype))


def cast(name: str, array: Array, dtype: str, first: int = 0) -> Array:
    """`array` in `dtype`, C- or F-contiguous, copied only where it must be; finite after the cast.

    `first` is the column of the whole array at which a block begins, for the error.
    """
    result, flags = array, array.flags
    if array.dtype != dtype or not flags.forc or not flags.aligned:  # forc: C- or F-contiguous
        with np.errstate(all="ignore"):
            result = array.astype(dtype, order="K")
    if array.dtype.kind != "f":
        return result
    flat = result.ravel("K")  # a view, since the array is contiguous
    if flat.size <= BLOCK:
        finite = np.isfinite(flat)
        if finite[finite.argmin()]:  # the first that is not, or 0; sooner known than finite.all()
            return result
    _check_finite(name, result, flat, array, first)
    return result


def _check_finite(name: str, result: Array, flat: Array, original: Array, first: int) -> None:
    for start in range(0, flat.size, BLOCK):
        finite = np.isfinite(flat[start : start + BLOCK])
        first_wrong = finite.argmin()
        if not finite[first_wrong]:
            place = start + int(first_wrong)
            order: Literal["C", "F"] = "C" if result.flags.c_contiguous else "F"
            index = tuple(int(i) for i in np.unravel_index(place, result.shape, order=order))
            _refuse(name, index[:-1] + (index[-1] + first,), result[index], original[index])


def _refuse(name: str, index: tuple[int, ...], value: Any, original: Any) -> None:
    entry = f"{name}[{', '.join(map(str, index))}]"
    given = str(original)
    if np.isfinite(original):
        given += f", which is {value} in the network's {value.dtype}"
    raise ValueError(f"{entry} is {given}; every entry of {name} must be finite")


def _entry(name: str, array: Array, j: int, i: int = 0) -> str:
    """The place of example j in `array` as it was given: (m,), or with rows."""
    return f"{name}[{j}]" if array.ndim == 1 else f"{name}[{i}, {j}]"


def as_inputs(X: Any, architecture: "Architecture", name: str = "X") -> Array:
    """`X` as an array of shape (n_x, m) with m >= 1 in the dtype it has; its values are not looked at."""
    array, n_x = as_numbers(name, X), architecture.units[0]
    if array.ndim != 2 or array.shape[0] != n_x or array.shape[1] == 0:
        _refuse_shape(name, array, n_x)
    return array


def _refuse_shape(name: str, array: Array, n_x: int) -> NoReturn:
    wanted = f"({n_x}, m): n_x = {n_x} features as rows, m examples as columns"
    if array.ndim == 1:
        raise ValueError(
            f"{name} has shape {array.shape}, a rank-1 array; it should be {wanted}. "
            f"One example is {name}.reshape(-1, 1), one feature {name}.reshape(1, -1)"
        )
    hint = ""
    if array.ndim > 2:
        hint = f"; unroll pictures with {name}.reshape(m, -1).T"
    elif array.ndim == 2 and array.shape[0] == n_x:
        raise ValueError(f"{name} is empty: shape {array.shape}, should be {wanted}")
    elif array.ndim == 2 and array.shape[1] == n_x:
        hint = f". Columns are examples, and here they look like features: give {name}.T"
    raise ValueError(f"{name} has shape {array.shape}, should be {wanted}{hint}")


def check_inputs(X: Any, architecture: "Architecture", name: str = "X") -> Array:
    """`X` as a finite array of shape (n_x, m) in the network's dtype.

    An array that is C- or F-contiguous and of the network's dtype is returned without a copy: so is the
    transpose of a C-contiguous (m, n_x) array, a ``numpy.memmap`` included. Booleans, integers and other
    floats are cast.

    Raises
    ------
    TypeError
        Text, objects, complex numbers, sparse matrices.
    ValueError
        A rank-1 array, a wrong number of features (the message says when X looks transposed), no examples,
        masked entries, NaN or infinity after the cast.
    """
    return cast(name, as_inputs(X, architecture, name), architecture.dtype)


def check_targets(Y: Any, architecture: "Architecture", m: int, name: str = "Y") -> Array:
    """`Y` as the kernels take it: (n[L], m) of the network's dtype, C-contiguous, or class indices, int64 (1,
    m).

    Parameters
    ----------
    Y : array-like
        (n[L], m). For one output unit also (m,). For softmax also class indices 0 to n[L] - 1, (m,) or (1,
        m), where floats will do when they are whole numbers. Class indices stay indices for the loss
        ``cross_entropy``, and become one-hot columns for the others.
    architecture : Architecture
    m : int
        The number of examples, from X.
    name : str
        What to call Y in messages.

    Raises
    ------
    TypeError
        Text, objects, complex numbers.
    ValueError
        A wrong shape or length, NaN or infinity after the cast, and labels that do not fit the output or the
        loss: for sigmoid outside 0 to 1, for softmax columns that are no probabilities or indices out of
        range, for the loss ``poisson`` negative numbers.
    """
    n, output = architecture.units[-1], architecture.output
    labels = f"; numpy.unique({name}, return_inverse=True) gives the labels and the indices to train on"
    array = as_numbers(name, Y, labels if output in ("sigmoid", "softmax") else "")
    if output == "softmax" and (array.ndim == 1 or (array.ndim == 2 and array.shape[0] == 1)):
        indices = _class_indices(name, array, n, m)
        return indices if architecture.loss == "cross_entropy" else _one_hot(indices, n, architecture.dtype)
    accepted = f"({n}, {m})"
    if output == "softmax":
        accepted += f", or ({m},) of class indices"
    elif n == 1:
        accepted += f" or ({m},)"
    if array.shape != (n, m) and not (n == 1 and array.shape == (m,)):
        hint = ""
        if array.shape == (m, n):
            hint = f". Columns are examples: give {name}.T"
        elif array.ndim == 1 and n > 1:
            hint = f"; class indices go with output='softmax', here the output is {output!r}"
        raise ValueError(f"{name} has shape {array.shape}, should be {accepted} as X has {m} columns{hint}")
    result = np.ascontiguousarray(cast(name, array, architecture.dtype).reshape(n, m))
    _check_values(name, result, array, architecture)
    return result


def _class_indices(name: str, array: Array, n: int, m: int) -> Array:
    if array.size != m:
        raise ValueError(f"{name} has {array.size} class indices, should have {m}: one for each column of X")
    flat = array.reshape(m)
    if flat.dtype.kind == "f":
        exact = np.isfinite(flat) & (np.trunc(flat) == flat)
        if not exact.all():
            i = int(np.argmin(exact))
            entry = _entry(name, array, i)
            raise ValueError(f"{entry} is {flat[i]}; class indices are whole numbers from 0 to {n - 1}")
    # Compared before the cast to int64, in which a large unsigned or float number would wrap around.
    low, high = flat.min(), flat.max()
    if low < 0 or high >= n:
        i = int(np.argmin(flat) if low < 0 else np.argmax(flat))
        hint = "; classes are counted from 0" if low == 1 and high == n else ""
        entry = _entry(name, array, i)
        raise ValueError(f"{entry} is class {flat[i]}; accepted for {n} classes: 0 to {n - 1}{hint}")
    return flat.astype(np.int64).reshape(1, m)


def _one_hot(indices: Array, n: int, dtype: str) -> Array:
    columns = np.zeros((n, indices.size), dtype)
    columns[indices[0], np.arange(indices.size)] = 1
    return columns


def _check_values(name: str, result: Array, original: Array, architecture: "Architecture") -> None:
    """The numbers of (n[L], m) targets must be such that the output can mean them."""
    output, (loss, _) = architecture.output, parse(architecture.loss, LOSSES, "loss")
    low, high = -math.inf, math.inf
    if output in ("sigmoid", "softmax"):
        low, high = 0.0, 1.0
    elif loss == "poisson":
        low = 0.0
    if result.min() < low or result.max() > high:
        wrong = np.unravel_index(np.argmax((result < low) | (result > high)), result.shape)
        i, j = (int(k) for k in wrong)
        accepted = "from 0 to 1" if high == 1.0 else "numbers that are not negative"
        hint = ""
        if output == "sigmoid" and result.min() == -1 and result.max() == 1:
            hint = f"; for labels -1 and 1 give ({name} + 1) / 2"
        elif output == "sigmoid" and result.max() > 1:
            hint = "; more than two classes need output='softmax' with a unit for each"
        raise ValueError(
            f"{_entry(name, original, j, i)} is {result[i, j]:g}; "
            f"accepted for output {output!r} with loss {loss!r}: {accepted}{hint}"
        )
    if output == "softmax":
        sums = result.sum(axis=0, dtype=np.float64)
        precision = float(np.finfo(original.dtype).eps) if original.dtype.kind == "f" else 0.0
        off = np.abs(sums - 1) > max(SUM_TOLERANCE, precision)
        if off.any():
            j = int(np.argmax(off))
            raise ValueError(
                f"column {j} of {name} sums to {sums[j]:g}; columns must be one-hot or probabilities that sum to 1"
            )


def check_sample_weight(
    sample_weight: Any, architecture: "Architecture", m: int, name: str = "sample_weight"
) -> Array | None:
    """`sample_weight` as (1, m) of the network's dtype, or None; accepted as (m,) or (1, m).

    Raises
    ------
    TypeError
        Text, objects, complex numbers.
    ValueError
        A wrong shape, NaN or infinity after the cast, a negative weight, nothing but zeros.
    """
    if sample_weight is None:
        return None
    array = as_numbers(name, sample_weight)
    if array.shape not in ((m,), (1, m)):
        raise ValueError(f"{name} has shape {array.shape}, should be ({m},) or (1, {m}): a weight for each column of X")
    result = np.ascontiguousarray(cast(name, array, architecture.dtype).reshape(1, m))
    if result.min() < 0:
        j = int(np.argmin(result))
        raise ValueError(f"{_entry(name, array, j)} is {result[0, j]:g}; weights must not be negative")
    if not result.any():
        raise ValueError(f"{name} holds only zeros; at least one example must count")
    return result


def check_parameter(name: str, value: Any, shape: tuple[int, int], dtype: str) -> Array:
    """`value` as a finite array of `shape` in `dtype`; a rank-1 array is refused, never broadcast."""
    array = as_numbers(name, value)
    if array.shape != shape:
        hint = ""
        if array.ndim == 1:
            hint = "; rank-1 arrays are refused, a bias is a column such as b.reshape(-1, 1)"
        elif array.shape == shape[::-1]:
            hint = "; its transpose has the right shape"
        raise ValueError(f"{name} has shape {array.shape}, should be {shape}{hint}")
    return cast(name, array, dtype)
