"""What may look at training after every epoch, and stop it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .checks import Array, check_integer, check_number
from .history import History
from .recovery import all_finite

if TYPE_CHECKING:
    from .network import Network

__all__ = ["Callback", "EarlyStopping", "as_callbacks"]


class Callback:
    """Called by ``fit``; override what is needed.

    A callback may change the network's parameters. An exception it raises ends training: the network is left
    as it is, consistent, with the epoch counted. A plain function ``f(network, history)`` is a callback too:
    it is called as `on_epoch_end`.

    Attributes
    ----------
    interruptible : bool
        Whether Ctrl-C may end `on_epoch_end` at any line; False lets it wait until the method returns.
    """

    interruptible = True

    def check(self, history: History) -> None:
        """Called before anything is changed: raise if ``history.names`` lacks what is needed."""

    def on_train_begin(self, network: Network, history: History) -> None:
        """Called before the first epoch."""

    def on_epoch_end(self, network: Network, history: History) -> bool | None:
        """Called after every epoch, with its values in `history`; returning True stops training."""
        return None

    def on_train_end(self, network: Network, history: History) -> None:
        """Called after the last epoch, also when training was stopped or interrupted."""

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """What a checkpoint must keep of the callback: arrays, and what JSON can say."""
        return {}, {}

    def restore(self, arrays: Mapping[str, Array], values: Mapping[str, Any]) -> None:
        """Go on from what `state` returned; called after `on_train_begin`."""


class _Function(Callback):
    def __init__(self, function: Callable[[Network, History], bool | None]) -> None:
        self._function = function

    def on_epoch_end(self, network: Network, history: History) -> bool | None:
        return self._function(network, history)


def as_callbacks(callbacks: Any) -> list[Callback]:
    """A list of callbacks from one or several callbacks or functions.

    Raises
    ------
    TypeError
        Something is neither a `Callback` nor a function.
    """
    if callbacks is None:
        return []
    if isinstance(callbacks, Callback) or callable(callbacks):
        callbacks = [callbacks]
    found: list[Callback] = []
    # What is neither one of them nor several is told the same way as a wrong one among several.
    for callback in callbacks if isinstance(callbacks, Iterable) else [callbacks]:
        if isinstance(callback, Callback):
            found.append(callback)
        elif callable(callback) and not isinstance(callback, type):
            found.append(_Function(callback))
        else:
            kind = callback.__name__ if isinstance(callback, type) else type(callback).__name__
            raise TypeError(
                f"callbacks must hold Callback objects or functions f(network, history), got {kind}"
            )
    return found


class EarlyStopping(Callback):
    """Stop when a value has not improved for some epochs, and go back to the parameters of the best epoch.

    However training ends, but for an exception, the network then has the parameters and the optimizer's
    state of the best epoch, and ``history.restored_epoch`` says which that was. The counters of epochs and
    steps, which steer shuffling and schedules, stay as they are. Prechelt, "Early stopping - but when?"
    (1998).

    Parameters
    ----------
    monitor : str
        "validation_cost", "cost" or a name in ``history.metrics``. Accuracy and r2 are better when higher,
        everything else when lower.
    patience : int
        Epochs without improvement after which training stops, 1 or more.
    minimum_change : float
        What an improvement must exceed, 0 or more.
    restore_best : bool
        Whether to go back to the best epoch.
    """

    interruptible = False  # half a copy of the parameters is worth nothing

    def __init__(
        self,
        monitor: str = "validation_cost",
        patience: int = 10,
        minimum_change: float = 0.0,
        restore_best: bool = True,
    ) -> None:
        if not isinstance(monitor, str):
            raise TypeError(f"monitor must be a name such as 'validation_cost', got {type(monitor).__name__}")
        if not isinstance(restore_best, (bool, np.bool_)):
            raise TypeError(f"restore_best must be True or False, got {type(restore_best).__name__}")
        self.monitor = monitor
        self.patience = check_integer("patience", patience, 1)
        self.minimum_change = check_number("minimum_change", minimum_change, 0.0)
        self.restore_best = bool(restore_best)
        self._forget()

    def _forget(self) -> None:
        self.best = math.inf
        self.best_epoch: int | None = None
        self.waited = 0
        self._arrays: list[Array] = []
        self._optimizer_steps = 0
        self._shapes: list[tuple[int, ...]] = []

    @property
    def sign(self) -> float:
        """1 for what should fall, -1 for what should rise."""
        return -1.0 if self.monitor.endswith(("accuracy", "r2")) else 1.0

    def check(self, history: History) -> None:
        history.series(self.monitor)

    def on_train_begin(self, network: Network, history: History) -> None:
        self._forget()
        self._shapes = [array.shape for array in _arrays(network)]

    def on_epoch_end(self, network: Network, history: History) -> bool:
        value = self.sign * history.series(self.monitor)[-1]
        if value < self.best - self.minimum_change:  # False for nan
            self.best, self.best_epoch, self.waited = value, len(history) - 1, 0
            if self.restore_best:
                self._keep(network)
        else:
            self.waited += 1
        return self.waited >= self.patience

    def on_train_end(self, network: Network, history: History) -> None:
        last = len(history) - 1
        if not self._arrays or (self.best_epoch == last and history.stopped != "interrupted"):
            return
        for array, kept in zip(_arrays(network), self._arrays, strict=True):
            array[:] = kept
        network.optimizer_steps = self._optimizer_steps
        history.restored_epoch = self.best_epoch

    def _keep(self, network: Network) -> None:
        arrays = _arrays(network)
        if not self._arrays:
            self._arrays = [np.empty_like(array) for array in arrays]
        for kept, array in zip(self._arrays, arrays, strict=True):
            kept[:] = array
        self._optimizer_steps = network.optimizer_steps

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        arrays = {str(i): array for i, array in enumerate(self._arrays)}
        best = self.best if math.isfinite(self.best) else None
        return arrays, {
            "monitor": self.monitor,
            "best": best,
            "best_epoch": self.best_epoch,
            "waited": self.waited,
            "optimizer_steps": self._optimizer_steps,
        }

    def restore(self, arrays: Mapping[str, Array], values: Mapping[str, Any]) -> None:
        if values.get("monitor") != self.monitor:
            return  # the checkpoint was written for another question
        best = math.inf if values["best"] is None else check_number("best", values["best"], -math.inf)
        epoch = None if values["best_epoch"] is None else check_integer("best_epoch", values["best_epoch"], 0)
        waited = check_integer("waited", values["waited"], 0)
        steps = check_integer("optimizer_steps", values["optimizer_steps"], 0)
        kept = [arrays[str(i)] for i in range(len(arrays))] if self.restore_best else []
        if kept and [array.shape for array in kept] != self._shapes:
            raise ValueError("the parameters of the best epoch have other shapes than the network's")
        if not all_finite(kept):
            raise ValueError("the parameters of the best epoch are not finite")
        self.best, self.best_epoch, self.waited, self._optimizer_steps = best, epoch, waited, steps
        self._arrays = kept


def _arrays(network: Network) -> list[Array]:
    return [*network.parameters.arrays, *(array for slot in network.optimizer_state for array in slot)]
