"""Threads that do every item once, stop at the first failure, and are waited for only while they write."""

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_ee.core.crew import Crew
from airflow_ee.core.errors import Stopped


@given(count=st.integers(0, 60), concurrency=st.integers(1, 8))
def test_every_item_is_done_once(count, concurrency):
    seen = []
    Crew(range(count), lambda item: seen.append(item) or (), concurrency=concurrency).run()
    assert sorted(seen) == list(range(count))


@given(depth=st.integers(0, 4), concurrency=st.integers(1, 4))
def test_items_that_come_of_items_are_done_too(depth, concurrency):
    seen = []

    def split(level):
        seen.append(level)
        return [level - 1] * 3 if level else []

    Crew([depth], split, concurrency=concurrency).run()
    assert len(seen) == sum(3**level for level in range(depth + 1))


def test_the_first_failure_is_raised_and_ends_the_work():
    done = []

    def work(item):
        done.append(item)
        if item == 3:
            raise LookupError("three")
        return ()

    with pytest.raises(LookupError, match="three"):
        Crew(iter(range(1_000_000)), work, concurrency=4).run()
    assert len(done) < 10_000


def test_a_failure_of_the_items_themselves_is_raised():
    def items():
        yield 1
        raise ValueError("a plan that fails")

    with pytest.raises(ValueError, match="a plan that fails"):
        Crew(items(), lambda _: (), concurrency=2).run()


def test_items_are_taken_only_when_a_thread_is_free():
    taken, done, most = [0], [0], [0]

    def items():
        for item in range(100):
            taken[0] += 1
            most[0] = max(most[0], taken[0] - done[0])
            yield item

    def work(_):
        time.sleep(0.001)
        done[0] += 1
        return ()

    Crew(items(), work, concurrency=4).run()
    assert most[0] <= 5


def test_a_crew_that_is_told_to_stop_does_not_wait_for_answers():
    asked, never = threading.Event(), threading.Event()

    def work(_):
        asked.set()
        never.wait(30)
        return ()

    def stop():
        if asked.is_set():
            raise Stopped("told to")

    began = time.monotonic()
    with pytest.raises(Stopped, match="told to"):
        Crew([1, 2, 3], work, concurrency=2).run(stop)
    assert time.monotonic() - began < 2
    never.set()


def test_what_is_being_written_is_waited_for():
    written, begun = [], threading.Event()

    def work(item):
        with crew.writing():
            begun.set()
            time.sleep(0.3)
            written.append(item)
        return ()

    def stop():
        if begun.is_set():
            raise Stopped("told to")

    crew = Crew([1], work, concurrency=1)
    with pytest.raises(Stopped):
        crew.run(stop)
    assert written == [1]
    with pytest.raises(Stopped), crew.writing():
        pass
