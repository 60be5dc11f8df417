"""Schedules against their closed forms, one number at a time."""

import math
import pickle

import numpy as np
import pytest

from jitprop.schedules import (
    Constant,
    Cosine,
    Exponential,
    InverseDecay,
    Step,
    WarmUp,
    as_schedule,
    schedule_from_dict,
)

EPOCHS = np.array([0.0, 0.25, 1.0, 1.5, 3.0, 4.999, 5.0, 7.25, 10.0, 40.0])
CLOSED = [
    (Constant(0.1), lambda t: 0.1),
    (Step(0.1, every=5, factor=0.5), lambda t: 0.1 * 0.5 ** (t // 5)),
    (Exponential(0.1, decay=0.9), lambda t: 0.1 * 0.9**t),
    (InverseDecay(0.1, decay=2.0), lambda t: 0.1 / (1 + 2 * t)),
    (
        Cosine(0.1, epochs=10, minimum=0.01),
        lambda t: 0.01 + 0.045 * (1 + math.cos(math.pi * t / 10)) if t < 10 else 0.01,
    ),
    (WarmUp(0.1, epochs=2), lambda t: 0.1 * min(t / 2, 1)),
    (WarmUp(Exponential(0.1, 0.9), epochs=2), lambda t: 0.1 * 0.9**t * min(t / 2, 1)),
]
IDS = [type(schedule).__name__ for schedule, _ in CLOSED]


@pytest.mark.parametrize(("schedule", "closed"), CLOSED, ids=IDS)
def test_closed_form(schedule, closed):
    rates = schedule(EPOCHS)
    assert rates.dtype == np.float64 and rates.shape == EPOCHS.shape
    for epoch, rate in zip(EPOCHS, rates, strict=True):
        assert rate == pytest.approx(closed(epoch), rel=1e-14)
        assert schedule(epoch) == rate


@pytest.mark.parametrize(("schedule", "closed"), CLOSED, ids=IDS)
def test_description_pickle_hash(schedule, closed):
    for twin in (schedule_from_dict(schedule.to_dict()), pickle.loads(pickle.dumps(schedule))):
        assert twin == schedule and hash(twin) == hash(schedule)
    with pytest.raises(AttributeError):
        schedule.rate = 1.0


def test_numbers_of_any_kind_are_equal():
    assert Step(np.float64(1), every=np.int64(10)) == Step(1, 10.0)
    assert as_schedule(1) == Constant(1.0)
    assert WarmUp(0.5) == WarmUp(Constant(0.5))


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: Constant(0.0), ValueError, "rate of Constant"),
        (lambda: Constant(-1), ValueError, "rate of Constant"),
        (lambda: Constant(math.nan), ValueError, "rate of Constant"),
        (lambda: Constant(math.inf), ValueError, "rate of Constant"),
        (lambda: Constant("0.1"), TypeError, "rate of Constant"),
        (lambda: Constant(True), TypeError, "rate of Constant"),
        (lambda: Step(0.1, every=0), ValueError, "every of Step"),
        (lambda: Step(0.1, factor=1.5), ValueError, "factor of Step"),
        (lambda: Exponential(0.1, decay=0), ValueError, "decay of Exponential"),
        (lambda: Exponential(0.1, decay=1.01), ValueError, "decay of Exponential"),
        (lambda: InverseDecay(0.1, decay=-0.1), ValueError, "decay of InverseDecay"),
        (lambda: Cosine(0.1, epochs=0), ValueError, "epochs of Cosine"),
        (lambda: Cosine(0.1, epochs=5, minimum=0.2), ValueError, "minimum of Cosine"),
        (lambda: WarmUp(0.1, epochs=0), ValueError, "epochs of WarmUp"),
        (lambda: WarmUp(-0.1), ValueError, "schedule of WarmUp"),
        (lambda: WarmUp(math.sin), TypeError, "schedule of WarmUp"),
        (lambda: WarmUp(WarmUp(0.1)), ValueError, "must not be a WarmUp"),
        (
            lambda: schedule_from_dict(WarmUp(0.1).to_dict() | {"schedule": WarmUp(0.1).to_dict()}),
            ValueError,
            "must not be a WarmUp",
        ),
        (lambda: as_schedule(lambda epoch: 0.1), TypeError, "learning_rate"),
        (lambda: as_schedule(0), ValueError, "learning_rate"),
        (lambda: schedule_from_dict({"name": "Sudden", "rate": 1.0}), ValueError, "unknown schedule"),
        (lambda: schedule_from_dict({"name": ["Step"]}), ValueError, "unknown schedule"),
        (lambda: schedule_from_dict({"name": "Constant"}), ValueError, "fields"),
        (lambda: schedule_from_dict({"name": "Constant", "rate": "fast"}), ValueError, "rate of Constant"),
        (lambda: schedule_from_dict(None), ValueError, "unknown schedule"),
    ],
)
def test_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()
