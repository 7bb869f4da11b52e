"""``python tools/algorithms.py``: write ``docs/algorithms.md``, the table of algorithms that the emulator evaluates."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from airflow_ee.emulator.api.discovery import signatures
from airflow_ee.emulator.functions import registry

TABLE = Path(__file__).resolve().parents[1] / "docs" / "algorithms.md"

_HEAD = """# Algorithms: evaluated or not

Made by `python tools/algorithms.py` from the signatures that come with Google's Python client and the functions of the emulator: do not edit.
What is not evaluated is refused with its name (400, `X is not emulated`); so is an argument that would change a result and is not evaluated.
"""


def main() -> int:
    """Write the table."""
    TABLE.write_text(table(), encoding="utf-8")
    return 0


def table() -> str:
    """The document as it should be."""
    evaluated = set(registry.names)
    families = _families(sorted(each["name"].removeprefix("algorithms/") for each in signatures()))
    lines = [_HEAD, *_summary(families, evaluated)]
    for family, names in families.items():
        lines += ["", f"## {family}", "", "| algorithm | evaluated |", "|---|---|"]
        lines += [f"| `{name}` | {'yes' if name in evaluated else 'no'} |" for name in names]
    return "\n".join([*lines, ""])


def _families(names: Sequence[str]) -> dict[str, list[str]]:
    """Names by what stands before their dot; those that are alone there together at the end."""
    found: dict[str, list[str]] = defaultdict(list)
    for name in names:
        found[name.partition(".")[0]].append(name)
    alone = [members[0] for members in found.values() if len(members) == 1]
    return {family: members for family, members in sorted(found.items()) if len(members) > 1} | {"others": alone}


def _summary(families: Mapping[str, list[str]], evaluated: set[str]) -> Iterator[str]:
    every = [name for names in families.values() for name in names]
    yield from ["| family | evaluated | of |", "|---|---|---|"]
    yield f"| **all** | **{_count(every, evaluated)}** | **{len(every)}** |"
    for family, names in families.items():
        yield f"| [{family}](#{family.lower()}) | {_count(names, evaluated)} | {len(names)} |"


def _count(names: Sequence[str], evaluated: set[str]) -> int:
    return sum(name in evaluated for name in names)


if __name__ == "__main__":
    sys.exit(main())
