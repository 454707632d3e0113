"""Runs cwl-ship as a command, and reads its messages and the events that arrived."""

import pathlib
import re
import signal
import subprocess
import time

from loopback import RELEASE, logs_client, read_back

CWL_SHIP = str(RELEASE / "cwl-ship")
SECONDS = 60  # time-out of any one run; each takes a few seconds

DELIVERED, NOT_DELIVERED, BAD_INPUT = 0, 1, 2

# A shell that starts this in the background lets it ignore SIGINT, and every child would inherit that.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def command(endpoint, group, *arguments):
    return [CWL_SHIP, "--group", group, "--stream", "s", "--endpoint", endpoint, *map(str, arguments)]


def run(argv, stdin=b"", **more):
    return subprocess.run(argv, input=stdin, capture_output=True, timeout=SECONDS, check=False, **more)


def ship(endpoint, group, *arguments, stdin=b"", **more):
    return run(command(endpoint, group, *arguments), stdin, **more)


def messages(endpoint, group, stream="s"):
    return [message for _, message in read_back(logs_client(endpoint), group, stream)]


def summary(done):
    """Returns the numbers of the summary, which is the last line on stderr."""
    last = done.stderr.decode(errors="replace").splitlines()[-1]
    assert last.startswith("cwl-ship: lines="), done.stderr
    return {name: float(value) for name, value in re.findall(r"(\w+)=([\d.]+)", last)}


def wait_until(condition, what):
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited {SECONDS} s in vain: {what}"
        time.sleep(0.01)


class Following:
    """Runs a cwl-ship --follow, as a context: it is killed at the end of the test in every case."""

    def __init__(self, endpoint, group, *arguments, folder, interval_ms=50):
        self.endpoint, self.group = endpoint, group
        self._client = logs_client(endpoint)
        self._stderr = pathlib.Path(folder) / f"stderr-{time.monotonic_ns()}"
        argv = command(endpoint, group, "--set", f"flush_interval_ms={interval_ms}", "--follow", *arguments)
        with self._stderr.open("wb") as stderr:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=stderr)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def stderr(self):
        return self._stderr.read_bytes()

    def arrived_messages(self):
        try:
            return [message for _, message in read_back(self._client, self.group, "s")]
        except self._client.exceptions.ResourceNotFoundException:
            return []

    def wait_for(self, *lines):
        """Waits until as many lines have arrived. They must be these lines, in this order."""

        def enough():
            assert self.process.poll() is None, f"the agent ended: {self.stderr()}"
            return len(self.arrived_messages()) >= len(lines)

        wait_until(enough, f"arrival of {lines}")
        assert self.arrived_messages() == list(lines)

    def wait_for_message(self, text):
        wait_until(lambda: text in self.stderr(), f"{text} in {self.stderr()}")

    def suspend(self):
        """Stops the agent during a context, so that it sees all changes within the context at once."""
        return _Suspended(self.process)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        self.process.wait(SECONDS)
        return subprocess.CompletedProcess(self.process.args, self.process.returncode, b"", self.stderr())


class _Suspended:
    def __init__(self, process):
        self.process = process

    def __enter__(self):
        self.process.send_signal(signal.SIGSTOP)
        stat = pathlib.Path(f"/proc/{self.process.pid}/stat")
        wait_until(lambda: stat.read_text().rsplit(")", 1)[1].split()[0] == "T", "the stop of the agent")

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGCONT)
