"""``jitprop lesson``: list the lessons, or read one."""

import argparse
import sys
from typing import Any

from .. import lessons
from ..files import check_writable

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
        "--no-wait", action="store_true", help="show answers at once (at a terminal each waits for Enter)"
    )


def run(arguments: argparse.Namespace) -> int:
    """List, or run a lesson."""
    if arguments.name is None:
        if arguments.plot is not None:
            raise ValueError("--plot needs the name of a lesson: jitprop lesson NAME --plot FILE")
        print(f"Twelve lessons; jitprop lesson NAME runs one.\n\n{lessons.overview()}")
        return 0
    lesson = lessons.load(arguments.name)
    if arguments.plot is not None:
        if not hasattr(lesson, "draw"):
            raise ValueError(f"the lesson {arguments.name!r} has no picture")
        check_writable(arguments.plot)
    lessons.run(arguments.name, wait=not arguments.no_wait and sys.stdin.isatty() and sys.stdout.isatty())
    if arguments.plot is not None:
        lessons.figure(arguments.name, arguments.plot)
        print(f"\npicture saved: {arguments.plot}")
    return 0
