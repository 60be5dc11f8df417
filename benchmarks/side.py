"""One side of a comparison: a process on the sources of one commit, which measures when `compare` tells it to.

Requests come as lines of JSON on standard input, and each is answered by a line on standard output:

    ["find"]                       every set of parameters of every benchmark
    ["prepare", name, number]      its setup; the calls in a sample, or why there is nothing to measure
    ["sample", calls]              one sample of what is prepared
"""

import importlib
import inspect
import itertools
import json
import math
import os
import pkgutil
import re
import resource
import subprocess
import sys
import time
import traceback

import benchmarks

KINDS = re.compile("(time|timeraw|track|peakmem)_")
UNITS = {"time": "seconds", "timeraw": "seconds", "peakmem": "bytes"}
SAMPLE = 0.005  # seconds a sample should last at least


def suites():
    """The classes that hold benchmarks, by name."""
    for _, module, package in pkgutil.iter_modules(benchmarks.__path__):
        if package or module in ("compare", "figures", "quick", "results", "side"):
            continue
        for name, suite in vars(importlib.import_module(f"benchmarks.{module}")).items():
            if isinstance(suite, type) and suite.__module__ == f"benchmarks.{module}" and not name.startswith("_"):
                yield f"{module}.{name}", suite


def find():
    """(name, number of the set of parameters, its label, unit), of everything there is."""
    found = []
    for place, suite in suites():
        for method in filter(KINDS.match, dir(suite)):
            unit = UNITS.get(KINDS.match(method)[1]) or suite.unit
            for number, values in enumerate(itertools.product(*getattr(suite, "params", []))):
                label = f"{place}.{method}" + (f"({', '.join(map(str, values))})" if values else "")
                found.append((f"{place}.{method}", number, label, unit))
    return found


class Prepared:
    """A benchmark at one set of parameters, after its setup."""

    def __init__(self, name, number):
        place, _, method = name.rpartition(".")
        self.bench = dict(suites())[place]()
        self.values = list(itertools.product(*getattr(self.bench, "params", [])))[number]
        self.kind = KINDS.match(method)[1]
        self.method = getattr(self.bench, method)
        if hasattr(self.bench, "setup") and self.kind != "peakmem":
            self.bench.setup(*self.values)

    def calls(self):
        """How many calls make a sample."""
        if self.kind != "time":
            return getattr(self.bench, "number", 1)
        self.method(*self.values)
        return max(1, min(5000, math.ceil(SAMPLE / self.time(1))))

    def time(self, calls):
        begun = time.perf_counter()
        for _ in range(calls):
            self.method(*self.values)
        return (time.perf_counter() - begun) / calls

    def timeraw(self, calls):
        """The time of a statement in a process of its own, whose setup does not count."""
        given = self.method(*self.values)
        statement, setup = (given, "") if isinstance(given, str) else given
        code = f"import timeit; print(timeit.timeit({statement!r}, {inspect.cleandoc(setup)!r}, number={calls}))"
        printed = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True).stdout
        return float(printed.split()[-1]) / calls

    def track(self, calls):
        return float(self.method(*self.values))

    def peakmem(self, calls):
        """The peak of a child process, which does the setup too."""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                self.bench.setup(*self.values)
                self.method(*self.values)
                os.write(writing, str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss).encode())
            except NotImplementedError:
                os.write(writing, b"nan")
            except BaseException:
                traceback.print_exc()
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            peak = pipe.read()
        os.waitpid(child, 0)
        return 1024 * float(peak)  # of nothing, when the child failed, no number is made

    def sample(self, calls):
        return getattr(self, self.kind)(calls)

    def close(self):
        if hasattr(self.bench, "teardown") and self.kind != "peakmem":
            self.bench.teardown(*self.values)


def serve(requests, answers):
    """Answer the requests until there are no more."""
    prepared = None
    for line in requests:
        request, *arguments = json.loads(line)
        answer = {}
        try:
            if request == "find":
                answer["found"] = find()
            elif request == "prepare":
                if prepared:
                    prepared.close()
                prepared = None
                prepared = Prepared(*arguments)
                answer["calls"] = prepared.calls()
            else:
                answer["value"] = prepared.sample(*arguments)
        except NotImplementedError as skipped:
            answer["skipped"] = str(skipped)
        except Exception:
            answer["failed"] = traceback.format_exc()
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    if prepared:
        prepared.close()


if __name__ == "__main__":
    import jitprop_kernels

    if not os.path.samefile(os.path.join(jitprop_kernels.__path__[0], "..", ".."), os.getcwd()):
        raise SystemExit(f"these are not the sources here: {jitprop_kernels.__path__[0]}")
    # What benchmarks and their child processes print and read must not get between.
    requests, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    serve(requests, answers)
