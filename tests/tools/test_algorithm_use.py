"""How much of what real scripts send is evaluated: measured, and never less than it was."""

import pytest

from tools import algorithm_use

# What was reached: to be raised with what is added.
ALGORITHMS = 871
SHARE, SHARE_WITHOUT_LEARNING = 0.995, 1.0
LIST = """
| # | algorithm | scripts | occurrences |
|--|--|--|--|
| 1 | Image.load | 6 | 10 |
| 2 | (custom function) | 5 | 5 |
| 3 | Image.nonsense | 3 | 4 |
| 4 | Image.classify | 1 | 1 |

## Greedy build order

1. Image.load, 2. Image.classify, 3. Image.nonsense
"""


@pytest.fixture
def use():
    if not algorithm_use.FREQUENCIES.is_file():
        pytest.skip(f"the frequency list is not beside the checkout: {algorithm_use.FREQUENCIES.name}")
    return algorithm_use.measure(algorithm_use.FREQUENCIES.read_text("utf-8"))


def test_no_less_is_evaluated_than_was(use):
    assert len(use.evaluated) >= ALGORITHMS
    assert use.share >= SHARE
    assert use.share_without_learning >= SHARE_WITHOUT_LEARNING


def test_a_list_is_weighed_by_scripts():
    use = algorithm_use.measure(LIST)
    assert (use.share, use.share_without_learning) == (0.6, pytest.approx(6 / 9))
    assert use.missing_in_order == ["Image.nonsense"]
    assert "60.00%" in str(use)


def test_a_file_that_is_no_list_is_refused():
    with pytest.raises(ValueError, match="no table of algorithms"):
        algorithm_use.measure("nothing")
