"""Network: its parameters; copies, pickles and files; threads; kernel sets."""

import copy
import pickle
import subprocess
import sys
import threading
import types

import numpy as np
import pytest

from jitprop import SGD, Adam, ModelFileError, Network, modelfile
from jitprop.trace import trace
from jitprop_kernels import vectorized

RNG = np.random.default_rng(0)
X = RNG.normal(size=(5, 11))
LABELS = np.arange(11) % 3


def network(**options):
    return Network(
        [5, 6, 4, 3],
        **({"activation": "tanh", "seed": 3, "dtype": "float64", "kernels": "vectorized"} | options),
    )


# Parameters


def test_parameters_are_views_that_can_be_assigned():
    net = network()
    assert list(net.parameters) == ["W1", "b1", "W2", "b2", "W3", "b3"] and len(net.parameters) == 6
    view = net.parameters["W2"]
    net.parameters["W2"] = np.arange(24).reshape(4, 6)
    assert view is net.parameters["W2"] and view[3, 5] == 23 and view.dtype == np.float64
    view[0, 0] = -1
    assert net.parameters["W2"][0, 0] == -1
    net.parameters["W2"] *= 2
    assert view[0, 0] == -2
    net.parameters = {"b1": np.ones((6, 1))}
    assert (net.parameters["b1"] == 1).all() and view[0, 0] == -2
    assert "W1 (6, 5)" in repr(net.parameters)


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("W1", np.ones((5, 6)), ValueError, r"W1 has shape \(5, 6\), should be \(6, 5\); its transpose"),
        ("b1", np.ones(6), ValueError, r"b1 has shape \(6,\), should be \(6, 1\); rank-1"),
        ("b1", 1.0, ValueError, r"b1 has shape \(\)"),
        ("W1", np.full((6, 5), np.inf), ValueError, r"W1\[0, 0\] is inf"),
        (
            "W1",
            np.full((6, 5), 1e39),
            ValueError,
            r"W1\[0, 0\] is 1e\+39, which is inf in the network's float32",
        ),
        ("W1", np.full((6, 5), "a"), TypeError, "W1 must hold real numbers.*text"),
        ("W1", np.full((6, 5), 1j), TypeError, "W1 must hold real numbers.*complex"),
        ("W9", np.ones((6, 5)), KeyError, "no parameter 'W9'; accepted: W1, b1"),
    ],
)
def test_refused_assignments_change_nothing(name, value, error, message):
    net = network(dtype="float32")
    before = net.parameters.flat.tobytes()
    with pytest.raises(error, match=message):
        net.parameters[name] = value
    with pytest.raises(error, match=message):
        net.parameters.update({"b3": np.ones((3, 1)), name: value})
    assert net.parameters.flat.tobytes() == before


def test_parameters_cannot_be_deleted_or_pickled_alone():
    net = network()
    with pytest.raises(TypeError, match="cannot be deleted"):
        del net.parameters["W1"]
    with pytest.raises(TypeError, match="cannot be deleted"):
        net.parameters.clear()
    with pytest.raises(TypeError, match="parameters must be given as a mapping of names to arrays, got NoneType"):
        net.parameters = None
    with pytest.raises(TypeError, match="belong to their network"):
        pickle.dumps(net.parameters)


# Copies, pickles, files


def trained():
    net = network(l2=0.01, dropout=0.1)
    net.metadata = {"columns": ["a", "b"]}
    net.fit(X, LABELS, epochs=2, batch_size=4, optimizer=Adam(0.01), verbose=False)
    return net


def through_file(net, tmp_path):
    net.save(tmp_path / "model")
    return Network.load(tmp_path / "model")


@pytest.mark.parametrize(
    "twin_of",
    [
        lambda net, path: net.copy(),
        lambda net, path: copy.copy(net),
        lambda net, path: copy.deepcopy(net),
        lambda net, path: pickle.loads(pickle.dumps(net)),
        through_file,
    ],
    ids=["copy", "copy.copy", "deepcopy", "pickle", "file"],
)
def test_a_twin_is_equal_and_independent(twin_of, tmp_path):
    net = trained()
    twin = twin_of(net, tmp_path)
    assert twin.architecture == net.architecture and twin.optimizer == net.optimizer and repr(twin) == repr(net)
    assert (twin.epochs_trained, twin.steps_trained, twin.optimizer_steps, twin.seed) == (2, 6, 6, 3)
    assert twin.parameters.flat.tobytes() == net.parameters.flat.tobytes()
    assert not np.shares_memory(twin.parameters.flat, net.parameters.flat)
    assert all(view.ctypes.data % 64 == 0 and view.base is not None for view in twin.parameters.arrays)
    assert all(np.shares_memory(view, twin.parameters.flat) for view in twin.parameters.values())
    before = net.parameters.flat.copy()
    costs = [each.fit(X, LABELS, epochs=2, batch_size=4, verbose=False).cost for each in (twin, net)]
    assert costs[0] == costs[1]
    assert twin.parameters.flat.tobytes() == net.parameters.flat.tobytes() != before.tobytes()
    assert (twin.predict_proba(X) == net.predict_proba(X)).all()
    twin.metadata["columns"].append("c")
    assert net.metadata == {"columns": ["a", "b"]}


def test_a_copy_shares_nothing_that_training_changes():
    net = trained()
    twin = net.copy()
    before = twin.parameters.flat.tobytes(), twin.optimizer_state[0][0].tobytes()
    net.fit(X, LABELS, epochs=1, verbose=False)
    assert (twin.parameters.flat.tobytes(), twin.optimizer_state[0][0].tobytes()) == before


class Subclass(Network):
    pass


def test_a_subclass_stays_one():
    net = Subclass([2, 2], kernels="vectorized")
    net.note = "kept"
    for twin in (net.copy(), pickle.loads(pickle.dumps(net))):
        assert type(twin) is Subclass and twin.note == "kept"


def test_metadata_goes_into_the_file(tmp_path):
    net = trained()
    assert through_file(net, tmp_path).metadata == {"columns": ["a", "b"]}
    net.save(tmp_path / "other", metadata={"x": [1, None]})
    assert Network.load(tmp_path / "other").metadata == {"x": [1, None]}
    assert Network.load(tmp_path / "other", kernels="loops").kernel_set.name == "loops"


def test_a_file_whose_parts_do_not_fit(tmp_path):
    trained().save(tmp_path / "model")
    tensors, description = modelfile.read(tmp_path / "model")
    architecture = description["architecture"]
    wrong = [
        (dict(list(tensors.items())[1:]), description, "missing: W1"),
        (tensors | {"W1": tensors["W1"].T}, description, "W1 has shape"),
        (tensors | {"W1": tensors["W1"] * np.nan}, description, "W1.*nan"),
        (tensors | {"W1": tensors["W1"].astype(np.float32)}, description, "W1 is float32"),
        (tensors | {"optimizer.2.W1": tensors["W1"]}, description, "optimizer.2"),
        (tensors, description | {"more": 1}, "more"),
        (tensors, description | {"seed": -1}, "seed"),
        (tensors, description | {"epochs_trained": "two"}, "epochs_trained"),
        (tensors, description | {"kernels": "os.system"}, "kernels"),
        (tensors, description | {"optimizer": {"name": "Magic"}}, "optimizer"),
        (tensors, description | {"optimizer": None}, "optimizer"),
        (tensors, description | {"architecture": architecture | {"units": [5, 6, 4, 10**9]}}, "W3"),
        (tensors, description | {"architecture": architecture | {"activations": ["tanh", "eval"]}}, "eval"),
        (tensors, description | {"architecture": architecture | {"dtype": ["f4"]}}, "dtype"),
        (tensors, description | {"architecture": []}, "architecture"),
    ]
    for arrays, described, message in wrong:
        modelfile.write(tmp_path / "wrong", arrays, described)
        with pytest.raises(ModelFileError, match=message):
            Network.load(tmp_path / "wrong")


# One call of fit at a time


def test_fit_is_exclusive_and_predict_is_shared():
    net = network()
    seen = []

    def second(network, history):
        with pytest.raises(RuntimeError, match="being trained by another call"):
            network.fit(X, LABELS, epochs=1, verbose=False)
        thread = threading.Thread(target=lambda: seen.append(network.predict(X)))
        thread.start()
        thread.join()

    net.fit(X, LABELS, epochs=2, callbacks=second, verbose=False)
    assert net.epochs_trained == 2 and len(seen) == 2
    net.fit(X, LABELS, epochs=1, verbose=False)
    assert net.epochs_trained == 3


def test_fit_again_after_an_error():
    net = network()

    def failing(network, history):
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        net.fit(X, LABELS, callbacks=failing, verbose=False)
    net.fit(X, LABELS, epochs=1, verbose=False)


def test_a_network_that_could_not_be_loaded_is_not_saved(tmp_path):
    net = network()
    net.parameters["b2"][0] = np.nan
    with pytest.raises(ValueError, match="b2 of the network holds a number that is not finite"):
        net.save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("metadata", "message"),
    [(5, "metadata must be a mapping, got int"), ({"a": object()}, "metadata holds what JSON cannot say")],
)
def test_metadata_that_cannot_be_saved(tmp_path, metadata, message):
    with pytest.raises(TypeError, match=message):
        network().save(tmp_path / "model", metadata=metadata)


def test_a_seed_is_checked_where_it_is_set():
    net = network()
    for value, error, message in (
        ("x", TypeError, "seed must be an int, got str"),
        (None, TypeError, "seed must be an int, got NoneType"),
        (-1, ValueError, "seed must be from 0 to"),
        (2**63, ValueError, "seed must be from 0 to"),
    ):
        with pytest.raises(error, match=message):
            net.seed = value
    assert net.seed == 3
    net.seed = np.int64(4)
    assert [type(one.seed) is int and one.seed for one in (net, net.copy(), pickle.loads(pickle.dumps(net)))] == [4] * 3


def test_a_path_that_is_none_is_named():
    for call in (network().save, Network.load, trace(network(), X, LABELS).save):
        with pytest.raises(TypeError, match="path must be a path, got NoneType"):
            call(None)


@pytest.mark.parametrize("name", ["seed", "epochs_trained", "steps_trained", "optimizer_steps"])
def test_counters_that_no_training_reaches_are_refused(tmp_path, name):
    arrays, description = network().contents()
    modelfile.write(tmp_path / "model", arrays, description | {name: 2**70})
    with pytest.raises(ModelFileError, match=f"{name} must be from 0 to"):
        Network.load(tmp_path / "model")


# Kernel sets


def test_a_dict_of_kernels_is_refused():
    with pytest.raises(TypeError, match="kernels is a dict; give types.SimpleNamespace"):
        network(kernels={"tanh": vectorized.tanh})


def test_a_kernel_of_one_s_own_is_called():
    calls = []

    def tanh(Z, out=None):
        calls.append(Z.shape)
        return np.tanh(Z)

    own = network(kernels=types.SimpleNamespace(tanh=tanh))
    own.fit(X, LABELS, epochs=3, batch_size=4, optimizer=SGD(0.1), verbose=False)
    assert len(calls) == 3 * 3 * 2
    plain = network()
    plain.fit(X, LABELS, epochs=3, batch_size=4, optimizer=SGD(0.1), verbose=False)
    np.testing.assert_allclose(own.parameters.flat, plain.parameters.flat, rtol=1e-12)


def test_modules_of_kernels():
    assert network(kernels=vectorized).kernel_set.name == "vectorized"
    module = types.ModuleType("student_kernels")
    module.relu = vectorized.relu
    sys.modules["student_kernels"] = module
    try:
        net = network(kernels=module)
        assert "student_kernels kernels" in repr(net)
        twin = pickle.loads(pickle.dumps(net))
        assert (twin.predict_proba(X) == net.predict_proba(X)).all()
        assert (net.copy().predict_proba(X) == net.predict_proba(X)).all()
    finally:
        del sys.modules["student_kernels"]


def sigmiod(Z, out=None):
    return vectorized.sigmoid(Z)


def test_a_misspelt_kernel_is_told(tmp_path):
    module = types.ModuleType(__name__)
    module.sigmiod = sigmiod
    with pytest.raises(ValueError, match="has no function of a kernel's name: .*; did you mean 'sigmoid' by 'sigmiod'"):
        network(kernels=module)
    module.relu = module.relu2 = vectorized.relu
    module.tahn = np.tan  # from elsewhere
    expected = "sigmiod of kernel set .* is not the name of a kernel and is not used; did you mean 'sigmoid'?"
    with pytest.warns(UserWarning, match=expected) as told:
        Network([2, 1], output="sigmoid", kernels=module)
    assert len(told) == 1 and told[0].filename == __file__
    module.sigmoid = vectorized.sigmoid  # now the other is no slip
    Network([2, 1], output="sigmoid", kernels=module).copy()
    with pytest.warns(UserWarning, match="lineal_forward of kernel set SimpleNamespace"):
        network(kernels=types.SimpleNamespace(relu=module.relu, lineal_forward=vectorized.linear_forward))


def test_a_kernel_set_of_one_s_own_is_not_saved(tmp_path):
    net = network(kernels=types.SimpleNamespace(tanh=vectorized.tanh))
    net.save(tmp_path / "model")
    assert Network.load(tmp_path / "model").kernel_set.name == "jit"
    assert Network.load(tmp_path / "model", kernels="vectorized").kernel_set.name == "vectorized"


def test_numba_is_imported_when_it_is_needed():
    script = (
        "import sys, jitprop; net = jitprop.Network([2, 3, 1], output='sigmoid');"
        "net.shapes(); net.copy(); repr(net); assert 'numba' not in sys.modules;"
        "net.kernels; assert 'numba' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_repr_says_what_it_is():
    assert repr(network()) == (
        "<Network 5-6-4-3, tanh, softmax output, cross_entropy, float64, vectorized kernels: "
        "79 parameters, 0 epochs trained>"
    )
