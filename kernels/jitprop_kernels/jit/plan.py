"""The plan of a step: where its arrays lie, and its tasks in order, a tape, that is played for every batch.

Three blocks stand for a hidden layer l, in panels (see `steps`)::

    G   Z[l], which the activation overwrites with g'(Z[l]), times the mask of dropout
    A   A[l], which going back overwrites with dZ[l] = (W[l+1]^T dZ[l+1]) * G
    T   A[l] with examples as rows, from which dW[l+1] is summed

A tape is a list of regions. Within one, every thread plays all tasks on its own part of the batch without waiting for
the others: a step has one region from the gathering of its examples to dZ[1], and one that sums the gradients and
updates the parameters. Where a batch has fewer panels than there are threads, these share the rows of each product,
and wait for each other after it.
"""

import numpy as np

from ..contract import ACTIVATIONS, RULES, dropout_threshold, parse
from . import activations, batches, losses, optimizers, reductions, steps
from .affine import Matrix, share
from .launch import address_of, bits, compiled_task
from .steps import DEPTH, SPLIT_PANELS, SPLIT_ROWS
from .tile import tile
from .vectors import call_address, unpack

__all__ = ["Plan", "player"]

_WIDTH = 36  # entries of a row of a tape: task, record
_LINE = 64  # bytes of a cache line
_SPAWN = 400_000  # multiply-adds of a region below which a second thread costs more than it brings
_AHEAD = 2**19  # bytes of the next batch that are asked for ahead: half a second level of cache


def _play_part(record, t, tasks, one):
    """Play a region's tasks for one thread: record (address of the tape, first, last)."""
    tape, first, last = unpack(record, 3)
    for row in range(tape + first * _WIDTH * 8, tape + last * _WIDTH * 8, _WIDTH * 8):
        call_address(unpack(row, 1)[0], row + 8, t, tasks)


def player():
    """The task that plays a region."""
    return compiled_task(_play_part, np.dtype(np.float64))


class _Tape:
    """The tasks of a step and the regions they form: rows (first, last, threads)."""

    def __init__(self):
        self.rows, self.cuts, self.scratch, self.room = [], [0], [], 0
        self.threads = []

    def add(self, task, record, scratch=None, room=0):
        """Add a task; entry `scratch` of its record is to be the address of `room` bytes that it may use."""
        self.rows.append([task, *record])
        if scratch is not None:
            self.scratch.append((len(self.rows) - 1, 1 + scratch))
            self.room = max(self.room, room)

    def cut(self, threads):
        """End a region, to be played by so many threads."""
        if len(self.rows) > self.cuts[-1]:
            self.cuts.append(len(self.rows))
            self.threads.append(threads)
        return len(self.threads)

    def finish(self, marks):
        """Make the arrays that are played, and the scratch that tasks share one after the other."""
        self.marks, self.parallel = marks, max(self.threads) > 1
        self.buffer = np.empty(self.room + _LINE, np.uint8)
        place = address_of(self.buffer)
        self.records = np.zeros((len(self.rows), _WIDTH), np.int64)
        for i, row in enumerate(self.rows):
            self.records[i, : len(row)] = row
        for i, entry in self.scratch:
            self.records[i, entry] = place + -place % _LINE
        start = address_of(self.records)
        self.regions = np.array(
            [[start, *ends, n] for *ends, n in zip(self.cuts, self.cuts[1:], self.threads, strict=False)], np.int64
        )
        return self


class Plan:
    """Where everything lies, and the tapes of the batch sizes that came up.

    A plan holds addresses, not arrays: it serves every call whose arrays lie in the same places with the same shapes.
    """

    def __init__(
        self, parameters, X, Y, in_place, batch, activations, output, loss, rule, state, l2, rates, key, sample_weight
    ):  # fmt: skip
        self.dtype, self.size, self.indices = X.dtype, X.itemsize, Y.dtype == np.int64
        self.tile = tile(self.dtype)
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
        self.step = np.zeros(5, np.int64)
        self.tapes = {}
        self._lay_out()

    def _pad(self, n):
        """Distance of rows of n numbers: whole vectors, and no power of two that would crowd rows into few sets."""
        padded = -(-n // 16) * 16
        return padded + 16 if padded * self.size % 2048 == 0 else padded

    def _lay_out(self):
        """One allocation, every array on a cache line of its own."""
        NR, VL, L = self.tile.NR, self.tile.VL, self.L
        self.padded = -(-self.batch // NR) * NR
        self.stride, self.feature_stride = self._pad(self.padded), self._pad(self.units[0])
        # Numbers in a panel of a layer, whose last rows a transposition fills up to whole vectors.
        self.panel = [-(-n // VL) * VL * NR for n in self.units]
        sizes = {
            "losses": 8 * self.padded,
            "weights": 8 * self.padded,
            "squares": 8 * sum(self.units[1:]) if self.l2 else 0,
            "factors": self.size * self.padded,
            "db": self.size * max(self.units),
            "Y": 0 if self.in_place else (8 if self.indices else self.size * self.units[-1]) * self.stride,
            "sample_weight": self.size * self.padded,
            f"A{L}": self.size * self.units[-1] * self.stride,  # Z[L] and dZ[L] are matrices, as heads want them
            f"G{L}": self.size * self.units[-1] * self.stride,
        }
        panels, rows = self.padded // NR, self.padded * self.size
        for l in range(L):
            sizes[f"A{l}"] = self.size * panels * self.panel[l]
            sizes[f"T{l}"] = rows * -(-self.units[l] // NR) * NR
            sizes[f"G{l}"] = sizes[f"A{l}"] if l else 0
        if self.examples_are_rows:
            sizes["T0"] = 0 if self.in_place else rows * self.feature_stride
        elif self.in_place:
            sizes["A0"] = 0
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

    def panels(self, name, l):
        """A layer's panels: address, numbers from panel to panel, numbers from row to row."""
        NR = self.tile.NR
        if l == self.L:
            return self.address[f"{name}{l}"], NR, self.stride
        if l == 0 and self.in_place and not self.examples_are_rows:
            return self.X.address, NR, self.X.row_stride
        return self.address[f"{name}{l}"], self.panel[l], NR

    def turned(self, l):
        """A[l] with examples as rows: address, numbers from block to block of units, numbers from example to example."""
        NR = self.tile.NR
        if l == 0 and self.examples_are_rows:
            return (self.X.address, NR, self.X.row_stride) if self.in_place else (self.address["T0"], NR, self.feature_stride)
        return self.address[f"T{l}"], self.padded * NR, NR

    def before(self, tape, count):
        """What threads share: targets and weights of the batch."""
        NR, step = self.tile.NR, address_of(self.step)
        weights = None if self.sample_weight is None else self.sample_weight.address
        if not self.in_place:
            dtype, n = (np.dtype(np.int64), 1) if self.indices else (self.dtype, self.units[-1])
            record = [*self.Y[:2], n, step, count, self.address["Y"], NR, self.stride, NR]
            tape.add(batches.gather_columns(dtype), record)
            if weights is not None:
                record = [weights, 0, 1, step, count, self.address["sample_weight"], NR, 0, NR]
                tape.add(batches.gather_columns(self.dtype), record)
                weights = self.address["sample_weight"]
        if weights is not None:
            tape.add(batches.weigh(self.dtype), [weights, count, self.address["weights"], self.address["factors"]])

    def gather(self, tape, count):
        """Panels and rows of the batch's examples, after dropout of the input."""
        n, NR, step, rate = self.units[0], self.tile.NR, address_of(self.step), self.rates[0]
        a, a_panel, a_row = self.panels("A", 0)
        if self.examples_are_rows:
            x, _, stride = self.turned(0)
            if not self.in_place:
                record = [*self.X[:2], n, step, count, x, stride, NR]
                tape.add(batches.gather_rows(self.dtype), record)
            if rate:
                place = x, stride
                record = batches.dropout_record(place, place, count, n, rate, self.key, 0, step, True, NR)
                tape.add(batches.dropout(self.dtype), record)
            tape.add(*steps.turn_rows(self.dtype, self.tile, n, count, x, stride, a, a_panel))
            return
        if not self.in_place:
            record = [*self.X[:2], n, step, count, a, a_panel, a_row, NR]
            tape.add(batches.gather_columns(self.dtype), record)
            if rate:
                self.drop(tape, 0, count, "A")
        tape.add(*steps.turn(self.dtype, self.tile, n, count, a, a_panel, a_row, *self.turned(0)[:2]))

    def drop(self, tape, l, count, beside):
        """Dropout of A[l] and of what stands beside it."""
        record = [
            self.address[f"A{l}"], self.address[f"{beside}{l}"], self.panel[l], self.units[l], count, self.tile.NR,
            dropout_threshold(self.rates[l]), bits(1.0 / (1.0 - self.rates[l])), self.key, l, address_of(self.step),
        ]  # fmt: skip
        tape.add(batches.drop_panels(self.dtype), record)

    def forward(self, tape, l, count, split):
        """Z[l], A[l], g'(Z[l])."""
        n, k, W = self.units[l], self.units[l - 1], self.W[l - 1]
        more = {}
        if l < self.L:
            name, parameter = parse(self.activations[l - 1], ACTIVATIONS, "activation")
            block = activations.block(name, activations.PAIR, self.dtype)
            more = {"block": block, "other": self.panels("A", l)[:2], "parameter": parameter}
        tape.add(
            *steps.product(
                self.dtype, self.tile, n, k, count, split, W, self.panels("A", l - 1), self.panels("G", l),
                bias=self.b[l - 1].address, **more,
            )  # fmt: skip
        )

    def turn(self, tape, l, count):
        """Dropout of A[l], then A[l] with examples as rows."""
        if self.rates[l]:
            self.drop(tape, l, count, "G")
        a, a_panel, a_row = self.panels("A", l)
        tape.add(*steps.turn(self.dtype, self.tile, self.units[l], count, a, a_panel, a_row, *self.turned(l)[:2]))

    def head(self, tape, count, threads):
        task, parameter = losses.head(self.loss, self.output, self.dtype)
        n, Y = self.units[-1], self.Y if self.in_place else (self.address["Y"], self.stride)
        record = [
            self.address[f"G{self.L}"], self.stride, *Y[:2], int(self.indices), self.address[f"A{self.L}"], self.stride,
            n, count, self.tile.NR, self.address["factors"], self.address["losses"], bits(parameter), 0,
        ]  # fmt: skip
        tape.add(task, record, scratch=len(record) - 1, room=threads * 2 * losses.CHUNK * self.size)

    def backward(self, tape, l, count, split):
        """dZ[l-1] from dZ[l], in the place of A[l-1]."""
        n, k, W = self.units[l], self.units[l - 1], self.W[l - 1]
        record = steps.product(
            self.dtype, self.tile, k, n, count, split, Matrix(W.address, 1, W.row_stride), self.panels("A", l),
            self.panels("A", l - 1), block=activations.multiply(self.dtype), other=self.panels("G", l - 1)[:2],
        )  # fmt: skip
        tape.add(*record)

    def update(self, tape, l, count, threads):
        """The gradients of layer l and the update of its parameters."""
        n, k, W, b, NR = self.units[l], self.units[l - 1], self.W[l - 1], self.b[l - 1], self.tile.NR
        step, place = address_of(self.step), self.panels("A", l)
        m, v = ([self.slots[name][i] if name in self.slots else (0, 0) for i in (2 * l - 2, 2 * l - 1)] for name in "mv")
        record = optimizers.update_record(b[:2], m[1], v[1], step, True)
        flat = all(stride in (0, 1) for _, stride in (b[:2], m[1], v[1]))
        block = optimizers.block(self.rule, self.dtype)
        D = place[0], place[2], place[1]
        tape.add(
            *steps.bias_gradients(self.dtype, self.tile, n, count, D, self.address["db"], record, flat, block)
        )
        tiles, blocks = -(-n // self.tile.MR), -(-k // NR)
        split = SPLIT_ROWS if -(-tiles // threads) * blocks <= -(-blocks // threads) * tiles else SPLIT_PANELS
        groups = (NR, place[1] - NR) if l < self.L else (count, 0)
        direct = self.rule == "sgd" and count <= DEPTH
        task, record = steps.weight_gradients(
            self.dtype, self.tile, n, k, count, split, (place[0], place[2], *groups), self.turned(l - 1), W[:2],
            optimizers.update_record(W[:2], m[0], v[0], step, False), update=0 if direct else block,
        )  # fmt: skip
        tape.add(task, record, scratch=18, room=threads * self.tile.MR * NR * self.size)

    def tape(self, count):
        """The tasks of a step of `count` examples."""
        if count in self.tapes:
            return self.tapes[count]
        tape, panels = _Tape(), -(-count // self.tile.NR)
        work = count * sum(n * k for k, n in zip(self.units, self.units[1:], strict=False))
        threads = share(work, _SPAWN)
        split = SPLIT_PANELS if panels >= threads else SPLIT_ROWS
        together = threads if split == SPLIT_PANELS else 1

        def alone(add, *arguments):
            """Add a task for whose rows all threads come together, if they have no panels of their own."""
            if split == SPLIT_ROWS:
                tape.cut(1)
            add(tape, *arguments, count, split)
            if split == SPLIT_ROWS:
                tape.cut(threads)

        self.before(tape, count)
        gathered = tape.cut(1)
        self.gather(tape, count)
        for l in range(1, self.L + 1):
            alone(self.forward, l)
            if l < self.L:
                self.turn(tape, l, count)
        self.head(tape, count, together)
        for l in range(self.L, 1, -1):
            alone(self.backward, l)
        if self.l2:
            place = self.address["squares"]
            for l in range(1, self.L + 1):
                record = [*self.W[l - 1][:2], self.units[l], self.units[l - 1], place]
                tape.add(reductions.squares(self.dtype), record)
                place += 8 * self.units[l]
        headed = tape.cut(together)
        if self.examples_are_rows and not self.in_place:
            n = self.units[0]
            if count * n * self.size <= _AHEAD * threads:
                tape.add(*steps.prefetch_rows(self.dtype, *self.X[:2], n, address_of(self.step), count))
        for l in range(self.L, 0, -1):
            self.update(tape, l, count, threads)
        tape.cut(threads)
        self.tapes[count] = tape.finish((gathered, headed))
        return tape
