"""The layout of a batch with examples as columns, in panels (see `steps`).

Three arrays stand for a hidden layer l::

    G   Z[l], which the activation overwrites with g'(Z[l]), times the mask of dropout
    A   A[l], which going back overwrites with dZ[l] = (W[l+1]^T dZ[l+1]) * G
    T   A[l] with examples as rows, from which dW[l+1] is summed, unless that is one row (see `one_unit`)

Of relu without dropout, A alone tells g' (see `tile`): A stays what it is, and G takes dZ[l].

A step has a region from the gathering of its examples to dZ[1], in which every thread has panels of its own, and one
that sums the gradients and updates the parameters. Where a batch has fewer panels than there are threads, these share
the rows of each product, and wait for each other after it.

Where W[1] stays in cache and a batch is not much larger than the first layer, two or three threads share the units of
that layer and not its examples: every thread gathers all examples for itself, and makes Z[1] and dW[1] of its units. So
W[1] and its update stay in its cache, where otherwise a thread reads all of W[1] in each step, and half of it comes
from the other thread, which must take it back for the update.

Where X has many features and the first layer few units, the examples are not made into panels, which would take longer
than the product: dot tiles make Z[1] of the rows, and the small Z[1] is transposed instead.
"""

import copy

from ..contract import dropout_threshold
from . import activations, batches, compiling, optimizers, reductions, steps
from .affine import Matrix
from .gradients import bias_gradients, way
from .launch import bits
from .plan import Plan
from .steps import SPLIT_PANELS, SPLIT_ROWS
from .tapes import Tape
from .tile import GATE, RECTIFY

__all__ = ["ColumnPlan"]

_PANELS = 4  # for which there is memory beside all examples
_COPIES = 3  # of the examples of a batch, at most, for which there is memory
_EXAMPLES = 2  # of a batch for each unit of the first layer up to which copying them is cheaper than passing on weights


class ColumnPlan(Plan):
    """A plan for batches of many examples."""

    @property
    def room(self):
        """Examples for which there is room in the arrays of the layers, in whole panels."""
        return self.padded

    def measure(self):
        NR = self.tile.NR
        self.wide = self.examples_are_rows and steps.wide(self.units)
        threads = compiling.get_num_threads()
        # Each thread has room for a panel; many threads would have more than all panels take.
        worth = steps.small(self.units) and threads <= max(_PANELS, self.padded // NR)
        self.by_panels = self.examples_are_rows and not self.wide and worth
        few = self.batch <= _EXAMPLES * self.units[1]
        self.by_units = self.by_panels and few and self._units_apart(threads)
        self.pieces_of_row = steps.row_pieces(self.units[0], self.size)
        self.by_features = self.wide and 1 < threads <= len(self.pieces_of_row)
        self.panel = [n * NR for n in self.units]
        self.row = self.pad(self.room)

    def _units_apart(self, threads):
        """Whether there are copies enough, and the gradients of some units of layer 1 are summed like those of all."""
        k, n = self.units[:2]
        if not 1 < threads <= min(_COPIES, n):
            return False
        stride = self.X.row_stride if self.in_place else self.feature_stride
        shares = n, n // threads, -(-n // threads)
        return len({way(units, k, self.batch, stride, self.tile.NR) for units in shares}) == 1

    def sizes(self):
        L = self.L
        # Z[L] and dZ[L] are matrices, as heads want them.
        sizes = dict.fromkeys((f"A{L}", f"G{L}"), self.size * self.units[L] * self.row)
        for l in range(L):
            sizes |= dict.fromkeys((f"A{l}", f"T{l}", f"G{l}"), self.size * self.room * self.units[l])
        if self.one_unit(L):
            sizes[f"T{L - 1}"] = 0
            if not self.stored:
                sizes[f"dW{L}"] = self.size * self.units[L - 1]
        sizes["G0"] = 0
        if self.examples_are_rows:
            sizes["T0"] = 0 if self.in_place else self.size * self.room * self.feature_stride
            if self.by_units:
                sizes |= {f"T0.{t}": sizes["T0"] for t in range(1, self.threads(self.batch))}
        if self.wide:
            pieces = len(self.pieces_of_row) if self.by_features else 1
            sizes["Z1"] = pieces * self.size * self.room * self.units[1]
        if self.wide or self.by_panels or (self.in_place and not self.examples_are_rows):
            sizes["A0"] = 0
        return sizes

    def panels(self, name, l):
        """A layer's panels: address, numbers from panel to panel, numbers from row to row."""
        NR = self.tile.NR
        if l == self.L:
            return self.address[f"{name}{l}"], NR, self.row
        if l == 0 and self.in_place and not self.examples_are_rows:
            return self.X.address, NR, self.X.row_stride
        return self.address[f"{name}{l}"], self.panel[l], NR

    def rectified(self, l):
        """Whether A[l] alone tells g'(Z[l])."""
        return 0 < l < self.L and self.activations[l - 1] == "relu" and not self.rates[l]

    def one_unit(self, l):
        """Whether layer l is the last, of one unit, and A[l-1] stays in its panels until dW is summed of it."""
        return l == self.L and self.units[l] == 1 and self.rectified(l - 1)

    def delta(self, l):
        """The panels of dZ[l]."""
        return self.panels("G" if self.rectified(l) else "A", l)

    def turned(self, l):
        """A[l] with examples as rows, in blocks of NR units.

        Address, numbers from block to block, from example to example, and the latter in a last block of fewer units.
        """
        NR = self.tile.NR
        if l == 0 and self.examples_are_rows:
            address, stride = self.X[:2] if self.in_place else (self.address["T0"], self.feature_stride)
            return address, NR, stride, stride
        return self.address[f"T{l}"], self.room * NR, NR, self.units[l] % NR

    def gather(self, tape, count):
        """Panels and rows of the batch's examples, after dropout of the input."""
        n, NR = self.units[0], self.tile.NR
        if self.examples_are_rows:
            x, stride = self.rows(tape, count)
            if not self.wide and not self.by_panels:
                tape.add(*steps.turn_rows(self.dtype, self.tile, n, count, x, stride, *self.panels("A", 0)))
            return
        a, a_panel, a_row = self.panels("A", 0)
        if not self.in_place:
            record = [*self.X[:2], n, self.running, self.begin, count, a, a_panel, a_row, NR]
            tape.add(batches.gather_columns(self.dtype), record)
            if self.rates[0]:
                self.drop(tape, 0, count, "G")
        tape.add(*steps.turn(self.dtype, self.tile, n, count, a, a_panel, a_row, *self.turned(0)[:2]))

    def drop(self, tape, l, count, beside):
        """Dropout of A[l] and of what stands beside it."""
        rate = self.rates[l]
        record = [
            self.address[f"A{l}"], self.address[f"{beside}{l}"], self.panel[l], self.units[l], count, self.tile.NR,
            dropout_threshold(rate), bits(1.0 / (1.0 - rate)), self.key, l, self.running, self.begin,
        ]  # fmt: skip
        tape.add(batches.drop_panels(self.dtype), record)

    def first(self, tape, count, threads, together):
        """Z[1] of a wide X, from its rows; threads share them evenly, whatever panels they belong to."""
        n, k, W = self.units[1], self.units[0], self.W[0]
        x, _, stride, _ = self.turned(0)
        G = self.panels("A" if self.rectified(1) else "G", 1)
        by_features = self.by_features and threads > 1
        Z = (G[0], 1) if n == 1 and self.L == 1 and not by_features else (self.address["Z1"], n)
        if threads > 1:
            tape.cut(together)
        if by_features:
            tape.add_own([self.pieces_of_first(t, threads, count) for t in range(threads)])
        else:
            tape.add(*steps.row_product(self.dtype, n, k, count, None, (x, stride), W[:2], self.b[0][0], Z))
        if threads > 1:
            tape.cut(threads)
        if by_features:
            pieces, grain = len(self.pieces_of_row), self.tile.NR * n
            record = [Z[0], 0, 1, count * n, grain, pieces, self.room * n, 0]
            tape.add(reductions.add_pieces(self.dtype), record)
        if Z[0] != G[0]:
            tape.add(*steps.turn_rows(self.dtype, self.tile, n, count, *Z, *G))
        if self.rectified(1):
            block = activations.block(activations.SIGNED_RELU, activations.IN_PLACE, self.dtype)
            tape.add(*steps.apply(self.dtype, self.tile, n, count, block, G, G, 0.0))
        elif self.L > 1:
            block, parameter = self.activation(1, activations.PAIR)
            tape.add(*steps.apply(self.dtype, self.tile, n, count, block, G, self.panels("A", 1), parameter))

    def pieces_of_first(self, t, threads, count):
        """The tape of the pieces of Z[1] = W[1] X, sums over some of the features, of which thread t makes its part."""
        tape, n, W, (x, _, stride, _) = Tape(), self.units[1], self.W[0], self.turned(0)
        grain = steps.row_grain(self.dtype, n, count)
        blocks = -(-count // grain)  # of examples
        first, end = (blocks * len(self.pieces_of_row) * q // threads for q in (t, t + 1))
        for p, (k0, length) in enumerate(self.pieces_of_row):
            j0, j1 = max(0, first - p * blocks) * grain, min(count, (end - p * blocks) * grain)
            if j0 < j1:
                X = x + (j0 * stride + k0) * self.size, stride
                Z = self.address["Z1"] + (p * self.room + j0) * n * self.size, n
                w, bias = (W.address + k0 * self.size, W.row_stride), 0 if p else self.b[0][0]
                tape.add(*steps.row_product(self.dtype, n, length, j1 - j0, None, X, w, bias, Z, count))
        tape.cut(1)
        return tape

    def gather_features(self, tape, threads, count):
        """Rows of the batch's examples; each thread gathers some features, most of those that it sums over."""
        tapes, k = [Tape() for _ in range(threads)], self.units[0]
        for t, own in enumerate(tapes):
            first, end = (k * q // threads for q in (t, t + 1))
            places = self.X.address + first * self.size, self.address["T0"] + first * self.size
            record = [places[0], self.X.row_stride, end - first, self.running, self.begin, count, places[1]]
            task = batches.gather_rows(self.dtype, end - first)
            own.add(task, [*record, self.feature_stride, self.tile.NR])
            own.cut(1)
        tape.add_own(tapes)
        tape.cut(threads)

    def forward(self, tape, l, count, split):
        """Z[l], and of hidden layers A[l] and g'(Z[l])."""
        C, more = self.panels("G", l), {}
        if self.rectified(l):
            C, more = self.panels("A", l), {"epilogue": RECTIFY}
        elif l < self.L:
            block, parameter = self.activation(l, activations.PAIR)
            more = {"block": block, "other": self.panels("A", l), "parameter": parameter}
        B, X, room = self.panels("A", l - 1), (0, 0), 0
        if l == 1 and self.by_panels:
            B, room = (0, 0, self.tile.NR), steps.panel_room(self.dtype, self.tile, self.units[0])
            X = self.turned(0)[0], self.turned(0)[2]
        task, record = steps.product(
            self.dtype, self.tile, self.units[l], self.units[l - 1], count, split, self.W[l - 1], B, C,
            bias=self.b[l - 1][0], X=X, **more,
        )  # fmt: skip
        tape.add(task, record, scratch=steps.PANEL_SCRATCH, room=room)

    def turn(self, tape, l, count):
        """Dropout of A[l], then A[l] with examples as rows."""
        if self.rates[l]:
            self.drop(tape, l, count, "G")
        place, turned = self.panels("A", l), self.turned(l)[:2]
        tape.add(*steps.turn(self.dtype, self.tile, self.units[l], count, *place, *turned))

    def backward(self, tape, l, count, split):
        """dZ[l-1] from dZ[l]."""
        W, A, G = self.W[l - 1], self.panels("A", l - 1), self.panels("G", l - 1)
        C, more = A, {"block": activations.multiply(self.dtype), "other": G}
        if self.rectified(l - 1):
            C, more = G, {"other": A, "epilogue": GATE}
        tape.add(
            *steps.product(
                self.dtype, self.tile, self.units[l - 1], self.units[l], count, split,
                Matrix(W.address, 1, W.row_stride), self.delta(l), C, **more,
            )
        )  # fmt: skip

    def write(self, tape, count):
        panels, threads = -(-count // self.tile.NR), self.threads(count)
        split = SPLIT_PANELS if panels >= threads else SPLIT_ROWS
        together = threads if split == SPLIT_PANELS else 1
        self.targets(tape, count)
        gathered = tape.cut(1)
        self.passes(tape, count, threads, split)
        self.squares(tape)
        headed = tape.cut(together)
        self.sums(tape, count, count, threads)
        return self.finish(tape, threads, (gathered, headed))

    def share_of(self, t, threads):
        """The plan of the units of the first layer that thread t has, with the examples gathered for itself."""
        own, n = copy.copy(self), self.units[1]
        first, last = n * t // threads, n * (t + 1) // threads
        skipped = first * self.size
        own.units = [self.units[0], last - first, *self.units[2:]]
        own.W = [self.W[0]._replace(address=self.W[0].address + skipped * self.W[0].row_stride), *self.W[1:]]
        (b, *bs), (mW, mb, *ms), (vW, vb, *vs) = self.b, self.m, self.v
        b, mW, mb, vW, vb = ((address + skipped * row, row) for address, row in (b, mW, mb, vW, vb))
        own.b, own.m, own.v = [b, *bs], [mW, mb, *ms], [vW, vb, *vs]
        row = self.panels("A", 1)[2]
        rows = {"A1": row, "G1": row, "db": 1, "dW1": self.gradient_row(self.units[0])}
        own.address = self.address | {
            name: self.address[name] + skipped * row for name, row in rows.items() if name in self.address
        }
        if t > 0 and not self.in_place:
            own.address["T0"] = self.address[f"T0.{t}"]
        return own

    def apart(self, tape, threads, write):
        """A task in which each thread plays what `write` adds to a tape for its share of the first layer."""
        tapes = [Tape() for _ in range(threads)]
        for t, own in enumerate(tapes):
            write(self.share_of(t, threads), own)
            own.cut(1)
        tape.add_own(tapes)

    def passes(self, tape, count, threads, split):
        """From the gathering of examples forward to the head and back to dZ[1]."""
        together = threads if split == SPLIT_PANELS else 1

        def product(add, l):
            """Add a product, for which all threads come together if they have no panels of their own."""
            if split == SPLIT_ROWS:
                tape.cut(1)
            add(tape, l, count, split)
            if split == SPLIT_ROWS:
                tape.cut(threads)

        def gather_and_forward(own, tape):
            own.gather(tape, count)
            own.forward(tape, 1, count, SPLIT_PANELS)

        by_units = self.by_units and threads > 1
        if by_units:
            self.apart(tape, threads, gather_and_forward)
            tape.cut(threads)
        elif self.by_features and threads > 1 and not self.in_place and not self.rates[0]:
            self.gather_features(tape, threads, count)
        else:
            self.gather(tape, count)
        for l in range(1, self.L + 1):
            if l == 1 and self.wide:
                self.first(tape, count, threads, together)
            elif l > 1 or not by_units:
                product(self.forward, l)
            if l < self.L and not self.one_unit(l + 1):
                self.turn(tape, l, count)
        Z, dZ = self.panels("G", self.L), self.panels("A", self.L)
        self.head(tape, count, (Z[0], Z[2]), (dZ[0], dZ[2]))
        for l in range(self.L, 1, -1):
            product(self.backward, l)

    def sums(self, tape, count, whole, threads):
        """The gradients, summed over `count` of the `whole` batch's examples, and what becomes of them."""
        for l in range(self.L, 0, -1):
            if l == 1 and self.by_units and threads > 1:
                self.apart(tape, threads, lambda own, tape: own.layer_sums(tape, 1, count, whole, 1))
            else:
                self.layer_sums(tape, l, count, whole, threads)

    def sum_panels(self, tape, l, count, whole, dZ):
        """dW of the one unit of layer l: each row of A[l-1], times dZ."""
        A, panel, row = self.panels("A", l - 1)
        places = self.W[l - 1][:2], self.m[2 * l - 2], self.v[2 * l - 2]
        record = optimizers.update_record(*places, self.running, False)
        k, D, out = self.units[l - 1], (A, row, panel), self.address[f"dW{l}"]
        tape.add(
            *bias_gradients(self.dtype, self.tile, k, count, whole, D, out, record, True, self.update, factors=dZ)
        )

    def layer_sums(self, tape, l, count, whole, threads):
        """The gradients of a layer."""
        place, panel, row = self.delta(l)
        groups = (self.tile.NR, panel - self.tile.NR) if l < self.L else (count, 0)
        if self.one_unit(l):
            self.bias_gradients(tape, l, count, whole, (place, row, 1, *groups))
            self.sum_panels(tape, l, count, whole, place)
            return
        following = (0, 0, 0, 0, 0)
        if l == 1 and self.distant:
            following = self.running, *self.X[:2], whole + self.begin, int(self.by_features and not self.rates[0])
        self.gradients(tape, l, count, whole, threads, (place, row, 1, *groups), self.turned(l - 1), following)
