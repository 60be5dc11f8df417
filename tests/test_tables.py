"""People's tables: read as they are, turned into X and Y by what was learned, refused with one error."""

import csv
import json
import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jitprop.encoding import encode
from jitprop.modelfile import ModelFileError
from jitprop.preprocessing import Feature, doubtful, learn_features, standardization
from jitprop.readers import read_table
from jitprop.targets import Target, decide, known_values, split

PEOPLE = """age,city,member,y
20,Oslo,true,no
40,Rome,false,yes
60,Oslo,true,no
80,Bern,false,yes
"""
ALL = np.arange(4)


@pytest.fixture
def file(tmp_path):
    """A function that writes a table and returns its path."""

    def write(text, name="data.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def column(table, name):
    return table[name].texts().tolist()


# Reading


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_with_any_delimiter_quotes_and_blank_lines(file, delimiter):
    text = f'a{delimiter}"b, c; d"\n\n1{delimiter}"x ""y"", z; w"\r\n 2 {delimiter} t \n'
    table = read_table(file(text))
    assert table.names == ("a", "b, c; d")
    assert column(table, "a") == ["1", "2"]
    assert column(table, "b, c; d") == ['x "y", z; w', "t"]
    assert [table.place(i) for i in (0, 1)] == ["line 3", "line 4"]


def test_csv_with_a_byte_order_mark_accents_and_one_column(file):
    table = read_table(file("größe\n1\n2\n".encode("utf-8-sig")))
    assert table.names == ("größe",) and table.rows == 2


def test_a_comma_may_be_the_decimal_point_where_it_does_not_separate(file):
    numbers, wrong = read_table(file("a;b\n1,5;x\n-2,25e1;y\n"))["a"].numbers()
    np.testing.assert_array_equal(numbers, [1.5, -22.5])
    assert not wrong.any()


def test_missing_values_and_what_is_no_number(file):
    found = read_table(file("a,b\nNA,1\n,2\nNaN,3\n1_0,4\nabc,5\n7,6\n"))["a"]
    assert found.missing.tolist() == [True, True, True, False, False, False]
    numbers, wrong = found.numbers()
    assert wrong.tolist() == [False, False, False, True, True, False] and numbers[5] == 7


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n\n", "only blank lines"),
        ("a,b\n", "has columns but no rows"),
        ("a,b\n1,2\n3\n", "line 3 has 1 fields, the header 2"),
        ("a,b\n1,2,3\n", "line 2 has 3 fields, the header 2"),
        ("a,a\n1,2\n", "more than one column named 'a'"),
        ("1,2\n3,4\n", "starts with numbers"),
        ('a,b\n"1,2\n', "line 2"),
        (b"a,b\n\xff\xfe,1\n", "not a CSV file in UTF-8: byte 4 is 0xff; accepted: CSV saved as UTF-8, NPZ"),
        (b"a,b\n\0,1\n", "zero bytes"),
        (b"PK\x03\x04 no archive", "cannot be read as an NPZ file"),
        (b"PAR1 nothing", "cannot be read as a Parquet file"),
    ],
)
def test_files_that_are_no_tables(file, text, message):
    if b"PAR1" in (text if isinstance(text, bytes) else b""):
        pytest.importorskip("pyarrow")
    path = file(text)
    with pytest.raises(ValueError, match=message) as caught:
        read_table(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(("name", "kind"), [("data.npz", "an NPZ"), ("data.parquet", "a Parquet")])
def test_a_name_that_promises_something_else(file, name, kind):
    with pytest.raises(ValueError, match=f"is not {kind} file"):
        read_table(file(PEOPLE, name))


def test_missing_file_and_directory(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_table(tmp_path / "none.csv")
    with pytest.raises(IsADirectoryError):
        read_table(tmp_path)


def test_npz_columns_are_arrays_and_columns_of_matrices(tmp_path):
    path = tmp_path / "data.npz"
    X = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.savez(path, X=X, y=np.array(["a", "b", ""]), n=np.array([1, 2, 3]), flag=np.array([True, False, True]))
    table = read_table(path)
    assert table.names == ("X[0]", "X[1]", "y", "n", "flag") and table.rows == 3
    np.testing.assert_array_equal(table["X[1]"].numbers()[0], [1, 3, 5])
    assert table["y"].missing.tolist() == [False, False, True]
    assert column(table, "n") == ["1", "2", "3"]
    assert table["flag"].booleans().tolist() == [True, False, True]


def test_npz_that_cannot_be_a_table(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, a=np.zeros(3), b=np.zeros(4))
    with pytest.raises(ValueError, match="as many rows as there are examples, found 'a' 3, 'b' 4"):
        read_table(path)
    np.savez(path, a=np.zeros((3, 2, 2)))
    with pytest.raises(ValueError, match="one or two dimensions"):
        read_table(path)
    np.savez(path, a=np.array([b"x", b"\xff"]))
    with pytest.raises(ValueError, match="data.npz: column 'a' holds bytes that are not UTF-8 text"):
        read_table(path)["a"]
    with zipfile.ZipFile(path, "w") as spreadsheet:
        spreadsheet.writestr("[Content_Types].xml", "<x/>")
    with pytest.raises(ValueError, match=r"holds '\[Content_Types\].xml'; a spreadsheet must be saved as CSV"):
        read_table(path)
    np.savez(path, a=np.zeros(3, complex), b=np.zeros(3))
    table = read_table(path)
    assert table["b"].numbers()[0].shape == (3,)
    with pytest.raises(ValueError, match="complex128; accepted: numbers, booleans and texts"):
        table["a"]


def test_npz_with_objects_is_refused_and_nothing_unpickled(tmp_path, monkeypatch):
    path = tmp_path / "data.npz"
    np.savez(path, a=np.array([{}, 1], object))
    monkeypatch.setattr(pickle, "load", None)
    with pytest.raises(ValueError, match="plain arrays"):
        read_table(path)


def test_every_truncation_of_an_npz_is_an_error(tmp_path):
    path = tmp_path / "data.npz"
    np.savez_compressed(path, a=np.arange(20.0), b=np.arange(20))
    whole = path.read_bytes()
    for length in range(4, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="data.npz"):
            read_table(path)


def test_parquet_columns(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "data.parquet"
    columns = {
        "f": [1.5, None, 2.5],
        "n": [1, 2, None],
        "t": ["a", None, "b"],
        "flag": [True, False, None],
        "when": arrow.array([0, 1, 2], arrow.timestamp("s")),
        "d": arrow.array(["x", "y", "x"]).dictionary_encode(),
    }
    parquet.write_table(arrow.table(columns), path)
    table = read_table(path)
    np.testing.assert_array_equal(table["f"].numbers()[0], [1.5, np.nan, 2.5])
    assert table["n"].missing.tolist() == [False, False, True]
    assert table["t"].missing.tolist() == [False, True, False]
    assert table["flag"].booleans()[:2].tolist() == [True, False]
    assert column(table, "d") == ["x", "y", "x"]
    with pytest.raises(ValueError, match="'when' is timestamp"):
        table["when"]


def test_parquet_without_pyarrow_names_the_extra(file, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pip install 'jitprop\[parquet\]'"):
        read_table(file(b"PAR1", "data.parquet"))


def test_an_unknown_column_is_named_with_the_nearest(file):
    for wrong in ("citty", "ctiy", "City", "CITY"):
        with pytest.raises(ValueError, match=rf"has no column '{wrong}'; did you mean 'city'\?"):
            read_table(file(PEOPLE))[wrong]


def test_far_fetched_columns_are_not_suggested(file):
    table = read_table(file("age,income,y\n1,2,3\n"))
    for wrong in ("nmae", "note", "x"):
        with pytest.raises(ValueError, match=f"has no column '{wrong}'; it has 'age', 'income', 'y'$"):
            table[wrong]


# Features


def learn(table, names, training=None, **options):
    rows = np.arange(table.rows) if training is None else np.array(training)
    return learn_features(table, names, rows, **options)


def test_mixed_columns_become_rows_of_X(file):
    table = read_table(file(PEOPLE))
    features, left_out = learn(table, ["age", "city", "member"])
    X, unknown = encode(features, table, "float64")
    assert [feature.kind for feature in features] == ["number", "category", "boolean"]
    assert features[1].categories == ("Bern", "Oslo", "Rome") and not left_out and not unknown
    age = np.array([-3, -1, 1, 3]) / np.sqrt(5)
    np.testing.assert_allclose(X[0], age, rtol=1e-15)
    np.testing.assert_array_equal(X[1:4], [[0, 0, 0, 1], [1, 0, 1, 0], [0, 1, 0, 0]])
    np.testing.assert_array_equal(X[4], [1, 0, 1, 0])
    assert X.T.flags.c_contiguous


def test_only_the_training_part_teaches(file):
    table = read_table(file(PEOPLE))
    features, _ = learn(table, ["age", "city"], [0, 1])
    assert (features[0].mean, features[0].scale) == (30, 10)
    assert features[1].categories == ("Oslo", "Rome")
    X, unknown = encode(features, table, "float32", ignore_unknown=True)
    assert unknown == {"city": 1} and X[1:, 3].tolist() == [0, 0]


def test_columns_of_no_use_are_left_out_with_the_reason(file):
    rows = [f"{i},7,id{i}," for i in range(60)]
    table = read_table(file("n,same,name,empty\n" + "\n".join(rows)))
    features, left_out = learn(table, list(table.names))
    assert [feature.name for feature in features] == ["n"]
    assert left_out == {
        "empty": "no values",
        "same": "the same value everywhere",
        "name": "60 different texts in 60 rows",
    }
    features, _ = learn(table, ["n", "name"], categorical=["name"])
    assert features[1].width == 60
    with pytest.raises(ValueError, match="no column is left to learn from .*'same': the same value"):
        learn(table, ["same"])


def test_columns_that_may_name_rows_are_told(file):
    order = np.random.default_rng(0).permutation(100)
    columns = {
        "up": [3 * i + i % 2 for i in range(100)],
        "down": [-i for i in range(100)],
        "shuffled": [7 + i for i in order],
        "gaps": [2 * i for i in order],
        "twice": [i // 2 for i in range(100)],
        "measured": [i + 0.5 for i in range(100)],
        "often": [f"t{i % 20}" for i in range(100)],
        "seldom": [f"t{i % 40}" for i in range(100)],
        "asked": [f"t{i % 40}" for i in range(100)],
        "flag": [["true", "false"][i % 2] for i in range(100)],
    }
    rows = [",".join(map(str, row)) for row in zip(*columns.values(), strict=True)]
    table = read_table(file("\n".join([",".join(columns), *rows])))
    features, left_out = learn(table, list(columns), range(80))
    found = doubtful(table, features, np.arange(80), ["asked"])
    assert list(found) == ["up", "down", "shuffled", "seldom"] and not left_out
    assert found["seldom"] == "40 different texts in 80 rows, each of them a row of X"
    assert found["up"] == "whole numbers, all different, in order or without a gap, like numbers of rows"
    few = read_table(file("a\n1\n2\n3\n", "few.csv"))
    assert doubtful(few, learn(few, ["a"])[0], np.arange(3)) == {}


def test_missing_values_are_named_with_column_count_and_way_out(file):
    table = read_table(file("a,b,c\n1,x,1\n,x,2\n3,,3\n,y,4\n"))
    with pytest.raises(ValueError, match=r"'a' \(2 of 4 rows\), 'b' \(1 of 4 rows\); use --impute median"):
        learn(table, ["a", "b", "c"])


@pytest.mark.parametrize(("impute", "fill"), [("median", 2.0), ("mean", 3.0), ("most_frequent", 1.0)])
def test_imputation(file, impute, fill):
    table = read_table(file("a,b,c\n1,x,true\n,x,\n2,,true\n1,y,true\n8,x,false\n3,x,true\n"))
    features, _ = learn(table, ["a", "b", "c"], [0, 1, 2, 3, 4, 5], impute=impute)
    assert features[0].fill == pytest.approx({"median": 2.0, "mean": 3.0, "most_frequent": 1.0}[impute])
    assert features[1].fill == "x" and features[2].fill == 1.0
    X, _ = encode(features, table, "float64")
    assert X[0, 1] == pytest.approx((fill - features[0].mean) / features[0].scale)
    assert X[1:3, 2].tolist() == [1, 0] and X[3, 1] == 1


def test_texts_among_numbers_are_an_error_in_either_part(file):
    table = read_table(file("a,b\n1,1\n2,2\nabc,3\n4,4\n"))
    with pytest.raises(ValueError, match="line 4: column 'a' is 'abc', while most of its values are numbers"):
        learn(table, ["a", "b"])
    features, _ = learn(table, ["a"], categorical=["a"])
    assert features[0].categories == ("1", "2", "4", "abc")
    numbers, _ = learn(table, ["b"])
    other = read_table(file("b\n1\nzwei\n", "other.csv"))
    with pytest.raises(ValueError, match="other.csv, line 3: column 'b' is 'zwei', which is not a number"):
        encode(numbers, other, "float32")


def test_encoding_refuses_what_was_not_learned(file):
    features, _ = learn(read_table(file(PEOPLE)), ["age", "city", "member"])
    for text, message in {
        "age,city\n1,Oslo\n": "has no column 'member'",
        "age,city,member\n,Oslo,true\n": "line 2: column 'age' is missing .* trained without --impute",
        "age,city,member\ninf,Oslo,true\n": "line 2: column 'age' is infinite",
        "age,city,member\n1e300,Oslo,true\n": "too large for float32",
        "age,city,member\n1,Paris,true\n": "'Paris', not seen in training: 'Bern', 'Oslo', 'Rome'; --unknown",
        "age,city,member\n1,Oslo,maybe\n": "'member' is 'maybe', accepted: true and false",
    }.items():
        with pytest.raises(ValueError, match=message):
            encode(features, read_table(file(text, "new.csv")), "float32")


def test_features_survive_json(file):
    features, _ = learn(read_table(file(PEOPLE)), ["age", "city", "member"], impute="mean")
    for feature in features:
        assert Feature.from_dict(json.loads(json.dumps(feature.to_dict()))) == feature


@pytest.mark.parametrize(
    "stored",
    [
        None,
        {"name": "a"},
        {"name": "a", "kind": "number", "categories": [], "more": 1},
        {"name": "a", "kind": "picture", "categories": []},
        {"name": "a", "kind": "number", "scale": 0.0, "categories": []},
        {"name": "a", "kind": "number", "mean": "x", "categories": []},
        {"name": "a", "kind": "number", "mean": None, "categories": []},
        {"name": "a", "kind": "number", "scale": None, "categories": []},
        {"name": "a", "kind": "category", "categories": [1]},
        {"name": "a", "kind": "category", "categories": ["x"], "fill": "y"},
        {"name": 1, "kind": "number", "categories": []},
    ],
)
def test_damaged_features_are_refused(stored):
    with pytest.raises(ModelFileError, match="damaged"):
        Feature.from_dict(stored)


@given(st.lists(st.floats(-1e308, 1e308), min_size=1, max_size=20))
def test_standardization_of_any_numbers_is_finite(values):
    mean, scale = standardization(np.array(values))
    assert np.isfinite(mean) and np.isfinite(scale) and scale > 0
    assert min(values) <= mean <= max(values) or np.isclose(mean, np.clip(mean, min(values), max(values)))


def test_equal_values_have_no_rounding_error_for_a_deviation():
    assert standardization(np.full(10, 0.1)) == (0.1, 1.0)


# Targets


@pytest.mark.parametrize(
    ("values", "output", "labels"),
    [
        (["no", "yes", "no"], "sigmoid", ("no", "yes")),
        (["0", "1", "1"], "sigmoid", ("0", "1")),
        (["True", "False", "True"], "sigmoid", ("False", "True")),
        (["10", "9", "10.0"], "sigmoid", ("9", "10")),
        (["b", "a", "c"] * 2, "softmax", ("a", "b", "c")),
        (["10", "2", "30"] * 4, "softmax", ("2", "10", "30")),
        (["1.5", "2", "3"] * 4, "linear", ()),
        ([str(i) for i in range(40)], "linear", ()),
    ],
)
def test_the_task_follows_from_the_target(file, values, output, labels):
    table = read_table(file("y\n" + "\n".join(values)))
    target, found, Y = decide(table, "y")
    assert (found, target.labels) == (output, labels)
    if labels:
        assert [labels[k] for k in Y] == [v if v in labels else "10" for v in values]
    else:
        np.testing.assert_array_equal(Y, np.array(values, float))


def test_the_task_can_be_chosen(file):
    table = read_table(file("y\n" + "1\n2\n3\n" * 5))
    assert decide(table, "y", task="regression")[1] == "linear"
    assert decide(table, "y", output="relu")[1] == "relu"
    assert decide(table, "y", task="multiclass")[1] == "softmax"
    two = read_table(file("y\na\nb\n"))
    assert decide(two, "y", output="softmax")[1] == "softmax"
    assert decide(two, "y", loss="cross_entropy")[1] == "softmax"


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("y\n1\n\n1\n", {}, "target 'y' is '1' in every row"),
        ("y\n1.5\n1.5\n", {}, "target 'y' is '1.5' in every row"),
        ("y,x\n1,1\n,2\n2,3\n", {}, "target 'y' is missing in 1 of 3 rows"),
        ("y\na\nb\nc\n", {"task": "binary"}, "--task binary tells two classes apart, target 'y' has 3: use multiclass"),
        ("y\na\nb\nc\n", {"output": "sigmoid"}, "--output sigmoid tells .* apart, target 'y' has 3: use softmax"),
        ("y\na\nb\nc\n", {"task": "regression"}, "line 2: target 'y' is 'a', a regression needs numbers"),
        ("y\na\nb\n", {"task": "regression", "output": "sigmoid"}, "does not fit"),
        ("y\na\nb\n", {"task": "guess"}, "unknown task 'guess'"),
        ("y\na\nb\n", {"loss": "hinge"}, "unknown loss 'hinge'"),
        ("y\n1\n-2\n3\n", {"output": "relu"}, "line 3: output relu cannot reach target 'y' -2"),
        ("y\n" + "\n".join(f"t{i}" for i in range(50)), {}, "50 different values in 50 rows, too many"),
        ("x\n1\n", {}, "has no column 'y'"),
    ],
)
def test_targets_that_cannot_be_learned(file, text, options, message):
    with pytest.raises(ValueError, match=message):
        decide(read_table(file(text)), "y", **options)


def test_regression_targets_are_standardized_and_come_back():
    numbers = np.array([1e4, 2e4, 4e4])
    target = Target("y").standardized(numbers, "linear", None)
    Y = target.for_network(numbers, "float64")
    assert Y.mean() == pytest.approx(0, abs=1e-15) and Y.std() == pytest.approx(1)
    np.testing.assert_allclose(target.numbers(Y.reshape(1, -1)), numbers, rtol=1e-14)
    assert Target("y").standardized(numbers, "relu", None).offset == 0
    assert Target("y").standardized(numbers, "linear", "poisson") == Target("y")


def test_targets_survive_json_and_damage_is_refused():
    target = Target("y", ("a", "b"))
    assert Target.from_dict(json.loads(json.dumps(target.to_dict()))) == target
    for change in ({"labels": [1]}, {"scale": 0}, {"offset": None}, {"name": 3}, {"other": 1}):
        with pytest.raises(ModelFileError, match="damaged"):
            Target.from_dict(target.to_dict() | change)


def test_classes_stand_in_quotes_where_it_is_hard_to_see_where_one_ends():
    assert Target("y", ("a-b", "New York", "x,y", "no")).describe() == "4 classes: a-b, 'New York', 'x,y', no"


def test_known_values_are_those_of_the_column_or_nothing(file):
    target = Target("y", ("no", "yes"))
    assert known_values(target, read_table(file("y\nyes\nno\n"))).tolist() == [1, 0]
    assert known_values(target, read_table(file("y\nyes\nmaybe\n"))) is None
    assert known_values(target, read_table(file("x\nyes\n"))) is None
    assert known_values(Target("y"), read_table(file("y\n1\nNA\n"))) is None


@given(st.integers(1, 40), st.floats(0, 0.9), st.integers(0, 5))
def test_a_split_holds_out_its_share_of_each_class(m, fraction, seed):
    classes = np.arange(m) % 3
    try:
        training, held = split(classes, True, fraction, seed)
    except ValueError:
        assert fraction > 0 and m * fraction < 3
        return
    assert sorted([*training, *held]) == list(range(m))
    assert set(classes[held]) <= set(classes[training])
    again = split(classes, True, fraction, seed)
    np.testing.assert_array_equal(held, again[1])


def test_a_fraction_out_of_range_is_refused():
    for fraction in (-0.1, 1.0):
        with pytest.raises(ValueError, match="from 0 to below 1"):
            split(np.arange(4), False, fraction, 0)


@given(st.lists(st.lists(st.text(max_size=8), min_size=2, max_size=2), min_size=1, max_size=6))
def test_what_the_csv_module_writes_is_read_back(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("csv") / "data.csv"
    plain = [[text.replace("\0", "").replace("\r", "").strip() for text in row] for row in rows]
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, quoting=csv.QUOTE_ALL).writerows([["first", "second"], *plain])
    except UnicodeEncodeError:  # half of a surrogate pair is no text
        return
    table = read_table(path)
    assert column(table, "first") == [row[0] for row in plain]
    assert column(table, "second") == [row[1] for row in plain]
