"""Options, the run over all cases, and what is told meanwhile."""

import argparse
import contextlib
import math
import os
import platform
import re
import sys
import time
from pathlib import Path

from .cases import DTYPES, GROUPS, NETWORKS, OPTIMIZERS, TASKS, Case, select
from .measure import measure
from .processes import Failed, Worker
from .report import markdown, results, write
from .settings import FRAMEWORKS, settings

__all__ = ["main", "options", "run"]


def _words(accepted, what):
    """A type for argparse: names separated by commas, each one of those accepted."""

    def parse(text):
        names = [name.strip() for name in text.split(",")]
        for name in names:
            if name not in accepted:
                raise argparse.ArgumentTypeError(f"unknown {what} {name!r}; accepted: {', '.join(accepted)}")
        return list(dict.fromkeys(names))

    return parse


def _networks(text):
    try:
        return select([name.strip() for name in text.split(",")])
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _available():
    return len(os.sched_getaffinity(0))


def _threads(text):
    found = []
    for word in text.split(","):
        try:
            number = _available() if word.strip() == "all" else int(word)
        except ValueError:
            raise argparse.ArgumentTypeError(f"threads are numbers or 'all', not {word!r}") from None
        if not 1 <= number <= _available():
            raise argparse.ArgumentTypeError(f"threads are from 1 to {_available()}, the processors here, not {number}")
        found.append(number)
    return list(dict.fromkeys(found))


def _seconds(text):
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"seconds must be a number above 0, not {text!r}")
    return seconds


def _file(text):
    path = Path(text)
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f"cannot write the file {text!r}: it is a directory or in none that exists")
    return path


def options(arguments=None):
    """The options of the command line."""
    listed = "\n".join(f"  {name:14} {network}" for name, network in NETWORKS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers",
        description="Time jitprop and other frameworks on the same networks; they take turns.",
        epilog=f"networks, or groups of them ({', '.join(GROUPS)}):\n{listed}\n\n"
        "The exit status is 1 when anything failed; what could be measured is in the tables nevertheless.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--threads", type=_threads, default="1,all", metavar="N,...", help="numbers or 'all'; default 1,all")
    add("--networks", type=_networks, default="six", metavar="NAME,...", help="see below; default six")
    add("--optimizer", type=_words(OPTIMIZERS, "optimizer"), default="sgd", metavar="NAME,...",
        help=f"{', '.join(OPTIMIZERS)}; default sgd")  # fmt: skip
    add("--task", type=_words(TASKS, "task"), default="train", metavar="NAME,...",
        help=f"{', '.join(TASKS)}; default train")  # fmt: skip
    add("--dtype", type=_words(DTYPES, "dtype"), default="float32", metavar="NAME,...",
        help=f"{', '.join(DTYPES)}; default float32")  # fmt: skip
    add("--frameworks", type=_words(FRAMEWORKS, "framework"), metavar="NAME,...",
        help=f"{', '.join(FRAMEWORKS)}; default those that are installed")  # fmt: skip
    add("--vectors", type=int, choices=[256], help="hold every framework to vectors of so many bits, where it can be")
    add("--seconds", type=_seconds, default=2.0, help="of the turns of each row in each case; default 2")
    add("--json", type=_file, metavar="FILE", help="write everything measured to this file")
    add("--markdown", type=_file, metavar="FILE", help="write the tables to this file; else to the standard output")
    return parser.parse_args(arguments)


def cases(chosen):
    """The cases of the options; a prediction does not depend on the optimizer."""
    for dtype in chosen.dtype:
        for task in chosen.task:
            for optimizer in chosen.optimizer if task == "train" else chosen.optimizer[:1]:
                for name in chosen.networks:
                    yield Case(name, task, optimizer, dtype)


def machine():
    """What the figures depend on besides versions."""
    cpuinfo = Path("/proc/cpuinfo")
    named = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.M) if cpuinfo.exists() else None
    return {
        "processor": named[1] if named else platform.processor() or platform.machine(),
        "processors": _available(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def tell(text):
    print(text, file=sys.stderr, flush=True)


def missing(document, framework, why, demanded):
    """Tell and record that a framework is not measured; the end, if it was asked for by name."""
    tell(f"MISSING {framework}: {why}")
    document["missing"][framework] = why
    if demanded:
        raise SystemExit(f"{framework} cannot be measured here: {why}")


def start(chosen, threads, document):
    """The workers of all frameworks that are installed, each greeted; those missing are told and recorded."""
    workers, seen, demanded = [], [], bool(chosen.frameworks)
    try:
        for framework in chosen.frameworks or FRAMEWORKS:
            tried = settings(framework, threads, chosen.vectors)
            if not tried:
                missing(document, framework, f"it cannot be held to {chosen.vectors}-bit vectors", demanded)
            for setting in tried:
                workers.append(Worker(setting, threads))
                found = workers[-1].ask("hello")
                kinds = framework, found.get("blas")
                if found.get("blas") and kinds in seen:  # NumPy's OpenBLAS has not all kinds, and takes another
                    workers.pop().close()
                    continue
                seen.append(kinds)
                if "missing" in found:
                    workers.pop().close()
                    missing(document, framework, found["missing"], demanded)
                    break
                document["versions"] |= found["versions"]
                document["settings"][f"{setting}, {threads} threads"] = {
                    "variables": setting.variables, "blas": found.get("blas", []),
                }  # fmt: skip
    except BaseException:
        stop(workers)
        raise
    return workers


def stop(workers):
    for worker in workers:
        with contextlib.suppress(ProcessLookupError):
            worker.close()


def measure_peak(workers, dtype, peaks):
    """The peak of one thread, the highest seen so far: others' work and a low clock only make it look smaller."""
    for worker in workers:
        if worker.setting.framework == "jitprop" and not worker.ended:
            found = worker.ask("peak", dtype=dtype, seconds=0.1)["gflops"]
            peaks[dtype] = max(found, peaks.get(dtype, 0.0))
            return


def run(chosen):
    """Measure every case; returns the document of results."""
    document = {
        "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "machine": machine(), "seconds": chosen.seconds,
        "vectors": chosen.vectors, "versions": {}, "settings": {}, "missing": {}, "peak_gflops": {}, "results": [],
    }  # fmt: skip
    measured = []
    for threads in chosen.threads:
        workers = start(chosen, threads, document)
        try:
            for case in cases(chosen):
                tell(f"{case}, {threads} thread{'s' if threads > 1 else ''}")
                try:
                    measure_peak(workers, case.dtype, document["peak_gflops"])
                    rows, failures = measure(workers, case, chosen.seconds, tell)
                except Failed as error:
                    rows, failures = [], [f"{case}: {error}"]
                    tell(f"FAILED {failures[0]}")
                measured.append((case, rows, threads, failures))
                document["results"] = [
                    results(case, rows, threads, document["peak_gflops"].get(case.dtype), failures)
                    for case, rows, threads, failures in measured
                ]
                for name, row in document["results"][-1]["rows"].items():
                    ratio = "" if row["ratio"] is None else f"  {row['ratio']:6.2f} of the best peer's speed"
                    share = "" if row["share_of_peak"] is None else f"  {row['share_of_peak']:6.1%} of the peak"
                    tell(f"  {name:22} {row['median'] * 1e6:11.1f} us{ratio}{share}  {row['chosen']}")
                write(document, chosen.json, chosen.markdown)
        finally:
            stop(workers)
    return document


def main(arguments=None):
    """Run; the exit status."""
    chosen = options(arguments)
    document = run(chosen)
    if not chosen.markdown:
        print(markdown(document), end="")
    failed = [failure for found in document["results"] for failure in found["failures"]]
    if failed:
        tell(f"{len(failed)} failed:\n" + "\n".join(failed))
    return 1 if failed else 0
