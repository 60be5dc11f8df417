"""An epoch: gather, forward, cost, backward and update for every batch, in one compiled call.

The work of a step is written down once (see `plan`), and a compiled loop plays it for every batch; what changes from
step to step in one small record. All arrays of a step lie in one workspace, so a step allocates nothing.
"""

import array
import contextlib
import ctypes
import itertools
import math

import numpy as np

from ..contract import COEFFICIENTS, RULES, parse
from ..doors import checked
from . import compiling
from .batches import AT_CHOSEN, AT_COEFFICIENTS, AT_FACTOR, AT_L2, AT_NEXT, AT_NUMBER, RUNNING
from .columns import ColumnPlan
from .launch import address_of, bits, compiled_task, function, launcher
from .pieces import PiecePlan, number_of_pieces
from .plan import KeptPlans
from .reductions import inner
from .rows import RowPlan
from .tapes import play, player
from .tile import tile
from .vectors import cast, float_of, unpack, vector_at

__all__ = ["train_epoch"]

_KEPT = 64 * 2**20  # bytes of workspace beyond which a plan does not wait for the next call
_STEP, _CLIP_VALUE, _CLIP_NORM = (COEFFICIENTS.index(name) for name in ("step", "clip_value", "clip_norm"))
_COLUMNS = len(COEFFICIENTS)

_ENTRIES, _TAPE = 17, 5  # of a record of `_epoch`, and of each of the two tapes that follow in it


def _epoch(record, t, tasks, one):
    """Play the tape of every step; `begun` counts them: the last was not applied if its cost is not finite.

    A tape is (address of its regions, where playing pauses, the number of regions).
    """
    (
        begun, steps, launcher, player, step, order, coefficients, batch, visited, weight, loss, square, squares,
        norm, norms, l2, cost,
    ) = unpack(record, _ENTRIES)  # fmt: skip
    counter, costs = vector_at(record, 1, begun), vector_at(cost, steps, one)
    changing, numbers = vector_at(step, RUNNING, begun), vector_at(step, RUNNING, one)
    for s in range(steps):
        counter[0] = s + 1
        first = s * batch if batch < visited else 0  # one batch of all is visited again and again
        count = min(batch, visited - first)
        tape = record + (_ENTRIES if count == batch else _ENTRIES + _TAPE) * 8
        regions, gathered, headed, summed, end = unpack(tape, _TAPE)
        row = coefficients + s * _COLUMNS * 8
        coefficient = vector_at(row, _COLUMNS, one)
        changing[AT_COEFFICIENTS], changing[AT_CHOSEN], numbers[AT_FACTOR] = row, order + first * 8, 1.0
        changing[AT_NUMBER] = cast(coefficient[_STEP], begun)
        changing[AT_NEXT] = max(0, min(batch, visited - first - batch))
        play(launcher, player, regions, 0, gathered)
        total = inner(weight, 0, count, one)
        if total == 0.0:  # no example counts, so there is nothing to average and nothing to learn
            costs[s] = 0.0
            continue
        play(launcher, player, regions, gathered, headed)
        mean = inner(weight, loss, count, one) / total
        if float_of(l2) > 0.0:
            mean += float_of(l2) / (2.0 * total) * inner(square, 0, squares, one)
        costs[s] = mean
        if not math.isfinite(mean):
            return
        numbers[AT_L2] = float_of(l2) / total
        play(launcher, player, regions, headed, summed)
        if norms > 0:
            length, most = math.sqrt(inner(norm, 0, norms, one)), coefficient[_CLIP_NORM]
            if not length <= most:  # so that a nan stays
                numbers[AT_FACTOR] = most / length
        play(launcher, player, regions, summed, end)


_plans = KeptPlans(1)
_NOTHING = np.zeros(1, np.int64)


def _layout(units, batch, dtype):
    """Which plan is for a batch; few examples do not fill the columns of a tile."""
    if 4 * batch < 3 * tile(dtype).NR:
        return RowPlan
    return PiecePlan if number_of_pieces(units, batch, dtype) > 1 else ColumnPlan


def _place(matrix):
    return None if matrix is None else (matrix.dtype.char, address_of(matrix), matrix.shape, matrix.strides)


def _plan(
    parameters, X, Y, in_place, batch, activations, output, loss, rule, state, l2, clips, rates, key, sample_weight
):  # fmt: skip
    """The plan of the last call in this Python thread where it fits, else a new one.

    Training calls again and again with the same arrays; writing a tape takes longer than a step of a small network.
    """
    threads = compiling.get_num_threads() if compiling.may_run_parallel() else 1
    arrays = parameters if not state else [*parameters, *itertools.chain(*state)]
    identity = (
        *map(id, arrays), *(a.strides for a in arrays), _place(X), _place(Y), _place(sample_weight), in_place,
        batch, *activations, output, loss, rule, l2 > 0.0, *clips, *rates, key, threads,
    )  # fmt: skip
    plan = _plans.kept.get(identity)
    if plan is not None:
        return plan
    _plans.clear()  # so that two workspaces are never held
    plan = _layout([X.shape[0], *(W.shape[0] for W in parameters[::2])], batch, X.dtype)(
        parameters, X, Y, in_place, batch, activations, output, loss, rule, state, l2 > 0.0, clips, rates, key,
        sample_weight,
    )  # fmt: skip
    return _plans.keep(identity, arrays, plan) if plan.buffer.size <= _KEPT else plan


@checked
def train_epoch(
    parameters, X, Y, order, batch_size, activations, output, loss, rule, state, coefficients,
    l2=0.0, dropout=None, key=0, sample_weight=None,
):  # fmt: skip
    """Train on an epoch, or on a slice of one: for each batch forward, cost, backward and update, in place.

    Parameters
    ----------
    parameters : list of ndarray
        [W1, b1, ..., WL, bL], changed in place.
    X : ndarray, shape (n0, m)
        Inputs, C- or F-contiguous, not copied as a whole.
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
        A row a step. For weights `l2` is replaced by l2 / sum of the batch's sample weights; biases have neither decay
        nor L2.
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
    rule, _ = parse(rule, RULES, "rule")
    rates = tuple([0.0] * (len(parameters) // 2) if dropout is None else map(float, dropout))
    visited = X.shape[1] if order is None else order.size
    # The whole data set in order is read where it lies.
    in_place = order is None and batch_size >= visited and not rates[0]
    if order is None:
        order = _NOTHING if in_place else np.arange(visited)
    batch = visited if in_place else int(batch_size)
    clips = [False, False]
    if coefficients[:, _CLIP_VALUE:].min() < math.inf:
        clips = [bool((coefficients[:, c] < math.inf).any()) for c in (_CLIP_VALUE, _CLIP_NORM)]
    plan = _plan(
        parameters, X, Y, in_place, batch, activations, output, loss, rule, state, l2, clips, rates, int(key),
        sample_weight,
    )  # fmt: skip
    whole = plan.tape(batch if visited >= batch else visited % batch)
    rest = plan.tape(visited % batch or batch)
    costs = np.empty(len(coefficients))
    units, parallel = sum(plan.units[1:]), whole.parallel or rest.parallel
    record = array.array("q", [
        0, len(costs), launcher() if parallel else 0, player(), plan.running, address_of(order),
        address_of(coefficients), batch, visited, plan.address["weights"], plan.address["losses"],
        plan.address["squares"], units if l2 else 0, plan.address["norms"], 2 * units if clips[1] else 0,
        bits(l2), address_of(costs),
        whole.address, *whole.marks, len(whole.regions), rest.address, *rest.marks, len(rest.regions),
    ])  # fmt: skip
    with compiling.parallel_region() if parallel else contextlib.nullcontext():
        function(compiled_task(_epoch, np.float64))(*map(ctypes.c_int64, (record.buffer_info()[0], 0, 1)))
    return costs[: record[0]]
