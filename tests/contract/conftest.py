"""Values as value:compute answers them, worked out in process: no server, no sockets.

Expressions are objects of Google's client, built with the ``ee`` fixture's module or inside a function that is given it, or graphs
as they travel (``{"result": ..., "values": ...}``).
"""

import json
from datetime import UTC, datetime

import pytest

from airflow_ee.emulator.api.calls import Call
from airflow_ee.emulator.api.values import compute_value
from airflow_ee.emulator.catalog import srtm
from airflow_ee.emulator.catalog.catalog import Catalog
from airflow_ee.emulator.catalog.recipe import simulated
from airflow_ee.emulator.catalog.store import AssetStore
from airflow_ee.emulator.clock import ManualClock
from airflow_ee.emulator.errors import EmulatorError
from airflow_ee.emulator.functions import registry
from airflow_ee.emulator.session import Session

NOW = datetime(2024, 3, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def new_session(tmp_path_factory):
    """Makes what one request is evaluated with: the simulated collections, and an empty asset store."""
    clock = ManualClock(NOW)
    store = AssetStore(tmp_path_factory.mktemp("assets"))
    catalog = Catalog(simulated(clock), store, images=[srtm.asset()])
    return lambda: Session(catalog, registry, clock.now())


@pytest.fixture(scope="module")
def ee(new_session):
    """Google's client, its signatures read from its own package and its values computed in process."""
    import ee
    from ee import apitestcase

    with pytest.MonkeyPatch.context() as patch:
        ee.Reset()
        patch.setattr(ee.data, "_install_cloud_api_resource", lambda: None)
        patch.setattr(ee.data, "getAlgorithms", apitestcase.GetAlgorithms)
        patch.setattr(ee.deprecation, "_FetchDataCatalogStac", dict)
        patch.setattr(ee.data, "computeValue", lambda value: computed(value, new_session()))
        ee.Initialize(None, "", project="demo-project")
        yield ee
    ee.Reset()


def computed(expression, session):
    """What value:compute answers, after the way through JSON in both directions."""
    if not isinstance(expression, dict) or "values" not in expression:
        from ee import serializer

        expression = serializer.encode(expression, for_cloud_api=True)
    body = json.loads(json.dumps({"expression": expression}))
    answer = compute_value(Call("value:compute", {"project": "projects/demo-project"}, body=body), session)
    return json.loads(json.dumps(answer.body))["result"]


@pytest.fixture
def evaluate(ee, new_session):
    """``evaluate(expression)``: its value. A function is given ``ee`` and returns the expression."""

    def value(expression):
        return computed(expression(ee) if callable(expression) else expression, new_session())

    return value


@pytest.fixture
def refusal(evaluate):
    """``refusal(expression)``: the message of the 400 that it is answered with."""

    def message(expression):
        with pytest.raises(EmulatorError) as caught:
            evaluate(expression)
        assert caught.value.code == "INVALID_ARGUMENT"
        return caught.value.message

    return message
