"""The plan of an epoch: where the arrays of a step lie, and the tapes of the batch sizes that come up.

`Plan` is what the ways to lay out a batch have in common: `columns.ColumnPlan`, with examples as columns in panels,
`pieces.PiecePlan`, the same for each part of a large batch, and `rows.RowPlan`, with examples as rows, for batches too
small to fill the columns of a tile.
"""

import threading
import weakref

import numpy as np

from ..contract import ACTIVATIONS, RULES, parse
from . import activations, batches, losses, optimizers, reductions
from .affine import Matrix, share
from .gradients import bias_gradients, weight_gradients
from .launch import address_of, bits
from .tapes import Tape
from .tile import tile
from .vectors import LINE

__all__ = ["KeptPlans", "Plan"]

# A second thread takes half of the multiply-adds, but half of the numbers come to each from the other: weights, and
# activations, as gradients sum over all examples. One that does takes as long as some multiply-adds of the forward pass
# with those that follow from them, 2 to 30 by where the two cores are; and waiting for each other three times in a step
# as long as SPAWN of them.
CROSSING, SPAWN = 12, 1_000_000
_TAPES = 8  # of sizes of batches
NEAR = 2**20  # bytes of X that stay in the second level of cache


class Plan:
    """Where everything lies.

    A plan holds addresses, not arrays: it serves every call whose arrays lie in the same places with the same shapes.
    """

    # Whether threads share the units of the first layer, or its features, so that little of W[1] is passed on.
    by_units = by_features = False

    def __init__(
        self, parameters, X, Y, in_place, batch, activations, output, loss, rule, state, l2, clips, rates, key,
        sample_weight,
    ):  # fmt: skip
        self.dtype, self.size, self.indices = X.dtype, X.itemsize, Y.dtype == np.int64
        self.tile = tile(self.dtype)
        self.in_place, self.batch = in_place, batch
        self.activations, self.output, self.loss, self.rule = activations, output, loss, rule
        self.l2, self.rates, self.key = l2, rates, key
        self.clip_value, self.clip_norm = clips
        self.examples_are_rows = not X.flags.c_contiguous
        self.distant = self.examples_are_rows and not in_place and X.nbytes > NEAR
        self.units = [X.shape[0], *(W.shape[0] for W in parameters[::2])]
        self.L = len(self.units) - 1
        self.X = Matrix(address_of(X), X.strides[1 if self.examples_are_rows else 0] // self.size)
        self.Y = Matrix(address_of(Y), Y.strides[0] // Y.itemsize)
        self.sample_weight = None if sample_weight is None else address_of(sample_weight)
        places = [(address_of(p), p.strides[0] // self.size) for p in parameters]
        self.W, self.b = [Matrix(*place) for place in places[::2]], places[1::2]
        slots = {
            name: [(address_of(array), array.strides[0] // self.size) for array in arrays]
            for name, arrays in zip(RULES[rule].slots, state, strict=True)
        }
        nothing = [(0, 0)] * len(parameters)
        self.m, self.v = slots.get("m", nothing), slots.get("v", nothing)
        self.step = np.zeros(batches.RUNNING, np.int64)
        self.running = address_of(self.step)
        self.begin = 0  # which of the batch's examples is the first here; another one in a piece
        self.stored = self.clip_norm  # gradients, before any parameter is updated
        self.tapes = {}
        self.padded = -(-batch // self.tile.NR) * self.tile.NR
        self.stride, self.feature_stride = self.pad(self.padded), self.pad(self.units[0])
        self.measure()
        self._allocate(self._common_sizes() | self.gradient_sizes() | self.sizes())
        if sample_weight is None:
            self.array("weights", batch, np.float64)[:] = 1.0
            self.array("factors", batch, self.dtype)[:] = 1.0

    def pad(self, n):
        """Distance of rows of n numbers: whole vectors, and no power of two that would crowd rows into few sets."""
        padded = -(-n // 16) * 16 if n > 16 else n
        return padded + 16 if padded * self.size % 2048 == 0 else padded

    def gradient_row(self, k):
        """Distance of the rows of k numbers of a gradient that is stored."""
        return self.pad(k)

    def _common_sizes(self):
        """Bytes of what every plan needs."""
        units = sum(self.units[1:])
        sizes = {
            "losses": 8 * self.padded,
            "weights": 8 * self.padded,
            "factors": self.size * self.padded,
            "squares": 8 * units if self.l2 else 0,
            "norms": 16 * units if self.clip_norm else 0,
        }
        if not self.in_place:
            sizes["Y"] = (8 if self.indices else self.size * self.units[-1]) * self.stride
            sizes["sample_weight"] = self.size * self.padded
        return sizes

    def gradient_sizes(self):
        """Bytes of db and, where they are stored, of dW[l]."""
        sizes = {"db": self.size * sum(self.units[1:])}
        if self.stored:
            for l, (k, n) in enumerate(zip(self.units, self.units[1:], strict=False), start=1):
                sizes[f"dW{l}"] = self.size * n * self.gradient_row(k)
        return sizes

    def measure(self):
        """Find out what the sizes of arrays depend on."""

    def sizes(self):
        """Bytes of the arrays of the layers, by name."""
        raise NotImplementedError

    def _allocate(self, sizes):
        """One allocation, every array on a cache line of its own."""
        places, end = {}, 0
        for name, size in sizes.items():
            places[name] = end
            end += -(-size // LINE) * LINE
        self.buffer = np.empty(end + LINE, np.uint8)
        start = address_of(self.buffer)
        self.address = {name: start + -start % LINE + place for name, place in places.items()}

    def array(self, name, n, dtype):
        """The first n numbers of a piece of the workspace."""
        first = self.address[name] - address_of(self.buffer)
        return self.buffer[first : first + n * np.dtype(dtype).itemsize].view(dtype)

    @property
    def nbytes(self):
        """Bytes of the workspace and of what the tapes use."""
        return self.buffer.nbytes + sum(tape.nbytes for tape in self.tapes.values())

    def threads(self, count):
        """How many threads a step of `count` examples is worth."""
        weights = sum(n * k for k, n in zip(self.units, self.units[1:], strict=False))
        first, *hidden, last = self.units
        gathered = 0 if self.in_place or (self.by_features and not self.rates[0]) else first
        activations = gathered + 2 * sum(hidden) + last
        passed = count * activations + weights - (first * self.units[1] if self.by_units or self.by_features else 0)
        return share(count * weights - CROSSING * passed, SPAWN)

    def activation(self, l, kind):
        """The block of a hidden layer's activation and its parameter."""
        name, parameter = parse(self.activations[l - 1], ACTIVATIONS, "activation")
        return activations.block(name, kind, self.dtype), parameter

    def targets(self, tape, count):
        """Targets and weights of the batch, which are gathered before its examples are."""
        NR, step, weights = self.tile.NR, self.running, self.sample_weight
        if not self.in_place:
            dtype, n = (np.dtype(np.int64), 1) if self.indices else (self.dtype, self.units[-1])
            record = [*self.Y[:2], n, step, 0, count, self.address["Y"], NR, self.stride, NR]
            tape.add(batches.gather_columns(dtype), record)
            if weights is not None:
                record = [weights, 0, 1, step, 0, count, self.address["sample_weight"], NR, 0, NR]
                tape.add(batches.gather_columns(self.dtype), record)
                weights = self.address["sample_weight"]
        if weights is not None:
            tape.add(batches.weigh(self.dtype), [weights, count, self.address["weights"], self.address["factors"]])

    def rows(self, tape, count):
        """The examples of the batch as rows, after dropout of the input, where they are rows of X: address, stride."""
        n, NR, step = self.units[0], self.tile.NR, self.running
        if self.in_place:
            return self.X[:2]
        place = self.address["T0"], self.feature_stride
        tape.add(batches.gather_rows(self.dtype, n), [*self.X[:2], n, step, self.begin, count, *place, NR])
        if self.rates[0]:
            tape.add(*self.drop_rows(place, 0, count))
        return place

    def drop_rows(self, place, l, count):
        """The task of dropout of a layer whose examples are rows."""
        record = batches.dropout_record(
            place, place, count, self.units[l], self.rates[l], self.key, l, self.running, self.begin, True, self.tile.NR
        )
        return batches.dropout(self.dtype), record

    def head(self, tape, count, Z, dZ):
        """Losses and dZ[L]; Z and dZ are (address, numbers from row to row)."""
        task, parameter = losses.head(self.loss, self.output, self.dtype, self.indices)
        Y = self.Y[:2] if self.in_place else (self.address["Y"], self.stride)
        record = [
            *Z, *Y, *dZ, self.units[-1], count, self.tile.NR, self.address["factors"],
            self.address["losses"], bits(parameter), 0, 0,
        ]  # fmt: skip
        tape.add(task, record, scratch=len(record) - 2, room=2 * losses.CHUNK * self.size)

    def squares(self, tape):
        """Squared weights, for the cost."""
        if not self.l2:
            return
        place = self.address["squares"]
        for l in range(1, self.L + 1):
            record = [*self.W[l - 1][:2], self.units[l], self.units[l - 1], place]
            tape.add(reductions.squares(self.dtype), record)
            place += 8 * self.units[l]

    def gradients(self, tape, l, count, whole, threads, D, A, following=(0, 0, 0, 0, 0)):
        """dW[l] and db[l] of `count` of the `whole` batch's examples, and unless they are stored, the updates.

        D is dZ[l]: (address, numbers from row to row, from example to example, examples without a gap, gap). A is
        A[l-1] with examples as rows: (address, numbers from block to block of NR units, from example to example, and
        the latter in a last block of fewer units); `following` is that of `weight_gradients`.
        """
        self.bias_gradients(tape, l, count, whole, D)
        n, k = self.units[l], self.units[l - 1]
        C = (self.address[f"dW{l}"], self.gradient_row(k)) if self.stored else self.W[l - 1][:2]
        record = optimizers.update_record(
            self.W[l - 1][:2], self.m[2 * l - 2], self.v[2 * l - 2], self.running, False
        )
        plain = self.rule == "sgd" and not self.clip_value and not self.stored
        task, record, scratch, room = weight_gradients(
            self.dtype, self.tile, n, k, count, whole, threads, D, A, C, record, self.update, plain, following
        )
        tape.add(task, record, scratch=scratch, room=room)

    def bias_gradients(self, tape, l, count, whole, D):
        """db[l], as in `gradients`."""
        place, row, column, group, jump = D
        places = self.b[l - 1], self.m[2 * l - 1], self.v[2 * l - 1]
        record = optimizers.update_record(*places, self.running, True)
        flat = all(stride in (0, 1) for _, stride in places)
        to_next = column if row == 1 else group + jump if jump else self.tile.NR
        rows, db = (place, row, to_next), self.address["db"] + self.size * sum(self.units[1:l])
        n = self.units[l]
        tape.add(*bias_gradients(self.dtype, self.tile, n, count, whole, rows, db, record, flat, self.update))

    @property
    def update(self):
        """The address of the block that steps parameters by their gradients, or 0 where these are stored."""
        return 0 if self.stored else optimizers.block(self.rule, self.dtype)

    def finish(self, tape, threads, marks):
        """With the norm of all gradients: the sums it is made of, a pause, the updates."""
        tape.cut(threads)
        if self.clip_norm:
            self._norms(tape)
            tape.cut(threads)
            marks = (*marks, len(tape.threads))
            for l in range(1, self.L + 1):
                for is_bias, (parameter, gradient, n, k) in enumerate(self._pairs(l)):
                    i = 2 * l - 2 + is_bias
                    record = optimizers.update_record(parameter, self.m[i], self.v[i], self.running, is_bias)
                    block = optimizers.block(self.rule, self.dtype)
                    tape.add(optimizers.update(self.dtype), [block, *gradient, n, k, *record])
            tape.cut(threads)
        else:
            marks = (*marks, len(tape.threads))
        return tape.finish(marks)

    def _pairs(self, l):
        """W[l] and b[l] with their gradients, and their shapes."""
        n, k = self.units[l], self.units[l - 1]
        db = self.address["db"] + self.size * sum(self.units[1:l])
        return (self.W[l - 1][:2], (self.address[f"dW{l}"], self.gradient_row(k)), n, k), (self.b[l - 1], (db, 1), n, 1)

    def _norms(self, tape):
        out = self.address["norms"]
        for l in range(1, self.L + 1):
            for is_bias, (parameter, gradient, n, k) in enumerate(self._pairs(l)):
                record = [*gradient, *parameter, n, k, self.running, is_bias, out]
                tape.add(optimizers.gradient_squares(self.dtype), record)
                out += 8 * n

    def tape(self, count):
        """The tape of a step of `count` examples, kept with some others."""
        if count not in self.tapes:
            if len(self.tapes) >= _TAPES:
                self.tapes.clear()
            self.tapes[count] = self.write(Tape(), count)
        return self.tapes[count]

    def write(self, tape, count):
        """Write the tape of a step of `count` examples."""
        raise NotImplementedError


class KeptPlans(threading.local):
    """The last plans of this Python thread, for calls with the same parameters.

    Finding out where arrays lie takes longer than a small network takes for one example, so those that live as long as
    a network are known by being the same; what may change of them in place belongs in the key. A plan keeps none of
    them alive, and goes with the first that is gone: so an array that lies where one was is never taken for it.
    """

    def __init__(self, most):
        self.most, self.kept, self.references = most, {}, {}

    def clear(self):
        self.kept.clear()
        self.references.clear()

    def keep(self, key, arrays, plan):
        """Put `plan` in `kept`; the key holds the `id` of each of these arrays."""
        kept, references = self.kept, self.references

        def drop(_):
            kept.pop(key, None)
            references.pop(key, None)

        if key not in kept and len(kept) >= self.most:
            oldest = next(iter(kept))
            del kept[oldest], references[oldest]
        kept[key], references[key] = plan, [weakref.ref(array, drop) for array in arrays]
        return plan
