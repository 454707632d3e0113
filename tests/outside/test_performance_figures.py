"""The arithmetic of the performance bench: its figures mean what they are said to mean, and each target is enforced."""

import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "benches" / "performance"))

import access_log
import derive
import groups
import processes
import profile_host
import summary
from figures_table import FIGURES, GROUPS, MB, at_least, at_most
from summary import Run

COUNTS = {"pushed": 10, "delivered": 10}


# ---- lines ----


def test_the_lines_are_distinct_all_as_long_and_have_two_pairs_of_quotes():
    lines = access_log.lines()
    assert len(set(lines)) == len(lines) == 10_000
    assert {len(line.encode()) for line in lines} == {126}
    assert {(line.count('"'), line.count("\\")) for line in lines} == {(4, 0)}


def test_the_lines_are_the_same_each_time():
    assert access_log.lines() == access_log.lines()


# ---- figures ----


def test_a_push_takes_the_median_round_and_is_compared_with_the_loop_of_the_same_run():
    output = {
        "events": 5000,
        "escape_ns": [500_000, 9_000_000, 400_000],
        "push_ns": [1_000_000] * 3,
        "push_event_ns": [1, 1_500_000, 9_000_000],
    }
    assert derive.push(output) == {
        "push.ns_p50": 200,
        "push.escape_loop_ns": 100,
        "push.ratio_to_escape_loop": 2,
        "push_event.ns_p50": 300,
    }


def test_threads_are_compared_by_throughput_and_two_targets_have_twice_the_events():
    output = {
        "events": {
            "one_ns": 4800,
            "one_target_ns": 4800,
            "two_targets_ns": 9600,
            "one_loop_ns": 4800,
            "two_loops_ns": 9600,
        },
        "one_ns": [100, 100, 900],
        "one_target_ns": [200],
        "two_targets_ns": [125],
        "one_loop_ns": [50],
        "two_loops_ns": [51],
    }
    wanted = {
        "push.two_threads_one_target": 0.5,
        "push.two_threads_two_targets": 1.6,
        "push.two_threads_escape_loop": 100 / 51,
    }
    assert derive.threads(output) == pytest.approx(wanted)


def test_threads_are_not_compared_on_a_single_core():
    assert derive.single_core({"push.two_threads_escape_loop": 1.95}) == []
    assert derive.single_core({"push.two_threads_escape_loop": 1.3}) != []


def test_delivery_is_cpu_time_and_not_elapsed_time():
    output = {"events": 1000, "cpu_us": 250, "wall_us": 500}
    assert derive.deliver("e2e.plain", output) == {
        "e2e.plain.cpu_us_per_event": 0.25,
        "e2e.plain.events_per_s": 2_000_000,
    }


def test_the_share_of_zlib_is_relative_to_the_cost_of_compression():
    assert derive.zlib_share(zlib=0.2, gzip=0.5, plain=0.25) == pytest.approx(0.8)


@pytest.mark.parametrize(
    "parts", [(None, 0.5, 0.2), (0.2, None, 0.2), (0.2, 0.5, None), (0.2, 0.2, 0.2), (0.2, 0.1, 0.2)]
)
def test_zlib_has_no_share_where_a_part_is_unknown_or_compression_adds_nothing(parts):
    assert derive.zlib_share(*parts) is None


def test_a_ratio_to_nothing_is_none():
    assert derive.ratio(1, 2) == 0.5
    assert derive.ratio(1, 0) is derive.ratio(1, None) is derive.ratio(None, 1) is None


def test_the_memory_of_many_targets_is_compared_with_one_and_an_event_not_acked_as_delivered_is_lost():
    output = {
        "rss_kb": 150 * 1024,
        "rss_end_kb": 140 * 1024,
        "cpu_us": 20_000,
        "wall_us": 1_000_000,
        "events": 50,
        "worst_delivery_s": 5.1,
        "pushed": 100,
        "acked_delivered": 98,
        "opening_s": 9,
    }
    figures = derive.many(output, {"rss_kb": 20 * 1024, "rss_end_kb": 20 * 1024})
    assert figures["scale.targets_100k.rss_mb"] == 130
    assert figures["scale.targets_100k.rss_end_mb"] == 120
    assert figures["scale.targets_100k.cpu_us_per_event"] == 400
    assert figures["scale.targets_100k.cpu_percent"] == 2
    assert figures["scale.targets_100k.lost"] == 2


def test_busy_targets_are_compared_by_cpu_time_for_each_event():
    figures = derive.busy({"events": 10, "cpu_us": 6}, {"events": 10, "cpu_us": 4})
    assert figures["scale.busy_10000_over_one"] == pytest.approx(1.5)


def test_idle_is_scaled_to_30_seconds():
    assert derive.idle({"wakeups": 1, "cpu_us": 500}, 6) == {"idle.wakeups_30s": 5, "idle.cpu_ms_30s": 2.5}


def test_memory_is_the_growth_up_to_the_high_water_mark_divided_by_the_bound():
    bound_kb = 1.3 * 64 * 1024 + 16 * 1024
    output = {"before_kb": 5000, "peak_kb": 5000 + bound_kb, "sampled_kb": 6024, "idle_kb": 5000, "wall_us": 2_000_000}
    figures = derive.memory(output, 64 * MB, 100)
    assert figures["memory.rss_over_bound"] == pytest.approx(1)
    assert figures["memory.sampled_peak_mb"] == 1
    assert figures["memory.idle_after_mb"] == 0
    assert figures["memory.events_per_s"] == 50


# ---- void ----


@pytest.mark.parametrize(
    "output, arrived, good",
    [
        (COUNTS, 10, True),
        (COUNTS, 9, False),
        (COUNTS, 11, False),
        (COUNTS | {"delivered": 9}, 10, False),
        (COUNTS | {"pushed": 11}, 10, False),
    ],
)
def test_a_run_is_void_unless_host_library_and_endpoint_count_the_same(output, arrived, good):
    assert (derive.count_mismatch(output, arrived) == []) == good


def test_a_run_is_void_when_other_processes_kept_the_machine_busy():
    assert derive.busy_machine(0.25) == []
    assert "0.26 cores" in derive.busy_machine(0.26)[0]


def test_a_paced_run_is_void_when_the_pace_was_not_kept():
    assert derive.missed_pace({"events_per_s": 238_000}, 250_000) == []
    assert derive.missed_pace({"events_per_s": 237_000}, 250_000) != []


def test_an_idle_run_is_void_when_a_thread_ended_or_there_was_none():
    assert derive.missing_thread({"threads_before": 2, "threads_after": 2}) == []
    assert derive.missing_thread({"threads_before": 3, "threads_after": 2}) != []
    assert derive.missing_thread({"threads_before": 0, "threads_after": 0}) != []


def test_a_memory_run_is_void_when_a_stall_met_no_request_or_the_buffer_did_not_fill():
    assert derive.untested_bound({"buffered_bytes_peak": 90}, 100, [1, 1]) == []
    assert derive.untested_bound({"buffered_bytes_peak": 90}, 100, [1, 0]) == ["stall 2 met no request"]
    assert len(derive.untested_bound({"buffered_bytes_peak": 89}, 100, [0, 0])) == 3


# ---- verdict ----


def runs(*values, name="start.ms", void=None):
    made = []
    for number, value in enumerate(values):
        run = Run()
        run.add({name: value}, ["busy"] if number == void else [])
        made.append(run)
    return made


def test_the_median_is_judged_and_the_spread_is_reported():
    own = summary.entry(at_most("start.ms", "ms", 10), runs(9, 30, 10, 8, 20))
    assert (own["median"], own["min"], own["max"], own["runs"]) == (10, 8, 30, [9, 30, 10, 8, 20])
    assert (own["unit"], own["target"], own["met"]) == ("ms", "<= 10", True)


@pytest.mark.parametrize(
    "figure, value, met",
    [
        (at_most("start.ms", "ms", 10), 10.001, False),
        (at_most("start.ms", "ms", 0), 0, True),
        (at_least("start.ms", "", 0.9), 0.9, True),
        (at_least("start.ms", "", 0.9), 0.899, False),
    ],
)
def test_a_value_equal_to_its_target_meets_it(figure, value, met):
    assert summary.entry(figure, runs(value))["met"] is met


def test_one_void_run_makes_the_figure_void_which_is_shown_and_not_met():
    own = summary.entry(at_most("start.ms", "ms", 10), runs(1, 2, 3, void=1))
    assert (own["median"], own["void"], own["met"]) == (2, ["busy"], False)
    assert summary.verdict(own) == "VOID: busy"


def test_a_run_that_broke_off_leaves_the_figure_unmet_however_good_the_others_are():
    broken = Run(broken={"start.ms": "it crashed"})
    own = summary.entry(FIGURES["start.ms"], [*runs(1, 1), broken])
    assert (own["median"], own["broken"], own["met"]) == (1, ["it crashed"], False)
    assert summary.verdict(own) == "BROKE OFF: it crashed"


def test_a_figure_that_no_run_has_is_not_met():
    own = summary.entry(FIGURES["start.ms"], [Run(broken={"start.ms": "gone"})])
    assert (own["median"], own["met"]) == (None, False)
    assert "none" in summary.row("start.ms", own)


def test_a_figure_with_a_run_without_a_value_is_not_met():
    assert summary.entry(FIGURES["start.ms"], [*runs(1), Run()])["met"] is False


def test_a_figure_without_a_target_is_neither_met_nor_missed():
    own = summary.entry(FIGURES["start.dlopen_ms"], runs(5, name="start.dlopen_ms"))
    assert (own["target"], own["met"], summary.verdict(own)) == (None, None, "")


def test_there_is_an_entry_for_every_figure_of_the_runs_broken_or_not():
    assert list(summary.entries([*runs(1), Run(broken={"size.so_bytes": "no file"})])) == ["size.so_bytes", "start.ms"]


def test_all_is_met_only_when_every_target_is_and_nothing_is_void_or_broken():
    good = {"met": True, "void": [], "broken": []}
    orientation = good | {"met": None}
    assert summary.all_met({"a": good, "b": orientation})
    assert not summary.all_met({"a": good, "b": good | {"met": False}})
    assert not summary.all_met({"a": good, "b": orientation | {"void": ["busy"]}})
    assert not summary.all_met({"a": good, "b": orientation | {"broken": ["gone"]}})
    assert not summary.all_met({"b": orientation})
    assert not summary.all_met({})
    assert summary.count_met({"a": good, "b": orientation, "c": good | {"met": False}}) == (1, 2)


def test_a_row_has_enough_digits_to_distinguish_a_figure_from_its_target():
    own = summary.entry(FIGURES["push.ratio_to_escape_loop"], runs(2.001, name="push.ratio_to_escape_loop"))
    assert " 2.001 " in summary.row("push.ratio_to_escape_loop", own)
    assert summary.row("push.ratio_to_escape_loop", own).endswith("FALLS SHORT")


@pytest.mark.parametrize(
    "value, shown",
    [
        (None, "none"),
        (0, "0"),
        (0.00104, "0.00104"),
        (0.0712, "0.0712"),
        (0.25, "0.250"),
        (151.26, "151.3"),
        (1_234_567.8, "1,234,568"),
    ],
)
def test_numbers_are_short(value, shown):
    assert summary.number(value) == shown


# ---- measuring ----


def test_an_error_affects_its_own_figures_only():
    run = Run()
    with groups.record_errors(run, "start.ms", "start.dlopen_ms"):
        raise subprocess.TimeoutExpired("start", 30)
    with groups.record_errors(run, "size.so_bytes"):
        run.add({"size.so_bytes": 1})
    assert set(run.broken) == {"start.ms", "start.dlopen_ms"}
    assert run.values == {"size.so_bytes": 1}


def test_a_compared_figure_is_void_with_its_parts_and_has_no_value_without_them():
    run = Run()
    run.add({"a": 1}, ["busy"])
    run.add({"b": 2}, ["busy"])
    groups.add_comparison(run, "both", 0.5, "a", "b")
    groups.add_comparison(run, "one", None, "a", "c")
    groups.add_comparison(run, "none", None, "a", "b")
    assert (run.values["both"], run.void["both"]) == (0.5, ["busy"])
    assert run.broken == {"one": "without c", "none": "its parts contradict each other"}


def deliveries(monkeypatch, **of_measured):
    measured = {"output": {"events": 10, "cpu_us": 2, "wall_us": 10, **COUNTS}, "arrived": 10, "others_cores": 0.1}
    monkeypatch.setattr(groups, "measure", lambda *_, **__: processes.Measured(**measured | of_measured))
    monkeypatch.setattr(processes, "reference", lambda *_: {"cpu_us_per_event": 0.1, "cpu_us_per_request": 90})
    monkeypatch.setattr(processes, "plain_sdk", lambda _: {"cpu_us_per_event": 0.8})
    monkeypatch.setattr(processes, "sdk_request", lambda _: {"cpu_us_per_request": 90})
    run = Run()
    groups.end_to_end(run, groups.Amounts(1, 10, 1, 1, 1, 1))
    return run


def test_delivery_is_compared_with_the_sdk_of_the_same_run(monkeypatch):
    run = deliveries(monkeypatch)
    assert run.values["e2e.plain.ratio_to_sdk"] == pytest.approx(0.25)
    assert not run.void
    assert set(run.broken) == {"e2e.gzip.zlib_share"}, "gzip costs no more than plain here"


def test_a_delivery_on_a_busy_machine_makes_its_comparisons_void_too(monkeypatch):
    run = deliveries(monkeypatch, others_cores=1.5)
    assert "e2e.plain.ratio_to_sdk" in run.void
    assert "e2e.plain.cpu_us_per_event" in run.void


def test_missing_events_are_distinguished_from_a_busy_machine(monkeypatch):
    assert not deliveries(monkeypatch, others_cores=1.5).unaccounted, "such a run is repeated"
    assert deliveries(monkeypatch, arrived=9).unaccounted, "such a run is not repeated"


def test_a_loss_counts_on_a_busy_machine_too(monkeypatch):
    output = dict.fromkeys(("rss_kb", "rss_end_kb", "cpu_us", "wall_us", "events", "worst_delivery_s", "opening_s"), 1)
    output |= {"acked_delivered": 9, **COUNTS}
    monkeypatch.setattr(groups, "measure", lambda *_, **__: processes.Measured(output, 10, 1.5))
    run = Run()
    groups.many(run, groups.Amounts(1, 10, 1, 1, 1, 1))
    own = summary.entries([run])["scale.targets_100k.lost"]
    assert (own["median"], own["met"], own["void"]) == (1, False, [])
    assert run.void["scale.targets_100k.rss_mb"]


def test_every_figure_of_the_table_has_a_name_of_its_own_and_every_group_is_measured():
    assert sum(len(figures) for figures in GROUPS.values()) == len(FIGURES)
    assert set(GROUPS) == set(groups.GROUPS)


# ---- the profile ----


def test_an_instruction_belongs_to_its_own_crate_or_else_to_that_of_the_surrounding_function():
    library, crates = "/x/libcwl_sink.so.0", "/home/x/.cargo/registry/src/index-1f/"
    annotated = f"""\
Ir
100 (100.0%)  PROGRAM TOTALS
1,000 (10.0%)  {crates}aws-sigv4-1.6.4/src/sign/v4.rs:cwl_sink::sender::put [{library}]
  200 ( 2.0%)  {crates}aws-smithy-runtime-1.1.0/src/a.rs:x [{library}]
   30 ( 0.3%)  /rustc/5f/library/core/src/ptr/mod.rs:core::ptr::drop_in_place<aws_smithy_types::SdkBody> [{library}]
    4 ( 0.1%)  /rustc/5f/library/core/src/fmt/mod.rs:core::fmt::write [{library}]
    5 ( 0.1%)  {profile_host.ROOT}/src/queue/push.rs:cwl_sink::queue::push [{library}]
    6 ( 0.1%)  ./malloc/./malloc/malloc.c:_int_free [/usr/lib/libc.so.6]
    7 ( 0.1%)  ./string/../memmove-vec-unaligned-erms.S:__memcpy_avx_unaligned [/usr/lib/libc.so.6]
    8 ( 0.1%)  {crates}sha2-0.11.1/src/sha256.rs:sha2::compress [{library}]
    9 ( 0.1%)  {profile_host.ROOT}/benches/performance/deliver.c:measure_deliver [/x/performance_host]
"""
    assert profile_host.instructions(annotated) == {
        "AWS SDK: signature": 1000,
        "AWS SDK: the rest": 230,
        profile_host.STANDARD: 4,
        "cwl-sink": 5,
        "allocator": 6,
        "copies": 7,
        profile_host.HASHING: 8,
        profile_host.HOST_CODE: 9,
    }
