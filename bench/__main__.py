"""``python -m bench [CASE ...]``: run the cases one after the other and write build/bench/results.json."""

import json
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "build" / "bench" / "results.json"
CASES = ("median_composite", "fixed_payload")


def main(names: list[str]) -> int:
    """Run the named cases, all without names; a case that fails ends the run."""
    unknown = set(names) - set(CASES)
    if unknown:
        sys.stderr.write(f"no such case: {', '.join(sorted(unknown))}; there are {', '.join(CASES)}\n")
        return 2
    results = {"when": datetime.now(UTC).isoformat(timespec="seconds"), "python": platform.python_version()}
    for name in names or CASES:
        results[name] = run(name)
        sys.stdout.write(f"{name}: {json.dumps(results[name])}\n")
        sys.stdout.flush()
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    return 0


def run(name: str) -> dict:
    """The figures of one case."""
    done = subprocess.run([sys.executable, "-m", f"bench.{name}"], cwd=ROOT, check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
