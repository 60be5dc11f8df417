"""The anatomy of a training step: where its time goes, task by task.

    python -m benchmarks.anatomy [NETWORK ...] [--optimizer sgd] [--dtype float32] [--steps 200] [--json FILE]

Networks and groups of them are named as in `benchmarks/peers`. A step is a tape of tasks (docs/kernels); here it is
played on one thread, batch after batch of a shuffled epoch, and the clock read between two tasks. Of each task are
given the median, its share of the step, and for products (n x k times k x m) their share of the measured peak of fused
multiply-adds: at 100% nothing but arithmetic would be left. What reading the clock takes is measured and left out.
"""

import argparse
import ctypes
import json
import math
import sys

import numba
import numpy as np

from jitprop_kernels.jit import batches, compiling, epoch
from jitprop_kernels.jit.launch import address_of
from jitprop_kernels.jit.peak import fma_peak
from jitprop_kernels.jit.tapes import play_own
from jitprop_kernels.jit.vectors import call_address

from .peers import data, jitprop_peer
from .peers.cases import DTYPES, OPTIMIZERS, Case, select
from .peers.worker import STAYS

# Entries of the record of a product that hold n, k and m.
PRODUCTS = {
    "_product": (3, 4, 6),
    "_row_product": (3, 4, 5),
    "_weight_gradients": (2, 3, 5),
    "_far_gradients": (2, 3, 5),
    "_few_gradients": (0, 1, 2),
    "_outer_gradients": (1, 2, 3),
}
_MONOTONIC = 1  # CLOCK_MONOTONIC, on Linux
_clock = ctypes.CDLL(None).clock_gettime
_clock.argtypes, _clock.restype = [ctypes.c_int, ctypes.c_void_p], ctypes.c_int


@numba.njit
def _now(time):
    _clock(_MONOTONIC, time.ctypes)
    return time[0] * 1_000_000_000 + time[1]


@numba.njit
def _play(records, step, order, batch, steps, times):
    """Play a tape again and again, and note the nanoseconds of each task, and of reading the clock."""
    time = np.zeros(2, np.int64)
    for s in range(len(times)):
        step[batches.AT_CHOSEN], step[batches.AT_NEXT] = order + s % steps * batch * 8, batch if (s + 1) % steps else 0
        before = _now(time)
        for i in range(len(records)):
            call_address(records[i, 0], records[i, 1:].ctypes.data, 0, 1)
            after = _now(time)
            times[s, i] = after - before
            before = after
        times[s, len(records)] = _now(time) - before


def anatomy(case, steps):
    """The records of a step's tape and the median nanoseconds of each."""
    runner, net = jitprop_peer.Epoch(case, 1), case.network
    epoch._KEPT = sys.maxsize  # else the plan of a large network is forgotten after its call
    runner.reset(data.parameters(net, case.dtype), STAYS)
    runner.epochs(1)
    (plan,) = epoch._plans.kept.values()  # of the call before
    tape = plan.tape(net.batch)
    # Where a thread, of which there is one, has a tape of its own, its tasks in place of the one that plays them.
    records = [tape.own[0].records if row[0] == play_own() else row[None] for row in tape.records]
    records = np.concatenate(records)
    order = np.arange(1) if net.full else runner.rng.permutation(net.examples)
    coefficients = runner.optimizer.coefficients(np.ones(1, np.int64), np.full(1, STAYS))
    plan.step[batches.AT_COEFFICIENTS] = address_of(coefficients)
    times = np.zeros((max(steps, 2 * net.steps), len(records) + 1), np.int64)
    _play(records, plan.step, address_of(order), net.batch, net.steps, times)
    *medians, clock = np.median(times, axis=0)
    return records, np.maximum(1, np.array(medians) - clock)


def table(case, peak, steps):
    """A row for each kind of task and product: how often, microseconds in all, share of the step, and of the peak."""
    records, times = anatomy(case, steps)
    names = {callback.address: key[0].__name__ for key, callback in compiling._callbacks.items()}
    found = {}
    for record, time in zip(records, times, strict=True):
        name = names[record[0]].removesuffix(f"_{case.dtype}")
        product = tuple(int(record[1 + i]) for i in PRODUCTS[name]) if name in PRODUCTS else None
        found.setdefault((name.removeprefix("_"), product), []).append(time)
    rows = []
    for (name, product), taken in found.items():
        row = {"task": name, "product": product, "times": len(taken), "us": sum(taken) / 1e3}
        row |= {"share_of_step": sum(taken) / times.sum(), "share_of_peak": None}
        if product:
            row["share_of_peak"] = 2 * math.prod(product) * len(taken) / sum(taken) / peak
        rows.append(row)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="NETWORK")
    parser.add_argument("--optimizer", default="sgd", choices=OPTIMIZERS)
    parser.add_argument("--dtype", default="float32", choices=DTYPES)
    parser.add_argument("--steps", type=int, default=200, help="play at least so many")
    parser.add_argument("--json", help="also write the figures to this file")
    chosen = parser.parse_args()
    compiling.set_num_threads(1)
    found = {}
    for name in select(chosen.networks or ["six"]):
        case = Case(name, "train", chosen.optimizer, chosen.dtype)
        peak = float(fma_peak(chosen.dtype, 0.5))
        rows = table(case, peak, chosen.steps)
        found[str(case)] = {"peak_gflops": peak, "tasks": rows}
        total, width = sum(row["us"] for row in rows), max(len(row["task"]) for row in rows)
        print(f"\n{case}: {total:,.1f} us, {case.operations / total / 1e3 / peak:.0%} of {peak:.1f} GFLOP/s")
        for row in rows:
            product = " x ".join(map(str, row["product"])) if row["product"] else ""
            share = f"{row['share_of_peak']:.0%}" if row["product"] else ""
            times = f"{row['times']} of" if row["times"] > 1 else ""
            print(
                f"  {times:>5} {row['task']:{width}} {product:18} {row['us']:11,.2f} us {row['share_of_step']:6.1%}"
                f" {share:>5}".rstrip()
            )
    if chosen.json:
        with open(chosen.json, "w", encoding="utf-8") as file:
            json.dump(found, file, indent=1)


if __name__ == "__main__":
    main()
