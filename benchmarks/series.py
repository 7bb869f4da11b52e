"""A series of many dates over one small grid where every answer takes 0.3 s: ours beside one getPixels call after another.

``python -m benchmarks.series URL`` is the latter: it lists the images, then reads one after the other over one connection.
"""

import io
import json
import sys
from functools import partial

import numpy as np
import requests

from benchmarks import scene
from benchmarks.measure import alternating, client_core, cost, in_own_process, median
from benchmarks.scale import scale
from benchmarks.serving import serving

LATENCY_SECONDS = 0.3
ROUNDS = 3
PUBLIC = "projects/earthengine-public/assets"


def main() -> None:
    """The calls one by one take the same time each time: once will do."""
    dates = scale().dates
    with serving(dates=dates) as server:
        server.set()
        run = partial(in_own_process, core=client_core())
        single = partial(run, "benchmarks.series", server.url)
        ours = partial(run, "benchmarks.ours", "series", server.url)
        for each in (single, ours):  # the server's answers are made here
            each()
        server.set(latency_seconds=LATENCY_SECONDS)
        figures = {"per_image": single(), **alternating({"ours": ours}, ROUNDS)}
        record = server.record()
    if record["computed"]:
        raise RuntimeError(f"{record['computed']} answers were not made before the runs that were measured")
    value = round(figures["per_image"]["wall_seconds"] / median(figures["ours"], "wall_seconds"), 2)
    details = {**figures, "dates": dates, "most_at_once": record["most_open"]}
    sys.stdout.write(json.dumps({"series.wall_vs_per_image": {"value": value, "details": details}}) + "\n")


def one_by_one(url: str) -> list[float]:
    """The mean of every date's first band."""
    means = []
    with requests.Session() as session:
        listed = session.get(f"{url}/v1/{PUBLIC}/{scene.SERIES_ID}:listAssets", params={"pageSize": 1000}, timeout=60)
        listed.raise_for_status()
        for image in listed.json()["assets"]:
            body = {"fileFormat": "NPY", "bandIds": list(scene.BANDS[:2]), "grid": scene.rest_grid(scene.SERIES_SIDE)}
            answer = session.post(f"{url}/v1/{image['name']}:getPixels", json=body, timeout=60)
            answer.raise_for_status()
            means.append(float(np.load(io.BytesIO(answer.content))[scene.BANDS[0]].mean()))
    return means


def measure_one_by_one(url: str) -> None:
    """Print JSON."""
    means: list[float] = []
    figures = cost(lambda: means.extend(one_by_one(url)))
    sys.stdout.write(json.dumps({**figures, "dates": len(means)}) + "\n")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure_one_by_one(sys.argv[1])
    else:
        main()
