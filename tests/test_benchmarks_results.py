"""Where benchmark results live: no result is lost between checkouts, and versions are those of the measurement."""

import json
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[1]
COLUMNS = ["result", "params", "version", "started_at"]


@pytest.fixture
def results(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import results

    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "a name")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "a@name.org")
    return results


@pytest.fixture
def checkouts(results, monkeypatch, tmp_path):
    """`use(name)`: work in the checkout of that name; all share one origin."""
    subprocess.run(["git", "init", "--quiet", "--bare", str(tmp_path / "origin")], check=True)

    def use(name):
        path = tmp_path / name
        if not path.exists():
            subprocess.run(["git", "clone", "--quiet", str(tmp_path / "origin"), str(path)], check=True)
        monkeypatch.setattr(results, "ROOT", path)
        monkeypatch.setattr(results, "KEPT", path / ".asv")
        return path

    return use


def measured(checkout, benchmarks, commit="0123456789", machine="here"):
    """A file of results as asv writes it: for each benchmark its value and the time it was measured at."""
    path = checkout / ".asv" / "results" / machine / f"{commit[:8]}-env.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = json.loads(path.read_text()) if path.exists() else {
        "commit_hash": commit, "env_name": "env", "env_vars": {"NUMBA_NUM_THREADS": "1"}, "result_columns": COLUMNS,
        "results": {}, "version": 2,
    }  # fmt: skip
    content["results"] |= {name: [[value], [], "1", moment] for name, (value, moment) in benchmarks.items()}
    path.write_text(json.dumps(content))
    (path.parent / "machine.json").write_text(json.dumps({"machine": machine, "version": 1}))
    return path


def environment(numpy):
    return SimpleNamespace(name="env", run=lambda command: json.dumps({"numpy": numpy}))


def branch(results, path):
    return json.loads(results.git("show", f"{results.BRANCH}:{path}"))


def test_versions_are_those_of_the_run(results, checkouts, capsys):
    pytest.importorskip("asv")
    here = checkouts("here")
    measured(here, {"old": (1.0, 500)}, commit="aaaaaaaaaa")
    measured(here, {"dot": (1.0, 2_000)})
    results.record("here", "0123456789", 1_000, [environment("1.0")])
    results.record("here", "aaaaaaaaaa", 1_000, [environment("1.0")])  # was not measured by this run
    measured(here, {"relu": (1.0, results.load(next((here / ".asv/versions").rglob("0*")))[0]["ended"] + 5)})
    results.keep()
    assert "1 benchmarks of here/aaaaaaaa-env.json" in capsys.readouterr().out.splitlines()[1]
    assert {path: len(names) for path, names in results.unrecorded().items()} == {
        here / ".asv/results/here/01234567-env.json": 1,
        here / ".asv/results/here/aaaaaaaa-env.json": 1,
    }
    results.record("here", "0123456789", 10_000, [environment("2.0")])
    results.keep()
    runs = branch(results, "versions/here/01234567-env.json")
    assert [run["versions"]["numpy"] for run in runs] == ["1.0", "2.0"]
    assert all(run["threads"] == {"NUMBA_NUM_THREADS": "1"} and run["cores"] and run["processor"] for run in runs)
    assert "aaaaaaaa-env.json" not in results.git("ls-tree", "-r", "--name-only", results.BRANCH, "versions/")


def test_two_checkouts_lose_nothing(results, checkouts, capsys):
    first = checkouts("first")
    measured(first, {"dot": (1.0, 10), "relu": (1.0, 10)})
    results.keep()
    results.git("push", "--quiet", "origin", results.BRANCH)
    second = checkouts("second")
    measured(second, {"dot": (2.0, 20), "relu": (2.0, 5), "tanh": (2.0, 20)})
    measured(second, {"dot": (3.0, 30)}, machine="there")
    results.keep()
    results.git("push", "--quiet", "origin", results.BRANCH)
    checkouts("first")  # whose branch has meanwhile gone another way
    measured(first, {"dot": (4.0, 5)}, commit="bbbbbbbbbb")
    results.keep()
    results.git("push", "--quiet", "origin", results.BRANCH)
    rows = branch(results, "here/01234567-env.json")["results"]
    assert {name: row[0] for name, row in rows.items()} == {"dot": [2.0], "relu": [1.0], "tanh": [2.0]}
    assert branch(results, "there/01234567-env.json")["results"]["dot"][0] == [3.0]
    assert branch(results, "here/bbbbbbbb-env.json")["results"]["dot"][0] == [4.0]
    commit = results.git("rev-parse", results.BRANCH)
    results.keep()
    assert results.git("rev-parse", results.BRANCH) == commit
    assert "has all of it already" in capsys.readouterr().out


def test_nothing_measured_is_nothing_kept(results, checkouts):
    checkouts("empty")
    with pytest.raises(SystemExit, match="no results in"):
        results.keep()


def test_names_of_machines(results):
    assert "/" not in results.processor() and results.processor()
    for name in ("../elsewhere", "a name", "-x", "versions"):
        with pytest.raises(SystemExit, match="a name of a machine"):
            results.machine(name)
