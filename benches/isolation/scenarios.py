"""The scenarios of the isolation bench.

Each has the healthy targets. Beside them it has loads of targets whose requests meet fault rules of cwl-local, or fault
rules for all requests.
"""

import dataclasses

HEALTHY_TARGETS = 20
HEALTHY_EVENTS_PER_SECOND = 2000
LINE_BYTES = 126

QUOTA_PER_SECOND = 10
# The throttle allows a burst of one second, and the engine must find the quota: the first seconds do not count.
SETTLING_SECONDS = 5.0
DOWN_SECONDS = 10.0
UP_AGAIN_SECONDS = 10.0


@dataclasses.dataclass(frozen=True)
class Load:
    """Targets of one kind. The name of each group is `prefix` and a number."""

    role: str  # a thread of the host: healthy, failing, flood
    prefix: str
    targets: int
    events_per_second: float  # of each target
    message_bytes: int = LINE_BYTES

    def argument(self):
        return f"{self.role}:{self.prefix}:{self.targets}:{self.events_per_second:g}:{self.message_bytes}"

    def groups(self):
        return [f"{self.prefix}{number}" for number in range(self.targets)]


HEALTHY = Load("healthy", "/healthy/", HEALTHY_TARGETS, HEALTHY_EVENTS_PER_SECOND / HEALTHY_TARGETS)


@dataclasses.dataclass(frozen=True)
class Scenario:
    """The faults and loads beside the healthy targets. `kind` selects the limits: isolation, throttle or outage."""

    name: str
    about: str
    loads: tuple = ()
    rules: tuple = ()
    kind: str = "isolation"
    down_at: float | None = None  # seconds into the measured time

    def seconds(self, asked):
        """Returns the measured time: at least `asked`, and long enough for this kind of scenario."""
        if self.kind == "outage":
            return max(asked, self.down_at + DOWN_SECONDS + UP_AGAIN_SECONDS)
        return max(asked, 2 * SETTLING_SECONDS) if self.kind == "throttle" else asked


def failing(name, about, targets, events_per_second, effect):
    """Returns a scenario in which every request of some targets meets one effect."""
    prefix = f"/{name}/"
    load = Load("failing", prefix, targets, events_per_second)
    return Scenario(name, about, (load,), ({"group": f"{prefix}*", **effect},))


def combine(name, about, parts):
    """Returns a scenario with the loads and the rules of several."""
    loads = tuple(load for part in parts for load in part.loads)
    rules = tuple(rule for part in parts for rule in part.rules)
    return Scenario(name, about, loads, rules)


DENIED = {"error": {"code": "AccessDeniedException", "status": 400, "message": "not yours"}}

# The scenarios with 1,000 and 200 targets push less to each, so that the host's own work leaves the cores free.
ISOLATION = [
    failing("denied_10", "10 targets are denied", 10, 20, DENIED),
    failing("denied_1000", "1,000 targets are denied", 1000, 5, DENIED),
    failing("silent_10", "10 targets are never answered", 10, 20, {"hang": True}),
    failing("silent_200", "200 targets are never answered", 200, 5, {"hang": True}),
    failing("slow_50", "50 targets are answered after 5 s", 50, 20, {"delay_ms": 5000}),
    combine(
        "resets_50",
        "50 targets' connections are reset, half before and half after the data was taken",
        [
            failing("resets_before", "", 25, 20, {"reset": "before"}),
            failing("resets_after", "", 25, 20, {"reset": "after"}),
        ],
    ),
    failing(
        "flapping_20",
        "20 targets are alternately denied and allowed every 2 s",
        20,
        20,
        {"deny_then_allow_ms": {"period_ms": 2000}},
    ),
    # One request of at most 1 MB is in flight at a time and takes a second: 1,000 messages. The host pushes 100,000.
    Scenario(
        "flood_1",
        "one target pushes 100 times as much as it can send",
        (Load("flood", "/flood/", 1, 100_000, 1000),),
        ({"group": "/flood/*", "delay_ms": 1000},),
    ),
]

SCENARIOS = {
    scenario.name: scenario
    for scenario in [
        *ISOLATION,
        Scenario(
            "throttle",
            f"the account's quota is {QUOTA_PER_SECOND} requests/s",
            rules=({"operation": "PutLogEvents", "throttle_per_second": QUOTA_PER_SECOND},),
            kind="throttle",
        ),
        Scenario(
            "outage",
            f"the endpoint is down for {DOWN_SECONDS:g} s",
            rules=({"reset": "before"},),
            kind="outage",
            down_at=5.0,
        ),
        combine("mixed", "all scenarios at once, except throttle and outage", ISOLATION),
    ]
}
