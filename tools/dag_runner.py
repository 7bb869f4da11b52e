"""Run DAGs to their ends in one process, by Airflow itself: ``dag.test()`` in an Airflow home of their own.

The DAG files must lie in the configured DAG folder. Each run is told as one JSON line on standard output: its DAG, its
conf, the state of the run and of each task, and the seconds it took.

    python -m tools.dag_runner --runs RUNS.json

RUNS.json is a list of ``{"dag_id": ..., "conf": {...}, "logical_date": "2024-02-01T06:00:00+00:00" or null}``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def run_dags(
    runs: Iterable[Mapping[str, Any]],
    *,
    home: Path,
    dags: Path,
    environment: Mapping[str, str],
    log: Path,
) -> Iterator[dict[str, Any]]:
    """Run DAGs in a process of their own and yield what became of each, as it ends.

    Parameters
    ----------
    home
        Airflow home; its database is made when it is not there.
    dags
        DAG folder.
    environment
        Besides this process's own, less what Airflow reads of it.
    log
        File for all that Airflow prints.
    """
    home.mkdir(parents=True, exist_ok=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    file = home / "runs.json"
    file.write_text(json.dumps(list(runs)))
    command = [sys.executable, "-m", "tools.dag_runner", "--runs", str(file)]
    with log.open("a") as stream:
        settings = _settings(home, dags, environment)
        _migrate(home, settings, stream)
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stream, text=True, env=settings, cwd=ROOT)
        try:
            for line in process.stdout or ():
                if line.startswith('{"dag_id"'):
                    yield json.loads(line)
                else:
                    stream.write(line)
        finally:
            if process.poll() is None and sys.exc_info()[0] is not None:
                process.terminate()
            if process.stdout:
                process.stdout.close()
            status = process.wait(timeout=60)
    if status != 0:
        raise RuntimeError(f"Airflow ended with status {status}; its log is {log}:\n{_tail(log)}")


def _settings(home: Path, dags: Path, environment: Mapping[str, str]) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    return {
        **own,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "False",
        **environment,
    }


def _migrate(home: Path, settings: Mapping[str, str], stream: Any) -> None:
    if (home / "airflow.db").exists():
        return
    airflow = Path(sys.executable).with_name("airflow")
    subprocess.run([airflow, "db", "migrate"], stdout=stream, stderr=stream, env=dict(settings), check=True, cwd=ROOT)


def _tail(log: Path, lines: int = 40) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def main() -> int:
    """Run the DAGs of a file; status 1 when a run did not succeed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, required=True)
    failed = 0
    for run in json.loads(parser.parse_args().runs.read_text()):
        # Anew for each run: Airflow puts a run's conf into the params of the DAG and its tasks, where the next run of this
        # process would find it.
        result = _run(read_dags(Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"]))[run["dag_id"]], run)
        failed += result["state"] != "success" or not result["tasks"]
        print(json.dumps(result), flush=True)
    return 1 if failed else 0


def read_dags(folder: Path) -> Mapping[str, Any]:
    """Read the DAGs of a folder, by their ids; exit when a file cannot be imported."""
    # Airflow reads its configuration when it is imported, so not before this process is the right one.
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # Airflow 3.1
        from airflow.models.dagbag import DagBag

    bag = DagBag(str(folder))
    if bag.import_errors:
        raise SystemExit("\n".join(f"{file}: {error}" for file, error in bag.import_errors.items()))
    return dict(bag.dags)


def _run(dag: Any, run: Mapping[str, Any]) -> dict[str, Any]:
    started = time.monotonic()
    moment = run.get("logical_date")
    options = (
        {"logical_date": datetime.fromisoformat(moment), "run_after": datetime.fromisoformat(moment)}
        if moment
        else {"logical_date": None}
    )
    dag_run = dag.test(run_conf=dict(run.get("conf") or {}), **options)
    return {
        "dag_id": dag.dag_id,
        "logical_date": moment,
        "conf": run.get("conf"),
        "state": str(dag_run.state),
        "tasks": {ti.task_id: str(ti.state) for ti in dag_run.get_task_instances()},
        "data_interval": [str(dag_run.data_interval_start), str(dag_run.data_interval_end)],
        "seconds": round(time.monotonic() - started, 2),
    }


if __name__ == "__main__":
    sys.exit(main())
