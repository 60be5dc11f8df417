"""The options of ``fit``, as far as they can be checked without the examples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .callbacks import as_callbacks
from .checkpoints import Checkpoint, as_checkpoint
from .checks import check_integer
from .examples import Examples
from .files import check_writable
from .optimizers import OPTIMIZERS, Adam, Optimizer

if TYPE_CHECKING:
    from .network import Network

__all__ = ["Options"]


class Options:
    """The options of ``fit``, checked; `optimizer` is the one to use unless a checkpoint names another."""

    def __init__(
        self,
        network: Network,
        epochs: Any,
        batch_size: Any,
        optimizer: Any,
        shuffle: Any,
        callbacks: Any,
        checkpoint: Any,
        resume: Any,
        verbose: Any,
    ) -> None:
        self.epochs = check_integer("epochs", epochs, 0)
        self.batch_size = None if batch_size is None else check_integer("batch_size", batch_size, 1)
        if optimizer is not None and type(optimizer) not in OPTIMIZERS.values():
            accepted = f"optimizer must be one of {', '.join(OPTIMIZERS)}"
            raise TypeError(f"{accepted}, got {_kind(optimizer)}{_instead(optimizer)}")
        self.optimizer: Optimizer = optimizer or network.optimizer or Adam()
        self.shuffle = _check_flag("shuffle", shuffle)
        self.callbacks = as_callbacks(callbacks)
        self.checkpoint: Checkpoint | None = as_checkpoint(checkpoint)
        if self.checkpoint is not None:
            check_writable(self.checkpoint.path)  # now, and not when an epoch has changed the network
        self.resume = _check_flag("resume", resume)
        if self.resume and self.checkpoint is None:
            raise ValueError("resume=True needs checkpoint, the file to go on from")
        self.verbose = None if verbose is None else _check_flag("verbose", verbose)

    def check_batch_size(self, examples: Examples) -> None:
        m = examples.X.shape[1]
        if self.batch_size is not None and self.batch_size > m - examples.held_back:
            without = f" - {examples.held_back} for validation" if examples.held_back else ""
            raise ValueError(f"batch_size must be from 1 to m = {m}{without}, got {self.batch_size}")


def _check_flag(name: str, value: Any) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {_kind(value)}")
    return bool(value)


def _instead(optimizer: Any) -> str:
    """What to write for the name or the class of an optimizer."""
    name = optimizer if isinstance(optimizer, str) else getattr(optimizer, "__name__", "")
    meant = [each for each in OPTIMIZERS if each.casefold() == name.casefold()]
    given = repr(optimizer) if isinstance(optimizer, str) else name
    return f"; give {meant[0]}(), not {given}" if meant else ""


def _kind(value: Any) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
