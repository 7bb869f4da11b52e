"""Pixels that are picked are those of the whole grid, and little else is fetched."""

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_ee.core.client import EarthEngineClient
from airflow_ee.core.fetch import PixelFetcher
from airflow_ee.core.grid import snap_scale
from airflow_ee.core.pixels import PixelSource
from airflow_ee.core.region import Region
from airflow_ee.core.sampling import SMALL_WINDOW_PIXELS, PickedPixels, WholeGrid, plan_windows
from airflow_ee.core.settings import ClientSettings, Limits
from airflow_ee.core.weights import make_zone
from airflow_ee.emulator import Emulator

WIDTH = 4000


@st.composite
def positions(draw):
    """Fields of all sizes, strewn over a large grid."""
    found = []
    for _ in range(draw(st.integers(1, 12))):
        row, col = draw(st.integers(0, 3000)), draw(st.integers(0, 3000))
        height, width = draw(st.integers(1, 400)), draw(st.integers(1, 400))
        rows, cols = np.mgrid[row : row + height, col : col + width]
        found.append((rows * WIDTH + cols).ravel())
    return np.concatenate(found)


@given(wanted=positions(), most=st.sampled_from([1, 5000, 70_000, 1_400_000]))
@settings(max_examples=40, deadline=None)
def test_windows_hold_every_wanted_pixel_once_and_fit_a_request(wanted, most):
    if most == 1:
        wanted = wanted[:50]
    windows = plan_windows(wanted, WIDTH, most)
    chosen = np.concatenate([window.chosen for window in windows])
    assert np.array_equal(np.sort(chosen), np.arange(wanted.size))
    for window in windows:
        assert window.pixels <= most
        rows, cols = np.divmod(wanted[window.chosen], WIDTH)
        assert (rows.min(), cols.min()) == (window.row, window.col)
        assert (rows.max() - rows.min() + 1, cols.max() - cols.min() + 1) == (window.rows, window.cols)
    covered = set()
    for window in windows:
        box = {
            (row, col)
            for row in (window.row, window.row + window.rows - 1)
            for col in (window.col, window.col + window.cols - 1)
        }
        assert not covered & box, "windows do not overlap at their corners"
        covered |= box


@given(wanted=positions())
@settings(max_examples=30, deadline=None)
def test_what_is_fetched_is_bounded_by_the_regions_and_not_by_their_spread(wanted):
    windows = plan_windows(wanted, WIDTH, 1_400_000)
    pixels = np.unique(wanted).size
    # Half of a window may be empty, or it is small.
    assert sum(window.pixels for window in windows) <= 8 * pixels + SMALL_WINDOW_PIXELS * len(windows)
    rows, cols = np.divmod(wanted, WIDTH)
    rectangle = (np.ptp(rows) + 1) * (np.ptp(cols) + 1)
    assert sum(window.pixels for window in windows) <= rectangle


def test_fields_far_apart_do_not_fetch_what_lies_between():
    rows, cols = np.mgrid[0:100, 0:100]
    field = (rows * WIDTH + cols).ravel()
    far = np.concatenate([field, field + 3000 * WIDTH + 3000])
    windows = plan_windows(far, WIDTH, 20_000_000)
    assert [window.pixels for window in windows] == [10_000, 10_000]
    assert plan_windows(np.empty(0, np.int64), WIDTH, 10) == ()


@pytest.fixture(scope="module")
def client():
    with Emulator() as emulator:
        settings_ = ClientSettings(
            project="demo-project", endpoint=emulator.url, high_volume_endpoint=emulator.url,
            limits=Limits(target_bytes=40_000),
        )  # fmt: skip
        with EarthEngineClient(settings_) as made:
            yield made


def test_picked_pixels_are_those_of_the_whole_grid_however_it_is_cut(client, tmp_path):
    """Tile = whole: bit for bit, by windows, by tiles and in one piece."""
    regions = [Region.parse([-55.6, -12.1, -55.57, -12.08]), Region.parse([-55.5, -12.02, -55.46, -12.0])]
    overlapping = Region.parse([-55.58, -12.09, -55.56, -12.07])
    grid = snap_scale(Region.parse([-55.6, -12.1, -55.46, -12.0]), scale=231.656358, crs="SR-ORG:6974")
    zones = tuple(make_zone(grid, region) for region in (*regions, overlapping))
    image = client.list_images(
        "MODIS/061/MOD13Q1", start=datetime(2023, 1, 1, tzinfo=UTC), end=datetime(2023, 1, 10, tzinfo=UTC)
    )[0]
    source = PixelSource(asset_id=image.id, bands=(image.band("NDVI"), image.band("SummaryQA")))
    found = []
    for name, sampler in {
        "whole": WholeGrid(grid, zones),
        "windows": PickedPixels(grid, zones, 10_000),
        "small": PickedPixels(grid, zones, 30),
    }.items():
        folder = tmp_path / name
        folder.mkdir()
        fetcher = PixelFetcher(client, max_concurrency=4)
        pixels = sampler.fetch(fetcher, source, folder)
        assert fetcher.progress.requests == sampler.requests(source.bytes_per_pixel, client.settings.limits)
        found.append(
            [sampler.pick(zone, array) for band in pixels.bands for array in pixels.band(band) for zone in range(3)]
        )
    assert found[0][0].size > 100
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            assert np.array_equal(one, two)
