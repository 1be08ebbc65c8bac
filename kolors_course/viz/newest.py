"""Work beside the page: a thread that works on the newest request only, and drops what became outdated."""

import atexit
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

Request = TypeVar("Request")


class OutdatedError(Exception):
    """Raised inside the work on a request that is no longer the newest, or that nobody waits for any more."""


class NewestFirst(Generic[Request]):
    """A thread that works on one request at a time, always the newest.

    At most one request waits: a newer one takes its place. The one that is worked on is abandoned where its work
    next looks, by calling the `check` that it was given. The same request as the last is no new work.
    """

    def __init__(
        self,
        work: Callable[[Request, Callable[[], None]], None],
        failed: Callable[[Exception], None],
        *,
        done: Request,
        name: str,
    ):
        """Start the thread, which keeps Python from ending no longer than until its work looks next.

        Args:
            work: called in the thread with a request and with `check`, which raises `OutdatedError` once the request
                is outdated.
            failed: called in the thread with what else `work` raised; the next request is worked on all the same.
            done: the request that needs no work any more.
            name: of the thread.
        """
        self._work, self._failed = work, failed
        self._changed = threading.Condition()
        self._newest = done
        self._waits = self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        # A thread that Python's end finds inside torch would abort the process.
        atexit.register(self.close)
        self._thread.start()

    def ask(self, request: Request) -> None:
        """Work on `request` as soon as possible; returns at once. After `close` nothing is worked on."""
        with self._changed:
            if request != self._newest:
                self._newest, self._waits = request, True
                self._changed.notify_all()

    def close(self) -> None:
        """Abandon what is worked on and what waits, and wait for the thread to end. So does the end of Python."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not threading.current_thread():
            self._thread.join()
        atexit.unregister(self.close)

    def _check(self) -> None:
        if self._waits or self._closed:
            raise OutdatedError

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waits or self._closed)
                if self._closed:
                    return
                request, self._waits = self._newest, False
            try:
                with suppress(OutdatedError):
                    self._work(request, self._check)
            except Exception as error:
                self._failed(error)
