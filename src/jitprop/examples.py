"""The examples of a call of ``fit``: checked, cast, divided into those for training and validation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .architecture import Architecture
from .checks import Array, check_inputs, check_number, check_sample_weight, check_targets

__all__ = ["Examples", "prepare"]

SPLIT = 1  # tells the generator of the split from the others that are drawn from the seed, in `steps`


@dataclass(frozen=True)
class Examples:
    """What to train on and what to validate with.

    Attributes
    ----------
    X, Y, sample_weight : ndarray
        All examples as the kernels take them; the weights may be None.
    chosen : int64 (k,) or None
        The columns to train on, None for all. Examples of weight 0 are not among them, so that they change
        nothing, not even how the others fall into batches.
    validation : (ndarray, ndarray, ndarray or None) or None
        X, Y and weights to validate with.
    held_back : int
        How many of the examples these are, 0 when they were given apart.
    """

    X: Array
    Y: Array
    sample_weight: Array | None
    chosen: npt.NDArray[np.int64] | None
    validation: tuple[Array, Array, Array | None] | None
    held_back: int = 0

    @property
    def count(self) -> int:
        """How many examples an epoch visits."""
        return int(self.X.shape[1] if self.chosen is None else self.chosen.size)


def prepare(
    architecture: Architecture,
    seed: int,
    X: Any,
    Y: Any,
    sample_weight: Any = None,
    validation_data: Any = None,
) -> Examples:
    """Check and divide the examples.

    Parameters
    ----------
    architecture : Architecture
    seed : int
        Draws the examples to validate with, the same ones whenever there are as many examples.
    X, Y, sample_weight : array-like
        As for ``fit``.
    validation_data : tuple, float or None
        (X, Y), (X, Y, sample_weight), or the share of the examples to keep back, above 0 and below 1.

    Raises
    ------
    TypeError, ValueError
        An array of a wrong dtype, shape or content; `validation_data` of another form; nothing left to train
        on.
    """
    x = check_inputs(X, architecture)
    m = x.shape[1]
    y = check_targets(Y, architecture, m)
    weight = check_sample_weight(sample_weight, architecture, m)
    if validation_data is None:
        return Examples(x, y, weight, _counting(weight, None), None)
    if isinstance(validation_data, (tuple, list)):
        return Examples(x, y, weight, _counting(weight, None), _given(architecture, validation_data))
    if not isinstance(validation_data, (int, float, np.integer, np.floating)):
        raise TypeError(
            "validation_data must be (X, Y), (X, Y, sample_weight) or a share of the examples, "
            f"got {type(validation_data).__name__}"
        )
    share = check_number("validation_data", validation_data, 0.0, 1.0, open_low=True)
    training, kept = split(m, share, seed)
    held_weight = None if weight is None else weight[:, kept]
    if held_weight is not None and not held_weight.any():
        raise ValueError(f"validation_data={share:g} keeps back only examples whose sample_weight is 0")
    chosen = _counting(weight, training)
    return Examples(x, y, weight, chosen, (_columns(x, kept), y[:, kept], held_weight), kept.size)


def split(m: int, share: float, seed: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The columns to train on and those to keep back, drawn from the seed and m, each in order."""
    if m < 2:
        raise ValueError(f"validation_data={share:g} needs at least 2 examples, X has {m}")
    held = min(max(round(share * m), 1), m - 1)
    drawn = np.random.default_rng((seed, m, SPLIT)).permutation(m).astype(np.int64, copy=False)
    return np.sort(drawn[held:]), np.sort(drawn[:held])


def _given(architecture: Architecture, data: Any) -> tuple[Array, Array, Array | None]:
    if len(data) not in (2, 3):
        raise ValueError(
            f"validation_data has {len(data)} entries; "
            "accepted: (X, Y), (X, Y, sample_weight) or a share of the examples"
        )
    x = check_inputs(data[0], architecture, "X of validation_data")
    y = check_targets(data[1], architecture, x.shape[1], "Y of validation_data")
    weight = data[2] if len(data) == 3 else None
    return x, y, check_sample_weight(weight, architecture, x.shape[1], "sample_weight of validation_data")


def _counting(weight: Array | None, columns: npt.NDArray[np.int64] | None) -> npt.NDArray[np.int64] | None:
    """Those of `columns`, or of all, whose weight is not 0; None when that is all."""
    if weight is None or weight.all():
        return columns
    counting = np.flatnonzero(weight[0]) if columns is None else columns[weight[0, columns] > 0]
    if not counting.size:
        raise ValueError("sample_weight is 0 for every example that is left to train on")
    return counting.astype(np.int64, copy=False)


def _columns(array: Array, columns: npt.NDArray[np.int64]) -> Array:
    if array.flags.c_contiguous:
        return array[:, columns]
    return array.T[columns].T  # the examples are contiguous: gather whole ones
