"""What a student's kernel is tried on: small awkward arguments, and the names of its results."""

from typing import Any

import numpy as np

from jitprop_kernels.contract import ACTIVATIONS, COEFFICIENTS

__all__ = ["RESULTS", "cases", "duplicate"]

RESULTS = {
    "dot": ("w^T x",),
    "logistic_gradient": ("J", "dW", "db"),
    "linear_forward": ("Z",),
    "linear_backward": ("dW", "db", "dA_prev"),
    "layer_forward": ("Z", "A"),
    "layer_backward": ("dW", "db", "dZ_prev"),
    "output_head": ("cost", "dZ"),
    "dropout": ("A",),
    "softmax": ("A",),
    "update": ("parameter", "state"),
    "network_forward": ("A",),
    "train_epoch": ("costs", "parameters", "state"),
    **{name: ("A",) for name in ACTIVATIONS},
    **{f"{name}_derivative": ("the derivative",) for name in ACTIVATIONS},
}

_SHAPES = ((2, 3, 4), (4, 3, 2), (3, 3, 3), (1, 1, 1), (5, 1, 7), (1, 6, 1))  # n, n_prev, m
_Z = np.array([[-2.0, -0.5, 0.0, 0.5, 3.0], [1.0, -1.0, 0.25, 0.0, -30.0]])


def cases(kernel: str) -> list[tuple[Any, ...]]:
    """Arguments in float64, the first in float32 once more, and for matrices rows that lie in wider ones."""
    wide = [_arguments(kernel, g, shape) for g, shape in enumerate(_SHAPES)]
    if kernel.removesuffix("_derivative") in (*ACTIVATIONS, "softmax"):
        wide = [_elements(kernel, Z) for Z in (_Z, np.array([[1000.0, -1000.0, 0.0]]), _Z[:, :1].copy(), _Z.T.copy())]
    found = wide + [_as(wide[0], "float32")]
    if kernel.startswith(("linear_", "layer_", "logistic")) and "derivative" not in kernel:
        found.append(tuple(_padded(a) if isinstance(a, np.ndarray) and min(a.shape) > 1 else a for a in wide[0]))
    return found




def _as(value: Any, dtype: str) -> Any:
    """The same arguments in another dtype; coefficients stay what they are."""
    if isinstance(value, (tuple, list)):
        return type(value)(_as(part, dtype) for part in value)
    whole = isinstance(value, np.ndarray) and value.shape[-1] != len(COEFFICIENTS)
    return value.astype(dtype) if whole else value


def _padded(array: np.ndarray) -> np.ndarray:
    wide = np.full((array.shape[0], array.shape[1] + 3), np.nan, array.dtype)
    wide[:, : array.shape[1]] = array
    return wide[:, : array.shape[1]]


def duplicate(value: Any) -> Any:
    """A copy of arguments, in which rows that lie in wider ones do so too; what is no array stays itself."""
    if isinstance(value, (tuple, list)):
        return type(value)(duplicate(part) for part in value)
    if isinstance(value, np.ndarray):
        return value.copy() if value.flags.c_contiguous or value.ndim != 2 else _padded(value)
    return value


def _elements(kernel: str, Z: np.ndarray) -> tuple[Any, ...]:
    name = kernel.removesuffix("_derivative")
    parameter = {"leaky_relu": 0.2, "elu": 1.5}.get(name)
    return (Z,) if parameter is None else (Z, parameter)


def _arguments(kernel: str, seed: int, shape: tuple[int, int, int]) -> tuple[Any, ...]:
    n, n_prev, m = shape
    g = np.random.default_rng(seed)
    W, A, b = g.standard_normal((n, n_prev)), g.standard_normal((n_prev, m)), g.standard_normal((n, 1))
    dZ, Z_prev = g.standard_normal((n, m)), g.standard_normal((n_prev, m))
    Z_prev.flat[0] = 0.0  # the corner of relu
    rate = np.zeros((2, len(COEFFICIENTS)))
    numbers = {"rate": 0.1, "decay": 1.0, "gradient_share": 1.0, "clip_value": np.inf, "clip_norm": np.inf}
    for column, value in numbers.items():
        rate[:, COEFFICIENTS.index(column)] = value
    w, x = g.standard_normal((2, 4 * n_prev + m, 1))
    network = [g.standard_normal((3, n_prev)), np.zeros((3, 1)), g.standard_normal((n, 3)), np.zeros((n, 1))]
    return {
        "dot": (w, x),
        "logistic_gradient": (W[:1], b[:1], A, (dZ[:1] > 0).astype(np.float64)),
        "linear_forward": (W, A, b),
        "linear_backward": (dZ, A, W),
        "layer_forward": (W, A, b, "relu" if seed % 2 == 0 else "tanh"),
        "layer_backward": (dZ, W, A, *((Z_prev, "relu") if seed != 1 else (None, None))),
        "output_head": (dZ, (W @ A > 0).astype(np.float64), "binary_cross_entropy", "sigmoid"),
        "dropout": (dZ, 0.4, 17),
        "update": (W, g.standard_normal((n, n_prev)), [], rate[0], "sgd"),
        "network_forward": (network, A, ["tanh"], "sigmoid"),
        "train_epoch": (network, A, dZ, None, -(-m // 2), ["tanh"], "linear", "squared_error", "sgd", [],
                        rate[: -(-m // -(-m // 2))]),
    }.get(kernel, ())  # fmt: skip
