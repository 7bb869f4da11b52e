"""
### NDVI as soon as there is new imagery

A watch in the triggerer looks at a collection every ten minutes. When images of the area appear, a run fetches their days and
adds rows to one table. Images may come late and out of order: each is told once, with the others that were new at that
look. A run is about whole days and adds nothing that is there already, so an image that is told twice does no harm.

What the watch has told is kept in the folder `watches`, on any version of Airflow; without `state_uri` it would be kept in the
asset's state (Airflow 3.3 and newer).

**By hand**: trigger with `start` and `end` in the form; a run by hand has no event that tells days.

**Another area or sensor**: the watch is made when this file is read, so they are environment variables,
`AIRFLOW_EE_WATCH_REGION` as `west,south,east,north` or GeoJSON, and `AIRFLOW_EE_WATCH_COLLECTION`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, Asset, AssetWatcher, Param

from airflow_ee.operators.series import EarthEngineTimeSeriesOperator
from airflow_ee.triggers.imagery import EarthEngineImageryTrigger

OUTPUT = os.environ.get("AIRFLOW_EE_OUTPUT", os.path.join(os.environ.get("AIRFLOW_HOME", "."), "earth-engine"))
REGION = os.environ.get("AIRFLOW_EE_WATCH_REGION", "-55.60,-12.10,-55.55,-12.05")
COLLECTION = os.environ.get("AIRFLOW_EE_WATCH_COLLECTION", "S2_SR_HARMONIZED")
CONCURRENCY = 8


def days(params: Mapping[str, Any], events: Mapping[Any, list[Any]]) -> tuple[str, str]:
    """The first day of a run and the day after its last: those of the form, else those of the images that started it."""
    if params["start"] and params["end"]:
        return params["start"], params["end"]
    payloads = [event.extra["payload"] for group in events.values() for event in group]
    started = sorted(image["start_time"][:10] for payload in payloads for image in payload["images"])
    if not started:
        raise ValueError("no dates: a run by hand needs start and end in its form")
    return started[0], (date.fromisoformat(started[-1]) + timedelta(days=1)).isoformat()


imagery = Asset(
    "new_imagery",
    watchers=[
        AssetWatcher(
            name="new_imagery",
            trigger=EarthEngineImageryTrigger(
                collection=COLLECTION, region=REGION, state_uri=os.path.join(OUTPUT, "watches")
            ),
        )
    ],
)

with DAG(
    dag_id="ndvi_on_new_imagery",
    description="NDVI over an area: rows are added when a satellite has been there",
    doc_md=__doc__,
    schedule=[imagery],
    start_date=datetime(2024, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5), "retry_exponential_backoff": True},
    tags=["earth engine", "ndvi", "event"],
    user_defined_macros={"days": days},
    params={
        "region": Param(
            REGION, type="string", title="Area", description="west,south,east,north in degrees or GeoJSON text"
        ),
        "collection": Param(COLLECTION, type="string", title="Sensor", description="A preset's name"),
        "band": Param("NDVI", type="string", title="Index", description="An index of the collection, such as EVI"),
        "scale": Param(
            None,
            type=["number", "null"],
            exclusiveMinimum=0,
            title="Scale",
            description="Metres a pixel; empty: the collection's own grid",
        ),
        "start": Param(
            None, type=["string", "null"], format="date", title="First day", description="Empty: the new images' days"
        ),
        "end": Param(
            None,
            type=["string", "null"],
            format="date",
            title="Day after the last",
            description="Empty: the new images' days",
        ),
        "output_uri": Param(OUTPUT, type="string", title="Folder", description="Local path, gs:// or s3://"),
    },
    render_template_as_native_obj=True,
) as dag:
    EarthEngineTimeSeriesOperator(
        task_id="fetch_series",
        collection="{{ params.collection }}",
        index="{{ params.band }}",
        region="{{ params.region }}",
        scale="{{ params.scale }}",
        group_by="day",
        start="{{ days(params, triggering_asset_events)[0] }}",
        end="{{ days(params, triggering_asset_events)[1] }}",
        table_uri="{{ params.output_uri }}/new_imagery/ndvi",
        max_concurrency=CONCURRENCY,
        pool="earth_engine",
        pool_slots=CONCURRENCY,
        outlets=[Asset("ndvi_on_new_imagery")],
    )

if __name__ == "__main__":
    dag.test()
