"""The processes of a measurement: a fresh endpoint, a fresh host, and how busy the others kept the machine meanwhile.

Every process is ended here, by its id, whatever happens. What waits here waits at most for a time-out.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request

BENCHES = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(BENCHES), str(BENCHES.parent / "scripts")]

from loopback import RELEASE, ROOT, CwlLocal, hermetic_environment  # noqa: E402
from machine import busy_seconds, cpu_seconds_of  # noqa: E402

BENCH = ROOT / "target" / "bench"
LINES = BENCH / "lines.txt"
LIBRARY = RELEASE / "libcwl_sink.so"
REFERENCE = ROOT / "target" / "reference" / "cwl-bench-reference"

LONGEST_SECONDS = 420  # opening 100,000 targets takes the most, and the host bounds that itself


class Endpoint(CwlLocal):
    """A cwl-local that counts and keeps nothing, in plain HTTP or with TLS."""

    def __init__(self, tls=False):
        self._files = contextlib.ExitStack()
        self.environment = hermetic_environment()
        self._certificate = None
        if tls:
            folder = self._files.enter_context(tempfile.TemporaryDirectory(prefix="cwl-bench-"))
            self._certificate = pathlib.Path(folder) / "certificate.pem"
            self.environment["SSL_CERT_FILE"] = str(self._certificate)
        super().__init__(arguments=["--discard", *(["--tls", self._certificate] if tls else [])])

    def __enter__(self):
        with self._files:
            super().__enter__()
            if self._certificate is not None:
                self.endpoint = self.endpoint.replace("http://", "https://")
            self._files = self._files.pop_all()
        return self

    def __exit__(self, *details):
        with self._files:
            super().__exit__(*details)

    def control(self, method, path, rules=None):
        if self._certificate is None:
            return super().control(method, path, rules)
        data = None if rules is None else json.dumps(rules).encode()
        request = urllib.request.Request(f"{self.endpoint}/_local/{path}", method=method, data=data)
        trusting = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=self._certificate))
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), trusting)
        with opener.open(request, timeout=10) as answer:
            return json.load(answer)

    def taken(self):
        """Events that it has taken so far."""
        return self.control("GET", "stats")["operations"].get("PutLogEvents", {"events": 0})["events"]


class Others:
    """How many cores others keep busy from now on: all processes but this one, its children and the endpoint."""

    def __init__(self, endpoint):
        self._endpoint = endpoint
        self._before, self._begun = self._seconds(), time.monotonic()

    def _seconds(self):
        own = os.times()
        own_seconds = own.user + own.system + own.children_user + own.children_system
        return busy_seconds() - own_seconds - cpu_seconds_of(self._endpoint.pid)

    def cores(self):
        """To be asked when the children have ended: only then is their time known."""
        return max(0.0, self._seconds() - self._before) / (time.monotonic() - self._begun)


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a host said, what the endpoint took, and what the others did meanwhile."""

    told: dict
    taken: int
    others_cores: float


def ended(process, seconds):
    """What a process has printed when it has ended well: a line of JSON."""
    try:
        output, errors = process.communicate(timeout=seconds)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    if process.returncode != 0:
        raise RuntimeError(f"exit code {process.returncode}: {errors.strip()[-200:]}")
    return json.loads(output)


def started(command, environment):
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

    `meanwhile(endpoint, process)` is called once the host has begun, and returns when, or before, it ends.
    """
    with Endpoint(tls) as endpoint:
        others = Others(endpoint)
        command = [BENCH / f"performance_{program}", *before, endpoint.endpoint, LINES, *after]
        process = started(command, endpoint.environment)
        try:
            if meanwhile is not None:
                meanwhile(endpoint, process)
        except BaseException:
            process.kill()
            process.communicate()
            raise
        told = ended(process, LONGEST_SECONDS)
        return Measured(told, endpoint.taken(), others.cores())


def start():
    """Loads the library into a fresh process."""
    command = [BENCH / "performance_start", LIBRARY, "http://127.0.0.1:9"]  # nothing is sent to it
    return ended(started(command, hermetic_environment()), 30)


def reference(*arguments):
    """What others need for the same: a subcommand of cwl-bench-reference."""
    if not REFERENCE.exists():
        raise RuntimeError(f"{REFERENCE.name} is not built")
    return ended(started([REFERENCE, *arguments], hermetic_environment()), LONGEST_SECONDS)


def plain_sdk(events):
    """The AWS SDK in a plain loop, over HTTP."""
    with Endpoint() as endpoint:
        told = reference("sdk", endpoint.endpoint, LINES, events)
        if endpoint.taken() < events:
            raise RuntimeError(f"the SDK's loop delivered {endpoint.taken():,} of {events:,} events")
        return told


def sdk_request(count):
    with Endpoint() as endpoint:
        return reference("request", endpoint.endpoint, count)
