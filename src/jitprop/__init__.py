"""L-layer fully connected networks on the CPU, trained by loops, by NumPy and by compiled kernels.

Examples are columns: X is (n_x, m), Y is (n[L], m). Importing this compiles nothing.

>>> from jitprop import Adam, Network
>>> net = Network([2, 8, 1], activation="tanh", output="sigmoid", seed=0, kernels="vectorized")
>>> X = [[0, 0, 1, 1], [0, 1, 0, 1]]
>>> history = net.fit(X, [0, 1, 1, 0], epochs=500, optimizer=Adam(0.05), verbose=False)
>>> net.predict(X)
array([[0, 1, 1, 0]])
"""

from .callbacks import Callback, EarlyStopping
from .checkpoints import Checkpoint
from .history import History
from .kernelsets import get_num_threads, set_num_threads
from .modelfile import ModelFileError
from .network import Network
from .optimizers import SGD, Adam, AdamW, RMSProp
from .schedules import Constant, Cosine, Exponential, InverseDecay, Step, WarmUp
from .training import DivergenceError

__version__ = "0.1.0"

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Callback",
    "Checkpoint",
    "Constant",
    "Cosine",
    "DivergenceError",
    "EarlyStopping",
    "Exponential",
    "History",
    "InverseDecay",
    "ModelFileError",
    "Network",
    "RMSProp",
    "Step",
    "WarmUp",
    "__version__",
    "get_num_threads",
    "set_num_threads",
]
