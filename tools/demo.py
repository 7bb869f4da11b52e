"""``make demo``: a year of NDVI and an export, made by Airflow with the emulator, into ``build/demo/``.

What Airflow's own scheduler would do month by month is done here run by run in one process, so that it takes minutes.
All of it is simulated imagery, and says so.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tools.dag_runner import run_dags

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "build" / "demo"
YEAR = 2023
BUCKET = "demo-bucket"
EMULATOR_LINE = "listening on "


def main() -> int:
    """Make the demo."""
    parser = argparse.ArgumentParser(prog="demo.py", description=__doc__)
    parser.add_argument("--output", type=Path, default=OUTPUT, metavar="DIR", help="where to (default: %(default)s)")
    make_demo(parser.parse_args().output.resolve())
    return 0


def make_demo(output: Path) -> None:
    """Run the year's DAG runs into ``output``; a run that fails raises."""
    started = time.monotonic()
    output.mkdir(parents=True, exist_ok=True)
    _say("Starting the Earth Engine emulator ...")
    with emulator(output) as url:
        environment = {
            "AIRFLOW_CONN_EARTH_ENGINE_DEFAULT": json.dumps(
                {
                    "conn_type": "earth_engine",
                    "extra": {"project": "demo-project", "endpoint": url, "is_anonymous": True},
                }
            ),
            "AIRFLOW_EE_OUTPUT": str(output),
            "AIRFLOW_EE_BUCKET": BUCKET,
        }
        runs = list(_runs())
        _say(f"Running {len(runs)} DAG runs by Airflow (log: {_relative(output / 'airflow.log')}) ...")
        results = run_dags(
            runs, home=output / "airflow", dags=ROOT / "dags", environment=environment, log=output / "airflow.log"
        )
        for number, result in enumerate(results, start=1):
            tasks = ", ".join(f"{task} {state}" for task, state in sorted(result["tasks"].items()))
            _say(
                f"  {number:2}/{len(runs)} {result['dag_id']} {_interval(result)}: {tasks} ({result['seconds']:.1f} s)"
            )
    _tell(output, time.monotonic() - started)


def _runs() -> Iterator[dict[str, Any]]:
    """The runs that a year's schedule would have made, and one export of the year."""
    for month in range(2, 14):
        year, number = (YEAR, month) if month <= 12 else (YEAR + 1, 1)
        yield {"dag_id": "ndvi_modis_timeseries", "logical_date": f"{year}-{number:02}-01T06:00:00+00:00"}
    conf = {"start": f"{YEAR}-01-01", "end": f"{YEAR + 1}-01-01"}
    yield {"dag_id": "export_ndvi_composite", "logical_date": f"{YEAR + 1}-02-01T08:00:00+00:00", "conf": conf}


@contextmanager
def emulator(output: Path) -> Iterator[str]:
    """A running emulator, whose buckets are folders below ``exports/``; yields its URL."""
    command = [sys.executable, "-m", "airflow_ee.emulator", "--port", "0", "--root", str(output / "exports")]
    with (output / "emulator.log").open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, cwd=ROOT)
        try:
            yield _url(process, output)
        finally:
            process.terminate()
            process.wait(timeout=30)
            if process.stdout:
                process.stdout.close()


def _url(process: subprocess.Popen[str], output: Path) -> str:
    """What the emulator says when it listens; its standard output ends if it cannot."""
    for line in process.stdout or ():
        if EMULATOR_LINE in line:
            return line.split(EMULATOR_LINE, 1)[1].strip()
    raise RuntimeError(f"the emulator did not start; see {output / 'emulator.log'}")


def _tell(output: Path, seconds: float) -> None:
    table = output / "ndvi.csv"
    lines = table.read_text().splitlines()
    columns = ("band", "image_start", "mean", "std", "min", "max", "valid_fraction", "simulated")
    header = [name.strip('"') for name in lines[0].split(",")]
    _say(f"\nThe first rows of {len(lines) - 1} ({', '.join(columns)}):")
    for line in lines[1:6]:
        row = dict(zip(header, (cell.strip('"') for cell in line.split(",")), strict=True))
        _say("  " + "  ".join(_short(row[name]) for name in columns))
    rasters = sorted((output / "rasters").glob("*.tif"))
    exports = sorted((output / "exports" / "gs").rglob("*.tif"))
    _say("\nMade, from SIMULATED imagery:")
    _say(f"  {_relative(table)}")
    _say(f"  {_relative(output / 'ndvi.png')}")
    _say(f"  {_relative(output / 'rasters')}/*.tif ({len(rasters)} rasters)")
    for path in exports:
        _say(f"  {_relative(path)}")
    _say(f"\nIt took {seconds:.0f} s. See it live: make up")


def _interval(result: dict[str, Any]) -> str:
    start, end = (moment[:10] for moment in result["data_interval"])
    return f"[{start}, {end})"


def _short(text: str) -> str:
    try:
        return f"{float(text):.4f}"
    except ValueError:
        return text


def _relative(path: Path) -> str:
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
