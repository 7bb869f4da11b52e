"""Google's own client starts exports with every option it knows; files are read by GDAL, csv and json."""

import csv
import gzip
import io
import json

import numpy as np
import pytest
import rasterio

from airflow_ee.emulator.codecs import example
from airflow_ee.emulator.codecs.tfrecord import records
from airflow_ee.emulator.exports.geotiffs import default_side

from .conftest import Rest, call, expression_file, graph, grid, message
from .test_official_client import finished, initialised

IMAGE_OF = {"image": graph(call("Image.constant", value=7)), "table": graph(call("Collection", features=[]))}
SMALL = grid("EPSG:32632", (600000, 5100000), 10, 40, 20)


@pytest.fixture
def ee(emulator):
    return initialised(emulator.url)


def done(ee, task):
    task.start()
    operation = finished(ee, task)
    assert operation["metadata"]["state"] == "SUCCEEDED", operation
    return operation


def files(emulator):
    return {
        str(path.relative_to(emulator.root)): path
        for path in emulator.root.rglob("*")
        if path.is_file() and "operations" not in path.parts
    }


@pytest.mark.parametrize(
    ("name", "kind", "left"),
    [
        ("image.toCloudStorage GeoTIFF", "EXPORT_IMAGE", "gs/b/p/x.tif"),
        ("image.toDrive TFRecord", "EXPORT_IMAGE", "drive/f/d-00000.tfrecord.gz"),
        ("image.toAsset", "EXPORT_IMAGE", "assets/projects/p/assets/a/asset.json"),
        ("table.toCloudStorage", "EXPORT_FEATURES", "gs/b/x.geojson"),
        ("table.toDrive", "EXPORT_FEATURES", "drive/f/d.csv"),
        ("table.toAsset", "EXPORT_FEATURES", "assets/projects/p/assets/t2/asset.json"),
        ("table.toFeatureView", "EXPORT_FEATURES", "not-made/projects/p/assets/fv.not-made.json"),
        ("table.toBigQuery", "EXPORT_FEATURES", "bigquery/p/ds/t.ndjson"),
        ("map.toCloudStorage", "EXPORT_TILES", "gs/b/t/0/0/0"),
        ("video.toCloudStorage", "EXPORT_VIDEO", "gs/b/v.not-made.json"),
        ("classifier.toAsset", "EXPORT_CLASSIFIER", "not-made/projects/p/assets/c.not-made.json"),
    ],
)  # fmt: skip
def test_every_recorded_body_runs_to_its_end(rest, emulator, name, kind, left):
    method = name.split(".")[0]
    body = expression_file("export-bodies.json")[name]
    body["expression"] = IMAGE_OF["table" if method == "table" else "image"]
    answer = rest.post(f"{rest.project}/{method}:export", body | ({"grid": SMALL} if method == "image" else {}))
    assert answer.status_code == 200, answer.text
    operation = rest.ended(answer.json()["name"])
    assert (operation["metadata"]["state"], operation["metadata"]["type"]) == ("SUCCEEDED", kind)
    assert (emulator.root / left).is_file(), files(emulator)


def test_image_to_cloud_storage_with_every_option(ee, emulator):
    image = ee.Image("MODIS/061/MOD13Q1/2020_06_09").select(["NDVI", "EVI"]).multiply(0.0001).toFloat()
    task = ee.batch.Export.image.toCloudStorage(
        image, description="all", bucket="b", fileNamePrefix="p/all", crs="EPSG:32632", crsTransform=[250, 0, 660000, 0, -250, 5160000],
        region=ee.Geometry.Rectangle([660000, 5150000, 685000, 5160000], "EPSG:32632", False), maxPixels=1e8, shardSize=32,
        fileDimensions=[64, 32], skipEmptyTiles=True, fileFormat="GeoTIFF", priority=300,
        formatOptions={"cloudOptimized": True, "noData": -1},
    )  # fmt: skip
    operation = done(ee, task)
    assert operation["metadata"]["priority"] == 300
    assert operation["metadata"]["destinationUris"] == ["https://console.developers.google.com/storage/browser/b/p/"]
    found = files(emulator)
    assert sorted(found) == [f"gs/b/p/all-{row:010d}-{col:010d}.tif" for row in (0, 32) for col in (0, 64)]
    whole = Rest(emulator.url).pixels(
        {"result": "0", "values": json.loads(ee.serializer.toJSON(image, for_cloud_api=True))["values"]},
        grid("EPSG:32632", (660000, 5160000), 250, 100, 40),
    )
    for name, path in found.items():
        row, col = (int(part) for part in name.removesuffix(".tif").split("-")[1:])
        with rasterio.open(path) as dataset:
            assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
            assert dataset.descriptions == ("NDVI", "EVI")
            assert (dataset.nodata, dataset.dtypes) == (-1, ("float32", "float32"))
            assert (dataset.transform.c, dataset.transform.f) == (660000 + 250 * col, 5160000 - 250 * row)
            read = dataset.read(1, masked=True)
            expected = whole["NDVI"][row : row + 32, col : col + 64]
            np.testing.assert_array_equal(read.filled(0), expected)


def test_image_to_drive_as_tfrecord_with_every_option(ee, emulator):
    image = ee.Image.constant([1, 2]).toFloat().rename(["a", "b"])
    task = ee.batch.Export.image.toDrive(
        image, description="patches", folder="some/folder", region=ee.Geometry.Rectangle([600000, 5099000, 601000, 5100000], "EPSG:32632", False),
        crs="EPSG:32632", crsTransform=[10, 0, 600000, 0, -10, 5100000], fileFormat="TFRecord",
        formatOptions={"patchDimensions": [32, 32], "kernelSize": [8, 8], "compressed": True, "maxFileSize": 10**6, "defaultValue": -1,
                       "collapseBands": True, "maskedThreshold": 1},
    )  # fmt: skip
    operation = done(ee, task)
    assert operation["metadata"]["destinationUris"][0].startswith("https://drive.google.com/#folders/1")
    found = files(emulator)
    assert sorted(found) == ["drive/some%2Ffolder/patches-00000.tfrecord.gz", "drive/some%2Ffolder/patches-mixer.json"]
    assert json.loads(found["drive/some%2Ffolder/patches-mixer.json"].read_text())["totalPatches"] == 9
    content = gzip.decompress(found["drive/some%2Ffolder/patches-00000.tfrecord.gz"].read_bytes())
    patches = [example.decode(record)["a"].reshape(2, 40, 40) for record in records(io.BytesIO(content))]
    assert len(patches) == 9
    assert (patches[4][1] == 2).all()
    # The client clips to the region: what a margin reaches beyond it is masked.
    assert (patches[0][0, :4] == -1).all()
    assert (patches[0][0, 4:, 4:] == 1).all()


def test_tables_of_every_format(ee, emulator):
    features = ee.FeatureCollection(
        [ee.Feature(ee.Geometry.Point([11, 46]), {"a": 1}), ee.Feature(ee.Geometry.Point([12, 47]), {"a": 2})]
    )
    for number, kind in enumerate(("CSV", "GeoJSON", "KML", "KMZ", "SHP", "TFRecord")):
        storage = ee.batch.Export.table.toCloudStorage(
            features, description=f"d{number}", bucket="b", fileNamePrefix="t", fileFormat=kind, selectors=["a", ".geo"], maxVertices=1000, priority=50,
        )  # fmt: skip
        assert done(ee, storage)["metadata"]["type"] == "EXPORT_FEATURES"
        assert storage.status()["task_type"] == "EXPORT_FEATURES"
    suffixes = ("cpg", "csv", "dbf", "geojson", "kml", "kmz", "prj", "shp", "shx", "tfrecord.gz")
    assert sorted(files(emulator)) == [f"gs/b/t.{suffix}" for suffix in suffixes]
    drive = ee.batch.Export.table.toDrive(features, description="plain", folder="f")
    done(ee, drive)
    rows = list(csv.reader((emulator.root / "drive" / "f" / "plain.csv").read_text("utf-8").splitlines()))
    assert rows[0] == ["system:index", "a", ".geo"]
    assert [row[:2] for row in rows[1:]] == [["0", "1"], ["1", "2"]]
    assert ee.data.listOperations()[0]["metadata"]["description"] == "plain"


def test_a_table_goes_to_an_asset_and_comes_back(ee):
    features = ee.FeatureCollection(
        [ee.Feature(ee.Geometry.Point([11 + n, 46]), {"n": n, "name": f"p{n}"}) for n in range(5)]
    )
    task = ee.batch.Export.table.toAsset(
        features, description="t", assetId="projects/demo-project/assets/t", overwrite=True
    )
    done(ee, task)
    table = ee.FeatureCollection("projects/demo-project/assets/t")
    assert table.size().getInfo() == 5
    chosen = table.filter(ee.Filter.gt("n", 2)).sort("n", False)
    assert chosen.aggregate_array("name").getInfo() == ["p4", "p3"]
    assert table.filterBounds(ee.Geometry.Rectangle([12.5, 45, 14.5, 47], None, False)).size().getInfo() == 2
    assert chosen.first().geometry().coordinates().getInfo() == [15, 46]


def test_exported_pixels_are_those_of_compute_pixels(ee, emulator):
    rest = Rest(emulator.url)
    image = call("Image.load", id="MODIS/061/MOD13Q1/2020_06_09")
    target = grid("EPSG:3035", (4400000, 2600000), 300, 70, 45)
    options = {"fileFormat": "GEO_TIFF", "cloudStorageDestination": {"bucket": "b", "filenamePrefix": "same"}}
    answer = rest.export(graph(image), grid=target, fileExportOptions=options)
    assert rest.ended(answer.json()["name"])["metadata"]["state"] == "SUCCEEDED"
    computed = rest.pixels(graph(image), target)
    with rasterio.open(emulator.root / "gs" / "b" / "same.tif") as dataset:
        assert dataset.nodata is None
        assert len(set(dataset.dtypes)) == 1
        for index, name in enumerate(computed.dtype.names, start=1):
            assert dataset.descriptions[index - 1] == name
            np.testing.assert_array_equal(dataset.read(index), computed[name])


def test_large_exports_are_cut_where_the_service_cuts_them():
    # Sides seen in the names of files that people have published, by bytes of a pixel.
    sides = {1: 46592, 2: 32768, 4: 23296, 6: 18944, 12: 13568, 24: 9472}
    assert {size: default_side(size, 256) for size in sides} == sides


def test_a_wide_export_is_cut_by_itself(rest, emulator):
    wide = grid("EPSG:32632", (600000, 5100000), 1, 33000, 2)
    options = {"cloudStorageDestination": {"bucket": "b", "filenamePrefix": "w"}}
    twelve = call("Image.toFloat", value=call("Image.constant", value=[1, 2, 3]))
    answer = rest.export(graph(twelve), grid=wide, fileExportOptions=options)
    assert rest.ended(answer.json()["name"])["metadata"]["state"] == "SUCCEEDED"
    names = sorted(path.name for path in (emulator.root / "gs" / "b").iterdir())
    assert names == [f"w-0000000000-{13568 * number:010d}.tif" for number in range(3)]


@pytest.mark.parametrize(
    ("value", "cast", "no_data", "dtype"),
    [
        (7, "Image.toByte", -9999, "int16"),
        (7, "Image.toInt16", -9999, "int16"),
        (7, "Image.toUint16", -1, "int32"),
        (7, "Image.toByte", 0.5, "float64"),
        (0.5, "Image.toFloat", -9999, "float32"),
    ],
)
def test_a_no_data_value_fits_into_the_file(rest, emulator, value, cast, no_data, dtype):
    masked = call("Image.selfMask", image=call("Image.constant", value=0))
    both = call(
        "Image.addBands", dstImg=call(cast, value=call("Image.constant", value=value)), srcImg=call(cast, value=masked)
    )
    options = {
        "geoTiffOptions": {"noData": {"floatValue": no_data}},
        "cloudStorageDestination": {"bucket": "b", "filenamePrefix": "n"},
    }
    answer = rest.export(graph(both), grid=SMALL, fileExportOptions=options)
    assert rest.ended(answer.json()["name"])["metadata"]["state"] == "SUCCEEDED"
    with rasterio.open(emulator.root / "gs" / "b" / "n.tif") as dataset:
        assert (dataset.dtypes[0], dataset.nodata) == (dtype, no_data)
        assert (dataset.read(1) == value).all()
        assert (dataset.read(2) == no_data).all()


def test_a_file_of_16_gibibytes_is_too_large(rest):
    huge = grid("EPSG:32632", (600000, 5100000), 1, 131072, 131072)
    tiff = {"tileDimensions": {"width": 131072, "height": 131072}}
    options = {"geoTiffOptions": tiff, "cloudStorageDestination": {"bucket": "b", "filenamePrefix": "n"}}
    seven = graph(call("Image.toByte", value=call("Image.constant", value=7)))
    answer = rest.export(seven, grid=huge, fileExportOptions=options, maxPixels="100000000000")
    assert rest.ended(answer.json()["name"])["error"] == {
        "code": 3,
        "message": "File dimensions are too large for the number of bands and data type: the total file size requested is "
        "17179869184 but must be less than 17179869184 bytes.",
    }


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")  # tiles are pictures
def test_map_tiles_are_named_by_zoom_column_and_row(ee, emulator):
    region = ee.Geometry.Rectangle([0, 0, 80, 60], "EPSG:4326", False)
    image = ee.Image.constant([10, 20, 30]).toByte()
    task = ee.batch.Export.map.toCloudStorage(
        image, description="tiles", bucket="b", fileFormat="auto", path="p/tiles/", writePublicTiles=True, region=region,
        skipEmptyTiles=True, minZoom=1, maxZoom=2, mapsApiKey="k", bucketCorsUris=["*"],
    )  # fmt: skip
    operation = done(ee, task)
    assert operation["metadata"]["type"] == "EXPORT_TILES"
    assert operation["metadata"]["destinationUris"] == [
        "https://console.developers.google.com/storage/browser/b/p/tiles/"
    ]
    assert sorted(files(emulator)) == [f"gs/b/p/tiles/{tile}" for tile in ("1/1/0", "2/2/1")]
    with rasterio.open(files(emulator)["gs/b/p/tiles/2/2/1"]) as dataset:
        assert (dataset.driver, dataset.shape, dataset.count) == ("PNG", (256, 256), 4)
        opaque = dataset.read(4) == 255
        for band, value in enumerate((10, 20, 30), start=1):
            assert (dataset.read(band)[opaque] == value).all()
        # 80 of the tile's 90 degrees, and in web Mercator the part below 60 degrees north.
        assert opaque[-1].sum() == pytest.approx(256 * 80 / 90, abs=1)
        assert opaque[:, 0].sum() == pytest.approx(256 * np.log(np.tan(np.radians(75))) / (np.pi / 2), abs=1)


@pytest.mark.parametrize(
    ("options", "export", "complaint"),
    [
        ({"endZoom": 30}, {}, "Zoom levels must be in 0..24"),
        ({"startZoom": 5, "endZoom": 3}, {}, "Zoom levels"),
        ({"endZoom": 2, "stride": 2}, {}, "stride is not emulated"),
        ({}, {}, "end zoom or a scale"),
        ({"endZoom": 20}, {}, "map tiles is not emulated"),
        ({"scale": -1}, {}, "Scale must be positive"),
        ({"endZoom": 2}, {"fileFormat": "NPY"}, "Unsupported file format"),
        ({"endZoom": 2}, {"driveDestination": {"filenamePrefix": "x"}}, "only be exported to Cloud Storage"),
    ],
)
def test_map_tiles_that_cannot_be_are_refused(rest, emulator, options, export, complaint):
    target = (
        export
        if "driveDestination" in export
        else {"cloudStorageDestination": {"bucket": "b", "filenamePrefix": "t"}, **export}
    )
    body = {"expression": IMAGE_OF["image"], "tileOptions": options, "tileExportOptions": target}
    assert complaint in message(rest.post(f"{rest.project}/map:export", body))
    assert emulator.operations == []
