"""Settings that hold before Airflow is imported, and a clean environment for each test."""

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_HOME = tempfile.TemporaryDirectory(prefix="airflow-ee-tests-")
os.environ["AIRFLOW_HOME"] = _HOME.name
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "True"
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
# Airflow's settings for its own tests differ here from what a new Airflow does.
os.environ["AIRFLOW__SCHEDULER__CREATE_CRON_DATA_INTERVALS"] = "False"
os.environ["AIRFLOW__SCHEDULER__CREATE_DELTA_DATA_INTERVALS"] = "False"

import pytest  # noqa: E402

Connect = Callable[..., str]

_FOREIGN = ("GOOGLE_", "CLOUDSDK_", "AIRFLOW_CONN_", "EE_", "EARTHENGINE_")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No credentials, connections or proxies of the machine reach a test."""
    for name in os.environ:
        if name.startswith(_FOREIGN) or name.lower() in {"http_proxy", "https_proxy", "all_proxy"}:
            monkeypatch.delenv(name)
    # google.auth looks for a login file here, and asks the machine whether it is one of Google's.
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path_factory.getbasetemp() / "no-gcloud"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Makes an Airflow connection: ``connect(endpoint=..., conn_id=..., **extra)`` returns its id."""

    def make(
        conn_id: str = "earth_engine_default", *, conn_type: str = "earth_engine", host: str | None = None, **extra: Any
    ) -> str:
        fields = {"conn_type": conn_type, "host": host, "extra": {"project": "demo-project", **extra}}
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))
        return conn_id

    return make


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[Any]:
    """A running emulator whose buckets are under the test's folder."""
    from airflow_ee.emulator import Emulator

    quick = {"pending_seconds": 0.02, "running_seconds": 0.05, "cancelling_seconds": 0.02}
    with Emulator(root=tmp_path / "root", **quick) as running:
        yield running
