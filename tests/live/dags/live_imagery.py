"""A DAG that a watch on imagery starts, and a sensor, for a live Airflow."""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_ee.sensors.imagery import EarthEngineImagerySensor
from airflow_ee.triggers.imagery import EarthEngineImageryTrigger

COLLECTION = "projects/demo-project/assets/incoming"

imagery = Asset(
    "live_imagery",
    watchers=[
        AssetWatcher(name="live", trigger=EarthEngineImageryTrigger(collection=COLLECTION, poll_interval=1.0)),
    ],
)

with DAG(dag_id="on_imagery", schedule=[imagery], start_date=datetime(2024, 1, 1), catchup=False) as on_imagery:

    @task
    def told(triggering_asset_events=None):
        payloads = [event.extra["payload"] for events in triggering_asset_events.values() for event in events]
        return [{**image, "simulated": payload["simulated"]} for payload in payloads for image in payload["images"]]

    told()

with DAG(dag_id="wait_for_imagery", schedule=None, start_date=datetime(2024, 1, 1)) as wait_for_imagery:
    EarthEngineImagerySensor(
        task_id="wait",
        collection=COLLECTION,
        start="2024-06-01",
        end="2024-07-01",
        poke_interval=1.0,
        timeout=120,
        deferrable=True,
        retries=2,
        retry_delay=timedelta(seconds=1),
    )
