"""``python -m airflow_ee.emulator``: serve until told to stop."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from airflow_ee.emulator.catalog.mounts import MountError
from airflow_ee.emulator.compute.service import CACHE_BYTES, ComputeOptions
from airflow_ee.emulator.emulator import Emulator
from airflow_ee.emulator.functions import registry


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = argparse.ArgumentParser(prog="python -m airflow_ee.emulator", description="A local Earth Engine.")
    options.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    options.add_argument("--port", type=int, default=8085, help="port; 0 takes a free one (default: %(default)s)")
    options.add_argument("--root", type=Path, help="folder for exports and state (default: one that is removed)")
    options.add_argument(
        "--catalog", action="append", default=[], metavar="ID=DIR", help="mount a folder of GeoTIFFs; may be repeated"
    )
    options.add_argument("--pending-seconds", type=float, default=0.2, help="how long operations wait")
    options.add_argument("--running-seconds", type=float, default=0.5, help="how long operations run at least")
    options.add_argument("--latency-seconds", type=float, default=0.0, help="added to every answer")
    options.add_argument("--max-concurrent-requests", type=int, default=40, help="beyond it 429; 0 for no limit")
    options.add_argument("--requests-per-second", type=float, help="beyond it 429 (default: no limit)")
    options.add_argument("--duplicate-request-id", choices=["error", "same"], default="error")
    options.add_argument("--unknown-asset-status", type=int, choices=[403, 404], default=404)
    options.add_argument(
        "--processes", type=int, default=os.cpu_count(), help="compute pixels beside the server; 0: in its threads"
    )
    options.add_argument(
        "--cache-bytes", type=int, default=CACHE_BYTES, help="answers kept for the same request; 0 keeps none"
    )
    options.add_argument(
        "--fixed-payload",
        action="store_true",
        help="for benchmarks: every request of one shape gets the first one's bytes",
    )
    options.add_argument("--seed", type=int, help="makes operation ids repeatable")
    options.add_argument("--list-functions", action="store_true", help="print the functions evaluated, and stop")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code is 0 after a stop by signal, 2 when it could not start."""
    options = parser().parse_args(arguments)
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
            seed=options.seed,
            pending_seconds=options.pending_seconds,
            running_seconds=options.running_seconds,
            latency_seconds=options.latency_seconds,
            max_concurrent_requests=options.max_concurrent_requests or None,
            requests_per_second=options.requests_per_second,
            duplicate_request_id=options.duplicate_request_id,
            unknown_asset_status=options.unknown_asset_status,
            compute=ComputeOptions(options.processes, options.cache_bytes, options.fixed_payload),
        )
    except (MountError, OSError) as problem:
        sys.stderr.write(f"error: {problem}\n")
        return 2
    return serve(emulator)


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
    return 0


if __name__ == "__main__":
    sys.exit(main())
