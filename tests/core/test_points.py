"""Points come in their order with their labels, or are refused by the row and column that hold what is wrong."""

import json
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pyproj
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_ee.core.point_files import read_points
from airflow_ee.core.points import Points, points_from_features, random_points
from airflow_ee.core.region import Region

places = st.lists(
    st.tuples(st.floats(-180, 180), st.floats(-90, 90), st.integers(-(2**63), 2**63 - 1), st.text(min_size=1, max_size=4)),
    min_size=1, max_size=8,
)  # fmt: skip


def feature(longitude, latitude, **properties):
    geometry = {"type": "Point", "coordinates": [longitude, latitude]}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def geojson(*features):
    return json.dumps({"type": "FeatureCollection", "features": list(features)}).encode()


def parquet(columns, **metadata):
    table = pa.table(columns).replace_schema_metadata({name: json.dumps(value) for name, value in metadata.items()})
    sink = pa.BufferOutputStream()
    pyarrow.parquet.write_table(table, sink)
    return sink.getvalue().to_pybytes()


def csv(text):
    return text.encode()


@given(places)
def test_every_format_gives_the_same_points_in_the_same_order(rows):
    lons, lats, numbers, texts = (list(column) for column in zip(*rows, strict=True))
    columns = {"lon": lons, "lat": lats, "number": pa.array(numbers, pa.int64()), "text": texts}
    kinds = {
        "a.geojson": geojson(*(feature(x, y, number=n, text=t) for x, y, n, t in rows)),
        "a.parquet": parquet(columns),
        "geo.parquet": parquet(
            {"where": shapely.to_wkb(shapely.points(lons, lats)), "number": columns["number"], "text": texts},
            geo={"primary_column": "where", "columns": {"where": {"encoding": "WKB"}}},
        ),
    }
    digests = set()
    for name, content in kinds.items():
        points = read_points(name, content, ["number", "text"])
        np.testing.assert_array_equal(points.longitudes, lons)
        np.testing.assert_array_equal(points.latitudes, lats)
        assert [points.label("number", index) for index in range(len(rows))] == numbers
        assert points.labels["text"].to_pylist() == texts
        digests.add(points.digest)
    assert len(digests) == 1


def test_a_csv_has_numbers_where_a_whole_column_is_numbers():
    points = read_points(
        "a.CSV", csv("Y,X,class,share,name\n45.5,10.25,3,1,007x\n46,11,4,2.5,8\n"), ["class", "share", "name"]
    )
    assert points.longitudes.tolist() == [10.25, 11.0]
    assert points.latitudes.tolist() == [45.5, 46.0]
    assert {name: str(column.type) for name, column in points.labels.items()} == {
        "class": "int64", "share": "double", "name": "string"
    }  # fmt: skip
    assert points.labels["name"].to_pylist() == ["007x", "8"]


def test_text_that_looks_like_numbers_stays_text_in_parquet():
    points = read_points("a.parquet", parquet({"lon": [1.0], "lat": [2.0], "code": ["007"]}), ["code"])
    assert points.label("code", 0) == "007"


def test_geoparquet_in_another_crs_is_brought_to_degrees():
    crs = pyproj.CRS("EPSG:32633")
    x, y = pyproj.Transformer.from_crs("OGC:CRS84", crs, always_xy=True).transform([14.0, 15.5], [45.0, 46.0])
    described = {"where": {"encoding": "WKB", "crs": crs.to_json_dict()}}
    content = parquet(
        {"where": shapely.to_wkb(shapely.points(x, y))}, geo={"primary_column": "where", "columns": described}
    )
    points = read_points("a.parquet", content)
    np.testing.assert_allclose(points.longitudes, [14.0, 15.5], atol=1e-9)
    np.testing.assert_allclose(points.latitudes, [45.0, 46.0], atol=1e-9)


def wkb(*shapes, **column):
    return parquet(
        {"g": [shape.wkb for shape in shapes]},
        geo={"primary_column": "g", "columns": {"g": {"encoding": "WKB", **column}}},
    )


MULTI = {"type": "Feature", "geometry": {"type": "MultiPoint", "coordinates": [[1, 2]]}, "properties": {}}
REFUSED = [
    ("a.geojson", geojson(feature(1, 2), MULTI), [], "row 2, geometry must be a Point, got MultiPoint"),
    ("a.geojson", geojson({"type": "Feature", "geometry": None}), [], "row 1, geometry must be a Point, got none"),
    ("a.geojson", geojson(feature("1", 2)), [], "row 1, coordinates must be"),
    ("a.geojson", geojson(feature(1, 2), feature(1, 91)), [], "row 2, latitude must be in -90..90, got 91.0"),
    ("a.geojson", geojson(feature(1, 2, a=1), feature(3, 4)), ["a"], "row 2 has no property 'a'"),
    ("a.geojson", geojson(feature(1, 2, a=1), feature(3, 4, a=None)), ["a"], "row 2, 'a' must be a number or text, got None"),
    ("a.geojson", geojson(feature(1, 2, a=1), feature(3, 4, a="x")), ["a"], "row 2, 'a' is 'x', where the rows above"),
    ("a.geojson", geojson(feature(1, 2, a=[1])), ["a"], r"row 1, 'a' must be a number or text, got \[1\]"),
    ("a.geojson", geojson(), [], "there is none"),
    ("a.geojson", b"[1", [], "is not JSON"),
    ("a.geojson", b"[1]", [], "GeoJSON is an object"),
    ("a.csv", csv("lon,lat\n1,2\n3,north\n"), [], "row 2, column 'lat' must be a number, got 'north'"),
    ("a.csv", csv("lon,lat\n1,2\n181,2\n"), [], "row 2, longitude must be in -180..180, got 181.0"),
    ("a.csv", csv("lon,lat\n1,2\nnan,2\n"), [], "row 2, longitude must be in"),
    ("a.csv", csv("lon,lat,a\n1,2,x\n3,4,\n"), ["a"], "row 2, column 'a' is empty"),
    ("a.csv", csv("lon,lat\n1,2\n3\n"), [], "cannot be read as csv"),
    ("a.csv", csv("east,north\n1,2\n"), [], "there must be columns longitude and latitude or"),
    ("a.csv", csv("lon,lat\n1,2\n"), ["a"], "there is no column 'a'"),
    ("a.parquet", parquet({"lon": [1.0, None], "lat": [2.0, 3.0]}), [], "row 2, column 'lon' is empty"),
    ("a.parquet", parquet({"lon": [1.0], "lat": [2.0], "a": pa.array([None], pa.int64())}), ["a"], "row 1, column 'a' is empty"),
    ("a.parquet", b"PAR1", [], "cannot be read as parquet"),
    ("a.parquet", wkb(shapely.Point(1, 2), shapely.MultiPoint([[1, 2]])), [], "row 2, column 'g' must hold a Point"),
    ("a.parquet", wkb(shapely.Point(1, 2), encoding="point"), [], "column 'g' must hold WKB"),
    ("a.shp", b"", [], "a file must be one of .geojson, .json, .csv, .parquet"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "labels", "words"), REFUSED, ids=[row[3][:40] for row in REFUSED])
def test_what_cannot_be_used_is_refused_by_its_row_and_column(name, content, labels, words):
    with pytest.raises(ValueError, match=words):
        read_points(name, content, labels)


def test_labels_of_another_length_are_refused():
    with pytest.raises(ValueError, match="1 longitudes, but 2 values of a"):
        Points(longitudes=np.zeros(1), latitudes=np.zeros(1), labels={"a": pa.array([1, 2])})


def test_the_digest_sees_order_and_labels():
    def digest(features, *labels):
        return points_from_features(features, labels).digest

    one, two = feature(1, 2, a="ab", b="c"), feature(3, 4, a="a", b="bc")
    assert digest([one, two]) != digest([two, one])
    assert digest([one], "a", "b") != digest([two], "a", "b")
    assert digest([one], "a") != digest([one])
    assert digest([one, two], "a") == digest([one, two], "a")


PCG64_SEED_7 = [(10.62509547, 45.01678536), (10.8972138, 45.37246386), (10.77568569, 45.28472057)]


def test_random_points_are_the_same_wherever_they_are_drawn():
    """Numbers written down once: another numpy, or another machine, has to draw them again."""
    points = random_points(Region.parse([10, 45, 11, 46]), count=3, seed=7)
    found = np.column_stack((points.longitudes, points.latitudes))
    raw = np.random.Generator(np.random.PCG64(7)).random(2 * 4096).reshape(2, -1)[:, :3]
    low, high = np.sin(np.radians([45, 46]))
    np.testing.assert_allclose(found[:, 0], 10 + raw[0], rtol=1e-15)
    np.testing.assert_allclose(np.sin(np.radians(found[:, 1])), low + raw[1] * (high - low), rtol=1e-14)
    np.testing.assert_allclose(found, PCG64_SEED_7, atol=1e-8)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 50), more=st.integers(0, 50))
def test_fewer_points_are_the_first_of_more(seed, count, more):
    region = Region.parse({"type": "Polygon", "coordinates": [[[0, 0], [8, 1], [3, 9], [2, 3], [0, 0]]]})
    few, many = (random_points(region, count=number, seed=seed) for number in (count, count + more))
    assert len(few) == count
    np.testing.assert_array_equal(few.longitudes, many.longitudes[:count])
    np.testing.assert_array_equal(few.latitudes, many.latitudes[:count])
    assert shapely.contains_xy(region.geometry, many.longitudes, many.latitudes).all()


def test_random_points_lie_evenly_over_the_sphere():
    points = random_points(Region.parse([-180, -90, 180, 90]), count=200_000, seed=1)
    # Archimedes: of a sphere, zones of equal height have equal areas.
    heights = np.histogram(np.sin(np.radians(points.latitudes)), 20, (-1, 1))[0]
    sides = np.histogram(points.longitudes, 20, (-180, 180))[0]
    for counts in (heights, sides):
        assert np.abs(counts - 10_000).max() < 5 * np.sqrt(10_000)


@pytest.mark.parametrize(("count", "seed", "words"), [(0, 1, "count must be at least 1"), (1, -1, "seed must not be")])
def test_counts_and_seeds_that_make_no_sense_are_refused(count, seed, words):
    with pytest.raises(ValueError, match=words):
        random_points(Region.parse([0, 0, 1, 1]), count=count, seed=seed)


def test_a_region_that_no_point_falls_into_ends_in_words(monkeypatch):
    monkeypatch.setattr("airflow_ee.core.points.MAXIMUM_DRAWS", 3)
    sliver = {"type": "Polygon", "coordinates": [[[0, 0], [90, 80], [90, 80.000000001], [0, 0]]]}
    with pytest.raises(ValueError, match="0 of 5 could be drawn"):
        random_points(Region.parse(sliver), count=5, seed=1)


def test_a_hundred_thousand_points_are_cheap():
    count = 100_000
    content = parquet(
        {"lon": np.linspace(-180, 180, count), "lat": np.linspace(-80, 80, count), "class": np.arange(count) % 7}
    )
    begin = time.process_time()
    points = read_points("a.parquet", content, ["class"])
    assert len(points.digest) == 64
    assert time.process_time() - begin < 2
    assert len(points) == count
