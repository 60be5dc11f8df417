"""Going back to a state that was whole, and keeping Ctrl-C away from where there is none."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from .checks import Array

__all__ = ["Backup", "Interrupts", "all_finite"]

SHARE = 100  # the time between two copies in units of what check and copy take, so that they cost 1% at most


class Backup:
    """One copy of some arrays, made once and written again and again.

    Parameters
    ----------
    arrays : sequence of ndarray
        What is copied and restored.
    """

    def __init__(self, arrays: Sequence[Array]) -> None:
        self._arrays = arrays
        self._copies = [np.empty_like(array) for array in arrays]
        self._position: int | None = None
        self._taken = self._seconds = 0.0

    @property
    def position(self) -> int:
        """How many steps had been made when the copy was taken."""
        assert self._position is not None, "no copy was taken"
        return self._position

    def due(self) -> bool:
        """Whether another copy would cost little beside the time since the last one."""
        return self._position is None or time.perf_counter() - self._taken >= SHARE * self._seconds

    def take(self, position: int, began: float) -> None:
        """Copy the arrays as they are after `position` steps; the time it took counts from `began`."""
        for copy, array in zip(self._copies, self._arrays, strict=True):
            copy[:] = array
        self._position = position
        self._taken = time.perf_counter()
        self._seconds = self._taken - began

    def restore(self) -> None:
        """Write the copy back."""
        for copy, array in zip(self._copies, self._arrays, strict=True):
            array[:] = copy


def all_finite(arrays: Sequence[Array]) -> bool:
    """Whether no array holds nan or infinity."""
    with np.errstate(over="ignore", invalid="ignore"):
        # A sum reads once and writes nothing. It may overflow although every number is finite: then each is
        # looked at.
        return all(bool(np.isfinite(array.sum()) or np.isfinite(array).all()) for array in arrays)


class Interrupts:
    """Ctrl-C within the block waits for `check`, except in the blocks that say `allowed`.

    Python runs signal handlers in the main thread only, and a program with a handler of its own decides
    itself: elsewhere this does nothing.

    Attributes
    ----------
    pending : bool
        Whether a Ctrl-C waits.
    """

    def __init__(self) -> None:
        self._installed = self._allowed = False
        self.pending = False

    def __enter__(self) -> Interrupts:
        ours = threading.current_thread() is threading.main_thread()
        if ours and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._handle)
            self._installed = True
        return self

    def __exit__(self, *exception: object) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _handle(self, number: int, frame: Any) -> None:
        if self._allowed:
            self._allowed = False
            raise KeyboardInterrupt
        self.pending = True

    def check(self) -> None:
        """Raise the KeyboardInterrupt that waited, if one did."""
        if self.pending:
            self.pending = False
            raise KeyboardInterrupt

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """Let Ctrl-C raise KeyboardInterrupt at once within this block."""
        self.check()
        self._allowed = True
        try:
            yield
        finally:
            self._allowed = False
