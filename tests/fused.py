"""What tests of the fused step share: cases drawn at random, memory with poison around it, threads in any order.

Threads of a region do not wait for each other, so every order in which they could come to their tasks has to give the
same bits. `Threads` plays the parts of a region one after the other in orders of its choice: what is a race with real
threads, seen once in a thousand runs, is a wrong number here in every run.
"""

import contextlib
import ctypes
import dataclasses
import itertools
import random

import numpy as np
from cases import HEADS, parameters, rng, targets
from test_train_epoch import rows

from jitprop_kernels.contract import ACTIVATIONS, RULES
from jitprop_kernels.jit import compiling, epoch, forward, pieces, plan, tapes
from jitprop_kernels.jit.plan import Plan

POISON = 0xFF  # bytes that make a nan in both dtypes, and an index of -1
GAP = 512  # bytes of poison behind each array of the workspace

_TASK = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 3)


def forget_plans():
    """Drop the plans that wait for the next call: they are for other threads, or lie elsewhere."""
    epoch._plans.clear()
    forward._plans.clear()


def small_pieces(monkeypatch):
    """Let batches be cut into pieces whatever they are worth."""
    limits = {"_WORK": 0, "_WEIGHTS": 2**60, "_CHEAPER": 0, "_LEAST": 2, "_PIECE": 40, "_BYTES": 2**15, "_MEMORY": 1e-9}
    for name, value in limits.items():
        monkeypatch.setattr(pieces, name, value)
    forget_plans()


@contextlib.contextmanager
def watched_plans():
    """The plans of the calls of train_epoch in this block, in a list."""
    found, make = [], epoch._plan

    def watch(*arguments):
        found.append(make(*arguments))
        return found[-1]

    epoch._plan = watch
    try:
        yield found
    finally:
        epoch._plan = make


def _numbers(address, count):
    return list((ctypes.c_int64 * count).from_address(address))


class Threads:
    """Stands for the threads of a region, which get their parts of its tasks done in a given order.

    ``ascending`` and ``descending``: a thread does all its tasks before the next begins; ``together``: all do a task
    before any begins the next; ``mixed``: at random.
    """

    ORDERS = ("ascending", "descending", "together", "mixed")

    def __init__(self, monkeypatch, number, order):
        self.order, self.regions, self.random = order, [], random.Random(0)
        self.callback = _TASK(self._run)
        for module in (epoch, forward):
            monkeypatch.setattr(module, "launcher", lambda: ctypes.cast(self.callback, ctypes.c_void_p).value)
        monkeypatch.setattr(compiling, "parallel_region", contextlib.nullcontext)
        monkeypatch.setattr(compiling, "get_num_threads", lambda: number)
        monkeypatch.setattr(compiling, "may_run_parallel", lambda: number > 1)
        for module in (plan, forward):
            monkeypatch.setattr(module, "SPAWN", 0)
        monkeypatch.setattr(plan, "CROSSING", 0)
        forget_plans()

    def _run(self, player, region, tasks):
        tape, first, last = _numbers(region, 3)
        places = [tape + i * tapes._WIDTH * 8 for i in range(first, last)]
        self.regions.append((len(places), tasks))
        for t, place in self._sequence(places, tasks):
            _TASK(_numbers(place, 1)[0])(place + 8, t, tasks)

    def _sequence(self, places, tasks):
        if self.order == "together":
            return [(t, place) for place in places for t in reversed(range(tasks))]
        if self.order != "mixed":
            turns = range(tasks) if self.order == "ascending" else reversed(range(tasks))
            return [(t, place) for t in turns for place in places]
        turns = [t for t in range(tasks) for _ in places]
        self.random.shuffle(turns)
        left = [iter(places) for _ in range(tasks)]
        return [(t, next(left[t])) for t in turns]


@dataclasses.dataclass(frozen=True)
class Case:
    """A network, its examples and how it is trained."""

    units: tuple
    m: int
    batch: int
    layout: str = "F"
    visited: int | None = None  # None: all in order
    head: tuple = ("softmax", "cross_entropy")
    indices: bool = False
    activations: tuple | None = None
    rule: str = "adam"
    l2: float = 0.0
    dropout: tuple | None = None
    weighted: bool = False
    clip_value: float = np.inf
    clip_norm: float = np.inf
    pad: int = 5  # numbers behind each row of a parameter
    dtype: str = "float64"

    def __str__(self):
        units = "-".join(map(str, self.units if len(self.units) < 9 else (*self.units[:3], "...", self.units[-1])))
        return f"{units} batch {self.batch} of {self.m} {self.layout} {self.rule}"

    @property
    def steps(self):
        return -(-(self.visited or self.m) // self.batch)

    def arrays(self):
        """Parameters, state, and the other arguments of train_epoch, all in the case's dtype."""
        g = rng("fused", self)
        like = parameters(g, self.units, self.dtype)
        like[-1] += 1  # or else outputs of relu would rest at 0
        state = [[np.zeros_like(p) for p in like] for _ in RULES[self.rule].slots]
        X = np.array(g.standard_normal((self.units[0], self.m)), self.dtype, order=self.layout)
        Y = targets(g, *self.head, (self.units[-1], self.m), self.dtype)
        if self.indices:
            Y = g.integers(0, self.units[-1], (1, self.m))
        order = None if self.visited is None else g.integers(0, self.m, self.visited)
        # So that rate / epsilon, by which these multiply roundings of small gradients, is 1.
        rate = 1e-3 if self.rule in ("rmsprop", "adam") else 0.02
        clips = {"clip_value": self.clip_value, "clip_norm": self.clip_norm}
        table = rows(self.rule, self.steps, rate=rate, decay=0.99, **clips)
        weights = g.random((1, self.m)).astype(self.dtype) if self.weighted else None
        return like, state, X, Y, order, table, weights

    def train(self, kernels, place=np.copy):
        """Costs, parameters and state after the steps; `place` copies each array to where it is to lie."""
        like, state, X, Y, order, table, weights = self.arrays()

        def placed(array):
            if array.shape[1] == 1 or not self.pad:
                return place(array)
            frame = np.full((array.shape[0], array.shape[1] + self.pad), np.nan, array.dtype)
            frame[:, : array.shape[1]] = array
            return place(frame)[:, : array.shape[1]]

        like, state = [placed(p) for p in like], [[placed(p) for p in slot] for slot in state]
        X, Y, table = place(X.T).T if self.layout == "F" else place(X), place(Y), place(table)
        order, weights = (None if array is None else place(array) for array in (order, weights))
        activations = self.activations or ["relu"] * (len(self.units) - 2)
        costs = kernels.train_epoch(
            like, X, Y, order, self.batch, activations, *self.head, self.rule, state, table,
            self.l2, self.dropout, 7, weights,
        )  # fmt: skip
        assert len(costs) == self.steps
        return [costs, *like, *itertools.chain(*state)]


def draw(seed):
    """A case of random shape and options; sizes are 1, or at the edges of vectors, tiles and panels."""
    g = rng("draw", seed)
    edges = (1, 1, 2, 3, 7, 13, 14, 15, 16, 17, 29, 31, 32, 33, 63, 64, 65, 100, 127, 128, 129, 200)
    layers = int(g.choice([1, 1, 2, 2, 3, 4, 7]))
    units = [int(g.choice(edges)) for _ in range(layers + 1)]
    if g.random() < 0.2:
        units[int(g.integers(2))] = int(g.choice([256, 511, 1024, 1100, 2100]))
    m = int(g.choice([1, 2, 16, 23, 24, 33, 64, 65, 97, 130, 200, 1100]))
    while m * sum(n * k for k, n in itertools.pairwise(units)) > 10**7:
        m = m // 2 + 1
    batch = int(g.choice([m, g.integers(1, m + 1), min(m, g.integers(1, 34))]))
    visited = batch * int(g.integers(1, 5)) - int(g.integers(batch))
    head = HEADS[g.integers(len(HEADS))]
    return Case(
        units=tuple(units), m=m, batch=batch, layout="CF"[g.integers(2)],
        visited=None if m <= 40 * batch and g.random() < 0.4 else visited,
        head=head, indices=head[1] == "cross_entropy" and g.random() < 0.5,
        activations=tuple(str(g.choice([*ACTIVATIONS])) for _ in range(layers - 1)), rule=str(g.choice([*RULES])),
        l2=float(g.choice([0.0, 0.1])), dropout=tuple(map(float, g.choice([0.0, 0.3], layers))),
        weighted=g.random() < 0.4, clip_value=float(g.choice([np.inf, np.inf, 0.05])),
        clip_norm=float(g.choice([np.inf, np.inf, 0.3])), pad=int(g.choice([0, 1, 5, 16])),
    )  # fmt: skip


class Poisoned:
    """Copies arrays to the middle of poison, which is to stay what it is."""

    def __init__(self):
        self.frames = []

    def __call__(self, array):
        assert array.flags.c_contiguous
        frame = np.full(array.nbytes + 2 * GAP, POISON, np.uint8)
        self.frames.append((frame, array.nbytes))
        inside = frame[GAP : GAP + array.nbytes].view(array.dtype).reshape(array.shape)
        inside[:] = array
        return inside

    def is_whole(self):
        return all((f[:GAP] == POISON).all() and (f[GAP + n :] == POISON).all() for f, n in self.frames)


class PoisonedWorkspace:
    """Fills workspaces and scratch with a byte before they are used, and leaves gaps between the workspace's arrays."""

    def __init__(self, monkeypatch, byte=POISON):
        self.byte, self.plans = byte, []
        monkeypatch.setattr(Plan, "_allocate", self._allocating(Plan._allocate))
        monkeypatch.setattr(tapes, "np", self)
        forget_plans()

    def __getattr__(self, name):
        return getattr(np, name)

    def empty(self, size, dtype):
        return np.full(size, self.byte, dtype)

    def _allocating(self, allocate):
        def spaced(made, sizes):
            allocate(made, {name: size + GAP for name, size in sizes.items()})
            made.buffer[:] = self.byte
            self.plans.append((made, sizes))

        return spaced

    def overrun(self):
        """Names of the arrays behind which something was written."""
        found = []
        for made, sizes in self.plans:
            start = made.buffer.ctypes.data
            for name, size in sizes.items():
                end = made.address[name] - start + size
                if (made.buffer[end : end + GAP] != self.byte).any():
                    found.append(name)
        return found
