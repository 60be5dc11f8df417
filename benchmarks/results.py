"""Where results live: on a branch of their own, beside the code's, a directory a machine.

    python benchmarks/results.py run [--bench REGEX]   measure HEAD, under this machine's name
    python benchmarks/results.py fetch                 bring the branch's results into .asv/results
    python benchmarks/results.py keep                  commit the results in .asv/results to the branch

The branch `benchmark-results` has no history in common with the code and is never checked out: commits are made
beside the working tree. It holds `<machine>/machine.json`, the processor, its cores, memory and system; the results,
`<machine>/<commit>-*.json`; and `versions/<machine>/<commit>.json`, what stood in asv's environments.
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
from io import BytesIO
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / ".asv" / "results"
VERSIONS = ROOT / ".asv" / "versions"
BRANCH = "benchmark-results"
PACKAGES = ("numpy", "numba", "llvmlite", "scikit-learn")


def git(*arguments, data=None, check=True, **environment):
    """The output of git, as bytes."""
    return subprocess.run(
        ["git", *arguments],
        cwd=ROOT, input=data, check=check, stdout=subprocess.PIPE, env=os.environ | environment,
        stderr=None if check else subprocess.DEVNULL,
    ).stdout  # fmt: skip


def tip():
    """The branch's commit here or at origin, or None."""
    for name in (f"refs/heads/{BRANCH}", f"refs/remotes/origin/{BRANCH}"):
        if found := git("rev-parse", "--verify", "--quiet", name, check=False).decode().strip():
            return found
    return None


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
    if not re.fullmatch(r"[\w.-]+", name):
        raise SystemExit(f"a name of a machine is letters, digits, '.', '_' and '-', not {name!r}")
    command = [sys.executable, "-m", "asv", "machine", "--yes", "--machine", name]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return name


def measure(name, bench):
    """Let asv run the benchmarks at HEAD; its exit status is that of this program."""
    command = [sys.executable, "-m", "asv", "run", "--machine", machine(name), "--bench", bench, "HEAD^!"]
    sys.exit(subprocess.run(command, cwd=ROOT).returncode)


def fetch():
    """Unpack the branch's results where asv looks for them; what is newer here is overwritten by nothing."""
    if tip() is None:
        print(f"no branch {BRANCH} yet")
        return
    with tarfile.open(fileobj=BytesIO(git("archive", tip()))) as archive:
        for member in archive.getmembers():
            base = VERSIONS.parent if member.name.startswith("versions/") else RESULTS
            if member.isfile() and not (base / member.name).exists():
                archive.extract(member, base, filter="data")


def record_versions():
    """Write what each environment of asv holds, for the machines and commits of results that have no such record."""
    code = f"import json, platform; from importlib.metadata import version; print(json.dumps({{'python': platform.\
python_version(), **{{p: version(p) for p in {PACKAGES!r}}}}}))"
    found = {}
    for python in sorted((ROOT / ".asv" / "env").glob("*/bin/python")):
        process = subprocess.run([python, "-c", code], stdout=subprocess.PIPE, text=True)
        if process.returncode == 0:
            found[python.parts[-3]] = json.loads(process.stdout)
    for path in RESULTS.glob("*/*-*.json"):
        target = VERSIONS / path.parent.name / f"{path.name.partition('-')[0]}.json"
        if found and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            record = {"environments": found, "threads": 1, "cores": cores()}
            target.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def keep():
    """Commit all results here to the branch, on top of those that are there."""
    record_versions()
    files = [*RESULTS.rglob("*.json"), *VERSIONS.rglob("*.json")]
    if not any(path.parent != RESULTS for path in files):
        raise SystemExit(f"no results in {RESULTS}: make bench measures some")
    before = tip()
    with tempfile.TemporaryDirectory() as directory:
        index = {"GIT_INDEX_FILE": str(Path(directory) / "index")}
        git("read-tree", before or "--empty", **index)
        for path in files:
            blob = git("hash-object", "-w", str(path)).decode().strip()
            name = path.relative_to(VERSIONS.parent if VERSIONS in path.parents else RESULTS).as_posix()
            git("update-index", "--add", "--cacheinfo", f"100644,{blob},{name}", **index)
        tree = git("write-tree", **index).decode().strip()
    if before and tree == git("rev-parse", f"{before}^{{tree}}").decode().strip():
        print(f"{BRANCH} has all of it already")
        return
    parent = ["-p", before] if before else []
    machines = ", ".join(sorted({path.parent.name for path in RESULTS.glob("*/machine.json")}))
    commit = git("commit-tree", tree, *parent, "-m", f"Results of {machines}").decode().strip()
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
