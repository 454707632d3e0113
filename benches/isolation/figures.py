"""Computes the judged figures of the isolation bench from events and counters.

Pure functions. Times are seconds since the host began to push.
"""

import dataclasses
import math

# A delivery later than this after the measured time does not count towards its throughput.
GRACE_SECONDS = 1.0
RECOVERY_BUCKET_SECONDS = 0.25
SERIES_BUCKET_SECONDS = 0.5
P99_RATIO_MAX = 1.25


@dataclasses.dataclass(frozen=True, slots=True)
class Event:
    """An accepted event of a healthy target. The latency of an undelivered event is the time that it waited in vain."""

    pushed: float
    latency: float
    target: int
    delivered: bool

    @property
    def delivered_at(self):
        return self.pushed + self.latency if self.delivered else math.inf


def pushed_within(events, begin, end):
    return [event for event in events if begin <= event.pushed < end]


def percentile(values, percent):
    """Returns the smallest value that `percent` of the values do not exceed (nearest rank); None without values."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)] if ordered else None


def ratio(own, baseline):
    """Divides a figure by its baseline. Returns None where one of the two is missing or the baseline is 0."""
    return own / baseline if baseline and own is not None else None


def throughput(events, begin, end):
    """Returns the events per second that were pushed from `begin` to `end` and delivered by `end` + GRACE_SECONDS.

    The grace is for the events that were pushed last. Deliveries come in bursts; without the grace, one burst more or
    less at either end would change the result by a percent or two.
    """
    in_time = sum(event.delivered_at <= end + GRACE_SECONDS for event in pushed_within(events, begin, end))
    return in_time / (end - begin)


def jain(values):
    """Returns Jain's index of fairness: 1 when all values are equal, 1/n when one has everything, 0 when all are 0."""
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else 0.0


def delivered_by_target(events, targets, begin, end):
    counts = [0] * targets
    for event in events:
        counts[event.target] += begin <= event.delivered_at < end
    return counts


def p99_series(events, begin, end, bucket=SERIES_BUCKET_SECONDS):
    """Returns the p99 latency of each bucket of push times; None for a bucket without events."""
    buckets = [[] for _ in range(round((end - begin) / bucket))]
    for event in events:
        index = math.floor((event.pushed - begin) / bucket)
        if 0 <= index < len(buckets):
            buckets[index].append(event.latency)
    return [percentile(latencies, 99) for latencies in buckets]


def recovery(events, returned, until, baseline_p99):
    """Returns the seconds from the endpoint's return until delivery was as in the baseline, and stayed so.

    Events that were pushed after the return are put into buckets of RECOVERY_BUCKET_SECONDS by push time. A bucket
    is as in the baseline when it has events and their p99 is at most P99_RATIO_MAX times the baseline's. The result is
    the end of the last bucket that is worse, or 0 if none is. It is None if the last bucket before `until` is worse:
    then delivery has not recovered.
    """
    series = p99_series(events, returned, until, RECOVERY_BUCKET_SECONDS)
    worse = [p99 is None or p99 > P99_RATIO_MAX * baseline_p99 for p99 in series]
    if not worse or worse[-1]:
        return None
    return RECOVERY_BUCKET_SECONDS * max((index + 1 for index, is_worse in enumerate(worse) if is_worse), default=0)


def quota(before, after, seconds, quota_per_second):
    """Returns the share of the quota that was used between two counts, and the share of requests that was throttled."""
    taken = after["successes"] - before["successes"]
    requests = after["requests"] - before["requests"]
    throttled = after["errors"].get("ThrottlingException", 0) - before["errors"].get("ThrottlingException", 0)
    return taken / seconds / quota_per_second, throttled / requests if requests else 0.0


# ---- the accounts of all targets ----


@dataclasses.dataclass(frozen=True, slots=True)
class TargetCounts:
    """The host's counts for one target: a member of a load's `by_target`."""

    accepted: int
    delivered: int
    delivered_in_run: int
    longest_wait_ms: int


def counts_by_target(load):
    return [TargetCounts(*counts) for counts in load["by_target"]]


def wrongly_acked(load):
    """Counts the accepted events of a load that were not acked as delivered exactly once.

    An ack may be missing, come twice, or have another outcome.
    """
    return load["accepted"] - load["delivered"] + load["acked_twice"]


def missing(delivered, taken):
    """Counts the events that were acked as delivered and did not arrive. Both counts are by group.

    The surplus of one group does not hide the deficit of another.
    """
    return sum(max(0, count - taken.get(group, 0)) for group, count in delivered.items())


def duplicates(delivered, taken):
    """Counts the events that arrived beyond those acked as delivered. Both counts are by group."""
    return sum(max(0, taken.get(group, 0) - count) for group, count in delivered.items())


def unaccounted(loads, statistics):
    """Counts the accepted events that ended in no outcome, or for which the acks and the statistics disagree."""
    never_acked = sum(load["never_acked"] for load in loads)
    outcomes = ("delivered", "rejected", "dropped", "abandoned")
    disagreeing = sum(
        abs(sum(load[name] for load in loads) - statistics[f"{name}_events"]) for name in ("accepted", *outcomes)
    )
    sums = statistics["pending_events"] + sum(statistics[f"{name}_events"] for name in outcomes)
    return never_acked + disagreeing + abs(statistics["accepted_events"] - sums)


# ---- faults that meet everybody ----


def caught_up(events, returned):
    """Returns the seconds from the end of the fault until every event pushed before it was delivered; None if never."""
    last = max((event.delivered_at for event in events if event.pushed < returned), default=returned)
    return None if last == math.inf else max(0.0, last - returned)


def all_back(events, targets, returned):
    """Returns the seconds from the end of the fault until every target has delivered again; None if one never did."""
    first = [math.inf] * targets
    for event in events:
        if event.delivered_at >= returned:
            first[event.target] = min(first[event.target], event.delivered_at)
    last = max(first)
    return None if last == math.inf else last - returned


# ---- the thin line ----


def goodput(body_bytes, new_share, seconds, bytes_per_second):
    """Returns the share of the line that carried events for the first time."""
    return body_bytes * new_share / seconds / bytes_per_second


def uploads(bytes_read, body_bytes, new_share):
    """Returns how often each byte was uploaded; 1 when none was uploaded in vain. None when nothing was taken."""
    useful = body_bytes * new_share
    return bytes_read / useful if useful else None
