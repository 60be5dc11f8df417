"""Checkpoints: a model file with what training needs to go on as if it had not been stopped."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import modelfile
from .callbacks import Callback
from .checks import Array, check_integer
from .files import check_path
from .history import History
from .modelfile import ModelFileError
from .optimizers import Optimizer
from .storage import COUNTERS

if TYPE_CHECKING:
    from .network import Network

__all__ = ["Checkpoint", "Resumed", "as_checkpoint", "read_checkpoint", "unchanged_on_error", "write_checkpoint"]


@dataclass(frozen=True)
class Checkpoint:
    """Keep a file from which training can go on.

    The file is a model file too: `Network.load` reads the network in it. It is written after every `every`
    epochs and after the last one, whole or not at all; an interrupted epoch leaves it as it is.

    Parameters
    ----------
    path : path-like
        The file to write and replace.
    every : int
        Epochs between two writes, 1 or more.
    """

    path: str | os.PathLike[str]
    every: int = 1

    def __post_init__(self) -> None:
        check_path(self.path, "path of Checkpoint")
        object.__setattr__(self, "every", check_integer("every of Checkpoint", self.every, 1))


def as_checkpoint(checkpoint: Any) -> Checkpoint | None:
    """A `Checkpoint`, one made of a path, or None."""
    if checkpoint is None or isinstance(checkpoint, Checkpoint):
        return checkpoint
    if isinstance(checkpoint, (str, os.PathLike)):
        return Checkpoint(checkpoint)
    raise TypeError(f"checkpoint must be a Checkpoint or a path, got {type(checkpoint).__name__}")


def write_checkpoint(
    path: str | os.PathLike[str], network: Network, history: History, callbacks: list[Callback]
) -> None:
    """Write the network, the optimizer's state, the history and what the callbacks keep."""
    arrays, description = network.contents()
    states = []
    for i, callback in enumerate(callbacks):
        kept, values = callback.state()
        arrays |= {f"callback.{i}.{name}": array for name, array in kept.items()}
        states.append({"name": type(callback).__name__, "values": values})
    description["checkpoint"] = {"history": history.to_dict(), "callbacks": states}
    modelfile.write(path, arrays, description)


@dataclass(frozen=True)
class Resumed:
    """What a checkpoint holds, checked: nothing of it is in the network yet.

    Attributes
    ----------
    network : Network
        As it was when the checkpoint was written.
    optimizer : Optimizer
    history : History
    callbacks : list of (str, dict, dict)
        For each callback its class's name and what its `state` returned.
    """

    network: Network
    optimizer: Optimizer
    history: History
    callbacks: list[tuple[str, dict[str, Array], dict[str, Any]]]

    def restore(self, network: Network) -> None:
        """Give `network` the seed, the counters, the parameters and the optimizer with its state."""
        _take_over(network, self.network)

    def restore_callbacks(self, callbacks: list[Callback]) -> None:
        """Let each callback go on that has the place and the class of one that the checkpoint knows."""
        for callback, (name, arrays, values) in zip(callbacks, self.callbacks, strict=False):
            if type(callback).__name__ == name:
                try:
                    callback.restore(arrays, values)
                except (KeyError, TypeError, ValueError) as error:
                    raise ModelFileError(f"the checkpoint's state of {name} is damaged: {error}") from None


def _take_over(network: Network, other: Network) -> None:
    for name in (*COUNTERS, "optimizer", "optimizer_state"):
        setattr(network, name, getattr(other, name))
    network.parameters.update(other.parameters)


@contextmanager
def unchanged_on_error(network: Network) -> Iterator[None]:
    """If the block raises, `network` is as it was: what a callback makes of its state is known only then."""
    before = network.copy()
    try:
        yield
    except BaseException:
        _take_over(network, before)
        raise


def read_checkpoint(path: str | os.PathLike[str], network: Network, optimizer: Optimizer | None) -> Resumed:
    """Read a checkpoint that fits the network and the optimizer, None meaning the checkpoint's.

    Raises
    ------
    ModelFileError
        The file is damaged, or a model file without a checkpoint.
    ValueError
        It is the checkpoint of another architecture or optimizer.
    OSError
        It cannot be read.
    """
    name = os.fspath(path)
    found = type(network).load(path)
    arrays, description = modelfile.read(path)
    if "checkpoint" not in description or found.optimizer is None:
        raise ModelFileError(
            f"{name}: a model without a checkpoint; accepted: what fit(checkpoint=...) wrote"
        )
    mine, theirs = network.architecture.to_dict(), found.architecture.to_dict()
    for option, value in theirs.items():
        if mine[option] != value:
            raise ValueError(
                f"{name} is the checkpoint of another network: its {option} is {value}, "
                f"this network's is {mine[option]}"
            )
    if optimizer is not None and optimizer != found.optimizer:
        raise ValueError(f"{name} is the checkpoint of training with {found.optimizer}, not with {optimizer}")
    try:
        history, states = _parse(description["checkpoint"], arrays)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFileError(f"{name}: its checkpoint is damaged: {error}") from None
    return Resumed(found, found.optimizer, history, states)


def _parse(
    checkpoint: dict[str, Any], arrays: dict[str, Array]
) -> tuple[History, list[tuple[str, dict[str, Array], dict[str, Any]]]]:
    states = []
    for i, state in enumerate(checkpoint["callbacks"]):
        prefix = f"callback.{i}."
        kept = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
        states.append((str(state["name"]), kept, dict(state["values"])))
    return History.from_dict(checkpoint["history"]), states
