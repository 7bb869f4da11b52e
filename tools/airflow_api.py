"""A small client of Airflow's REST API: trigger a run, wait for its end, and read what came of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import requests

FINISHED = frozenset({"success", "failed"})
"""The states in which a run changes no more."""
POLL_SECONDS = 0.5
LOG_TAIL_LINES = 40
_PAGE = 100
_BUSY_DATABASE = '"reason":"Database error"'
"""How Airflow says that its SQLite was being written by another process: it undid what it had begun, and asking again is right."""
_BUSY_SECONDS = 100
"""Time for three answers: the stack's SQLite waits 30 s for a writer before it gives up, and that one may be waiting for this request."""
_LOG_KEYS = frozenset(["timestamp", "level", "event", "error_detail", "logger", "filename", "lineno"])
_TASK_KEYS = frozenset(["dag_id", "run_id", "task_id", "map_index", "try_number", "ti_id"])


class ApiError(RuntimeError):
    """Airflow answered a request with an error; ``status`` is its HTTP status."""

    def __init__(self, method: str, path: str, status: int, detail: str) -> None:
        super().__init__(method, path, status, detail)
        self.method, self.path, self.status, self.detail = method, path, status, detail

    def __str__(self) -> str:
        return f"{self.method} {self.path} was answered {self.status}: {self.detail}"


class RunFailedError(RuntimeError):
    """A DAG run ended in another state than success; the message ends with its failed tasks' logs."""


class AirflowApi:
    """The REST API of one Airflow, at ``url``, that lets everyone in (``simple_auth_manager_all_admins``)."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy must not come between this machine and itself
        self._token: str | None = None

    @property
    def token(self) -> str:
        """The bearer token, asked for once."""
        if self._token is None:
            self._token = self._new_token()
        return self._token

    def get(self, path: str, **query: Any) -> Any:
        """Answer ``GET /api/v2/<path>``."""
        return self._call("GET", path, params=query)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Answer ``POST /api/v2/<path>``."""
        return self._call("POST", path, json=body)

    def patch(self, path: str, body: Mapping[str, Any]) -> Any:
        """Answer ``PATCH /api/v2/<path>``."""
        return self._call("PATCH", path, json=body)

    def check(self) -> None:
        """Raise if waiting is of no use any more: called while something is waited for."""

    def wait_for_dag(self, dag_id: str, timeout_seconds: float = 60) -> dict[str, Any]:
        """Wait until Airflow has read the file that defines the DAG, and answer its description."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                return dict(self.get(f"dags/{_part(dag_id)}"))
            except ApiError as error:
                if error.status != requests.codes.not_found:
                    raise
            if time.monotonic() > deadline:
                known = sorted(dag["dag_id"] for dag in self.dags())
                raise TimeoutError(
                    f"DAG {dag_id} did not appear in {timeout_seconds:g} s; known are {known}\n"
                    + "\n".join(f"{file}:\n{trace}" for file, trace in self.import_errors().items())
                )
            self.check()
            time.sleep(POLL_SECONDS)

    def dags(self) -> list[dict[str, Any]]:
        """All DAGs that Airflow knows."""
        return list(self._pages("dags", "dags"))

    def import_errors(self) -> dict[str, str]:
        """The DAG files that could not be imported, with their tracebacks."""
        return {error["filename"]: error["stack_trace"] for error in self._pages("importErrors", "import_errors")}

    def unpause(self, dag_id: str) -> None:
        """Wait for the DAG to be known, and let its runs start."""
        self.wait_for_dag(dag_id)
        self.patch(f"dags/{_part(dag_id)}", {"is_paused": False})

    def trigger(
        self,
        dag_id: str,
        conf: Mapping[str, Any] | None = None,
        *,
        run_id: str | None = None,
        logical_date: str | None = None,
        data_interval: tuple[str, str] | None = None,
    ) -> str:
        """Ask for a run and answer its id; times are ISO 8601. The runs of a paused DAG wait: see :meth:`unpause`."""
        body: dict[str, Any] = {"logical_date": logical_date, "conf": dict(conf or {})}
        if run_id is not None:
            body["dag_run_id"] = run_id
        if data_interval is not None:
            body["data_interval_start"], body["data_interval_end"] = data_interval
        return str(self.post(f"dags/{_part(dag_id)}/dagRuns", body)["dag_run_id"])

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """The run's present description; ``state`` is in it."""
        return dict(self.get(_run(dag_id, run_id)))

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """All runs of the DAG."""
        return list(self._pages(f"dags/{_part(dag_id)}/dagRuns", "dag_runs"))

    def wait(self, dag_id: str, run_id: str, timeout_seconds: float = 300) -> dict[str, Any]:
        """Wait for the run's success and answer its description; a failed run raises, with its failed tasks' logs."""
        deadline = time.monotonic() + timeout_seconds
        while (run := self.run(dag_id, run_id))["state"] not in FINISHED:
            if time.monotonic() > deadline:
                raise TimeoutError(self._story(dag_id, run_id, f"is {run['state']} after {timeout_seconds:g} s"))
            self.check()
            time.sleep(POLL_SECONDS)
        if run["state"] != "success":
            raise RunFailedError(self._story(dag_id, run_id, "failed"))
        return run

    def wait_for_task(
        self,
        dag_id: str,
        run_id: str,
        task_id: str,
        states: Sequence[str],
        *,
        map_index: int = -1,
        timeout_seconds: float = 120,
    ) -> dict[str, Any]:
        """Wait until the task is in one of the states (such as ``("deferred",)``), and answer its description."""
        deadline = time.monotonic() + timeout_seconds
        while (task := self.task_instance(dag_id, run_id, task_id, map_index=map_index))["state"] not in states:
            if time.monotonic() > deadline:
                waited = f"waited {timeout_seconds:g} s for {task_id} to be {' or '.join(states)}"
                raise TimeoutError(self._story(dag_id, run_id, waited))
            self.check()
            time.sleep(POLL_SECONDS)
        return task

    def task_instance(self, dag_id: str, run_id: str, task_id: str, *, map_index: int = -1) -> dict[str, Any]:
        """One task of the run."""
        return dict(self.get(_task(dag_id, run_id, task_id, map_index)))

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """All tasks of the run, mapped ones one by one."""
        return list(self._pages(f"{_run(dag_id, run_id)}/taskInstances", "task_instances"))

    def xcom(self, dag_id: str, run_id: str, task_id: str, *, key: str = "return_value", map_index: int = -1) -> Any:
        """What a task returned, or left under another key."""
        path = f"{_task(dag_id, run_id, task_id)}/xcomEntries/{_part(key)}"
        value = self.get(path, map_index=map_index)["value"]
        return json.loads(value) if isinstance(value, str) else value  # the API answers the stored JSON text

    def task_log(
        self, dag_id: str, run_id: str, task_id: str, *, try_number: int | None = None, map_index: int = -1
    ) -> str:
        """The log of one try, the latest by default, as text."""
        if try_number is None:
            try_number = max(1, self.task_instance(dag_id, run_id, task_id, map_index=map_index)["try_number"])
        path = f"{_task(dag_id, run_id, task_id)}/logs/{try_number}"
        content = self.get(path, map_index=map_index, full_content="true")["content"]
        return "\n".join(_text(entry) for entry in content)

    def set_task_state(
        self, dag_id: str, run_id: str, task_id: str, *, new_state: str = "failed", map_index: int = -1
    ) -> None:
        """Mark the task by hand, as a user does: ``failed`` is how a user kills it."""
        self.patch(_task(dag_id, run_id, task_id, map_index), {"new_state": new_state})

    def clear(self, dag_id: str, run_id: str, task_ids: Sequence[str], *, downstream: bool = False) -> None:
        """Have the tasks run again."""
        body = {"dry_run": False, "only_failed": False, "dag_run_id": run_id, "task_ids": list(task_ids)}
        self.post(f"dags/{_part(dag_id)}/clearTaskInstances", {**body, "include_downstream": downstream})

    def ensure_pool(self, name: str, slots: int) -> None:
        """Make the pool; one that is there already keeps the slots that its user gave it."""
        try:
            self.get(f"pools/{_part(name)}")
        except ApiError as error:
            if error.status != requests.codes.not_found:
                raise
            self.post("pools", {"name": name, "slots": slots})

    def _new_token(self) -> str:
        """Ask for a token, which everyone gets here."""
        return str(self._send("GET", f"{self.url}/auth/token", {})["access_token"])

    def _story(self, dag_id: str, run_id: str, what: str) -> str:
        """What to tell about a run that did not succeed: states, and the logs of those tasks that failed."""
        lines = [f"Run {run_id} of {dag_id} {what}."]
        if self.get(f"dags/{_part(dag_id)}")["is_paused"]:
            lines.append(f"The DAG is paused, so that no task of it starts: unpause it by unpause({dag_id!r}).")
        tasks = self.task_instances(dag_id, run_id)
        lines += [f"  {task['task_id']} [{task['map_index']}]: {task['state']}" for task in tasks]
        for task in tasks:
            if task["state"] in ("failed", "up_for_retry"):
                log = self.task_log(dag_id, run_id, task["task_id"], map_index=task["map_index"])
                lines += [f"Log of {task['task_id']} [{task['map_index']}]:", *log.splitlines()[-LOG_TAIL_LINES:]]
        return "\n".join(lines)

    def _pages(self, path: str, key: str) -> Iterator[dict[str, Any]]:
        """All items of a list that comes page by page."""
        offset = 0
        while items := self.get(path, limit=_PAGE, offset=offset)[key]:
            yield from items
            offset += len(items)

    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.token}", "Accept": "application/json"}
        return self._send(method, f"{self.url}/api/v2/{path}", headers, **arguments)

    def _send(self, method: str, url: str, headers: Mapping[str, str], **arguments: Any) -> Any:
        deadline = time.monotonic() + _BUSY_SECONDS
        answer = self._session.request(method, url, headers=headers, timeout=60, **arguments)
        while _is_busy(answer) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
            answer = self._session.request(method, url, headers=headers, timeout=60, **arguments)
        if not answer.ok:
            raise ApiError(method, url.removeprefix(self.url), answer.status_code, answer.text[:2000])
        return answer.json() if answer.content else None


def _is_busy(answer: requests.Response) -> bool:
    return answer.status_code == requests.codes.server_error and _BUSY_DATABASE in answer.text


def _part(text: str) -> str:
    """One part of a path: the ids of runs hold colons and plus signs."""
    return quote(text, safe="")


def _run(dag_id: str, run_id: str) -> str:
    return f"dags/{_part(dag_id)}/dagRuns/{_part(run_id)}"


def _task(dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> str:
    path = f"{_run(dag_id, run_id)}/taskInstances/{_part(task_id)}"
    return path if map_index < 0 else f"{path}/{map_index}"


def _text(entry: Mapping[str, Any] | str) -> str:
    """A line of a log: time, level, message, what came with it besides the task's own names, and the traceback."""
    if isinstance(entry, str):
        return entry
    rest = " ".join(f"{key}={value!r}" for key, value in entry.items() if key not in _LOG_KEYS | _TASK_KEYS)
    head = " ".join(str(entry[key]) for key in ("timestamp", "level", "event") if entry.get(key))
    return "\n".join([f"{head} {rest}".rstrip(), *_traceback(entry.get("error_detail") or [])])


def _traceback(details: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The frames and messages of a structured exception, outermost cause last."""
    for detail in details:
        for frame in detail.get("frames", []):
            yield f"    {frame.get('filename')}:{frame.get('lineno')} in {frame.get('name')}"
        yield f"  {detail.get('exc_type')}: {detail.get('exc_value')}"
