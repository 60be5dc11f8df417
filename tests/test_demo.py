"""The demonstration, its data and its plots."""

import sys

import numpy as np
import pytest

from jitprop import Network, datasets, demo, plots, textplots
from jitprop.cli import main

PNG = b"\x89PNG\r\n"


# data


@pytest.mark.parametrize(("name", "n_x", "m"), [("digits", 64, 1797), ("cancer", 30, 569), ("diabetes", 10, 442)])
def test_data_have_the_courses_shapes_and_are_standardized(name, n_x, m):
    data = datasets.load(name, test_fraction=0.25, dtype="float64")
    training, held = data.X.shape[1], data.X_test.shape[1]
    assert data.X.shape[0] == data.X_test.shape[0] == n_x and training + held == m
    assert held == pytest.approx(m / 4, abs=6)
    assert data.Y.shape == (training,) and data.Y_test.shape == (held,)
    assert data.X.T.flags.c_contiguous and data.X.dtype == np.float64
    assert data.X.mean() == pytest.approx(0, abs=1e-12) and data.X.std() == pytest.approx(1)
    if name == "diabetes":
        assert data.labels == () and data.Y.std() == pytest.approx(1)
        assert 25 <= (data.offset + data.scale * data.Y).min() < 26
    else:
        shares = [np.bincount(Y) / len(Y) for Y in (data.Y, data.Y_test)]
        np.testing.assert_allclose(*shares, atol=0.02)
        assert len(data.labels) == len(shares[0])


def test_the_seed_decides_who_is_held_out():
    same, again, other = (datasets.load("cancer", seed=seed).X_test for seed in (1, 1, 2))
    np.testing.assert_array_equal(same, again)
    assert not np.array_equal(same, other)


def test_unknown_data_and_absent_scikit_learn(monkeypatch):
    with pytest.raises(ValueError, match="unknown data 'iris'; accepted: digits, cancer, diabetes"):
        datasets.load("iris")
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r"pip install 'jitprop\[sklearn\]'"):
        datasets.load("digits")


def test_petals_need_a_hidden_layer():
    X, Y = datasets.petals(400, seed=3)
    assert X.shape == (2, 400) and Y.shape == (1, 400) and Y.mean() == 0.5
    accuracy = {}
    for hidden in ((), (16,)):
        network = Network([2, *hidden, 1], "tanh", "sigmoid", seed=0, kernels="vectorized")
        network.fit(X, Y, epochs=150, batch_size=20, verbose=False)
        network.fit(X, Y, epochs=150, batch_size=20, verbose=False)
        accuracy[hidden] = network.evaluate(X, Y)["accuracy"]
    assert accuracy[()] < 0.65 and accuracy[(16,)] > 0.85


@pytest.mark.parametrize("leaves", [0, 3])
def test_petals_take_turns(leaves):
    with pytest.raises(ValueError, match="even number"):
        datasets.petals(leaves=leaves)


# plots


def test_curves_fit_a_terminal_and_show_every_series():
    text = textplots.curves({"cost": [3.0, 1.0, 0.1], "held-out cost": [2.0, 2.0, 2.0]})
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80 and "(logarithmic)" in lines[-1]
    assert "* cost" in lines[-1] and "o held-out cost" in lines[-1]
    assert lines[0].strip().startswith("3 |*")


@pytest.mark.parametrize("values", [[1.0], [2.0, 2.0], [float("nan"), 1.0], [float("inf")], [-1.0, 100.0], []])
def test_curves_of_strange_values(values):
    assert textplots.curves({"cost": values})


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (12.34, "12.3 s"),
        (1234.5, "1234 s"),
        (0.9996, "1 s"),
        (0.5, "500 ms"),
        (2.5e-6, "2.5 µs"),
        (3e-9, "3 ns"),
        (0.0, "0 ns"),
    ],
)
def test_durations(seconds, text):
    assert textplots.duration(seconds) == text


@pytest.mark.parametrize("shortest", [1e-6, 1e-3, 25.0])
def test_the_texts_of_bars_stay_in_the_frame(shortest):
    pytest.importorskip("matplotlib")
    figure, axes = plots.new_figure(width=5.5, height=3.2)
    plots.bars(axes, {"loops": 29.3, "JIT": shortest}, {"loops": "29.3 s (from a part)", "JIT": "1 ms"})
    figure.canvas.draw()
    frame = axes.get_window_extent()
    assert all(text.get_window_extent().x1 < frame.x1 for text in axes.texts)


def test_a_picture_of_a_decision_boundary(tmp_path):
    X, Y = datasets.petals(60)
    network = Network([2, 4, 1], "tanh", "sigmoid", seed=0, kernels="vectorized")
    figure, axes = plots.new_figure()
    plots.decision_boundary(axes, network, X, Y, "petals")
    plots.save(figure, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(PNG)
    with pytest.raises(ValueError, match="unknown kind of picture 'doc'"):
        plots.save(figure, tmp_path / "picture.doc")
    with pytest.raises(ValueError, match="two inputs and one sigmoid output, got 3, 1 and sigmoid"):
        plots.decision_boundary(axes, Network([3, 1], output="sigmoid", seed=0), X, Y)


def test_pictures_without_matplotlib_name_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'jitprop\[plot\]'"):
        plots.new_figure()


# the demonstration


def test_the_demonstration_on_all_data(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--quick", "--epochs", "3"]) == 0
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines()[:-1])) <= 80  # the last one holds a path
    for part in (
        "handwritten digits",
        "breast cancer",
        "diabetes",
        "held-out accuracy",
        "held-out r2",
        "NumPy",
        "JIT",
    ):
        assert part in said
    assert said.count("agree to rounding") == 3 and said.count("\nloops ") == 3
    assert "* measured on" in said and "of 1438 examples" in said
    assert (tmp_path / "jitprop-demo.png").read_bytes().startswith(PNG)


def test_the_demonstration_without_matplotlib(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["demo", "--quick", "--data", "diabetes", "--epochs", "2"]) == 0
    assert "no picture: pictures need matplotlib: pip install 'jitprop[plot]'" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_the_recipes_learn():
    for name, most in {"digits": 0.94, "cancer": 0.95, "diabetes": 0.4}.items():
        data, recipe = datasets.load(name), demo.RECIPES[name]
        network = demo.new_network(data, recipe, "vectorized")
        demo.fit(network, data.X, data.Y, recipe, recipe.epochs, verbose=False)
        found = network.evaluate(data.X_test, data.Y_test)
        assert found["accuracy" if data.labels else "r2"] > most


def test_a_kernel_set_that_disagrees_is_told(monkeypatch, capsys):
    data, recipe = datasets.load("diabetes"), demo.RECIPES["diabetes"]
    timings = {name: demo.time_epoch(data, recipe, "vectorized", 64) for name in ("vectorized", "jit")}
    difference, allowed = demo.agreement(data, recipe, timings)
    assert difference == 0 < allowed
    timings["jit"].network.parameters["W2"][0, 3] += 1e-3
    difference, allowed = demo.agreement(data, recipe, timings)
    assert difference == pytest.approx(1e-3, rel=1e-3) and difference > allowed
    monkeypatch.setattr(demo, "agreement", lambda *arguments: (1.0, 0.1))
    assert main(["demo", "--quick", "--data", "diabetes", "--epochs", "1", "--plot", "/dev/null"]) == 1
    assert "DO NOT AGREE" in capsys.readouterr().out
