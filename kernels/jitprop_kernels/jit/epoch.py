"""An epoch: gather, forward, cost, backward and update for every batch, in one compiled call.

The work of a step is written down once as a list of tasks with their records (a tape), and a compiled loop plays it for
every batch. All arrays of a step lie in one workspace, so a step allocates nothing. Layers are lists of units times
examples, as in the course: Z[l] is overwritten by g'(Z[l]) in the pass that computes A[l], so that backward only has to
multiply.

Where examples are the rows of X in memory, a batch is gathered row by row and stays so: the products of the first layer
read it transposed.
"""

import math

import numpy as np

from ..contract import ACTIVATIONS, COEFFICIENTS, RULES, parse
from ..doors import checked
from . import activations, batches, compiling, losses, optimizers, reductions
from .affine import TRANSPOSED, Matrix, parts, product, reading, share
from .launch import address_of, bits, launch, launcher

__all__ = ["train_epoch"]

_WIDTH = 32  # entries of a row of a tape: task, tasks, record
_LINE = 64  # bytes of a cache line
_ELEMENTS = 200_000  # numbers that are only read and written: below so many a second thread costs more than it brings
_STEP = COEFFICIENTS.index("step")

# The record of the running step, which tasks read: see `batches` and `optimizers`.
_COEFFICIENTS, _L2, _START, _NUMBER = range(4)


class _Tape:
    """The tasks of a step, in order, and two marks: how many gather the batch, how many lead to the cost."""

    def __init__(self):
        self.rows, self.scratch, self.room = [], [], 0
        self.gathered = self.headed = 0

    def add(self, task, record, tasks=1, scratch=None, room=0):
        """Add a task; entry `scratch` of its record is to be the address of `room` bytes that it may use."""
        self.rows.append([task, tasks, *record])
        if scratch is not None:
            self.scratch.append((len(self.rows) - 1, 2 + scratch))
            self.room = max(self.room, room)

    def array(self, scratch):
        rows = np.zeros((len(self.rows), _WIDTH), np.int64)
        for i, row in enumerate(self.rows):
            rows[i, : len(row)] = row
        for i, entry in self.scratch:
            rows[i, entry] = scratch
        return rows


class _Plan:
    """A slice of an epoch: its arrays, their places in the workspace, and the tape of a batch."""

    def __init__(self, parameters, X, Y, order, batch_size, dropout, sample_weight):
        self.parameters, self.X, self.Y, self.sample_weight = parameters, X, Y, sample_weight
        self.dtype, self.size, self.indices = X.dtype, X.itemsize, Y.dtype == np.int64
        self.units = [X.shape[0], *(W.shape[0] for W in parameters[::2])]
        self.L = len(self.units) - 1
        self.rates = [0.0] * self.L if dropout is None else dropout
        self.visited = X.shape[1] if order is None else order.size
        self.batch = min(batch_size, self.visited)
        self.examples_are_rows = not X.flags.c_contiguous
        # The whole data set in order is read where it lies.
        self.in_place = order is None and self.batch == self.visited and not self.rates[0]
        self.order = np.arange(self.visited) if order is None and not self.in_place else order
        self.step = np.zeros(4, np.int64)
        self._lay_out()

    def _pad(self, n):
        """Distance of rows of n numbers: whole vectors, and no power of two that would crowd rows into few sets."""
        padded = -(-n // 16) * 16
        return padded + 16 if padded * self.size % 2048 == 0 else padded

    def _lay_out(self):
        """One allocation, every array on a cache line of its own."""
        self.stride, self.feature_stride = self._pad(self.batch), self._pad(self.units[0])
        sizes = {
            "losses": 8 * self.batch,
            "weights": 8 * self.batch,
            "squares": 8 * self.L,
            "factors": self.size * self.batch,
            "dW": self.size * max(W.size for W in self.parameters[::2]),
            "db": self.size * max(self.units),
        }
        if not self.in_place:
            gathered = self.batch * self.feature_stride if self.examples_are_rows else self.units[0] * self.stride
            sizes["X"] = self.size * gathered
            sizes["Y"] = (8 if self.indices else self.size * self.units[-1]) * self.stride
            sizes["sample_weight"] = self.size * self.batch
        for l in range(1, self.L + 1):
            for name in "AGD" if l < self.L else "ZD":
                sizes[f"{name}{l}"] = self.size * self.units[l] * self.stride
        places, end = {}, 0
        for name, size in sizes.items():
            places[name] = end
            end += -(-size // _LINE) * _LINE
        self.buffer = np.empty(end + _LINE, np.uint8)
        start = address_of(self.buffer)
        self.address = {name: start + -start % _LINE + place for name, place in places.items()}

    def array(self, name, n, dtype):
        """The first n numbers of a piece of the workspace."""
        first = self.address[name] - address_of(self.buffer)
        return self.buffer[first : first + n * np.dtype(dtype).itemsize].view(dtype)

    def matrix(self, name):
        return Matrix(self.address[name], self.stride)

    def given(self, name, array):
        """A data array of the batch: where it lies, or where it is gathered."""
        if self.in_place:
            return Matrix(address_of(array), array.strides[0] // array.itemsize)
        return self.matrix(name)

    def gather(self, tape, count):
        """Tasks that copy the batch's columns of X, Y and the sample weights."""
        order, step = address_of(self.order), address_of(self.step)
        arrays = [("Y", self.Y)]
        if self.sample_weight is not None:
            arrays.append(("sample_weight", self.sample_weight))
        if not self.examples_are_rows:
            arrays.append(("X", self.X))
        for name, array in arrays:
            n, stride = array.shape[0], array.strides[0] // array.itemsize
            record = [address_of(array), stride, n, order, step, count, self.address[name], self.stride]
            tape.add(batches.gather_columns(array.dtype), record, min(n, share(n * count, _ELEMENTS)))
        if self.examples_are_rows:
            n, stride = self.units[0], self.X.strides[1] // self.size
            record = [address_of(self.X), stride, n, order, step, count, self.address["X"], self.feature_stride]
            tape.add(batches.gather_rows(self.dtype), record, share(n * count, _ELEMENTS))

    def drop(self, tape, name, l, count, key):
        """Dropout of layer l in place."""
        if not self.rates[l]:
            return
        place, rows, columns, swapped = self.matrix(name)[:2], self.units[l], count, False
        if name == "X" and self.examples_are_rows:
            place, rows, columns, swapped = (self.address["X"], self.feature_stride), count, self.units[0], True
        step = address_of(self.step)
        record = batches.dropout_record(place, place, rows, columns, self.rates[l], key, l, step, swapped)
        tape.add(batches.dropout(self.dtype), record, share(rows * columns, _ELEMENTS))

    def previous(self, l):
        """A[l-1], and whether its rows are examples."""
        if l > 1:
            return self.matrix(f"A{l - 1}"), False
        if not self.examples_are_rows:
            return self.given("X", self.X), False
        if self.in_place:
            return Matrix(address_of(self.X), self.X.strides[1] // self.size), True
        return Matrix(self.address["X"], self.feature_stride), True

    def multiply(self, tape, n, m, k, A, B, mode, C, **rest):
        """Add a product; its scratch comes when all tapes are written."""
        tasks = parts(n * m * k)
        task, record, room = product(self.dtype, n, m, k, A, B, mode, C, tasks, scratch=0, **rest)
        tape.add(task, record, tasks, scratch=len(record) - 2, room=room)

    def forward(self, tape, l, count, activation, key):
        W, b = self.parameters[2 * l - 2 : 2 * l]
        n, k = W.shape
        A_prev, examples_are_rows = self.previous(l)
        mode = TRANSPOSED if examples_are_rows else reading(n, A_prev.row_stride, self.size)
        left, bias = Matrix(address_of(W), W.strides[0] // self.size), address_of(b)
        if l == self.L:
            self.multiply(tape, n, count, k, left, A_prev, mode, self.matrix(f"Z{l}"), bias=bias)
            return
        name, parameter = parse(activation, ACTIVATIONS, "activation")
        block = activations.block(name, activations.PAIR, self.dtype)
        self.multiply(
            tape, n, count, k, left, A_prev, mode, self.matrix(f"G{l}"),
            bias=bias, block=block, other=self.matrix(f"A{l}")[:2], parameter=parameter,
        )  # fmt: skip
        self.drop(tape, f"A{l}", l, count, key)
        self.drop(tape, f"G{l}", l, count, key)

    def head(self, tape, count, loss, output):
        task, parameter = losses.head(loss, output, self.dtype)
        n = self.units[-1]
        tasks = share(n * count, _ELEMENTS)
        record = [
            *self.matrix(f"Z{self.L}")[:2], *self.given("Y", self.Y)[:2], int(self.indices),
            *self.matrix(f"D{self.L}")[:2], n, count, self.address["factors"], self.address["losses"],
            bits(parameter), 0,
        ]  # fmt: skip
        tape.add(task, record, tasks, scratch=len(record) - 1, room=tasks * 2 * losses.CHUNK * self.size)

    def backward(self, tape, l, count, rule, state):
        """The gradients of layer l; dZ of the layer before it, formed of W before W changes; the update."""
        W, b = self.parameters[2 * l - 2 : 2 * l]
        (n, k), dZ = W.shape, self.matrix(f"D{l}")
        A_prev, examples_are_rows = self.previous(l)
        dW, db, mean = Matrix(self.address["dW"], k), self.address["db"], 1.0 / count
        sums = reductions.row_products(self.dtype)
        if n == 1 and not examples_are_rows:
            record = [*A_prev[:2], dZ.address, k, count, dW.address, 1, bits(mean)]
            tape.add(sums, record, share(k * count, _ELEMENTS))
        else:
            mode = reading(n, A_prev.row_stride, self.size) if examples_are_rows else TRANSPOSED
            self.multiply(tape, n, k, count, dZ, A_prev, mode, dW, alpha=mean)
        tape.add(sums, [*dZ[:2], 0, n, count, db, 1, bits(mean)], share(n * count, _ELEMENTS))
        if l > 1:
            self.multiply(
                tape, k, count, n, Matrix(address_of(W), 1, W.strides[0] // self.size), dZ,
                reading(k, self.stride, self.size), self.matrix(f"D{l - 1}"),
                block=activations.multiply(self.dtype), other=self.matrix(f"G{l - 1}")[:2],
            )  # fmt: skip
        for i, (parameter, gradient) in enumerate([(W, dW[:2]), (b, (db, 1))], start=2 * l - 2):
            slots = dict(zip(RULES[rule].slots, (slot[i] for slot in state), strict=True))
            arrays = [parameter, slots.get("m"), slots.get("v")]
            w, m, v = ((address_of(a), 0 if a is None else a.strides[0] // self.size) for a in arrays)
            record = [*w, *gradient, *m, *v, *parameter.shape, address_of(self.step), i % 2]
            tape.add(optimizers.update(rule, self.dtype), record, share(parameter.size, _ELEMENTS))

    def tape(self, count, hidden, output, loss, rule, state, l2, key):
        """The tasks of a step of `count` examples."""
        tape = _Tape()
        if not self.in_place:
            self.gather(tape, count)
        if self.sample_weight is not None:
            place = self.given("sample_weight", self.sample_weight).address
            tape.add(batches.weigh(self.dtype), [place, count, self.address["weights"], self.address["factors"]])
        tape.gathered = len(tape.rows)
        self.drop(tape, "X", 0, count, key)
        for l in range(1, self.L + 1):
            self.forward(tape, l, count, hidden[l - 1] if l < self.L else None, key)
            if l2:
                W = self.parameters[2 * l - 2]
                record = [address_of(W), W.strides[0] // self.size, *W.shape, self.address["squares"] + 8 * (l - 1)]
                tape.add(reductions.squares(self.dtype), record)
        self.head(tape, count, loss, output)
        tape.headed = len(tape.rows)
        for l in range(self.L, 0, -1):
            self.backward(tape, l, count, rule, state)
        return tape


@compiling.jit
def _play(launcher, tape, first, last):
    for i in range(first, last):
        launch(launcher, tape[i, 0], tape.ctypes.data + (i * _WIDTH + 2) * 8, tape[i, 1])


@compiling.jit
def _steps(
    launcher, whole, rest, gathered, headed, step, coefficients, batch, visited, weights, losses, squares, l2, costs
):  # fmt: skip
    """Play the tape of every step; returns how many were begun: the last was not applied if its cost is not finite."""
    numbers = step.view(np.float64)
    for s in range(costs.size):
        first = s * batch
        count = min(batch, visited - first)
        tape = whole if count == batch else rest
        step[_COEFFICIENTS] = coefficients.ctypes.data + s * coefficients.shape[1] * 8
        step[_START], step[_NUMBER] = first, int(coefficients[s, _STEP])
        _play(launcher, tape, 0, gathered)
        total = 0.0
        for j in range(count):
            total += weights[j]
        if total == 0.0:  # no example counts, so there is nothing to average and nothing to learn
            costs[s] = 0.0
            continue
        _play(launcher, tape, gathered, headed)
        cost = 0.0
        for j in range(count):
            cost += weights[j] * losses[j]
        cost /= total
        if l2 > 0.0:
            cost += l2 / (2.0 * total) * squares.sum()
        costs[s] = cost
        if not math.isfinite(cost):
            return s + 1
        numbers[_L2] = l2 / total
        _play(launcher, tape, headed, tape.shape[0])
    return costs.size


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
        Columns of a batch; the last batch may be smaller.
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
    plan = _Plan(parameters, X, Y, order, batch_size, dropout, sample_weight)
    rule, _ = parse(rule, RULES, "rule")
    counts = [plan.batch, plan.visited % plan.batch or plan.batch]
    tapes = [plan.tape(count, activations, output, loss, rule, state, l2, int(key)) for count in counts]
    scratch = np.empty(max(tape.room for tape in tapes) + _LINE, np.uint8)
    place = address_of(scratch)
    whole, rest = (tape.array(place + -place % _LINE) for tape in tapes)
    weights = plan.array("weights", plan.batch, np.float64)
    if sample_weight is None:
        weights[:] = 1.0
        plan.array("factors", plan.batch, plan.dtype)[:] = 1.0
    costs = np.empty(len(coefficients))
    arguments = (
        whole, rest, tapes[0].gathered, tapes[0].headed, plan.step, coefficients, plan.batch, plan.visited, weights,
        plan.array("losses", plan.batch, np.float64), plan.array("squares", plan.L, np.float64), float(l2), costs,
    )  # fmt: skip
    if max(row[1] for tape in tapes for row in tape.rows) == 1:
        begun = _steps(0, *arguments)
    else:
        with compiling.parallel_region():
            begun = _steps(launcher(), *arguments)
    return costs[:begun]
