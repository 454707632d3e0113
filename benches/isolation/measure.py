"""Makes one measurement: starts a fresh cwl-local and a fresh host, sets the faults in time, and gathers the results.

Both processes are ended here, by their ids, in every case. Every wait has a time-out.
"""

import collections
import contextlib
import dataclasses
import json
import pathlib
import select
import struct
import subprocess
import sys
import tempfile
import time

BENCHES = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(BENCHES), str(BENCHES.parent / "scripts")]

from figures import Event  # noqa: E402
from loopback import ROOT, CwlLocal, hermetic_environment  # noqa: E402
from machine import busy_seconds, cpu_seconds_of  # noqa: E402
from scenarios import SETTLING_SECONDS  # noqa: E402

HOST = ROOT / "target" / "bench" / "isolation_host"
RECORD = struct.Struct("qIBBHq")  # host.c's struct record
DELIVERED = 0

WARM_UP_SECONDS = 2.0
TAIL_SECONDS = 1.0  # pushing continues after the measured time, so that its last events are sent like the others
START_SECONDS = 20
PREPARE_SECONDS = 90
SHUTDOWN_SECONDS = 90  # the host allows itself 60


@dataclasses.dataclass(frozen=True)
class Times:
    """The moments of a measurement, in seconds since the host began to push."""

    faults: float  # the faults are set; 0 means before the host's first request
    begin: float
    end: float
    down: float | None = None  # the time of a fault that meets everybody for a while
    returned: float | None = None

    @classmethod
    def of(cls, scenario, seconds, faults_after):
        begin = max(WARM_UP_SECONDS if scenario.warm_up else 0.0, faults_after)
        end = begin + scenario.seconds(seconds)
        if scenario.down_at is None:
            return cls(faults_after, begin, end)
        down = begin + scenario.down_at
        return cls(faults_after, begin, end, down, down + scenario.down_seconds)

    @property
    def settled(self):
        return max(self.begin, self.faults + SETTLING_SECONDS)

    @property
    def pushed(self):
        return self.end + TAIL_SECONDS


@dataclasses.dataclass(frozen=True)
class Count:
    """The endpoint's counters at one moment: of PutLogEvents, and of all operations by group."""

    at: float
    puts: dict
    groups: dict
    operations: dict = dataclasses.field(default_factory=dict)
    body_bytes_read: int = 0
    closed_idle: int = 0  # connections that the endpoint closed because they were idle

    def operation(self, name, since):
        """Returns the requests of an operation and its errors since an earlier count."""
        none = {"requests": 0, "errors": {}}
        now, before = self.operations.get(name, none), since.operations.get(name, none)
        errors = {code: count - before["errors"].get(code, 0) for code, count in now["errors"].items()}
        return {"requests": now["requests"] - before["requests"], "errors": errors}

    def requests(self, groups):
        return sum(self.groups.get(group, {"requests": 0})["requests"] for group in groups)

    def events(self, groups):
        return {group: self.groups.get(group, {"events": 0})["events"] for group in groups}


@dataclasses.dataclass(frozen=True)
class Run:
    """The results of one host and its endpoint."""

    events: list  # of the healthy targets
    loads: list  # the host's counts, by load
    taken: dict  # the endpoint's count of events by group, without the events that created the targets
    host: dict
    before_shutdown: dict  # the statistics at the end of the pushing
    faults_fired: int
    requests_by_load: list  # from the host's start to the end of its pushing; None if not known
    created: Count  # before the host started
    begin: Count
    settled: Count
    end: Count
    pushed: Count  # at the end of the pushing
    last: Count  # after the host ended
    cores: dict  # kept busy meanwhile by the host, the endpoint and all other processes


def measure(scenario, times, with_faults):
    """Runs a host against an endpoint, with the scenario's faults and loads or, for the baseline, without them."""
    loads = [scenario.healthy, *(scenario.loads if with_faults else ())]
    prepared = [scenario.healthy, *(scenario.loads if scenario.prepared is None else scenario.prepared)]
    arguments = [*scenario.arguments(), *(load.argument() for load in loads)]
    with CwlLocal(arguments=["--discard", *(scenario.endpoint if with_faults else ())]) as local:
        prepare(local, [load.argument() for load in (prepared if with_faults else loads)])
        created = count(local)
        rules = list(scenario.rules) if with_faults else []
        if times.faults == 0 and times.down is None:
            local.control("PUT", "faults", rules)
        with Host(local, times, arguments) as host:
            return follow(host, local, loads, rules, times, created)


def prepare(local, arguments):
    """Creates every target, because most scenarios do not measure their creation."""
    command = [HOST, local.endpoint, "prepare", *arguments]
    subprocess.run(command, env=hermetic_environment(), stdin=subprocess.DEVNULL, check=True, timeout=PREPARE_SECONDS)


def set_faults(host, local, rules, times):
    """Sets the faults at their time, unless they were set before the host started."""
    if times.down is not None:
        host.wait_until(times.faults)
        # The endpoint times the fault itself, so that a delay of this process does not prolong it.
        down_ms = round((times.down - host.now()) * 1000)
        window = {"after_ms": down_ms, "for_ms": down_ms + round((times.returned - times.down) * 1000)}
        local.control("PUT", "faults", [rule | window for rule in rules])
    elif times.faults > 0:
        host.wait_until(times.faults)
        local.control("PUT", "faults", rules)


def follow(host, local, loads, rules, times, created):
    """Sets the faults and reads the counters at their times, then ends the run and gathers its results."""
    set_faults(host, local, rules, times)
    host.wait_until(times.begin)
    busy, begin = BusyCores({"host": host.pid, "endpoint": local.pid}), count(local)
    host.wait_until(min(times.settled, times.end))
    settled = count(local)
    host.wait_until(times.end)
    end, cores = count(local), busy.cores()
    before_shutdown = host.wait_until_pushed()
    fired = sum(status["fired"] for status in local.control("GET", "faults"))
    pushed = count(local)
    local.control("DELETE", "faults")
    totals = host.shut_down()
    last = count(local)
    groups = {group for load in loads for group in load.groups()}
    before = created.events(groups)
    return Run(
        events=host.events(totals["ended_ns"]),
        loads=totals.pop("loads"),
        taken={group: taken - before[group] for group, taken in last.events(groups).items()},
        host=totals,
        before_shutdown=before_shutdown,
        faults_fired=fired,
        requests_by_load=requests_by_load(loads, created, pushed),
        created=created,
        begin=begin,
        settled=settled,
        end=end,
        pushed=pushed,
        last=last,
        cores=cores,
    )


def requests_by_load(loads, before, after):
    """Counts the requests of each load; None for loads that share a group, because the endpoint counts by group."""
    shared = collections.Counter(load.prefix for load in loads)
    return [
        after.requests(load.groups()) - before.requests(load.groups()) if shared[load.prefix] == 1 else None
        for load in loads
    ]


def count(local):
    stats = local.control("GET", "stats")
    operations = stats["operations"]
    return Count(
        at=time.monotonic(),
        puts=operations["PutLogEvents"],
        groups=stats["groups"],
        operations=operations,
        body_bytes_read=stats["body_bytes_read"],
        closed_idle=stats["connections"]["closed_idle"],
    )


class Host:
    """Runs a host, as a context."""

    def __init__(self, local, times, arguments):
        self.times = times
        self._cleanup = contextlib.ExitStack()
        folder = self._cleanup.enter_context(tempfile.TemporaryDirectory(prefix="cwl-isolation-"))
        self._records = pathlib.Path(folder) / "records"
        run_ms = str(round(times.pushed * 1000))
        self._command = [HOST, local.endpoint, "run", run_ms, self._records, *arguments]

    def __enter__(self):
        with self._cleanup:
            self._process = subprocess.Popen(
                self._command, env=hermetic_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
            )
            self._cleanup.callback(self._end)
            self._begin_ns = self._read_line(START_SECONDS)["begin_ns"]
            self._cleanup = self._cleanup.pop_all()
        return self

    def __exit__(self, *_):
        self._cleanup.close()

    def _end(self):
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()

    @property
    def pid(self):
        return self._process.pid

    def now(self):
        return (time.monotonic_ns() - self._begin_ns) / 1e9  # the host reads the same clock

    def wait_until(self, seconds):
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._process.wait(max(0, seconds - self.now()))
            raise RuntimeError(f"the host ended too early, with exit code {code}")

    def wait_until_pushed(self):
        """Waits for the end of the pushing and returns the statistics of that moment."""
        return self._read_line(self.times.pushed - self.now() + START_SECONDS)["statistics"]

    def _read_line(self, timeout_seconds):
        line, deadline = b"", time.monotonic() + timeout_seconds
        while not line.endswith(b"\n"):
            readable, _, _ = select.select([self._process.stdout], [], [], max(0, deadline - time.monotonic()))
            data = self._process.stdout.read(1) if readable else b""
            if not data:
                raise RuntimeError(
                    f"the host {'closed its stdout' if readable else 'printed nothing in time'}, after {line!r}"
                )
            line += data
        return json.loads(line)

    def shut_down(self):
        """Shuts the host down and returns its totals."""
        output, _ = self._process.communicate(b"\n", timeout=SHUTDOWN_SECONDS)
        if self._process.returncode != 0:
            raise RuntimeError(f"the host ended with exit code {self._process.returncode}")
        return json.loads(output)

    def events(self, ended_ns):
        """Returns the healthy events that the host recorded when it ended."""
        events = []
        for pushed_ns, target, outcome, acks, _, acked_ns in RECORD.iter_unpack(self._records.read_bytes()):
            delivered = acks > 0 and outcome == DELIVERED
            latency = ((acked_ns if delivered else ended_ns) - pushed_ns) / 1e9
            events.append(Event((pushed_ns - self._begin_ns) / 1e9, latency, target, delivered))
        return events


class BusyCores:
    """Measures from now on how many cores some processes, and all others together, keep busy."""

    def __init__(self, pids):
        self._pids = pids
        self._before, self._started_at = self._seconds(), time.monotonic()

    def _seconds(self):
        own = {name: cpu_seconds_of(pid) for name, pid in self._pids.items()}
        return own | {"others": busy_seconds() - sum(own.values())}

    def cores(self):
        after, elapsed = self._seconds(), time.monotonic() - self._started_at
        return {name: round(max(0.0, after[name] - self._before[name]) / elapsed, 3) for name in after}
