"""Run every benchmark of the suites once, at its smallest parameters, and say whether each gave a result.

    python benchmarks/quick.py [--bench REGEX]

The times mean nothing; nothing is kept. The exit status is 1 when a benchmark failed, gave no number, or none ran.
"""

import argparse
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# asv imports this file too when it looks for benchmarks, in environments that hold no asv: functions import it.
ROOT = Path(__file__).resolve().parents[1]
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def configuration(directory):
    """asv.conf.json with the results in `directory` and this repository by its full path."""
    from asv import util

    settings = util.load_json(str(ROOT / "asv.conf.json"), js_comments=True)
    settings |= {"repo": str(ROOT), "benchmark_dir": str(ROOT / "benchmarks"), "environment_type": "existing"}
    settings |= {name: str(directory / name) for name in ("results_dir", "env_dir", "html_dir")}
    settings.pop("matrix")
    path = directory / "asv.conf.json"
    util.write_json(str(path), settings)
    return path


def start(directory, bench):
    """Let asv run with the Python that runs this, and this checkout's sources; its output goes to a file there."""
    directory.mkdir()
    config = configuration(directory)
    commit = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=ROOT, text=True).strip()
    environment = os.environ | dict.fromkeys(THREADS, "1") | {"JITPROP_BENCHMARKS": "quick"}
    environment["ASV_PYTHONPATH"] = os.pathsep.join((str(ROOT / "src"), str(ROOT / "kernels")))
    # asv keeps a list of machines in the home directory, which is none of this program's business.
    environment["HOME"] = str(directory)
    # Kernels compiled before are found again all the same.
    environment.setdefault("JITPROP_CACHE_DIR", cache_directory())
    asv = [sys.executable, "-m", "asv"]
    machine = [*asv, "machine", "--config", str(config), "--machine", "quick", "--yes"]
    subprocess.run(machine, env=environment, cwd=directory, check=True, stdout=subprocess.DEVNULL)
    command = [*asv, "run", "--config", str(config), "--machine", "quick", "--quick", "--python=same"]
    # Forked from one process that has imported the suites: the imports would take half of the time.
    command += ["--launch-method=forkserver", f"--set-commit-hash={commit}", "--bench", bench]
    with open(directory / "output", "w", encoding="utf-8") as output:
        return subprocess.Popen(command, env=environment, cwd=directory, stdout=output, stderr=subprocess.STDOUT)


def cache_directory():
    from jitprop_kernels.jit.cache import cache_directory

    return str(cache_directory())


def failures(directory, bench):
    """What asv's results lack: (number of results, names of benchmarks that failed or have no number at all)."""
    from asv import util

    if not (directory / "results_dir" / "benchmarks.json").exists():  # asv found no suite and said why
        return 0, {"everything"}
    names = {name for name in util.load_json(str(directory / "results_dir" / "benchmarks.json")) if name != "version"}
    names = {name for name in names if re.search(bench, name)}
    files = [path for path in (directory / "results_dir" / "quick").glob("*.json") if path.name != "machine.json"]
    numbers, missing = 0, set(names)
    for path in files:
        loaded = util.load_json(str(path))
        place = loaded["result_columns"].index("result")
        for name, row in loaded["results"].items():
            values = row[place] or [None]
            found = [value for value in values if value is not None and not math.isnan(value)]
            numbers += len(found)
            if found and None not in values:
                missing.discard(name)
    return numbers, missing


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", action="append", help="only benchmarks whose name matches this")
    # Nothing is measured, so both halves may run at once.
    halves = parser.parse_args().bench or [r"^kernels\.", r"^(?!kernels\.)"]
    begun = time.monotonic()
    status, numbers, missing = 0, 0, set()
    with tempfile.TemporaryDirectory(prefix="jitprop-bench-") as name:
        directories = [Path(name) / str(number) for number in range(len(halves))]
        running = [start(directory, bench) for directory, bench in zip(directories, halves, strict=True)]
        for directory, bench, process in zip(directories, halves, running, strict=True):
            status |= process.wait()
            print((directory / "output").read_text(encoding="utf-8"))
            found, without = failures(directory, bench)
            numbers += found
            missing |= without
            status |= not found
    print(f"{numbers} results in {time.monotonic() - begun:.0f} s; without: {', '.join(sorted(missing)) or 'none'}")
    sys.exit(bool(status or missing))


if __name__ == "__main__":
    main()
