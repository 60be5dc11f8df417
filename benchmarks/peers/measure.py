"""One case: every framework opens it, is checked, tries its ways, and then all take turns."""

import statistics
import sys
from dataclasses import asdict, dataclass, field

from .processes import Failed

__all__ = ["Row", "measure", "quartiles"]

ROUNDS = 11
LEAST = 5  # rounds, where a turn is longer than its share
TRIAL = 0.25  # the share of a row's seconds that each of its ways may take to be tried


@dataclass(eq=False)
class Row:
    """One line of a table: a way of a framework, the best of those tried, and its times."""

    name: str
    worker: object
    way: str
    count: int = 1  # calls in a turn
    warm: int = 0  # calls before them
    trial: float = 0.0  # seconds of a call when it was tried
    samples: list = field(default_factory=list)  # seconds of a call, one a round
    tried: dict = field(default_factory=dict)  # seconds of a call of each setting and way

    @property
    def label(self):
        """The setting and the way that were chosen."""
        return ", ".join(filter(None, (self.worker.setting.name, self.way)))


def quartiles(samples):
    """The quartiles of at least one sample, interpolated."""
    if len(samples) == 1:
        return [samples[0]] * 3
    return statistics.quantiles(samples, n=4, method="inclusive")


def measure(workers, case, seconds, tell=lambda text: print(text, file=sys.stderr, flush=True)):
    """Measure a case: rows with their samples, and what failed as text.

    Parameters
    ----------
    workers : list of Worker
    case : Case
    seconds : float
        What the turns of one row take together, about.
    tell : callable
        Is told what fails as it does.

    Returns
    -------
    rows : list of Row
    failures : list of str
    """
    failures = []

    def attempt(action, *arguments, **named):
        try:
            return action(*arguments, **named)
        except (Failed, AssertionError) as error:
            failures.append(f"{case}: {error}")
            tell(f"FAILED {failures[-1]}")
            return None

    candidates = []
    for worker in workers:
        opened = attempt(worker.ask, "open", case=asdict(case))
        for name, ways in (opened or {"rows": {}})["rows"].items():
            if not worker.setting.rows or name in worker.setting.rows:
                candidates += [Row(name, worker, way) for way in ways]
    expected = _expected(candidates, case, attempt)
    right = []
    for row in candidates if expected is not None else []:
        if attempt(_check, row, case, expected) and attempt(_try, row, case, seconds):
            right.append(row)
    rows = []
    for name in dict.fromkeys(row.name for row in right):
        same = [row for row in right if row.name == name]
        best = min(same, key=lambda row: row.trial)
        best.tried = {row.label: row.trial for row in same}
        rows.append(best)
    for row in candidates:
        if row not in rows and not row.worker.ended:
            attempt(row.worker.ask, "drop", row=row.name, way=row.way)
    _rounds(rows, seconds, attempt)
    for worker in workers:
        if not worker.ended:
            attempt(worker.ask, "close")
    return [row for row in rows if row.samples], failures


def _expected(candidates, case, attempt):
    """The cost to reach, computed by any of the workers; an empty answer for a prediction."""
    if case.task != "train":
        return {}
    for row in candidates[:1]:
        return attempt(row.worker.ask, "reference")


def _check(row, case, expected):
    """Raise unless the row computes what the reference does; returns True."""
    found = row.worker.ask("check", row=row.name, way=row.way)
    what = f"{row.name} ({row.label})" if row.label else row.name
    if case.task == "train":
        error, allowed = abs(found["cost"] - expected["after"]), expected["tolerance"]
        text = f"ten steps from {expected['before']:.7g} end at {found['cost']:.7g}, not {expected['after']:.7g}"
    else:
        error, allowed = found["difference"], _prediction_tolerance(case)
        text = "a probability is wrong"
    if not error <= allowed:
        raise Failed(f"{what}: {text}: off by {error:.2g}, more than {allowed:.2g}")
    return True


def _prediction_tolerance(case):
    """On a probability, at most 1: each layer rounds sums of n_prev terms, as in `reference`; their worst of many."""
    eps = {"float32": 2.0**-23, "float64": 2.0**-52}[case.dtype]
    return 8 * eps * sum(n**0.5 + 8 for n in case.network.units)


def _try(row, case, seconds):
    """Time a few calls and settle how many make a turn; returns True."""

    def once(count, warm=0):
        asked = row.worker.ask("time", row=row.name, way=row.way, count=count, warm=warm)
        return asked["seconds"] / count

    share = TRIAL * seconds / 3
    first = once(1, warm=1)  # the first call may compile
    few = max(1, int(share / 4 / max(first, 1e-7)))
    call = min(first, once(few)) if first < share else first
    if call < share:
        count = max(1, int(share / max(call, 1e-7)))
        call = statistics.median(once(count) for _ in range(3))
    row.trial = call
    turn = seconds / ROUNDS
    row.count = max(1, round(turn / max(call, 1e-7)))
    row.warm = max(row.count // 10, 1 if call < turn else 0)
    return True


def _rounds(rows, seconds, attempt):
    """All rows in turn, another one first in each round; a row that fails is out."""
    longest = max((row.trial for row in rows), default=0.0)
    rounds = ROUNDS if longest <= seconds / ROUNDS else max(LEAST, min(ROUNDS, int(seconds / longest)))
    for number in range(rounds):
        first = number % max(len(rows), 1)
        for row in rows[first:] + rows[:first]:
            if len(row.samples) < number:
                continue
            asked = attempt(row.worker.ask, "time", row=row.name, way=row.way, count=row.count, warm=row.warm)
            if asked:
                row.samples.append(asked["seconds"] / row.count)
