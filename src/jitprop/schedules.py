"""Learning rates that change while training goes on.

A schedule is called with the number of epochs the network has completed, counted over its life and with
fractions inside an epoch, so that a rate does not depend on how the epochs are divided among calls of
``fit``. The list is closed, because model files name the schedule: any other course of the rate is ``fit``
called several times.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .checks import check_number

__all__ = ["Constant", "Cosine", "Exponential", "InverseDecay", "Schedule", "Step", "WarmUp", "as_schedule"]


NESTED = "schedule of WarmUp must not be a WarmUp again"


def _set(owner: Any, name: str, low: float = 0.0, at_most: float = math.inf, open_low: bool = True) -> None:
    """Replace a field of a frozen dataclass by its checked float, so that equal settings hash alike."""
    what = f"{name} of {type(owner).__name__}"
    number = check_number(what, getattr(owner, name), low, open_low=open_low)
    if number > at_most:
        raise ValueError(f"{what} must be at most {at_most:g}, got {number:g}")
    object.__setattr__(owner, name, number)


@dataclass(frozen=True)
class Schedule:
    """What all share: ``schedule(epoch)`` gives the learning rate after `epoch` completed epochs."""

    def __call__(self, epoch: ArrayLike) -> NDArray[np.float64]:
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """Its class's name and its fields, as JSON can say them; `schedule_from_dict` is the inverse."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {"name": type(self).__name__} | {
            name: value.to_dict() if isinstance(value, Schedule) else value for name, value in fields.items()
        }


@dataclass(frozen=True)
class Constant(Schedule):
    """The same rate always: alpha(t) = rate.

    Parameters
    ----------
    rate : float
        Above 0.
    """

    rate: float

    def __post_init__(self) -> None:
        _set(self, "rate")

    def __call__(self, epoch: ArrayLike) -> NDArray[np.float64]:
        return np.full(np.shape(epoch), self.rate)


@dataclass(frozen=True)
class Step(Schedule):
    """The rate times `factor` after every `every` epochs: alpha(t) = rate factor^floor(t / every).

    Parameters
    ----------
    rate : float
        Above 0.
    every : float
        Epochs between two changes, above 0.
    factor : float
        Above 0, at most 1.
    """

    rate: float
    every: float = 10.0
    factor: float = 0.5

    def __post_init__(self) -> None:
        _set(self, "rate")
        _set(self, "every")
        _set(self, "factor", at_most=1.0)

    def __call__(self, epoch: ArrayLike) -> NDArray[np.float64]:
        return self.rate * self.factor ** np.floor(np.asarray(epoch, np.float64) / self.every)


@dataclass(frozen=True)
class Exponential(Schedule):
    """The rate times `decay` with every epoch: alpha(t) = rate decay^t.

    Parameters
    ----------
    rate : float
        Above 0.
    decay : float
        Above 0, at most 1.
    """

    rate: float
    decay: float = 0.95

    def __post_init__(self) -> None:
        _set(self, "rate")
        _set(self, "decay", at_most=1.0)

    def __call__(self, epoch: ArrayLike) -> NDArray[np.float64]:
        return self.rate * self.decay ** np.asarray(epoch, np.float64)


@dataclass(frozen=True)
class InverseDecay(Schedule):
    """The rate divided by a number that grows with the epochs: alpha(t) = rate / (1 + decay t).

    Robbins and Monro, "A stochastic approximation method" (1951), ask that the sum of the rates diverge and
    the sum of their squares converge; this is the classical choice.

    Parameters
    ----------
    rate : float
        Above 0.
    decay : float
        0 or more.
    """

    rate: float
    decay: float = 1.0

    def __post_init__(self) -> None:
        _set(self, "rate")
        _set(self, "decay", open_low=False)

    def __call__(self, epoch: ArrayLike) -> NDArray[np.float64]:
        return self.rate / (1.0 + self.decay * np.asarray(epoch, np.float64))


@dataclass(frozen=True)
class Cosine(Schedule):
    """Half a cosine wave from `rate` down to `minimum`, which it keeps afterwards.

    alpha(t) = minimum + (rate - minimum) (1 + cos(pi min(t / epochs, 1))) / 2: Loshchilov and Hutter, "SGDR"
    (2017), equation 5, without restarts.

    Parameters
    ----------
    rate : float
        Above 0.
    epochs : float
        The length of the way down, above 0.
    minimum : float
        From 0 to `rate`.
    """

    rate: float
    epochs: float
    minimum: float = 0.0

    def __post_init__(self) -> None:
        _set(self, "rate")
        _set(self, "epochs")
        _set(self, "minimum", at_most=self.rate, open_low=False)

    def __call__(self, epoch: ArrayLike) -> NDArray[np.float64]:
        way = np.minimum(np.asarray(epoch, np.float64) / self.epochs, 1.0)
        return self.minimum + (self.rate - self.minimum) * (1.0 + np.cos(np.pi * way)) / 2.0


@dataclass(frozen=True)
class WarmUp(Schedule):
    """Another schedule, reached on a straight line from 0: alpha(t) = schedule(t) min(t / epochs, 1).

    The very first step has the rate 0: it fills an optimizer's averages and moves nothing. Goyal et al.,
    "Accurate, large minibatch SGD" (2017), section 2.2.

    Parameters
    ----------
    schedule : Schedule or float
        What comes after the warm-up, itself no `WarmUp`; a number is `Constant`. Its own clock starts with
        the warm-up.
    epochs : float
        The length of the warm-up, above 0.
    """

    schedule: Schedule | float
    epochs: float = 1.0

    def __post_init__(self) -> None:
        schedule = as_schedule(self.schedule, "schedule of WarmUp")
        if isinstance(schedule, WarmUp):
            raise ValueError(NESTED)
        object.__setattr__(self, "schedule", schedule)
        _set(self, "epochs")

    def __call__(self, epoch: ArrayLike) -> NDArray[np.float64]:
        ramp = np.minimum(np.asarray(epoch, np.float64) / self.epochs, 1.0)
        return as_schedule(self.schedule)(epoch) * ramp


SCHEDULES = {kind.__name__: kind for kind in (Constant, Step, Exponential, InverseDecay, Cosine, WarmUp)}


def as_schedule(learning_rate: Schedule | float, what: str = "learning_rate") -> Schedule:
    """The schedule itself, or `Constant` for a number.

    Raises
    ------
    TypeError
        Neither a number nor one of the schedules of this module.
    ValueError
        A number of 0 or less, or not finite.
    """
    if type(learning_rate) in SCHEDULES.values():
        return learning_rate  # type: ignore[return-value]
    if isinstance(learning_rate, (bool, np.bool_)) or not isinstance(learning_rate, numbers.Real):
        raise TypeError(
            f"{what} must be a number or one of the schedules {', '.join(SCHEDULES)}; "
            f"got {type(learning_rate).__name__}"
        )
    return Constant(check_number(what, learning_rate, 0.0, open_low=True))


def schedule_from_dict(description: Any) -> Schedule:
    """The schedule that `Schedule.to_dict` described.

    Raises
    ------
    ValueError
        The description does not name a schedule of this module and all its fields.
    """
    name, fields = split_description(description, SCHEDULES, "schedule")
    if isinstance(fields.get("schedule"), Mapping):
        if fields["schedule"].get("name") == name:
            raise ValueError(NESTED)  # before going down: a file could nest deeper than Python can follow
        fields["schedule"] = schedule_from_dict(fields["schedule"])
    try:
        return SCHEDULES[name](**fields)
    except TypeError as error:
        raise ValueError(f"not a schedule: {error}") from None


def split_description(
    description: Any, kinds: Mapping[str, type], what: str, optional: Collection[str] = ()
) -> tuple[str, dict[str, Any]]:
    """The name and the fields in a description from a file; none may be unknown, or missing but for `optional`."""
    name = description.get("name") if isinstance(description, Mapping) else None
    if not isinstance(name, str) or name not in kinds:
        raise ValueError(f"unknown {what} {description!r}; accepted: {', '.join(kinds)}")
    fields = {key: value for key, value in description.items() if key != "name"}
    expected = {field.name for field in dataclasses.fields(kinds[description["name"]])}
    if not expected.difference(optional) <= set(fields) <= expected:
        raise ValueError(
            f"{what} {description['name']} has the fields {sorted(fields)}, expected {sorted(expected)}"
        )
    return name, fields
