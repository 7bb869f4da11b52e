"""Exported tables, read by other programs: csv, json, xml and zip of Python, pyshp; and table assets that load again."""

import csv
import io
import json
import zipfile
from xml.etree import ElementTree

import numpy as np
import pytest
import shapefile
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_ee.emulator.catalog.tables import decoded, encoded
from airflow_ee.emulator.codecs.shapefile import KIND_OF, shapes
from airflow_ee.emulator.exports.cutting import cut_feature
from airflow_ee.emulator.pixels.crs import Crs
from airflow_ee.emulator.values.dates import Date
from airflow_ee.emulator.values.element import Feature
from airflow_ee.emulator.values.geometry import Geometry

from .conftest import call, graph, message

KML = "{http://www.opengis.net/kml/2.2}"
HOLED = [[[0, 0], [0, 4], [4, 4], [4, 0], [0, 0]], [[1, 1], [2, 1], [2, 2], [1, 2], [1, 1]]]


def point(x, y):
    return call("GeometryConstructors.Point", coordinates=[x, y])


def polygon(coordinates, crs=None):
    fields = {"crs": call("Projection", crs=crs), "geodesic": False} if crs else {"geodesic": False}
    return call("GeometryConstructors.Polygon", coordinates=coordinates, **fields)


def feature(geometry, **properties):
    return call("Feature", geometry=geometry, metadata=properties)


def table(*features):
    return graph(call("Collection", features={"arrayValue": {"values": list(features)}}))


POINTS = table(feature(point(11.5, 46.25), b='x, "y"', A=1, c=0.125), feature(point(-3, 7), b="é\n", A=2))


def start(rest, expression, kind="CSV", *, prefix="t", **fields):
    options = {"fileFormat": kind, "cloudStorageDestination": {"bucket": "b", "filenamePrefix": prefix}}
    body = {"expression": expression, "fileExportOptions": options, **fields}
    return rest.post(f"{rest.project}/table:export", body)


def exported(rest, emulator, expression, kind="CSV", **fields):
    """The bytes of the files of an export by their endings."""
    answer = start(rest, expression, kind, **fields)
    assert answer.status_code == 200, answer.text
    operation = rest.ended(answer.json()["name"])
    assert operation["metadata"]["state"] == "SUCCEEDED", operation
    assert operation["metadata"]["type"] == "EXPORT_FEATURES"
    return {path.name.removeprefix("t"): path.read_bytes() for path in (emulator.root / "gs" / "b").iterdir()}


def failed(rest, expression, kind, **fields):
    operation = rest.ended(start(rest, expression, kind, **fields).json()["name"])
    assert operation["metadata"]["state"] == "FAILED", operation
    assert operation["error"]["code"] == 3
    return operation["error"]["message"]


def rows_of(content):
    return list(csv.reader(io.StringIO(content.decode(), newline="")))


def test_csv_has_the_index_first_the_properties_by_name_and_the_geometry_last(rest, emulator):
    (content,) = exported(rest, emulator, POINTS).values()
    header, first, second = rows_of(content)
    assert header == ["system:index", "A", "b", "c", ".geo"]
    assert first == ["0", "1", 'x, "y"', "0.125", '{"type":"Point","coordinates":[11.5,46.25]}']
    assert second[:4] == ["1", "2", "é\n", ""]


def test_selectors_choose_columns_and_their_order(rest, emulator):
    (content,) = exported(rest, emulator, POINTS, selectors=["c", ".geo", "A", "missing"]).values()
    header, first, _ = rows_of(content)
    assert header == ["c", ".geo", "A", "missing"]
    assert (first[0], first[2:]) == ("0.125", ["1", ""])


def test_features_without_geometry_have_an_empty_multipoint(rest, emulator):
    (content,) = exported(rest, emulator, table(feature(None, a=1))).values()
    assert rows_of(content)[1] == ["0", "1", '{"type":"MultiPoint","coordinates":[]}']


def test_a_planar_polygon_says_so_before_its_type(rest, emulator):
    (content,) = exported(rest, emulator, table(feature(polygon(HOLED), a=1))).values()
    assert rows_of(content)[1][2].startswith('{"geodesic":false,"type":"Polygon","coordinates":[[[')


def test_nested_values_are_text_in_brackets(rest, emulator):
    (content,) = exported(rest, emulator, table(feature(None, l=[1, 2.5, "x"], d={"k": 1}))).values()
    assert rows_of(content)[1][1:3] == ["{k=1}", "[1, 2.5, x]"]


def test_dates_are_iso_text(rest, emulator):
    dated = call("Element.set", object=feature(None), key="when", value=call("Date", value="2020-06-09T01:02:03"))
    (content,) = exported(rest, emulator, table(dated)).values()
    assert rows_of(content)[1][1] == "2020-06-09T01:02:03"


def test_an_empty_table_has_its_header_only(rest, emulator):
    empty = call("Collection.limit", collection=POINTS["values"]["0"], limit=0)
    (content,) = exported(rest, emulator, graph(empty)).values()
    assert content.decode() == "system:index,.geo\n"


def test_geojson(rest, emulator):
    files = exported(rest, emulator, POINTS, "GEO_JSON")
    assert list(files) == [".geojson"]
    document = json.loads(files[".geojson"])
    assert document["type"] == "FeatureCollection"
    assert document["features"][0] == {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [11.5, 46.25]},
        "id": "0",
        "properties": {"A": 1, "b": 'x, "y"', "c": 0.125},
    }


@pytest.mark.parametrize("kind", ["KML", "KMZ"])
def test_kml_is_in_longitude_and_latitude(rest, emulator, kind):
    square = polygon([[[500000, 0], [500000, 1000], [501000, 1000], [501000, 0], [500000, 0]]], "EPSG:32632")
    files = exported(rest, emulator, table(feature(square, name="a<b")), kind)
    (suffix, content), *others = files.items()
    assert (suffix, others) == (f".{kind.lower()}", [])
    if kind == "KMZ":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            assert archive.namelist() == ["doc.kml"]
            content = archive.read("doc.kml")
    (mark,) = ElementTree.fromstring(content).iter(f"{KML}Placemark")
    assert mark.get("id") == "0"
    (data,) = mark.iter(f"{KML}Data")
    assert (data.get("name"), data.findtext(f"{KML}value")) == ("name", "a<b")
    (ring,) = mark.iter(f"{KML}coordinates")
    longitude, latitude = map(float, ring.text.split()[0].split(","))
    assert longitude == pytest.approx(9, abs=1e-9)
    assert latitude == pytest.approx(0, abs=1e-9)


def read_shapefile(files):
    return shapefile.Reader(**{suffix[1:]: io.BytesIO(files[suffix]) for suffix in (".shp", ".shx", ".dbf")})


def test_a_shapefile_of_polygons_with_holes(rest, emulator):
    features = [feature(polygon(HOLED), number=1, real=0.5, long_name_of_text="é" * 3), feature(None, number=-2)]
    files = exported(rest, emulator, table(*features), "SHP")
    assert sorted(files) == [".cpg", ".dbf", ".prj", ".shp", ".shx"]
    assert files[".cpg"] == b"UTF-8"
    assert files[".prj"].startswith(b'GEOGCS["WGS 84"')
    with read_shapefile(files) as reader:
        assert [field[0] for field in reader.fields if field[0] != "DeletionFlag"] == [
            "system:ind", "long_name_", "number", "real",
        ]  # fmt: skip
        assert [list(record) for record in reader.records()] == [["0", "ééé", 1, 0.5], ["1", "", -2, None]]
        shape, missing = (
            shapely.geometry.shape(each.__geo_interface__) if each.shapeType else None for each in reader.shapes()
        )
        assert missing is None
        assert shape.equals(shapely.Polygon(HOLED[0], HOLED[1:]))
        assert list(reader.bbox) == [0, 0, 4, 4]


@pytest.mark.parametrize(
    "shape",
    [
        shapely.Point(1.5, -2),
        shapely.MultiPoint([(0, 0), (1, 2)]),
        shapely.LineString([(0, 0), (3, 4)]),
        shapely.MultiLineString([[(0, 0), (1, 1)], [(5, 5), (6, 7), (8, 8)]]),
        shapely.MultiPolygon([shapely.box(7, 7, 8, 8), shapely.Polygon(HOLED[0], HOLED[1:])]),
    ],
    ids=lambda shape: shape.geom_type,
)
def test_every_kind_of_shape_survives_a_shapefile(shape):
    shp, shx = shapes([shape, None, shape], KIND_OF[shape.geom_type])
    with shapefile.Reader(shp=io.BytesIO(shp), shx=io.BytesIO(shx)) as reader:
        first, missing, last = reader.shapes()
        assert missing.shapeType == 0
        for found in (first, last):
            assert shapely.geometry.shape(found.__geo_interface__).normalize() == shape.normalize()


def test_a_shapefile_refuses_what_it_cannot_hold(rest):
    mixed = table(feature(point(1, 2)), feature(polygon(HOLED)))
    assert "same geometry type" in failed(rest, mixed, "SHP")
    two = table(feature(polygon(HOLED)), feature(polygon(HOLED, "EPSG:32632")))
    assert "same projection" in failed(rest, two, "SHP")
    alike = table(feature(point(1, 2), long_name_one=1, long_name_two=2))
    assert "Duplicate column name 'long_name_'" in failed(rest, alike, "SHP")


def test_a_table_asset_loads_again_with_types_geometries_and_ids(rest):
    name = "projects/demo-project/assets/made"
    dated = call(
        "Element.set",
        object=feature(polygon(HOLED, "EPSG:32632"), i=3, f=0.1, s="é", l=[1, 2]),
        key="t",
        value=call("Date", value=5),
    )
    body = {"expression": table(dated, feature(None, i=4), feature(point(1, 2), i=5)), "description": "d"}
    body["assetExportOptions"] = {"earthEngineDestination": {"name": name}}
    operation = rest.ended(rest.post(f"{rest.project}/table:export", body).json()["name"])
    assert operation["metadata"]["destinationUris"] == [f"https://code.earthengine.google.com/?asset={name}"]
    loaded = call("Collection.loadTable", tableId=name)
    first, second, third = rest.value(graph(loaded))["features"]
    assert [each["id"] for each in (first, second, third)] == ["0", "1", "2"]
    properties = {key: value for key, value in first["properties"].items() if key != "system:index"}
    assert properties == {"i": 3, "f": 0.1, "s": "é", "l": [1, 2], "t": {"type": "Date", "value": 5}}
    assert first["geometry"] == rest.value(graph(polygon(HOLED, "EPSG:32632")))
    assert second["geometry"] is None
    assert third["geometry"] == {"type": "Point", "coordinates": [1, 2]}
    chosen = call(
        "Collection.filter", collection=loaded, filter=call("Filter.equals", leftField="system:index", rightValue="2")
    )
    assert rest.value(graph(call("Collection.size", collection=chosen))) == 1
    assert message(rest.post(f"{rest.project}/table:export", body), 409) == f"Cannot overwrite asset '{name}'."


def test_tables_and_images_are_told_apart(rest):
    name = "projects/demo-project/assets/t"
    body = {"expression": POINTS, "assetExportOptions": {"earthEngineDestination": {"name": name}}}
    assert (
        rest.ended(rest.post(f"{rest.project}/table:export", body).json()["name"])["metadata"]["state"] == "SUCCEEDED"
    )
    load = f"{rest.project}/value:compute"
    assert "not found" in message(rest.post(load, {"expression": graph(call("Image.load", id=name))}))
    missing = call("Collection.loadTable", tableId=name + "2")
    assert message(rest.post(load, {"expression": graph(missing)})) == (
        f"Collection.loadTable: Collection asset '{name}2' not found (does not exist or caller does not have access)."
    )
    image = call("Collection.loadTable", tableId="MODIS/061/MOD13Q1/2020_06_09")
    assert "Expected asset to be a Collection, found 'Image'" in message(rest.post(load, {"expression": graph(image)}))
    versioned = call("Collection.loadTable", tableId=name, version=3)
    assert "version" in message(rest.post(load, {"expression": graph(versioned)}))


def test_an_asset_refuses_what_it_cannot_hold(rest):
    odd = table(feature(None, d={"k": 1}))
    body = {
        "expression": odd,
        "assetExportOptions": {"earthEngineDestination": {"name": "projects/demo-project/assets/x"}},
    }
    operation = rest.ended(rest.post(f"{rest.project}/table:export", body).json()["name"])
    assert "Property 'd'" in operation["error"]["message"]
    assert rest.get("projects/demo-project/assets/x").status_code == 404


def test_an_image_is_no_table(rest, emulator):
    body = start(rest, graph(call("Image.constant", value=1)))
    assert message(body) == "Expression must evaluate to a table."
    assert emulator.operations == []


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    corners=st.lists(st.tuples(st.floats(-80, 80), st.floats(-80, 80)), min_size=4, max_size=60, unique=True),
    limit=st.integers(5, 40),
)
def test_cutting_a_geometry_keeps_its_area_and_its_limit(corners, limit):
    shape = shapely.convex_hull(shapely.MultiPoint(corners)).segmentize(3.0)
    cut = cut_feature(Feature(Geometry(shape)), limit).geometry.shape
    parts = list(getattr(cut, "geoms", [cut]))
    assert sum(part.area for part in parts) == pytest.approx(shape.area, rel=1e-9)
    if shape.area > 1:
        assert max(shapely.get_num_coordinates(part) for part in parts) <= max(limit, 8)


VALUES = st.one_of(st.integers(-(2**53), 2**53), st.floats(allow_nan=False), st.text(), st.lists(st.integers(0, 9)))


@given(properties=st.dictionaries(st.text(min_size=1).filter(lambda name: name != "system:index"), VALUES, max_size=5),
       x=st.floats(-180, 180), geodesic=st.booleans(), date=st.integers(0, 10**12))  # fmt: skip
def test_a_stored_feature_is_the_same_feature(properties, x, geodesic, date):
    before = Feature(Geometry(shapely.Point(x, 1 / 3), Crs("EPSG:3857"), geodesic), {**properties, "when": Date(date)})
    after = decoded(json.loads(json.dumps(encoded(before, "7"))))
    assert after.properties == {**before.properties, "system:index": "7"}
    assert (after.id, after.geometry.crs, after.geometry.geodesic) == ("7", Crs("EPSG:3857"), geodesic)
    assert shapely.get_coordinates(after.geometry.shape).tolist() == [[x, 1 / 3]]
    assert {name: type(value) for name, value in after.properties.items() if name in properties} == {
        name: type(value) for name, value in properties.items()
    }


def test_many_vertices_are_cut_when_asked_to(rest, emulator):
    circle = [[float(np.cos(angle)), float(np.sin(angle))] for angle in np.linspace(0, 2 * np.pi, 400)]
    (content,) = exported(
        rest, emulator, table(feature(polygon([circle]))), "GEO_JSON", maxVertices={"value": 100}
    ).values()
    shape = shapely.geometry.shape(json.loads(content)["features"][0]["geometry"])
    assert shape.geom_type == "MultiPolygon"
    assert all(shapely.get_num_coordinates(part) <= 100 for part in shape.geoms)
    assert shape.area == pytest.approx(shapely.Polygon(circle).area, rel=1e-9)
