"""The loops compiled unchanged by plain njit: the rung between the loops and the kernels of `jit`.

Only what cannot be compiled stays Python: the functions that read names such as "relu" compose compiled ones.
"""

import dis
import functools
import types

import numba
import numpy as np

from jitprop_kernels import composition, loops
from jitprop_kernels.contract import KERNELS, RULES, parse_loss
from jitprop_kernels.doors import plain

# These read names, or are composed of others.
_BY_NAME = ("layer_forward", "layer_backward", "network_forward", "output_head", "update", "train_epoch")


@functools.cache
def compiled(function):
    """`function` compiled by plain njit, and before it each function of its module that it calls."""
    function = plain(function)
    names = {step.argval for step in dis.get_instructions(function) if step.opname == "LOAD_GLOBAL"}
    called = [n for n in names if isinstance(function.__globals__.get(n), types.FunctionType)]
    scope = function.__globals__ | {n: compiled(function.__globals__[n]) for n in called}
    return numba.njit(types.FunctionType(function.__code__, scope, function.__name__, function.__defaults__))


def output_head(Z, Y, loss, output, sample_weight=None):
    """`loops.output_head` with the loop over examples compiled."""
    output, name, parameter = parse_loss(loss, output)
    if Y.dtype == np.int64:
        classes, Y = Y, np.zeros(Z.shape, Z.dtype)
        Y[classes[0], np.arange(Z.shape[1])] = 1.0
    weights = np.ones((1, Z.shape[1]), Z.dtype) if sample_weight is None else sample_weight
    return compiled(loops._head)(Z, Y, output, name, parameter, weights)


def update(parameter, gradient, state, coefficients, rule):
    """`loops.update` with the loop over the elements compiled."""
    slots = dict(zip(RULES[rule].slots, state, strict=True))
    compiled(loops._update)(parameter, gradient, slots.get("m"), slots.get("v"), coefficients)


@functools.cache
def kernel_set():
    """A whole kernel set of compiled loops; each is compiled when it is first called."""
    offered = {name: compiled(getattr(loops, name)) for name in KERNELS if name not in _BY_NAME}
    offered["output_head"] = output_head
    if hasattr(loops, "_update"):  # older commits have it in one piece with the reading of names
        offered["update"] = update
    else:
        offered["update"] = loops.update
    return composition.complete(types.SimpleNamespace(__name__="loops compiled", **offered))
