"""Computes the figures of a scenario, compares them with its baseline and decides whether the limits are met.

Pure: only reads the measurements. The limits are in limits.py.
"""

import collections

import figures
import limits
from scenarios import QUOTA_PER_SECOND, UPLINK_BYTES_PER_SECOND

# A quarter of the flush interval, as much as the p99 may grow. A host that is later measures only itself.
LATENESS_MS_MAX = 50.0


def own_figures(run, scenario, times):
    """Returns the figures of one measurement, which may be a baseline."""
    latencies = [event.latency * 1000 for event in figures.pushed_within(run.events, times.begin, times.end)]
    delivered = delivered_by_group(run, scenario)
    healthy = scenario.healthy.groups()
    before_shutdown = run.before_shutdown
    return {
        "throughput_per_s": figures.throughput(run.events, times.begin, times.end),
        "p50_ms": figures.percentile(latencies, 50),
        "p99_ms": figures.percentile(latencies, 99),
        "max_ms": max(latencies, default=None),
        "requests_per_s": (run.end.requests(healthy) - run.begin.requests(healthy)) / (run.end.at - run.begin.at),
        "lost": sum(map(figures.wrongly_acked, run.loads))
        + figures.missing(delivered, run.taken)
        + run.host["strange_acks"],
        "unaccounted": figures.unaccounted(run.loads, run.host["statistics"]),
        "given_up": sum(before_shutdown[f"{name}_events"] for name in ("rejected", "dropped", "abandoned")),
        "duplicates": figures.duplicates(delivered, run.taken),
        "healthy_duplicates": figures.duplicates({group: delivered[group] for group in healthy}, run.taken),
        "healthy_rejected": run.loads[0]["refused_full"],
        "accepted": sum(load["accepted"] for load in run.loads),
        "delivered": sum(load["delivered"] for load in run.loads),
        "refused_otherwise": sum(load["refused_otherwise"] for load in run.loads),
        "requests_failed": run.host["statistics"]["requests_failed"],
        # A pause that is too short to be seen in the statistics is still in the log.
        "pauses": max(run.host["pause_count"], run.host["pause_messages"]),
        "warnings": run.host["warnings"],
        "first_warnings": run.host["first_warnings"],
        "peak_in_flight": run.host["peak_in_flight"],
        "peak_slow": run.host["peak_slow"],
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


def delivered_by_group(run, scenario):
    """Returns the events acked as delivered, by group. Several loads may push to one group."""
    delivered = collections.Counter()
    for load, counts in zip([scenario.healthy, *scenario.loads], run.loads, strict=False):
        by_target = [target.delivered for target in figures.counts_by_target(counts)]
        groups = load.groups()
        for number, count in enumerate(by_target):
            delivered[groups[0] if load.stream else groups[number]] += count
    return delivered


def load_figures(load, counts, requests):
    """Returns the figures of a load of faulty targets: the worst target's wait, the fairness, the cost.

    `requests` is None where it is not known: the endpoint counts by group, and several loads push to this one.
    """
    by_target = figures.counts_by_target(counts)
    return {
        "prefix": load.prefix,
        "stream": load.stream,
        "accepted": counts["accepted"],
        "delivered": counts["delivered"],
        "abandoned": counts["abandoned"],
        "delivered_in_run": sum(target.delivered_in_run for target in by_target),
        "targets_served_in_run": sum(target.delivered_in_run > 0 for target in by_target),
        "longest_wait_s": max(target.longest_wait_ms for target in by_target) / 1000,
        "jain": figures.jain([target.delivered_in_run for target in by_target]),
        "requests_per_target": None if requests is None else requests / load.targets,
    }


def compare(scenario, baseline_run, run, times):
    """Returns the scenario's entry in the results: its figures, and whether they meet the limits.

    `baseline_run` is None in a scenario that is not compared.
    """
    own = own_figures(run, scenario, times)
    baseline = own_figures(baseline_run, scenario, times) if baseline_run else None
    rejected = {
        role: sum(load["refused_full"] for load in run.loads if load["role"] == role) for role in ("failing", "flood")
    }

    def ratio(name):
        return figures.ratio(own[name], baseline[name]) if baseline else None

    entry = {
        "throughput_ratio": ratio("throughput_per_s"),
        "p50_ratio": ratio("p50_ms"),
        "p99_ratio": ratio("p99_ms"),
        "requests_ratio": ratio("requests_per_s"),
        "lost": own["lost"],
        "duplicates": own["duplicates"],
        "pauses": own["pauses"],
        "pauses_max": scenario.pauses_max,
        "healthy_rejected": own["healthy_rejected"],
        "failing_rejected": rejected["failing"],
        "flood_rejected": rejected["flood"],
        "faults_fired": run.faults_fired,
        "flush_interval_ms": scenario.flush_interval_ms(),
        "loads": [
            load_figures(*of_load)
            for of_load in zip(scenario.loads, run.loads[1:], run.requests_by_load[1:], strict=True)
        ],
    }
    for kind in scenario.kinds:
        if kind in FIGURES_BY_KIND:
            entry |= FIGURES_BY_KIND[kind](scenario, run, times, baseline)
    if times.down is not None:
        entry["down_s"] = [times.down, times.returned]
    entry |= {"baseline": baseline, "own": own}
    entry["void"] = void_reasons(scenario, entry)
    entry["reasons"] = limits.missed(scenario, entry)
    entry["pass"] = not entry["void"] and not entry["reasons"]
    return entry


def broken_off(error):
    """Returns the entry of a scenario that broke off. It is not void: the library may be the cause."""
    names = ("throughput_ratio", "p50_ratio", "p99_ratio", "lost")
    return dict.fromkeys(names) | {"void": [], "reasons": [str(error)], "pass": False}


def rank(entry):
    """Orders entries from the worst to the best: broken off, missed, void, met; then the higher p99 first."""
    p99 = entry["own"]["p99_ms"] or 0 if "own" in entry else 0
    return entry["pass"], "own" in entry, not entry["reasons"], -p99


def throttle_figures(scenario, run, times, _baseline):
    elapsed = run.end.at - run.settled.at
    used, throttled = figures.quota(run.settled.puts, run.end.puts, elapsed, QUOTA_PER_SECOND)
    delivered = figures.delivered_by_target(run.events, scenario.healthy.targets, times.settled, times.end)
    return {"quota_used": used, "throttled_share": throttled, "jain": figures.jain(delivered)}


def outage_figures(_scenario, run, times, baseline):
    recovered = figures.recovery(run.events, times.returned, times.end, (baseline["p99_ms"] or 0) / 1000)
    return {"requests_while_down": run.faults_fired, "recovery_s": recovered}


def all_slow_figures(_scenario, run, times, _baseline):
    return {"caught_up_s": figures.caught_up(run.events, times.returned)}


def all_503_figures(scenario, run, times, _baseline):
    back = figures.all_back(run.events, scenario.healthy.targets, times.returned)
    return {"requests_while_down": run.faults_fired, "all_back_s": back}


def creation_figures(scenario, run, _times, _baseline):
    """Counts per stream. Only the load with the new streams creates anything."""
    streams = scenario.loads[0].targets
    creates = run.pushed.operation("CreateLogStream", run.created)
    throttled = creates["errors"].get("ThrottlingException", 0)
    puts = run.requests_by_load[1] - creates["requests"]
    return {
        "puts_per_stream": puts / streams,
        "creates_per_stream": (creates["requests"] - throttled) / streams,
        "throttled_creates_per_stream": throttled / streams,
    }


def uplink_figures(_scenario, run, _times, _baseline):
    taken = sum(run.taken.values())
    new_share = sum(load["delivered"] for load in run.loads) / taken if taken else 0.0
    measured = run.end.puts["body_bytes"] - run.begin.puts["body_bytes"]
    whole = run.last.puts["body_bytes"] - run.created.puts["body_bytes"]
    bytes_read = run.last.body_bytes_read - run.created.body_bytes_read
    seconds = run.end.at - run.begin.at
    return {
        "goodput": figures.goodput(measured, min(1.0, new_share), seconds, UPLINK_BYTES_PER_SECOND),
        "uploads": figures.uploads(bytes_read, whole, min(1.0, new_share)),
    }


def idle_close_figures(_scenario, run, _times, _baseline):
    return {"closed_idle": run.last.closed_idle - run.created.closed_idle}


FIGURES_BY_KIND = {
    "idle_close": idle_close_figures,
    "throttle": throttle_figures,
    "outage": outage_figures,
    "all_slow": all_slow_figures,
    "all_503": all_503_figures,
    "creation": creation_figures,
    "uplink": uplink_figures,
}


def void_reasons(scenario, entry):
    """Returns the reasons for which the figures say nothing about the library."""
    reasons = []
    for name in ("baseline", "own"):
        if entry[name] is None:
            continue
        late = entry[name]["worst_lateness_ms"]
        if late > LATENESS_MS_MAX:
            reasons.append(f"host late by {late:.0f} ms ({name}), at most {LATENESS_MS_MAX:.0f}")
        if entry[name]["p99_ms"] is None:
            reasons.append(f"no event was pushed ({name})")
    if scenario.rules and entry["faults_fired"] == 0:
        reasons.append("no request met a fault")
    return reasons
