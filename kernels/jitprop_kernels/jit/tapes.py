"""Tapes: the tasks of a step in order, written down once and played for every batch.

A tape is a list of regions. Within one, every thread plays all tasks, each its own part of them, without waiting for
the others; between two regions they wait.
"""

import numpy as np

from .compiling import inlined
from .launch import address_of, compiled_task, launch
from .vectors import LINE, call_address, unpack

__all__ = ["Tape", "play", "play_own", "player"]

_REGION = 4  # entries of a region: address of the tape, first and last task, threads
_WIDTH = 36  # entries of a row of a tape: task, record


def _play_part(record, t, tasks, one):
    """Play a region's tasks for one thread: record (address of the tape, first, last)."""
    tape, first, last = unpack(record, 3)
    for row in range(tape + first * _WIDTH * 8, tape + last * _WIDTH * 8, _WIDTH * 8):
        call_address(unpack(row, 1)[0], row + 8, t, tasks)


def _play_own(record, t, tasks, one):
    """Play all tasks of the thread's own tape: record (address of a row for each thread: its tape, how many tasks)."""
    tape, count = unpack(unpack(record, 1)[0] + t * 16, 2)
    for row in range(tape, tape + count * _WIDTH * 8, _WIDTH * 8):
        call_address(unpack(row, 1)[0], row + 8, 0, 1)


def play_own():
    """The task in which each thread plays a tape of its own, see `Tape.add_own`."""
    return compiled_task(_play_own, np.dtype(np.float64))


def player():
    """The task that plays a region."""
    return compiled_task(_play_part, np.dtype(np.float64))


@inlined
def play(launcher, player, regions, first, last):
    """Play the regions from `first` to before `last` of those at an address; `launcher` is 0 where all are serial."""
    for r in range(first, last):
        region = regions + r * _REGION * 8
        launch(launcher, player, region, unpack(region, _REGION)[_REGION - 1])


class Tape:
    """The tasks of a step and the regions they form."""

    def __init__(self):
        self.rows, self.cuts, self.scratch, self.room = [], [0], [], 0
        self.threads = []
        self.own, self.tables = [], []

    def add(self, task, record, scratch=None, room=0):
        """Add a task.

        Where each thread needs `room` bytes of scratch, entries `scratch` and `scratch` + 1 of its record become the
        address of the first thread's and the distance to the next one's.
        """
        self.rows.append([task, *record])
        if scratch is not None:
            self.scratch.append((len(self.rows) - 1, 1 + scratch))
            self.room = max(self.room, room)

    def add_own(self, tapes):
        """Add a task in which thread t plays all of tape t, which no other thread does."""
        self.own += [tape.finish(()) for tape in tapes]
        self.tables.append(np.array([[address_of(tape.records), len(tape.records)] for tape in tapes], np.int64))
        self.add(play_own(), [address_of(self.tables[-1])])

    def cut(self, threads):
        """End a region, to be played by so many threads."""
        if len(self.rows) > self.cuts[-1]:
            self.cuts.append(len(self.rows))
            self.threads.append(threads)
        return len(self.threads)

    def finish(self, marks):
        """Make the arrays that are played, and the scratch that tasks share one after the other.

        `marks` are numbers of regions at which playing pauses.
        """
        threads = max(self.threads)
        self.marks, self.parallel = marks, threads > 1
        # Threads of a region may be at different tasks: the scratch of a thread is the same for all.
        room = -(-self.room // LINE) * LINE
        self.buffer = np.empty(room * threads + LINE, np.uint8)
        place = address_of(self.buffer)
        self.records = np.zeros((len(self.rows), _WIDTH), np.int64)
        for i, row in enumerate(self.rows):
            self.records[i, : len(row)] = row
        for i, entry in self.scratch:
            self.records[i, entry : entry + 2] = place + -place % LINE, room
        self.rows, self.scratch = [], []
        start = address_of(self.records)
        self.regions = np.array(
            [[start, *ends, n] for *ends, n in zip(self.cuts, self.cuts[1:], self.threads, strict=False)], np.int64
        )
        self.address = address_of(self.regions)
        return self

    @property
    def nbytes(self):
        """Bytes of the records and of the scratch."""
        return self.buffer.nbytes + self.records.nbytes + sum(tape.nbytes for tape in self.own)
