"""How a time is taken: the check and the first call before it, the number of calls in a sample, rounds in turn."""

import math
import time

import numpy as np

SAMPLE = 0.01  # seconds a sample should last at least


class Timed:
    """Base of the classes whose `time_` methods run `self.call`.

    asv runs `setup` again before every sample, and from version 0.6.6 on before every call. So what `prepare` does (the
    check, the first call that compiles, the data) is done once for each set of parameters, and `number` is chosen here:
    with a `setup`, asv would take a single call for a sample.
    """

    repeat = (2, 10, 5.0)  # at least 2 samples a round, at most 10 or 5 seconds
    rounds = 2
    warmup_time = 0.05
    timeout = 300
    _prepared = None

    def setup(self, *parameters):
        if self._prepared == parameters:
            return
        self.call = self.prepare(*parameters)
        self.call()
        start = time.perf_counter()
        self.call()
        self.number = max(1, min(5000, math.ceil(SAMPLE / (time.perf_counter() - start))))
        self._prepared = parameters


def race(sides, seconds):
    """Times in seconds, a row a round: every side once a round, in turn, each repeated to last at least 50 us."""
    repeats = []
    for side in sides:
        side(), side()
        start = time.perf_counter()
        side()
        repeats.append(max(1, int(50e-6 / (time.perf_counter() - start))))
    rows, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(rows) < 5:
        row = []
        for side, count in zip(sides, repeats, strict=True):
            start = time.perf_counter()
            for _ in range(count):
                side()
            row.append((time.perf_counter() - start) / count)
        rows.append(row)
    return np.array(rows)
