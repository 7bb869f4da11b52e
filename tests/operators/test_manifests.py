"""Manifests from files and from prefixes of a bucket in memory."""

import json

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from airflow_ee.core.ingestion import ImageManifest, TableManifest
from airflow_ee.operators.manifests import read_manifest, source_objects

NAME = "projects/demo-project/assets/scene"
MANIFEST = {"name": NAME, "tilesets": [{"sources": [{"uris": ["gs://maps/x.tif"]}]}]}


@pytest.fixture
def bucket(monkeypatch):
    """A bucket in memory; tells which connections opened it."""
    asked = []
    filesystem = MemoryFileSystem()
    monkeypatch.setattr(MemoryFileSystem, "store", {})
    monkeypatch.setattr("airflow.sdk.io.store._STORE_CACHE", {})
    monkeypatch.setattr("airflow.sdk.io.get_fs", lambda _, conn_id=None, *__: asked.append(conn_id) or filesystem)
    for name in (
        "a/x_B4.tif",
        "a/x_B8.tif",
        "a/b/y.tif",
        "ab.tif",
        "other/z.tif",
        "ab.tiff",
        "t/f.shp",
        "t/f.dbf",
        "t/f.csv",
        "t/f.shp.xml",
        "t/f2.dbf",
    ):
        filesystem.pipe(f"/maps/{name}", b"x")
    return asked


class TestReading:
    @pytest.mark.parametrize("form", [dict, json.dumps, ImageManifest.parse])
    def test_mappings_texts_and_manifests(self, form):
        assert read_manifest(ImageManifest.parse, form(MANIFEST), "mine") == ImageManifest.parse(MANIFEST)

    def test_a_file_on_disk(self, tmp_path):
        (tmp_path / "scene.json").write_text(json.dumps(MANIFEST))
        assert read_manifest(ImageManifest.parse, f"{tmp_path}/scene.json", "mine").name == NAME
        with pytest.raises(ValueError, match="manifest: there is no file"):
            read_manifest(ImageManifest.parse, f"{tmp_path}/none.json", "mine")

    def test_a_file_in_a_bucket_is_opened_by_googles_connection(self, bucket, connect):
        connect("mine")
        MemoryFileSystem().pipe("/maps/scene.json", json.dumps(MANIFEST).encode())
        assert read_manifest(ImageManifest.parse, "gs://maps/scene.json", "mine").name == NAME
        assert bucket == ["mine"]

    def test_a_manifest_of_the_other_kind_is_told(self):
        with pytest.raises(ValueError, match="manifest has no field tilesets"):
            read_manifest(TableManifest.parse, MANIFEST, "mine")


class TestObjects:
    @pytest.mark.usefixtures("bucket")
    @pytest.mark.parametrize(
        ("prefix", "names"),
        [
            ("gs://maps/a/", ["a/b/y.tif", "a/x_B4.tif", "a/x_B8.tif"]),
            ("gs://maps/a/x_", ["a/x_B4.tif", "a/x_B8.tif"]),
            ("gs://maps/a", ["a/b/y.tif", "a/x_B4.tif", "a/x_B8.tif", "ab.tif", "ab.tiff"]),
            ("gs://maps/ab.tif", ["ab.tif"]),
            ("gcs://maps/ab.tif", ["ab.tif"]),
            ("gs://maps/t/f.shp", ["t/f.dbf", "t/f.shp", "t/f.shp.xml"]),
            ("gs://maps/t/f.csv", ["t/f.csv", "t/f.dbf", "t/f.shp.xml"]),
        ],
    )
    def test_names_that_begin_with_the_prefix(self, prefix, names):
        assert source_objects(prefix, None) == [f"gs://maps/{name}" for name in names]

    def test_the_connection_opens_the_bucket_and_a_manifest_is_made(self, bucket, connect):
        connect("mine")
        manifest = ImageManifest.of_objects(NAME, source_objects("gs://maps/a/x", "mine"))
        assert [band.id for band in manifest.bands] == ["B4", "B8"]
        assert bucket == ["mine"]

    @pytest.mark.usefixtures("bucket")
    @pytest.mark.parametrize(
        ("prefix", "words"),
        [
            ("gs://maps/none/", "there is no object whose name begins with gs://maps/none/"),
            ("gs://maps/a/z", "there is no object"),
            ("gs://maps/a/x.tif", "there is no object whose name begins with gs://maps/a/x.tif"),
            ("gs://maps/t/f.zip", "there is no object gs://maps/t/f.zip"),
            ("gs://maps", "source_uri must be gs://"),
            ("gs://maps/", "source_uri must be gs://"),
            ("s3://maps/a", "source_uri must be gs://"),
            (None, "source_uri must be gs://"),
        ],
    )
    def test_mistakes(self, prefix, words):
        with pytest.raises(ValueError, match=words):
            source_objects(prefix, None)
