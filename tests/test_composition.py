"""A kernel set of somebody's own: one function is enough, and it is the one that is used."""

import functools
import inspect
import re
import types

import numpy as np
import pytest
import tolerances
from cases import normal, parameters, rng

from jitprop_kernels import composition, loops, results, vectorized
from jitprop_kernels.composition import complete
from jitprop_kernels.contract import COEFFICIENTS, KERNELS


def module(**names):
    """A module with these names."""
    students = types.ModuleType("students")
    vars(students).update(names)
    return students


def counting(function):
    """The function, counting its calls."""

    @functools.wraps(function)
    def counted(*args, **kwargs):
        counted.calls += 1
        return function(*args, **kwargs)

    counted.calls = 0
    return counted


def train(kernels, steps=4):
    """Costs and parameters of some steps of a 3-4-2-1 network."""
    g = rng("composition")
    arrays = parameters(g, (3, 4, 2, 1), "float64")
    X = normal(g, (3, 11))
    row = dict.fromkeys(COEFFICIENTS, 0.0) | {"rate": 0.1, "decay": 1.0, "gradient_share": 1.0}
    row |= {"clip_value": np.inf, "clip_norm": np.inf}
    costs = kernels.train_epoch(
        arrays, X, (X[:1] > 0) * 1.0, None, 11, ["relu", "relu"], "sigmoid", None, "sgd", [],
        np.array([list(row.values())]),
    )  # fmt: skip
    for _ in range(steps - 1):
        kernels.train_epoch(
            arrays, X, (X[:1] > 0) * 1.0, None, 11, ["relu", "relu"], "sigmoid", None, "sgd", [],
            np.array([list(row.values())]),
        )  # fmt: skip
    return costs, arrays


def same(actual, expected):
    bound = tolerances.training((3, 4, 2, 1), 11, 4, "float64")
    for a, b in zip(actual[1], expected[1], strict=True):
        tolerances.close(a, b, bound * (1 + np.abs(b)))


def test_complete_offers_every_name_with_the_contract():
    whole = complete(module(relu=lambda Z: np.maximum(Z, 0)))
    for name in KERNELS:
        if name != "relu":
            assert inspect.signature(getattr(whole, name)) == inspect.signature(getattr(vectorized, name))
            assert getattr(whole, name).__doc__
    assert set(vars(whole)) == set(KERNELS)


def test_what_is_offered_is_used_and_the_rest_is_vectorized():
    for kernels in (loops, vectorized):
        whole = complete(kernels)
        assert all(getattr(whole, name) is getattr(kernels, name) for name in KERNELS)
    whole = complete(module(tanh=np.tanh))
    assert whole.tanh.__wrapped__ is np.tanh and whole.sigmoid is vectorized.sigmoid


def test_relu_alone_trains():
    relu = counting(lambda Z: np.maximum(Z, 0))  # without `out`: it is never needed
    result = train(complete(module(relu=relu)))
    assert relu.calls == 2 * 4
    same(result, train(loops))


def test_a_decorated_kernel_is_called_with_its_decorator():
    relu = counting(vectorized.relu)
    same(train(complete(module(relu=relu))), train(loops))
    assert relu.calls == 2 * 4


def test_linear_forward_alone_trains():
    linear_forward = counting(lambda W, A_prev, b, out=None: W @ A_prev + b)
    result = train(complete(module(linear_forward=linear_forward)))
    assert linear_forward.calls == 3 * 4
    same(result, train(loops))


def test_linear_backward_alone_trains():
    def backward(dZ, A_prev, W):
        m = dZ.shape[1]
        return dZ @ A_prev.T / m, dZ.sum(axis=1, keepdims=True) / m, W.T @ dZ

    linear_backward = counting(backward)
    result = train(complete(module(linear_backward=linear_backward)))
    assert linear_backward.calls == 3 * 4
    same(result, train(loops))


def test_a_wrong_kernel_is_not_corrected():
    costs, arrays = train(complete(module(relu_derivative=np.zeros_like)))
    _, before = train(complete(module(update=lambda *arguments: None)))
    assert np.isfinite(costs).all()
    assert all((a == b).all() for a, b in zip(arrays[:4], before[:4], strict=True))
    assert (arrays[4] != before[4]).any()


def test_layers_of_the_completed_set_use_it():
    doubled = complete(module(linear_forward=lambda W, A_prev, b: 2 * (W @ A_prev + b), relu=lambda Z: Z + 1))
    W, A_prev, b = np.ones((2, 3)), np.ones((3, 4)), np.ones((2, 1))
    Z, A = doubled.layer_forward(W, A_prev, b, "relu")
    assert (Z == 8).all() and (A == 9).all()
    marked = complete(module(leaky_relu_derivative=lambda Z, slope: np.full_like(Z, slope)))
    dW, db, dZ_prev = marked.layer_backward(np.ones((2, 4)), W, A_prev, A_prev, "leaky_relu(0.25)")
    assert (dZ_prev == 0.5).all() and dW.shape == W.shape and db.shape == b.shape
    assert marked.layer_backward(np.ones((2, 4)), W, A_prev, None, None)[2] is None


def test_layers_of_the_completed_set_have_doors():
    whole = complete(module(relu=np.abs))
    with pytest.raises(ValueError, match="A_prev has shape"):
        whole.layer_forward(np.ones((2, 3)), np.ones((2, 3)), np.ones((2, 1)), "relu")


def test_unknown_names_are_left_alone():
    students = module(relu=np.abs, helper=3, Relu=None)
    whole = complete(students)
    assert not hasattr(whole, "helper") and students.helper == 3


def test_objects_and_classes_are_sets_too():
    class Set:
        def relu(self, Z):
            return np.maximum(Z, 0)

    same(train(complete(Set())), train(loops))


def test_what_cannot_be_called_is_refused():
    with pytest.raises(TypeError, match="relu of kernel set students must be a function, got int"):
        complete(module(relu=3, tanh=np.tanh))


Z, COLUMN = np.ones((3, 4)), np.ones((3, 1))
W, A_PREV = np.ones((3, 2)), np.ones((2, 4))
BACKWARD = (np.ones((3, 4)), W, A_PREV, A_PREV, "relu")
RETURNED = [  # kernel, its arguments, what it returns, the error, and what that says after "returned"
    ("relu", (Z,), None, TypeError, "None, should be float64 array of shape (3, 4)"),
    ("relu", (Z,), [1.0], TypeError, "list, should be"),
    ("relu", (Z,), Z.astype("float32"), TypeError, "float32 array of shape (3, 4), should be float64 array"),
    ("softmax", (Z,), Z[:2], ValueError, "float64 array of shape (2, 4), should be float64 array of shape (3, 4)"),
    ("leaky_relu_derivative", (Z, 0.1), Z.T, ValueError, "float64 array of shape (4, 3), should be"),
    ("linear_forward", (W, A_PREV, COLUMN), Z[0], ValueError, "float64 array of shape (4,), should be"),
    ("linear_backward", (Z, A_PREV, W), W, TypeError, "float64 array of shape (3, 2), should return dW, db, dA_prev"),
    ("linear_backward", (Z, A_PREV, W), (W, COLUMN), ValueError, "2 values, should return dW, db, dA_prev"),
    ("linear_backward", (Z, A_PREV, W), (W, Z[:, 0], A_PREV), ValueError, "as db float64 array of shape (3,), should"),
    ("layer_forward", (W, A_PREV, COLUMN, "relu"), (Z, None), TypeError, "as A None, should be"),
    ("layer_backward", BACKWARD, (W, COLUMN, None), TypeError, "as dZ_prev None, should be"),
    ("output_head", (Z, Z, "squared_error", "linear"), (None, Z), TypeError, "as cost None, should be a number"),
    ("output_head", (Z, Z, "squared_error", "linear"), 1.0, TypeError, "float, should return cost, dZ"),
    ("dropout", (Z, 0.5, 1), (Z, Z), TypeError, "tuple, should be"),
    ("dot", (COLUMN, COLUMN), COLUMN, TypeError, "float64 array of shape (3, 1), should be a number"),
    ("logistic_gradient", (W[:1], Z[:1, :1], A_PREV, Z[:1]), (1.0, W, Z[:1, :1]), ValueError, "as dW float64 array"),
    ("update", (Z, Z, [], np.ones(11), "sgd"), Z, TypeError, "float64 array of shape (3, 4); it should change"),
]


@pytest.mark.parametrize("name, arguments, returned, error, text", RETURNED)
def test_a_wrong_result_is_named(name, arguments, returned, error, text):
    whole = complete(module(**{name: lambda *args: returned}))
    with pytest.raises(error, match=re.escape(f"{name} of kernel set students returned {text}")):
        getattr(whole, name)(*arguments)


@pytest.mark.parametrize(
    "costs, error",
    [
        (None, TypeError),
        ([0.5], TypeError),
        (np.ones(1, "float32"), TypeError),
        (np.ones((1, 1)), ValueError),
        (np.ones(2), ValueError),
        (np.ones(0), ValueError),
    ],
)
def test_wrong_costs_of_an_epoch_are_refused(costs, error):
    with pytest.raises(error, match="train_epoch of kernel set students returned .* should be"):
        train(complete(module(train_epoch=lambda *args, **kwargs: costs)))


def test_results_of_every_kernel_are_checked():
    assert set(results.CHECKS) == set(KERNELS)


@pytest.mark.parametrize("last, ok", [(np.nan, True), (1.0, False)])
def test_an_epoch_is_cut_short_only_by_a_cost_that_is_not_finite(last, ok):
    costs = np.array([1.0, last])
    whole = complete(module(train_epoch=lambda *args, **kwargs: costs))
    arguments = [Z], Z, Z, None, 1, [], "linear", None, "sgd", [], np.ones((4, len(COEFFICIENTS)))
    if ok:
        assert whole.train_epoch(*arguments) is costs
        return
    with pytest.raises(ValueError, match="for 4 steps, should be a cost for each"):
        whole.train_epoch(*arguments)


def test_the_forms_of_a_result_that_are_taken():
    """A cost as numpy.squeeze makes it, a list for a tuple, columns that are contiguous where rows should be."""

    def output_head(*arguments):
        cost, dZ = vectorized.output_head(*arguments)
        return [np.array(cost), np.asfortranarray(dZ)]

    whole = complete(module(output_head=output_head))
    cost, dZ = whole.output_head(Z, Z + 1, "squared_error", "linear")
    assert type(cost) is float and dZ.flags.c_contiguous
    same(train(whole), train(loops))
    first = complete(module(layer_backward=lambda *arguments: (W, COLUMN, A_PREV)))
    assert first.layer_backward(Z, W, A_PREV, None, None)[2] is None  # nothing uses it


def test_none_of_the_names_is_refused():
    with pytest.raises(ValueError, match="kernel set students has no function of a kernel's name: dot, "):
        complete(module(rely=np.abs))
    with pytest.raises(ValueError, match="kernel set NoneType has no function"):
        complete(None)


@pytest.mark.parametrize("kernels", [loops, vectorized], ids=["loops", "vectorized"])
def test_forward_and_backward(kernels):
    """Gradients of a network against differences of its cost."""
    g = rng("passes")
    activations = ["tanh", "elu(1.5)"]
    arrays = parameters(g, (3, 4, 2, 1), "float64")
    X, Y = normal(g, (3, 5)), normal(g, (1, 5))

    def cost():
        return kernels.output_head(
            composition.forward(kernels, arrays, X, activations)[1], Y, "squared_error", "linear"
        )

    caches, _ = composition.forward(kernels, arrays, X, activations)
    assert [(Z.shape, A.shape) for Z, A in caches] == [((4, 5), (4, 5)), ((2, 5), (2, 5))]
    gradients = composition.backward(kernels, arrays, X, caches, cost()[1], activations)
    h = 1e-5
    for array, gradient in zip(arrays, gradients, strict=True):
        assert gradient.shape == array.shape
        for index in np.ndindex(array.shape):
            value = array[index]
            array[index] = value + h
            above = cost()[0]
            array[index] = value - h
            below = cost()[0]
            array[index] = value
            tolerances.close(gradient[index], (above - below) / (2 * h), tolerances.differences(50.0, h))


def test_a_kernel_that_changes_its_argument_is_told():
    """relu in place would make z of a dead unit 0, where the derivative is 1: training would go wrong silently."""

    class InPlace:
        @staticmethod
        def relu(Z):
            return np.maximum(Z, 0, out=Z)

    whole = composition.complete(InPlace())
    with pytest.raises(ValueError, match="relu of kernel set InPlace changes its argument 1"):
        whole.relu(np.array([[-1.0, 2.0]]))
    assert (whole.relu(np.array([[1.0, 2.0]])) == [[1, 2]]).all()
