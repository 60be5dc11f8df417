"""What happened during training, epoch by epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["History"]

SERIES = ("cost", "validation_cost", "learning_rate", "seconds")
STOPPED = (None, "early", "interrupted")


@dataclass
class History:
    """One value for each epoch of a call of ``fit``.

    Attributes
    ----------
    cost : list of float
        The mean cost over the examples of the epoch, each with the parameters as they were when its batch
        came.
    validation_cost : list of float
        The cost on the validation data after the epoch; empty without validation data.
    metrics : dict of str to list of float
        What else `Network.evaluate` says of the validation data, e.g. ``"validation_accuracy"``.
    learning_rate : list of float
        The learning rate with which the epoch began.
    seconds : list of float
        The time the epoch took, validation and callbacks included.
    stopped : None, "early" or "interrupted"
        Why training ended before the last epoch.
    restored_epoch : int or None
        The index, in these lists, of the epoch whose parameters were restored at the end.
    """

    cost: list[float] = field(default_factory=list)
    validation_cost: list[float] = field(default_factory=list)
    metrics: dict[str, list[float]] = field(default_factory=dict)
    learning_rate: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    stopped: str | None = None
    restored_epoch: int | None = None

    def __len__(self) -> int:
        return len(self.cost)

    @property
    def names(self) -> list[str]:
        """What is recorded: "cost" and, with validation data, "validation_cost" and the metrics."""
        validated = any(name.startswith("validation_") for name in self.metrics)
        return ["cost", *(["validation_cost"] if validated else []), *self.metrics]

    def series(self, name: str) -> list[float]:
        """The values called `name`, one of `names`.

        Raises
        ------
        ValueError
            There are none of this name; the message lists those there are.
        """
        if name not in self.names:
            hint = "" if "validation_cost" in self.names else "; others need validation_data"
            raise ValueError(f"nothing called {name!r} is recorded; accepted: {', '.join(self.names)}{hint}")
        values = {"cost": self.cost, "validation_cost": self.validation_cost, **self.metrics}
        return values[name]

    def truncate(self, epochs: int) -> None:
        """Forget everything after the first `epochs` epochs."""
        for values in (*(getattr(self, name) for name in SERIES), *self.metrics.values()):
            del values[epochs:]

    def describe(self, epoch: int) -> str:
        """One line about the epoch of this index."""
        parts = [f"epoch {epoch + 1}", f"cost {self.cost[epoch]:.6g}"]
        if len(self.validation_cost) > epoch:
            parts.append(f"validation cost {self.validation_cost[epoch]:.6g}")
        parts += [
            f"{name.replace('_', ' ')} {values[epoch]:.4g}"
            for name, values in self.metrics.items()
            if len(values) > epoch
        ]
        return "  ".join(parts)

    def __str__(self) -> str:
        if not self.cost:
            return "no epoch completed" + (f", {self.stopped}" if self.stopped else "")
        count = len(self.cost)
        shown = sorted({round(i * (count - 1) / 9) for i in range(10)})
        lines = [self.describe(epoch) for epoch in shown]
        end = f"{count} epoch{'s' if count > 1 else ''} in {sum(self.seconds):.3g} s"
        reasons = {"early": "stopped early", "interrupted": "interrupted"}
        if self.stopped:
            end += f", {reasons[self.stopped]}"
        if self.restored_epoch is not None:
            end += f", parameters of epoch {self.restored_epoch + 1} restored"
        return "\n".join([*lines, end])

    def to_dict(self) -> dict[str, Any]:
        """The history as JSON can say it: numbers that are not finite become None."""
        return {
            **{name: _finite(getattr(self, name)) for name in SERIES},
            "metrics": {name: _finite(values) for name, values in self.metrics.items()},
            "stopped": self.stopped,
            "restored_epoch": self.restored_epoch,
        }

    @classmethod
    def from_dict(cls, description: Any) -> History:
        """The history that `to_dict` described, with nan for None.

        Raises
        ------
        ValueError
            The description is not that of a history.
        """
        expected = {*SERIES, "metrics", "stopped", "restored_epoch"}
        if not isinstance(description, Mapping) or set(description) != expected:
            raise ValueError(f"a history must have the fields {sorted(expected)}")
        metrics, restored = description["metrics"], description["restored_epoch"]
        if description["stopped"] not in STOPPED or not isinstance(metrics, Mapping):
            raise ValueError("a history's stopped or metrics is not valid")
        if restored is not None and (isinstance(restored, bool) or not isinstance(restored, int)):
            raise ValueError("a history's restored_epoch must be a whole number or None")
        history = cls(
            **{name: _numbers(description[name], name) for name in SERIES},
            metrics={name: _numbers(values, name) for name, values in metrics.items()},
            stopped=description["stopped"],
            restored_epoch=restored,
        )
        lengths = {len(history.cost), len(history.learning_rate), len(history.seconds)}
        lengths |= {len(values) for values in (history.validation_cost, *metrics.values()) if values}
        if len(lengths) > 1:
            raise ValueError("a history's lists have different lengths")
        return history


def _finite(values: list[float]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values]


def _numbers(values: Any, name: str) -> list[float]:
    if not isinstance(values, list) or not all(
        value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)) for value in values
    ):
        raise ValueError(f"a history's {name} must be a list of numbers")
    return [math.nan if value is None else float(value) for value in values]
