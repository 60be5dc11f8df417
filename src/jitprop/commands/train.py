"""``jitprop train data.csv --target y``: train on a person's table and save what was learned."""

import argparse
import os
import sys
import time
from typing import Any

import numpy as np

from ..callbacks import EarlyStopping
from ..encoding import encode
from ..history import History
from ..kernelsets import compile_seconds
from ..modelfile import is_model
from ..network import Network
from ..optimizers import SGD, Adam, AdamW, Optimizer, RMSProp
from ..preprocessing import IMPUTATIONS, doubtful, learn_features
from ..readers import read_table
from ..tablemodel import TableModel
from ..tables import Table, listing
from ..targets import FEW, TASKS, Target, decide, split
from ..training import DivergenceError
from .options import (
    add_kernels,
    add_network,
    as_columns,
    check_outputs,
    columns,
    count,
    fields,
    positive,
    seed,
    share,
    single,
    weight,
)

__all__ = ["add"]

OPTIMIZERS: dict[str, tuple[type[Optimizer], dict[str, Any]]] = {
    "sgd": (SGD, {}),
    "momentum": (SGD, {"momentum": 0.9}),
    "nesterov": (SGD, {"momentum": 0.9, "nesterov": True}),
    "rmsprop": (RMSProp, {}),
    "adam": (Adam, {}),
    "adamw": (AdamW, {}),
}
BATCH = 64
SHOWN = 24  # columns listed in the summary


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "train",
        help="train on a CSV, NPZ or Parquet file and save the model",
        description="Train a network on a table, tell how good it is on rows held out, and save it with all "
        "that `jitprop predict` needs. Numbers are standardized, categories one-hot.",
    )
    parser.set_defaults(run=run)
    data = parser.add_argument_group("data")
    data.add_argument("data", metavar="DATA", help="CSV with a header, NPZ, or Parquet")
    data.add_argument("--target", required=True, metavar="COLUMN", help="the column to predict")
    data.add_argument(
        "--task",
        choices=tuple(TASKS),
        help="inferred from the target column by default: two different values are binary, texts and at most "
        f"{FEW} different whole numbers multiclass, other numbers a regression",
    )
    data.add_argument(
        "--drop",
        type=columns,
        action="extend",
        default=[],
        metavar="A,B",
        help="columns not to use, as a line of CSV: a name with a comma in double quotes; may be given again",
    )
    data.add_argument(
        "--categorical",
        type=columns,
        action="extend",
        default=[],
        metavar="A,B",
        help="numbers that are categories, written like those of --drop",
    )
    data.add_argument(
        "--impute",
        choices=IMPUTATIONS,
        help="fill missing values, those of categories always with the most frequent one; an error by default",
    )
    data.add_argument(
        "--validation-fraction", type=share, default=0.2, metavar="F", help="rows held out (default: 0.2)"
    )
    network = parser.add_argument_group("network")
    add_network(network)
    network.add_argument("--output", choices=("sigmoid", "softmax", "linear", "relu"), help="inferred by default")
    network.add_argument("--l2", type=weight, default=0.0, metavar="X", help="weight penalty (default: 0)")
    network.add_argument("--dropout", type=share, default=0.0, metavar="F", help="of hidden units (default: 0)")
    training = parser.add_argument_group("training")
    training.add_argument("--optimizer", choices=tuple(OPTIMIZERS), default="adam", help="(default: adam)")
    training.add_argument("--learning-rate", type=positive, metavar="X", help="the optimizer's own by default")
    training.add_argument("--clip-value", type=positive, metavar="X", help="limit of every number of the gradient")
    training.add_argument("--clip-norm", type=positive, metavar="X", help="limit of the norm of the whole gradient")
    training.add_argument("--epochs", type=count, default=100, metavar="N", help="(default: 100)")
    training.add_argument(
        "--batch-size", type=count, metavar="N", help=f"(default: {BATCH}, or all rows if there are fewer)"
    )
    training.add_argument(
        "--early-stopping",
        type=count,
        metavar="PATIENCE",
        help="stop after so many epochs without a lower held-out cost, and restore the best",
    )
    training.add_argument("--seed", type=seed, default=0, metavar="N", help="fixes all that is random (default: 0)")
    add_kernels(training)
    parser.add_argument(
        "-o",
        "--model",
        default="model.jitprop",
        metavar="FILE",
        help="where to save (default: model.jitprop)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Read, train, report, save."""
    check_outputs({"-o": arguments.model}, {"DATA": arguments.data})
    _check_replaced(arguments.model)
    if arguments.early_stopping and not arguments.validation_fraction:
        raise ValueError("--early-stopping needs rows held out, got --validation-fraction 0")
    optimizer = _optimizer(arguments)  # now: what is wrong with its numbers needs no data to be seen
    table = read_table(arguments.data)
    target, output, values = decide(table, arguments.target, arguments.task, arguments.output, arguments.loss)
    used = _used(arguments, table)
    training, held = split(values, bool(target.labels), arguments.validation_fraction, arguments.seed)
    _check_batch_size(arguments.batch_size, len(training))
    target = target.standardized(values[training], output, arguments.loss)
    features, left_out = learn_features(table, used, training, arguments.impute, arguments.categorical)
    X, unknown = encode(features, table, arguments.dtype, ignore_unknown=True)
    Y = target.for_network(values, arguments.dtype)
    network = _network(arguments, len(X), output, len(target.labels))
    model = TableModel(network, tuple(features), target)

    left_out |= {name: "dropped" for name in arguments.drop}
    print(fields(_about_data(arguments, table, target, training, held)))
    notes = _about_classes(arguments, table, target)
    notes += _notes(doubtful(table, features, training, arguments.categorical))
    print(fields(_about_columns(table, model, left_out, unknown) + notes))
    print(f"\n{network.shapes()}\n")
    sys.stdout.flush()  # whoever reads a pipe sees it before training, too
    compiled, started = compile_seconds(), time.perf_counter()
    history = _fit(arguments, network, optimizer, X, Y, training, held)
    seconds, compiled = time.perf_counter() - started, compile_seconds() - compiled
    model.save(arguments.model)
    print(fields(_about_training(arguments, history, seconds - compiled, compiled)))
    if len(held):
        print(fields(_about_held_out(arguments, model, X, Y, values, training, held)))
    print(fields([("saved", arguments.model)]))
    return 130 if history.stopped == "interrupted" else 0


def _check_replaced(path: str) -> None:
    """A file that is there already must be a model: anything else was not meant to be replaced by one."""
    if os.path.isfile(path) and os.path.getsize(path) and not is_model(path):
        raise ValueError(
            f"-o {path} is there already and is not a jitprop model; give a new name, or that of a model to replace"
        )


def _used(arguments: argparse.Namespace, table: Table) -> list[str]:
    """The columns to learn from, if what the options say of columns makes sense together."""
    _check_columns(table, "--drop", arguments.drop)
    _check_columns(table, "--categorical", arguments.categorical)
    if arguments.target in arguments.drop:
        raise ValueError(f"--drop names the target {arguments.target!r}")
    if arguments.target in arguments.categorical:
        raise ValueError(
            f"--categorical names the target {arguments.target!r}; --task multiclass makes classes of its values"
        )
    both = [name for name in arguments.categorical if name in arguments.drop]
    if both:
        raise ValueError(f"--drop and --categorical both name {listing(both)}; give each column to one of them")
    used = [name for name in table.names if name != arguments.target and name not in arguments.drop]
    if not used:
        why = "--drop names all of them" if arguments.drop else "there is none beside the target"
        raise ValueError(f"{table.source}: no column is left to learn from ({why})")
    return used


def _check_columns(table: Table, option: str, given: list[str]) -> None:
    """The names alone, and not the values: a column that is dropped may be of any type."""
    for name in given:
        parts = [whole for whole in table.names if name in map(str.strip, whole.split(","))]
        if parts and name not in table.names:
            raise ValueError(
                f"{table.source} has no column {name!r}; a name with a comma goes in double quotes: "
                f"{option} {as_columns(parts[0])}"
            )
        table.check_name(name)


def _check_batch_size(given: int | None, rows: int) -> None:
    if given is not None and given > rows:
        raise ValueError(f"--batch-size must be from 1 to {rows}, the rows to train on, got {given}")


def _network(arguments: argparse.Namespace, n_x: int, output: str, classes: int) -> Network:
    return Network(
        [n_x, *arguments.hidden, classes if output == "softmax" else 1],
        activation=single(arguments.activation) if arguments.hidden else None,
        output=output,
        loss=arguments.loss,
        l2=arguments.l2,
        dropout=arguments.dropout,
        dtype=arguments.dtype,
        seed=arguments.seed,
        kernels=arguments.kernels,
    )


def _optimizer(arguments: argparse.Namespace) -> Optimizer:
    kind, settings = OPTIMIZERS[arguments.optimizer]
    given = {name: getattr(arguments, name) for name in ("learning_rate", "clip_value", "clip_norm")}
    return kind(**settings | {name: value for name, value in given.items() if value is not None})


def _fit(
    arguments: argparse.Namespace,
    network: Network,
    optimizer: Optimizer,
    X: np.ndarray,
    Y: np.ndarray,
    training: np.ndarray,
    held: np.ndarray,
) -> History:
    stop = [EarlyStopping(patience=arguments.early_stopping)] if arguments.early_stopping else []
    try:
        return network.fit(
            X.T[training].T,  # the rows of a C-contiguous array: no further copy is made
            Y[training],
            epochs=arguments.epochs,
            batch_size=arguments.batch_size or min(BATCH, len(training)),
            optimizer=optimizer,
            validation_data=(X.T[held].T, Y[held]) if len(held) else None,
            callbacks=stop,
        )
    except DivergenceError as error:  # its advice is for Python: here numbers are standardized, and no network is left
        advice = "Nothing is saved. Try a smaller --learning-rate, or --clip-norm 1"
        raise DivergenceError(f"{error.cause}. {advice}.", error.history) from None


def _about_data(
    arguments: argparse.Namespace, table: Table, target: Target, training: np.ndarray, held: np.ndarray
) -> list[tuple[str, str]]:
    rows = f"{table.rows} rows: {len(training)} to train on, {len(held)} held out"
    task = target.describe()
    if len(target.labels) == 2 and target.labels != ("0", "1"):
        task += f" (1 stands for {target.labels[1]})"
    return [("data", f"{arguments.data}, {rows}"), ("target", f"{target.name}, {task}")]


def _about_columns(
    table: Table, model: TableModel, left_out: dict[str, str], unknown: dict[str, int]
) -> list[tuple[str, str]]:
    width = sum(feature.width for feature in model.features)
    lines = [("columns", f"{len(model.features)} used, as {width} rows of X")]
    for feature in model.features[:SHOWN]:
        text = f"{feature.name}: {feature.describe()}"
        missing = 0 if feature.fill is None else int(table[feature.name].missing.sum())
        if missing:
            filled = repr(feature.fill) if isinstance(feature.fill, str) else f"{feature.fill:.4g}"
            text += f"; {missing} missing, filled with {filled}"
        if feature.name in unknown:
            text += f"; {unknown[feature.name]} held-out values not in the training part"
        lines.append(("", text))
    if len(model.features) > SHOWN:
        lines.append(("", f"... and {len(model.features) - SHOWN} more"))
    lines += [("", f"{name}: left out, {reason}") for name, reason in list(left_out.items())[:SHOWN]]
    if len(left_out) > SHOWN:
        lines.append(("", f"... and {len(left_out) - SHOWN} more left out"))
    return lines


def _about_classes(arguments: argparse.Namespace, table: Table, target: Target) -> list[tuple[str, str]]:
    """Few different numbers are taken as classes: whoever wants to predict a number must know."""
    inferred = arguments.task is None and arguments.output is None
    if not inferred or len(target.labels) < 3 or table[target.name].numbers()[1].any():
        return []
    told = f"{len(target.labels)} different numbers, taken as classes; to predict a number: --task regression"
    return [("note", f"{target.name}: {told}")]


def _notes(doubts: dict[str, str]) -> list[tuple[str, str]]:
    notes = [
        ("note", f"{name}: {looks}; if it says nothing of new rows, leave it out: --drop {as_columns(name)}")
        for name, looks in list(doubts.items())[:SHOWN]
    ]
    if len(doubts) > SHOWN:
        notes.append(("", f"... and {len(doubts) - SHOWN} more like these"))
    return notes


def _about_training(
    arguments: argparse.Namespace, history: History, seconds: float, compiled: float
) -> list[tuple[str, str]]:
    whole = f" of {arguments.epochs}" if history.stopped == "interrupted" else ""
    epochs = "epoch" if len(history) == 1 and not whole else "epochs"
    done = f"{len(history)}{whole} {epochs} of {arguments.optimizer} in {seconds:.2f} s"
    if compiled:
        done += f" after compiling for {compiled:.1f} s"
    if history.stopped == "early":
        done += f", stopped early; the parameters are those of epoch {(history.restored_epoch or 0) + 1}"
    elif history.stopped:
        done += f", {history.stopped}"
    lines = [("training", f"{done} ({arguments.kernels} kernels, {arguments.dtype})")]
    if history.cost:
        lines.append(("cost", f"{history.cost[0]:.4g} in the first epoch, {history.cost[-1]:.4g} in the last"))
    return lines


def _about_held_out(
    arguments: argparse.Namespace,
    model: TableModel,
    X: np.ndarray,
    Y: np.ndarray,
    values: np.ndarray,
    training: np.ndarray,
    held: np.ndarray,
) -> list[tuple[str, str]]:
    found = model.network.evaluate(X.T[held].T, Y[held])
    used = " (which also decided when to stop)" if arguments.early_stopping else ""
    if model.target.labels:
        commonest = int(np.bincount(values[training]).argmax())
        base = (values[held] == commonest).mean()
        text = (
            f"accuracy {found['accuracy']:.1%} on the {len(held)} rows{used}; "
            f"always answering {model.target.labels[commonest]!r} is right in {base:.1%}"
        )
    else:
        from_mean = values[held] - values[training].mean()
        base = 1 - (from_mean**2).sum() / max(((values[held] - values[held].mean()) ** 2).sum(), 1e-300)
        text = (
            f"r2 {found['r2']:.3f} and mean absolute error "
            f"{found['mean_absolute_error'] * model.target.scale:.4g} on the {len(held)} rows{used}; "
            f"always answering the mean gives {base:.3f} and {np.abs(from_mean).mean():.4g}"
        )
    return [("held out", text)]
