"""Dates of a series are fetched together, whether an image is one request or several."""

import threading
import time
from datetime import UTC, datetime

import pyarrow.parquet
import pystac
import pytest
import rasterio
from fsspec.implementations.local import LocalFileSystem

from airflow_ee.core.client import EarthEngineClient
from airflow_ee.core.errors import EarthEngineError
from airflow_ee.core.grid import PixelGrid
from airflow_ee.core.grouping import group_images
from airflow_ee.core.observations import series_bands
from airflow_ee.core.presets import PRESETS
from airflow_ee.core.progress import Progress
from airflow_ee.core.region_file import NamedRegion
from airflow_ee.core.series import SeriesTable
from airflow_ee.core.series_rows import RowMaker
from airflow_ee.core.settings import ClientSettings, Limits, RetryPolicy
from airflow_ee.core.sinks.base import Location
from airflow_ee.core.timeseries import TimeSeries
from airflow_ee.emulator import Emulator

COLLECTION = "MODIS/061/MOD13Q1"
START, END = datetime(2022, 1, 1, tzinfo=UTC), datetime(2022, 7, 1, tzinfo=UTC)
GRID = PixelGrid(
    crs="SR-ORG:6974",
    transform=(231.65635826395825, 0, -6050632.423, 0, -231.65635826395834, -1334340.6232),
    width=120,
    height=90,
)
WHOLE = Limits()
PIECES = Limits(target_bytes=60 * 45 * 8)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Emulator(root=tmp_path_factory.mktemp("root"), requests_per_second=None, latency_seconds=0.15) as running:
        yield running


def place(path):
    return Location(LocalFileSystem(), str(path), str(path))


def make(server, folder, *, limits=WHOLE, max_concurrency=None, rasters=False, group_by="image"):
    """Make the series; tells the most requests that were under way at once, what was counted, and the results."""
    settings = ClientSettings(
        project="demo-project", endpoint=server.url, high_volume_endpoint=server.url, limits=limits, requests_per_second=1000,
        retry=RetryPolicy(attempts=1),
    )  # fmt: skip
    preset, regions, progress = PRESETS["MOD13Q1"], (NamedRegion(id="grid", region=None),), Progress()
    with EarthEngineClient(settings, None) as client:
        images = client.list_images(COLLECTION, start=START, end=END)
        series = TimeSeries(
            collection=COLLECTION, preset=preset, bands=series_bands(preset, ["NDVI"]), rule=None, regions=regions,
            regions_key="grid", grid=GRID, rows=RowMaker(collection=COLLECTION, regions=regions), group_by=group_by,
            mosaic="mean", table=SeriesTable(place(folder / "table")), rasters=place(folder / "rasters") if rasters else None,
        )  # fmt: skip
        groups = group_images(
            images, by=group_by, interval=(START, END), image_end=lambda start: start + (END - START) / 12
        )
        with Sampled(client.pixel_gate) as sampled:
            results = series.make(client, groups, max_concurrency=max_concurrency, progress=progress)
        series.table.merge()
    return sampled.most, progress, results


class Sampled:
    """Looks every few milliseconds how many requests are under way."""

    def __init__(self, gate):
        self.most, self._gate, self._over = 0, gate, threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self):
        while not self._over.is_set():
            self.most = max(self.most, self._gate.in_flight)
            time.sleep(0.002)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()


def test_tiles_of_many_dates_are_under_way_together_and_give_the_rows_of_whole_images(server, tmp_path):
    _, counted, results = make(server, tmp_path / "whole")
    most, pieces, _ = make(server, tmp_path / "pieces", limits=PIECES)
    dates = len(results)
    assert dates == 12
    assert counted.requests == counted.total == dates
    assert pieces.requests == pieces.total == pieces.tiles > 3 * dates
    assert most > pieces.requests // dates * 3, "tiles of a date waited for those of the date before"
    tables = [pyarrow.parquet.read_table(tmp_path / name / "table.parquet") for name in ("whole", "pieces")]
    assert tables[0].equals(tables[1])
    assert tables[0].num_rows == dates


def test_tiles_of_many_images_of_one_mosaic_are_under_way_together(server, tmp_path):
    most, pieces, results = make(server, tmp_path, limits=PIECES, group_by="interval")
    assert len(results) == 1
    assert most > pieces.requests // 12 * 3


@pytest.mark.parametrize("limits", [WHOLE, PIECES])
def test_no_more_requests_than_asked_for_are_under_way(server, tmp_path, limits):
    most, _, _ = make(server, tmp_path, limits=limits, max_concurrency=5)
    assert 3 < most <= 5


def test_a_rerun_counts_what_was_there(server, tmp_path):
    make(server, tmp_path, limits=PIECES)
    _, progress, _ = make(server, tmp_path, limits=PIECES)
    assert (progress.tiles, progress.requests) == (0, 0)
    assert progress.resumed == progress.total > 12


def test_a_failure_of_one_date_ends_the_run_and_names_the_tile(server, tmp_path):
    server.inject("image:computePixels", "403 permission=earthengine.computations.create")
    with pytest.raises(EarthEngineError, match=r"tile at row \d+, column \d+"):
        make(server, tmp_path, limits=PIECES)
    _, progress, results = make(server, tmp_path, limits=PIECES)
    assert progress.tiles + progress.resumed == progress.total
    assert len(results) == 12


def test_every_raster_has_an_item_that_tells_what_the_file_tells(server, tmp_path):
    _, _, results = make(server, tmp_path, rasters=True)
    assert len(results) == 12
    for result in results:
        item = pystac.Item.from_file(f"{result.raster}.stac.json")
        with rasterio.open(result.raster) as file:
            told = item.assets["data"].to_dict()["raster:bands"]
            assert item.assets["data"].href.endswith(file.name.rsplit("/", 1)[-1])
            assert [band["data_type"] for band in told] == list(file.dtypes)
            assert [band["nodata"] for band in told] == [file.nodata] * file.count
            assert [band.get("scale", 1.0) for band in told] == list(file.scales)
            assert item.properties["proj:shape"] == list(file.shape)
        assert item.properties["simulated"] is True
        assert item.properties["start_datetime"].startswith(result.raster.rsplit("/", 1)[-1][:10].replace("_", "-"))
