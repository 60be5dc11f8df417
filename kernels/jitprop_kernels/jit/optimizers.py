"""The update of a parameter, in place, for every rule: the one form that `contract.COEFFICIENTS` describes."""

import functools
import math

from ..contract import COEFFICIENTS, RULES
from .launch import compiled_task
from .vectors import cast, float_of, size_of, unpack, vector_at

__all__ = ["update"]

(_STEP, _RATE, _DECAY, _L2, _BETA1, _GAIN1, _M_SHARE, _G_SHARE, _BETA2, _GAIN2, _EPSILON) = range(len(COEFFICIENTS))


@functools.cache
def _body(rule):
    has_m, has_v = "m" in RULES[rule].slots, "v" in RULES[rule].slots

    def update(record, t, tasks, one):
        w, w_stride, g, g_stride, m, m_stride, v, v_stride, rows, columns, step, is_bias = unpack(record, 12)
        coefficients, l2 = unpack(step, 2)
        size, numbers = size_of(one), vector_at(coefficients, len(COEFFICIENTS), 0.0)
        rate, epsilon = cast(numbers[_RATE], one), cast(numbers[_EPSILON], one)
        beta1, gain1 = cast(numbers[_BETA1], one), cast(numbers[_GAIN1], one)
        beta2, gain2 = cast(numbers[_BETA2], one), cast(numbers[_GAIN2], one)
        m_share, g_share = cast(numbers[_M_SHARE], one), cast(numbers[_G_SHARE], one)
        decay, shrink = (one, one - one) if is_bias else (cast(numbers[_DECAY], one), cast(float_of(l2), one))
        for i in range(rows * t // tasks, rows * (t + 1) // tasks):
            W = vector_at(w + i * w_stride * size, columns, one)
            G = vector_at(g + i * g_stride * size, columns, one)
            M = vector_at(m + i * m_stride * size, columns, one)
            V = vector_at(v + i * v_stride * size, columns, one)
            for j in range(columns):
                gradient = G[j] + shrink * W[j]
                direction = g_share * gradient
                if has_m:
                    M[j] = beta1 * M[j] + gain1 * gradient
                    direction += m_share * M[j]
                if has_v:
                    V[j] = beta2 * V[j] + gain2 * gradient * gradient
                    direction /= math.sqrt(V[j]) + epsilon
                W[j] = decay * W[j] - rate * direction

    update.__qualname__ = update.__name__ = f"update_{rule}"
    return update


def update(rule, dtype):
    """The task of a rule.

    Record (w, w_stride, g, g_stride, m, m_stride, v, v_stride, rows, columns, step, is_bias): `step` is the address of
    the address of a row of coefficients and of the factor of L2; a bias has neither decay nor L2.
    """
    return compiled_task(_body(rule), dtype)
