"""Compares the measurement of a scenario with its baseline and decides whether the limits are met.

Pure: only reads the measurements.
"""

import figures
from scenarios import HEALTHY, QUOTA_PER_SECOND

THROUGHPUT_RATIO_MIN = 0.98
QUOTA_USED_MIN = 0.9
THROTTLED_SHARE_BELOW = 0.2
JAIN_MIN = 0.95
REQUESTS_WHILE_DOWN_MAX = 20
RECOVERY_SECONDS_MAX = 5.0

# A quarter of the flush interval, as much as the p99 may grow. A host that is later measures only itself.
LATENESS_MS_MAX = 50.0


def own_figures(run, times):
    """Returns the figures of one measurement, which may be a baseline."""
    latencies = [event.latency * 1000 for event in figures.pushed_within(run.events, times.begin, times.end)]
    healthy = run.loads[0]
    taken = [[run.taken[f"{load['prefix']}{n}"] for n in range(len(load["delivered_by_target"]))] for load in run.loads]
    return {
        "throughput_per_s": figures.throughput(run.events, times.begin, times.end),
        "p50_ms": figures.percentile(latencies, 50),
        "p99_ms": figures.percentile(latencies, 99),
        "max_ms": max(latencies, default=None),
        "requests_per_s": healthy_requests_per_s(run),
        "lost": sum(figures.lost(*pair) for pair in zip(run.loads, taken, strict=True)) + run.host["strange_acks"],
        "duplicates": sum(figures.duplicates(*pair) for pair in zip(run.loads, taken, strict=True)),
        "healthy_duplicates": figures.duplicates(healthy, taken[0]),
        "healthy_rejected": healthy["refused_full"],
        "accepted": sum(load["accepted"] for load in run.loads),
        "delivered": sum(load["delivered"] for load in run.loads),
        "refused_otherwise": sum(load["refused_otherwise"] for load in run.loads),
        "worst_lateness_ms": run.host["worst_lateness_ms"],
        "worst_push_ms": run.host["worst_push_ms"],
        "shutdown": run.host["shutdown"],
        "shutdown_ms": run.host["shutdown_ms"],
        "cores": run.cores,
        "p99_ms_series": {
            "bucket_s": figures.SERIES_BUCKET_SECONDS,
            "begin_s": times.begin,
            "values": [
                None if p99 is None else round(p99 * 1000, 1)
                for p99 in figures.p99_series(run.events, 0.0, times.pushed)
            ],
        },
    }


def healthy_requests_per_s(run):
    """Returns the request rate of the healthy targets. A higher one means smaller batches or failed requests."""
    groups = HEALTHY.groups()
    return (run.end.requests(groups) - run.begin.requests(groups)) / (run.end.at - run.begin.at)


def compare(scenario, baseline_run, run, times):
    """Returns the scenario's entry in the results: its figures, and whether they meet the limits."""
    baseline, own = own_figures(baseline_run, times), own_figures(run, times)
    rejected = {
        role: sum(load["refused_full"] for load in run.loads if load["role"] == role) for role in ("failing", "flood")
    }
    entry = {
        "throughput_ratio": figures.ratio(own["throughput_per_s"], baseline["throughput_per_s"]),
        "p50_ratio": figures.ratio(own["p50_ms"], baseline["p50_ms"]),
        "p99_ratio": figures.ratio(own["p99_ms"], baseline["p99_ms"]),
        "requests_ratio": figures.ratio(own["requests_per_s"], baseline["requests_per_s"]),
        "lost": own["lost"],
        "duplicates": own["duplicates"],
        "healthy_rejected": own["healthy_rejected"],
        "failing_rejected": rejected["failing"],
        "flood_rejected": rejected["flood"],
        "faults_fired": run.faults_fired,
        "failing_requests": run.failing_requests,
    }
    if scenario.kind == "throttle":
        entry |= throttle_figures(run, times)
    if scenario.kind == "outage":
        entry |= outage_figures(run, times, baseline["p99_ms"])
    entry |= {"baseline": baseline, "own": own}
    entry["void"] = void_reasons(entry)
    entry["reasons"] = missed_limits(scenario.kind, entry)
    entry["pass"] = not entry["void"] and not entry["reasons"]
    return entry


def broken_off(error):
    """Returns the entry of a scenario that broke off. It is not void: the library may be the cause."""
    names = ("throughput_ratio", "p50_ratio", "p99_ratio", "lost")
    return dict.fromkeys(names) | {"void": [], "reasons": [str(error)], "pass": False}


def throttle_figures(run, times):
    elapsed = run.end.at - run.settled.at
    used, throttled = figures.quota(run.settled.puts, run.end.puts, elapsed, QUOTA_PER_SECOND)
    delivered = figures.delivered_by_target(run.events, HEALTHY.targets, times.settled, times.end)
    return {"quota_used": used, "throttled_share": throttled, "jain": figures.jain(delivered)}


def outage_figures(run, times, baseline_p99_ms):
    recovered = figures.recovery(run.events, times.returned, times.end, (baseline_p99_ms or 0) / 1000)
    return {
        "requests_while_down": run.faults_fired,
        "recovery_s": recovered,
        "down_s": [times.down, times.returned],
    }


def void_reasons(entry):
    """Returns the reasons for which the figures say nothing about the library."""
    reasons = []
    for name in ("baseline", "own"):
        late = entry[name]["worst_lateness_ms"]
        if late > LATENESS_MS_MAX:
            reasons.append(f"host late by {late:.0f} ms ({name}), at most {LATENESS_MS_MAX:.0f}")
        if entry[name]["p99_ms"] is None:
            reasons.append(f"no event was pushed ({name})")
    if entry["faults_fired"] == 0:
        reasons.append("no request met a fault")
    return reasons


def missed_limits(kind, entry):
    """Returns the figures that miss their limits, as texts."""
    limits = [
        ("lost", entry["lost"], "at most", 0),
        ("lost in the baseline", entry["baseline"]["lost"], "at most", 0),
        ("refused for another reason than a full buffer", entry["own"]["refused_otherwise"], "at most", 0),
    ]
    if kind == "isolation":
        limits += [
            ("throughput", entry["throughput_ratio"], "at least", THROUGHPUT_RATIO_MIN),
            ("p99", entry["p99_ratio"], "at most", figures.P99_RATIO_MAX),
            ("healthy rejected", entry["healthy_rejected"], "at most", 0),
        ]
    if kind == "throttle":
        limits += [
            ("quota used", entry["quota_used"], "at least", QUOTA_USED_MIN),
            ("throttled", entry["throttled_share"], "below", THROTTLED_SHARE_BELOW),
            ("Jain's index", entry["jain"], "at least", JAIN_MIN),
        ]
    if kind == "outage":
        limits += [
            ("requests while down", entry["requests_while_down"], "at most", REQUESTS_WHILE_DOWN_MAX),
            ("recovery in s", entry["recovery_s"], "at most", RECOVERY_SECONDS_MAX),
        ]
    return [
        f"{name} {format_value(value)}, {bound} {limit:g}"
        for name, value, bound, limit in limits
        if not within(value, bound, limit)
    ]


def within(value, bound, limit):
    if value is None:
        return False
    return {"at most": value <= limit, "at least": value >= limit, "below": value < limit}[bound]


def format_value(value):
    """Formats a value with three decimals, so that rounding never moves it across a limit that has two."""
    if value is None:
        return "none"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
