"""The link of a task to its operation."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from airflow.providers.common.compat.sdk import XCom
from airflow.sdk import DAG

from airflow_ee.links.earth_engine import EarthEngineOperationLink, operation_url
from airflow_ee.operators.export import EarthEngineExportImageOperator
from tests.older_airflow import DagSerialization

NAME = "projects/demo-project/operations/ABC"
KEY = SimpleNamespace(dag_id="d", task_id="t", run_id="r", map_index=-1)


def test_it_leads_to_the_consoles_page_of_the_task():
    assert (
        operation_url(NAME)
        == "https://console.cloud.google.com/earth-engine/tasks;selectedTask=ABC?project=demo-project"
    )


def test_for_an_emulator_it_leads_to_what_the_emulator_tells():
    assert operation_url(NAME, emulator_endpoint="http://127.0.0.1:1") == f"http://127.0.0.1:1/v1/{NAME}"


def test_what_was_pushed_is_what_airflow_shows(monkeypatch):
    link, xcoms = EarthEngineOperationLink(), {}

    def push(key, value):
        xcoms[key] = value

    link.persist({"ti": SimpleNamespace(xcom_push=push)}, operation_url(NAME))
    monkeypatch.setattr(XCom, "get_value", lambda *, ti_key, key: xcoms[key] if ti_key is KEY else None)
    assert link.get_link(None, ti_key=KEY) == operation_url(NAME)


@pytest.mark.parametrize("pushed", [None, {"a": 1}])
def test_without_a_pushed_page_there_is_no_link(monkeypatch, pushed):
    monkeypatch.setattr(XCom, "get_value", lambda **_: pushed)
    assert EarthEngineOperationLink().get_link(None, ti_key=KEY) == ""


def test_the_webserver_knows_the_link_from_the_serialized_dag():
    with DAG("d", start_date=datetime(2024, 1, 1, tzinfo=UTC)) as dag:
        EarthEngineExportImageOperator(task_id="t", expression={}, destination_uri="gs://demo-bucket/x")
    again = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    assert again.get_task("t").extra_links == ["Earth Engine task"]
