"""What all tests share: Hypothesis draws the same examples every time, and figures need no display."""

import os
import signal

from hypothesis import HealthCheck, settings

# The first example may wait for a compile, which is neither a slow test nor a flaky one.
settings.register_profile(
    "jitprop", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("jitprop")

os.environ.setdefault("MPLBACKEND", "Agg")  # also for the processes that tests start

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # So a shell starts what it puts in the background, and the processes that tests start would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
