"""What a kernel set offers, and the tables every set reads: activations, outputs, losses, update rules.

A module *is* a kernel set. `loops` is the definition, `vectorized` the same in NumPy, `jit` the same compiled. They
offer the names in `KERNELS` with the same parameters and defaults. An activation or a loss goes by name; one that has
a parameter may carry it in brackets: ``"leaky_relu(0.2)"``, ``"huber(1.5)"``.
"""

import math
import re
from typing import NamedTuple

__all__ = [
    "ACTIVATIONS",
    "COEFFICIENTS",
    "DTYPES",
    "KERNELS",
    "LOSSES",
    "OUTPUTS",
    "RULES",
    "Activation",
    "Loss",
    "Output",
    "Rule",
    "dropout_hash",
    "dropout_key",
    "dropout_threshold",
    "parse",
    "parse_loss",
]

DTYPES = ("float32", "float64")


class Activation(NamedTuple):
    """A row of `ACTIVATIONS`: whether it rectifies, so that He's initialization fits, and the optional parameter."""

    rectifier: bool = False
    parameter: str | None = None
    default: float = 0.0
    low: float = 0.0
    high: float = math.inf


class Output(NamedTuple):
    """A row of `OUTPUTS`: the losses that fit, the default first."""

    losses: tuple[str, ...]


class Loss(NamedTuple):
    """A row of `LOSSES`: the optional parameter."""

    parameter: str | None = None
    default: float = 0.0
    low: float = 0.0
    high: float = math.inf


class Rule(NamedTuple):
    """A row of `RULES`: the arrays an update keeps for each parameter, in the order of `state`."""

    slots: tuple[str, ...]


# Hidden activations g(z); each has a kernel of its name and one with the suffix _derivative.
ACTIVATIONS = {
    "linear": Activation(),
    "relu": Activation(rectifier=True),
    "leaky_relu": Activation(rectifier=True, parameter="slope", default=0.01, low=0.0, high=1.0),
    "sigmoid": Activation(),
    "tanh": Activation(),
    "elu": Activation(rectifier=True, parameter="alpha", default=1.0),
    "softplus": Activation(rectifier=True),
    "gelu": Activation(rectifier=True),
    "silu": Activation(rectifier=True),
}

LOSSES = {
    "binary_cross_entropy": Loss(),
    "cross_entropy": Loss(),
    "squared_error": Loss(),
    "absolute_error": Loss(),
    "huber": Loss(parameter="delta", default=1.0, low=1e-30),
    "poisson": Loss(),
    "quantile": Loss(parameter="level", default=0.5, low=0.0, high=1.0),
}

# Poisson goes with a linear output that is the logarithm of the rate: with relu the loss would be infinite at a = 0.
OUTPUTS = {
    "sigmoid": Output(("binary_cross_entropy", "squared_error", "absolute_error", "huber")),
    "softmax": Output(("cross_entropy", "squared_error")),
    "linear": Output(("squared_error", "absolute_error", "huber", "poisson", "quantile")),
    "relu": Output(("squared_error", "absolute_error", "huber", "quantile")),
}

RULES = {
    "sgd": Rule(()),
    "momentum": Rule(("m",)),
    "rmsprop": Rule(("v",)),
    "adam": Rule(("m", "v")),
}

# The numbers of one update, in the order of a row of `coefficients`. One form serves every rule, so that conventions
# (torch's, scikit-learn's) are data and not code; a rule without m or v leaves that line, or the divisor, out:
#     g = gradient + l2 W, held within +-clip_value
#     m = beta1 m + gain1 g
#     v = beta2 v + gain2 g^2
#     W = decay W - rate (momentum_share m + gradient_share g) / (sqrt(v) + epsilon)
# `step` is the number of the update since training began; only dropout reads it. `gain2` is 0 or more. The clips are
# above 0; inf is no clip. All other numbers are finite.
# `clip_norm` is for all parameters together, so `update`, which sees one, does not read it. `train_epoch` takes the
# Euclidean norm of all g of the network (weights with L2, biases; after clip_value, without the decay), its squares
# summed in float64, and every g is to be multiplied by s = min(1, clip_norm / norm). That is data as well: each update
# gets a row in which gain1 and gradient_share are multiplied by s, and gain2 by s^2. A norm of nan makes s nan.
COEFFICIENTS = (
    "step",
    "rate",
    "decay",
    "l2",
    "beta1",
    "gain1",
    "momentum_share",
    "gradient_share",
    "beta2",
    "gain2",
    "epsilon",
    "clip_value",
    "clip_norm",
)

KERNELS = (
    "dot",
    "logistic_gradient",
    "linear_forward",
    "linear_backward",
    *ACTIVATIONS,
    *(f"{name}_derivative" for name in ACTIVATIONS),
    "softmax",
    "layer_forward",
    "layer_backward",
    "output_head",
    "dropout",
    "update",
    "network_forward",
    "train_epoch",
)

_SPELLING = re.compile(r"([a-z_0-9]+)(?:\(([^()]*)\))?")


def parse(text, table, what):
    """Split ``"name"`` or ``"name(number)"`` into the name and its parameter.

    Parameters
    ----------
    text : str
        What the user wrote.
    table : dict
        `ACTIVATIONS`, `OUTPUTS`, `LOSSES` or `RULES`; rows may have `parameter`, `default`, `low` and `high`.
    what : str
        What `text` is, for the error: "activation", "loss", ...

    Returns
    -------
    (str, float)
        The name and its parameter: the number given, else the row's default (0.0 where there is none).

    Raises
    ------
    TypeError
        `text` is not a string.
    ValueError
        Unknown name, a number where none belongs, or one out of range.
    """
    if not isinstance(text, str):
        raise TypeError(f"{what} must be a name, got {type(text).__name__}; accepted: {', '.join(table)}")
    name, number = text, None
    if text not in table:
        match = _SPELLING.fullmatch(text.strip())
        if match is None or match[1] not in table:
            raise ValueError(f"unknown {what} {text!r}; accepted: {', '.join(table)}")
        name, number = match[1], match[2]
    row = table[name]
    if number is None:
        return name, getattr(row, "default", 0.0)
    if getattr(row, "parameter", None) is None:
        raise ValueError(f"{what} {name!r} takes no number, got {text!r}")
    try:
        value = float(number)
    except ValueError:
        raise ValueError(f"{row.parameter} of {what} {name!r} must be a number, got {number!r}") from None
    if not (row.low <= value <= row.high and math.isfinite(value)):
        upper = "" if math.isinf(row.high) else f" to {row.high:g}"
        raise ValueError(f"{row.parameter} of {what} {name!r} must be from {row.low:g}{upper}, got {number}")
    return name, value


def parse_loss(loss, output):
    """The names of an output and of a loss that fits it, and the loss's parameter; None is the natural loss."""
    output, _ = parse(output, OUTPUTS, "output")
    fitting = OUTPUTS[output].losses
    name, parameter = parse(fitting[0] if loss is None else loss, LOSSES, "loss")
    if name not in fitting:
        raise ValueError(f"loss {name!r} does not fit output {output!r}; accepted: {', '.join(fitting)}")
    return output, name, parameter


# Dropout masks come from a hash of (key, unit, column), with no generator state: an element's fate does not depend on
# who computes it, or when. Multipliers below 2^31 keep the products inside 63 bits, so the same lines are exact on
# Python's integers and on a compiler's int64. The mixing steps are the xor-shift-multiply of Wellons' hash prospector.
_MASK = 0xFFFFFFFF


def _mix(x):
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & _MASK
    x = ((x ^ (x >> 15)) * 0x46CA68B3) & _MASK
    return x ^ (x >> 16)


def dropout_key(key, step, layer):
    """The 32-bit key of the mask of `layer` (0 is the input) in update number `step`, from the network's `key`."""
    return _mix((_mix((_mix(key & _MASK) + step) & _MASK) + layer) & _MASK)


def dropout_hash(key, i, j):
    """The 32-bit number that decides whether unit `i` of example `j` (a column of the batch) is kept."""
    return _mix((_mix((key + i * 0x1E3779B1) & _MASK) + j * 0x2C1B3C6D) & _MASK)


def dropout_threshold(rate):
    """Elements whose hash is below this number are dropped: rate * 2^32."""
    return int(float(rate) * 2.0**32)
