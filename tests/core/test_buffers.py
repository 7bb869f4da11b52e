"""Memory that is used again, and never more of it than allowed."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_ee.core.buffers import BufferPool
from airflow_ee.core.errors import Stopped


@given(sizes=st.lists(st.integers(1, 400), max_size=60))
def test_no_more_is_allocated_than_allowed(sizes):
    pool, held = BufferPool(max_bytes=1000), []
    for size in sizes:
        while sum(map(len, held)) + size > 600:
            pool.give_back(held.pop(0))
        held.append(pool.take(size))
        assert len(held[-1]) >= size
        assert pool.allocated_bytes <= 1000


def test_a_buffer_is_used_again():
    pool = BufferPool(max_bytes=100)
    buffer = pool.take(60)
    pool.give_back(buffer)
    assert pool.take(50) is buffer


def test_one_that_is_larger_than_the_pool_is_given_alone():
    pool = BufferPool(max_bytes=10)
    buffer = pool.take(50)
    given_later = []
    thread = threading.Thread(target=lambda: given_later.append(pool.take(5)))
    thread.start()
    thread.join(0.2)
    assert not given_later
    pool.give_back(buffer)
    thread.join(5)
    assert given_later


def test_who_waits_for_memory_can_be_told_to_stop():
    pool = BufferPool(max_bytes=10)
    pool.take(10)

    def stop():
        raise Stopped("enough")

    with pytest.raises(Stopped):
        pool.take(10, stop)


def test_a_pool_without_memory_is_refused():
    with pytest.raises(ValueError, match="max_buffer_bytes must be at least 1, got 0"):
        BufferPool(0)
