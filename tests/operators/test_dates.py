"""Where a run's dates come from: arguments, then params, then a data interval that is not empty."""

import itertools
from datetime import UTC, date, datetime, timedelta, timezone

import pendulum
import pytest
from airflow.sdk import (
    CronDataIntervalTimetable,
    CronTriggerTimetable,
    DeltaDataIntervalTimetable,
    DeltaTriggerTimetable,
)
from airflow.timetables.base import TimeRestriction

from airflow_ee.operators.dates import resolve_interval

JANUARY = (datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC))
MARCH = (datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 4, 1, tzinfo=UTC))


def serialized(timetable):
    """The timetable as the scheduler has it."""
    from airflow.sdk import DAG

    from tests.older_airflow import DagSerialization

    dag = DAG("d", schedule=timetable, start_date=datetime(2024, 1, 1, tzinfo=UTC))
    return DagSerialization.from_dict(DagSerialization.to_dict(dag)).timetable


def scheduled_context(schedule):
    """The context of the first run that a scheduler makes of a schedule, as far as dates go."""
    restriction = TimeRestriction(earliest=pendulum.datetime(2024, 1, 1), latest=None, catchup=True)
    info = serialized(schedule).next_dagrun_info(last_automated_data_interval=None, restriction=restriction)
    return {"data_interval_start": info.data_interval.start, "data_interval_end": info.data_interval.end, "params": {}}


def test_a_cron_data_interval_timetable_gives_its_interval():
    context = scheduled_context(CronDataIntervalTimetable("0 0 1 * *", timezone="UTC"))
    assert resolve_interval(context) == JANUARY


def test_a_delta_data_interval_timetable_gives_its_interval():
    context = scheduled_context(DeltaDataIntervalTimetable(timedelta(days=16)))
    assert resolve_interval(context) == (JANUARY[0], datetime(2024, 1, 17, tzinfo=UTC))


@pytest.mark.parametrize(
    "schedule",
    [
        CronTriggerTimetable("0 0 1 * *", timezone="UTC"),
        DeltaTriggerTimetable(timedelta(days=16)),
        "@monthly",
        timedelta(days=16),
    ],
    ids=["cron timetable", "delta timetable", "cron preset", "timedelta"],
)
def test_a_schedule_with_an_empty_interval_says_what_to_do(schedule):
    with pytest.raises(ValueError, match=r"no dates: .*start and end.*params.*CronDataIntervalTimetable"):
        resolve_interval(scheduled_context(schedule))


def test_a_manual_run_of_an_interval_timetable_gets_the_interval_before_it():
    timetable = serialized(CronDataIntervalTimetable("0 0 1 * *", timezone="UTC"))
    interval = timetable.infer_manual_data_interval(run_after=pendulum.datetime(2024, 4, 5))
    context = {"data_interval_start": interval.start, "data_interval_end": interval.end, "params": {}}
    assert resolve_interval(context) == MARCH


@pytest.mark.parametrize("run", ["asset-triggered", "REST without a logical date"])
def test_a_run_without_a_data_interval_needs_dates_from_elsewhere(run):
    context = {"params": {}, "dag_run": run}
    with pytest.raises(ValueError, match="no dates"):
        resolve_interval(context)
    context["params"] = {"start": "2024-03-01", "end": "2024-04-01"}
    assert resolve_interval(context) == MARCH


def test_a_backfill_uses_each_runs_own_interval():
    timetable = serialized(CronDataIntervalTimetable("0 0 1 * *", timezone="UTC"))
    restriction = TimeRestriction(pendulum.datetime(2024, 1, 1), pendulum.datetime(2024, 4, 1), catchup=True)
    intervals, last = [], None
    while info := timetable.next_dagrun_info(last_automated_data_interval=last, restriction=restriction):
        last = info.data_interval
        intervals.append(resolve_interval({"data_interval_start": last.start, "data_interval_end": last.end}))
    assert intervals[0] == JANUARY
    assert len(intervals) == 4
    assert all(before[1] == after[0] for before, after in itertools.pairwise(intervals))


def test_arguments_win_over_params_and_params_over_the_interval():
    context = {
        "data_interval_start": datetime(2020, 1, 1, tzinfo=UTC),
        "data_interval_end": datetime(2020, 2, 1, tzinfo=UTC),
        "params": {"start": "2024-03-01", "end": "2024-04-01"},
    }
    assert resolve_interval(context) == MARCH
    assert resolve_interval(context, start="2024-01-01", end="2024-02-01") == JANUARY


@pytest.mark.parametrize("nothing", [None, "", "None", " null "])
def test_what_a_template_makes_of_nothing_counts_as_not_given(nothing):
    context = {
        "params": {"start": nothing, "end": nothing},
        "data_interval_start": JANUARY[0],
        "data_interval_end": JANUARY[1],
    }
    assert resolve_interval(context, start=nothing, end=nothing) == JANUARY


@pytest.mark.parametrize(
    "start",
    [
        "2024-01-01",
        "2024-01-01T00:00:00Z",
        "2024-01-01T02:00:00+02:00",
        "2024-01-01 00:00:00",
        date(2024, 1, 1),
        datetime(2024, 1, 1),
        datetime(2024, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))),
        pendulum.datetime(2024, 1, 1),
    ],
    ids=str,
)
def test_dates_come_in_many_forms_and_leave_as_utc(start):
    moment, _ = resolve_interval({}, start=start, end="2024-02-01")
    assert (moment, type(moment), moment.tzinfo) == (JANUARY[0], datetime, UTC)


@pytest.mark.parametrize("lookback", [31, "31", timedelta(days=31), 31.0])
def test_lookback_begins_earlier_for_arguments_and_intervals(lookback):
    interval = {"data_interval_start": MARCH[0], "data_interval_end": MARCH[1]}
    assert resolve_interval(interval, lookback=lookback) == (datetime(2024, 1, 30, tzinfo=UTC), MARCH[1])
    assert resolve_interval({}, start="2024-03-01", end="2024-04-01", lookback=lookback)[0].day == 30


def test_lookback_leaves_alone_what_a_person_typed():
    assert resolve_interval({"params": {"start": "2024-03-01", "end": "2024-04-01"}}, lookback=31) == MARCH


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            {"start": "2024-02-01", "end": "2024-01-01"},
            "argument start must be before argument end, got 2024-02-01.* and 2024-01-01",
        ),
        ({"start": "2024-01-01", "end": "2024-01-01"}, "argument start must be before argument end"),
        ({"start": "2024-01-01"}, "arguments start and end must be given both or neither, end is missing"),
        ({"end": "2024-01-01"}, "start is missing"),
        (
            {"start": "yesterday", "end": "2024-01-01"},
            "argument start must be an ISO date such as 2024-01-31, got 'yesterday'",
        ),
        ({"start": 2024, "end": "2024-01-01"}, "argument start must be an ISO date .*, got int 2024"),
        (
            {"start": "2024-01-01", "end": "2024-02-01", "lookback": "a week"},
            "lookback must be a timedelta or a number of days",
        ),
        ({"start": "2024-01-01", "end": "2024-02-01", "lookback": -1}, "lookback must not be negative"),
    ],
)
def test_dates_that_make_no_sense_are_refused_by_name(arguments, words):
    with pytest.raises(ValueError, match=words):
        resolve_interval({}, **arguments)


def test_params_the_wrong_way_round_are_refused_by_name():
    with pytest.raises(ValueError, match="param start must be before param end"):
        resolve_interval({"params": {"start": "2024-02-01", "end": "2024-01-01"}})


def test_half_a_pair_of_params_is_refused():
    with pytest.raises(ValueError, match="params start and end must be given both or neither, start is missing"):
        resolve_interval({"params": {"start": None, "end": "2024-01-01"}})
