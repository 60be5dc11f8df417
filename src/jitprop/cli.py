"""The command line: ``jitprop COMMAND ...``, also ``python -m jitprop``.

A command is a module of `jitprop.commands` with a function ``add(subparsers)``. Exit codes: 0 done, 1 an
error, told in one line; 2 a wrong command line; 130 interrupted; 141 the reader of the output went away.
"""

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from . import __version__
from .commands import cache, compare, demo, gradcheck, info, lesson, predict, train, warmup
from .training import DivergenceError

__all__ = ["main"]

COMMANDS = (demo, compare, lesson, train, predict, gradcheck, info, warmup, cache)
EXPECTED = (ValueError, TypeError, OSError, ImportError, DivergenceError, MemoryError)
INTERRUPTED, PIPE_CLOSED = 130, 141  # 128 + SIGINT, 128 + SIGPIPE: what a shell reports of other programs


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="jitprop",
        description="L-layer networks on the CPU: trained by loops, by NumPy and by kernels compiled for it.",
    )
    parser.add_argument("--version", action="version", version=f"jitprop {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; those of the process by default.

    Returns
    -------
    int
        The exit code. A wrong command line raises SystemExit(2).
    """
    arguments = build_parser().parse_args(argv)
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            code = arguments.run(arguments)
            if sys.stdout is not None:  # None when it was closed before Python began
                sys.stdout.flush()
        except KeyboardInterrupt:
            print("jitprop: interrupted", file=sys.stderr)
            return INTERRUPTED
        except BrokenPipeError:
            # Python flushes once more at exit, which must not fail again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return PIPE_CLOSED
        except EXPECTED as error:
            print(f"jitprop: error: {_one_line(error)}", file=sys.stderr)
            return 1
    return int(code or 0)


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    if isinstance(error, MemoryError):
        return f"not enough memory: {error}" if str(error) else "not enough memory"
    return " ".join(str(error).split()) or type(error).__name__


def _show_warning(message: Any, *_: Any, **__: Any) -> None:
    print(f"jitprop: warning: {' '.join(str(message).split())}", file=sys.stderr)
