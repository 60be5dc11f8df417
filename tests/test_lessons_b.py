"""The lessons from initialization to images, the step trace and its documents, and the teacher's solutions."""

import functools
import io
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from jitprop import Network, cli, lessons
from jitprop.lessons import activations, depth, gradcheck, images, initialization, planar, step
from jitprop.notation import html_formula, html_value, latex_formula, latex_value, text_value
from jitprop.trace import trace
from jitprop_kernels.jit import compiling

NAMES = ("initialization", "activations", "depth", "step", "gradcheck", "images")
TEACHER = Path(__file__).resolve().parent.parent / "docs" / "lessons" / "teacher.md"


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """The networks of these lessons are small: with threads, training would wait for a processor others share."""
    before = compiling._chosen, compiling.numba.get_num_threads()
    compiling.set_num_threads(1)
    yield
    compiling._chosen = before[0]
    compiling.numba.set_num_threads(before[1])


@functools.cache
def page(name: str) -> str:
    out = io.StringIO()
    lessons.run(name, out)
    return out.getvalue()


@pytest.mark.parametrize("name", NAMES)
def test_page_fits_the_terminal_and_asks_before_it_answers(name: str):
    text = page(name)
    assert max(map(len, text.splitlines())) <= 80
    marks = re.findall(r"^(Predict|Answer)", text, re.MULTILINE)
    assert marks and marks == ["Predict", "Answer"] * (len(marks) // 2)
    assert f"--check my_{lessons.load(name).EXERCISE.function}.py" in text
    assert "nan" not in text


@pytest.mark.parametrize("name", NAMES)
def test_picture_is_drawn(name: str, tmp_path: Path):
    pytest.importorskip("matplotlib")
    lessons.figure(name, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_twins_stay_twins_and_only_he_learns():
    results = initialization.compare()
    last = {name: trained.history.cost[-1] for name, trained in results.items()}
    assert last["He"] < 0.2 < 0.5 < min(cost for name, cost in last.items() if name != "He")
    for name in ("all zero", "normal times 0.01"):
        assert last[name] == pytest.approx(np.log(2), abs=1e-3)
    assert [trained.after for trained in results.values()] == [1, 1, 20, 20, 20]
    assert initialization.moved_from_zero() == ["b[2]"]


def test_linear_layers_collapse_and_sigmoid_starves():
    *_, difference = activations.linear_stack()
    assert difference < 1e-12
    sigmoid, relu = activations.layer_gradients("sigmoid"), activations.layer_gradients("relu")
    assert sigmoid[-1] / sigmoid[0] > 1000 > relu[-1] / relu[0]


def test_depth_beats_width_on_rings_at_equal_size():
    wide, deep = depth.train([60]), depth.train([10, 10, 9])
    counts = [result.network.architecture.parameter_count for result in (wide, deep)]
    assert abs(counts[0] - counts[1]) < 0.05 * counts[0]
    assert deep.unseen > wide.unseen + 0.15


@pytest.mark.parametrize("draw", [planar.moons, planar.circles, planar.rings])
def test_points_are_columns_of_two_classes(draw):
    X, Y = draw(50)
    assert (X.shape, Y.shape, X.dtype, Y.dtype) == ((2, 50), (1, 50), np.float32, np.float32)
    assert set(np.unique(Y)) == {0, 1}


def test_pictures_unroll_channel_by_channel():
    pictures = np.arange(2 * 4 * 5 * 3).reshape(2, 4, 5, 3)
    X = images.unroll(pictures)
    assert X.shape == (60, 2) and X.flags.c_contiguous
    for i in range(2):
        for channel in range(3):
            np.testing.assert_array_equal(X[20 * channel : 20 * (channel + 1), i], pictures[i, :, :, channel].ravel())
    with pytest.raises(ValueError, match=r"\(m, height, width, 3\), got \(4, 5, 3\)"):
        images.unroll(pictures[0])


def test_standardization_is_that_of_the_training_pictures():
    X = np.array([[1.0, 3.0], [5.0, 5.0]])
    standardize = images.Standardization.of(X)
    np.testing.assert_allclose(standardize(X), [[-1, 1], [0, 0]])
    np.testing.assert_allclose(standardize(np.array([[5.0], [6.0]])), [[3], [1]])


def test_relu_neuron_asks_no_negative_price():
    (relu, _), (line, _) = images.train_house("relu"), images.train_house("linear")
    assert relu.predict([[0.2]])[0, 0] == 0 > line.predict([[0.2]])[0, 0]


def test_mistakes_are_found_where_they_are():
    found = {
        name: [array for array, compared in gradcheck.check(kernels).arrays.items() if compared.wrong]
        for name, kernels in gradcheck.MISTAKES.items()
    }
    assert list(found.values()) == [["W1", "b1", "W2", "b2", "W3", "b3"], ["b1", "b2"], ["W2", "b2"]]
    assert gradcheck.check().ok


def a_network(output: str, classes: int, **options) -> Network:
    return Network([3, 9, 4, classes], "leaky_relu(0.2)", output, seed=1, kernels="vectorized", **options)


@pytest.mark.parametrize(
    "network",
    [
        a_network("sigmoid", 2),
        a_network("softmax", 3, l2=0.5, dtype="float64"),
        a_network("relu", 1, loss="squared_error"),
        a_network("linear", 1, loss="huber(1.0)"),
    ],
    ids=("sigmoid", "softmax-l2", "relu", "huber"),
)
@pytest.mark.parametrize("weighted", [False, True])
def test_trace_holds_the_arrays_of_the_network(network: Network, weighted: bool):
    generator = np.random.default_rng(0)
    X = generator.standard_normal((3, 11))
    n = network.architecture.units[-1]
    Y = generator.integers(0, n, 11) if n == 3 else generator.integers(0, 2, (n, 11)).astype(float)
    w = generator.uniform(0.5, 2.0, 11) if weighted else None
    found, before = trace(network, X, Y, 0.25, w), network.copy()
    eps = float(np.finfo(network.architecture.dtype).eps)
    assert float(found["J"]) == pytest.approx(network.cost(X, Y, w), rel=8 * eps)
    for name, gradient in network.gradients(X, Y, w).items():
        parameter = network.parameters[name[1:]]
        course = f"{name[:-1]}[{name[-1]}]"
        np.testing.assert_allclose(found[course], gradient, rtol=64 * eps, atol=64 * eps * np.abs(gradient).max())
        moved = parameter - parameter.dtype.type(0.25) * found[course]
        np.testing.assert_array_equal(found[f"new {course[1:]}"], moved)
        np.testing.assert_array_equal(parameter, before.parameters[name[1:]])
    for l, (Z, A) in enumerate(network.forward(X)[1], 1):
        np.testing.assert_array_equal(found[f"Z[{l}]"], Z)
        np.testing.assert_array_equal(found[f"A[{l}]"], A)
    with pytest.raises(KeyError, match=r"dA\[0\]"):
        found["dA[0]"]
    assert max(map(len, str(found).splitlines())) <= 80


class Balanced(HTMLParser):
    """Checks that tags close in order, and that nothing is fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag, attributes):
        assert not {"src", "href"} & {name for name, _ in attributes} and tag != "script"
        if tag not in ("meta", "p"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag != "p":
            assert self.open.pop() == tag


def test_documents_are_whole(tmp_path: Path):
    found = step.example()
    for ending in ("tex", "html", "txt"):
        found.save(tmp_path / f"step.{ending}")
    tex, page_, text = ((tmp_path / f"step.{ending}").read_text() for ending in ("tex", "html", "txt"))
    assert text == f"{found}\n"
    assert tex.startswith(r"\documentclass") and tex.endswith("\\end{document}\n") and tex.isascii()
    assert re.sub(r"\\[{}]", "", tex).count("{") == re.sub(r"\\[{}]", "", tex).count("}")
    for name in re.findall(r"\\begin\{(\w+\*?)\}", tex):
        assert tex.count(rf"\begin{{{name}}}") == tex.count(rf"\end{{{name}}}")
    parser = Balanced()
    parser.feed(page_)
    assert not parser.open
    assert "<i>dZ</i><sup>[2]</sup>" in page_ and "dZ^{[2]}" in tex and "dZ[2]" in text
    with pytest.raises(ValueError, match="unknown kind 'pdf' of trace; accepted: text, latex, html"):
        found.save(tmp_path / "step.pdf", "pdf")
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="LaTeX is not installed")
def test_latex_takes_the_trace_and_finds_room_for_it(tmp_path: Path):
    wide = Network([30, 12, 9, 4], "leaky_relu(0.2)", "softmax", l2=0.5, seed=1, kernels="vectorized")
    generator = np.random.default_rng(0)
    weights = generator.uniform(0.5, 2.0, 25)
    found = trace(wide, 1e-4 * generator.standard_normal((30, 25)), generator.integers(0, 4, 25), 0.25, weights)
    for name, document in (("step", step.example()), ("wide", found)):
        document.save(tmp_path / f"{name}.tex")
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", f"{name}.tex"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and "Overfull" not in done.stdout, done.stdout
        assert (tmp_path / f"{name}.pdf").stat().st_size > 0


def test_zero_has_no_sign_and_columns_are_flush_right():
    value = np.array([[-0.0, 1.0], [-1.0, 2.0]])
    assert "-0" not in "".join(text_value("A", value)) + html_value(value)
    assert r"\begin{array}{rr} 0 & 1 \\ -1 & 2 \end{array}" in latex_value(value)
    assert "-0.0000" not in html_value(np.array([[-1e-9, 0.5]]))


def test_formulas_are_escaped():
    assert latex_formula("leaky_relu'(Z[1])") == r"\operatorname{leaky\_relu}'(Z^{[1]})"
    assert html_formula("<b> & W[2]^T") == "&lt;<i>b</i>&gt; &amp; <i>W</i><sup>[2]T</sup>"


def test_trace_refuses_what_it_cannot_use():
    with pytest.raises(ValueError, match="learning_rate must be a finite number above 0"):
        trace(step.network(), step.X, step.Y, 0)
    with pytest.raises(ValueError, match="X"):
        trace(step.network(), step.X.T, step.Y)


def test_command_writes_the_trace_and_refuses_before_it_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["lesson", "step", "--latex", str(tmp_path / "a.tex"), "--html", str(tmp_path / "a.html")]) == 0
    assert {file.name for file in tmp_path.iterdir()} == {"a.tex", "a.html"}
    capsys.readouterr()
    assert cli.main(["lesson", "step", "--html", str(tmp_path / "none" / "a.html")]) == 1
    assert cli.main(["lesson", "depth", "--html", str(tmp_path / "b.html")]) == 1
    captured = capsys.readouterr()
    assert not captured.out
    assert captured.err.count("jitprop: error: ") == 2 and "lesson 'step'" in captured.err
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("name", lessons.LESSONS)
def test_solution_of_the_teacher_is_right(name: str, tmp_path: Path):
    section = TEACHER.read_text().split(f"\n## {name}\n")[1].split("\n## ")[0]
    (solution,) = re.findall(r"^```python\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    file = tmp_path / "solution.py"
    file.write_text(solution)
    report = lessons.check(name, file)
    assert report.ok, str(report)
