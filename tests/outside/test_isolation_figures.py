"""The arithmetic of the isolation bench: its figures mean what they are said to mean, and each limit is enforced."""

import math
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "benches" / "isolation"))

import figures
import verdict
from figures import Event
from measure import Count, Run, Times
from scenarios import HEALTHY, SCENARIOS


def event(pushed, latency, target=0, delivered=True):
    return Event(pushed, latency, target, delivered)


def steady(begin, end, latency=0.2, per_second=100):
    return [event(begin + n / per_second, latency, n % 20) for n in range(round((end - begin) * per_second))]


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


def load(accepted=10, delivered_by_target=(5, 5), acked_twice=0, **more):
    counts = {
        "role": "healthy",
        "prefix": "/h/",
        "accepted": accepted,
        "delivered": sum(delivered_by_target),
        "acked_twice": acked_twice,
        "delivered_by_target": list(delivered_by_target),
        "refused_full": 0,
        "refused_otherwise": 0,
    }
    return counts | more


@pytest.mark.parametrize(
    "counts, taken, lost",
    [
        (load(), [5, 5], 0),
        (load(), [7, 5], 0),  # an event that arrived twice is not lost
        (load(accepted=11), [5, 5], 1),  # never acked, or acked with another outcome
        (load(acked_twice=2), [5, 5], 2),
        (load(), [4, 9], 1),  # acked as delivered; the surplus of another target does not hide the deficit
    ],
)
def test_an_event_is_lost_unless_it_is_delivered_and_acked_exactly_once(counts, taken, lost):
    assert figures.lost(counts, taken) == lost


def test_duplicates_are_the_arrivals_beyond_the_events_acked_as_delivered():
    assert figures.duplicates(load(), [7, 4]) == 2


# ---- the verdict ----

TIMES = Times(faults=0, begin=2, end=6, down=None)


def run(events, late_ms=1.0, fired=1, rejected=0, **of_run):
    by_target = figures.delivered_by_target(events, HEALTHY.targets, 0, math.inf)
    healthy = load(len(events), by_target, prefix=HEALTHY.prefix, refused_full=rejected)
    host = {
        "worst_lateness_ms": late_ms,
        "worst_push_ms": 0.1,
        "strange_acks": 0,
        "shutdown": "CWL_OK",
        "shutdown_ms": 1,
    }
    none = Count(0, {"requests": 0, "successes": 0, "errors": {}}, {})
    end = Count(4, none.puts, {HEALTHY.groups()[0]: {"requests": 400}})
    return Run(
        **(
            {
                "events": events,
                "loads": [healthy],
                "taken": dict(zip(HEALTHY.groups(), by_target, strict=True)),
                "host": host,
                "faults_fired": fired,
                "failing_requests": 0,
                "begin": none,
                "settled": none,
                "end": end,
                "cores": {},
            }
            | of_run
        )
    )


def judge(own, name="denied_10", times=TIMES):
    return verdict.compare(SCENARIOS[name], run(steady(0, times.pushed)), own, times)


def test_a_scenario_like_its_baseline_is_met():
    entry = judge(run(steady(0, 7)))
    assert (entry["throughput_ratio"], entry["p50_ratio"], entry["p99_ratio"], entry["lost"]) == (1, 1, 1, 0)
    assert (entry["requests_ratio"], entry["own"]["requests_per_s"]) == (1, 100)
    assert entry["pass"]
    assert entry["reasons"] == entry["void"] == []


@pytest.mark.parametrize(
    "own, word",
    [
        (run(steady(0, 7, latency=0.3)), "p99"),
        (run(steady(0, 7, per_second=97)), "throughput"),
        (run([*steady(0, 7)[:-1], event(6.9, 60, delivered=False)]), "lost"),
        (run(steady(0, 7), rejected=1), "healthy rejected"),
    ],
)
def test_each_limit_is_enforced(own, word):
    entry = judge(own)
    assert not entry["pass"], entry["reasons"]
    assert [reason.startswith(word) for reason in entry["reasons"]] == [True], entry["reasons"]


def test_neither_the_warm_up_nor_the_tail_counts():
    own = run(steady(0, 2, latency=5) + steady(2, 6) + steady(6, 7, latency=5))
    assert judge(own)["pass"]


@pytest.mark.parametrize("own", [run(steady(0, 7), late_ms=50.1), run(steady(0, 7), fired=0)])
def test_a_run_with_a_late_host_or_without_a_fault_is_void_and_not_met(own):
    entry = judge(own)
    assert entry["void"]
    assert not entry["pass"]


def test_a_scenario_that_broke_off_is_missed_and_not_void():
    entry = verdict.broken_off(RuntimeError("the host ended too early"))
    assert (entry["pass"], entry["void"], entry["reasons"]) == (False, [], ["the host ended too early"])


def test_the_figures_of_the_throttle_are_judged_and_its_latency_is_not():
    def throttled(taken, refused):
        puts = {"requests": taken + refused, "successes": taken, "errors": {"ThrottlingException": refused}}
        counts = Count(6, puts, {})
        return judge(run(steady(0, 7, latency=0.9), end=counts), "throttle")

    assert throttled(54, 13)["pass"]
    assert [reason.split()[0] for reason in throttled(53, 0)["reasons"]] == ["quota"]
    assert [reason.split()[0] for reason in throttled(60, 15)["reasons"]] == ["throttled"]


def test_the_figures_of_the_outage_are_judged():
    times = Times(faults=0, begin=2, end=27, down=7)
    late = [event(pushed, 17.2 - pushed) for pushed in (7.5, 12, 16.9)]
    assert judge(run(steady(0, 28) + late, fired=20), "outage", times)["pass"]
    assert "requests" in judge(run(steady(0, 28), fired=21), "outage", times)["reasons"][0]
    slow = run([*steady(0, 28), event(22.1, 1)])
    assert "recovery" in judge(slow, "outage", times)["reasons"][0]
