"""Our floor beside another one, for the same bytes: ``../shared/bench/floor.py``, where it is beside this checkout."""

import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.measure import ROOT, alternating, client_core, in_own_process, on_core, ratio_of_pairs
from benchmarks.scale import scale
from benchmarks.scene import image_id, rest_grid
from benchmarks.serving import serving

SHARED = ROOT.parent / "shared" / "bench" / "floor.py"
BANDS, TILE, REQUESTS = 4, 1024, 100


def main() -> None:
    """One request without masks, a hundred times, into eight places in memory."""
    if not SHARED.is_file():
        sys.stdout.write(json.dumps({"floor.over_shared": {"value": None, "details": {"missing": SHARED.name}}}) + "\n")
        return
    side = 2048
    body = {"fileFormat": "NPY", "grid": rest_grid(side, rows=TILE, cols=TILE)}
    path = f"/v1/projects/earthengine-public/assets/{image_id(BANDS, side)}:getPixels"
    with serving((BANDS, side)) as server, tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "requests.json"
        journal.write_text(json.dumps([{"path": path, "body": body}] * REQUESTS), encoding="utf-8")
        ours = partial(
            in_own_process, "benchmarks.floor", server.url, str(journal), "--keep-places", "8", core=client_core()
        )
        ours()
        rounds = alternating({"shared": lambda: shared(server.url + path, body), "ours": ours}, scale().pairs)
    value = ratio_of_pairs(rounds["ours"], rounds["shared"], "cpu_seconds")
    sys.stdout.write(json.dumps({"floor.over_shared": {"value": value, "details": rounds}}) + "\n")


def shared(url: str, body: dict[str, Any]) -> dict[str, Any]:
    """The other floor's figures, by our names."""
    command = [sys.executable, str(SHARED), url, "--body", json.dumps(body), "--requests", str(REQUESTS)]
    with on_core(client_core()):
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    figures = json.loads(done.stdout)
    return {
        "cpu_seconds": figures["cpu_s"],
        "wall_seconds": figures["wall_s"],
        "peak_megabytes": figures["peak_rss_mb"],
    }


if __name__ == "__main__":
    main()
