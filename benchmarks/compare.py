"""Compare two commits: what changed beyond noise, by statistics, a factor and a least duration.

    python benchmarks/compare.py BASE [HEAD] [--bench REGEX] [--factor 1.3] [--least 20e-6]

asv measures both commits in interleaved rounds, so that a change of the clock or a busy neighbour meets both. A
benchmark counts as changed when all of this holds:

- asv's statistical test on the samples of all rounds says that they differ;
- the ratio is at least the factor, of the medians and of the quietest samples; for ratios that are tracked, which have
  no samples, its square;
- the difference is at least the least duration, for times;
- a second measurement of it alone, again interleaved, says the same in the same direction.

The exit status is 1 when something became slower or failed.
"""

import argparse
import itertools
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

# asv imports this file too when it looks for benchmarks, in environments that hold no asv: functions import it.
if __package__:
    from . import results
else:
    import results

ROOT = Path(__file__).resolve().parents[1]


class Measured(NamedTuple):
    """One value of one benchmark: `value` is None where it failed and nan where it was skipped."""

    value: float | None
    stats: dict | None
    samples: list | None
    unit: str
    version: str


class Change(NamedTuple):
    """A benchmark that changed: below 1 the ratio says faster."""

    name: str
    before: float | None
    after: float | None
    unit: str

    @property
    def ratio(self):
        return self.after / self.before if self.before and self.after else float("inf" if self.after is None else "nan")

    def __str__(self):
        if self.after is None:
            return f"failed  {self.name}"
        from asv import util

        before, after = (util.human_value(value, self.unit) for value in (self.before, self.after))
        return f"{self.ratio:6.2f}  {before:>12} -> {after:<12}  {self.name}"


def measure(commits, bench, machine):
    """Run the benchmarks at both commits, round by round in turn; earlier results of these commits do not count."""
    command = [sys.executable, "-m", "asv", "run", "--interleave-rounds", "--record-samples", "--bench", bench]
    command += ["--machine", machine, "HASHFILE:-"]
    subprocess.run(command, cwd=ROOT, input="\n".join(commits), text=True, check=False)


def load(commit, machine, bench):
    """All values at a commit, by benchmark and parameters."""
    from asv import util
    from asv.config import Config
    from asv.results import iter_results_for_machine_and_hash

    config = Config.load(str(ROOT / "asv.conf.json"))
    results_dir = ROOT / config.results_dir
    benchmarks = util.load_json(str(results_dir / "benchmarks.json"))
    found = {}
    for result in iter_results_for_machine_and_hash(str(results_dir), machine, commit):
        for name in result.get_all_result_keys():
            if name not in benchmarks or not re.search(bench, name):
                continue
            params = result.get_result_params(name)
            columns = [result.get_result_value(name, params), result.get_result_stats(name, params)]
            columns.append(result.get_result_samples(name, params))
            count = len(list(itertools.product(*params)))
            columns = [column or [None] * count for column in columns]
            version = result.benchmark_version.get(name)
            for values, row in zip(itertools.product(*params), zip(*columns, strict=True), strict=True):
                label = f"{name}({', '.join(values)})" if values else name
                found[label] = Measured(*row, benchmarks[name]["unit"], version)
    return found


def changed(before, after, factor, least):
    """Whether two measurements of one benchmark differ beyond noise."""
    from asv import _stats

    if before.version != after.version or before.value is None or before.value != before.value:
        return False
    if after.value is None:
        return True
    if after.value != after.value:
        return False
    low, high = sorted((before.value, after.value))
    if before.samples and after.samples:  # other programs only slow a sample down: the quietest must differ too
        quiet = min(after.samples) / min(before.samples)
        if (quiet if after.value > before.value else 1 / quiet) < factor:
            return False
    if not (before.samples and after.samples):
        factor = factor**2  # one number a commit: nothing says how noisy it is
    elif not _stats.is_different(before.samples, after.samples, before.stats, after.stats):
        return False
    return high >= factor * low and (before.unit != "seconds" or high - low >= least)


def differences(base, head, chosen):
    """The benchmarks that changed from one commit to the other."""
    before, after = (load(commit, chosen.machine, chosen.bench) for commit in (base, head))
    if not before or not after:
        raise SystemExit("no results: see above what asv says")
    joint = [name for name in before if name in after]
    found = [name for name in joint if changed(before[name], after[name], chosen.factor, chosen.least)]
    changes = [Change(name, before[name].value, after[name].value, before[name].unit) for name in found]
    return len(joint), sorted(changes, key=lambda change: change.ratio, reverse=True)


def confirmed(base, head, chosen, first):
    """Those of the changes that a second measurement of the same benchmarks shows too, in the same direction."""
    names = sorted({change.name.partition("(")[0] for change in first})
    chosen.bench = "^(" + "|".join(map(re.escape, names)) + ")$"
    measure((base, head), chosen.bench, chosen.machine)
    again = {change.name: change for change in differences(base, head, chosen)[1]}
    return [again[c.name] for c in first if c.name in again and (again[c.name].ratio > 1) == (c.ratio > 1)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base")
    parser.add_argument("head", nargs="?", default="HEAD")
    parser.add_argument("--bench", default="", help="only benchmarks whose name matches this")
    parser.add_argument("--factor", type=float, default=1.3)
    parser.add_argument("--least", type=float, default=20e-6, help="seconds")
    parser.add_argument("--machine", default="", help="the name of this machine")
    chosen = parser.parse_args()
    command = ["git", "rev-parse", "--verify", "--end-of-options"]
    resolve = [
        subprocess.run([*command, f"{name}^{{commit}}"], cwd=ROOT, text=True, stdout=subprocess.PIPE)
        for name in (chosen.base, chosen.head)
    ]
    if any(process.returncode for process in resolve):
        raise SystemExit(f"no such commit: {chosen.base} or {chosen.head}")
    base, head = (process.stdout.strip() for process in resolve)
    if base == head:
        raise SystemExit(f"{chosen.base} and {chosen.head} are the same commit")
    chosen.machine = results.machine(chosen.machine)
    measure((base, head), chosen.bench, chosen.machine)
    count, changes = differences(base, head, chosen)
    if changes:
        print(f"{len(changes)} of {count} may have changed; measured again:")
        changes = confirmed(base, head, chosen, changes)
    worse = [change for change in changes if change.ratio > 1]
    print(f"{count} compared, {len(worse)} slower, {len(changes) - len(worse)} faster")
    for change in changes:
        print(change)
    sys.exit(bool(worse))


if __name__ == "__main__":
    main()
