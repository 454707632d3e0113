"""What the performance bench measures: every figure's unit and target, by the group that is measured together.

A MB here is 1,048,576 bytes.
"""

import dataclasses

MB = 1024 * 1024


@dataclasses.dataclass(frozen=True)
class Figure:
    """A figure that has no target is for orientation."""

    name: str
    unit: str
    bound: str | None = None  # "<=" or ">="
    limit: float | None = None

    @property
    def target(self):
        return None if self.bound is None else f"{self.bound} {self.limit:,}"


def most(name, unit, limit):
    return Figure(name, unit, "<=", limit)


def least(name, unit, limit):
    return Figure(name, unit, ">=", limit)


FLUSH_INTERVAL_S = 5.0  # the default of flush_interval_ms, which every measurement but push and threads has

GROUPS = {
    "push": [
        Figure("push.ns_p50", "ns"),
        Figure("push.escape_loop_ns", "ns"),
        most("push.ratio_to_escape_loop", "", 2.0),
        Figure("push_event.ns_p50", "ns"),
        # None for an event; what a batch needs for its own book-keeping comes once in some 6,900 events.
        most("push.allocations_per_event", "", 0.002),
        most("push.ns_p999", "ns", 5000),
        Figure("push.busy_ns_p50", "ns"),
        Figure("push.busy_ns_p99", "ns"),
        Figure("push.busy_ns_max", "ns"),
        Figure("push.clock_ns", "ns"),
        least("push.two_threads_one_target", "", 0.9),
        least("push.two_threads_two_targets", "", 1.6),
        # What the machine has two threads do that share nothing; below 1.8 the two figures above are void.
        Figure("push.two_threads_escape_loop", ""),
    ],
    "e2e": [
        most("e2e.plain.cpu_us_per_event", "µs", 0.25),
        most("e2e.plain.ratio_to_sdk", "", 0.45),
        Figure("e2e.plain.events_per_s", "1/s"),
        most("e2e.tls.cpu_us_per_event", "µs", 0.33),
        Figure("e2e.tls.events_per_s", "1/s"),
        most("e2e.gzip.cpu_us_per_event", "µs", 0.55),
        least("e2e.gzip.zlib_share", "", 0.8),
        Figure("e2e.gzip.events_per_s", "1/s"),
        Figure("reference.sdk.cpu_us_per_event", "µs"),
        Figure("reference.zlib.cpu_us_per_event", "µs"),
        Figure("reference.sha256.cpu_us_per_event", "µs"),
        Figure("reference.sdk_request.cpu_us", "µs"),
    ],
    "scale": [
        most("scale.targets_100k.rss_mb", "MB", 150),
        most("scale.targets_100k.cpu_percent", "%", 2),
        most("scale.targets_100k.worst_delivery_s", "s", FLUSH_INTERVAL_S + 1),
        most("scale.targets_100k.lost", "events", 0),
        Figure("scale.targets_100k.rss_end_mb", "MB"),
        # Each of these events is a request of its own: to be read beside reference.sdk_request.cpu_us.
        Figure("scale.targets_100k.cpu_us_per_event", "µs"),
        Figure("scale.targets_100k.opening_s", "s"),
        most("scale.busy_10000_over_one", "", 1.5),
        Figure("scale.busy_10000.cpu_us_per_event", "µs"),
        Figure("scale.busy_1.cpu_us_per_event", "µs"),
    ],
    "idle": [
        most("idle.wakeups_30s", "", 5),
        Figure("idle.cpu_ms_30s", "ms"),
    ],
    "size": [
        most("size.so_bytes", "bytes", 8 * MB),
        most("start.ms", "ms", 10),
        Figure("start.dlopen_ms", "ms"),
        most("idle.rss_mb", "MB", 8),
    ],
    "memory": [
        most("memory.rss_over_bound", "", 1.0),
        Figure("memory.peak_mb", "MB"),
        Figure("memory.sampled_peak_mb", "MB"),
        most("memory.idle_after_mb", "MB", 24),
        Figure("memory.events_per_s", "1/s"),
    ],
}

FIGURES = {figure.name: figure for figures in GROUPS.values() for figure in figures}
