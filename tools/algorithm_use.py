"""``python tools/algorithm_use.py [FREQUENCIES.md]``: how much of what real scripts send the emulator evaluates.

The frequencies are those of public scripts, counted by running them: a table ``| # | algorithm | scripts | ...``, and a numbered list, the
order in which algorithms complete scripts soonest. They lie beside the checkout.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

from airflow_ee.emulator.api.discovery import signatures
from airflow_ee.emulator.functions import registry

FREQUENCIES = Path(__file__).resolve().parents[2] / "shared" / "earth-engine" / "algorithm-frequency.md"
LEARNING = re.compile(
    r"(Classifier|Clusterer|TemporalSegmentation|Model)\.|Image\.(classify|cluster)$|FeatureCollection\.(classify|cluster)$"
)
"""Machine learning, which is not evaluated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """How much is evaluated.

    >>> use = Use(evaluated={"Image.add"}, every={"Image.add", "Image.cat"}, scripts={"Image.add": 3, "Classifier.train": 1}, order=["Image.add"])
    >>> use.share, use.share_without_learning, use.missing_in_order
    (0.75, 1.0, [])
    """

    evaluated: AbstractSet[str]
    every: AbstractSet[str]
    """Algorithms that Google's client knows."""
    scripts: Mapping[str, int]
    """In how many scripts an algorithm is."""
    order: Sequence[str]

    @property
    def share(self) -> float:
        """Of the frequency list, weighted by scripts."""
        return self._share(self.scripts)

    @property
    def share_without_learning(self) -> float:
        """The same, machine learning left out."""
        return self._share({name: count for name, count in self.scripts.items() if not LEARNING.match(name)})

    @property
    def missing_in_order(self) -> list[str]:
        """What is not evaluated of the order, machine learning left out."""
        return [name for name in self.order if name not in self.evaluated and not LEARNING.match(name)]

    def _share(self, scripts: Mapping[str, int]) -> float:
        return sum(count for name, count in scripts.items() if name in self.evaluated) / sum(scripts.values())

    def __str__(self) -> str:
        of_order = sum(name in self.evaluated for name in self.order)
        return (
            f"{len(self.evaluated & self.every)} of {len(self.every)} algorithms are evaluated.\n"
            f"Of the {len(self.scripts)} that are used most, weighted by scripts: {self.share:.2%}, "
            f"without machine learning {self.share_without_learning:.2%}.\n"
            f"Of the {len(self.order)} that complete scripts soonest: {of_order}; missing besides machine learning: "
            f"{', '.join(self.missing_in_order) or 'none'}."
        )


def measure(frequencies: str) -> Use:
    """Hold the emulator's functions against a frequency list."""
    rows = re.findall(r"^\| *\d+ *\| *([\w.]+) *\| *(\d+) *\|", frequencies, re.MULTILINE)
    order = re.findall(r"\b\d+\. ([A-Za-z][\w.]*)", frequencies.partition("## Greedy build order")[2])
    if not rows or not order:
        raise ValueError("the frequency list has no table of algorithms, or no greedy build order")
    return Use(
        evaluated=frozenset(registry.names),
        every=frozenset(each["name"].removeprefix("algorithms/") for each in signatures()),
        scripts={name: int(count) for name, count in rows},
        order=order,
    )


def main(arguments: Sequence[str]) -> int:
    """Print what is evaluated."""
    path = Path(arguments[0]) if arguments else FREQUENCIES
    sys.stdout.write(f"{measure(path.read_text(encoding='utf-8'))}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
