"""What is composed of other kernels: a layer, a network's two passes, an epoch; and a whole set from a part.

A kernel set of somebody's own may offer a single function. `complete` adds the rest, and everything here
calls through the set it is given. Inside, the functions behind the doors are called: the outer has checked.
"""

import functools
import math
import types

import numpy as np

from .contract import ACTIVATIONS, COEFFICIENTS, KERNELS, OUTPUTS, dropout_key, parse
from .doors import checked, plain
from .results import check_results

__all__ = [
    "backward",
    "clipped",
    "complete",
    "forward",
    "layer_backward",
    "layer_forward",
    "network_forward",
    "train_epoch",
]

_STEP, _DECAY, _L2, _GAIN1, _GRADIENT_SHARE, _GAIN2, _CLIP_VALUE, _CLIP_NORM = (
    COEFFICIENTS.index(name)
    for name in ("step", "decay", "l2", "gain1", "gradient_share", "gain2", "clip_value", "clip_norm")
)


def complete(kernels):
    """Complete a kernel set: missing primitives are those of `vectorized`, missing compositions these.

    Parameters
    ----------
    kernels : module or object
        Offers some of the names in `contract.KERNELS`, with the contract's parameters; other names are left
        alone. Its functions are called with as few arguments as the contract allows, so they may lack `out`.

    Returns
    -------
    types.SimpleNamespace
        All names of `contract.KERNELS`. The compositions call through it.

    Raises
    ------
    TypeError
        Something of a kernel's name cannot be called.
    ValueError
        There is none of the names.

    Notes
    -----
    What a function of the user's returns is checked after every call; see `results.check_results`.
    """
    from . import vectorized  # not above: it is itself composed by this module

    what = getattr(kernels, "__name__", type(kernels).__name__)
    offered = {name: getattr(kernels, name) for name in KERNELS if hasattr(kernels, name)}
    for name, function in offered.items():
        if not callable(function):
            raise TypeError(f"{name} of kernel set {what} must be a function, got {type(function).__name__}")
        offered[name] = check_results(function, name, what)
    if not offered:
        raise ValueError(f"kernel set {what} has no function of a kernel's name: {', '.join(KERNELS)}")
    whole = types.SimpleNamespace(**{name: offered.get(name, getattr(vectorized, name)) for name in KERNELS})
    for name, composition in _COMPOSITIONS.items():
        if name not in offered:
            setattr(whole, name, _bind(composition, whole, getattr(vectorized, name)))
    if not {"layer_backward", "linear_backward"} & offered.keys():
        whole.layer_backward = _bind(_layer_backward_spared, whole, vectorized.layer_backward)
    return whole


def _bind(composition, kernels, like):
    """`composition` with its first argument fixed, the name, docstring, signature and door of `like`."""

    @functools.wraps(plain(like))
    def composed(*args, **kwargs):
        return composition(kernels, *args, **kwargs)

    return checked(composed)


@functools.cache
def _parse_activation(activation):
    name, parameter = parse(activation, ACTIVATIONS, "activation")
    return name, () if ACTIVATIONS[name].parameter is None else (parameter,)


def layer_forward(kernels, W, A_prev, b, activation):
    """One layer: Z = W A_prev + b and A = g(Z), each by the function of that name in `kernels`."""
    name, parameter = _parse_activation(activation)
    Z = plain(kernels.linear_forward)(W, A_prev, b)
    return Z, plain(getattr(kernels, name))(Z, *parameter)


def layer_backward(kernels, dZ, W, A_prev, Z_prev, activation_prev):
    """Back through one layer: dW, db and dZ_prev = (W.T dZ) * g'(Z_prev), or None for the first layer."""
    dW, db, dA_prev = plain(kernels.linear_backward)(dZ, A_prev, W)
    if Z_prev is None:
        return dW, db, None
    name, parameter = _parse_activation(activation_prev)
    dA_prev *= plain(getattr(kernels, f"{name}_derivative"))(Z_prev, *parameter)
    return dW, db, dA_prev


def _layer_backward_spared(kernels, dZ, W, A_prev, Z_prev, activation_prev):
    """`layer_backward` for a set with `vectorized.linear_backward`: dA[0], which nothing uses, is spared."""
    if Z_prev is None:
        from . import vectorized

        return plain(vectorized.layer_backward)(dZ, W, A_prev, None, None)
    return layer_backward(kernels, dZ, W, A_prev, Z_prev, activation_prev)


def forward(kernels, parameters, X, activations, drop=None):
    """Forward through the network.

    Parameters
    ----------
    kernels : module or object
        A complete kernel set.
    parameters : list of ndarray
        [W1, b1, ..., WL, bL].
    X : ndarray, shape (n0, m)
        A[0], with contiguous rows; dropout of the input is the caller's.
    activations : sequence of str
        Those of the layers 1 to L-1.
    drop : callable, optional
        ``drop(A, l)`` is applied to A[l] for l from 1 to L-1: dropout.

    Returns
    -------
    caches : list of (ndarray, ndarray)
        (Z, A) of the layers 1 to L-1, A after dropout.
    Z : ndarray, shape (n[L], m)
        Z[L]; `output_head` or the output's function goes on from it.
    """
    one_layer = plain(kernels.layer_forward)
    caches, A = [], X
    for l, activation in enumerate(activations, start=1):
        Z, A = one_layer(parameters[2 * l - 2], A, parameters[2 * l - 1], activation)
        if drop is not None:
            A = drop(A, l)
        caches.append((Z, A))
    return caches, plain(kernels.linear_forward)(parameters[-2], A, parameters[-1])


def network_forward(kernels, parameters, X, activations, output=None):
    """Forward through the network, keeping nothing: A[L], or Z[L] where no output is named.

    Parameters
    ----------
    kernels, parameters, activations
        As for `forward`; the sets' own functions do not have the first.
    X : ndarray, shape (n0, m)
        A[0]; its rows or its columns are contiguous.
    output : str, optional
        A row of `contract.OUTPUTS`.

    Returns
    -------
    ndarray, shape (n[L], m)
    """
    A = np.ascontiguousarray(X)
    for l, activation in enumerate(activations, start=1):
        _, A = plain(kernels.layer_forward)(parameters[2 * l - 2], A, parameters[2 * l - 1], activation)
    Z = plain(kernels.linear_forward)(parameters[-2], A, parameters[-1])
    return Z if output is None else plain(getattr(kernels, parse(output, OUTPUTS, "output")[0]))(Z)


def backward(kernels, parameters, X, caches, dZ, activations, drop=None):
    """Backward through the network, from the dZ[L] of `output_head` to the gradients.

    Parameters
    ----------
    kernels, parameters, X, activations, drop
        As for `forward`.
    caches : list of (ndarray, ndarray)
        The first result of `forward`.
    dZ : ndarray, shape (n[L], m)
        The second result of `output_head`.

    Returns
    -------
    list of ndarray
        [dW1, db1, ..., dWL, dbL], each of the shape of its parameter; L2 is not in them.
    """
    one_layer = plain(kernels.layer_backward)
    gradients = [None] * len(parameters)
    for l in range(len(parameters) // 2, 0, -1):
        W = parameters[2 * l - 2]
        Z_prev, A_prev = caches[l - 2] if l > 1 else (None, X)
        activation_prev = activations[l - 2] if l > 1 else None
        gradients[2 * l - 2], gradients[2 * l - 1], dZ = one_layer(dZ, W, A_prev, Z_prev, activation_prev)
        # dA[l-1] passes through the mask that A[l-1] went through, and the product with g' commutes with it.
        if drop is not None and l > 1:
            dZ = drop(dZ, l - 1)
    return gradients


def _columns(array, start, stop, order):
    """The batch's columns, C-contiguous: those from start to stop, or the ones that `order` names there."""
    if order is None:
        return np.ascontiguousarray(array[:, start:stop])
    if array.flags.c_contiguous:
        return array.take(order[start:stop], axis=1)
    examples = array.T.take(order[start:stop], axis=0)  # each is contiguous: gather first, transpose then
    return np.ascontiguousarray(examples.T)


def _dropping(kernels, rates, key, step):
    """The function ``drop(A, l)`` of this step, or None where nothing is dropped."""
    if rates is None or not any(rates):
        return None

    def drop(A, l):
        return plain(kernels.dropout)(A, rates[l], dropout_key(key, step, l)) if rates[l] else A

    return drop


def clipped(g, limit):
    """`g` held within +-limit, itself where the limit is beyond its dtype; a nan stays one."""
    return np.clip(g, -limit, limit) if limit < np.finfo(g.dtype).max else g


def _scaled(row, parameters, gradients, decay_l2):
    """`row` with every g scaled so that the norm of all is at most clip_norm; see `contract.COEFFICIENTS`."""
    limit, clip_norm = float(row[_CLIP_VALUE]), float(row[_CLIP_NORM])
    if clip_norm == math.inf:
        return row
    squares = 0.0
    for p, (parameter, gradient) in enumerate(zip(parameters, gradients, strict=True)):
        g = gradient if p % 2 or not decay_l2 else gradient + decay_l2 * parameter
        squares += float(np.square(clipped(g, limit), dtype=np.float64).sum())
    norm = math.sqrt(squares)
    if norm <= clip_norm:  # not so for a nan, which goes on into the factor
        return row
    factor, row = clip_norm / norm, row.copy()
    row[_GAIN1] *= factor
    row[_GRADIENT_SHARE] *= factor
    row[_GAIN2] *= factor * factor
    return row


def _apply(kernels, parameters, gradients, rule, state, row, decay_l2):
    """Update every parameter; weight decay and L2 touch the weights only."""
    update = plain(kernels.update)
    row = _scaled(row, parameters, gradients, decay_l2)
    for_weights, for_biases = row.copy(), row.copy()
    for_weights[_L2] = decay_l2
    for_biases[_L2], for_biases[_DECAY] = 0.0, 1.0
    for p, (parameter, gradient) in enumerate(zip(parameters, gradients, strict=True)):
        update(parameter, gradient, [slot[p] for slot in state], for_biases if p % 2 else for_weights, rule)


def _starts(order, visited, batch_size, steps):
    """Where the batch of each step begins."""
    return [0] * steps if order is None and batch_size == visited else range(0, visited, batch_size)


def train_epoch(
    kernels, parameters, X, Y, order, batch_size, activations, output, loss, rule, state, coefficients,
    l2=0.0, dropout=None, key=0, sample_weight=None,
):  # fmt: skip
    """Train on an epoch, or on a slice of one: for each batch forward, cost, backward and update, in place.

    Parameters
    ----------
    kernels : module or object
        A complete kernel set; the sets' own functions do not have this parameter.
    parameters : list of ndarray
        [W1, b1, ..., WL, bL], changed in place.
    X : ndarray, shape (n0, m)
        Inputs, C- or F-contiguous.
    Y : ndarray
        Targets of the m examples, as in `output_head`.
    order : ndarray of int64, shape (k,), or None
        The examples to visit, in order; None for all of them as they stand.
    batch_size : int
        Columns of a batch; the last batch may be smaller. With m and no order, every step is on all examples, and
        there are as many steps as `coefficients` has rows.
    activations : sequence of str
        Those of the hidden layers.
    output, loss, rule : str
        Rows of `contract.OUTPUTS`, `LOSSES` and `RULES`.
    state : list of lists of ndarray
        One list like `parameters` for each of the rule's slots, changed in place.
    coefficients : ndarray, float64, shape (steps, len(COEFFICIENTS))
        A row a step. For weights `l2` is replaced by l2 / sum of the batch's sample weights; biases have
        neither decay nor L2. A `clip_norm` below inf scales the g of all parameters together.
    l2 : float
        Adds l2 / (2 sum w) times the sum of the squared weights to a batch's cost.
    dropout : sequence of float, optional
        L rates: of the input and of each hidden layer.
    key : int
        From which `contract.dropout_key` makes the key of each layer in each step.
    sample_weight : ndarray, shape (1, m), optional
        A batch whose weights are all 0 costs 0.0 and changes nothing.

    Returns
    -------
    ndarray, float64
        Cost of each batch before its update. A cost that is not finite is the last: that step is not applied.
    """
    head = plain(kernels.output_head)
    visited = X.shape[1] if order is None else order.size
    costs = []
    # A run that diverges says so by its cost, which ends the epoch; warnings on the way there add nothing.
    with np.errstate(over="ignore", invalid="ignore"):
        for row, start in zip(coefficients, _starts(order, visited, batch_size, len(coefficients)), strict=True):
            stop = min(start + batch_size, visited)
            weight = None if sample_weight is None else _columns(sample_weight, start, stop, order)
            total = float(stop - start) if weight is None else float(weight.sum(dtype=np.float64))
            if total == 0.0:  # no example counts, so there is nothing to average and nothing to learn
                costs.append(0.0)
                continue
            drop = _dropping(kernels, dropout, key, int(row[_STEP]))
            A = _columns(X, start, stop, order)
            if drop is not None:
                A = drop(A, 0)
            caches, Z = forward(kernels, parameters, A, activations, drop)
            cost, dZ = head(Z, _columns(Y, start, stop, order), loss, output, weight)
            if l2:
                squares = sum(float(np.square(W, dtype=np.float64).sum()) for W in parameters[::2])
                cost += l2 / (2.0 * total) * squares
            costs.append(cost)
            if not math.isfinite(cost):
                break
            gradients = backward(kernels, parameters, A, caches, dZ, activations, drop)
            _apply(kernels, parameters, gradients, rule, state, row, float(l2) / total)
    return np.array(costs)


_COMPOSITIONS = {
    "layer_forward": layer_forward,
    "layer_backward": layer_backward,
    "network_forward": network_forward,
    "train_epoch": train_epoch,
}
