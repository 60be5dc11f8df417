"""The three sets offer one contract, and their doors refuse what a kernel could read or write outside of."""

import functools
import importlib
import inspect
import re

import numpy as np
import pytest
from cases import SETS

from jitprop_kernels import contract, doors, loops
from jitprop_kernels.contract import ACTIVATIONS, COEFFICIENTS, KERNELS, LOSSES, OUTPUTS


@pytest.fixture(params=SETS)
def kernels(request):
    return importlib.import_module(f"jitprop_kernels.{request.param}")


@pytest.mark.parametrize("name", KERNELS)
def test_same_names_parameters_and_defaults(kernels, name):
    function = getattr(kernels, name)
    assert inspect.signature(function) == inspect.signature(getattr(loops, name))
    assert function.__name__ == name
    assert inspect.getdoc(function)


def test_every_kernel_has_a_check():
    assert set(doors.CHECKS) == set(KERNELS)


def test_every_loss_fits_an_output():
    assert {loss for row in OUTPUTS.values() for loss in row.losses} == set(LOSSES)


# The grammar of "name" and "name(number)"


@pytest.mark.parametrize(
    "text, expected",
    [
        ("relu", ("relu", 0.0)),
        ("leaky_relu", ("leaky_relu", 0.01)),
        ("leaky_relu(0.2)", ("leaky_relu", 0.2)),
        (" elu(1.5) ", ("elu", 1.5)),
        ("elu(1e-3)", ("elu", 0.001)),
        ("leaky_relu(1)", ("leaky_relu", 1.0)),
    ],
)
def test_parse(text, expected):
    assert contract.parse(text, ACTIVATIONS, "activation") == expected


@pytest.mark.parametrize(
    "text, error, message",
    [
        ("rely", ValueError, "unknown activation 'rely'; accepted: linear, relu"),
        ("", ValueError, "unknown activation"),
        ("relu(", ValueError, "unknown activation"),
        ("relu()", ValueError, "takes no number"),
        ("relu(1)", ValueError, "takes no number"),
        ("leaky_relu()", ValueError, "slope .* must be a number"),
        ("leaky_relu(x)", ValueError, "slope .* must be a number"),
        ("leaky_relu(1.5)", ValueError, "slope .* must be from 0 to 1"),
        ("leaky_relu(nan)", ValueError, "slope .* must be from 0 to 1"),
        ("elu(inf)", ValueError, "alpha .* must be from 0"),
        ("elu(-1)", ValueError, "alpha .* must be from 0"),
        (None, TypeError, "activation must be a name, got NoneType"),
        (3, TypeError, "activation must be a name, got int"),
    ],
)
def test_parse_refuses(text, error, message):
    with pytest.raises(error, match=message):
        contract.parse(text, ACTIVATIONS, "activation")


def test_parse_loss():
    assert contract.parse_loss(None, "softmax") == ("softmax", "cross_entropy", 0.0)
    assert contract.parse_loss("huber(2)", "linear") == ("linear", "huber", 2.0)
    with pytest.raises(ValueError, match="does not fit output .relu.; accepted: squared_error"):
        contract.parse_loss("poisson", "relu")


# Doors: what is wrong is named, and nothing is changed


def _affine(dtype="float64"):
    return {"W": np.ones((3, 4), dtype), "A_prev": np.ones((4, 5), dtype), "b": np.ones((3, 1), dtype)}


SHIFTED = np.frombuffer(bytearray(8 * 12 + 1), np.uint8)[1:].view(np.float64).reshape(3, 4)

WRONG_AFFINE = {
    "shape of A_prev": ("A_prev", np.ones((5, 4)), ValueError, r"A_prev has shape .*, should be \(4, any\)"),
    "shape of b": ("b", np.ones((1, 3)), ValueError, r"b has shape \(1, 3\), should be \(3, 1\)"),
    "rank 1": ("b", np.ones(3), ValueError, r"b must have two dimensions, got shape \(3,\)"),
    "rank 3": ("W", np.ones((3, 4, 1)), ValueError, "W must have two dimensions"),
    "dtype": ("A_prev", np.ones((4, 5), "float32"), TypeError, "A_prev is float32, but the other"),
    "int": ("W", np.ones((3, 4), int), TypeError, "W must be a float32 or float64 array, got int64"),
    "list": ("W", [[1.0]], TypeError, "W must be a float32 or float64 array, got list"),
    "half": ("W", np.ones((3, 4), "float16"), TypeError, "W must be a float32 or float64 array"),
    "byte order": ("W", np.ones((3, 4), ">f8"), TypeError, "W must have the machine's byte order"),
    "empty": ("A_prev", np.ones((4, 0)), ValueError, r"A_prev is empty: shape \(4, 0\)"),
    "columns": ("A_prev", np.ones((5, 4)).T, ValueError, "A_prev must have contiguous rows"),
    "every second": ("A_prev", np.ones((4, 10))[:, ::2], ValueError, "A_prev must have contiguous rows"),
    "backward": ("W", np.ones((3, 4))[::-1], ValueError, "W must have contiguous rows"),
    "one row thrice": ("W", np.broadcast_to(np.ones((1, 4)), (3, 4)), ValueError, "W must have contig"),
    "not aligned": ("W", SHIFTED, ValueError, "W must be aligned"),
    "shape of out": ("out", np.ones((3, 4)), ValueError, r"out has shape \(3, 4\), should be \(3, 5\)"),
    "dtype of out": ("out", np.ones((3, 5), "float32"), TypeError, "out is float32"),
    "columns of out": ("out", np.ones((5, 3)).T, ValueError, "out must have contiguous rows"),
    "rows of out": ("out", np.ones((3, 6))[:, :5], ValueError, "out must be C-contiguous"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG_AFFINE)
def test_door_of_linear_forward(kernels, wrong):
    name, array, error, message = WRONG_AFFINE[wrong]
    out = np.full((3, 5), 7.0)
    with pytest.raises(error, match=message):
        kernels.linear_forward(**(_affine() | {"out": out} | {name: array}))
    assert (out == 7.0).all()


def test_out_must_be_writable_and_apart(kernels):
    arrays = _affine()
    out = np.ones((3, 5))
    out.flags.writeable = False
    with pytest.raises(ValueError, match="out is read-only"):
        kernels.linear_forward(**arrays, out=out)
    square = np.ones((4, 4))
    with pytest.raises(ValueError, match="out overlaps A_prev"):
        kernels.linear_forward(square.copy(), square, np.ones((4, 1)), out=square)
    with pytest.raises(ValueError, match="out overlaps Z"):
        kernels.relu(square[:3], out=square[1:])
    assert (square == 1).all()


def _ones(*shapes):
    return [np.ones(shape) for shape in shapes]


def rows(**numbers):
    """Two rows of coefficients, 1 but for the given."""
    return np.tile([numbers.get(name, 1.0) for name in COEFFICIENTS], (2, 1))


def _training():
    return {
        "parameters": _ones((4, 3), (4, 1), (2, 4), (2, 1)),
        "X": np.ones((3, 6)),
        "Y": np.ones((2, 6)),
        "order": np.arange(6),
        "batch_size": 4,
        "activations": ["relu"],
        "output": "linear",
        "loss": "squared_error",
        "rule": "sgd",
        "state": [],
        "coefficients": np.ones((2, len(COEFFICIENTS))),
    }


WRONG_TRAINING = {
    "W2": ({"parameters": _ones((4, 3), (4, 1), (2, 5), (2, 1))}, "W2 has shape (2, 5), should be (any, 4)"),
    "b1": ({"parameters": _ones((4, 3), (5, 1), (2, 4), (2, 1))}, "b1 has shape (5, 1), should be (4, 1)"),
    "odd": ({"parameters": [np.ones((4, 3))]}, "parameters must be"),
    "X": ({"X": np.ones((5, 6))}, "W1 has shape"),
    "X dtype": ({"X": np.ones((3, 6), "float32")}, "W1 is float64"),
    "X strides": ({"X": np.ones((3, 12))[:, ::2]}, "X must have two dimensions and be C- or F-contiguous"),
    "X empty": ({"X": np.ones((3, 0))}, "X is empty"),
    "Y": ({"Y": np.ones((2, 5))}, "Y has shape"),
    "order high": ({"order": np.array([0, 6])}, "order holds indices from 0 to 6, accepted: 0 to 5"),
    "order low": ({"order": np.array([-1, 2])}, "order holds indices from -1"),
    "order dtype": ({"order": np.arange(6.0)}, "order must be a 1-D int64 array"),
    "order rank": ({"order": np.zeros((1, 6), int)}, "order must be a 1-D int64 array"),
    "batch_size": ({"batch_size": 0}, "batch_size must be from 1 to m = 6, got 0"),
    "batch_size type": ({"batch_size": 2.0}, "batch_size must be an int"),
    "activations": ({"activations": []}, "activations has 0 names, 1 hidden layers need one each"),
    "activation": ({"activations": ["rely"]}, "unknown activation"),
    "loss": ({"loss": "cross_entropy"}, "loss 'cross_entropy' does not fit output 'linear'"),
    "rule": ({"rule": "adagrad"}, "unknown rule"),
    "state": ({"rule": "adam"}, "state has 0 slots, rule 'adam' needs 2"),
    "state shape": ({"rule": "momentum", "state": [[np.ones((4, 3))] * 4]}, "state m b1 has shape"),
    "coefficients": ({"coefficients": np.ones((3, len(COEFFICIENTS)))}, "coefficients has shape"),
    "no coefficients": (
        {"coefficients": np.ones((0, len(COEFFICIENTS))), "order": None, "batch_size": 6}, "coefficients has shape"
    ),
    "clip_value of 0": ({"coefficients": rows(clip_value=0.0)}, "clip_value of coefficients must be above 0"),
    "clip_norm below 0": ({"coefficients": rows(clip_norm=-1.0)}, "clip_norm of coefficients must be above 0"),
    "clip_norm nan": ({"coefficients": rows(clip_norm=np.nan)}, "must be above 0 (inf for none), got nan"),
    "gain2 below 0": ({"coefficients": rows(gain2=-1.0)}, "gain2 of coefficients must not be negative"),
    "rate without end": ({"coefficients": rows(rate=np.inf)}, "coefficients must be finite, but for"),
    "coefficients nan": ({"coefficients": np.full((2, len(COEFFICIENTS)), np.nan)}, "coefficients must be"),
    "l2": ({"l2": -1.0}, "l2 must be a finite number that is not negative"),
    "dropout": ({"dropout": [0.5]}, "dropout has 1 rates, should have 2"),
    "dropout 1": ({"dropout": [0.5, 1.0]}, "dropout rate must be from 0 to below 1, got 1.0"),
    "key": ({"key": 2**32}, "key must be from 0"),
    "sample_weight": ({"sample_weight": np.ones((1, 5))}, "sample_weight has shape"),
    "sample_weight sign": ({"sample_weight": np.full((1, 6), -1.0)}, "sample_weight must hold"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG_TRAINING)
def test_door_of_train_epoch(kernels, wrong):
    changes, message = WRONG_TRAINING[wrong]
    arguments = _training() | changes
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        kernels.train_epoch(**arguments)
    assert all((parameter == 1).all() for parameter in arguments["parameters"])


@pytest.mark.parametrize(
    "name, arguments, message",
    [
        ("output_head", (np.ones((3, 2)), np.array([[0, 3]]), "cross_entropy", "softmax"), "0 to 2"),
        ("output_head", (np.ones((3, 2)), np.array([[-1, 0]]), "cross_entropy", "softmax"), "from -1 to 0"),
        ("output_head", (np.ones((3, 2)), np.array([0, 1]), "cross_entropy", "softmax"), r"shape \(2,\)"),
        ("output_head", (np.ones((3, 2)), np.ones((3, 2), int), "squared_error", "linear"), "Y must be"),
        ("output_head", (np.ones((3, 2)), np.ones((1, 2)), "squared_error", "linear"), "Y has shape"),
        (
            "output_head",
            (np.ones((1, 2)), np.ones((1, 2)), "squared_error", "linear", np.zeros((1, 2))),
            "not only zeros",
        ),
        ("layer_forward", (np.ones((2, 3)), np.ones((3, 2)), np.ones((2, 1)), "softmax"), "unknown"),
        ("layer_backward", (np.ones((2, 2)), np.ones((2, 3)), np.ones((3, 2)), None, "relu"), "go together"),
        ("layer_backward", (np.ones((2, 2)), np.ones((2, 3)), np.ones((3, 3)), None, None), "dZ has shape"),
        ("linear_backward", (np.ones((3, 2)), np.ones((3, 2)), np.ones((2, 3))), "dZ has shape"),
        ("dropout", (np.ones((2, 2)), 1.0, 0), "rate must be from 0 to below 1"),
        ("dropout", (np.ones((2, 2)), 0.5, -1), "key must be from 0"),
        ("leaky_relu", (np.ones((2, 2)), 1.5), "slope must be from 0 to 1, got 1.5"),
        ("elu", (np.ones((2, 2)), -1.0), "alpha must be from 0, got -1.0"),
        ("dot", (np.ones((3, 1)), np.ones((4, 1))), "x has shape"),
        ("dot", (np.ones((1, 3)), np.ones((1, 3))), "w has shape"),
        ("logistic_gradient", (np.ones((1, 3)), np.ones((1, 1)), np.ones((3, 4)), np.ones((1, 3))), "Y has"),
        ("softmax", (np.ones(3),), "Z must have two dimensions"),
    ],
)  # fmt: skip
def test_doors(kernels, name, arguments, message):
    with pytest.raises(ValueError if "Y must be" not in message else TypeError, match=message):
        getattr(kernels, name)(*arguments)


def test_door_of_update(kernels):
    parameter, gradient, row = np.ones((2, 3)), np.ones((2, 3)), np.ones(len(COEFFICIENTS))
    for arguments, message in (
        ((parameter, np.ones((3, 2)), [], row, "sgd"), "gradient has shape"),
        ((parameter, gradient, [], row, "adam"), "state has 0 arrays, rule 'adam' needs 2"),
        ((parameter, gradient, [np.ones((1, 3))], row, "momentum"), "state m has shape"),
        ((parameter, gradient, [], row[:3], "sgd"), "coefficients has shape"),
        ((parameter, gradient, [], rows(clip_value=-np.inf)[0], "sgd"), "clip_value of coefficients must be"),
        ((parameter, gradient, [], rows(clip_value=np.nan)[0], "sgd"), "clip_value of coefficients must be"),
        ((parameter, gradient, [], rows(clip_norm=0.0)[0], "sgd"), "clip_norm of coefficients must be above 0"),
    ):
        with pytest.raises(ValueError, match=message):
            kernels.update(*arguments)
    assert (parameter == 1).all()
    parameter.flags.writeable = False
    with pytest.raises(ValueError, match="parameter is read-only"):
        kernels.update(parameter, gradient, [], row, "sgd")


def test_door_comes_off():
    """`plain` takes off a door, and nothing else: not a decorator that somebody put around one."""
    assert doors.plain(loops.relu) is loops.relu.__wrapped__
    assert doors.plain(len) is len

    @functools.wraps(loops.relu)
    def counted(Z, out=None):
        return loops.relu(Z, out)

    assert doors.plain(counted) is counted
