"""Long work of the page: progress, cancelling, one after the other, and the end of a session."""

import gc
import threading

import pytest

from common.errors import UsageError
from common.progress import progress
from page.work import CancelledError, Status, Work

pytestmark = pytest.mark.once
SECONDS = 20


def counting(reached: threading.Event, go_on: threading.Event):
    """A task of a million steps that says when the second one is reached."""

    def steps():
        for i in range(10**6):
            if i == 2:
                reached.set()
                go_on.wait(SECONDS)
            yield i

    def task():
        for _ in progress(steps(), 10**6, "fit something", size=lambda _: 1):
            pass

    return task


def test_progress_and_outcome():
    def task():
        for _ in progress(range(3), 3, "judge", size=lambda _: 1):
            pass
        return "done"

    work = Work("x", task)
    assert work.join(SECONDS)
    status = work.status
    assert (status.outcome, status.error) == ("done", None)
    assert (status.what, status.done, status.total) == ("judge", 3, 3)


def test_the_time_left_is_that_of_the_present_step(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("page.work.time.perf_counter", lambda: now[0])
    status = Status()
    for what, done, seconds in (("fit", 10, 0), ("fit", 20, 5), ("judge", 1, 50), ("judge", 3, 1)):
        now[0] += seconds
        status.watch(what, done, 30)
        if (what, done) == ("fit", 20):
            assert status.seconds_left == pytest.approx(5)
        if done in (1, 10):
            assert status.seconds_left is None
    assert status.seconds_left == pytest.approx(27 / 2)


def test_cancelling_ends_the_work_at_its_next_step():
    reached, go_on = threading.Event(), threading.Event()
    work = Work("x", counting(reached, go_on))
    assert reached.wait(SECONDS)
    work.cancel()
    go_on.set()
    assert work.join(SECONDS)
    assert isinstance(work.status.error, CancelledError) and work.status.done < 5


def test_work_is_cancelled_when_nothing_refers_to_it():
    reached, go_on = threading.Event(), threading.Event()
    work = Work("x", counting(reached, go_on))
    status = work.status
    assert reached.wait(SECONDS)
    del work
    gc.collect()
    go_on.set()
    assert status.ended.wait(SECONDS)
    assert isinstance(status.error, CancelledError)


def test_one_works_at_a_time_and_the_one_that_waits_can_be_cancelled():
    reached, go_on = threading.Event(), threading.Event()
    first = Work("first", counting(reached, go_on))
    assert reached.wait(SECONDS)
    second, third = Work("second", lambda: 2), Work("third", lambda: 3)
    third.cancel()
    assert third.join(SECONDS) and isinstance(third.status.error, CancelledError)
    assert second.status.waiting and not second.status.ended.is_set()
    first.cancel()
    go_on.set()
    assert second.join(SECONDS) and second.status.outcome == 2


def test_errors_are_kept_and_unexpected_ones_are_logged(caplog):
    def fail(error):
        raise error

    for error in (UsageError("too few"), ZeroDivisionError("secret")):
        work = Work("x", lambda error=error: fail(error))
        assert work.join(SECONDS) and work.status.error is error
    assert [record.message for record in caplog.records] == ["unexpected error"]
    assert "secret" in caplog.text and "too few" not in caplog.text
