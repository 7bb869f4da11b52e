"""``python -m airflow_ee.emulator``: serve until told to stop; ``catalog`` makes a STAC catalog instead."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from types import FrameType

from airflow_ee.emulator.catalog.stac_command import make_catalog
from airflow_ee.emulator.clock import ShiftedClock
from airflow_ee.emulator.compute.service import CACHE_BYTES, ComputeOptions
from airflow_ee.emulator.deadline import INTERACTIVE_SECONDS
from airflow_ee.emulator.emulator import Emulator
from airflow_ee.emulator.errors import EmulatorError
from airflow_ee.emulator.functions import registry
from airflow_ee.emulator.http.plan import RANDOM_FAULTS
from airflow_ee.emulator.limits import MAX_PENDING
from airflow_ee.emulator.values.dates import parse_time


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = argparse.ArgumentParser(
        prog="python -m airflow_ee.emulator",
        description="A local Earth Engine.",
        epilog="'python -m airflow_ee.emulator catalog FOLDER' makes a STAC catalog of a folder of GeoTIFFs.",
    )
    options.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    options.add_argument("--port", type=int, default=8085, help="port; 0 takes a free one (default: %(default)s)")
    options.add_argument("--root", type=Path, help="folder for exports and state (default: one that is removed)")
    options.add_argument(
        "--catalog",
        action="append",
        default=[],
        metavar="ID=PATH",
        help="mount a folder of GeoTIFFs, or the JSON file of a STAC catalog; may be repeated",
    )
    options.add_argument(
        "--remote-files", action="store_true", help="STAC catalogs may name files at http and https addresses"
    )
    options.add_argument("--pending-seconds", type=float, default=0.2, help="how long operations wait")
    options.add_argument("--running-seconds", type=float, default=0.5, help="how long operations run at least")
    options.add_argument("--latency-seconds", type=float, default=0.0, help="added to every answer")
    options.add_argument("--bandwidth-bytes-per-second", type=float, help="of all answers together (default: no limit)")
    options.add_argument("--start-time", type=_moment, help="the time that the emulator's clock starts with")
    options.add_argument(
        "--duplicate-request-id",
        choices=["error", "same"],
        default="error",
        help="the answer to a repeated requestId (default: %(default)s)",
    )
    options.add_argument(
        "--unknown-asset-status",
        type=int,
        choices=[403, 404],
        default=404,
        help="the answer to an asset that is not there (default: %(default)s)",
    )
    options.add_argument("--storage-endpoint", metavar="URL", help="Cloud Storage API of gs:// exports and imports")
    options.add_argument("--seed", type=int, help="makes operation ids repeatable")
    options.add_argument("--list-functions", action="store_true", help="print the functions evaluated, and stop")
    _add_limits(options.add_argument_group("limits and credentials"))
    _add_chance(options.add_argument_group("faults by chance"))
    _add_computing(options.add_argument_group("computing"))
    return options


def _add_limits(options: argparse._ArgumentGroup) -> None:
    options.add_argument(
        "--max-concurrent-requests",
        type=int,
        default=40,
        help="open requests of a project and host, beyond it 429; 0 for no limit",
    )
    options.add_argument(
        "--requests-per-second",
        type=float,
        default=100,
        help="starts of a project in any second, beyond it 429; 0 for no limit",
    )
    options.add_argument(
        "--max-pending-operations",
        type=int,
        default=MAX_PENDING,
        help="operations of a project that may wait, beyond it 400 (default: %(default)s)",
    )
    options.add_argument("--high-volume-port", type=int, default=0, help="port of the second host; 0 takes a free one")
    options.add_argument(
        "--require-token", action="append", default=[], metavar="TOKEN[=SCOPE,SCOPE]", help="may be repeated"
    )
    options.add_argument("--require-key", action="append", default=[], metavar="KEY", help="API key; may be repeated")


def _add_chance(options: argparse._ArgumentGroup) -> None:
    options.add_argument("--fault-rate", type=float, default=0.0, help="share of calls that go wrong by chance")
    options.add_argument("--fault-seed", type=int, help="makes chance repeatable")
    options.add_argument(
        "--fault-kinds", nargs="+", default=list(RANDOM_FAULTS), metavar="FAULT", help="what goes wrong by chance"
    )


def _add_computing(options: argparse._ArgumentGroup) -> None:
    options.add_argument(
        "--processes", type=int, default=os.cpu_count(), help="compute pixels beside the server; 0: in its threads"
    )
    options.add_argument(
        "--cache-bytes", type=int, default=CACHE_BYTES, help="answers kept for the same request; 0 keeps none"
    )
    options.add_argument(
        "--timeout-seconds",
        type=float,
        default=INTERACTIVE_SECONDS,
        help="what one request may compute (default: %(default)s)",
    )
    options.add_argument(
        "--fixed-payload",
        action="store_true",
        help="for benchmarks: every request of one shape gets the first one's bytes",
    )


def _moment(text: str) -> datetime:
    try:
        return parse_time(text)
    except EmulatorError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code is 0 after a stop by signal, 2 when it could not start."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given[:1] == ["catalog"]:
        return make_catalog(given[1:])
    options = parser().parse_args(given)
    if options.list_functions:
        sys.stdout.write("\n".join(registry.names) + "\n")
        return 0
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    try:
        emulator = Emulator(
            host=options.host,
            port=options.port,
            root=options.root,
            catalogs=options.catalog,
            remote_files=options.remote_files,
            seed=options.seed,
            pending_seconds=options.pending_seconds,
            running_seconds=options.running_seconds,
            latency_seconds=options.latency_seconds,
            max_concurrent_requests=options.max_concurrent_requests or None,
            bandwidth_bytes_per_second=options.bandwidth_bytes_per_second,
            requests_per_second=options.requests_per_second or None,
            high_volume_port=options.high_volume_port,
            tokens=options.require_token,
            keys=options.require_key,
            fault_rate=options.fault_rate,
            fault_seed=options.fault_seed,
            fault_kinds=options.fault_kinds,
            clock=ShiftedClock(options.start_time),
            duplicate_request_id=options.duplicate_request_id,
            max_pending_operations=options.max_pending_operations,
            unknown_asset_status=options.unknown_asset_status,
            compute=ComputeOptions(
                options.processes, options.cache_bytes, options.timeout_seconds, fixed_payload=options.fixed_payload
            ),
            storage_endpoint=options.storage_endpoint,
        )
    except (OSError, ValueError, EmulatorError) as problem:
        sys.stderr.write(f"error: {problem}\n")
        return 2
    return serve(emulator)


STOP_SECONDS = 1.7
"""How long what still computes may hold up the end after a signal."""


def serve(emulator: Emulator) -> int:
    """Serve until SIGTERM or SIGINT."""
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    with emulator:
        sys.stdout.write(f"Earth Engine emulator listening on {emulator.url}\n")
        sys.stdout.flush()
        stop.wait()
        _limit_the_end(emulator)
    return 0


def _limit_the_end(emulator: Emulator) -> None:
    """A step in native code cannot be interrupted, and Python would wait for its thread."""

    def leave() -> None:
        emulator.abandon()
        os._exit(0)

    limit = threading.Timer(STOP_SECONDS, leave)
    limit.daemon = True
    limit.start()


if __name__ == "__main__":
    sys.exit(main())
