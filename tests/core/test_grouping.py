"""Images of one pass are one row, whatever UTC's midnight does; runs one after the other share out the days."""

import itertools
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_ee.core.grouping import day_hours, group_images, listing_interval, local_date, newest_baselines
from airflow_ee.core.region import Region
from airflow_ee.core.resources import Asset

JUNE = datetime(2023, 6, 1, tzinfo=UTC), datetime(2023, 7, 1, tzinfo=UTC)


def image(moment, name=None, updated="2023-07-01T00:00:00Z", **properties):
    index = name or f"{moment:%Y%m%dT%H%M%S}"
    return Asset(
        name=f"projects/p/assets/c/{index}", id=f"c/{index}", type="IMAGE", start_time=moment, update_time=updated,
        properties=properties,
    )  # fmt: skip


moments = st.datetimes(datetime(2020, 1, 1), datetime(2025, 1, 1)).map(lambda moment: moment.replace(tzinfo=UTC))


def test_a_pass_over_the_pacific_is_one_day_although_utc_has_two():
    hours = day_hours(Region.parse([178, -20, 179, -19]))
    first, second = datetime(2023, 6, 1, 23, 59, 50, tzinfo=UTC), datetime(2023, 6, 2, 0, 0, 10, tzinfo=UTC)
    (group,) = group_images([image(second), image(first)], by="day", interval=JUNE, hours=hours)
    assert hours == 12
    assert group.key == "2023-06-02"
    assert (group.image_start, group.image_end) == (first, second)
    assert (group.interval_start, group.interval_end) == (
        datetime(2023, 6, 1, 12, tzinfo=UTC),
        datetime(2023, 6, 2, 12, tzinfo=UTC),
    )
    assert local_date(first, hours) == local_date(second, hours) == date(2023, 6, 2)


@given(st.lists(moments, min_size=3, max_size=6, unique=True), st.integers(-12, 12), moments)
def test_runs_one_after_the_other_share_out_the_days(borders, hours, moment):
    """Every moment is looked for by exactly one of the runs, and with it all of its day."""
    borders = sorted(borders)
    intervals = [
        listing_interval(start, end, "day", hours)
        for start, end in itertools.pairwise(borders)
        if start.date() != end.date()
    ]
    for (_, end), (start, _) in itertools.pairwise(intervals):
        assert end == start
    day = local_date(moment, hours)
    for start, end in intervals:
        inside = start <= moment < end
        assert inside == (local_date(start, hours) <= day < local_date(end, hours))


@given(st.lists(moments, max_size=12, unique=True), st.sampled_from(["image", "day", "interval"]), st.integers(-12, 12))
def test_every_image_is_in_exactly_one_group(found, by, hours):
    images = [image(moment) for moment in found]
    interval = datetime(2020, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)
    groups = group_images(images, by=by, interval=interval, hours=hours)
    assert sorted(item.id for group in groups for item in group.images) == sorted(item.id for item in images)
    assert len({group.key for group in groups}) == len(groups)
    for group in groups:
        assert group.image_start == min(item.start_time for item in group.images)
        if by == "day":
            assert group.interval_start <= group.image_start < group.interval_end
            assert group.interval_end - group.interval_start == timedelta(days=1)


def test_the_order_of_images_does_not_matter():
    images = [image(datetime(2023, 6, day, hour, tzinfo=UTC)) for day in (3, 1) for hour in (14, 13)]
    assert group_images(images, by="day", interval=JUNE) == group_images(images[::-1], by="day", interval=JUNE)


def test_a_day_needs_a_whole_day():
    with pytest.raises(ValueError, match="group_by='day' takes whole days"):
        listing_interval(JUNE[0], JUNE[0] + timedelta(hours=23), "day", 0)
    assert listing_interval(JUNE[0], JUNE[0] + timedelta(hours=23), "image", 5)[0] == JUNE[0]


def test_an_interval_is_one_group_and_keeps_its_ends():
    images = [image(datetime(2023, 6, day, 14, tzinfo=UTC)) for day in (5, 10, 15)]
    (group,) = group_images(images, by="interval", interval=JUNE)
    assert (group.interval_start, group.interval_end) == JUNE
    assert group.key == "20230601T000000_20230701T000000"
    assert len(group.images) == 3


def test_a_granule_of_two_baselines_counts_once_and_the_newer_one():
    moment = datetime(2019, 1, 27, 11, tzinfo=UTC)
    old = image(moment, "old", MGRS_TILE="30TUM", DATATAKE_IDENTIFIER="GS2A_x_N02.11", PROCESSING_BASELINE="02.11")
    new = image(moment, "new", MGRS_TILE="30TUM", DATATAKE_IDENTIFIER="GS2A_x_N05.00", PROCESSING_BASELINE="05.00")
    beside = image(moment, "tile", MGRS_TILE="30TVM", DATATAKE_IDENTIFIER="GS2A_x_N02.11", PROCESSING_BASELINE="02.11")
    later = image(moment, "later", MGRS_TILE="30TUM", DATATAKE_IDENTIFIER="GS2B_y_N02.11", PROCESSING_BASELINE="02.11")
    for order in ([old, new, beside, later], [later, beside, new, old]):
        assert {item.index for item in newest_baselines(order)} == {"new", "tile", "later"}
    (group,) = group_images([old, new], by="day", interval=JUNE)
    assert [item.index for item in group.images] == ["new"]
    assert len(group_images([old, new], by="image", interval=JUNE)) == 2


def test_a_group_is_another_revision_when_an_image_or_its_score_image_came_changed_or_went():
    one, two = (image(datetime(2023, 6, 1, hour, tzinfo=UTC)) for hour in (13, 14))
    newer = image(two.start_time, updated="2023-08-01T00:00:00Z")
    score = image(two.start_time, "score")

    def revision(images, companions=None):
        (group,) = group_images(images, by="day", interval=JUNE, companions=companions)
        return group.revision

    told = [
        revision([one]),
        revision([one, two]),
        revision([one, newer]),
        revision([one, two], {"scores": {two.index: score}}),
        revision([one, two], {"scores": {two.index: score, one.index: score}}),
    ]
    assert len(set(told)) == len(told)
    assert revision([one]) == one.update_time
    (group,) = group_images([one, newer], by="day", interval=JUNE)
    assert group.update_time == newer.update_time


def test_an_image_without_a_time_has_no_place():
    with pytest.raises(ValueError, match="has no startTime"):
        group_images([Asset(name="c/x", id="c/x", type="IMAGE")], by="image", interval=JUNE)
