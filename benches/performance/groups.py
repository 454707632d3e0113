"""The measurements, by group: each function is one run of its part, and adds to a Run what it came to."""

import contextlib
import dataclasses
import json
import subprocess
import time

import derive
import processes
from figures_table import MB
from processes import measure

# Within a round nothing is to be sent; between rounds a flush sends it.
NO_TIMER = "flush_interval_ms=3600000"
BLOCK = ["when_full=block", "block_timeout_ms=240000"]
PLAIN = "compression=none"

PACED_PER_S, PACED_SECONDS = 250_000, 4
ALLOCATION_EVENTS = 1_000_000
SDK_REQUESTS = 2000

MANY_TARGETS, MANY_PER_S = 100_000, 1667  # an event a minute each
ONE_TARGET_SECONDS = 15  # of the host with one target: as many flush intervals as make its memory level off

BUSY_TARGETS = 10_000
BUSY_EVENTS_TIMES = 5  # as elsewhere: 2,500 lines a target
# A batch takes at most a fifth of what its target may hold: so those of one target are as large as those of many.
BUSY_OPTIONS = [PLAIN, *BLOCK, NO_TIMER, f"buffer_max_bytes={8 * 1024 * MB}", f"target_buffer_max_bytes={2 * MB}"]

BUFFER_MAX_BYTES = 64 * MB
# A request that is not answered is given up after this, so that a stall is over when the rule is.
MEMORY_OPTIONS = [*BLOCK, f"buffer_max_bytes={BUFFER_MAX_BYTES}", "request_timeout_ms=2000"]
STALL_SECONDS = 4.0
# When so much of the events has arrived, the endpoint does this for STALL_SECONDS.
STALLS = [
    (0.1, {"hang": True}),
    (0.3, {"delay_ms": 1500}),
    (0.5, {"empty": 503}),
    (0.7, {"reset": "before"}),
    (0.85, {"hang": True}),
]


@dataclasses.dataclass(frozen=True)
class Asked:
    """How much is to be measured."""

    runs: int
    events: int
    rounds: int
    scale_seconds: int
    idle_seconds: int
    memory_events: int


@contextlib.contextmanager
def part(run, *names):
    """What breaks off costs its own figures only. It may be the library's doing, so it is not void."""
    try:
        yield
    except (RuntimeError, OSError, KeyError, json.JSONDecodeError, subprocess.SubprocessError) as error:
        run.broken |= {name: f"{type(error).__name__}: {error}" for name in names}


def uncounted(run, measured):
    reasons = derive.uncounted(measured.told, measured.taken)
    run.unaccounted |= bool(reasons)
    return reasons


def void(run, measured):
    return uncounted(run, measured) + derive.disturbed(measured.others_cores)


# ---- push ----


def rounds(run, asked):
    with part(run, "push.ns_p50", "push.escape_loop_ns", "push.ratio_to_escape_loop", "push_event.ns_p50"):
        measured = measure("host", ["push"], [asked.rounds, NO_TIMER])
        run.add(derive.push(measured.told), void(run, measured))


def threads(run, asked):
    with part(run, "push.two_threads_one_target", "push.two_threads_two_targets", "push.two_threads_escape_loop"):
        measured = measure("host", ["threads"], [asked.rounds, NO_TIMER])
        figures = derive.threads(measured.told)
        run.add(figures, void(run, measured) + derive.one_core_for_two(figures))


def allocations(run, _asked):
    with part(run, "push.allocations_per_event"):
        measured = measure("allocations", [], [ALLOCATION_EVENTS, *BLOCK])
        # Others cannot make the thread allocate.
        run.add(derive.allocations(measured.told), uncounted(run, measured))


def paced(run, _asked):
    with part(run, "push.ns_p999", "push.busy_ns_p50", "push.busy_ns_p99", "push.busy_ns_max", "push.clock_ns"):
        measured = measure("host", ["paced"], [PACED_PER_S, PACED_SECONDS, *BLOCK])
        run.add(derive.paced(measured.told), void(run, measured) + derive.off_pace(measured.told, PACED_PER_S))


# ---- end to end ----


def deliver(run, name, asked, options, tls=False):
    with part(run, f"{name}.cpu_us_per_event", f"{name}.events_per_s"):
        measured = measure("host", ["deliver"], [asked.events, 1, *BLOCK, *options], tls)
        run.add(derive.deliver(name, measured.told), void(run, measured))


def references(run, asked):
    for name, subcommand in {
        "reference.zlib.cpu_us_per_event": ("gzip", processes.LINES, asked.events, 1),
        "reference.sha256.cpu_us_per_event": ("sha256", processes.LINES, asked.events),
    }.items():
        with part(run, name):
            run.add({name: processes.reference(*subcommand)["cpu_us_per_event"]})
    with part(run, "reference.sdk_request.cpu_us"):
        run.add({"reference.sdk_request.cpu_us": processes.sdk_request(SDK_REQUESTS)["cpu_us_per_request"]})


def compared(run, name, value, *parts):
    """A figure made of others: void where one of them is, and without a value where one has none."""
    reasons = [reason for other in parts for reason in run.void.get(other, [])]
    missing = [other for other in parts if other not in run.values]
    if missing:
        run.broken[name] = f"without {', '.join(missing)}"
    elif value is None:
        run.broken[name] = "the parts do not go together"
    else:
        run.add({name: value}, list(dict.fromkeys(reasons)))


def end_to_end(run, asked):
    """Host and SDK alternate, so that what is compared was measured at nearly the same time."""
    plain, sdk = "e2e.plain.cpu_us_per_event", "reference.sdk.cpu_us_per_event"
    gzip, zlib = "e2e.gzip.cpu_us_per_event", "reference.zlib.cpu_us_per_event"
    deliver(run, "e2e.plain", asked, [PLAIN])
    with part(run, sdk):
        run.add({sdk: processes.plain_sdk(asked.events)["cpu_us_per_event"]})
    deliver(run, "e2e.tls", asked, [PLAIN], tls=True)
    deliver(run, "e2e.gzip", asked, [])
    references(run, asked)
    value = run.values.get
    compared(run, "e2e.plain.ratio_to_sdk", derive.ratio(value(plain), value(sdk)), plain, sdk)
    compared(run, "e2e.gzip.zlib_share", derive.zlib_share(value(zlib), value(gzip), value(plain)), zlib, gzip, plain)


# ---- scale, idle, size ----


def many(run, asked):
    names = ["rss_mb", "rss_end_mb", "cpu_percent", "cpu_us_per_event", "worst_delivery_s", "lost", "opening_s"]
    with part(run, *(f"scale.targets_100k.{name}" for name in names)):
        one = measure("host", ["many"], [1, MANY_PER_S, min(ONE_TARGET_SECONDS, asked.scale_seconds)])
        all_of_them = measure("host", ["many"], [MANY_TARGETS, MANY_PER_S, asked.scale_seconds])
        figures = derive.many(all_of_them.told, one.told)
        # A loss is one whatever else went on.
        run.add({"scale.targets_100k.lost": figures.pop("scale.targets_100k.lost")})
        run.add(figures, void(run, one) + void(run, all_of_them))


def busy(run, asked):
    with part(run, "scale.busy_10000_over_one", "scale.busy_10000.cpu_us_per_event", "scale.busy_1.cpu_us_per_event"):
        events = BUSY_EVENTS_TIMES * asked.events
        one = measure("host", ["deliver"], [events, 1, *BUSY_OPTIONS])
        all_of_them = measure("host", ["deliver"], [events, BUSY_TARGETS, *BUSY_OPTIONS])
        run.add(derive.busy(all_of_them.told, one.told), void(run, one) + void(run, all_of_them))


def idle(run, asked):
    with part(run, "idle.wakeups_30s", "idle.cpu_ms_30s"):
        measured = measure("host", ["idle"], [asked.idle_seconds])
        reasons = uncounted(run, measured) + derive.thread_ended(measured.told)
        run.add(derive.idle(measured.told, asked.idle_seconds), reasons)


def size(run, _asked):
    with part(run, "size.so_bytes"):
        run.add({"size.so_bytes": processes.LIBRARY.stat().st_size})
    with part(run, "start.ms", "start.dlopen_ms", "idle.rss_mb"):
        run.add(derive.start(processes.start()))


# ---- memory ----


def memory(run, asked):
    fired = []

    def stalls(endpoint, process):
        for share, effect in STALLS:
            while endpoint.taken() < share * asked.memory_events:
                if process.poll() is not None:
                    return
                time.sleep(0.02)
            endpoint.control("PUT", "faults", [{"operation": "PutLogEvents", **effect}])
            time.sleep(STALL_SECONDS)
            fired.append(sum(rule["fired"] for rule in endpoint.control("GET", "faults")))
            endpoint.control("DELETE", "faults")

    names = ["rss_over_bound", "peak_mb", "sampled_peak_mb", "idle_after_mb", "events_per_s"]
    with part(run, *(f"memory.{name}" for name in names)):
        measured = measure("host", ["memory"], [asked.memory_events, *MEMORY_OPTIONS], meanwhile=stalls)
        fired += [0] * (len(STALLS) - len(fired))
        # An answer that was lost on the way makes duplicates at the endpoint: there may be more than were pushed.
        once = dataclasses.replace(measured, taken=min(measured.taken, measured.told["pushed"]))
        reasons = uncounted(run, once) + derive.unfilled(measured.told, BUFFER_MAX_BYTES, fired)
        run.add(derive.memory(measured.told, BUFFER_MAX_BYTES, asked.memory_events), reasons)


# What is measured together, and whether RUNS times or once.
GROUPS = {
    "push": [(rounds, True), (threads, True), (allocations, True), (paced, True)],
    "e2e": [(end_to_end, True)],
    "scale": [(many, False), (busy, True)],
    "idle": [(idle, False)],
    "size": [(size, True)],
    "memory": [(memory, False)],
}
