"""The layout of a batch in pieces: each goes forward and back by itself and sums gradients of its own.

Where the parameters are few beside the activations of a batch, it is cheaper to sum the gradients of the pieces than to
pass activations on: a thread works on its pieces alone, in arrays for one piece that stay in its cache, where `columns`
sums over the examples of all threads. After all pieces the threads share the parameters: each adds up, in the order of
the pieces, the gradients of some, and updates these.

Where a batch is cut depends on its size and on the network only, so the bits do not depend on the number of threads.
"""

import copy

from . import optimizers, plan
from .affine import share
from .columns import ColumnPlan
from .reductions import add_pieces
from .steps import SPLIT_PANELS
from .tapes import Tape

__all__ = ["PiecePlan", "number_of_pieces"]

_WORK = 1_200_000  # multiply-adds forward below which a batch is not worth several threads
_WEIGHTS = 2**18  # bytes of weights that stay in the second level of cache beside a piece
_CHEAPER = 2  # how many times as many units of all examples there must be as weights
_LEAST = 96  # examples of a batch
_PIECE = 128  # examples of a piece, where there are more than two
_BYTES = 2**19  # of the activations of a piece, that it stays in cache
# How many times the gradients of all pieces, but for one that makes their number even, must fit into the activations.
_MEMORY = 4
_TASKS = 32_768  # of all pieces, six for each layer: each is written in Python once
_MOST = 256  # pieces
_GRAIN = 16  # numbers of parameters that are not shared, a cache line


def number_of_pieces(units, batch, dtype):
    """How many pieces to make of a batch; 1 where this layout is not worth it."""
    weights, others = sum(n * k for k, n in zip(units, units[1:], strict=False)), sum(units[1:])
    if batch < _LEAST or batch * weights < _WORK:
        return 1
    if weights * dtype.itemsize > _WEIGHTS or _CHEAPER * weights > batch * others:
        return 1
    most = max(2, min(_MOST, batch * (units[0] + others) // (_MEMORY * weights), _TASKS // (6 * len(units))))
    for_threads = 2 if batch < 4 * _PIECE else 4 if batch < 8 * _PIECE else 8
    for_cache = min(-(-batch * (units[0] + 3 * others) * dtype.itemsize // _BYTES), batch // _PIECE, _MOST)
    if units[0] > others and for_cache > most:  # pieces of X that do not stay in cache gain nothing
        return 1
    number = min(most, max(for_threads, for_cache))
    return number + number % 2  # two threads share them evenly


class PiecePlan(ColumnPlan):
    """A plan for batches in pieces."""

    def measure(self):
        panels = self.padded // self.tile.NR
        self.number = min(panels, number_of_pieces(self.units, self.batch, self.dtype))
        self.room_in_piece = -(-panels // self.number) * self.tile.NR
        super().measure()
        self.by_units = self.by_features = False  # what threads share are pieces
        self.stored, ends = True, [0]  # gradients, one parameter behind the other
        for k, n in zip(self.units, self.units[1:], strict=False):
            ends.append(ends[-1] + n * k)
        self.gradient_places = {f"dW{l}": end for l, end in enumerate(ends[:-1], start=1)} | {"db": ends[-1]}
        self.distance = -(-(ends[-1] + sum(self.units[1:])) // _GRAIN) * _GRAIN  # from one piece's to the next one's

    def gradient_sizes(self):
        return {"gradients": self.size * self.distance * self.number}

    def sizes(self):
        self.layers = super().sizes()
        return {f"{name}.{t}": size for t in range(self.threads(self.batch)) for name, size in self.layers.items()}

    @property
    def room(self):
        return self.room_in_piece

    def gradient_row(self, k):
        return k

    def pieces(self, count):
        """How many pieces there are of `count` examples; none has more than there is room for."""
        return min(-(-count // self.tile.NR), -(-count * self.number // self.batch))

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
        size_of_Y = 8 if self.indices else self.size
        if self.in_place:
            step = self.size * (self.X.row_stride if self.examples_are_rows else 1)
            piece.X = self.X._replace(address=self.X.address + first * step)
            piece.Y = self.Y._replace(address=self.Y.address + first * size_of_Y)
        piece.address = self.address | {name: self.address[f"{name}.{t}"] for name in self.layers}
        piece.address |= self.gradients_of(p)
        for name, size in (("Y", size_of_Y), ("losses", 8), ("factors", self.size)):
            if name in piece.address:
                piece.address[name] += first * size
        return piece

    def tape_of(self, t, threads, count):
        """What thread t does: its pieces, one after the other, from gathering examples to gradients."""
        tape, pieces, panels = Tape(), self.pieces(count), -(-count // self.tile.NR)
        for p in range(pieces * t // threads, pieces * (t + 1) // threads):
            first, last = (min(count, panels * q // pieces * self.tile.NR) for q in (p, p + 1))
            piece = self.piece(p, first, t)
            piece.passes(tape, last - first, 1, SPLIT_PANELS)
            piece.sums(tape, last - first, count, 1)
        tape.cut(1)
        return tape

    def write(self, tape, count):
        threads = self.threads(count)
        self.targets(tape, count)
        gathered = tape.cut(1)
        tape.add_own([self.tape_of(t, threads, count) for t in range(threads)])
        self.squares(tape)
        headed = tape.cut(threads)
        update = 0 if self.clip_norm else optimizers.block(self.rule, self.dtype)
        for l in range(1, self.L + 1):
            for is_bias, (parameter, (gradient, row), n, k) in enumerate(self._pairs(l)):
                places = parameter, self.m[2 * l - 2 + is_bias], self.v[2 * l - 2 + is_bias]
                if all(stride in (0, k) for _, stride in places):  # no gaps: all of it is one row
                    n, k = 1, n * k
                record = optimizers.update_record(*places, self.running, is_bias)
                record = [gradient, row, n, k, _GRAIN, self.pieces(count), self.distance, update, *record]
                tape.add(add_pieces(self.dtype), record)
        return self.finish(tape, threads, (gathered, headed))
