"""The harness that times other frameworks: options, processes, checks and tables; needs none of the frameworks."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numba
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def peers(monkeypatch):
    """The package's modules; two networks of a few units take the place of a network."""
    monkeypatch.syspath_prepend(str(ROOT))
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, os.environ.get(name, "1"))  # importing the suites must not change later tests
    # Numba reads this one whenever it compiles, and takes no other number once its threads have begun.
    monkeypatch.setenv("NUMBA_NUM_THREADS", str(numba.config.NUMBA_NUM_THREADS))
    # So that processes find jitprop however these tests do.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (ROOT / "src", ROOT / "kernels"))))
    from benchmarks.peers import cases, cli, measure, processes, reference, report, settings, worker

    monkeypatch.setitem(cases.NETWORKS, "tiny", cases.Network((5, 7, 4, 3), 8, 24, 9))
    monkeypatch.setitem(cases.NETWORKS, "full", cases.Network((4, 6, 1), 20, 20, 9))
    return SimpleNamespace(
        cases=cases, cli=cli, measure=measure, processes=processes, reference=reference, report=report,
        settings=settings, worker=worker,
    )  # fmt: skip


@pytest.fixture
def started(peers):
    """Starts workers, and ends them after the test."""
    workers = []

    def start(framework="numpy", patience=120.0, **variables):
        setting = peers.settings.Setting(framework, "", variables)
        workers.append(peers.processes.Worker(setting, 1, patience))
        return workers[-1]

    yield start
    for worker in workers:
        worker.close()


def found(peers, times, task="train", name="tiny", threads=1, peak=100.0):
    """The results of one case with these rows: {name: seconds of the calls}."""
    case = peers.cases.Case(name, task)
    worker = SimpleNamespace(setting=peers.settings.Setting("framework", "kind"))
    rows = [peers.measure.Row(row, worker, "way", samples=samples) for row, samples in times.items()]
    return peers.report.results(case, rows, threads, peak, [])


def test_options(peers):
    chosen = peers.cli.options([])
    assert chosen.networks == peers.cases.GROUPS["six"] and chosen.frameworks is None
    assert chosen.threads[0] == 1 and chosen.threads[-1] == len(os.sched_getaffinity(0))
    chosen = peers.cli.options(["--networks", "wide,tiny,six", "--optimizer", "adam,sgd", "--threads", "1,1"])
    assert chosen.networks == peers.cases.GROUPS["six"]  # each once, in the order of the list
    assert chosen.optimizer == ["adam", "sgd"] and chosen.threads == [1]
    chosen = peers.cli.options(["--task", "train,predict-one", "--networks", "tiny", "--optimizer", "sgd,adam"])
    told = [(case.task, case.optimizer) for case in peers.cli.cases(chosen)]
    assert told == [("train", "sgd"), ("train", "adam"), ("predict-one", "sgd")]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--networks", "tiny,huge"], "unknown network 'huge'; accepted: six, others, more, all, tiny"),
        (["--frameworks", "numpy,tensorflow"], "unknown framework 'tensorflow'; accepted: jitprop, torch"),
        (["--optimizer", ""], "unknown optimizer ''; accepted: sgd, adam"),
        (["--task", "sleep"], "unknown task 'sleep'; accepted: train, predict-one"),
        (["--dtype", "float16"], "unknown dtype 'float16'; accepted: float32, float64"),
        (["--threads", "0"], "threads are from 1 to"),
        (["--threads", "100000"], "the processors here, not 100000"),
        (["--threads", "two"], "threads are numbers or 'all', not 'two'"),
        (["--seconds", "-1"], "seconds must be a number above 0, not '-1'"),
        (["--seconds", "nan"], "seconds must be a number above 0"),
        (["--json", "/"], "cannot write the file '/'"),
        (["--markdown", "no/such/directory/file.md"], "cannot write the file"),
        (["--vectors", "512"], "invalid choice: 512"),
        (["--rounds", "3"], "unrecognized arguments"),
    ],
)
def test_bad_options_are_told(peers, capsys, arguments, message):
    with pytest.raises(SystemExit) as ended:
        peers.cli.options(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_networks_can_be_run_by_every_framework(peers):
    for name in ("full", "tiny", *peers.cases.NETWORKS):
        net = peers.cases.NETWORKS[name]
        assert net.examples % net.batch == 0, name  # a scan has batches of one size
        assert net.units[-1] != 2, name  # scikit-learn has one unit for two classes
        assert net.units[0] >= net.units[-1], name  # the classes are read off the inputs
    with pytest.raises(ValueError, match="unknown network"):
        peers.cases.select(["nothing"])


def test_operations(peers):
    net = (5 * 7, 7 * 4, 4 * 3)
    assert peers.cases.Case("tiny").operations == 2 * 8 * (3 * sum(net) - net[0])
    assert peers.cases.Case("tiny", "predict-one").operations == 2 * sum(net)
    assert peers.cases.Case("tiny", "predict-many").operations == 2 * 9 * sum(net)


def test_ratios_and_shares(peers):
    times = {"jitprop": [2e-3, 1e-3, 4e-3], "slow": [9e-3, 9e-3, 9e-3], "quick": [3e-3, 6e-3, 2e-3]}
    result = found(peers, times, peak=100.0, threads=2)
    assert result["best_peer"] == "quick"
    ours, quick = result["rows"]["jitprop"], result["rows"]["quick"]
    assert ours["median"] == pytest.approx(2e-3 / 3)  # of a step: an epoch has three
    assert ours["ratio"] == pytest.approx(1.5) and quick["ratio"] == 1.0
    assert ours["ratio_quartiles"] == pytest.approx([1.0, 3.75])  # of 1.5, 6 and 0.5, round by round
    operations = 2 * 8 * (3 * 75 - 35)
    assert ours["share_of_peak"] == pytest.approx(operations / (2e-3 / 3) / 200e9)
    assert ours["chosen"] == "kind, way" and ours["rounds"] == 3


def test_without_a_peer_there_is_no_ratio(peers):
    result = found(peers, {"jitprop": [1e-3], "Network.fit": [2e-3]}, peak=None)
    assert result["best_peer"] is None
    assert result["rows"]["jitprop"]["ratio"] is None and result["rows"]["jitprop"]["share_of_peak"] is None
    assert peers.report.geometric_means([result]) == []


def test_geometric_means_are_of_equal_runs(peers):
    measured = [
        found(peers, {"jitprop": [1.0], "peer": [2.0]}),
        found(peers, {"jitprop": [1.0], "peer": [8.0]}, name="full"),
        found(peers, {"jitprop": [1.0], "peer": [100.0]}, threads=2),
        found(peers, {"peer": [1.0]}, name="deep"),
    ]
    means = {(mean["threads"], mean["group"]): mean for mean in peers.report.geometric_means(measured)}
    assert means[1, "all"]["mean"] == pytest.approx(4.0) and means[1, "all"]["least"] == pytest.approx(2.0)
    assert means[1, "all"]["networks"] == 2  # where ours has no time there is no ratio
    assert means[1, "six"]["mean"] == pytest.approx(2.0) and means[1, "others"]["mean"] == pytest.approx(8.0)
    assert means[2, "all"]["mean"] == pytest.approx(100.0)


def test_table(peers):
    result = found(peers, {"peer": [3e-4] * 3, "jitprop": [1.5e-4] * 3})
    lost = found(peers, {"peer": [3e-4] * 3}, name="full") | {"failures": ["jitprop: is wrong"]}
    machine = {"processor": "P", "processors": 2, "system": "S", "python": "3"}
    document = {
        "machine": machine, "vectors": None, "versions": {"peer": "1.0"}, "missing": {"other": "no module"},
        "peak_gflops": {"float32": 100.0}, "results": [result, lost],
    }  # fmt: skip
    text = peers.report.markdown(document)
    assert "| network | jitprop | peer | best peer |" in text  # ours come first
    assert "| 5-7-4-3, 8 | 50 **2.00** 0% | 100 **1.00** 0% | peer |" in text
    assert "| 4-6-1, 20 full |  | 300 **1.00** 0% | peer |" in text
    assert "Not measured: other (no module)." in text and "- jitprop: is wrong" in text


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("name", ["tiny", "full"])
@pytest.mark.parametrize("framework", ["numpy", "jitprop"])
def test_ten_steps_reach_the_reference(peers, framework, name, optimizer, dtype):
    from jitprop_kernels.jit.compiling import get_num_threads

    desk = peers.worker.Desk(framework, get_num_threads())
    rows = desk.open(asdict(peers.cases.Case(name, "train", optimizer, dtype)))["rows"]
    expected = desk.reference()
    assert rows and expected["after"] < expected["before"] - 9 * expected["tolerance"]
    for row, ways in rows.items():
        for way in ways:
            assert desk.check(row, way)["cost"] == pytest.approx(expected["after"], abs=expected["tolerance"])
            assert desk.time(row, way, 2, warm=1)["seconds"] > 0


@pytest.mark.parametrize("task", ["predict-one", "predict-many"])
@pytest.mark.parametrize("name", ["tiny", "full"])
@pytest.mark.parametrize("framework", ["numpy", "jitprop"])
def test_predictions(peers, framework, name, task):
    from jitprop_kernels.jit.compiling import get_num_threads

    desk, case = peers.worker.Desk(framework, get_num_threads()), peers.cases.Case(name, task)
    (row,) = desk.open(asdict(case))["rows"]
    assert desk.check(row, "")["difference"] <= peers.measure._prediction_tolerance(case)
    assert desk.time(row, "", 3)["seconds"] > 0


class Flagged:
    """A prediction whose arithmetic sets the flag for "invalid", as OpenBLAS may on finite numbers."""

    def __init__(self, found):
        self.found = found

    def predict(self):
        np.subtract(np.float32("inf"), np.float32("inf"))
        return self.found

    result = predict


def test_a_flag_is_no_error_and_a_nan_is_one(peers):
    desk, case = peers.worker.Desk("numpy", 1), peers.cases.Case("tiny", "predict-many")
    (row,) = desk.open(asdict(case))["rows"]
    right = desk.runner(row, "").result()
    desk.runners[row, ""] = Flagged(right)
    assert desk.check(row, "")["difference"] <= peers.measure._prediction_tolerance(case)
    assert desk.time(row, "", 3)["seconds"] > 0
    desk.runners[row, ""] = Flagged(right * np.float32("nan"))
    assert not desk.check(row, "")["difference"] <= peers.measure._prediction_tolerance(case)


def test_a_check_that_would_notice_nothing_is_refused(peers, monkeypatch):
    monkeypatch.setitem(peers.reference.RATES, "sgd", 1e-9)
    with pytest.raises(ValueError, match="too little for a check"):
        peers.reference.compare(peers.cases.Case("tiny"))


class Pretender:
    """A worker in this process that answers as told."""

    ended = ""

    def __init__(self, peers, name, ways, cost=0.5, seconds=1e-3):
        self.setting, self.name, self.ways = peers.settings.Setting(name), name, ways
        self.cost, self.seconds, self.asked = cost, seconds, []
        self.failed = peers.processes.Failed

    def ask(self, do, **arguments):
        self.asked.append(do)
        seconds = self.seconds * (3 if arguments.get("way") == "slow way" else 1)
        if do == "time" and self.seconds <= 0:
            raise self.failed(f"{self.name}: the cost is nan")
        return {
            "open": {"rows": {self.name: self.ways}},
            "reference": {"before": 1.0, "after": 0.5, "tolerance": 0.01},
            "check": {"cost": self.cost},
            "time": {"seconds": seconds * arguments.get("count", 1)},
        }.get(do, {})


def test_rows_are_checked_tried_and_take_turns(peers):
    right = Pretender(peers, "right", ["slow way", "quick way"])
    wrong = Pretender(peers, "wrong", [""], cost=0.52)
    nan, broken = Pretender(peers, "nan", [""], cost=float("nan")), Pretender(peers, "broken", [""], seconds=0.0)
    told = []
    workers = [right, wrong, nan, broken]
    rows, failures = peers.measure.measure(workers, peers.cases.Case("tiny"), 0.1, told.append)
    (row,) = rows
    assert row.name == "right" and row.way == "quick way" and set(row.tried) == {"slow way", "quick way"}
    assert row.samples == pytest.approx([1e-3] * peers.measure.ROUNDS)
    assert len(failures) == 3 and len(told) == 3
    assert "off by 0.02, more than 0.01" in failures[0] and "wrong" in failures[0]
    assert "off by nan" in failures[1] and "the cost is nan" in failures[2]
    assert "time" not in wrong.asked  # no time for what is wrong
    assert all(worker.asked[-1] == "close" for worker in workers)


def test_long_turns_are_fewer(peers):
    rows, _ = peers.measure.measure([Pretender(peers, "long", [""], seconds=3.0)], peers.cases.Case("tiny"), 1.0)
    assert len(rows[0].samples) == peers.measure.LEAST and rows[0].count == 1


def state(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_worker_is_stopped_unless_it_is_asked(started):
    worker = started()
    assert "numpy" in worker.ask("hello")["versions"]
    assert state(worker.process.pid) == "T"
    with pytest.raises(Exception, match="unknown request 'dance'; accepted: hello"):
        worker.ask("dance")
    assert worker.ask("close") == {}  # it goes on after an error
    assert state(worker.process.pid) == "T"


def test_a_worker_that_dies_or_hangs_is_told(peers, started):
    worker = started()
    worker.ask("hello")
    os.kill(worker.process.pid, signal.SIGKILL)
    for _ in range(2):
        with pytest.raises(peers.processes.Gone, match="numpy: ended with status -9 at 'hello'"):
            worker.ask("hello")
    slow = started(patience=0.0)
    with pytest.raises(peers.processes.Gone, match="no answer to 'hello' within 0 s"):
        slow.ask("hello")
    assert slow.process.returncode == -signal.SIGKILL


ENVIRONMENT = """
import os, sys
from benchmarks.peers import worker
worker.serve = lambda desk, requests, answers: print(dict(os.environ), len(os.sched_getaffinity(0)), file=answers)
worker.main()
"""


def test_a_worker_gets_its_own_settings_and_no_others(peers, monkeypatch):
    for name in ("OPENBLAS_CORETYPE", "MKL_DYNAMIC", "OMP_SCHEDULE", "KMP_BLOCKTIME", "NUMBA_CPU_NAME", "XLA_FLAGS"):
        monkeypatch.setenv(name, "foreign")
    monkeypatch.setenv("JITPROP_CACHE_DIR", "kept")
    setting = {
        "framework": "numpy", "threads": 1, "processors": peers.settings.processors(1),
        "variables": {"OMP_NUM_THREADS": "1", "OPENBLAS_CORETYPE": "Haswell"},
    }  # fmt: skip
    command = [sys.executable, "-c", ENVIRONMENT, json.dumps(setting)]
    environment = peers.settings.clean(os.environ)
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert "foreign" not in done.stdout and "kept" in done.stdout
    assert "'OPENBLAS_CORETYPE': 'Haswell'" in done.stdout and "'OMP_NUM_THREADS': '1'" in done.stdout
    assert "MKL_NUM_THREADS" not in done.stdout  # that importing `benchmarks` sets
    assert done.stdout.rstrip().endswith(" 1")


def run(*arguments, **environment):
    command = [sys.executable, *arguments, "--threads", "1", "--seconds", "0.02"]
    return subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=300)


def test_a_whole_run(peers, tmp_path):
    files = ["--json", str(tmp_path / "out.json"), "--markdown", str(tmp_path / "out.md")]
    done = run("-m", "benchmarks.peers", "--networks", "tiny", "--frameworks", "numpy,jitprop", *files)
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "out.json").read_text())
    assert {"numpy", "jitprop", "numba"} <= set(document["versions"]) and document["peak_gflops"]["float32"] > 0
    (result,) = document["results"]
    assert set(result["rows"]) == {"NumPy", "jitprop", "Network.fit"} and result["best_peer"] == "NumPy"
    for row in result["rows"].values():
        low, high = row["quartiles"]
        assert 0 < low <= row["median"] <= high and row["rounds"] >= peers.measure.LEAST
    assert "| 20-32-1, 32 |" in (tmp_path / "out.md").read_text()


def test_a_missing_framework_is_told(peers, tmp_path):
    (tmp_path / "onnx.py").write_text("raise ImportError('no onnx here')\n")
    path = os.pathsep.join((str(tmp_path), os.environ["PYTHONPATH"]))
    done = run("benchmarks/peers", "--networks", "tiny", "--frameworks", "onnxruntime", PYTHONPATH=path)
    assert done.returncode == 1 and "MISSING onnxruntime: no onnx here" in done.stderr
    assert "onnxruntime cannot be measured here" in done.stderr
    done = run("benchmarks/peers", "--networks", "tiny", "--frameworks", "onnxruntime", "--vectors", "256")
    assert done.returncode == 1 and "cannot be held to 256-bit vectors" in done.stderr


def test_importing_the_package_imports_no_framework():
    """asv imports every file in benchmarks/, wherever it looks for benchmarks."""
    code = (
        "import importlib, pkgutil, sys, benchmarks.peers as p\n"
        "names = [m.name for m in pkgutil.iter_modules(p.__path__)]\n"
        "for name in names: importlib.import_module(f'benchmarks.peers.{name}')\n"
        "print(len(names), *sorted({m.partition('.')[0] for m in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    count, *imported = done.stdout.split()
    assert int(count) > 10
    assert not set(imported) & {"torch", "jax", "sklearn", "onnx", "onnxruntime", "numba", "jitprop"}


def test_every_framework_has_a_module_and_is_pinned(peers):
    pins = dict(
        line.split("==") for line in (ROOT / "benchmarks/peers/requirements.txt").read_text().split() if "==" in line
    )
    for framework in peers.settings.FRAMEWORKS:
        assert (ROOT / f"benchmarks/peers/{framework}_peer.py").is_file()
        assert framework == "jitprop" or {"sklearn": "scikit-learn"}.get(framework, framework) in pins
        assert peers.settings.settings(framework, 2)


def test_quartiles(peers):
    assert peers.measure.quartiles([3.0]) == [3.0] * 3
    samples = [5.0, 1.0, 4.0, 2.0]
    assert peers.measure.quartiles(samples) == pytest.approx(list(np.quantile(samples, (0.25, 0.5, 0.75))))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_the_anatomy_of_a_step(peers, tmp_path, optimizer):
    found = tmp_path / "found.json"
    arguments = ["narrow", "--optimizer", optimizer, "--steps", "7", "--json", str(found)]
    command = [sys.executable, "-m", "benchmarks.anatomy", *arguments]
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=300).stdout
    [(name, case)] = json.loads(found.read_text()).items()
    assert name in printed
    assert sum(task["share_of_step"] for task in case["tasks"]) == pytest.approx(1)
    products = [sorted(task["product"]) for task in case["tasks"] if task["product"] for _ in range(task["times"])]
    first, *others = ([8, 16, 64], [8, 8, 64], [3, 8, 64])
    assert sorted(products) == sorted([first] * 2 + others * 3)
    operations = peers.cases.Case("narrow", "train", optimizer).operations
    assert sum(2 * n * k * m for n, k, m in products) == operations
