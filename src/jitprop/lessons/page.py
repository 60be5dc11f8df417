"""What lessons are written on: a page of 80 columns, its questions, its exercise and its picture."""

import importlib
import importlib.util
import io
import os
import re
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from .. import plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Exercise", "Page", "Picture", "kernels", "numba_missing"]

WIDTH = 78
BOLD, PLAIN = "\033[1m", "\033[0m"
GLUE = "\N{NO-BREAK SPACE}"  # textwrap does not break there


def numba_missing() -> str:
    """What to tell where Numba is not installed: NumPy computes instead; empty where it is."""
    if importlib.util.find_spec("numba"):
        return ""
    return "Numba is not installed here: NumPy computes what the compiled kernels would."


def kernels() -> Any:
    """The kernel set for lessons: `jitprop_kernels.jit`, or `vectorized` where Numba is missing."""
    return importlib.import_module(f"jitprop_kernels.{'vectorized' if numba_missing() else 'jit'}")


@dataclass(frozen=True)
class Exercise:
    """What a student writes.

    Attributes
    ----------
    function : str
        The name of the function that the student's file defines, by default a kernel of `jitprop_kernels.contract`.
    task : str
        What it shall do, in a sentence or two.
    start : str
        The beginning of the file, to be completed.
    reference : callable, optional
        What is right, where the function is not a kernel.
    cases : sequence of tuple
        The arguments that `reference` and the student's function are compared with.
    """

    function: str
    task: str
    start: str
    reference: Callable[..., Any] | None = None
    cases: Sequence[tuple[Any, ...]] = ()


class Page:
    """A page of 80 columns that a lesson writes from top to bottom.

    Parameters
    ----------
    out : text stream, optional
        The standard output by default.
    wait : bool
        Wait for Enter after each question, so that the reader can predict before the answer shows.
    """

    def __init__(self, out: TextIO | None = None, wait: bool = False) -> None:
        self.out: TextIO = sys.stdout if out is None else out
        self.wait = wait
        self.bold = self.out.isatty() and "NO_COLOR" not in os.environ

    def line(self, text: str = "") -> None:
        """A line as it is."""
        self.out.write(text + "\n")

    def _strong(self, text: str) -> str:
        return f"{BOLD}{text}{PLAIN}" if self.bold else text

    def title(self, number: int, name: str, about: str) -> None:
        """The head of the page."""
        self.line(self._strong(f"Lesson {number}: {name}"))
        self.line(about)
        missing = numba_missing()
        if missing:
            self.line(missing)
        self.line()

    def heading(self, text: str) -> None:
        """A heading above a part of the lesson."""
        self.line(self._strong(f"── {text} " + "─" * max(WIDTH - 4 - len(text), 3)))
        self.line()

    def text(self, text: str) -> None:
        """A paragraph, wrapped; line breaks in `text` do not count, and `code` between backticks stays together."""
        self.line(_wrapped(text))
        self.line()

    def code(self, text: str) -> None:
        """Lines that stay as they are, indented: formulas, arrays, programs, tables."""
        self.line(textwrap.indent(textwrap.dedent(text).strip("\n"), "    "))
        self.line()

    def table(self, rows: Sequence[Sequence[object]], left: int = 1) -> None:
        """Rows of cells in columns, the first row being the head; `left` columns are aligned to the left."""
        cells = [[str(cell) for cell in row] for row in rows]
        widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
        for row in cells:
            aligned = (
                cell.ljust(width) if i < left else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            self.line(("    " + "   ".join(aligned)).rstrip())
        self.line()

    def predict(self, question: str) -> None:
        """A question to think about before reading on."""
        self._marked("Predict", question)
        if self.wait:
            self.out.write("         (your guess first, then Enter) ")
            self.out.flush()
            sys.stdin.readline()
            self.line()

    def answer(self, text: str) -> None:
        """The answer to the question before."""
        self._marked("Answer", text)

    def _marked(self, mark: str, text: str) -> None:
        lines = _wrapped(text, 9).splitlines()
        self.line(self._strong(f"{mark:<9}") + lines[0][9:])
        for line in lines[1:]:
            self.line(line)
        self.line()

    def exercise(self, name: str, exercise: Exercise) -> None:
        """The exercise at the end, and the command that checks it."""
        self.heading("Exercise")
        self.text(exercise.task)
        self.code(exercise.start)
        self.line("Put it into a file and let it be checked:")
        self.line()
        self.line(f"    jitprop lesson {name} --check my_{exercise.function}.py")


def _wrapped(text: str, indent: int = 0) -> str:
    margin = " " * indent
    together = re.sub(r"`([^`]+)`", lambda code: code[1].replace(" ", GLUE), " ".join(text.split()))
    return textwrap.fill(
        together,
        WIDTH,
        initial_indent=margin,
        subsequent_indent=margin,
        break_long_words=False,
        break_on_hyphens=False,
    ).replace(GLUE, " ")


class Picture:
    """A matplotlib figure that notebooks show and `save` writes to a file."""

    def __init__(self, figure: "Figure") -> None:
        self.figure = figure

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a file that appears whole or not at all, in the format its name ends with."""
        plots.save(self.figure, path)

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format="png", dpi=80)
        return buffer.getvalue()
