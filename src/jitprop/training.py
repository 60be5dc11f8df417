"""Training a network: what `Network.fit` does."""

from __future__ import annotations

import os
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from jitprop_kernels.contract import RULES

from .architecture import allocate
from .checkpoints import Resumed, read_checkpoint, unchanged_on_error
from .examples import Examples, prepare
from .history import History
from .loop import DivergenceError, Training
from .optimizers import Optimizer
from .options import Options

if TYPE_CHECKING:
    from .network import Network

__all__ = ["DivergenceError", "fit"]


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
    """Train `network`; `Network.fit` says what the parameters mean, what is returned and what is raised."""
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
        network._finite_arrays()
        _announce_metrics(network, examples, history)
        for callback in options.callbacks:
            callback.check(history)
        with nullcontext() if resumed is None else unchanged_on_error(network):
            _begin(network, chosen, resumed)
            run = Training(network, chosen, examples, options, history, resumed)
            run.begin()
        return run.run()
    finally:
        network._training.release()


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
