"""The notebooks of docs/lessons: all there, readable for jupytext, and every cell runs.

The cells of a notebook run in order in one process of plain Python, which needs no Jupyter: a last line that is an
expression is shown as a notebook would show it, text or picture.
"""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jitprop.lessons import LESSONS

DIRECTORY = Path(__file__).resolve().parent.parent / "docs" / "lessons"
CELL = re.compile(r"^```\{code-cell\} ipython3\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEADER = """---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
    format_version: 0.13
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---
"""

RUN = """
import ast, sys, warnings

def show(value):
    if hasattr(value, "_repr_png_"):
        picture = value._repr_png_()
        assert picture.startswith(b"\\x89PNG"), picture[:8]
        print(f"[picture of {len(picture)} bytes]")
    elif value is not None:
        print(repr(value))

warnings.simplefilter("error")
names = {"__name__": "__main__"}
for number, cell in enumerate(sys.stdin.read().split("\\0"), 1):
    tree = ast.parse(cell, f"cell {number}")
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, f"cell {number}", "exec"), names)
    if last is not None:
        show(eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), names))
"""


def cells(name: str) -> list[str]:
    return CELL.findall((DIRECTORY / f"{name}.md").read_text())


def execute(sources: list[str]) -> str:
    # One thread: the arrays are small, and the tests may share the processor. BLAS, too, waits for its threads.
    threads = dict.fromkeys(("NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **threads}
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        input="\0".join(sources),
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", LESSONS)
def test_notebook_runs(name: str):
    pytest.importorskip("matplotlib")
    output = execute(cells(name))
    assert "[picture of" in output
    assert "not right yet" in output  # the exercise is not done, and the checker says so


@pytest.mark.parametrize("name", LESSONS)
def test_notebook_is_one_for_jupytext(name: str):
    text = (DIRECTORY / f"{name}.md").read_text()
    assert text.startswith(HEADER)
    assert text.count("{code-cell}") == len(cells(name))
    for cell in cells(name):
        ast.parse(cell)
    jupytext = pytest.importorskip("jupytext")
    notebook = jupytext.reads(text, fmt="md:myst")
    assert [cell.source for cell in notebook.cells if cell.cell_type == "code"] == [c.strip("\n") for c in cells(name)]


@pytest.mark.parametrize("name", LESSONS)
def test_notebook_is_a_lesson(name: str):
    text = (DIRECTORY / f"{name}.md").read_text()
    assert text.count("**Predict, then run.**") >= 2
    assert text.count("<details><summary>Answer</summary>") == text.count("</details>") >= 2
    assert f'lessons.check("{name}"' in cells(name)[-1]
    assert f"jitprop lesson {name}" in text


def test_every_notebook_is_of_a_lesson():
    found = {path.stem for path in DIRECTORY.glob("*.md")} - {"teacher"}
    assert found == set(LESSONS)


def test_a_cell_that_fails_is_noticed():
    with pytest.raises(AssertionError, match="cell 2"):
        execute(["x = 1", "y = x / 0"])
