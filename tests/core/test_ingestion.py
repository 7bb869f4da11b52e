"""Manifests of imports: read, checked field by field, written as the reference has them, made of names in a bucket."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_ee.core.batch import ImportImageRequest, ImportTableRequest
from airflow_ee.core.ingestion import (
    ImageManifest,
    ImageSource,
    MissingData,
    TableManifest,
    TableSource,
    Tileset,
    TilesetBand,
)
from airflow_ee.core.wire_ingestion import message_to_rest

NAME = "projects/demo-project/assets/scene"
IMAGE = {
    "name": NAME,
    "tilesets": [
        {
            "id": "ten",
            "crs": "EPSG:32633",
            "dataType": "UINT16",
            "sources": [
                {"uris": ["west.tif", "west.prj"]},
                {
                    "uris": ["east.tif"],
                    "dimensions": {"width": 10, "height": 20},
                    "affineTransform": {
                        "scaleX": 10.0,
                        "shearX": 0.0,
                        "translateX": 5e5,
                        "shearY": 0.0,
                        "scaleY": -10.0,
                        "translateY": 4e6,
                    },
                },
            ],
        },
        {"id": "mask", "sources": [{"uris": ["mask.tif"]}]},
    ],
    "bands": [
        {"id": "B4", "tilesetId": "ten", "tilesetBandIndex": 0, "pyramidingPolicy": "SAMPLE"},
        {"id": "B8", "tilesetId": "ten", "tilesetBandIndex": 1, "missingData": {"values": [0.0, -1.5]}},
    ],
    "maskBands": [{"tilesetId": "mask", "bandIds": ["B4"]}],
    "properties": {"cloud": 0.5, "satellite": "S2A", "n": 3},
    "startTime": "2024-01-01T00:00:00.000000Z",
    "endTime": "2024-01-02T00:00:00.000000Z",
    "uriPrefix": "gs://maps/scene/",
    "pyramidingPolicy": "MEAN",
    "missingData": {"values": [65535]},
    "footprint": {"bandId": "B4"},
    "skipMetadataRead": False,
    "memo": "by hand",
}
TABLE = {
    "name": NAME,
    "sources": [
        {
            "uris": ["gs://maps/fields.csv"],
            "charset": "latin-1",
            "crs": "EPSG:4326",
            "geodesic": False,
            "maxErrorMeters": 1.5,
            "maxVertices": 1000,
            "xColumn": "lon",
            "yColumn": "lat",
            "csvDelimiter": ";",
            "csvQualifier": "'",
            "dateFormat": "yyyy-MM-dd",
        }
    ],
    "properties": {"season": "2024"},
    "startTime": "2024-01-01T00:00:00.000000Z",
    "columnDataTypeOverrides": {"code": "COLUMN_DATA_TYPE_STRING"},
    "csvColumnDataTypeOverrides": {"n": "CSV_COLUMN_DATA_TYPE_LONG"},
}


def changed(manifest, **fields):
    """A copy of a manifest with some fields changed, or without those that are None."""
    after = {**json.loads(json.dumps(manifest)), **fields}
    return {name: value for name, value in after.items() if value is not None}


class TestForms:
    @pytest.mark.parametrize(("kind", "manifest"), [(ImageManifest, IMAGE), (TableManifest, TABLE)])
    def test_what_is_read_is_written_again(self, kind, manifest):
        read = kind.parse(manifest)
        assert message_to_rest(read) == manifest
        assert kind.parse(json.dumps(manifest)) == read
        assert kind.parse(read) is read

    def test_names_in_snake_case_are_read_as_well(self):
        old = {
            "name": NAME,
            "uri_prefix": "gs://maps/",
            "start_time": {"seconds": 1704067200},
            "missing_data": {"values": [0]},
            "tilesets": [{"sources": [{"uris": ["x.tif"]}], "data_type": "FLOAT"}],
        }
        read = ImageManifest.parse(old)
        assert read.start_time == datetime(2024, 1, 1, tzinfo=UTC)
        assert (read.tilesets[0].data_type, read.missing_data.values) == ("FLOAT", (0,))

    def test_manifests_are_values(self):
        source = ImageSource(uris=("gs://maps/x.tif",))
        made = ImageManifest(name="users/me/x", tilesets=(Tileset(sources=(source,)),))
        assert made.name == "projects/earthengine-legacy/assets/users/me/x"
        assert made == ImageManifest.parse(message_to_rest(made))
        later = replace(
            made, properties={"n": 1}, bands=(TilesetBand(id="b", missing_data=MissingData(values=(0.0,))),)
        )
        assert message_to_rest(later)["bands"] == [{"id": "b", "missingData": {"values": [0.0]}}]

    def test_numbers_as_googles_client_writes_them_are_read(self):
        sources = [{"uris": ["gs://maps/x.csv"], "maxVertices": {"value": 5}}]
        assert TableManifest.parse(changed(TABLE, sources=sources)).sources[0].max_vertices == 5


def band(**fields):
    return [{"id": "B4", "tilesetId": "ten", **fields}]


def sources(*uris):
    return [
        {"id": "ten", "sources": [{"uris": list(each)} for each in uris]},
        {"id": "mask", "sources": [{"uris": ["m"]}]},
    ]


class TestImageMistakes:
    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"name": None}, r"manifest\.name is missing"),
            ({"name": "MODIS/x"}, r"manifest\.name: 'MODIS/x' would be in the public catalogue"),
            ({"name": "a b"}, r"manifest\.name: asset id must be a path"),
            ({"name": 3}, r"manifest\.name must be text, got 3"),
            ({"tilesets": None}, r"manifest\.tilesets is missing"),
            ({"tilesets": []}, r"manifest\.tilesets must not be empty"),
            ({"tilesets": {}}, r"manifest\.tilesets must be a list"),
            ({"tilesets": ["x"]}, r"manifest\.tilesets\[0\] must be an object with fields, got 'x'"),
            ({"tilesets": [{"sources": []}]}, r"manifest\.tilesets\[0\]\.sources must not be empty"),
            ({"tilesets": [{"sources": [{"uris": []}]}]}, r"tilesets\[0\]\.sources\[0\]\.uris must not be empty"),
            ({"tilesets": [{"sources": [{"uris": [1]}]}]}, r"sources\[0\]\.uris\[0\] must be text, got 1"),
            (
                {"tilesets": [{"sources": [{"url": "x"}]}]},
                r"sources\[0\] has no field url; it has uris, affineTransform",
            ),
            ({"tilesets": [{"crs": 4326, "sources": [{"uris": ["x"]}]}]}, r"tilesets\[0\]\.crs must be text"),
            (
                {"tilesets": [{"dataType": "INT64", "sources": [{"uris": ["x"]}]}]},
                r"tilesets\[0\]\.dataType must be one of",
            ),
            (
                {"tilesets": [{"sources": [{"uris": ["x"], "dimensions": {"width": 0, "height": 1}}]}]},
                r"dimensions\.width and height must be at least 1",
            ),
            (
                {"tilesets": [{"sources": [{"uris": ["x"], "affineTransform": {"scaleX": 1}}]}]},
                r"affineTransform\.translateX is missing",
            ),
            ({"tilesets": [{"sources": [{"uris": ["x"]}]}] * 2}, r"tilesets\[0\]\.id is missing"),
            (
                {"tilesets": sources(["x"], ["x"])},
                r"tilesets\[0\]\.sources\[1\]\.uris: x is in sources\[0\]",
            ),
            ({"tilesets": sources(["x"])[:1] * 2}, r"manifest\.tilesets: id ten is there more than once"),
            ({"uriPrefix": None}, r"tilesets\[0\]\.sources\[0\]\.uris must be gs://bucket/object, got 'west.tif'"),
            ({"uriPrefix": "s3://maps/"}, r"got 'west.tif'; behind uriPrefix 's3://maps/'"),
            ({"bands": [*band(), *band()]}, r"manifest\.bands: id B4 is there more than once"),
            ({"bands": [{"id": ""}]}, r"bands\[0\]\.id must not be empty"),
            ({"bands": band(tilesetId="x")}, r"bands\[0\]\.tilesetId must be one of ten, mask, got 'x'"),
            ({"bands": band(tilesetId=None)}, r"bands\[0\]\.tilesetId must be one of ten, mask, got None"),
            ({"bands": band(tilesetBandIndex=-1)}, r"bands\[0\]\.tilesetBandIndex must be 0 or more"),
            ({"bands": band(tilesetBandIndex=0.5)}, r"bands\[0\]\.tilesetBandIndex must be a whole number, got 0.5"),
            ({"bands": band(tilesetBandIndex="0")}, r"bands\[0\]\.tilesetBandIndex must be a finite number, got '0'"),
            ({"bands": band(pyramidingPolicy="AVERAGE")}, r"bands\[0\]\.pyramidingPolicy must be one of MEAN"),
            ({"bands": band(missingData={"values": []})}, r"bands\[0\]\.missingData\.values must not be empty"),
            ({"missingData": {"values": [float("nan")]}}, r"missingData\.values\[0\] must be a finite number"),
            ({"missingData": [0]}, r"manifest\.missingData must be an object with fields"),
            ({"maskBands": [{"tilesetId": "x"}]}, r"maskBands\[0\]\.tilesetId must be one of ten, mask, got 'x'"),
            (
                {"maskBands": [{"tilesetId": "mask", "bandIds": ["B5"]}]},
                r"maskBands\[0\]\.bandIds: there is no band B5",
            ),
            ({"maskBands": [{"tilesetId": "mask"}] * 2}, r"maskBands\[0\]\.bandIds is missing"),
            (
                {"maskBands": [{"tilesetId": "mask", "bandIds": ["B4"]}] * 2},
                r"maskBands: bandIds B4 is there more than once",
            ),
            ({"pyramidingPolicy": "AVERAGE"}, r"manifest\.pyramidingPolicy must be one of"),
            ({"properties": {"x": [1]}}, r"manifest\.properties: 'x' must be a text or a number"),
            ({"properties": {"system:time_start": 1}}, r"properties: 'system:time_start' is the manifest's start_time"),
            ({"properties": "x"}, r"manifest\.properties must be names and values, got 'x'"),
            ({"startTime": "yesterday"}, r"manifest\.startTime must be a time such as .*got 'yesterday'"),
            ({"startTime": 5}, r"manifest\.startTime must be a time"),
            ({"startTime": "2025-01-01"}, r"manifest\.end_time must not be before start_time"),
            ({"skipMetadataRead": "no"}, r"manifest\.skipMetadataRead must be true or false"),
            ({"start_time": "2024-01-01"}, r"manifest\.start_time is given twice"),
            ({"bandNames": []}, r"manifest has no field bandNames; it has name, tilesets, bands, maskBands"),
        ],
    )
    def test_each_has_its_own_words(self, fields, words):
        with pytest.raises(ValueError, match=words):
            ImageManifest.parse(changed(IMAGE, **fields))

    @pytest.mark.parametrize(
        ("value", "words"),
        [("{", "manifest is not JSON"), ("[]", "manifest must be an object"), (None, "manifest must be")],
    )
    def test_what_is_no_manifest_is_told(self, value, words):
        with pytest.raises(ValueError, match=words):
            ImageManifest.parse(value)

    @given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "tilesets", "sources", "uris", "bands", "id", "startTime", "seconds", "x"]), inner, max_size=4), max_leaves=12))  # fmt: skip
    def test_whatever_is_given_the_error_is_one_of_values(self, value):
        for kind, good in ((ImageManifest, IMAGE), (TableManifest, TABLE)):
            given_one = {**good, **value} if isinstance(value, dict) else value
            try:
                read = kind.parse(given_one)
            except ValueError:
                continue
            assert kind.parse(message_to_rest(read)) == read


class TestTableMistakes:
    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"uris": []}, r"sources\[0\]\.uris must not be empty"),
            ({"uris": ["gs://maps/f.shp", "gs://maps/f.dbf"]}, r"sources\[0\]\.uris must be one file, got 2"),
            ({"uris": ["fields.csv"]}, r"sources\[0\]\.uris must be gs://bucket/object"),
            ({"xColumn": None}, r"sources\[0\]\.xColumn and yColumn must be given both or neither"),
            ({"primaryGeometryColumn": "geo"}, r"primaryGeometryColumn and xColumn are given"),
            ({"csvDelimiter": ";;"}, r"csvDelimiter must be one character, got ';;'"),
            ({"csvQualifier": ""}, r"csvQualifier must be one character"),
            ({"maxVertices": 0}, r"maxVertices must be at least 1"),
            ({"maxErrorMeters": -1}, r"maxErrorMeters must not be negative"),
            ({"uris": ["gs://maps/x.ZIP"]}, r"xColumn is for CSV files, but the file is gs://maps/x.ZIP"),
            ({"geodesic": 1}, r"geodesic must be true or false"),
            ({"crs": ["x"]}, r"crs must be text"),
        ],
    )
    def test_each_of_a_source_has_its_own_words(self, fields, words):
        source = changed(TABLE["sources"][0], **fields)
        with pytest.raises(ValueError, match=words):
            TableManifest.parse(changed(TABLE, sources=[source]))

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"sources": []}, r"manifest\.sources must not be empty"),
            ({"sources": TABLE["sources"] * 2}, r"sources\[1\]\.uris: gs://maps/fields.csv is in sources\[0\] already"),
            (
                {"columnDataTypeOverrides": {"a": "STRING"}},
                r"columnDataTypeOverrides\['a'\] must be one of COLUMN_DATA_TYPE_STRING",
            ),
            (
                {"csvColumnDataTypeOverrides": {"a": 1}},
                r"csvColumnDataTypeOverrides\['a'\] must be one of CSV_COLUMN_DATA_TYPE_STRING",
            ),
            ({"tilesets": []}, "manifest has no field tilesets"),
        ],
    )
    def test_each_has_its_own_words(self, fields, words):
        with pytest.raises(ValueError, match=words):
            TableManifest.parse(changed(TABLE, **fields))


def in_bucket(*names):
    return [f"gs://maps/scene/{name}" for name in names]


class TestImagesOfObjects:
    def test_pieces_of_a_mosaic_are_one_tileset(self):
        names = in_bucket(
            "x-0000000000-0000023296.tif", "x-0000000000-0000000000.tif", "x-0000000000-0000000000.prj", "a.txt"
        )
        (tileset,) = ImageManifest.of_objects(NAME, names).tilesets
        assert [source.uris for source in tileset.sources] == [
            tuple(in_bucket("x-0000000000-0000000000.tif", "x-0000000000-0000000000.prj")),
            tuple(in_bucket("x-0000000000-0000023296.tif")),
        ]

    @pytest.mark.parametrize(
        "names",
        [["north.tif", "south.tif"], ["map_north.tif", "map_south.tif"], ["map_1.tif", "map_2.tif"], ["x.TIFF"]],
    )
    def test_names_that_are_no_bands_are_pieces(self, names):
        manifest = ImageManifest.of_objects(NAME, in_bucket(*names))
        assert len(manifest.tilesets[0].sources) == len(names)
        assert manifest.bands == ()

    def test_a_scene_of_landsat_has_a_tileset_for_each_band(self):
        scene = "LC09_L2SP_224069_20240105_20240106_02_T1"
        bands = ["SR_B10", "SR_B2", "QA_PIXEL", "SR_B1", "ST_B10"]
        manifest = ImageManifest.of_objects(
            NAME, in_bucket(*(f"{scene}_{band}.TIF" for band in bands), f"{scene}_MTL.json", f"{scene}_thumb.jpeg")
        )
        assert [band.id for band in manifest.bands] == ["QA_PIXEL", "SR_B1", "SR_B2", "SR_B10", "ST_B10"]
        assert {tileset.id: tileset.sources[0].uris[0] for tileset in manifest.tilesets} == {
            band: in_bucket(f"{scene}_{band}.TIF")[0] for band in bands
        }
        assert ImageManifest.parse(message_to_rest(manifest)) == manifest

    def test_bands_of_other_names_need_a_pattern(self):
        names = in_bucket("x.ndvi.tif", "x.evi.tif")
        manifest = ImageManifest.of_objects(NAME, names, band_pattern=r"\.(?P<band>\w+)$")
        assert [(band.id, band.tileset_id) for band in manifest.bands] == [("evi", "evi"), ("ndvi", "ndvi")]
        assert len(ImageManifest.of_objects(NAME, in_bucket("x_B1.tif", "x_B2.tif"), band_pattern=None).tilesets) == 1

    @pytest.mark.parametrize(
        ("names", "pattern", "words"),
        [
            ([], "x", "there is no GeoTIFF .* among no objects at all"),
            (["x.csv"], "x", "there is no GeoTIFF .* among 1 objects, such as gs://maps/scene/x.csv"),
            (
                ["x_B4.tif", "y.tif"],
                None,
                "some names end in a band, such as .*x_B4.tif, and others do not, such as .*y.tif",
            ),
            (["x_B4.tif", "x_B5.tif", "y_B4.tif"], None, "band B5 is missing of gs://maps/scene/y"),
            (["x.tif"], "(", "band_pattern must be a regular expression"),
            (["x.tif"], "x", "band_pattern must be a regular expression with"),
        ],
    )
    def test_mistakes_have_their_own_words(self, names, pattern, words):
        more = {} if pattern is None else {"band_pattern": pattern}
        with pytest.raises(ValueError, match=words):
            ImageManifest.of_objects(NAME, in_bucket(*names), **more)


class TestTablesOfObjects:
    def test_csv_files_are_a_source_each_with_the_options(self):
        manifest = TableManifest.of_objects(
            NAME, in_bucket("b.csv", "a.CSV", "readme.md"), options={"csvDelimiter": ";"}
        )
        assert manifest.sources == tuple(
            TableSource(uris=tuple(in_bucket(name)), csv_delimiter=";") for name in ("a.CSV", "b.csv")
        )

    def test_of_a_shapefile_only_its_main_file_is_named(self):
        names = in_bucket("f.shx", "f.shp", "f.dbf", "f.prj", "g.dbf", "f.xml")
        (source,) = TableManifest.of_objects(NAME, names).sources
        assert source.uris == tuple(in_bucket("f.shp"))

    @pytest.mark.parametrize(
        ("names", "options", "words"),
        [
            (["x.tif"], {}, "there is no table .* among 1 objects"),
            (["x.csv", "y.zip"], {}, "CSV files and zipped shapefiles among 2 objects"),
            (["x.shp", "x.prj"], {}, "x.shp has no .dbf beside it"),
            (["x.zip"], {"csv_delimiter": ";"}, "options.csvDelimiter is for CSV files"),
            (["x.csv"], {"delimiter": ";"}, "options has no field delimiter"),
        ],
    )
    def test_mistakes_have_their_own_words(self, names, options, words):
        with pytest.raises(ValueError, match=words):
            TableManifest.of_objects(NAME, in_bucket(*names), options=options)


class TestBodies:
    def test_bodies_are_those_of_the_reference(self):
        image = ImportImageRequest(manifest=ImageManifest.parse(IMAGE), description="scene", overwrite=True)
        assert image.body("r-1") == {
            "imageManifest": IMAGE,
            "requestId": "r-1",
            "description": "scene",
            "overwrite": True,
        }
        table = ImportTableRequest(manifest=TableManifest.parse(TABLE), description="fields")
        assert table.body(None) == {"tableManifest": TABLE, "description": "fields"}

    def test_they_go_where_the_manifest_says(self):
        for request, manifest in ((ImportImageRequest, ImageManifest), (ImportTableRequest, TableManifest)):
            parsed = manifest.parse(IMAGE if manifest is ImageManifest else TABLE)
            assert request(manifest=parsed, description="x").destination.uri == parsed.name
