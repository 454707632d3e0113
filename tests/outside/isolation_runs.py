"""Builds measurements of the isolation bench for its tests: by default one in which nothing went wrong."""

import math
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "benches" / "isolation"))

import figures
from figures import Event
from measure import Count, Run
from scenarios import HEALTHY


def event(pushed, latency, target=0, delivered=True):
    return Event(pushed, latency, target, delivered)


def steady(begin, end, latency=0.2, per_second=100):
    return [event(begin + n / per_second, latency, n % 20) for n in range(round((end - begin) * per_second))]


def load(by_target=((5, 5, 5, 0), (5, 5, 5, 0)), **more):
    """Returns the host's counts of a load. Everything was accepted and delivered, unless `more` says otherwise."""
    accepted, delivered, *_ = (sum(column) for column in zip(*by_target, strict=True))
    return {
        "role": "healthy",
        "accepted": accepted,
        "delivered": delivered,
        "rejected": 0,
        "dropped": 0,
        "abandoned": 0,
        "never_acked": 0,
        "acked_twice": 0,
        "by_target": [list(counts) for counts in by_target],
        "refused_full": 0,
        "refused_otherwise": 0,
    } | more


def statistics(loads, **more):
    names = ("accepted", "delivered", "rejected", "dropped", "abandoned")
    return (
        {f"{name}_events": sum(load[name] for load in loads) for name in names}
        | {"pending_events": 0, "requests_failed": 0}
        | more
    )


def count(at=0.0, groups=None, body_bytes_read=0, operations=None, **puts):
    puts = {"requests": 0, "successes": 0, "errors": {}, "body_bytes": 0} | puts
    return Count(at, puts, groups or {}, operations or {}, body_bytes_read)


def run(events, *faulty, requests=(), of_host=None, of_healthy=None, **of_run):
    """Returns a measurement in which nothing went wrong, unless the arguments say so. `faulty` are counts of loads."""
    targets = max(HEALTHY.targets, *(event.target + 1 for event in events)) if events else HEALTHY.targets
    by_target = figures.delivered_by_target(events, targets, 0, math.inf)
    healthy = load([(n, n, n, 0) for n in by_target]) | {"accepted": len(events)} | (of_healthy or {})
    loads = [healthy, *faulty]
    host = {
        "worst_lateness_ms": 1.0,
        "worst_push_ms": 0.1,
        "strange_acks": 0,
        "shutdown": "CWL_OK",
        "shutdown_ms": 1,
        "pause_count": 0,
        "pause_messages": 0,
        "warnings": 0,
        "first_warnings": [],
        "peak_in_flight": 2,
        "peak_slow": 0,
        "statistics": statistics(loads),
    }
    end = count(4, {HEALTHY.groups()[0]: {"requests": 400}})
    defaults = {
        "events": events,
        "loads": loads,
        "taken": dict(zip(HEALTHY.groups(), by_target, strict=False)),
        "host": host | (of_host or {}),
        "before_shutdown": statistics([load()]),
        "faults_fired": 1,
        "requests_by_load": [0, *requests],
        "created": count(),
        "begin": count(),
        "settled": count(),
        "end": end,
        "pushed": end,
        "last": end,
        "cores": {"others": 0.0},
    }
    return Run(**defaults | of_run)
