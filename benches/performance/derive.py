"""Computes the figures of the performance bench from the output of its programs. Pure functions."""

import statistics

from figures_table import MB

MEMORY_SLACK_BYTES = 16 * MB
MEMORY_FACTOR = 1.3
# A measurement on a small machine is void where other processes keep more cores busy than this.
OTHERS_CORES_MAX = 0.25
TWO_CORES_MIN = 1.8  # throughput of two threads that share nothing, divided by that of one
PACE_KEPT_MIN = 0.95
BUFFER_FILLED_MIN = 0.9
KB_A_MB = 1024


def push(output):
    """Returns the time per event of the median round of each kind. The rounds of a run alternate between the kinds."""
    kinds = ("escape_ns", "push_ns", "push_event_ns")
    per_event = {kind: statistics.median(output[kind]) / output["events"] for kind in kinds}
    return {
        "push.ns_p50": per_event["push_ns"],
        "push.escape_loop_ns": per_event["escape_ns"],
        "push.ratio_to_escape_loop": per_event["push_ns"] / per_event["escape_ns"],
        "push_event.ns_p50": per_event["push_event_ns"],
    }


def threads(output):
    """Returns the throughput of two threads divided by that of one, from the median rounds."""
    per_ns = {kind: output["events"][kind] / statistics.median(output[kind]) for kind in output["events"]}
    return {
        "push.two_threads_one_target": per_ns["one_target_ns"] / per_ns["one_ns"],
        "push.two_threads_two_targets": per_ns["two_targets_ns"] / per_ns["one_ns"],
        "push.two_threads_escape_loop": per_ns["two_loops_ns"] / per_ns["one_loop_ns"],
    }


def allocations(output):
    return {"push.allocations_per_event": output["allocations"] / output["events"]}


def paced(output):
    return {
        "push.ns_p999": output["p999_ns"],
        "push.busy_ns_p50": output["p50_ns"],
        "push.busy_ns_p99": output["p99_ns"],
        "push.busy_ns_max": output["max_ns"],
        "push.clock_ns": output["clock_ns"],
    }


def deliver(name, output):
    return {
        f"{name}.cpu_us_per_event": output["cpu_us"] / output["events"],
        f"{name}.events_per_s": output["events"] / (output["wall_us"] / 1e6),
    }


def cpu_per_event(output):
    return output["cpu_us"] / output["events"]


def ratio(own, other):
    """Divides two figures. Returns None where one of them is missing or the divisor is 0."""
    return own / other if own is not None and other else None


def zlib_share(zlib, gzip, plain):
    """Returns zlib's share of the CPU time that compression adds; None if it adds nothing or a part is unknown."""
    if None in (zlib, gzip, plain) or gzip <= plain:
        return None
    return zlib / (gzip - plain)


def many(output, one_output):
    return {
        "scale.targets_100k.rss_mb": (output["rss_kb"] - one_output["rss_kb"]) / KB_A_MB,
        "scale.targets_100k.rss_end_mb": (output["rss_end_kb"] - one_output["rss_end_kb"]) / KB_A_MB,
        "scale.targets_100k.cpu_us_per_event": cpu_per_event(output),
        "scale.targets_100k.cpu_percent": 100 * output["cpu_us"] / output["wall_us"],
        "scale.targets_100k.worst_delivery_s": output["worst_delivery_s"],
        "scale.targets_100k.lost": output["pushed"] - output["acked_delivered"],
        "scale.targets_100k.opening_s": output["opening_s"],
    }


def busy(many_output, one_output):
    own, one = cpu_per_event(many_output), cpu_per_event(one_output)
    return {
        "scale.busy_10000_over_one": ratio(own, one),
        "scale.busy_10000.cpu_us_per_event": own,
        "scale.busy_1.cpu_us_per_event": one,
    }


def idle(output, seconds):
    """Scales the counts of a measurement to 30 s."""
    return {
        "idle.wakeups_30s": output["wakeups"] * 30 / seconds,
        "idle.cpu_ms_30s": output["cpu_us"] / 1000 * 30 / seconds,
    }


def start(output):
    return {
        "start.ms": output["ms"],
        "start.dlopen_ms": output["dlopen_ms"],
        "idle.rss_mb": (output["after_kb"] - output["before_kb"]) / KB_A_MB,
    }


def memory(output, buffer_max_bytes, events):
    """Compares the kernel's high-water mark with the bound. The sampled peak is reported beside it."""
    own = {kind: (output[f"{kind}_kb"] - output["before_kb"]) / KB_A_MB for kind in ("peak", "sampled", "idle")}
    bound = (MEMORY_FACTOR * buffer_max_bytes + MEMORY_SLACK_BYTES) / MB
    return {
        "memory.rss_over_bound": own["peak"] / bound,
        "memory.peak_mb": own["peak"],
        "memory.sampled_peak_mb": own["sampled"],
        "memory.idle_after_mb": own["idle"],
        "memory.events_per_s": events / (output["wall_us"] / 1e6),
    }


# ---- reasons for which a run is void ----


def count_mismatch(output, arrived):
    """Compares the counts of host, library and endpoint. Figures per event need all events accounted for."""
    if output["pushed"] == output["delivered"] == arrived:
        return []
    return [f"{output['pushed']:,} pushed, {output['delivered']:,} acked as delivered, {arrived:,} at the endpoint"]


def busy_machine(others_cores):
    """Checks that other processes left enough of the machine."""
    if others_cores <= OTHERS_CORES_MAX:
        return []
    return [f"others kept {others_cores:.2f} cores busy, at most {OTHERS_CORES_MAX} are allowed"]


def single_core(figures):
    """Checks that two threads which share nothing run in parallel. Two hyperthreads of one core do not."""
    loops = figures["push.two_threads_escape_loop"]
    if loops >= TWO_CORES_MIN:
        return []
    return [
        f"two threads of the escape loop did {loops:.2f} times the work of one, at least {TWO_CORES_MIN} are needed"
    ]


def missed_pace(output, rate):
    """Checks that the host kept the pace of its pushes."""
    if output["events_per_s"] >= PACE_KEPT_MIN * rate:
        return []
    return [f"pushed {output['events_per_s']:,.0f} events/s, wanted {rate:,}"]


def missing_thread(output):
    """Checks that no thread has ended. The wake-ups of a thread that has ended cannot be counted."""
    if output["threads_after"] >= output["threads_before"] > 0:
        return []
    return [f"{output['threads_after']} of {output['threads_before']} threads were left"]


def untested_bound(output, buffer_max_bytes, stalls_met):
    """Checks that every stall met requests and that the buffer was nearly full, so that the bound was tested."""
    reasons = [f"stall {number} met no request" for number, fired in enumerate(stalls_met, 1) if fired == 0]
    if output["buffered_bytes_peak"] < BUFFER_FILLED_MIN * buffer_max_bytes:
        reasons.append(f"at most {output['buffered_bytes_peak']:,} of {buffer_max_bytes:,} bytes were buffered")
    return reasons
