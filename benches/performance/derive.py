"""From what the programs tell to the figures: the bench's arithmetic. Pure functions."""

import statistics

from figures_table import MB

MEMORY_SLACK_BYTES = 16 * MB
MEMORY_FACTOR = 1.3
# So many cores that other processes keep busy leave too little of a small machine for what is measured.
OTHERS_CORES_MOST = 0.25
TWO_CORES_LEAST = 1.8  # of two threads that share nothing, over one
PACE_KEPT_LEAST = 0.95
BUFFER_FILLED_LEAST = 0.9
KB_A_MB = 1024


def push(told):
    """The median round of each kind, per event. Of the two kinds, the rounds of a run: they alternate."""
    kinds = ("escape_ns", "push_ns", "push_event_ns")
    per_event = {kind: statistics.median(told[kind]) / told["events"] for kind in kinds}
    return {
        "push.ns_p50": per_event["push_ns"],
        "push.escape_loop_ns": per_event["escape_ns"],
        "push.ratio_to_escape_loop": per_event["push_ns"] / per_event["escape_ns"],
        "push_event.ns_p50": per_event["push_event_ns"],
    }


def threads(told):
    """Throughput of two threads over that of one, from the median rounds."""
    per_ns = {kind: told["events"][kind] / statistics.median(told[kind]) for kind in told["events"]}
    return {
        "push.two_threads_one_target": per_ns["one_target_ns"] / per_ns["one_ns"],
        "push.two_threads_two_targets": per_ns["two_targets_ns"] / per_ns["one_ns"],
        "push.two_threads_escape_loop": per_ns["two_loops_ns"] / per_ns["one_loop_ns"],
    }


def allocations(told):
    return {"push.allocations_per_event": told["allocations"] / told["events"]}


def paced(told):
    return {
        "push.ns_p999": told["p999_ns"],
        "push.busy_ns_p50": told["p50_ns"],
        "push.busy_ns_p99": told["p99_ns"],
        "push.busy_ns_max": told["max_ns"],
        "push.clock_ns": told["clock_ns"],
    }


def deliver(name, told):
    return {
        f"{name}.cpu_us_per_event": told["cpu_us"] / told["events"],
        f"{name}.events_per_s": told["events"] / (told["wall_us"] / 1e6),
    }


def cpu_per_event(told):
    return told["cpu_us"] / told["events"]


def ratio(own, other):
    """None where there is nothing to compare with."""
    return own / other if own is not None and other else None


def zlib_share(zlib, gzip, plain):
    """What share of the CPU time that compression adds is zlib's own. None where it adds nothing, or one is unknown."""
    if None in (zlib, gzip, plain) or gzip <= plain:
        return None
    return zlib / (gzip - plain)


def many(told, told_of_one):
    return {
        "scale.targets_100k.rss_mb": (told["rss_kb"] - told_of_one["rss_kb"]) / KB_A_MB,
        "scale.targets_100k.rss_end_mb": (told["rss_end_kb"] - told_of_one["rss_end_kb"]) / KB_A_MB,
        "scale.targets_100k.cpu_us_per_event": cpu_per_event(told),
        "scale.targets_100k.cpu_percent": 100 * told["cpu_us"] / told["wall_us"],
        "scale.targets_100k.worst_delivery_s": told["worst_delivery_s"],
        "scale.targets_100k.lost": told["pushed"] - told["acked_delivered"],
        "scale.targets_100k.opening_s": told["opening_s"],
    }


def busy(many_told, one_told):
    own, one = cpu_per_event(many_told), cpu_per_event(one_told)
    return {
        "scale.busy_10000_over_one": ratio(own, one),
        "scale.busy_10000.cpu_us_per_event": own,
        "scale.busy_1.cpu_us_per_event": one,
    }


def idle(told, seconds):
    """For 30 s, however long it was looked at."""
    return {
        "idle.wakeups_30s": told["wakeups"] * 30 / seconds,
        "idle.cpu_ms_30s": told["cpu_us"] / 1000 * 30 / seconds,
    }


def start(told):
    return {
        "start.ms": told["ms"],
        "start.dlopen_ms": told["dlopen_ms"],
        "idle.rss_mb": (told["after_kb"] - told["before_kb"]) / KB_A_MB,
    }


def memory(told, buffer_max_bytes, events):
    """The kernel's high-water mark counts; the samples are told beside it."""
    own = {kind: (told[f"{kind}_kb"] - told["before_kb"]) / KB_A_MB for kind in ("peak", "sampled", "idle")}
    bound = (MEMORY_FACTOR * buffer_max_bytes + MEMORY_SLACK_BYTES) / MB
    return {
        "memory.rss_over_bound": own["peak"] / bound,
        "memory.peak_mb": own["peak"],
        "memory.sampled_peak_mb": own["sampled"],
        "memory.idle_after_mb": own["idle"],
        "memory.events_per_s": events / (told["wall_us"] / 1e6),
    }


# ---- why a run says nothing ----


def uncounted(told, taken):
    """Figures per event are of nothing where the events are not all accounted for, by the library and the endpoint."""
    if told["pushed"] == told["delivered"] == taken:
        return []
    return [f"{told['pushed']:,} pushed, {told['delivered']:,} told delivered, {taken:,} at the endpoint"]


def disturbed(others_cores):
    """Other processes took too much of the machine."""
    if others_cores <= OTHERS_CORES_MOST:
        return []
    return [f"others kept {others_cores:.2f} cores busy, most {OTHERS_CORES_MOST}"]


def one_core_for_two(figures):
    """The machine itself has two threads that share nothing do little more than one: hyperthreads of one core."""
    loops = figures["push.two_threads_escape_loop"]
    if loops >= TWO_CORES_LEAST:
        return []
    return [f"two threads of the escape loop did {loops:.2f} of what one does, least {TWO_CORES_LEAST}"]


def off_pace(told, rate):
    if told["events_per_s"] >= PACE_KEPT_LEAST * rate:
        return []
    return [f"pushed {told['events_per_s']:,.0f} events/s, wanted {rate:,}"]


def thread_ended(told):
    """Its wake-ups cannot be counted any more."""
    if told["threads_after"] >= told["threads_before"] > 0:
        return []
    return [f"of {told['threads_before']} threads {told['threads_after']} were left"]


def unfilled(told, buffer_max_bytes, stalls_met):
    """The bound was not put to the test."""
    reasons = [f"stall {number} met no request" for number, fired in enumerate(stalls_met, 1) if fired == 0]
    if told["buffered_bytes_peak"] < BUFFER_FILLED_LEAST * buffer_max_bytes:
        reasons.append(f"at most {told['buffered_bytes_peak']:,} bytes were buffered, of {buffer_max_bytes:,}")
    return reasons
