"""The table of all figures of the performance bench, with units and targets, in the groups that are measured together.

1 MB is 1,048,576 bytes here.
"""

import dataclasses

MB = 1024 * 1024


@dataclasses.dataclass(frozen=True)
class Figure:
    """A measured figure. One without a target is for orientation only."""

    name: str
    unit: str
    bound: str | None = None  # "<=" or ">="
    limit: float | None = None

    @property
    def target(self):
        return None if self.bound is None else f"{self.bound} {self.limit:,}"


def at_most(name, unit, limit):
    return Figure(name, unit, "<=", limit)


def at_least(name, unit, limit):
    return Figure(name, unit, ">=", limit)


FLUSH_INTERVAL_S = 5.0  # the default of flush_interval_ms, which all measurements except push and threads use

GROUPS = {
    "push": [
        Figure("push.ns_p50", "ns"),
        Figure("push.escape_loop_ns", "ns"),
        at_most("push.ratio_to_escape_loop", "", 2.0),
        Figure("push_event.ns_p50", "ns"),
        # An event needs no allocation. A batch of about 6,900 events needs a few.
        at_most("push.allocations_per_event", "", 0.002),
        at_most("push.ns_p999", "ns", 5000),
        Figure("push.busy_ns_p50", "ns"),
        Figure("push.busy_ns_p99", "ns"),
        Figure("push.busy_ns_max", "ns"),
        Figure("push.clock_ns", "ns"),
        at_least("push.two_threads_one_target", "", 0.9),
        at_least("push.two_threads_two_targets", "", 1.6),
        # The machine's limit: two threads that share nothing. Below 1.8, the two figures above are void.
        Figure("push.two_threads_escape_loop", ""),
    ],
    "e2e": [
        at_most("e2e.plain.cpu_us_per_event", "µs", 0.25),
        at_most("e2e.plain.ratio_to_sdk", "", 0.45),
        Figure("e2e.plain.events_per_s", "1/s"),
        at_most("e2e.tls.cpu_us_per_event", "µs", 0.33),
        Figure("e2e.tls.events_per_s", "1/s"),
        at_most("e2e.gzip.cpu_us_per_event", "µs", 0.55),
        at_least("e2e.gzip.zlib_share", "", 0.8),
        Figure("e2e.gzip.events_per_s", "1/s"),
        Figure("reference.sdk.cpu_us_per_event", "µs"),
        Figure("reference.zlib.cpu_us_per_event", "µs"),
        Figure("reference.sha256.cpu_us_per_event", "µs"),
        Figure("reference.sdk_request.cpu_us", "µs"),
    ],
    "scale": [
        at_most("scale.targets_100k.rss_mb", "MB", 150),
        at_most("scale.targets_100k.cpu_percent", "%", 2),
        at_most("scale.targets_100k.worst_delivery_s", "s", FLUSH_INTERVAL_S + 1),
        at_most("scale.targets_100k.lost", "events", 0),
        Figure("scale.targets_100k.rss_end_mb", "MB"),
        # Each of these events is a request of its own; compare with reference.sdk_request.cpu_us.
        Figure("scale.targets_100k.cpu_us_per_event", "µs"),
        Figure("scale.targets_100k.opening_s", "s"),
        at_most("scale.busy_10000_over_one", "", 1.5),
        Figure("scale.busy_10000.cpu_us_per_event", "µs"),
        Figure("scale.busy_1.cpu_us_per_event", "µs"),
    ],
    "idle": [
        at_most("idle.wakeups_30s", "", 5),
        Figure("idle.cpu_ms_30s", "ms"),
    ],
    "size": [
        at_most("size.so_bytes", "bytes", 8 * MB),
        at_most("start.ms", "ms", 10),
        Figure("start.dlopen_ms", "ms"),
        at_most("idle.rss_mb", "MB", 8),
    ],
    "memory": [
        at_most("memory.rss_over_bound", "", 1.0),
        Figure("memory.peak_mb", "MB"),
        Figure("memory.sampled_peak_mb", "MB"),
        at_most("memory.idle_after_mb", "MB", 24),
        Figure("memory.events_per_s", "1/s"),
    ],
}

FIGURES = {figure.name: figure for figures in GROUPS.values() for figure in figures}
