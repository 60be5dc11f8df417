"""The command line: ``python -m benchmarks.peers`` or ``python benchmarks/peers``."""

import sys
from pathlib import Path

if not __package__:  # run by its directory
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from benchmarks.peers.cli import main

if __name__ == "__main__":
    sys.exit(main())
