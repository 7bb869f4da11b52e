"""Calls are made again for passing reasons only, within bounds, and not all at once."""

import pytest

from airflow_ee.core.errors import Internal, NotFound, QueueFull, TooManyRequests
from airflow_ee.core.retry import Retrier
from airflow_ee.core.settings import RetryPolicy


class Time:
    def __init__(self):
        self.now, self.waits = 0.0, []

    def sleep(self, seconds):
        self.waits.append(seconds)
        self.now += seconds


def retrier(policy=RetryPolicy(), *, share=1.0):
    time = Time()
    drawn = []

    def uniform(low, high):
        drawn.append((low, high))
        return low + (high - low) * share

    return Retrier(policy, sleep=time.sleep, clock=lambda: time.now, uniform=uniform), time, drawn


def failing(times, error=Internal("busy")):
    calls = []

    def function():
        calls.append(1)
        if len(calls) <= times:
            raise error
        return len(calls)

    return function, calls


def test_a_passing_failure_is_cured_by_another_call():
    subject, time, drawn = retrier()
    function, _ = failing(3)
    assert subject.call("x", function) == 4
    assert drawn == [(0.0, 1.0), (0.0, 2.0), (0.0, 4.0)]
    assert time.waits == [1.0, 2.0, 4.0]


def test_the_last_failure_is_raised_when_attempts_are_used_up():
    subject, time, _ = retrier(RetryPolicy(attempts=3))
    function, calls = failing(99)
    with pytest.raises(Internal):
        subject.call("x", function)
    assert len(calls) == 3
    assert len(time.waits) == 2


def test_a_permanent_failure_is_raised_at_once():
    subject, time, _ = retrier()
    function, calls = failing(99, NotFound("gone"))
    with pytest.raises(NotFound):
        subject.call("x", function)
    assert (len(calls), time.waits) == (1, [])


def test_a_full_queue_is_left_to_airflows_own_retries():
    subject, time, _ = retrier()
    function, calls = failing(99, QueueFull("many tasks already in the queue"))
    with pytest.raises(QueueFull):
        subject.call("image:export", function)
    assert (len(calls), time.waits) == (1, [])
    assert QueueFull.retryable


def test_a_call_that_must_not_happen_twice_is_made_once():
    subject, _, _ = retrier()
    function, calls = failing(99)
    with pytest.raises(Internal):
        subject.call("x", function, repeatable=False)
    assert len(calls) == 1


def test_retry_after_is_a_lower_bound_of_the_wait():
    subject, time, _ = retrier(share=0.0)
    function, _ = failing(1, TooManyRequests("slow down", (), 7.0))
    subject.call("x", function)
    assert time.waits == [7.0]


def test_no_retry_starts_after_the_total_time():
    subject, time, _ = retrier(RetryPolicy(total_seconds=5, attempts=99))
    function, calls = failing(99)
    with pytest.raises(Internal):
        subject.call("x", function)
    assert sum(time.waits) <= 5
    assert len(calls) == 3  # waits of 1 and 2 s fit, 4 s more would not


def test_waits_never_exceed_the_maximum():
    subject, time, _ = retrier(RetryPolicy(attempts=10, maximum_seconds=3))
    function, _ = failing(9)
    subject.call("x", function)
    assert max(time.waits) == 3
