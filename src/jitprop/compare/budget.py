"""The time of a comparison, shared out over what is still to be done."""

import time
from collections.abc import Callable, Sequence

__all__ = ["MINUTE", "Budget"]

MINUTE = 52.0  # seconds; the rest of the minute goes into starting, what runs over, and writing
DRAWING = 4.0  # seconds of it for a picture
WEIGHTS = {"dot": 3.0, "logistic": 6.0, "matmul": 3.0, "softmax": 1.5, "backward": 5.0, "epoch": 7.0}  # others: 1


class Budget:
    """A deadline, and how long each computation may take so that all of them meet it.

    First calls, which compile, take what they take: no rung is left out. What they and anything else use up is no
    longer there for timing, so a slow or a busy machine times fewer runs, and when time is up only the ends of curves.

    Parameters
    ----------
    computations : sequence of str
        All that are to come, in any order.
    seconds : float
        For all of them.
    clock : callable, optional
        Seconds that have passed since some moment.
    """

    def __init__(
        self, computations: Sequence[str], seconds: float = MINUTE, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._clock = clock
        self._end = self._until = clock() + seconds
        self._weight = 0.0
        self._weights = {name: WEIGHTS.get(name, 1.0) for name in computations}

    def begin(self, computation: str, weight: float) -> float:
        """Give a computation its share of the seconds left, for measurements of `weight` in all."""
        left = max(0.0, self._end - self._clock())
        share = left * self._weights[computation] / sum(self._weights.values())
        del self._weights[computation]
        self._until, self._weight = self._clock() + share, weight
        return share

    def take(self, weight: float) -> float:
        """The seconds for one measurement: its weight's part of what this computation has left."""
        part = min(1.0, weight / self._weight) if self._weight > 0 else 1.0
        self._weight -= weight
        return self.left() * part

    def left(self) -> float:
        """The seconds that this computation has left, 0 when its time is up."""
        return max(0.0, self._until - self._clock())
