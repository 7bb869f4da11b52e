"""A thousand deferred exports that wait in one triggerer: requests for each look, and seconds from an operation's end to its event.

``python -m benchmarks.deferred URL FILE`` is the triggerer: a process with one event loop, which makes the triggers from their
serialized form, a line each, as Airflow's does. It prints a line for each event, and what it has cost when its input is closed.
"""

import asyncio
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

import requests

from airflow_ee.core.client import OPERATIONS_PAGE_SIZE
from benchmarks.measure import ROOT, client_core, cpu_seconds, on_core, peak_megabytes, server_core
from benchmarks.scale import scale

PROJECT = "bench-project"
INTERVAL_SECONDS = 2.0
QUIET_INTERVALS = 12
"""Long enough for the pauses between two looks to have grown as far as they do."""
ENDS = 20
ASKED_AT_ONCE = 8
READY = "ready\n"
SEVEN = {
    "result": "0",
    "values": {
        "0": {
            "functionInvocationValue": {"functionName": "Image.constant", "arguments": {"value": {"constantValue": 7}}}
        }
    },
}


def main() -> None:
    """As many operations as tasks, then operations of others besides: what a look costs follows the pages."""
    tasks = scale().deferred
    with emulator() as url:
        alone = measure(url, tasks=tasks, operations=tasks)
        among_others = measure(url, tasks=tasks, operations=2 * tasks)
        few = measure(url, tasks=tasks // 10, operations=2 * tasks)
    figures = {"alone": alone, "among_others": among_others, "few": few}
    over_pages = max(each["requests_per_poll"] / each["pages"] for each in figures.values())
    results = {
        "deferred.requests_per_poll": {"value": alone["requests_per_poll"], "details": figures},
        "deferred.requests_over_pages": {"value": round(over_pages, 3), "details": {}},
        "deferred.seconds_to_event": {"value": alone["seconds_to_event"], "details": {}},
        "deferred.triggerer_cpu_share": {"value": among_others["cpu_share"], "details": {}},
    }
    sys.stdout.write(json.dumps(results) + "\n")


@contextmanager
def emulator() -> Iterator[str]:
    """The address of an emulator in a process of its own, whose operations wait in the queue for an hour."""
    options = ("--port=0", "--pending-seconds=3600", "--requests-per-second=0", "--max-pending-operations=10000", "--processes=0")  # fmt: skip
    with on_core(server_core()):
        server = subprocess.Popen(
            [sys.executable, "-m", "airflow_ee.emulator", *options], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
    try:
        assert server.stdout is not None
        yield next(line for line in server.stdout if "listening on" in line).split("listening on ")[1].split()[0]
    finally:
        server.terminate()
        server.wait()


def measure(url: str, *, tasks: int, operations: int, interval: float = INTERVAL_SECONDS) -> dict[str, Any]:
    """Let so many tasks wait while the project lists at least so many operations, and end some of these."""
    started(url, operations)
    states = listed(url)
    names = [name for name, state in states.items() if state == "PENDING"]
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        file = Path(folder) / "triggers.jsonl"
        file.write_text("".join(serialized(name, interval) for name in names[:tasks]))
        with on_core(client_core()):
            triggerer = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.deferred", url, str(file)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
            )  # fmt: skip
        output, looks, ended = watched(url, triggerer, names[:tasks], interval)
    if triggerer.returncode:
        raise subprocess.CalledProcessError(triggerer.returncode, triggerer.args)
    *events, cost = [json.loads(line) for line in output.splitlines()]
    delays = [event["at"] - ended[event["operation"]] for event in events]
    if len(delays) != len(ended):
        raise RuntimeError(f"{len(ended)} operations have ended, and {len(delays)} events were told")
    return {
        "tasks": tasks, "operations": len(states), "pages": -(-len(states) // OPERATIONS_PAGE_SIZE), **looks,
        "seconds_to_event": round(statistics.median(delays), 2), "longest_to_event": round(max(delays), 2), **cost,
    }  # fmt: skip


def watched(
    url: str, triggerer: subprocess.Popen[str], names: list[str], interval: float
) -> tuple[str, dict[str, Any], dict[str, float]]:
    """Wait until pauses have grown, end some operations one by one, then the triggerer: output, requests, moments of the ends."""
    assert triggerer.stdout is not None
    if triggerer.stdout.readline() != READY:
        raise RuntimeError("the triggerer did not get ready")
    requests.delete(f"{url}/emulator/state", timeout=60).raise_for_status()
    time.sleep(QUIET_INTERVALS * interval)
    looks = looked(url)
    chosen = names[:: max(1, len(names) // ENDS)]
    for name in chosen:
        requests.post(f"{url}/v1/{name}:cancel", json={}, timeout=60).raise_for_status()
        time.sleep(interval / 4)
    # The longest pause between two looks, and a look.
    time.sleep(5 * interval + 3)
    output, _ = triggerer.communicate()
    return output, looks, {name: end_of(url, name) for name in chosen}


def started(url: str, count: int) -> None:
    """Start operations until so many wait."""
    body = {
        "expression": SEVEN,
        "fileExportOptions": {
            "fileFormat": "GEO_TIFF",
            "cloudStorageDestination": {"bucket": "bench", "filenamePrefix": "x"},
        },
        "grid": {
            "crsCode": "EPSG:4326",
            "dimensions": {"width": 1, "height": 1},
            "affineTransform": {"scaleX": 1, "scaleY": -1},
        },
    }
    waiting = sum(state == "PENDING" for state in listed(url).values())
    with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:

        def start(_: int) -> None:
            answer = requests.post(f"{url}/v1/projects/{PROJECT}/image:export", json=body, timeout=60)
            answer.raise_for_status()

        list(pool.map(start, range(count - waiting)))


def listed(url: str) -> dict[str, str]:
    """States of all operations by name."""
    found: dict[str, str] = {}
    token = ""
    while True:
        answer = requests.get(
            f"{url}/v1/projects/{PROJECT}/operations", params={"pageSize": 1000, "pageToken": token}, timeout=60
        )
        answer.raise_for_status()
        found |= {item["name"]: item["metadata"]["state"] for item in answer.json().get("operations", ())}
        token = answer.json().get("nextPageToken", "")
        if not token:
            return found


def looked(url: str) -> dict[str, Any]:
    """Looks at the operations since the record was emptied, and requests for each."""
    answer = requests.get(f"{url}/emulator/requests", timeout=60)
    answer.raise_for_status()
    seen = [item for item in answer.json()["requests"] if item["method"] in ("operations.list", "operations.get")]
    polls = sum(item["method"] == "operations.list" and not item["query"].get("pageToken") for item in seen)
    return {"polls": polls, "requests": len(seen), "requests_per_poll": round(len(seen) / polls, 3)}


def end_of(url: str, name: str) -> float:
    """When an operation ended, by the clock of this machine."""
    answer = requests.get(f"{url}/v1/{name}", timeout=60)
    answer.raise_for_status()
    return datetime.fromisoformat(answer.json()["metadata"]["endTime"]).timestamp()


def serialized(name: str, interval: float) -> str:
    """A line for the trigger of one task, as an operator leaves it."""
    path = "airflow_ee.triggers.operation.EarthEngineOperationTrigger"
    return json.dumps([path, {"operation_names": [name], "poll_interval": interval}]) + "\n"


def run_triggerer(url: str, file: Path) -> None:
    """Be the triggerer until the input is closed."""
    extra = {"project": PROJECT, "endpoint": url, "high_volume_endpoint": url, "is_anonymous": True}
    os.environ["AIRFLOW_CONN_EARTH_ENGINE_DEFAULT"] = json.dumps({"conn_type": "earth_engine", "extra": extra})
    # Airflow writes its log to the standard output.
    results = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    importlib.import_module("airflow_ee.hooks.earth_engine")
    triggers = [made(*json.loads(line)) for line in file.read_text().splitlines()]
    cpu, wall = cpu_seconds(), time.perf_counter()
    asyncio.run(run_all(triggers, results))
    seconds = time.perf_counter() - wall
    figures = {"cpu_share": round((cpu_seconds() - cpu) / seconds, 4), "peak_megabytes": round(peak_megabytes())}
    results.write(json.dumps(figures) + "\n")
    results.flush()


def made(path: str, kwargs: dict[str, Any]) -> Any:
    """A trigger from its serialized form."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)(**kwargs)


async def run_all(triggers: list[Any], results: TextIO) -> None:
    """All of them in one loop; tells each event with its moment."""

    async def run(trigger: Any) -> None:
        event = await anext(trigger.run())
        found = {"at": time.time(), "operation": event.payload["operations"][0], "status": event.payload["status"]}
        results.write(json.dumps(found) + "\n")

    tasks = [asyncio.create_task(run(trigger)) for trigger in triggers]
    results.write(READY)
    results.flush()
    await asyncio.to_thread(sys.stdin.read)
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome


if __name__ == "__main__":
    if sys.argv[1:]:
        run_triggerer(sys.argv[1], Path(sys.argv[2]))
    else:
        main()
