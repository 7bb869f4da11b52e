"""Tiles from the emulator over real sockets: every pixel in its place, whatever goes wrong on the way."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from airflow_ee.core import errors
from airflow_ee.core.client import EarthEngineClient
from airflow_ee.core.fetch import PixelFetcher, run_bounded
from airflow_ee.core.grid import PixelGrid
from airflow_ee.core.pixels import PixelSource, fetch_image
from airflow_ee.core.resources import Band
from airflow_ee.core.settings import ClientSettings, Limits, RetryPolicy

IMAGE = "MODIS/061/MOD13Q1/2023_06_10"
GRID = PixelGrid(
    crs="SR-ORG:6974",
    transform=(231.65635826395825, 0, -6050632.423, 0, -231.65635826395834, -1334340.6232),
    width=150,
    height=110,
)
QUICK = RetryPolicy(attempts=6, initial_seconds=0.01, maximum_seconds=0.02)
SMALL = Limits(target_bytes=8000, floor_side=4)
SOURCE = PixelSource(
    asset_id=IMAGE, bands=(Band(id="NDVI", dtype=np.dtype("i2")), Band(id="SummaryQA", dtype=np.dtype("i1")))
)


def connected(emulator, **settings):
    settings = {"retry": QUICK, "request_timeout_seconds": 5, "limits": SMALL, **settings}
    return EarthEngineClient(
        ClientSettings(project="demo-project", endpoint=emulator.url, high_volume_endpoint=emulator.url, **settings)
    )


def fetched(client, source=SOURCE, grid=GRID, **options):
    """Values and masks of the whole grid; fails when a pixel comes twice or not at all."""
    values = [np.zeros(grid.shape, band.dtype) for band in source.bands]
    masks = [np.zeros(grid.shape, np.uint8) for _ in source.bands]
    seen, lock = np.zeros(grid.shape, np.uint8), threading.Lock()
    fetcher = PixelFetcher(client, **options)

    def deliver(tile, block, attempts):
        assert attempts >= 1
        with lock:
            seen[tile.slices] += 1
        for index in range(len(values)):
            values[index][tile.slices] = block.values[index]
            masks[index][tile.slices] = block.valid[index]

    fetch_image(fetcher, source, grid, deliver)
    assert (seen == 1).all()
    return np.stack([*values, *masks]), fetcher.progress


@pytest.fixture
def whole(emulator):
    """The same pixels by one undisturbed request."""
    with connected(emulator, limits=Limits()) as client:
        pixels, progress = fetched(client)
    assert progress.requests == 1
    return pixels


def test_tiles_are_the_whole(emulator, whole):
    with connected(emulator) as client:
        pixels, progress = fetched(client)
    assert (pixels == whole).all()
    assert progress.tiles == progress.requests > 10


@pytest.mark.parametrize("fault", ["memory over=400px", "timeout over=800px", "400 too-large"])
def test_what_is_too_much_is_cut_and_comes_whole(emulator, whole, fault):
    emulator.inject("image:computePixels", fault)
    with connected(emulator) as client:
        pixels, progress = fetched(client)
    assert (pixels == whole).all()
    assert progress.splits >= 1


def test_what_was_too_much_once_is_cut_before_it_is_asked_for_again(emulator):
    emulator.inject("image:computePixels", "memory over=400px")
    with connected(emulator, max_concurrency=1) as client:
        _, progress = fetched(client)
    assert len(emulator.calls) - progress.answers == 1


def test_below_the_floor_the_error_names_the_tile(emulator):
    emulator.inject("image:computePixels", "memory over=10px")
    with (
        connected(emulator) as client,
        pytest.raises(errors.MemoryLimitExceeded, match=r"tile at row \d+, column \d+ .* User memory limit exceeded"),
    ):
        fetched(client)


def test_a_permanent_failure_stops_the_job_at_once(emulator):
    emulator.inject("image:computePixels", "403 always")
    with connected(emulator, max_concurrency=4) as client, pytest.raises(errors.PermissionDenied, match="tile at row"):
        fetched(client)
    assert len(emulator.calls) <= 8


@pytest.mark.parametrize(
    "fault",
    [
        "429", "429 retry-after=1", "429 quota", "500", "502", "503", "504", "502 html", "drop", "reset", "truncate", "corrupt",
        "scramble", "wrong-dtype", "lose-response", "content-type=text/html",
    ],
)  # fmt: skip
def test_no_tile_is_lost_to_a_passing_fault(emulator, whole, fault):
    emulator.inject("image:computePixels", f"{fault} times=5")
    with connected(emulator, max_concurrency=8) as client:
        pixels, _ = fetched(client)
    assert not emulator.pending
    if fault != "scramble":
        assert (pixels == whole).all()


def test_a_stalled_answer_is_given_up_and_asked_for_again(emulator, whole):
    emulator.inject("image:computePixels", "stall")
    with connected(emulator, request_timeout_seconds=1) as client:
        pixels, progress = fetched(client)
    assert (pixels == whole).all()
    assert progress.retries == 1


def test_types_that_the_metadata_did_not_announce_are_taken_as_they_come(emulator, whole, caplog):
    announced = replace(
        SOURCE, bands=(Band(id="NDVI", dtype=np.dtype("i4")), Band(id="SummaryQA", dtype=np.dtype("i1")))
    )
    types = []
    with connected(emulator) as client:
        source = fetch_image(
            PixelFetcher(client),
            announced,
            GRID,
            lambda _tile, block, _: types.append(block.values[0].dtype.name),
        )
    assert set(types) == {"int16"}
    assert source.bands[0].dtype == np.int16
    assert "Asked for pixels of int32, int8, uint8, uint8, got int16, int8, uint8, uint8" in caplog.text


@pytest.mark.parametrize("masks", ["none", "each", "shared", "fraction"])
def test_masks_are_asked_for_as_wanted(emulator, whole, masks):
    before = len(emulator.calls)
    with connected(emulator) as client:
        pixels, _ = fetched(client, replace(SOURCE, masks=masks))
    assert (pixels[:2] == whole[:2]).all()
    if masks == "none":
        assert pixels[2:].all()
        assert set(emulator.calls[before:]) == {"getPixels"}
    else:
        assert (pixels[2] == whole[2]).all()


def test_memory_is_bounded_however_many_requests_are_under_way(emulator, whole):
    with connected(emulator) as client:
        pixels, _ = fetched(client, max_buffer_bytes=10_000)
    assert (pixels == whole).all()


def test_requests_are_under_way_while_memory_is_short(emulator):
    """A request holds no memory until its answer comes, so latency is not paid once for every buffer."""
    with connected(emulator, max_concurrency=8) as client:
        fetched(client)
        emulator.inject("image:computePixels", "delay=0.4 times=8")
        began = time.monotonic()
        small = replace(GRID, width=80, height=40)
        _, progress = fetched(client, grid=small, max_buffer_bytes=1)
        seconds = time.monotonic() - began
    assert progress.tiles >= 4
    assert seconds < 0.4 * progress.tiles


def test_connections_are_kept(emulator):
    with connected(emulator, max_concurrency=4) as client:
        _, progress = fetched(client)
        connections = client._transport._connections._pools[emulator.url].num_connections
    assert progress.requests > 10
    assert connections <= 4


def test_a_sink_that_fails_ends_the_job_with_its_own_error(emulator):
    def full(*_):
        raise OSError(28, "No space left on device")

    with connected(emulator) as client, pytest.raises(OSError, match="No space left"):
        fetch_image(PixelFetcher(client), SOURCE, GRID, full)


def test_an_image_whose_mask_permission_is_missing_says_what_to_do(emulator):
    emulator.inject("image:computePixels", "403 permission=earthengine.computations.create always")
    with connected(emulator) as client, pytest.raises(errors.PermissionDenied, match="use mask='none'"):
        fetched(client)


def test_things_done_side_by_side_all_come_back():
    results = dict(run_bounded(range(50), lambda item: item * item, concurrency=7))
    assert results == {item: item * item for item in range(50)}


def test_things_side_by_side_do_not_pile_up_before_a_slow_consumer():
    begun, taken = [0], [0]

    def begin(item):
        begun[0] += 1
        return item

    for _ in run_bounded(range(40), begin, concurrency=4):
        taken[0] += 1
        time.sleep(0.002)
        assert begun[0] - taken[0] <= 5
    assert taken[0] == 40


def test_a_failure_side_by_side_is_raised():
    def fail(item):
        raise LookupError(str(item))

    with pytest.raises(LookupError):
        list(run_bounded(range(5), fail, concurrency=2))
