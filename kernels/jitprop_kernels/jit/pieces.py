"""The layout of a batch in pieces: each goes forward and back by itself and sums gradients of its own.

Where the parameters are few beside the activations of a batch, it is cheaper to sum the gradients of the pieces than to
pass activations on: a thread works on its pieces alone, in arrays for one piece that stay in its cache, where `columns`
sums over the examples of all threads. After all pieces the threads share the parameters: each adds up, in the order of
the pieces, the gradients of some, and updates these.

Where a batch is cut depends on its size and on the network only, so the bits do not depend on the number of threads.
"""

import copy

import numpy as np

from . import optimizers, plan
from .affine import share
from .columns import ColumnPlan
from .launch import address_of, compiled_task, part, part_of
from .steps import SPLIT_PANELS
from .tapes import Tape, play_tapes
from .vectors import call_address, size_of, unpack, vector_at

__all__ = ["PiecePlan", "pieces"]

_WORK = 1_200_000  # multiply-adds forward below which a batch is not worth several threads
_WEIGHTS = 2**18  # bytes of weights that stay in the second level of cache beside a piece
_CHEAPER = 2  # times as many activations as weights
_LEAST, _FEW = 96, 128  # examples of a batch, and of a piece of one that has more than two
_BYTES = 2**19  # of a piece
_MEMORY = 4  # numbers of a batch, of X as well, to one of the gradients of all pieces
_MOST = 256  # pieces
_LINE, _AT_ONCE = 16, 2048  # numbers of a cache line; those that are summed, then updated


def pieces(units, batch, dtype):
    """How many pieces a batch is worth; 1 where this layout is not."""
    weights, others = sum(n * k for k, n in zip(units, units[1:], strict=False)), sum(units[1:])
    if batch < _LEAST or batch * weights < _WORK:
        return 1
    if weights * dtype.itemsize > _WEIGHTS or _CHEAPER * weights > batch * others:
        return 1
    threads = 2 if batch < 4 * _FEW else 4 if batch < 8 * _FEW else 8
    fitting = -(-batch * (units[0] + 3 * others) * dtype.itemsize // _BYTES)
    number = min(_MOST, max(threads, min(fitting, batch // _FEW)))
    return number if number <= max(2, batch * (units[0] + others) // (_MEMORY * weights)) else 1


def _add_pieces(record, t, tasks, one):
    g, g_row, rows, columns, pieces, distance, update = unpack(record, 7)
    size = size_of(one)
    i0, i1, j0, j1 = 0, 1, 0, columns
    if rows == 1:
        j0, j1 = part_of(columns, _LINE, t, tasks)
    else:
        i0, i1 = part(rows, t, tasks)
    for i in range(i0, i1):
        for j in range(j0, j1, _AT_ONCE):
            n, place = min(_AT_ONCE, j1 - j), g + (i * g_row + j) * size
            total = vector_at(place, n, one)
            for p in range(1, pieces):
                other = vector_at(place + p * distance * size, n, one)
                for q in range(n):
                    total[q] += other[q]
            if update != 0:
                call_address(update, record + 7 * 8, i, j, place, 0, 1, n)


class PiecePlan(ColumnPlan):
    """A plan for batches in pieces."""

    def gradient_sizes(self):
        self.panels_of_piece = -(-(self.padded // self.tile.NR) // pieces(self.units, self.batch, self.dtype))
        self.stored, ends = True, [0]
        for k, n in zip(self.units, self.units[1:], strict=False):
            ends.append(ends[-1] + n * k)
        # Numbers from the start of a piece's gradients, and from those of one piece to the next.
        self.gradient_places = {f"dW{l}": end for l, end in enumerate(ends[:-1], start=1)} | {"db": ends[-1]}
        self.distance = -(-(ends[-1] + sum(self.units[1:])) // _LINE) * _LINE
        return {"gradients": self.size * self.distance * self.pieces(self.batch)}

    def sizes(self):
        self.layers = super().sizes()
        return {f"{name}.{t}": size for t in range(self.threads(self.batch)) for name, size in self.layers.items()}

    @property
    def room(self):
        return self.panels_of_piece * self.tile.NR

    def gradient_row(self, k):
        return k

    def pieces(self, count):
        """How many pieces there are of `count` examples."""
        return -(-count // self.room)

    def threads(self, count):
        weights = sum(n * k for k, n in zip(self.units, self.units[1:], strict=False))
        # Of every parameter a thread is passed the gradients of other pieces, and later the new value.
        return min(self.pieces(count), share((count - 2 * plan.CROSSING) * weights, plan.SPAWN))

    def _allocate(self, sizes):
        super()._allocate(sizes)
        self.address |= self.gradients_of(0)  # which take the sums

    def gradients_of(self, p):
        """The addresses of the gradients of piece p."""
        start = self.address["gradients"] + p * self.distance * self.size
        return {name: start + place * self.size for name, place in self.gradient_places.items()}

    def piece(self, p, first, t):
        """The plan of piece p, whose first example is `first`, for thread t."""
        piece = copy.copy(self)
        piece.begin = first
        indices = 8 if self.indices else self.size
        if self.in_place:
            step = self.size * (self.X.row_stride if self.examples_are_rows else 1)
            piece.X = self.X._replace(address=self.X.address + first * step)
            piece.Y = self.Y._replace(address=self.Y.address + first * indices)
        piece.address = self.address | {name: self.address[f"{name}.{t}"] for name in self.layers}
        piece.address |= self.gradients_of(p)
        for name, size in (("Y", indices), ("losses", 8), ("factors", self.size)):
            if name in piece.address:
                piece.address[name] += first * size
        return piece

    def write(self, tape, count):
        NR, number, threads = self.tile.NR, self.pieces(count), self.threads(count)
        panels = -(-count // NR)
        self.targets(tape, count)
        gathered = tape.cut(1)
        for t in range(threads):
            own = Tape()
            for p in range(number * t // threads, number * (t + 1) // threads):
                first, last = (min(count, panels * q // number * NR) for q in (p, p + 1))
                piece = self.piece(p, first, t)
                piece.passes(own, last - first, 1, SPLIT_PANELS)
                piece.sums(own, last - first, count, 1)
            own.cut(1)
            tape.inner.append(own.finish(()))
        table = np.array([[address_of(own.records), len(own.records)] for own in tape.inner], np.int64)
        tape.table = table
        tape.add(play_tapes(), [address_of(table)])
        self.squares(tape)
        headed = tape.cut(threads)
        update = 0 if self.clip_norm else optimizers.block(self.rule, self.dtype)
        for l in range(1, self.L + 1):
            for is_bias, (parameter, (gradient, row), n, k) in enumerate(self._pairs(l)):
                places = parameter, self.m[2 * l - 2 + is_bias], self.v[2 * l - 2 + is_bias]
                if all(stride in (0, k) for _, stride in places):  # no gaps: all of it is one row
                    n, k = 1, n * k
                record = optimizers.update_record(*places, self.running, is_bias)
                record = [gradient, row, n, k, number, self.distance, update, *record]
                tape.add(compiled_task(_add_pieces, self.dtype), record)
        return self.finish(tape, count, threads, (gathered, headed))
