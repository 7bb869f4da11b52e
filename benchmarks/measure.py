"""Measuring: CPU seconds, wall seconds and peak memory of a process of its own, on a core of its own."""

import json
import mmap
import os
import re
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def client_core() -> int:
    """The core that what is measured runs on."""
    return min(os.sched_getaffinity(0))


def server_core() -> int:
    """The core that its server runs on; the same one on a machine that has no other."""
    return max(os.sched_getaffinity(0))


def in_own_process(module: str, *arguments: str, core: int | None = None) -> dict[str, Any]:
    """The JSON that ``python -m module arguments`` prints.

    Parameters
    ----------
    core
        Where it runs; None: wherever this process may.
    """
    command = [sys.executable, "-m", module, *arguments]
    with on_core(core):
        started = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)
    output, _ = started.communicate()
    if started.returncode:
        raise subprocess.CalledProcessError(started.returncode, command)
    return json.loads(output.splitlines()[-1])


@contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """Processes that are started within run on this core; None: wherever this one may."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, before if core is None else {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cost(work: Callable[[], Any], *, memory_bytes: int = 0) -> dict[str, float]:
    """CPU and wall seconds of a call in this process and those it waits for, and the most memory that this process had.

    Parameters
    ----------
    memory_bytes
        What the work will write to, in memory and in the page cache: so much is seen to beforehand, see :func:`claim_memory`.
    """
    claim_memory(memory_bytes)
    wall, cpu = time.perf_counter(), cpu_seconds()
    work()
    wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
    return {"cpu_seconds": round(cpu, 3), "wall_seconds": round(wall, 3), "peak_megabytes": round(peak_megabytes())}


def claim_memory(size: int) -> None:
    """Have a child write to so much memory and end.

    A virtual machine may give free memory back to its host, and get it again page by page at up to two CPU seconds a GB: more than reading
    pixels costs, and another time each time. What a process has just left is still there, and costs its zeros only.
    """
    if not size:
        return
    child = os.fork()
    if child == 0:
        try:
            # Private and in huge pages, as numpy's large arrays are: pages of another kind are not what an array gets next.
            memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            memory.madvise(mmap.MADV_HUGEPAGE)
            for start in range(0, size, mmap.PAGESIZE):
                memory[start] = 1
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def cpu_seconds() -> float:
    """Of this process and of its children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def peak_megabytes() -> float:
    """The most memory that this program had: ``ru_maxrss`` would also count what started it."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    if found is None:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return int(found[1]) / 1024


def alternating(runs: Mapping[str, Callable[[], dict[str, Any]]], rounds: int) -> dict[str, list[dict[str, Any]]]:
    """Figures of runs that take turns, so that whatever else the machine does meets all of them."""
    figures: dict[str, list[dict[str, Any]]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            figures[name].append(run())
    return figures


def median(figures: Iterable[Mapping[str, Any]], name: str) -> float:
    """The median of one figure over runs."""
    return statistics.median(each[name] for each in figures)


def ratio_of_pairs(upper: list[dict[str, Any]], lower: list[dict[str, Any]], name: str) -> float:
    """The median over pairs of one figure's ratio."""
    return round(statistics.median(one[name] / other[name] for one, other in zip(upper, lower, strict=True)), 3)
