"""The thread that works on the newest request only."""

import threading
from queue import SimpleQueue

import pytest

from kolors_course.viz.newest import NewestFirst, OutdatedError

SOON = 30  # seconds; only a test that fails waits so long


class Bench:
    """Work that stops in the middle until it is let go, and tells what happened to each request."""

    def __init__(self):
        self.started, self.told, self.go = SimpleQueue(), SimpleQueue(), threading.Semaphore(0)
        self.worker = NewestFirst(self.work, self.failed, done="nothing", name="bench")

    def work(self, request, check):
        self.started.put(request)
        assert self.go.acquire(timeout=SOON)
        if request == "bad":
            raise ValueError("bad")
        try:
            check()
        except OutdatedError:
            self.told.put(f"{request} dropped")
            raise
        self.told.put(f"{request} done")

    def failed(self, error):
        self.told.put(f"failed: {error}")

    def next(self):
        return self.told.get(timeout=SOON)

    def has_started(self):
        return self.started.get(timeout=SOON)

    def finish(self, request):
        """Let the work on `request`, which has been asked for, go to its end."""
        assert self.has_started() == request
        self.go.release()
        assert self.next() == f"{request} done"


@pytest.fixture
def bench():
    before = threading.enumerate()
    bench = Bench()
    yield bench
    bench.go.release(9)
    bench.worker.close()
    assert set(threading.enumerate()) <= set(before)


def test_what_is_asked_for_is_worked_on(bench):
    for request in ("a", "b"):
        bench.worker.ask(request)
        bench.finish(request)


def test_only_the_newest_waits_and_what_is_worked_on_is_abandoned(bench):
    bench.worker.ask("a")
    assert bench.has_started() == "a"
    for request in ("b", "c", "d"):
        bench.worker.ask(request)
    bench.go.release()
    assert bench.next() == "a dropped"
    bench.finish("d")
    assert bench.started.empty()


def test_the_same_again_is_no_work(bench):
    bench.worker.ask("nothing")
    bench.worker.ask("a")
    assert bench.has_started() == "a"
    bench.worker.ask("a")
    bench.go.release()
    assert bench.next() == "a done"
    bench.worker.ask("a")
    bench.worker.ask("b")
    bench.finish("b")


def test_back_to_what_was_abandoned_is_work(bench):
    bench.worker.ask("a")
    assert bench.has_started() == "a"
    bench.worker.ask("b")
    bench.worker.ask("a")
    bench.go.release()
    assert bench.next() == "a dropped"
    bench.finish("a")


def test_an_error_is_told_and_the_next_request_is_worked_on(bench):
    bench.worker.ask("bad")
    assert bench.has_started() == "bad"
    bench.go.release()
    assert bench.next() == "failed: bad"
    bench.worker.ask("a")
    bench.finish("a")


def test_closing_abandons_everything_and_ends_the_thread(bench):
    bench.worker.ask("a")
    assert bench.has_started() == "a"
    bench.worker.ask("b")
    closing = threading.Thread(target=bench.worker.close)
    closing.start()
    bench.go.release()
    closing.join(SOON)
    assert not closing.is_alive()
    assert bench.next() == "a dropped"
    assert bench.started.empty()
    assert "bench" not in {thread.name for thread in threading.enumerate()}
    bench.worker.ask("c")
    bench.worker.close()
    assert bench.started.empty()
