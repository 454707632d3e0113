"""The verdict of the isolation bench: each limit is enforced."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "benches" / "isolation"))

import limits
import table
import verdict
from isolation_runs import count, event, load, run, statistics, steady
from measure import Times, requests_by_load
from scenarios import SCENARIOS, Load, Scenario

TIMES = Times(faults=0, begin=2, end=6)
WINDOW = Times(faults=0, begin=2, end=27, down=7, returned=17)


# ---- every scenario ----


def judge(own, name="denied_10", times=TIMES):
    scenario = SCENARIOS[name]
    # The faulty loads do well, unless the test says otherwise.
    missing = len(scenario.loads) - len(own.loads) + 1
    if missing:
        own.loads.extend(load([(5, 5, 5, 0)] * faulty.targets) for faulty in scenario.loads[-missing:])
        own.requests_by_load.extend([0] * missing)
        own.host["statistics"] = statistics(own.loads)
        groups = [group for faulty in scenario.loads for group in faulty.groups()]
        own.taken.update(dict.fromkeys(groups, 10**6))
    baseline = run(steady(0, times.pushed)) if scenario.compared else None
    entry = verdict.compare(scenario, baseline, own, times)
    assert name in table.row(name, entry)
    return entry


def words(entry):
    """Returns the first words of the missed limits."""
    assert not entry["pass"] or not entry["reasons"]
    return [reason.rpartition(",")[0].rpartition(" ")[0] for reason in entry["reasons"]]


def test_a_scenario_like_its_baseline_is_met():
    entry = judge(run(steady(0, 7)))
    assert (entry["throughput_ratio"], entry["p50_ratio"], entry["p99_ratio"], entry["lost"]) == (1, 1, 1, 0)
    assert (entry["requests_ratio"], entry["own"]["requests_per_s"]) == (1, 100)
    assert entry["pass"], entry["reasons"]
    assert entry["reasons"] == entry["void"] == []


@pytest.mark.parametrize(
    "own, word",
    [
        (run(steady(0, 7, latency=0.3)), "p99"),
        (run(steady(0, 7, per_second=97)), "throughput"),
        (run([*steady(0, 7)[:-1], event(6.9, 60, delivered=False)], of_healthy={"abandoned": 1}), "lost"),
        (run(steady(0, 7), of_healthy={"refused_full": 1}), "healthy rejected"),
        (run(steady(0, 7), of_host={"pause_count": 1}), "false pauses"),
        (run(steady(0, 7), of_host={"pause_messages": 1}), "false pauses"),
        (run(steady(0, 7), before_shutdown=statistics([load()], dropped_events=1)), "given up before the shutdown"),
        (run(steady(0, 7), of_healthy={"never_acked": 1}), "unaccounted"),
    ],
)
def test_each_limit_is_enforced(own, word):
    assert words(judge(own)) == [word]


def test_neither_the_warm_up_nor_the_tail_counts():
    own = run(steady(0, 2, latency=5) + steady(2, 6) + steady(6, 7, latency=5))
    assert judge(own)["pass"]


@pytest.mark.parametrize(
    "own", [run(steady(0, 7), of_host={"worst_lateness_ms": 50.1}), run(steady(0, 7), faults_fired=0)]
)
def test_a_run_with_a_late_host_or_without_a_fault_is_void_and_not_met(own):
    entry = judge(own)
    assert entry["void"]
    assert not entry["pass"]


def test_a_scenario_that_broke_off_is_missed_and_not_void():
    entry = verdict.broken_off(RuntimeError("the host ended too early"))
    assert (entry["pass"], entry["void"], entry["reasons"]) == (False, [], ["the host ended too early"])


# ---- the failing targets ----


def faulty_run(scenario, by_target, requests=0, **more):
    counts = load(by_target, role="failing", **more)
    own = run(steady(0, 7), counts, requests=[requests])
    groups = SCENARIOS[scenario].loads[0].groups()
    own.taken.update(zip(groups, (delivered for _, delivered, *_ in by_target), strict=False))
    return own


@pytest.mark.parametrize(
    "name, by_target, words_expected",
    [
        ("slow_50", [(10, 10, 5, 59_000)] * 50, []),
        ("slow_50", [(10, 10, 5, 59_000)] * 49 + [(10, 10, 5, 61_000)], ["slow_50: longest wait in s"]),
        ("slow_50", [(10, 10, 5, 59_000)] * 30 + [(10, 10, 0, 59_000)] * 20, ["slow_50: Jain's index"]),
        ("slow_50", [(10, 10, 5, 59_000)] * 49 + [(10, 9, 5, 59_000)], ["lost", "unaccounted"]),
        ("flapping_20", [(10, 10, 5, 41_000)] * 20, ["flapping_20: longest wait in s"]),
        ("flood_1", [(10, 10, 5, 6_000)], ["flood: longest wait in s"]),
        ("flood_1", [(10, 9, 5, 1_000)], ["lost", "unaccounted"]),
    ],
)
def test_failing_targets_that_can_deliver_must(name, by_target, words_expected):
    assert words(judge(faulty_run(name, by_target), name)) == words_expected


@pytest.mark.parametrize("name, targets", [("denied_10", 10), ("silent_200", 200), ("garbled_1", 1)])
def test_a_target_that_fails_may_not_cost_many_requests(name, targets):
    most = SCENARIOS[name].loads[0].requests_max
    within, beyond = (
        judge(faulty_run(name, [(10, 10, 0, 9_000)] * targets, requests=requests), name)
        for requests in (most * targets, most * targets + 1)
    )
    assert within["pass"], within["reasons"]
    assert [word.endswith("requests a target") for word in words(beyond)] == [True]


def test_events_of_a_silent_target_that_are_abandoned_are_lost_but_accounted_for():
    own = faulty_run("silent_10", [(10, 8, 0, 9_000)] * 10, abandoned=20)
    assert words(judge(own, "silent_10")) == ["lost"]


def test_several_loads_can_push_to_one_group():
    one, other = (Load("failing", "/g", 1, 1, stream=stream) for stream in ("a", "b"))
    own = run([], load([(5, 5, 5, 0)]), load([(7, 7, 7, 0)]))
    scenario = Scenario("name", "", (one, other))
    assert verdict.delivered_by_group(own, scenario)["/g"] == 12


def test_the_requests_of_loads_that_share_a_group_are_not_known_by_load():
    one, other, alone = (Load("failing", prefix, 1, 1, stream="s") for prefix in ("/g", "/g", "/h"))
    after = count(groups={"/g": {"requests": 9}, "/h": {"requests": 4}})
    assert requests_by_load([one, other, alone], count(groups={"/h": {"requests": 1}}), after) == [None, None, 3]


# ---- the kinds of scenarios ----


def test_the_figures_of_the_throttle_are_judged_and_its_latency_is_not():
    def throttled(taken, refused):
        errors = {"ThrottlingException": refused}
        end = count(6, requests=taken + refused, successes=taken, errors=errors)
        return judge(run(steady(0, 7, latency=0.9), end=end), "throttle")

    assert throttled(54, 13)["pass"]
    assert words(throttled(53, 0)) == ["quota used"]
    assert words(throttled(60, 15)) == ["throttled"]


def test_the_figures_of_the_outage_are_judged_and_its_pause_is_right():
    late = [event(pushed, 17.2 - pushed) for pushed in (7.5, 12, 16.9)]
    own = run(steady(0, 28) + late, faults_fired=20, of_host={"pause_count": 1})
    assert judge(own, "outage", WINDOW)["pass"]
    assert words(judge(run(steady(0, 28), faults_fired=21), "outage", WINDOW)) == ["requests while down"]
    assert words(judge(run([*steady(0, 28), event(22.1, 1)]), "outage", WINDOW)) == ["recovery in s"]


def test_slow_answers_are_no_outage_and_are_caught_up():
    assert judge(run([*steady(0, 28), event(16, 3.9)]), "all_slow", WINDOW)["pass"]
    assert words(judge(run([*steady(0, 28), event(16, 4.1)]), "all_slow", WINDOW)) == ["caught up in s"]
    paused = run(steady(0, 28), of_host={"pause_count": 1})
    assert words(judge(paused, "all_slow", WINDOW)) == ["false pauses"]


def test_after_503s_every_target_must_be_back_in_time():
    calm = [event for event in steady(0, 28) if not (event.target == 3 and 16.5 < event.pushed < 18.9)]
    assert judge(run(calm, faults_fired=60), "all_503", WINDOW)["pass"] is False
    assert words(judge(run(calm), "all_503", WINDOW)) == ["every target back in s"]
    assert words(judge(run(steady(0, 28), faults_fired=61), "all_503", WINDOW)) == ["requests while down"]


def test_new_streams_may_not_cost_more_than_their_creation():
    def created(puts, creates, throttled):
        operation = {"requests": creates + throttled, "errors": {"ThrottlingException": throttled}}
        own = run(
            steady(0, 7),
            load([(1, 1, 1, 20_000)] * 1000),
            requests=[puts + creates + throttled],
            pushed=count(operations={"CreateLogStream": operation}),
        )
        own.taken["/new/0"] = 1000
        return judge(own, "new_streams_1000")

    assert created(2000, 1000, 2000)["pass"]
    assert words(created(2001, 1000, 0)) == ["PutLogEvents a stream"]
    assert words(created(2000, 1051, 0)) == ["CreateLogStream a stream"]
    assert words(created(2000, 1000, 2001)) == ["throttled CreateLogStream a stream"]


def test_a_thin_line_must_be_used_for_new_bytes():
    def uploaded(measured, read):
        last = count(8, body_bytes_read=read, body_bytes=4_000_000)
        own = run(steady(0, 7), load([(5, 5, 5, 0)] * 40), requests=[0], end=count(4, body_bytes=measured), last=last)
        own.taken.update(dict.fromkeys(SCENARIOS["thin_uplink"].loads[0].groups(), 5))
        return judge(own, "thin_uplink")

    assert uploaded(3_200_000, 5_000_000)["pass"]
    assert words(uploaded(3_100_000, 4_000_000)) == ["goodput"]
    assert words(uploaded(3_200_000, 5_100_000)) == ["uploads of a byte"]


@pytest.mark.parametrize(
    "own, word",
    [
        (run(steady(0, 7, latency=1.1)), "longest delay in ms"),
        (run(steady(0, 7), of_host={"warnings": 1}), "warnings"),
        (run(steady(0, 7), of_host={"statistics": statistics([], requests_failed=1)}), "failed requests"),
    ],
)
def test_an_idle_connection_that_is_closed_costs_nothing(own, word):
    own.host["statistics"] |= {
        name: value for name, value in statistics(own.loads).items() if name != "requests_failed"
    }
    groups = SCENARIOS["idle_close"].healthy.groups()
    own.taken.update(dict.fromkeys(groups, 10**6))
    own.loads[0]["by_target"] = own.loads[0]["by_target"][: len(groups)]
    assert words(judge(own, "idle_close")) == [word]


def test_a_cold_start_is_judged_by_the_flush_interval_and_from_the_first_event_on():
    times = Times(faults=0, begin=0, end=6)
    scenario = SCENARIOS["cold_silent_200"]
    assert judge(run(steady(0, 7, latency=1.2)), scenario.name, times)["pass"]
    assert words(judge(run(steady(0, 7, latency=1.21)), scenario.name, times)) == ["p99 in ms"]
    assert words(judge(run(steady(0, 0.5, latency=5) + steady(0.5, 7)), scenario.name, times)) == ["p99 in ms"]
    assert scenario.with_options([("flush_interval_ms", "5000")]).flush_interval_ms() == 5000


def test_every_kind_of_scenario_has_limits_and_the_worst_run_counts():
    assert {kind for scenario in SCENARIOS.values() for kind in scenario.kinds} == set(limits.BY_KIND)
    met, slower, missed = judge(run(steady(0, 7))), judge(run(steady(0, 7, latency=0.21))), judge(run(steady(0, 7, 9)))
    broken = verdict.broken_off(RuntimeError("ended"))
    assert sorted([met, slower, missed, broken], key=verdict.rank) == [broken, missed, slower, met]
