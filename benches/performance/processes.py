"""Runs the processes of a measurement, and measures how busy all other processes kept the machine meanwhile.

Each measurement has a fresh endpoint and a fresh host. Every process is ended here, by its id, in every case. Every
wait has a time-out.
"""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import time

BENCHES = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(BENCHES), str(BENCHES.parent / "scripts")]

from loopback import RELEASE, ROOT, CwlLocal, hermetic_environment  # noqa: E402
from machine import busy_seconds, cpu_seconds_of  # noqa: E402

BENCH = ROOT / "target" / "bench"
LINES = BENCH / "lines.txt"
LIBRARY = RELEASE / "libcwl_sink.so"
REFERENCE = ROOT / "target" / "reference" / "cwl-bench-reference"

TIMEOUT_SECONDS = 420  # opening 100,000 targets takes longest, and the host has its own time-out for it


class Endpoint(CwlLocal):
    """A cwl-local that counts events and discards them, with or without TLS."""

    def __init__(self, tls=False):
        super().__init__(arguments=["--discard"], tls=tls)

    @property
    def environment(self):
        """The environment of a host, which trusts the endpoint's certificate."""
        trusted = {} if self.certificate is None else {"SSL_CERT_FILE": self.certificate}
        return hermetic_environment() | trusted

    def arrived_events(self):
        """Returns the number of events that have arrived so far."""
        return self.control("GET", "stats")["operations"].get("PutLogEvents", {"events": 0})["events"]


class OtherProcesses:
    """Measures from now on how many cores all processes except this one, its children and the endpoint keep busy."""

    def __init__(self, endpoint):
        self._endpoint = endpoint
        self._before, self._started_at = self._seconds(), time.monotonic()

    def _seconds(self):
        own = os.times()
        own_seconds = own.user + own.system + own.children_user + own.children_system
        return busy_seconds() - own_seconds - cpu_seconds_of(self._endpoint.pid)

    def cores(self):
        """Returns the cores. Call it after the children have ended, because only then is their CPU time known."""
        return max(0.0, self._seconds() - self._before) / (time.monotonic() - self._started_at)


@dataclasses.dataclass(frozen=True)
class Measured:
    """The output of a host, the events that arrived, and the cores that other processes kept busy meanwhile."""

    output: dict
    arrived: int
    others_cores: float


def wait_for_output(process, seconds):
    """Waits for the end of a process. Returns its output, which is a line of JSON."""
    try:
        output, errors = process.communicate(timeout=seconds)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    if process.returncode != 0:
        raise RuntimeError(f"exit code {process.returncode}: {errors.strip()[-200:]}")
    return json.loads(output)


def start_process(command, environment):
    return subprocess.Popen(
        [str(part) for part in command],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def measure(program, before, after, tls=False, meanwhile=None):
    """Runs `PROGRAM BEFORE... ENDPOINT LINES AFTER...` against an endpoint of its own.

    Calls `meanwhile(endpoint, process)` once the process has started. It must return when the process ends, or before.
    """
    with Endpoint(tls) as endpoint:
        others = OtherProcesses(endpoint)
        command = [BENCH / f"performance_{program}", *before, endpoint.endpoint, LINES, *after]
        process = start_process(command, endpoint.environment)
        try:
            if meanwhile is not None:
                meanwhile(endpoint, process)
        except BaseException:
            process.kill()
            process.communicate()
            raise
        output = wait_for_output(process, TIMEOUT_SECONDS)
        return Measured(output, endpoint.arrived_events(), others.cores())


def measure_start():
    """Measures how a fresh process loads the library."""
    command = [BENCH / "performance_start", LIBRARY, "http://127.0.0.1:9"]  # nothing is sent to it
    return wait_for_output(start_process(command, hermetic_environment()), 30)


def reference(*arguments):
    """Runs a subcommand of cwl-bench-reference, which measures others at the same work."""
    if not REFERENCE.exists():
        raise RuntimeError(f"{REFERENCE.name} is not built")
    return wait_for_output(start_process([REFERENCE, *arguments], hermetic_environment()), TIMEOUT_SECONDS)


def plain_sdk(events):
    """Measures the AWS SDK in a plain loop, over HTTP."""
    with Endpoint() as endpoint:
        output = reference("sdk", endpoint.endpoint, LINES, events)
        if endpoint.arrived_events() < events:
            raise RuntimeError(f"the SDK's loop delivered {endpoint.arrived_events():,} of {events:,} events")
        return output


def sdk_request(count):
    with Endpoint() as endpoint:
        return reference("request", endpoint.endpoint, count)
