"""The kernels compiled for this processor: the same functions as `loops` and `vectorized`, behind the same doors.

Each function checks its arguments, makes the result, and runs a task on it (see `launch`). Nothing is compiled before
it is called; what was compiled is found again by the next process (see `cache`).
"""

from .elementwise import (
    elu,
    elu_derivative,
    gelu,
    gelu_derivative,
    leaky_relu,
    leaky_relu_derivative,
    linear,
    linear_derivative,
    relu,
    relu_derivative,
    sigmoid,
    sigmoid_derivative,
    silu,
    silu_derivative,
    softmax,
    softplus,
    softplus_derivative,
    tanh,
    tanh_derivative,
)
from .epoch import train_epoch
from .forward import network_forward
from .layers import (
    dot,
    dropout,
    layer_backward,
    layer_forward,
    linear_backward,
    linear_forward,
    logistic_gradient,
    output_head,
    update,
)

__all__ = [
    "dot",
    "dropout",
    "elu",
    "elu_derivative",
    "gelu",
    "gelu_derivative",
    "layer_backward",
    "layer_forward",
    "leaky_relu",
    "leaky_relu_derivative",
    "linear",
    "linear_backward",
    "linear_derivative",
    "linear_forward",
    "logistic_gradient",
    "network_forward",
    "output_head",
    "relu",
    "relu_derivative",
    "sigmoid",
    "sigmoid_derivative",
    "silu",
    "silu_derivative",
    "softmax",
    "softplus",
    "softplus_derivative",
    "tanh",
    "tanh_derivative",
    "train_epoch",
    "update",
]
