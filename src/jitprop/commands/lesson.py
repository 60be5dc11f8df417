"""``jitprop lesson``: list the lessons, or read one."""

import argparse
import os
import sys
import textwrap
from typing import Any

from .. import lessons, plots
from .options import check_outputs

__all__ = ["add"]


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "lesson",
        help="twelve short lessons with numbers computed live",
        description="Without a name, list the lessons. With one, run it: a page of explanation, numbers "
        "computed while you read, a question to answer before the result shows, and an exercise.",
    )
    parser.set_defaults(run=run)
    parser.add_argument("name", nargs="?", metavar="NAME", help="one of the names in the list")
    parser.add_argument("--plot", metavar="FILE", help="also write the lesson's picture, with matplotlib")
    parser.add_argument(
        "--check", metavar="FILE.py", help="check your answer to the exercise; exit code 1 if it is not right"
    )
    for kind in ("latex", "html"):
        parser.add_argument(f"--{kind}", metavar="FILE", help=f"of the lesson step: also write its arrays as {kind}")
    parser.add_argument(
        "--no-wait", action="store_true", help="show answers at once (at a terminal each waits for Enter)"
    )


def run(arguments: argparse.Namespace) -> int:
    """List the lessons, run one, or check an answer; 1 if the answer is not right."""
    name = arguments.name
    if name is None:
        if any((arguments.plot, arguments.check, arguments.latex, arguments.html)):
            raise ValueError(f"which lesson? Its name comes first, one of {', '.join(lessons.LESSONS)}")
        print(f"Twelve lessons; jitprop lesson NAME runs one.\n\n{lessons.overview()}")
        return 0
    if name.isdecimal() and 1 <= int(name) <= len(lessons.LESSONS):  # as the overview counts them
        name = list(lessons.LESSONS)[int(name) - 1]
    lesson = lessons.load(name)
    if arguments.plot is not None:
        if not hasattr(lesson, "draw"):
            raise ValueError(f"the lesson {name!r} has no picture")
        plots.picture_format(arguments.plot)
    documents = {kind: path for kind in ("latex", "html") if (path := getattr(arguments, kind)) is not None}
    for kind in documents:
        if not hasattr(lesson, "example"):
            raise ValueError(f"--{kind} is for the lesson 'step', got {name!r}")
    outputs = {"--plot": arguments.plot} | {f"--{kind}": path for kind, path in documents.items()}
    check_outputs(outputs, {"--check": arguments.check})
    right = True
    if arguments.check is not None:
        report = lessons.check(name, arguments.check)
        print(_wrapped(str(report)))
        right = report.ok
    else:
        lessons.run(name, wait=not arguments.no_wait and sys.stdin.isatty() and sys.stdout.isatty())
    if arguments.plot is not None:
        lessons.figure(name, arguments.plot)
        print(f"\npicture saved: {os.path.abspath(arguments.plot)}")
    for kind, path in documents.items():
        lesson.example().save(path, kind)
        print(f"\n{kind} saved: {os.path.abspath(path)}")
    return 0 if right else 1


def _wrapped(text: str) -> str:
    """Long lines of a report, wrapped under their dash."""
    return "\n".join(
        textwrap.fill(line, 80, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
        for line in text.splitlines()
    )
