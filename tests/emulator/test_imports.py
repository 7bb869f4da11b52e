"""Imports: GeoTIFFs, CSV files, shapefiles and TFRecords of a bucket become assets, whole or not at all."""

import gzip
import http.server
import threading
import urllib.parse
import zipfile

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely

from airflow_ee.emulator import Emulator
from airflow_ee.emulator.codecs import example
from airflow_ee.emulator.codecs.tfrecord import framed

from .conftest import UNHURRIED, Rest, call, graph, image, loaded, message
from .test_official_client import initialised

HOME = "projects/demo-project/assets"
UTM = {"crs": "EPSG:32632", "transform": rasterio.Affine(10, 0, 600_000, 0, -10, 5_100_000)}
TILE = {"sources": [{"uris": ["gs://b/one.tif"]}]}


@pytest.fixture
def bucket(emulator):
    folder = emulator.root / "gs" / "b"
    folder.mkdir(parents=True)
    return folder


def geotiff(path, values, *, names=(), tags=None, **profile):
    """Values as (bands, rows, columns)."""
    values = np.asarray(values)
    count, height, width = values.shape
    shape = {"count": count, "height": height, "width": width, "dtype": values.dtype}
    with rasterio.open(path, "w", driver="GTiff", **{**UTM, **shape, **profile}) as file:
        file.write(values)
        file.update_tags(**(tags or {}))
        for number, name in enumerate(names, start=1):
            file.set_band_description(number, name)
    return path


def imported(rest, kind, manifest, **fields):
    answer = rest.post(f"{rest.project}/{kind}:import", {f"{kind}Manifest": manifest, **fields})
    assert answer.status_code == 200, answer.text
    return rest.ended(answer.json()["name"])


def failure(rest, kind, manifest):
    operation = imported(rest, kind, manifest)
    assert operation["metadata"]["state"] == "FAILED", operation
    assert rest.get(manifest["name"]).status_code == 404
    return operation["error"]["message"]


def refusal(rest, kind, manifest, status=400, **fields):
    return message(rest.post(f"{rest.project}/{kind}:import", {f"{kind}Manifest": manifest, **fields}), status)


def masks(rest, name):
    return rest.pixels(graph(call("Image.mask", image=image(name))))


def test_a_geotiff_becomes_an_image_with_its_bands_types_and_times(rest, bucket):
    values = np.arange(24, dtype="int16").reshape(2, 3, 4)
    geotiff(bucket / "one.tif", values, names=("red", "nir"), nodata=5)
    manifest = {
        "name": f"{HOME}/field",
        "uriPrefix": "gs://b/",
        "tilesets": [{"id": "t", "sources": [{"uris": ["one.tif"]}]}],
        "properties": {"farm": "north", "hectares": 2.5},
        "startTime": "2020-06-01T00:00:00Z",
        "endTime": "2020-06-02T00:00:00.5Z",
        "pyramidingPolicy": "MODE",
    }
    operation = imported(rest, "image", manifest, description="north field")
    metadata = operation["metadata"]
    assert (metadata["state"], metadata["type"], metadata["description"]) == (
        "SUCCEEDED",
        "INGEST_IMAGE",
        "north field",
    )
    asset = rest.get(f"{HOME}/field")
    assert asset.headers["x-earth-engine-emulator"] == "mounted"
    shown = asset.json()
    assert [(band["id"], band["pyramidingPolicy"]) for band in shown["bands"]] == [("red", "MODE"), ("nir", "MODE")]
    assert shown["bands"][0]["dataType"] == {"precision": "INT", "range": {"min": -32768, "max": 32767}}
    assert (shown["startTime"], shown["endTime"]) == ("2020-06-01T00:00:00Z", "2020-06-02T00:00:00.500Z")
    assert {name: shown["properties"][name] for name in ("farm", "hectares")} == manifest["properties"]
    pixels = loaded(rest.asset_pixels(f"{HOME}/field"))
    np.testing.assert_array_equal(pixels["nir"], values[1])
    np.testing.assert_array_equal(masks(rest, f"{HOME}/field")["red"], values[0] != 5)


def test_tilesets_join_tiles_and_bands_come_from_any_of_them(rest, bucket):
    whole = np.arange(5 * 9, dtype="uint8").reshape(1, 5, 9)
    right = {**UTM, "transform": UTM["transform"] @ rasterio.Affine.translation(4, 1)}
    geotiff(bucket / "left.tif", whole[:, :, :4])
    geotiff(bucket / "right.tif", whole[:, 1:, 4:], **right)
    coarse = {**UTM, "transform": rasterio.Affine(30, 0, 600_000, 0, -30, 5_100_000)}
    geotiff(bucket / "coarse.tif", np.array([[[0.5, 2]], [[7.9, -4]]], "float32"), **coarse)
    manifest = {
        "name": f"{HOME}/joined",
        "tilesets": [
            {"id": "fine", "sources": [{"uris": ["gs://b/left.tif"]}, {"uris": ["gs://b/right.tif"]}]},
            {"id": "coarse", "dataType": "INT8", "sources": [{"uris": ["gs://b/coarse.tif"]}]},
        ],
        "bands": [
            {"id": "second", "tilesetId": "coarse", "tilesetBandIndex": 1, "missingData": {"values": [-4]}},
            {"id": "fine", "tilesetId": "fine", "pyramidingPolicy": "SAMPLE"},
            {"id": "first", "tilesetId": "coarse"},
        ],
    }
    assert imported(rest, "image", manifest)["metadata"]["state"] == "SUCCEEDED"
    bands = rest.get(f"{HOME}/joined").json()["bands"]
    assert [(band["id"], band["pyramidingPolicy"]) for band in bands] == [
        ("second", "MEAN"), ("fine", "SAMPLE"), ("first", "MEAN")
    ]  # fmt: skip
    assert bands[0]["grid"]["affineTransform"]["scaleX"] == 30
    assert bands[1]["grid"]["dimensions"] == {"width": 9, "height": 5}
    fine = loaded(rest.asset_pixels(f"{HOME}/joined", bandIds=["fine"]))["fine"]
    np.testing.assert_array_equal(fine[1:], whole[0, 1:])
    np.testing.assert_array_equal(fine[0], [*whole[0, 0, :4], 0, 0, 0, 0, 0])
    rough = loaded(rest.asset_pixels(f"{HOME}/joined", bandIds=["second", "first"]))
    assert rough["second"].dtype == np.int8
    assert (rough["second"].tolist(), rough["first"].tolist()) == ([[7, 0]], [[0, 2]])


def test_mask_bands_masks_of_the_command_line_and_footprints(rest, bucket):
    values = np.array([[[1, 2], [3, 4]], [[255, 0], [1, 0]]], "uint8")
    geotiff(bucket / "one.tif", values)
    square = [{"x": 0.5, "y": 0.5}, {"x": 1.5, "y": 0.5}, {"x": 1.5, "y": 1.5}, {"x": 0.5, "y": 0.5}]
    manifest = {
        "name": f"{HOME}/masked",
        "tilesets": [{"id": "ts", **TILE}],
        "maskBands": {"tilesetId": "ts"},
        "footprint": {"points": square},
    }
    assert imported(rest, "image", manifest)["metadata"]["state"] == "SUCCEEDED"
    shown = rest.get(f"{HOME}/masked").json()
    assert [band["id"] for band in shown["bands"]] == ["b1"]
    np.testing.assert_array_equal(masks(rest, f"{HOME}/masked")["b1"], [[1, 0], [1, 0]])
    assert len(shown["geometry"]["coordinates"][0]) == 4


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_what_a_file_lacks_comes_from_the_manifest(rest, bucket):
    plain = {"crs": None, "transform": None}
    geotiff(bucket / "one.tif", np.ones((1, 2, 2), "float32"), names=("named",), **plain)
    affine = {"scaleX": 20, "scaleY": -20, "translateX": 500000, "translateY": 4000000}
    source = {"uris": ["gs://b/one.tif"], "affineTransform": affine, "dimensions": {"width": 2, "height": 2}}
    manifest = {
        "name": f"{HOME}/placed",
        "skipMetadataRead": True,
        "tilesets": [{"crs": "EPSG:32633", "sources": [source]}],
    }
    assert imported(rest, "image", manifest)["metadata"]["state"] == "SUCCEEDED"
    band = rest.get(f"{HOME}/placed").json()["bands"][0]
    assert (band["id"], band["grid"]["crsCode"], band["grid"]["affineTransform"]["translateX"]) == (
        "b1", "EPSG:32633", 500000
    )  # fmt: skip
    del manifest["tilesets"][0]["crs"]
    assert "no coordinate system" in failure(rest, "image", {**manifest, "name": f"{HOME}/lost"})


def test_pixels_that_were_simulated_stay_simulated(rest, bucket):
    geotiff(bucket / "one.tif", np.ones((1, 2, 2), "uint8"), tags={"simulated": "true"})
    operation = imported(rest, "image", {"name": f"{HOME}/s", "tilesets": [TILE]})
    for name in (operation["name"], f"{HOME}/s"):
        assert rest.get(name).headers["x-earth-engine-emulator"] == "simulated"


def two_tiles(*uris):
    return [{"sources": [{"uris": [uri]} for uri in uris]}]


@pytest.mark.parametrize(
    ("manifest", "complaint"),
    [
        ({"tilesets": two_tiles("gs://b/none.tif")}, "Unable to open gs://b/none.tif: there is no such object"),
        ({"tilesets": [{"sources": [{"uris": ["gs://b/one.tif", "gs://b/one.tfw"]}]}]}, "gs://b/one.tfw: there is no"),
        ({"tilesets": two_tiles("gs://b/text.tif")}, "Unable to open gs://b/text.tif: it is not a GeoTIFF"),
        ({"tilesets": two_tiles("gs://b/one.tif", "gs://b/off.tif")}, "off.tif does not lie on the pixel grid"),
        ({"tilesets": two_tiles("gs://b/one.tif", "gs://b/two.tif")}, "two.tif has not the bands of"),
        ({"tilesets": [TILE], "bands": [{"id": "x", "tilesetBandIndex": 1}]}, "'x' needs the band of index 1 of"),
        ({"tilesets": [TILE], "bands": [{"id": "x"}, {"id": "y"}]}, "'y' needs the band of index 1"),
        ({"tilesets": [{"id": "a", **TILE}, {"id": "b", **TILE}]}, "have band 'b1' twice"),
        ({"tilesets": [{"sources": [{"uris": ["gs://b/one.tif"], "dimensions": {"width": 3, "height": 3}}]}]}, "2x2"),
        ({"tilesets": [TILE], "footprint": {"bandId": "z", "points": [{"x": x, "y": y} for x, y in ((0, 0), (1, 0), (1, 1), (0, 0))]}}, "no band 'z'"),
    ],
)  # fmt: skip
def test_an_image_whose_files_do_not_fit_fails_with_the_reason(rest, bucket, manifest, complaint):
    geotiff(bucket / "one.tif", np.ones((1, 2, 2), "uint8"))
    geotiff(bucket / "two.tif", np.ones((2, 2, 2), "uint8"))
    shifted = UTM["transform"] @ rasterio.Affine.translation(0.3, 0)
    geotiff(bucket / "off.tif", np.ones((1, 2, 2), "uint8"), transform=shifted)
    (bucket / "text.tif").write_text("not an image")
    assert complaint in failure(rest, "image", {"name": f"{HOME}/x", **manifest})


def test_damaged_files_fail_the_import_by_name(rest, bucket, shapefile):
    path = geotiff(bucket / "one.tif", np.random.default_rng(1).random((1, 64, 64)), tiled=True, compress="deflate")
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes(2000) + content[middle + 2000 :])
    image = {"name": f"{HOME}/x", "tilesets": [TILE]}
    assert failure(rest, "image", image) == "Unable to read gs://b/one.tif: it is damaged."
    for part in shapefile.iterdir():
        (bucket / part.name).write_bytes(part.read_bytes())
    table = {"name": f"{HOME}/x", "sources": [{"uris": ["gs://b/f.shp"]}]}
    for name, end, complaint in (
        ("f.shp", -30, "a shape ends early"),
        ("f.dbf", -9, "its table ends early"),
        ("f.dbf", 8, "no dBASE file"),
    ):
        whole = (bucket / name).read_bytes()
        (bucket / name).write_bytes(whole[:end])
        assert complaint in failure(rest, "table", table)
        (bucket / name).write_bytes(whole)
    (bucket / "f.cpg").write_text("martian")
    assert "Unknown charset: 'martian'" in failure(rest, "table", table)


@pytest.mark.parametrize(
    ("manifest", "status", "complaint"),
    [
        ({}, 400, "at least one tileset"),
        ({"tilesets": []}, 400, "at least one tileset"),
        ({"tilesets": [{"id": "t"}]}, 400, "Tileset 't' has no sources"),
        ({"tilesets": [{"sources": [{}]}]}, 400, "at least one URI"),
        ({"tilesets": two_tiles("/tmp/one.tif")}, 400, "Invalid Cloud Storage URI: '/tmp/one.tif'"),
        ({"tilesets": two_tiles("gs://b/../../etc/passwd")}, 400, "Invalid file name"),
        ({"tilesets": [{"id": "t", **TILE}, {"id": "t", **TILE}]}, 400, "'t' is used twice"),
        ({"tilesets": [TILE], "colour": "red"}, 400, "Unknown name \"colour\" at 'image_manifest'"),
        ({"tilesets": [{**TILE, "dataType": "BYTE"}]}, 400, "Invalid value at 'image_manifest.tilesets[0].data_type'"),
        ({"tilesets": [{"id": "t", **TILE}], "bands": [{"id": "a", "tilesetId": "u"}]}, 400, "There is no tileset 'u'"),
        ({"tilesets": [TILE], "bands": [{"id": "a"}, {"id": "a"}]}, 400, "Band ids must be unique: 'a'"),
        ({"tilesets": [TILE], "bands": [{}]}, 400, "Band id must be specified"),
        ({"tilesets": [TILE], "bands": [{"id": "a", "tilesetBandIndex": -1}]}, 400, "must not be negative"),
        ({"tilesets": [TILE], "maskBands": [{"tilesetId": "u"}]}, 400, "There is no tileset 'u'"),
        ({"tilesets": [TILE], "bands": [{"id": "a"}], "maskBands": [{"bandIds": ["b"]}]}, 400, "no band 'b' to mask"),
        ({"tilesets": [TILE], "maskBands": [{}, {}]}, 400, "one mask band only"),
        ({"tilesets": [TILE], "footprint": {"points": [{"x": 1}, {"x": 2}]}}, 400, "closed ring"),
        ({"tilesets": [TILE], "startTime": "June"}, 400, "Invalid value at 'image_manifest.start_time'"),
        ({"tilesets": [TILE], "startTime": "2020-01-02T00:00:00Z", "endTime": "2020-01-01T00:00:00Z"}, 400, "before its start"),
        ({"tilesets": [TILE], "properties": {"system:time_start": 1}}, 400, "use startTime"),
        ({"tilesets": [TILE], "properties": {"a": [1]}}, 400, "must be a string or a number"),
        ({"tilesets": [TILE], "name": ""}, 400, "Asset name must be specified"),
        ({"tilesets": [TILE], "name": f"{HOME}/no/such/folder"}, 400, "its parent"),
        ({"tilesets": [TILE], "name": "projects/earthengine-public/assets/mine"}, 403, "'earthengine.assets.create' denied"),
        ({"tilesets": [TILE], "name": f"{HOME}/folder"}, 409, "Cannot overwrite asset"),
        ({"tilesets": [TILE], "minTileAreaRatio": 0.5}, 400, "minTileAreaRatio is not emulated"),
    ],
)  # fmt: skip
def test_a_manifest_that_is_wrong_starts_nothing(rest, emulator, manifest, status, complaint):
    rest.post(f"{HOME}?assetId=folder", {"type": "FOLDER"})
    assert complaint in refusal(rest, "image", {"name": f"{HOME}/x", **manifest}, status)
    assert emulator.operations == []


def test_an_import_starts_once_and_overwrites_only_when_told(rest, emulator, bucket):
    manifest = {"name": f"{HOME}/once", "tilesets": [TILE]}
    geotiff(bucket / "one.tif", np.full((1, 2, 2), 1, "uint8"))
    first = imported(rest, "image", manifest, requestId="try-1")["name"]
    assert refusal(rest, "image", manifest, requestId="try-1") == (
        "A different Operation was already started with the given request_id"
    )
    table = {"name": f"{HOME}/t", "sources": [{"uris": ["gs://b/t.csv"]}]}
    assert "already started" in refusal(rest, "table", table, requestId="try-1")
    assert [each["name"] for each in emulator.operations] == [first]
    assert "Cannot overwrite" in refusal(rest, "image", manifest, 409)
    geotiff(bucket / "one.tif", np.full((1, 2, 2), 2, "uint8"))
    assert (loaded(rest.asset_pixels(f"{HOME}/once"))["b1"] == 1).all()
    imported(rest, "image", manifest, overwrite=True)
    assert (loaded(rest.asset_pixels(f"{HOME}/once"))["b1"] == 2).all()


def test_an_import_can_be_cancelled_and_fail_by_script(rest, emulator, bucket):
    geotiff(bucket / "one.tif", np.ones((1, 2, 2), "uint8"))
    body = {"imageManifest": {"name": f"{HOME}/never", "tilesets": [TILE]}}
    emulator.inject("image:import", "stuck")
    name = rest.post(f"{rest.project}/image:import", body).json()["name"]
    rest.post(f"{name}:cancel")
    assert rest.ended(name)["metadata"]["state"] == "CANCELLED"
    assert rest.get(f"{HOME}/never").status_code == 404


FIELDS = """name,crop,hectares,count,longitude,latitude,sown
 north ,"wheat, winter",2.5,3,11.5,46.25,20200401
south,maize,4,,12,47,20200512
"""


def csv_table(rest, bucket, text, name="t", extra=None, **source):
    (bucket / f"{name}.csv").write_text(text, "utf-8")
    manifest = {"name": f"{HOME}/{name}", "sources": [{"uris": [f"gs://b/{name}.csv"], **source}], **(extra or {})}
    assert imported(rest, "table", manifest)["metadata"]["state"] == "SUCCEEDED"
    return rest.value(graph(call("Collection.loadTable", tableId=f"{HOME}/{name}")))


def features(rest, name="t"):
    return rest.get(f"{HOME}/{name}:listFeatures").json()["features"]


def test_a_csv_becomes_a_table_with_typed_columns_and_points(rest, bucket):
    extra = {"properties": {"year": 2020}, "startTime": "2020-01-01T00:00:00Z"}
    table = csv_table(rest, bucket, FIELDS, extra=extra, dateFormat="yyyyMMdd")
    first, second = table["features"]
    assert first["properties"] == {
        "name": "north", "crop": "wheat, winter", "hectares": 2.5, "count": 3, "longitude": 11.5, "latitude": 46.25,
        "sown": {"type": "Date", "value": 1585699200000},
    }  # fmt: skip
    assert first["geometry"] == {"type": "Point", "coordinates": [11.5, 46.25]}
    assert "count" not in second["properties"]
    assert [each["id"] for each in table["features"]] == [f"{0:020x}", f"{1:020x}"]
    assert table["properties"]["year"] == 2020
    assert table["properties"]["system:time_start"] == 1577836800000
    shown = rest.get(f"{HOME}/t").json()
    assert (shown["type"], shown["startTime"]) == ("TABLE", "2020-01-01T00:00:00Z")


def test_geometry_columns_are_found_or_named(rest, bucket):
    polygon, point = "POLYGON ((11 46, 12 46, 12 47, 11 46))", '{"type":"Point","coordinates":[1,2]}'
    text = f"id;wkt;where\n1;|{polygon}|;|{point}|\n2;;\n"
    found = csv_table(rest, bucket, text, "first", csvDelimiter=";", csvQualifier="|")["features"]
    assert shapely.geometry.shape(found[0]["geometry"]).equals(shapely.from_wkt(polygon))
    assert found[0]["geometry"].get("geodesic", True) is True
    assert found[0]["properties"] == {"id": 1, "where": point}
    assert found[1]["geometry"] is None
    options = {"csvDelimiter": ";", "csvQualifier": "|", "primaryGeometryColumn": "where"}
    named = csv_table(rest, bucket, text, "named", **options)["features"]
    assert named[0]["geometry"]["coordinates"] == [1, 2]


def test_coordinates_of_other_columns_and_systems(rest, bucket):
    text = "e,n,longitude,latitude\n600000,5100000,1,2\n"
    projected = csv_table(rest, bucket, text, "utm", xColumn="e", yColumn="n", crs="EPSG:32632")["features"][0]
    assert projected["geometry"]["crs"]["properties"]["name"] == "EPSG:32632"
    assert projected["geometry"]["coordinates"] == [600000, 5100000]
    # Where the system is projected, coordinates have no columns by default.
    assert csv_table(rest, bucket, text, "none", crs="EPSG:32632")["features"][0]["geometry"] is None


def test_types_and_charsets_may_be_given(rest, bucket):
    (bucket / "l.csv").write_bytes("code;néw\n007;1\n".encode("latin-1"))
    manifest = {
        "name": f"{HOME}/l",
        "sources": [{"uris": ["gs://b/l.csv"], "charset": "ISO-8859-1", "csvDelimiter": ";"}],
        "columnDataTypeOverrides": {"code": "COLUMN_DATA_TYPE_STRING", "néw": "COLUMN_DATA_TYPE_NUMERIC"},
    }
    assert imported(rest, "table", manifest)["metadata"]["state"] == "SUCCEEDED"
    assert features(rest, "l")[0]["properties"] == {"code": "007", "néw": 1, "system:index": f"{0:020x}"}
    overrides = {"columnDataTypeOverrides": {"code": "COLUMN_DATA_TYPE_LONG", "néw": "COLUMN_DATA_TYPE_LONG"}}
    (bucket / "l.csv").write_bytes("code;néw\nx;1\n".encode("latin-1"))
    assert "'x' of column 'code' is not a whole number" in failure(
        rest, "table", {**manifest, **overrides, "name": f"{HOME}/m"}
    )


def test_an_exported_csv_comes_back_as_it_was(rest, emulator):
    square = shapely.geometry.mapping(shapely.box(11, 46, 12, 47))
    geometry = call("GeometryConstructors.Polygon", coordinates=square["coordinates"], geodesic=False)
    feature = call("Feature", geometry=geometry, metadata={"a": 1, "b": "x"})
    collection = graph(call("Collection", features={"arrayValue": {"values": [feature]}}))
    destination = {"cloudStorageDestination": {"bucket": "b", "filenamePrefix": "back"}}
    body = {"expression": collection, "fileExportOptions": {"fileFormat": "CSV", **destination}}
    rest.ended(rest.post(f"{rest.project}/table:export", body).json()["name"])
    imported(rest, "table", {"name": f"{HOME}/back", "sources": [{"uris": ["gs://b/back.csv"]}]})
    (found,) = rest.value(graph(call("Collection.loadTable", tableId=f"{HOME}/back")))["features"]
    assert found == rest.value(collection)["features"][0]


@pytest.fixture
def shapefile(tmp_path_factory):
    """Made by GDAL: a polygon with a hole, one of two parts, one without a shape, in UTM."""
    folder = tmp_path_factory.mktemp("shapes")
    holed = shapely.box(600000, 5100000, 600100, 5100100) - shapely.box(600020, 5100020, 600040, 5100040)
    parts = shapely.union_all([shapely.box(0, 0, 10, 10), shapely.box(20, 20, 30, 30)])
    geometries = np.array([shapely.to_wkb(holed), shapely.to_wkb(parts), None], object)
    pyogrio.raw.write(
        folder / "f.shp", geometries, [np.array(["Äcker", "b", None], object), np.array([1.5, 2, 3]), np.array([7, 8, 9])],
        fields=["name", "area", "n"], geometry_type="MultiPolygon", crs="EPSG:32632", encoding="UTF-8",
    )  # fmt: skip
    return folder


@pytest.mark.parametrize("packed", [False, True])
def test_a_shapefile_becomes_a_table(rest, bucket, shapefile, packed):
    if packed:
        with zipfile.ZipFile(bucket / "f.zip", "w") as archive:
            for path in shapefile.iterdir():
                archive.write(path, f"inner/{path.name}")
    else:
        for path in shapefile.iterdir():
            (bucket / path.name).write_bytes(path.read_bytes())
    source = {"uris": ["gs://b/f.zip" if packed else "gs://b/f.shp"]}
    operation = imported(rest, "table", {"name": f"{HOME}/f", "sources": [source]})
    assert (operation["metadata"]["state"], operation["metadata"]["type"]) == ("SUCCEEDED", "INGEST_TABLE")
    table = rest.value(graph(call("Collection.loadTable", tableId=f"{HOME}/f")))["features"]
    _, _, expected, columns = pyogrio.raw.read(shapefile / "f.shp")
    assert [each["properties"].get("name") for each in table] == columns[0].tolist()
    assert [(each["properties"]["area"], each["properties"]["n"]) for each in table] == [(1.5, 7), (2, 8), (3, 9)]
    for each, wkb in zip(table[:2], expected[:2], strict=True):
        assert each["geometry"]["crs"]["properties"]["name"] == "EPSG:32632"
        assert shapely.geometry.shape(each["geometry"]).equals(shapely.from_wkb(wkb))
    assert table[2]["geometry"] is None


@pytest.mark.parametrize(
    "shape",
    ["POINT (1 2)", "MULTIPOINT (1 2, 3 4)", "LINESTRING (0 0, 1 1)", "MULTILINESTRING ((0 0, 1 1), (2 2, 3 0))",
     "POINT Z (1 2 3)", "POLYGON ((0 0, 1 0, 1 1, 0 0))"],
)  # fmt: skip
def test_every_kind_of_shape_is_read(rest, bucket, shape):
    given = shapely.from_wkt(shape)
    pyogrio.raw.write(
        bucket / "k.shp", np.array([shapely.to_wkb(given)], object), [np.array([1])], fields=["n"],
        geometry_type=given.geom_type + (" Z" if given.has_z else ""), crs="EPSG:4326",
    )  # fmt: skip
    imported(rest, "table", {"name": f"{HOME}/k", "sources": [{"uris": ["gs://b/k.shp"]}]})
    (found,) = rest.value(graph(call("Collection.loadTable", tableId=f"{HOME}/k")))["features"]
    assert shapely.geometry.shape(found["geometry"]).equals(shapely.force_2d(given))


@pytest.mark.parametrize("compressed", [False, True])
def test_examples_of_a_tfrecord_become_rows(rest, bucket, compressed):
    rows = [{"longitude": [11.5], "latitude": [46.25], "name": ["p"], "spectrum": [1, 2, 3]}]
    encoded = b"".join(
        framed(example.encode({
            name: [value.encode() for value in values] if isinstance(values[0], str) else np.array(values, np.float32)
            for name, values in row.items()
        }))
        for row in rows
    )  # fmt: skip
    (bucket / "r.tfrecord").write_bytes(gzip.compress(encoded) if compressed else encoded)
    imported(rest, "table", {"name": f"{HOME}/r", "sources": [{"uris": ["gs://b/r.tfrecord"]}]})
    (found,) = rest.value(graph(call("Collection.loadTable", tableId=f"{HOME}/r")))["features"]
    assert found["geometry"]["coordinates"] == [11.5, 46.25]
    assert (found["properties"]["name"], found["properties"]["spectrum"]) == ("p", [1, 2, 3])


@pytest.mark.parametrize(
    ("name", "content", "source", "complaint"),
    [
        ("none.csv", None, {}, "gs://b/none.csv: there is no such object"),
        ("e.csv", b"", {}, "no header row"),
        ("d.csv", b"a,a\n1,2\n", {}, "column 'a' is there twice"),
        ("w.csv", b"a,b\n1,2,3\n", {}, "row 2 has more values"),
        ("c.csv", b"a\n\xff\n", {}, "not in the charset UTF-8"),
        ("x.csv", b"a,b\n1,2\n", {"xColumn": "lon", "yColumn": "lat"}, "There is no column 'lon'"),
        ("g.csv", b"a,b\n1,2\n", {"primaryGeometryColumn": "geo"}, "no geometry column 'geo'"),
        ("p.csv", b"a\nPOINT (1)\n", {}, "Geometry 'POINT (1)' of row 1"),
        ("q.csv", b"a\nfield\n", {"primaryGeometryColumn": "a"}, "Geometry 'field' of row 1"),
        ("s.shp", b"nothing", {}, "the .dbf file of the shapefile is missing"),
        ("s.zip", b"nothing", {}, "not a zip archive"),
        ("t.tfrecord", b"nothing", {}, "no TFRecord"),
    ],
)
def test_a_table_whose_file_does_not_fit_fails_with_the_reason(rest, bucket, name, content, source, complaint):
    if content is not None:
        (bucket / name).write_bytes(content)
    manifest = {"name": f"{HOME}/x", "sources": [{"uris": [f"gs://b/{name}"], **source}]}
    assert complaint in failure(rest, "table", manifest)


@pytest.mark.parametrize(
    ("manifest", "complaint"),
    [
        ({}, "at least one source"),
        ({"sources": [{}]}, "at least one URI"),
        ({"sources": [{"uris": ["gs://b/a.csv", "gs://b/b.csv"]}]}, "must have one URI, got 2"),
        ({"sources": [{"uris": ["gs://b/a.gpkg"]}]}, "Unsupported table file"),
        ({"sources": [{"uris": ["gs://b/a.csv"], "csvDelimiter": "::"}]}, "single character"),
        ({"sources": [{"uris": ["gs://b/a.csv"], "charset": "martian"}]}, "Unknown charset"),
        ({"sources": [{"uris": ["gs://b/a.csv"], "crs": "EPSG:0"}]}, "could not be parsed"),
        ({"sources": [{"uris": ["gs://b/a.csv"], "xColumn": "x"}]}, "both of x_column and y_column"),
        ({"sources": [{"uris": ["gs://b/a.csv"], "columns": ["x"]}]}, 'Unknown name "columns"'),
        ({"sources": [{"uris": ["gs://b/a.csv"]}], "endTime": "soon"}, "table_manifest.end_time"),
    ],
)
def test_a_table_manifest_that_is_wrong_starts_nothing(rest, emulator, manifest, complaint):
    assert complaint in refusal(rest, "table", {"name": f"{HOME}/x", **manifest})
    assert emulator.operations == []


@pytest.mark.filterwarnings("ignore:.* is deprecated:DeprecationWarning:.*ee.data")
def test_googles_client_starts_both(emulator, bucket):
    ee = initialised(emulator.url)
    geotiff(bucket / "one.tif", np.arange(4, dtype="uint8").reshape(1, 2, 2), names=("v",))
    (bucket / "t.csv").write_text(FIELDS, "utf-8")
    tilesets = [{"id": "t", "sources": [{"uris": ["gs://b/one.tif"]}]}]
    started = ee.data.startIngestion(ee.data.newTaskId()[0], {"name": f"{HOME}/i", "tilesets": tilesets})
    table = {"name": f"{HOME}/t", "sources": [{"uris": ["gs://b/t.csv"]}]}
    request = ee.data.newTaskId()[0]
    tables = ee.data.startTableIngestion(request, table)
    for each, kind in ((started, "INGEST_IMAGE"), (tables, "INGEST_TABLE")):
        while not ee.data.getOperation(each["name"]).get("done"):
            pass
        (status,) = ee.data.getTaskStatus(each["id"])
        assert (status["state"], status["task_type"]) == ("COMPLETED", kind)
    point = ee.Geometry.Point([600015, 5099995], "EPSG:32632")
    assert ee.Image(f"{HOME}/i").reduceRegion(ee.Reducer.first(), point, 10).getInfo() == {"v": 1}
    assert (
        ee.FeatureCollection(f"{HOME}/t").filter(ee.Filter.gt("hectares", 3)).first().get("name").getInfo() == "south"
    )
    with pytest.raises(ee.EEException, match="already started"):
        ee.data.startTableIngestion(request, table, allow_overwrite=True)


@pytest.fixture
def storage(tmp_path):
    """A Cloud Storage that has the files of a folder, and fails every other time."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path).partition("/o/")[2]
            file = tmp_path / "objects" / path
            self.send_response(503 if len(asked) % 2 else 200 if file.is_file() else 404)
            self.end_headers()
            if len(asked) % 2 == 0 and file.is_file():
                self.wfile.write(file.read_bytes())

        def log_message(self, *_):
            pass

    (tmp_path / "objects" / "in").mkdir(parents=True)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", tmp_path / "objects" / "in", asked
        server.shutdown()


def test_objects_are_fetched_from_a_storage_endpoint(storage, tmp_path):
    url, folder, asked = storage
    geotiff(folder / "one.tif", np.full((1, 2, 2), 9, "uint8"))
    (folder / "t.csv").write_text(FIELDS, "utf-8")
    with Emulator(
        root=tmp_path / "root", pending_seconds=0, running_seconds=0, storage_endpoint=url, **UNHURRIED
    ) as running:
        rest = Rest(running.url)
        manifest = {"name": f"{HOME}/i", "tilesets": two_tiles("gs://far/in/one.tif")}
        assert imported(rest, "image", manifest)["metadata"]["state"] == "SUCCEEDED"
        assert (loaded(rest.asset_pixels(f"{HOME}/i"))["b1"] == 9).all()
        imported(rest, "table", {"name": f"{HOME}/t", "sources": [{"uris": ["gs://far/in/t.csv"]}]})
        assert len(features(rest)) == 2
        assert "no such object" in failure(
            rest, "image", {"name": f"{HOME}/x", "tilesets": two_tiles("gs://far/in/no.tif")}
        )
        assert not list((tmp_path / "root" / "drafts").glob("*"))
    assert asked[0] == "/storage/v1/b/far/o/in%2Fone.tif?alt=media"
