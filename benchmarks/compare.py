"""Compare two commits: what changed beyond noise, by statistics, a factor and a least duration.

    python benchmarks/compare.py BASE [HEAD] [--bench REGEX] [--factor 1.3] [--least 20e-6]

Both commits run the suites of this checkout, in the environment of this Python. A process a side measures one
benchmark at a time, and the two take turns sample by sample, so that a change of the clock or a busy neighbour meets
both. A look at everything, and a longer one at what differs there, find what differs by the root of the factor, and
by half the least duration. Only that is measured, in three rounds of new processes; it has changed when all of this
holds:

- asv's statistical test on the samples of all rounds says that they differ;
- the ratio is at least the factor, of the medians and of the quietest samples;
- the difference is at least the least duration, for times;
- measured once more, in three new rounds, it says the same in the same direction.

What is too slow for seven samples a side, or hardly varies, as memory does, has changed when each sample of one side is
the factor beyond every sample of the other. The exit status is 1 when something became slower or failed.
"""

import argparse
import contextlib
import io
import itertools
import json
import os
import re
import select
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

# asv imports this file too when it looks for benchmarks, in environments that hold no asv: functions import it.
ROOT = Path(__file__).resolve().parents[1]
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
TIMEOUT = 300  # seconds for one answer
LOOKS = (3, 0.5), (5, 1.5)  # samples at most a side, and seconds but for the first: at everything, at what differs
ROUNDS = 3 * LOOKS[1:]  # of what differs still; new processes each
ENOUGH = 7  # samples a side for asv's test at p = 0.002


class Benchmark(NamedTuple):
    """A benchmark at one set of parameters."""

    name: str
    number: int
    label: str
    unit: str


class Measured:
    """What one side gave: samples, or why there are none."""

    def __init__(self):
        self.samples, self.failed, self.skipped = [], None, None

    @property
    def value(self):
        return statistics.median(self.samples)


class Change(NamedTuple):
    """A benchmark that changed: below 1 the ratio says faster."""

    benchmark: Benchmark
    before: Measured
    after: Measured

    @property
    def ratio(self):
        return float("inf") if self.after.failed else self.after.value / self.before.value

    def __str__(self):
        if self.after.failed:
            return f"failed  {self.benchmark.label}\n{self.after.failed}"
        from asv import util

        before, after = (util.human_value(side.value, self.benchmark.unit) for side in (self.before, self.after))
        return f"{self.ratio:6.2f}  {before:>12} -> {after:<12}  {self.benchmark.label}"


class Side:
    """A process on the sources of one commit, with an answer to each request."""

    def __init__(self, sources):
        paths = [str(path) for path in (sources / "src", sources / "kernels", ROOT)]
        environment = os.environ | dict.fromkeys(THREADS, "1") | {"JITPROP_BENCHMARKS": "compare"}
        environment |= {"PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"}
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.side"], cwd=sources, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
        )  # fmt: skip

    def ask(self, *request):
        """Send a request, without waiting."""
        with contextlib.suppress(BrokenPipeError):  # then there is no answer either
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()

    def answer(self):
        """The answer to the last request; one that the process did not live to give says why it failed."""
        # In waits of a second, so that time in which this process itself is stopped does not count.
        ready = any(select.select([self.process.stdout], [], [], 1.0)[0] for _ in range(TIMEOUT))
        line = self.process.stdout.readline() if ready else ""
        if line.endswith("\n"):
            return json.loads(line)
        self.process.kill()
        why = f"ended with status {self.process.wait()}" if ready else f"no answer in {TIMEOUT} s"
        self.errors.seek(0)
        return {"failed": why + "\n" + self.errors.read()[-2000:], "lost": True}

    def close(self):
        """End the process: no more requests tell it to clean up and go."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


def unpack(commit, directory):
    """The sources of a commit, in a directory of their own."""
    archive = subprocess.run(
        ["git", "archive", commit, "src", "kernels"], cwd=ROOT, check=True, stdout=subprocess.PIPE
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(directory, filter="data")
    return directory


def turns(sides, measured, order, most, seconds):
    """Take samples of what both sides were asked to prepare, in turn. Whether both processes live."""
    answers = [side.answer() for side in sides]
    begun, calls = time.monotonic(), None
    for count in itertools.count():
        for answer, one in zip(answers, measured, strict=True):
            one.failed, one.skipped = answer.get("failed"), answer.get("skipped")
        if any(one.failed or one.skipped for one in measured):
            return not any("lost" in answer for answer in answers)
        if count == most or count and (time.monotonic() - begun) / 2 * (count + 1) / count > seconds:
            return True
        calls = calls or max(answer["calls"] for answer in answers)
        for place in order if count % 2 else reversed(order):
            sides[place].ask("sample", calls)
            answers[place] = sides[place].answer()
            measured[place].samples += [answers[place]["value"]] if "value" in answers[place] else []


def measure(trees, chosen, rounds):
    """(before, after) of each of the chosen benchmarks, from rounds of new processes: (samples, seconds) of each."""
    found = {benchmark: (Measured(), Measured()) for benchmark in chosen}
    for number, (most, seconds) in enumerate(rounds):
        for suite, members in itertools.groupby(chosen, lambda benchmark: benchmark.name.partition(".")[0]):
            begun, sides = time.monotonic(), [Side(tree) for tree in trees]
            for benchmark in members:
                if any(one.failed or one.skipped for one in found[benchmark]):
                    continue
                for side in sides:
                    side.ask("prepare", benchmark.name, benchmark.number)
                enough = 1 if benchmark.unit == "bytes" else most
                if not turns(sides, found[benchmark], [number % 2, 1 - number % 2], enough, seconds):
                    for side in sides:
                        side.close()
                    sides = [Side(tree) for tree in trees]
            for side in sides:
                side.close()
            print(f"  round {number + 1} of {len(rounds)}, {suite}: {time.monotonic() - begun:.0f} s", flush=True)
    return found


def ratios(low, high):
    """Of the medians and of the quietest samples: other programs only slow a sample down, so both must differ."""
    return high.value / low.value, min(high.samples) / min(low.samples)


def suspicious(before, after, unit, factor, least):
    """Whether the first look at a benchmark leaves a change possible."""
    if before.failed or before.skipped or after.skipped:
        return False
    if after.failed:
        return True
    low, high = sorted((before, after), key=lambda side: side.value)
    return min(ratios(low, high)) >= factor**0.5 and (unit != "seconds" or high.value - low.value >= least / 2)


def changed(before, after, unit, factor, least):
    """Whether two measurements of one benchmark differ beyond noise."""
    from asv import _stats
    from asv_runner.statistics import compute_stats

    if before.failed or before.skipped or after.skipped:
        return False
    if after.failed:
        return True
    low, high = sorted((before, after), key=lambda side: side.value)
    if unit == "seconds" and high.value - low.value < least:
        return False
    if unit == "bytes" or min(len(low.samples), len(high.samples)) < ENOUGH:
        return min(high.samples) >= factor * max(low.samples)
    stats = [compute_stats(side.samples, 1)[1] for side in (low, high)]
    return min(ratios(low, high)) >= factor and _stats.is_different(low.samples, high.samples, *stats)


def changes(trees, chosen, options):
    """Those of the chosen benchmarks that changed, the slowest first."""
    found = [Change(benchmark, *sides) for benchmark, sides in measure(trees, chosen, ROUNDS).items()]
    sure = [c for c in found if changed(c.before, c.after, c.benchmark.unit, options.factor, options.least)]
    return sorted(sure, key=lambda change: change.ratio, reverse=True)


def suites(trees, bench):
    """The benchmarks whose label matches, in the order of their suites."""
    side = Side(trees[1])
    side.ask("find")
    answer = side.answer()
    side.close()
    if "found" not in answer:
        raise SystemExit(f"no benchmarks: {answer['failed']}")
    found = [Benchmark(*row) for row in answer["found"] if re.search(bench, row[2])]
    if not found:
        raise SystemExit(f"no benchmark matches {bench!r}")
    return found


def compare(trees, options):
    """The changes from one tree of sources to the other, after a second measurement; prints what was measured."""
    suspects = suites(trees, options.bench)
    for look in LOOKS:
        found = measure(trees, suspects, [look])
        compared = sum(bool(before.samples and after.samples) for before, after in found.values())
        skipped = sum(bool(before.skipped or after.skipped) for before, after in found.values())
        broken = sum(bool(before.failed) for before, _ in found.values())
        suspects = [b for b in suspects if suspicious(*found[b], b.unit, options.factor, options.least)]
        counts = f"{compared} compared, {skipped} skipped, {broken} failed at the base"
        print(f"{counts}: {len(suspects)} differ at this look", flush=True)
    first = changes(trees, suspects, options)
    if not first:
        return []
    print(f"{len(first)} have changed; measured once more:", *first, sep="\n", flush=True)
    direction = {change.benchmark: change.ratio > 1 for change in first}
    again = changes(trees, [benchmark for benchmark in suspects if benchmark in direction], options)
    return [change for change in again if (change.ratio > 1) == direction[change.benchmark]]


def resolve(name):
    """The commit of that name."""
    command = ["git", "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"]
    process = subprocess.run(command, cwd=ROOT, text=True, stdout=subprocess.PIPE)
    if process.returncode:
        raise SystemExit(f"no such commit: {name}")
    return process.stdout.strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base")
    parser.add_argument("head", nargs="?", default="HEAD")
    parser.add_argument("--bench", default="", help="only benchmarks whose name, with parameters, matches this")
    parser.add_argument("--factor", type=float, default=1.3)
    parser.add_argument("--least", type=float, default=20e-6, help="seconds")
    options = parser.parse_args()
    commits = [resolve(name) for name in (options.base, options.head)]
    begun = time.monotonic()
    print(f"{options.base} ({commits[0][:10]}) against {options.head} ({commits[1][:10]})", flush=True)
    with tempfile.TemporaryDirectory(prefix="jitprop-compare-") as directory:
        trees = [unpack(commit, Path(directory) / side) for commit, side in zip(commits, "ab", strict=True)]
        found = compare(trees, options)
    worse = [change for change in found if change.ratio > 1]
    better, seconds = len(found) - len(worse), time.monotonic() - begun
    print(f"{len(worse)} slower, {better} faster, in {seconds:.0f} s", *found, sep="\n")
    sys.exit(bool(worse))


if __name__ == "__main__":
    main()
