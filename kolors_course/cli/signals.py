"""Ending a command from outside as Ctrl-C ends it: everything that it holds is given back first."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Sent by `kill`, `timeout`, container managers; and by a terminal that is closed (not on Windows).
NAMES = ("SIGTERM", "SIGHUP")


class Ended(SystemExit):
    """A signal asked for the end; the exit status is 128 and its number, as shells have it."""


@contextmanager
def ended_in_order() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into `Ended` in what runs inside, and say so at its end.

    A signal that is ignored (nohup) or handled otherwise is left alone, and so is all outside the main thread.
    """
    signals = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        signals = []
    ours = [number for number in signals if signal.getsignal(number) == signal.SIG_DFL]

    def end(number: int, frame: object) -> None:
        for other in ours:
            signal.signal(
                other, signal.SIG_IGN
            )  # the cleaning up is not to be ended in turn; Ctrl-C still can
        raise Ended(128 + number)

    for number in ours:
        signal.signal(number, end)
    try:
        yield
    except Ended:
        print("stopped", file=sys.stderr)
        raise
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
