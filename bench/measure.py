"""Measuring: CPU seconds and peak memory of a process of its own."""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any


def in_own_process(module: str, *arguments: str) -> dict[str, Any]:
    """The JSON that ``python -m module arguments`` prints."""
    done = subprocess.run([sys.executable, "-m", module, *arguments], check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def cost(work: Callable[[], Any]) -> dict[str, float]:
    """CPU and wall seconds of a call in this process, and the most memory that this process ever had."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"cpu_seconds": round(cpu, 3), "wall_seconds": round(wall, 3), "peak_megabytes": round(peak)}
