"""Regions from the files that people have are the same polygons with the same names, or a refusal that names the region."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pyproj
import pytest
import shapely

from airflow_ee.core.region_file import read_regions

FIELDS = {
    "north": shapely.Polygon([(10, 45), (10.02, 45), (10.02, 45.01), (10, 45.01)], [[(10.005, 45.002), (10.01, 45.002), (10.01, 45.005)]]),
    "south": shapely.MultiPolygon([shapely.box(10, 44.9, 10.01, 44.91), shapely.box(10.02, 44.9, 10.03, 44.91)]),
}  # fmt: skip


def feature(name, shape, **properties):
    return {"type": "Feature", "id": name, "properties": properties, "geometry": json.loads(shapely.to_geojson(shape))}


def collection(*features):
    return json.dumps({"type": "FeatureCollection", "features": list(features)}).encode()


def csv(column, text):
    buffer = io.StringIO()
    import csv as module

    writer = module.writer(buffer)
    writer.writerow(["id", column])
    writer.writerows((name, text(shape)) for name, shape in FIELDS.items())
    return buffer.getvalue().encode()


def parquet(column, values, metadata=None):
    table = pa.table({"id": list(FIELDS), column: values})
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(table.replace_schema_metadata(metadata), buffer)
    return buffer.getvalue()


def geoparquet(crs=None, shapes=None):
    described = {"primary_column": "shape", "columns": {"shape": {"encoding": "WKB", **({"crs": crs} if crs else {})}}}
    values = [shapely.to_wkb(shape) for shape in shapes or FIELDS.values()]
    return parquet("shape", values, {b"geo": json.dumps(described).encode()})


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("f.geojson", collection(*(feature(name, shape) for name, shape in FIELDS.items()))),
        ("f.CSV", csv("WKT", shapely.to_wkt)),
        ("earth_engine_export.csv", csv(".geo", shapely.to_geojson)),
        ("f.parquet", parquet("geometry", [shapely.to_wkb(shape) for shape in FIELDS.values()])),
        ("f.parquet", parquet("wkt", [shapely.to_wkt(shape) for shape in FIELDS.values()])),
        ("f.geoparquet", geoparquet()),
        ("f.parquet", geoparquet(json.loads(pyproj.CRS("OGC:CRS84").to_json()))),
    ],
    ids=["geojson", "csv-wkt", "csv-geo", "parquet-wkb", "parquet-wkt", "geoparquet", "geoparquet-crs84"],
)
def test_a_file_of_any_kind_gives_the_same_regions(name, content):
    regions = read_regions(name, content, None)
    assert [item.id for item in regions] == list(FIELDS)
    for item in regions:
        assert shapely.equals_exact(shapely.normalize(item.region.geometry), shapely.normalize(FIELDS[item.id]), 1e-5)


def test_geoparquet_in_another_crs_is_turned_into_degrees():
    to_utm = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:32632", always_xy=True)
    moved = [
        shapely.transform(shape, lambda points: np.column_stack(to_utm.transform(points[:, 0], points[:, 1])))
        for shape in FIELDS.values()
    ]
    regions = read_regions("f.parquet", geoparquet(json.loads(pyproj.CRS("EPSG:32632").to_json()), moved), None)
    for item in regions:
        assert shapely.hausdorff_distance(item.region.geometry, FIELDS[item.id]) < 1e-8


def test_a_property_names_the_regions_when_asked():
    shape = FIELDS["north"]
    content = collection(feature("a", shape, field=7), feature("b", shape, field=8.0))
    assert [item.id for item in read_regions("f.geojson", content, "field")] == ["7", "8"]


@pytest.mark.parametrize(
    ("name", "content", "id_property", "words"),
    [
        ("f.shp", b"", None, "regions_uri must end in .geojson"),
        ("f.geojson", b"{", None, "is not GeoJSON"),
        ("f.geojson", b"[]", None, "must be a GeoJSON FeatureCollection, got list"),
        ("f.geojson", collection(), None, "has no region"),
        ("f.parquet", b"PAR1", None, "is no Parquet file"),
        ("f.csv", b"id,shape\n1,x\n", None, "has no geometry: no column is called geometry, .geo, wkt.* it has id, shape"),
        ("f.csv", b"id,wkt\n1,POLYGON ((0 0\n", None, r"region '1' \(number 1\): its geometry cannot be read"),
        ("f.csv", b"id,wkt\n1,\n", None, "region '1' .*it has no geometry"),
        ("f.csv", b"id,wkt\n1,POINT (1 2)\n", None, "region '1' .*must be a Polygon or MultiPolygon, got Point"),
        ("f.csv", b"id,wkt\nx,\"POLYGON ((179 0, 181 0, 181 1, 179 0))\"\n", None, "region 'x' .*leaves the world"),
        ("f.csv", b"id,wkt\nbow,\"POLYGON ((0 0, 1 1, 1 0, 0 1, 0 0))\"\n", None, "region 'bow' .*not a valid polygon"),
        ("f.csv", b"name,wkt\na,\"POLYGON ((0 0, 1 0, 1 1, 0 0))\"\n", None, "has no id: give region_id_property, one of name"),
        ("f.geojson", collection(feature("a", FIELDS["north"])), "field", "region number 1 has no 'field'; it has no properties"),
        (
            "f.geojson",
            collection(feature("a", FIELDS["north"]), feature("a", FIELDS["south"])),
            None,
            r"two regions are called 'a' \(the second is number 2\)",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 12 else "",
)  # fmt: skip
def test_what_cannot_be_used_is_refused_by_name(name, content, id_property, words):
    with pytest.raises(ValueError, match=words):
        read_regions(name, content, id_property)


def test_outlines_as_long_as_countries_are_read():

    angles = np.linspace(0, 2 * np.pi, 20_000, endpoint=False)
    outline = shapely.Polygon(np.column_stack((np.cos(angles), np.sin(angles))))
    content = f'id,wkt\nx,"{outline.wkt}"\n'.encode()
    assert len(content) > 131_072, "more than Python's csv takes by itself"
    assert read_regions("f.csv", content, None)[0].region.geometry.area == pytest.approx(outline.area)
