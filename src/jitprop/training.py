"""The fit loop: epochs of batches, in slices short enough that Ctrl-C and the progress bar get their turn.

The result depends on nothing but the data, the options and the seed: permutations are drawn from (seed,
epoch), masks from (seed, step), and rates from the epoch, so it is the same however the steps are cut into
slices and calls.
"""

from __future__ import annotations

import math
import os
import time
import warnings
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from jitprop_kernels.contract import RULES

from .architecture import allocate
from .callbacks import Callback
from .checkpoints import Resumed, read_checkpoint, write_checkpoint
from .checks import Array
from .examples import Examples, prepare
from .history import History
from .optimizers import Optimizer
from .options import Options
from .progress import Progress
from .recovery import Interrupts, all_finite
from .steps import Pace, Steps

if TYPE_CHECKING:
    from .network import Network

__all__ = ["DivergenceError", "fit"]


class DivergenceError(RuntimeError):
    """The cost or a parameter is no longer finite; the network has the last finite parameters.

    Attributes
    ----------
    history : History
        The epochs that were completed.
    """

    def __init__(self, message: str, history: History | None = None) -> None:
        super().__init__(message)
        self.history = History() if history is None else history


def fit(
    network: Network,
    X: Any,
    Y: Any,
    epochs: int = 10,
    batch_size: int | None = None,
    optimizer: Optimizer | None = None,
    shuffle: bool = True,
    sample_weight: Any = None,
    validation_data: Any = None,
    callbacks: Any = (),
    checkpoint: Any = None,
    resume: bool = False,
    verbose: bool | None = None,
) -> History:
    """Train a network: for each batch forward, cost, backward, update.

    Parameters
    ----------
    network : Network
    X : array-like, shape (n_x, m)
        Not copied if it is of the network's dtype and C-contiguous, or the transpose of such an array.
    Y : array-like
        (n[L], m); (m,) for one output unit; class indices (m,) for softmax.
    epochs : int
        How often to visit all examples, in addition to what the network was trained before. An epoch is
        drawn from the network's seed and the number of epochs trained, so fit(a) and then fit(b) give the
        bits of fit(a + b).
    batch_size : int or None
        None is one batch of all examples, in order. Otherwise 1 to m; the last, smaller batch is trained on
        too.
    optimizer : Optimizer or None
        None goes on with the network's, which at first is ``Adam()``. The optimizer's averages belong to the
        network: they go on with an equal optimizer and start at zero with another.
    shuffle : bool
        Whether batches are drawn in another order in every epoch.
    sample_weight : array-like, optional
        (m,) or (1, m), not negative. An example of weight 0 is left out.
    validation_data : tuple or float, optional
        (X, Y) or (X, Y, sample_weight), or the share of the examples to keep back, above 0 and below 1:
        drawn from the seed and m, hence the same ones in every call.
    callbacks : Callback, function or list of them
        Called after every epoch; see `Callback`.
    checkpoint : Checkpoint or path, optional
        The file to keep, from which training can go on.
    resume : bool
        Go on from the checkpoint if the file exists; `epochs` is then the total, with those in the file.
    verbose : bool or None
        None shows a bar at a terminal when training takes long; True prints a line for every epoch; False is
        silent.

    Returns
    -------
    History

    Raises
    ------
    TypeError, ValueError
        Bad input; nothing has been changed.
    ModelFileError
        The checkpoint is damaged.
    DivergenceError
        The cost is not finite. Its step is not made, and the network keeps the last finite parameters.
    RuntimeError
        The network is being trained by another call.

    Notes
    -----
    Ctrl-C ends training within 0.2 s or one step with a warning, and the history comes back with `stopped`
    set to "interrupted". The steps made until then stay made and are counted; the epoch is not, and starts
    again, with the same permutation, in the next call.
    """
    options = Options(network, epochs, batch_size, optimizer, shuffle, callbacks, checkpoint, resume, verbose)
    if not network._training.acquire(blocking=False):
        raise RuntimeError("this network is being trained by another call of fit; train network.copy()")
    try:
        resumed, chosen = None, options.optimizer
        if options.resume and options.checkpoint is not None and os.path.exists(options.checkpoint.path):
            resumed = read_checkpoint(options.checkpoint.path, network, optimizer)
            chosen = resumed.optimizer
        seed = network.seed if resumed is None else resumed.network.seed
        examples = prepare(network.architecture, seed, X, Y, sample_weight, validation_data)
        options.check_batch_size(examples)
        history = History() if resumed is None else resumed.history
        _check_finite(network)
        _announce_metrics(network, examples, history)
        for callback in options.callbacks:
            callback.check(history)
        _begin(network, chosen, resumed)
        return _Training(network, chosen, examples, options, history, resumed).run()
    finally:
        network._training.release()


def _check_finite(network: Network) -> None:
    for name, array in network.parameters.items():  # whoever writes into a view is not checked there
        if not all_finite([array]):
            raise ValueError(
                f"parameter {name} holds a number that is not finite; assign finite values before training"
            )


def _announce_metrics(network: Network, examples: Examples, history: History) -> None:
    """Enter the names of what will be recorded, so that callbacks can be checked before training."""
    if examples.validation is not None:
        x, y, _ = examples.validation
        for name in network.evaluate(x[:, :1], y[:, :1]):
            if name != "cost":
                history.metrics.setdefault(f"validation_{name}", [])


def _begin(network: Network, optimizer: Optimizer, resumed: Resumed | None) -> None:
    """Give the network the optimizer and its state: its own, the checkpoint's, or zeros."""
    slots = RULES[optimizer.rule].slots
    if resumed is not None:
        resumed.restore(network)
    elif network.optimizer != optimizer:
        network.optimizer, network.optimizer_steps, network.optimizer_state = optimizer, 0, []
    if len(network.optimizer_state) != len(slots):
        network.optimizer_state = [allocate(network.architecture)[1] for _ in slots]


class _Training:
    """One call of fit, after everything has been checked."""

    def __init__(
        self,
        network: Network,
        optimizer: Optimizer,
        examples: Examples,
        options: Options,
        history: History,
        resumed: Resumed | None,
    ) -> None:
        self.network, self.history, self.examples = network, history, examples
        self.callbacks, self.checkpoint, self.resumed = options.callbacks, options.checkpoint, resumed
        self.before = len(history)  # epochs of the call that wrote the checkpoint
        self.epochs = max(options.epochs - self.before, 0) if options.resume else options.epochs
        self.interrupts = Interrupts()
        self.steps = Steps(network, optimizer, examples, options.batch_size, options.shuffle, self.interrupts)
        self.progress = Progress(self.epochs, options.verbose)
        self.pace = Pace()
        # A callback may change the parameters, so that steps before it cannot be repeated.
        self.open = any(type(callback).interruptible for callback in self.callbacks)
        self.observed = bool(self.callbacks or self.checkpoint or examples.validation or options.verbose)

    def run(self) -> History:
        history = self.history
        for callback in self.callbacks:
            callback.on_train_begin(self.network, history)
        if self.resumed is not None:
            self.resumed.restore_callbacks(self.callbacks)
        message = ""
        with self.interrupts:
            try:
                self._loop()
                self.interrupts.check()
            except KeyboardInterrupt:
                history.stopped = "interrupted"
                message = self._interrupted()
            finally:
                self.progress.close()
                # Undone steps may reach back into an epoch that was recorded.
                history.truncate(self.before + self.steps.position // self.steps.per_epoch)
            for callback in self.callbacks:
                callback.on_train_end(self.network, history)
        if message:
            warnings.warn(message, RuntimeWarning, stacklevel=4)
        return history

    def _loop(self) -> None:
        history = self.history
        epoch = 0
        while epoch < self.epochs and not history.stopped:
            began = time.perf_counter()
            # Where nobody looks between epochs, small ones are run through together.
            epoch = epoch + 1 if self.observed else self.epochs
            self._train(epoch)
            if not self.observed:
                continue
            self._validate()
            stop = [self._call(callback) for callback in self.callbacks]
            history.seconds[-1] = time.perf_counter() - began
            if any(stop):
                history.stopped = "early"
            if self.checkpoint is not None:
                last = history.stopped == "early" or epoch == self.epochs
                if last or len(history) % self.checkpoint.every == 0:
                    write_checkpoint(self.checkpoint.path, self.network, history, self.callbacks)
            self.progress.epoch(history)

    def _train(self, epochs: int) -> None:
        """Train until so many epochs are done and recorded."""
        steps, first = self.steps, self.steps.position
        end = epochs * steps.per_epoch
        costs: list[Array] = []
        mark = time.perf_counter()
        while steps.position < end:
            self.interrupts.check()
            if not steps.protect(force=self.open and steps.position == first):
                self._diverge(None)
            count = min(self.pace.steps, end - steps.position, steps.together)
            slow, began = self.pace.slow, time.perf_counter()
            found = steps.run(count, slow)
            self.pace.observe(count, time.perf_counter() - began)
            if not math.isfinite(found[-1]):
                self._record([*costs, found[:-1]], mark)
                self._diverge(float(found[-1]))
            costs.append(found)
            if steps.position // steps.per_epoch > len(self.history) - self.before:
                costs, mark = self._record(costs, mark), time.perf_counter()
            self.progress.step(steps.position / steps.per_epoch, float(found[-1]))
        if (self.observed or epochs == self.epochs) and not steps.finite():
            self._diverge(None)

    def _record(self, costs: list[Array], mark: float) -> list[Array]:
        """Record the epochs that the costs since `mark` complete, and return the costs of the one begun."""
        steps, history = self.steps, self.history
        found = np.concatenate(costs)
        completed = found.size // steps.per_epoch
        seconds = (time.perf_counter() - mark) / max(completed, 1)
        whole = completed * steps.per_epoch
        epoch = len(history) - self.before
        rates = steps.rates(epoch * steps.per_epoch, whole)[:: steps.per_epoch]
        means = steps.means(found[:whole].reshape(completed, steps.per_epoch), epoch)
        history.cost.extend(means.tolist())
        history.learning_rate.extend(rates.tolist())
        history.seconds.extend([seconds] * completed)
        return [found[whole:]]

    def _validate(self) -> None:
        if self.examples.validation is None:
            return
        history = self.history
        found: dict[str, float] = {}
        try:
            # A diverging network overflows here too; the next step's cost tells.
            with self.interrupts.allowed(), np.errstate(over="ignore", invalid="ignore"):
                found = self.network.evaluate(*self.examples.validation)
        finally:  # an interrupted epoch has its values too: nan
            history.validation_cost.append(found.get("cost", math.nan))
            for name, values in history.metrics.items():
                if name.startswith("validation_"):
                    values.append(found.get(name.removeprefix("validation_"), math.nan))

    def _call(self, callback: Callback) -> bool:
        with self.interrupts.allowed() if callback.interruptible else nullcontext():
            return callback.on_epoch_end(self.network, self.history) is True

    def _interrupted(self) -> str:
        epochs, step = divmod(self.steps.position, self.steps.per_epoch)
        return (
            f"training was interrupted after {epochs} epochs and {step} of {self.steps.per_epoch} steps; "
            "the network is as it was then and can be used and trained"
        )

    def _diverge(self, cost: float | None) -> NoReturn:
        """Go back to where every number was finite, and say what happened."""
        steps = self.steps
        failed = steps.position
        if not steps.finite():
            steps.go_to_last_finite()
        epoch, step = divmod(failed if cost is not None else max(failed - 1, 0), steps.per_epoch)
        what = "a parameter or an average of the optimizer" if cost is None else f"the cost ({cost})"
        rate = steps.rates(steps.position, 1)[0]
        raise DivergenceError(
            f"training diverged: in epoch {epoch + 1}, step {step + 1} of {steps.per_epoch}, {what} "
            f"is not finite, at a learning rate of {rate:g}. The network has the last finite parameters. "
            "Try a smaller learning rate, or standardize the rows of X.",
            self.history,
        )
