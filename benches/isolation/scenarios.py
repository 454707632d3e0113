"""The scenarios of the isolation bench: who fails, how, and what must hold all the same.

Each has the healthy targets, and beside them the loads of targets whose requests meet fault rules of cwl-local, or
rules that all requests meet.
"""

import dataclasses

HEALTHY_TARGETS = 20
HEALTHY_EVENTS_PER_SECOND = 2000
LINE_BYTES = 126

QUOTA_PER_SECOND = 10
# The throttle's bucket holds a second's worth, and the engine has to find the quota: the first seconds do not count.
SETTLING_SECONDS = 5.0
DOWN_SECONDS = 10.0
UP_AGAIN_SECONDS = 10.0


@dataclasses.dataclass(frozen=True)
class Load:
    """Targets alike: their groups are `prefix` and a number."""

    role: str  # a thread of the host: healthy, failing, flood
    prefix: str
    targets: int
    events_per_second: float  # each
    message_bytes: int = LINE_BYTES

    def argument(self):
        return f"{self.role}:{self.prefix}:{self.targets}:{self.events_per_second:g}:{self.message_bytes}"

    def groups(self):
        return [f"{self.prefix}{number}" for number in range(self.targets)]


HEALTHY = Load("healthy", "/healthy/", HEALTHY_TARGETS, HEALTHY_EVENTS_PER_SECOND / HEALTHY_TARGETS)


@dataclasses.dataclass(frozen=True)
class Scenario:
    """What goes wrong beside the healthy targets. `kind` says which limits hold: isolation, throttle or outage."""

    name: str
    about: str
    loads: tuple = ()
    rules: tuple = ()
    kind: str = "isolation"
    down_at: float | None = None  # seconds into the measured time

    def seconds(self, asked):
        """How long it is measured: as long as was asked for, and long enough for what it is about."""
        if self.kind == "outage":
            return max(asked, self.down_at + DOWN_SECONDS + UP_AGAIN_SECONDS)
        return max(asked, 2 * SETTLING_SECONDS) if self.kind == "throttle" else asked


def failing(name, about, targets, events_per_second, effect):
    """So many targets whose every request meets one effect."""
    prefix = f"/{name}/"
    load = Load("failing", prefix, targets, events_per_second)
    return Scenario(name, about, (load,), ({"group": f"{prefix}*", **effect},))


def together(name, about, parts):
    loads = tuple(load for part in parts for load in part.loads)
    rules = tuple(rule for part in parts for rule in part.rules)
    return Scenario(name, about, loads, rules)


DENIED = {"error": {"code": "AccessDeniedException", "status": 400, "message": "not yours"}}

# 1,000 and 200 targets get less each, so that the host's own work leaves the two cores to what is measured.
ISOLATION = [
    failing("denied_10", "10 targets are denied", 10, 20, DENIED),
    failing("denied_1000", "1,000 targets are denied", 1000, 5, DENIED),
    failing("silent_10", "10 targets are never answered", 10, 20, {"hang": True}),
    failing("silent_200", "200 targets are never answered", 200, 5, {"hang": True}),
    failing("slow_50", "50 targets are answered after 5 s", 50, 20, {"delay_ms": 5000}),
    together(
        "resets_50",
        "50 targets' connections are reset, half before and half after the data was taken",
        [
            failing("resets_before", "", 25, 20, {"reset": "before"}),
            failing("resets_after", "", 25, 20, {"reset": "after"}),
        ],
    ),
    failing(
        "flapping_20",
        "20 targets are denied and allowed by turns every 2 s",
        20,
        20,
        {"deny_then_allow_ms": {"period_ms": 2000}},
    ),
    # One batch at a time, of 1 MB at most, is on its way for a second: a thousand such messages. It pushes 100,000.
    Scenario(
        "flood_1",
        "one target pushes 100 times what it may send",
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
        together("mixed", "all of them at once, but for throttle and outage", ISOLATION),
    ]
}
