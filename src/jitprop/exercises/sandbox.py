"""A process of its own for somebody's code: with a limit of time and memory, and an answer in any case."""

import contextlib
import faulthandler
import io
import linecache
import multiprocessing
import resource
import signal
import traceback
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

__all__ = ["TooLong", "answer", "say", "stop_the_clock", "where"]

MEMORY = 4 << 30  # bytes that the code may take beyond what the process has
GRACE = 1.0  # seconds in which code that is interrupted may still say where it was
OURS = str(Path(__file__).parent)


class TooLong(BaseException):
    """Raised in the student's code when time is up; not an Exception, which that code may catch."""


def answer(work: Callable[[], Any], seconds: float) -> Any:
    """What `work` returns in a forked process, or a list with a message on why it did not.

    Forked, so that functions of a notebook, which no other process could import, are there.

    Raises
    ------
    RuntimeError
        `work` itself failed, not the code that it tries.
    """
    context = multiprocessing.get_context("fork")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(work, sending, seconds), daemon=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # on threads: the child starts none of its own
        process.start()
    sending.close()
    try:
        if not receiving.poll(seconds + GRACE):
            return [f"it does not come to an end: stopped after {seconds:g} s"]
        failed, found = receiving.recv()
        if failed:
            raise RuntimeError(found)
        return found
    except EOFError:
        process.join()
        code = process.exitcode or 0
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        return [f"it ended the whole process ({how})"]
    finally:
        process.kill()
        process.join()
        receiving.close()


def _child(work: Callable[[], Any], connection: Connection, seconds: float) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, who ends this process
    signal.signal(signal.SIGALRM, _time_is_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    with contextlib.suppress(OSError, ValueError):  # a lower limit stands already, or there is no /proc
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
    warnings.simplefilter("ignore")
    faulthandler.disable()  # a crash is told in our words
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            connection.send((False, work()))
        except BaseException:
            connection.send((True, traceback.format_exc()))
    connection.close()


def stop_the_clock() -> None:
    """What follows is our code and not measured."""
    signal.setitimer(signal.ITIMER_REAL, 0)


def _time_is_up(signum: int, frame: Any) -> None:
    raise TooLong


def say(error: BaseException) -> str:
    """An error in a line, with the line of the student's code that it comes from."""
    text = " ".join(str(error).split())
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {text}"
    return f"{type(error).__name__}{': ' + text[:300] if text else ''}{_place(error)}"


def _place(error: BaseException) -> str:
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(OURS) and "importlib" not in frame.filename
    ]
    inner = [frame for frame in frames if "site-packages" not in frame.filename] or frames
    if not inner:
        return ""
    source = inner[-1].line or linecache.getline(inner[-1].filename, inner[-1].lineno or 0).strip()
    return f" (line {inner[-1].lineno}: {source})" if source else f" (line {inner[-1].lineno})"


def where(error: BaseException) -> str:
    """That time was up, and in which line of the code."""
    return f"time was up{_place(error)}"
