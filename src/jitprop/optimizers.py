"""Update rules with their settings: SGD with momentum and Nesterov, RMSProp, Adam, AdamW.

An optimizer is a description and holds no state: the averages belong to the network it trains, so one
optimizer may serve many networks. It says which rule of the kernels it is and the numbers of each update, in
float64; the meaning of the numbers is in `jitprop_kernels.contract.COEFFICIENTS`. Conventions are torch's.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jitprop_kernels.contract import COEFFICIENTS

from .checks import check_number
from .schedules import Constant, Schedule, as_schedule, schedule_from_dict, split_description

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "RMSProp", "optimizer_from_dict"]

# What a row holds unless a rule says otherwise: no average, no decay of the parameter itself, and no clipping.
NEUTRAL = {"decay": 1.0, "gain1": 1.0, "gradient_share": 1.0, "clip_value": math.inf, "clip_norm": math.inf}
_NEUTRAL_ROW = np.array([[NEUTRAL.get(name, 0.0) for name in COEFFICIENTS]])
CLIPS = ("clip_value", "clip_norm")
# Settings go from 0 to below this number; whether 0 itself is refused.
BOUNDS = {
    "momentum": (1.0, False),
    "rho": (1.0, False),
    "beta1": (1.0, False),
    "beta2": (1.0, False),
    "epsilon": (math.inf, True),
    "weight_decay": (math.inf, False),
    "clip_value": (math.inf, True),
    "clip_norm": (math.inf, True),
}


@dataclass(frozen=True, repr=False)
class Optimizer:
    """What all optimizers share: a learning rate, which is a number above 0 or a schedule, and clipping.

    With g the gradient of a parameter, that of L2 included: g is held within +-clip_value, number by number; then
    every g is multiplied by min(1, clip_norm / norm), norm being the Euclidean norm over all parameters together.
    Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks" (2013), algorithm 1.
    None is no limit.
    """

    learning_rate: float | Schedule
    clip_value: float | None = field(default=None, kw_only=True)
    clip_norm: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        schedule = as_schedule(self.learning_rate)
        # A constant schedule and its number are one setting and compare equal.
        rate = schedule.rate if isinstance(schedule, Constant) else schedule
        object.__setattr__(self, "learning_rate", rate)
        for name, value in self._settings().items():
            if name in BOUNDS:
                high, open_low = BOUNDS[name]
                number = check_number(f"{name} of {type(self).__name__}", value, 0.0, high, open_low)
                object.__setattr__(self, name, number)

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self._settings().items())
        return f"{type(self).__name__}({settings})"

    def _settings(self) -> dict[str, Any]:
        """The settings by name, as one would write them: clipping last, and only where there is any."""
        found = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        clips = {name: found.pop(name) for name in CLIPS}
        return found | {name: limit for name, limit in clips.items() if limit is not None}

    @property
    def schedule(self) -> Schedule:
        """The learning rate as a schedule."""
        return as_schedule(self.learning_rate)

    @property
    def rule(self) -> str:
        """The rule's name in `jitprop_kernels.contract.RULES`."""
        raise NotImplementedError

    def coefficients(self, steps: NDArray[np.int64], rates: NDArray[np.float64]) -> NDArray[np.float64]:
        """The numbers of the given updates.

        Parameters
        ----------
        steps : (k,) int64
            Which updates, counted from 1 since the optimizer's state was zero.
        rates : (k,) float64
            Their learning rates.

        Returns
        -------
        (k, len(COEFFICIENTS)) float64
            A row for each update. The column ``l2`` is left to the kernels, which know the weights of a
            batch.
        """
        columns = {"step": steps, "rate": rates} | self._columns(steps, rates)
        columns |= {name: limit for name in CLIPS if (limit := getattr(self, name)) is not None}
        table = _NEUTRAL_ROW.repeat(len(rates), 0)
        for name, values in columns.items():
            table[:, COEFFICIENTS.index(name)] = values
        return table

    def _columns(self, steps: NDArray[np.int64], rates: NDArray[np.float64]) -> dict[str, Any]:
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """What `optimizer_from_dict` makes the optimizer of, as JSON can say it; no clipping is not mentioned."""
        fields = self._settings()
        if isinstance(self.learning_rate, Schedule):
            fields["learning_rate"] = self.learning_rate.to_dict()
        return {"name": type(self).__name__} | fields

    @staticmethod
    def from_dict(description: Any) -> Optimizer:
        """The optimizer that `to_dict` described."""
        return optimizer_from_dict(description)


@dataclass(frozen=True, repr=False)
class SGD(Optimizer):
    """Gradient descent, with momentum when asked: m = momentum m + dW; W -= learning_rate m.

    Without momentum W -= learning_rate dW, the course's update. With ``nesterov=True`` the step is
    momentum m + dW. Polyak, "Some methods of speeding up the convergence of iteration methods" (1964);
    Nesterov (1983) in the form of Sutskever et al., "On the importance of initialization and momentum"
    (2013).

    Parameters
    ----------
    learning_rate : float or Schedule
        Above 0.
    momentum : float
        From 0 to below 1.
    nesterov : bool
        Needs a momentum above 0.
    clip_value, clip_norm : float or None
        Limits of each number of the gradient and of the norm of all of it, above 0.
    """

    learning_rate: float | Schedule = 0.01
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.nesterov, (bool, np.bool_)):
            raise TypeError(f"nesterov of SGD must be True or False, got {type(self.nesterov).__name__}")
        object.__setattr__(self, "nesterov", bool(self.nesterov))
        if self.nesterov and self.momentum == 0.0:
            raise ValueError("nesterov of SGD needs a momentum above 0, got momentum 0")

    @property
    def rule(self) -> str:
        return "momentum" if self.momentum else "sgd"

    def _columns(self, steps: NDArray[np.int64], rates: NDArray[np.float64]) -> dict[str, Any]:
        if not self.momentum:
            return {}
        shares = (self.momentum, 1.0) if self.nesterov else (1.0, 0.0)
        return {"beta1": self.momentum, "momentum_share": shares[0], "gradient_share": shares[1]}


@dataclass(frozen=True, repr=False)
class RMSProp(Optimizer):
    """Steps divided by the root of a running mean square.

    v = rho v + (1 - rho) dW^2; W -= learning_rate dW / (sqrt(v) + epsilon). Tieleman and Hinton, "Lecture
    6.5: RMSProp" (2012).

    Parameters
    ----------
    learning_rate : float or Schedule
        Above 0.
    rho : float
        From 0 to below 1.
    epsilon : float
        Above 0.
    clip_value, clip_norm : float or None
        Limits of each number of the gradient and of the norm of all of it, above 0.
    """

    learning_rate: float | Schedule = 0.001
    rho: float = 0.9
    epsilon: float = 1e-8

    @property
    def rule(self) -> str:
        return "rmsprop"

    def _columns(self, steps: NDArray[np.int64], rates: NDArray[np.float64]) -> dict[str, Any]:
        return {"beta2": self.rho, "gain2": 1.0 - self.rho, "epsilon": self.epsilon}


@dataclass(frozen=True, repr=False)
class Adam(Optimizer):
    """Momentum and mean square, both corrected for their start at zero.

    m = beta1 m + (1 - beta1) dW; v = beta2 v + (1 - beta2) dW^2;
    W -= learning_rate (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon) in update t.
    Kingma and Ba, "Adam: a method for stochastic optimization" (2015), algorithm 1.

    Parameters
    ----------
    learning_rate : float or Schedule
        Above 0.
    beta1, beta2 : float
        From 0 to below 1.
    epsilon : float
        Above 0.
    clip_value, clip_norm : float or None
        Limits of each number of the gradient and of the norm of all of it, above 0.
    """

    learning_rate: float | Schedule = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    @property
    def rule(self) -> str:
        return "adam"

    def _columns(self, steps: NDArray[np.int64], rates: NDArray[np.float64]) -> dict[str, Any]:
        # Both corrections move into the step's scalars: with c = sqrt(1 - beta2^t),
        # (m / (1 - beta1^t)) / (sqrt(v) / c + epsilon) = (c / (1 - beta1^t)) m / (sqrt(v) + c epsilon).
        root = np.sqrt(1.0 - self.beta2**steps)
        return {
            "rate": rates * root / (1.0 - self.beta1**steps),
            "beta1": self.beta1,
            "gain1": 1.0 - self.beta1,
            "momentum_share": 1.0,
            "gradient_share": 0.0,
            "beta2": self.beta2,
            "gain2": 1.0 - self.beta2,
            "epsilon": self.epsilon * root,
        }


@dataclass(frozen=True, repr=False)
class AdamW(Adam):
    """Adam with decay of the weights apart from the gradient.

    W = (1 - learning_rate weight_decay) W, then Adam's step. Biases do not decay. Loshchilov and Hutter,
    "Decoupled weight decay regularization" (2019), algorithm 2, with the decay proportional to the learning
    rate as in torch.

    Parameters
    ----------
    learning_rate : float or Schedule
        Above 0.
    beta1, beta2 : float
        From 0 to below 1.
    epsilon : float
        Above 0.
    weight_decay : float
        0 or more.
    clip_value, clip_norm : float or None
        Limits of each number of the gradient and of the norm of all of it, above 0.
    """

    weight_decay: float = 0.01

    def _columns(self, steps: NDArray[np.int64], rates: NDArray[np.float64]) -> dict[str, Any]:
        return super()._columns(steps, rates) | {"decay": 1.0 - rates * self.weight_decay}


OPTIMIZERS = {kind.__name__: kind for kind in (SGD, RMSProp, Adam, AdamW)}


def optimizer_from_dict(description: Any) -> Optimizer:
    """The optimizer that `Optimizer.to_dict` described.

    Raises
    ------
    ValueError
        The description does not name an optimizer of this module and all its fields, of which only those of
        clipping may be absent.
    """
    name, fields = split_description(description, OPTIMIZERS, "optimizer", optional=CLIPS)
    if isinstance(fields["learning_rate"], Mapping):
        fields["learning_rate"] = schedule_from_dict(fields["learning_rate"])
    try:
        return OPTIMIZERS[name](**fields)
    except TypeError as error:
        raise ValueError(f"not an optimizer: {error}") from None
