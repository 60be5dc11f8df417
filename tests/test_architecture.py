"""What a network is before it has values: options in one form, shapes, and the layout of the parameters."""

import numpy as np
import pytest

from jitprop import Network
from jitprop.architecture import Architecture, allocate


def test_options_come_into_one_form():
    built = Architecture.build(
        np.array([3, 4, 5, 2]),
        activation=["leaky_relu( 0.2 )", "elu(1.0)"],
        loss=None,
        dropout=0.5,
        dtype=np.float64,
    )
    assert built == Architecture(
        units=(3, 4, 5, 2),
        activations=("leaky_relu(0.2)", "elu"),
        output="softmax",
        loss="cross_entropy",
        l2=0.0,
        dropout=(0.0, 0.5, 0.5),
        dtype="float64",
    )
    assert all(type(n) is int for n in built.units)


@pytest.mark.parametrize(
    ("output", "loss"),
    [
        ("sigmoid", "binary_cross_entropy"),
        ("softmax", "cross_entropy"),
        ("linear", "squared_error"),
        ("relu", "squared_error"),
    ],
)
def test_natural_loss(output, loss):
    assert Architecture.build([3, 2], output=output).loss == loss


def test_natural_activation_is_relu():
    assert Architecture.build([3, 4, 2], activation=None) == Architecture.build([3, 4, 2], activation="relu")


def test_a_single_name_serves_any_depth():
    assert Architecture.build([3, 2], activation="tanh").activations == ()
    assert Architecture.build([3, 4, 4, 2], activation="tanh").activations == ("tanh", "tanh")


def test_dropout_rates():
    assert Architecture.build([3, 4, 2], dropout=[0.1, 0.2]).dropout == (0.1, 0.2)
    assert Architecture.build([3, 2], dropout=[0.1]).dropout == (0.1,)
    assert Architecture.build([3, 2]).dropout == (0.0,)


def test_dictionary_and_back():
    built = Architecture.build([3, 4, 1], "elu(0.5)", "linear", "huber(2)", 0.1, [0.1, 0.2], "float64")
    assert Architecture.from_dict(built.to_dict()) == built
    assert built.loss == "huber(2.0)"
    with pytest.raises(ValueError, match="an architecture has the entries"):
        Architecture.from_dict({"units": [1, 2]})


def test_layers_and_count():
    built = Architecture.build([12288, 20, 7, 5, 1], output="sigmoid")
    assert built.L == 4
    assert [layer.activation for layer in built.layers] == ["relu", "relu", "relu", "sigmoid"]
    assert built.parameter_count == 12288 * 20 + 20 + 20 * 7 + 7 + 7 * 5 + 5 + 5 + 1


def test_shapes_by_name():
    """The course's 3-4-1 network: b is (4, 1) and (1, 1), W1 is (4, 3)."""
    shapes = Network([3, 4, 1], output="sigmoid", kernels="vectorized").shapes(10)
    assert shapes["X"] == (3, 10) and shapes["Y"] == (1, 10)
    assert shapes["W1"] == shapes["dW1"] == (4, 3) and shapes["W2"] == (1, 4)
    assert shapes["b1"] == shapes["db1"] == (4, 1) and shapes["b2"] == (1, 1)
    assert shapes["Z1"] == shapes["A1"] == shapes["dZ1"] == (4, 10)
    assert len(shapes) == 2 + 2 * 7


def test_shapes_agree_with_what_runs():
    net = Network([3, 4, 2], kernels="vectorized")
    shapes = net.shapes(5)
    _, caches = net.forward(np.ones((3, 5)))
    arrays = dict(net.parameters) | net.gradients(np.ones((3, 5)), np.zeros(5))
    arrays |= {f"{name}{l}": array for l, pair in enumerate(caches, 1) for name, array in zip("ZA", pair, strict=True)}
    assert {name: array.shape for name, array in arrays.items()} == {name: shapes[name] for name in arrays}


def test_shapes_as_a_table():
    table = str(Architecture.build([784, 128, 10]).shapes())
    assert table.splitlines() == [
        "layer  W, dW       b, db     Z, A, dZ    activation  parameters",
        "0                            X (784, m)",
        "1      (128, 784)  (128, 1)  (128, m)    relu        100480",
        "2      (10, 128)   (10, 1)   (10, m)     softmax     1290",
        "Y (10, m), loss cross_entropy",
        "101770 parameters, 407080 bytes in float32",
    ]


def test_the_table_of_shapes_fits_a_terminal():
    for units, m in (((30, 200, 100, 1), 569), ((12288, 1000, 1000, 1), 60000)):
        table = str(Architecture.build(units, "leaky_relu(0.2)", "sigmoid").shapes(m))
        assert max(map(len, table.splitlines())) <= 80


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("units", [(1, 1), (3, 4, 1), (15, 16, 17), (100, 128, 256, 3), (1024, 5, 512, 2)])
def test_layout(units, dtype):
    architecture = Architecture.build(units, output="sigmoid", dtype=dtype)
    flat, views = allocate(architecture)
    assert flat.dtype == dtype and not flat.any()
    assert [view.shape for view in views] == list(architecture.parameter_shapes.values())
    for number, view in enumerate(views, 1):
        rows, columns = view.shape
        stride = view.strides[0] // view.itemsize
        assert np.shares_memory(view, flat)
        assert view.ctypes.data % 64 == 0 and view.strides[1] == view.itemsize
        if columns < 16:
            assert stride == columns
        elif rows > 1:
            assert stride >= columns and stride % 16 == 0 and stride % 128 != 0
        view[:] = number
    # No array has written into another.
    assert all((view == number).all() for number, view in enumerate(views, 1))
    assert np.count_nonzero(flat) == architecture.parameter_count
