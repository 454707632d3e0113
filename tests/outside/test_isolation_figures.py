"""The arithmetic of the isolation bench: its figures mean what they are said to mean."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "benches" / "isolation"))

import figures
from isolation_runs import event, load, statistics, steady

# ---- figures ----


def test_a_percentile_is_the_nearest_rank():
    values = list(range(100, 0, -1))
    assert [figures.percentile(values, percent) for percent in (1, 50, 99, 100)] == [1, 50, 99, 100]
    assert figures.percentile([7], 99) == 7
    assert figures.percentile([], 99) is None


def test_one_slow_event_in_a_hundred_is_not_in_the_p99_and_two_are():
    assert figures.percentile([1] * 99 + [9], 99) == 1
    assert figures.percentile([1] * 98 + [9] * 2, 99) == 9


def test_a_ratio_is_own_by_baseline_and_none_where_nothing_can_be_compared():
    assert figures.ratio(3, 2) == 1.5
    assert figures.ratio(0, 2) == 0
    assert figures.ratio(3, 0) is figures.ratio(None, 2) is figures.ratio(2, None) is None


def test_throughput_counts_events_pushed_in_time_and_delivered_at_most_a_second_late():
    events = [
        event(1.9, 0.5),  # pushed before
        event(2.0, 0.1),
        event(3.9, 1.0),
        event(3.9, 1.2),  # delivered too late
        event(3.0, 0.1, delivered=False),
        event(4.0, 0.1),  # pushed after
    ]
    assert figures.throughput(events, 2, 4) == 2 / 2


def test_the_latency_of_an_undelivered_event_is_the_time_that_it_waited():
    latencies = [e.latency for e in figures.pushed_within([event(2, 0.1)] * 9 + [event(2, 30, delivered=False)], 0, 4)]
    assert figures.percentile(latencies, 99) == 30


def test_jain_is_one_for_equals_and_one_nth_for_a_monopoly():
    assert figures.jain([5] * 20) == pytest.approx(1)
    assert figures.jain([5] + [0] * 19) == pytest.approx(1 / 20)
    assert figures.jain([2] * 10 + [1] * 10) == pytest.approx(0.9)
    assert figures.jain([0] * 20) == 0


def test_deliveries_are_counted_by_target_and_by_the_time_of_delivery():
    events = [event(0, 0.9, 0), event(0, 1.0, 1), event(1, 0.5, 1), event(1, 1.0, 2), event(1, 0.1, 2, delivered=False)]
    assert figures.delivered_by_target(events, 3, 1, 2) == [0, 2, 0]


def test_the_series_is_by_the_time_of_the_push_and_has_gaps_where_nothing_was_pushed():
    events = [event(0.1, 1), event(0.4, 3), event(0.5, 2), event(1.6, 4), event(2.0, 5)]
    assert figures.p99_series(events, 0, 2, 0.5) == [3, 2, None, 4]


def test_recovery_is_the_end_of_the_last_bucket_that_is_worse_than_the_baseline():
    slow_until = [event(pushed, 0.26) for pushed in (10.1, 11.1)] + [event(11.3, 0.2)]
    assert figures.recovery(steady(10, 20) + slow_until, 10, 20, 0.2) == 1.25
    assert figures.recovery(steady(10, 20), 10, 20, 0.2) == 0
    assert figures.recovery(steady(10, 20, latency=0.25), 10, 20, 0.2) == 0, "1.25 times is within the limit"


def test_there_is_no_recovery_while_the_last_bucket_is_worse_or_empty():
    assert figures.recovery([*steady(10, 20), event(19.9, 0.4)], 10, 20, 0.2) is None
    assert figures.recovery(steady(10, 19), 10, 20, 0.2) is None
    assert figures.recovery([], 10, 20, 0.2) is None


def test_events_pushed_before_the_return_are_not_part_of_the_recovery():
    assert figures.recovery([event(9.9, 5), *steady(10, 20)], 10, 20, 0.2) == 0


def test_the_quota_is_used_between_the_two_counts():
    before = {"requests": 100, "successes": 50, "errors": {"ThrottlingException": 50}}
    after = {"requests": 220, "successes": 140, "errors": {"ThrottlingException": 74, "other": 6}}
    assert figures.quota(before, after, 10, 10) == (0.9, 0.2)
    assert figures.quota(before, before, 10, 10) == (0, 0)


# ---- the accounts of all targets ----


@pytest.mark.parametrize(
    "counts, wrong",
    [
        (load(), 0),
        (load(accepted=11), 1),  # never acked, or acked with another outcome
        (load(acked_twice=2), 2),
    ],
)
def test_an_event_is_lost_unless_it_is_acked_as_delivered_exactly_once(counts, wrong):
    assert figures.wrongly_acked(counts) == wrong


def test_an_event_that_was_acked_as_delivered_and_did_not_arrive_is_missing():
    assert figures.missing({"a": 5, "b": 5}, {"a": 7, "b": 5}) == 0, "an event that arrived twice is not lost"
    assert figures.missing({"a": 5, "b": 5}, {"a": 4, "b": 9}) == 1, "another group's surplus hides nothing"
    assert figures.missing({"a": 5}, {}) == 5


def test_duplicates_are_the_arrivals_beyond_the_events_acked_as_delivered():
    assert figures.duplicates({"a": 5, "b": 5}, {"a": 7, "b": 4}) == 2


def test_every_accepted_event_is_in_exactly_one_account():
    loads = [load(), load(accepted=12, abandoned=2)]
    assert figures.unaccounted(loads, statistics(loads)) == 0
    silent = [load(accepted=12, never_acked=2)]
    assert figures.unaccounted(silent, statistics(silent, pending_events=2)) > 0, "no ack, and still pending"
    assert figures.unaccounted(loads, statistics(loads, delivered_events=19)) > 0, "acks and statistics disagree"
    assert figures.unaccounted(loads, statistics(loads, pending_events=1)) > 0, "counted twice"


# ---- faults that meet everybody, and the thin line ----


def test_a_fault_is_caught_up_when_all_events_pushed_before_its_end_are_delivered():
    events = [event(1, 2), event(9.9, 3.1), event(10.5, 60)]
    assert figures.caught_up(events, 10) == pytest.approx(3)
    assert figures.caught_up([event(1, 2)], 10) == 0
    assert figures.caught_up([*events, event(2, 60, delivered=False)], 10) is None


def test_all_are_back_when_the_last_target_has_delivered_again():
    events = [event(1, 0.1, 0), event(9, 1.5, 0), event(9, 3.5, 1), event(11, 0.2, 1)]
    assert figures.all_back(events, 2, 10) == pytest.approx(1.2)
    assert figures.all_back(events, 3, 10) is None, "a target that never came back is not back"


def test_goodput_and_uploads_count_only_what_is_new():
    assert figures.goodput(9_000_000, 1.0, 10, 1_000_000) == pytest.approx(0.9)
    assert figures.goodput(9_000_000, 0.5, 10, 1_000_000) == pytest.approx(0.45)
    assert figures.uploads(10_000, 8_000, 1.0) == pytest.approx(1.25)
    assert figures.uploads(10_000, 8_000, 0.5) == pytest.approx(2.5)
    assert figures.uploads(10_000, 0, 1.0) is None
