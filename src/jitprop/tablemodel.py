"""A network together with what its rows of X and its predictions mean in a person's table."""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from .encoding import encode
from .modelfile import ModelFileError
from .network import Network
from .preprocessing import Feature
from .tables import Table
from .targets import Target

__all__ = ["Predictions", "TableModel"]


@dataclass(frozen=True)
class Predictions:
    """Predictions for the rows of a table, in the person's words.

    `values` has class indices or numbers, `texts` what is written; `probabilities` is (m, classes) or None;
    `unknown` counts the categories that were not seen in training, by column.
    """

    values: np.ndarray
    texts: list[str]
    probabilities: np.ndarray | None
    unknown: dict[str, int]


@dataclass(frozen=True)
class TableModel:
    """What `jitprop train` saves and `jitprop predict` loads."""

    network: Network
    features: tuple[Feature, ...]
    target: Target

    def predict(self, table: Table, ignore_unknown: bool = False) -> Predictions:
        """Predict every row of a table with raw columns, in any order.

        Raises
        ------
        ValueError
            A column is absent, or a value is missing, no number, or an unknown category; see
            `encoding.encode`.
        """
        dtype = self.network.architecture.dtype
        X, unknown = encode(self.features, table, dtype, ignore_unknown)
        found = np.asarray(self.network.predict(X)).reshape(-1)
        if not self.target.labels:
            numbers = self.target.numbers(found)
            digits = 9 if dtype == "float32" else 17
            return Predictions(
                numbers, [f"{number:.{digits}g}" for number in numbers.tolist()], None, unknown
            )
        probabilities = self.network.predict_proba(X).T.astype(np.float64)
        if probabilities.shape[1] == 1:
            probabilities = np.hstack([1 - probabilities, probabilities])
        return Predictions(found, [self.target.labels[k] for k in found.tolist()], probabilities, unknown)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network, its preprocessing and its target to one model file."""
        columns = [feature.to_dict() for feature in self.features]
        table = {"columns": columns, "target": self.target.to_dict()}
        self.network.save(path, metadata={**self.network.metadata, "table": table})

    @classmethod
    def load(cls, path: str | os.PathLike[str], **options: Any) -> "TableModel":
        """Read what `save` wrote; `options` go to `Network.load`.

        Raises
        ------
        ModelFileError
            The file is not a model, or a network was saved without a table.
        """
        network = Network.load(path, **options)
        try:
            stored = network.metadata.get("table")
            if not isinstance(stored, dict) or not isinstance(stored.get("columns"), list):
                raise ModelFileError(
                    "a network that `jitprop train` did not save: it does not say what columns it needs; "
                    "use jitprop.Network.load in Python"
                )
            features = tuple(Feature.from_dict(column) for column in stored["columns"])
            target = Target.from_dict(stored.get("target"))
            units = network.architecture.units
            outputs = 1 if network.architecture.output != "softmax" else len(target.labels)
            binary = network.architecture.output == "sigmoid"
            if (
                sum(feature.width for feature in features) != units[0]
                or outputs != units[-1]
                or binary != (len(target.labels) == 2 and outputs == 1)
            ):
                raise ModelFileError("damaged: the columns do not fit the network")
        except ModelFileError as error:
            raise ModelFileError(f"{os.fspath(path)}: {error}") from None
        return cls(network, features, target)
