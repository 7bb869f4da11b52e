"""Whose connection opens a bucket, and what is read from there."""

import logging

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowNotFoundException
from fsspec.implementations.memory import MemoryFileSystem

from airflow_ee.operators.chart import EarthEngineTimeSeriesChartOperator
from airflow_ee.operators.locations import connection_for, location, read_region, read_text


@pytest.fixture
def opened(monkeypatch):
    """Connections that Airflow was asked to open a bucket with; the bucket is in memory."""
    asked = []
    filesystem = MemoryFileSystem()
    monkeypatch.setattr(MemoryFileSystem, "store", {})
    monkeypatch.setattr("airflow.sdk.io.store._STORE_CACHE", {})
    monkeypatch.setattr("airflow.sdk.io.get_fs", lambda _, conn_id=None, *__: asked.append(conn_id) or filesystem)
    return asked


class TestConnection:
    def test_the_own_connection_opens_buckets(self, connect, opened):
        connect()
        connect("google_cloud_default", conn_type="google_cloud_platform")
        location("gs://bucket/x.tif", "earth_engine_default")
        assert opened == ["earth_engine_default"]

    def test_a_missing_default_falls_back_to_googles_as_in_the_hook(self, connect, opened):
        connect("google_cloud_default", conn_type="google_cloud_platform")
        location("gs://bucket/x.tif", "earth_engine_default")
        assert opened == ["google_cloud_default"]

    def test_without_any_connection_the_application_default_opens_them(self, opened):
        location("gs://bucket/x.tif", "earth_engine_default")
        assert opened == [None]

    @pytest.mark.usefixtures("opened")
    def test_a_connection_that_was_named_must_exist(self):
        with pytest.raises(AirflowNotFoundException, match="my_connection"):
            location("gs://bucket/x.tif", "my_connection")

    def test_other_stores_connections_are_left_to_airflow(self, opened):
        location("s3://bucket/x.tif", "earth_engine_default")
        assert opened == ["earth_engine_default"]

    @pytest.mark.parametrize(
        ("uri", "named", "conn_id"),
        [
            ("gs://bucket/x", None, "mine"),
            ("gcs://bucket/x", None, "mine"),
            ("gs://bucket/x", "theirs", "theirs"),
            ("s3://bucket/x", None, None),
            ("/data/x", None, None),
            (None, None, None),
        ],
    )
    def test_the_named_one_wins_and_google_opens_its_own_buckets(self, uri, named, conn_id):
        assert connection_for(uri, named, "mine") == conn_id


class TestReading:
    @pytest.mark.usefixtures("opened")
    def test_a_region_is_read_from_a_bucket(self):
        text = '{"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}'
        location("gs://bucket/area.geojson", "earth_engine_default").filesystem.pipe(
            "/bucket/area.geojson", text.encode()
        )
        region = read_region("gs://bucket/area.geojson", "earth_engine_default")
        assert region.geometry.bounds == (0, 0, 1, 1)

    def test_a_file_that_is_not_there_is_told_with_its_argument(self, tmp_path):
        with pytest.raises(ValueError, match=f"expression: there is no file {tmp_path}/graph.json"):
            read_text("expression", str(tmp_path / "graph.json"), None)


class TestChart:
    def draw(self, **arguments):
        with pytest.raises(AirflowFailException, match=r"there is no table gs://bucket/ndvi\.csv"):
            EarthEngineTimeSeriesChartOperator(
                task_id="draw", table_uri="gs://bucket/ndvi", chart_uri="gs://bucket/ndvi.png", title="t", **arguments
            ).execute({})

    def test_buckets_are_opened_as_those_of_the_series(self, connect, opened, caplog):
        connect("google_cloud_default", conn_type="google_cloud_platform")
        connect("mine")
        connect("theirs")
        with caplog.at_level(logging.ERROR):
            self.draw()
            self.draw(gcp_conn_id="mine")
            self.draw(gcp_conn_id="mine", output_conn_id="theirs")
        assert opened == ["google_cloud_default", "mine", "theirs"]
