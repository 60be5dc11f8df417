"""A line about long training, for a person at a terminal and for nobody else."""

from __future__ import annotations

import shutil
import sys
import time

from .history import History
from .kernelsets import compile_seconds

__all__ = ["Progress"]

PATIENCE = 1.0  # seconds: who waits less needs no bar
INTERVAL = 0.1  # seconds between two drawings


class Progress:
    """A bar on standard error with epoch, cost and time left, drawn over itself and wiped at the end.

    Parameters
    ----------
    epochs : int
        How many epochs there will be.
    verbose : bool or None
        None draws the bar when standard error is a terminal and training takes more than about a second;
        True prints a line for every epoch to standard output instead; False is silent.
    """

    def __init__(self, epochs: int, verbose: bool | None) -> None:
        self._epochs = epochs
        self._lines = verbose is True
        # Standard error is None where a program has no console.
        self._bar = verbose is None and sys.stderr is not None and sys.stderr.isatty()
        self._next = time.monotonic() + PATIENCE
        self._first: tuple[float, float, float] | None = None
        self._drawn = False

    def step(self, epochs: float, cost: float) -> None:
        """Draw the bar when it is time to: `epochs` are done, with fractions; `cost` is the last batch's."""
        if not self._bar:
            return
        now = time.monotonic()
        if self._first is None:
            self._first = epochs, now, compile_seconds()
        if now < self._next:
            return
        self._next = now + INTERVAL
        number = min(int(epochs) + 1, self._epochs)
        text = f" epoch {number}/{self._epochs}  cost {cost:.4g}{self._left(epochs, now)}"
        columns = shutil.get_terminal_size().columns - 1  # a full line would make some terminals scroll
        width = min(columns - len(text) - 2, 40)
        if width >= 5:
            filled = int(width * epochs / self._epochs)
            text = f"[{'#' * filled}{'.' * (width - filled)}]{text}"
        self._write(f"\r{text[:columns].ljust(columns)}")
        self._drawn = True

    def _left(self, epochs: float, now: float) -> str:
        """The time left at the pace since the first call: what comes before it, and compiling, is not repeated."""
        assert self._first is not None
        begun, began, compiled = self._first
        if epochs <= begun:
            return ""
        seconds = max(now - began - (compile_seconds() - compiled), 0.0)
        return f"  {_clock(seconds * (self._epochs - epochs) / (epochs - begun))} left"

    def epoch(self, history: History) -> None:
        """Print the line of the epoch that ended."""
        if self._lines:
            print(history.describe(len(history) - 1), flush=True)

    def close(self) -> None:
        """Wipe the bar."""
        if self._drawn:
            columns = shutil.get_terminal_size().columns - 1
            self._write(f"\r{' ' * columns}\r")
            self._drawn = False

    def _write(self, text: str) -> None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except OSError:  # the terminal went away: training has no reason to stop
            self._bar = self._drawn = False


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
