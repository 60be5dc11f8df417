"""Formulas and arrays of the course's notation as text, as LaTeX and as HTML.

Formulas are kept in one spelling, that of the text; LaTeX and HTML are made from it, so that the three cannot
come to differ. In it ``*`` is the product element by element, two names side by side the matrix product.
"""

import html
import re
import textwrap
from collections.abc import Callable

import numpy as np

from .checks import Array

__all__ = ["WIDTH", "html_formula", "html_value", "latex_formula", "latex_text", "latex_value", "text_value"]

WIDTH = 80
ROWS, COLUMNS = 8, 6  # of a larger array so many are shown; 6 numbers of 9 characters fit a line of text


def _number(array: Array) -> Callable[[float], str]:
    """One format for all numbers of an array, in at most nine characters."""
    largest = float(np.abs(array).max(initial=0.0))
    if largest < 1e5 and np.array_equal(array, np.round(array)):
        return lambda value: f"{value:z.0f}"  # z: no minus before a zero
    if 1e-2 <= largest < 1e3:
        return lambda value: f"{value:z.4f}"
    return lambda value: "0" if value == 0 else f"{value:.2e}"


def _cells(array: Array, dots: tuple[str, str]) -> list[list[str]]:
    """The numbers of an array as strings, in a larger one the last but one row and column being dots."""
    write = _number(array)
    n, m = array.shape
    rows = [*range(n)] if n <= ROWS else [*range(ROWS - 2), -1, n - 1]
    columns = [*range(m)] if m <= COLUMNS else [*range(COLUMNS - 2), -1, m - 1]
    return [
        [dots[1] if i < 0 else dots[0] if j < 0 else write(float(array[i, j])) for j in columns] for i in rows
    ]


def text_value(head: str, value: Array) -> list[str]:
    """Lines of text: the head with the shape at the end of its line, then the numbers."""
    if not value.ndim:
        return textwrap.wrap(f"{head} = {float(value):.6g}", WIDTH, subsequent_indent="    ")
    cells = _cells(value, ("...", "..."))
    width = max(len(cell) for row in cells for cell in row)
    shape = str(value.shape)
    lines = textwrap.wrap(head, WIDTH - len(shape) - 1, subsequent_indent="    ")
    lines[-1] = f"{lines[-1]:<{WIDTH - len(shape) - 1}} {shape}"
    return [*lines, *("    [ " + "  ".join(cell.rjust(width) for cell in row) + " ]" for row in cells)]


def latex_text(text: str) -> str:
    """Text in which nothing is a command to LaTeX."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {character: "\\" + character for character in "&%$#_{}"}
    special |= {"<": r"\textless{}", ">": r"\textgreater{}"}
    return "".join(special.get(character, character) for character in text)


# Of a formula: an array with its layer, perhaps transposed; what LaTeX and HTML write otherwise; functions,
# other words, single letters, and characters that mean something there.
TOKEN = re.compile(
    r"(?P<array>d?[AWZb])\[(?P<layer>\d+)\](?P<transposed>\^T)?|(?P<fixed>1/m|1/2|/2m|-|\*|\^2|\blog\b)"
    r"|(?P<function>\b[a-z_]{2,}(?=['(\[]))|(?P<word>\b[a-z_]{2,}\b(?: [a-z_]{2,}\b(?!['(\[]))*)"
    r"|(?P<letter>\b[A-Za-z]\b)|(?P<special>[&<>%#_{}\\])"
)
LATEX = {"1/m": r"\tfrac{1}{m}", "1/2": r"\tfrac{1}{2}", "/2m": "/(2m)", "*": r"\odot", "log": r"\log "}
HTML = {"*": "&odot;", "^2": "<sup>2</sup>", "-": "&minus;", "1/m": "1/<i>m</i>", "/2m": "/2<i>m</i>"}


def latex_formula(formula: str) -> str:
    """A formula for LaTeX's mathematics."""
    def write(match: re.Match[str]) -> str:
        text = match[0]
        if match["array"]:
            return f"{match['array']}^{{[{match['layer']}]{'T' if match['transposed'] else ''}}}"
        if match["function"]:
            return rf"\operatorname{{{latex_text(text)}}}"
        if match["word"]:
            return rf"\text{{ {latex_text(text)} }}"
        return latex_text(text) if match["special"] else LATEX.get(text, text)

    return TOKEN.sub(write, formula)


def html_formula(formula: str) -> str:
    """A formula for HTML."""
    def write(match: re.Match[str]) -> str:
        text = match[0]
        if match["array"]:
            return f"<i>{match['array']}</i><sup>[{match['layer']}]{'T' if match['transposed'] else ''}</sup>"
        return f"<i>{text}</i>" if match["letter"] else HTML.get(text) or html.escape(text)

    return TOKEN.sub(write, formula)


def latex_value(value: Array) -> str:
    """A matrix with its shape below, or a number."""
    if not value.ndim:
        return f"{float(value):.6g}"
    rows = " \\\\ ".join(" & ".join(row) for row in _cells(value, (r"\cdots", r"\vdots")))
    rows = re.sub(r"(-?[\d.]+)e([+-]\d+)", lambda match: rf"{match[1]}\cdot 10^{{{int(match[2])}}}", rows)
    n, m = value.shape
    columns = "r" * (rows.partition(r"\\")[0].count("&") + 1)  # flush right: minus signs move no digit
    return rf"\underset{{({n} \times {m})}}{{\left[\begin{{array}}{{{columns}}} {rows} \end{{array}}\right]}}"


def html_value(value: Array) -> str:
    """The end of a paragraph with the shape, and a table of the numbers; or a number."""
    if not value.ndim:
        return f" = <b>{float(value):.6g}</b></p>"
    n, m = value.shape
    rows = "".join(
        "<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>"
        for row in _cells(value, ("&hellip;", "&vellip;"))
    )
    return f' <span class="shape">({n}, {m})</span></p><table>{rows}</table>'
