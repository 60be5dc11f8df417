"""A compile cache that can be trusted: never a crash, never a wrong number, one warning at most.

One file holds one compiled function for one signature. Its name is a digest of everything that decides what
the code does (`KernelCache._key`), and nothing is unpickled before the file is verified (`store`). A lock
around compile and save spares a second process the work; without it both would write the same. In any doubt,
kernels are compiled again.
"""

from __future__ import annotations

import contextlib
import enum
import functools
import hashlib
import pickle
import re
import sys
import time
import types
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numba
import numpy as np
from numba.core import config, serialize, sigutils
from numba.core.caching import _Cache
from numba.core.compiler import CompileResult
from numba.core.runtime import rtsys

from jitprop_kernels.jit.store import (
    SUFFIX,
    Entry,
    cache_directory,
    cache_entries,
    clean,
    clear_cache,
    files_of,
    locks,
    read,
    usable_directory,
    warn_once,
    write,
)

__all__ = ["Entry", "KernelCache", "cache_directory", "cache_entries", "clear_cache", "source_digest"]

baked_addresses: set[int] = set()
"""Addresses of machine code in this process; a kernel that contains one means nothing to another process."""

_ROOT = Path(__file__).resolve().parents[1]
_IMPORTED = time.time()
_LIBRARIES = {"numpy", "numba", "llvmlite", "builtins"} | set(sys.stdlib_module_names)
_COMPILER = {__name__, __name__.replace(".cache", ".compiling")}  # their state decides nothing about a kernel


@functools.cache
def source_digest() -> str | None:
    """Return a digest of all sources of the package; None if they changed since they were imported."""
    digest = hashlib.sha256()
    paths = sorted(_ROOT.rglob("*.py"))
    try:
        for path in paths:
            if _IMPORTED < path.stat().st_mtime <= time.time():
                return None
            text = path.read_bytes()
            digest.update(f"{path.relative_to(_ROOT).as_posix()} {len(text)}\n".encode() + text)
    except OSError:
        return None
    return digest.hexdigest() if paths else None


def _describe(value: Any, seen: set[int]) -> Iterator[str]:
    """Describe what is frozen into code that refers to this value: numbers, arrays, functions.

    The digest of the sources covers what is written in the package. This covers what is not: parameters of
    factories (closures), globals computed at import, functions of other modules.
    """
    kind = type(value)
    if value is None or isinstance(value, (int, float, complex, str, bytes, enum.Enum, np.generic, np.dtype)):
        yield f"{kind.__name__} {value!r}"
    elif isinstance(value, numba.types.Type):
        yield f"type {value}"
    elif isinstance(value, np.ndarray):
        yield f"array {value.dtype} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}"
    elif isinstance(value, tuple):
        yield f"tuple {len(value)}"
        for item in value:
            yield from _describe(item, seen)
    elif isinstance(value, types.ModuleType):
        yield f"module {value.__name__}"
    elif hasattr(value, "py_func"):  # a dispatcher
        yield f"jit {sorted(value.targetoptions.items())}"
        yield from _describe(value.py_func, seen)
    elif isinstance(value, numba.core.extending._Intrinsic):
        yield from _describe(value._defn, seen)
    elif isinstance(value, types.FunctionType):
        yield f"function {value.__module__}.{value.__qualname__}"
        if id(value) not in seen and value.__module__ not in _COMPILER:
            seen.add(id(value))
            if (value.__module__ or "").partition(".")[0] not in _LIBRARIES:
                yield from _describe_function(value, seen)
    else:  # of other objects only compile-time code makes use
        yield f"{kind.__module__}.{kind.__qualname__} {getattr(value, '__qualname__', '')}"


def _describe_function(function: types.FunctionType, seen: set[int]) -> Iterator[str]:
    names: list[str] = []
    codes = [function.__code__]
    for code in codes:  # grows: nested functions
        inner = [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
        constants = [_literal(constant) for constant in code.co_consts if constant not in inner]
        codes += inner
        names += code.co_names
        yield f"code {code.co_code.hex()} {code.co_varnames} {code.co_names} {constants}"
    for name in dict.fromkeys(names):
        value = function.__globals__.get(name)
        yield name
        yield from _describe(value, seen)
        if isinstance(value, types.ModuleType) and value.__name__.partition(".")[0] not in _LIBRARIES:
            for attribute in dict.fromkeys(names):
                yield from _describe(getattr(value, attribute, None), seen)
    for cell_name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        yield cell_name
        with contextlib.suppress(ValueError):  # an empty cell
            yield from _describe(cell.cell_contents, seen)


def _literal(constant: Any) -> str:
    # The order of a set of strings differs from process to process.
    return str(sorted(map(repr, constant))) if isinstance(constant, frozenset) else repr(constant)


def _versions() -> str:
    settings = ("OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "BOUNDSCHECK", "DEBUGINFO_DEFAULT", "USING_SVML")
    return (
        f"{sys.implementation.cache_tag} {sys.version} numpy {np.__version__} numba {numba.__version__} "
        f"llvmlite {llvmlite.__version__} {[(name, str(getattr(config, name, None))) for name in settings]}"
    )


def _external_symbols(library: Any) -> list[str]:
    """Return the names of what compiled code calls in this process: the runtimes of Python, numba and C."""
    module = library._final_module
    declared = [item.name for item in (*module.functions, *module.global_variables) if item.is_declaration]
    return [name for name in declared if _all_known([name])]


def _all_known(symbols: list[str]) -> bool:
    return all(llvm.address_of_symbol(name) is not None for name in symbols)


@dataclass
class _Pending:
    """An entry that is being compiled."""

    path: Path
    key: bytes
    locked: bool


class KernelCache(_Cache):
    """The compiled forms of one function, with the interface numba's dispatchers expect of their ``_cache``.

    Parameters
    ----------
    function : callable
        The plain function.
    options : dict
        Compiler options.
    kind : str
        What is compiled of it, "kernel" or "callback": the two have different entry points.
    on_miss : callable
        Called without arguments when something has to be compiled, here or in a process that is waited for.
    """

    def __init__(self, function: Any, options: dict[str, Any], kind: str, on_miss: Callable[[], None]):
        self.function, self.options, self.kind, self.on_miss = function, options, kind, on_miss
        self._enabled = True
        self._pending: dict[Any, _Pending] = {}

    @property
    def cache_path(self) -> str | None:
        directory = cache_directory()
        return None if directory is None else str(directory)

    def enable(self) -> None:
        self._enabled = True

    def disable(self) -> None:
        self._enabled = False

    def flush(self) -> None:
        """Remove the entries of this function."""
        for path, _ in files_of(cache_directory()):
            if path.name.startswith(self._name() + "-"):
                path.unlink(missing_ok=True)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the compiled function from the cache, or None: then it is to be compiled and saved."""
        key = self._key(sig, target_context.codegen()) if self._enabled else None
        directory = None if key is None else usable_directory()
        if key is None or directory is None:
            return None
        path = directory / f"{self._name()}-{hashlib.sha256(key).hexdigest()[:32]}{SUFFIX}"
        found = self._rebuild(path, key, target_context)
        if found is None:
            self.on_miss()
            pending = _Pending(path, key, locks.acquire(path))
            # Whoever held the lock may have saved it.
            found = self._rebuild(path, key, target_context)
            if found is None:
                self._pending[sig] = pending
            elif pending.locked:
                locks.release(path)
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        """Save what was compiled after `load_overload` found nothing."""
        pending = self._pending.pop(sig, None)
        if pending is None:
            return
        try:
            if self._may_be_saved(data):
                payload = _external_symbols(data.library), data.reload_init, data._reduce()
                write(pending.path, pending.key, serialize.dumps(payload))
                clean(pending.path.parent)
        except Exception as error:  # a full disk, say: the code can be used all the same
            warn_once(f"{pending.path} cannot be written ({error})")
        finally:
            if pending.locked:
                locks.release(pending.path)

    def abandon(self, sig: Any) -> None:
        """Release the lock of a compilation that failed or was interrupted, and so never came to be saved."""
        pending = self._pending.pop(sig, None)
        if pending is not None and pending.locked:
            locks.release(pending.path)

    def _name(self) -> str:
        name = f"{self.function.__module__}.{self.function.__qualname__}".removeprefix("jitprop_kernels.")
        return re.sub(r"[^A-Za-z0-9_.]", "", name)[-100:]

    def _key(self, sig: Any, codegen: Any) -> bytes | None:
        """Return all that decides what the compiled function does, or None when words cannot tell."""
        sources = source_digest()
        arguments, result = sigutils.normalize_signature(sig)
        signature = f"{', '.join(map(str, arguments))} -> {result}"
        if sources is None or " at 0x" in signature:  # an object, which another process has elsewhere
            return None
        code = hashlib.sha256("\n".join(_describe(self.function, set())).encode()).hexdigest()
        lines = (
            f"function {self.function.__module__}.{self.function.__qualname__}",
            f"signature {signature}",
            f"kind {self.kind} {sorted(self.options.items())}",
            f"code {code}",
            f"sources {sources}",
            f"processor {codegen.magic_tuple()}",
            f"versions {_versions()}",
        )
        return "\n".join(line.replace("\n", " ") for line in lines).encode()

    def _rebuild(self, path: Path, key: bytes, target_context: Any) -> Any:
        payload = read(path, key)
        if payload is None:
            return None
        try:
            symbols, initializers, reduced = pickle.loads(payload)
            for initialize in initializers:  # of the threads, for a parallel kernel
                initialize()
            # Most code needs neither numba's run-time system (30 ms) nor the rest of its compiler (250 ms).
            for prepare in (functools.partial(rtsys.initialize, target_context), target_context.refresh):
                if not _all_known(symbols):
                    prepare()
            if not _all_known(symbols):  # LLVM would end the process
                raise LookupError(f"no symbols {symbols}")
            return CompileResult._rebuild(target_context, *reduced)
        except Exception as error:  # whatever stands in the way of loading, compiling goes around it
            warn_once(f"{path} cannot be loaded ({error!r})")
            return None

    def _may_be_saved(self, compiled: Any) -> bool:
        """Return whether the code means the same in another process: no addresses of this one."""
        if any(not lifted.can_cache for lifted in compiled.lifted):
            return False
        addresses = compiled.library.has_dynamic_globals
        if baked_addresses and not addresses:
            text = compiled.library.get_llvm_str()
            addresses = any(str(address) in text for address in baked_addresses)
        if addresses:
            name = self.function.__qualname__
            warnings.warn(f"{name} is not cached: its code contains an address", RuntimeWarning, stacklevel=2)
        return not addresses
