"""Answers to a student's own kernel: is it right, and if not, what is wrong, in the course's words.

`check` calls the function in a process of its own, with a limit of time and memory, on small awkward arguments (not
square, one example, zeros, float32), and compares what comes back with `jitprop_kernels.loops`.
"""

import inspect
import os
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from jitprop_kernels import loops
from jitprop_kernels.contract import KERNELS
from jitprop_kernels.doors import plain

from ..kernelsets import misspelt
from .mistakes import mistakes
from .modules import find, load, loaded
from .sandbox import TooLong, answer, say, stop_the_clock, where
from .trials import cases as trial_cases
from .trials import duplicate
from .verdicts import judge

__all__ = ["Report", "check", "check_module", "load", "offered"]

SECONDS = 10.0


@dataclass(frozen=True)
class Report:
    """What a check found; true if all is right, and printable."""

    name: str
    messages: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.messages

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        if self.ok:
            return f"{self.name}: right"
        return f"{self.name}: not right yet\n" + "\n".join(f"  - {message}" for message in self.messages)


def check(
    what: Callable[..., Any] | str | os.PathLike[str] | types.ModuleType,
    name: str,
    *,
    reference: Callable[..., Any] | None = None,
    cases: Sequence[tuple[Any, ...]] | None = None,
    seconds: float = SECONDS,
) -> Report:
    """Check a function that a student wrote.

    Parameters
    ----------
    what : callable, module, or str or path
        The function itself, or where a function called `name` is: a module, its name, or the path of a .py file.
    name : str
        Of a kernel in `contract.KERNELS`, or any name together with `reference` and `cases`.
    reference : callable, optional
        What is right, instead of the kernel of `jitprop_kernels.loops`; it may return numbers, arrays, or tuples,
        lists or dicts of them.
    cases : sequence of tuple, optional
        The arguments of each call.
    seconds : float
        For all calls together.

    Returns
    -------
    Report

    Raises
    ------
    ValueError
        `name` is not that of a kernel, and `reference` and `cases` are not given.
    TypeError
        `what` is none of these.
    OSError
        There is no such file.
    """
    if reference is None and name not in KERNELS:
        raise ValueError(f"unknown kernel {name!r}; accepted: {', '.join(KERNELS)}")
    if reference is not None and cases is None:
        raise ValueError("reference needs cases, the arguments of each call")
    if not callable(what) and not isinstance(what, (str, os.PathLike, types.ModuleType)):
        raise TypeError(f"a function, a module or a path is to be checked, got {type(what).__name__}")
    if isinstance(what, (str, os.PathLike)):
        find(what)
    right = reference or plain(getattr(loops, name))
    arguments = trial_cases(name) if cases is None else list(cases)
    usual = mistakes if reference is None and cases is None else None
    found = answer(lambda: _examine(what, name, right, arguments, usual), seconds)
    return Report(name, tuple(found))


def check_module(what: str | os.PathLike[str], seconds: float = SECONDS) -> list[Report]:
    """Check every kernel that a module or a .py file offers; each gets so many seconds.

    Raises
    ------
    ValueError
        It offers none, or cannot be imported.
    OSError
        There is no such file.
    """
    return [check(what, name, seconds=seconds) for name in offered(what, seconds)]


def offered(what: str | os.PathLike[str], seconds: float = SECONDS) -> list[str]:
    """The names of kernels in a module or a .py file, which is imported in a process of its own to find out.

    Raises
    ------
    ValueError
        There is none of them, or the module cannot be imported.
    OSError
        There is no such file.
    """
    find(what)
    found = answer(lambda: _names(what), seconds)
    if isinstance(found, list):
        raise ValueError(f"{os.fspath(what)}: {' '.join(found)}")
    names = [name for name in KERNELS if name in found]
    if not names:
        hints = [f"; did you mean {kernel!r} by {name!r}?" for name, kernel in found.items() if kernel]
        raise ValueError(
            f"{os.fspath(what)} has no function of a kernel's name; it has "
            f"{', '.join(sorted(found)[:8]) or 'no function at all'}; kernels: {', '.join(KERNELS)}{''.join(hints)}"
        )
    return names


def _names(what: Any) -> dict[str, str | None] | list[str]:
    """The functions of a module, each with the kernel that it may be meant for; or what is wrong with the module."""
    module, problem = loaded(what)
    if problem:
        return [problem]
    functions = [n for n, value in vars(module).items() if callable(value) and not isinstance(value, (type, str))]
    meant = misspelt(module)
    return {name: meant.get(name) for name in functions}


def _examine(
    what: Any, name: str, right: Callable[..., Any], cases: list[tuple[Any, ...]], usual: Any
) -> list[str]:
    module, problem = loaded(what)
    function = getattr(module, name, None) if isinstance(module, types.ModuleType) else module
    if problem or not callable(function):
        return [problem or f"there is no function {name} in {module.__name__}"]
    names = tuple(inspect.signature(right).parameters)
    runs = []
    for arguments in cases:
        given = duplicate(arguments)
        try:
            result = function(*given)
        except TooLong as error:
            return [f"it does not come to an end: {where(error)}"]
        except BaseException as error:  # sys.exit() too is the student's
            return [f"{name}({', '.join(names[: len(arguments)])}) raises {say(error)}"]
        runs.append((arguments, given, result))
    stop_the_clock()
    return judge(name, names, right, runs, usual)
