"""A task's context without Airflow around it, and an image to export."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_ee.emulator import Emulator


class MemoryStore(dict):
    """Like Airflow 3.3's task state store: it survives tries and clearing."""

    def set(self, key: str, value: Any) -> None:
        """Keep a value."""
        self[key] = value


class Instance(SimpleNamespace):
    """A task instance that remembers its XComs."""

    def xcom_push(self, key: str, value: Any) -> None:
        """Keep an XCom."""
        self.xcoms[key] = value


@pytest.fixture(scope="module")
def running() -> Iterator[Emulator]:
    """An emulator with the simulated catalogue, for all tests of a file."""
    with Emulator() as emulator:
        yield emulator


@pytest.fixture
def simulated(running: Emulator, connect: Any) -> Emulator:
    """The same emulator, behind the default connection."""
    connect(endpoint=running.url, is_anonymous=True)
    return running


@pytest.fixture
def make_context():
    """Makes the context of a try; ``store=None`` is an Airflow before 3.3."""

    def make(*, store: MemoryStore | None = None, **identity: Any) -> dict[str, Any]:
        names = {
            "dag_id": "my_dag",
            "task_id": "export",
            "run_id": "manual__2024",
            "map_index": -1,
            "try_number": 1,
            "max_tries": 0,
            **identity,
        }
        context: dict[str, Any] = {"ti": Instance(xcoms={}, **names), "params": {}}
        return context if store is None else {**context, "task_state_store": store}

    return make


@pytest.fixture
def store() -> MemoryStore:
    """The state store of one task instance."""
    return MemoryStore()


@pytest.fixture
def graph() -> dict[str, Any]:
    """An image of sevens."""
    arguments = {"value": {"constantValue": 7}}
    node = {"functionInvocationValue": {"functionName": "Image.constant", "arguments": arguments}}
    return {"result": "0", "values": {"0": node}}


@pytest.fixture
def grid() -> dict[str, Any]:
    """A small grid."""
    return {
        "crsCode": "EPSG:32633",
        "dimensions": {"width": 9, "height": 6},
        "affineTransform": {
            "scaleX": 10,
            "shearX": 0,
            "translateX": 5e5,
            "shearY": 0,
            "scaleY": -10,
            "translateY": 4e6,
        },
    }
