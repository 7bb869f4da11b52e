"""Tables in files: what was given comes back through other readers, the same bytes whatever the pages were."""

import csv
import json
import math
import subprocess
import sys
from datetime import UTC, datetime

import pyarrow.parquet
import pyogrio
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_ee.core.errors import MalformedResponse
from airflow_ee.core.tables import TABLE_FORMATS, FeatureSpool

FROM = {"request_digest": "abc", "simulated": "true"}
SQUARE = {"type": "Polygon", "coordinates": [[[0, 0], [2, 0], [2, 1], [0, 1], [0, 0]]]}


def feature(index=None, geometry=None, **properties):
    named = properties if index is None else {"system:index": index, **properties}
    return {"type": "Feature", "geometry": geometry, "properties": named}


def point(x, y):
    return {"type": "Point", "coordinates": [x, y]}


def written(folder, features, file_format, selectors=None, name="table"):
    table = FeatureSpool(folder / "spool", selectors).take(features)
    table.write(folder / name, file_format, FROM)
    return folder / name


def parquet(folder, features, selectors=None):
    return pyarrow.parquet.read_table(written(folder, features, "PARQUET", selectors))


def rows_of_csv(folder, features, selectors=None):
    with written(folder, features, "CSV", selectors).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def geojson(folder, features, selectors=None):
    return json.loads(written(folder, features, "GEO_JSON", selectors).read_text(encoding="utf-8"))


MIXED = [
    feature("a", point(1, 2), name='é "q",\n😀', n=1, part=0.5, flags=[1, 2], more={"x": None}, odd=1),
    feature("b", None, name=None, n=2, part=3, flags=[], odd="one", when={"type": "Date", "value": 0}),
    feature("c", SQUARE, name="", n=None, part="NaN", flags=[0.5], odd=[1]),
]


def test_parquet_has_typed_columns_in_order(tmp_path):
    table = parquet(tmp_path, MIXED)
    assert [f"{field.name} {field.type}" for field in table.schema] == [
        "system:index string", "flags list<element: double>", "more string", "n int64", "name string", "odd string",
        "part double", "when timestamp[ms, tz=UTC]", "geometry binary",
    ]  # fmt: skip
    first, second, third = table.to_pylist()
    assert first["name"] == MIXED[0]["properties"]["name"]
    assert (second["name"], third["name"], third["n"]) == (None, "", None)
    assert (first["more"], first["odd"], third["odd"]) == ('{"x": null}', "1", "[1]")
    assert second["when"] == datetime(1970, 1, 1, tzinfo=UTC)
    assert math.isnan(third["part"])


def test_parquet_is_geoparquet(tmp_path):
    table = parquet(tmp_path, MIXED)
    geo = json.loads(table.schema.metadata[b"geo"])
    assert geo == {
        "version": "1.1.0",
        "primary_column": "geometry",
        "columns": {
            "geometry": {
                "encoding": "WKB",
                "geometry_types": ["Point", "Polygon"],
                "edges": "planar",
                "bbox": [0.0, 0.0, 2.0, 2.0],
            }
        },
    }
    shapes = shapely.from_wkb(table["geometry"].to_pylist())
    assert [None if shape is None else shapely.geometry.mapping(shape)["type"] for shape in shapes] == [
        "Point", None, "Polygon",
    ]  # fmt: skip
    assert shapes[2].equals(shapely.box(0, 0, 2, 1))
    assert table.schema.metadata[b"request_digest"] == b"abc"


def test_geopandas_reads_the_parquet(tmp_path):
    geopandas = pytest.importorskip("geopandas")
    frame = geopandas.read_parquet(written(tmp_path, MIXED, "PARQUET"))
    assert frame.crs == "OGC:CRS84"
    assert frame.geometry[0].equals(shapely.Point(1, 2))


def test_geometries_have_another_name_where_a_property_took_it(tmp_path):
    named = {"type": "Feature", "geometry": point(1, 2), "properties": {"geometry": "round"}}
    table = parquet(tmp_path, [named])
    assert table.column_names == ["system:index", "geometry", ".geo"]
    assert table["geometry"].to_pylist() == ["round"]
    assert json.loads(table.schema.metadata[b"geo"])["primary_column"] == ".geo"


def test_csv_is_as_earth_engine_exports_it(tmp_path):
    rows = rows_of_csv(tmp_path, MIXED)
    assert list(rows[0]) == ["system:index", "flags", "more", "n", "name", "odd", "part", "when", ".geo"]
    assert rows[0]["name"] == MIXED[0]["properties"]["name"]
    assert (rows[0]["flags"], rows[0]["part"], rows[1]["part"], rows[2]["part"]) == ("[1, 2]", "0.5", "3", "NaN")
    assert rows[1]["when"] == "1970-01-01T00:00:00Z"
    assert rows[2]["n"] == ""
    assert json.loads(rows[0][".geo"]) == point(1, 2)
    assert rows[1][".geo"] == '{"type":"MultiPoint","coordinates":[]}'


def test_geojson_keeps_values_and_has_every_column_in_every_feature(tmp_path):
    whole = geojson(tmp_path, MIXED)
    assert whole["type"] == "FeatureCollection"
    assert whole["provenance"] == FROM
    assert [item["id"] for item in whole["features"]] == ["a", "b", "c"]
    assert [item["geometry"] for item in whole["features"]] == [point(1, 2), None, SQUARE]
    assert {tuple(item["properties"]) for item in whole["features"]} == {
        ("system:index", "flags", "more", "n", "name", "odd", "part", "when")
    }
    assert [item["properties"]["odd"] for item in whole["features"]] == [1, "one", [1]]
    assert whole["features"][2]["properties"]["part"] is None, "JSON has no NaN"


def test_gdal_reads_the_geojson(tmp_path):
    info = pyogrio.read_info(written(tmp_path, MIXED, "GEO_JSON", name="x.geojson"))
    assert info["features"] == 3
    assert info["crs"] == "EPSG:4326"
    kinds = dict(zip(info["fields"], info["ogr_types"], strict=True))
    assert (kinds["n"], kinds["part"], kinds["when"]) == ("OFTInteger", "OFTReal", "OFTDateTime")
    meta, _, geometry, _ = pyogrio.raw.read(tmp_path / "x.geojson", columns=["n"])
    assert list(meta["fields"]) == ["n"]
    assert shapely.from_wkb(geometry[0]).equals(shapely.Point(1, 2))


@pytest.mark.parametrize("file_format", TABLE_FORMATS)
def test_selectors_choose_columns_in_their_order(tmp_path, file_format):
    chosen = ["part", "system:index", "n"]
    if file_format == "PARQUET":
        assert parquet(tmp_path, MIXED, chosen).column_names == chosen
        assert b"geo" not in parquet(tmp_path, MIXED, chosen).schema.metadata
    elif file_format == "CSV":
        assert list(rows_of_csv(tmp_path, MIXED, chosen)[0]) == chosen
    else:
        item = geojson(tmp_path, MIXED, chosen)["features"][0]
        assert (list(item["properties"]), item["geometry"], item["id"]) == (chosen, None, "a")
        assert "id" not in geojson(tmp_path, MIXED, ["n"])["features"][0]


def test_a_selected_column_that_no_feature_has_is_empty_and_told(tmp_path):
    table = FeatureSpool(tmp_path / "spool", ["n", "typo", ".geo"]).take(MIXED)
    assert table.missing == ("typo",)
    table.write(tmp_path / "x", "PARQUET", FROM)
    assert pyarrow.parquet.read_table(tmp_path / "x")["typo"].to_pylist() == [None] * 3


def test_a_column_that_is_selected_twice_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"selectors: each column at most once, got \['n', 'n'\]"):
        FeatureSpool(tmp_path / "spool", ["n", "n"])


@pytest.mark.parametrize("file_format", TABLE_FORMATS)
def test_no_features_are_a_table_without_rows(tmp_path, file_format):
    content = written(tmp_path, [], file_format)
    if file_format == "PARQUET":
        assert pyarrow.parquet.read_table(content).num_rows == 0
    elif file_format == "CSV":
        assert content.read_text() == "system:index,.geo\n"
    else:
        assert json.loads(content.read_text())["features"] == []


def test_the_index_is_the_features_id_or_its_place_where_it_has_no_property_for_it(tmp_path):
    features = [feature("x"), {**feature(), "id": "y"}, feature(), {"type": "Feature", "geometry": None}]
    assert parquet(tmp_path, features)["system:index"].to_pylist() == ["x", "y", "2", "3"]


@pytest.mark.parametrize("thing", [{}, {"type": "Point"}, {"type": "Feature", "properties": [1]}])
def test_what_is_no_feature_is_told_with_its_number(tmp_path, thing):
    with pytest.raises(MalformedResponse, match="as number 1"):
        FeatureSpool(tmp_path / "spool").take([feature("a"), thing])


def test_a_geometry_that_is_none_is_told(tmp_path):
    with pytest.raises(MalformedResponse, match="geometry is no GeoJSON"):
        written(tmp_path, [feature("a", {"type": "Point", "coordinates": "here"})], "PARQUET")


properties = st.dictionaries(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=3),
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters(codec="utf-8"), max_size=4)),
    max_size=4,
)
collections = st.lists(st.builds(lambda made: {"type": "Feature", "geometry": None, "properties": made}, properties))


@settings(deadline=None, max_examples=40)
@given(features=collections)
def test_any_properties_make_a_table_of_as_many_rows_in_every_format(features, tmp_path_factory):
    folder = tmp_path_factory.mktemp("any")
    assert parquet(folder, features).num_rows == len(features)
    assert len(rows_of_csv(folder, features)) == len(features)
    whole = geojson(folder, features)["features"]
    names = {name for item in features for name in item["properties"]} | {"system:index"}
    assert all(set(item["properties"]) == names - {".geo"} for item in whole)


@pytest.mark.parametrize("file_format", TABLE_FORMATS)
def test_equal_features_give_equal_bytes_and_groups_of_rows_lose_none(tmp_path, file_format, monkeypatch):
    features = [feature(str(number), point(number, 0), n=number, s="x" * (number % 50)) for number in range(500)]
    once = written(tmp_path, features, file_format, name="one").read_bytes()
    assert written(tmp_path, features, file_format, name="two").read_bytes() == once
    monkeypatch.setattr("airflow_ee.core.tables.GROUP_BYTES", 2000)
    cut = written(tmp_path, features, file_format, name="three")
    if file_format == "PARQUET":
        assert pyarrow.parquet.ParquetFile(cut).num_row_groups > 10
        assert pyarrow.parquet.read_table(cut)["n"].to_pylist() == list(range(500))
    else:
        assert cut.read_bytes() == once


GROWTH = """
import resource, sys
from pathlib import Path
from airflow_ee.core.tables import FeatureSpool
folder, count = Path(sys.argv[1]), int(sys.argv[2])
ring = [[number / 500, (number * 7 % 13) / 10] for number in range(200)]
def features():
    for number in range(count):
        shape = {"type": "LineString", "coordinates": ring}
        yield {"type": "Feature", "geometry": shape, "properties": {"n": number, "name": str(number)}}
FeatureSpool(folder / "spool").take(features()).write(folder / "x", "PARQUET", {})
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def test_memory_does_not_grow_with_the_number_of_features(tmp_path):
    def peak(count):
        command = [sys.executable, "-c", GROWTH, str(tmp_path), str(count)]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert peak(15_000) < peak(5_000) * 1.15


def test_a_hundred_thousand_features_are_written(tmp_path):
    features = (feature(str(number), point(0, 0), n=number) for number in range(100_000))
    table = parquet(tmp_path, features)
    assert table["n"].to_pylist() == list(range(100_000))
