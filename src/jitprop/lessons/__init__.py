"""Twelve lessons, each a short page for the terminal with numbers computed while it is read.

A lesson is a module of this package, named as in `LESSONS`, with

- ``run(page)``: writes the lesson on a `Page`: explanation, numbers from the kernels, at least one
  ``page.predict(question)`` before the result it asks about and ``page.answer(text)`` after it;
- ``EXERCISE``: an `Exercise`, the function that the student writes and `check` checks;
- ``draw()``, where there is a picture: returns a matplotlib Figure, made with `plots.new_figure`.

The notebooks of docs/lessons call the same functions: ``lessons.picture("descent")`` shows a picture.
"""

import importlib
import os
from collections.abc import Callable
from types import ModuleType
from typing import Any, TextIO

from .. import exercises
from ..exercises import Report
from .page import Exercise, Page, Picture, kernels, numba_missing

__all__ = [
    "LESSONS",
    "Exercise",
    "Page",
    "Picture",
    "Report",
    "check",
    "figure",
    "kernels",
    "load",
    "numba_missing",
    "overview",
    "picture",
    "run",
]

LESSONS = {
    "vectorization": "one dot product, from Python loop to compiled kernel",
    "logistic": "logistic regression in two loops, one, none; dz = a - y",
    "broadcasting": "what NumPy stretches and refuses; the rank-1 trap",
    "graph": "derivatives edge by edge, walking back from the end",
    "descent": "downhill on a cost, in steps too small and too large",
    "shapes": "every array of a network before anything is run",
    "initialization": "weights zero, equal, small, right; units that stay twins",
    "activations": "curves, slopes, saturation, and layers without them",
    "depth": "shallow against deep at equal size; more data",
    "step": "one pass forward and back, every array of it",
    "gradcheck": "backpropagation against numerical derivatives",
    "images": "pictures into columns, cat or not; houses and ReLU",
}


def load(name: str) -> ModuleType:
    """The module of a lesson.

    Raises
    ------
    ValueError
        There is no such lesson; the message lists those there are.
    """
    if name not in LESSONS:
        raise ValueError(f"there is no lesson {name!r}; the lessons are {', '.join(LESSONS)}")
    return importlib.import_module(f"{__name__}.{name}")


def overview() -> str:
    """The names of the lessons in the course's order, each with a line about it."""
    return "\n".join(f"{i:4}  {name:<15} {about}" for i, (name, about) in enumerate(LESSONS.items(), 1))


def run(name: str, out: TextIO | None = None, wait: bool = False) -> None:
    """Write a lesson to `out`, or to the standard output; `wait` for Enter after each question."""
    lesson = load(name)
    page = Page(out, wait)
    page.title(list(LESSONS).index(name) + 1, name, LESSONS[name])
    lesson.run(page)
    page.exercise(name, lesson.EXERCISE)


def picture(name: str) -> Picture:
    """The picture of a lesson, as a notebook shows it.

    Raises
    ------
    ValueError
        There is no such lesson, or it has no picture.
    ImportError
        matplotlib is not installed.
    """
    lesson = load(name)
    if not hasattr(lesson, "draw"):
        raise ValueError(f"the lesson {name!r} has no picture")
    return Picture(lesson.draw())


def figure(name: str, path: str | os.PathLike[str]) -> None:
    """Write the picture of a lesson to a file (PNG, SVG, PDF, ...) that appears whole or not at all."""
    picture(name).save(path)


def check(name: str, what: Callable[..., Any] | str | os.PathLike[str]) -> Report:
    """Check a student's answer to the exercise of a lesson.

    Parameters
    ----------
    name : str
        The lesson.
    what : callable, str or path
        The function, or the .py file that defines it.

    Returns
    -------
    Report
        True if it is right; printed, it says what is wrong.

    Raises
    ------
    ValueError
        There is no such lesson.
    OSError
        There is no such file.
    """
    exercise: Exercise = load(name).EXERCISE
    return exercises.check(
        what, exercise.function, reference=exercise.reference, cases=list(exercise.cases) if exercise.cases else None
    )
