"""Results are held against their goals, and told as a table."""

import re
from pathlib import Path

import pytest

from benchmarks import results
from benchmarks.__main__ import CASES, main
from benchmarks.threadpool import example_type, fill_bytes, fill_floats, masked_crc

HERE = Path(results.__file__).parent


@pytest.mark.parametrize(
    ("key", "value", "holds"),
    [
        ("pixels.cpu_s_per_gb_over_floor", 1.5, True),
        ("pixels.cpu_s_per_gb_over_floor", 1.501, False),
        ("pixels.cpu_vs_xee", 7.0, True),
        ("pixels.cpu_vs_xee", 6.9, False),
        ("quota.rate_over_limit", None, False),
    ],
)
def test_a_value_holds_up_to_its_goal_and_not_beyond(key, value, holds):
    found = results.judged({key: {"value": value, "details": {}}})
    assert found[key]["holds"] is holds


def test_the_emulators_own_cases_keep_their_own_limits():
    found = results.judged({"fixed_payload": {"limit": 2.0, "holds": True}})
    assert found["fixed_payload"]["limit"] == 2.0
    assert "holds" in results.summary(found)


def test_the_table_has_a_row_for_each_key():
    content = {"results": results.judged({"pixels.cpu_vs_xee": {"value": 8.1, "details": {}}})}
    assert results.table(content).splitlines()[2:] == ["| `pixels.cpu_vs_xee` | 8.1 | >= 7 | yes |"]


def test_every_case_is_a_module_and_every_goal_is_explained():
    assert all((HERE / f"{case}.py").is_file() for case in CASES)
    text = (HERE / "README.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"`([a-z_]+\.[a-z_0-9]+)`", text.split("## What is compared", 1)[1]))
    assert set(results.GOALS) - explained <= {"pixels.wall_vs_geedim_latency"}  # named with xee's


def test_an_unknown_case_is_refused_by_name(capsys):
    assert main(["nonsense"]) == 2
    assert "nonsense" in capsys.readouterr().err


def test_the_examples_of_the_thread_pool_read_back():
    import numpy as np

    band = np.arange(6, dtype="<f4").reshape(2, 3)
    made = example_type()()
    fill_floats(made.features.feature["B2"], band)
    fill_bytes(made.features.feature["B3"], band)
    read = example_type()()
    read.ParseFromString(made.SerializeToString())
    assert list(read.features.feature["B2"].float_list.value) == [0, 1, 2, 3, 4, 5]
    assert read.features.feature["B3"].bytes_list.value[0] == band.tobytes()


def test_the_checksum_of_records_is_the_emulators():
    from airflow_ee.emulator.codecs import crc32c

    assert masked_crc(b"123456789") == crc32c.masked_crc32c(b"123456789").to_bytes(4, "little")
