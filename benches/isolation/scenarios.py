"""The scenarios of the isolation bench.

Each has the healthy targets. Beside them it has loads of targets whose requests meet fault rules of cwl-local, or fault
rules for all requests, or an endpoint behind a bad network.
"""

import dataclasses

HEALTHY_TARGETS = 20
HEALTHY_EVENTS_PER_SECOND = 2000
LINE_BYTES = 126
CONCURRENCY = 2  # as in host.c
FLUSH_INTERVAL_MS = 200  # as in host.c

QUOTA_PER_SECOND = 10
# The throttle allows a burst of one second, and the engine must find the quota: the first seconds do not count.
SETTLING_SECONDS = 5.0
# A denied target is tried again after 8 s at most, and half of the tries meet a denial: five in a row, one in 32.
FLAPPING_WAIT_SECONDS = 40
# After the end of a fault for all targets, this time is measured.
UP_AGAIN_SECONDS = 10.0
SLOW_SECONDS = 2.0  # the delay of every answer in all_slow
IDLE_CLOSE_MS = 6000
UPLINK_BYTES_PER_SECOND = 1_000_000
CREATIONS_PER_SECOND = 50  # the quota of CreateLogStream


@dataclasses.dataclass(frozen=True)
class Load:
    """Targets of one kind. The name of each group is `prefix` and a number.

    With `stream` the prefix is the name of one group, and the targets are its streams, named by `stream` and a number.
    The limits at the end are for each target; None means that the figure is not judged.
    """

    role: str  # a thread of the host: healthy, failing, flood
    prefix: str
    targets: int
    events_per_second: float  # of each target
    message_bytes: int = LINE_BYTES
    stream: str = ""
    details: str = ""  # more for the host, such as `after_ms=300`
    wait_s_max: float | None = None  # the longest time in which an event waits while the target delivers nothing
    jain_min: float | None = None  # of the events that the targets deliver during the run
    requests_max: float | None = None  # from the start to the end of the pushing, on the average of the targets

    def argument(self):
        text = f"{self.role}:{self.prefix}:{self.targets}:{self.events_per_second:g}:{self.message_bytes}"
        return text + (f":stream={self.stream}" if self.stream else "") + (f":{self.details}" if self.details else "")

    def groups(self):
        return [self.prefix] if self.stream else [f"{self.prefix}{number}" for number in range(self.targets)]


HEALTHY = Load("healthy", "/healthy/", HEALTHY_TARGETS, HEALTHY_EVENTS_PER_SECOND / HEALTHY_TARGETS)


@dataclasses.dataclass(frozen=True)
class Scenario:
    """The faults and loads beside the healthy targets. `kinds` selects the limits, see limits.py."""

    name: str
    about: str
    loads: tuple = ()
    rules: tuple = ()
    kinds: tuple = ("isolation",)
    healthy: Load = HEALTHY
    options: tuple = ()  # of the sink: pairs of a name and a value
    endpoint: tuple = ()  # more arguments of cwl-local
    prepared: tuple | None = None  # the loads that create the groups before the run; None: these loads
    down_at: float | None = None  # the rules are in force from here on, in seconds of the measured time,
    down_seconds: float = 10.0  # for this time
    seconds_min: float = 0.0
    warm_up: bool = True  # False: the measured time begins with the first event
    compared: bool = True  # with a run without faults
    pauses_max: int = 0  # false ones, in all

    def seconds(self, asked):
        """Returns the measured time: at least `asked`, and long enough for this scenario."""
        until_up = 0.0 if self.down_at is None else self.down_at + self.down_seconds + UP_AGAIN_SECONDS
        return max(asked, self.seconds_min, until_up)

    def flush_interval_ms(self):
        return float(dict(self.options).get("flush_interval_ms", FLUSH_INTERVAL_MS))

    def arguments(self):
        return [f"{name}={value}" for name, value in self.options]

    def with_options(self, more):
        """Returns the scenario with more options of the sink; they replace those of the same name."""
        return dataclasses.replace(self, options=tuple((dict(self.options) | dict(more)).items()))


def failing(name, about, targets, events_per_second, effect, **limits):
    """Returns a scenario in which every request of some targets meets one effect."""
    prefix = f"/{name}/"
    load = Load("failing", prefix, targets, events_per_second, **limits)
    return Scenario(name, about, (load,), ({"group": f"{prefix}*", **effect},))


def combine(name, about, parts):
    """Returns a scenario with the loads and the rules of several. Side by side they wait longer: that is not judged."""
    loads = tuple(dataclasses.replace(load, wait_s_max=None, jain_min=None) for part in parts for load in part.loads)
    rules = tuple(rule for part in parts for rule in part.rules)
    return Scenario(name, about, loads, rules, pauses_max=max(part.pauses_max for part in parts))


DENIED = {"error": {"code": "AccessDeniedException", "status": 400, "message": "not yours"}}
HANG = {"hang": True}

# A back-off that doubles from 200 ms has 8 attempts in 25 s. A silent target holds a request until its time is over.
DENIED_REQUESTS_MAX = 12
SILENT_REQUESTS_MAX = 6

SLOW_50 = failing(
    "slow_50", "50 targets are answered after 5 s", 50, 20, {"delay_ms": 5000}, wait_s_max=60, jain_min=0.7
)

# The scenarios with 1,000 and 200 targets push less to each, so that the host's own work leaves the cores free.
ISOLATION = [
    failing("denied_10", "10 targets are denied", 10, 20, DENIED, requests_max=DENIED_REQUESTS_MAX),
    failing("denied_1000", "1,000 targets are denied", 1000, 5, DENIED, requests_max=DENIED_REQUESTS_MAX),
    failing("silent_10", "10 targets are never answered", 10, 20, HANG, requests_max=SILENT_REQUESTS_MAX),
    failing("silent_200", "200 targets are never answered", 200, 5, HANG, requests_max=SILENT_REQUESTS_MAX),
    dataclasses.replace(SLOW_50, seconds_min=75.0),
    # The first requests are reset before any target was answered, so nothing shows that the endpoint is up.
    dataclasses.replace(
        combine(
            "resets_50",
            "50 targets' connections are reset, half before and half after the data was taken",
            [
                failing("resets_before", "", 25, 20, {"reset": "before"}, requests_max=DENIED_REQUESTS_MAX),
                failing("resets_after", "", 25, 20, {"reset": "after"}, requests_max=DENIED_REQUESTS_MAX),
            ],
        ),
        pauses_max=1,
    ),
    failing(
        "flapping_20",
        "20 targets are alternately denied and allowed every 2 s",
        20,
        20,
        {"deny_then_allow_ms": {"period_ms": 2000}},
        wait_s_max=FLAPPING_WAIT_SECONDS,
        jain_min=0.9,
    ),
    # One request of at most 1 MB is in flight at a time and takes a second: 1,000 messages. The host pushes 100,000.
    Scenario(
        "flood_1",
        "one target pushes 100 times as much as it can send",
        (Load("flood", "/flood/", 1, 100_000, 1000, wait_s_max=5),),
        ({"group": "/flood/*", "delay_ms": 1000},),
    ),
    failing("garbled_1", "the answers to one target are not HTTP", 1, 20, {"garbled": True}, requests_max=12),
]


# ---- creation ----

NEW_GROUP = (Load("failing", "/new/", 1, 1),)
NEW_STREAMS = 1000

CREATION = [
    Scenario(
        "create_hang",
        "the creation of one stream is never answered; 19 other streams of its group are new too",
        (
            Load("failing", "/new/0", 1, 5, stream="hangs"),
            Load("failing", "/new/0", 19, 5, stream="new", wait_s_max=3),
        ),
        ({"operation": "CreateLogStream", "stream": "hangs0", "hang": True},),
        prepared=NEW_GROUP,
    ),
    Scenario(
        "new_streams_1000",
        f"1,000 new streams of one group get an event each; CreateLogStream is throttled at {CREATIONS_PER_SECOND}/s",
        # The throttle allows 20 s for them all; a quarter more is for the back-off after its answers.
        (Load("failing", "/new/0", NEW_STREAMS, 1, stream="new", details="events=1", wait_s_max=25),),
        ({"operation": "CreateLogStream", "throttle_per_second": CREATIONS_PER_SECOND},),
        kinds=("isolation", "creation"),
        prepared=NEW_GROUP,
        seconds_min=30.0,
    ),
]


# ---- everything at once ----

EVERYTHING = [
    Scenario(
        "throttle",
        f"the account's quota is {QUOTA_PER_SECOND} requests/s",
        rules=({"operation": "PutLogEvents", "throttle_per_second": QUOTA_PER_SECOND},),
        kinds=("throttle",),
    ),
    Scenario("outage", "the endpoint is down for 10 s", rules=({"reset": "before"},), kinds=("outage",), down_at=5.0),
    Scenario(
        "all_slow",
        f"every answer takes {SLOW_SECONDS:g} s for 20 s",
        rules=({"delay_ms": round(SLOW_SECONDS * 1000)},),
        kinds=("all_slow",),
        down_at=5.0,
        down_seconds=20.0,
        compared=False,
    ),
    Scenario(
        "all_503",
        "every PutLogEvents is answered with 503 for 10 s",
        rules=({"operation": "PutLogEvents", "error": {"code": "ServiceUnavailableException", "status": 503}},),
        kinds=("all_503",),
        down_at=5.0,
        compared=False,
    ),
]


# ---- the network ----

NETWORK = [
    # The line carries half of what is pushed, so every target has a large batch that waits. Bodies are not compressed:
    # the messages would compress too well. What waits at the end takes some 35 s of the shutdown.
    Scenario(
        "thin_uplink",
        "40 targets push 2 MB/s over a line of 1 MB/s",
        (Load("failing", "/upload/", 40, 25, 2000, wait_s_max=60, jain_min=0.8),),
        kinds=("uplink",),
        healthy=dataclasses.replace(HEALTHY, events_per_second=1),
        options=(("compression", "none"), ("buffer_max_bytes", 32_000_000)),
        endpoint=("--uplink-bytes-per-second", str(UPLINK_BYTES_PER_SECOND)),
        seconds_min=60.0,
        compared=False,
    ),
    # All targets get an event at once, so that each connection is idle for as long as the burst says.
    Scenario(
        "idle_close",
        "connections are closed 6.0 s after their last answer; 8 targets get an event every 5.98 to 6.02 s",
        kinds=("idle_close",),
        healthy=Load("healthy", "/idle/", 8, 1 / (IDLE_CLOSE_MS / 1000), details="sweep_ms=20"),
        options=(("concurrency", 8), ("flush_interval_ms", 20)),
        endpoint=("--idle-close-ms", str(IDLE_CLOSE_MS)),
        seconds_min=55.0,
        warm_up=False,
        compared=False,
    ),
]


# ---- cold starts ----


def cold(name, about, load, effect, events_per_second=HEALTHY.events_per_second, seconds_min=0.0):
    """Returns a scenario in which the failing targets get events first and nothing was delivered before."""
    late = dataclasses.replace(HEALTHY, events_per_second=events_per_second, details="after_ms=300")
    rules = ({"group": f"{load.prefix}*", **effect},)
    return Scenario(
        name,
        about,
        (load,),
        rules,
        kinds=("cold",),
        healthy=late,
        seconds_min=seconds_min,
        warm_up=False,
        compared=False,
    )


COLD = [
    *(
        cold(
            f"cold_silent_{targets}",
            f"{targets} targets that are never answered get events 0.3 s before the healthy ones, at a cold start",
            Load("failing", "/silent/", targets, 5, requests_max=SILENT_REQUESTS_MAX),
            HANG,
        )
        for targets in (50, 200)
    ),
    cold(
        "cold_slow_50",
        "50 targets that are answered after 5 s get events 0.3 s before the healthy ones, at a cold start",
        Load("failing", "/slow/", 50, 5, wait_s_max=60, jain_min=0.7),
        {"delay_ms": 5000},
        events_per_second=5,
        seconds_min=75.0,
    ),
]

SCENARIOS = {
    scenario.name: scenario
    for scenario in [
        *ISOLATION,
        *CREATION,
        *EVERYTHING,
        *NETWORK,
        *COLD,
        combine("mixed", "denied, silent, slow, reset, flapping, flooding and garbled targets at once", ISOLATION),
    ]
}
