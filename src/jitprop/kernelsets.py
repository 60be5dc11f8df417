"""The kernel set that a network calls: one of ours by name, or the user's, completed; and its threads."""

import difflib
import importlib
import sys
import types
import warnings
from collections.abc import Mapping
from typing import Any

from jitprop_kernels import composition
from jitprop_kernels.contract import KERNELS

__all__ = [
    "KERNEL_SETS",
    "KernelSet",
    "compile_seconds",
    "get_num_threads",
    "misspelt",
    "set_num_threads",
    "warn_of_misspelt",
]

KERNEL_SETS = ("jit", "vectorized", "loops")


class KernelSet:
    """A choice of kernels, resolved when it is first needed, so that a network can be made without importing
    Numba.

    Copies and pickles hold the name, or for a module its import path; an object of the user's goes along as
    it is.

    Parameters
    ----------
    kernels : str, module or object

    Raises
    ------
    TypeError
        None, a mapping, or an object whose kernel cannot be called.
    ValueError
        An unknown name, or an object that offers no kernel.

    Warns
    -----
    UserWarning
        A function is not named like a kernel, but nearly so.
    """

    def __init__(self, kernels: Any) -> None:
        accepted = f"accepted: {', '.join(KERNEL_SETS)}, or a module or object that offers kernels"
        if kernels is None:
            raise TypeError(f"kernels must be a name, a module or an object, got None; {accepted}")
        if isinstance(kernels, Mapping):  # whose method `update` would be taken for a kernel
            kind = type(kernels).__name__
            raise TypeError(f"kernels is a {kind}; give types.SimpleNamespace(**kernels) or a module")
        if isinstance(kernels, str) and kernels not in KERNEL_SETS:
            raise ValueError(f"unknown kernels {kernels!r}; {accepted}")
        self._completed: Any = None
        self._choice = kernels
        name = getattr(kernels, "__name__", "")
        if isinstance(kernels, types.ModuleType) and name.removeprefix("jitprop_kernels.") in KERNEL_SETS:
            self._choice = name.rpartition(".")[2]
        elif not isinstance(kernels, str):
            self._completed = _complete(kernels)

    @property
    def name(self) -> str | None:
        """The name of one of our sets, or None."""
        return self._choice if isinstance(self._choice, str) else None

    @property
    def functions(self) -> Any:
        """A module or namespace that offers every name of the kernel contract."""
        if self._completed is None:
            if isinstance(self._choice, str):
                self._completed = importlib.import_module(f"jitprop_kernels.{self._choice}")
            else:
                self._completed = composition.complete(self._choice)
        return self._completed

    def __str__(self) -> str:
        return self.name or str(getattr(self._choice, "__name__", type(self._choice).__name__))

    def __getstate__(self) -> dict[str, Any]:
        if isinstance(self._choice, types.ModuleType):
            return {"module": self._choice.__name__}
        return {"choice": self._choice}

    def __setstate__(self, state: dict[str, Any]) -> None:
        module = state.get("module")
        self._choice = importlib.import_module(module) if module else state["choice"]
        self._completed = None


def _complete(kernels: Any) -> Any:
    try:
        completed = composition.complete(kernels)
    except ValueError as error:
        hints = [f"did you mean {kernel!r} by {name!r}?" for name, kernel in misspelt(kernels).items()]
        raise ValueError("; ".join([str(error), *hints])) from None
    warn_of_misspelt(kernels, stacklevel=5)
    return completed


def misspelt(kernels: Any) -> dict[str, str]:
    """Functions of a user's set that are no kernels, and for each the kernel that its name is close to.

    Only kernels that the set does not offer: beside `relu`, a `relu2` is an aid to it. What a module imports from
    elsewhere has its name from there.
    """
    module = kernels.__name__ if isinstance(kernels, types.ModuleType) else None
    found = {}
    for name in dir(kernels):
        close = difflib.get_close_matches(name, KERNELS, 1, cutoff=0.8)
        if name.startswith("_") or not close or hasattr(kernels, close[0]):
            continue
        function = getattr(kernels, name)
        own = module is None or getattr(function, "__module__", None) == module
        if own and callable(function) and not isinstance(function, type):
            found[name] = close[0]
    return found


def warn_of_misspelt(kernels: Any, stacklevel: int = 2) -> None:
    """A UserWarning for what nothing would ever call; `stacklevel` as in `warnings.warn`."""
    what = getattr(kernels, "__name__", type(kernels).__name__)
    for name, kernel in misspelt(kernels).items():
        text = f"{name} of kernel set {what} is not the name of a kernel and is not used; did you mean {kernel!r}?"
        warnings.warn(text, stacklevel=stacklevel)


_COMPILING = "jitprop_kernels.jit.compiling"


def _compiling() -> Any:
    # Imported when asked for: it imports Numba, which takes longer than everything else together.
    return importlib.import_module(_COMPILING)


def compile_seconds() -> float:
    """How long this process has spent compiling kernels, in seconds, loads from the cache excluded."""
    return float(_compiling().compile_seconds()) if _COMPILING in sys.modules else 0.0


def set_num_threads(n: int) -> None:
    """Let the compiled kernels use `n` threads, in the whole process; results do not depend on it.

    Raises
    ------
    TypeError
        `n` is not an int.
    ValueError
        `n` is less than 1 or more than NUMBA_NUM_THREADS.
    """
    _compiling().set_num_threads(n)


def get_num_threads() -> int:
    """How many threads the compiled kernels use."""
    return int(_compiling().get_num_threads())
