"""The command line: what it prints, writes and returns, on good tables and on bad ones."""

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest

import jitprop
from jitprop import Network, cli
from jitprop.cli import main
from jitprop.commands import train, warmup
from jitprop.encoding import encode
from jitprop.optimizers import SGD, Adam
from jitprop.readers import read_table
from jitprop.tablemodel import TableModel

COUNTS = "whole numbers above 0 with commas between them"
FAST = ["--kernels", "vectorized", "--epochs", "3"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_csv(path, columns):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def people(m=60, seed=0):
    generator = np.random.default_rng(seed)
    age = generator.integers(18, 80, m)
    city = generator.choice(["Oslo", "Rome", "Bern"], m)
    member = generator.choice(["true", "false"], m)
    income = np.round(1000 + 30 * age + 200 * (city == "Oslo") + generator.normal(0, 20, m), 2)
    return {
        "age": age.tolist(),
        "city": city.tolist(),
        "member": member.tolist(),
        "income": income.tolist(),
        "fate": np.where(age + 20 * (city == "Rome") > 50, "stays", "leaves").tolist(),
    }


@pytest.fixture
def table(here):
    write_csv("people.csv", people())
    return "people.csv"


def run(*arguments):
    return main([str(argument) for argument in arguments])


def fails(capsys, *arguments):
    """Run, expect code 1 and one line on stderr, and return what it says."""
    assert run(*arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("jitprop: error: ") and error.count("\n") == 1, error
    return error.removeprefix("jitprop: error: ").strip()


def predictions(capsys, *arguments):
    capsys.readouterr()
    assert run("predict", *arguments) == 0
    return list(csv.reader(io.StringIO(capsys.readouterr().out)))


# train and predict


def test_train_says_what_it_did_and_saves(table, here, capsys):
    assert run("train", table, "--target", "fate", "--hidden", "8,4", *FAST) == 0
    said = capsys.readouterr().out
    for part in (
        "60 rows: 48 to train on, 12 held out",
        "fate, 2 classes: leaves, stays (1 stands for stays)",
        "4 used, as 6 rows of X",
        "city: category, one-hot: 'Bern', 'Oslo', 'Rome'",
        "2      (4, 8)",
        "3 epochs of adam",
        "always answering",
        "model.jitprop",
    ):
        assert part in said
    assert max(map(len, said.splitlines())) <= 80
    assert sorted(os.listdir(here)) == ["model.jitprop", "people.csv"]


def test_predictions_are_those_of_the_network_in_the_persons_words(table, capsys):
    run("train", table, "--target", "fate", *FAST)
    rows = predictions(capsys, "model.jitprop", table, "--probabilities")
    assert rows[0] == ["fate", "probability of leaves", "probability of stays"]
    model = TableModel.load("model.jitprop")
    X, _ = encode(model.features, read_table(table), "float32")
    labels = Network.load("model.jitprop").predict(X)[0]
    assert [row[0] for row in rows[1:]] == [("leaves", "stays")[k] for k in labels]
    A = model.network.predict_proba(X)[0]
    np.testing.assert_allclose([float(row[2]) for row in rows[1:]], A, rtol=1e-8)
    np.testing.assert_allclose([float(row[1]) + float(row[2]) for row in rows[1:]], 1, rtol=1e-8)


def test_many_classes(here, capsys):
    columns = people()
    write_csv("a.csv", columns)
    run("train", "a.csv", "--target", "city", "--drop", "income,age", *FAST)
    assert "city, 3 classes: Bern, Oslo, Rome" in capsys.readouterr().out
    rows = predictions(capsys, "model.jitprop", "a.csv", "--probabilities")
    assert len(rows) == 61 and len(rows[0]) == 4
    for row in rows[1:]:
        shares = [float(p) for p in row[1:]]
        assert row[0] == ("Bern", "Oslo", "Rome")[int(np.argmax(shares))]
        assert sum(shares) == pytest.approx(1, abs=1e-6)


def test_regression_in_the_units_of_the_column(table, capsys):
    options = ["--dtype", "float64", "--learning-rate", "0.01", "--kernels", "vectorized", "--epochs", "60"]
    assert run("train", table, "--target", "income", *options) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "regression" in said and "always answering the mean gives" in said
    rows = predictions(capsys, "model.jitprop", table)
    model = TableModel.load("model.jitprop")
    X, _ = encode(model.features, read_table(table), "float64")
    expected = model.target.offset + model.target.scale * model.network.predict(X)[0]
    np.testing.assert_array_equal([float(row[0]) for row in rows[1:]], expected)
    assert np.corrcoef(expected, people()["income"])[0, 1] > 0.9


@pytest.mark.parametrize(("output", "loss"), [("relu", None), ("linear", "poisson"), ("linear", "huber(2.0)")])
def test_other_regressions(table, capsys, output, loss):
    extra = ["--loss", loss] if loss else []
    assert run("train", table, "--target", "age", "--output", output, *extra, *FAST) == 0
    values = [float(row[0]) for row in predictions(capsys, "model.jitprop", table)[1:]]
    assert np.isfinite(values).all() and (output == "linear" or min(values) >= 0)


def test_columns_in_any_order_and_more_than_needed(table, capsys):
    run("train", table, "--target", "fate", *FAST)
    expected = predictions(capsys, "model.jitprop", table)
    columns = people()
    turned = {"note": ["x"] * 60} | {name: columns[name] for name in reversed(columns) if name != "fate"}
    write_csv("turned.csv", turned)
    assert run("predict", "model.jitprop", "turned.csv") == 0
    found = capsys.readouterr()
    assert list(csv.reader(io.StringIO(found.out))) == expected
    assert found.err == "jitprop: columns the model does not use: 'note'\n"


def test_predict_tells_how_right_it_is_when_the_table_knows(table, capsys):
    run("train", table, "--target", "fate", *FAST)
    run("predict", "model.jitprop", table)
    assert "% agree with 'fate' in the table" in capsys.readouterr().err
    run("train", table, "--target", "income", *FAST)
    run("predict", "model.jitprop", table)
    assert "mean absolute error" in capsys.readouterr().err


def test_output_goes_to_a_file_whole_or_not_at_all(table, here, capsys):
    run("train", table, "--target", "fate", *FAST)
    expected = predictions(capsys, "model.jitprop", table)
    assert run("predict", "model.jitprop", table, "-o", "out.csv") == 0
    assert capsys.readouterr().out == ""
    with open("out.csv", newline="") as file:
        assert list(csv.reader(file)) == expected
    write_csv("bad.csv", people() | {"age": ["old"] * 60})
    assert "'age' is 'old'" in fails(capsys, "predict", "model.jitprop", "bad.csv", "-o", "none.csv")
    assert not os.path.exists("none.csv") and not list(here.glob(".*"))


def test_missing_values_and_unknown_categories(here, capsys):
    columns = people()
    columns["age"][3] = columns["city"][4] = ""
    write_csv("gaps.csv", columns)
    error = fails(capsys, "train", "gaps.csv", "--target", "fate", *FAST)
    assert "'age' (1 of 60 rows), 'city' (1 of 60 rows)" in error and "--impute" in error
    assert not os.path.exists("model.jitprop")
    assert run("train", "gaps.csv", "--target", "fate", "--impute", "median", *FAST) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert re.search(r"age: number, [^;]*; 1 missing, filled with \d", said)
    assert re.search(r"city: category, [^;]*; 1 missing, filled with '\w+' ", said)
    assert said.count("missing") == 2  # nothing of the columns that have all their values
    assert len(predictions(capsys, "model.jitprop", "gaps.csv")) == 61
    columns["city"][0] = "Paris"
    write_csv("new.csv", columns)
    error = fails(capsys, "predict", "model.jitprop", "new.csv")
    assert error.startswith("new.csv, line 2: column 'city' is 'Paris', not seen in training")
    assert run("predict", "model.jitprop", "new.csv", "--unknown", "ignore") == 0
    assert "values of 'city' that were not seen in training: 1;" in capsys.readouterr().err


def test_npz_and_parquet_give_the_model_of_the_csv(table, capsys):
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = people()
    np.savez("people.npz", **{name: np.array(values) for name, values in columns.items()})
    parquet.write_table(arrow.table(columns), "people.parquet")
    saved = []
    for name in ("people.csv", "people.npz", "people.parquet"):
        assert run("train", name, "--target", "fate", *FAST, "-o", "m.jitprop") == 0
        with open("m.jitprop", "rb") as file:
            saved.append(file.read())
    assert saved[0] == saved[1] == saved[2]


def test_a_column_of_a_type_that_is_not_accepted_can_be_dropped(here, capsys):
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = people()
    columns["signup"] = arrow.array(range(60), arrow.date32())
    parquet.write_table(arrow.table(columns), "people.parquet")
    error = fails(capsys, "train", "people.parquet", "--target", "fate", *FAST)
    assert error.endswith("'signup' is date32[day]; accepted: numbers, booleans and texts; use --drop to leave it out")
    assert run("train", "people.parquet", "--target", "fate", "--drop", "age,signup", *FAST) == 0
    assert "signup: left out, dropped" in capsys.readouterr().out
    assert len(predictions(capsys, "model.jitprop", "people.parquet")) == 61


def test_columns_with_commas_in_their_names(here, capsys):
    columns = people()
    columns["note, free"] = columns['5" and more, "so"'] = range(60)
    write_csv("people.csv", columns)
    options = ["--drop", 'age,"note, free"', "--drop", '"5"" and more, ""so""", city', "--categorical", '"income"']
    assert run("train", "people.csv", "--target", "fate", *options, "--hidden", "none", *FAST) == 0
    assert "2 used" in capsys.readouterr().out
    assert [feature.name for feature in TableModel.load("model.jitprop").features] == ["member", "income"]
    error = fails(capsys, "train", "people.csv", "--target", "fate", "--drop", "note, free", *FAST)
    assert error == (
        "people.csv has no column 'note'; a name with a comma goes in double quotes: --drop '\"note, free\"'"
    )


def test_columns_that_may_name_rows_are_told(here, capsys):
    columns = people()
    columns["no, of"] = range(60)
    columns["name"] = [f"n{i % 23}" for i in range(60)]
    write_csv("people.csv", columns)
    assert run("train", "people.csv", "--target", "fate", *FAST) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "note no, of: whole numbers, all different" in said and "leave it out: --drop '\"no, of\"'" in said
    assert re.search(r"note name: 2\d different texts in 48 rows, .* leave it out: --drop name ", said)
    used = [feature.name for feature in TableModel.load("model.jitprop").features]
    assert used == ["age", "city", "member", "income", "no, of", "name"]  # told, and learned from all the same
    write_csv("people.csv", people())
    assert run("train", "people.csv", "--target", "fate", *FAST) == 0
    assert "note " not in capsys.readouterr().out


def test_the_seed_fixes_everything(table):
    saved = []
    for seed in (1, 1, 2):
        run("train", table, "--target", "fate", "--seed", seed, "--dropout", "0.3", *FAST)
        with open("model.jitprop", "rb") as file:
            saved.append(file.read())
    assert saved[0] == saved[1] != saved[2]


@pytest.mark.parametrize("optimizer", train.OPTIMIZERS)
def test_optimizers(table, optimizer, capsys):
    assert run("train", table, "--target", "fate", "--optimizer", optimizer, "--l2", "0.1", *FAST) == 0
    assert f"epochs of {optimizer}" in capsys.readouterr().out


def test_clipping(table):
    options = ["--optimizer", "momentum", "--clip-value", "0.5", "--clip-norm", "2", *FAST]
    assert run("train", table, "--target", "fate", *options) == 0
    assert Network.load("model.jitprop").optimizer == SGD(momentum=0.9, clip_value=0.5, clip_norm=2.0)
    assert run("train", table, "--target", "fate", *FAST) == 0
    assert Network.load("model.jitprop").optimizer == Adam()


def test_other_options_of_train(table, capsys):
    options = [
        "--hidden",
        "6,5",
        "--activation",
        "tanh,leaky_relu(0.2)",
        "--batch-size",
        "7",
        "--task",
        "multiclass",
    ]
    assert run("train", table, "--target", "fate", *options, *FAST) == 0
    network = Network.load("model.jitprop")
    assert network.architecture.activations == ("tanh", "leaky_relu(0.2)")
    assert (network.architecture.output, network.architecture.units[-1]) == ("softmax", 2)
    assert run("train", table, "--target", "fate", "--hidden", "none", *FAST) == 0
    assert Network.load("model.jitprop").architecture.units == (6, 1)
    assert run("train", table, "--target", "fate", "--validation-fraction", "0", *FAST) == 0
    assert "60 to train on, 0 held out" in capsys.readouterr().out


def test_early_stopping_says_so(table, capsys):
    options = [
        "--early-stopping",
        "2",
        "--epochs",
        "500",
        "--learning-rate",
        "0.05",
        "--kernels",
        "vectorized",
    ]
    assert run("train", table, "--target", "fate", *options) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "stopped early; the parameters are those of epoch" in said
    assert "which also decided when to stop" in said
    error = fails(capsys, "train", table, "--target", "fate", *options, "--validation-fraction", "0")
    assert "--early-stopping needs rows held out" in error


def test_held_out_rows_do_not_teach(table):
    run("train", table, "--target", "income", *FAST)
    model = TableModel.load("model.jitprop")
    ages = np.array(people()["age"], float)
    assert model.features[0].mean != pytest.approx(ages.mean(), rel=1e-12)


# errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--target", "fat"], "people.csv has no column 'fat'; did you mean 'fate'?"),
        (["--target", "fate", "--drop", "sity"], "has no column 'sity'; did you mean 'city'?"),
        (["--target", "city", "--task", "regression"], "line 2: target 'city' is"),
        (["--target", "fate", "--loss", "poisson"], "loss 'poisson' does not fit output 'sigmoid'"),
        (["--target", "fate", "--batch-size", "49"], "--batch-size must be from 1 to 48, the rows to train on, got 49"),
        (["--target", "fate", "-o", "none/model"], "none: no such directory"),
        (["--target", "fate", "-o", "."], ".: Is a directory"),
        (["--target", "fate", "-o", ""], "name of the file to write is empty"),
        (["--target", "fate", "--drop", "fate"], "--drop names the target 'fate'"),
        (["--target", "fate", "--categorical", "fate"], "--categorical names the target 'fate'; --task multiclass"),
        (
            ["--target", "fate", "--drop", "age,city", "--categorical", "city"],
            "--drop and --categorical both name 'city'",
        ),
        (["--target", "fate", "--drop", "age,city,member,income"], "learn from (--drop names all of them)"),
        (["--target", "city", "--task", "binary"], "--task binary tells two classes apart, target 'city' has 3"),
    ],
)
def test_errors_of_train_are_one_line_and_leave_nothing(table, here, capsys, options, message):
    assert run("train", table, *options, "--kernels", "vectorized") == 1
    said = capsys.readouterr()
    assert said.err.startswith("jitprop: error: ") and said.err.count("\n") == 1 and message in said.err
    assert said.out == ""  # nothing that could be told at once is told after the report
    assert sorted(os.listdir(here)) == ["people.csv"]


@pytest.mark.parametrize(
    ("option", "values", "message"),
    [
        ("--learning-rate", ("-0.1", "0", "nan", "inf", "fast"), "must be a finite number above 0"),
        ("--clip-value", ("-1",), "must be a finite number above 0"),
        ("--clip-norm", ("0", "nan"), "must be a finite number above 0"),
        ("--l2", ("-1", "inf", "much"), "must be a finite number from 0"),
        ("--dropout", ("1", "-0.1", "nan"), "must be a number from 0 to below 1"),
        ("--validation-fraction", ("1",), "must be a number from 0 to below 1"),
        ("--epochs", ("0", "2.5"), "must be a whole number above 0"),
        ("--early-stopping", ("5.5",), "must be a whole number above 0"),
        ("--seed", ("-1", "x", str(2**63)), f"must be a whole number from 0 to {2**63 - 1}"),
        ("--hidden", ("64,", "a", "8,0"), f"must be {COUNTS}, such as 64,32, or none"),
        ("--drop", ("", ","), "must be names of columns with commas between them"),
        ("--categorical", ("",), "must be names of columns with commas between them"),
        ("--activation", ("", ","), "must be a name or names with commas between them"),
    ],
)
def test_values_of_options_are_refused_with_what_is_accepted(here, capsys, option, values, message):
    for value in values:
        with pytest.raises(SystemExit) as caught:
            run("train", "none.csv", "--target", "fate", f"{option}={value}")
        assert caught.value.code == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert error == f"jitprop train: error: argument {option}: {message}, got {value!r}"


def test_names_that_are_unknown_are_refused_with_those_that_are_known(capsys):
    for command in (["train", "none.csv", "--target", "fate"], ["gradcheck"]):
        for option, message in {"--activation": "unknown activation 'swish'", "--loss": "unknown loss 'swish'"}.items():
            with pytest.raises(SystemExit) as caught:
                run(*command, option, "swish")
            assert caught.value.code == 2
            error = capsys.readouterr().err.splitlines()[-1]
            assert error.startswith(f"jitprop {command[0]}: error: argument {option}: {message}; accepted: ")


@pytest.mark.parametrize(
    ("option", "value"), [("--l2", "-1"), ("--seed", "-1"), ("--units", "3,"), ("--examples", "0")]
)
def test_gradcheck_refuses_the_same_values(capsys, option, value):
    with pytest.raises(SystemExit) as caught:
        run("gradcheck", option, value)
    error = capsys.readouterr().err.splitlines()[-1]
    assert caught.value.code == 2
    assert error.startswith(f"jitprop gradcheck: error: argument {option}: must be ") and f"got {value!r}" in error


def files_here(here):
    return {file.name: file.read_bytes() for file in here.iterdir()}


def test_no_output_replaces_what_is_read(table, here, capsys):
    run("train", table, "--target", "fate", *FAST)
    (here / "link").symlink_to(table)
    (here / "to-model").symlink_to("model.jitprop")
    capsys.readouterr()
    before = files_here(here)
    for output in (table, here / table, "link"):
        error = fails(capsys, "train", table, "--target", "fate", "-o", output, *FAST)
        assert error == f"-o {output} is the same file as DATA {table}, which it would replace; give another name"
        error = fails(capsys, "predict", "model.jitprop", table, "-o", output)
        assert error.startswith(f"-o {output} is the same file as DATA {table}, ")
    for output in ("model.jitprop", "to-model"):
        error = fails(capsys, "predict", "model.jitprop", table, "-o", output)
        assert error.startswith(f"-o {output} is the same file as MODEL model.jitprop, ")
    assert "is empty" in fails(capsys, "predict", "model.jitprop", table, "-o", "")
    assert files_here(here) == before


def test_a_model_replaces_a_model_and_nothing_else(table, here, capsys):
    (here / "other.csv").write_text("precious")
    before = files_here(here)
    error = fails(capsys, "train", table, "--target", "fate", "-o", "other.csv", *FAST)
    assert error.startswith("-o other.csv is there already and is not a jitprop model; give a new name")
    assert files_here(here) == before
    (here / "empty").touch()
    for path in ("empty", "empty", "/dev/null"):
        assert run("train", table, "--target", "fate", "-o", path, *FAST) == 0
    assert TableModel.load("empty").target.name == "fate"


def test_files_that_others_write_replace_neither_answers_nor_each_other(here, capsys):
    (here / "mine.py").write_text("def dot(w, x):\n    return (w.T @ x)[0, 0]\n")
    before = files_here(here)
    for command, output, read in (
        (["lesson", "step", "--check", "mine.py", "--html", "mine.py"], "--html", "--check"),
        (["compare", "--bring", "mine.py", "--csv", "mine.py"], "--csv", "--bring"),
        (["compare", "--json", "new", "--csv", "./new"], "--csv", "--json"),
        (["lesson", "step", "--latex", "new", "--html", "new"], "--html", "--latex"),
    ):
        error = fails(capsys, *command)
        assert error.startswith(f"{output} ") and f" is the same file as {read} " in error
    assert files_here(here) == before


def test_few_numbers_that_become_classes_are_told(here, capsys):
    columns = people()
    columns["rooms"] = [i % 5 for i in range(60)]
    write_csv("homes.csv", columns)

    def said(*options):
        assert run("train", "homes.csv", *options, *FAST) == 0
        return " ".join(capsys.readouterr().out.split())

    note = "note rooms: 5 different numbers, taken as classes; to predict a number: --task regression"
    assert note in said("--target", "rooms")
    for options in (["rooms", "--task", "multiclass"], ["rooms", "--task", "regression"], ["city"], ["fate"]):
        assert "taken as classes" not in said("--target", *options)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.csv", None, "none.csv: No such file or directory"),
        ("empty.csv", b"", "empty.csv is empty"),
        ("header.csv", b"a,fate\n", "has columns but no rows"),
        ("cut.npz", b"PK\x03\x04abc", "cannot be read as an NPZ file"),
        ("noise.csv", bytes(range(256)), "not a CSV file in UTF-8"),
        (".", None, ".: Is a directory"),
    ],
)
def test_files_that_are_no_tables(here, capsys, name, content, message):
    if content is not None:
        (here / name).write_bytes(content)
    assert message in fails(capsys, "train", name, "--target", "fate", *FAST)


def test_files_that_are_no_models(table, here, capsys):
    run("train", table, "--target", "fate", *FAST)
    whole = (here / "model.jitprop").read_bytes()
    for content, message in {
        whole[:-1]: "truncated",
        whole[:50]: "truncated",
        b"": "not a jitprop model",
        b"PK\x03\x04" + bytes(50): "looks like a ZIP or NPZ file",
        whole.replace(b'"jitprop_format":"1"', b'"jitprop_format":"9"'): "written by a newer jitprop",
        whole.replace(b'\\"kind\\": \\"number\\"', b'\\"kind\\": \\"nimber\\"'): "damaged",
    }.items():
        (here / "bad.jitprop").write_bytes(content)
        error = fails(capsys, "predict", "bad.jitprop", table)
        assert error.startswith("bad.jitprop: ") and message in error
    assert "No such file" in fails(capsys, "predict", "none.jitprop", table)
    assert "Is a directory" in fails(capsys, "predict", ".", table)
    Network([6, 1], output="sigmoid", seed=0).save("plain.jitprop")
    assert "does not say what columns" in fails(capsys, "predict", "plain.jitprop", table)


def test_a_model_needs_its_columns(table, capsys):
    run("train", table, "--target", "fate", *FAST)
    columns = people()
    del columns["city"]
    write_csv("less.csv", columns)
    assert "less.csv has no column 'city'" in fails(capsys, "predict", "model.jitprop", "less.csv")
    run("train", table, "--target", "income", *FAST)
    assert "--probabilities needs" in fails(capsys, "predict", "model.jitprop", table, "--probabilities")


def test_divergence_is_one_line(table, capsys):
    options = ["--optimizer", "sgd", "--learning-rate", "1e30", "--validation-fraction", "0", *FAST]
    error = fails(capsys, "train", table, "--target", "income", *options)
    assert error.startswith("training diverged: ") and "cost" in error
    assert error.endswith("rate of 1e+30. Nothing is saved. Try a smaller --learning-rate, or --clip-norm 1.")
    assert "standardize" not in error and not os.path.exists("model.jitprop")


def test_one_epoch_and_no_memory(table, capsys, monkeypatch):
    assert run("train", table, "--target", "fate", "--kernels", "vectorized", "--epochs", "1") == 0
    assert "1 epoch of adam" in " ".join(capsys.readouterr().out.split())

    errors = [MemoryError("Unable to allocate 1. TiB"), MemoryError()]

    def fill(path):
        raise errors.pop(0)

    monkeypatch.setattr(train, "read_table", fill)
    for message in ("not enough memory: Unable to allocate 1. TiB", "not enough memory"):
        assert fails(capsys, "train", table, "--target", "fate") == message


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["train", "a.csv"],
        ["train", "a.csv", "--target", "y", "--epochs", "0"],
        ["train", "a.csv", "--target", "y", "--hidden", "a"],
        ["train", "a.csv", "--target", "y", "--dropout", "1"],
        ["train", "a.csv", "--target", "y", "--drop", '"a,b'],
        ["predict", "m", "d", "--unknown", "maybe"],
    ],
)
def test_wrong_command_lines_end_with_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: jitprop" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["demo", "train", "predict", "gradcheck", "info", "warmup", "cache"])
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    assert f"usage: jitprop {command}" in capsys.readouterr().out


def test_ctrl_c_is_code_130(monkeypatch, table, capsys):
    def interrupt(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "run", interrupt)
    assert run("train", table, "--target", "fate") == 130
    assert capsys.readouterr().err == "jitprop: interrupted\n"


def test_a_mistake_of_ours_is_not_hidden(monkeypatch, table):
    monkeypatch.setattr(train, "read_table", lambda path: {}["missing"])
    with pytest.raises(KeyError):
        run("train", table, "--target", "fate")


# the other commands


def test_gradcheck(capsys):
    assert run("gradcheck", "--kernels", "vectorized", "--units", "3,4,2", "--output", "softmax") == 0
    said = capsys.readouterr().out
    assert "W2" in said and "analytic" in said and "numeric" in said and "the gradients agree" in said
    assert run("gradcheck", "--kernels", "loops", "--units", "3,4,2", "--activation", "relu", "--directions", "2") == 0


def test_gradcheck_fails_on_a_wrong_gradient(capsys, monkeypatch):
    from jitprop_kernels import vectorized

    right = vectorized.linear_backward

    def wrong(dZ, A_prev, W):
        dW, db, dA_prev = right(dZ, A_prev, W)
        return 1.001 * dW, db, dA_prev

    monkeypatch.setattr(vectorized, "layer_backward", _composed(wrong))
    assert run("gradcheck", "--kernels", "vectorized", "--units", "3,4,2") == 1
    assert "DISAGREE" in capsys.readouterr().out


def _composed(linear_backward):
    from jitprop_kernels import vectorized

    def layer_backward(dZ, W, A_prev, Z_prev, activation_prev):
        dW, db, dA_prev = linear_backward(dZ, A_prev, W)
        if Z_prev is None:
            return dW, db, None
        return dW, db, dA_prev * getattr(vectorized, f"{activation_prev}_derivative")(Z_prev)

    return layer_backward


def test_info(capsys):
    assert run("info", "--no-peak") == 0
    said = capsys.readouterr().out
    for part in ("processor", "vectors", "threads", "layer", np.__version__, jitprop.__version__, "cache"):
        assert part in said
    assert run("info", "--no-peak", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["fma_peak_gflops"] == {}
    assert found["vector_bits"] in (128, 256, 512) and found["threads"]["used"] >= 1


def test_info_measures_the_peak(capsys):
    assert run("info") == 0
    assert "GFLOP/s in float32" in capsys.readouterr().out


def test_cache_shows_and_clears(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("JITPROP_CACHE_DIR", str(tmp_path / "cache"))
    assert run("cache") == 0
    assert capsys.readouterr().out.startswith(f"{tmp_path / 'cache'}: 0 kernels")
    assert run("cache", "clear") == 0
    assert "0 kernels removed" in capsys.readouterr().out


def test_warmup_uses_what_it_names(capsys, monkeypatch):
    seen = []
    monkeypatch.setattr(warmup, "_exercise", lambda *arguments: seen.append(arguments))
    assert run("warmup", "--dtype", "all") == 0
    assert {case[0] for case in seen} == {"float32", "float64"}
    assert {case[2] for case in seen} == {"sigmoid", "softmax", "linear", "relu"}
    assert "ready: relu, tanh" in capsys.readouterr().out


# processes


def python(*arguments, **options):
    command = [sys.executable, "-u", "-m", "jitprop", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def test_version_and_errors_of_a_process(here):
    with python("--version") as process:
        assert process.communicate() == (f"jitprop {jitprop.__version__}\n", "")
    with python("train", "none.csv", "--target", "y") as process:
        out, error = process.communicate()
    assert (process.returncode, out) == (1, "")
    assert error == "jitprop: error: none.csv: No such file or directory\n"


def test_a_reader_that_goes_away_is_no_traceback(table):
    run("train", table, "--target", "fate", *FAST)
    with python("predict", "model.jitprop", table) as process:
        process.stdout.close()
        error = process.stderr.read()
    assert process.returncode == cli.PIPE_CLOSED
    assert error == ""


def test_ctrl_c_while_training_keeps_the_model(table):
    options = ["--target", "fate", "--kernels", "vectorized", "--epochs", "100000000"]
    with python("train", table, *options) as process:
        try:
            for line in process.stdout:
                if line.startswith("Y ("):  # the last line before training
                    break
            process.send_signal(signal.SIGINT)
            _, error = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "Traceback" not in error and "interrupted" in error


def test_jit_and_vectorized_predict_the_same_classes(table, capsys):
    assert run("train", table, "--target", "fate", "--epochs", "20") == 0
    assert "(jit kernels, float32)" in " ".join(capsys.readouterr().out.split())  # the line may be broken
    expected = predictions(capsys, "model.jitprop", table)
    assert predictions(capsys, "model.jitprop", table, "--kernels", "vectorized") == expected
