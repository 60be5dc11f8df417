"""A[L] of any number of examples: the forward pass alone, without what going back would need.

Examples are columns in panels, as in `columns`, a block of them at a time, in two arrays that the layers fill in turn;
a few examples are rows, see `matvec`. X is read where it lies. Sums are taken in one order however many examples there
are and however X is laid out, so what a network says of an example does not depend on the others.
"""

import numpy as np

from ..contract import OUTPUTS, parse
from ..doors import checked
from . import activations, compiling, losses, steps
from .affine import Matrix, share
from .launch import address_of, launcher
from .matvec import FEW, few_product
from .plan import KeptPlans, Plan
from .steps import SPLIT_PANELS, SPLIT_ROWS
from .tapes import play, player
from .tile import RECTIFY, tile
from .vectors import unpack, vector_at

__all__ = ["network_forward"]

_BLOCK = 2**17  # numbers of a block's widest two layers together, for each thread: half a second level of cache
SPAWN = 400_000  # multiply-adds below which a second thread costs more than it brings

# What stands in a tape for the first example of a block and for its result; no record has another such number, as
# they are neither addresses, sizes nor the bits of a parameter.
_IN, _OUT = -(2**63) + 1, -(2**63) + 2


@compiling.jit
def _play_block(launcher, control, entries, x, out, offset):
    """Play a tape for the block whose first example is at x, and whose result begins so many numbers into `out`.

    `control` is the address of so many `entries`, see `write`.
    """
    player, regions, count, inputs = unpack(control, 4)
    result = out.ctypes.data + offset * out.itemsize
    for i in range(4, entries):
        place = unpack(control + i * 8, 1)[0]
        vector_at(place, 1, control)[0] = x if i < 4 + inputs else result
    play(launcher, player, regions, 0, count)


class _ForwardPlan(Plan):
    """Where the arrays of a forward pass lie, for blocks of up to `width` examples."""

    def __init__(self, parameters, X, threads, activations, output):
        self.dtype, self.size, self.tile = X.dtype, X.itemsize, tile(X.dtype)
        self.activations = activations
        self.output = None if output is None else parse(output, OUTPUTS, "output")[0]
        self.units = [X.shape[0], *(W.shape[0] for W in parameters[::2])]
        self.L = len(self.units) - 1
        self.thread_count, NR, m = threads, self.tile.NR, X.shape[1]
        width = self.width = min(m, max(4 * NR, threads * _BLOCK // (2 * max(self.units)) // NR * NR))
        rows = X.strides[0] == X.itemsize if m == 1 else X.strides[1] != X.itemsize
        self.examples_are_rows = rows
        self.X = Matrix(_IN, X.strides[1 if rows else 0] // self.size)
        places = [(address_of(p), p.strides[0] // self.size) for p in parameters]
        self.W, self.b = [Matrix(*place) for place in places[::2]], places[1::2]
        self.out_row, self.tapes = m, {}
        self.serial = self._work(m) < SPAWN
        self.padded = -(-width // NR) * NR
        self.feature_stride, self.stride = self.pad(self.units[0]), self.pad(self.padded)
        hidden = self.hidden = max(self.units[1:-1], default=0)
        self.widest = max(self.units[1:])
        self.wide = steps.wide(self.units)
        self._allocate({
            "A0": self.size * self.padded * self.units[0] if rows and not self.wide else 0,
            "T0": self.size * self.padded * self.feature_stride if self.wide and not rows else 0,
            "Z1": self.size * self.padded * self.units[1] if self.wide else 0,
            "even": self.size * self.padded * hidden,
            "odd": self.size * self.padded * hidden,
            "few": 2 * self.size * FEW * self.widest,
            "Z": self.size * self.stride * self.units[-1] if self.output == "softmax" else 0,
        })  # fmt: skip

    def _work(self, count):
        return count * sum(n * k for k, n in zip(self.units, self.units[1:], strict=False))

    def panels(self, l):
        """A layer's panels: address, numbers from panel to panel, numbers from row to row."""
        NR = self.tile.NR
        if l == self.L and self.output == "softmax":  # in its place LLVM's test for overlap would choose scalars
            return self.address["Z"], NR, self.stride
        if l == self.L:
            return _OUT, NR, self.out_row
        if l == 0 and not self.examples_are_rows:
            return self.X.address, NR, self.X.row_stride
        if l == 0:
            return self.address["A0"], self.units[0] * NR, NR
        # One distance for all layers: threads do not wait for each other between layers, and may not come together.
        return self.address[("even", "odd")[l % 2]], self.hidden * NR, NR

    def first(self, tape, count, threads):
        """Z[1] of a wide X, from rows."""
        n, k, NR = self.units[1], self.units[0], self.tile.NR
        x, stride = self.X[:2]
        if not self.examples_are_rows:
            x, stride = self.address["T0"], self.feature_stride
            tape.add(*steps.turn_rows(self.dtype, self.tile, count, k, *self.X[:2], x, NR, stride))
            tape.cut(threads)
        Z = self.address["Z1"], n
        tape.add(*steps.row_product(self.dtype, n, k, count, NR, (x, stride), self.W[0][:2], self.b[0][0], Z))
        place = self.panels(1)
        tape.add(*steps.turn_rows(self.dtype, self.tile, n, count, *Z, *place))
        if self.L > 1:
            block, parameter = self.activation(1, activations.IN_PLACE)
            tape.add(*steps.apply(self.dtype, self.tile, n, count, block, place, place, parameter))

    def activation(self, l, kind):
        """Relu is the block that does what the epilogue of `product` does, for examples may also come without one."""
        if self.activations[l - 1] == "relu":
            return activations.block(activations.SIGNED_RELU, kind, self.dtype), 0.0
        return super().activation(l, kind)

    def product(self, tape, l, count, split):
        """Z[l], of hidden layers A[l]."""
        more = {}
        if l < self.L:
            block, parameter = self.activation(l, activations.IN_PLACE)
            more = {"block": block, "other": self.panels(l), "parameter": parameter}
            if self.activations[l - 1] == "relu":
                more = {"epilogue": RECTIFY}
        tape.add(
            *steps.product(
                self.dtype, self.tile, self.units[l], self.units[l - 1], count, split, self.W[l - 1],
                self.panels(l - 1), self.panels(l), bias=self.b[l - 1][0], **more,
            )
        )  # fmt: skip

    def few(self, tape, count, threads):
        """Z[L] of a few examples, which are rows until then; threads share the units."""
        step = self.X.row_stride
        x, term, example = (_IN, 1, step) if self.examples_are_rows else (_IN, step, 1)
        if self.wide and not self.examples_are_rows:
            example, T0 = self.feature_stride, self.address["T0"]
            tape.add(*steps.turn_rows(self.dtype, self.tile, count, self.units[0], x, step, T0, self.tile.NR, example))
            tape.cut(1)
            x, term = T0, 1
        for l in range(1, self.L + 1):
            n, k, W, b = self.units[l], self.units[l - 1], self.W[l - 1][:2], self.b[l - 1][0]
            Z = self.address["few"] + l % 2 * self.size * FEW * self.widest, self.widest
            block, parameter = self.activation(l, activations.IN_PLACE) if l < self.L else (0, 0.0)
            if l == 1 and self.wide:
                tape.add(*steps.row_product(self.dtype, n, k, count, 0, (x, example), W, b, Z))
                if block:
                    tape.cut(threads)  # its parts are others
                    place = Z[0], self.tile.NR, Z[1]
                    tape.add(*steps.apply(self.dtype, self.tile, count, n, block, place, place, parameter))
            else:
                tape.add(*few_product(self.dtype, n, k, count, W, b, (x, term, example), Z, block, parameter))
            tape.cut(threads)
            x, term, example = Z[0], 1, Z[1]
        tape.add(*steps.turn_rows(self.dtype, self.tile, n, count, x, example, *self.panels(self.L)))

    def finish_outputs(self, tape, count):
        """A[L] of Z[L]."""
        n, out = self.units[self.L], self.panels(self.L)
        if self.output == "softmax":
            record = [self.address["Z"], self.stride, _OUT, self.out_row, n, count, self.tile.NR, 0, 0]
            tape.add(losses.softmax(self.dtype), record, scratch=7, room=2 * losses.CHUNK * self.size)
        elif self.output not in (None, "linear"):
            block = activations.block(self.output, activations.IN_PLACE, self.dtype)
            tape.add(*steps.apply(self.dtype, self.tile, n, count, block, out, out, 0.0))

    def layers(self, tape, count, threads, split):
        """Z[L] of panels of examples."""
        if self.examples_are_rows and not self.wide:
            tape.add(*steps.turn_rows(self.dtype, self.tile, self.units[0], count, *self.X[:2], *self.panels(0)))
        for l in range(1, self.L + 1):
            if l == 1 and self.wide:
                self.first(tape, count, threads if split == SPLIT_PANELS else 1)
                continue
            if split == SPLIT_ROWS:
                tape.cut(1)
            self.product(tape, l, count, split)
            if split == SPLIT_ROWS:
                tape.cut(threads)

    def write(self, tape, count):
        threads = share(self._work(count), SPAWN)
        split = SPLIT_PANELS if -(-count // self.tile.NR) >= threads else SPLIT_ROWS
        if count <= FEW:
            self.few(tape, count, threads)
        else:
            self.layers(tape, count, threads, split)
        self.finish_outputs(tape, count)
        tape.cut(threads if split == SPLIT_PANELS and count > FEW else 1)
        tape.finish(())
        start = address_of(tape.records)
        inputs, outputs = ([start + 8 * int(i) for i in np.flatnonzero(tape.records == mark)] for mark in (_IN, _OUT))
        # Few arguments, since each takes a part of a microsecond: the player, the regions, how many there are, how many
        # entries of records are addresses of the input, these, and those that are addresses of the result.
        control = [player(), tape.address, len(tape.regions), len(inputs), *inputs, *outputs]
        tape.control = np.array(control, np.int64)
        tape.entries = address_of(tape.control), tape.control.size
        return tape

    def run(self, X, out):
        """Fill `out`, block by block."""
        m, width = self.out_row, self.width
        x = address_of(X.T if self.examples_are_rows and m > 1 else X)
        if m == width:
            self.play(self.tape(m), x, out, 0)
            return
        step = self.size * (self.X.row_stride if self.examples_are_rows else 1)
        for start in range(0, m, width):
            self.play(self.tape(min(width, m - start)), x + start * step, out, start)

    def play(self, tape, x, out, start):
        """Play a tape for the block whose first example is at x; its result goes to `out` from column `start` on."""
        if not tape.parallel:
            _play_block(0, *tape.entries, x, out, start)
            return
        with compiling.parallel_region():
            _play_block(launcher(), *tape.entries, x, out, start)


_plans = KeptPlans(8)


def _plan(parameters, X, activations, output):
    """A plan of an earlier call in this Python thread where one fits, else a new one.

    It is not seen when strides are assigned to a parameter in place, which NumPy deprecates: to look would take a
    twelfth of the time of an example.
    """
    key = (*map(id, parameters), X.dtype.char, X.shape, X.strides, *activations, output)
    plan = _plans.kept.get(key)
    if plan is None or not (plan.serial or plan.thread_count == _threads()):
        plan = _plans.keep(key, parameters, _ForwardPlan(parameters, X, _threads(), activations, output))
    return plan


def _threads():
    return compiling.get_num_threads() if compiling.may_run_parallel() else 1


@checked
def network_forward(parameters, X, activations, output=None):
    """Forward through the network: A[L] of every example, or Z[L] where no output is named.

    Parameters
    ----------
    parameters : list of ndarray
        [W1, b1, ..., WL, bL].
    X : ndarray, shape (n0, m)
        A[0]; its rows or its columns are contiguous, and it is not copied.
    activations : sequence of str
        Those of the hidden layers.
    output : str, optional
        A row of `contract.OUTPUTS`; None for Z[L].

    Returns
    -------
    ndarray, shape (n[L], m)
        A column depends on that column of X only.
    """
    plan = _plan(parameters, X, activations, output)
    out = np.empty((plan.units[-1], plan.out_row), plan.dtype)
    plan.run(X, out)
    return out
