"""The layout of a batch with examples as rows, for batches too small to fill the columns of a register tile.

A[l] is examples x units, as X is in memory. The lanes of a vector run over features, units or elements of W, of which
there are enough: Z[l] is made of dot tiles, dA[l-1] = dZ[l] W[l] and dW[l] of register tiles over rows of W. Of a layer
there are A, G (first Z, then g'(Z)) and D, which is dZ; only the output head wants Z[L] with examples as columns. Such
a step is bound by reading W three times, so threads share the units or the columns of W, and wait for each other after
every product.
"""

from . import activations, batches, steps
from .affine import Matrix
from .launch import bits
from .plan import Plan
from .steps import SPLIT_PANELS

__all__ = ["RowPlan"]


class RowPlan(Plan):
    """A plan for batches of few examples."""

    def sizes(self):
        NR, L = self.tile.NR, self.L
        sizes = {
            f"{name}{l}": self.size * self.batch * self.pad(self.units[l]) for l in range(1, L + 1) for name in "AGD"
        }
        del sizes[f"A{L}"]
        sizes |= dict.fromkeys(("Z", "dZ"), self.size * self.units[L] * NR)
        if not (self.in_place and self.examples_are_rows):
            sizes["T0"] = self.size * self.batch * self.feature_stride
        if not self.in_place and not self.examples_are_rows:
            sizes["A0"] = self.size * self.units[0] * NR
        return sizes

    def layer(self, name, l):
        """A layer's array: address, numbers from example to example."""
        return self.address[f"{name}{l}"], self.pad(self.units[l])

    def turned(self, l):
        """A[l] as blocks of NR units: address, numbers from block to block, from example to example, and again."""
        if l:
            address, row = self.layer("A", l)
        elif self.in_place and self.examples_are_rows:
            address, row = self.X[:2]
        else:
            address, row = self.address["T0"], self.feature_stride
        return address, self.tile.NR, row, row

    def gather(self, tape, count):
        """The examples of the batch as rows, after dropout of the input."""
        if self.examples_are_rows:
            self.rows(tape, count)
            return
        n, NR, place, row = self.units[0], self.tile.NR, *self.X[:2]
        if not self.in_place:
            place, row = self.address["A0"], NR
            record = [*self.X[:2], n, self.running, 0, count, place, 0, row, NR]
            tape.add(batches.gather_columns(self.dtype), record)
        out = self.address["T0"], self.feature_stride
        tape.add(*steps.turn_rows(self.dtype, self.tile, count, n, place, row, out[0], NR, out[1]))
        if self.rates[0]:
            tape.add(*self.drop_rows(out, 0, count))

    def forward(self, tape, l, count, threads):
        """Z[l], and of hidden layers A[l] and g'(Z[l])."""
        n, k, (x, _, row, _) = self.units[l], self.units[l - 1], self.turned(l - 1)
        G = self.layer("G", l)
        if threads > 1:  # all of A[l-1] is wanted by all
            tape.cut(1)
        tape.add(*steps.row_product(self.dtype, n, k, count, 0, (x, row), self.W[l - 1][:2], self.b[l - 1][0], G))
        if threads > 1:
            tape.cut(threads)
        if l == self.L:
            return
        A = self.layer("A", l)
        block, parameter = self.activation(l, activations.PAIR)
        tape.add(activations.elementwise(self.dtype), [block, *G, *A, count, n, bits(parameter)])
        if self.rates[l]:
            tape.add(*self.drop_rows(A, l, count))
            tape.add(*self.drop_rows(G, l, count))

    def backward(self, tape, l, count, threads):
        """dZ[l-1] = (dZ[l] W[l]) * G; columns of W are the columns of its tiles."""
        n, k, NR, W = self.units[l], self.units[l - 1], self.tile.NR, self.W[l - 1]
        out, out_row = self.layer("D", l - 1)
        G, row = self.layer("G", l - 1)
        if threads > 1:
            tape.cut(1)
        tape.add(
            *steps.product(
                self.dtype, self.tile, count, n, k, SPLIT_PANELS, Matrix(*self.layer("D", l)),
                (W.address, NR, W.row_stride), (out, NR, out_row),
                block=activations.multiply(self.dtype), other=(G, NR, row),
            )
        )  # fmt: skip
        if threads > 1:
            tape.cut(threads)

    def write(self, tape, count):
        threads, n, NR = self.threads(count), self.units[self.L], self.tile.NR
        self.targets(tape, count)
        gathered = tape.cut(1)
        self.gather(tape, count)
        for l in range(1, self.L + 1):
            self.forward(tape, l, count, threads)
        Z, dZ = (self.address["Z"], NR), (self.address["dZ"], NR)
        place, row = self.layer("G", self.L)
        tape.add(*steps.turn_rows(self.dtype, self.tile, n, count, place, row, Z[0], 0, NR))
        self.head(tape, count, Z, dZ)
        out, row = self.layer("D", self.L)
        tape.add(*steps.turn_rows(self.dtype, self.tile, count, n, *dZ, out, NR, row))
        for l in range(self.L, 1, -1):
            self.backward(tape, l, count, threads)
        self.squares(tape)
        headed = tape.cut(1)
        for l in range(self.L, 0, -1):
            place, row = self.layer("D", l)
            self.gradients(tape, l, count, count, threads, (place, 1, row, count, 0), self.turned(l - 1))
        return self.finish(tape, threads, (gathered, headed))
