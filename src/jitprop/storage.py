"""What of a network is kept: in copies, in pickles, and in model files, where all that is read is checked."""

import copy
import os
import threading
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from jitprop_kernels.contract import RULES

from . import modelfile
from .architecture import Architecture, allocate
from .checks import Array, check_integer
from .kernelsets import KERNEL_SETS, KernelSet
from .modelfile import ModelFileError
from .optimizers import Optimizer, optimizer_from_dict
from .parameters import Parameters, complete_arrays
from .recovery import all_finite

__all__ = ["MAX_SEED", "Stored"]

COUNTERS = ("seed", "epochs_trained", "steps_trained", "optimizer_steps")
MAX_SEED = 2**63 - 1
MAX_COUNT = 2**53  # whole numbers that float64 and int64 hold, as the coefficients of a step do
ENTRIES = {"architecture", "kernels", "optimizer", "metadata", *COUNTERS}


class Stored:
    """The part of `jitprop.Network` that copies, pickles, saves and loads it."""

    architecture: Architecture
    parameters: Parameters
    kernel_set: KernelSet
    epochs_trained: int
    steps_trained: int
    optimizer_steps: int
    optimizer: Optimizer | None
    optimizer_state: list[list[Array]]
    metadata: dict[str, Any]

    @property
    def seed(self) -> int:
        """Fixes shuffles and dropout masks, from 0 to 2**63 - 1; that of initialization, if it was not assigned."""
        return int(self.__dict__["seed"])

    @seed.setter
    def seed(self, value: int) -> None:
        # Under its own name, so that copies and pickles, which take the dict as it is, need not know.
        self.__dict__["seed"] = check_integer("seed", value, 0, MAX_SEED)

    def copy(self) -> Self:
        """An independent network with the same values and optimizer state; trained alike, both stay equal."""
        twin = object.__new__(type(self))
        twin.__setstate__(self.__getstate__())
        twin.metadata = copy.deepcopy(self.metadata)
        return twin

    def save(self, path: str | os.PathLike[str], metadata: Mapping[str, Any] | None = None) -> None:
        """Write parameters, options and the optimizer's state to a model file.

        A kernel set of the user's own is not written; `load` then takes ``"jit"`` or the one it is given.

        Parameters
        ----------
        path : path-like
            Appears whole or not at all.
        metadata : mapping, optional
            What JSON can say; replaces `self.metadata` in the file.

        Raises
        ------
        TypeError, ValueError
            `path` is no path, `metadata` is more than JSON can say, or a parameter or average is not finite.
        OSError
            The file cannot be written.
        """
        arrays, description = self.contents()
        if metadata is not None:
            if not isinstance(metadata, Mapping):
                raise TypeError(f"metadata must be a mapping, got {type(metadata).__name__}")
            description["metadata"] = dict(metadata)
        modelfile.write(path, arrays, description)

    def contents(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """What `save` writes: parameters, averages (``optimizer.0.W1``, ...), and a description of them."""
        tensors = self._finite_arrays()
        description = {
            "architecture": self.architecture.to_dict(),
            "kernels": self.kernel_set.name,
            "optimizer": None if self.optimizer is None else self.optimizer.to_dict(),
            "metadata": dict(self.metadata),
        }
        return tensors, description | {name: getattr(self, name) for name in COUNTERS}

    def _finite_arrays(self) -> dict[str, Array]:
        """Parameters and averages by their names in model files; ValueError if a number is not finite."""
        found = dict(self.parameters)
        for slot, arrays in enumerate(self.optimizer_state):
            for name, array in zip(self.parameters, arrays, strict=True):
                found[f"optimizer.{slot}.{name}"] = array
        for name, array in found.items():  # whoever writes into a view is not checked there
            if not all_finite([array]):
                raise ValueError(
                    f"{name} of the network holds a number that is not finite; assign finite values first"
                )
        return found

    @classmethod
    def load(cls, path: str | os.PathLike[str], kernels: Any = None) -> Self:
        """Read a network that `save` wrote; training goes on with it as with the one that was saved.

        Parameters
        ----------
        path : path-like
        kernels : str, module or object, optional
            As for the constructor; None is what the file names, or ``"jit"``.

        Raises
        ------
        TypeError
            `path` is no path.
        ModelFileError
            The file is not a model, is damaged, or its parts do not fit each other.
        OSError
            The file does not exist or cannot be read.
        """
        found = _read(path)
        if kernels is None:
            kernels = found["kernel_set"] or "jit"
        network = object.__new__(cls)
        network.__setstate__(found | {"kernel_set": KernelSet(kernels)})
        return network

    def __copy__(self) -> Self:
        return self.copy()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.copy()

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        # A lock cannot be pickled, and views would be pickled without the buffer that they share.
        del state["_training"]
        state["_parameters"] = [np.ascontiguousarray(array) for array in self.parameters.arrays]
        state["optimizer_state"] = [[np.ascontiguousarray(a) for a in slot] for slot in self.optimizer_state]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._training = threading.Lock()
        self._parameters = Parameters(self.architecture)
        _fill(self._parameters.arrays, state["_parameters"])
        self.optimizer_state = []
        for slot in state["optimizer_state"]:
            # In a buffer of its own that is laid out as the parameters' is.
            self.optimizer_state.append(allocate(self.architecture)[1])
            _fill(self.optimizer_state[-1], slot)


def _fill(views: list[Array], values: list[Array]) -> None:
    for view, value in zip(views, values, strict=True):
        view[:] = value


def _read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What `_write` wrote: its entries, ``parameters`` and ``optimizer_state``, each of the type the network
    keeps.

    Raises
    ------
    ModelFileError
        The file is not a model, is damaged, or its parts do not fit each other.
    """
    tensors, description = modelfile.read(path)
    try:
        return _unpack(tensors, description)
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise ModelFileError(f"{os.fspath(path)}: not a network of this version: {error}") from None


def _unpack(tensors: dict[str, Array], description: dict[str, Any]) -> dict[str, Any]:
    if set(description) - {"checkpoint"} != ENTRIES:
        raise ValueError(f"it describes {sorted(description)}, accepted: {sorted(ENTRIES)}")
    if not isinstance(description["architecture"], dict) or not isinstance(description["metadata"], dict):
        raise TypeError("architecture and metadata must be JSON objects")
    if description["kernels"] not in (None, *KERNEL_SETS):
        raise ValueError(f"unknown kernels {description['kernels']!r}")
    architecture = Architecture.from_dict(description["architecture"])
    for name in COUNTERS:
        check_integer(name, description[name], 0, MAX_SEED if name == "seed" else MAX_COUNT)
    optimizer = description["optimizer"]
    if optimizer is not None:
        optimizer = optimizer_from_dict(optimizer)
    groups: dict[str, dict[str, Array]] = {}
    for name, array in tensors.items():
        if name.startswith("callback.") and "checkpoint" in description:
            continue  # what training needs to go on, read by `jitprop.checkpoints`
        group, _, parameter = name.rpartition(".")
        if array.dtype.name != architecture.dtype:
            raise TypeError(f"tensor {name} is {array.dtype}, the network {architecture.dtype}")
        groups.setdefault(group, {})[parameter] = array
    parameters = complete_arrays(groups.pop("", {}), architecture, "the file")
    # Before the first update there are no averages; afterwards as many as the optimizer's rule keeps.
    slots = [] if optimizer is None or not groups else list(RULES[optimizer.rule].slots)
    slots = [f"optimizer.{slot}" for slot in range(len(slots))]
    if sorted(groups) != slots:
        raise ValueError(f"it has tensors of {sorted(groups)}, expected {slots}")
    return {name: int(description[name]) for name in COUNTERS} | {
        "architecture": architecture,
        "kernel_set": description["kernels"],
        "metadata": description["metadata"],
        "optimizer": optimizer,
        "_parameters": list(parameters.values()),
        "optimizer_state": [
            list(complete_arrays(groups[slot], architecture, slot).values()) for slot in slots
        ],
    }
