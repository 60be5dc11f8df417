"""The ladder and `jitprop compare`: every rung agrees, what is said follows from the times, nothing is half-written."""

import csv
import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest

from jitprop import compare, ladder, rungs
from jitprop.cli import main
from jitprop.compare import Budget, Comparison, output, report
from jitprop.compare.budget import WEIGHTS
from jitprop.ladder import TASKS, Step

# the ladder


@pytest.mark.parametrize(
    ("task", "size"),
    [("dot", 999), ("logistic", 5), ("matmul", 3), ("leaky_relu", 3), ("softmax", 3), ("backward", 3), ("epoch", 70)],
)
def test_every_rung_gives_the_same_result(task, size):
    steps = ladder.climb(task, size, seconds=0.0, patience=60)
    assert [step.rung for step in steps] == list(ladder.rungs(task))
    assert ("one_loop" in ladder.rungs(task)) == (task == "logistic")
    for step in steps:
        assert step.agrees, step
        assert step.part is None and step.size == size and step.task == task
        assert len(step.seconds) >= 3 and step.median > 0 and step.spread >= 0


def test_a_wrong_function_does_not_agree():
    own = ("wrong", lambda w, x: float((w * x).sum()) + 1e-2)
    (step,) = ladder.climb("dot", 1000, only=(), own=own, seconds=0.0)
    assert not step.agrees and step.rung == "own" and step.label == "wrong"


def test_slow_loops_are_extrapolated_from_a_part():
    sizes = []

    def slow(Z):
        sizes.append(Z.shape[1])
        for _ in range(5000 * Z.shape[1]):
            pass
        return np.maximum(Z, 0)

    own = ("slow", slow)
    (step,) = ladder.climb("relu", 4096, only=(), own=own, seconds=0.0, patience=0.01)
    assert step.part is not None and step.part < step.size == 4096 and max(sizes) == step.part and step.agrees


def test_threads_are_what_they_were_afterwards():
    before = ladder.rungs("dot"), rungs.get_num_threads()
    with rungs.threads("jit1") as count:
        assert count == rungs.get_num_threads() == 1
    assert (ladder.rungs("dot"), rungs.get_num_threads()) == before


@pytest.mark.parametrize(
    ("count", "label"), [(128, "NumPy, BLAS: 128 threads"), (1, "NumPy, BLAS: 1 thread"), (None, "NumPy")]
)
def test_the_threads_of_numpys_products_are_told_where_they_are_known(monkeypatch, count, label):
    monkeypatch.setattr(ladder, "blas_threads", lambda: count)
    for task, expected in {"dot": label, "epoch": label, "relu": "NumPy", "softmax": "NumPy"}.items():
        (step,) = ladder.climb(task, 8, only=("numpy",), seconds=0.0)
        assert step.label == expected and len(step.label) <= report.LABEL


def test_without_numba_there_are_python_and_numpy(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert ladder.rungs("logistic") == ("loops", "one_loop", "numpy")


def test_unknown_computations_and_rungs():
    with pytest.raises(ValueError, match="unknown computation 'fish'; accepted: dot, logistic"):
        ladder.climb("fish")
    with pytest.raises(ValueError, match="dot has no rung 'one_loop'; accepted: loops,"):
        ladder.climb("dot", 10, only=("one_loop",))


def test_a_function_of_ones_own_is_called_twice_before_it_is_judged():
    calls = []

    def own(Z):  # as one that compiles: its first call is slow
        calls.append(Z.shape[1])
        for _ in range(1_000_000 * (len(calls) == 1)):
            pass
        return np.maximum(Z, 0)

    (step,) = ladder.climb("relu", 64, only=(), own=("own", own), seconds=0.0, patience=0.001)
    assert calls[:2] == [1, 1] and step.part is None and calls[-1] == 64
    assert step.first > max(step.seconds)


def test_the_allowance_is_asked_for_each_rung_after_all_first_calls(monkeypatch):
    asked, spans = iter([0.25, 5.0]), []
    monkeypatch.setattr(ladder, "_time", lambda does, seconds: spans.append(seconds) or (1.0, 1.0, 1.0))
    ladder.climb("relu", 4, ("numpy", "loops"), seconds=1.0, allowance=lambda: next(asked))
    assert spans == [0.25, 1.0]


def test_fewer_runs_show_in_the_spread():
    runs = tuple(np.linspace(0.9, 1.1, 41))
    step = made("numpy", 64, 1.0)
    assert step._replace(seconds=runs).spread == pytest.approx(0.05)
    assert step._replace(seconds=(runs[0], runs[20], runs[-1])).spread == pytest.approx(0.1)
    assert step.against(made("jit", 64, 1.08)) != 1
    assert step._replace(seconds=(0.9, 1.0, 1.1)).against(made("jit", 64, 1.08)) == 1


def test_what_is_compiled_is_kept_for_the_next_process(tmp_path):
    code = (
        "from jitprop import ladder\n"
        "steps = ladder.climb('relu', 4, ('compiled', 'prange'), seconds=0.0)\n"
        "print([step.compiled > 0 for step in steps], ladder.compile_seconds() > 0)\n"
    )
    (tmp_path / "cache").mkdir(mode=0o700)
    told = [
        subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            env=os.environ | {"JITPROP_CACHE_DIR": str(tmp_path / "cache")},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for _ in range(2)
    ]
    assert told == ["[True, True] True\n", "[False, False] False\n"]


def test_what_has_no_loop_on_several_threads_is_compiled_once():
    from jitprop import compiledloops
    from jitprop_kernels import loops

    one, several = (compiledloops.compiled_set(parallel) for parallel in (False, True))
    assert compiledloops.compiled(loops._sigmoid, True) is compiledloops.compiled(loops._sigmoid)
    assert one.relu is not several.relu and one.dot is not several.dot


# the time it takes, by a clock that is set by hand


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def test_time_is_shared_out_over_what_remains():
    clock = Clock()
    budget = Budget(["relu", "logistic", "tanh"], 70.0, clock)
    weight = WEIGHTS["logistic"]
    assert budget.begin("logistic", 20) == pytest.approx(70 * weight / (weight + 2))
    clock.now += 60  # more than its share: the others have less
    assert budget.begin("relu", 20) == pytest.approx(5.0)
    clock.now += 1  # less than its share: the last has more
    assert budget.begin("tanh", 20) == pytest.approx(9.0)


def test_a_measurement_takes_its_part_of_the_time_that_first_calls_left():
    clock = Clock()
    budget = Budget(["relu"], 10.0, clock)
    budget.begin("relu", 10 + 10 + 5)
    clock.now += 5  # compiling
    assert budget.take(10) == pytest.approx(5 * 10 / 25)
    clock.now += 1  # less than it might
    assert budget.take(10) == pytest.approx(4 * 10 / 15)
    clock.now += 2
    assert budget.take(5) == pytest.approx(2.0) == budget.left()
    clock.now += 100
    assert budget.take(5) == budget.left() == 0.0


def test_when_time_is_up_every_rung_is_timed_all_the_same():
    clock = Clock()
    budget = Budget(["relu", "dot"], 1.0, clock)
    clock.now += 100
    found = compare.measure("relu", quick=True, budget=budget)
    assert [step.rung for step in found.steps] == list(ladder.rungs("relu"))
    assert all(len(step.seconds) == ladder.FEWEST for step in found.steps)
    assert all([step.size for step in steps] == [1, 64] for steps in found.curve.values())
    assert found.left_out == (8,) and "\nsizes left out for lack of time: 8" in report.table(found)


def test_without_files_only_numpy_and_the_kernels_are_timed_at_other_sizes():
    clock = Clock()
    found = compare.measure("tanh", quick=True, curves=False, budget=Budget(["tanh"], 45.0, clock))
    assert found.left_out == ()
    assert [step.rung for step in found.steps] == list(ladder.rungs("tanh"))
    assert list(found.curve) == [rung for rung in ladder.rungs("tanh") if rung in compare.CONTENDERS]
    assert all(len(steps) == 3 for steps in found.curve.values())
    assert report.verdict(found) and report.table(found)


def test_what_is_known_of_a_size_is_not_measured_again():
    whole, part = made("numpy", 64, 1.0), made("loops", 64, 1.0, part=8)
    assert compare.known_at(whole, 64) is whole and compare.known_at(whole, 8) is None
    assert compare.known_at(part, 4) is None and compare.known_at(part, 64) is part
    ahead, at = compare.known_at(part, 128), compare.known_at(part, 8)
    assert (ahead.size, ahead.part, ahead.first, ahead.median) == (128, 8, 20.0, 2.0)
    assert (at.size, at.part, at.first, at.median) == (8, None, 1.25, 0.125)


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_the_curve_goes_through_the_computations_size(task):
    assert task.size in task.sizes and list(task.sizes) == sorted(task.sizes)


# what is said, of times that are made up


def made(rung, size, seconds, part=None, agrees=True, spread=0.01):
    runs = (seconds * (1 - spread), seconds, seconds * (1 + spread))
    return Step("relu", rung, f"rung {rung}", size, 1, 10 * seconds, runs, part, agrees)


def comparison(at, sizes=(), **times):
    curve = {rung: [made(rung, s, t) for s, t in zip(sizes, values, strict=True)] for rung, values in times.items()}
    return Comparison(TASKS["relu"], [made(rung, 64, t) for rung, t in at.items()], curve)


def test_crossovers_lie_where_the_lines_cross_and_noise_makes_none():
    flat = [made("a", size, 1.0) for size in (1, 100, 10_000)]
    steep = [made("b", size, t) for size, t in ((1, 0.1), (100, 0.1), (10_000, 10.0))]
    assert ladder.crossovers(flat, steep) == pytest.approx([1000.0])
    assert ladder.crossovers(steep, flat) == pytest.approx([1000.0])
    near = [made("b", 1, 1.02), made("b", 100, 0.98), made("b", 10_000, 1.02)]
    assert ladder.crossovers(flat, near) == []
    wide = [made("b", size, t, spread=0.9) for size, t in ((1, 1.3), (100, 0.8), (10_000, 1.3))]
    assert ladder.crossovers(flat, wide) == []


def test_numpy_wins_where_it_does():
    curves = {"numpy": [1e-6, 1e-5, 1e-4], "jit1": [1e-5, 1e-5 * 1.01, 1e-5], "jit": [2e-6, 2e-5, 2e-4]}
    lines = report.verdict(comparison({"numpy": 1e-5, "jit1": 5e-6, "jit": 2e-5}, (1, 10, 100), **curves))
    assert lines == [
        "Our rung jit1: 2.0 times as fast as NumPy; below about 10 examples NumPy, above it ours.",
        "NumPy wins: 2.0 times as fast as our rung jit; NumPy at every size from 1 to 100.",
    ]
    tie = comparison({"numpy": 1.0, "jit1": 1.03, "compiled": 0.5})
    assert report.verdict(tie) == [
        "NumPy and our rung jit1: no difference beyond the spread.",
        "Fastest: rung compiled, 2.1 times as fast as our rung jit1.",
    ]
    lost, won = comparison({"numpy": 1.0, "jit": 2.0}), comparison({"numpy": 2.0, "jit": 1.0})
    assert report.conclusions([lost, tie]) == [
        "NumPy wins: relu",
        "no difference beyond the spread: relu",
        "our kernels win: nowhere",
    ]
    assert report.conclusions([won])[0] == "NumPy wins: nowhere"


def test_the_table_fits_80_columns_and_its_bars_are_logarithmic():
    steps = [
        made("loops", 64, 10.0, part=8),
        made("numpy", 64, 1e-2, spread=99),
        made("jit", 64, 1e-5)._replace(label="kernels, 128 threads"),
    ]
    lines = report.table(Comparison(TASKS["relu"], steps, {})).splitlines()
    assert max(map(len, lines)) <= 80
    bars = [line.count("█") for line in lines[2:5]]
    assert bars[0] == report.BAR and bars[1] == report.BAR // 2 and bars[2] == 0
    assert "~10 s" in lines[2] and lines[4].endswith("1,000,000") and lines[2].endswith("1.0")
    assert lines[5] == "~ extrapolated: rung loops were timed on 8 of 64 examples"
    wrong = report.table(Comparison(TASKS["relu"], [made("loops", 64, 1.0, agrees=False)], {}))
    assert "DOES NOT AGREE" in wrong


def test_a_busy_machine_is_told(monkeypatch):
    monkeypatch.setattr(os, "getloadavg", lambda: (0.1, 0, 0))
    assert report.busy() == ""
    monkeypatch.setattr(os, "getloadavg", lambda: (1000.0, 0, 0))
    assert "Other programs are at work here (load 1000.0 on" in report.busy()


# the command


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compare, "QUICK_SIZES", {"dot": 1000, "matmul": 4})
    return tmp_path


def test_compare_prints_and_writes_all(here, capsys):
    assert main(["compare", "--quick", "--only", "dot", "--json", "a.json", "--csv", "a.csv", "--plot", "a.svg"]) == 0
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80
    for part in ("w^T x, the dot product: 1,000 numbers, float32", "Python loops", "loops, njit", "kernels, 1 thread"):
        assert part in said
    assert "jitprop" in said.splitlines()[0] and "thread" in said and "our kernels win: " in said

    found = json.loads((here / "a.json").read_text())
    assert {"processor", "threads", "versions"} <= found["machine"].keys()
    (only,) = found["comparisons"]
    names = [row["rung"] for row in only["measurements"] if not row["curve"]]
    assert only["computation"] == "dot" and names == list(ladder.rungs("dot")) and only["verdict"]
    sizes = {row["size"] for row in only["measurements"] if row["curve"]}
    assert sizes == {10, 100, 1000}
    for row in only["measurements"]:
        assert row["agrees"] and 0 < row["fastest_s"] <= row["median_s"] <= row["slowest_s"]

    with open(here / "a.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(only["measurements"]) == len(names) * 4
    assert math.isclose(float(rows[0]["median_s"]), only["measurements"][0]["median_s"])
    assert rows[0]["processor"] == found["machine"]["processor"]
    assert "<svg" in (here / "a.svg").read_text()
    assert sorted(os.listdir(here)) == ["a.csv", "a.json", "a.svg"]


def test_a_students_kernels_stand_in_the_table(here, capsys):
    (here / "mine.py").write_text("def dot(w, x):\n    return float((w * x).sum())\n")
    assert main(["compare", "--quick", "--bring", "mine.py", "--plot", "a.png"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("dot: right\n") and "\nyours: mine " in said
    assert said.count("float32\n") == 1  # no computation that does not use it
    assert (here / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.filterwarnings("always")
def test_a_misspelt_kernel_is_told(here, capsys):
    (here / "mine.py").write_text("def dot(w, x):\n    return float((w * x).sum())\n\ndef sigmiod(Z):\n    return Z\n")
    assert main(["compare", "--quick", "--bring", "mine.py"]) == 0
    told = "jitprop: warning: sigmiod of kernel set mine is not the name of a kernel and is not used; did you mean"
    assert f"{told} 'sigmoid'?\n" == capsys.readouterr().err


def test_a_wrong_kernel_is_told_and_nothing_written(here, capsys):
    (here / "mine.py").write_text("def linear_forward(W, A_prev, b):\n    return W @ A_prev\n")
    assert main(["compare", "--quick", "--bring", "mine", "--json", "a.json"]) == 1
    said = capsys.readouterr()
    assert "linear_forward: not right yet" in said.out and "the bias b is forgotten" in said.out
    assert "float32\n" not in said.out and "Traceback" not in said.err
    assert not (here / "a.json").exists()


def test_a_kernel_that_fails_on_large_arrays_only(here, capsys):
    (here / "mine.py").write_text("def dot(w, x):\n    if len(w) > 500:\n        raise OverflowError('too long')\n"
                                  "    return float((w * x).sum())\n")  # fmt: skip
    assert main(["compare", "--quick", "--bring", "mine.py", "--csv", "a.csv"]) == 1
    assert "mine: dot is right on small arrays, but in w^T x, the dot product: OverflowError: too long" in (
        " ".join(capsys.readouterr().err.split())
    )
    assert os.listdir(here) in (["mine.py"], ["mine.py", "__pycache__"], ["__pycache__", "mine.py"])


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        ("raise OverflowError('no')", "mine: relu is right on small arrays, but in {}: OverflowError: no"),
        ("while True: pass", "mine: relu took more than 2 s for {}"),
    ],
)
def test_a_kernel_that_fails_in_an_epoch_is_named(here, capsys, monkeypatch, trouble, told):
    monkeypatch.setattr(compare, "OWN_SECONDS", 2)
    (here / "mine.py").write_text(f"def relu(Z):\n    if Z.size > 500:\n        {trouble}\n    return Z * (Z > 0)\n")
    assert main(["compare", "--quick", "--bring", "mine.py", "--only", "epoch"]) == 1
    assert told.format(TASKS["epoch"].title) in " ".join(capsys.readouterr().err.split())


def test_results_that_disagree_are_not_written(here, capsys, monkeypatch):
    monkeypatch.setattr(ladder, "_agree", lambda *arguments: False)
    monkeypatch.setattr(ladder, "rungs", lambda task: ("numpy",))
    assert main(["compare", "--quick", "--only", "dot", "--csv", "a.csv"]) == 1
    said = capsys.readouterr().out
    assert "DOES NOT AGREE" in said and "the results DO NOT AGREE; no file is written" in said
    assert os.listdir(here) == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--only", "fish"], "unknown computation 'fish'; accepted: dot, logistic, matmul, linear, relu"),
        (["--json", "nowhere/a.json"], "no such directory to write to"),
        (["--plot", "a.doc"], "a.doc: unknown kind of picture 'doc'; accepted: "),
        (["--csv", "."], "Is a directory"),
        (["--bring", "nowhere"], "no module named 'nowhere' here"),
        (["--bring", "nowhere.py"], "nowhere.py: No such file or directory"),
        (["--bring", "empty.py"], "has no function of a kernel's name"),
        (["--bring", "rely.py"], "train_epoch; did you mean 'relu' by 'relue'?"),
        (["--bring", "good.py", "--only", "relu"], "good offers dot, which none of these computations uses: relu"),
    ],
)
def test_bad_input_is_told_in_one_line_before_anything_is_timed(here, capsys, arguments, told):
    (here / "empty.py").write_text("")
    (here / "rely.py").write_text("def relue(Z):\n    return Z\n")
    (here / "good.py").write_text("def dot(w, x):\n    return float((w * x).sum())\n")
    assert main(["compare", *arguments]) == 1
    said = capsys.readouterr()
    assert told in said.err and said.err.count("\n") == 1 and "first " not in said.out
    assert set(os.listdir(here)) <= {"empty.py", "rely.py", "good.py", "__pycache__"}


def test_groups_and_names_once():
    assert compare.chosen(["dot", "activations", "relu"], False, None) == ["dot", *compare.GROUPS["activations"]]
    others = {"dot", "logistic", "matmul", "backward", "epoch"}
    assert set(compare.GROUPS["activations"]) == TASKS.keys() - others
    assert compare.chosen([], False, None) == list(TASKS)
    assert set(compare.QUICK) <= set(TASKS)


def test_the_picture_shows_curves_crossovers_and_bars():
    curves = {"numpy": [1e-6, 1e-4], "jit1": [1e-5, 1e-5], "jit": [2e-6, 2e-4], "own": [1e-3, 1e-3]}
    made_up = comparison({"loops": 1.0, "numpy": 1e-4, "jit1": 1e-5}, (1, 100), **curves)
    figure = output.draw([made_up])
    left, right = figure.axes
    assert [text.get_text() for text in left.texts] == ["10"]
    assert "NumPy = rung jit1" in [text.get_text() for text in figure.legends[0].texts]
    assert [bar.get_width() for bar in right.patches] == pytest.approx([1, 1e4, 1e5])
    assert left.get_xscale() == left.get_yscale() == right.get_xscale() == "log"
