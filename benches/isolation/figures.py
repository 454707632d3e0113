"""The arithmetic of the isolation bench: from events and counters to the figures that are judged.

Pure functions. Times are seconds since the host began to push.
"""

import dataclasses
import math

# Later than this after the measured time, a delivery does not count towards the throughput of it.
GRACE_SECONDS = 1.0
RECOVERY_BUCKET_SECONDS = 0.25
SERIES_BUCKET_SECONDS = 0.5
P99_RATIO_MOST = 1.25


@dataclasses.dataclass(frozen=True, slots=True)
class Event:
    """An accepted event of a healthy target. One that was not delivered has the time that it waited in vain."""

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
    """The smallest of the values that so many percent of them do not exceed (nearest rank); None of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)] if ordered else None


def ratio(own, baseline):
    """None where there is nothing to compare."""
    return own / baseline if baseline and own is not None else None


def throughput(events, begin, end):
    """Events a second that were pushed within a time and delivered by its end, or GRACE_SECONDS later.

    The grace is for those that were pushed last: deliveries come in bursts, and without it a burst more or less at the
    ends of the time would be a percent or two.
    """
    in_time = sum(event.delivered_at <= end + GRACE_SECONDS for event in pushed_within(events, begin, end))
    return in_time / (end - begin)


def jain(values):
    """Jain's index of fairness: 1 when all are equal, 1/n when one has everything; 0 when nobody has anything."""
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else 0.0


def delivered_by_target(events, targets, begin, end):
    counts = [0] * targets
    for event in events:
        counts[event.target] += begin <= event.delivered_at < end
    return counts


def p99_series(events, begin, end, bucket=SERIES_BUCKET_SECONDS):
    """The 99th percentile of the latencies by the time of the push, for each bucket; None where nothing was pushed."""
    buckets = [[] for _ in range(round((end - begin) / bucket))]
    for event in events:
        index = math.floor((event.pushed - begin) / bucket)
        if 0 <= index < len(buckets):
            buckets[index].append(event.latency)
    return [percentile(latencies, 99) for latencies in buckets]


def recovery(events, returned, until, baseline_p99):
    """Seconds from the endpoint's return until delivery was, and stayed, as in the baseline.

    The events pushed from the return on are put into buckets of RECOVERY_BUCKET_SECONDS by the time of their push. A
    bucket is as in the baseline when it has events and their p99 is at most P99_RATIO_MOST times the baseline's. The
    answer is the end of the last bucket that is not, 0 if all are, and None if that is the last bucket before `until`:
    then it has not recovered.
    """
    series = p99_series(events, returned, until, RECOVERY_BUCKET_SECONDS)
    worse = [p99 is None or p99 > P99_RATIO_MOST * baseline_p99 for p99 in series]
    if not worse or worse[-1]:
        return None
    return RECOVERY_BUCKET_SECONDS * max((index + 1 for index, is_worse in enumerate(worse) if is_worse), default=0)


def quota(before, after, seconds, quota_per_second):
    """What share of the quota was used between two counts, and what share of the requests was throttled."""
    taken = after["successes"] - before["successes"]
    requests = after["requests"] - before["requests"]
    throttled = after["errors"].get("ThrottlingException", 0) - before["errors"].get("ThrottlingException", 0)
    return taken / seconds / quota_per_second, throttled / requests if requests else 0.0


def lost(load, taken):
    """Events of a load that were not delivered once, each told once.

    They were accepted, and their ack never came, came twice, or said something else than delivered; or delivered was
    said and the endpoint has not taken as many for the target. `taken` is its count for each target.
    """
    told = load["accepted"] - load["delivered"] + load["acked_twice"]
    return told + sum(max(0, said - got) for said, got in zip(load["delivered_by_target"], taken, strict=True))


def duplicates(load, taken):
    """How many more the endpoint has taken of a load than were told delivered."""
    return sum(max(0, got - said) for said, got in zip(load["delivered_by_target"], taken, strict=True))
