"""The fit loop: the same bits however it is cut, and a usable network whatever happens."""

import inspect
import math
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import types

import numpy as np
import pytest

from jitprop import modelfile, steps
from jitprop.callbacks import Callback, EarlyStopping
from jitprop.checkpoints import Checkpoint
from jitprop.examples import split
from jitprop.gradcheck import gradcheck
from jitprop.modelfile import ModelFileError
from jitprop.network import Network
from jitprop.optimizers import SGD, Adam, AdamW, RMSProp
from jitprop.schedules import Cosine, Step, WarmUp
from jitprop.trace import trace
from jitprop.training import DivergenceError, fit
from jitprop_kernels import vectorized

SETS = ("vectorized", "jit")


@pytest.fixture
def data():
    rng = np.random.default_rng(5)
    X = rng.standard_normal((4, 50))
    return X, (X[0] + X[1] * X[2] > 0).astype(float)


def network(kernels="vectorized", **options):
    return Network(
        [4, 7, 5, 1], **{"activation": "tanh", "output": "sigmoid", "seed": 11, "kernels": kernels} | options
    )


def state(net):
    """Everything that training changes."""
    arrays = [*net.parameters.arrays, *(array for slot in net.optimizer_state for array in slot)]
    counters = np.array([net.epochs_trained, net.steps_trained, net.optimizer_steps])
    return [np.array(array) for array in arrays] + [counters]


def assert_same(left, right):
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        np.testing.assert_array_equal(a, b)


def test_help_says_what_the_parameters_are():
    text = inspect.getdoc(Network.fit)
    ours, inner = inspect.signature(Network.fit), inspect.signature(fit)
    names = re.findall(r"^(\w+) : ", text, re.MULTILINE)
    assert names == list(ours.parameters)[1:] == list(inner.parameters)[1:]
    assert [p.default for p in ours.parameters.values()] == [p.default for p in inner.parameters.values()]
    assert all(f"\n{title}\n---" in text for title in ("Parameters", "Returns", "Raises", "Notes"))
    assert "Network.fit" in fit.__doc__


@pytest.mark.parametrize("function", [Network, *filter(inspect.isfunction, vars(Network).values()), gradcheck, trace])
def test_help_names_what_is_like_an_array(function):
    """Without the twenty types that NumPy's ArrayLike stands for, which make a line of a thousand characters."""
    assert "_SupportsArray" not in str(inspect.signature(function))


# The same bits


@pytest.mark.parametrize("kernels", SETS)
@pytest.mark.parametrize("batch_size", [None, 8, 50, 1])
@pytest.mark.parametrize(
    "optimizer",
    [SGD(0.1, momentum=0.9), Adam(Cosine(0.01, 8)), RMSProp(WarmUp(Step(0.01, every=2.5), 1.5)), AdamW()],
    ids=lambda optimizer: type(optimizer).__name__,
)
def test_two_calls_are_one(data, optimizer, batch_size, kernels):
    options = {"batch_size": batch_size, "dropout": 0.2, "l2": 0.1}
    whole, parts = (network(kernels, dropout=0.2, l2=0.1) for _ in range(2))
    del options["dropout"], options["l2"]
    history = whole.fit(*data, epochs=5, optimizer=optimizer, **options)
    first = parts.fit(*data, epochs=2, optimizer=optimizer, **options)
    second = parts.fit(*data, epochs=3, **options)
    assert_same(state(whole), state(parts))
    assert history.cost == first.cost + second.cost
    assert history.learning_rate == first.learning_rate + second.learning_rate


@pytest.mark.parametrize("twin", [lambda n: n.copy(), lambda n: pickle.loads(pickle.dumps(n))])
def test_copies_go_on_alike(data, twin):
    net = network()
    net.fit(*data, epochs=2, batch_size=8)
    other = twin(net)
    for each in (net, other):
        each.fit(*data, epochs=2, batch_size=8)
    assert_same(state(net), state(other))


def test_seed_fixes_everything(data):
    nets = [network(seed=seed, dropout=0.3) for seed in (1, 1, 2)]
    for net in nets:
        net.fit(*data, epochs=3, batch_size=8, validation_data=0.2)
    assert_same(state(nets[0]), state(nets[1]))
    assert not np.array_equal(nets[0].parameters["W1"], nets[2].parameters["W1"])


@pytest.mark.parametrize("kernels", SETS)
def test_slices_change_nothing(data, monkeypatch, kernels):
    whole = network(kernels, dropout=[0.1, 0.2, 0.0])
    whole.fit(*data, epochs=3, batch_size=3)
    for seconds in (1e-9, 10.0):
        monkeypatch.setattr(steps, "SLICE", seconds)
        net = network(kernels, dropout=[0.1, 0.2, 0.0])
        net.fit(*data, epochs=3, batch_size=3)
        assert_same(state(net), state(whole))


def test_layout_and_dtype_of_X_change_nothing(data):
    X, Y = data
    nets = []
    for x in (
        X.astype("f4"),
        np.asfortranarray(X.astype("f4")),
        X.astype("f4").astype("f8"),
        X.astype("f4").tolist(),
    ):
        nets.append(network())
        nets[-1].fit(x, Y, epochs=2, batch_size=8)
    for net in nets[1:]:
        assert_same(state(net), state(nets[0]))


def test_every_example_is_visited_once(data):
    X, Y = data
    seen = []

    def train_epoch(parameters, X, Y, order, *arguments, **options):
        seen.append(order)
        return vectorized.train_epoch(parameters, X, Y, order, *arguments, **options)

    net = network(kernels=types.SimpleNamespace(train_epoch=train_epoch))
    net.fit(X, Y, epochs=1, batch_size=8)
    net.fit(X, Y, epochs=1, batch_size=8)
    orders = np.split(np.concatenate(seen), 2)
    for order in orders:
        assert sorted(order) == list(range(50))
    assert not np.array_equal(orders[0], orders[1])
    first = np.random.default_rng(net.seed).permutation(50)  # of the generator that draws the initial values
    assert not np.array_equal(orders[0], first)
    seen.clear()
    net.fit(X, Y, epochs=1, batch_size=8, shuffle=False)
    assert np.concatenate(seen).tolist() == list(range(50))
    seen.clear()
    net.fit(X, Y, epochs=3)  # all in order are read where they lie, in the second call twice
    assert seen == [None, None]


@pytest.mark.parametrize("batch_size", [None, 25, 10])
def test_epochs_that_go_together(data, batch_size):
    """What a call of the kernels does in one go is what it does when a callback looks after every epoch."""
    together, apart = network(dropout=0.2), network(dropout=0.2)
    options = {"epochs": 40, "batch_size": batch_size, "optimizer": Adam(Cosine(0.1, 30))}
    history = together.fit(*data, **options)
    other = apart.fit(*data, **options, callbacks=lambda net, history: None)
    assert_same(state(together), state(apart))
    assert history.cost == other.cost and history.learning_rate == other.learning_rate
    assert len(history.seconds) == 40


def test_full_batch_is_gradient_descent(data):
    net, by_hand = network(dtype="float64"), network(dtype="float64")
    net.fit(*data, epochs=4, optimizer=SGD(0.5))
    for _ in range(4):
        for name, gradient in by_hand.gradients(*data).items():
            by_hand.parameters[name[1:]] -= 0.5 * gradient
    for name, array in net.parameters.items():
        np.testing.assert_allclose(array, by_hand.parameters[name], rtol=0, atol=1e-14)


# The optimizer's state


def test_an_equal_optimizer_goes_on_and_another_starts_afresh(data):
    net = network()
    net.fit(*data, epochs=2, batch_size=8, optimizer=Adam(0.01))
    kept = net.optimizer_state
    net.fit(*data, epochs=1, batch_size=8, optimizer=Adam(0.01))
    assert net.optimizer_state is kept and net.optimizer_steps == 21
    net.fit(*data, epochs=1, batch_size=8, optimizer=Adam(0.02))
    assert net.optimizer_state is not kept
    assert (net.steps_trained, net.optimizer_steps) == (28, 7)


def test_the_first_optimizer(data):
    net = network()
    net.fit(*data, epochs=1)
    assert net.optimizer == Adam()


# Sample weights


@pytest.mark.parametrize("kernels", SETS)
def test_weights_repeat_examples(data, kernels):
    X, Y = data
    repeats = np.arange(50) % 3 + 1
    weighted, repeated = (network(kernels, dtype="float64", l2=0.2) for _ in range(2))
    history = weighted.fit(X, Y, epochs=5, sample_weight=repeats, optimizer=SGD(0.1, momentum=0.5))
    other = repeated.fit(X.repeat(repeats, axis=1), Y.repeat(repeats), epochs=5, optimizer=SGD(0.1, momentum=0.5))
    np.testing.assert_allclose(history.cost, other.cost, rtol=1e-13)
    for name, array in weighted.parameters.items():
        np.testing.assert_allclose(array, repeated.parameters[name], rtol=0, atol=1e-13)


@pytest.mark.parametrize("batch_size", [None, 8, 40])
def test_weight_zero_leaves_out(data, batch_size):
    X, Y = data
    weight = (np.arange(50) % 5 > 0).astype(float) * 2
    weighted, without = network(), network()
    history = weighted.fit(X, Y, epochs=3, batch_size=batch_size, sample_weight=weight)
    other = without.fit(
        X[:, weight > 0], Y[weight > 0], epochs=3, batch_size=batch_size, sample_weight=weight[weight > 0]
    )
    assert history.cost == pytest.approx(other.cost, rel=1e-6)
    for name, array in weighted.parameters.items():
        np.testing.assert_allclose(array, without.parameters[name], rtol=0, atol=1e-6)


# Validation


def test_validation_share_is_drawn_from_the_seed():
    train, held = split(50, 0.2, 3)
    assert held.size == 10 and sorted([*train, *held]) == list(range(50))
    assert np.array_equal(held, split(50, 0.2, 3)[1])
    assert not np.array_equal(held, split(50, 0.2, 4)[1])
    assert split(2, 0.01, 0)[1].size == 1 and split(2, 0.99, 0)[0].size == 1


def test_validation_share_is_like_giving_it(data):
    X, Y = data
    weight = np.linspace(0.5, 1.5, 50)
    share, given = network(), network()
    history = share.fit(X, Y, epochs=4, batch_size=8, validation_data=0.2, sample_weight=weight)
    train, held = split(50, 0.2, share.seed)
    other = given.fit(
        X[:, train],
        Y[train],
        epochs=4,
        batch_size=8,
        validation_data=(X[:, held], Y[held], weight[held]),
        sample_weight=weight[train],
    )
    assert_same(state(share), state(given))
    assert history.validation_cost == other.validation_cost and history.metrics == other.metrics
    found = share.evaluate(X[:, held], Y[held], weight[held])
    assert found["cost"] == history.validation_cost[-1]
    assert found["accuracy"] == history.metrics["validation_accuracy"][-1]


def test_validation_of_a_regression(data):
    net = Network([4, 5, 1], output="linear", seed=0, kernels="vectorized")
    history = net.fit(*data, epochs=2, validation_data=0.5)
    assert list(history.metrics) == ["validation_r2", "validation_mean_absolute_error"]


# Bad input


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"epochs": -1}, ValueError, "epochs"),
        ({"epochs": 2.0}, TypeError, "epochs"),
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"batch_size": 51}, ValueError, "batch_size must be from 1 to m = 50, got 51"),
        ({"batch_size": 45, "validation_data": 0.2}, ValueError, "m = 50 - 10 for validation"),
        ({"batch_size": "8"}, TypeError, "batch_size"),
        ({"optimizer": "adam"}, TypeError, r"optimizer must be one of SGD, .* got str; give Adam\(\), not 'adam'$"),
        ({"optimizer": "RmsProp"}, TypeError, r"give RMSProp\(\), not 'RmsProp'$"),
        ({"optimizer": SGD}, TypeError, r"got the class SGD; give SGD\(\), not SGD$"),
        ({"optimizer": "newton"}, TypeError, "got str$"),
        ({"optimizer": SGD}, TypeError, "optimizer.*got the class SGD"),
        ({"shuffle": 1}, TypeError, "shuffle"),
        ({"verbose": 2}, TypeError, "verbose"),
        ({"resume": True}, ValueError, "resume=True needs checkpoint"),
        ({"checkpoint": 3}, TypeError, "checkpoint"),
        ({"validation_data": 1.0}, ValueError, "validation_data"),
        ({"validation_data": 0}, ValueError, "validation_data"),
        ({"validation_data": "0.2"}, TypeError, "validation_data"),
        ({"validation_data": ([1.0],)}, ValueError, "validation_data has 1 entries"),
        ({"validation_data": (np.zeros((3, 2)), [0, 1])}, ValueError, "X of validation_data has shape"),
        ({"validation_data": (np.zeros((4, 2)), [0, 2])}, ValueError, "Y of validation_data"),
        ({"sample_weight": np.zeros(50)}, ValueError, "sample_weight"),
        ({"sample_weight": np.eye(50)[0], "validation_data": 0.5}, ValueError, "sample_weight"),
    ],
)
def test_refused(data, options, error, words):
    net = network()
    before = state(net)
    with pytest.raises(error, match=words):
        net.fit(*data, **options)
    assert_same(before, state(net))
    assert net.optimizer is None


def test_one_training_at_a_time(data):
    net = network()
    errors = []

    def again(net, history):
        try:
            net.fit(*data, epochs=1)
        except RuntimeError as error:
            errors.append(str(error))

    net.fit(*data, epochs=1, callbacks=again)
    assert len(errors) == 1 and "another call of fit" in errors[0]
    net.fit(*data, epochs=1)


def test_networks_train_in_threads(data):
    nets = [network() for _ in range(4)]
    threads = [threading.Thread(target=net.fit, args=data, kwargs={"epochs": 3, "batch_size": 8}) for net in nets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for net in nets[1:]:
        assert_same(state(net), state(nets[0]))


# Divergence


@pytest.mark.parametrize("kernels", SETS)
@pytest.mark.parametrize("rate", [1e3, 1e20, 1e38])
def test_divergence_leaves_finite_parameters(data, rate, kernels):
    X, Y = data
    net = Network([4, 7, 1], "relu", "linear", seed=1, kernels=kernels)
    with pytest.raises(DivergenceError, match=r"diverged: in epoch \d+, step \d+ .* learning rate") as caught:
        net.fit(X * 100, Y * 1000, epochs=50, batch_size=8, optimizer=SGD(rate))
    assert all(np.isfinite(array).all() for array in net.parameters.values())
    assert len(caught.value.history) == net.epochs_trained == net.steps_trained // 7
    with np.errstate(over="ignore", invalid="ignore"):  # finite, and huge
        net.predict(X)


def test_divergence_is_found_whatever_the_slices(data, monkeypatch):
    """The last finite parameters are found by repeating steps from the last copy."""
    X, Y = data
    found = []
    for seconds in (1e-9, 10.0):
        monkeypatch.setattr(steps, "SLICE", seconds)
        net = Network([4, 7, 1], "relu", "linear", seed=1, kernels="vectorized")
        with pytest.raises(DivergenceError):
            net.fit(X * 100, Y * 1000, epochs=50, batch_size=8, optimizer=SGD(1e33))
        found.append(state(net))
    assert_same(*found)


def test_parameters_that_are_not_finite_at_the_start(data):
    net = network()
    net.parameters["W1"][0, 0] = np.nan
    with pytest.raises(ValueError, match="W1 of the network holds a number that is not finite"):
        net.fit(*data)
    assert net.optimizer is None
    net = network()
    net.fit(*data, epochs=1)
    net.optimizer_state[1][2][:] = np.inf
    for refusing in (lambda: net.fit(*data), lambda: net.save(os.devnull)):
        with pytest.raises(ValueError, match=r"optimizer.1.W2 of the network holds a number that is not"):
            refusing()


def test_the_last_epoch_is_checked_too(data):
    """A step may overflow after a finite cost, with no step after it to notice."""
    X, Y = data
    net = Network([4, 1], None, "linear", seed=1, kernels="vectorized")
    before = state(net)
    with pytest.raises(DivergenceError, match="a parameter or an average"):
        net.fit(X * 1e6, Y * 1e6, epochs=1, optimizer=SGD(1e38))
    assert_same(before, [np.asarray(array) for array in state(net)])


# Interrupts


class Failing:
    """The NumPy kernels, but that the given call of a function fails in the middle of a step."""

    def __init__(self, call, error=KeyboardInterrupt, name="update"):
        self.calls, self.call, self.error = 0, call, error
        setattr(self, name, self.fail)
        self.function = getattr(vectorized, name)

    def fail(self, *arguments):
        self.calls += 1
        if self.calls == self.call:
            raise self.error("in the middle")
        return self.function(*arguments)


@pytest.mark.parametrize("call", [1, 4, 40, 43, 47])
def test_interrupt_in_a_step(data, call):
    """Six updates a step, seven steps an epoch: the step that was interrupted is undone."""
    net, twin = network(kernels=Failing(call)), network()
    with pytest.warns(RuntimeWarning, match="interrupted after"):
        history = net.fit(*data, epochs=5, batch_size=8)
    assert history.stopped == "interrupted"
    assert net.epochs_trained == len(history) == net.steps_trained // 7
    assert net.steps_trained == net.optimizer_steps <= (call - 1) // 6
    twin.fit(*data, epochs=len(history), batch_size=8)
    if net.steps_trained % 7 == 0:
        assert_same(state(net), state(twin))
    net.fit(*data, epochs=1, batch_size=8)
    assert net.epochs_trained == len(history) + 1


def test_interrupted_steps_are_those_of_an_uninterrupted_run(data, monkeypatch):
    monkeypatch.setattr(steps, "GROWTH", 1)  # slices of one step
    net, counting = network(kernels=Failing(6 * 10 + 3)), network(kernels=Failing(6 * 10 + 1))
    for each in (net, counting):
        with pytest.warns(RuntimeWarning, match="after 1 epoch and 3 of 7 steps"):
            each.fit(*data, epochs=5, batch_size=8)
    assert net.steps_trained == 10
    assert_same(state(net), state(counting))


def test_an_error_in_a_kernel_undoes_the_step(data):
    net = network(kernels=Failing(4, ArithmeticError))
    before = state(net)[:6]
    with pytest.raises(ArithmeticError, match="in the middle"):
        net.fit(*data, epochs=5, batch_size=8)
    assert_same(before, state(net)[:6])
    assert net.steps_trained == 0


def test_a_kernel_that_fails_every_time(data):
    """Repeating the steps fails as well: the network stays at the copy, and so does the history."""

    class Broken(Failing):
        def fail(self, *arguments):
            self.calls += 1
            if self.calls >= self.call:
                raise self.error("in the middle")
            return self.function(*arguments)

    net = network(kernels=Broken(200))
    with pytest.warns(RuntimeWarning, match="interrupted"):
        history = net.fit(*data, epochs=50, batch_size=8)
    assert len(history) == net.epochs_trained == net.steps_trained // 7
    assert all(np.isfinite(array).all() for array in net.parameters.values())


def test_interrupt_in_a_callback(data):
    def interrupt(net, history):
        if len(history) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    net, twin = network(), network()
    with pytest.warns(RuntimeWarning, match="after 2 epochs and 0 of 7 steps"):
        history = net.fit(*data, epochs=5, batch_size=8, callbacks=interrupt)
    assert len(history) == 2 and history.stopped == "interrupted"
    twin.fit(*data, epochs=2, batch_size=8)
    assert_same(state(net), state(twin))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_interrupt_at_the_very_end(data):
    class Late(Callback):
        def on_train_end(self, net, history):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.warns(RuntimeWarning, match="interrupted after 2 epochs"):
        history = network().fit(*data, epochs=2, callbacks=Late())
    assert len(history) == 2 and history.stopped == "interrupted"


def test_interrupt_while_validating(data):
    def output_head(*arguments):
        if not net.epochs_trained:
            return vectorized.output_head(*arguments)
        raise KeyboardInterrupt

    net = network(kernels=types.SimpleNamespace(output_head=output_head))
    with pytest.warns(RuntimeWarning, match="after 1 epoch and"):
        history = net.fit(*data, epochs=3, batch_size=8, validation_data=data)
    assert len(history) == len(history.validation_cost) == net.epochs_trained == 1
    assert math.isnan(history.validation_cost[0])


def test_interrupt_keeps_the_best(data):
    """Early stopping goes back to the best epoch from the middle of a later one."""
    kept = []
    net = network(kernels=Failing(6 * 7 * 2 + 3))
    with pytest.warns(RuntimeWarning, match="interrupted"):
        history = net.fit(
            *data,
            epochs=5,
            batch_size=8,
            callbacks=[lambda net, history: kept.append(state(net)[:18]), EarlyStopping("cost")],
        )
    assert history.restored_epoch == int(np.argmin(history.cost))
    assert_same(state(net)[:18], kept[history.restored_epoch])


@pytest.mark.parametrize("kernels", SETS)
def test_ctrl_c(kernels, tmp_path):
    """A process that is interrupted at any moment of a long training ends it, and can use its network."""
    script = """
import sys, warnings, numpy as np
from jitprop.network import Network
rng = np.random.default_rng(0)
X = rng.standard_normal((20, 2000)); Y = rng.integers(0, 3, 2000)
net = Network([20, 30, 3], seed=0, kernels=sys.argv[1])
net.fit(X, Y, epochs=1, batch_size=32)
ready = lambda net, history: print("ready", flush=True) if len(history) == 1 else None
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    history = net.fit(X, Y, epochs=10**7, batch_size=32, callbacks=ready)
assert history.stopped == "interrupted" and len(caught) == 1, caught
assert net.epochs_trained == len(history) + 1 and net.steps_trained // 63 == net.epochs_trained
assert all(np.isfinite(array).all() for array in net.parameters.values())
net.fit(X, Y, epochs=1, batch_size=32)
print("used")
"""
    command = [sys.executable, "-c", script, kernels]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    assert out == "used\n" and process.returncode == 0


# Checkpoints


@pytest.mark.parametrize("stop", [1, 3, 6])
@pytest.mark.parametrize("every", [1, 4])
def test_resume_gives_the_bits_of_the_whole_run(data, tmp_path, stop, every):
    path = tmp_path / "run.checkpoint"

    def fit(net, epochs, **options):
        return net.fit(
            *data,
            epochs=epochs,
            batch_size=8,
            optimizer=AdamW(Cosine(0.05, 6)),
            validation_data=0.2,
            callbacks=EarlyStopping(patience=2),
            **options,
        )

    whole, stopped, other = network(dropout=0.1), network(dropout=0.1), network(dropout=0.1, seed=99)
    expected = fit(whole, 6)
    fit(stopped, stop, checkpoint=Checkpoint(path, every))
    history = fit(other, 6, checkpoint=Checkpoint(path, every), resume=True)
    assert_same(state(whole), state(other))
    for name in ("cost", "validation_cost", "metrics", "learning_rate", "stopped", "restored_epoch"):
        assert getattr(history, name) == getattr(expected, name), name
    assert other.seed == whole.seed


def test_resume_after_an_interrupt(data, tmp_path):
    path = tmp_path / "run.checkpoint"
    whole, stopped, other = network(), network(kernels=Failing(6 * 7 * 3 + 8)), network()
    whole.fit(*data, epochs=5, batch_size=8)
    with pytest.warns(RuntimeWarning, match="interrupted"):
        stopped.fit(*data, epochs=5, batch_size=8, checkpoint=path)
    history = other.fit(*data, epochs=5, batch_size=8, checkpoint=path, resume=True)
    assert len(history) == 5
    assert_same(state(whole), state(other))
    assert len(other.fit(*data, epochs=5, batch_size=8, checkpoint=path, resume=True)) == 5
    assert_same(state(whole), state(other))


def test_resume_without_a_file_starts(data, tmp_path):
    net, twin = network(), network()
    net.fit(*data, epochs=2, checkpoint=str(tmp_path / "new"), resume=True)
    twin.fit(*data, epochs=2)
    assert_same(state(net), state(twin))
    loaded = Network.load(tmp_path / "new", kernels="vectorized")
    assert_same(state(net), state(loaded))


def test_checkpoints_of_others_are_refused(data, tmp_path):
    path = tmp_path / "run.checkpoint"
    network().fit(*data, epochs=1, optimizer=SGD(0.1), checkpoint=path)
    cases = [
        (network(l2=0.5), {}, ValueError, "another network: its l2 is 0.0, this network's is 0.5"),
        (network(dtype="float64"), {}, ValueError, "another network: its dtype"),
        (network(), {"optimizer": SGD(0.2)}, ValueError, "is the checkpoint of training with SGD"),
    ]
    for net, options, error, words in cases:
        before = state(net)
        with pytest.raises(error, match=words):
            net.fit(*data, epochs=2, checkpoint=path, resume=True, **options)
        assert_same(before, state(net))
    network().save(path)
    with pytest.raises(ModelFileError, match="a model without a checkpoint"):
        network().fit(*data, epochs=2, checkpoint=path, resume=True)
    path.write_bytes(b"nonsense")
    with pytest.raises(ModelFileError, match="run.checkpoint"):
        network().fit(*data, epochs=2, checkpoint=path, resume=True)


@pytest.mark.parametrize(
    "damage",
    [{"best": "x"}, {"best_epoch": -1}, {"waited": None}, {"optimizer_steps": 0.5}, {"callback.0.0": np.nan}],
)
def test_damaged_state_of_early_stopping_is_refused(data, tmp_path, damage):
    path = tmp_path / "run.checkpoint"
    options = {"callbacks": EarlyStopping("cost"), "checkpoint": path}
    network().fit(*data, epochs=2, **options)
    arrays, description = modelfile.read(path)
    for name, value in damage.items():
        if name in arrays:
            arrays[name][:] = value
        else:
            description["checkpoint"]["callbacks"][0]["values"][name] = value
    modelfile.write(path, arrays, description)
    net = network()
    net.fit(*data, epochs=1, optimizer=SGD(0.1))
    before, seed, optimizer = state(net), net.seed, net.optimizer
    with pytest.raises(ModelFileError, match="state of EarlyStopping is damaged"):
        net.fit(*data, epochs=4, resume=True, optimizer=Adam(), **options)
    assert_same(before, state(net))
    assert (net.seed, net.optimizer) == (seed, optimizer) and options["callbacks"].best_epoch is None


@pytest.mark.parametrize("options", [{"path": 3}, {"path": "x", "every": 0}, {"path": "x", "every": 1.5}])
def test_checkpoint_refuses(options):
    with pytest.raises((TypeError, ValueError), match="of Checkpoint"):
        Checkpoint(**options)
