"""The steps of one call of ``fit``, counted from 0, and the way back to the state after any of them."""

from __future__ import annotations

import math
import time
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from jitprop_kernels.contract import COEFFICIENTS
from jitprop_kernels.doors import plain

from .checks import Array
from .examples import Examples
from .optimizers import Optimizer
from .recovery import Backup, Interrupts, all_finite

if TYPE_CHECKING:
    from .network import Network

__all__ = ["Pace", "Steps"]

# What is drawn from one seed ends in a number of its own, see SPLIT: with none or with 0 at the end, the stream
# of the first epoch would be that of the initial values.
MASKS, PERMUTATION = 2, 3
MOST = 4096  # steps of a slice, each of which has a row of coefficients
SLICE = 0.05  # seconds that a call of train_epoch should take
GROWTH = 8  # how much longer a slice may be than the one before: the first one's time may be the compiler's
ORDER = 2**18  # columns that one call visits at most, where it may go beyond an epoch
_STEP = COEFFICIENTS.index("step")


class Steps:
    """Makes steps, and keeps parameters, optimizer state and the network's counters in agreement.

    Parameters
    ----------
    network : Network
    optimizer : Optimizer
        The network's, whose state it has.
    examples : Examples
    batch_size : int or None
        None is one batch of all examples, in order.
    shuffle : bool
        Whether batches are drawn in the order of a permutation, another one in every epoch.
    interrupts : Interrupts
        In force while steps are made.

    Attributes
    ----------
    per_epoch : int
        How many steps an epoch has.
    position : int
        How many steps have been made since ``fit`` was called.
    together : int
        How many steps from here on one call of the kernels can make.
    """

    def __init__(
        self,
        network: Network,
        optimizer: Optimizer,
        examples: Examples,
        batch_size: int | None,
        shuffle: bool,
        interrupts: Interrupts,
    ) -> None:
        self.network = network
        self.examples = examples
        self._optimizer = optimizer
        self._interrupts = interrupts
        self.batch = examples.count if batch_size is None else min(batch_size, examples.count)
        self.per_epoch = -(-examples.count // self.batch)
        self.position = 0
        self._sizes = np.full(self.per_epoch, float(self.batch))
        self._sizes[-1] -= self.per_epoch * self.batch - examples.count
        self._permute = shuffle and batch_size is not None
        self._whole = self.per_epoch == 1 and not self._permute  # and in order: read where it lies
        self._even = examples.count % self.batch == 0
        self._start = network.epochs_trained, network.steps_trained, network.optimizer_steps
        self._arrays = [*network.parameters.arrays, *(a for slot in network.optimizer_state for a in slot)]
        self._backup = Backup(self._arrays)
        self._schedule = optimizer.schedule
        self._order: tuple[int, npt.NDArray[np.int64] | None] = (-1, None)
        self._key = int(np.random.SeedSequence((network.seed, 0, MASKS)).generate_state(1)[0])
        self._train_epoch = plain(network.kernels.train_epoch)  # fit has checked all it is called with

    def order(self, epoch: int) -> npt.NDArray[np.int64] | None:
        """The columns in the order in which this epoch of the call visits them; None for all as they are."""
        if self._whole:
            return self.examples.chosen
        if self._order[0] != epoch and (self._permute or self._order[1] is None):
            count, chosen = self.examples.count, self.examples.chosen
            self._order = -1, None  # its memory serves the next
            seeds = self.network.seed, self._start[0] + epoch, PERMUTATION
            visited = np.random.default_rng(seeds).permutation(count) if self._permute else np.arange(count)
            order = visited.astype(np.int64, copy=False) if chosen is None else chosen[visited]
            self._order = epoch, order
        return self._order[1]

    @property
    def together(self) -> int:
        if self._whole and self.examples.chosen is None:
            return MOST
        if self._even:  # no smaller batch stands in the way of the next epoch
            return max(ORDER // self.batch, 1)
        return self.per_epoch - self.position % self.per_epoch

    def rates(self, first: int, count: int) -> npt.NDArray[np.float64]:
        """The learning rates of `count` steps."""
        epochs, steps = np.divmod(first + np.arange(count), self.per_epoch)
        return self._schedule(self._start[0] + epochs + steps / self.per_epoch)

    def means(self, costs: Array, first: int) -> Array:
        """The mean cost over the examples of each epoch from `first` on: `costs` has a row of batches for each."""
        if self.per_epoch == 1:
            return costs[:, 0]
        means = np.empty(len(costs))
        for i, row in enumerate(costs):  # each by itself: a product of matrices would sum in an order of its own
            shares = self._shares(first + i)
            means[i] = (row * shares).sum() / shares.sum()
        return means

    def _shares(self, epoch: int) -> Array:
        """The number of examples of each batch, or the sum of their weights."""
        weight = self.examples.sample_weight
        if weight is None:
            return self._sizes
        order = self.order(epoch)
        visited = weight[0] if order is None else weight[0, order]
        return np.add.reduceat(visited, np.arange(0, visited.size, self.batch), dtype=np.float64)

    def run(self, count: int, slow: bool) -> Array:
        """Make the next `count` steps.

        Parameters
        ----------
        count : int
            At most `together`.
        slow : bool
            Whether they may take long, so that Ctrl-C must not wait until they are done.

        Returns
        -------
        (k,) float64
            Their costs. If the last is not finite, its step was not made, nor any after it.

        Raises
        ------
        BaseException
            What the kernels raised, KeyboardInterrupt included. The steps are undone.
        """
        first = self.position
        try:
            with self._interrupts.allowed() if slow else nullcontext():
                costs = self._compute(first, count)
            self._move_to(first + costs.size - (not math.isfinite(costs[-1])))
        except BaseException:
            # Repeating steps may fail as they did. Then the network stays at the copy, a little further back.
            with suppress(BaseException):
                self.go_to(first)
            raise
        return costs

    def protect(self, force: bool = False) -> bool:
        """Take a copy if it is time to, or if forced; False, and no copy, if not every number is finite."""
        if force or self._backup.due():
            began = time.perf_counter()
            if not self.finite():
                return False
            self._backup.take(self.position, began)
        return True

    def finite(self) -> bool:
        """Whether all parameters and averages are finite."""
        return all_finite(self._arrays)

    def go_to(self, position: int) -> None:
        """The state after `position` steps: that of the copy, and from there the same steps again."""
        try:
            self._restore()
            while self.position < position:
                count = min(position - self.position, self.together)
                self._compute(self.position, count)
                self._move_to(self.position + count)
        except BaseException:
            self._restore()
            raise

    def go_to_last_finite(self) -> None:
        """The state after the last step that left every number finite."""
        good, bad = self._backup.position, self.position
        probe = bad - 1  # a cost is seldom finite twice after an overflow
        while bad - good > 1:
            self.go_to(probe)
            if self.finite():
                good = probe
            else:
                bad = probe
            probe = (good + bad) // 2
        self.go_to(good)

    def _restore(self) -> None:
        self._backup.restore()
        self._move_to(self._backup.position)

    def _move_to(self, position: int) -> None:
        network, (epochs, steps, optimizer_steps) = self.network, self._start
        self.position = position
        network.epochs_trained = epochs + position // self.per_epoch
        network.steps_trained = steps + position
        network.optimizer_steps = optimizer_steps + position

    def _visits(self, first: int, count: int) -> npt.NDArray[np.int64] | None:
        """The columns that `count` steps visit, one after another; None for all as they are."""
        parts = []
        while count > 0:
            epoch, step = divmod(first, self.per_epoch)
            order = self.order(epoch)
            if order is None:
                return None
            taken = min(count, self.per_epoch - step)
            parts.append(order[step * self.batch : (step + taken) * self.batch])
            first, count = first + taken, count - taken
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _compute(self, first: int, count: int) -> Array:
        network, architecture, examples = self.network, self.network.architecture, self.examples
        numbers = first + np.arange(count)
        coefficients = self._optimizer.coefficients(self._start[2] + 1 + numbers, self.rates(first, count))
        coefficients[:, _STEP] = self._start[1] + numbers
        costs: Array = self._train_epoch(
            network.parameters.arrays,
            examples.X,
            examples.Y,
            self._visits(first, count),
            self.batch,
            architecture.activations,
            architecture.output,
            architecture.loss,
            self._optimizer.rule,
            network.optimizer_state,
            coefficients,
            l2=architecture.l2,
            dropout=architecture.dropout if any(architecture.dropout) else None,
            key=self._key,
            sample_weight=examples.sample_weight,
        )
        return costs


class Pace:
    """How many steps a slice should have, from the time the last one took."""

    def __init__(self) -> None:
        self.steps = 1
        self.seconds = math.inf  # a step's; unknown at first

    @property
    def slow(self) -> bool:
        """Whether the next slice may take longer than a person at the keyboard should wait."""
        return self.steps * self.seconds > 2 * SLICE

    def observe(self, steps: int, seconds: float) -> None:
        self.seconds = seconds / steps
        fitting = SLICE / max(self.seconds, 1e-9)
        self.steps = max(1, int(min(fitting, GROWTH * self.steps, MOST)))
