"""Bad input: one clear error that names the array or option and what is accepted, and nothing is changed."""

import numpy as np
import pytest

from jitprop import Network

X = np.random.default_rng(0).normal(size=(5, 11))
CLASSES = np.arange(11) % 3
LABELS = np.arange(11) % 2
NUMBERS = np.linspace(-1, 1, 11)


def with_value(array, index, value):
    changed = np.array(array, dtype=np.float64)
    changed[index] = value
    return changed


def network(output="softmax", n=3, **options):
    return Network([5, 4, n], output=output, seed=0, kernels="vectorized", **options)


def refuses(net, error, message, X, Y, **options):
    """Every entry that takes these arrays raises the error, once, and the network stays as it is."""
    before = net.parameters.flat.tobytes(), net.epochs_trained, net.optimizer, net.optimizer_state
    entries = {"cost": net.cost, "gradients": net.gradients, "evaluate": net.evaluate}
    if set(options) <= {"sample_weight"}:
        for name, entry in entries.items():
            with pytest.raises(error, match=message):
                entry(X, Y, **options)
                pytest.fail(f"{name} accepted it")
    with pytest.raises(error, match=message):
        net.fit(X, Y, verbose=False, **options)
    assert (net.parameters.flat.tobytes(), net.epochs_trained, net.optimizer, net.optimizer_state) == before


class Sparse:
    """What scipy's sparse matrices look like from outside."""

    def tocsr(self):
        return self


class Unreadable:
    pass


BAD_INPUTS = {
    "transposed": (X.T, ValueError, r"X has shape \(11, 5\), should be \(5, m\).*Columns are examples.*X\.T"),
    "features": (X[:4], ValueError, r"X has shape \(4, 11\), should be \(5, m\): n_x = 5 features as rows"),
    "rank-1": (X[:, 0], ValueError, r"X has shape \(5,\), a rank-1 array.*X\.reshape\(-1, 1\)"),
    "rank-0": (1.0, ValueError, r"X has shape \(\)"),
    "pictures": (np.ones((11, 2, 2, 3)), ValueError, r"X has shape \(11, 2, 2, 3\).*reshape\(m, -1\)\.T"),
    "empty": (X[:, :0], ValueError, r"X is empty: shape \(5, 0\)"),
    "nan": (with_value(X, (3, 7), np.nan), ValueError, r"X\[3, 7\] is nan; every entry of X must be finite"),
    "inf": (with_value(X, (0, 0), -np.inf), ValueError, r"X\[0, 0\] is -inf"),
    "nan, F-ordered": (np.asfortranarray(with_value(X, (3, 7), np.nan)), ValueError, r"X\[3, 7\] is nan"),
    "inf in float32": (
        with_value(X, (4, 10), 1e39),
        ValueError,
        r"X\[4, 10\] is 1e\+39, which is inf in the network's float32",
    ),
    "text": (X.astype(str), TypeError, "X must hold real numbers .booleans, integers or floats., got text"),
    "objects": (X.astype(object), TypeError, "X must hold real numbers.*got Python objects"),
    "complex": (X + 1j, TypeError, "X must hold real numbers.*got complex numbers"),
    "dates": (np.zeros((5, 11), "datetime64[s]"), TypeError, r"X must hold real numbers.*datetime64"),
    "records": (np.zeros((5, 11), [("a", "f4")]), TypeError, "X must hold real numbers"),
    "ragged": ([[1.0, 2.0], [3.0]], ValueError, "X is not a rectangular array of numbers"),
    "None": (None, TypeError, "X must hold real numbers"),
    "an object": (Unreadable(), TypeError, "X must hold real numbers"),
    "sparse": (Sparse(), TypeError, r"X is a sparse Sparse; give a dense array, e\.g\. X\.toarray\(\)"),
    "masked": (np.ma.masked_greater(X, 1.0), ValueError, "X has masked entries"),
}


@pytest.mark.parametrize(("inputs", "error", "message"), BAD_INPUTS.values(), ids=BAD_INPUTS)
def test_inputs(inputs, error, message):
    net = network()
    refuses(net, error, message, inputs, CLASSES)
    for entry in (net.forward, net.predict, net.predict_proba):
        with pytest.raises(error, match=message):
            entry(inputs)


def test_the_same_number_fits_float64():
    assert network(dtype="float64").predict(with_value(X, (4, 10), 1e39)).shape == (11,)


def test_the_checks_do_not_warn_about_the_cast():
    with np.errstate(all="raise"), pytest.raises(ValueError, match="which is inf in"):
        network().predict(with_value(X, (4, 10), 1e39))


BAD_TARGETS = {
    "softmax: too few": ("softmax", CLASSES[:10], ValueError, "Y has 10 class indices, should have 11"),
    "softmax: out of range": (
        "softmax",
        CLASSES + 1,
        ValueError,
        r"Y\[2\] is class 3; accepted for 3 classes: 0 to 2; classes are counted from 0",
    ),
    "softmax: negative": (
        "softmax",
        CLASSES - 1,
        ValueError,
        r"Y\[0\] is class -1; accepted for 3 classes: 0 to 2",
    ),
    "softmax: huge": (
        "softmax",
        CLASSES.astype(np.uint64) + np.uint64(2**63),
        ValueError,
        "is class 9223372036854775810",
    ),
    "softmax: broken": (
        "softmax",
        CLASSES + 0.5,
        ValueError,
        r"Y\[0\] is 0\.5; class indices are whole numbers from 0 to 2",
    ),
    "softmax: nan index": ("softmax", with_value(CLASSES, 4, np.nan), ValueError, r"Y\[4\] is nan"),
    "softmax: text": (
        "softmax",
        np.array(list("abcabcabcab")),
        TypeError,
        r"Y must hold real numbers.*got text; numpy.unique\(Y, return_inverse=True\) gives the labels",
    ),
    "softmax: a row": ("softmax", CLASSES[np.newaxis] + 1, ValueError, r"Y\[0, 2\] is class 3"),
    "sigmoid: text in objects": (
        "sigmoid",
        np.array(["yes", "no"] * 5 + ["no"], object),
        TypeError,
        r"Python objects such as 'yes'; numpy.unique\(Y",
    ),
    "linear: text": ("linear", ["1"] * 11, TypeError, "Y must hold real numbers.*got text$"),
    "softmax: transposed": (
        "softmax",
        np.eye(3)[CLASSES],
        ValueError,
        r"Y has shape \(11, 3\), should be \(3, 11\), or \(11,\) of class.*Y\.T",
    ),
    "softmax: a column": (
        "softmax",
        CLASSES[:, np.newaxis],
        ValueError,
        r"Y has shape \(11, 1\), should be \(3, 11\)",
    ),
    "softmax: sums": (
        "softmax",
        np.full((3, 11), 0.3),
        ValueError,
        r"column 0 of Y sums to 0\.9; columns must be one-hot or probabilities",
    ),
    "softmax: not probabilities": (
        "softmax",
        np.tile([[2.0], [-1.0], [0.0]], 11),
        ValueError,
        r"Y\[0, 0\] is 2; accepted for output 'softmax'.*from 0 to 1",
    ),
    "softmax: nan": (
        "softmax",
        with_value(np.eye(3)[:, CLASSES], (1, 2), np.nan),
        ValueError,
        r"Y\[1, 2\] is nan",
    ),
    "softmax: rank 3": ("softmax", np.ones((3, 11, 1)), ValueError, r"Y has shape \(3, 11, 1\)"),
    "sigmoid: two": (
        "sigmoid",
        LABELS * 2,
        ValueError,
        r"Y\[1\] is 2; accepted for output 'sigmoid' with.*: from 0 to 1; more than two classes",
    ),
    "sigmoid: -1 and 1": (
        "sigmoid",
        LABELS * 2 - 1,
        ValueError,
        r"Y\[0\] is -1.*labels -1 and 1 give \(Y \+ 1\) / 2",
    ),
    "sigmoid: too many": (
        "sigmoid",
        np.append(LABELS, 1),
        ValueError,
        r"Y has shape \(12,\), should be \(1, 11\) or \(11,\) as X has 11 columns",
    ),
    "sigmoid: a column": (
        "sigmoid",
        LABELS[:, np.newaxis],
        ValueError,
        r"Y has shape \(11, 1\), should be \(1, 11\).*Y\.T",
    ),
    "sigmoid: nan": ("sigmoid", with_value(LABELS, 4, np.nan), ValueError, r"Y\[4\] is nan"),
    "sigmoid: a row": ("sigmoid", LABELS[np.newaxis] * 2, ValueError, r"Y\[0, 1\] is 2; accepted"),
    "sigmoid: nan in a row": ("sigmoid", with_value([LABELS], (0, 4), np.nan), ValueError, r"Y\[0, 4\] is nan"),
    "sigmoid: empty": ("sigmoid", [], ValueError, r"Y has shape \(0,\)"),
    "sigmoid: None": ("sigmoid", None, TypeError, "Y must hold real numbers"),
    "linear: inf": ("linear", with_value(NUMBERS, 10, np.inf), ValueError, r"Y\[10\] is inf"),
    "linear: inf in float32": (
        "linear",
        NUMBERS * 1e40,
        ValueError,
        "which is -inf in the network's float32",
    ),
    "linear: objects": (
        "linear",
        NUMBERS.astype(object),
        TypeError,
        "Y must hold real numbers.*Python objects",
    ),
    "linear: wide": (
        "linear",
        np.ones((2, 11)),
        ValueError,
        r"Y has shape \(2, 11\), should be \(1, 11\) or \(11,\)",
    ),
}


@pytest.mark.parametrize(("output", "Y", "error", "message"), BAD_TARGETS.values(), ids=BAD_TARGETS)
def test_targets(output, Y, error, message):
    refuses(network(output, 3 if output == "softmax" else 1), error, message, X, Y)


def test_targets_of_several_units():
    refuses(
        network("sigmoid", 2),
        ValueError,
        r"Y has shape \(11,\).*class indices go with output='softmax'",
        X,
        LABELS,
    )
    refuses(network("linear", 2), ValueError, r"Y has shape \(11, 2\).*Y\.T", X, np.ones((11, 2)))


def test_targets_of_poisson_are_not_negative():
    net = network("linear", 1, loss="poisson")
    refuses(
        net,
        ValueError,
        r"Y\[3\] is -1; accepted.*'poisson': numbers that are not negative",
        X,
        with_value(LABELS, 3, -1),
    )


@pytest.mark.parametrize(
    ("weight", "error", "message"),
    [
        (np.ones(10), ValueError, r"sample_weight has shape \(10,\), should be \(11,\) or \(1, 11\)"),
        (np.ones((11, 1)), ValueError, r"sample_weight has shape \(11, 1\)"),
        (1.0, ValueError, r"sample_weight has shape \(\)"),
        (-np.eye(11)[4], ValueError, r"sample_weight\[4\] is -1; weights must not be negative"),
        (np.zeros(11), ValueError, "sample_weight holds only zeros"),
        (np.full(11, 1e-60), ValueError, "sample_weight holds only zeros"),  # in float32
        (with_value(np.ones(11), 2, np.nan), ValueError, r"sample_weight\[2\] is nan"),
        (np.full(11, "a"), TypeError, "sample_weight must hold real numbers"),
    ],
)
def test_sample_weights(weight, error, message):
    refuses(network(), error, message, X, CLASSES, sample_weight=weight)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"epochs": -1}, ValueError, "epochs must be from 0"),
        ({"epochs": 1.5}, TypeError, "epochs must be an int"),
        ({"batch_size": 0}, ValueError, "batch_size must be from 1"),
        ({"batch_size": 12}, ValueError, "batch_size must be from 1 to m = 11, got 12"),
        ({"batch_size": True}, TypeError, "batch_size must be an int, got bool"),
        ({"optimizer": "adam"}, TypeError, "optimizer must be one of SGD"),
        ({"shuffle": 1}, TypeError, "shuffle must be True or False"),
        ({"validation_data": (X, CLASSES[:5])}, ValueError, "Y of validation_data has 5 class indices"),
        ({"validation_data": (X.T, CLASSES)}, ValueError, "X of validation_data has shape"),
        ({"validation_data": 1.0}, ValueError, "validation_data must be a finite number above 0 and below 1"),
        ({"validation_data": X}, TypeError, r"validation_data must be \(X, Y\), .* or a share .* got ndarray"),
        ({"callbacks": [3]}, TypeError, "callbacks must hold Callback objects or functions"),
        ({"checkpoint": 3}, TypeError, "checkpoint must be"),
        ({"checkpoint": "/no such directory/file"}, FileNotFoundError, "no such directory to write to"),
        ({"checkpoint": "/"}, IsADirectoryError, "Is a directory"),
        ({"checkpoint": ""}, FileNotFoundError, "name of the file to write is empty"),
        ({"resume": True}, ValueError, "resume=True needs checkpoint"),
    ],
)
def test_options_of_fit(options, error, message):
    refuses(network(), error, message, X, CLASSES, **options)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "got None"),
        ({}, "got an object of type dict"),
        (X.astype(object), r"got Python objects; use \.astype\(float\)"),
        (np.where(X > 0, X.astype(object), "?"), r"got Python objects such as '\?'"),
        (X.astype(str), "got text"),
    ],
)
def test_what_is_no_array_of_numbers_is_said(value, message):
    refuses(network(), TypeError, f"X must hold real numbers .*, {message}$", value, CLASSES)


def test_files(tmp_path):
    with pytest.raises(FileNotFoundError):
        Network.load(tmp_path / "nothing")
    (tmp_path / "text").write_text("W1 = 3")
    with pytest.raises(ValueError, match="text: not a jitprop model"):
        Network.load(tmp_path / "text")
    with pytest.raises(TypeError, match="JSON"):
        network().save(tmp_path / "model", metadata={"f": Unreadable()})
    assert not (tmp_path / "model").exists()
