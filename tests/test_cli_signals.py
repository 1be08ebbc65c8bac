"""Commands that are ended from outside give back what they hold, and end with the status that shells expect."""

import os
import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of Unix")

HOLDS = """
import os, signal, sys, threading, time
from kolors_course.cli.signals import ended_in_order

number = int(sys.argv[1])
if sys.argv[2] == "ignored":
    signal.signal(number, signal.SIG_IGN)
with ended_in_order():
    try:
        os.kill(os.getpid(), number)
        time.sleep(0.01)
        print("went on")
    finally:
        os.kill(os.getpid(), number)  # a second one does not end the cleaning up
        time.sleep(0.01)
        print("given back")
print("after", signal.getsignal(number) == signal.SIG_DFL)
"""


def run(number: int, how: str) -> tuple[int, str, str]:
    # What starts the tests may ignore signals itself, as nohup does, and programs inherit that.
    done = subprocess.run(
        [sys.executable, "-c", HOLDS, str(number), how],
        capture_output=True,
        text=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_an_ended_command_gives_back_what_it_holds(number):
    assert run(number, "here") == (128 + number, "given back\n", "stopped\n")


def test_what_is_ignored_stays_ignored():
    """As nohup wants it."""
    assert run(signal.SIGHUP, "ignored") == (0, "went on\ngiven back\nafter False\n", "")
