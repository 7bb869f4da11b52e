"""What was found, held against its goal; ``python -m benchmarks.results`` prints it, with ``--write`` puts it into the README."""

import importlib.metadata
import json
import os
import platform
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.engines import ENGINES
from benchmarks.measure import ROOT
from benchmarks.scale import scale

RESULTS = ROOT / "build" / "bench" / "results.json"
GOALS: dict[str, tuple[str, float]] = {
    "floor.over_shared": ("<=", 1.05),
    "pixels.cpu_s_per_gb_over_floor": ("<=", 1.5),
    "pixels.cpu_vs_xee": (">=", 7.0),
    "pixels.cpu_vs_xee_best": (">=", 4.5),
    "pixels.cpu_vs_geedim": (">=", 4.5),
    "pixels.cpu_vs_geedim_best": (">=", 2.2),
    "pixels.wall_vs_xee_latency": (">=", 30.0),
    "pixels.wall_vs_geedim_latency": (">=", 5.0),
    "pixels.latency_efficiency": (">=", 0.8),
    "pixels.peak_rss_mb": ("<=", 550.0),
    "pixels.rss_growth": ("<=", 1.1),
    "pixels.zarr_cpu_over_parts": ("<=", 1.3),
    "pixels.geotiff_cpu_over_parts": ("<=", 1.3),
    "patches.rate_over_ideal": (">=", 0.85),
    "patches.cpu_vs_threadpool": ("<=", 0.6),
    "series.wall_vs_per_image": (">=", 18.0),
    # 1,000 operations are two pages; one request more for what a list does not show yet.
    "deferred.requests_per_poll": ("<=", 3.0),
    "deferred.requests_over_pages": ("<=", 1.1),
    # Two seconds between looks, of which nothing much has to be waited for twice.
    "deferred.seconds_to_event": ("<=", 4.0),
    "deferred.triggerer_cpu_share": ("<=", 0.25),
    "quota.rate_over_limit": (">=", 0.9),
    "quota.rate_over_hidden_limit": (">=", 0.75),
    # 0.8 of two workers, 0.7 of four.
    **{f"engines.{engine}_speedup_2": (">=", 1.6) for engine in ENGINES},
    **{f"engines.{engine}_speedup_4": (">=", 2.8) for engine in ENGINES},
    **{f"engines.{engine}_over_threads": ("<=", 1.25) for engine in ENGINES},
    "functions.cpu_over_numpy": ("<=", 2.0),
    "engines.shared_quota_rate": (">=", 0.85),
    "engines.shared_quota_refusals": ("<=", 0.0),
}
PACKAGES = (
    "numpy",
    "requests",
    "urllib3",
    "rasterio",
    "zarr",
    "numcodecs",
    "earthengine-api",
    "xarray",
    "xee",
    "geedim",
)


def judged(results: dict[str, Any]) -> dict[str, Any]:
    """Results with their goals, whether they hold, and when they were found."""
    when = datetime.now(UTC).isoformat(timespec="seconds")
    found = {}
    for key, result in results.items():
        if key not in GOALS:
            found[key] = {**result, "when": when}
            continue
        sense, goal = GOALS[key]
        value = result["value"]
        holds = value is not None and (value <= goal if sense == "<=" else value >= goal)
        found[key] = {
            "value": value,
            "goal": f"{sense} {goal:g}",
            "holds": holds,
            "when": when,
            "details": result["details"],
        }
    return found


def merged(found: dict[str, Any]) -> dict[str, Any]:
    """With what earlier runs of the same scale found for other keys."""
    if not RESULTS.is_file():
        return found
    earlier = json.loads(RESULTS.read_text(encoding="utf-8"))
    return {**earlier["results"], **found} if earlier.get("scale") == scale().name else found


def machine() -> dict[str, Any]:
    """Where this runs."""
    model = None
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = re.search(r"model name\s*: (.+)", cpuinfo.read_text(encoding="utf-8"))
        model = names[1] if names else None
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": model or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(memory / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def summary(results: dict[str, Any]) -> str:
    """A line for each key."""
    lines = []
    for key, result in results.items():
        holds = {True: "holds", False: "MISSED"}[result["holds"]]
        shown = (
            f"{result['value']} ({result['goal']})"
            if key in GOALS
            else json.dumps({k: v for k, v in result.items() if k != "when"})
        )
        lines.append(f"  {key}: {shown} {holds}\n")
    return "".join(lines)


def table(content: dict[str, Any]) -> str:
    """Markdown."""
    rows = [
        f"| `{key}` | {each['value']} | {each['goal']} | {'yes' if each['holds'] else 'no'} |"
        for key, each in content["results"].items()
        if key in GOALS
    ]
    return "\n".join(["| key | value | goal | holds |", "|---|---|---|---|", *rows]) + "\n"


def shown(content: dict[str, Any]) -> str:
    """Where and with what, and the table."""
    where = content["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in where["versions"].items())
    place = f"{where['cores']} cores of {where['cpu']}, {where['memory_gb']} GB, {where['system'].split('-')[0]}, Python {where['python']}"
    return f"{where['when'][:10]}, scale {content['scale']}: {place}; {versions}.\n\n{table(content)}"


def write_readme(text: str) -> None:
    """Put the results between the README's two marks."""
    readme = Path(__file__).with_name("README.md")
    before, begin, rest = readme.read_text(encoding="utf-8").partition("<!-- results -->\n")
    _, end, after = rest.partition("<!-- /results -->")
    readme.write_text(f"{before}{begin}{text}{end}{after}", encoding="utf-8")


def main() -> None:
    """Print, or with ``--write`` put into the README."""
    text = shown(json.loads(RESULTS.read_text(encoding="utf-8")))
    if sys.argv[1:] == ["--write"]:
        write_readme(text)
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
