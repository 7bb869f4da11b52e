"""STAC items: valid by the schemas of STAC, and lying where PROJ says that the raster lies."""

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pyproj
import pystac
import pystac.extensions.projection
import pystac.extensions.raster
import pytest
import shapely
from fsspec.implementations.local import LocalFileSystem
from hypothesis import given, settings
from hypothesis import strategies as st
from pystac.validation.stac_validator import JsonSchemaSTACValidator

from airflow_ee.core.grid import MODIS_SINUSOIDAL_WKT, PixelGrid, parse_crs
from airflow_ee.core.sinks.base import Location
from airflow_ee.core.sinks.layout import BandLayout, RasterLayout
from airflow_ee.core.sinks.stac import StacItem, footprint

DAY = datetime(2020, 6, 9, tzinfo=UTC)
UTM = PixelGrid(crs="EPSG:32633", transform=(10.0, 0.0, 4e5, 0.0, -10.0, 5.1e6), width=9000, height=6000)
MODIS = PixelGrid(
    crs="SR-ORG:6974",
    transform=(231.65635826395825, 0, -6161133.8, 0, -231.65635826395834, -1332487.4),
    width=300,
    height=200,
)
DEGREES = PixelGrid(crs="EPSG:4326", transform=(0.01, 0, 10.5, 0, -0.01, 45.25), width=400, height=300)
ROTATED = replace(UTM, transform=(8.0, 6.0, 4e5, 6.0, -8.0, 5.1e6))
POLAR = PixelGrid(crs="EPSG:3413", transform=(1000.0, 0, -1e6, 0, -1000.0, 1.5e6), width=2500, height=2000)


def item_of(grid=UTM, **fields):
    bands = (
        BandLayout(name="NDVI", dtype=np.dtype("int16"), scale=0.0001, unit="1"),
        BandLayout(name="B4", dtype=np.dtype("float32"), offset=-0.2),
    )
    layout = RasterLayout(grid=grid, bands=bands, tags={"source": "a/b", "request_digest": "ab12", "simulated": "true"})
    usual = {"id": "ndvi", "layout": layout, "href": "ndvi.tif", "media_type": pystac.MediaType.COG, "start": DAY}
    return StacItem(**{**usual, **fields})


def validate(document):
    """By the core schemas that pystac brings: those of extensions need a network."""
    core = JsonSchemaSTACValidator()
    core.validate_core(document, pystac.STACObjectType.ITEM, "1.1.0")
    return pystac.Item.from_dict(document)


@pytest.mark.parametrize(
    "grid", [UTM, MODIS, DEGREES, ROTATED, POLAR], ids=["utm", "modis", "degrees", "rotated", "polar"]
)
def test_items_pass_the_core_schemas_and_pystac_reads_them(grid):
    item = validate(json.loads(item_of(grid, nodata={"NDVI": -32768, "B4": math.nan}).to_bytes()))
    assert item.datetime == DAY
    assert item.assets["data"].href == "ndvi.tif"
    assert item.assets["data"].media_type == "image/tiff; application=geotiff; profile=cloud-optimized"
    projection = pystac.extensions.projection.ProjectionExtension.ext(item)
    assert projection.shape == [grid.height, grid.width]
    assert tuple(projection.transform) == grid.transform
    assert pyproj.CRS.from_user_input(projection.code or projection.wkt2) == parse_crs(grid.crs)
    first, second = pystac.extensions.raster.RasterExtension.ext(item.assets["data"]).bands
    assert (first.data_type, first.scale, first.offset, first.unit, first.nodata) == ("int16", 0.0001, 0, "1", -32768)
    assert (second.data_type, second.scale, second.offset, second.unit, second.nodata) == (
        "float32",
        1,
        -0.2,
        None,
        "nan",
    )
    assert [band["name"] for band in item.assets["data"].extra_fields["bands"]] == ["NDVI", "B4"]
    assert item.properties["simulated"] is True
    assert item.properties["airflow_ee:source"] == "a/b"
    assert item.properties["airflow_ee:request_digest"] == "ab12"


def test_the_schemas_refuse_what_is_no_item():
    with pytest.raises(pystac.errors.STACValidationError):
        validate({**item_of().to_json(), "bbox": "everywhere"})


def test_an_interval_has_no_single_moment():
    item = validate(item_of(end=DAY + timedelta(days=16)).to_json())
    assert item.datetime is None
    assert item.properties["start_datetime"] == "2020-06-09T00:00:00Z"
    assert item.properties["end_datetime"] == "2020-06-25T00:00:00Z"


def test_moments_are_told_in_utc():
    there = datetime(2020, 6, 9, 2, tzinfo=timezone(timedelta(hours=2)))
    assert item_of(start=there).to_json()["properties"]["datetime"] == "2020-06-09T00:00:00Z"


def test_sinusoidal_grids_are_told_by_wkt_because_their_code_is_unknown():
    properties = item_of(MODIS).to_json()["properties"]
    assert properties["proj:code"] is None
    assert pyproj.CRS.from_wkt(properties["proj:wkt2"]) == pyproj.CRS.from_wkt(MODIS_SINUSOIDAL_WKT)
    assert item_of(UTM).to_json()["properties"]["proj:code"] == "EPSG:32633"


def test_real_pixels_are_not_called_simulated():
    item = item_of()
    assert replace(item, layout=replace(item.layout, tags={})).to_json()["properties"]["simulated"] is False


def test_equal_items_have_equal_bytes_and_are_written_whole(tmp_path):
    place = Location(LocalFileSystem(), str(tmp_path / "ndvi.json"), str(tmp_path / "ndvi.json"))
    item_of().write(place)
    assert (tmp_path / "ndvi.json").read_bytes() == item_of().to_bytes()
    assert json.dumps(json.loads(item_of().to_bytes()), sort_keys=True, indent=2).encode() == item_of().to_bytes()


@settings(max_examples=60, deadline=None)
@given(
    crs=st.sampled_from(["EPSG:32633", "EPSG:4326", "SR-ORG:6974", "EPSG:3857", "EPSG:3413", "EPSG:3031"]),
    longitude=st.floats(-179.9, 179.9),
    latitude=st.floats(-80, 80),
    angle=st.floats(0, 2 * math.pi),
    size=st.tuples(st.integers(1, 200), st.integers(1, 200)),
    data=st.data(),
)
def test_the_outline_holds_the_grids_pixels_and_no_others(crs, longitude, latitude, angle, size, data):
    """Oracle: points of the grid, moved one by one, lie in the outline; points beside the grid do not."""
    if crs == "EPSG:32633":
        longitude = 15 + longitude / 60
    if crs in {"EPSG:3413", "EPSG:3031"}:
        latitude = abs(latitude) if crs == "EPSG:3413" else -abs(latitude)
    there = pyproj.Transformer.from_crs("EPSG:4326", parse_crs(crs), always_xy=True)
    x, y = there.transform(longitude, latitude)
    step = 0.01 if crs == "EPSG:4326" else 1000.0
    cos, sin = step * math.cos(angle), step * math.sin(angle)
    grid = PixelGrid(crs=crs, transform=(cos, sin, x, sin, -cos, y), width=size[0], height=size[1])
    try:
        geometry, (west, south, east, north) = footprint(grid)
    except ValueError:
        assert crs in {"SR-ORG:6974", "EPSG:3857", "EPSG:4326"}, "only these end somewhere within the grids drawn"
        return
    outline = shapely.from_geojson(json.dumps(geometry))
    assert outline.is_valid
    assert outline.bounds[0] >= -180
    assert outline.bounds[2] <= 180
    inside = data.draw(st.tuples(st.floats(0.1, 0.9), st.floats(0.1, 0.9)))
    outside = data.draw(st.sampled_from([(-0.1, 0.5), (1.1, 0.5), (0.5, -0.1), (0.5, 1.1)]))
    for (col, row), covered in ((inside, True), (outside, False)):
        lon, lat = there.transform(*grid.xy(col * grid.width, row * grid.height), direction="INVERSE")
        if not math.isfinite(lon):
            continue
        point = (lon + 180) % 360 - 180, lat
        assert outline.covers(shapely.Point(point)) == covered
        if covered:
            assert south <= lat <= north
            assert west <= point[0] <= east if west <= east else point[0] >= west or point[0] <= east


def test_an_outline_over_the_antimeridian_is_cut_in_two():
    grid = PixelGrid(crs="EPSG:32601", transform=(1000.0, 0, 166e3, 0, -1000.0, 4e6), width=200, height=100)
    west_of = replace(grid, transform=(1000.0, 0, 66e3, 0, -1000.0, 4e6))
    geometry, bbox = footprint(west_of)
    assert geometry["type"] == "MultiPolygon"
    assert bbox[0] > bbox[2]
    assert sorted(round(shapely.Polygon(part[0]).bounds[0]) for part in geometry["coordinates"]) == [-180, 178]
    assert all(shapely.LinearRing(part[0]).is_ccw for part in geometry["coordinates"])
    validate(item_of(west_of).to_json())


def test_a_grid_of_the_whole_world_is_one_rectangle():
    grid = PixelGrid(crs="EPSG:4326", transform=(0.5, 0, -180, 0, -0.5, 90), width=720, height=360)
    geometry, bbox = footprint(grid)
    assert bbox == [-180, -90, 180, 90]
    assert shapely.from_geojson(json.dumps(geometry)).equals(shapely.box(-180, -90, 180, 90))
    eastward = replace(grid, transform=(0.5, 0, 0, 0, -0.5, 90))
    assert footprint(eastward)[1] == [-180, -90, 180, 90]
    assert shapely.from_geojson(json.dumps(footprint(eastward)[0])).equals(shapely.box(-180, -90, 180, 90))


def test_a_grid_with_a_pole_in_it_reaches_up_to_the_pole():
    geometry, bbox = footprint(POLAR)
    assert (bbox[0], bbox[2], bbox[3]) == (-180, 180, 90)
    outline = shapely.from_geojson(json.dumps(geometry))
    assert all(outline.covers(shapely.Point(lon, 89.9)) for lon in range(-180, 181, 10))
    corners = pyproj.Transformer.from_crs("EPSG:3413", "EPSG:4326", always_xy=True)
    lowest = min(corners.transform(*POLAR.xy(col, row))[1] for col in (0, 2500) for row in (0, 2000))
    assert bbox[1] == pytest.approx(lowest)


def test_a_grid_that_leaves_the_world_has_no_outline():
    corner = PixelGrid(crs="SR-ORG:6974", transform=(1e5, 0, -2e7, 0, -1e5, 1e7), width=400, height=200)
    with pytest.raises(ValueError, match="leaves the part of the world that MODIS Sinusoidal shows"):
        footprint(corner)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"id": ""}, "id: a STAC item needs a name"),
        ({"id": "a/b"}, "id: a STAC item needs a name without slashes, got 'a/b'"),
        ({"href": ""}, "href"),
        ({"start": datetime(2020, 1, 1)}, "start needs a time zone"),
        ({"end": datetime(2020, 1, 1)}, "end needs a time zone"),
        ({"end": DAY - timedelta(days=1)}, "is before start"),
        ({"nodata": {"B9": 0}}, "nodata: the raster has no band B9"),
    ],
)
def test_what_makes_no_item_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        item_of(**fields)
