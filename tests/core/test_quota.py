"""The quota's gate: never more than it was told, less when the service says so, and up again after a while."""

import contextlib
import gc
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_ee.core.errors import Stopped
from airflow_ee.core.quota import WINDOW_SECONDS, QuotaGate, shared_gate
from airflow_ee.core.settings import ClientSettings


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def gate_and_clock(concurrency=40, rate=100.0):
    clock = Clock()
    return QuotaGate(max_concurrency=concurrency, requests_per_second=rate, clock=clock), clock


def test_a_gate_begins_at_what_it_was_told():
    gate, _ = gate_and_clock()
    assert (gate.concurrency, gate.requests_per_second) == (40, 100.0)


def refused(gate, count):
    """So many requests start, and all are refused at once."""
    with contextlib.ExitStack() as under_way:
        for _ in range(count):
            under_way.enter_context(gate.slot())
        for _ in range(count):
            gate.refused()


def test_refusals_that_come_together_cut_once():
    gate, clock = gate_and_clock()
    refused(gate, 30)
    assert gate.concurrency == 29
    assert gate.requests_per_second == 70
    assert gate.take_refusals() == 30
    clock.now += 1.1 * WINDOW_SECONDS
    refused(gate, 1)
    assert gate.requests_per_second == pytest.approx(0.7 * 70)


@given(events=st.lists(st.tuples(st.booleans(), st.floats(0, 3)), max_size=200))
def test_whatever_happens_a_gate_lets_something_through_and_never_more_than_it_was_told(events):
    gate, clock = gate_and_clock(8, 20)
    for answered, seconds in events:
        clock.now += seconds
        gate.answered() if answered else gate.refused()
        assert 1 <= gate.concurrency <= 8
        assert 1 <= gate.requests_per_second <= 20


def test_a_gate_climbs_back_to_what_it_was_told():
    gate, clock = gate_and_clock()
    for _ in range(20):
        clock.now += 2
        gate.refused()
    assert gate.concurrency == 1
    assert gate.requests_per_second == 1
    for _ in range(2000):
        clock.now += 0.02
        gate.answered()
    assert gate.concurrency == 40
    assert gate.requests_per_second == 100


def test_a_cut_goes_to_what_got_through():
    gate, _clock = gate_and_clock(40, 40)
    with contextlib.ExitStack() as under_way:
        for _ in range(35):
            under_way.enter_context(gate.slot())
        gate.refused()
    assert gate.requests_per_second == pytest.approx(0.96 * 34)
    assert gate.concurrency == 34


def test_once_refused_requests_start_evenly():
    gate = QuotaGate(max_concurrency=40, requests_per_second=100)
    refused(gate, 1)
    rate, began = gate.requests_per_second, time.monotonic()
    for _ in range(8):
        with gate.slot():
            pass
    assert time.monotonic() - began >= 7 * 0.9 / rate


def test_restricted_parallelism_holds_while_the_service_says_so(caplog):
    gate, _ = gate_and_clock()
    gate.answered(restricted=True)
    assert gate.concurrency == 10
    assert "restricts this project's parallelism" in caplog.text
    gate.answered()
    assert gate.concurrency == 40


def test_no_more_requests_are_under_way_than_allowed():
    gate = QuotaGate(max_concurrency=3, requests_per_second=10_000)
    most, lock = [0], threading.Lock()

    def ask():
        for _ in range(20):
            with gate.slot():
                with lock:
                    most[0] = max(most[0], gate.in_flight)
                time.sleep(0.001)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] == 3
    assert gate.in_flight == 0


def test_no_more_requests_start_in_any_second_than_allowed():
    gate = QuotaGate(max_concurrency=100, requests_per_second=20)
    starts = []
    for _ in range(50):
        with gate.slot():
            starts.append(time.monotonic())
    assert all(later - earlier >= 1.0 for earlier, later in zip(starts, starts[20:], strict=False))
    assert starts[19] - starts[0] < 0.5, "what the quota has room for does not wait"


def test_a_quick_call_waits_for_no_pixels():
    gate = QuotaGate(max_concurrency=1, requests_per_second=100)
    with gate.slot():
        gate.pace()
        assert gate.in_flight == 1


def test_who_waits_can_be_told_to_stop():
    gate = QuotaGate(max_concurrency=1, requests_per_second=100)

    def stop():
        raise Stopped("enough")

    with gate.slot(), pytest.raises(Stopped), gate.slot(stop):
        pass
    assert gate.in_flight == 0


def settings(project="demo-project", concurrency=4):
    return ClientSettings(project=project, max_concurrency=concurrency)


def test_clients_of_a_project_and_host_share_a_gate_and_others_do_not():
    one = shared_gate(settings(), "https://a.googleapis.com")
    assert shared_gate(settings(concurrency=9), "https://a.googleapis.com") is one
    assert one.concurrency == 9
    assert shared_gate(settings(), "https://b.googleapis.com") is not one
    assert shared_gate(settings("other-project"), "https://a.googleapis.com") is not one


def test_a_gate_that_nobody_uses_is_forgotten():
    gate = shared_gate(settings(), "https://c.googleapis.com")
    gate.refused()
    assert gate.concurrency < 4
    del gate
    gc.collect()
    assert shared_gate(settings(), "https://c.googleapis.com").concurrency == 4
