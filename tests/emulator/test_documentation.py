"""The pages under `docs` say what the code does: flags, faults, properties and links are held against it."""

import argparse
import re
from pathlib import Path
from typing import get_args

import pytest

from airflow_ee import emulator as package
from airflow_ee.emulator import Emulator, EmulatorError
from airflow_ee.emulator.__main__ import parser
from airflow_ee.emulator.api.reference import methods
from airflow_ee.emulator.http.faults import Plain, parse_fault
from airflow_ee.emulator.http.plan import RANDOM_FAULTS
from airflow_ee.emulator.http.refusals import REFUSALS

CHECKOUT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "docs/emulator.md", "docs/emulator-choices.md", "docs/simulation.md")
SPOKEN = {"--processes": "one for each core", "--cache-bytes": "256 MiB"}
"""Defaults that the table writes in words."""


def page(name):
    return (CHECKOUT / name).read_text("utf-8")


def rows(heading, columns):
    """The rows of the table whose head begins with a word."""
    table = page("docs/emulator.md").split(f"\n| {heading} |", 1)[1].split("\n\n", 1)[0]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    assert all(len(row) == columns for row in cells), cells
    return cells


def flags(action):
    return [name for name in action.option_strings if name.startswith("--") and name != "--help"]


def test_the_table_has_every_flag_with_its_default():
    told = {name: default for names, default, _ in rows("flag", 3) for name in re.findall(r"--[a-z-]+", names)}
    actions = {name: action for action in parser()._actions for name in flags(action)}
    assert set(told) == set(actions)
    for name, action in actions.items():
        if isinstance(action, argparse._StoreTrueAction) or action.default in (None, []) or action.nargs:
            continue
        default = f"{action.default:g}" if isinstance(action.default, float) else str(action.default)
        assert SPOKEN.get(name, default) in told[name], name
    assert parser().parse_args([]).cache_bytes == 256 * 2**20


def test_every_fault_of_the_table_can_be_scripted():
    for cell, _ in rows("fault", 2):
        for text in re.findall(r"`([^`]+)`", cell):
            assert parse_fault(text).text == text


def test_the_table_has_every_fault():
    told = {text for cell, _ in rows("fault", 2) for text in re.findall(r"`([^`]+)`", cell)}
    known = {*get_args(Plain), *(" ".join(filter(None, key)) for key in REFUSALS), *RANDOM_FAULTS}
    assert known - told == set()


@pytest.mark.parametrize(
    "text",
    ["503 hmtl", "429 qouta", "403 permission=", "404 x", "drop it", "delay=-1", "delay=inf", "fail code=NOPE x"],
)
def test_a_fault_with_a_slip_of_the_pen_is_refused(text):
    with pytest.raises(EmulatorError, match="fault"):
        parse_fault(text)


def test_methods_that_are_told_exist():
    told = page("docs/emulator.md").split("Methods: ", 1)[1].split(" and so on", 1)[0]
    assert set(re.findall(r"`([^`]+)`", told)) <= {method.name for method in methods()}


def test_properties_and_methods_of_the_emulator_are_told():
    section = page("docs/emulator.md").split("\n## In tests", 1)[1].split("\n## ", 1)[0]
    told = set(re.findall(r"`([a-z_]+)(?:\([^`]*\))?`", "\n".join(re.findall(r"^\| (.*?) \|", section, re.MULTILINE))))
    assert {"root", *(name for name in vars(Emulator) if not name.startswith("_"))} == told


def test_exported_names_are_those_of_the_package():
    assert sorted(package.__all__) == sorted(
        name for name, value in vars(package).items() if isinstance(value, type) and not name.startswith("_")
    )
    assert all(name in package.__doc__ for name in package.__all__)


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name):
    for target in re.findall(r"\]\((?!http)([^)\s]+)\)", page(name)):
        path, _, anchor = target.partition("#")
        linked = (CHECKOUT / name).parent / path if path else CHECKOUT / name
        assert linked.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.+)$", linked.read_text("utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}, target
