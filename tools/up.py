"""``make up``: the whole of Airflow with the Earth Engine emulator and the example DAGs, until Ctrl-C."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from tools.stack import AirflowStack, EmulatorOptions, StackError

ROOT = Path(__file__).resolve().parent.parent
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PARSE_SECONDS = 60.0
"""How long the DAG files may take to show; what is missing then is named, and goes on being read."""


def main(arguments: list[str] | None = None) -> int:
    """Run the stack until a signal (status 0) or until a part of it fails (status 1)."""
    options = _options(arguments)
    for number in SIGNALS:
        signal.signal(number, _interrupt)
    stack = _stack(options)
    try:
        stack.start()
        _say(_welcome(stack, options.home))
        while True:
            stack.check()
            time.sleep(1)
    except KeyboardInterrupt:
        return 0
    except StackError as error:
        print(f"make up: {error}", file=sys.stderr, flush=True)
        return 1
    finally:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        stack.stop()
        _say("Stopped: nothing is left running.")


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="up.py", description=__doc__)
    parser.add_argument("--port", type=int, default=8080, help="of the UI; 0 takes any free one (default: %(default)s)")
    parser.add_argument(
        "--emulator-port", type=int, default=8085, help="of the emulator; 0 takes any free one (default: %(default)s)"
    )
    parser.add_argument(
        "--catalog",
        action="append",
        default=[],
        metavar="ID=DIR",
        type=_catalog,
        help="mount a folder of GeoTIFFs in the emulator as an image collection; may be given many times",
    )
    parser.add_argument(
        "--no-emulator",
        action="store_true",
        help="use your own connection earth_engine_default, from the environment or the UI",
    )
    parser.add_argument(
        "--home", type=Path, default=ROOT / "build" / "up", help="where Airflow keeps its database, logs and files"
    )
    parser.add_argument("--dags", type=Path, default=ROOT / "dags", help="the folder of DAG files")
    parser.add_argument("--parallelism", type=int, default=8, help="how many tasks run at once (default: %(default)s)")
    options = parser.parse_args(arguments)
    options.home = options.home.resolve()
    return options


def _catalog(text: str) -> tuple[str, Path]:
    """Read ``ID=DIR``; a bare DIR is ``local/<its name>``, as on the emulator's own command line."""
    name, separator, folder = text.partition("=")
    path = Path(folder if separator else name).resolve()
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"the folder {path} does not exist")
    return (name if separator else f"local/{path.name}"), path


def _stack(options: argparse.Namespace) -> AirflowStack:
    emulator = EmulatorOptions(
        root=options.home / "earth-engine", port=options.emulator_port, catalogs=dict(options.catalog)
    )
    return AirflowStack(
        options.home,
        options.dags,
        emulator=None if options.no_emulator else emulator,
        port=options.port,
        parallelism=options.parallelism,
        environment={"AIRFLOW_EE_OUTPUT": str(options.home / "output")},
        report=_say,
    )


def _welcome(stack: AirflowStack, home: Path) -> str:
    """What somebody who has just typed ``make up`` wants to know."""
    missing = _wait_for_dags(stack)
    dags = sorted(dag["dag_id"] for dag in stack.dags())
    lines = [
        "",
        f"  Airflow          {stack.url}   (no login)",
        f"  Earth Engine     {stack.emulator_url or 'the connection earth_engine_default'}",
        f"  DAGs             {', '.join(dags) or 'none'}",
        f"  Tasks write to   {home / 'output'}",
    ]
    if stack.emulator_url:
        lines.append(f"  Exports land in  {home / 'earth-engine'}")
    lines.append(f"  Logs             {home / 'logs'}")
    lines += [f"  Not read yet     {path}" for path in missing]
    lines += [f"  Cannot be read   {path}\n{trace}" for path, trace in sorted(stack.import_errors().items())]
    return "\n".join([*lines, "", "Ctrl-C stops everything."])


def _wait_for_dags(stack: AirflowStack) -> list[str]:
    """Wait until each DAG file shows as DAGs or as an import error, and answer the files that do not."""
    files = {
        str(path.relative_to(folder))
        for folder in stack.dags_folders
        for path in folder.rglob("*.py")
        if _may_hold_dags(path)
    }
    deadline = time.monotonic() + PARSE_SECONDS
    while True:
        missing = files - {str(dag["relative_fileloc"]) for dag in stack.dags()} - set(stack.import_errors())
        if not missing or time.monotonic() > deadline:
            return sorted(missing)
        stack.check()
        time.sleep(0.5)


def _may_hold_dags(path: Path) -> bool:
    """Airflow's own safe mode: files that do not mention both words are not read."""
    content = path.read_bytes().lower()
    return b"dag" in content and b"airflow" in content


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    for each in SIGNALS:  # one is enough, and a second Ctrl-C must not cut the stop short
        signal.signal(each, signal.SIG_IGN)
    os.write(sys.stdout.fileno(), b"\nStopping ...\n")  # print() may be what was interrupted
    raise KeyboardInterrupt


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
