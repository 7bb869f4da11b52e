"""What a campaign of many rounds has behind it, so that one that was stopped goes on from there."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SEED = os.environ.get("AIRFLOW_EE_CAMPAIGN_SEED", "1")
"""What the rounds' chances are drawn from, with their numbers."""


def rounds(variable: str, short: int) -> range:
    """Numbers of rounds from the environment: ``160`` is the first so many, ``17-17`` one."""
    first, _, last = os.environ.get(variable, str(short)).rpartition("-")
    return range(int(first or 1), int(last) + 1)


@dataclass(slots=True)
class Notes:
    """Which rounds have passed, a line of JSON for each."""

    path: Path | None
    passed: set[tuple[str, str, int]] = field(default_factory=set)
    """Seed, campaign and number."""

    @classmethod
    def asked_for(cls) -> Notes:
        """Those in the file that the environment names, if it names one."""
        path = Path(os.environ["AIRFLOW_EE_CAMPAIGN"]) if "AIRFLOW_EE_CAMPAIGN" in os.environ else None
        lines = path.read_text().splitlines() if path is not None and path.is_file() else []
        found = [json.loads(line) for line in lines]
        return cls(path, {(line["seed"], line["campaign"], line["round"]) for line in found})

    def add(self, campaign: str, number: int, **figures: Any) -> None:
        """Note a round that has passed."""
        line = json.dumps({"seed": SEED, "campaign": campaign, "round": number, **figures})
        print(line)
        if self.path is not None:
            with self.path.open("a") as file:
                file.write(line + "\n")
