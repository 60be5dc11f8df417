"""A student's module, by its name or by the path of its file."""

import contextlib
import importlib
import importlib.util
import os
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .sandbox import TooLong, say, where

__all__ = ["find", "load", "loaded"]


def find(what: str | os.PathLike[str]) -> None:
    """Raise the OSError or ValueError that says that there is no such module or file."""
    text = os.fspath(what)
    if text.endswith(".py") or os.sep in text:
        with open(text, "rb"):  # the OSError that names it, before a process is started
            return
    with _importing():
        try:
            found = importlib.util.find_spec(text.split(".")[0])
        except (ImportError, ValueError):
            found = None
    if found is None:
        raise ValueError(f"no module named {text!r} here, and no such file; a file's name ends with .py")


@contextlib.contextmanager
def _importing() -> Iterator[None]:
    """Imports find what lies in the working directory, as they do in a notebook."""
    sys.path.insert(0, os.getcwd())
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(os.getcwd())


def load(what: str | os.PathLike[str]) -> types.ModuleType:
    """Import a module by its name or by the path of its .py file, in this process."""
    text = os.fspath(what)
    if not (text.endswith(".py") or os.sep in text):
        with _importing():
            return importlib.import_module(text)
    path = Path(text).resolve()
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{text} is not a Python file: its name does not end with .py")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))  # for what it imports from beside it
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module


def loaded(what: Any) -> tuple[Any, str]:
    """The module or function itself, and what is wrong if there is none; anything may happen on import."""
    if isinstance(what, types.ModuleType) or callable(what):
        return what, ""
    try:
        return load(what), ""
    except TooLong as error:
        return None, f"it does not come to an end when it is imported: {where(error)}"
    except BaseException as error:
        return None, f"it cannot be imported: {say(error)}"
