"""A benchmark server in a process of its own, on a core of its own, and what a case asks of it."""

import json
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.measure import ROOT, on_core, server_core


class Serving:
    """A running server."""

    def __init__(self, url: str) -> None:
        self.url = url

    def set(self, **conditions: Any) -> None:
        """Set conditions by their names in :class:`benchmarks.server.Conditions`, all others back; forget what happened."""
        self._ask("/bench/conditions", conditions)

    def record(self) -> dict[str, Any]:
        """What has happened since."""
        return self._ask("/bench/record")

    def journal(self) -> list[dict[str, Any]]:
        """The requests for pixels since: when they came, path and body."""
        return self._ask("/bench/journal")

    def _ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(self.url + path, data), timeout=60) as answer:
            return json.load(answer)


@contextmanager
def serving(*images: tuple[int, int], dates: int = 0) -> Iterator[Serving]:
    """A server of images of (bands, side) and perhaps of a series, until the block ends."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        command = [sys.executable, "-m", "benchmarks.server", folder, "--dates", str(dates)]
        for bands, side in images:
            command += ["--image", f"{bands}x{side}"]
        with on_core(server_core()):
            server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            yield Serving(server.stdout.readline().strip())
        finally:
            server.stdin.close()
            server.wait(timeout=60)
            server.stdout.close()
