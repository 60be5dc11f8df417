"""The fit loop: epochs of batches, in slices short enough that Ctrl-C and the progress bar get their turn.

The result depends on nothing but the data, the options and the seed: permutations are drawn from (seed,
epoch), masks from (seed, step), and rates from the epoch, so it is the same however the steps are cut into
slices and calls.
"""

from __future__ import annotations

import math
import time
import warnings
from contextlib import nullcontext
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from .callbacks import Callback
from .checkpoints import Resumed, write_checkpoint
from .checks import Array
from .examples import Examples
from .history import History
from .optimizers import Optimizer
from .options import Options
from .progress import Progress
from .recovery import Interrupts
from .steps import Pace, Steps

if TYPE_CHECKING:
    from .network import Network

__all__ = ["DivergenceError", "Training"]


class DivergenceError(RuntimeError):
    """The cost or a parameter is no longer finite; the network has the last finite parameters.

    Attributes
    ----------
    history : History
        The epochs that were completed.
    cause : str
        What happened, without the advice that follows in the message.
    """

    def __init__(self, message: str, history: History | None = None, cause: str | None = None) -> None:
        super().__init__(message)
        self.history = History() if history is None else history
        self.cause = message if cause is None else cause


class Training:
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

    def begin(self) -> None:
        """Let the callbacks begin, or go on from a checkpoint."""
        for callback in self.callbacks:
            callback.on_train_begin(self.network, self.history)
        if self.resumed is not None:
            self.resumed.restore_callbacks(self.callbacks)

    def run(self) -> History:
        """Train; `begin` has been called."""
        history = self.history
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
            if self.interrupts.pending:  # too late to change anything, but not to be said
                history.stopped = history.stopped or "interrupted"
                message = message or self._interrupted()
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
            with self.interrupts.allowed():
                found = self.network.evaluate(*self.examples.validation)
        finally:  # an interrupted epoch has its values too: nan
            history.validation_cost.append(found.get("cost", math.nan))
            for name, values in history.metrics.items():
                if name.startswith("validation_"):
                    values.append(found.get(name.removeprefix("validation_"), math.nan))

    def _call(self, callback: Callback) -> bool:
        with self.interrupts.allowed() if callback.interruptible else nullcontext():
            # A comparison of NumPy numbers gives NumPy's True.
            answer: object = callback.on_epoch_end(self.network, self.history)
            return isinstance(answer, (bool, np.bool_)) and bool(answer)

    def _interrupted(self) -> str:
        epochs, step = divmod(self.steps.position, self.steps.per_epoch)
        whole = f"{epochs} epoch{'' if epochs == 1 else 's'}"
        return (
            f"training was interrupted after {whole} and {step} of {self.steps.per_epoch} steps; "
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
        cause = (
            f"training diverged: in epoch {epoch + 1}, step {step + 1} of {steps.per_epoch}, {what} "
            f"is not finite, at a learning rate of {rate:g}"
        )
        raise DivergenceError(
            f"{cause}. The network has the last finite parameters. "
            "Try a smaller learning rate, or standardize the rows of X.",
            self.history,
            cause,
        )
