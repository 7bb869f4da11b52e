"""Jobs end with the bytes of an undisturbed one, whatever the service and the wires do to their requests.

``make test-slow`` runs 50 jobs; a plain run 6. One kind of spoilt answer is left out: of the right length, header and types, with other
pixels in it (``scramble``). The service sends no checksum, so nobody could tell.
"""

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from airflow_ee.core import errors
from airflow_ee.core.settings import RetryPolicy
from airflow_ee.emulator import Emulator
from tests.core import jobs
from tests.core.secured import Renewed, secured
from tests.hooks.conftest import tls  # noqa: F401 - a fixture

JOBS = int(os.environ.get("AIRFLOW_EE_FAULT_JOBS", "6"))
TILES = 20
SEED = 20240
KINDS = (
    "429", "429 quota", "500", "502", "503", "504", "502 html", "reset", "drop", "lose-response", "truncate", "stall",
    "corrupt", "wrong-header", "wrong-dtype", "wrong-shape", "wrong-length", "content-type=text/html", "401 expired",
)  # fmt: skip
PATIENCE = {"request_timeout_seconds": 2.0, "trusted_endpoint": True}
FORMS = (*jobs.RASTERS, jobs.PATCHES)
LONGEST_SECONDS = 120


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The data of a job of each form that nothing happened to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with Emulator(root=folder / "root", requests_per_second=None) as calm:
        for form in FORMS:
            jobs.run(calm.url, folder / form, form, TILES)
        assert not calm.happened
    return {form: jobs.content(folder / form) for form in FORMS}


def struck(tmp_path, context, form, *, rate, kinds, seed):
    """What a job leaves of whose requests so many go wrong, and what happened to them."""
    trouble = {"fault_rate": rate, "fault_seed": seed, "fault_kinds": kinds}
    with (
        Emulator(root=tmp_path / "root", requests_per_second=None, **trouble) as emulator,
        secured(emulator.url, context) as url,
    ):
        in_time(lambda: jobs.run(url, tmp_path / form, form, TILES, credentials=Renewed(), **PATIENCE))
        return jobs.content(tmp_path / form), Counter(text for _, text in emulator.happened)


def in_time(function):
    """Call it, and fail when it does not come back."""
    pool = ThreadPoolExecutor(1)
    try:
        pool.submit(function).result(LONGEST_SECONDS)
    finally:
        pool.shutdown(wait=False)


@pytest.mark.parametrize("number", range(JOBS))
def test_a_job_with_every_tenth_request_struck_ends_like_an_undisturbed_one(number, undisturbed, tmp_path, tls):  # noqa: F811
    form = FORMS[number % len(FORMS)]
    found, happened = struck(tmp_path, tls, form, rate=0.1, kinds=KINDS, seed=SEED + number)
    assert found == undisturbed[form], happened


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_alone_may_strike_three_of_ten_requests(kind, undisturbed, tmp_path, tls):  # noqa: F811
    form = FORMS[KINDS.index(kind) % len(FORMS)]
    found, happened = struck(tmp_path, tls, form, rate=0.3, kinds=[kind], seed=SEED)
    assert happened[kind] >= 1
    assert found == undisturbed[form]


def test_one_token_is_fetched_for_all_threads(tmp_path, tls):  # noqa: F811
    credentials = Renewed()
    with (
        Emulator(root=tmp_path / "root", tokens=["token-1"]) as emulator,
        secured(emulator.url, tls) as url,
        jobs.connected(url, credentials=credentials, max_concurrency=8, trusted_endpoint=True) as client,
    ):
        # Several are under way with the old token when the first is refused.
        emulator.inject(jobs.METHOD, "delay=0.3 times=8")
        summary = jobs.raster(tmp_path, "NPY", tiles=TILES).run(client).summary
        refused = summary["requests"] - TILES
    assert summary["tiles"] == TILES
    assert 2 <= refused <= 8, "several were under way with the old token"
    assert credentials.renewals == 1


def test_credentials_that_stay_refused_end_the_job(tmp_path, tls):  # noqa: F811
    credentials = Renewed()
    with (
        Emulator(root=tmp_path / "root", tokens=["another"]) as emulator,
        secured(emulator.url, tls) as url,
        jobs.connected(url, credentials=credentials, trusted_endpoint=True) as client,
        pytest.raises(errors.Unauthenticated),
    ):
        jobs.raster(tmp_path, "NPY", tiles=TILES).run(client)
    assert credentials.renewals <= 20
    assert not (tmp_path / "out.parts").exists()


def test_a_request_that_is_repeated_keeps_no_memory_from_those_before_it(emulator, tmp_path):
    """One request at once and memory for one answer: whoever had both and lost the one must not keep the other."""
    emulator.inject(jobs.METHOD, "truncate times=3")
    with jobs.connected(emulator.url) as client:
        # As after refusals: more threads than requests at once.
        client.pixel_gate._limit, client.pixel_gate._most = 1.0, 1
        job = replace(jobs.raster(tmp_path, "NPY", tiles=TILES), max_buffer_bytes=1)
        in_time(lambda: job.run(client))
    assert not emulator.pending


@pytest.mark.parametrize("form", ["GEO_TIFF", jobs.PATCHES])
@pytest.mark.parametrize("limit", [5, 15])
def test_a_quota_that_was_lowered_without_a_word_costs_no_tile(form, limit, undisturbed, tmp_path):
    with Emulator(root=tmp_path / "root", requests_per_second=limit) as emulator:
        in_time(
            lambda: jobs.run(emulator.url, tmp_path / form, form, TILES, requests_per_second=100, retry=RetryPolicy())
        )
        assert len(emulator.calls) > TILES, "some were refused"
    assert jobs.content(tmp_path / form) == undisturbed[form]
