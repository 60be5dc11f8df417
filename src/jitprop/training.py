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
