"""The plan of a step: where its arrays lie, and the list of tasks, a tape, that is played for every batch.

Layers are units times examples, as in the course. Z[l] is overwritten by g'(Z[l]) in the pass that computes A[l], so
that backward only has to multiply; the two are A and G here. Where examples are the rows of X in memory, a batch is
gathered row by row and stays so: the products of the first layer read it transposed.
"""

import numpy as np

from ..contract import ACTIVATIONS, RULES, parse
from . import activations, batches, losses, optimizers, reductions
from .affine import TRANSPOSED, Matrix, parts, product, reading, share
from .launch import address_of, bits

__all__ = ["WIDTH", "Plan"]

WIDTH = 32  # entries of a row of a tape: task, tasks, record
_LINE = 64  # bytes of a cache line
_ELEMENTS = 200_000  # numbers that are only read and written: below so many a second thread costs more than it brings


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

    def finish(self):
        """Make the array of records, and the scratch that its tasks share one after the other."""
        self.parallel = any(tasks > 1 for _, tasks, *_ in self.rows)
        self.buffer = np.empty(self.room + _LINE, np.uint8)
        place = address_of(self.buffer)
        self.records = np.zeros((len(self.rows), WIDTH), np.int64)
        for i, row in enumerate(self.rows):
            self.records[i, : len(row)] = row
        for i, entry in self.scratch:
            self.records[i, entry] = place + -place % _LINE
        return self


class Plan:
    """Where everything lies, and the tapes of the batch sizes that came up.

    A plan holds addresses, not arrays: it serves every call whose arrays lie in the same places with the same shapes.
    """

    def __init__(
        self, parameters, X, Y, in_place, batch, activations, output, loss, rule, state, l2, rates, key, sample_weight
    ):  # fmt: skip
        self.dtype, self.size, self.indices = X.dtype, X.itemsize, Y.dtype == np.int64
        self.in_place, self.batch = in_place, batch
        self.activations, self.output, self.loss, self.rule = activations, output, loss, rule
        self.l2, self.rates, self.key = l2, rates, key
        self.examples_are_rows = not X.flags.c_contiguous
        self.units = [X.shape[0], *(W.shape[0] for W in parameters[::2])]
        self.L = len(self.units) - 1
        self.X = Matrix(address_of(X), X.strides[1 if self.examples_are_rows else 0] // self.size)
        self.Y = Matrix(address_of(Y), Y.strides[0] // Y.itemsize)
        self.sample_weight = None if sample_weight is None else Matrix(address_of(sample_weight), 0)
        places = [Matrix(address_of(p), p.strides[0] // self.size) for p in parameters]
        self.W, self.b = places[::2], places[1::2]
        self.slots = {
            name: [(address_of(array), array.strides[0] // self.size) for array in arrays]
            for name, arrays in zip(RULES[rule].slots, state, strict=True)
        }
        self.step = np.zeros(4, np.int64)
        self.tapes = {}
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
            "dW": self.size * max(n * k for k, n in zip(self.units, self.units[1:], strict=False)),
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

    def gather(self, tape, count):
        """Tasks that copy the batch's columns of X, Y and the sample weights."""
        step = address_of(self.step)
        arrays = [("Y", self.Y, 1 if self.indices else self.units[-1], np.int64 if self.indices else self.dtype)]
        if self.sample_weight is not None:
            arrays.append(("sample_weight", self.sample_weight, 1, self.dtype))
        if not self.examples_are_rows:
            arrays.append(("X", self.X, self.units[0], self.dtype))
        for name, source, n, dtype in arrays:
            record = [*source[:2], n, step, count, *self.matrix(name)[:2]]
            tape.add(batches.gather_columns(dtype), record, min(n, share(n * count, _ELEMENTS)))
        if self.examples_are_rows:
            n = self.units[0]
            record = [*self.X[:2], n, step, count, self.address["X"], self.feature_stride]
            tape.add(batches.gather_rows(self.dtype), record, share(n * count, _ELEMENTS))

    def drop(self, tape, name, l, count):
        """Dropout of layer l in place."""
        if not self.rates[l]:
            return
        place, rows, columns, swapped = self.matrix(name)[:2], self.units[l], count, False
        if name == "X" and self.examples_are_rows:
            place, rows, columns, swapped = (self.address["X"], self.feature_stride), count, self.units[0], True
        step = address_of(self.step)
        record = batches.dropout_record(place, place, rows, columns, self.rates[l], self.key, l, step, swapped)
        tape.add(batches.dropout(self.dtype), record, share(rows * columns, _ELEMENTS))

    def previous(self, l):
        """A[l-1], and whether its rows are examples."""
        if l > 1:
            return self.matrix(f"A{l - 1}"), False
        if self.in_place:
            return self.X, self.examples_are_rows
        stride = self.feature_stride if self.examples_are_rows else self.stride
        return Matrix(self.address["X"], stride), self.examples_are_rows

    def multiply(self, tape, n, m, k, A, B, mode, C, **rest):
        """Add a product; its scratch comes when all tapes are written."""
        tasks = parts(n * m * k)
        task, record, room = product(self.dtype, n, m, k, A, B, mode, C, tasks, scratch=0, **rest)
        tape.add(task, record, tasks, scratch=len(record) - 2, room=room)

    def forward(self, tape, l, count):
        n, k = self.units[l], self.units[l - 1]
        A_prev, examples_are_rows = self.previous(l)
        mode = TRANSPOSED if examples_are_rows else reading(n, A_prev.row_stride, self.size)
        W, bias = self.W[l - 1], self.b[l - 1].address
        if l == self.L:
            self.multiply(tape, n, count, k, W, A_prev, mode, self.matrix(f"Z{l}"), bias=bias)
            return
        name, parameter = parse(self.activations[l - 1], ACTIVATIONS, "activation")
        block = activations.block(name, activations.PAIR, self.dtype)
        self.multiply(
            tape, n, count, k, W, A_prev, mode, self.matrix(f"G{l}"),
            bias=bias, block=block, other=self.matrix(f"A{l}")[:2], parameter=parameter,
        )  # fmt: skip
        self.drop(tape, f"A{l}", l, count)
        self.drop(tape, f"G{l}", l, count)

    def head(self, tape, count):
        task, parameter = losses.head(self.loss, self.output, self.dtype)
        n, Y = self.units[-1], self.Y if self.in_place else self.matrix("Y")
        tasks = share(n * count, _ELEMENTS)
        record = [
            *self.matrix(f"Z{self.L}")[:2], *Y[:2], int(self.indices), *self.matrix(f"D{self.L}")[:2], n, count,
            self.address["factors"], self.address["losses"], bits(parameter), 0,
        ]  # fmt: skip
        tape.add(task, record, tasks, scratch=len(record) - 1, room=tasks * 2 * losses.CHUNK * self.size)

    def backward(self, tape, l, count):
        """The gradients of layer l; dZ of the layer before it, formed of W before W changes; the update."""
        n, k = self.units[l], self.units[l - 1]
        W, dZ, mean = self.W[l - 1], self.matrix(f"D{l}"), 1.0 / count
        A_prev, examples_are_rows = self.previous(l)
        dW, db = Matrix(self.address["dW"], k), Matrix(self.address["db"], 1)
        sums = reductions.row_products(self.dtype)
        if n == 1 and not examples_are_rows:  # inner products, which sum in another order than the tile
            record = [*A_prev[:2], dZ.address, k, count, dW.address, 1, bits(mean)]
            tape.add(sums, record, share(k * count, _ELEMENTS))
        else:
            mode = reading(n, A_prev.row_stride, self.size) if examples_are_rows else TRANSPOSED
            self.multiply(tape, n, k, count, dZ, A_prev, mode, dW, alpha=mean)
        tape.add(sums, [*dZ[:2], 0, n, count, db.address, 1, bits(mean)], share(n * count, _ELEMENTS))
        if l > 1:
            self.multiply(
                tape, k, count, n, Matrix(W.address, 1, W.row_stride), dZ, reading(k, self.stride, self.size),
                self.matrix(f"D{l - 1}"), block=activations.multiply(self.dtype), other=self.matrix(f"G{l - 1}")[:2],
            )  # fmt: skip
        for is_bias, parameter, gradient, columns in ((0, W, dW, k), (1, self.b[l - 1], db, 1)):
            m, v = (self.slots[name][2 * l - 2 + is_bias] if name in self.slots else (0, 0) for name in ("m", "v"))
            record = [*parameter[:2], *gradient[:2], *m, *v, n, columns, address_of(self.step), is_bias]
            tape.add(optimizers.update(self.rule, self.dtype), record, share(n * columns, _ELEMENTS))

    def tape(self, count):
        """The tasks of a step of `count` examples."""
        if count in self.tapes:
            return self.tapes[count]
        tape = _Tape()
        if not self.in_place:
            self.gather(tape, count)
        if self.sample_weight is not None:
            place = self.sample_weight.address if self.in_place else self.address["sample_weight"]
            tape.add(batches.weigh(self.dtype), [place, count, self.address["weights"], self.address["factors"]])
        tape.gathered = len(tape.rows)
        self.drop(tape, "X", 0, count)
        for l in range(1, self.L + 1):
            self.forward(tape, l, count)
            if self.l2:
                record = [*self.W[l - 1][:2], self.units[l], self.units[l - 1], self.address["squares"] + 8 * (l - 1)]
                tape.add(reductions.squares(self.dtype), record)
        self.head(tape, count)
        tape.headed = len(tape.rows)
        for l in range(self.L, 0, -1):
            self.backward(tape, l, count)
        self.tapes[count] = tape.finish()
        return tape
