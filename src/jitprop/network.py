"""The L-layer fully connected network: its parameters, what it computes, and where it is kept."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from jitprop_kernels import composition

from . import passes, training
from .architecture import Architecture, Shapes
from .checks import Array, as_inputs, check_inputs, check_sample_weight, check_targets
from .history import History
from .initialization import initialize
from .kernelsets import KERNEL_SETS, KernelSet
from .optimizers import Optimizer
from .parameters import Parameters
from .storage import Stored

__all__ = ["KERNEL_SETS", "Network"]


class Network(Stored):
    """An L-layer fully connected network; every example is a column.

    Z[l] = W[l] A[l-1] + b[l] and A[l] = g[l](Z[l]) for l = 1 to L, with A[0] = X of shape (n_x, m).

    Parameters
    ----------
    units : list of int
        [n_x, n[1], ..., n[L]].
    activation : str, list of str or None
        Of the hidden layers, one name or one for each: linear, relu, leaky_relu, sigmoid, tanh, elu,
        softplus, gelu, silu; with a number as in ``"leaky_relu(0.2)"`` and ``"elu(1.5)"``. None is relu.
    output : str
        The activation of layer L: sigmoid (labels 0 or 1), softmax (one of n[L] >= 2 classes), linear or relu
        (numbers).
    loss : str or None
        binary_cross_entropy, cross_entropy, squared_error, absolute_error, ``"huber(1.0)"``, poisson,
        ``"quantile(0.5)"``, as far as it fits the output. None: cross-entropy for sigmoid and softmax, else
        squared error. With poisson the linear output is the logarithm of the expected count.
    initialization : str, dict or None
        ``"he"``, ``"glorot"``, ``"normal(0.01)"``, ``"zeros"``, ``"constant(c)"``, or arrays {"W1": ...,
        "b1": ..., ...}. None: He before the ReLU family, Glorot before other activations.
    l2 : float
        The cost gains l2 / (2 m) times the sum of the squared weights.
    dropout : float or list of float
        The share of units dropped in training: one rate for all hidden layers, or L rates, the input's first.
    dtype : str
        ``"float32"`` or ``"float64"``, of parameters and results.
    seed : int or None
        Fixes initialization, shuffles and dropout masks. None draws one, which `seed` then tells.
    kernels : str, module or object
        ``"jit"``, ``"vectorized"``, ``"loops"``, or whatever offers some of the names in
        `jitprop_kernels.contract.KERNELS`; what it lacks comes from ``vectorized``.

    Attributes
    ----------
    architecture : Architecture
    parameters : Parameters
        {"W1": (n[1], n[0]), "b1": (n[1], 1), ...}: views that can be written to and assigned to.
    seed, epochs_trained, steps_trained : int
    optimizer_steps : int
        Updates since the averages of the optimizer were zero.
    optimizer : Optimizer or None
        The one of the last training, with `optimizer_state`, a list of arrays like the parameters for each
        average it keeps.
    metadata : dict
        What JSON can say and `save` shall keep with the network, such as preprocessing.

    Raises
    ------
    TypeError
        An option of a type that is not accepted.
    ValueError
        An unknown name, a number out of range, an output without a loss that fits, arrays of wrong shape.

    Examples
    --------
    >>> net = Network([2, 4, 1], activation="tanh", output="sigmoid", seed=0, kernels="vectorized")
    >>> A, caches = net.forward([[0.0, 1.0, 2.0], [1.0, 0.0, 2.0]])
    >>> A.shape
    (1, 3)
    """

    def __init__(
        self,
        units: Sequence[int],
        activation: str | Sequence[str] | None = "relu",
        output: str = "softmax",
        loss: str | None = None,
        initialization: str | Mapping[str, npt.ArrayLike] | None = None,
        l2: float = 0.0,
        dropout: float | Sequence[float] = 0.0,
        dtype: npt.DTypeLike = "float32",
        seed: int | None = None,
        kernels: Any = "jit",
    ) -> None:
        self.architecture = Architecture.build(units, activation, output, loss, l2, dropout, dtype)
        self.seed = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
        self.kernel_set = KernelSet(kernels)
        self._parameters = Parameters(self.architecture)
        initialize(self._parameters.arrays, self.architecture, initialization, self.seed)
        self.epochs_trained = 0
        self.steps_trained = 0
        self.optimizer_steps = 0
        self.optimizer: Optimizer | None = None
        self.optimizer_state: list[list[Array]] = []
        self.metadata: dict[str, Any] = {}
        self._training = threading.Lock()

    @property
    def parameters(self) -> Parameters:
        """{"W1": ..., "b1": ..., ...}: views into the network; assigning a mapping assigns all arrays it
        names."""
        return self._parameters

    @parameters.setter
    def parameters(self, arrays: Mapping[str, npt.ArrayLike]) -> None:
        self._parameters.update(arrays)

    @property
    def kernels(self) -> Any:
        """The kernel set, completed; a named one is imported when it is first needed."""
        return self.kernel_set.functions

    def shapes(self, m: int | None = None) -> Shapes:
        """The shape of every array of a pass over `m` examples, by name; prints as a table."""
        return self.architecture.shapes(m)

    def forward(self, X: npt.ArrayLike) -> tuple[Array, list[tuple[Array, Array]]]:
        """Forward through all layers, keeping what backward needs: Z[l] = W[l] A[l-1] + b[l], A[l] =
        g[l](Z[l]).

        Parameters
        ----------
        X : array-like, shape (n_x, m)

        Returns
        -------
        A : ndarray, shape (n[L], m)
            The output A[L], of the network's dtype.
        caches : list of (Z, A)
            Of the layers 1 to L; the last A is `A`.

        Raises
        ------
        TypeError, ValueError
            X is not a finite (n_x, m) array; see `jitprop.checks.check_inputs`.
        """
        architecture, kernels = self.architecture, self.kernels
        A_prev = np.ascontiguousarray(check_inputs(X, architecture))
        caches, Z = composition.forward(kernels, self._parameters.arrays, A_prev, architecture.activations)
        A = getattr(kernels, architecture.output)(Z)
        return A, [*caches, (Z, A)]

    def cost(self, X: npt.ArrayLike, Y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None) -> float:
        """The cost J = sum(w loss) / sum(w) + l2 / (2 sum(w)) * sum of the squared weights, without dropout.

        Parameters
        ----------
        X : array-like, shape (n_x, m)
        Y : array-like
            (n[L], m); (m,) for one unit; class indices (m,) for softmax.
        sample_weight : array-like, optional
            w, (m,) or (1, m), not negative; 1 if omitted.

        Raises
        ------
        TypeError, ValueError
            Arrays of a wrong dtype, shape or content.
        """
        x, y, w = self._check(X, Y, sample_weight)
        arrays, l2 = self._parameters.arrays, self.architecture.l2
        loss = passes.mean_loss(self.kernels, arrays, self.architecture, x, y, w)
        if l2:
            loss += l2 / (2 * passes.total_weight(x.shape[1], w)) * passes.penalty(arrays)
        return loss

    def gradients(
        self, X: npt.ArrayLike, Y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
    ) -> dict[str, Array]:
        """The derivatives of `cost` by backpropagation: {"dW1": ..., "db1": ..., ...}.

        dZ[l-1] = (W[l].T dZ[l]) * g'(Z[l-1]); dW[l] = 1/m dZ[l] A[l-1].T + l2/m W[l]; db[l] = 1/m sum over
        columns of dZ[l].

        Parameters and errors are those of `cost`.

        Returns
        -------
        dict of str to ndarray
            Each of the shape of its parameter, in the network's dtype.
        """
        x, y, w = self._check(X, Y, sample_weight)
        found = passes.gradients(self.kernels, self._parameters.arrays, self.architecture, x, y, w)
        return {f"d{name}": gradient for name, gradient in zip(self._parameters, found, strict=True)}

    def fit(
        self,
        X: npt.ArrayLike,
        Y: npt.ArrayLike,
        epochs: int = 10,
        batch_size: int | None = None,
        optimizer: Optimizer | None = None,
        shuffle: bool = True,
        sample_weight: npt.ArrayLike | None = None,
        validation_data: Any = None,
        callbacks: Any = (),
        checkpoint: Any = None,
        resume: bool = False,
        verbose: bool | None = None,
    ) -> History:
        """Train: for each batch forward, cost, backward, update.

        Parameters
        ----------
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
        return training.fit(
            self, X, Y, epochs, batch_size, optimizer, shuffle, sample_weight, validation_data,
            callbacks, checkpoint, resume, verbose,
        )  # fmt: skip

    def predict(self, X: npt.ArrayLike) -> Array:
        """What the network says of each column of `X`, (n_x, m).

        Returns
        -------
        ndarray
            sigmoid: labels, 1 where a > 0.5, int64 (n[L], m). softmax: class indices, int64 (m,). linear and
            relu: values (n[L], m) in the network's dtype; with the loss poisson the expected counts e^a.

        Raises
        ------
        TypeError, ValueError
            X is not a finite (n_x, m) array.
        """
        return passes.predictions(self._outputs(X), self.architecture)

    def predict_proba(self, X: npt.ArrayLike) -> Array:
        """The probabilities A[L], (n[L], m), of a sigmoid or softmax output.

        Raises
        ------
        TypeError, ValueError
            X is not a finite (n_x, m) array, or the output is linear or relu: these are no probabilities.
        """
        if self.architecture.output not in ("sigmoid", "softmax"):
            raise ValueError(
                "predict_proba needs output 'sigmoid' or 'softmax', "
                f"this network's is {self.architecture.output!r}; use predict"
            )
        return self._outputs(X)

    def evaluate(
        self, X: npt.ArrayLike, Y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
    ) -> dict[str, float]:
        """How good the network is on these examples.

        Parameters and errors are those of `cost`.

        Returns
        -------
        dict of str to float
            ``"cost"``: the mean loss, without the L2 term, whose share would depend on the number of
            examples. sigmoid and softmax: ``"accuracy"``, the share of labels predicted right. linear and
            relu: ``"r2"``, the explained share of the variation, averaged over units, and
            ``"mean_absolute_error"``. All weighted.
        """
        x, y, w = self._check(X, Y, sample_weight)
        return passes.evaluate(self.kernels, self._parameters.arrays, self.architecture, x, y, w)

    def _check(self, X: Any, Y: Any, sample_weight: Any) -> tuple[Array, Array, Array | None]:
        """X with its shape checked, Y and the weights whole: they are small beside X, which is checked in
        blocks."""
        x = as_inputs(X, self.architecture)
        m = x.shape[1]
        y = check_targets(Y, self.architecture, m)
        return x, y, check_sample_weight(sample_weight, self.architecture, m)

    def _outputs(self, X: Any) -> Array:
        x = as_inputs(X, self.architecture)
        return passes.outputs(self.kernels, self._parameters.arrays, self.architecture, x)

    def __repr__(self) -> str:
        architecture = self.architecture
        hidden = ", ".join(dict.fromkeys(architecture.activations))
        return (
            f"<Network {'-'.join(map(str, architecture.units))}, {hidden + ', ' if hidden else ''}"
            f"{architecture.output} output, {architecture.loss}, {architecture.dtype}, "
            f"{self.kernel_set} kernels: "
            f"{architecture.parameter_count} parameters, {self.epochs_trained} epochs trained>"
        )
