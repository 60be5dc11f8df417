"""Backpropagation against numerical derivatives of the cost, entry by entry or along random directions.

The central difference (J(t + h) - J(t - h)) / 2h differs from the derivative by h^2 J'''/6, and by the
rounding errors of J divided by h. Both are small for h near the cube root of eps in float64, which is
therefore what is computed in, whatever the network's own dtype.

Where a kink of J lies between t - h and t + h, as that of ReLU does when some z changes its sign, the
quotient is no derivative. Such entries are recognized by the signs themselves. They are tried again with a
smaller step; what still has a kink then stands on it: those entries are told and left out, and no tolerance
is widened for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from jitprop_kernels import composition
from jitprop_kernels.contract import ACTIVATIONS, LOSSES, parse

from . import passes
from .architecture import Architecture
from .checks import Array, check_inputs, check_integer, check_number, check_sample_weight, check_targets
from .network import Network
from .parameters import Parameters

__all__ = ["ArrayCheck", "GradientCheck", "gradcheck"]

STEP = 6e-6  # the cube root of eps in float64
SHOWN = 5  # entries that are named for each array
SHRINK = 8.0  # what the step is divided by, twice, for entries that do not agree or meet a kink
TOLERANCE = 1e-6  # of the relative error: h^2 J'''/6J' for J''' up to 10^5 J', far below what a mistake makes
ROUNDING = 32  # rounding errors of J count as this many relative changes by eps of J and of every parameter


@dataclass
class ArrayCheck:
    """The comparison for one array, or for all the directions.

    Attributes
    ----------
    analytic, numeric : ndarray
        Of the array's shape, or (directions,); numeric is nan where an entry stands on a kink.
    kinks, wrong : list of tuple of int
        The entries that stand on a kink, where there is no derivative to compare with, and those that
        disagree.
    rounding : float
        What rounding errors of the cost may amount to in an entry of `numeric`.
    """

    analytic: Array
    numeric: Array
    kinks: list[tuple[int, ...]] = field(default_factory=list)
    wrong: list[tuple[int, ...]] = field(default_factory=list)
    rounding: float = 0.0

    @property
    def relative_error(self) -> float:
        """|analytic - numeric| / max(|analytic|, |numeric|) of the array as a vector, kinks left out."""
        compared = np.ones(self.analytic.shape, dtype=bool)
        for index in self.kinks:
            compared[index] = False
        analytic, numeric = self.analytic[compared], self.numeric[compared]
        if not analytic.size:
            return float("nan")
        # Where both should be zero, the numeric one is made of rounding errors.
        floor = self.rounding * float(np.sqrt(analytic.size))
        largest = np.max([np.linalg.norm(analytic), np.linalg.norm(numeric), floor])
        return float(np.linalg.norm(analytic - numeric) / largest) if largest else 0.0


@dataclass
class GradientCheck:
    """The result of `gradcheck`; prints as a table.

    Attributes
    ----------
    arrays : dict of str to ArrayCheck
        By the name of the parameter, or ``"directions"``.
    """

    arrays: dict[str, ArrayCheck]

    @property
    def ok(self) -> bool:
        """Whether all entries agree but those on a kink, of which not all may be."""
        compared = any(len(check.kinks) < check.analytic.size for check in self.arrays.values())
        return compared and not any(check.wrong for check in self.arrays.values())

    def __getitem__(self, name: str) -> ArrayCheck:
        return self.arrays[name]

    def __str__(self) -> str:
        rows = [["array", "shape", "largest analytic", "largest numeric", "relative error", "on a kink", ""]]
        for name, check in self.arrays.items():
            rows.append([
                name,
                str(check.analytic.shape),
                f"{_largest(check.analytic):.6e}",
                f"{_largest(check.numeric):.6e}",
                f"{check.relative_error:.1e}",
                f"{len(check.kinks)} of {check.analytic.size}",
                "WRONG" if check.wrong else "ok",
            ])  # fmt: skip
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        for name, check in self.arrays.items():
            lines += _places("wrong", name, check.wrong) + _places("no derivative, on a kink", name, check.kinks)
        return "\n".join(lines)


def _largest(array: Array) -> float:
    """The largest absolute value, nan left out but where there is nothing else."""
    finite = np.abs(array[~np.isnan(array)])
    return float(finite.max()) if finite.size else float("nan")


def _places(what: str, name: str, indices: list[tuple[int, ...]]) -> list[str]:
    if not indices:
        return []
    more = f" and {len(indices) - SHOWN} more" if len(indices) > SHOWN else ""
    return [f"{what}: {', '.join(f'{name}{list(index)}' for index in indices[:SHOWN])}{more}"]


def gradcheck(
    network: Network,
    X: npt.ArrayLike,
    Y: npt.ArrayLike,
    parameters: Sequence[str] | None = None,
    directions: int | None = None,
    step: float = STEP,
    sample_weight: npt.ArrayLike | None = None,
    seed: int = 0,
) -> GradientCheck:
    """Compare the gradients of a network with central differences of its cost, in float64, L2 included.

    Parameters
    ----------
    network : Network
        Is not changed: a float64 copy of its parameters is, with the same kernels.
    X, Y, sample_weight : array-like
        As for `Network.cost`. Two passes a number: give few examples.
    parameters : list of str, optional
        Which arrays, such as ``["W1", "b2"]``; all if omitted.
    directions : int, optional
        Compare the derivatives along so many random unit directions through these arrays, instead of every
        entry.
    step : float
        h, times max(1, |t|) for an entry t.
    seed : int
        Draws the directions.

    Returns
    -------
    GradientCheck

    Raises
    ------
    TypeError, ValueError
        Arrays of a wrong dtype, shape or content, an unknown parameter, a number out of range.
    """
    if not isinstance(network, Network):
        raise TypeError(f"network must be a Network, got {type(network).__name__}")
    problem = _Problem(network, X, Y, sample_weight)
    step = check_number("step", step, 0.0, open_low=True)
    names = list(problem.parameters) if parameters is None else _names(parameters, problem.parameters)
    analytic = problem.gradients()
    noise = problem.rounding(analytic)
    if directions is None:
        return GradientCheck({name: _each_entry(problem, name, analytic[name], step, noise) for name in names})
    count = check_integer("directions", directions, 1)
    chosen = {name: analytic[name] for name in names}
    return GradientCheck({"directions": _along(problem, chosen, count, step, noise, seed)})


def _names(parameters: Any, known: Parameters) -> list[str]:
    several = isinstance(parameters, Iterable) and not isinstance(parameters, str)
    names = list(parameters) if several else [parameters]
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"parameters must be names such as ['W1', 'b2'], got {parameters!r:.60}")
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise ValueError(f"parameters names {unknown or 'nothing'}; accepted: {', '.join(known)}")
    return names


class _Problem:
    """The cost as a function of float64 parameters, for fixed examples."""

    def __init__(self, network: Network, X: Any, Y: Any, sample_weight: Any) -> None:
        options = network.architecture.to_dict() | {"dtype": "float64"}
        self.architecture = Architecture.from_dict(options)
        self.kernels = network.kernels
        self.parameters = Parameters(self.architecture)
        self.parameters.update(network.parameters)
        self.X = np.ascontiguousarray(check_inputs(X, self.architecture))
        m = self.X.shape[1]
        self.Y = check_targets(Y, self.architecture, m)
        self.sample_weight = check_sample_weight(sample_weight, self.architecture, m)

    def gradients(self) -> dict[str, Array]:
        arrays, weight = self.parameters.arrays, self.sample_weight
        found = passes.gradients(self.kernels, arrays, self.architecture, self.X, self.Y, weight)
        return dict(zip(self.parameters, found, strict=True))

    def rounding(self, analytic: dict[str, Array]) -> float:
        """How far off the cost may be: an error of eps in a sum acts like one in the parameters that it is
        made of."""
        cost, _ = self.cost_and_sides()
        moved = sum(float(np.abs(analytic[name] * t).sum()) for name, t in self.parameters.items())
        return ROUNDING * float(np.finfo(np.float64).eps) * (abs(cost) + moved)

    def cost_and_sides(self) -> tuple[float, list[Array]]:
        """The cost, and on which side of each kink every z and every error lies."""
        architecture, arrays = self.architecture, self.parameters.arrays
        activations, output, loss = architecture.activations, architecture.output, architecture.loss
        caches, Z = composition.forward(self.kernels, arrays, self.X, activations)
        cost, _ = self.kernels.output_head(Z, self.Y, loss, output, self.sample_weight)
        if architecture.l2:
            total = passes.total_weight(self.X.shape[1], self.sample_weight)
            cost += architecture.l2 / (2 * total) * passes.penalty(arrays)
        sides = [z >= 0 for (z, _), name in zip(caches, activations, strict=True) if _has_kink(name)]
        if output == "relu":
            sides.append(Z >= 0)
        if parse(loss, LOSSES, "loss")[0] in ("absolute_error", "quantile"):
            sides.append(getattr(self.kernels, output)(Z) >= self.Y)
        return float(cost), sides

    def slope(self, names: Sequence[str], move: dict[str, Array], h: float) -> float | None:
        """The central difference along `move`, or None when there is a kink between its ends."""
        kept = {name: self.parameters[name].copy() for name in names}
        results = []
        for sign in (1.0, -1.0):
            for name in names:
                self.parameters[name][:] = kept[name] + sign * h * move[name]
            results.append(self.cost_and_sides())
        for name in names:
            self.parameters[name][:] = kept[name]
        (right, right_sides), (left, left_sides) = results
        if any((a != b).any() for a, b in zip(right_sides, left_sides, strict=True)):
            return None
        return (right - left) / (2 * h)

    def compare(self, move: dict[str, Array], derivative: float, h: float, noise: float) -> tuple[float | None, bool]:
        """The numeric derivative, None on a kink, and whether it agrees with `derivative` at a small enough
        step."""
        numeric = None
        for _ in range(3):
            slope = self.slope(list(move), move, h)
            if slope is not None:
                numeric = slope
                accepted = TOLERANCE * max(abs(derivative), abs(slope)) + noise / h
                if abs(derivative - slope) <= accepted:
                    return numeric, True
            h /= SHRINK
        return numeric, False


def _has_kink(activation: str) -> bool:
    name, parameter = parse(activation, ACTIVATIONS, "activation")
    # The parameter is the slope on the left of 0: at 1 there is no corner.
    return name == "relu" or (name in ("leaky_relu", "elu") and parameter != 1.0)


def _each_entry(problem: _Problem, name: str, analytic: Array, step: float, noise: float) -> ArrayCheck:
    check = ArrayCheck(analytic, np.full(analytic.shape, np.nan), rounding=noise / step)
    for index in np.ndindex(*analytic.shape):
        move = np.zeros(analytic.shape)
        move[index] = 1.0
        h = step * max(1.0, abs(float(problem.parameters[name][index])))
        numeric, agrees = problem.compare({name: move}, float(analytic[index]), h, noise)
        _note(check, index, numeric, agrees)
    return check


def _along(
    problem: _Problem, analytic: dict[str, Array], count: int, step: float, noise: float, seed: int
) -> ArrayCheck:
    rng = np.random.default_rng(check_integer("seed", seed, 0))
    check = ArrayCheck(np.zeros(count), np.full(count, np.nan), rounding=noise / step)
    for i in range(count):
        drawn = {name: rng.standard_normal(gradient.shape) for name, gradient in analytic.items()}
        length = np.sqrt(sum(float((v * v).sum()) for v in drawn.values()))
        move = {name: v / length for name, v in drawn.items()}
        derivative = sum(float((analytic[name] * move[name]).sum()) for name in move)
        numeric, agrees = problem.compare(move, derivative, step, noise)
        check.analytic[i] = derivative
        _note(check, (i,), numeric, agrees)
    return check


def _note(check: ArrayCheck, index: tuple[int, ...], numeric: float | None, agrees: bool) -> None:
    if numeric is None:
        check.kinks.append(index)
        return
    check.numeric[index] = numeric
    if not agrees:
        check.wrong.append(index)
