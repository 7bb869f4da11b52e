"""What a watch remembers: every image of the time that it looks at, in few bytes, whatever order they came in."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_ee.core.resources import Asset
from airflow_ee.core.told_images import ToldImages

JUNE = datetime(2024, 6, 1, tzinfo=UTC)


def image(number, *, day=0, updated=0):
    start, update = JUNE + timedelta(days=day), JUNE + timedelta(days=updated)
    identity = f"c/i{number}"
    return Asset(
        name=f"projects/p/assets/{identity}",
        id=identity,
        type="IMAGE",
        start_time=start,
        update_time=update.isoformat(),
    )


numbers = st.sets(st.integers(0, 40))


@given(finished=numbers, begun=numbers, seen=numbers)
def test_what_was_not_finished_is_untold_and_what_was_begun_is_uncertain_in_the_next_process(finished, begun, seen):
    told = ToldImages()
    told.begin([image(number) for number in begun | finished])
    told.finish(image(number) for number in finished)
    again = ToldImages.from_json(json.loads(json.dumps(told.to_json())))
    assert {item.id for item in again.untold(map(image, seen))} == {image(number).id for number in seen - finished}
    for number in seen:
        assert not told.is_uncertain(image(number)), "this process knows what it began itself"
        assert again.is_uncertain(image(number)) is (number in begun - finished)
    assert again.to_json() == told.to_json()


def test_images_are_told_in_the_order_in_which_they_appeared():
    late, early, same = image(1, day=-40, updated=9), image(2, day=5, updated=3), image(3, day=1, updated=9)
    assert ToldImages().untold([same, late, early]) == [early, late, same]


def test_an_image_whose_time_is_corrected_is_the_same_image():
    told = ToldImages()
    told.finish([image(1, day=3)])
    assert told.untold([image(1, day=9, updated=50)]) == []
    revisions = ToldImages.from_json(told.to_json(), revisions=True)
    revisions.finish([image(1)])
    assert revisions.untold([image(1, day=9)]) == []
    assert revisions.untold([image(1, updated=1)]) == [image(1, updated=1)]


def test_only_what_is_looked_for_no_more_is_forgotten():
    told = ToldImages()
    told.finish([image(1, day=0), image(2, day=20)])
    told.begin([image(3, day=0), image(4, day=20)])
    told.forget_before(JUNE + timedelta(days=30))
    assert told.untold([image(1, day=0), image(2, day=20)]) == []
    told.forget_before(JUNE + timedelta(days=31))
    assert told.untold([image(1, day=0), image(2, day=20)]) == [image(1, day=0)]
    assert len(told.to_json()["telling"]) == 1


def test_seven_thousand_images_fit_what_airflow_wants_of_a_state():
    told = ToldImages()
    told.finish(image(number, day=number % 60) for number in range(7000))
    assert len(told.untold(image(number) for number in range(7100))) == 100
    assert len(json.dumps(told.to_json())) < 65_535


def test_what_something_else_wrote_is_refused():
    with pytest.raises(ValueError, match="expected what a watch remembers"):
        ToldImages.from_json({"cursor": 3})
