"""The comparison of two commits: what counts as a change, and that one is found where there is one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def compare(monkeypatch):
    pytest.importorskip("asv")
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import compare

    return compare


def measured(compare, samples=(), failed=None, skipped=None):
    side = compare.Measured()
    side.samples, side.failed, side.skipped = list(samples), failed, skipped
    return side


def times(compare, centre, count=11):
    return measured(compare, [centre * (1 + 0.01 * (k - count // 2)) for k in range(count)])


def changed(compare, before, after, unit="seconds"):
    return compare.changed(before, after, unit, 1.3, 20e-6)


def test_a_factor_and_a_least_duration(compare):
    assert changed(compare, times(compare, 1e-3), times(compare, 2e-3))
    assert changed(compare, times(compare, 2e-3), times(compare, 1e-3))
    assert not changed(compare, times(compare, 1e-3), times(compare, 1.2e-3))
    assert not changed(compare, times(compare, 1e-5), times(compare, 2e-5))
    assert changed(compare, times(compare, 1e-5), times(compare, 2e-5), unit="times the time of loops")


def test_samples_that_overlap_are_noise(compare):
    noisy = measured(compare, [1e-3, 1.1e-3, 3e-3, 2e-3, 1.2e-3, 2.8e-3, 2.5e-3, 3e-3])
    assert not changed(compare, times(compare, 1.3e-3), noisy)  # the quietest differ by nothing
    few = measured(compare, [1e-3] * 4 + [2e-3] * 3)
    assert not changed(compare, few, measured(compare, [1.4e-3] * 3 + [2e-3] * 4))  # by asv's test


def test_with_few_samples_all_must_be_apart(compare):
    assert changed(compare, measured(compare, [1.0, 1.2, 1.1]), measured(compare, [1.6, 1.7, 1.8]))
    assert not changed(compare, measured(compare, [1.0, 1.2, 1.1]), measured(compare, [1.5, 1.7, 1.8]))
    megabytes = [100e6, 101e6] * 5
    assert not changed(compare, measured(compare, megabytes), measured(compare, [131e6] * 10), "bytes")
    assert changed(compare, measured(compare, megabytes), measured(compare, [132e6] * 10), "bytes")


def test_what_stops_working_is_a_change(compare):
    broken = measured(compare, failed="AssertionError")
    assert changed(compare, times(compare, 1e-3), broken) and not changed(compare, broken, times(compare, 1e-3))
    assert not changed(compare, times(compare, 1e-3), measured(compare, skipped="too long"))


def test_a_first_look_misses_no_change(compare):
    def suspicious(before, after, unit="seconds"):
        return compare.suspicious(before, after, unit, 1.3, 20e-6)

    assert suspicious(times(compare, 1e-3, 5), times(compare, 1.2e-3, 5))
    assert suspicious(times(compare, 1.2e-3, 1), times(compare, 1e-3, 1))
    assert not suspicious(times(compare, 1e-3, 5), times(compare, 1.05e-3, 5))
    assert not suspicious(times(compare, 1e-5, 5), times(compare, 1.5e-5, 5))
    assert suspicious(times(compare, 1e-3, 5), measured(compare, failed="AssertionError"))


@pytest.fixture
def commits(tmp_path):
    """A repository of its own with these sources and suites; `commit(path, old, new)` changes a file and commits it."""
    for name in ("src", "kernels", "benchmarks"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))

    def git(*arguments):
        identity = ["-c", "user.name=a name", "-c", "user.email=a@name.org", "-c", "commit.gpgsign=false"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, env=environment)

    def commit(path=None, old=None, new=None):
        if path:
            text = (tmp_path / path).read_text(encoding="utf-8")
            assert old in text
            (tmp_path / path).write_text(text.replace(old, new), encoding="utf-8")
        git("add", "--all")
        git("commit", "--quiet", "--allow-empty", "--message", "a commit")

    git("init", "--quiet")
    commit()
    return commit


def run(directory, *arguments):
    command = [sys.executable, str(directory / "benchmarks" / "compare.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_two_commits(commits, tmp_path):
    pytest.importorskip("asv")
    dot = "kernels.dot.time_call.(vectorized, 1000000, float32)"
    vectorized = "kernels/jitprop_kernels/vectorized.py"
    commits(vectorized, "def dot(", "def dot(x, y):\n    return [_dot(x, y) for _ in range(50)][0]\n\n\ndef _dot(")
    slower = run(tmp_path, "HEAD~", "HEAD", "--bench", dot)
    assert slower.returncode == 1 and "1 slower, 0 faster" in slower.stdout, slower.stdout + slower.stderr
    commits(vectorized, "def dot(x, y):\n", "def dot(x, y):\n    import os; os.abort()\n")
    broken = run(tmp_path, "HEAD~", "HEAD", "--bench", dot)
    assert broken.returncode == 1 and "ended with status -6" in broken.stdout, broken.stdout + broken.stderr


@pytest.mark.parametrize(
    "arguments, why",
    [(("nothing",), "no such commit: nothing"), (("HEAD", "--bench", "nothing"), "no benchmark matches 'nothing'")],
)
def test_bad_arguments(commits, tmp_path, arguments, why):
    done = run(tmp_path, *arguments)
    assert done.returncode and why in done.stderr
