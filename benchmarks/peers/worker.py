"""The process of one framework: reads a request a line, answers a line, and works only in between.

Started by `processes`, as ``python -m benchmarks.peers.worker SETTING`` with a JSON object
{"framework", "threads", "processors", "variables"}. The variables are set here, before the framework is imported:
importing `benchmarks` removes those that the shell may hold.

Requests are JSON objects with the key "do": hello, open, check, time, peak, reference, close. Answers are JSON
objects; {"error": text} where something failed, after which the process goes on.
"""

import ctypes
import functools
import importlib
import json
import os
import signal
import sys
import time
import traceback

from .cases import Case

__all__ = ["Desk", "main"]

STAYS = 1e-7  # a learning rate with which the parameters stay where they are, however long they are trained


def _unwarned(method):
    """NumPy keeps quiet about "invalid value" meanwhile, at no cost within the time taken.

    OpenBLAS sets that flag on finite numbers too (numpy issue 24067), by what lies in the unused lanes of its vectors,
    as for 5 columns of float32 with AVX-512; and a NaN is found in the result.
    """

    @functools.wraps(method)
    def run(*arguments, **options):
        import numpy as np

        with np.errstate(invalid="ignore"):
            return method(*arguments, **options)

    return run


class Desk:
    """What the process has open: a case, and a runner for each row and way."""

    def __init__(self, framework, threads):
        self.framework, self.threads = framework, threads
        self.module = importlib.import_module(f"{__package__}.{framework}_peer")
        self.case, self.makers, self.runners = None, {}, {}

    def hello(self):
        try:
            found = self.module.versions()
        except ImportError as error:
            return {"missing": str(error)}
        try:
            import threadpoolctl
        except ImportError:
            return {"versions": found}
        pools = threadpoolctl.threadpool_info()
        kinds = {f"{p['internal_api']} {p['version']} {p['architecture']}" for p in pools if "architecture" in p}
        return {"versions": found, "blas": sorted(kinds)}

    def open(self, case):
        """Take a case; answers which rows there are, and the ways to run each."""
        self.close()
        self.case = Case(**case)
        self.makers = self.module.runners(self.case, self.threads)
        return {"rows": {row: list(ways) for row, ways in self.makers.items()}}

    def runner(self, row, way):
        if (row, way) not in self.runners:
            self.runners[row, way] = self.makers[row][way]()
        return self.runners[row, way]

    @_unwarned
    def check(self, row, way):
        """Ten steps from the first parameters, and the cost then; of a prediction the largest error."""
        from . import data, reference

        runner, case = self.runner(row, way), self.case
        if case.task == "train":
            X, y = data.examples(case.network, case.dtype)
            runner.reset(data.parameters(case.network, case.dtype), reference.RATES[case.optimizer])
            runner.follow(data.batches(case.network, reference.STEPS))
            cost = reference.cost(case, runner.parameters(), X, y)
            runner.reset(data.parameters(case.network, case.dtype), STAYS)
            return {"cost": cost}
        X = data.examples(case.network, case.dtype, case.examples)[0]
        expected = reference.outputs(data.parameters(case.network, case.dtype), X)
        found = runner.result()
        if found.shape != expected.shape:
            raise ValueError(f"predicted {found.shape}, not {expected.shape}")
        return {"difference": float(abs(found - expected).max())}

    @_unwarned
    def time(self, row, way, count, warm=0):
        """Seconds that `count` epochs or predictions take, after `warm` that are not timed."""
        runner = self.runner(row, way)
        if self.case.task == "train":
            if warm:
                runner.epochs(warm)
            start = time.perf_counter()
            cost = runner.epochs(count)
            seconds = time.perf_counter() - start
            if not abs(cost) < float("inf"):
                raise FloatingPointError(f"the cost is {cost}")
            return {"seconds": seconds / getattr(runner, "span", 1)}
        predict = runner.predict
        for _ in range(warm):
            predict()
        start = time.perf_counter()
        for _ in range(count):
            predict()
        return {"seconds": time.perf_counter() - start}

    def drop(self, row, way):
        """Forget a runner that will not be needed."""
        self.runners.pop((row, way), None)
        return {}

    def reference(self):
        """What `check` is to give for the case."""
        from . import reference

        return reference.compare(self.case)

    def peak(self, dtype, seconds):
        return {"gflops": self.module.peak(dtype, seconds)}

    def close(self):
        self.case, self.makers, self.runners = None, {}, {}
        return {}


REQUESTS = ("hello", "open", "check", "time", "drop", "reference", "peak", "close")


def serve(desk, requests, answers):
    """Answer until there are no more requests."""
    for line in requests:
        request = json.loads(line)
        what = request.pop("do")
        try:
            if what not in REQUESTS:
                raise ValueError(f"unknown request {what!r}; accepted: {', '.join(REQUESTS)}")
            answer = getattr(desk, what)(**request)
        except Exception as error:
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


def _die_with_parent():
    """Leave when the parent does, even if it is killed and this process is stopped; Ctrl-C is the parent's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def main():
    _die_with_parent()
    setting = json.loads(sys.argv[1])
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ.pop(name, None)  # set by importing `benchmarks`
    os.environ.update(setting["variables"])
    if setting["processors"]:
        os.sched_setaffinity(0, setting["processors"])
    # What a framework prints must not mix with the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    serve(Desk(setting["framework"], setting["threads"]), sys.stdin, answers)


if __name__ == "__main__":
    main()
