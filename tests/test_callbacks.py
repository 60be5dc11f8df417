"""Callbacks, early stopping, the history, the progress bar."""

import io
import json
import math
import pickle
import re

import numpy as np
import pytest

from jitprop.callbacks import Callback, EarlyStopping
from jitprop.history import History
from jitprop.network import Network
from jitprop.optimizers import SGD, Adam
from jitprop.progress import Progress


@pytest.fixture
def data():
    rng = np.random.default_rng(3)
    X = rng.standard_normal((4, 60))
    return X, (X[0] * X[1] > 0).astype(float)


def network(seed=0, **options):
    return Network([4, 8, 1], "tanh", "sigmoid", seed=seed, kernels="vectorized", **options)


def values(net):
    return [array.copy() for array in net.parameters.values()]


def same(left, right):
    return all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))


def test_callbacks_see_every_epoch_and_may_stop(data):
    events = []

    class Recorder(Callback):
        def on_train_begin(self, net, history):
            events.append("begin")

        def on_epoch_end(self, net, history):
            events.append((net.epochs_trained, len(history)))
            return len(history) == 3

        def on_train_end(self, net, history):
            events.append(history.stopped)

    net = network()
    history = net.fit(*data, epochs=10, batch_size=16, callbacks=Recorder())
    assert events == ["begin", (1, 1), (2, 2), (3, 3), "early"]
    assert history.stopped == "early" and len(history) == 3 and history.restored_epoch is None


def test_functions_are_callbacks(data):
    seen = []
    history = network().fit(*data, epochs=3, callbacks=[lambda net, history: seen.append(len(history))])
    assert seen == [1, 2, 3] and history.stopped is None
    for answer in (True, np.True_):
        stop = network().fit(*data, epochs=3, callbacks=lambda net, history, answer=answer: answer)
        assert len(stop) == 1 and stop.stopped == "early"


@pytest.mark.parametrize("wrong", ["early", 3, [3], [EarlyStopping], EarlyStopping])
def test_refused_callbacks(data, wrong):
    net = network()
    before = values(net)
    with pytest.raises(TypeError, match="callbacks"):
        net.fit(*data, callbacks=wrong)
    assert same(before, values(net)) and net.optimizer is None


def test_an_exception_leaves_the_network_consistent(data):
    def fail(net, history):
        if len(history) == 2:
            raise ArithmeticError("enough")

    net, twin = network(), network()
    with pytest.raises(ArithmeticError, match="enough"):
        net.fit(*data, epochs=5, batch_size=16, callbacks=fail)
    twin.fit(*data, epochs=2, batch_size=16)
    assert same(values(net), values(twin))
    assert (net.epochs_trained, net.steps_trained, net.optimizer_steps) == (2, 8, 8)
    net.fit(*data, epochs=3, batch_size=16)
    twin.fit(*data, epochs=3, batch_size=16)
    assert same(values(net), values(twin))


def test_a_callback_may_change_parameters(data):
    def halve(net, history):
        net.parameters["W1"] = net.parameters["W1"] / 2

    net, twin = network(), network()
    net.fit(*data, epochs=3, batch_size=16, callbacks=halve)
    for _ in range(3):
        twin.fit(*data, epochs=1, batch_size=16)
        halve(twin, None)
    assert same(values(net), values(twin))


def test_early_stopping_restores_the_best(data):
    seen = []
    optimizer = Adam(0.05)
    stopping = EarlyStopping(patience=4)
    net = network()
    history = net.fit(
        *data,
        epochs=500,
        batch_size=8,
        optimizer=optimizer,
        validation_data=0.3,
        callbacks=[lambda n, h: seen.append((values(n), n.optimizer_steps)) and None, stopping],
    )
    best = int(np.argmin(history.validation_cost))
    assert history.stopped == "early"
    assert len(history) == best + 1 + 4 and history.restored_epoch == best == stopping.best_epoch
    assert same(values(net), seen[best][0]) and net.optimizer_steps == seen[best][1]
    assert net.epochs_trained == len(history)
    assert "stopped early, parameters of epoch" in str(history)


def test_early_stopping_restores_when_epochs_run_out(data):
    net = network()
    history = net.fit(*data, epochs=3, optimizer=SGD(30.0), callbacks=EarlyStopping("cost", patience=100))
    best = int(np.argmin(history.cost))
    assert history.stopped is None
    assert history.restored_epoch == (None if best == 2 else best)


def test_early_stopping_without_restoring(data):
    net, twin = network(), network()
    stopping = EarlyStopping("cost", patience=2, minimum_change=10.0, restore_best=False)
    history = net.fit(*data, epochs=20, callbacks=[stopping])
    assert len(history) == 3 and history.restored_epoch is None
    twin.fit(*data, epochs=3)
    assert same(values(net), values(twin))


def test_early_stopping_on_what_should_rise(data):
    stopping = EarlyStopping("validation_accuracy", patience=3)
    history = network().fit(*data, epochs=200, batch_size=8, validation_data=data, callbacks=stopping)
    series = history.metrics["validation_accuracy"]
    assert history.restored_epoch is None or series[history.restored_epoch] == max(series)


def test_early_stopping_starts_anew_with_every_fit(data):
    net, stopping = network(), EarlyStopping("cost", patience=1, minimum_change=10.0)
    assert len(net.fit(*data, epochs=9, callbacks=stopping)) == 2
    assert len(net.fit(*data, epochs=9, callbacks=stopping)) == 2


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"monitor": 3}, TypeError, "monitor"),
        ({"patience": 0}, ValueError, "patience"),
        ({"patience": 1.5}, TypeError, "patience"),
        ({"minimum_change": -1}, ValueError, "minimum_change"),
        ({"restore_best": "yes"}, TypeError, "restore_best"),
    ],
)
def test_early_stopping_refuses(options, error, words):
    with pytest.raises(error, match=words):
        EarlyStopping(**options)


@pytest.mark.parametrize("monitor", ["validation_cost", "accuracy"])
def test_early_stopping_needs_what_it_monitors(data, monitor):
    net = network()
    with pytest.raises(ValueError, match=f"{monitor}.*accepted: cost; others need validation_data"):
        net.fit(*data, callbacks=EarlyStopping(monitor))
    assert net.steps_trained == 0 and net.optimizer is None


def test_history(data):
    net = network()
    history = net.fit(*data, epochs=12, batch_size=16, optimizer=SGD(0.1), validation_data=0.25)
    assert len(history) == len(history.cost) == len(history.validation_cost) == len(history.seconds) == 12
    assert list(history.metrics) == ["validation_accuracy"] and history.learning_rate == [0.1] * 12
    assert history.names == ["cost", "validation_cost", "validation_accuracy"]
    assert all(type(value) is float for value in history.cost + history.validation_cost)
    assert history == pickle.loads(pickle.dumps(history))
    assert history == History.from_dict(json.loads(json.dumps(history.to_dict())))
    lines = str(history).splitlines()
    assert lines[0].startswith("epoch 1  cost ") and "validation accuracy" in lines[0]
    assert re.fullmatch(r"12 epochs in \S+ s", lines[-1]) and len(lines) == 11
    with pytest.raises(ValueError, match="nothing called 'loss'.*validation_accuracy"):
        history.series("loss")


def test_history_of_nothing(data):
    history = network().fit(*data, epochs=0)
    assert str(history) == "no epoch completed" and len(history) == 0


def test_history_keeps_what_json_cannot_say():
    history = History([1.0], [math.nan], {"validation_r2": [math.inf]}, [0.1], [0.2])
    twin = History.from_dict(json.loads(json.dumps(history.to_dict(), allow_nan=False)))
    assert math.isnan(twin.validation_cost[0]) and twin.cost == [1.0]


@pytest.mark.parametrize(
    "change",
    [{"cost": None}, {"cost": ["1"]}, {"cost": [1.0, 2.0]}, {"metrics": []}, {"stopped": "so"}, {"more": 1}],
)
def test_history_refuses(change):
    with pytest.raises(ValueError, match="history"):
        History.from_dict(History([1.0], [], {}, [0.1], [0.2]).to_dict() | change)


def test_lines(data, capsys):
    network().fit(*data, epochs=3, verbose=True)
    out, err = capsys.readouterr()
    assert [line.split("  ")[0] for line in out.splitlines()] == ["epoch 1", "epoch 2", "epoch 3"] and not err


@pytest.mark.parametrize("verbose", [None, False])
def test_quiet_when_nobody_looks(data, capsys, verbose):
    network().fit(*data, epochs=3, verbose=verbose)
    assert capsys.readouterr() == ("", "")


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("columns", [80, 30, 8])
def test_bar(monkeypatch, columns):
    """Nothing in the first second; then a line that fits and ends wiped."""
    now = [100.0]
    monkeypatch.setattr("jitprop.progress.time.monotonic", lambda: now[0])
    monkeypatch.setenv("COLUMNS", str(columns))
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    progress = Progress(10, None)
    progress.step(0.5, 0.25)
    assert terminal.getvalue() == ""
    now[0] += 2.0
    progress.step(5.0, 0.25)
    drawn = terminal.getvalue()
    assert drawn.startswith("\r") and len(drawn) == columns
    if columns == 80:
        assert "epoch 6/10  cost 0.25  0:02 left" in drawn and "####" in drawn
    progress.step(5.1, 0.25)
    assert terminal.getvalue() == drawn  # too soon to draw again
    progress.close()
    assert terminal.getvalue().endswith("\r" + " " * (columns - 1) + "\r")


def test_time_left_leaves_compiling_out(monkeypatch):
    now, compiled = [100.0], [0.0]
    monkeypatch.setattr("jitprop.progress.time.monotonic", lambda: now[0])
    monkeypatch.setattr("jitprop.progress.compile_seconds", lambda: compiled[0])
    monkeypatch.setenv("COLUMNS", "80")
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    progress = Progress(10, None)

    def drawn(seconds, compiling, epochs):
        now[0] += seconds + compiling
        compiled[0] += compiling
        terminal.truncate(0)
        progress.step(epochs, 0.25)
        return terminal.getvalue()

    assert "epoch 1/10  cost 0.25" in (first := drawn(1.0, 8.0, 0.1)) and "left" not in first
    assert "0:09 left" in drawn(0.9, 0.0, 1.0)
    assert "0:08 left" in drawn(1.0, 5.0, 2.0)  # validation compiles kernels of its own


def test_bar_without_a_console(monkeypatch, data):
    monkeypatch.setattr("sys.stderr", None)
    network().fit(*data, epochs=1)
