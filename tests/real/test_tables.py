"""Statistics of real MODIS pixels over polygons, reduced by the service: numpy's and shapely's own, from the source files."""

import json
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet
import pyproj
import pytest
import rasterio
import shapely

from airflow_ee.emulator import Emulator
from airflow_ee.operators.tables import EarthEngineComputeFeaturesOperator

pytestmark = pytest.mark.slow

CONTEXT = {"params": {}, "ti": SimpleNamespace(dag_id="dag", task_id="task")}
DAY = "2011_09_14"
PERCENTILES = (10, 50, 90)


@pytest.fixture(scope="module")
def server(modis_folder):
    with Emulator(catalogs={"MODIS/061/MOD13Q1": modis_folder / "images"}) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def image(modis_folder):
    """The image's crs and transform, its pixels by band with their masks, and the outline of every pixel."""
    with rasterio.open(modis_folder / "images" / f"{DAY}.tif") as file:
        bands = {name: file.read(number, masked=True).astype(float) for number, name in enumerate(file.descriptions, 1)}
        a, _, c, _, e, f = tuple(file.transform)[:6]
        rows, cols = np.indices((file.height, file.width))
        outlines = shapely.box(c + cols * a, f + (rows + 1) * e, c + (cols + 1) * a, f + rows * e)
        return SimpleNamespace(
            crs=pyproj.CRS(file.crs.to_wkt()), transform=(a, 0, c, 0, e, f), bands=bands, outlines=outlines
        )


@pytest.fixture(scope="module")
def polygons(image):
    """Circles, triangles and a hole within the image, in longitude and latitude."""
    to_degrees = pyproj.Transformer.from_crs(image.crs, "EPSG:4326", always_xy=True)
    west, south, east, north = shapely.total_bounds(image.outlines)
    chance = np.random.default_rng(7)
    made = []
    for number in range(40):
        x, y = chance.uniform((west + 1500, south + 1500), (east - 1500, north - 1500))
        shape = shapely.Point(x, y).buffer(chance.uniform(60, 1400) + 200 * (number % 5 == 0), quad_segs=1 + number % 6)
        if number % 5 == 0:
            shape = shape.difference(shapely.Point(x, y).buffer(200))
        if number % 7 == 0:
            shape = shapely.union(shape, shapely.Point(x, y).buffer(50).buffer(300, cap_style="square"))
        made.append(shapely.transform(shape, lambda points: np.column_stack(to_degrees.transform(*points.T))))
    return made


def expected(image, polygon, band):
    """By hand: coverage of every pixel for the mean, the pixel's centre for counts and extremes."""
    to_metres = pyproj.Transformer.from_crs("EPSG:4326", image.crs, always_xy=True)
    fine = shapely.segmentize(polygon, 1e-5)
    region = shapely.transform(fine, lambda points: np.column_stack(to_metres.transform(*points.T)))
    cover = shapely.area(shapely.intersection(image.outlines, region)) / shapely.area(image.outlines)
    values, valid = image.bands[band].data, ~np.ma.getmaskarray(image.bands[band])
    # Earth Engine leaves pixels out that are covered by less than about half a percent.
    weights = np.where(valid & (cover >= 0.005), cover, 0)
    centred = valid & shapely.contains(region, shapely.centroid(image.outlines))
    mean = np.average(values, weights=weights)
    inside = values[centred]
    return {
        "mean": mean,
        "stdDev": np.sqrt(np.average((values - mean) ** 2, weights=weights)),
        "sum": (values * weights).sum(),
        "min": inside.min() if inside.size else None,
        "max": inside.max() if inside.size else None,
        "count": inside.size,
    }


def test_statistics_over_polygons_are_those_of_the_files(server, connect, image, polygons, tmp_path):
    connect(endpoint=server.url, is_anonymous=True)
    features = [
        {
            "type": "Feature",
            "id": f"p{number}",
            "geometry": shapely.geometry.mapping(shape),
            "properties": {"n": number},
        }
        for number, shape in enumerate(polygons)
    ]
    (tmp_path / "fields.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    load = {"functionName": "Image.load", "arguments": {"id": {"constantValue": f"MODIS/061/MOD13Q1/{DAY}"}}}
    select = {
        "functionName": "Image.select",
        "arguments": {"input": {"functionInvocationValue": load}, "bandSelectors": {"constantValue": ["NDVI", "EVI"]}},
    }
    summary = EarthEngineComputeFeaturesOperator(
        task_id="task",
        expression={"result": "0", "values": {"0": {"functionInvocationValue": select}}},
        regions_uri=str(tmp_path / "fields.geojson"),
        statistics=["mean", "stdDev", "sum", "min", "max", "count"],
        percentiles=PERCENTILES,
        crs="SR-ORG:6974",
        crs_transform=image.transform,
        output_uri=str(tmp_path / "table.parquet"),
    ).execute(CONTEXT)
    assert (summary["rows"], summary["simulated"]) == (40, False)
    rows = pyarrow.parquet.read_table(tmp_path / "table.parquet").to_pylist()
    for row, polygon in zip(rows, polygons, strict=True):
        assert shapely.from_wkb(row["geometry"]).equals(polygon)
        for band in ("NDVI", "EVI"):
            found = {name: row[f"{band}_{name}"] for name in ("mean", "stdDev", "sum", "min", "max", "count")}
            by_hand = expected(image, polygon, band)
            for name in ("mean", "stdDev", "sum"):
                assert found[name] == pytest.approx(by_hand[name], rel=1e-6), (row["n"], band, name)
            assert (found["min"], found["max"], found["count"]) == (by_hand["min"], by_hand["max"], by_hand["count"])
            shares = [row[f"{band}_p{share}"] for share in PERCENTILES]
            assert shares == sorted(shares)
