"""The lessons vectorization, logistic, broadcasting, graph, descent, shapes: what they say, and who passes."""

import io
import math
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from jitprop import lessons
from jitprop.cli import main
from jitprop.lessons import broadcasting, descent, graph, logistic, shapes, vectorization

NAMES = ("vectorization", "logistic", "broadcasting", "graph", "descent", "shapes")
COURSE = (*NAMES, "initialization", "activations", "depth", "step", "gradcheck", "images")
SECTIONS = {
    "vectorization": ["NumPy", "first call", "spread", "extrapolated: measured on"],
    "logistic": ["log 2 = 0.6931", "0.014442", "dL/dz = -y (1 - a) + (1 - y) a  =  a - y", "no loop (NumPy)"],
    "broadcasting": ["59    239   155.4     76.9", "94.9", "33.5 percent", "(4, 3)  with (3, 2)  -> refused"],
    "graph": ["e = c d = 6", "2 * 1 + 3 * 1 = 5", "By 0.0501", "a (1 - a) = 0.1966"],
    "descent": ["0.8453, -0.5421", "J = 0.5297", "step 0", "hidden units"],
    "shapes": ["W1 (4, 3)", "245780", "99.92% of 245973", "L = 4", "give X.T"],
}
RIGHT = {
    "vectorization": "def dot(w, x): return (w.T @ x)[0, 0]",
    "logistic": """
def logistic_gradient(W, b, X, Y):
    Z = W @ X + b
    J = np.mean(np.logaddexp(0, Z.astype(float)) - Y * Z)
    dZ = 1 / (1 + np.exp(-Z)) - Y
    return J, dZ @ X.T / X.shape[1], dZ.mean(axis=1, keepdims=True)
""",
    "broadcasting": "def linear_forward(W, A_prev, b): return W @ A_prev + b",
    "graph": """
def sigmoid_derivative(Z):
    a = 1 / (1 + np.exp(-Z))
    return a * (1 - a)
""",
    "descent": """
def descend(W, b, X, Y, learning_rate, iterations):
    for _ in range(iterations):
        dZ = 1 / (1 + np.exp(-(W @ X + b))) - Y
        W = W - learning_rate * dZ @ X.T / X.shape[1]
        b = b - learning_rate * dZ.mean(axis=1, keepdims=True)
    return W, b
""",
    "shapes": """
def shapes(units, m):
    found = {}
    for l in range(1, len(units)):
        found |= {f"W{l}": (units[l], units[l - 1]), f"b{l}": (units[l], 1)}
        found |= {f"Z{l}": (units[l], m), f"A{l}": (units[l], m)}
    return found
""",
}
# What is replaced in the right answer, and a word of what the checker says to it.
WRONG = [
    ("vectorization", "(w.T @ x)[0, 0]", "w * x", "shape"),
    ("vectorization", "return (w.T @ x)[0, 0]", "pass", "return"),
    ("logistic", " / X.shape[1], dZ", ", dZ", "dW"),
    ("logistic", "- Y\n    return", "+ Y\n    return", "dW"),
    ("broadcasting", "W @ A_prev", "W * A_prev", "broadcast"),
    ("broadcasting", "+ b", "+ b.ravel()", "raises ValueError"),
    ("graph", "a * (1 - a)", "a * (a - 1)", "sign"),
    ("graph", "np.exp(-Z)", "np.exp(Z.nothing)", "nothing"),
    ("descent", "W = W -", "W -=", "changed"),
    ("descent", "b = b -", "b = b +", "not right"),
    ("shapes", "(units[l], units[l - 1])", "(units[l - 1], units[l])", "should be (4, 3)"),
    ("shapes", '"b{l}": (units[l], 1)', '"b{l}": (units[l], m)', "should be (4, 1)"),
]


@pytest.fixture(scope="module")
def pages():
    """What each lesson writes; run once."""
    written = {}
    for name in NAMES:
        out = io.StringIO()
        lessons.run(name, out)
        written[name] = out.getvalue()
    return written


def answer(tmp_path, code):
    path = tmp_path / "mine.py"
    path.write_text(f"import numpy as np\n{code}")
    return path


def test_the_lessons_are_those_of_the_course(capsys):
    assert tuple(lessons.LESSONS) == COURSE
    assert main(["lesson"]) == 0
    shown = capsys.readouterr().out
    assert [line.split()[1] for line in shown.splitlines()[2:]] == list(COURSE)
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize("name", NAMES)
def test_a_lesson_says_what_it_should_in_80_columns(pages, name):
    page = pages[name]
    for text in SECTIONS[name]:
        assert " ".join(text.split()) in " ".join(page.split()), f"{text!r} is not in\n{page}"
    assert page.count("Predict  ") == page.count("Answer   ") >= 1
    assert page.index("Predict  ") < page.index("Answer   ") < page.index("── Exercise")
    assert f"jitprop lesson {name} --check my_" in page
    assert max(map(len, page.splitlines())) <= 80
    assert "WRONG" not in page and "nan" not in page.split()


@pytest.mark.parametrize("name", NAMES)
def test_the_right_answer_passes(tmp_path, name):
    report = lessons.check(name, answer(tmp_path, RIGHT[name]))
    assert report.ok, str(report)


@pytest.mark.parametrize(("name", "right", "wrong", "word"), WRONG)
def test_typical_mistakes_are_told(tmp_path, capsys, name, right, wrong, word):
    code = RIGHT[name].replace(right, wrong)
    assert code != RIGHT[name]
    assert main(["lesson", name, "--check", str(answer(tmp_path, code))]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "not right" in said and word in said


@pytest.mark.parametrize("name", NAMES)
def test_an_unfinished_answer_is_told(name):
    """What the exercise starts with, as a notebook runs it before the student has written anything."""
    scope = {}
    exec(textwrap.dedent(lessons.load(name).EXERCISE.start), scope)
    assert not lessons.check(name, scope[lessons.load(name).EXERCISE.function]).ok


def test_broadcasting_numbers():
    assert broadcasting.CALORIES.sum(axis=0) == pytest.approx([59, 239, 155.4, 76.9], abs=1e-12)
    assert broadcasting.percentages().sum(axis=0) == pytest.approx(100)
    assert broadcasting.percentages()[:, 0] == pytest.approx([5600 / 59, 120 / 59, 180 / 59])
    assert [broadcasting.meet(left, right) for left, right, _ in broadcasting.PAIRS] == [
        (4, 3), (4, 3), (4, 3), (4, 3), (4, 3), None, None,
    ]  # fmt: skip
    assert "shape (5,)" in broadcasting.refusal()


@pytest.mark.parametrize(("a", "b"), [(2.0, 1.0), (10.0, 1.0), (-3.0, 0.5)])
def test_graph_derivatives(a, b):
    """de/da = b + 1 and de/db = (b + 1) + (a + b)."""
    slopes = graph.backward(graph.forward(a, b))
    assert (slopes["a"], slopes["b"]) == (b + 1, 2 * b + a + 1)
    assert graph.numerical(a, b) == pytest.approx((slopes["a"], slopes["b"]), abs=1e-8)


def test_sigmoid_walked_back_is_a_times_1_minus_a():
    rows = graph.sigmoid_edges(0.7)
    a = 1 / (1 + math.exp(-0.7))
    assert rows[0][2] == pytest.approx(a) and rows[-1][4] == pytest.approx(a * (1 - a))


def test_cost_is_the_likelihood_and_dz_is_a_minus_y():
    p, product, J = logistic.likelihood(0.3, -0.2)
    assert product == pytest.approx(np.prod(p)) == pytest.approx(math.exp(-8 * J))
    assert logistic.likelihood(0.0, 0.0)[2] == pytest.approx(math.log(2))
    for z, y in ((2.0, 1.0), (-1.5, 0.0)):
        _, _, dz, measured = logistic.slopes(z, y)
        assert dz == pytest.approx(1 / (1 + math.exp(-z)) - y) == pytest.approx(measured, abs=1e-8)


def test_descent_finds_the_lowest_point_and_a_large_rate_does_not():
    small, well, large = (descent.walk(rate) for rate in descent.RATES.values())
    _, dw, db = descent.cost(well.w[-1], well.b[-1])
    assert abs(dw) < 1e-4 and abs(db) < 1e-4
    assert all(after < before for before, after in zip(small.J, small.J[1:], strict=False))
    assert well.J[-1] < small.J[-1] < small.J[0] < large.J[-1]
    grid = [descent.cost(w, b)[0] for w in np.linspace(-3, 5, 33) for b in np.linspace(-4, 4, 33)]
    assert descent.walk(2.0, 200).J[-1] <= min(grid)


def test_hyper_parameters_compare_as_the_notebook_says():
    found = {key: held_out for key, (_, held_out) in descent.compare().items()}
    assert min(found, key=found.get) == (16, 3.0)
    # Steps of 30 jump about, and roundings decide where they end; but never near where steps of 3 do.
    assert all(found[hidden, 30.0] > found[hidden, 3.0] + 0.1 for hidden in descent.HIDDEN)
    assert max(found[hidden, 30.0] for hidden in descent.HIDDEN) > math.log(2)
    assert min(found[1, rate] for rate in descent.LEARNING_RATES) > 0.6


def test_shapes_predicted_are_shapes_seen():
    units, m = [5, 4, 3, 2], 6
    predicted = shapes.shapes(units, m)
    seen = shapes.seen(units, m)
    assert {name: seen[name] for name in predicted} == predicted
    assert shapes.shapes(shapes.COURSE, 209)["W1"] == (20, 12288)


def test_ladder_tables_mark_what_is_extrapolated():
    step = vectorization.measured("dot")[0]._replace(part=1000, size=10_000)
    out = io.StringIO()
    vectorization.steps_table(lessons.Page(out), [step, step._replace(rung="numpy", part=None, agrees=False)])
    assert f"{step.label} *" in out.getvalue() and "measured on 1000 of 10000 numbers" in out.getvalue()
    assert "WRONG" in out.getvalue()


def test_the_answers_hold_where_other_programs_disturb_the_times():
    dot = {"loops": 1.0, "compiled": 1e-3, "numpy": 1e-4, "jit1": 1e-4, "jit": 1e-4}
    step = vectorization.measured("dot")[0]

    def steps(times):
        return [step._replace(rung=rung, label=rung, seconds=(time,)) for rung, time in times.items()]

    quiet = vectorization._dot_answer(steps(dot))
    assert "10,000 times as fast as the loop" in quiet and "thread 10 times as fast again: that is SIMD" in quiet
    assert "Run it again" not in quiet
    assert "Run it again" in vectorization._dot_answer(steps(dot | {"jit1": 2e-3}))
    layer = {"loops": 10.0, "numpy": 1e-4}
    assert "the layer 100,000. " in vectorization._product_answer(steps(dot), steps(layer))
    assert "Run it again" not in vectorization._product_answer(steps(dot), steps(layer))
    assert "the layer should gain more" in vectorization._product_answer(steps(dot), steps(layer | {"numpy": 1.0}))


@pytest.mark.parametrize("name", NAMES)
def test_pictures(tmp_path, name):
    pytest.importorskip("matplotlib")
    lessons.figure(name, tmp_path / "picture.svg")
    assert b"<svg" in (tmp_path / "picture.svg").read_bytes()
    assert lessons.picture(name)._repr_png_().startswith(b"\x89PNG")


# Bad input


def test_an_unknown_lesson_lists_those_there_are(capsys):
    assert main(["lesson", "vectorisation"]) == 1
    error = capsys.readouterr().err
    assert "'vectorisation'" in error and all(name in error for name in COURSE)
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("option", ["--plot", "--check"])
def test_an_option_without_a_lesson(capsys, option):
    assert main(["lesson", option, "file.py"]) == 1
    assert "which lesson?" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["absent/picture.png", "picture.nothing", "."])
def test_a_picture_that_cannot_be_written(tmp_path, capsys, place):
    pytest.importorskip("matplotlib")
    assert main(["lesson", "graph", "--plot", str(tmp_path / place)]) == 1
    captured = capsys.readouterr()
    assert len(captured.err.splitlines()) == 1 and str(tmp_path) in captured.err
    assert not list(tmp_path.iterdir()) and not captured.out


def test_an_answer_that_is_not_there(tmp_path, capsys):
    assert main(["lesson", "graph", "--check", str(tmp_path / "absent.py")]) == 1
    assert "absent.py: No such file" in capsys.readouterr().err
    assert main(["lesson", "graph", "--check", str(answer(tmp_path, "def other(Z): return Z"))]) == 1
    assert "no function sigmoid_derivative" in capsys.readouterr().out


WITHOUT_NUMBA = """
import io, sys
sys.modules["numba"] = sys.modules["llvmlite"] = None
from jitprop import lessons
for name in sys.argv[1:]:
    out = io.StringIO()
    lessons.run(name, out)
    assert "Numba is not installed here: NumPy computes" in out.getvalue(), out.getvalue()
"""


def test_without_numba_lessons_run_with_numpy_and_say_so():
    subprocess.run([sys.executable, "-W", "error", "-c", WITHOUT_NUMBA, *NAMES], check=True)
