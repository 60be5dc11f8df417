"""From times to tables: the ratio to the best peer, the share of the FMA peak, and geometric means."""

import json
import math
import statistics
from pathlib import Path

from .cases import GROUPS
from .measure import quartiles

__all__ = ["OURS", "best_peer", "geometric_means", "markdown", "results", "write"]

OURS = ("jitprop", "Network.fit", "Network.predict_proba")


def results(case, rows, threads, peak, failures):
    """What one case gave, as JSON can say it.

    Times are seconds of a step of training or of one prediction. `ratio` is the time of the best peer divided by the
    row's: above 1 the row is faster. `ratio_quartiles` are those of the same ratio round by round. `share_of_peak` is
    the products' operations a second by the threads' FMA peak, GFLOP/s.
    """
    found = {
        "network": case.name, "units": list(case.network.units), "batch": case.network.batch,
        "examples": case.network.examples if case.task == "train" else case.examples,
        "task": case.task, "optimizer": case.optimizer if case.task == "train" else None, "dtype": case.dtype,
        "threads": threads, "operations": case.operations, "failures": failures, "rows": {},
    }  # fmt: skip
    for row in rows:
        times = [sample / case.units_of_work for sample in row.samples]
        low, median, high = quartiles(times)
        found["rows"][row.name] = {
            "median": median, "quartiles": [low, high], "rounds": len(times), "calls_in_a_turn": row.count,
            "chosen": row.label, "tried": {label: call / case.units_of_work for label, call in row.tried.items()},
            "share_of_peak": case.operations / median / (peak * 1e9 * threads) if peak else None,
            "samples": times,
        }  # fmt: skip
    best = best_peer(found)
    found["best_peer"] = best
    for row in found["rows"].values():
        if best is None:
            row["ratio"] = row["ratio_quartiles"] = None
            continue
        peer = found["rows"][best]
        row["ratio"] = peer["median"] / row["median"]
        each = quartiles([a / b for a, b in zip(peer["samples"], row["samples"], strict=False)])
        row["ratio_quartiles"] = [each[0], each[2]]
    return found


def best_peer(found):
    """The name of the fastest row that is not ours, or None."""
    peers = {name: row["median"] for name, row in found["rows"].items() if name not in OURS}
    return min(peers, key=peers.get) if peers else None


def _kind(found):
    return found["task"], found["optimizer"], found["dtype"], found["threads"]


def geometric_means(measured):
    """The geometric mean of our ratios for each kind of run, row of ours and group: a list of dicts."""
    means = []
    for kind in dict.fromkeys(map(_kind, measured)):
        same = [found for found in measured if _kind(found) == kind]
        for name in OURS:
            for group, networks in GROUPS.items():
                ratios = [
                    found["rows"][name]["ratio"]
                    for found in same
                    if found["network"] in networks and name in found["rows"] and found["best_peer"]
                ]
                if ratios:
                    mean = math.exp(statistics.fmean(map(math.log, ratios)))
                    found = dict(zip(("task", "optimizer", "dtype", "threads"), kind, strict=True))
                    found |= {"row": name, "group": group, "networks": len(ratios)}
                    means.append(found | {"mean": mean, "least": min(ratios)})
    return means


def _time(seconds):
    """Microseconds with three digits."""
    us = seconds * 1e6
    return f"{us:.0f}" if us >= 100 else f"{us:.3g}"


def _title(kind):
    task, optimizer, dtype, threads = kind
    words = {
        "train": f"training, {optimizer}",
        "predict-one": "prediction of one example",
        "predict-many": "prediction of many examples",
    }[task]
    return f"### {words}, {dtype}, {threads} thread{'s' if threads > 1 else ''}"


def _label(found):
    units = found["units"]
    shape = "-".join(map(str, units))
    if len(units) > 8 and len(set(units[1:-1])) == 1:
        shape = f"{units[0]}-{len(units) - 2}x{units[1]}-{units[-1]}"
    if found["task"] == "predict-many":
        return f"{shape}, {found['examples']}"
    if found["task"] == "predict-one":
        return shape
    full = " full" if found["batch"] == found["examples"] else ""
    return f"{shape}, {found['batch']}{full}"


def _table(same):
    """Networks down, rows across; a cell is the time, the ratio to the best peer and the share of the peak."""
    names = list(dict.fromkeys(name for found in same for name in found["rows"]))
    names.sort(key=lambda name: name not in OURS)
    lines = ["| network | " + " | ".join(names) + " | best peer |", "|---" * (len(names) + 2) + "|"]
    for found in same:
        cells = []
        for name in names:
            row = found["rows"].get(name)
            if row is None:
                cells.append("")
                continue
            ratio = "" if row["ratio"] is None else f" **{row['ratio']:.2f}**"
            share = "" if row["share_of_peak"] is None else f" {row['share_of_peak']:.0%}"
            cells.append(f"{_time(row['median'])}{ratio}{share}")
        lines.append(f"| {_label(found)} | " + " | ".join(cells) + f" | {found['best_peer'] or ''} |")
    return lines


def markdown(document):
    """The whole report: machine, versions, a table for each kind of run, geometric means, and what failed."""
    machine, measured = document["machine"], document["results"]
    peaks = ", ".join(f"{name} {value:.0f} GFLOP/s" for name, value in document["peak_gflops"].items())
    lines = [
        f"{machine['processor']}, {machine['processors']} processors, {machine['system']}, Python {machine['python']}. "
        f"FMA peak of one thread: {peaks or 'not measured'}.",
        "; ".join(f"{name} {version}" for name, version in document["versions"].items()) + ".",
    ]
    if document["vectors"]:
        lines.append(f"Every framework held to vectors of {document['vectors']} bits.")
    lines += [f"Not measured: {name} ({why})." for name, why in document["missing"].items()]
    lines += [
        "",
        "Median microseconds of a step of training or of one prediction, **time of the best peer / this time** (above "
        "1 is faster than every peer), and the share of the FMA peak of all threads.",
    ]
    for kind in dict.fromkeys(map(_kind, measured)):
        lines += ["", _title(kind), "", *_table([found for found in measured if _kind(found) == kind])]
    means = geometric_means(measured)
    if means:
        lines += ["", "### geometric means of time of the best peer / time", ""]
        lines += ["| run | row | networks | mean | least |", "|---|---|---|---|---|"]
        for mean in means:
            run = _title((mean["task"], mean["optimizer"], mean["dtype"], mean["threads"])).removeprefix("### ")
            which = f"{mean['group']} ({mean['networks']})"
            lines.append(f"| {run} | {mean['row']} | {which} | {mean['mean']:.2f} | {mean['least']:.2f} |")
    failures = [failure for found in measured for failure in found["failures"]]
    if failures:
        lines += ["", "### failed", "", *(f"- {failure}" for failure in failures)]
    return "\n".join(lines) + "\n"


def write(document, json_path, markdown_path):
    """Write the files that were asked for; called after every case, so that a run that is ended leaves what it has."""
    if json_path:
        Path(json_path).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if markdown_path:
        Path(markdown_path).write_text(markdown(document), encoding="utf-8")
