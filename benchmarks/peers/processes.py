"""The processes of the frameworks as their parent sees them: one works, all others are stopped.

A pool of threads may spin for a while after its work is done, and would slow down whoever is next. So a process is
stopped by SIGSTOP whenever it is not asked for anything, and goes on by SIGCONT when it is.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

from .settings import clean, processors

__all__ = ["Failed", "Gone", "Worker"]

ROOT = Path(__file__).resolve().parents[2]


class Failed(Exception):
    """A worker could not do what it was asked, and goes on."""


class Gone(Failed):
    """A worker's process has ended, or was ended because it did not answer."""


class Worker:
    """One process of a framework with one setting, stopped between requests."""

    def __init__(self, setting, threads, patience=900.0, hold=True):
        self.setting, self.patience, self.ended = setting, patience, ""
        described = {
            "framework": setting.framework,
            "threads": threads,
            "processors": processors(threads) if hold else [],
            "variables": setting.variables,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.worker", json.dumps(described)],
            cwd=ROOT, env=clean(os.environ), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self.answers, self.stopped = b"", False

    def __str__(self):
        return str(self.setting)

    def ask(self, do, **arguments):
        """Let the process go on, ask, wait for the answer, and stop it again."""
        if self.ended:
            raise Gone(self.ended)
        self._signal(signal.SIGCONT)
        try:
            self.process.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # what became of it is told below
        answer = json.loads(self._line(do))
        self._stop()
        if "error" in answer:
            raise Failed(f"{self}: {do}: {answer['error']}")
        return answer

    def _line(self, do):
        end, out = time.monotonic() + self.patience, self.process.stdout.fileno()
        while b"\n" not in self.answers:
            ready, _, _ = select.select([out], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                self.process.kill()
                self._end(f"{self}: no answer to {do!r} within {self.patience:g} s")
            piece = os.read(out, 2**16)
            if not piece:
                self._end(f"{self}: ended with status {self.process.wait()} at {do!r}")
            self.answers += piece
        line, _, self.answers = self.answers.partition(b"\n")
        return line

    def _end(self, why):
        self.ended = why
        self.close()
        raise Gone(why)

    def _signal(self, number):
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    def _stop(self):
        """Stop it, and wait until it has: its threads may be running on another processor."""
        self._signal(signal.SIGSTOP)
        # WNOWAIT leaves the status of an ended process to Popen, which may have taken it already.
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def close(self):
        """End the process: no more requests, and it leaves by itself, or is killed."""
        self._signal(signal.SIGCONT)
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
