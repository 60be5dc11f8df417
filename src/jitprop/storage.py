"""What of a network goes into a model file, and how it comes out again with everything checked."""

import os
from collections.abc import Mapping
from typing import Any

from jitprop_kernels.contract import RULES

from . import modelfile
from .architecture import Architecture
from .checks import Array, check_integer
from .kernelsets import KERNEL_SETS
from .modelfile import ModelFileError
from .optimizers import optimizer_from_dict
from .parameters import complete_arrays

__all__ = ["read", "write"]

COUNTERS = ("seed", "epochs_trained", "steps_trained", "optimizer_steps")
ENTRIES = {"architecture", "kernels", "optimizer", "metadata", *COUNTERS}


def write(path: str | os.PathLike[str], network: Any, metadata: Mapping[str, Any]) -> None:
    """Write the parameters, the optimizer's averages (``optimizer.0.W1``, ...) and a description."""
    tensors: dict[str, Array] = dict(network.parameters)
    for slot, arrays in enumerate(network.optimizer_state):
        for name, array in zip(network.parameters, arrays, strict=True):
            tensors[f"optimizer.{slot}.{name}"] = array
    description = {
        "architecture": network.architecture.to_dict(),
        "kernels": network.kernel_set.name,
        "optimizer": None if network.optimizer is None else network.optimizer.to_dict(),
        "metadata": dict(metadata),
    }
    description.update({name: getattr(network, name) for name in COUNTERS})
    modelfile.write(path, tensors, description)


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What `write` wrote: its entries, ``parameters`` and ``optimizer_state``, each of the type the network
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
    if set(description) != ENTRIES:
        raise ValueError(f"it describes {sorted(description)}, accepted: {sorted(ENTRIES)}")
    if not isinstance(description["architecture"], dict) or not isinstance(description["metadata"], dict):
        raise TypeError("architecture and metadata must be JSON objects")
    if description["kernels"] not in (None, *KERNEL_SETS):
        raise ValueError(f"unknown kernels {description['kernels']!r}")
    architecture = Architecture.from_dict(description["architecture"])
    for name in COUNTERS:
        check_integer(name, description[name], 0)
    optimizer = description["optimizer"]
    if optimizer is not None:
        optimizer = optimizer_from_dict(optimizer)
    groups: dict[str, dict[str, Array]] = {}
    for name, array in tensors.items():
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
    return description | {
        "architecture": architecture,
        "optimizer": optimizer,
        "parameters": parameters,
        "optimizer_state": [
            list(complete_arrays(groups[slot], architecture, slot).values()) for slot in slots
        ],
    }
