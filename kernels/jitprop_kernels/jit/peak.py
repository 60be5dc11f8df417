"""The measured peak of this processor: what a kernel is compared with, since clock rates vary and are not published."""

import time

import numpy as np
from llvmlite import ir
from numba.extending import intrinsic

from .launch import address_of, compiled_task, run
from .vectors import I64, Vectors, unpack, vector_at, vector_length

__all__ = ["fma_peak"]

_CHAINS = 12  # independent sums: more than latency times throughput of any processor known, fewer than 16 registers
_ROUNDS = 20_000


@intrinsic
def _multiply_add(typingctx, rounds, like):
    """`rounds` times a fused multiply-add of each of the chains; returns their total, so that nothing is left out."""
    signature = like(rounds, like)

    def codegen(context, builder, signature, args):
        rounds, start = args
        scalar = context.get_value_type(like)
        v = Vectors(builder, scalar, vector_length(4 if isinstance(scalar, ir.FloatType) else 8))
        factor, before = v.splat(start), builder.block
        loop, after = builder.append_basic_block("peak.loop"), builder.append_basic_block("peak.end")
        builder.branch(loop)
        builder.position_at_end(loop)
        count, sums = builder.phi(I64), [builder.phi(v.type) for _ in range(_CHAINS)]
        following = builder.add(count, I64(1))
        new = [v.fma(total, factor, factor) for total in sums]
        for phi, first, value in [(count, I64(0), following), *zip(sums, [factor] * _CHAINS, new, strict=True)]:
            phi.add_incoming(first, before)
            phi.add_incoming(value, loop)
        builder.cbranch(builder.icmp_signed("<", following, rounds), loop, after)
        builder.position_at_end(after)
        total = new[0]
        for other in new[1:]:
            total = builder.fadd(total, other)
        return builder.extract_element(total, ir.IntType(32)(0))

    return signature, codegen


def _peak(record, t, tasks, one):
    out, rounds = unpack(record, 2)
    result = vector_at(out, 1, one)
    result[0] = _multiply_add(rounds, result[0])


def fma_peak(dtype="float32", seconds=0.2):
    """Floating-point operations a second of one thread, in units of 10^9: twice the multiply-adds in its registers.

    The best of many short runs within `seconds`: interruptions by other programs only slow a run down.
    """
    dtype = np.dtype(dtype)
    value = np.full(1, 0.5, dtype)
    task, record = compiled_task(_peak, dtype), [address_of(value), _ROUNDS]
    operations = 2 * _ROUNDS * _CHAINS * vector_length(dtype.itemsize)
    run(task, record)  # compiles what runs tasks
    best, end = 0.0, time.perf_counter() + seconds
    while best == 0.0 or time.perf_counter() < end:
        value[0] = 0.5  # the sums converge to 1
        start = time.perf_counter()
        run(task, record)
        best = max(best, operations / (time.perf_counter() - start))
    return best / 1e9
