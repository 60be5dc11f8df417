"""One step of training written out: every array of a forward and a backward pass, and the update."""

from __future__ import annotations

import html
import os
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from jitprop_kernels.contract import ACTIVATIONS, parse

from .checks import Array, check_inputs, check_number, check_sample_weight, check_targets
from .files import check_path, replacing
from .network import Network
from .notation import WIDTH, html_formula, html_value, latex_formula, latex_text, latex_value, text_value
from .passes import penalty, total_weight

__all__ = ["Entry", "Trace", "trace"]

STYLE = """
body { font: 16px/1.5 serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; color: #1b1b1b;
  background: #fff }
h2 { border-bottom: 1px solid #bbb }
.entry { margin: 1.2rem 0; overflow-x: auto }
.entry p { margin: 0 0 .3rem }
.shape { color: #666; font: 13px monospace; margin-left: .6em; white-space: nowrap }
table { border: solid #333; border-width: 0 2px; border-spacing: 0; margin-left: 1.5rem;
  --foot: linear-gradient(#333, #333) no-repeat; background: var(--foot) 0 0 / 7px 2px,
  var(--foot) 100% 0 / 7px 2px, var(--foot) 0 100% / 7px 2px, var(--foot) 100% 100% / 7px 2px }
td { font: 14px monospace; padding: .1rem .6rem; text-align: right; white-space: nowrap }
"""
LOSS_FORMULAS = {
    "binary_cross_entropy": "-(y log a + (1-y) log(1-a))",
    "cross_entropy": "-y log a",
    "squared_error": "1/2 (a-y)^2",
}
# Where the derivative of the loss and that of the output's activation cancel to this.
NATURAL = (
    ("sigmoid", "binary_cross_entropy"),
    ("softmax", "cross_entropy"),
    ("linear", "squared_error"),
)


@dataclass(frozen=True)
class Entry:
    """One array of the trace.

    Attributes
    ----------
    part : str
        "forward", "backward" or "update".
    name : str
        In the course's notation, such as ``"dZ[2]"``.
    formula : str
        What it is computed from; empty for what is given.
    value : ndarray
        (n, m), or () for the cost.
    """

    part: str
    name: str
    formula: str
    value: Array


@dataclass(frozen=True)
class Trace:
    """The arrays of one step in the order they are computed; prints as text of 80 columns.

    Attributes
    ----------
    title : str
        What network it is.
    entries : tuple of Entry
    """

    title: str
    entries: tuple[Entry, ...]

    def __getitem__(self, name: str) -> Array:
        """The array called `name`, such as ``"dW[1]"``; after the update it is called ``"new W[1]"``."""
        for entry in self.entries:
            if name in (entry.name, *entry.name.split(" = ")):
                return entry.value
        raise KeyError(f"{name}: the trace holds {', '.join(entry.name for entry in self.entries)}")

    def __str__(self) -> str:
        lines = textwrap.wrap(self.title, WIDTH)
        for entry, opens in self._parts():
            if opens:
                lines += ["", f"── {entry.part} " + "─" * (WIDTH - 4 - len(entry.part))]
            head = entry.name + (f" = {entry.formula}" if entry.formula else "")
            lines += ["", *text_value(head, entry.value)]
        return "\n".join(lines)

    def latex(self) -> str:
        """A document for LaTeX with the package amsmath; cells too many for the page are dots, as in text."""
        lines = [
            r"\documentclass[fleqn]{article}",
            r"\usepackage{amsmath}",
            r"\usepackage[margin=2cm]{geometry}",
            r"\setlength{\mathindent}{1em}",
            r"\begin{document}",
            rf"\noindent {latex_text(self.title)}",
        ]
        for entry, opens in self._parts():
            if opens:
                lines.append(rf"\section*{{{latex_text(entry.part.capitalize())}}}")
            # Formula and numbers share no line: together they may be wider than the page.
            rule = rf" &= {latex_formula(entry.formula)} \\" if entry.formula else ""
            lines += [r"\begin{align*}", f"{latex_formula(entry.name)}{rule} &= {latex_value(entry.value)}"]
            lines.append(r"\end{align*}")
        return "\n".join([*lines, r"\end{document}", ""])

    def html(self) -> str:
        """A page that stands alone: no script, no style sheet and no font is loaded from elsewhere."""
        lines = [
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>One step of training</title><style>{STYLE}</style></head><body>",
            f"<h1>One step of training</h1><p>{html.escape(self.title)}</p>",
        ]
        for entry, opens in self._parts():
            if opens:
                lines.append(f"<h2>{html.escape(entry.part.capitalize())}</h2>")
            rule = f" = {html_formula(entry.formula)}" if entry.formula else ""
            lines.append(f'<div class="entry"><p>{html_formula(entry.name)}{rule}{html_value(entry.value)}</div>')
        return "\n".join([*lines, "</body></html>", ""])

    def save(self, path: str | os.PathLike[str], kind: str | None = None) -> None:
        """Write the trace to a file that appears whole or not at all.

        Parameters
        ----------
        path : path-like
        kind : {"text", "latex", "html"}, optional
            By the end of the name if omitted: .tex, .html or .htm, anything else is text.

        Raises
        ------
        ValueError
            An unknown kind.
        OSError
            The file cannot be written.
        """
        ending = os.path.splitext(check_path(path))[1].lower()
        kind = kind or {".tex": "latex", ".html": "html", ".htm": "html"}.get(ending, "text")
        kinds: dict[str, Callable[[], str]] = {
            "text": lambda: f"{self}\n", "latex": self.latex, "html": self.html,
        }  # fmt: skip
        if kind not in kinds:
            raise ValueError(f"unknown kind {kind!r} of trace; accepted: {', '.join(kinds)}")
        document = kinds[kind]()
        with replacing(path, text=True) as file:
            file.write(document)

    def _parts(self) -> Iterator[tuple[Entry, bool]]:
        """Every entry, and whether it is the first of its part."""
        part = None
        for entry in self.entries:
            yield entry, entry.part != part
            part = entry.part


def trace(
    network: Network,
    X: npt.ArrayLike,
    Y: npt.ArrayLike,
    learning_rate: float = 0.1,
    sample_weight: npt.ArrayLike | None = None,
) -> Trace:
    """One step of gradient descent on all of X, array by array; the network is not changed.

    The step is plain gradient descent without dropout, W := W - alpha dW, whatever optimizer trains the network.

    Parameters
    ----------
    network : Network
        Its kernels compute.
    X, Y, sample_weight : array-like
        As for `Network.cost`.
    learning_rate : float
        alpha, above 0.

    Raises
    ------
    TypeError, ValueError
        Arrays of a wrong dtype, shape or content, a learning rate that is no number above 0.
    """
    rate = check_number("learning_rate", learning_rate, 0.0, open_low=True)
    architecture = network.architecture
    x = np.ascontiguousarray(check_inputs(X, architecture))
    y = check_targets(Y, architecture, x.shape[1])
    w = check_sample_weight(sample_weight, architecture, x.shape[1])
    values: dict[str, Array] = {"A[0]": x}
    shown = np.eye(architecture.units[-1])[:, y[0]] if y.shape[0] != architecture.units[-1] else y
    entries = [Entry("forward", "X = A[0]", "", x), Entry("forward", "Y", "", shown)]
    if w is not None:
        entries.append(Entry("forward", "w", "", w))
    entries += _forward(network, values)
    dZ, cost = _head(network, values, y, w)
    entries += [cost, dZ]
    entries += _backward(network, values, dZ.value, w)
    for l in range(1, architecture.L + 1):
        for name in (f"W[{l}]", f"b[{l}]"):
            new = values[name] - values[name].dtype.type(rate) * values[f"d{name}"]
            entries.append(Entry("update", f"new {name}", f"{name} - {rate:g} d{name}", new))
    layers = "-".join(map(str, architecture.units))
    hidden = ", ".join(dict.fromkeys(architecture.activations))
    title = (
        f"Network {layers}: {f'{hidden} in the hidden layers, ' if hidden else ''}{architecture.output} output, "
        f"{architecture.loss}, {architecture.dtype}; m = {x.shape[1]}, alpha = {rate:g}"
    )
    return Trace(title, tuple(entries))


def _forward(network: Network, values: dict[str, Array]) -> Iterator[Entry]:
    for l, _, _, activation in network.architecture.layers:
        for name in "Wb":
            values[f"{name}[{l}]"] = np.array(network.parameters[f"{name}{l}"])
            yield Entry("forward", f"{name}[{l}]", "", values[f"{name}[{l}]"])
        Z = network.kernels.linear_forward(values[f"W[{l}]"], values[f"A[{l - 1}]"], values[f"b[{l}]"])
        A = _call(network, activation, Z)
        values[f"Z[{l}]"], values[f"A[{l}]"] = Z, A
        yield Entry("forward", f"Z[{l}]", f"W[{l}] A[{l - 1}] + b[{l}]", Z)
        yield Entry("forward", f"A[{l}]", f"{activation}(Z[{l}])", A)


def _call(network: Network, activation: str, Z: Array, suffix: str = "") -> Array:
    if activation == "softmax":
        return np.asarray(network.kernels.softmax(Z))
    name, parameter = parse(activation, ACTIVATIONS, "activation")
    more = () if ACTIVATIONS[name].parameter is None else (parameter,)
    return np.asarray(getattr(network.kernels, name + suffix)(Z, *more))


def _head(network: Network, values: dict[str, Array], y: Array, w: Array | None) -> tuple[Entry, Entry]:
    """dZ[L] and the cost."""
    architecture = network.architecture
    L, loss, output = architecture.L, architecture.loss, architecture.output
    loss_cost, dZ = network.kernels.output_head(values[f"Z[{L}]"], y, loss, output, sample_weight=w)
    J = loss_cost
    if architecture.l2:
        J += architecture.l2 / (2 * total_weight(y.shape[1], w)) * penalty(network.parameters.arrays)
    what = LOSS_FORMULAS.get(loss, loss)
    mean, count = ("mean over examples", "2m") if w is None else ("weighted mean over examples", "(2 sum of w)")
    formula = f"{mean} of {what}" + (f" + {architecture.l2:g}/{count} sum of W^2" if architecture.l2 else "")
    if (output, loss) in NATURAL:
        rule = f"A[{L}] - Y"
    elif loss == "squared_error":
        rule = f"(A[{L}] - Y) * {output}'(Z[{L}])"
    else:
        rule = f"derivative of the loss at Z[{L}]"
    if w is not None:
        rule = f"(m w / sum of w) * ({rule})"
    return Entry("backward", f"dZ[{L}]", rule, dZ), Entry("forward", "J", formula, np.asarray(J))


def _backward(network: Network, values: dict[str, Array], dZ: Array, w: Array | None) -> Iterator[Entry]:
    """From dZ[L] down to db[1]; dA[0], which nothing uses, is not there."""
    layers = network.architecture.layers
    l2 = network.architecture.l2
    total = total_weight(dZ.shape[1], w)
    for l in range(len(layers), 0, -1):
        dW, db, dA = network.kernels.linear_backward(dZ, values[f"A[{l - 1}]"], values[f"W[{l}]"])
        if l2:
            dW = dW + dW.dtype.type(l2 / total) * values[f"W[{l}]"]
        values[f"dW[{l}]"], values[f"db[{l}]"] = dW, db
        decay = f" + ({l2:g} / {'m' if w is None else 'sum of w'}) W[{l}]" if l2 else ""
        yield Entry("backward", f"dW[{l}]", f"1/m dZ[{l}] A[{l - 1}]^T{decay}", dW)
        yield Entry("backward", f"db[{l}]", f"1/m sum over examples of dZ[{l}]", db)
        if l > 1:
            activation = layers[l - 2].activation
            yield Entry("backward", f"dA[{l - 1}]", f"W[{l}]^T dZ[{l}]", dA)
            dZ = dA * _call(network, activation, values[f"Z[{l - 1}]"], "_derivative")
            rule = f"dA[{l - 1}] * {parse(activation, ACTIVATIONS, 'activation')[0]}'(Z[{l - 1}])"
            yield Entry("backward", f"dZ[{l - 1}]", rule, dZ)
