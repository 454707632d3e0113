"""The measurements of each group. Each function makes one run of its part and adds the results to a Run."""

import contextlib
import dataclasses
import json
import subprocess
import time

import derive
import processes
from figures_table import MB
from processes import measure

# Nothing may be sent within a round. A flush between the rounds sends the events.
NO_TIMER = "flush_interval_ms=3600000"
BLOCK = ["when_full=block", "block_timeout_ms=240000"]
PLAIN = "compression=none"

PACED_PER_S, PACED_SECONDS = 250_000, 4
ALLOCATION_EVENTS = 1_000_000
SDK_REQUESTS = 2000

MANY_TARGETS, MANY_PER_S = 100_000, 1667  # one event a minute for each target
ONE_TARGET_SECONDS = 15  # three flush intervals, after which the memory of a host with one target is constant

BUSY_TARGETS = 10_000
BUSY_EVENTS_TIMES = 5  # the usual number of events, times five: 2,500 lines for each target
# A batch is at most a fifth of its target's bound. With this bound, one target makes batches as large as many do.
BUSY_OPTIONS = [PLAIN, *BLOCK, NO_TIMER, f"buffer_max_bytes={8 * 1024 * MB}", f"target_buffer_max_bytes={2 * MB}"]

BUFFER_MAX_BYTES = 64 * MB
# The short request time-out ends a stall together with its fault rule.
MEMORY_OPTIONS = [*BLOCK, f"buffer_max_bytes={BUFFER_MAX_BYTES}", "request_timeout_ms=2000"]
STALL_SECONDS = 4.0
# Once this share of the events has arrived, the endpoint has this effect on requests for STALL_SECONDS.
STALLS = [
    (0.1, {"hang": True}),
    (0.3, {"delay_ms": 1500}),
    (0.5, {"empty": 503}),
    (0.7, {"reset": "before"}),
    (0.85, {"hang": True}),
]


@dataclasses.dataclass(frozen=True)
class Amounts:
    """The amounts to measure."""

    runs: int
    events: int
    rounds: int
    scale_seconds: int
    idle_seconds: int
    memory_events: int


@contextlib.contextmanager
def record_errors(run, *names):
    """Records an error for its own figures only. They are not void, because the library may be the cause."""
    try:
        yield
    except (RuntimeError, OSError, KeyError, json.JSONDecodeError, subprocess.SubprocessError) as error:
        run.broken |= {name: f"{type(error).__name__}: {error}" for name in names}


def check_counts(run, measured):
    reasons = derive.count_mismatch(measured.output, measured.arrived)
    run.unaccounted |= bool(reasons)
    return reasons


def void_reasons(run, measured):
    return check_counts(run, measured) + derive.busy_machine(measured.others_cores)


# ---- push ----


def rounds(run, amounts):
    with record_errors(run, "push.ns_p50", "push.escape_loop_ns", "push.ratio_to_escape_loop", "push_event.ns_p50"):
        measured = measure("host", ["push"], [amounts.rounds, NO_TIMER])
        run.add(derive.push(measured.output), void_reasons(run, measured))


def threads(run, amounts):
    with record_errors(
        run, "push.two_threads_one_target", "push.two_threads_two_targets", "push.two_threads_escape_loop"
    ):
        measured = measure("host", ["threads"], [amounts.rounds, NO_TIMER])
        figures = derive.threads(measured.output)
        run.add(figures, void_reasons(run, measured) + derive.single_core(figures))


def allocations(run, _amounts):
    with record_errors(run, "push.allocations_per_event"):
        measured = measure("allocations", [], [ALLOCATION_EVENTS, *BLOCK])
        # A busy machine does not change the number of allocations.
        run.add(derive.allocations(measured.output), check_counts(run, measured))


def paced(run, _amounts):
    with record_errors(
        run, "push.ns_p999", "push.busy_ns_p50", "push.busy_ns_p99", "push.busy_ns_max", "push.clock_ns"
    ):
        measured = measure("host", ["paced"], [PACED_PER_S, PACED_SECONDS, *BLOCK])
        run.add(
            derive.paced(measured.output),
            void_reasons(run, measured) + derive.missed_pace(measured.output, PACED_PER_S),
        )


# ---- end to end ----


def deliver(run, name, amounts, options, tls=False):
    with record_errors(run, f"{name}.cpu_us_per_event", f"{name}.events_per_s"):
        measured = measure("host", ["deliver"], [amounts.events, 1, *BLOCK, *options], tls)
        run.add(derive.deliver(name, measured.output), void_reasons(run, measured))


def references(run, amounts):
    for name, subcommand in {
        "reference.zlib.cpu_us_per_event": ("gzip", processes.LINES, amounts.events, 1),
        "reference.sha256.cpu_us_per_event": ("sha256", processes.LINES, amounts.events),
    }.items():
        with record_errors(run, name):
            run.add({name: processes.reference(*subcommand)["cpu_us_per_event"]})
    with record_errors(run, "reference.sdk_request.cpu_us"):
        run.add({"reference.sdk_request.cpu_us": processes.sdk_request(SDK_REQUESTS)["cpu_us_per_request"]})


def add_comparison(run, name, value, *parts):
    """Adds a figure that is computed from others. It is void if one of them is, and has no value if one has none."""
    reasons = [reason for other in parts for reason in run.void.get(other, [])]
    missing = [other for other in parts if other not in run.values]
    if missing:
        run.broken[name] = f"without {', '.join(missing)}"
    elif value is None:
        run.broken[name] = "its parts contradict each other"
    else:
        run.add({name: value}, list(dict.fromkeys(reasons)))


def end_to_end(run, amounts):
    """Measures host and SDK alternately, so that compared figures are measured at nearly the same time."""
    plain, sdk = "e2e.plain.cpu_us_per_event", "reference.sdk.cpu_us_per_event"
    gzip, zlib = "e2e.gzip.cpu_us_per_event", "reference.zlib.cpu_us_per_event"
    deliver(run, "e2e.plain", amounts, [PLAIN])
    with record_errors(run, sdk):
        run.add({sdk: processes.plain_sdk(amounts.events)["cpu_us_per_event"]})
    deliver(run, "e2e.tls", amounts, [PLAIN], tls=True)
    deliver(run, "e2e.gzip", amounts, [])
    references(run, amounts)
    value = run.values.get
    add_comparison(run, "e2e.plain.ratio_to_sdk", derive.ratio(value(plain), value(sdk)), plain, sdk)
    add_comparison(
        run, "e2e.gzip.zlib_share", derive.zlib_share(value(zlib), value(gzip), value(plain)), zlib, gzip, plain
    )


# ---- scale, idle, size ----


def many(run, amounts):
    names = ["rss_mb", "rss_end_mb", "cpu_percent", "cpu_us_per_event", "worst_delivery_s", "lost", "opening_s"]
    with record_errors(run, *(f"scale.targets_100k.{name}" for name in names)):
        one = measure("host", ["many"], [1, MANY_PER_S, min(ONE_TARGET_SECONDS, amounts.scale_seconds)])
        all_of_them = measure("host", ["many"], [MANY_TARGETS, MANY_PER_S, amounts.scale_seconds])
        figures = derive.many(all_of_them.output, one.output)
        # A loss counts even where the machine was busy.
        run.add({"scale.targets_100k.lost": figures.pop("scale.targets_100k.lost")})
        run.add(figures, void_reasons(run, one) + void_reasons(run, all_of_them))


def busy(run, amounts):
    with record_errors(
        run, "scale.busy_10000_over_one", "scale.busy_10000.cpu_us_per_event", "scale.busy_1.cpu_us_per_event"
    ):
        events = BUSY_EVENTS_TIMES * amounts.events
        one = measure("host", ["deliver"], [events, 1, *BUSY_OPTIONS])
        all_of_them = measure("host", ["deliver"], [events, BUSY_TARGETS, *BUSY_OPTIONS])
        run.add(derive.busy(all_of_them.output, one.output), void_reasons(run, one) + void_reasons(run, all_of_them))


def idle(run, amounts):
    with record_errors(run, "idle.wakeups_30s", "idle.cpu_ms_30s"):
        measured = measure("host", ["idle"], [amounts.idle_seconds])
        reasons = check_counts(run, measured) + derive.missing_thread(measured.output)
        run.add(derive.idle(measured.output, amounts.idle_seconds), reasons)


def size(run, _amounts):
    with record_errors(run, "size.so_bytes"):
        run.add({"size.so_bytes": processes.LIBRARY.stat().st_size})
    with record_errors(run, "start.ms", "start.dlopen_ms", "idle.rss_mb"):
        run.add(derive.start(processes.measure_start()))


# ---- memory ----


def memory(run, amounts):
    fired = []

    def stalls(endpoint, process):
        for share, effect in STALLS:
            while endpoint.arrived_events() < share * amounts.memory_events:
                if process.poll() is not None:
                    return
                time.sleep(0.02)
            endpoint.control("PUT", "faults", [{"operation": "PutLogEvents", **effect}])
            time.sleep(STALL_SECONDS)
            fired.append(sum(rule["fired"] for rule in endpoint.control("GET", "faults")))
            endpoint.control("DELETE", "faults")

    names = ["rss_over_bound", "peak_mb", "sampled_peak_mb", "idle_after_mb", "events_per_s"]
    with record_errors(run, *(f"memory.{name}" for name in names)):
        measured = measure("host", ["memory"], [amounts.memory_events, *MEMORY_OPTIONS], meanwhile=stalls)
        fired += [0] * (len(STALLS) - len(fired))
        # A lost answer makes duplicates, so more events may arrive than were pushed.
        once = dataclasses.replace(measured, arrived=min(measured.arrived, measured.output["pushed"]))
        reasons = check_counts(run, once) + derive.untested_bound(measured.output, BUFFER_MAX_BYTES, fired)
        run.add(derive.memory(measured.output, BUFFER_MAX_BYTES, amounts.memory_events), reasons)


# The parts of each group. True: a part is measured RUNS times; False: once.
GROUPS = {
    "push": [(rounds, True), (threads, True), (allocations, True), (paced, True)],
    "e2e": [(end_to_end, True)],
    "scale": [(many, False), (busy, True)],
    "idle": [(idle, False)],
    "size": [(size, True)],
    "memory": [(memory, False)],
}
