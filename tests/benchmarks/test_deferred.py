"""The triggers of many tasks look together: their requests grow with the pages of the project's list only."""

import pytest

from benchmarks import deferred

pytestmark = pytest.mark.slow


def test_two_hundred_deferred_exports_cost_one_request_a_look():
    with deferred.emulator() as url:
        many = deferred.measure(url, tasks=200, operations=200, interval=0.5)
        few = deferred.measure(url, tasks=20, operations=600, interval=0.5)
    assert (many["pages"], few["pages"]) == (1, 2)
    assert many["requests_per_poll"] <= 1.1
    assert few["requests_per_poll"] <= 2.1
    assert many["polls"] >= 3
    # Pauses grow to four intervals and a fifth.
    assert many["longest_to_event"] < 4
