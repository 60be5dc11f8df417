"""Data to train on without a connection: three tables that come with scikit-learn, and one drawn here.

Shapes are the course's: X is (n_x, m), an example is a column. Rows of X are standardized with the mean and
the standard deviation of the training part; pixels share one of each, since they share a unit.
"""

from typing import NamedTuple

import numpy as np

from .preprocessing import standardization
from .targets import split

__all__ = ["DATASETS", "Dataset", "load", "petals"]

DATASETS = {
    "digits": ("load_digits", "handwritten digits, 8 x 8 pixels"),
    "cancer": ("load_breast_cancer", "breast cancer, 30 measurements of cell nuclei"),
    "diabetes": ("load_diabetes", "diabetes, 10 measurements and the progression after a year"),
}


class Dataset(NamedTuple):
    """Examples to train on and examples held out.

    `Y` and `Y_test` are class indices, int64 (m,), with the `labels` of the classes, or for a regression
    standardized numbers (m,): the number of the person's table is offset + scale y.
    """

    name: str
    description: str
    X: np.ndarray
    Y: np.ndarray
    X_test: np.ndarray
    Y_test: np.ndarray
    labels: tuple[str, ...]
    offset: float
    scale: float


def load(name: str, test_fraction: float = 0.2, seed: int = 0, dtype: str = "float32") -> Dataset:
    """One of the tables that come with scikit-learn, split and standardized.

    Parameters
    ----------
    name : {"digits", "cancer", "diabetes"}
    test_fraction : float
        The share of each class, or of all examples, to hold out.
    seed : int
        Fixes who is held out.
    dtype : {"float32", "float64"}

    Raises
    ------
    ImportError
        scikit-learn is not installed.
    ValueError
        Unknown name.
    """
    if name not in DATASETS:
        raise ValueError(f"unknown data {name!r}; accepted: {', '.join(DATASETS)}")
    try:
        from sklearn import datasets
    except ImportError:
        raise ImportError(
            f"the data {name!r} come with scikit-learn: pip install 'jitprop[sklearn]'"
        ) from None
    loader, description = DATASETS[name]
    found = getattr(datasets, loader)()
    labels = tuple(str(label) for label in found.target_names) if "target_names" in found else ()
    rows, held = split(found.target, bool(labels), test_fraction, seed)
    columns = [standardization(column) for column in found.data[rows].astype(np.float64).T]
    means, deviations = np.array(columns).T
    if name == "digits":
        means, deviations = np.array(standardization(found.data[rows].ravel()))
    examples = ((found.data - means) / deviations).astype(dtype)
    offset, scale = (0.0, 1.0) if labels else standardization(found.target[rows])
    Y = found.target.astype(np.int64) if labels else ((found.target - offset) / scale).astype(dtype)
    return Dataset(
        name, description, examples[rows].T, Y[rows], examples[held].T, Y[held], labels, offset, scale
    )


def petals(
    m: int = 400, leaves: int = 6, noise: float = 0.15, seed: int = 0, dtype: str = "float32"
) -> tuple[np.ndarray, np.ndarray]:
    """A flower in the plane whose petals take turns in two colours: no straight line tells them apart.

    Parameters
    ----------
    m : int
        The number of points.
    leaves : int
        The number of petals, even.
    noise : float
        The standard deviation of what is added to each coordinate; a petal has length 4.
    seed : int
    dtype : {"float32", "float64"}

    Returns
    -------
    X : ndarray, shape (2, m)
    Y : ndarray, shape (1, m)
        0 or 1, as numbers of `dtype`.
    """
    if leaves < 2 or leaves % 2:
        raise ValueError(f"leaves must be an even number from 2, got {leaves}")
    if m < 1:
        raise ValueError(f"m must be at least 1, got {m}")
    generator = np.random.default_rng(seed)
    leaf = np.arange(m) % leaves
    turn = generator.uniform(-0.5, 0.5, m)
    radius = 4 * np.cos(np.pi * turn) * np.sqrt(generator.uniform(0.05, 1.0, m))
    angle = (leaf + 0.8 * turn) * (2 * np.pi / leaves)
    X = radius * np.array([np.cos(angle), np.sin(angle)]) + generator.normal(0.0, noise, (2, m))
    order = generator.permutation(m)
    return np.ascontiguousarray(X[:, order], dtype), (leaf[order] % 2).reshape(1, m).astype(dtype)
