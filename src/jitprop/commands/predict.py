"""``jitprop predict model.jitprop data.csv``: predictions for a table with raw columns, as CSV."""

import argparse
import csv
import sys
from typing import IO, Any

import numpy as np

from ..files import replacing
from ..network import KERNEL_SETS
from ..readers import read_table
from ..tablemodel import Predictions, TableModel
from ..tables import Table, listing
from ..targets import known_values
from .options import check_outputs

__all__ = ["add"]


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "predict",
        help="predict the rows of a table with a saved model",
        description="Predict the rows of a CSV, NPZ or Parquet file with a model of `jitprop train`. Columns "
        "may come in any order; those the model does not know are ignored. Notes go to stderr.",
    )
    parser.set_defaults(run=run)
    parser.add_argument("model", metavar="MODEL", help="a file that `jitprop train` saved")
    parser.add_argument("data", metavar="DATA", help="CSV with a header, NPZ, or Parquet")
    parser.add_argument("-o", "--output", metavar="FILE", help="where to write the CSV (default: stdout)")
    parser.add_argument("--probabilities", action="store_true", help="a column for the probability of each class")
    parser.add_argument(
        "--unknown",
        choices=("error", "ignore"),
        default="error",
        help="a category that was not seen in training: an error (default), or all zeros",
    )
    parser.add_argument(
        "--kernels", choices=KERNEL_SETS, help="what computes (default: what the model was trained with)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Load, read, predict, write."""
    check_outputs({"-o": arguments.output}, {"MODEL": arguments.model, "DATA": arguments.data})
    model = TableModel.load(arguments.model, kernels=arguments.kernels)
    if arguments.probabilities and not model.target.labels:
        raise ValueError("--probabilities needs a model of classes, this one is a regression")
    table = read_table(arguments.data)
    predictions = model.predict(table, arguments.unknown == "ignore")
    if arguments.output is not None:
        with replacing(arguments.output, text=True) as file:
            _write(file, model, predictions, arguments.probabilities)
    else:
        _write(sys.stdout, model, predictions, arguments.probabilities)
        sys.stdout.flush()
    for note in _notes(model, table, predictions):
        print(f"jitprop: {note}", file=sys.stderr)
    return 0


def _write(file: IO[str], model: TableModel, predictions: Predictions, probabilities: bool) -> None:
    writer = csv.writer(file, lineterminator="\n")
    labels = model.target.labels if probabilities else ()
    writer.writerow([model.target.name, *(f"probability of {label}" for label in labels)])
    if probabilities and predictions.probabilities is not None:
        for text, row in zip(predictions.texts, predictions.probabilities.tolist(), strict=True):
            writer.writerow([text, *(f"{p:.9g}" for p in row)])
    else:
        writer.writerows([text] for text in predictions.texts)


def _notes(model: TableModel, table: Table, predictions: Predictions) -> list[str]:
    notes = []
    known = {feature.name for feature in model.features} | {model.target.name}
    extra = [name for name in table.names if name not in known]
    if extra:
        notes.append(f"columns the model does not use: {listing(extra, 6)}")
    for name, count in predictions.unknown.items():
        notes.append(f"values of {name!r} that were not seen in training: {count}; they count as no category")
    values = known_values(model.target, table)
    if values is not None and model.target.labels:
        notes.append(f"{(values == predictions.values).mean():.1%} agree with {model.target.name!r} in the table")
    elif values is not None:
        error = np.abs(values - predictions.values).mean()
        notes.append(f"mean absolute error {error:.4g} against {model.target.name!r} in the table")
    return notes
