"""What a network is before it has values: units, activations, output, loss, and its parameters' places in
memory."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from jitprop_kernels.contract import ACTIVATIONS, DTYPES, LOSSES, parse, parse_loss

from .checks import Array, check_integer, check_number

__all__ = ["Architecture", "Layer", "Shapes", "allocate"]

ALIGNMENT = 64  # bytes: a cache line, and the widest vector
ROW = 16  # elements: a row of at least this length starts on a cache line
THRASHING = 128  # elements: rows at multiples of 512 bytes fall into few sets of the L1 cache


class Layer(NamedTuple):
    """Layer number `l` (1 to L), from `n_prev` to `n` units; the last one's activation is the output."""

    l: int
    n_prev: int
    n: int
    activation: str


@dataclass(frozen=True)
class Architecture:
    """A validated description of a network; made by `Architecture.build`.

    Attributes
    ----------
    units : tuple of int
        n[0] = n_x, n[1], ..., n[L].
    activations : tuple of str
        One for each hidden layer.
    output, loss : str
        The activation of layer L and the loss, which fit each other.
    l2 : float
    dropout : tuple of float
        L rates: of the input, and of each hidden layer.
    dtype : str
        ``"float32"`` or ``"float64"``.
    """

    units: tuple[int, ...]
    activations: tuple[str, ...]
    output: str
    loss: str
    l2: float
    dropout: tuple[float, ...]
    dtype: str

    @classmethod
    def build(
        cls,
        units: Sequence[int],
        activation: str | Sequence[str] | None = "relu",
        output: str = "softmax",
        loss: str | None = None,
        l2: float = 0.0,
        dropout: float | Sequence[float] = 0.0,
        dtype: Any = "float32",
    ) -> "Architecture":
        """Check the options of a network, as documented at `jitprop.Network`, and put them into one form.

        Raises
        ------
        TypeError
            An option is not of a type that is accepted.
        ValueError
            An unknown name, a number out of range, options that do not fit together.
        """
        checked = _units(units)
        hidden = len(checked) - 2
        output, loss_name, parameter = parse_loss(loss, output)
        if output == "softmax" and checked[-1] < 2:
            raise ValueError(
                "output 'softmax' needs a unit for each of at least two classes, but units ends with 1; "
                "accepted for one unit: output='sigmoid' (0 or 1), 'linear' or 'relu' (numbers)"
            )
        return cls(
            units=checked,
            activations=_activations("relu" if activation is None else activation, hidden),
            output=output,
            loss=_spelling(loss_name, parameter, LOSSES),
            l2=check_number("l2", l2, 0.0),
            dropout=_dropout(dropout, hidden),
            dtype=_dtype(dtype),
        )

    @property
    def L(self) -> int:
        """The number of layers; the input is not counted, the output layer is."""
        return len(self.units) - 1

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers from 1 to L."""
        names = (*self.activations, self.output)
        return tuple(Layer(l + 1, self.units[l], self.units[l + 1], names[l]) for l in range(self.L))

    @property
    def parameter_shapes(self) -> dict[str, tuple[int, int]]:
        """The shapes of W1, b1, ..., WL, bL, in this order."""
        shapes = {}
        for layer in self.layers:
            shapes[f"W{layer.l}"] = (layer.n, layer.n_prev)
            shapes[f"b{layer.l}"] = (layer.n, 1)
        return shapes

    @property
    def parameter_count(self) -> int:
        """The number of weights and biases."""
        return sum(rows * columns for rows, columns in self.parameter_shapes.values())

    def shapes(self, m: int | None = None) -> "Shapes":
        """The shape of every array of a pass over `m` examples and back; None leaves m as a letter."""
        if m is not None:
            m = check_integer("m", m, 1)
        return Shapes(self, m)

    def to_dict(self) -> dict[str, Any]:
        """What JSON can say of it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Architecture":
        """The inverse of `to_dict`; everything is checked again, since a file may say anything."""
        expected = set(cls.__dataclass_fields__)
        if set(values) != expected:
            raise ValueError(f"an architecture has the entries {sorted(expected)}, got {sorted(values)}")
        if not isinstance(values["dtype"], str):
            raise TypeError(f"dtype must be a name, got {type(values['dtype']).__name__}")
        options = dict(values)
        return cls.build(activation=options.pop("activations"), **options)


def _units(units: Sequence[int]) -> tuple[int, ...]:
    if not (isinstance(units, (list, tuple)) or (isinstance(units, np.ndarray) and units.ndim == 1)):
        raise TypeError(f"units must be a list [n_x, ..., n[L]], got {type(units).__name__}")
    if len(units) < 2:
        raise ValueError(f"units must name at least the input and the output, [n_x, n[1]], got {list(units)}")
    checked = tuple(check_integer(f"units[{l}]", n, 1) for l, n in enumerate(units))
    if sum(n * (n_prev + 1) for n_prev, n in zip(checked, checked[1:], strict=False)) > 2**56:
        raise ValueError(f"units {list(checked)} ask for more parameters than memory can hold")
    return checked


def _activations(activation: str | Sequence[str], hidden: int) -> tuple[str, ...]:
    if not isinstance(activation, (str, list, tuple)):
        kind = type(activation).__name__
        raise TypeError(f"activation must be a name or a list of one for each hidden layer, got {kind}")
    names = [activation] * max(hidden, 1) if isinstance(activation, str) else list(activation)
    if not isinstance(activation, str) and len(names) != hidden:
        raise ValueError(
            f"activation has {len(names)} names, should have {hidden}: one for each hidden layer"
        )
    # Without a hidden layer a single name is still checked, then dropped.
    parsed = [parse(name, ACTIVATIONS, "activation") for name in names]
    return tuple(_spelling(name, value, ACTIVATIONS) for name, value in parsed[:hidden])


def _spelling(name: str, value: float, table: Mapping[str, Any]) -> str:
    """One spelling for each meaning: the bare name where the parameter is the default."""
    row = table[name]
    return name if row.parameter is None or value == row.default else f"{name}({value!r})"


def _dropout(dropout: float | Sequence[float], hidden: int) -> tuple[float, ...]:
    if isinstance(dropout, (list, tuple)) or (isinstance(dropout, np.ndarray) and dropout.ndim == 1):
        if len(dropout) != hidden + 1:
            raise ValueError(
                f"dropout has {len(dropout)} rates, should have {hidden + 1}: "
                "the input's and each hidden layer's"
            )
        return tuple(check_number(f"dropout[{l}]", rate, 0.0, 1.0) for l, rate in enumerate(dropout))
    rate = check_number("dropout", dropout, 0.0, 1.0)
    if rate and not hidden:
        raise ValueError(
            f"dropout={rate} acts on hidden layers, and this network has none; "
            "accepted: 0, or [rate] for the input"
        )
    return (0.0, *[rate] * hidden)


def _dtype(dtype: Any) -> str:
    accepted = f"accepted: {', '.join(DTYPES)}"
    if dtype is None:
        raise TypeError(f"dtype must be a name, got None; {accepted}")
    try:
        name = np.dtype(dtype).name
    except (TypeError, ValueError, SyntaxError):  # NumPy parses strings such as "f4,(" as expressions
        raise TypeError(f"dtype must be a NumPy dtype or its name, got {dtype!r}; {accepted}") from None
    if name not in DTYPES:
        raise TypeError(f"dtype is {name}; {accepted}")
    return name


class Shapes(Mapping[str, tuple[int | str, int | str]]):
    """The shapes of X, Y and of every layer's W, b, Z, A, dZ, dW, db by name; printed as a table.

    Examples
    --------
    >>> Architecture.build([784, 128, 10]).shapes()["Z1"]
    (128, 'm')
    """

    def __init__(self, architecture: Architecture, m: int | None) -> None:
        self._architecture = architecture
        columns: int | str = "m" if m is None else m
        units = architecture.units
        self._shapes: dict[str, tuple[int | str, int | str]] = {
            "X": (units[0], columns),
            "Y": (units[-1], columns),
        }
        for l, n_prev, n, _ in architecture.layers:
            for name in ("W", "dW"):
                self._shapes[f"{name}{l}"] = (n, n_prev)
            for name in ("b", "db"):
                self._shapes[f"{name}{l}"] = (n, 1)
            for name in ("Z", "A", "dZ"):
                self._shapes[f"{name}{l}"] = (n, columns)

    def __getitem__(self, name: str) -> tuple[int | str, int | str]:
        return self._shapes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)

    def __str__(self) -> str:
        architecture = self._architecture
        rows = [["layer", "W, dW", "b, db", "Z, A, dZ", "activation", "parameters"]]
        rows.append(["0", "", "", f"X {_tuple(self['X'])}", "", ""])
        for l, n_prev, n, activation in architecture.layers:
            arrays = [_tuple(self[f"{name}{l}"]) for name in "WbZ"]
            rows.append([str(l), *arrays, activation, str(n * (n_prev + 1))])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows
        ]
        size = architecture.parameter_count * np.dtype(architecture.dtype).itemsize
        lines.append(f"Y {_tuple(self['Y'])}, loss {architecture.loss}")
        lines.append(f"{architecture.parameter_count} parameters, {size} bytes in {architecture.dtype}")
        return "\n".join(line.rstrip() for line in lines)

    __repr__ = __str__


def _tuple(shape: tuple[int | str, int | str]) -> str:
    return f"({shape[0]}, {shape[1]})"


def leading_dimension(columns: int) -> int:
    """The distance in elements from the start of one row to the next."""
    if columns < ROW:
        return columns
    padded = -(-columns // ROW) * ROW
    return padded + ROW if padded % THRASHING == 0 else padded


def allocate(architecture: Architecture) -> tuple[Array, list[Array]]:
    """Zeros for W1, b1, ..., WL, bL in one aligned buffer.

    Every array starts on a cache line. So does every row of at least 16 elements; a leading dimension that is
    a multiple of 128 is avoided, since rows at such distances compete for the same sets of the L1 cache.

    Returns
    -------
    (ndarray, list of ndarray)
        The flat buffer, and views of it with contiguous rows in the course's shapes. The padding is zero.
    """
    dtype = np.dtype(architecture.dtype)
    line = ALIGNMENT // dtype.itemsize
    places, end = [], 0
    for rows, columns in architecture.parameter_shapes.values():
        stride = leading_dimension(columns)
        places.append((end, rows, columns, stride))
        end += math.ceil(rows * stride / line) * line
    raw = np.zeros(end + line, dtype)
    start = -raw.ctypes.data % ALIGNMENT // dtype.itemsize
    flat = raw[start : start + end]
    views = [
        flat[offset : offset + rows * stride].reshape(rows, stride)[:, :columns]
        for offset, rows, columns, stride in places
    ]
    return flat, views
