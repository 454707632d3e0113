"""The limits of the isolation bench: which figures of a scenario are judged, and by what.

Pure: only reads the entry of a scenario. A limit is a name, a value, a bound and a number.
"""

import figures

# ---- every scenario ----
PAUSES_ALLOWED = ("outage", "all_503")  # elsewhere the endpoint is up

# ---- isolation ----
THROUGHPUT_RATIO_MIN = 0.98

# ---- throttle ----
QUOTA_USED_MIN = 0.9
THROTTLED_SHARE_BELOW = 0.2
JAIN_MIN = 0.95

# ---- faults that meet everybody ----
REQUESTS_WHILE_DOWN_MAX = 20
REQUESTS_WHILE_503_MAX = 60  # three of each target: after 0, 2 and 6 s
RECOVERY_SECONDS_MAX = 5.0
ALL_BACK_SECONDS_MAX = 2.0
CAUGHT_UP_SECONDS_MAX = 3.0  # 2 s for the last slow answers, and a second for the batches that wait behind them

# ---- creation ----
PUTS_PER_STREAM_MAX = 2.0
CREATES_PER_STREAM_MAX = 1.05  # without the throttled ones
THROTTLED_CREATES_PER_STREAM_MAX = 2.0

# ---- network ----
GOODPUT_MIN = 0.8
UPLOADS_MAX = 1.25
DELAY_MS_MAX = 1000.0

# ---- cold starts ----
COLD_DELAY_MS_MAX = 1000.0  # beyond the flush interval


def everywhere(kinds, entry):
    limits = [
        ("lost", entry["lost"], "at most", 0),
        ("unaccounted", entry["own"]["unaccounted"], "at most", 0),
        ("given up before the shutdown", entry["own"]["given_up"], "at most", 0),
        ("refused for another reason than a full buffer", entry["own"]["refused_otherwise"], "at most", 0),
    ]
    if entry["baseline"] is not None:
        limits.append(("lost in the baseline", entry["baseline"]["lost"], "at most", 0))
    if not set(kinds) & set(PAUSES_ALLOWED):
        limits.append(("false pauses", entry["own"]["pauses"], "at most", entry["pauses_max"]))
    return limits


def isolation(entry):
    return [
        ("throughput", entry["throughput_ratio"], "at least", THROUGHPUT_RATIO_MIN),
        ("p99", entry["p99_ratio"], "at most", figures.P99_RATIO_MAX),
        ("healthy rejected", entry["healthy_rejected"], "at most", 0),
    ]


def throttle(entry):
    return [
        ("quota used", entry["quota_used"], "at least", QUOTA_USED_MIN),
        ("throttled", entry["throttled_share"], "below", THROTTLED_SHARE_BELOW),
        ("Jain's index", entry["jain"], "at least", JAIN_MIN),
    ]


def outage(entry):
    return [
        ("requests while down", entry["requests_while_down"], "at most", REQUESTS_WHILE_DOWN_MAX),
        ("recovery in s", entry["recovery_s"], "at most", RECOVERY_SECONDS_MAX),
    ]


def all_slow(entry):
    return [
        ("caught up in s", entry["caught_up_s"], "at most", CAUGHT_UP_SECONDS_MAX),
        ("healthy rejected", entry["healthy_rejected"], "at most", 0),
    ]


def all_503(entry):
    return [
        ("requests while down", entry["requests_while_down"], "at most", REQUESTS_WHILE_503_MAX),
        ("every target back in s", entry["all_back_s"], "at most", ALL_BACK_SECONDS_MAX),
    ]


def creation(entry):
    return [
        ("PutLogEvents a stream", entry["puts_per_stream"], "at most", PUTS_PER_STREAM_MAX),
        ("CreateLogStream a stream", entry["creates_per_stream"], "at most", CREATES_PER_STREAM_MAX),
        (
            "throttled CreateLogStream a stream",
            entry["throttled_creates_per_stream"],
            "at most",
            THROTTLED_CREATES_PER_STREAM_MAX,
        ),
    ]


def uplink(entry):
    return [
        ("goodput", entry["goodput"], "at least", GOODPUT_MIN),
        ("uploads of a byte", entry["uploads"], "at most", UPLOADS_MAX),
    ]


def idle_close(entry):
    return [
        ("failed requests", entry["own"]["requests_failed"], "at most", 0),
        ("warnings", entry["own"]["warnings"], "at most", 0),
        ("longest delay in ms", entry["own"]["max_ms"], "at most", DELAY_MS_MAX),
    ]


def cold(entry):
    return [
        ("p99 in ms", entry["own"]["p99_ms"], "at most", entry["flush_interval_ms"] + COLD_DELAY_MS_MAX),
        ("healthy rejected", entry["healthy_rejected"], "at most", 0),
    ]


BY_KIND = {
    "isolation": isolation,
    "throttle": throttle,
    "outage": outage,
    "all_slow": all_slow,
    "all_503": all_503,
    "creation": creation,
    "uplink": uplink,
    "idle_close": idle_close,
    "cold": cold,
}


def of_load(load, judged):
    """Returns the limits of a load of faulty targets. `judged` are its figures, see verdict.load_figures."""
    limits = [
        ("longest wait in s", judged["longest_wait_s"], "at most", load.wait_s_max),
        ("Jain's index", judged["jain"], "at least", load.jain_min),
        ("requests a target", judged["requests_per_target"], "at most", load.requests_max),
    ]
    name = load.prefix.strip("/") + (f" {load.stream}" if load.stream else "")
    return [(f"{name}: {text}", value, bound, limit) for text, value, bound, limit in limits if limit is not None]


def missed(scenario, entry):
    """Returns the figures that miss their limits, as texts."""
    limits = everywhere(scenario.kinds, entry)
    for kind in scenario.kinds:
        limits += BY_KIND[kind](entry)
    for load, judged in zip(scenario.loads, entry["loads"], strict=True):
        limits += of_load(load, judged)
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
