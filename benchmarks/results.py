"""Where results live: on a branch of their own, beside the code's, a directory a machine.

    python benchmarks/results.py run [--bench REGEX]   measure HEAD, under this machine's name
    python benchmarks/results.py fetch                 bring the branch's results into .asv/results
    python benchmarks/results.py keep                  the same, then commit all of it to the branch

The branch `benchmark-results` has no history in common with the code and is never checked out: commits are made
beside the working tree. It holds `<machine>/machine.json`, the processor, its cores, memory and system; the results,
`<machine>/<commit>-*.json`; and for each of these `versions/<machine>/<commit>-*.json`, what `run` found in the
environment that it measured in, with the time it did: another run at another time, with newer libraries perhaps, adds
another record. What was measured by asv itself has none, and none is made up for it afterwards.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from io import BytesIO
from pathlib import Path

# asv imports this file too when it looks for benchmarks, in environments that hold no asv: functions import it.
ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / ".asv"  # holds results/<machine>, and versions/<machine>
BRANCH = "benchmark-results"
PACKAGES = ("numpy", "numba", "llvmlite", "scikit-learn")
VERSIONS = f"""
import json, platform
from importlib.metadata import distributions
found = {{d.name.lower(): d.version for d in distributions()}}
print(json.dumps({{"python": platform.python_version(), **{{p: found.get(p) for p in {PACKAGES!r}}}}}))
"""


def git(*arguments, data=None, check=True, **environment):
    """The output of git, without the white space around it."""
    return raw_git(*arguments, data=data, check=check, **environment).decode().strip()


def raw_git(*arguments, data=None, check=True, **environment):
    return subprocess.run(
        ["git", *arguments],
        cwd=ROOT, input=data, check=check, stdout=subprocess.PIPE, env=os.environ | environment,
        stderr=None if check else subprocess.DEVNULL,
    ).stdout  # fmt: skip


def tips():
    """The branch's commits here and at origin: one where one holds the other."""
    names = (f"refs/heads/{BRANCH}", f"refs/remotes/origin/{BRANCH}")
    found = {commit for name in names if (commit := git("rev-parse", "--verify", "--quiet", name, check=False))}
    return git("merge-base", "--independent", *sorted(found)).split() if found else []


def processor():
    """The processor's name, as one word for a file name."""
    text = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists() and (found := re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.M)):
        text = found[1]
    return "-".join(re.findall(r"[a-z0-9]+", re.sub(r"\(\w+\)|CPU|@.*", " ", text).lower()))


def cores():
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine(name=None):
    """The one name of this machine, by default its processor and cores, known to asv with what the machine has."""
    name = name or f"{processor()}-{cores()}-cores"
    if not re.fullmatch(r"\w[\w.-]*", name) or name == "versions":
        raise SystemExit(f"a name of a machine is letters, digits, '.', '_' and '-', not {name!r}")
    command = [sys.executable, "-m", "asv", "machine", "--yes", "--machine", name]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return name


def measure(name, bench):
    """Let asv run the benchmarks at HEAD and record the versions; asv's exit status is that of this program."""
    from asv import environment
    from asv.config import Config

    name, begun = machine(name), int(1000 * time.time())
    commit = git("rev-parse", "HEAD")
    command = [sys.executable, "-m", "asv", "run", "--machine", name, "--bench", bench, f"{commit}^!"]
    status = subprocess.run(command, cwd=ROOT).returncode
    os.chdir(ROOT)  # the paths in asv's configuration begin there
    record(name, commit, begun, list(environment.get_environments(Config.load("asv.conf.json"), [])))
    sys.exit(status)


def started(results):
    """When each benchmark of a file of results was measured, in milliseconds: name and time."""
    place = results["result_columns"].index("started_at")
    return {name: row[place] for name, row in results["results"].items() if len(row) > place and row[place]}


def record(name, commit, begun, environments):
    """Write what the environments hold beside their results that are not older than `begun`."""
    from asv.results import get_filename

    for environment in environments:
        path = KEPT / "results" / get_filename(name, commit, environment.name)
        if not path.exists():
            continue
        results = load(path)
        if max(started(results).values(), default=0) < begun:
            continue
        run = {"begun": begun, "ended": int(1000 * time.time()), "processor": processor(), "cores": cores()}
        run |= {"threads": results["env_vars"], "versions": json.loads(environment.run(["-c", VERSIONS]))}
        target = KEPT / "versions" / name / path.name
        runs = load(target) if target.exists() else []
        write(target, [*runs, run])


def load(path):
    return json.loads(path.read_text(encoding="utf-8"))


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content) + "\n", encoding="utf-8")


def unrecorded():
    """The names of results for whose time no run is recorded, by file."""
    found = {}
    for path in sorted((KEPT / "results").glob("*/*-*.json")):
        target = KEPT / "versions" / path.parent.name / path.name
        runs = load(target) if target.exists() else []
        for name, moment in started(load(path)).items():
            if not any(run["begun"] <= moment <= run["ended"] for run in runs):
                found.setdefault(path, []).append(name)
    return found


def merged(ours, theirs):
    """Both of two files of results, of the same benchmark the later measurement; or the runs of two records."""
    if isinstance(ours, list):
        return sorted({run["begun"]: run for run in theirs + ours}.values(), key=lambda run: run["begun"])
    if "result_columns" not in ours or ours["result_columns"] != theirs["result_columns"]:
        return ours  # what the machine is, or the list of benchmarks; or another version of asv
    mine, rows = started(ours), dict(ours["results"])
    for name, moment in started(theirs).items():
        if moment > mine.get(name, 0):
            rows[name] = theirs["results"][name]
    return ours | {"results": rows}


def fetch():
    """Bring the branch's results where asv looks for them; both stay where the same benchmarks were measured here."""
    if "origin" in git("remote").split():
        command = ["git", "fetch", "--quiet", "origin", f"+refs/heads/{BRANCH}:refs/remotes/origin/{BRANCH}"]
        found = subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        if found.returncode and "couldn't find remote ref" not in found.stderr:
            print(f"origin does not answer; going on with what is here: {found.stderr.strip()}", file=sys.stderr)
    for tip in tips():
        with tarfile.open(fileobj=BytesIO(raw_git("archive", tip))) as archive:
            for member in filter(tarfile.TarInfo.isfile, archive.getmembers()):
                path = KEPT / ("" if member.name.startswith("versions/") else "results") / member.name
                text = archive.extractfile(member).read()
                if not path.exists():
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(text)
                elif path.read_bytes() != text:
                    write(path, merged(load(path), json.loads(text)))


def keep():
    """Commit all results here to the branch, on top of those that are there."""
    fetch()
    files = {path.relative_to(KEPT / "results"): path for path in sorted((KEPT / "results").rglob("*.json"))}
    if not any(len(name.parts) > 1 for name in files):
        raise SystemExit(f"no results in {KEPT / 'results'}: make bench measures some")
    files |= {path.relative_to(KEPT): path for path in sorted((KEPT / "versions").rglob("*.json"))}
    for path, names in unrecorded().items():
        print(f"no versions are known for {len(names)} benchmarks of {path.parent.name}/{path.name}")
    before = tips()
    with tempfile.TemporaryDirectory() as directory:
        index = {"GIT_INDEX_FILE": str(Path(directory) / "index")}
        for name, path in files.items():
            blob = git("hash-object", "-w", str(path))
            git("update-index", "--add", "--cacheinfo", f"100644,{blob},{name.as_posix()}", **index)
        tree = git("write-tree", **index)
    if len(before) == 1 and tree == git("rev-parse", f"{before[0]}^{{tree}}"):
        print(f"{BRANCH} has all of it already")
        return
    machines = ", ".join(sorted({path.parent.name for path in files.values() if path.name == "machine.json"}))
    parents = [option for commit in before for option in ("-p", commit)]
    commit = git("commit-tree", tree, *parents, "-m", f"Results of {machines}")
    git("update-ref", f"refs/heads/{BRANCH}", commit)
    print(f"{BRANCH} is {commit[:10]}, {len(files)} files; share it with: git push origin {BRANCH}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("run", "fetch", "keep"))
    parser.add_argument("--bench", default="", help="run only benchmarks whose name matches this")
    parser.add_argument("--machine", default="", help="the name of this machine")
    chosen = parser.parse_args()
    if chosen.action == "run":
        measure(chosen.machine, chosen.bench)
    {"fetch": fetch, "keep": keep}[chosen.action]()


if __name__ == "__main__":
    main()
