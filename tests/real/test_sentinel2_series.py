"""Real Sentinel-2 images of a field as a series: quality by scene classes, NDVI as published, one row a day."""

from types import SimpleNamespace

import netCDF4
import numpy as np
import pyarrow.parquet
import pyproj
import pytest
import rasterio

from airflow_ee.emulator import Emulator
from airflow_ee.operators.series import EarthEngineTimeSeriesOperator

CONTEXT = {"params": {}, "ti": SimpleNamespace(dag_id="dag", task_id="task")}
CLASSES = (4, 5, 6, 7, 11)


@pytest.fixture(scope="module")
def server(sentinel2_folder):
    with Emulator(catalogs={"COPERNICUS/S2_SR_HARMONIZED": sentinel2_folder / "images"}) as emulator:
        yield emulator


@pytest.fixture
def field(server, connect):
    connect(endpoint=server.url, is_anonymous=True)
    return server


@pytest.fixture(scope="module")
def published(sentinel2_folder):
    """NDVI of each day where the scene class is clear, as the publisher computed it."""
    with netCDF4.Dataset(sentinel2_folder / "published_bands_and_ndvi.nc") as file:
        file.set_auto_mask(False)
        days = [f"{moment:%Y%m%d}" for moment in netCDF4.num2date(file["t"][:], file["t"].units)]
        found = dict(zip(days, file["NDVI"][:], strict=True))
    expected = {}
    for path in sorted((sentinel2_folder / "images").glob("*_scl.tif")):
        day = path.name[:8]
        with rasterio.open(path) as file:
            clear = np.isin(file.read(1), CLASSES)
        with rasterio.open(path.with_name(f"{day}_reflectance.tif")) as file:
            seen = (file.read() != 0).all(axis=0)
        expected[day] = np.where(clear & seen, found[day], np.nan)
    return expected


def run(folder, **arguments):
    operator = EarthEngineTimeSeriesOperator(
        task_id="task",
        **{
            "collection": "S2_SR_HARMONIZED", "index": "NDVI", "quality": "S2_SCL_CLEAR", "start": "2019-01-01",
            "end": "2020-01-01", "table_uri": str(folder / "ndvi"), **arguments,
        },
    )  # fmt: skip
    summary = operator.execute(CONTEXT)
    return summary, pyarrow.parquet.read_table(folder / "ndvi.parquet").to_pylist()


def test_every_days_mean_is_that_of_the_published_ndvi(field, published, tmp_path):
    summary, rows = run(tmp_path, group_by="day", raster_uri=str(tmp_path / "rasters"), percentiles=[10, 90])
    assert (summary["images"], len(rows)) == (33, 33)
    compared = 0
    for row in rows:
        day = row["observation_date"] or row["image_start"].date()
        expected = published[f"{day:%Y%m%d}"]
        known = ~np.isnan(expected)
        assert row["valid_count"] == known.sum()
        assert row["pixel_count"] == 56 * 57
        if not known.any():
            assert row["mean"] is None
            continue
        # Published in float32.
        assert row["mean"] == pytest.approx(expected[known].mean(dtype=float), abs=1e-7)
        assert row["std"] == pytest.approx(expected[known].std(dtype=float), abs=1e-7)
        assert row["p10"] == pytest.approx(np.percentile(expected[known], 10, method="inverted_cdf"), abs=1e-7)
        with rasterio.open(tmp_path / "rasters" / f"{day.isoformat()}.tif") as file:
            made = file.read(1, masked=True)
        assert np.array_equal(~np.ma.getmaskarray(made), known)
        assert np.abs(made.data[known] - expected[known]).max() <= 1.2e-7
        compared += int(known.sum())
    assert compared > 30_000


def test_the_largest_ndvi_of_the_year_is_numpys(field, published, tmp_path):
    summary, (row,) = run(tmp_path, group_by="interval", mosaic="max", raster_uri=str(tmp_path / "rasters"))
    stack = np.array(list(published.values()))
    anywhere = ~np.isnan(stack).all(axis=0)
    expected = np.nanmax(stack[:, anywhere], axis=0)
    with rasterio.open(summary["rasters"][0]) as file:
        made = file.read(1, masked=True)
    assert np.array_equal(~np.ma.getmaskarray(made), anywhere)
    assert np.abs(made.data[anywhere] - expected).max() <= 1.2e-7
    assert row["image_count"] == 33
    assert len(row["image_ids"]) == 20, "at most 20 are told"
    assert row["mean"] == pytest.approx(expected.mean(dtype=float), abs=1e-7)


def test_a_region_is_cut_from_the_images_own_lattice(field, sentinel2_folder, tmp_path):
    """The field's origin is not that of Sentinel-2's tiles: its own grid is kept, not snapped to theirs."""
    with rasterio.open(next((sentinel2_folder / "images").glob("*_scl.tif"))) as file:
        source = file.transform
        to_degrees = pyproj.Transformer.from_crs(file.crs.to_string(), "EPSG:4326", always_xy=True)
    west, south = to_degrees.transform(source.c + 100, source.f - 400)
    east, north = to_degrees.transform(source.c + 300, source.f - 200)
    summary, rows = run(tmp_path, region=[west, south, east, north], raster_uri=str(tmp_path / "rasters"))
    with rasterio.open(summary["rasters"][0]) as file:
        assert file.res == (10, 10)
        apart = (file.transform.c - source.c) / 10, (file.transform.f - source.f) / 10
    assert apart == tuple(map(round, apart))
    assert len(rows) == 33
    assert all(400 <= item["pixel_count"] < 500 for item in rows)
