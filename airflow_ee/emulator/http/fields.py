"""The ``fields`` query parameter: which parts of a JSON answer to send."""

from __future__ import annotations

from typing import Any

from airflow_ee.emulator.errors import invalid

Tree = dict[str, "Tree"]


def select_fields(body: Any, mask: str) -> Any:
    """Only the named parts of an answer.

    >>> select_fields({"a": 1, "b": [{"c": 2, "d": 3}]}, "b/c")
    {'b': [{'c': 2}]}
    """
    return _cut(body, _parse(mask))


def _parse(mask: str) -> Tree:
    """``a,b(c,d/e)`` as a tree, with a stack for the parentheses."""
    root: Tree = {}
    stack, here, word = [root], root, ""
    for letter in mask + ",":
        if letter in "/.(":
            here, word = here.setdefault(word.strip(), {}), ""
            if letter == "(":
                stack.append(here)
        elif letter in ",)":
            if word.strip():
                here.setdefault(word.strip(), {})
            if letter == ")" and len(stack) > 1:
                stack.pop()
            here, word = stack[-1], ""
        else:
            word += letter
    if len(stack) != 1:
        raise invalid(f"Invalid field mask: {mask}")
    return root


def _cut(value: Any, tree: Tree) -> Any:
    if not tree or "*" in tree:
        return value
    if isinstance(value, list):
        return [_cut(each, tree) for each in value]
    if isinstance(value, dict):
        return {name: _cut(each, tree[name]) for name, each in value.items() if name in tree}
    return value
